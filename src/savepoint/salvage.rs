//! Saving what is sound of a damaged savepoint: a new savepoint with it, and an account of what was lost.
//!
//! A row group whose chunks have their hashes is sound as a whole. Where hashes fit and rows still break the format,
//! a faulty program wrote them: such rows are left out one by one, and those that are only out of order in their row
//! group are put in order. Nothing is repaired by guessing: where a newer layer has lost rows, older ones of the same
//! key groups may be out of date, and are left out too.

use super::verify_rows::{odd_value, overlapping};
use super::{Savepoint, StateColumns, StateFile, StateFileWriter, new};
use crate::error::{Error, Result, shown};
use crate::format::KeyColumn;
use crate::model::{
    FileEntry, KeyGroup, KeyGroupRange, Manifest, OperatorEntry, OperatorUid, SavepointId, StateEntry,
    StateKind, StateName,
};
use crate::storage::{LocalStore, Store};
use arrow::array::{ArrayRef, AsArray, RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::{UInt16Type, UInt32Type};
use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BinaryHeap};
use std::path::Path;
use std::sync::Arc;

/// The label that names the savepoint that was salvaged.
pub const SALVAGED_FROM: &str = "salvaged-from";

/// What was saved, and what was not.
#[derive(Debug)]
pub struct Salvaged {
    /// The new savepoint.
    pub savepoint: Savepoint,
    /// The id of the damaged one.
    pub from: SavepointId,
    /// What was lost of each state that lost something, in the order of the manifest.
    pub losses: Vec<StateLoss>,
}

impl Salvaged {
    /// Returns the number of rows that were saved.
    pub fn rows_kept(&self) -> u64 {
        self.savepoint.manifest().rows()
    }

    /// Returns the number of rows that were lost.
    pub fn rows_lost(&self) -> u64 {
        self.losses.iter().map(StateLoss::rows).sum()
    }
}

/// What was lost of a state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateLoss {
    /// The uid of the operator.
    pub uid: OperatorUid,
    /// The name of the state.
    pub state: StateName,
    /// What was lost of it.
    pub losses: Vec<Loss>,
}

impl StateLoss {
    /// Returns the number of rows.
    pub fn rows(&self) -> u64 {
        self.losses.iter().map(|loss| loss.rows).sum()
    }
}

/// Rows that were lost together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// The file that they were in, relative to the savepoint.
    pub file: String,
    /// The key groups that they lay in, for keyed state: those that follow each other, each with some of the rows.
    pub key_groups: Option<KeyGroupRange>,
    /// How many they are, as far as the file or the manifest tells.
    pub rows: u64,
    /// What was found instead.
    pub found: String,
    /// What was wanted.
    pub wanted: String,
}

/// Writes what is sound of a savepoint into a new one, in the directory `dir` of a store, which has no files.
///
/// The new savepoint is the same in all else, and has the label [`SALVAGED_FROM`]. Of a damaged manifest,
/// [`Savepoint::open_trusting`] makes what it can.
///
/// # Errors
///
/// [`Error::ImageExists`] if there is something in the directory; [`Error::Io`] if the new savepoint cannot be
/// written. What cannot be read is lost, and no error.
pub fn salvage(damaged: &Savepoint, store: Arc<dyn Store>, dir: &str) -> Result<Salvaged> {
    let mut losses = Vec::new();
    let savepoint =
        damaged.write_anew(store, dir, |store| write_sound(damaged, store.as_ref(), dir, &mut losses))?;
    Ok(Salvaged { savepoint, from: damaged.id.clone(), losses })
}

/// Does what [`salvage`] does, into a local directory, which appears.
///
/// # Errors
///
/// As [`salvage`].
pub fn salvage_to(damaged: &Savepoint, new: impl AsRef<Path>) -> Result<Salvaged> {
    let new = new.as_ref();
    let store = LocalStore::create_root(new).map_err(Error::io("create", shown(new)))?;
    salvage(damaged, Arc::new(store), "")
}

/// Writes the sound rows of all states; returns the manifest that they want.
fn write_sound(
    damaged: &Savepoint,
    store: &dyn Store,
    dir: &str,
    losses: &mut Vec<StateLoss>,
) -> Result<Manifest> {
    let mut manifest = damaged.manifest().clone();
    manifest.created_ms = new::now_ms();
    manifest.writer = new::writer_name();
    manifest.labels.insert(SALVAGED_FROM.to_owned(), damaged.id.to_string());
    for operator in &mut manifest.operators {
        let OperatorEntry { uid, states, .. } = operator;
        for state in states {
            let mut lost = Vec::new();
            let (stale, lost_homes) = Default::default();
            let (files, tombstones) =
                Saver { damaged, state, store, dir, losses: &mut lost, stale, lost_homes }.save()?;
            state.tombstones = tombstones;
            state.files = files;
            state.forget_schemas();
            if !lost.is_empty() {
                losses.push(StateLoss { uid: uid.clone(), state: state.name.clone(), losses: lost });
            }
        }
    }
    Ok(manifest)
}

