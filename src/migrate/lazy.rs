//! State of a savepoint that the job has not touched yet: read per key at first touch, else left as it is.
//!
//! Nothing is decoded when a job resumes; only the footers of the state files are open. The first touch of a
//! key loads the row group that holds it, finds the row, runs the migrations and takes the row out; from then
//! on the key lives in the heap table. A row group goes when its last row was taken. Rows that were never touched stay columns of their old schema, and go
//! into the next savepoint as such, whichever schema the job itself works with.
//!
//! ```text
//! take(key)    heap has no such key -> row group (loaded once) -> row -> migrate -> mark taken
//! take_next()  the same with a row that nobody has asked for; so a sweep comes to an end of them
//! image()      rows not taken now, as columns, for the writer of a savepoint; later takes do not show in it
//! ```

use super::{OldValues, Route};
use crate::error::{Error, Result};
use crate::model::{
    KeyGroup, KeyGroupRange, OperatorUid, Schema, SchemaVersion, StateName, SweptRows, Value, value_at,
};
use crate::savepoint::StateFile;
use crate::state::{Key, Read as _, State};
use arrow::array::{Array as _, ArrayRef, AsArray as _, BooleanArray, Int64Array, RecordBatch, StringArray};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{Int64Type, UInt16Type};
use arrow::error::ArrowError;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

/// The untouched rows of one keyed state, for the key groups of one worker.
pub struct Untouched<K: Key, S: State> {
    uid: OperatorUid,
    state: StateName,
    held: KeyGroupRange,
    files: Vec<OldFile<K, S>>,
    /// Rows not taken; counts rows of other workers, and rows that newer layers cover, in row groups that are not
    /// loaded yet.
    remaining: u64,
    /// Those of them that have another schema than the job works with.
    unmigrated: u64,
    /// How many were taken.
    taken: u64,
    /// Whether rows that a migration fails for are set aside.
    sets_aside: bool,
    /// How many were.
    failed: u64,
    /// The key of the last one, until somebody asks.
    failed_key: Option<K>,
}

struct OldFile<K: Key, S: State> {
    file: StateFile,
    path: String,
    schema: Schema,
    route: Route<S>,
    groups: Vec<OldRowGroup<K, S>>,
    /// As [`Untouched::remaining`], of this file.
    remaining: u64,
}

/// A row group with key groups of this worker.
struct OldRowGroup<K: Key, S: State> {
    /// Its place in the file.
    index: usize,
    /// The key groups of its rows.
    span: KeyGroupRange,
    /// Of timers: the time of the earliest.
    first_time: i64,
    /// Of timers: whether they are known by their times.
    handed_out: bool,
    /// Marks the rows that the heap has taken over.
    taken: Arc<Taken>,
    /// Marks the rows that a migration failed for, and what it said.
    failed: Arc<Failed>,
    /// No row before this one is left.
    swept: usize,
    loaded: Option<Loaded<K, S>>,
}

struct Loaded<K: Key, S: State> {
    rows: RecordBatch,
    keys: K::Reader,
    values: OldValues<S>,
    /// When rows were last touched, where the file says it.
    touched_ms: Option<Int64Array>,
}

/// A row that was taken out although nobody has asked for its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Swept<K, S> {
    /// The key.
    pub key: K,
    /// Its value, migrated, with the time when it was last touched if the file says it; `None` if nothing came of it.
    pub value: Option<(S, Option<i64>)>,
    /// Whether the savepoint has the value under the schema that the job works with.
    pub is_same: bool,
    /// Of timers: whether [`Untouched::load_until`] has handed it out before.
    pub is_handed_out: bool,
}

/// Rows of a row group that a migration failed for: they stay where they are, with the reason.
#[derive(Clone, Debug, Default)]
struct Failed {
    rows: Taken,
    reasons: BTreeMap<usize, String>,
}

/// Rows of a row group that are no longer the current value of their key.
#[derive(Clone, Debug, Default)]
struct Taken {
    bits: Vec<u64>,
    count: usize,
}

