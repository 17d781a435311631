//! The job that is killed: a keyed state, two kinds of windows, timers, and a state that expires, each into files.
//!
//! Whatever it tells depends on the orders alone, and neither on the clock nor on which split is ahead: else there
//! would be nothing to compare with.

use crate::common::mix;
use pitlane::connectors::{FileSink, Generator};
use pitlane::engine::{
    Aggregate, Checkpoints, Context, Job, MapState, Process, Session, SideOutput, Timer, TimerHandle,
    Tumbling, Watermarks, Window,
};
use pitlane::{BoxError, State};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::time::Duration;

pub(crate) const NAME: &str = "soak";
pub(crate) const SPLITS: u32 = 4;
/// How many orders a split has a second, at most.
pub(crate) const RATE: u64 = 400;
/// Event time goes four times as fast as the clock.
pub(crate) const STEP_MS: i64 = 10;
pub(crate) const DISORDER_MS: i64 = 3_000;
/// One of so many orders comes late, once there were so many.
pub(crate) const LATE: (u64, u64) = (997, 50_000);
pub(crate) const LATE_BY_MS: i64 = 400_000;
pub(crate) const ACCOUNTS: u64 = 5_000;
pub(crate) const ROOMS: u64 = 300;
pub(crate) const VISITORS: u64 = 2_000;
/// A balance is told at each so many orders of an account.
pub(crate) const TOLD_EACH: u64 = 8;
pub(crate) const WINDOW_MS: i64 = 60_000;
pub(crate) const GAP_MS: i64 = 5_000;
pub(crate) const SLOT_MS: i64 = 20_000;
pub(crate) const TICKETS_LIVE: Duration = Duration::from_secs(120);
/// After how many tickets of a split the first one comes again: three times as late as it has expired.
pub(crate) const TICKETS: u64 = RATE / 2 * TICKETS_LIVE.as_secs() * 3;

/// What the sources read.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) split: u32,
    pub(crate) n: u64,
    /// All orders of an account come from one split, so in one order.
    pub(crate) account: u64,
    pub(crate) room: u64,
    pub(crate) visitor: u64,
    /// Each ticket comes twice, one right after the other.
    pub(crate) ticket: u64,
    pub(crate) amount: i64,
    pub(crate) at_ms: i64,
    pub(crate) late: bool,
}

/// Makes the `n`-th order of a split.
pub(crate) fn order(split: u32, n: u64) -> Order {
    let number = n * u64::from(SPLITS) + u64::from(split);
    let (one, two) = (mix(number), mix(number ^ 0x5EED));
    let late = n > LATE.1 && n.is_multiple_of(LATE.0);
    let noise = (two >> 40) as i64 % DISORDER_MS;
    Order {
        split,
        n,
        account: one % ACCOUNTS * u64::from(SPLITS) + u64::from(split),
        room: (one >> 20) % ROOMS,
        visitor: (one >> 40) % VISITORS,
        ticket: n / 2 % TICKETS * u64::from(SPLITS) + u64::from(split),
        amount: (two % 1000) as i64 - 300,
        at_ms: n as i64 * STEP_MS + noise - if late { LATE_BY_MS } else { 0 },
        late,
    }
}

/// What an account has after an order; the digest depends on each order and on which came first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, State)]
pub(crate) struct Balance {
    pub(crate) account: u64,
    pub(crate) orders: u64,
    pub(crate) total: i64,
    pub(crate) digest: u64,
}

impl Balance {
    /// Takes an order in.
    pub(crate) fn add(&mut self, order: &Order) {
        self.account = order.account;
        self.orders += 1;
        self.total += order.amount;
        self.digest = mix(self.digest ^ order.n);
    }
}

/// Orders of a key within some time, and what they come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, State)]
pub(crate) struct Sum {
    pub(crate) key: u64,
    pub(crate) from_ms: i64,
    pub(crate) to_ms: i64,
    pub(crate) orders: u64,
    pub(crate) total: i64,
}

#[derive(Clone)]
struct Add;

impl Aggregate for Add {
    type In = Order;
    type Accumulator = (u64, i64);
    type Out = (u64, i64);

    fn create(&self) -> (u64, i64) {
        (0, 0)
    }

    fn add(&self, (orders, total): &mut (u64, i64), order: Order) {
        (*orders, *total) = (*orders + 1, *total + order.amount);
    }

