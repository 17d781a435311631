//! Where jobs are tested: their directory, their clock, and the job that runs.

use super::input::{Input, Pending};
use super::output::{Output, Staging};
use crate::connectors::Record;
use crate::control::{JobStatus, RunState};
use crate::engine::{Clock, Job, JobHandle, RunOptions};
use crate::error::{Error, Result, shown};
use crate::savepoint::Savepoint;
use std::cell::RefCell;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How often it is looked whether a job is as far as it is to be, and for how long at most.
const LOOK: Duration = Duration::from_millis(1);
const PATIENCE: Duration = Duration::from_secs(60);

/// A place to test jobs in: a directory that goes with it, inputs, outputs, and a clock that is moved by hand.
///
/// See the [module](super) for an example.
pub struct Bench {
    directory: PathBuf,
    workers: usize,
    clock: Clock,
    inputs: RefCell<Vec<Box<dyn Pending>>>,
    outputs: RefCell<Vec<Box<dyn Staging>>>,
}

impl Bench {
    /// Makes a bench whose clock stands at 0, that runs jobs on one worker.
    ///
    /// # Errors
    ///
    /// If there is no room for its directory.
    pub fn new() -> Result<Self> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let now_ms = Clock::system().now_ms();
        let name = format!("pitlane-bench-{}-{now_ms}-{number}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        std::fs::create_dir(&directory).map_err(Error::io("create", shown(&directory)))?;
        Ok(Self {
            directory,
            workers: 1,
            clock: Clock::by_hand(0),
            inputs: RefCell::default(),
            outputs: RefCell::default(),
        })
    }

    /// Runs jobs on so many workers.
    #[must_use]
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }

    /// Makes a source to be given to a job.
    pub fn input<T: Record>(&self) -> Input<T> {
        let input = Input::new();
        self.inputs.borrow_mut().push(Box::new(input.clone()));
        input
    }

    /// Makes a sink to be given to a job.
    pub fn output<T: Clone + Send + 'static>(&self) -> Output<T> {
        let output = Output::new();
        self.outputs.borrow_mut().push(Box::new(output.clone()));
        output
    }

    /// Returns the clock that processing time goes by.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Starts a job, or lets it go on from its last checkpoint or savepoint if it ran here before.
    ///
    /// # Errors
    ///
    /// What keeps it from starting.
    pub fn start(&self, job: Job) -> Result<TestJob<'_>> {
        self.run(job, RunOptions::in_dir(&self.directory))
    }

    /// Starts a job from a savepoint.
    ///
    /// # Errors
    ///
    /// What keeps it from starting.
    pub fn resume(&self, job: Job, savepoint: &Savepoint) -> Result<TestJob<'_>> {
        self.run(job, RunOptions::in_dir(&self.directory).from(savepoint.location()))
    }

    fn run(&self, job: Job, options: RunOptions) -> Result<TestJob<'_>> {
        self.inputs.borrow().iter().for_each(|input| input.begin());
        let options = RunOptions { clock: self.clock.clone(), ..options.workers(self.workers) };
        Ok(TestJob { bench: self, job: Some(job.start(&options)?) })
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        // What cannot be removed from a directory for temporary files is removed by others.
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// A job that runs on a [`Bench`]; when it is dropped, it ends as if it were killed.
pub struct TestJob<'a> {
    bench: &'a Bench,
    /// Until it has ended.
    job: Option<JobHandle>,
}

impl TestJob<'_> {
    /// Waits until the job has read all that its inputs were sent, heard of the time, and committed what follows from
    /// both: outputs have what they are to have.
    ///
    /// # Errors
    ///
    /// What has ended the job instead.
    pub fn settle(&mut self) -> Result<()> {
        let is_pending = |bench: &Bench| bench.inputs.borrow().iter().any(|input| input.is_pending());
        self.wait_while(is_pending)?;
        // Timers that are due are heard of when an epoch ends, and what they send belongs to the next one.
        for _ in 0..2 {
            let Some(job) = &self.job else { break };
            let done = match job.savepoint(Default::default()) {
                Ok(done) => done,
                // It has come to its end, or failed, which says more. Nobody answers before its threads are through.
                Err(Error::Control { .. }) => return self.join(),
                Err(_) if job.is_over() || job.status().state != RunState::Running => return self.join(),
                Err(error) => return Err(error),
            };
            let attempt = job.status().attempt;
            let is_staged = |bench: &Bench| {
                bench.outputs.borrow().iter().any(|output| output.is_staged(attempt, done.epoch))
            };
            self.wait_while(is_staged)?;
        }
        Ok(())
    }

    /// Moves the clock on, and [settles](Self::settle).
    ///
    /// # Errors
    ///
    /// As [`settle`](Self::settle).
    pub fn advance(&mut self, time: Duration) -> Result<()> {
        let clock = self.bench.clock();
        clock.advance_to(clock.now_ms().saturating_add(i64::try_from(time.as_millis()).unwrap_or(i64::MAX)));
        self.settle()
    }

    /// Returns how the job is; nothing if it has ended.
    pub fn status(&self) -> Option<JobStatus> {
        self.job.as_ref().map(JobHandle::status)
    }

    /// Takes a savepoint; the job goes on.
    ///
    /// # Errors
    ///
    /// Why there is none.
    pub fn savepoint(&self) -> Result<Savepoint> {
        let job = self.job.as_ref().ok_or(Error::Stopped { what: "the job" })?;
        Savepoint::open(job.savepoint(Default::default())?.path)
    }

    /// Takes a savepoint and ends the job.
    ///
    /// # Errors
    ///
    /// Why there is no savepoint.
    pub fn stop(mut self) -> Result<Savepoint> {
        let job = self.job.as_ref().ok_or(Error::Stopped { what: "the job" })?;
        let done = job.stop(Default::default())?;
        self.join()?;
        Savepoint::open(done.path)
    }

    /// Ends the job as if its process were killed: what it did since its last checkpoint or savepoint is undone.
    pub fn kill(self) {
        drop(self);
    }

    /// Waits for the end of a job whose inputs have all ended.
    ///
    /// # Errors
    ///
    /// What has ended it before.
    pub fn wait(mut self) -> Result<()> {
        self.join()
    }

    fn join(&mut self) -> Result<()> {
        self.job.take().map_or(Ok(()), |job| job.wait().map(drop))
    }

    /// Waits as long as `is_so`, or until the job has ended.
    fn wait_while(&mut self, is_so: impl Fn(&Bench) -> bool) -> Result<()> {
        let began = Instant::now();
        while is_so(self.bench) {
            if self.job.as_ref().is_none_or(JobHandle::is_over) {
                return self.join();
            }
            if began.elapsed() > PATIENCE {
                return Err(Error::Stopped { what: "a job that a test waits for" });
            }
            std::thread::sleep(LOOK);
        }
        Ok(())
    }
}

