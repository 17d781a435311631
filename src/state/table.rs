//! Live keyed state on the heap, and its image while it changes.
//!
//! One hash table a key group, indexed by the hash that also routes records; each entry carries the stamp of
//! the epoch that last wrote it. An image of the state at an epoch's end is taken by the worker itself, a few
//! buckets at a time between batches: an entry that is written before the scan has reached it gives its old
//! value first. No lock, no second copy, no `Clone` of user values.
//!
//! ```text
//! begin()      stamp += 1; from now on writes belong to the next epoch
//! update()     entry older than the stamp and not scanned yet -> old value into the image, then change it
//! scan(n)      entries older than the stamp -> image; a key group that is through comes out as columns
//! ```

use super::{Build as _, Key, Refused, State, append_row};
use crate::model::{KeyGroup, KeyGroupRange};
use arrow::array::ArrayRef;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry as Slot;

/// The live values of one keyed state, for the key groups of one worker.
pub struct Table<K: Key, S: State> {
    held: KeyGroupRange,
    groups: Vec<HashTable<Entry<K, S>>>,
    entries: usize,
    stamp: u32,
    scan: Option<Scan<K, S>>,
    /// Where the next sweep goes on: a group, as an index into `groups`, and a bucket.
    swept: (usize, usize),
}

/// A value is `None` only while [`Table::update`] runs.
struct Entry<K, S> {
    key: K,
    value: Option<S>,
    stamp: u32,
}

/// How far an image has come.
struct Scan<K: Key, S: State> {
    /// The group being scanned, as an index into `groups`, and the next bucket in it.
    group: usize,
    bucket: usize,
    /// Columns of the current group.
    columns: Columns<K, S>,
    /// Old values of groups that the scan has not reached, by group.
    ahead: Vec<Columns<K, S>>,
}

struct Columns<K: Key, S: State> {
    keys: K::Builder,
    values: S::Builder,
    /// Rows that were cut off.
    pieces: Vec<(ArrayRef, ArrayRef)>,
    /// The first row that could not be stored; the image is none then.
    refused: Option<Refused>,
}

/// The number of rows at which they are cut off. Keys spread evenly, so the columns of all groups fill up at the
/// same pace: if they were to grow without bounds, they would all move to larger places at the same moment.
const PIECE_ROWS: usize = 1024;
/// The size, in bytes of text and the like, at which rows are cut off: one array holds no more than 2 GiB of it.
const PIECE_BYTES: usize = 256 << 20;

impl<K: Key, S: State> Default for Columns<K, S> {
    fn default() -> Self {
        Self { keys: K::Builder::default(), values: S::Builder::default(), pieces: Vec::new(), refused: None }
    }
}

/// The rows of one key group in an image: unsorted, and a key may occur twice with one value.
#[derive(Debug)]
pub struct GroupImage {
    /// The key group.
    pub group: KeyGroup,
    /// Keys and values, row by row, in pieces; there may be none.
    pub pieces: Vec<(ArrayRef, ArrayRef)>,
    /// A row that cannot be stored: the other rows of its key group are not in the pieces then.
    pub refused: Option<Refused>,
}

impl<K: Key, S: State> Table<K, S> {
    /// Makes an empty table for the key groups `held`.
    pub fn new(held: KeyGroupRange) -> Self {
        let groups = (0..held.count()).map(|_| HashTable::new()).collect();
        Self { held, groups, entries: 0, stamp: 1, scan: None, swept: (0, 0) }
    }

    /// Returns the number of entries.
    pub fn len(&self) -> usize {
        self.entries
    }

    /// Returns whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// Returns whether there is an entry for `key`, of which `group` is the key group and `hash` the
    /// [`slot64`](Key::slot64).
    pub fn contains(&self, group: KeyGroup, hash: u64, key: &K) -> bool {
        self.groups[self.index_of(group)].find(hash, |e| e.key == *key).is_some()
    }

    /// Lets `change` read and change the value of `key`; leaving `None` removes the key.
    ///
    /// `group` is the key's key group and `hash` its [`slot64`](Key::slot64). A key that has no entry gets what
    /// `absent` finds for it, which is called at most once.
    ///
    /// # Errors
    ///
    /// What `absent` returns; nothing is changed then.
    ///
    /// # Panics
    ///
    /// If the key belongs to another worker: records are routed by the same hash.
    #[inline]
    pub fn update<R, E>(
        &mut self,
        group: KeyGroup,
        hash: u64,
        key: &K,
        absent: impl FnOnce() -> Result<Option<S>, E>,
        change: impl FnOnce(&mut Option<S>) -> R,
    ) -> Result<R, E> {
        let index = self.index_of(group);
        let stamp = self.stamp;
        let table = &mut self.groups[index];
        if let Some(scan) = &mut self.scan
            && scan.group == index
            && table.len() == table.capacity()
        {
            // Asked for a place, a table without room moves its entries first, even if it does not grow. Those
            // that were scanned come again, with the same values; none is missed.
            scan.bucket = 0;
        }
        match table.entry(hash, |e| e.key == *key, |e| e.key.slot64()) {
            Slot::Occupied(mut slot) => {
                if slot.get().stamp != stamp {
                    if let Some(scan) = &mut self.scan {
                        scan.keep(index, slot.bucket_index(), slot.get());
                    }
                    slot.get_mut().stamp = stamp;
                }
                let result = change(&mut slot.get_mut().value);
                if slot.get().value.is_none() {
                    slot.remove();
                    self.entries -= 1;
                }
                Ok(result)
            }
            Slot::Vacant(slot) => {
                let mut value = absent()?;
                let result = change(&mut value);
                if value.is_some() {
                    slot.insert(Entry { key: key.clone(), value, stamp });
                    self.entries += 1;
                }
                Ok(result)
            }
        }
    }

