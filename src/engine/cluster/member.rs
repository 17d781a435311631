//! What a process of several does beside running its workers: it passes on what others tell, and follows process 0.

use super::peers::Told;
use super::wire::{Ending, Wish};
use crate::engine::board::Board;
use crate::engine::coordinator::{EndReason, Event, JobEnd};
use crate::engine::credits::Credits;
use crate::engine::shared::Failure;
use crate::error::Error;
use crossbeam_channel::{Receiver, Sender};
use std::path::PathBuf;
use std::sync::Arc;

/// Says who hears what other processes tell.
pub(crate) fn told(
    job: &str,
    failure: &Arc<Failure>,
    credits: &Arc<Credits>,
    board: &Arc<Board>,
    events: &Sender<Event>,
) -> Told {
    let (read, noted, obeys) = (Arc::clone(board), Arc::clone(board), Arc::clone(board));
    let events = events.clone();
    Told {
        job: job.to_owned(),
        failure: Arc::clone(failure),
        credits: Arc::clone(credits),
        read: Box::new(move || read.read()),
        readings: Box::new(move |process, readings| noted.read_elsewhere(process, readings)),
        sweep: Box::new(move |sweep| obeys.sweep(sweep)),
        wish: Box::new(move |wish| {
            let event = match wish {
                Wish::End => Event::End,
                Wish::Cancel => Event::Cancel,
            };
            // A job that has ended needs no telling.
            let _ = events.send(event);
        }),
    }
}

/// Takes the place of the coordinator in a process that does not lead: passes on wishes for the end.
pub(crate) fn follow(events: &Receiver<Event>, job: &str, ask: impl Fn(Wish)) -> JobEnd {
    for event in events {
        match event {
            Event::Over => break,
            Event::End => ask(Wish::End),
            Event::Cancel => ask(Wish::Cancel),
            Event::Savepoint(_, reply) | Event::Stop(_, reply) => {
                let reason = "this process does not lead the job: ask process 0".to_owned();
                let _ = reply.send(Err(Error::Control { job: job.to_owned(), reason }));
            }
            Event::Ready(_) | Event::Report(_) => {}
        }
    }
    // How the job has ended is what process 0 says.
    JobEnd { reason: EndReason::Cancelled, image: None }
}

impl From<&JobEnd> for Ending {
    fn from(end: &JobEnd) -> Self {
        Self { reason: end.reason, image: end.image.as_deref().map(crate::error::shown) }
    }
}

impl From<Ending> for JobEnd {
    fn from(ending: Ending) -> Self {
        Self { reason: ending.reason, image: ending.image.map(PathBuf::from) }
    }
}
