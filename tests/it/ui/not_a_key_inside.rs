use pitlane::{Key, State};
use std::collections::BTreeSet;

#[derive(Clone, PartialEq, Eq, State, Key)]
enum Place {
    Room(u32),
    Rooms(BTreeSet<u32>),
}

#[derive(Clone, PartialEq, Eq, State)]
struct Stored(u32);

#[derive(Clone, PartialEq, Eq, State, Key)]
struct Holder {
    id: u64,
    inside: Vec<Option<Stored>>,
}

fn main() {}