    fn result(&self, sum: &(u64, i64)) -> (u64, i64) {
        *sum
    }

    fn merge(&self, into: &mut (u64, i64), other: (u64, i64)) {
        *into = (into.0 + other.0, into.1 + other.1);
    }
}

fn sum(key: &u64, window: Window, (orders, total): (u64, i64), out: &mut Vec<Sum>) {
    out.push(Sum { key: *key, from_ms: window.start_ms, to_ms: window.end_ms, orders, total });
}

/// Windows by hand: a map from slot of time to what is in it, and a timer for the end of each slot.
struct Slots {
    slots: MapState<i64, (u64, i64)>,
    timers: TimerHandle,
}

impl Process<u64, Order, Sum> for Slots {
    fn process(&mut self, order: Order, _: &mut Context<'_, u64, Sum>) -> Result<(), BoxError> {
        let from_ms = order.at_ms.div_euclid(SLOT_MS) * SLOT_MS;
        let mut slot = self.slots.get(&from_ms)?.unwrap_or_default();
        Add.add(&mut slot, order);
        self.slots.insert(from_ms, slot)?;
        self.timers.set(from_ms + SLOT_MS)?;
        Ok(())
    }

    fn on_timer(&mut self, timer: Timer, context: &mut Context<'_, u64, Sum>) -> Result<(), BoxError> {
        let from_ms = timer.at_ms - SLOT_MS;
        let (orders, total) = self.slots.remove(&from_ms)?.ok_or("a timer without a slot")?;
        context.emit(Sum { key: *context.key(), from_ms, to_ms: timer.at_ms, orders, total });
        Ok(())
    }
}

/// Makes the job, which writes below `out`.
pub(crate) fn job(out: &Path) -> Job {
    let job = Job::new(NAME).checkpoints(Checkpoints::every(Duration::from_millis(700)).keep(2));
    let late = SideOutput::<Order>::new("late");
    let orders = job
        .source(Generator::new(SPLITS, u64::MAX, order))
        .uid("orders")
        .rate(RATE as f64)
        .watermarks(Watermarks::bounded(Duration::from_millis(DISORDER_MS as u64)), |order| order.at_ms);
    let timely = orders.filter(|order| !order.late);

    orders
        .key_by(|order| order.account)
        .flat_map_with_state(|balance: &mut Option<Balance>, order: Order| {
            let balance = balance.get_or_insert_default();
            balance.add(&order);
            balance.orders.is_multiple_of(TOLD_EACH).then_some(*balance)
        })
        .uid("balances")
        .sink(FileSink::json_lines(out.join("balances")))
        .uid("balances-out");

    let rooms = orders
        .key_by(|order| order.room)
        .window(Tumbling::of(Duration::from_millis(WINDOW_MS as u64)))
        .late_to(&late)
        .aggregate_with(Add, sum)
        .uid("rooms");
    rooms.sink(FileSink::parquet(out.join("rooms")).roll_at_records(1_000)).uid("rooms-out");
    rooms.side_output(&late).sink(FileSink::json_lines(out.join("late"))).uid("late-out");

    timely
        .key_by(|order| order.visitor)
        .window(Session::with_gap(Duration::from_millis(GAP_MS as u64)))
        .aggregate_with(Add, sum)
        .uid("visits")
        .sink(FileSink::csv(out.join("visits")).gzip())
        .uid("visits-out");

    timely
        .key_by(|order| order.room)
        .process(|states| Slots { slots: states.map("slots"), timers: states.event_timers() })
        .uid("slots")
        .sink(FileSink::json_lines(out.join("slots")).zstd())
        .uid("slots-out");

    timely
        .key_by(|order| order.ticket)
        .flat_map_with_state(|seen: &mut Option<u64>, order: Order| {
            let is_new = seen.is_none();
            seen.get_or_insert(order.n);
            is_new.then_some(order)
        })
        .expire_after(TICKETS_LIVE)
        .uid("tickets")
        .key_by(|order| u64::from(order.split))
        .window(Tumbling::of(Duration::from_millis(WINDOW_MS as u64)))
        .aggregate_with(Add, sum)
        .uid("first-seen")
        .sink(FileSink::json_lines(out.join("first-seen")))
        .uid("first-seen-out");
    job
}
