//! Sinks as a job is written down, and what becomes of their output when the job starts again.

use super::graph::{Node, Opened, Role, list_state};
use super::operators::{SinkNode, TRANSACTIONS, transactions_schema};
use super::stream::Stream;
use crate::connectors::{Record, Sink, SinkContext, Transaction};
use crate::error::{Error, Result};
use crate::model::OperatorTraits;
use crate::savepoint::Savepoint;
use crate::state::{Read as _, State};

impl<T: Record> Stream<T> {
    /// Writes the records to a sink, exactly once unless the sink says otherwise.
    pub fn sink<S: Sink<T> + Sync>(&self, sink: S) -> SinkHandle {
        let (recovering, delivery) = (sink.clone(), sink.delivery());
        let stream = Stream::<T>::add(
            &self.graph,
            Node {
                kind: "sink",
                uid: None,
                inputs: vec![self.output],
                role: Role::Sink,
                sides: Vec::new(),
                open: Box::new(move |context, _| {
                    Ok(Opened::Operator(Box::new(SinkNode::<T, S>::open(&sink, context)?)))
                }),
                describe: Box::new(|_| list_state(TRANSACTIONS, transactions_schema())),
                recover: Some(Box::new(move |context, images| recover(&recovering, context, images))),
            },
        );
        let traits = OperatorTraits { delivery: Some(delivery), ..OperatorTraits::default() };
        self.graph.borrow_mut().set_traits(stream.output.node, move || traits);
        SinkHandle { name: Box::new(move |uid| stream.name(uid)) }
    }
}

/// Makes visible what the images list, and takes back what none of them does.
fn recover<T: Record, S: Sink<T>>(sink: &S, context: &SinkContext, images: &[Savepoint]) -> Result<()> {
    let mut listed = Vec::new();
    for image in images {
        let operator = image.manifest().operator(&context.uid);
        if operator.is_none_or(|o| o.states.iter().all(|s| s.name.as_str() != TRANSACTIONS)) {
            continue;
        }
        for batch in image.operator(context.uid.as_str())?.state(TRANSACTIONS)?.scan() {
            let values = batch?.batch.column(1).clone();
            let reader = <Transaction as State>::Reader::new(&values).map_err(|e| Error::Damaged {
                path: image.location(),
                found: e.found,
                wanted: e.wanted,
            })?;
            listed.extend((0..values.len()).map(|row| reader.read(row)));
        }
    }
    sink.commit(&listed)?;
    sink.abort_others(context, &listed)
}

/// A sink that was added to a job.
pub struct SinkHandle {
    name: Box<dyn Fn(&str)>,
}

impl SinkHandle {
    /// Names the sink; its transactions are found by this name after a crash.
    pub fn uid(self, uid: &str) {
        (self.name)(uid);
    }
}
