//! Key groups: the slices of the key space that move on rescale (clauses KG-1 to KG-4).

use serde::{Deserialize, Serialize};
use std::fmt;
use xxhash_rust::xxh3::xxh3_64;

/// The number of key groups of a job, 1 to 32768, fixed for its life unless it is rewritten offline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MaxParallelism(u16);

impl MaxParallelism {
    /// The number of key groups of a job that does not choose one.
    pub const DEFAULT: Self = Self(128);
    /// The largest number of key groups.
    pub const LIMIT: u16 = 32_768;

    /// Takes `groups` if it lies in 1 to 32768.
    pub fn new(groups: u16) -> Option<Self> {
        (1..=Self::LIMIT).contains(&groups).then_some(Self(groups))
    }

    /// Returns the number of key groups.
    pub fn get(self) -> u16 {
        self.0
    }

    /// Returns the range of all key groups.
    pub fn all(self) -> KeyGroupRange {
        KeyGroupRange { first: KeyGroup(0), last: KeyGroup(self.0 - 1) }
    }
}

impl Default for MaxParallelism {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// A slice of the key space, the smallest piece that moves on rescale.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct KeyGroup(u16);

impl KeyGroup {
    /// Returns the group that holds `key`, given in its canonical encoding.
    ///
    /// Part of the format (clause KG-1): depends on the encoded key and on `max_parallelism` alone,
    /// and stays the same in every release.
    ///
    /// # Examples
    ///
    /// ```
    /// use pitlane::model::{KeyGroup, MaxParallelism};
    ///
    /// let groups = MaxParallelism::new(128).expect("128 is not 0");
    /// assert!(KeyGroup::of(b"room-7", groups).index() < 128);
    /// ```
    pub fn of(key: &[u8], max_parallelism: MaxParallelism) -> Self {
        Self::of_hash(hash_key(key), max_parallelism)
    }

    /// Returns the group of a key whose hash ([`hash_key`]) is known.
    // Bits 33 to 56 of the hash: disjoint from the low bits that index a hash table and from the top
    // seven that tag its slots, so that the keys of one group still spread over a table.
    #[inline]
    pub fn of_hash(hash: u64, max_parallelism: MaxParallelism) -> Self {
        let spread = ((hash >> 33) & 0x00FF_FFFF) * u64::from(max_parallelism.0);
        Self((spread >> 24) as u16)
    }

    /// Takes `index` if `max_parallelism` has such a group.
    pub fn new(index: u16, max_parallelism: MaxParallelism) -> Option<Self> {
        (index < max_parallelism.0).then_some(Self(index))
    }

    /// Returns the position of the group, from 0.
    #[inline]
    pub fn index(self) -> u16 {
        self.0
    }
}

impl fmt::Display for KeyGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Returns the hash of a key in its canonical encoding: XXH3, 64 bits, seed 0 (clause KG-1).
#[inline]
pub fn hash_key(key: &[u8]) -> u64 {
    xxh3_64(key)
}

/// A run of neighbouring key groups, both ends included; never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct KeyGroupRange {
    first: KeyGroup,
    last: KeyGroup,
}

impl KeyGroupRange {
    /// Takes the run from `first` to `last` if `max_parallelism` has it and it is not empty.
    pub fn new(first: u16, last: u16, max_parallelism: MaxParallelism) -> Option<Self> {
        let (first, last) = (KeyGroup::new(first, max_parallelism)?, KeyGroup::new(last, max_parallelism)?);
        (first <= last).then_some(Self { first, last })
    }

    /// Returns the key groups of worker `index` among `parallelism` workers (clause KG-4).
    ///
    /// Worker w of p holds the groups g with ⌊g·p/n⌋ = w; `None` if there are none, which happens
    /// only when there are more workers than key groups.
    pub fn of_worker(index: usize, parallelism: usize, max_parallelism: MaxParallelism) -> Option<Self> {
        let groups = usize::from(max_parallelism.0);
        let start = |worker: usize| (worker * groups).div_ceil(parallelism);
        let (first, end) = (start(index), start(index + 1));
        (index < parallelism && first < end)
            .then(|| Self { first: KeyGroup(first as u16), last: KeyGroup((end - 1) as u16) })
    }

    /// Returns the worker, among `parallelism`, that holds `group` (clause KG-4).
    #[inline]
    pub fn worker_of(group: KeyGroup, parallelism: usize, max_parallelism: MaxParallelism) -> usize {
        usize::from(group.0) * parallelism / usize::from(max_parallelism.0)
    }

    /// Returns the range of one key group.
    pub fn one(group: KeyGroup) -> Self {
        Self { first: group, last: group }
    }

    /// Returns the first key group.
    pub fn first(self) -> KeyGroup {
        self.first
    }

    /// Returns the last key group, which belongs to the range.
    pub fn last(self) -> KeyGroup {
        self.last
    }

    /// Returns the number of key groups, at least 1.
    pub fn count(self) -> usize {
        usize::from(self.last.0 - self.first.0) + 1
    }

    /// Returns whether `group` lies in the range.
    pub fn contains(self, group: KeyGroup) -> bool {
        self.first <= group && group <= self.last
    }

    /// Returns the key groups that both ranges hold.
    pub fn intersection(self, other: Self) -> Option<Self> {
        let (first, last) = (self.first.max(other.first), self.last.min(other.last));
        (first <= last).then_some(Self { first, last })
    }

    /// Returns the key groups in order.
    pub fn iter(self) -> impl DoubleEndedIterator<Item = KeyGroup> {
        (self.first.0..=self.last.0).map(KeyGroup)
    }
}

impl fmt::Display for KeyGroupRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_and_too_many_key_groups_are_refused() {
        assert_eq!(MaxParallelism::new(0), None);
        assert_eq!(MaxParallelism::new(32_769), None);
    }

    #[test]
    fn workers_share_the_key_groups_without_gap_or_overlap() {
        for groups in [1u16, 2, 3, 7, 128, 1000] {
            let max = MaxParallelism::new(groups).unwrap();
            for parallelism in 1..=usize::from(groups).min(9) {
                let mut held = Vec::new();
                for worker in 0..parallelism {
                    let range = KeyGroupRange::of_worker(worker, parallelism, max).unwrap();
                    for group in range.iter() {
                        assert_eq!(KeyGroupRange::worker_of(group, parallelism, max), worker);
                        held.push(group.index());
                    }
                }
                assert_eq!(held, (0..groups).collect::<Vec<_>>(), "{groups} groups, {parallelism} workers");
            }
        }
    }

    #[test]
    fn every_hash_falls_into_a_group_of_the_job() {
        for groups in [1u16, 3, 128, 32_768] {
            let max = MaxParallelism::new(groups).unwrap();
            for hash in [0, u64::MAX, 1 << 33, 0x00FF_FFFF << 33, 0x1234_5678_9ABC_DEF0] {
                assert!(KeyGroup::of_hash(hash, max).index() < groups);
            }
        }
    }
}