impl Taken {
    fn contains(&self, row: usize) -> bool {
        self.bits.get(row / 64).is_some_and(|word| word >> (row % 64) & 1 == 1)
    }

    /// Returns the first row below `rows` that is neither in here nor in `other`, if all before `from` are.
    fn first_missing(&self, other: &Self, from: usize, rows: usize) -> Option<usize> {
        let word = |index: usize| {
            let of = |bits: &[u64]| bits.get(index).copied().unwrap_or_default();
            of(&self.bits) | of(&other.bits)
        };
        let full = (from / 64..rows.div_ceil(64)).find(|index| word(*index) != u64::MAX)?;
        let first = full * 64 + word(full).trailing_ones() as usize;
        (first < rows).then_some(first)
    }

    fn insert(&mut self, row: usize) {
        if self.bits.len() <= row / 64 {
            self.bits.resize(row / 64 + 1, 0);
        }
        self.bits[row / 64] |= 1 << (row % 64);
        self.count += 1;
    }
}

impl Failed {
    /// Puts what migrations have said in place of the reasons that the rows of a row group have, if they have some.
    fn over(&self, stored: Option<&ArrayRef>, rows: usize) -> Option<ArrayRef> {
        if self.reasons.is_empty() {
            return stored.cloned();
        }
        let stored = stored.and_then(|stored| stored.as_string_opt::<i32>());
        let reason = |row: usize| match self.reasons.get(&row) {
            Some(reason) => reason.as_str(),
            None => stored.map_or("", |stored| stored.value(row)),
        };
        Some(Arc::new(StringArray::from_iter_values((0..rows).map(reason))))
    }
}

impl<K: Key, S: State> Untouched<K, S> {
    /// Makes the untouched part of a state that is new to the savepoint: none.
    pub fn none(uid: OperatorUid, state: StateName, held: KeyGroupRange) -> Self {
        let (remaining, unmigrated, taken, failed) = Default::default();
        let (sets_aside, failed_key) = (false, None);
        Self {
            uid,
            state,
            held,
            files: Vec::new(),
            remaining,
            unmigrated,
            taken,
            sets_aside,
            failed,
            failed_key,
        }
    }

    /// Sets rows aside that a migration fails for from now on: the failure is still an error, and the row stays as it is,
    /// with the reason, and is in quarantine in every image (clauses QU-1 to QU-4).
    pub fn set_failing_aside(&mut self) {
        self.sets_aside = true;
    }

    /// Adds a state file that lies at `path`, and whose values take `route` to the type of the job.
    pub fn add(&mut self, file: StateFile, path: String, schema: Schema, route: Route<S>) {
        let mut remaining = 0;
        let groups: Vec<_> = file
            .row_groups()
            .iter()
            .enumerate()
            .filter_map(|(index, group)| {
                let span = group.key_groups?;
                span.intersection(self.held)?;
                remaining += group.rows as u64;
                // A file that does not say is looked at at once.
                let first_time = file.first_time(index).unwrap_or(i64::MIN);
                Some(OldRowGroup {
                    index,
                    span,
                    first_time,
                    handed_out: false,
                    taken: Arc::default(),
                    failed: Arc::default(),
                    swept: 0,
                    loaded: None,
                })
            })
            .collect();
        self.remaining += remaining;
        self.unmigrated += if route.is_identity() { 0 } else { remaining };
        if !groups.is_empty() {
            self.files.push(OldFile { file, path, schema, route, groups, remaining });
        }
    }

    /// Returns how many rows are untouched; more than there are while row groups that are shared with other
    /// workers, or lie below newer layers, are not loaded.
    pub fn remaining(&self) -> u64 {
        self.remaining
    }

    /// Returns how many rows were taken so far, those included that came to nothing.
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// Returns how many rows a migration has failed for so far, each counted once.
    pub fn failed(&self) -> u64 {
        self.failed
    }

    /// Returns the key of the row that was set aside last, once.
    pub fn take_failed_key(&mut self) -> Option<K> {
        self.failed_key.take()
    }

