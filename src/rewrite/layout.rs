//! Where everything lies in the new savepoint: operators in order, states, positions of sources, paths.

use super::decided::Rewrite;
use crate::model::{OperatorEntry, OperatorUid, Schema, SourceEntry, StateName};
use crate::savepoint::state_file_path;
use std::collections::HashSet;

/// The new savepoint without its files.
pub(super) struct Layout {
    /// The operators, with no states yet.
    pub(super) operators: Vec<OperatorEntry>,
    pub(super) sources: Vec<SourceEntry>,
    /// The states, in the order of the operators.
    pub(super) places: Vec<Place>,
}

/// A state of the new savepoint.
pub(super) struct Place {
    /// The position of its operator there.
    pub(super) operator: usize,
    pub(super) uid: OperatorUid,
    pub(super) name: StateName,
    /// The positions of operator and state in the old savepoint.
    pub(super) source: (usize, usize),
}

impl Layout {
    pub(super) fn new(rewrite: &Rewrite) -> Self {
        let manifest = rewrite.savepoint.manifest();
        let mut operators: Vec<OperatorEntry> = Vec::new();
        let mut places = Vec::new();
        let with_entries = || manifest.operators.iter().zip(&rewrite.operators);
        for (entry, operator) in with_entries().filter(|(_, operator)| !operator.is_dropped) {
            operators.push(OperatorEntry { uid: operator.uid.clone(), states: Vec::new(), ..entry.clone() });
        }
        for (index, (entry, operator)) in with_entries().enumerate() {
            for (inside, state) in operator.states.iter().enumerate() {
                if operator.is_dropped || state.is_dropped {
                    continue;
                }
                let uid = state.moved_to.as_ref().unwrap_or(&operator.uid).clone();
                let known = operators.iter().position(|operator| operator.uid == uid);
                // An operator that only comes into being with what is moved to it is of the kind that had that.
                let position = known.unwrap_or_else(|| {
                    operators.push(OperatorEntry { uid: uid.clone(), states: Vec::new(), ..entry.clone() });
                    operators.len() - 1
                });
                places.push(Place {
                    operator: position,
                    uid,
                    name: state.name.clone(),
                    source: (index, inside),
                });
            }
        }
        places.sort_by_key(|place| place.operator);
        let mut sources = manifest.sources.clone();
        sources.retain_mut(|source| {
            let operator = with_entries().find(|(entry, _)| entry.uid == source.uid);
            if let Some((_, operator)) = operator {
                source.uid = operator.uid.clone();
            }
            operator.is_none_or(|(_, operator)| !operator.is_dropped)
        });
        Self { operators, sources, places }
    }

    pub(super) fn paths(&self) -> Paths {
        Paths { taken: HashSet::new(), parts: 0 }
    }
}

/// Gives each file a path of its own.
pub(super) struct Paths {
    taken: HashSet<String>,
    parts: usize,
}

impl Paths {
    /// The path of a file that is written.
    pub(super) fn unused(&mut self, place: &Place, schema: &Schema) -> String {
        self.parts = 0;
        loop {
            let path =
                state_file_path(place.operator, &place.uid, &place.name, 0, schema.version, self.parts);
            self.parts += 1;
            if self.taken.insert(path.clone()) {
                return path;
            }
        }
    }

    /// The path of a file that is taken over: under its old name, if that is free.
    pub(super) fn kept(&mut self, place: &Place, old: &str, schema: &Schema) -> String {
        let made = state_file_path(place.operator, &place.uid, &place.name, 0, schema.version, 0);
        let directory = made.rsplit_once('/').map_or("", |(directory, _)| directory);
        let name = old.rsplit('/').next().unwrap_or(old);
        // Such names only, as this program makes: others may say what is not so.
        let is_plain = name.len() <= 64
            && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'.');
        let path = format!("{directory}/{name}");
        if is_plain && name.ends_with(".parquet") && self.taken.insert(path.clone()) {
            return path;
        }
        self.unused(place, schema)
    }
}
