//! Broadcast state: one map that all instances of an operator have, stored once.
//!
//! It is stored as a state with one value a key, so that it is looked at, compared and migrated like any other; the
//! first worker writes the rows of all key groups, and every worker reads them all when a job starts.

use super::StateSettings;
use super::state::{AnyState, Counts};
use crate::engine::graph::OpenContext;
use crate::engine::image::{ImageOrder, KeyedImage, StateFileKind};
use crate::error::Result;
use crate::migrate::lazy::UntouchedImage;
use crate::model::{KeyGroup, Schema, SchemaVersion, StateKind, StateName};
use crate::state::table::GroupImage;
use crate::state::{Build as _, Key, Refused, State, append_row};
use std::collections::{BTreeMap, VecDeque};

pub(crate) struct BroadcastState<N: Key + Ord, V: State> {
    pub(crate) map: BTreeMap<N, V>,
    schema: Schema,
    file: StateFileKind,
    /// What is left to do of the image.
    imaging: VecDeque<GroupImage>,
}

impl<N: Key + Ord, V: State> BroadcastState<N, V> {
    /// Reads the state as the savepoint has it, through the migrations where it is an older one.
    pub(crate) fn open(settings: &StateSettings<V>, context: &OpenContext<'_>) -> Result<Self> {
        let name = settings.state_name().map_err(|problem| context.problem(problem))?;
        let uid = context.uid.clone();
        let is_stored =
            |manifest: &crate::model::Manifest| Some(manifest.operator(&uid)?.state(&name).is_some());
        let stored = context.restore.filter(|savepoint| is_stored(savepoint.manifest()) == Some(true));
        let map = match stored {
            None => BTreeMap::new(),
            Some(savepoint) => {
                let state = savepoint.operator(uid.as_str())?.state(name.as_str())?;
                state.rows(settings.chain.clone())?.collect::<Result<_>>()?
            }
        };
        let file = StateFileKind {
            ordinal: context.ordinal,
            uid,
            state: name,
            kind: StateKind::Value,
            worker: context.worker,
            max_parallelism: context.max_parallelism,
        };
        Ok(Self { map, schema: settings.chain.schema(), file, imaging: VecDeque::new() })
    }

    fn is_written_here(&self) -> bool {
        self.file.worker == 0
    }

    /// Returns the rows of each key group.
    fn rows(&self) -> VecDeque<GroupImage> {
        let mut groups = BTreeMap::<u16, (KeyGroup, N::Builder, V::Builder, Option<Refused>)>::new();
        for (name, value) in &self.map {
            let group = KeyGroup::of_hash(name.hash64(), self.file.max_parallelism);
            let new = || (group, N::Builder::default(), V::Builder::default(), None);
            let (_, names, values, refused) = groups.entry(group.index()).or_insert_with(new);
            // Builders that have refused a row take no other.
            if refused.is_none() {
                *refused = append_row((name, names), (value, values)).err();
            }
        }
        let image =
            |(group, mut names, mut values, refused): (_, N::Builder, V::Builder, Option<Refused>)| {
                let pieces = if refused.is_none() {
                    vec![(names.finish(None), values.finish(None))]
                } else {
                    Vec::new()
                };
                GroupImage { group, pieces, gone: None, refused }
            };
        groups.into_values().map(image).collect()
    }
}

impl<N: Key + Ord, V: State> AnyState for BroadcastState<N, V> {
    fn begin(&mut self, order: &ImageOrder) -> KeyedImage {
        self.imaging = if self.is_written_here() { self.rows() } else { VecDeque::new() };
        let size = (self.map.len() as u64, usize::from(self.file.max_parallelism.get()));
        let (file, schema) = (self.file.clone(), self.schema.clone());
        KeyedImage::new::<N>(file, order, schema, UntouchedImage::default(), size)
    }

    fn scan(&mut self, _buckets: usize, done: &mut dyn FnMut(GroupImage)) -> bool {
        self.imaging.pop_front().map(done);
        !self.imaging.is_empty()
    }

    fn abandon(&mut self) {
        self.imaging.clear();
    }

    fn counts(&self) -> Counts {
        let entries = if self.is_written_here() { self.map.len() as u64 } else { 0 };
        Counts { entries, ..Counts::default() }
    }

    fn unmigrated(&self) -> BTreeMap<SchemaVersion, u64> {
        BTreeMap::new()
    }

    fn name(&self) -> &StateName {
        &self.file.state
    }
}