    /// Returns how many rows are in quarantine: those that the savepoint has there, and those that were set aside since.
    pub fn quarantined(&self) -> u64 {
        let of_file = |file: &OldFile<K, S>| match file.is_quarantined() {
            true => file.remaining,
            false => file.groups.iter().map(|group| group.failed.reasons.len() as u64).sum(),
        };
        if self.failed == 0 && !self.files.iter().any(OldFile::is_quarantined) {
            return 0;
        }
        self.files.iter().map(of_file).sum()
    }

    /// Returns how many of them have another schema than the job works with.
    pub fn unmigrated(&self) -> u64 {
        self.unmigrated
    }

    /// As [`unmigrated`](Self::unmigrated), by the schema version that the rows have.
    pub fn unmigrated_by_version(&self) -> BTreeMap<SchemaVersion, u64> {
        let mut rows = BTreeMap::new();
        for file in self.files.iter().filter(|file| !file.route.is_identity() && file.remaining > 0) {
            *rows.entry(file.schema.version).or_default() += file.remaining;
        }
        rows
    }

    /// Returns how many rows a sweep of these has before it, as far as is known; those that were set aside are not.
    pub fn left(&self, rows: SweptRows) -> u64 {
        let all = match rows {
            SweptRows::Old => self.unmigrated,
            SweptRows::All => self.remaining,
        };
        all.saturating_sub(self.failed)
    }

    /// Takes a row out that nobody has asked for, migrated, unless it is not `wanted` for the time when it was last
    /// touched; `None` if there is none left of these but those that were set aside.
    ///
    /// # Errors
    ///
    /// As [`take`](Self::take).
    pub fn take_next(
        &mut self,
        rows: SweptRows,
        wanted: impl FnOnce(Option<i64>) -> bool,
    ) -> Result<Option<Swept<K, S>>> {
        let (mut at, mut index) = (0, 0);
        loop {
            self.files.retain(|file| !file.groups.is_empty());
            let is_swept = |file: &OldFile<K, S>| rows == SweptRows::All || !file.route.is_identity();
            let Some(found) = self.files.get(at) else { return Ok(None) };
            if !is_swept(found) || index >= found.groups.len() {
                (at, index) = (at + 1, 0);
                continue;
            }
            self.load(at, index)?;
            let OldFile { file, route, groups, .. } = &mut self.files[at];
            let old = &mut groups[index];
            let count = file.row_groups()[old.index].rows;
            // Rows before the first that is left were taken in this order, or are not looked at again.
            let first = old.taken.first_missing(&old.failed.rows, old.swept, count);
            let (Some(loaded), Some(row)) = (&old.loaded, first) else {
                match old.taken.count == count {
                    true => drop(groups.remove(index)),
                    // What was set aside stays here.
                    false => index += 1,
                }
                continue;
            };
            old.swept = row;
            let key = loaded.keys.read(row);
            let (is_handed_out, is_same) = (old.handed_out, route.is_identity());
            let value = self.take_row((at, index), row, wanted)?;
            return Ok(Some(Swept { key, value, is_same, is_handed_out }));
        }
    }

    /// Takes the value of `key` out, migrated; `None` if the key is not here, or a migration let it go.
    ///
    /// # Errors
    ///
    /// [`Error::MigrationFailed`] with key and value; [`Error::Damaged`] if the file cannot be read.
    pub fn take(&mut self, group: KeyGroup, key: &K) -> Result<Option<S>> {
        Ok(self.take_if(group, key, |_| true)?.map(|(value, _)| value))
    }

