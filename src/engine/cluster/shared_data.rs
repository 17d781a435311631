//! Whether all processes see one data directory: process 0 puts a file there, and the others look for it.

use super::greeting::{Difference, SharedData};
use crate::error::{Error, Result, shown};
use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often, and after which pauses, a process looks for the file: some file systems show it a little late.
const LOOKS: u32 = 20;
const PAUSE: Duration = Duration::from_millis(100);

/// The file, which goes when all have met.
pub(super) struct Probe(PathBuf);

impl Probe {
    /// Puts it into the data directory of the job.
    pub(super) fn new(root: &Path) -> Result<Self> {
        let number = RandomState::new().hash_one(std::process::id());
        let path = root.join(format!(".meeting-{number:016x}"));
        std::fs::write(&path, []).map_err(Error::io("write", shown(&path)))?;
        Ok(Self(path))
    }

    pub(super) fn shared(&self, root: &Path) -> SharedData {
        SharedData { root: shown(root), probe: shown(&self.0) }
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        // What is left of it harms nobody.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Compares the data directory of process 0 with the one that this process was told of; process 0 has what is found.
pub(super) fn difference(theirs: &SharedData, own: &Path) -> Option<Difference> {
    let what = "another data directory";
    let mut sees = None;
    for look in 0..LOOKS {
        if look > 0 {
            std::thread::sleep(PAUSE);
        }
        let Ok(own) = std::fs::canonicalize(own) else { continue };
        if shown(&own) != theirs.root {
            return Some(Difference::new(what, &theirs.root, shown(&own)));
        }
        if Path::new(&theirs.probe).exists() {
            return None;
        }
        sees = Some(own);
    }
    let here = match sees {
        Some(own) => format!("{} without the file {}, which lies there", shown(&own), theirs.probe),
        None => format!("no {}", shown(own)),
    };
    Some(Difference {
        what: format!("{what}, or it is not shared"),
        found: theirs.root.clone(),
        wanted: here,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_of_another_name_or_without_the_file_is_not_shared() {
        let dir = tempfile::tempdir().unwrap();
        let root = std::fs::canonicalize(dir.path()).unwrap();
        let probe = Probe::new(&root).unwrap();
        let shared = probe.shared(&root);
        assert_eq!(difference(&shared, &root), None);
        let other = tempfile::tempdir().unwrap();
        assert_eq!(difference(&shared, other.path()).unwrap().what, "another data directory");
        drop(probe);
        let found = difference(&shared, &root).unwrap();
        assert!(found.wanted.contains("without the file"), "{found:?}");
        assert_eq!(std::fs::read_dir(&root).unwrap().count(), 0, "nothing is left of it");
    }
}