/// Saves one state.
struct Saver<'a> {
    damaged: &'a Savepoint,
    state: &'a StateEntry,
    store: &'a dyn Store,
    dir: &'a str,
    losses: &'a mut Vec<Loss>,
    /// The key groups in which layers that are newer than the one being saved have lost rows.
    stale: Vec<KeyGroupRange>,
    /// Those of the layer being saved where rows are at home that lay elsewhere and are lost.
    lost_homes: Vec<KeyGroupRange>,
}

impl Saver<'_> {
    /// Returns the files with the sound rows, and those with the sound tombstones.
    fn save(&mut self) -> Result<(Vec<FileEntry>, Vec<FileEntry>)> {
        let rows = self.state.files.iter().map(|file| (file, false));
        let tombstones = self.state.tombstones.iter().map(|file| (file, true));
        let mut layers: BTreeMap<Reverse<u32>, Vec<(usize, &FileEntry, bool)>> = BTreeMap::new();
        for (index, (file, is_tombstones)) in rows.chain(tombstones).enumerate() {
            layers.entry(Reverse(file.layer)).or_default().push((index, file, is_tombstones));
        }
        let mut saved = Vec::new();
        // The newest layer first: what it has lost says which rows of older ones may be out of date.
        for files in layers.into_values() {
            let lost = self.losses.len();
            self.save_layer(files, &mut saved)?;
            let ranges = self.losses[lost..].iter().filter_map(|loss| loss.key_groups);
            let ranges = ranges.chain(self.lost_homes.drain(..));
            self.stale.extend(ranges.filter(|_| self.state.is_layered()));
        }
        saved.sort_by_key(|(index, ..)| *index);
        let (tombstones, rows): (Vec<_>, Vec<_>) =
            saved.into_iter().partition(|(.., is_tombstones)| *is_tombstones);
        let files =
            |saved: Vec<(usize, FileEntry, bool)>| saved.into_iter().map(|(_, file, _)| file).collect();
        Ok((files(rows), files(tombstones)))
    }

    /// Saves the files of one layer, each given with its number and whether it has tombstones.
    fn save_layer(
        &mut self,
        files: Vec<(usize, &'_ FileEntry, bool)>,
        saved: &mut Vec<(usize, FileEntry, bool)>,
    ) -> Result<()> {
        let mut cursors = Vec::new();
        for (index, entry, is_tombstones) in files {
            let opened = match is_tombstones {
                false => self.damaged.state_file(self.state, entry),
                true => self.damaged.tombstone_file(self.state, entry),
            };
            match opened {
                Ok(file) => cursors.push(Cursor::new(index, entry, is_tombstones, file)),
                Err(error) => self.losses.push(loss(entry, entry.key_groups, entry.rows, error)),
            }
        }
        let groups = match self.state.kind {
            StateKind::Value | StateKind::Timers => overlapping(cursors, |cursor| cursor.entry),
            StateKind::List => cursors.into_iter().map(|cursor| vec![cursor]).collect(),
        };
        for mut cursors in groups {
            // Of a key that is in two files the row with the newer schema stays: the one that the job works with.
            cursors.sort_by_key(|cursor| (cursor.entry.schema, cursor.index));
            self.merge(&mut cursors)?;
            for Cursor { index, entry, is_tombstones, strays, writer, .. } in cursors {
                self.lost_homes.extend(strays.into_iter().map(KeyGroupRange::one));
                if let Some(writer) = writer {
                    let file = writer.finish(entry.schema)?;
                    saved.push((index, FileEntry { layer: entry.layer, ..file }, is_tombstones));
                }
            }
        }
        Ok(())
    }

    /// Goes through files side by side, so that a key that comes twice comes twice in a row.
    fn merge(&mut self, cursors: &mut [Cursor<'_>]) -> Result<()> {
        let mut heads = BinaryHeap::new();
        for (index, cursor) in cursors.iter_mut().enumerate() {
            heads.extend(cursor.next(self)?.map(|place| Reverse((place, index))));
        }
        let mut last: Option<(Place, usize)> = None;
        while let Some(Reverse((place, index))) = heads.pop() {
            match &last {
                Some((before, other)) if *before == place => {
                    let found = format!("keys that {} has too", cursors[*other].entry.path);
                    cursors[index].drop_row(place.0, found, "each key in one file of the state");
                }
                _ if self.is_stale(place.0) => {
                    let found = "rows below a newer layer whose rows are lost";
                    cursors[index].drop_row(place.0, found, "rows that no lost one may have replaced");
                }
                _ => {
                    cursors[index].keep_row();
                    last = Some((place, index));
                }
            }
            heads.extend(cursors[index].next(self)?.map(|place| Reverse((place, index))));
        }
        Ok(())
    }
}

impl Saver<'_> {
    /// Says whether the rows of a key group may be out of date, since a newer layer has lost some.
    fn is_stale(&self, group: u32) -> bool {
        let has = |range: &KeyGroupRange| {
            (range.first().index()..=range.last().index()).any(|held| u32::from(held) == group)
        };
        self.stale.iter().any(has)
    }
}

