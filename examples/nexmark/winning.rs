//! The core that queries 4 and 6 have in common: what each auction was sold for.

use super::events::{Auction, Bid, Event};
use pitlane::engine::{Context, Process, States, Stream, Timer, TimerHandle, ValueState};
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
    let moves = events.flat_map(Move::of);
    moves.key_by(|(auction, _)| *auction).process(Closing::new).uid("sales")
}

/// What matters of what happens to an auction.
#[derive(Clone, Debug, Serialize, Deserialize)]
enum Move {
    Opening(Terms),
    Bidding(Offer),
}

#[derive(Clone, Debug, Serialize, Deserialize, State)]
struct Terms {
    seller: u64,
    category: u64,
    opens_ms: i64,
    closes_ms: i64,
}

#[derive(Clone, Debug, Serialize, Deserialize, State)]
struct Offer {
    price: u64,
    at_ms: i64,
}

impl Move {
    /// Returns the auction and what happens to it.
    fn of(event: Event) -> Option<(u64, Self)> {
        match event {
            Event::Person(_) => None,
            Event::Auction(auction) => {
                let Auction { id, seller, category, at_ms: opens_ms, expires_ms: closes_ms, .. } = *auction;
                Some((id, Self::Opening(Terms { seller, category, opens_ms, closes_ms })))
            }
            Event::Bid(Bid { auction, price, at_ms, .. }) => {
                Some((auction, Self::Bidding(Offer { price, at_ms })))
            }
        }
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

impl Process<u64, (u64, Move), Sale> for Closing {
    fn process(&mut self, (_, happens): (u64, Move), _: &mut Context<'_, u64, Sale>) -> Result<(), BoxError> {
        match happens {
            Move::Opening(terms) => self.open(terms),
            Move::Bidding(offer) => self.bid(offer),
        }
    }

    fn on_timer(&mut self, timer: Timer, context: &mut Context<'_, u64, Sale>) -> Result<(), BoxError> {
        let auction = *context.key();
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
                    auction,
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

impl Closing {
    fn open(&self, terms: Terms) -> Result<(), BoxError> {
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

    fn bid(&self, offer: Offer) -> Result<(), BoxError> {
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
}

fn is_in_time(terms: &Terms, offer: &Offer) -> bool {
    (terms.opens_ms..terms.closes_ms).contains(&offer.at_ms)
}
