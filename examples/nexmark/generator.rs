//! The events of the Nexmark specification, each of them a function of its number.
//!
//! One event in fifty is a person, three are auctions, all others bids; most bids are for the hot auction of the moment,
//! and most auctions are the hot seller's. Apache Beam and `nexmark-flink` have the rules. Two things are otherwise here.
//! Chance is a function of an event's number, so that a split can be opened anywhere. And splits take turns at one
//! sequence, where those of Beam have a sequence each: so the events are the same however many splits read them.

use super::events::{Auction, Bid, Event, Person};
use pitlane::connectors::Generator;
use pitlane::engine::Watermarks;
use std::sync::LazyLock;
use std::time::Duration;

/// How many of each fifty events are of which kind, in this order.
const PERSONS: u64 = 1;
const AUCTIONS: u64 = 3;
const BIDS: u64 = 46;
const ROUND: u64 = PERSONS + AUCTIONS + BIDS;

/// Ids do not begin at 0, so that small inputs have results too.
const FIRST_PERSON: u64 = 1000;
const FIRST_AUCTION: u64 = 1000;
const FIRST_CATEGORY: u64 = 10;
const CATEGORIES: u64 = 5;

/// One person, and one auction, of so many is the hot one.
const HOT_AMONG: u64 = 100;
/// How many ids ahead a person or an auction may be spoken of before it is there.
const LEAD: u64 = 10;

/// When it all begins: the 15th of July 2015.
const BEGIN_MS: i64 = 1_436_918_400_000;

const STATES: [&str; 6] = ["AZ", "CA", "ID", "OR", "WA", "WY"];
const CITIES: [&str; 10] = [
    "Phoenix",
    "Los Angeles",
    "San Francisco",
    "Boise",
    "Portland",
    "Bend",
    "Redmond",
    "Seattle",
    "Kent",
    "Cheyenne",
];
const FIRST_NAMES: [&str; 8] = ["Ada", "Bela", "Carl", "Dora", "Emmy", "Felix", "Grace", "Hugo"];
const LAST_NAMES: [&str; 8] = ["Abel", "Borel", "Cantor", "Dirac", "Euler", "Fano", "Gauss", "Hopf"];

/// What the events are like; the default is the specification's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Nexmark {
    /// How many events there are.
    pub(crate) events: u64,
    /// How many splits they are read in.
    pub(crate) splits: u32,
    /// How many there are in a second of event time.
    pub(crate) events_per_s: u64,
    /// How many events in a row come in no order; 1 is none.
    pub(crate) disorder: u64,
    /// The people who sell and bid are the last so many.
    pub(crate) active_people: u64,
    /// The auctions that are bid for are the last so many.
    pub(crate) open_auctions: u64,
    /// One auction of so many is not the hot seller's.
    pub(crate) hot_sellers: u64,
    /// One bid of so many is not for the hot auction.
    pub(crate) hot_auctions: u64,
    /// One bid of so many is not the hot bidder's.
    pub(crate) hot_bidders: u64,
    /// How large persons, auctions and bids are on average.
    pub(crate) size_bytes: (usize, usize, usize),
    /// Another seed makes other events.
    pub(crate) seed: u64,
}

impl Default for Nexmark {
    fn default() -> Self {
        Self {
            events: 100_000,
            splits: 4,
            events_per_s: 10_000,
            disorder: 1,
            active_people: 1_000,
            open_auctions: 100,
            hot_sellers: 4,
            hot_auctions: 2,
            hot_bidders: 4,
            size_bytes: (200, 500, 100),
            seed: 1,
        }
    }
}

