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
//!
//! The same stamps tell what has changed since an earlier image: a table that is [tracked](Table::track) also keeps the
//! keys that were removed since, and takes images of the changes alone.

use super::{Build as _, Key, Refused, State, append_row, shown_key};
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
    /// What images of changes need to know, if there are to be any.
    track: Option<Track<K>>,
}

/// What was removed, and which stamp the last writes have that an earlier image shows.
struct Track<K> {
    /// By epoch, from the oldest image that later ones may ask for.
    images: Vec<(u64, u32)>,
    /// The keys that were removed and are not there again, with the stamp of the removal; by group.
    removed: Vec<HashTable<(K, u32)>>,
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
    /// The image is of what was written after this stamp; of all if there is none.
    after: Option<u32>,
    /// Removals up to this stamp are of no use to any image that is still to come.
    forgotten: u32,
}

struct Columns<K: Key, S: State> {
    keys: K::Builder,
    values: S::Builder,
    /// Rows that were cut off.
    pieces: Vec<(ArrayRef, ArrayRef)>,
    /// Keys that were removed, in an image of changes.
    gone: K::Builder,
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
        let (keys, values, gone) = (K::Builder::default(), S::Builder::default(), K::Builder::default());
        Self { keys, values, pieces: Vec::new(), gone, refused: None }
    }
}

/// The rows of one key group in an image: unsorted, and a key may occur twice with one value.
#[derive(Debug)]
pub struct GroupImage {
    /// The key group.
    pub group: KeyGroup,
    /// Keys and values, row by row, in pieces; there may be none.
    pub pieces: Vec<(ArrayRef, ArrayRef)>,
    /// In an image of changes, the keys that were removed, in no order; one may occur twice.
    pub gone: Option<ArrayRef>,
    /// A row that cannot be stored: the other rows of its key group are not in the pieces then.
    pub refused: Option<Refused>,
}

