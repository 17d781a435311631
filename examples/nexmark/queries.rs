//! Queries 0 to 8: each leads from the events to a stream of results.

use super::events::{Bid, Event, Person};
use super::winning::{Sale, sales};
use pitlane::engine::{
    Aggregate, CoProcess, Context, ListState, MapState, Process, Sliding, States, Stream, Timer, TimerHandle,
    Tumbling, ValueState, Window,
};
use pitlane::{BoxError, State};
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
/// The periods of queries 5, 7 and 8.
const PERIOD: Duration = Duration::from_secs(10);
/// How often query 5 tells.
const SLIDE: Duration = Duration::from_secs(2);

/// Drops most events before the others go two ways: what goes two ways is copied.
fn without_bids(events: &Stream<Event>) -> Stream<Event> {
    events.filter(|event| !matches!(event, Event::Bid(_)))
}

/// Query 0, pass through: all bids as they are.
pub(crate) fn q0(events: &Stream<Event>) -> Stream<Bid> {
    events.flat_map(Event::bid)
}

/// A bid in thousandths of euro cents.
#[derive(Clone, Debug, Serialize, Deserialize, State)]
pub(crate) struct EuroBid {
    auction: u64,
    bidder: u64,
    price_thousandths: u64,
    at_ms: i64,
    extra: String,
}

/// Query 1, currency conversion: all bids in euros, at 0.908 euros a dollar.
pub(crate) fn q1(events: &Stream<Event>) -> Stream<EuroBid> {
    events.flat_map(Event::bid).map(|Bid { auction, bidder, price, at_ms, extra }| EuroBid {
        auction,
        bidder,
        price_thousandths: price * 908,
        at_ms,
        extra,
    })
}

/// What was bid for an auction.
#[derive(Clone, Debug, Serialize, Deserialize, State)]
pub(crate) struct Selected {
    auction: u64,
    price: u64,
}

/// Query 2, selection: the bids for one auction of 123.
pub(crate) fn q2(events: &Stream<Event>) -> Stream<Selected> {
    let selected = events.flat_map(Event::bid).filter(|bid| bid.auction.is_multiple_of(123));
    selected.map(|bid| Selected { auction: bid.auction, price: bid.price })
}

/// Something that is sold near by.
#[derive(Clone, Debug, Serialize, Deserialize, State)]
pub(crate) struct LocalItem {
    name: String,
    city: String,
    state: String,
    auction: u64,
}

/// Query 3, local item suggestion: who sells things of category 10 in Oregon, Idaho or California, and which.
///
/// An auction may come before its seller does, and a seller's auctions never end: both are kept.
pub(crate) fn q3(events: &Stream<Event>) -> Stream<LocalItem> {
    struct Join {
        seller: ValueState<Person>,
        waiting: ListState<u64>,
    }

    impl Join {
        fn new(states: &mut States<u64>) -> Self {
            Self { seller: states.value("seller"), waiting: states.list("waiting") }
        }
    }

    fn item(seller: &Person, auction: u64) -> LocalItem {
        let Person { name, city, state, .. } = seller.clone();
        LocalItem { name, city, state, auction }
    }

    impl CoProcess<u64, Person, (u64, u64), LocalItem> for Join {
        fn process_first(
            &mut self,
            seller: Person,
            context: &mut Context<'_, u64, LocalItem>,
        ) -> Result<(), BoxError> {
            for auction in self.waiting.take()? {
                context.emit(item(&seller, auction));
            }
            self.seller.set(seller)?;
            Ok(())
        }

        fn process_second(
            &mut self,
            (_, auction): (u64, u64),
            context: &mut Context<'_, u64, LocalItem>,
        ) -> Result<(), BoxError> {
            match self.seller.with(|seller| seller.map(|seller| item(seller, auction)))? {
                Some(item) => context.emit(item),
                None => self.waiting.push(auction)?,
            }
            Ok(())
        }
    }

    let events = without_bids(events);
    let sellers = events.flat_map(Event::person);
    let sellers = sellers.filter(|person| ["OR", "ID", "CA"].contains(&&*person.state));
    let auctions = events.flat_map(Event::auction).filter(|auction| auction.category == 10);
    let auctions = auctions.map(|auction| (auction.seller, auction.id));
    sellers
        .key_by(|person| person.id)
        .connect(&auctions.key_by(|(seller, _)| *seller))
        .process(Join::new)
        .uid("local-items")
}

