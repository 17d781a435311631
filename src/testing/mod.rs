//! Testing jobs inside unit tests: input and output in memory, time that is moved by hand, savepoints to stop at and to
//! resume from.
//!
//! A [`Bench`] runs jobs in a directory of its own, which goes with it. A job that is to be tested is a function that
//! is given its sources and sinks, so that a test can give it others than `main` does.
//!
//! # Examples
//!
//! ```
//! use pitlane::{BoxError, State};
//! use pitlane::connectors::{Sink, Source};
//! use pitlane::engine::Job;
//! use pitlane::migrate::Migration;
//! use pitlane::model::Value;
//! use pitlane::testing::Bench;
//!
//! /// Greets each visitor the second time.
//! fn greeter(visitors: impl Source<Item = String> + Sync, greetings: impl Sink<String> + Sync) -> Job {
//!     let job = Job::new("greeter");
//!     job.source(visitors).uid("visitors")
//!         .key_by(|visitor| visitor.clone())
//!         .flat_map_with_state(|times: &mut Option<u32>, visitor| {
//!             let now = times.unwrap_or(0) + 1;
//!             *times = Some(now);
//!             (now == 2).then(|| format!("hello again, {visitor}"))
//!         })
//!         .uid("greet").state_name("times")
//!         .sink(greetings).uid("greetings");
//!     job
//! }
//!
//! /// What the next release keeps of a visitor.
//! #[derive(Clone, State)]
//! #[state(version = 2)]
//! struct Times {
//!     times: u64,
//! }
//!
//! struct TimesToV2;
//!
//! impl Migration for TimesToV2 {
//!     type From = u32;
//!     type To = Times;
//!
//!     fn migrate(&self, _: &Value, times: u32) -> Result<Option<Times>, BoxError> {
//!         Ok(Some(Times { times: times.into() }))
//!     }
//! }
//!
//! /// Welcomes them the third time too.
//! fn next_greeter(visitors: impl Source<Item = String> + Sync, greetings: impl Sink<String> + Sync) -> Job {
//! #   let job = Job::new("greeter").release("2");
//! #   job.source(visitors).uid("visitors")
//! #       .key_by(|visitor| visitor.clone())
//! #       .flat_map_with_state(|kept: &mut Option<Times>, visitor| {
//! #           let kept = kept.get_or_insert(Times { times: 0 });
//! #           kept.times += 1;
//! #           (kept.times == 3).then(|| format!("always welcome, {visitor}"))
//! #       })
//! #       .uid("greet").state_name("times").migrate(TimesToV2)
//! #       .sink(greetings).uid("greetings");
//! #   job
//!     // ...
//! }
//!
//! let bench = Bench::new()?;
//! let (visitors, greetings) = (bench.input(), bench.output());
//! let mut job = bench.start(greeter(visitors.clone(), greetings.clone()))?;
//! visitors.send(["ann".to_owned(), "bob".to_owned(), "ann".to_owned()]);
//! job.settle()?;
//! assert_eq!(greetings.take(), ["hello again, ann"]);
//!
//! let savepoint = job.stop()?;
//! let times = savepoint.operator("greet")?.state("times")?;
//! assert_eq!(times.entry().rows(), 2);
//!
//! let mut job = bench.resume(next_greeter(visitors.clone(), greetings.clone()), &savepoint)?;
//! visitors.send(["ann".to_owned()]);
//! job.settle()?;
//! assert_eq!(greetings.take(), ["always welcome, ann"]);
//! # Ok::<(), pitlane::Error>(())
//! ```

mod bench;
mod input;
mod output;

pub use bench::{Bench, TestJob};
pub use input::Input;
pub use output::Output;
