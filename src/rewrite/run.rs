//! Carrying a rewrite out: files are taken over or made anew on all cores, and the manifest comes last (clauses PB-1 to
//! PB-4). Each thread has one row group in memory.

use super::chunks::{Assembly, with_values};
use super::decided::{Quarantine, Rewrite, Rung, StateRewrite, Way};
use super::layout::{Layout, Place};
use super::progress::Progress;
use super::rekey::Rekey;
use super::steps::Recipe;
use crate::error::{Error, Result, shown};
use crate::migrate::{MapFailure, MapValues};
use crate::model::{
    DataType, FileEntry, ImageKind, Manifest, OperatorEntry, OperatorUid, Schema, StateEntry, StateKind,
    StateName, Value, array_of, value_at,
};
use crate::savepoint::{ColumnFrom, Savepoint, StateColumns, StateFileWriter, Taken, now_ms, writer_name};
use crate::storage::{LocalStore, Store};
use arrow::array::{
    Array as _, ArrayRef, BooleanArray, Int64Array, RecordBatch, StringArray, StructArray, UInt32Array,
};
use arrow::compute::{filter, take};
use std::num::NonZeroUsize;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

/// The rows that go through a migration in one piece.
const PIECE_ROWS: usize = 16 << 10;

/// How to carry a rewrite out.
#[derive(Clone, Copy)]
pub struct Options<'a> {
    /// The number of threads.
    pub threads: NonZeroUsize,
    /// Who is told how far it has come.
    pub progress: &'a dyn Progress,
    /// Whether rows of values that a job's migration fails for go into quarantine; by default they end it.
    pub quarantine_failing_keys: bool,
}

impl Default for Options<'_> {
    /// As many threads as there are cores, and nobody is told.
    fn default() -> Self {
        Self {
            threads: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
            progress: &super::progress::Silent,
            quarantine_failing_keys: false,
        }
    }
}

/// What a rewrite has done.
#[derive(Debug)]
pub struct Rewritten {
    /// The new savepoint.
    pub savepoint: Savepoint,
    /// What became of each state that is in it, in its order.
    pub states: Vec<StateDone>,
    /// The number of files that have a second name in the new savepoint.
    pub linked_files: usize,
    /// The number of files that were copied as they are.
    pub copied_files: usize,
    /// The number of files that were written.
    pub written_files: usize,
}

/// What became of a state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateDone {
    /// The operator that has it now.
    pub uid: OperatorUid,
    /// Its name now.
    pub state: StateName,
    /// The number of rows before.
    pub rows_before: u64,
    /// The number of rows now.
    pub rows_after: u64,
    /// How many of them are in quarantine.
    pub quarantined: u64,
}

/// Writes the new savepoint into a local directory, which appears.
///
/// # Errors
///
/// As [`run`].
pub fn run_to(rewrite: &Rewrite, new: impl AsRef<Path>, options: Options<'_>) -> Result<Rewritten> {
    let new = new.as_ref();
    rewrite.check()?;
    if std::fs::read_dir(new).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(Error::ImageExists { path: shown(new) });
    }
    let store = LocalStore::create_root(new).map_err(Error::io("create", shown(new)))?;
    run(rewrite, Arc::new(store), "", options)
}

/// Writes the new savepoint into the directory `dir` of a store, which has no files.
///
/// There is no savepoint before all of it is there. What was written is removed if something goes wrong.
///
/// # Errors
///
/// [`Error::ImageExists`] if there is something in the directory; [`Error::NameTaken`] and [`Error::KeysApart`] if the
/// new savepoint cannot be; [`Error::MigrationFailed`] with the key and the value that a migration does not answer for;
/// [`Error::Damaged`] if the old savepoint cannot be read; [`Error::Io`].
pub fn run(rewrite: &Rewrite, store: Arc<dyn Store>, dir: &str, options: Options<'_>) -> Result<Rewritten> {
    rewrite.check()?;
    let run = Run {
        rewrite,
        store: Arc::clone(&store),
        dir,
        layout: Layout::new(rewrite),
        progress: options.progress,
        quarantines: options.quarantine_failing_keys,
    };
    let mut done = Vec::new();
    let savepoint = rewrite.savepoint.write_anew(store, dir, |_| {
        let (manifest, came) = run.write(options.threads)?;
        done = came;
        Ok(manifest)
    })?;
    let count = |way: Came| done.iter().filter(|came| **came == way).count();
    let states = run.layout.places.iter().map(|place| {
        let (_, before) = run.source(place);
        let rows = savepoint.manifest().operator(&place.uid).and_then(|o| o.state(&place.name));
        StateDone {
            uid: place.uid.clone(),
            state: place.name.clone(),
            rows_before: before.rows(),
            rows_after: rows.map_or(0, StateEntry::rows),
            quarantined: rows.map_or(0, StateEntry::quarantined_rows),
        }
    });
    Ok(Rewritten {
        states: states.collect(),
        linked_files: count(Came::Linked),
        copied_files: count(Came::Copied),
        written_files: count(Came::Written),
        savepoint,
    })
}

