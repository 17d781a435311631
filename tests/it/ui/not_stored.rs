use pitlane::State;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Instant;

#[derive(State)]
struct Borrowed {
    name: &'static str,
}

#[derive(State)]
struct Shared {
    total: RefCell<u64>,
}

#[derive(State)]
struct Clocked {
    since: Option<Instant>,
}

#[derive(State)]
struct Erased {
    action: Box<dyn Fn(u64) -> u64>,
}

#[derive(State)]
struct ByFloat {
    prices: BTreeMap<String, Vec<BTreeMap<f64, u64>>>,
}

#[derive(State)]
struct Wide {
    row: (u8, u8, u8, u8, u8, u8, u8, u8, u8, u8, u8, u8, u8),
}

fn main() {}