/// What the auctions of a category that were over by then were sold for on average.
#[derive(Clone, Debug, Serialize, Deserialize, State)]
pub(crate) struct CategoryPrice {
    category: u64,
    until_ms: i64,
    average: u64,
}

/// Query 4, average price for a category: of all auctions that are over, told anew every second in which some end.
pub(crate) fn q4(events: &Stream<Event>) -> Stream<CategoryPrice> {
    /// The sum of prices, and their number.
    #[derive(Clone)]
    struct Sum;

    impl Aggregate for Sum {
        type In = Sale;
        type Accumulator = (u64, u64);
        type Out = (u64, u64);

        fn create(&self) -> (u64, u64) {
            (0, 0)
        }

        fn add(&self, sum: &mut (u64, u64), sale: Sale) {
            self.merge(sum, (sale.price, 1));
        }

        fn result(&self, sum: &(u64, u64)) -> (u64, u64) {
            *sum
        }

        fn merge(&self, into: &mut (u64, u64), (prices, sales): (u64, u64)) {
            into.0 += prices;
            into.1 += sales;
        }
    }

    sales(events)
        .key_by(|sale| sale.category)
        .window(Tumbling::of(SECOND))
        .aggregate_with(Sum, |category, window, sum, out| out.push((*category, window.end_ms, sum)))
        .uid("seconds")
        .key_by(|(category, ..)| *category)
        .flat_map_with_state(|total: &mut Option<(u64, u64)>, (category, until_ms, sum)| {
            let total = total.get_or_insert((0, 0));
            Sum.merge(total, sum);
            Some(CategoryPrice { category, until_ms, average: total.0 / total.1 })
        })
        .uid("averages")
        .into()
}

/// An auction that nobody bid more often for in the ten seconds before.
#[derive(Clone, Debug, Serialize, Deserialize, State)]
pub(crate) struct HotItem {
    auction: u64,
    bids: u64,
    until_ms: i64,
}

/// Query 5, hot items: the auctions with the most bids in the last ten seconds, every two seconds.
pub(crate) fn q5(events: &Stream<Event>) -> Stream<HotItem> {
    /// The auctions with the most bids, and how many those are.
    #[derive(Clone)]
    struct Hottest;

    impl Aggregate for Hottest {
        type In = (u64, Window, u64);
        type Accumulator = (u64, Vec<u64>);
        type Out = (u64, Vec<u64>);

        fn create(&self) -> (u64, Vec<u64>) {
            (0, Vec::new())
        }

        fn add(&self, hottest: &mut (u64, Vec<u64>), (auction, _, bids): (u64, Window, u64)) {
            if bids > hottest.0 {
                *hottest = (bids, vec![auction]);
            } else if bids == hottest.0 {
                hottest.1.push(auction);
            }
        }

        fn result(&self, hottest: &(u64, Vec<u64>)) -> (u64, Vec<u64>) {
            hottest.clone()
        }

        fn merge(&self, into: &mut (u64, Vec<u64>), (bids, auctions): (u64, Vec<u64>)) {
            if bids > into.0 {
                *into = (bids, auctions);
            } else if bids == into.0 {
                into.1.extend(auctions);
            }
        }
    }

    let bids = events.flat_map(Event::bid).map(|bid| bid.auction);
    let counts = bids.key_by(|auction| *auction).window(Sliding::of(PERIOD, SLIDE)).count().uid("counts");
    // What a window tells has the time of its end, so a tumbling one takes in what ends together.
    counts
        .window_all(Tumbling::of(SLIDE))
        .aggregate_with(Hottest, |(), window, (bids, auctions), out| {
            out.extend(auctions.into_iter().map(|auction| HotItem {
                auction,
                bids,
                until_ms: window.end_ms,
            }));
        })
        .uid("hottest")
        .into()
}

/// What the last ten auctions of a seller were sold for on average, after one more was over.
#[derive(Clone, Debug, Serialize, Deserialize, State)]
pub(crate) struct SellerPrice {
    seller: u64,
    auction: u64,
    average: u64,
}