impl<K: Key, S: State> Table<K, S> {
    /// Makes an empty table for the key groups `held`.
    pub fn new(held: KeyGroupRange) -> Self {
        let groups = (0..held.count()).map(|_| HashTable::new()).collect();
        Self { held, groups, entries: 0, stamp: 1, scan: None, swept: (0, 0), track: None }
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
                    let (entry, _) = slot.remove();
                    self.entries -= 1;
                    if let Some(track) = &mut self.track {
                        track.remove(index, hash, entry.key, stamp);
                    }
                }
                Ok(result)
            }
            Slot::Vacant(slot) => {
                let mut value = absent()?;
                let result = change(&mut value);
                if value.is_some() {
                    slot.insert(Entry { key: key.clone(), value, stamp });
                    self.entries += 1;
                    if let Some(track) = &mut self.track {
                        track.restore(index, hash, key, stamp, self.scan.as_mut());
                    }
                }
                Ok(result)
            }
        }
    }

    /// Adds the value of a key that has no entry, and that every earlier image shows already: it has not changed.
    ///
    /// `group` and `hash` are as for [`update`](Self::update). While an image is taken, it counts as written now.
    ///
    /// # Panics
    ///
    /// As [`update`](Self::update).
    pub fn adopt(&mut self, group: KeyGroup, hash: u64, key: K, value: S) {
        let index = self.index_of(group);
        let stamp = match (&self.scan, &self.track) {
            (None, Some(track)) => track.images.first().map_or(self.stamp, |image| image.1),
            _ => self.stamp,
        };
        if let Some(scan) = &mut self.scan
            && scan.group == index
        {
            // As in `update`: the entries of the group may move.
            scan.bucket = 0;
        }
        let entry = Entry { key, value: Some(value), stamp };
        self.groups[index].insert_unique(hash, entry, |e| e.key.slot64());
        self.entries += 1;
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

    /// Keeps what images of changes need, from now on. What there is now counts as the image of `epoch`.
    pub fn track(&mut self, epoch: u64) {
        let removed = self.groups.iter().map(|_| HashTable::new()).collect();
        self.track = Some(Track { images: vec![(epoch, self.stamp)], removed });
        self.stamp = self.stamp.wrapping_add(1);
    }

    /// Notes that a key that has no entry is gone: that of a value which never came to be one.
    pub fn note_removed(&mut self, group: KeyGroup, hash: u64, key: &K) {
        let (index, stamp) = (self.index_of(group), self.stamp);
        if let Some(track) = &mut self.track {
            track.remove(index, hash, key.clone(), stamp);
        }
    }

    /// Begins an image of the state as it is now; writes from now on do not show in it.
    ///
    /// # Panics
    ///
    /// If an image is being taken: the engine takes one at a time.
    pub fn begin_image(&mut self) {
        self.begin(0, None, 0);
    }

    /// Begins the image of `epoch`: of the whole state, or of what has changed since the image of an epoch before. No
    /// later image will ask for what has changed since an epoch before `oldest`.
    ///
    /// # Panics
    ///
    /// As [`begin_image`](Self::begin_image); if the table was not tracked [since](Self::track) that epoch.
    pub fn begin(&mut self, epoch: u64, since: Option<u64>, oldest: u64) {
        assert!(self.scan.is_none(), "one image at a time");
        let (mut after, mut forgotten) = (None, 0);
        if let Some(track) = &mut self.track {
            track.images.retain(|(epoch, _)| *epoch >= oldest);
            let stamp_of =
                |wanted| track.images.iter().find(|(epoch, _)| *epoch == wanted).map(|image| image.1);
            after = since
                .map(|since| stamp_of(since).expect("changes are asked for since an image that there was"));
            forgotten = track.images.first().map_or(self.stamp, |image| image.1);
            track.images.push((epoch, self.stamp));
        }
        self.stamp = self.stamp.wrapping_add(1);
        let ahead = self.groups.iter().map(|_| Columns::default()).collect();
        self.scan = Some(Scan { group: 0, bucket: 0, columns: Columns::default(), ahead, after, forgotten });
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
                let (entry, _) = slot.remove();
                self.entries -= 1;
                if let Some(track) = &mut self.track {
                    track.remove(group, entry.key.slot64(), entry.key, self.stamp);
                }
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
                    && scan.shows(entry.stamp)
                {
                    scan.columns.append(entry);
                }
            }
            budget -= end - scan.bucket;
            scan.bucket = end;
            if scan.bucket < buckets {
                return true;
            }
            if let Some(track) = &mut self.track {
                let (stamp, forgotten) = (self.stamp, scan.forgotten);
                let removed = &mut track.removed[scan.group];
                removed.retain(|(_, at)| *at > forgotten);
                if let Some(after) = scan.after {
                    let shown = removed.iter().filter(|(_, at)| *at != stamp && *at > after);
                    shown.for_each(|(key, _)| scan.columns.remove(key));
                }
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

impl<K: Key> Track<K> {
    /// Notes that a key is gone.
    fn remove(&mut self, group: usize, hash: u64, key: K, stamp: u32) {
        let removed = &mut self.removed[group];
        match removed.entry(hash, |(k, _)| *k == key, |(k, _)| k.slot64()) {
            Slot::Occupied(mut slot) => slot.get_mut().1 = stamp,
            Slot::Vacant(slot) => drop(slot.insert((key, stamp))),
        }
    }

    /// Notes that a key is there again; an image that is under way still shows that it was gone.
    #[inline]
    fn restore<S: State>(
        &mut self,
        group: usize,
        hash: u64,
        key: &K,
        stamp: u32,
        scan: Option<&mut Scan<K, S>>,
    ) {
        let removed = &mut self.removed[group];
        if removed.is_empty() {
            return;
        }
        if let Ok(slot) = removed.find_entry(hash, |(k, _)| k == key) {
            let ((key, at), _) = slot.remove();
            if at != stamp
                && let Some(scan) = scan
            {
                scan.keep_removed(group, &key, at);
            }
        }
    }
}

impl<K: Key, S: State> Scan<K, S> {
    /// Whether the image shows what has this stamp, which is none of after it began.
    #[inline]
    fn shows(&self, stamp: u32) -> bool {
        self.after.is_none_or(|after| stamp > after)
    }

    /// Takes a key that was gone when the image began.
    fn keep_removed(&mut self, group: usize, key: &K, at: u32) {
        if self.after.is_none() || !self.shows(at) {
            return;
        }
        if group == self.group {
            self.columns.remove(key);
        } else if group > self.group {
            self.ahead[group].remove(key);
        }
    }

    /// Takes the old value of an entry that is about to be written, unless the scan has been there.
    #[inline]
    fn keep(&mut self, group: usize, bucket: usize, entry: &Entry<K, S>) {
        if !self.shows(entry.stamp) {
            return;
        }
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

    fn remove(&mut self, key: &K) {
        if self.refused.is_none()
            && let Err(problem) = self.gone.append(key)
        {
            let row = format!("key {}", shown_key(key));
            *self =
                Self { refused: Some(Refused { row, problem: problem.inside("key") }), ..Self::default() };
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
        let gone = (!self.gone.is_empty()).then(|| self.gone.finish(None));
        GroupImage { group, pieces: self.pieces, gone, refused: self.refused }
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

        /// An image of the changes since an earlier one, laid over that, is an image of all, whatever is written
        /// meanwhile; images may be given up, and any one may be followed by changes since it.
        #[test]
        fn changes_laid_over_an_earlier_image_are_the_state(
            epochs in prop::collection::vec(
                (
                    prop::collection::vec((0u64..60, prop::option::weighted(0.6, any::<i64>()), 0usize..4), 0..80),
                    prop::option::weighted(0.8, any::<prop::sample::Index>()),
                    prop::bool::weighted(0.8),
                ),
                1..9,
            ),
            groups in 1u16..5,
        ) {
            let mut table = table(groups);
            let mut now = Map::new();
            table.track(0);
            // The images that there are, by epoch.
            let mut images = vec![(0, Map::new())];
            for (epoch, (writes, since, is_kept)) in (1..).zip(epochs) {
                let since = since.map(|index| index.get(&images).clone());
                table.begin(epoch, since.as_ref().map(|(epoch, _)| *epoch), images[0].0);
                let shown = now.clone();
                let (mut rows, mut gone) = (Map::new(), Vec::new());
                let mut taken = |image: GroupImage| {
                    collect(&mut rows, &image);
                    if let Some(keys) = &image.gone {
                        let reader = <u64 as State>::Reader::new(keys).unwrap();
                        gone.extend((0..keys.len()).map(|row| reader.read(row)));
                    }
                };
                for (key, value, budget) in writes {
                    set(&mut table, key, value);
                    match value {
                        Some(value) => now.insert(key, value),
                        None => now.remove(&key),
                    };
                    table.scan(budget, &mut taken);
                }
                if !is_kept {
                    table.abandon_image();
                    continue;
                }
                while table.scan(64, &mut taken) {}
                prop_assert!(gone.iter().all(|key| !rows.contains_key(key)), "a key is written or gone, not both");
                let mut laid_over = since.map_or_else(Map::new, |(_, image)| image);
                laid_over.retain(|key, _| !gone.contains(key));
                laid_over.extend(rows);
                prop_assert_eq!(&laid_over, &shown);
                images.push((epoch, shown));
            }
        }
    }
}
