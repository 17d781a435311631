//! What was found so far in one state: counts of all, and the first few keys in full.

use super::{Counts, KeyDiff};
use crate::error::Result;

/// Counts and first keys.
pub(super) struct Tally {
    pub(super) counts: Counts,
    fields: Vec<(String, u64)>,
    keys: Vec<KeyDiff>,
    limit: usize,
}

impl Tally {
    pub(super) fn new(limit: usize) -> Self {
        Self { counts: Counts::default(), fields: Vec::new(), keys: Vec::new(), limit }
    }

    /// Returns whether no more keys are listed.
    pub(super) fn is_full(&self) -> bool {
        self.keys.len() >= self.limit
    }

    /// Adds a key to the list, unless the list is full.
    pub(super) fn list(&mut self, key: impl FnOnce() -> Result<KeyDiff>) -> Result<()> {
        if !self.is_full() {
            self.keys.push(key()?);
        }
        Ok(())
    }

    /// Counts keys for which the field at `place` differs.
    pub(super) fn field(&mut self, place: &str, count: u64) {
        match self.fields.iter_mut().find(|(known, _)| known == place) {
            Some((_, known)) => *known += count,
            None => self.fields.push((place.to_owned(), count)),
        }
    }

    /// Puts the fields in the order of `places`, and others behind them by name.
    pub(super) fn sort_fields(&mut self, places: &[String]) {
        let place = |field: &str| places.iter().position(|known| known == field).unwrap_or(places.len());
        self.fields.sort_by(|(a, _), (b, _)| place(a).cmp(&place(b)).then_with(|| a.cmp(b)));
    }

    pub(super) fn finish(mut self) -> (Counts, Vec<(String, u64)>, Vec<KeyDiff>) {
        self.fields.retain(|(_, count)| *count > 0);
        (self.counts, self.fields, self.keys)
    }
}
