//! What happens at the auction house.

use pitlane::State;
use serde::{Deserialize, Serialize};

/// Somebody signed up, offered something, or bid for it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Event {
    Person(Box<Person>),
    Auction(Box<Auction>),
    Bid(Bid),
}

/// Somebody who may sell and bid from now on.
#[derive(Clone, Debug, Serialize, Deserialize, State)]
pub(crate) struct Person {
    pub(crate) id: u64,
    pub(crate) name: String,
    pub(crate) email: String,
    pub(crate) credit_card: String,
    pub(crate) city: String,
    pub(crate) state: String,
    pub(crate) at_ms: i64,
    pub(crate) extra: String,
}

/// Something that is sold to whoever bids most from `at_ms` until just before `expires_ms`.
#[derive(Clone, Debug, Serialize, Deserialize, State)]
pub(crate) struct Auction {
    pub(crate) id: u64,
    pub(crate) item: String,
    pub(crate) description: String,
    pub(crate) initial_bid: u64,
    pub(crate) reserve: u64,
    pub(crate) at_ms: i64,
    pub(crate) expires_ms: i64,
    pub(crate) seller: u64,
    pub(crate) category: u64,
    pub(crate) extra: String,
}

/// What somebody would pay for it, in cents.
#[derive(Clone, Debug, Serialize, Deserialize, State)]
pub(crate) struct Bid {
    pub(crate) auction: u64,
    pub(crate) bidder: u64,
    pub(crate) price: u64,
    pub(crate) at_ms: i64,
    pub(crate) extra: String,
}

impl Event {
    pub(crate) fn at_ms(&self) -> i64 {
        match self {
            Self::Person(person) => person.at_ms,
            Self::Auction(auction) => auction.at_ms,
            Self::Bid(bid) => bid.at_ms,
        }
    }

    pub(crate) fn person(self) -> Option<Person> {
        match self {
            Self::Person(person) => Some(*person),
            _ => None,
        }
    }

    pub(crate) fn auction(self) -> Option<Auction> {
        match self {
            Self::Auction(auction) => Some(*auction),
            _ => None,
        }
    }

    pub(crate) fn bid(self) -> Option<Bid> {
        match self {
            Self::Bid(bid) => Some(bid),
            _ => None,
        }
    }
}