impl Nexmark {
    /// Returns the events as a source: the splits take turns, and their position is how many each has made.
    pub(crate) fn source(self) -> Generator<impl Fn(u32, u64) -> Event + Clone + Send + 'static> {
        let splits = u64::from(self.splits);
        Generator::new(self.splits, self.events.div_ceil(splits), move |split, n| {
            self.event(n * splits + u64::from(split))
        })
    }

    /// Returns watermarks that no event comes behind.
    pub(crate) fn watermarks(&self) -> Watermarks {
        Watermarks::bounded(Duration::from_millis((self.disorder * 1000).div_ceil(self.events_per_s)))
    }

    /// Makes the `n`-th event that comes.
    pub(crate) fn event(&self, n: u64) -> Event {
        let number = self.number(n);
        let mut dice = Dice::new(self.seed, number);
        match number % ROUND {
            turn if turn < PERSONS => Event::Person(Box::new(self.person(number, &mut dice))),
            turn if turn < PERSONS + AUCTIONS => Event::Auction(Box::new(self.auction(number, &mut dice))),
            _ => Event::Bid(self.bid(number, &mut dice)),
        }
    }

    /// Returns which event of the sequence comes at the `n`-th place.
    fn number(&self, n: u64) -> u64 {
        // A step that has no divisor in common with the usual sizes of groups, so that each event comes once.
        n / self.disorder * self.disorder + n * 953 % self.disorder
    }

    fn at_ms(&self, number: u64) -> i64 {
        BEGIN_MS + (number * 1000 / self.events_per_s) as i64
    }

    fn person(&self, number: u64, dice: &mut Dice) -> Person {
        let name = format!("{} {}", dice.one_of(&FIRST_NAMES), dice.one_of(&LAST_NAMES));
        let email = format!("{}@{}.com", dice.text(3, 7), dice.text(3, 5));
        let credit_card = (0..4).map(|_| format!("{:04}", dice.below(10_000))).collect::<Vec<_>>().join(" ");
        let (city, state) = (dice.one_of(&CITIES).to_owned(), dice.one_of(&STATES).to_owned());
        let size = 16 + name.len() + email.len() + credit_card.len() + city.len() + state.len();
        Person {
            id: FIRST_PERSON + persons_until(number) - 1,
            name,
            email,
            credit_card,
            city,
            state,
            at_ms: self.at_ms(number),
            extra: dice.extra(self.size_bytes.0, size),
        }
    }

    fn auction(&self, number: u64, dice: &mut Dice) -> Auction {
        let seller = match dice.below(self.hot_sellers) {
            0 => self.some_person(number, dice),
            _ => hottest(persons_until(number)),
        };
        let (item, description) = (dice.text(3, 20).to_owned(), dice.text(3, 100).to_owned());
        let initial_bid = dice.price();
        let at_ms = self.at_ms(number);
        // As long as it takes until there are as many new auctions as are open at a time; that on average.
        let usual_ms = self.at_ms(number + self.open_auctions * ROUND / AUCTIONS) - at_ms;
        let size = 56 + item.len() + description.len();
        Auction {
            id: FIRST_AUCTION + auctions_until(number) - 1,
            item,
            description,
            initial_bid,
            reserve: initial_bid + dice.price(),
            at_ms,
            expires_ms: at_ms + 1 + dice.below((usual_ms as u64 * 2).max(1)) as i64,
            seller: FIRST_PERSON + seller,
            category: FIRST_CATEGORY + dice.below(CATEGORIES),
            extra: dice.extra(self.size_bytes.1, size),
        }
    }

    fn bid(&self, number: u64, dice: &mut Dice) -> Bid {
        let auctions = auctions_until(number);
        let auction = match dice.below(self.hot_auctions) {
            0 => {
                let oldest = auctions.saturating_sub(self.open_auctions + 1);
                oldest + dice.below(auctions - oldest + LEAD)
            }
            _ => hottest(auctions),
        };
        let bidder = match dice.below(self.hot_bidders) {
            0 => self.some_person(number, dice),
            // The one after the hot seller.
            _ => hottest(persons_until(number)) + 1,
        };
        Bid {
            auction: FIRST_AUCTION + auction,
            bidder: FIRST_PERSON + bidder,
            price: dice.price(),
            at_ms: self.at_ms(number),
            extra: dice.extra(self.size_bytes.2, 32),
        }
    }

    fn some_person(&self, number: u64, dice: &mut Dice) -> u64 {
        let persons = persons_until(number);
        let oldest = persons.saturating_sub(self.active_people);
        oldest + dice.below(persons - oldest + LEAD)
    }
}

/// Returns how many persons there are with this event.
fn persons_until(number: u64) -> u64 {
    number / ROUND * PERSONS + (number % ROUND + 1).min(PERSONS)
}

/// Returns how many auctions there are with this event.
fn auctions_until(number: u64) -> u64 {
    number / ROUND * AUCTIONS + (number % ROUND + 1).saturating_sub(PERSONS).min(AUCTIONS)
}

/// Returns the hot one among the last of `many`: the first of its hundred.
fn hottest(many: u64) -> u64 {
    (many - 1) / HOT_AMONG * HOT_AMONG
}

/// Chance, the same for the same event (SplitMix64).
struct Dice(u64);

impl Dice {
    fn new(seed: u64, number: u64) -> Self {
        let mut dice = Self(seed);
        dice.0 = dice.next() ^ number.wrapping_mul(0xD6E8_FEB8_6659_FD93);
        dice
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let once = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let twice = (once ^ (once >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        twice ^ (twice >> 31)
    }

    /// A number below `end`.
    fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(end)) >> 64) as u64
    }

    fn one_of<'a>(&mut self, many: &[&'a str]) -> &'a str {
        many[self.below(many.len() as u64) as usize]
    }

    /// From 1 to a million dollars, in cents: each power of ten as often as any other.
    fn price(&mut self) -> u64 {
        let exponent = (self.next() >> 11) as f64 / (1u64 << 53) as f64 * 6.0;
        (10f64.powf(exponent) * 100.0).round() as u64
    }

    /// Text of `shortest` to less than `longest` letters.
    fn text(&mut self, shortest: u64, longest: u64) -> &'static str {
        let length = (shortest + self.below(longest - shortest)) as usize;
        let from = self.below((LETTERS.len() - length) as u64) as usize;
        &LETTERS[from..from + length]
    }

    /// What is missing of a record's usual size, give or take a fifth.
    fn extra(&mut self, usual_bytes: usize, size_bytes: usize) -> String {
        let missing = usual_bytes.saturating_sub(size_bytes) as u64;
        self.text(missing - missing / 5, missing + missing / 5 + 1).to_owned()
    }
}

/// What all texts are cut from.
static LETTERS: LazyLock<String> = LazyLock::new(|| {
    let mut dice = Dice(0);
    (0..1 << 16).map(|_| char::from(b'a' + dice.below(26) as u8)).collect()
});