    /// Lets `look` see the value of `key`, which is not written: it belongs to the epoch that wrote it last.
    ///
    /// A value that `absent` finds for a key without entry becomes one.
    ///
    /// # Errors
    ///
    /// What `absent` returns.
    ///
    /// # Panics
    ///
    /// As [`update`](Self::update).
    #[inline]
    pub fn read<R, E>(
        &mut self,
        group: KeyGroup,
        hash: u64,
        key: &K,
        absent: impl FnOnce() -> Result<Option<S>, E>,
        look: impl FnOnce(Option<&S>) -> R,
    ) -> Result<R, E> {
        let table = &self.groups[self.index_of(group)];
        if let Some(entry) = table.find(hash, |e| e.key == *key) {
            return Ok(look(entry.value.as_ref()));
        }
        match absent()? {
            None => Ok(look(None)),
            found => self.update(group, hash, key, || Ok(found), |value| look(value.as_ref())),
        }
    }

    /// Returns the place of the table of a key group.
    ///
    /// # Panics
    ///
    /// If another worker holds the group.
    #[inline]
    fn index_of(&self, group: KeyGroup) -> usize {
        usize::from(group.index() - self.held.first().index())
    }

    /// Begins an image of the state as it is now; writes from now on do not show in it.
    ///
    /// # Panics
    ///
    /// If an image is being taken: the engine takes one at a time.
    pub fn begin_image(&mut self) {
        assert!(self.scan.is_none(), "one image at a time");
        self.stamp = self.stamp.wrapping_add(1);
        let ahead = self.groups.iter().map(|_| Columns::default()).collect();
        self.scan = Some(Scan { group: 0, bucket: 0, columns: Columns::default(), ahead });
    }

    /// Looks at up to `budget` buckets, from where the last sweep ended, and removes the values that are `dead`; returns
    /// whether there is more to look at before the whole table has been looked at once.
    pub fn sweep(&mut self, mut budget: usize, dead: impl Fn(&S) -> bool) -> bool {
        let (mut group, mut bucket) = self.swept;
        while let Some(table) = self.groups.get_mut(group) {
            let end = table.num_buckets().min(bucket + budget);
            for index in bucket..end {
                let Ok(slot) = table.get_bucket_entry(index) else { continue };
                if !slot.get().value.as_ref().is_some_and(&dead) {
                    continue;
                }
                if slot.get().stamp != self.stamp
                    && let Some(scan) = &mut self.scan
                {
                    scan.keep(group, index, slot.get());
                }
                slot.remove();
                self.entries -= 1;
            }
            budget -= end.saturating_sub(bucket);
            if end < table.num_buckets() {
                self.swept = (group, end);
                return true;
            }
            (group, bucket) = (group + 1, 0);
        }
        self.swept = (0, 0);
        false
    }

    /// Returns whether an image is being taken.
    pub fn is_imaging(&self) -> bool {
        self.scan.is_some()
    }

    /// Gives up the image that is being taken.
    pub fn abandon_image(&mut self) {
        self.scan = None;
    }

    /// Goes on with the image for up to `budget` buckets, handing each finished key group to `done`.
    ///
    /// Returns whether there is more to do. Groups come in order, every group of the table once.
    pub fn scan(&mut self, mut budget: usize, mut done: impl FnMut(GroupImage)) -> bool {
        let Some(scan) = &mut self.scan else { return false };
        while scan.group < self.groups.len() {
            let table = &self.groups[scan.group];
            let buckets = table.num_buckets();
            let end = buckets.min(scan.bucket + budget);
            for bucket in scan.bucket..end {
                if let Some(entry) = table.get_bucket(bucket)
                    && entry.stamp != self.stamp
                {
                    scan.columns.append(entry);
                }
            }
            budget -= end - scan.bucket;
            scan.bucket = end;
            if scan.bucket < buckets {
                return true;
            }
            let group = self.held.iter().nth(scan.group).expect("there is a table for each group held");
            done(std::mem::take(&mut scan.columns).finish(group));
            scan.group += 1;
            scan.bucket = 0;
            scan.columns = scan.ahead.get_mut(scan.group).map(std::mem::take).unwrap_or_default();
        }
        self.scan = None;
        false
    }
}

