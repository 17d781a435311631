//! Which build of the binary this is: processes of one job must be the same, for what they send has no versions.

use crate::error::{Error, Result};
use std::io::Read;
use std::path::PathBuf;
use xxhash_rust::xxh3::Xxh3;

/// Hashes the running executable.
///
/// On Linux the file that runs is read even if another has taken its name meanwhile.
///
/// # Errors
///
/// If it cannot be read.
pub(super) fn build_id() -> Result<String> {
    let own = PathBuf::from("/proc/self/exe");
    let path = match own.exists() {
        true => own,
        false => std::env::current_exe().map_err(Error::io("find", "the running executable"))?,
    };
    let failed = || Error::io("read", "the running executable");
    let mut file = std::fs::File::open(path).map_err(failed())?;
    let mut hash = Xxh3::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer).map_err(failed())? {
            0 => return Ok(format!("{:032x}", hash.digest128())),
            read => hash.update(&buffer[..read]),
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_same_executable_has_the_same_id() {
        let id = super::build_id().unwrap();
        assert_eq!(id.len(), 32);
        assert_eq!(super::build_id().unwrap(), id);
    }
}