    /// Takes the value of `key` out, migrated, with the time when it was last touched if the file says it; `None` if the
    /// key is not here, a migration let it go, or it is not `wanted` for its time: then it is gone without a migration.
    ///
    /// # Errors
    ///
    /// As [`take`](Self::take).
    pub fn take_if(
        &mut self,
        group: KeyGroup,
        key: &K,
        wanted: impl FnOnce(Option<i64>) -> bool,
    ) -> Result<Option<(S, Option<i64>)>> {
        for file in 0..self.files.len() {
            let groups = &self.files[file].groups;
            let first = groups.partition_point(|g| g.span.last() < group);
            let end = first + groups[first..].partition_point(|g| g.span.first() <= group);
            for index in first..end {
                self.load(file, index)?;
                let old = &self.files[file].groups[index];
                let Some(loaded) = &old.loaded else { continue };
                if let Some(row) = loaded.find(group, key).filter(|row| !old.taken.contains(*row)) {
                    return self.take_row((file, index), row, wanted);
                }
            }
        }
        Ok(None)
    }

    /// Takes a row of a row group that is loaded, and lets go of the row group if it was the last one.
    fn take_row(
        &mut self,
        (at, index): (usize, usize),
        row: usize,
        wanted: impl FnOnce(Option<i64>) -> bool,
    ) -> Result<Option<(S, Option<i64>)>> {
        let file = &mut self.files[at];
        let is_old = !file.route.is_identity();
        let old = &mut file.groups[index];
        let Some(loaded) = &old.loaded else { return Ok(None) };
        let touched_ms = loaded.touched_ms.as_ref().map(|touched_ms| touched_ms.value(row));
        let migrated = if wanted(touched_ms) {
            let key = || value_at(loaded.rows.column(1), &K::data_type(), row).unwrap_or(Value::Unit);
            match loaded.values.read(row, &key) {
                Ok(migrated) => migrated,
                Err(failure) => {
                    if self.sets_aside {
                        let failed = Arc::make_mut(&mut old.failed);
                        let is_new = failed.reasons.insert(row, failure.to_string()).is_none();
                        if is_new {
                            failed.rows.insert(row);
                            self.failed += 1;
                        }
                        self.failed_key = Some(loaded.keys.read(row));
                    }
                    return Err(failure.into_error(self.uid.clone(), self.state.clone(), &key()));
                }
            }
        } else {
            None
        };
        Arc::make_mut(&mut old.taken).insert(row);
        self.remaining -= 1;
        self.taken += 1;
        file.remaining -= 1;
        self.unmigrated -= u64::from(is_old);
        if file.row_count(&file.groups[index]) == 0 {
            file.groups.remove(index);
            if file.groups.is_empty() {
                self.files.remove(at);
            }
        }
        Ok(migrated.map(|value| (value, touched_ms)))
    }

    /// Loads a row group if it is not, and any of its rows are left.
    fn load(&mut self, file: usize, index: usize) -> Result<()> {
        let file = &mut self.files[file];
        let spare = file.load(index, self.held)?;
        self.remaining -= spare;
        file.remaining -= spare;
        self.unmigrated -= if file.route.is_identity() { 0 } else { spare };
        Ok(())
    }

    /// Returns the least time of timers that [`load_until`](Self::load_until) has not handed out: where the first
    /// field of the key is a time, as the key of timers is.
    pub fn first_time(&self) -> Option<i64> {
        let unseen =
            |f: &OldFile<K, S>| f.groups.iter().filter(|g| !g.handed_out).map(|g| g.first_time).min();
        self.files.iter().filter_map(unseen).min()
    }

    /// Hands out the timers of every row group whose first one is not later than `until_ms`; each row group once.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`] if a file cannot be read.
    pub fn load_until(&mut self, until_ms: i64, mut found: impl FnMut(K)) -> Result<()> {
        for file in 0..self.files.len() {
            for index in 0..self.files[file].groups.len() {
                let old = &self.files[file].groups[index];
                if old.handed_out || old.first_time > until_ms {
                    continue;
                }
                self.load(file, index)?;
                let old = &mut self.files[file].groups[index];
                old.handed_out = true;
                let Some(loaded) = &old.loaded else { continue };
                let untaken = (0..loaded.rows.num_rows()).filter(|row| !old.taken.contains(*row));
                untaken.for_each(|row| found(loaded.keys.read(row)));
            }
        }
        Ok(())
    }

    /// Returns the rows that are untouched now, to be read elsewhere while this goes on.
    pub fn image(&self) -> UntouchedImage {
        self.image_of(|_| true, false)
    }

