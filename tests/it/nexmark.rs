//! The Nexmark example: events as the specification has them, and results that do not tell where a job was stopped and
//! with how many workers it went on. `examples/nexmark.py` compares them with DuckDB.

#[path = "../../examples/nexmark/events.rs"]
mod events;
#[path = "../../examples/nexmark/generator.rs"]
#[allow(dead_code, reason = "the example uses the rest")]
mod generator;
#[path = "../../examples/nexmark/queries.rs"]
mod queries;
#[path = "../../examples/nexmark/winning.rs"]
mod winning;

use events::{Auction, Bid, Event};
use generator::Nexmark;
use pitlane::connectors::{Polled, Record, Source, Taken};
use pitlane::engine::{Job, Stream, Watermarks};
use pitlane::model::SourcePosition;
use pitlane::savepoint::Savepoint;
use pitlane::testing::Bench;
use std::collections::BTreeMap;
use std::fmt::Debug;

fn all(nexmark: Nexmark) -> Vec<Event> {
    (0..nexmark.events).map(|n| nexmark.event(n)).collect()
}

fn sorted<R: Debug>(records: impl IntoIterator<Item = R>) -> Vec<String> {
    let mut shown: Vec<_> = records.into_iter().map(|record| format!("{record:?}")).collect();
    shown.sort_unstable();
    shown
}

#[test]
fn of_fifty_events_one_is_a_person_and_three_are_auctions_with_ids_that_count_up() {
    let events = all(Nexmark { events: 5_000, ..Nexmark::default() });
    let persons: Vec<_> = events.iter().cloned().filter_map(Event::person).map(|p| p.id).collect();
    let auctions: Vec<_> = events.iter().cloned().filter_map(Event::auction).map(|a| a.id).collect();
    assert_eq!(persons, (1000..1100).collect::<Vec<_>>());
    assert_eq!(auctions, (1000..1300).collect::<Vec<_>>());
    assert_eq!(events.into_iter().filter_map(Event::bid).count(), 4_600);
}

#[test]
fn events_are_the_same_however_many_splits_read_them_and_wherever_they_begin() {
    let wanted = sorted(all(Nexmark { events: 600, disorder: 50, ..Nexmark::default() }));
    for splits in [1, 2, 3, 4] {
        let source = Nexmark { events: 600, disorder: 50, splits, ..Nexmark::default() }.source();
        let mut read = Taken::default();
        for split in source.splits().unwrap() {
            let mut reader = source.open(&split, None).unwrap();
            reader.poll(71, &mut read).unwrap();
            let position = SourcePosition {
                split: split.clone(),
                offset: reader.offset(),
                records: reader.offset(),
                finished: false,
                watermark_ms: None,
            };
            let mut rest = source.open(&split, Some(&position)).unwrap();
            while rest.poll(100, &mut read).unwrap() != Polled::End {}
        }
        assert!(sorted(read.records) == wanted, "{splits} splits");
    }
}

#[test]
fn events_come_in_no_order_within_their_group_and_never_behind_the_watermark() {
    let nexmark = Nexmark { events: 10_000, disorder: 1_000, events_per_s: 3_000, ..Nexmark::default() };
    assert_eq!(nexmark.watermarks(), Watermarks::bounded(std::time::Duration::from_millis(334)));
    let times: Vec<_> = all(nexmark).iter().map(Event::at_ms).collect();
    assert!(!times.is_sorted());
    let mut latest_ms = i64::MIN;
    for (n, at_ms) in times.iter().enumerate() {
        latest_ms = latest_ms.max(*at_ms);
        assert!(*at_ms >= latest_ms - 334, "event {n}");
    }
    for (before, after) in times.chunks(1_000).zip(times.chunks(1_000).skip(1)) {
        assert!(before.iter().max() <= after.iter().min());
    }
}

#[test]
fn most_bids_and_auctions_are_those_of_who_is_hot() {
    let nexmark = Nexmark { events: 200_000, ..Nexmark::default() };
    let events = all(nexmark);
    let share = |many: usize, of: usize| many as f64 / of as f64;
    let bids: Vec<_> = events.iter().cloned().filter_map(Event::bid).collect();
    let auctions: Vec<_> = events.iter().cloned().filter_map(Event::auction).collect();
    let hot_auction = bids.iter().filter(|bid| bid.auction.is_multiple_of(100)).count();
    let hot_bidder = bids.iter().filter(|bid| bid.bidder % 100 == 1).count();
    let hot_seller = auctions.iter().filter(|auction| auction.seller.is_multiple_of(100)).count();
    // A few of the others are by chance.
    assert!((0.50..0.52).contains(&share(hot_auction, bids.len())));
    assert!((0.75..0.76).contains(&share(hot_bidder, bids.len())));
    assert!((0.73..0.78).contains(&share(hot_seller, auctions.len())));

    let mut powers = BTreeMap::<u32, usize>::new();
    bids.iter().for_each(|bid| *powers.entry(bid.price.ilog10()).or_default() += 1);
    for power in 2..8 {
        assert!((0.16..0.175).contains(&share(powers[&power], bids.len())), "{powers:?}");
    }
    let lasts = auctions.iter().map(|auction| auction.expires_ms - auction.at_ms);
    let mean_ms = lasts.clone().sum::<i64>() as f64 / auctions.len() as f64;
    // A hundred are open at a time, and there are 600 new ones a second.
    assert!((160.0..175.0).contains(&mean_ms), "{mean_ms}");
    assert!(lasts.min() >= Some(1));
    let bytes: usize = bids.iter().map(|bid| 32 + bid.extra.len()).sum();
    assert!((98.0..102.0).contains(&share(bytes, bids.len())));
}