fn loss(entry: &FileEntry, key_groups: Option<KeyGroupRange>, rows: u64, error: Error) -> Loss {
    let (found, wanted) = match error {
        Error::Damaged { found, wanted, .. } => (found, wanted),
        Error::Io { action, source, .. } => {
            (format!("bytes that one cannot {action} ({source})"), "bytes that can be read".to_owned())
        }
        other => (other.to_string(), "a state file".to_owned()),
    };
    Loss { file: entry.path.clone(), key_groups, rows, found, wanted }
}

/// Where a row lies: the key group and the encoded key, or the index.
type Place = (u32, Vec<u8>);

/// Goes through the rows of a file that are sound by themselves.
struct Cursor<'a> {
    index: usize,
    entry: &'a FileEntry,
    is_tombstones: bool,
    file: StateFile,
    next_group: usize,
    /// The row group that is being gone through, and its sound rows.
    batch: Option<RecordBatch>,
    sound: Vec<(u32, Place)>,
    next: usize,
    /// The rows of it that stay.
    kept: Vec<u32>,
    /// The rows of it that do not, by the reason.
    dropped: Vec<Dropped>,
    /// The key groups where rows that lay in others are at home.
    strays: Vec<KeyGroup>,
    last: Option<Place>,
    writer: Option<StateFileWriter>,
}

/// Rows of one row group that do not stay, for one reason.
struct Dropped {
    found: String,
    wanted: &'static str,
    /// How many there are of each key group.
    groups: BTreeMap<u32, u64>,
}

impl<'a> Cursor<'a> {
    fn new(index: usize, entry: &'a FileEntry, is_tombstones: bool, file: StateFile) -> Self {
        let (batch, last, writer) = Default::default();
        let (sound, kept, dropped, strays) = Default::default();
        Self {
            index,
            entry,
            is_tombstones,
            file,
            next_group: 0,
            batch,
            sound,
            next: 0,
            kept,
            dropped,
            strays,
            last,
            writer,
        }
    }

    /// Returns the place of the next sound row.
    fn next(&mut self, saver: &mut Saver<'_>) -> Result<Option<Place>> {
        while self.next == self.sound.len() {
            self.write(saver)?;
            if !self.load(saver) {
                return Ok(None);
            }
        }
        self.next += 1;
        Ok(Some(std::mem::take(&mut self.sound[self.next - 1].1)))
    }

    /// Keeps the row that was returned last.
    fn keep_row(&mut self) {
        self.kept.push(self.sound[self.next - 1].0);
    }

    /// Leaves a row of a key group out.
    fn drop_row(&mut self, group: u32, found: impl Into<String>, wanted: &'static str) {
        let found = found.into();
        let known = self.dropped.iter().position(|dropped| dropped.found == found);
        let known = known.unwrap_or_else(|| {
            self.dropped.push(Dropped { found, wanted, groups: BTreeMap::new() });
            self.dropped.len() - 1
        });
        *self.dropped[known].groups.entry(group).or_default() += 1;
    }

    /// Reads the next row group that can be read; `false` if there is none.
    fn load(&mut self, saver: &mut Saver<'_>) -> bool {
        let index = self.next_group;
        let Some(group) = self.file.row_groups().get(index) else { return false };
        self.next_group += 1;
        match self.file.read_row_group(index) {
            Ok(batch) => {
                self.check(&batch);
                self.batch = Some(batch);
            }
            Err(error) => {
                saver.losses.push(loss(self.entry, group.key_groups, group.rows as u64, error));
            }
        }
        true
    }

