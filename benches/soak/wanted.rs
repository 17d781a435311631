//! What the job must have written, by plain code over the same orders, and what it has.

use crate::job::{Balance, GAP_MS, Order, SLOT_MS, SPLITS, Sum, TOLD_EACH, WINDOW_MS, order};
use pitlane::connectors::{CsvFiles, JsonLines, ParquetFiles, Polled, Source, Taken};
use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;
use std::path::Path;

/// The output of one sink: how many rows there are, how many were wanted, and how many of either are not in the other.
pub(crate) struct Compared {
    pub(crate) name: &'static str,
    pub(crate) wanted: usize,
    pub(crate) found: usize,
    pub(crate) lost: usize,
    pub(crate) doubled_or_wrong: usize,
}

/// Compares all that is below `out` with what so many orders of each split come to.
pub(crate) fn compare(out: &Path, read: &[u64]) -> Vec<Compared> {
    let mut balances: HashMap<u64, Balance> = HashMap::new();
    let mut told = Vec::new();
    let mut late = Vec::new();
    let mut rooms = BTreeMap::new();
    let mut slots = BTreeMap::new();
    let mut first_seen = BTreeMap::new();
    let mut visitors: BTreeMap<u64, Vec<(i64, i64)>> = BTreeMap::new();
    for (split, records) in (0..SPLITS).zip(read) {
        for order in (0..*records).map(|n| order(split, n)) {
            let balance = balances.entry(order.account).or_default();
            balance.add(&order);
            if balance.orders.is_multiple_of(TOLD_EACH) {
                told.push(*balance);
            }
            if order.late {
                late.push((order.split, order.n));
                continue;
            }
            add(&mut rooms, order.room, &order, WINDOW_MS);
            add(&mut slots, order.room, &order, SLOT_MS);
            visitors.entry(order.visitor).or_default().push((order.at_ms, order.amount));
            // The first of two with a ticket, or the second if the first was late; when it comes again, it has expired.
            if order.n.is_multiple_of(2) || crate::job::order(split, order.n - 1).late {
                add(&mut first_seen, u64::from(split), &order, WINDOW_MS);
            }
        }
    }
    vec![
        diff("balances", told, read_all(&JsonLines::<Balance>::new(out.join("balances")))),
        diff("rooms", sums(rooms), read_all(&ParquetFiles::<Sum>::new(out.join("rooms")))),
        diff("slots", sums(slots), read_all(&JsonLines::<Sum>::new(out.join("slots")))),
        diff("visits", sessions(visitors), read_all(&CsvFiles::<Sum>::new(out.join("visits")))),
        diff("first-seen", sums(first_seen), read_all(&JsonLines::<Sum>::new(out.join("first-seen")))),
        diff(
            "late",
            late,
            read_all(&JsonLines::<Order>::new(out.join("late"))).iter().map(|o| (o.split, o.n)).collect(),
        ),
    ]
}

type Sums = BTreeMap<(u64, i64, i64), (u64, i64)>;

fn add(sums: &mut Sums, key: u64, order: &Order, size_ms: i64) {
    let from_ms = order.at_ms.div_euclid(size_ms) * size_ms;
    let (orders, total) = sums.entry((key, from_ms, from_ms + size_ms)).or_default();
    (*orders, *total) = (*orders + 1, *total + order.amount);
}

fn sums(sums: Sums) -> Vec<Sum> {
    let sum = |((key, from_ms, to_ms), (orders, total))| Sum { key, from_ms, to_ms, orders, total };
    sums.into_iter().map(sum).collect()
}

fn sessions(visitors: BTreeMap<u64, Vec<(i64, i64)>>) -> Vec<Sum> {
    let mut sessions: Vec<Sum> = Vec::new();
    for (key, mut orders) in visitors {
        orders.sort_unstable();
        let first = sessions.len();
        for (at_ms, amount) in orders {
            match sessions[first..].last_mut().filter(|last| at_ms <= last.to_ms) {
                Some(last) => {
                    last.to_ms = at_ms + GAP_MS;
                    last.orders += 1;
                    last.total += amount;
                }
                None => sessions.push(Sum {
                    key,
                    from_ms: at_ms,
                    to_ms: at_ms + GAP_MS,
                    orders: 1,
                    total: amount,
                }),
            }
        }
    }
    sessions
}

/// Reads all files that can be seen, each of which must be whole.
fn read_all<S: Source>(source: &S) -> Vec<S::Item> {
    let mut taken = Taken::default();
    for file in source.splits().expect("the output can be listed") {
        let mut split = source.open(&file, None).expect("the output can be opened");
        while split.poll(10_000, &mut taken).expect("the output can be read") == Polled::Ready {}
    }
    assert!(taken.bad.is_empty(), "a record that is not whole: {:?}", taken.bad.first());
    taken.records
}

fn diff<T: Ord + Debug>(name: &'static str, mut wanted: Vec<T>, mut found: Vec<T>) -> Compared {
    wanted.sort_unstable();
    found.sort_unstable();
    let mut compared =
        Compared { name, wanted: wanted.len(), found: found.len(), lost: 0, doubled_or_wrong: 0 };
    let (mut left, mut right) = (wanted.iter().peekable(), found.iter().peekable());
    loop {
        let order = match (left.peek(), right.peek()) {
            (None, None) => return compared,
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (Some(l), Some(r)) => l.cmp(r),
        };
        if order.is_lt() {
            compared.lost += 1;
            if compared.lost <= 3 {
                println!("{name}: lost {:?}", left.peek());
            }
        }
        if order.is_gt() {
            compared.doubled_or_wrong += 1;
            if compared.doubled_or_wrong <= 3 {
                println!("{name}: not wanted {:?}", right.peek());
            }
        }
        if order.is_le() {
            left.next();
        }
        if order.is_ge() {
            right.next();
        }
    }
}