    /// Returns those that were set aside since the job started, and no others.
    pub fn image_of_failed(&self) -> UntouchedImage {
        self.image_of(|group| !group.failed.reasons.is_empty(), true)
    }

    fn image_of(&self, is_in: impl Fn(&OldRowGroup<K, S>) -> bool, only_failed: bool) -> UntouchedImage {
        let file = |f: &OldFile<K, S>| ImageFile {
            file: f.file.clone(),
            path: f.path.clone(),
            schema: f.schema.clone(),
            groups: f
                .groups
                .iter()
                .filter(|g| f.row_count(g) > 0 && is_in(g))
                .map(|g| ImageRowGroup {
                    index: g.index,
                    span: g.span,
                    taken: Arc::clone(&g.taken),
                    failed: Arc::clone(&g.failed),
                    rows: g.loaded.as_ref().map(|l| l.rows.clone()),
                })
                .collect(),
        };
        UntouchedImage { held: Some(self.held), files: self.files.iter().map(file).collect(), only_failed }
    }
}

impl<K: Key, S: State> OldFile<K, S> {
    fn is_quarantined(&self) -> bool {
        self.file.columns().quarantined
    }

    fn row_count(&self, group: &OldRowGroup<K, S>) -> usize {
        self.file.row_groups()[group.index].rows - group.taken.count
    }

    /// Loads a row group if it is not; returns how many of its rows turned out to be other workers', or covered by
    /// newer layers.
    fn load(&mut self, index: usize, held: KeyGroupRange) -> Result<u64> {
        let old = &mut self.groups[index];
        if old.loaded.is_some() || old.taken.count == self.file.row_groups()[old.index].rows {
            return Ok(0);
        }
        let rows = self.file.read_row_group(old.index)?;
        let damaged = |found: String| Error::Damaged {
            path: self.path.clone(),
            found,
            wanted: format!("values of {}", self.schema.data_type),
        };
        let keys = K::Reader::new(rows.column(1)).map_err(|e| damaged(e.found))?;
        let values = self.route.open(rows.column(2)).map_err(|e| damaged(e.to_string()))?;
        let own = rows_of(&rows, held);
        let covered = self.file.covered(&rows)?;
        let is_spare =
            |row: &usize| !own.contains(row) || covered.as_ref().is_some_and(|covered| covered.value(*row));
        let mut spare = 0;
        if own.len() < rows.num_rows() || covered.is_some() {
            let taken = Arc::make_mut(&mut old.taken);
            (0..rows.num_rows()).filter(is_spare).for_each(|row| taken.insert(row));
            spare = taken.count as u64;
        }
        // All of them may be spare: then nothing is kept of them.
        if old.taken.count < rows.num_rows() {
            let touched_ms = touched_of(&rows);
            old.loaded = Some(Loaded { rows, keys, values, touched_ms });
        }
        Ok(spare)
    }
}

impl<K: Key, S: State> Loaded<K, S> {
    fn find(&self, group: KeyGroup, key: &K) -> Option<usize> {
        let Range { start: mut low, end: mut high } = rows_of_group(&self.rows, group);
        while low < high {
            let middle = low.midpoint(high);
            match key.compare_row(&self.keys, middle) {
                Ordering::Equal => return Some(middle),
                Ordering::Less => high = middle,
                Ordering::Greater => low = middle + 1,
            }
        }
        None
    }
}

/// When rows of a state of values were last touched, if they say it: what comes behind key group, key and value.
fn touched_of(rows: &RecordBatch) -> Option<Int64Array> {
    rows.columns().get(3)?.as_primitive_opt::<Int64Type>().cloned()
}

/// The rows of `rows` whose key group lies in `held`; they are sorted by key group.
fn rows_of(rows: &RecordBatch, held: KeyGroupRange) -> Range<usize> {
    let groups = rows.column(0).as_primitive::<UInt16Type>().values();
    groups.partition_point(|g| *g < held.first().index())
        ..groups.partition_point(|g| *g <= held.last().index())
}

