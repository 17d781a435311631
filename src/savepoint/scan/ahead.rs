//! A scan by several threads ahead of the caller: each takes the next row group, whichever file it lies in.
//!
//! Row groups are numbered as they are taken, in the order of the files, so the numbers are the order of the rows. No
//! row group is taken that lies too far ahead of the one that the caller has come to: that bounds the memory.

use super::plan::{OpenFile, Plan, UnitRows};
use super::{Arc, Result, ScanBatch};
use crate::error::Error;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

pub(super) struct Ahead {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    plan: Plan,
    /// How many row groups may be taken and not yet handed out.
    window: u64,
    is_ordered: bool,
    state: Mutex<State>,
    /// Something has changed.
    news: Condvar,
}

#[derive(Default)]
struct State {
    /// The files from the one on whose row groups are not all taken.
    files: VecDeque<File>,
    /// The position of the first of them among the files of the plan.
    file: usize,
    /// The next row group of the first file.
    row_group: usize,
    /// The number of the next row group that is taken.
    next: u64,
    /// How many row groups were handed out whole.
    done: u64,
    units: BTreeMap<u64, Unit>,
    is_over: bool,
}

enum File {
    Opening,
    Open(Arc<OpenFile>),
    Failed(Error),
}

/// What a thread has decoded of a row group, and the caller has not taken.
#[derive(Default)]
struct Unit {
    batches: VecDeque<ScanBatch>,
    /// How it ended, once it has.
    end: Option<Result<()>>,
}

/// What there is to do for a thread.
enum Task {
    Open(usize),
    Read(u64, Arc<OpenFile>, usize),
}

impl Ahead {
    pub(super) fn start(plan: Plan, threads: usize, is_ordered: bool) -> Self {
        let shared = Arc::new(Shared {
            plan,
            window: threads as u64 + 1,
            is_ordered,
            state: Mutex::default(),
            news: Condvar::new(),
        });
        let start = |number: usize| {
            let shared = shared.clone();
            let thread = std::thread::Builder::new().name(format!("pitlane-scan-{number}"));
            thread.spawn(move || shared.work())
        };
        let (threads, mut failed): (Vec<_>, Vec<_>) = (0..threads).map(start).partition(Result::is_ok);
        // With fewer threads it takes longer, with none it would not end.
        if let (true, Some(Err(source))) = (threads.is_empty(), failed.pop()) {
            let error = Error::Io { action: "start", path: "a thread that reads ahead".to_owned(), source };
            shared.lock().files.push_back(File::Failed(error));
        }
        Self { shared, threads: threads.into_iter().flatten().collect() }
    }

    pub(super) fn next(&mut self) -> Option<Result<ScanBatch>> {
        let mut state = self.shared.lock();
        loop {
            let is_ready = |unit: &Unit| !unit.batches.is_empty() || unit.end.is_some();
            let mut units = state.units.iter();
            let next = if self.shared.is_ordered { units.next() } else { units.find(|(_, u)| is_ready(u)) };
            if let Some(number) = next.map(|(number, _)| *number) {
                let unit = state.units.get_mut(&number);
                if let Some(batch) = unit.and_then(|unit| unit.batches.pop_front()) {
                    return Some(Ok(batch));
                }
                if let Some(end) = state.units.get_mut(&number).and_then(|unit| unit.end.take()) {
                    state.units.remove(&number);
                    state.done += 1;
                    self.shared.news.notify_all();
                    match end {
                        Err(error) => return Some(Err(error)),
                        Ok(()) => continue,
                    }
                }
            } else if state.units.is_empty() {
                if state.file == self.shared.plan.files() {
                    return None;
                }
                if let Some(File::Failed(error)) =
                    state.files.pop_front_if(|file| matches!(file, File::Failed(_)))
                {
                    return Some(Err(error));
                }
            }
            state = self.shared.wait(state);
        }
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.shared.lock().is_over = true;
        self.shared.news.notify_all();
        for thread in self.threads.drain(..) {
            // One that panicked has ended its unit with an error.
            let _ = thread.join();
        }
    }
}

impl Shared {
    // A thread that panicked while it held the lock has left a whole state: it decodes without the lock.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.news.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        while let Some(task) = self.take() {
            match task {
                Task::Open(index) => {
                    let file = match self.plan.open(index) {
                        Ok(file) => File::Open(Arc::new(file)),
                        Err(error) => File::Failed(error),
                    };
                    let mut state = self.lock();
                    let place = index - state.file;
                    if let Some(opening) = state.files.get_mut(place) {
                        *opening = file;
                    }
                }
                Task::Read(number, file, row_group) => {
                    // Whatever happens, the caller must not wait for this row group for ever.
                    let guard = Ended {
                        shared: self,
                        number,
                        end: Err(Error::Stopped { what: "a thread that reads ahead" }),
                    };
                    self.read(number, &file, row_group, guard);
                }
            }
            self.news.notify_all();
        }
    }

    fn read(&self, number: u64, file: &OpenFile, row_group: usize, mut guard: Ended<'_>) {
        guard.end = self.plan.read(file, row_group).and_then(|rows| match rows {
            Some(rows) => self.hand_out(number, rows),
            None => Ok(()),
        });
    }

    fn hand_out(&self, number: u64, mut rows: UnitRows) -> Result<()> {
        while let Some(batch) = rows.next_batch()? {
            let mut state = self.lock();
            if state.is_over {
                return Ok(());
            }
            state.units.entry(number).or_default().batches.push_back(batch);
            drop(state);
            self.news.notify_all();
        }
        Ok(())
    }

    /// Waits for something to do; `None` if there will be nothing more.
    fn take(&self) -> Option<Task> {
        let mut state = self.lock();
        loop {
            if state.is_over {
                return None;
            }
            match state.files.front() {
                Some(File::Open(file)) if state.row_group == file.row_groups() => {
                    state.files.pop_front();
                    (state.file, state.row_group) = (state.file + 1, 0);
                    self.news.notify_all();
                    continue;
                }
                Some(File::Open(file)) if state.next - state.done < self.window => {
                    let (number, row_group) = (state.next, state.row_group);
                    let task = Task::Read(number, file.clone(), row_group);
                    state.units.insert(number, Unit::default());
                    (state.next, state.row_group) = (number + 1, row_group + 1);
                    return Some(task);
                }
                Some(File::Failed(_)) => return None,
                _ => {}
            }
            // Footers are read ahead too, as many as there may be row groups.
            let next = state.file + state.files.len();
            if next < self.plan.files() && (state.files.len() as u64) < self.window {
                state.files.push_back(File::Opening);
                return Some(Task::Open(next));
            }
            if state.file == self.plan.files() {
                return None;
            }
            state = self.wait(state);
        }
    }
}

/// Notes the end of a row group, also when its thread panics.
struct Ended<'a> {
    shared: &'a Shared,
    number: u64,
    end: Result<()>,
}

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        let end = std::mem::replace(&mut self.end, Ok(()));
        let mut state = self.shared.lock();
        if let Some(unit) = state.units.get_mut(&self.number) {
            unit.end = Some(end);
        }
        drop(state);
        self.shared.news.notify_all();
    }
}
