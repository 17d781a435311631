//! State files of one savepoint in another one: what a rewrite leaves as it is.

use super::Savepoint;
use crate::error::{Error, Result};
use crate::format::layout;
use crate::model::{Digest, FileEntry, StateEntry};
use crate::storage::{Store, take_over};
use sha2::{Digest as _, Sha256};

/// How a file came into another savepoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// As a second name of the same bytes.
    Linked,
    /// As a copy.
    Copied,
}

impl Savepoint {
    /// Puts a state file into the savepoint in the directory `dir` of a store, as `path`: as a second name of the same
    /// bytes where both lie on one file system, else as a copy, whose bytes are checked against their hash.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`] if the file is not what the manifest says; [`Error::Io`].
    pub fn take_over(
        &self,
        state: &StateEntry,
        file: &FileEntry,
        (store, dir): (&dyn Store, &str),
        path: &str,
    ) -> Result<Taken> {
        // A second name vouches for the bytes no more than the first: at least the tail must be right.
        match state.tombstones.contains(file) {
            false => self.state_file(state, file)?,
            true => self.tombstone_file(state, file)?,
        };
        let (own, from) = self.locate(file)?;
        let to = layout::join(dir, path);
        let mut hasher = Sha256::new();
        let is_copied = take_over((own.as_ref(), &from), (store, &to), |piece| hasher.update(piece))
            .map_err(Error::io("take over", own.describe(&from)))?;
        if !is_copied {
            return Ok(Taken::Linked);
        }
        let found = Digest(hasher.finalize().into());
        if found != file.sha256 {
            return Err(Error::Damaged {
                path: own.describe(&from),
                found: format!("bytes with the SHA-256 {found}"),
                wanted: file.sha256.to_string(),
            });
        }
        Ok(Taken::Copied)
    }
}
