//! Process functions over streams without keys.

use super::graph::{Node, Opened, Role};
use super::operators::{OperatorDeclarations, OperatorNode, OperatorProcess, OperatorStates};
use super::stream::Stream;
use crate::connectors::Record;
use std::sync::Arc;

impl<T: Record> Stream<T> {
    /// Gives the records to a function of the user's that keeps state of its own, without keys.
    ///
    /// There is one instance on each worker, which takes the records that come about there. What an instance keeps is
    /// operator state: a list, a union or a value, stored as rows of the state's type, and dealt out again whenever a
    /// job starts, however many workers there are then. `make` declares the states and returns the function; it is
    /// called on each worker.
    ///
    /// # Examples
    ///
    /// Readings that are sent on in groups of ten; what is left of a group is in the savepoint:
    ///
    /// ```
    /// use pitlane::BoxError;
    /// use pitlane::connectors::Generator;
    /// use pitlane::engine::{Job, OperatorContext};
    ///
    /// let job = Job::new("groups");
    /// let readings = job.source(Generator::new(1, 25, |_, n| n)).uid("readings");
    /// let groups = readings
    ///     .process(|states| {
    ///         let held = states.list::<u64>("held");
    ///         move |reading: u64, context: &mut OperatorContext<'_, Vec<u64>>| -> Result<(), BoxError> {
    ///             held.push(reading);
    ///             if held.len() == 10 {
    ///                 context.emit(held.take());
    ///             }
    ///             Ok(())
    ///         }
    ///     })
    ///     .uid("groups");
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let end = job.run(&pitlane::engine::RunOptions::in_dir(dir.path()))?;
    /// # let savepoint = pitlane::savepoint::Savepoint::open(end.image.unwrap())?;
    /// # assert_eq!(savepoint.operator("groups")?.state("held")?.entry().rows(), 5);
    /// # Ok::<(), pitlane::Error>(())
    /// ```
    ///
    /// Any object that serde knows, such as a `HashMap`, one an instance; and a list of who has how much, of which all
    /// instances see the whole when the job starts:
    ///
    /// ```
    /// use pitlane::BoxError;
    /// use pitlane::connectors::Generator;
    /// use pitlane::engine::{Job, OperatorContext, OperatorProcess, OperatorUnion, OperatorValue};
    /// use pitlane::state::Msgpack;
    /// use std::collections::HashMap;
    ///
    /// type Counts = HashMap<String, u64>;
    ///
    /// struct Words {
    ///     counts: OperatorValue<Msgpack<Counts>>,
    ///     totals: OperatorUnion<u64>,
    ///     before: u64,
    /// }
    ///
    /// impl OperatorProcess<String, u64> for Words {
    ///     fn start(&mut self, _: &mut OperatorContext<'_, u64>) -> Result<(), BoxError> {
    ///         self.before = self.totals.take_all().iter().sum();
    ///         Ok(())
    ///     }
    ///
    ///     fn process(&mut self, word: String, _: &mut OperatorContext<'_, u64>) -> Result<(), BoxError> {
    ///         self.counts.update(|counts| {
    ///             let Msgpack(counts) = counts.get_or_insert_with(|| Msgpack(Counts::new()));
    ///             *counts.entry(word).or_default() += 1;
    ///         });
    ///         self.totals.update(|own| *own = vec![own.iter().sum::<u64>() + 1]);
    ///         Ok(())
    ///     }
    /// }
    ///
    /// fn both(Msgpack(mut a): Msgpack<Counts>, Msgpack(b): Msgpack<Counts>) -> Msgpack<Counts> {
    ///     b.into_iter().for_each(|(word, count)| *a.entry(word).or_default() += count);
    ///     Msgpack(a)
    /// }
    ///
    /// let job = Job::new("words");
    /// let words = job.source(Generator::new(2, 10, |_, n| format!("word {}", n % 3))).uid("text");
    /// let _ = words
    ///     .process(|states| Words {
    ///         counts: states.value("counts", both),
    ///         totals: states.union("totals"),
    ///         before: 0,
    ///     })
    ///     .uid("words");
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let end = job.run(&pitlane::engine::RunOptions::in_dir(dir.path()).workers(2))?;
    /// # let savepoint = pitlane::savepoint::Savepoint::open(end.image.unwrap())?;
    /// # let totals = savepoint.operator("words")?.state("totals")?;
    /// # let totals = totals.elements::<u64>(pitlane::migrate::Chain::current(1))?;
    /// # assert_eq!(totals.map(Result::unwrap).sum::<u64>(), 20);
    /// # Ok::<(), pitlane::Error>(())
    /// ```
    pub fn process<O: Record, P: OperatorProcess<T, O>>(
        &self,
        make: impl Fn(&mut OperatorStates) -> P + Send + Sync + 'static,
    ) -> Stream<O> {
        let make = Arc::new(make);
        let described = Arc::clone(&make);
        Stream::add(
            &self.graph,
            Node {
                kind: "operator_process",
                uid: None,
                inputs: vec![self.output],
                role: Role::Instance,
                sides: Vec::new(),
                open: Box::new(move |context, _| {
                    let function = OperatorDeclarations::of(&*make);
                    Ok(Opened::Operator(Box::new(OperatorNode::<T, O, P>::open(function, context)?)))
                }),
                describe: Box::new(move |uid| OperatorDeclarations::of(&*described).1.describe(uid)),
                recover: None,
            },
        )
    }
}
