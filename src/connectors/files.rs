//! Input files: which ones there are, and reading one from an offset, compressed or not.

use crate::error::{Error, Result, shown};
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// Returns the files that `paths` name: a file is itself, a directory the files in it, hidden ones left out.
///
/// The names are sorted, and are those that the job gave: a position written for one is found again as long
/// as the job names its input alike.
pub(super) fn list(paths: &[PathBuf]) -> Result<Vec<String>> {
    let mut files = Vec::new();
    for path in paths {
        let failed = || Error::io("read", shown(path));
        if fs::metadata(path).map_err(failed())?.is_dir() {
            for entry in fs::read_dir(path).map_err(failed())? {
                let entry = entry.map_err(failed())?;
                let hidden = entry.file_name().to_string_lossy().starts_with('.');
                if !hidden && entry.path().is_file() {
                    files.push(shown(&entry.path()));
                }
            }
        } else {
            files.push(shown(path));
        }
    }
    files.sort();
    files.dedup();
    Ok(files)
}

/// Opens `path` and skips `offset` bytes of its content; gzip is known by its first two bytes.
pub(super) fn open_at(path: &str, offset: u64) -> Result<Box<dyn BufRead>> {
    let failed = || Error::io("read", path);
    let mut file = File::open(Path::new(path)).map_err(failed())?;
    let mut magic = [0; 2];
    let is_gzip = matches!(file.read(&mut magic), Ok(2)) && magic == [0x1F, 0x8B];
    if !is_gzip {
        let size = file.metadata().map_err(failed())?.len();
        check_offset(path, size.min(offset), offset)?;
        file.seek(SeekFrom::Start(offset)).map_err(failed())?;
        return Ok(Box::new(BufReader::with_capacity(1 << 16, file)));
    }
    file.seek(SeekFrom::Start(0)).map_err(failed())?;
    let unzipped = flate2::bufread::MultiGzDecoder::new(BufReader::with_capacity(1 << 16, file));
    let mut reader = BufReader::with_capacity(1 << 16, unzipped);
    let skipped = io::copy(&mut (&mut reader).take(offset), &mut io::sink()).map_err(failed())?;
    check_offset(path, skipped, offset)?;
    Ok(Box::new(reader))
}

fn check_offset(path: &str, reached: u64, wanted: u64) -> Result<()> {
    if reached == wanted {
        return Ok(());
    }
    Err(Error::ShortInput { file: path.to_owned(), found: reached, wanted })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[test]
    fn a_file_that_ends_before_the_position_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = shown(&dir.path().join("a"));
        fs::write(&path, "abc").unwrap();
        let error = open_at(&path, 4).err().unwrap();
        assert!(matches!(error, Error::ShortInput { found: 3, wanted: 4, .. }), "{error}");
    }

    #[test]
    fn plain_and_gzip_files_go_on_at_the_same_offset() {
        let dir = tempfile::tempdir().unwrap();
        let (plain, zipped) = (shown(&dir.path().join("a")), shown(&dir.path().join("b")));
        fs::write(&plain, "one\ntwo\n").unwrap();
        let mut encoder = flate2::write::GzEncoder::new(File::create(&zipped).unwrap(), Default::default());
        encoder.write_all(b"one\ntwo\n").unwrap();
        encoder.finish().unwrap();
        for path in [plain, zipped] {
            let mut rest = String::new();
            open_at(&path, 4).unwrap().read_to_string(&mut rest).unwrap();
            assert_eq!(rest, "two\n", "{path}");
        }
    }
}
