//! The images in a job's data directory that nobody needs: unfinished ones, and savepoints of the schedule that newer
//! ones have replaced.

use super::history::{History, remove_image};
use crate::error::{Error, Result, shown};
use crate::savepoint::Savepoint;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where images of each kind lie below the data directory of a job.
pub(crate) const CHECKPOINTS: &str = "checkpoints";
pub(crate) const SAVEPOINTS: &str = "savepoints";
pub(crate) const SCHEDULED: &str = "savepoints/scheduled";

/// Removes what earlier attempts have begun and not committed. What cannot be removed is only litter.
pub(crate) fn unfinished(root: &Path, history: &History, attempt: u64) {
    let images =
        [CHECKPOINTS, SAVEPOINTS, SCHEDULED].into_iter().filter_map(|kind| images(&root.join(kind)).ok());
    for (by, image) in images.flatten() {
        // The manifest of a committed image may not be in its place yet.
        if by < attempt && !image.join("manifest.json").exists() && !history.lists(&image) {
            let _ = remove_image(&image);
        }
    }
}

/// Removes all but the newest `keep` savepoints of the schedule.
pub(crate) fn prune_scheduled(root: &Path, keep: usize) -> Result<()> {
    let mut images = images(&root.join(SCHEDULED))?;
    images.truncate(images.len().saturating_sub(keep));
    images.iter().try_for_each(|(_, image)| remove_image(image))
}

/// Returns how long ago the last savepoint of the schedule was taken.
pub(crate) fn age_of_last_scheduled(root: &Path) -> Option<Duration> {
    let images = images(&root.join(SCHEDULED)).ok()?;
    let last = images.iter().rev().find_map(|(_, image)| Savepoint::open(image).ok())?;
    Some(Duration::from_millis(super::now_ms().saturating_sub(last.manifest().created_ms)))
}

/// Returns the directories that are named as images are, oldest first, with the attempt of each.
fn images(directory: &Path) -> Result<Vec<(u64, PathBuf)>> {
    let failed = || Error::io("read", shown(directory));
    let entries = match fs::read_dir(directory) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed())?,
    };
    let mut images = Vec::new();
    for entry in entries {
        let path = entry.map_err(failed())?.path();
        if let Some((epoch, attempt)) = path.file_name().and_then(|name| numbers(name.to_str()?)) {
            images.push((epoch, attempt, path));
        }
    }
    images.sort();
    Ok(images.into_iter().map(|(_, attempt, path)| (attempt, path)).collect())
}

/// Reads the name of an image, such as `0000000012-a0003`: its epoch and its attempt.
fn numbers(name: &str) -> Option<(u64, u64)> {
    let (epoch, attempt) = name.split_once("-a")?;
    let number = |digits: &str| digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok())?;
    Some((number(epoch)?, number(attempt)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_named_as_an_image_is_nobodys_to_remove() {
        for name in ["", "-a", "x-a1", "12", "0000000012-a", "12-b3", "+2-a3", "before-a-release", "1-a2-a3"]
        {
            assert_eq!(numbers(name), None, "{name}");
        }
        assert_eq!(numbers("0000000012-a0003"), Some((12, 3)));
        assert_eq!(numbers("12345678901-a12345"), Some((12_345_678_901, 12_345)));
    }

    #[test]
    fn only_unfinished_images_of_earlier_attempts_are_swept() {
        let dir = tempfile::tempdir().unwrap();
        let mut history = History::open("j", dir.path(), "main").unwrap();
        assert_eq!(history.claim("1").unwrap(), 1);
        let make = |name: &str, file: &str| {
            let image = dir.path().join(name);
            fs::create_dir_all(&image).unwrap();
            fs::write(image.join(file), "x").unwrap();
            image
        };
        let dead = [
            "checkpoints/0000000001-a0001",
            "savepoints/0000000002-a0001",
            "savepoints/scheduled/0000000003-a0001",
        ];
        let dead = dead.map(|name| make(name, "state"));
        let kept = [
            make("checkpoints/0000000004-a0002", "state"),
            make("checkpoints/0000000005-a0001", "manifest.json"),
            make("savepoints/my-own", "state"),
        ];
        unfinished(dir.path(), &history, 2);
        assert!(dead.iter().all(|image| !image.exists()));
        assert!(kept.iter().all(|image| image.exists()));
    }

    #[test]
    fn the_oldest_savepoints_of_the_schedule_go() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["0000000009-a0001", "0000000010-a0001", "0000000011-a0002", "kept-by-me"] {
            fs::create_dir_all(dir.path().join(SCHEDULED).join(name)).unwrap();
        }
        prune_scheduled(dir.path(), 2).unwrap();
        let mut left: Vec<_> =
            fs::read_dir(dir.path().join(SCHEDULED)).unwrap().map(|e| e.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["0000000010-a0001", "0000000011-a0002", "kept-by-me"]);
        assert_eq!(age_of_last_scheduled(dir.path()), None);
    }
}
