//! Which paths a store accepts, so that no name leads out of its root.

use std::io;

/// Takes a path that stays below the root: relative, `/` between the parts, no part empty, `.` or `..`.
///
/// # Errors
///
/// `InvalidInput` with the reason.
pub(super) fn checked(path: &str) -> io::Result<&str> {
    let part_is_bad = |part: &str| matches!(part, "" | "." | "..");
    if path.split('/').any(part_is_bad) || path.contains(['\\', '\0']) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("`{path}` is not a path of plain names with `/` in between"),
        ));
    }
    Ok(path)
}

/// Takes a prefix for listing: empty, or a path that [`checked`] takes.
pub(super) fn checked_prefix(prefix: &str) -> io::Result<&str> {
    if prefix.is_empty() { Ok(prefix) } else { checked(prefix) }
}
