//! Files of the local file system that get another name, which those of a store never do: the output of sinks.
//!
//! Each act can be made to fail by tests ([`PlannedFaults`](super::PlannedFaults)), as the calls of a store can.

use super::faulty::planned_for;
use crate::error::shown;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A file that is being written, and not durable before [`sync`].
#[derive(Debug)]
pub(crate) struct NewLocalFile {
    file: File,
    path: PathBuf,
}

/// Starts a file; it is an error if there is one of that name.
pub(crate) fn create(path: &Path) -> io::Result<NewLocalFile> {
    let file = act("create", path, || OpenOptions::new().write(true).create_new(true).open(path))?;
    planned_for(path).inspect(|faulty| faulty.created(path));
    Ok(NewLocalFile { file, path: path.to_owned() })
}

impl Write for NewLocalFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let failing = planned_for(&self.path).and_then(|faulty| faulty.step("write", &shown(&self.path)));
        let Some(failing) = failing else { return self.file.write(bytes) };
        if failing.is_torn() {
            self.file.write_all(&bytes[..bytes.len() / 2])?;
        }
        Err(failing.error())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Makes the content of a file durable; returns its size.
pub(crate) fn sync(path: &Path) -> io::Result<u64> {
    let file = File::open(path)?;
    let synced = act("finish", path, || file.sync_all());
    if let Some(faulty) = planned_for(path) {
        if synced.is_ok() { faulty.synced(path) } else { faulty.lost(path) }
    }
    synced?;
    Ok(file.metadata()?.len())
}

/// Makes the names in a directory durable.
pub(crate) fn sync_directory(path: &Path) -> io::Result<()> {
    act("sync", path, || File::open(path)?.sync_all())?;
    planned_for(path).inspect(|faulty| faulty.synced(path));
    Ok(())
}

/// Gives a file another name.
pub(crate) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    act("rename", from, || fs::rename(from, to))?;
    planned_for(from).inspect(|faulty| faulty.renamed(from, to));
    Ok(())
}

/// Removes a file.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    act("delete", path, || fs::remove_file(path))
}

/// Does something to the file system, unless it is planned to fail.
fn act<T>(verb: &'static str, path: &Path, act: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let failing = planned_for(path).and_then(|faulty| faulty.step(verb, &shown(path)));
    let Some(failing) = failing else { return act() };
    if failing.is_done() {
        act()?;
    }
    Err(failing.error())
}
