//! Looking for new splits while a job runs, on a thread beside the worker: a slow disk must not hold it up.

use crate::connectors::Source;
use crate::error::{Error, Result};
use crossbeam_channel::{Receiver, TryRecvError};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// What is new about the splits of a source.
pub(super) enum News {
    /// There is a split that was not there before.
    Found(String),
    /// One that was there is gone.
    Gone(String),
}

/// The splits that appear on one worker.
pub(super) struct Discovery {
    news: Receiver<Result<News>>,
    /// Ends the thread when it is dropped.
    _wanted: Arc<()>,
}

/// The longest that the thread sleeps without looking whether it is still wanted.
const NAP: Duration = Duration::from_millis(100);

impl Discovery {
    /// Looks for splits after each `interval`; `known` are those that there were.
    pub(super) fn start<S: Source>(source: S, interval: Duration, known: BTreeSet<String>) -> Result<Self> {
        // Bounded, so that a directory of a million files does not all lie in memory twice.
        let (sender, news) = crossbeam_channel::bounded(1024);
        let wanted = Arc::new(());
        let alive = Arc::downgrade(&wanted);
        let mut known = known;
        std::thread::Builder::new()
            .name("pitlane-discovery".to_owned())
            .spawn(move || {
                loop {
                    let mut slept = Duration::ZERO;
                    while slept < interval {
                        let nap = NAP.min(interval - slept);
                        std::thread::sleep(nap);
                        slept += nap;
                        if alive.strong_count() == 0 {
                            return;
                        }
                    }
                    let found: BTreeSet<String> = match source.splits() {
                        Ok(found) => found.into_iter().collect(),
                        Err(error) => {
                            // If nobody listens any more, nobody minds.
                            let _ = sender.send(Err(error));
                            return;
                        }
                    };
                    let gone = known.difference(&found).cloned().map(News::Gone);
                    let new = found.difference(&known).cloned().map(News::Found);
                    for news in gone.chain(new) {
                        if sender.send(Ok(news)).is_err() {
                            return;
                        }
                    }
                    known = found;
                }
            })
            .map_err(Error::io("start", "a thread"))?;
        Ok(Self { news, _wanted: wanted })
    }

    /// Returns what is new.
    pub(super) fn next(&self) -> Result<Option<News>> {
        match self.news.try_recv() {
            Ok(news) => news.map(Some),
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => Err(Error::Stopped { what: "the search for new splits" }),
        }
    }
}
