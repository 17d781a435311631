//! Rows that get new places: new keys, or another number of key groups.
//!
//! Threads read and change row groups side by side and hand them on in their order, so that the same rows meet in the
//! same order however many threads there are. A sorter for each part of the key groups takes what belongs there; its
//! memory is bounded, and what does not fit lies sorted on disk.

use super::decided::Way;
use super::layout::Place;
use super::rekey::{Collisions, Merging};
use super::run::{Came, Mapping, NewFile, Run};
use crate::error::{Error, Result};
use crate::migrate::MapValues;
use crate::model::{DataType, FileEntry, Schema};
use crate::savepoint::{Merge, Rows, Sorter, StateColumns, Target};
use arrow::array::{ArrayRef, UInt32Array};
use arrow::compute::take;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// The memory of all sorters of a state together.
const BUDGET_BYTES: usize = 128 << 20;

/// Says which files are meant.
type Chosen<'a> = &'a dyn Fn(&FileEntry) -> bool;

/// Gives the rows of a state new places; returns its files.
///
/// Rows that keep their schema are sorted among those that have the same one: a file has one schema. Those in quarantine
/// have files of their own.
pub(super) fn sort(run: &Run<'_>, place: &Place, threads: NonZeroUsize) -> Result<Vec<NewFile>> {
    let (operator, entry) = run.source(place);
    let new = run.new_state(place);
    let mut files = Vec::new();
    let mut sort_some = |schema: &Schema, quarantined, is_chosen: Chosen<'_>| -> Result<()> {
        let first_file = files.len();
        let job = Sorting { run, place, threads, schema, quarantined, counts: false, first_file };
        let (sorted, collisions) = job.carry_out(is_chosen)?;
        if collisions.rows > 0 && new.rekey.as_ref().is_some_and(|rekey| rekey.refuses()) {
            return Err(Error::Collisions {
                uid: operator.uid.clone(),
                state: entry.name.clone(),
                rows: collisions.rows,
                examples: collisions.shown(),
            });
        }
        let file = |entry| NewFile { entry, schema: schema.clone(), came: Came::Written };
        files.extend(sorted.into_iter().map(file));
        Ok(())
    };
    for quarantined in [false, true] {
        match &new.schema {
            Some(schema) => sort_some(schema, quarantined, &|file| file.quarantined == quarantined)?,
            None => {
                for (index, schema) in entry.schemas.iter().enumerate() {
                    sort_some(schema, quarantined, &|file| {
                        file.schema == index && file.quarantined == quarantined
                    })?;
                }
            }
        }
    }
    Ok(files)
}

/// Counts the rows of a state whose new keys are those of others; the files that this takes are of no use.
pub(super) fn count(run: &Run<'_>, place: &Place, threads: NonZeroUsize) -> Result<Collisions> {
    let schema = &run.source(place).1.schemas[0];
    let job = Sorting { run, place, threads, schema, quarantined: false, counts: true, first_file: 0 };
    Ok(job.carry_out(&|_| true)?.1)
}

/// The sorting of rows that all get one schema.
struct Sorting<'a> {
    run: &'a Run<'a>,
    place: &'a Place,
    threads: NonZeroUsize,
    schema: &'a Schema,
    /// Whether the rows are in quarantine.
    quarantined: bool,
    /// Whether only keys are sorted, to count those that are the same.
    counts: bool,
    /// The number of the first file.
    first_file: usize,
}

impl Sorting<'_> {
    /// Sorts the rows whose stored schemas are chosen; returns their files, and which keys came to be the same.
    fn carry_out(&self, is_chosen: Chosen<'_>) -> Result<(Vec<FileEntry>, Collisions)> {
        let Self { run, place, threads, schema, .. } = *self;
        let (operator, entry) = run.source(place);
        let new = run.new_state(place);
        let aside = entry.quarantined_rows();
        if new.rekey.is_some() && aside > 0 {
            let (uid, state) = (operator.uid.clone(), entry.name.clone());
            return Err(Error::InQuarantine { uid, state, rows: aside });
        }
        let mut units = Vec::new();
        for (index, file) in entry.files.iter().enumerate().filter(|(_, file)| is_chosen(file)) {
            let groups = run.rewrite.savepoint.state_file(entry, file)?.row_groups().len();
            units.extend((0..groups).map(|group| (index, group)));
        }
        if units.is_empty() {
            return Ok(Default::default());
        }
        let columns = StateColumns {
            kind: entry.kind,
            key: new.rekey.as_ref().map(|rekey| rekey.column_type()).or_else(|| entry.key.clone()),
            value: if self.counts { DataType::Unit } else { schema.data_type.clone() },
            max_parallelism: run.rewrite.max_parallelism,
            touched: !self.counts && entry.files.iter().any(|file| file.touched),
            quarantined: self.quarantined,
        };
        let rekey =
            new.rekey.as_ref().map(|rekey| if self.counts { rekey.only_keys() } else { Arc::clone(rekey) });
        let collisions = Arc::new(Mutex::new(Collisions::default()));
        let parts = threads.get().min(usize::from(columns.max_parallelism.get()));
        let sorter = |part: usize| {
            let merge = rekey.as_ref().map(|rekey| {
                Box::new(Merging {
                    rekey: Arc::clone(rekey),
                    uid: operator.uid.clone(),
                    state: entry.name.clone(),
                    versions: (entry.schemas[0].version, schema.version),
                    collisions: Arc::clone(&collisions),
                }) as Box<dyn Merge>
            });
            let target = Target {
                rows: Rows {
                    columns: columns.clone(),
                    uid: place.uid.clone(),
                    state: place.name.clone(),
                    merge,
                },
                store: Arc::clone(&run.store),
                dir: run.dir.to_owned(),
                ordinal: place.operator,
                worker: self.first_file + part,
                version: schema.version,
                roll_at: None,
            };
            Mutex::new(Some(Sorter::new(target, BUDGET_BYTES / parts)))
        };
        let sorters: Vec<_> = (0..parts).map(sorter).collect();
        let counts = self.counts;
        Feed { run, place, schema, columns: &columns, sorters: &sorters, units: &units, counts }
            .all(threads.get())?;
        let files = finish(&sorters)?;
        let collisions = std::mem::take(&mut *lock(&collisions));
        Ok((files, collisions))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Completes all sorters side by side.
fn finish(sorters: &[Mutex<Option<Sorter>>]) -> Result<Vec<FileEntry>> {
    let finish = |sorter: &Mutex<Option<Sorter>>| lock(sorter).take().map_or(Ok(Vec::new()), Sorter::finish);
    let files: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = sorters.iter().map(|sorter| scope.spawn(move || finish(sorter))).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or(Err(Error::Stopped { what: "a sorting thread" })))
            .collect()
    });
    Ok(files.into_iter().collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
}