fn rows_of_group(rows: &RecordBatch, group: KeyGroup) -> Range<usize> {
    let groups = rows.column(0).as_primitive::<UInt16Type>().values();
    groups.partition_point(|g| *g < group.index())..groups.partition_point(|g| *g <= group.index())
}

/// Untouched rows of one key group and one schema.
#[derive(Clone, Debug)]
pub struct UntouchedRows {
    /// The schema of the values.
    pub schema: Schema,
    /// The keys, in order.
    pub keys: ArrayRef,
    /// The values.
    pub values: ArrayRef,
    /// When each was last touched, in milliseconds, if the file says it.
    pub touched_ms: Option<ArrayRef>,
    /// Why each is in quarantine, if they are.
    pub reasons: Option<ArrayRef>,
}

/// The rows of a state that were untouched at one moment.
#[derive(Debug, Default)]
pub struct UntouchedImage {
    held: Option<KeyGroupRange>,
    files: Vec<ImageFile>,
    /// Whether it has those rows alone that were set aside.
    only_failed: bool,
}

/// Row groups that can be carried over as they lie encoded, in the order of their rows: files, and positions in them.
pub type Whole = Vec<(StateFile, usize)>;

#[derive(Debug)]
struct ImageFile {
    file: StateFile,
    path: String,
    schema: Schema,
    groups: Vec<ImageRowGroup>,
}

#[derive(Debug)]
struct ImageRowGroup {
    index: usize,
    span: KeyGroupRange,
    taken: Arc<Taken>,
    failed: Arc<Failed>,
    rows: Option<RecordBatch>,
}

/// A row group that is carried over: its key groups, the position of its file, and its own there.
struct WholeGroup {
    span: KeyGroupRange,
    file: usize,
    index: usize,
}

impl UntouchedImage {
    /// Returns the schemas that the rows have, each once.
    pub fn schemas(&self) -> Vec<Schema> {
        let mut schemas: Vec<Schema> = Vec::new();
        for file in self.files.iter().filter(|f| !f.groups.is_empty()) {
            if !schemas.iter().any(|s| s.is_same(&file.schema)) {
                schemas.push(file.schema.clone());
            }
        }
        schemas
    }

    /// Takes the row groups out of which no row was touched, and that are all of this worker, by schema.
    ///
    /// They are none of layers, none that was set aside, and `suit`. Those of one schema can follow each other in one file: where row groups of
    /// several files share key groups, those of the file with the most rows are taken, and the others stay.
    pub fn take_whole(&mut self, suits: impl Fn(&StateFile, usize) -> bool) -> Vec<(Schema, Whole)> {
        let Some(held) = self.held.filter(|_| !self.only_failed) else { return Vec::new() };
        let is_whole = |file: &ImageFile, group: &ImageRowGroup| {
            group.taken.count == 0
                && group.failed.reasons.is_empty()
                && !file.file.columns().quarantined
                && group.span.intersection(held) == Some(group.span)
                && !file.file.is_covered()
                && suits(&file.file, group.index)
        };
        let rows = |file: &ImageFile, group: &ImageRowGroup| file.file.row_groups()[group.index].rows;
        let mut by_size: Vec<usize> = (0..self.files.len()).collect();
        by_size.sort_by_key(|at| {
            let file = &self.files[*at];
            std::cmp::Reverse(file.groups.iter().map(|group| rows(file, group)).sum::<usize>())
        });
        let mut taken: Vec<(Schema, Vec<WholeGroup>)> = Vec::new();
        for at in by_size {
            let file = &self.files[at];
            let known = match taken.iter().position(|(schema, _)| schema.is_same(&file.schema)) {
                Some(known) => known,
                None => {
                    taken.push((file.schema.clone(), Vec::new()));
                    taken.len() - 1
                }
            };
            let others = &mut taken[known].1;
            let is_free = |group: &&ImageRowGroup| {
                is_whole(file, group)
                    && others.iter().all(|other| other.span.intersection(group.span).is_none())
            };
            let free = file.groups.iter().filter(is_free);
            let free: Vec<_> =
                free.map(|group| WholeGroup { span: group.span, file: at, index: group.index }).collect();
            others.extend(free);
        }
        taken.retain(|(_, groups)| !groups.is_empty());
        let whole = taken.into_iter().map(|(schema, mut groups)| {
            groups.sort_by_key(|group| (group.span.first(), group.file, group.index));
            for whole in &groups {
                self.files[whole.file].groups.retain(|group| group.index != whole.index);
            }
            let opened = |group: &WholeGroup| (self.files[group.file].file.clone(), group.index);
            (schema, groups.iter().map(opened).collect())
        });
        whole.collect()
    }

