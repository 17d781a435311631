//! Records out of thin air: a function of split and position, for tests, demos and benchmarks.

use super::{Polled, Record, Source, SplitReader, Taken};
use crate::error::Result;
use crate::model::{Progress, SourcePosition};

/// Makes each record from the split's number and the record's own.
///
/// # Examples
///
/// ```
/// use pitlane::connectors::{Generator, Source};
///
/// let numbers = Generator::new(2, 100, |split, n| u64::from(split) * 1000 + n);
/// assert_eq!(numbers.splits()?, ["0", "1"]);
/// # Ok::<(), pitlane::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Generator<F> {
    splits: u32,
    records: u64,
    make: F,
}

impl<T, F: Fn(u32, u64) -> T> Generator<F> {
    /// Makes `records` records in each of `splits` splits.
    pub fn new(splits: u32, records: u64, make: F) -> Self {
        Self { splits, records, make }
    }
}

impl<T: Record, F: Fn(u32, u64) -> T + Clone + Send + 'static> Source for Generator<F> {
    type Item = T;

    fn splits(&self) -> Result<Vec<String>> {
        Ok((0..self.splits).map(|split| split.to_string()).collect())
    }

    fn open(&self, split: &str, position: Option<&SourcePosition>) -> Result<Box<dyn SplitReader<T>>> {
        Ok(Box::new(GeneratorSplit {
            split: split.parse().unwrap_or_default(),
            next: position.map_or(0, |p| p.offset),
            records: self.records,
            make: self.make.clone(),
        }))
    }
}

struct GeneratorSplit<F> {
    split: u32,
    next: u64,
    records: u64,
    make: F,
}

impl<T: Record, F: Fn(u32, u64) -> T> SplitReader<T> for GeneratorSplit<F> {
    fn poll(&mut self, max: usize, out: &mut Taken<T>) -> Result<Polled> {
        let end = self.records.min(self.next + max as u64);
        out.records.extend((self.next..end).map(|n| (self.make)(self.split, n)));
        self.next = end;
        Ok(if end == self.records { Polled::End } else { Polled::Ready })
    }

    fn offset(&self) -> u64 {
        self.next
    }

    fn progress(&self) -> Option<Progress> {
        (self.records < u64::MAX).then_some(Progress { done: self.next, total: self.records })
    }
}