/// Rows of a state whose new keys are those of others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyCollisions {
    /// The operator that has the state.
    pub uid: OperatorUid,
    /// The name of the state.
    pub state: StateName,
    /// How many rows are too many.
    pub rows: u64,
    /// Some of the keys.
    pub examples: String,
    /// Whether nothing has been said of what becomes of their values.
    pub is_refused: bool,
}

/// Counts the rows that would come to have keys of others, in each state that gets new keys: those that a rewrite
/// merges by rule, or refuses. Only keys are sorted, with files in a directory for temporary ones.
///
/// # Errors
///
/// [`Error::MigrationFailed`] with the key and the value that there is no new key for; [`Error::Damaged`]; [`Error::Io`].
pub fn count_collisions(rewrite: &Rewrite, options: Options<'_>) -> Result<Vec<KeyCollisions>> {
    rewrite.check()?;
    let layout = Layout::new(rewrite);
    let is_rekeyed =
        |place: &&Place| rewrite.operators[place.source.0].states[place.source.1].rekey.is_some();
    if !layout.places.iter().any(|place| is_rekeyed(&place)) {
        return Ok(Vec::new());
    }
    let scratch = Scratch::new()?;
    let store = LocalStore::create_root(&scratch.0).map_err(Error::io("create", shown(&scratch.0)))?;
    let progress = options.progress;
    let run = Run { rewrite, store: Arc::new(store), dir: "", layout, progress, quarantines: false };
    let mut found = Vec::new();
    for place in run.layout.places.iter().filter(is_rekeyed) {
        let (operator, entry) = run.source(place);
        let collisions = super::sorted::count(&run, place, options.threads)?;
        found.push(KeyCollisions {
            uid: operator.uid.clone(),
            state: entry.name.clone(),
            rows: collisions.rows,
            examples: collisions.shown(),
            is_refused: collisions.rows > 0
                && run.new_state(place).rekey.as_ref().is_some_and(|r| r.refuses()),
        });
    }
    Ok(found)
}

/// A directory of its own, which goes with this.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Self> {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let name = format!("pitlane-{}-{}", std::process::id(), NUMBER.fetch_add(1, Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).map_err(Error::io("create", shown(&path)))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed is the affair of whoever cleans that place.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// How a file came into the new savepoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Came {
    Linked,
    Copied,
    Written,
}

/// A file of the new savepoint, under the schema that it has there.
pub(super) struct NewFile {
    pub(super) entry: FileEntry,
    pub(super) schema: Schema,
    pub(super) came: Came,
}

/// A piece of work that a thread does.
struct Task {
    /// The position of the state in the layout.
    place: usize,
    /// The position of the file in the old state.
    file: usize,
    /// The row groups of it; all of them where it is taken over.
    groups: Range<usize>,
    rows: u64,
    path: String,
    /// The path of the file with the rows that go into quarantine, if some may.
    aside: Option<String>,
    rung: Rung,
}

pub(super) struct Run<'a> {
    pub(super) rewrite: &'a Rewrite,
    pub(super) store: Arc<dyn Store>,
    pub(super) dir: &'a str,
    layout: Layout,
    pub(super) progress: &'a dyn Progress,
    /// Whether rows that a migration fails for go into quarantine.
    quarantines: bool,
}

