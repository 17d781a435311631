//! The two states that are measured: a small one of plain columns, and one of text, options and lists.

#![allow(unreachable_pub, missing_docs)]

use pitlane::State;
use pitlane::model::{KeyGroup, MaxParallelism};
use pitlane::state::Key;

/// A state with the keys that a benchmark gives it.
pub trait Case: Sized {
    const NAME: &'static str;
    type Key: Key + Ord + std::fmt::Display;
    type Value: State + Clone + PartialEq;

    /// Makes the `n`-th key and its value.
    fn row(n: u64, random: &mut Random) -> (Self::Key, Self::Value);
}

/// Rows of a state with their key groups, in the order of the format.
pub type Rows<C> = Vec<(KeyGroup, <C as Case>::Key, <C as Case>::Value)>;

pub fn rows<C: Case>(keys: u64) -> Rows<C> {
    let mut random = Random(42);
    let row = |n| {
        let (key, value) = C::row(n, &mut random);
        (KeyGroup::of_hash(key.hash64(), MaxParallelism::DEFAULT), key, value)
    };
    let mut rows: Rows<C> = (0..keys).map(row).collect();
    rows.sort_unstable_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
    rows.dedup_by(|a, b| a.1 == b.1);
    rows
}

/// `u64 -> (bool, i64)`, with keys all over the range.
pub struct Alarms;

impl Case for Alarms {
    const NAME: &'static str = "A";
    type Key = u64;
    type Value = (bool, i64);

    fn row(_n: u64, random: &mut Random) -> (u64, (bool, i64)) {
        let (key, bits) = (random.next(), random.next());
        (key, (bits & 7 == 0, ((bits >> 8) % 1_000_000) as i64))
    }
}

/// `String -> Session`, with keys of 20 bytes that have a prefix in common.
pub struct Sessions;

#[derive(Clone, Debug, PartialEq, State)]
pub struct Session {
    pub name: String,
    pub score: Option<f64>,
    pub counts: Vec<i64>,
    pub last_seen_ms: i64,
    pub plan: u32,
}

impl Case for Sessions {
    const NAME: &'static str = "B";
    type Key = String;
    type Value = Session;

    fn row(n: u64, random: &mut Random) -> (String, Session) {
        let key = format!("user-{:015}", n * 7919 + random.below(7000));
        let (bits, letters) = (random.next(), random.next());
        let name = (0..6 + (bits & 7) as u32).map(|i| (b'a' + (letters / 26_u64.pow(i) % 26) as u8) as char);
        let session = Session {
            name: name.collect(),
            score: (bits & 0x700 != 0).then(|| ((bits >> 16) % 100_000) as f64 / 100.0),
            counts: (0..(bits >> 40) & 3).map(|_| random.below(10_000) as i64).collect(),
            last_seen_ms: 1_790_000_000_000 + random.below(86_400_000 * 30) as i64,
            plan: ((bits >> 50) % 6) as u32,
        };
        (key, session)
    }
}

/// Numbers that look random, the same in every run (SplitMix64).
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bits ^ (bits >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }
}
