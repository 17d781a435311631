//! The core that queries 4 and 6 have in common: what each auction was sold for.

use crate::events::{Auction, Bid, Event};
use pitlane::engine::{CoProcess, Context, States, Stream, Timer, TimerHandle, ValueState};
use pitlane::{BoxError, State};
use serde::{Deserialize, Serialize};

/// An auction that is over, and the highest bid that came in time.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Sale {
    pub(crate) auction: u64,
    pub(crate) seller: u64,
    pub(crate) category: u64,
    pub(crate) price: u64,
    pub(crate) closed_ms: i64,
}

/// Tells of each auction that somebody bid for, when event time has come to its end.
pub(crate) fn sales(events: &Stream<Event>) -> Stream<Sale> {
    let auctions = events.flat_map(Event::auction).map(Terms::of).key_by(|terms| terms.auction);
    let offers = events.flat_map(Event::bid).map(Offer::of).key_by(|offer| offer.auction);
    auctions.connect(&offers).process(Closing::new).uid("sales")
}

/// What matters of an auction.
#[derive(Clone, Debug, Serialize, Deserialize, State)]
struct Terms {
    auction: u64,
    seller: u64,
    category: u64,
    opens_ms: i64,
    closes_ms: i64,
}

impl Terms {
    fn of(auction: Auction) -> Self {
        Self {
            auction: auction.id,
            seller: auction.seller,
            category: auction.category,
            opens_ms: auction.at_ms,
            closes_ms: auction.expires_ms,
        }
    }
}

/// What matters of a bid.
#[derive(Clone, Debug, Serialize, Deserialize, State)]
struct Offer {
    auction: u64,
    price: u64,
    at_ms: i64,
}

impl Offer {
    fn of(bid: Bid) -> Self {
        Self { auction: bid.auction, price: bid.price, at_ms: bid.at_ms }
    }
}

/// What is known of an auction.
#[derive(Clone, Debug, State)]
enum Lot {
    /// Bids came before the auction did.
    Awaited { offers: Vec<Offer> },
    /// It is on, or about to be.
    Open { terms: Terms, highest: Option<u64> },
}

struct Closing {
    lot: ValueState<Lot>,
    timers: TimerHandle,
}

impl Closing {
    fn new(states: &mut States<u64>) -> Self {
        Self { lot: states.value("lot"), timers: states.event_timers() }
    }
}

impl CoProcess<u64, Terms, Offer, Sale> for Closing {
    fn process_first(&mut self, terms: Terms, _: &mut Context<'_, u64, Sale>) -> Result<(), BoxError> {
        self.timers.set(terms.closes_ms)?;
        self.lot.update(|lot| {
            let early = match lot.take() {
                Some(Lot::Awaited { offers }) => offers,
                _ => Vec::new(),
            };
            let in_time = early.iter().filter(|offer| is_in_time(&terms, offer));
            let highest = in_time.map(|offer| offer.price).max();
            *lot = Some(Lot::Open { terms, highest });
        })?;
        Ok(())
    }

    fn process_second(&mut self, offer: Offer, _: &mut Context<'_, u64, Sale>) -> Result<(), BoxError> {
        // An auction that is not there when event time has passed the bid opens after it, or is over.
        let wait_until_ms = offer.at_ms + 1;
        let waits = self.lot.update(|lot| match lot {
            Some(Lot::Open { terms, highest }) => {
                if is_in_time(terms, &offer) {
                    *highest = (*highest).max(Some(offer.price));
                }
                false
            }
            Some(Lot::Awaited { offers }) => {
                offers.push(offer);
                true
            }
            None => {
                *lot = Some(Lot::Awaited { offers: vec![offer] });
                true
            }
        })?;
        if waits {
            self.timers.set(wait_until_ms)?;
        }
        Ok(())
    }

    fn on_timer(&mut self, timer: Timer, context: &mut Context<'_, u64, Sale>) -> Result<(), BoxError> {
        let sale = self.lot.update(|lot| match lot {
            Some(Lot::Awaited { offers }) => {
                offers.retain(|offer| offer.at_ms >= timer.at_ms);
                if offers.is_empty() {
                    *lot = None;
                }
                None
            }
            Some(Lot::Open { terms, highest }) if terms.closes_ms == timer.at_ms => {
                let sale = highest.map(|price| Sale {
                    auction: terms.auction,
                    seller: terms.seller,
                    category: terms.category,
                    price,
                    closed_ms: terms.closes_ms,
                });
                *lot = None;
                sale
            }
            // Set for a bid that came before its auction.
            _ => None,
        })?;
        if let Some(sale) = sale {
            context.emit(sale);
        }
        Ok(())
    }
}

fn is_in_time(terms: &Terms, offer: &Offer) -> bool {
    (terms.opens_ms..terms.closes_ms).contains(&offer.at_ms)
}