impl Drop for TestJob<'_> {
    fn drop(&mut self) {
        if let Some(job) = self.job.take() {
            job.cancel();
            // A test that wants to know waits, or settles.
            let _ = job.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Context, Process, Timer, TimerHandle, Watermarks};
    use crate::{BoxError, error};

    fn sums(numbers: Input<u64>, sums: Output<(u64, u64)>) -> Job {
        let job = Job::new("sums");
        job.source(numbers).uid("in").key_by(|n| n % 2).sum(|n| *n).uid("sum").sink(sums).uid("out");
        job
    }

    #[test]
    fn what_ends_a_job_is_what_the_test_hears_of() {
        let bench = Bench::new().unwrap();
        let (numbers, out) = (bench.input::<u64>(), bench.output::<u64>());
        let job = Job::new("picky");
        let picked =
            job.source(numbers.clone()).uid("in").map(|n| if n == 2 { panic!("not two") } else { n });
        picked.sink(out).uid("out");
        let mut job = bench.start(job).unwrap();
        numbers.send([1, 2, 3]);
        let error = job.settle().unwrap_err();
        assert!(error::Error::to_string(&error).contains("not two"), "{error}");
        assert!(job.status().is_none());
    }

    #[test]
    fn a_killed_job_repeats_nothing_and_loses_nothing() {
        let bench = Bench::new().unwrap().workers(2);
        let (numbers, out) = (bench.input(), bench.output());
        let mut job = bench.start(sums(numbers.clone(), out.clone())).unwrap();
        numbers.send([1, 3]);
        job.settle().unwrap();
        assert_eq!(out.take(), [(1, 1), (1, 4)]);
        numbers.send([5, 7]);
        job.kill();
        assert!(out.take().is_empty(), "nothing of it is committed");
        let mut job = bench.start(sums(numbers.clone(), out.clone())).unwrap();
        job.settle().unwrap();
        assert_eq!(out.take(), [(1, 9), (1, 16)]);
        numbers.send([9]);
        numbers.end();
        job.wait().unwrap();
        assert_eq!(out.take(), [(1, 25)]);
    }

    #[test]
    fn a_savepoint_may_be_resumed_more_than_once() {
        let bench = Bench::new().unwrap();
        let (numbers, out) = (bench.input(), bench.output());
        let mut job = bench.start(sums(numbers.clone(), out.clone())).unwrap();
        numbers.send([2]);
        job.settle().unwrap();
        let savepoint = job.stop().unwrap();
        numbers.send([4]);
        for _ in 0..2 {
            out.take();
            let mut job = bench.resume(sums(numbers.clone(), out.clone()), &savepoint).unwrap();
            job.settle().unwrap();
            assert_eq!(out.take(), [(0, 6)]);
        }
    }

    /// A minute after a number, by the clock, tells of it.
    struct Later {
        timers: TimerHandle,
    }

    impl Process<u64, u64, (u64, i64)> for Later {
        fn process(&mut self, _: u64, context: &mut Context<'_, u64, (u64, i64)>) -> Result<(), BoxError> {
            Ok(self.timers.set(context.now_ms() + 60_000)?)
        }

        fn on_timer(
            &mut self,
            timer: Timer,
            context: &mut Context<'_, u64, (u64, i64)>,
        ) -> Result<(), BoxError> {
            context.emit((*context.key(), timer.at_ms));
            Ok(())
        }
    }

    #[test]
    fn time_passes_when_it_is_told_to() {
        let bench = Bench::new().unwrap();
        let (numbers, out) = (bench.input(), bench.output());
        let job = Job::new("later");
        let later = job
            .source(numbers.clone())
            .uid("in")
            .watermarks(Watermarks::ascending(), |n: &u64| *n as i64)
            .key_by(|n| *n)
            .process(|states| Later { timers: states.processing_timers() })
            .uid("later");
        later.sink(out.clone()).uid("out");
        let mut job = bench.start(job).unwrap();
        numbers.send([7]);
        job.settle().unwrap();
        job.advance(Duration::from_secs(59)).unwrap();
        assert!(out.take().is_empty());
        job.advance(Duration::from_secs(1)).unwrap();
        assert_eq!(out.take(), [(7, 60_000)]);
    }
}