impl Run<'_> {
    pub(super) fn source(&self, place: &Place) -> (&OperatorEntry, &StateEntry) {
        let operator = &self.rewrite.savepoint.manifest().operators[place.source.0];
        (operator, &operator.states[place.source.1])
    }

    pub(super) fn new_state(&self, place: &Place) -> &StateRewrite {
        &self.rewrite.operators[place.source.0].states[place.source.1]
    }

    /// Writes all files; returns the manifest that they want, and how each came.
    fn write(&self, threads: NonZeroUsize) -> Result<(Manifest, Vec<Came>)> {
        let tasks = self.tasks(threads.get())?;
        let rows: Vec<u64> = tasks.iter().map(|task| task.rows).collect();
        let sorted = self.layout.places.iter().enumerate().filter(|(_, place)| self.is_sorted(place));
        let sorted: Vec<_> = sorted.map(|(index, place)| (index, self.source(place).1.rows())).collect();
        self.progress.begin(rows.iter().chain(sorted.iter().map(|(_, rows)| rows)).sum());
        let mut files = self.work(&tasks, &rows, threads.get())?;
        files.sort_by_key(|(task, _)| *task);
        let mut by_place: Vec<Vec<NewFile>> = self.layout.places.iter().map(|_| Vec::new()).collect();
        let mut came = Vec::new();
        for (task, file) in files {
            came.push(file.came);
            by_place[tasks[task].place].push(file);
        }
        for (index, _) in sorted {
            for file in super::sorted::sort(self, &self.layout.places[index], threads)? {
                came.push(file.came);
                by_place[index].push(file);
            }
        }
        Ok((self.manifest(by_place), came))
    }

    /// Whether the rows of a state get new places.
    fn is_sorted(&self, place: &Place) -> bool {
        let (entry, new) = (self.source(place).1, self.new_state(place));
        entry.files.iter().any(|file| self.rewrite.rung(entry, new, file) == Rung::Sorted)
    }

    /// Cuts the work into pieces, so that each thread has some of it.
    fn tasks(&self, threads: usize) -> Result<Vec<Task>> {
        let mut tasks = Vec::new();
        let mut paths = self.layout.paths();
        for (index, place) in self.layout.places.iter().enumerate() {
            let (_, entry) = self.source(place);
            let new = self.new_state(place);
            let spans = threads.div_ceil(entry.files.len().max(1));
            for (file, old) in entry.files.iter().enumerate() {
                let rung = self.rewrite.rung(entry, new, old);
                let may_fail = matches!(new.ways[old.schema], Way::Code(_)) && entry.kind == StateKind::Value;
                let mut add = |groups, rows, path, aside| {
                    tasks.push(Task { place: index, file, groups, rows, path, aside, rung });
                };
                match rung {
                    Rung::Dropped => {}
                    Rung::AsIs | Rung::Metadata => add(
                        0..0,
                        old.rows,
                        paths.kept(place, &old.path, self.schema_of(entry, new, old)),
                        None,
                    ),
                    Rung::Sorted => {}
                    Rung::Chunks | Rung::Rows => {
                        let open = self.rewrite.savepoint.state_file(entry, old)?;
                        let groups = open.row_groups();
                        let step = groups.len().div_ceil(spans).max(1);
                        for start in (0..groups.len()).step_by(step) {
                            let path = paths.unused(place, self.schema_of(entry, new, old));
                            let span = start..groups.len().min(start + step);
                            let rows = groups[span.clone()].iter().map(|group| group.rows as u64).sum();
                            let aside = (self.quarantines && may_fail)
                                .then(|| paths.unused(place, entry.schema_of(old)));
                            add(span, rows, path, aside);
                        }
                    }
                }
            }
        }
        Ok(tasks)
    }

    /// The schema that rows of a file get.
    fn schema_of<'e>(&self, entry: &'e StateEntry, new: &'e StateRewrite, old: &FileEntry) -> &'e Schema {
        match (&new.schema, &new.ways[old.schema]) {
            // What stays as it is, has a schema of its own, and gets no new place is of another version for good.
            (Some(schema), Way::AsIs) if !schema.is_same(entry.schema_of(old)) => entry.schema_of(old),
            (Some(schema), _) => schema,
            (None, _) => entry.schema_of(old),
        }
    }

    /// Lets threads take one piece of work after the other, until one fails.
    fn work(&self, tasks: &[Task], rows: &[u64], threads: usize) -> Result<Vec<(usize, NewFile)>> {
        let (next, is_over) = (AtomicUsize::new(0), AtomicBool::new(false));
        let done = Mutex::new((Vec::new(), None));
        let work = || {
            while !is_over.load(Relaxed) {
                let index = next.fetch_add(1, Relaxed);
                let Some(task) = tasks.get(index) else { return };
                let made = self.carry_out(task, &is_over);
                if matches!(task.rung, Rung::AsIs | Rung::Metadata) {
                    self.progress.advance(rows[index]);
                }
                let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
                match made {
                    Ok(made) => done.0.extend(made.into_iter().map(|file| (index, file))),
                    Err(error) => {
                        is_over.store(true, Relaxed);
                        done.1.get_or_insert(error);
                    }
                }
            }
        };
        std::thread::scope(|scope| {
            (1..threads.min(tasks.len())).for_each(|_| drop(scope.spawn(work)));
            work();
        });
        let (files, failed) = done.into_inner().unwrap_or_else(PoisonError::into_inner);
        failed.map_or(Ok(files), Err)
    }

    fn carry_out(&self, task: &Task, is_over: &AtomicBool) -> Result<Vec<NewFile>> {
        let place = &self.layout.places[task.place];
        let (_, entry) = self.source(place);
        let new = self.new_state(place);
        let old = &entry.files[task.file];
        let schema = self.schema_of(entry, new, old).clone();
        match task.rung {
            Rung::AsIs | Rung::Metadata => {
                let taken = self.rewrite.savepoint.take_over(
                    entry,
                    old,
                    (self.store.as_ref(), self.dir),
                    &task.path,
                )?;
                let came = if taken == Taken::Linked { Came::Linked } else { Came::Copied };
                let entry = FileEntry { path: task.path.clone(), base: None, layer: 0, ..old.clone() };
                Ok(vec![NewFile { entry, schema, came }])
            }
            Rung::Dropped => Ok(Vec::new()),
            Rung::Chunks | Rung::Rows | Rung::Sorted => {
                let map: Option<&dyn MapValues> = match &new.ways[old.schema] {
                    Way::Code(code) => Some(code.as_ref()),
                    Way::Recipe(recipe) => Some(recipe.as_ref()),
                    Way::AsIs => None,
                };
                let recipe = match &new.ways[old.schema] {
                    Way::Recipe(recipe) if task.rung == Rung::Chunks => Some(recipe.as_ref()),
                    _ => None,
                };
                let mapping = Mapping { run: self, place, entry, old, schema: &schema, map, recipe, is_over };
                let (file, aside) = mapping.write(task)?;
                if recipe.is_some() {
                    self.progress.advance(task.rows);
                }
                let of_old = entry.schema_of(old).clone();
                let made = |(entry, schema)| NewFile { entry, schema, came: Came::Written };
                let files = file.map(|file| (file, schema)).into_iter();
                Ok(files.chain(aside.map(|file| (file, of_old))).map(made).collect())
            }
        }
    }

    fn manifest(&self, files: Vec<Vec<NewFile>>) -> Manifest {
        let old = self.rewrite.savepoint.manifest();
        let mut manifest = Manifest {
            kind: ImageKind::Savepoint,
            created_ms: now_ms(),
            writer: writer_name(),
            parent: Some(self.rewrite.savepoint.id().clone()),
            max_parallelism: self.rewrite.max_parallelism,
            sources: self.layout.sources.clone(),
            operators: self.layout.operators.clone(),
            ..old.clone()
        };
        for record in &self.rewrite.records {
            if !manifest.migrations.contains(record) {
                manifest.migrations.push(record.clone());
            }
        }
        for (place, files) in self.layout.places.iter().zip(files) {
            let (_, entry) = self.source(place);
            let new = self.new_state(place);
            let head = new.schema.as_ref().unwrap_or(&entry.schemas[0]).clone();
            let mut state = StateEntry {
                name: place.name.clone(),
                kind: entry.kind,
                key: new.rekey.as_ref().map(|rekey| rekey.column_type()).or_else(|| entry.key.clone()),
                schemas: vec![head],
                files: Vec::new(),
                tombstones: Vec::new(),
            };
            for file in files {
                let known = state.schemas.iter().position(|schema| schema.is_same(&file.schema));
                let schema = known.unwrap_or_else(|| {
                    state.schemas.push(file.schema.clone());
                    state.schemas.len() - 1
                });
                state.files.push(FileEntry { schema, ..file.entry });
            }
            manifest.operators[place.operator].states.push(state);
        }
        manifest
    }
}