#[test]
fn bids_and_auctions_speak_of_what_is_not_there_yet() {
    let (mut persons, mut auctions, mut ahead) = (0, 0, (0, 0));
    for event in all(Nexmark { events: 10_000, ..Nexmark::default() }) {
        match event {
            Event::Person(person) => persons = person.id,
            Event::Auction(auction) => {
                auctions = auction.id;
                assert!(auction.seller <= persons + 10);
                ahead.0 += usize::from(auction.seller > persons);
            }
            Event::Bid(bid) => {
                assert!(bid.auction <= auctions + 10);
                ahead.1 += usize::from(bid.auction > auctions);
            }
        }
    }
    assert!(ahead.0 > 0 && ahead.1 > 0, "{ahead:?}");
}

/// Runs a query over the events; the job stops with a savepoint after each of `stops`, and goes on with another number
/// of workers.
fn results<R: Record + Debug>(
    query: impl Fn(&Stream<Event>) -> Stream<R>,
    watermarks: Watermarks,
    events: &[Event],
    stops: &[usize],
) -> Vec<String> {
    let mut savepoint: Option<Savepoint> = None;
    let mut written = Vec::new();
    // Where what is committed becomes visible, for all that go on.
    let mut benches = vec![Bench::new().unwrap()];
    let output = benches[0].output();
    for (turn, until) in stops.iter().copied().chain([events.len()]).enumerate() {
        let bench = Bench::new().unwrap().workers([1, 3, 2][turn % 3]);
        let input = bench.input();
        input.send(events[..until].iter().cloned());
        if until == events.len() {
            input.end();
        }
        let job = Job::new("nexmark");
        let stream = job.source(input.clone()).uid("events").watermarks(watermarks, Event::at_ms);
        query(&stream).sink(output.clone()).uid("results");
        let mut running = match &savepoint {
            None => bench.start(job),
            Some(savepoint) => bench.resume(job, savepoint),
        }
        .unwrap();
        if until == events.len() {
            running.wait().unwrap();
        } else {
            running.settle().unwrap();
            savepoint = Some(running.stop().unwrap());
        }
        written.extend(output.take());
        benches.push(bench);
    }
    sorted(written)
}

fn stops_do_not_show<R: Record + Debug>(query: impl Fn(&Stream<Event>) -> Stream<R>) {
    let nexmark = Nexmark { events: 6_000, events_per_s: 150, disorder: 100, ..Nexmark::default() };
    let (events, watermarks) = (all(nexmark), nexmark.watermarks());
    let wanted = results(&query, watermarks, &events, &[]);
    assert!(!wanted.is_empty());
    let found = results(&query, watermarks, &events, &[1_234, 3_456, 5_432]);
    assert!(found == wanted, "{} instead of {} results", found.len(), wanted.len());
}

#[test]
fn stops_do_not_show_in_the_results_of_queries_0_to_2() {
    stops_do_not_show(queries::q0);
    stops_do_not_show(queries::q1);
    stops_do_not_show(queries::q2);
}

#[test]
fn stops_do_not_show_in_the_results_of_joins() {
    stops_do_not_show(queries::q3);
    stops_do_not_show(queries::q8);
}

#[test]
fn stops_do_not_show_in_the_results_of_auctions_that_close() {
    stops_do_not_show(queries::q4);
    stops_do_not_show(queries::q6);
}

#[test]
fn stops_do_not_show_in_the_results_of_windows() {
    stops_do_not_show(queries::q5);
    stops_do_not_show(queries::q7);
}

#[test]
fn a_bid_wins_from_the_opening_to_just_before_the_end_and_may_come_first() {
    let auction = |id, at_ms, expires_ms| {
        Event::Auction(Box::new(Auction {
            id,
            item: String::new(),
            description: String::new(),
            initial_bid: 1,
            reserve: 1,
            at_ms,
            expires_ms,
            seller: 7,
            category: 10,
            extra: String::new(),
        }))
    };
    let bid =
        |auction, price, at_ms| Event::Bid(Bid { auction, bidder: 1, price, at_ms, extra: String::new() });
    let events = [
        // Come before their auction does: too early, and in time.
        bid(1, 900, 99),
        bid(1, 500, 100),
        auction(1, 100, 200),
        bid(1, 600, 150),
        bid(1, 400, 151),
        bid(1, 900, 200),
        // Nobody bids for it in time.
        auction(2, 150, 160),
        bid(2, 900, 160),
        // Nobody ever offers it.
        bid(3, 900, 170),
        bid(1, 900, 260),
        auction(4, 250, 300),
        bid(4, 700, 299),
    ];
    let watermarks = Watermarks::bounded(std::time::Duration::from_millis(50));
    for stops in [vec![], (1..events.len()).collect()] {
        let sales = results(winning::sales, watermarks, &events, &stops);
        let sale = |auction, price, closed_ms| {
            format!(
                "Sale {{ auction: {auction}, seller: 7, category: 10, price: {price}, closed_ms: {closed_ms} }}"
            )
        };
        assert_eq!(sales, [sale(1, 600, 200), sale(4, 700, 300)]);
    }
}
