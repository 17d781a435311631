//! Values of a Rust type as the rows of a state of a new savepoint: the writing twin of [`Rows`](super::Rows).

use crate::error::{Error, Result};
use crate::model::{Schema, SchemaVersion};
use crate::savepoint::{KeyedColumns, Merge, Place, SavepointWriter};
use crate::state::{Build as _, Key, Read as _, Refused, State, append_row};
use arrow::array::ArrayRef;
use std::fmt;
use std::marker::PhantomData;

/// What is gathered in builders, whose memory cannot be asked for, before it becomes arrays.
const CHUNK_ROWS: usize = 4096;
const CHUNK_BYTES: usize = 1 << 20;

/// A keyed state of a savepoint that is being built, filled with values in any order.
pub struct KeyedRows<K: Key, S: State> {
    columns: KeyedColumns,
    keys: K::Builder,
    values: S::Builder,
    refused: Option<Refused>,
}

impl<K: Key, S: State> fmt::Debug for KeyedRows<K, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedRows").field("columns", &self.columns).finish_non_exhaustive()
    }
}

impl SavepointWriter {
    /// Begins a keyed state: the one with the name `state` of the operator with the uid `uid`, whose type has the
    /// schema version `version` in the job.
    ///
    /// # Examples
    ///
    /// A table of the carriers' delays becomes the state of a job that goes on counting from there:
    ///
    /// ```
    /// use pitlane::savepoint::SavepointWriter;
    ///
    /// # #[cfg(feature = "engine")] {
    /// let table = "carrier,flights,minutes\nUA,2,31\nAA,1,-4\nUA,1,9\n";
    ///
    /// # let dir = tempfile::tempdir()?;
    /// # let path = dir.path().join("first");
    /// let writer = SavepointWriter::create(&path, "delays")?.label("from", "carriers.csv");
    /// let mut carriers = writer
    ///     .keyed_state::<String, (u64, i64)>("carriers", "state", 1)?
    ///     // A carrier that comes twice has the sum of both lines.
    ///     .merge_with(|(flights, minutes), (more, later)| (flights + more, minutes + later));
    /// for line in csv::Reader::from_reader(table.as_bytes()).deserialize() {
    ///     let (carrier, flights, minutes): (String, u64, i64) = line?;
    ///     carriers.insert(&carrier, &(flights, minutes))?;
    /// }
    /// carriers.finish()?;
    /// let savepoint = writer.finish()?;
    ///
    /// use pitlane::migrate::Chain;
    /// let carriers = savepoint.operator("carriers")?.state("state")?;
    /// let rows = carriers.rows::<String, (u64, i64)>(Chain::current(1))?.collect::<Result<Vec<_>, _>>()?;
    /// assert!(rows.contains(&("UA".to_owned(), (3, 40))));
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// Anything that can be iterated over becomes a state likewise:
    ///
    /// ```
    /// use pitlane::savepoint::SavepointWriter;
    ///
    /// # let dir = tempfile::tempdir()?;
    /// let writer = SavepointWriter::create(dir.path().join("first"), "squares")?;
    /// let mut squares = writer.keyed_state::<u32, u64>("count", "state", 1)?;
    /// (0..1000).try_for_each(|n| squares.insert(&n, &u64::from(n * n)))?;
    /// squares.finish()?;
    /// assert_eq!(writer.finish()?.manifest().rows(), 1000);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Job`] if a name is none, or the state was begun before.
    pub fn keyed_state<K: Key, S: State>(
        &self,
        uid: &str,
        state: &str,
        version: u32,
    ) -> Result<KeyedRows<K, S>> {
        let schema = Schema { version: SchemaVersion(version), data_type: S::data_type() };
        let columns = self.keyed_columns(uid, state, K::data_type(), schema)?;
        Ok(KeyedRows { columns, keys: K::Builder::default(), values: S::Builder::default(), refused: None })
    }
}

impl<K: Key, S: State> KeyedRows<K, S> {
    /// Bounds the memory that rows take before they go to disk, as [`KeyedColumns::budget_bytes`].
    #[must_use]
    pub fn budget_bytes(mut self, bytes: usize) -> Self {
        self.columns = self.columns.budget_bytes(bytes);
        self
    }

    /// Makes one value of two that have the same key, instead of refusing the second; the first one that came is
    /// the first one given.
    ///
    /// `merge` must be associative, since values of one key are not merged one after the other if there are many
    /// rows; `|_, new| new` keeps the last one.
    #[must_use]
    pub fn merge_with(mut self, merge: impl Fn(S, S) -> S + Send + 'static) -> Self {
        self.columns = self.columns.merge(Box::new(MergeWith { merge, of: PhantomData::<fn() -> S> }));
        self
    }

    /// Adds a key and its value.
    ///
    /// # Errors
    ///
    /// [`Error::Unstorable`] if the type of the key or of the value does not store it; [`Error::DuplicateKey`], now or
    /// when the state is finished; [`Error::Io`]. The state is of no use after an error.
    pub fn insert(&mut self, key: &K, value: &S) -> Result<()> {
        self.check()?;
        if let Err(refused) = append_row((key, &mut self.keys), (value, &mut self.values)) {
            self.refused = Some(refused);
            return self.check();
        }
        let is_full = self.keys.len() >= CHUNK_ROWS
            || self.keys.size_hint_bytes() >= CHUNK_BYTES
            || self.values.size_hint_bytes() >= CHUNK_BYTES;
        if is_full { self.flush() } else { Ok(()) }
    }

    /// Refuses to go on after a row that was refused: the builders hold a part of it.
    fn check(&self) -> Result<()> {
        self.refused.clone().map_or(Ok(()), |refused| {
            let (uid, state) = self.columns.owner();
            Err(Error::unstorable(uid, state, refused))
        })
    }

    fn flush(&mut self) -> Result<()> {
        if self.keys.is_empty() {
            return Ok(());
        }
        self.columns.write(self.keys.finish(None), self.values.finish(None))
    }

    /// Completes the state.
    ///
    /// # Errors
    ///
    /// [`Error::DuplicateKey`]; [`Error::Io`]; [`Error::Unstorable`] again, if a row was refused.
    pub fn finish(mut self) -> Result<()> {
        self.check()?;
        self.flush()?;
        self.columns.finish()
    }
}

/// Merges values of a type.
struct MergeWith<S, F> {
    merge: F,
    of: PhantomData<fn() -> S>,
}

impl<S: State, F: Fn(S, S) -> S + Send> Merge for MergeWith<S, F> {
    fn merge(
        &self,
        _keys: &[ArrayRef],
        values: &[ArrayRef],
        places: &[Place],
        ends: &[usize],
    ) -> Result<ArrayRef> {
        let mut readers: Vec<Option<S::Reader>> = values.iter().map(|_| None).collect();
        let mut read = |(array, row): Place| -> Result<S> {
            let reader = match &mut readers[array] {
                Some(reader) => reader,
                none => none.insert(S::Reader::new(&values[array]).map_err(|error| Error::Rows {
                    path: "values to be merged".to_owned(),
                    found: error.found,
                    wanted: error.wanted,
                })?),
            };
            Ok(reader.read(row))
        };
        let mut merged = S::Builder::default();
        let mut start = 0;
        for &end in ends {
            let mut value = read(places[start])?;
            for place in &places[start + 1..end] {
                value = (self.merge)(value, read(*place)?);
            }
            merged.append(&value).map_err(|problem| Error::Rows {
                path: "a merged value".to_owned(),
                found: problem.to_string(),
                wanted: "one that can be stored".to_owned(),
            })?;
            start = end;
        }
        Ok(merged.finish(None))
    }
}