/// A row group that is made anew.
enum Group {
    /// With all its rows, of old columns and new ones.
    Assembled(Vec<ColumnFrom>),
    /// With some of them.
    Filtered(Vec<RecordBatch>),
}

/// Makes rows anew.
pub(super) struct Mapping<'a> {
    pub(super) run: &'a Run<'a>,
    pub(super) place: &'a Place,
    pub(super) entry: &'a StateEntry,
    pub(super) old: &'a FileEntry,
    pub(super) schema: &'a Schema,
    /// What makes the values; they stay as they are without.
    pub(super) map: Option<&'a dyn MapValues>,
    /// How row groups are put together, if columns of them stay as they are.
    pub(super) recipe: Option<&'a Recipe>,
    pub(super) is_over: &'a AtomicBool,
}

impl Mapping<'_> {
    /// What the new file has: rows that are tried again are in quarantine no more.
    fn columns(&self, old: &StateColumns) -> StateColumns {
        let is_retried = self.run.new_state(self.place).quarantine == Quarantine::Retried;
        let value = self.schema.data_type.clone();
        StateColumns { value, quarantined: old.quarantined && !is_retried, ..old.clone() }
    }

    /// Writes the file, and one with the rows that go into quarantine; none where no row stays.
    fn write(&self, task: &Task) -> Result<(Option<FileEntry>, Option<FileEntry>)> {
        let file = self.run.rewrite.savepoint.state_file(self.entry, self.old)?;
        let columns = self.columns(file.columns());
        let columns_aside = StateColumns { quarantined: true, ..file.columns().clone() };
        let assembly = self.recipe.map(|recipe| Assembly::new(recipe, file.columns()));
        let create = |path: &str, columns: &StateColumns| {
            let (store, dir) = (self.run.store.as_ref(), self.run.dir);
            let new = StateFileWriter::create(store, dir, path, columns)?;
            Ok::<_, Error>(match file.stride() {
                Some(stride) => new.with_stride(stride),
                None => new,
            })
        };
        let mut writer: Option<StateFileWriter> = None;
        let mut writer_aside: Option<StateFileWriter> = None;
        for group in task.groups.clone() {
            let made = match &assembly {
                Some(assembly) => Group::Assembled(assembly.of_group(self, &file, group)?),
                None => {
                    let mut aside = task.aside.as_ref().map(|_| Vec::new());
                    let made = self.group(&columns, &file.read_live(group)?, aside.as_mut())?;
                    let aside = aside.unwrap_or_default();
                    if let (false, Some(path)) = (aside.is_empty(), &task.aside) {
                        let writer = match &mut writer_aside {
                            Some(writer) => writer,
                            none => none.insert(create(path, &columns_aside)?),
                        };
                        aside.iter().try_for_each(|batch| writer.write(batch))?;
                    }
                    made
                }
            };
            if self.is_over.load(Relaxed) {
                return Ok((None, None));
            }
            if matches!(&made, Group::Filtered(batches) if batches.is_empty()) {
                continue;
            }
            if writer.is_none() {
                writer = Some(create(&task.path, &columns)?);
            }
            let Some(writer) = &mut writer else { continue };
            match made {
                Group::Assembled(from) => writer.copy_group(&file, group, &from)?,
                Group::Filtered(batches) => batches.iter().try_for_each(|batch| writer.write(batch))?,
            }
        }
        let finish = |writer: Option<StateFileWriter>| writer.map(|writer| writer.finish(0)).transpose();
        Ok((finish(writer)?, finish(writer_aside)?))
    }

    /// Cuts so many rows into pieces and tells of them; ends early if the rewrite is over.
    pub(super) fn spans(&self, rows: usize) -> impl Iterator<Item = Range<usize>> {
        let starts = (0..rows).step_by(PIECE_ROWS).take_while(|_| !self.is_over.load(Relaxed));
        starts.map(move |start| start..rows.min(start + PIECE_ROWS))
    }

    /// Cuts rows into pieces, as [`spans`](Self::spans).
    pub(super) fn pieces<'b>(&'b self, rows: &'b RecordBatch) -> impl Iterator<Item = RecordBatch> + 'b {
        self.spans(rows.num_rows()).map(|span| rows.slice(span.start, span.len()))
    }

    /// Makes the new values of a row group; where no row goes, all columns but those of the values stay. Rows that have no
    /// new value are added to `aside` as they are, if that is there.
    fn group(
        &self,
        columns: &StateColumns,
        old: &RecordBatch,
        mut aside: Option<&mut Vec<RecordBatch>>,
    ) -> Result<Group> {
        let mut values = Vec::new();
        let mut kept = Vec::new();
        for piece in self.pieces(old) {
            let mut failed = aside.as_ref().map(|_| Vec::new());
            let (made, rows) = self.values_but(columns, &piece, failed.as_mut())?;
            self.run.progress.advance(piece.num_rows() as u64);
            if let Some(aside) = &mut aside {
                aside.extend(self.set_aside(&piece, &failed.unwrap_or_default())?);
            }
            values.push(made);
            kept.push((rows, piece));
        }
        let has_more = self.old.touched || self.old.quarantined;
        let stays_as_it_lies = !self.entry.is_layered() && !has_more;
        if stays_as_it_lies && kept.iter().all(|(rows, _)| rows.is_none()) {
            return Ok(Group::Assembled(with_values(columns, values)));
        }
        let mut batches = Vec::new();
        for (values, (kept, old)) in values.into_iter().zip(kept) {
            // Key group and key before the values, and behind them the time if there is one, and the reason likewise.
            let mut arrays: Vec<ArrayRef> = old.columns().to_vec();
            arrays.remove(columns.value_index());
            if let Some(kept) = kept {
                for array in &mut arrays {
                    *array = filter(array, &kept).map_err(|error| self.failed(error))?;
                }
            }
            arrays.insert(columns.value_index(), values);
            arrays.truncate(columns.value_index() + 1 + columns.behind_values());
            let batch =
                RecordBatch::try_new(columns.arrow_schema(), arrays).map_err(|error| self.failed(error))?;
            batches.extend((batch.num_rows() > 0).then_some(batch));
        }
        Ok(Group::Filtered(batches))
    }

    /// Returns the rows that have no new value, with the reasons.
    fn set_aside(&self, old: &RecordBatch, failed: &[(usize, String)]) -> Result<Option<RecordBatch>> {
        if failed.is_empty() {
            return Ok(None);
        }
        let rows = UInt32Array::from_iter_values(failed.iter().map(|(row, _)| *row as u32));
        let columns =
            StateColumns { quarantined: true, ..self.run.rewrite.savepoint.columns(self.entry, self.old) };
        // All but the reason that a row has already.
        let stays = columns.value_index() + 1 + usize::from(columns.touched);
        let taken = old.columns()[..stays].iter().map(|column| take(column, &rows, None));
        let mut arrays = taken.collect::<Result<Vec<_>, _>>().map_err(|error| self.failed(error))?;
        arrays.push(Arc::new(StringArray::from_iter_values(failed.iter().map(|(_, reason)| reason))));
        let batch = RecordBatch::try_new(columns.arrow_schema(), arrays);
        batch.map(Some).map_err(|error| self.failed(error))
    }

    /// Makes new keys and values of old rows of keyed state.
    pub(super) fn rows(
        &self,
        columns: &StateColumns,
        old: &RecordBatch,
        rekey: Option<&Rekey>,
    ) -> Result<(ArrayRef, ArrayRef)> {
        let (values, kept) = self.values(columns, old)?;
        let staying = |array: &ArrayRef| match &kept {
            Some(kept) => filter(array, kept).map_err(|error| self.failed(error)),
            None => Ok(array.clone()),
        };
        let keys = staying(&self.new_keys(columns, old, rekey)?)?;
        if columns.behind_values() == 0 {
            return Ok((keys, values));
        }
        // What lies behind a value goes with it wherever that goes.
        let mut packed = vec![values];
        if columns.touched {
            // Beside rows that have times, those without count as touched now.
            let now = || Arc::new(Int64Array::from(vec![now_ms() as i64; old.num_rows()])) as ArrayRef;
            packed.push(staying(&old.column_by_name("touched_ms").cloned().unwrap_or_else(now))?);
        }
        if let (true, Some(reasons)) = (columns.quarantined, old.column_by_name("reason")) {
            packed.push(staying(reasons)?);
        }
        let packed = StructArray::try_new(columns.packed_fields(), packed, None);
        Ok((keys, Arc::new(packed.map_err(|error| self.failed(error))?)))
    }

    /// Makes new keys of old rows, and values that are nothing.
    pub(super) fn keys(
        &self,
        columns: &StateColumns,
        old: &RecordBatch,
        rekey: Option<&Rekey>,
    ) -> Result<(ArrayRef, ArrayRef)> {
        let nothing = array_of(&vec![Value::Unit; old.num_rows()], &DataType::Unit);
        let nothing = nothing.map_err(|odd| Error::Rows {
            path: self.old.path.clone(),
            found: odd.found,
            wanted: odd.wanted,
        });
        Ok((self.new_keys(columns, old, rekey)?, nothing?))
    }

    fn new_keys(&self, columns: &StateColumns, old: &RecordBatch, rekey: Option<&Rekey>) -> Result<ArrayRef> {
        let (keys, values) = (old.column(1), old.column(columns.value_index()));
        let Some(rekey) = rekey else { return Ok(keys.clone()) };
        let made = rekey.keys(self.old.schema, keys, values);
        made.map_err(|failure| self.error(failure.into(), Some(keys), values))
    }

    /// Makes new values of old ones; says which rows stay, unless all do.
    fn values(&self, columns: &StateColumns, old: &RecordBatch) -> Result<(ArrayRef, Option<BooleanArray>)> {
        self.values_but(columns, old, None)
    }

    /// As [`values`](Self::values), without those that there are no new ones for if they may be without.
    fn values_but(
        &self,
        columns: &StateColumns,
        old: &RecordBatch,
        failed: Option<&mut Vec<(usize, String)>>,
    ) -> Result<(ArrayRef, Option<BooleanArray>)> {
        let values = old.column(columns.value_index());
        let keys = (columns.kind != StateKind::List).then(|| old.column(1));
        if let (Some(keys), Quarantine::Dropped(Some(dropped))) =
            (keys, &self.run.new_state(self.place).quarantine)
            && self.old.quarantined
        {
            let stays = self.all_but(keys, dropped);
            let values = filter(values, &stays).map_err(|error| self.failed(error))?;
            return Ok((values, Some(stays)));
        }
        let Some(map) = self.map else { return Ok((values.clone(), None)) };
        let mapped = match failed {
            Some(failed) => map.map_some(keys, values, failed),
            None => map.map(keys, values),
        };
        let mapped = mapped.map_err(|failure| self.error(failure, keys, values))?;
        Ok((mapped.values, mapped.kept))
    }

    /// Marks the rows that have none of some keys.
    fn all_but(&self, keys: &ArrayRef, dropped: &[Value]) -> BooleanArray {
        let stays = |row: usize| match &self.entry.key {
            Some(key) => value_at(keys, key, row).map_or(true, |key| !dropped.contains(&key)),
            None => true,
        };
        (0..keys.len()).map(|row| Some(stays(row))).collect()
    }

    fn failed(&self, error: arrow::error::ArrowError) -> Error {
        Error::Parquet { action: "assemble", path: self.old.path.clone(), source: error.into() }
    }

    pub(super) fn error(&self, failure: MapFailure, keys: Option<&ArrayRef>, values: &ArrayRef) -> Error {
        let shown = |array: &ArrayRef, data_type, row| {
            value_at(array, data_type, row)
                .map_or("that cannot be shown".to_owned(), |value: Value| value.to_string())
        };
        match failure {
            MapFailure::Columns(mismatch) => Error::Damaged {
                path: format!("{}/{}", self.run.rewrite.savepoint.location(), self.old.path),
                found: mismatch.found,
                wanted: mismatch.wanted,
            },
            MapFailure::Row { row, versions, source } => {
                let stored = self.entry.schema_of(self.old);
                let (from, to) = versions.unwrap_or((stored.version, self.schema.version));
                let key = keys.zip(self.entry.key.as_ref());
                Error::MigrationFailed {
                    uid: self.run.source(self.place).0.uid.clone(),
                    state: self.entry.name.clone(),
                    key: key.map_or_else(|| format!("element {row}"), |(keys, key)| shown(keys, key, row)),
                    value: shown(values, &stored.data_type, row),
                    from,
                    to,
                    source,
                }
            }
        }
    }
}