    /// Returns the untouched rows of one key group, in as many pieces as they lie in.
    ///
    /// Key groups are to be asked for in order: what lies before `group` is let go.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`] if a file cannot be read.
    pub fn rows_of(&mut self, group: KeyGroup) -> Result<Vec<UntouchedRows>> {
        let mut pieces = Vec::new();
        for file in &mut self.files {
            file.groups.retain(|g| g.span.last() >= group);
            for old in file.groups.iter_mut().take_while(|g| g.span.first() <= group) {
                if old.rows.is_none() {
                    let rows = file.file.read_row_group(old.index)?;
                    if let Some(covered) = file.file.covered(&rows)? {
                        let taken = Arc::make_mut(&mut old.taken);
                        covered.set_indices().for_each(|row| taken.insert(row));
                    }
                    old.rows = Some(rows);
                }
                let Some(rows) = &old.rows else { continue };
                let range = rows_of_group(rows, group);
                if range.is_empty() {
                    continue;
                }
                let is_here = |row: usize| !old.taken.contains(row);
                let has_failed = |row: usize| old.failed.rows.contains(row);
                let piece = |is_in: &dyn Fn(usize) -> bool, reasons: Option<&ArrayRef>| {
                    let rows = UntouchedRows::of(&file.schema, (rows, reasons), range.clone(), is_in);
                    rows.map_err(|e| Error::Parquet {
                        action: "filter",
                        path: file.path.clone(),
                        source: e.into(),
                    })
                };
                let reasons = old.failed.over(rows.column_by_name("reason"), rows.num_rows());
                if file.file.columns().quarantined && !self.only_failed {
                    pieces.push(piece(&is_here, reasons.as_ref())?);
                    continue;
                }
                if !self.only_failed {
                    pieces.push(piece(&|row| is_here(row) && !has_failed(row), None)?);
                }
                if !old.failed.reasons.is_empty() {
                    pieces.push(piece(&|row| is_here(row) && has_failed(row), reasons.as_ref())?);
                }
            }
        }
        pieces.retain(|piece: &UntouchedRows| !piece.keys.is_empty());
        Ok(pieces)
    }
}

impl UntouchedRows {
    /// Takes some rows out of a range of a row group, with the reasons why they are in quarantine if they are.
    fn of(
        schema: &Schema,
        (rows, reasons): (&RecordBatch, Option<&ArrayRef>),
        range: Range<usize>,
        is_in: &dyn Fn(usize) -> bool,
    ) -> std::result::Result<Self, ArrowError> {
        let kept = BooleanBuffer::collect_bool(range.len(), |i| is_in(range.start + i));
        let all_kept = kept.count_set_bits() == range.len();
        let kept = BooleanArray::new(kept, None);
        let column = |array: &ArrayRef| -> std::result::Result<ArrayRef, ArrowError> {
            let slice = array.slice(range.start, range.len());
            if all_kept { Ok(slice) } else { arrow::compute::filter(&slice, &kept) }
        };
        let touched_ms = rows.column_by_name("touched_ms").map(column).transpose()?;
        let (keys, values) = (column(rows.column(1))?, column(rows.column(2))?);
        let reasons = reasons.map(column).transpose()?;
        Ok(Self { schema: schema.clone(), keys, values, touched_ms, reasons })
    }
}
