//! The windows of one key, as one value.

use super::Window;
use crate::error::BoxError;
use crate::migrate::Migration;
use crate::model::{DataType, Value};
use crate::state::{MapBuilder, MapReader, Mapping, State};

/// What one window holds.
#[derive(Clone, Debug, PartialEq, crate::State)]
pub(crate) struct Pane<A: State> {
    /// What its records came to.
    pub(super) content: A,
    /// The number of records in it.
    pub(super) records: u64,
    /// The number of those that it has told of.
    pub(super) told: u64,
}

/// The windows of a key, in order; few, so that a vector serves best.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Panes<A: State>(pub(super) Vec<(Window, Pane<A>)>);

impl<A: State> Default for Panes<A> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<A: State> Panes<A> {
    /// Returns the place of a window, or where it belongs.
    pub(super) fn find(&self, window: Window) -> Result<usize, usize> {
        self.0.binary_search_by(|(other, _)| other.cmp(&window))
    }

    /// Takes out the windows that meet `window`.
    pub(super) fn take_meeting(&mut self, window: Window) -> Vec<(Window, Pane<A>)> {
        self.0.extract_if(.., |(other, _)| other.meets(window)).collect()
    }
}

impl<A: State> Mapping for Panes<A> {
    type Key = Window;
    type Value = Pane<A>;

    fn entries(&self) -> impl Iterator<Item = (&Window, &Pane<A>)> {
        self.0.iter().map(|(window, pane)| (window, pane))
    }

    fn collect(entries: impl Iterator<Item = (Window, Pane<A>)>) -> Self {
        let mut panes: Vec<_> = entries.collect();
        panes.sort_by_key(|(window, _)| *window);
        Self(panes)
    }
}

impl<A: State> State for Panes<A> {
    type Builder = MapBuilder<Self>;
    type Reader = MapReader<Self>;

    fn data_type() -> DataType {
        DataType::Map(Box::new(Window::data_type()), Box::new(Pane::<A>::data_type()))
    }
}

/// Leads the windows of a key to their next version by leading the content of each there; a window whose content is
/// let go is gone.
pub(super) struct MigratePanes<M>(pub(super) M);

impl<M: Migration> Migration for MigratePanes<M> {
    type From = Panes<M::From>;
    type To = Panes<M::To>;
    const FROM: u32 = M::FROM;
    const TO: u32 = M::TO;
    const REVISION: u32 = M::REVISION;
    const DROPS: &'static [&'static str] = M::DROPS;
    const HAS_DOWN: bool = M::HAS_DOWN;

    fn migrate(&self, key: &Value, old: Self::From) -> Result<Option<Self::To>, BoxError> {
        let mut panes = Vec::with_capacity(old.0.len());
        for (window, Pane { content, records, told }) in old.0 {
            if let Some(content) = self.0.migrate(key, content)? {
                panes.push((window, Pane { content, records, told }));
            }
        }
        Ok((!panes.is_empty()).then_some(Panes(panes)))
    }

    fn down(&self, key: &Value, new: Self::To) -> Result<Option<Self::From>, BoxError> {
        let mut panes = Vec::with_capacity(new.0.len());
        for (window, Pane { content, records, told }) in new.0 {
            if let Some(content) = self.0.down(key, content)? {
                panes.push((window, Pane { content, records, told }));
            }
        }
        Ok((!panes.is_empty()).then_some(Panes(panes)))
    }

    fn name(&self) -> String {
        self.0.name()
    }
}
