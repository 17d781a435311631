//! Reading all rows of a state: file by file, row group by row group.

use super::{StateFile, StateView};
use crate::error::Result;
use arrow::array::RecordBatch;

/// The rows of one row group.
#[derive(Clone, Debug)]
pub struct ScanBatch {
    /// The position of the file in the state's entry.
    pub file: usize,
    /// The position of the schema in the state's entry.
    pub schema: usize,
    /// The rows: `kg`, `key` and `value` of keyed state, `idx` and `value` of a list.
    pub batch: RecordBatch,
}

/// The rows of a state, one row group at a time; a file is opened when its turn comes.
///
/// Rows are in order within a file. Ends after the first error.
#[derive(Debug)]
pub struct Scan<'a> {
    state: StateView<'a>,
    file: usize,
    open: Option<(StateFile, usize)>,
}

impl<'a> StateView<'a> {
    /// Returns all rows of the state, one row group at a time.
    pub fn scan(&self) -> Scan<'a> {
        Scan { state: *self, file: 0, open: None }
    }
}

impl Scan<'_> {
    fn step(&mut self) -> Result<Option<ScanBatch>> {
        let files = &self.state.entry.files;
        while self.file < files.len() {
            let (file, next) = match self.open.take() {
                Some(open) => open,
                None => (self.state.file(self.file)?, 0),
            };
            if next == file.row_groups().len() {
                self.file += 1;
                continue;
            }
            let batch = file.read_row_group(next)?;
            self.open = Some((file, next + 1));
            return Ok(Some(ScanBatch { file: self.file, schema: files[self.file].schema, batch }));
        }
        Ok(None)
    }
}

impl Iterator for Scan<'_> {
    type Item = Result<ScanBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let step = self.step();
        if step.is_err() {
            self.file = self.state.entry.files.len();
        }
        step.transpose()
    }
}

impl std::iter::FusedIterator for Scan<'_> {}