/// Query 6, average selling price by seller: of the last ten auctions of each seller, whenever one ends.
///
/// The last ones by event time; of those that end in the same millisecond, by id.
pub(crate) fn q6(events: &Stream<Event>) -> Stream<SellerPrice> {
    struct LastTen {
        /// Auctions and prices by when the auctions ended, until all that ended earlier are known.
        ended: MapState<i64, Vec<(u64, u64)>>,
        prices: ListState<u64>,
        timers: TimerHandle,
    }

    impl LastTen {
        fn new(states: &mut States<u64>) -> Self {
            Self { ended: states.map("ended"), prices: states.list("prices"), timers: states.event_timers() }
        }
    }

    impl Process<u64, Sale, SellerPrice> for LastTen {
        fn process(&mut self, sale: Sale, _: &mut Context<'_, u64, SellerPrice>) -> Result<(), BoxError> {
            self.timers.set(sale.closed_ms)?;
            self.ended.update(|ended| {
                let ended = ended.get_or_insert_default();
                ended.entry(sale.closed_ms).or_default().push((sale.auction, sale.price));
            })?;
            Ok(())
        }

        fn on_timer(
            &mut self,
            timer: Timer,
            context: &mut Context<'_, u64, SellerPrice>,
        ) -> Result<(), BoxError> {
            let mut ended = self.ended.remove(&timer.at_ms)?.unwrap_or_default();
            ended.sort_unstable();
            for (auction, price) in ended {
                let average = self.prices.update(|prices| {
                    let prices = prices.get_or_insert_default();
                    prices.push(price);
                    prices.drain(..prices.len().saturating_sub(10));
                    prices.iter().sum::<u64>() / prices.len() as u64
                })?;
                let seller = *context.key();
                context.emit(SellerPrice { seller, auction, average });
            }
            Ok(())
        }
    }

    sales(events).key_by(|sale| sale.seller).process(LastTen::new).uid("sellers")
}

/// Query 7, highest bid: the highest one of each ten seconds, or several that are equal.
///
/// First the highest one of each auction, on all workers, and of those on one.
pub(crate) fn q7(events: &Stream<Event>) -> Stream<Bid> {
    #[derive(Clone)]
    struct Highest;

    impl Aggregate for Highest {
        type In = Bid;
        type Accumulator = Vec<Bid>;
        type Out = Vec<Bid>;

        fn create(&self) -> Vec<Bid> {
            Vec::new()
        }

        fn add(&self, highest: &mut Vec<Bid>, bid: Bid) {
            match highest.first().map_or(Ordering::Less, |other| other.price.cmp(&bid.price)) {
                Ordering::Greater => {}
                Ordering::Equal => highest.push(bid),
                Ordering::Less => *highest = vec![bid],
            }
        }

        fn result(&self, highest: &Vec<Bid>) -> Vec<Bid> {
            highest.clone()
        }

        fn merge(&self, into: &mut Vec<Bid>, others: Vec<Bid>) {
            others.into_iter().for_each(|bid| self.add(into, bid));
        }
    }

    let bids = events.flat_map(Event::bid).key_by(|bid| bid.auction);
    let of_auctions = bids
        .window(Tumbling::of(PERIOD))
        .aggregate_with(Highest, |_, _, bids, out| out.extend(bids))
        .uid("highest-of-auctions");
    of_auctions
        .window_all(Tumbling::of(PERIOD))
        .aggregate_with(Highest, |(), _, bids, out| out.extend(bids))
        .uid("highest")
        .into()
}

/// Somebody who is new, and sells something already.
#[derive(Clone, Debug, Serialize, Deserialize, State)]
pub(crate) struct NewSeller {
    id: u64,
    name: String,
    from_ms: i64,
}

/// Query 8, monitor new users: who signed up and offered something within the same ten seconds.
pub(crate) fn q8(events: &Stream<Event>) -> Stream<NewSeller> {
    let events = without_bids(events);
    let persons = events.flat_map(Event::person).map(|person| (person.id, person.name));
    let sellers = events.flat_map(Event::auction).map(|auction| auction.seller);
    persons
        .key_by(|(id, _)| *id)
        .connect(&sellers.key_by(|seller| *seller))
        .window(Tumbling::of(PERIOD))
        .co_group(|_, window, persons, offered, out| {
            if !offered.is_empty() {
                let new = |(id, name): &(u64, String)| NewSeller {
                    id: *id,
                    name: name.clone(),
                    from_ms: window.start_ms,
                };
                out.extend(persons.iter().map(new));
            }
        })
        .uid("new-sellers")
        .into()
}
