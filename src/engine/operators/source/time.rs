//! The time of a source's records, and how far it is known to have come.

use super::position::elements;
use crate::connectors::Record;
use crate::engine::graph::OpenContext;
use crate::engine::image::{ImageOrder, StateFileKind, StatePart, write_list};
use crate::engine::watermarks::WatermarkGenerator;
use crate::error::{JobProblem, Result};
use crate::migrate::{Chain, StateDescription};
use crate::model::{DataType, StateKind, StateName};
use crate::state::State;
use std::collections::HashMap;
use std::sync::Arc;

/// The name of the state that holds what watermark generators remember of each split.
pub(crate) const WATERMARKS: &str = "watermarks";

/// Which time the records of a source have.
pub(crate) enum SourceTime<T> {
    /// None.
    None,
    /// That at which they were read.
    Ingestion,
    /// One of their own.
    Event(Arc<dyn EventTime<T>>),
}

impl<T> Clone for SourceTime<T> {
    fn clone(&self) -> Self {
        match self {
            Self::None => Self::None,
            Self::Ingestion => Self::Ingestion,
            Self::Event(time) => Self::Event(Arc::clone(time)),
        }
    }
}

/// Event time, as users gave it.
pub(crate) trait EventTime<T>: Send + Sync {
    /// Describes what is kept for it.
    fn states(&self) -> Result<Vec<StateDescription>, JobProblem>;

    /// Makes it ready on a worker.
    fn open(&self, context: &OpenContext<'_>) -> Result<Box<dyn SplitTimes<T>>>;
}

/// Writes what is kept, away from the worker.
pub(super) type WriteTimes = Box<dyn FnOnce(&StateFileKind, &ImageOrder) -> Result<StatePart> + Send>;

/// The event times of the splits of one worker.
pub(crate) trait SplitTimes<T> {
    /// Begins with a split, or goes on with one that a savepoint knows.
    fn begin(&mut self, split: &str);

    /// Appends the times of records of a split; returns the watermark that follows, if one does.
    fn observe(&mut self, split: &str, records: &[T], times_ms: &mut Vec<i64>) -> Option<i64>;

    /// Forgets a split that was read to its end.
    fn end(&mut self, split: &str);

    /// Returns what writes the state for an image, if there is one.
    fn image(&self) -> Option<WriteTimes>;
}

/// A generator, and a function that finds the time of a record.
pub(crate) struct Generated<G, F> {
    generator: Arc<G>,
    time_of: Arc<F>,
}

impl<G, F> Generated<G, F> {
    pub(crate) fn new(generator: G, time_of: F) -> Self {
        Self { generator: Arc::new(generator), time_of: Arc::new(time_of) }
    }
}

/// The schema of what is kept: for each split, the state of its generator.
fn chain<S: State>() -> Chain<(String, S)> {
    Chain::current(S::VERSION)
}

fn is_kept<S: State>() -> bool {
    S::data_type() != DataType::Unit
}

impl<T, G, F> EventTime<T> for Generated<G, F>
where
    T: Record,
    G: WatermarkGenerator<T>,
    F: Fn(&T) -> i64 + Send + Sync + 'static,
{
    fn states(&self) -> Result<Vec<StateDescription>, JobProblem> {
        if !is_kept::<G::State>() {
            return Ok(Vec::new());
        }
        let bad_name = || JobProblem::BadName { name: WATERMARKS.to_owned() };
        let name = StateName::new(WATERMARKS).ok_or_else(bad_name)?;
        Ok(vec![chain::<G::State>().describe(name, StateKind::List, None)])
    }

    fn open(&self, context: &OpenContext<'_>) -> Result<Box<dyn SplitTimes<T>>> {
        let stored = match is_kept::<G::State>() {
            true => elements(context, WATERMARKS, chain::<G::State>())?.into_iter().collect(),
            false => HashMap::new(),
        };
        let (generator, time_of) = (Arc::clone(&self.generator), Arc::clone(&self.time_of));
        Ok(Box::new(Open { generator, time_of, stored, splits: HashMap::new() }))
    }
}

struct Open<G, F, S> {
    generator: Arc<G>,
    time_of: Arc<F>,
    /// What the savepoint has, for splits of any worker.
    stored: HashMap<String, S>,
    splits: HashMap<String, S>,
}

impl<T, G, F> SplitTimes<T> for Open<G, F, G::State>
where
    T: Record,
    G: WatermarkGenerator<T>,
    F: Fn(&T) -> i64,
{
    fn begin(&mut self, split: &str) {
        let state = self.stored.remove(split).unwrap_or_else(|| self.generator.start());
        self.splits.insert(split.to_owned(), state);
    }

    fn observe(&mut self, split: &str, records: &[T], times_ms: &mut Vec<i64>) -> Option<i64> {
        let state = self.splits.get_mut(split)?;
        let mut watermark_ms = None;
        times_ms.reserve(records.len());
        for record in records {
            let time_ms = (self.time_of)(record);
            times_ms.push(time_ms);
            watermark_ms = watermark_ms.max(self.generator.observe(state, record, time_ms));
        }
        watermark_ms
    }

    fn end(&mut self, split: &str) {
        self.splits.remove(split);
    }

    fn image(&self) -> Option<WriteTimes> {
        if !is_kept::<G::State>() {
            return None;
        }
        let mut rows: Vec<(String, G::State)> =
            self.splits.iter().map(|(split, state)| (split.clone(), state.clone())).collect();
        rows.sort_by(|(a, _), (b, _)| a.cmp(b));
        Some(Box::new(move |kind, order| write_list(kind, order, &chain::<G::State>().schema(), &rows)))
    }
}
