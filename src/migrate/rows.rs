//! The rows and the elements of a stored state as values of a Rust type, from whatever schemas they have.

use super::{Chain, OldValues, Route, StoredFacts};
use crate::error::{Error, Result};
use crate::model::{Value, value_at};
use crate::savepoint::{Batches, Scan, StateView};
use crate::state::{Key, Read as _, State};
use arrow::array::RecordBatch;

/// The keys and values of a state; ends after the first error.
pub struct Rows<'a, K: Key, S: State> {
    state: StateView<'a>,
    /// The way of the rows of each schema that has some.
    routes: Vec<Option<Route<S>>>,
    batches: Batches,
    open: Option<Open<K, S>>,
}

/// A batch that is being read.
struct Open<K: Key, S: State> {
    rows: RecordBatch,
    keys: K::Reader,
    values: OldValues<S>,
    next: usize,
}

impl<S: State> Chain<S> {
    /// Decides for each schema of a state how its rows become values of type `S`; `None` for one that has no rows. It
    /// asks for facts about the values where the types alone do not allow a change.
    ///
    /// # Errors
    ///
    /// Why the rows of one of them do not.
    pub fn routes(&self, state: &StateView<'_>) -> Result<Vec<Option<Route<S>>>> {
        let (operator, entry) = (state.operator(), state.entry());
        let route = |(index, schema)| {
            let has_rows = entry.files.iter().any(|file| file.schema == index && file.rows > 0);
            let route = has_rows.then(|| self.route_with(schema, &StoredFacts::new(*state, index)));
            let route = route.transpose();
            route.map_err(|error| error.into_error(operator.uid.clone(), entry.name.clone()))
        };
        entry.schemas.iter().enumerate().map(route).collect()
    }
}

impl<'a> StateView<'a> {
    /// Returns all keys and values, taken through `chain` where their schema is an older one.
    ///
    /// Keys that a migration lets go are left out.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use pitlane::migrate::Chain;
    /// use pitlane::savepoint::Savepoint;
    ///
    /// let savepoint = Savepoint::open("pitlane-data/flights/savepoints/0000000004-a0001")?;
    /// let carriers = savepoint.operator("carriers")?.state("accumulator")?;
    /// for row in carriers.rows::<String, (String, i32)>(Chain::current(1))? {
    ///     let (carrier, (_, delayed)) = row?;
    ///     println!("{carrier}: {delayed} delayed");
    /// }
    /// # Ok::<(), pitlane::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Incompatible`] or [`Error::NoMigration`] if the keys have another type, or there is no way from a
    /// stored schema to `S`.
    pub fn rows<K: Key, S: State>(&self, chain: Chain<S>) -> Result<Rows<'a, K, S>> {
        self.scan().rows(chain)
    }
}

impl<'a> Scan<'a> {
    /// Returns keys and values of a Rust type, as [`StateView::rows`], of the rows that the scan reads; it reads all
    /// their columns.
    ///
    /// # Errors
    ///
    /// As [`StateView::rows`].
    pub fn rows<K: Key, S: State>(self, chain: Chain<S>) -> Result<Rows<'a, K, S>> {
        let state = self.state();
        let (operator, entry) = (state.operator(), state.entry());
        let place = || (operator.uid.clone(), entry.name.clone());
        crate::model::same_key(entry.key.as_ref(), Some(&K::data_type())).map_err(|detail| {
            let (uid, state) = place();
            Error::Incompatible { uid, state, detail: Box::new(detail) }
        })?;
        Ok(Rows { state, routes: chain.routes(&state)?, batches: self.all_columns().into_iter(), open: None })
    }
}