/// Hands row groups to the sorters.
struct Feed<'a> {
    run: &'a Run<'a>,
    place: &'a Place,
    schema: &'a Schema,
    columns: &'a StateColumns,
    sorters: &'a [Mutex<Option<Sorter>>],
    /// The row groups: file, row group.
    units: &'a [(usize, usize)],
    counts: bool,
}

impl Feed<'_> {
    fn all(&self, threads: usize) -> Result<()> {
        let (next, is_over) = (AtomicUsize::new(0), AtomicBool::new(false));
        // The row group whose turn it is, and the first failure.
        let turn = Mutex::new((0_usize, None::<Error>));
        let turned = Condvar::new();
        let work = || {
            loop {
                let index = next.fetch_add(1, Relaxed);
                let Some(unit) = self.units.get(index).filter(|_| !is_over.load(Relaxed)) else { return };
                let read = self.read(*unit, &is_over);
                let mut state = lock(&turn);
                while state.0 != index && !is_over.load(Relaxed) {
                    state = turned.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
                if is_over.load(Relaxed) {
                    return;
                }
                let fed = read.and_then(|pieces| {
                    pieces.into_iter().try_for_each(|(keys, values)| self.push(keys, values))
                });
                state.0 += 1;
                if let Err(error) = fed {
                    is_over.store(true, Relaxed);
                    state.1.get_or_insert(error);
                }
                turned.notify_all();
            }
        };
        std::thread::scope(|scope| {
            (1..threads.min(self.units.len())).for_each(|_| drop(scope.spawn(work)));
            work();
        });
        let (_, failed) = turn.into_inner().unwrap_or_else(PoisonError::into_inner);
        failed.map_or(Ok(()), Err)
    }

    /// Reads and changes a row group.
    fn read(&self, (file, group): (usize, usize), is_over: &AtomicBool) -> Result<Vec<(ArrayRef, ArrayRef)>> {
        let (_, entry) = self.run.source(self.place);
        let new = self.run.new_state(self.place);
        let old = &entry.files[file];
        let map: Option<&dyn MapValues> = match &new.ways[old.schema] {
            Way::Code(code) => Some(code.as_ref()),
            Way::Recipe(recipe) => Some(recipe.as_ref()),
            Way::AsIs => None,
        };
        let mapping = Mapping {
            run: self.run,
            place: self.place,
            entry,
            old,
            schema: self.schema,
            map,
            recipe: None,
            is_over,
        };
        let rows = self.run.rewrite.savepoint.state_file(entry, old)?.read_live(group)?;
        let mut pieces = Vec::new();
        for piece in mapping.pieces(&rows) {
            let made = match self.counts {
                true => mapping.keys(self.columns, &piece, new.rekey.as_deref())?,
                false => mapping.rows(self.columns, &piece, new.rekey.as_deref())?,
            };
            self.run.progress.advance(piece.num_rows() as u64);
            pieces.push(made);
        }
        Ok(pieces)
    }

    /// Gives each sorter the rows of its key groups.
    fn push(&self, keys: ArrayRef, values: ArrayRef) -> Result<()> {
        let push = |part: usize, keys, values| {
            lock(&self.sorters[part]).as_mut().map_or(Ok(()), |sorter| sorter.push(keys, values))
        };
        if self.sorters.len() == 1 {
            return push(0, keys, values);
        }
        let groups =
            lock(&self.sorters[0]).as_ref().map_or(Ok(Vec::new()), |sorter| sorter.key_groups(&keys))?;
        let mut rows: Vec<Vec<u32>> = vec![Vec::new(); self.sorters.len()];
        for (row, group) in groups.iter().enumerate() {
            let part =
                usize::from(*group) * self.sorters.len() / usize::from(self.columns.max_parallelism.get());
            rows[part].push(row as u32);
        }
        for (part, rows) in rows.into_iter().enumerate().filter(|(_, rows)| !rows.is_empty()) {
            let rows = UInt32Array::from(rows);
            let taken = |array: &ArrayRef| {
                take(array, &rows, None).map_err(|error| Error::Parquet {
                    action: "sort for",
                    path: format!("operator `{}`, state `{}`", self.place.uid, self.place.name),
                    source: error.into(),
                })
            };
            push(part, taken(&keys)?, taken(&values)?)?;
        }
        Ok(())
    }
}