    /// Finds the rows that are sound by themselves, and puts them in order.
    fn check(&mut self, batch: &RecordBatch) {
        let columns = self.file.columns().clone();
        let places = Places::new(batch, &columns);
        // Most batches are sound; a value is looked at by itself only if one is not.
        let has_odd = odd_value(batch, &columns).is_some();
        let mut rows = Vec::with_capacity(batch.num_rows());
        for row in 0..batch.num_rows() {
            let group = places.group(row);
            match places.of(row, &columns) {
                Err(Misfit::NoKey) => {
                    self.drop_row(group, "keys that are none of their type", "keys of the state's type");
                }
                Err(Misfit::Stray { home }) => {
                    self.strays.push(home);
                    let found = "keys in other key groups than theirs";
                    self.drop_row(group, found, "each key in its key group");
                }
                Ok(_) if has_odd && odd_value(&batch.slice(row, 1), &columns).is_some() => {
                    self.drop_row(group, "values that are none of their type", "values of the state's type");
                }
                Ok(place) => rows.push((row as u32, place)),
            }
        }
        // Of rows with one key the first one stays.
        rows.sort_by(|(_, a), (_, b)| a.cmp(b));
        for (row, place) in rows {
            match self.last.as_ref().map(|last| last.cmp(&place)) {
                Some(Ordering::Equal) => self.drop_row(place.0, "keys twice", "each key once"),
                Some(Ordering::Greater) => {
                    self.drop_row(place.0, "rows that belong before an earlier row group", "rows in order");
                }
                _ => {
                    self.last = Some(place.clone());
                    self.sound.push((row, place));
                }
            }
        }
    }

    /// Writes the rows of the row group that stay, and reports the others.
    fn write(&mut self, saver: &mut Saver<'_>) -> Result<()> {
        let groups = saver.damaged.manifest().max_parallelism;
        for Dropped { found, wanted, groups: rows_of } in self.dropped.drain(..) {
            for (first, last, rows) in runs(rows_of) {
                let key_groups = match saver.state.kind.is_keyed() {
                    true => KeyGroupRange::new(first as u16, last as u16, groups).or(self.entry.key_groups),
                    false => None,
                };
                let (file, found) = (self.entry.path.clone(), found.clone());
                saver.losses.push(Loss { file, key_groups, rows, found, wanted: wanted.to_owned() });
            }
        }
        self.sound.clear();
        self.next = 0;
        let kept = UInt32Array::from(std::mem::take(&mut self.kept));
        let Some(batch) = self.batch.take().filter(|_| !kept.is_empty()) else { return Ok(()) };
        let writer = match &mut self.writer {
            Some(writer) => writer,
            none => {
                let writer =
                    StateFileWriter::create(saver.store, saver.dir, &self.entry.path, self.file.columns())?;
                none.insert(match self.file.stride() {
                    Some(stride) => writer.with_stride(stride),
                    None => writer,
                })
            }
        };
        let is_whole = kept.values().iter().copied().eq(0..batch.num_rows() as u32);
        let rows = if is_whole { Ok(batch) } else { take_record_batch(&batch, &kept) };
        let rows = rows.map_err(|error| Error::Parquet {
            action: "assemble",
            path: self.entry.path.clone(),
            source: error.into(),
        })?;
        writer.write(&rows)
    }
}

/// Puts key groups that follow each other together: the first, the last, and the rows of all.
fn runs(rows_of: BTreeMap<u32, u64>) -> Vec<(u32, u32, u64)> {
    let mut runs: Vec<(u32, u32, u64)> = Vec::new();
    for (group, rows) in rows_of {
        match runs.last_mut().filter(|(_, last, _)| last + 1 == group) {
            Some((_, last, sum)) => (*last, *sum) = (group, *sum + rows),
            None => runs.push((group, group, rows)),
        }
    }
    runs
}

/// Why a row has no place.
enum Misfit {
    /// Its key is none of the type.
    NoKey,
    /// It does not lie in the key group where its key is at home.
    Stray { home: KeyGroup },
}

/// The places of the rows of a batch.
enum Places {
    Keyed(KeyColumn, arrow::array::UInt16Array),
    Listed(UInt32Array),
}

impl Places {
    fn new(batch: &RecordBatch, columns: &StateColumns) -> Self {
        let column = |index: usize| -> &ArrayRef { batch.column(index) };
        match &columns.key {
            Some(key) => {
                Self::Keyed(KeyColumn::new(column(1), key), column(0).as_primitive::<UInt16Type>().clone())
            }
            None => Self::Listed(column(0).as_primitive::<UInt32Type>().clone()),
        }
    }

    /// The key group of a row, as it is stored.
    fn group(&self, row: usize) -> u32 {
        match self {
            Self::Keyed(_, groups) => groups.value(row).into(),
            Self::Listed(_) => 0,
        }
    }

    fn of(&self, row: usize, columns: &StateColumns) -> Result<Place, Misfit> {
        match self {
            Self::Keyed(keys, groups) => {
                let mut key = Vec::new();
                keys.encode(row, &mut key).map_err(|_| Misfit::NoKey)?;
                let (group, home) = (groups.value(row), columns.key_group(&key));
                if home.index() == group { Ok((group.into(), key)) } else { Err(Misfit::Stray { home }) }
            }
            Self::Listed(indices) => Ok((indices.value(row), Vec::new())),
        }
    }
}