impl<K: Key, S: State> Rows<'_, K, S> {
    fn step(&mut self) -> Result<Option<(K, S)>> {
        loop {
            while let Some(open) = &mut self.open {
                let row = open.next;
                if row == open.rows.num_rows() {
                    self.open = None;
                    break;
                }
                open.next += 1;
                let key = || value_at(open.rows.column(1), &K::data_type(), row).unwrap_or(Value::Unit);
                let (operator, entry) = (self.state.operator(), self.state.entry());
                let value = open.values.read(row, &key);
                let value = value.map_err(|failure| {
                    failure.into_error(operator.uid.clone(), entry.name.clone(), &key())
                })?;
                if let Some(value) = value {
                    return Ok(Some((open.keys.read(row), value)));
                }
            }
            let Some(batch) = self.batches.next().transpose()? else { return Ok(None) };
            let entry = self.state.entry();
            let Some(route) = &self.routes[batch.schema] else { continue };
            let damaged = |e: crate::model::ColumnMismatch| Error::Damaged {
                path: format!("{}/{}", self.state.savepoint().location(), entry.files[batch.file].path),
                found: e.found,
                wanted: e.wanted,
            };
            let keys = K::Reader::new(batch.batch.column(1)).map_err(damaged)?;
            let values = route.open(batch.batch.column(2)).map_err(damaged)?;
            self.open = Some(Open { rows: batch.batch, keys, values, next: 0 });
        }
    }
}

impl<K: Key, S: State> Iterator for Rows<'_, K, S> {
    type Item = Result<(K, S)>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        // Most rows need nothing but to be read.
        if let Some(open) = &mut self.open
            && open.next < open.rows.num_rows()
            && let Some(value) = open.values.read_current(open.next)
        {
            open.next += 1;
            return Some(Ok((open.keys.read(open.next - 1), value)));
        }
        self.step().transpose()
    }
}

/// The elements of a list; ends after the first error.
pub struct Elements<'a, S: State> {
    state: StateView<'a>,
    /// The way of the elements of each schema that has some.
    routes: Vec<Option<Route<S>>>,
    batches: Batches,
    /// The batch that is being read, and its next row.
    open: Option<(OldValues<S>, usize)>,
    /// The number of elements before.
    read: u64,
}

impl<'a> StateView<'a> {
    /// Returns the elements of a list, as it lies in file after file, taken through `chain` where their schema is an
    /// older one. Migrations are given `()` for the key; elements that one lets go are left out.
    ///
    /// # Errors
    ///
    /// [`Error::Incompatible`] or [`Error::NoMigration`] if the state is none of a list, or there is no way from a
    /// stored schema to `S`.
    pub fn elements<S: State>(&self, chain: Chain<S>) -> Result<Elements<'a, S>> {
        let (operator, entry) = (self.operator(), self.entry());
        crate::model::same_key(entry.key.as_ref(), None).map_err(|detail| Error::Incompatible {
            uid: operator.uid.clone(),
            state: entry.name.clone(),
            detail: Box::new(detail),
        })?;
        let routes = chain.routes(self)?;
        Ok(Elements { state: *self, routes, batches: self.scan().into_iter(), open: None, read: 0 })
    }
}

impl<S: State> Elements<'_, S> {
    fn step(&mut self) -> Result<Option<S>> {
        let (operator, entry) = (self.state.operator(), self.state.entry());
        loop {
            while let Some((values, next)) = &mut self.open
                && *next < values.len()
            {
                let element = values.read(*next, &|| Value::Unit).map_err(|failure| {
                    let mut error =
                        failure.into_error(operator.uid.clone(), entry.name.clone(), &Value::Unit);
                    if let Error::MigrationFailed { key, .. } = &mut error {
                        *key = format!("of element {}", self.read);
                    }
                    error
                })?;
                (*next, self.read) = (*next + 1, self.read + 1);
                if element.is_some() {
                    return Ok(element);
                }
            }
            let Some(batch) = self.batches.next().transpose()? else { return Ok(None) };
            let Some(route) = &self.routes[batch.schema] else { continue };
            let values = route.open(batch.batch.column(1)).map_err(|e| Error::Damaged {
                path: format!("{}/{}", self.state.savepoint().location(), entry.files[batch.file].path),
                found: e.found,
                wanted: e.wanted,
            })?;
            self.open = Some((values, 0));
        }
    }
}

impl<S: State> Iterator for Elements<'_, S> {
    type Item = Result<S>;

    fn next(&mut self) -> Option<Self::Item> {
        self.step().transpose()
    }
}