impl<K: Key, S: State> Scan<K, S> {
    /// Takes the old value of an entry that is about to be written, unless the scan has been there.
    #[inline]
    fn keep(&mut self, group: usize, bucket: usize, entry: &Entry<K, S>) {
        if group == self.group && bucket >= self.bucket {
            self.columns.append(entry);
        } else if group > self.group {
            self.ahead[group].append(entry);
        }
    }
}

impl<K: Key, S: State> Columns<K, S> {
    #[inline]
    fn append(&mut self, entry: &Entry<K, S>) {
        if let Some(value) = &entry.value
            && self.refused.is_none()
        {
            match append_row((&entry.key, &mut self.keys), (value, &mut self.values)) {
                // After each row: the next one may be large.
                Ok(()) if self.keys.len() >= PIECE_ROWS || self.size_bytes() >= PIECE_BYTES => self.cut(),
                Ok(()) => {}
                // The builders hold a part of the row.
                Err(refused) => *self = Self { refused: Some(refused), ..Self::default() },
            }
        }
    }

    #[inline]
    fn size_bytes(&self) -> usize {
        self.keys.size_hint_bytes() + self.values.size_hint_bytes()
    }

    fn cut(&mut self) {
        if !self.keys.is_empty() {
            self.pieces.push((self.keys.finish(None), self.values.finish(None)));
        }
    }

    fn finish(mut self, group: KeyGroup) -> GroupImage {
        self.cut();
        GroupImage { group, pieces: self.pieces, refused: self.refused }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::MaxParallelism;
    use crate::state::Read as _;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    type Map = BTreeMap<u64, i64>;

    fn table(groups: u16) -> Table<u64, i64> {
        Table::new(MaxParallelism::new(groups).unwrap().all())
    }

    fn group_of(table: &Table<u64, i64>, key: u64) -> KeyGroup {
        KeyGroup::of_hash(key.hash64(), MaxParallelism::new(table.groups.len() as u16).unwrap())
    }

    fn set(table: &mut Table<u64, i64>, key: u64, value: Option<i64>) {
        let none = || Ok::<_, ()>(None);
        table.update(group_of(table, key), key.slot64(), &key, none, |slot| *slot = value).unwrap();
    }

    fn get(table: &mut Table<u64, i64>, key: u64) -> Option<i64> {
        let none = || Ok::<_, ()>(None);
        table.read(group_of(table, key), key.slot64(), &key, none, |slot| slot.copied()).unwrap()
    }

    /// Collects an image, refusing a key that comes with two values.
    fn collect(image: &mut Map, rows: &GroupImage) {
        for (keys, values) in &rows.pieces {
            let keys_of = <u64 as State>::Reader::new(keys).unwrap();
            let values_of = <i64 as State>::Reader::new(values).unwrap();
            for row in 0..keys.len() {
                let (key, value) = (keys_of.read(row), values_of.read(row));
                assert_eq!(*image.entry(key).or_insert(value), value, "two values for key {key}");
            }
        }
    }

    #[test]
    fn a_key_left_without_value_is_gone() {
        let mut table = table(4);
        set(&mut table, 7, Some(1));
        set(&mut table, 7, None);
        assert_eq!(table.len(), 0);
        assert_eq!(get(&mut table, 7), None);
    }

    proptest! {
        #[test]
        fn an_image_shows_the_state_at_its_beginning_whatever_is_written_meanwhile(
            before in prop::collection::vec((0u64..400, prop::option::of(any::<i64>())), 0..600),
            during in prop::collection::vec((0u64..800, prop::option::weighted(0.6, any::<i64>()), 0usize..6), 0..1500),
            groups in 1u16..9,
            sweep in 0usize..3,
        ) {
            let mut table = table(groups);
            let mut expected = Map::new();
            for (key, value) in before {
                set(&mut table, key, value);
                match value {
                    Some(value) => expected.insert(key, value),
                    None => expected.remove(&key),
                };
            }
            let mut image = Map::new();
            table.begin_image();
            for (key, value, budget) in during {
                set(&mut table, key, value);
                prop_assert_eq!(get(&mut table, key), value);
                table.scan(budget, |rows| collect(&mut image, &rows));
                table.sweep(sweep, |value| value % 3 == 0);
            }
            while table.sweep(64, |value| value % 3 == 0) {}
            prop_assert!((0..800).all(|key| get(&mut table, key).is_none_or(|value| value % 3 != 0)) || sweep > 0);
            while table.scan(64, |rows| collect(&mut image, &rows)) {}
            prop_assert_eq!(image, expected);
        }
    }
}
