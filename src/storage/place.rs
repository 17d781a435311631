//! Places as people name them: a path, or a `file://` URL.

use std::borrow::Cow;
use std::ffi::OsString;
use std::io::{self, ErrorKind};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// Returns the path in the local file system that `place` means: a path is one, a `file://` URL names an absolute one,
/// with `%20` for a space and so on.
///
/// # Errors
///
/// `InvalidInput` for a `file://` URL that names no absolute path of this machine; `Unsupported` for a URL with another
/// scheme.
pub fn local_path(place: &Path) -> io::Result<Cow<'_, Path>> {
    let bytes = place.as_os_str().as_bytes();
    let Some(end) = bytes.windows(3).position(|part| part == b"://") else { return Ok(Cow::Borrowed(place)) };
    let (scheme, rest) = (&bytes[..end], &bytes[end + 3..]);
    let is_scheme = scheme.first().is_some_and(u8::is_ascii_alphabetic)
        && scheme.iter().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(byte));
    if !is_scheme {
        return Ok(Cow::Borrowed(place));
    }
    let odd = |kind, reason: &str| io::Error::new(kind, format!("`{}` {reason}", place.display()));
    if !scheme.eq_ignore_ascii_case(b"file") {
        return Err(odd(ErrorKind::Unsupported, "is neither a path nor a `file://` URL"));
    }
    let path = rest.strip_prefix(b"localhost").filter(|path| path.starts_with(b"/")).unwrap_or(rest);
    let invalid = |reason| odd(ErrorKind::InvalidInput, reason);
    if !path.starts_with(b"/") {
        return Err(invalid("has no absolute path: write `file:///` and the path"));
    }
    let path =
        decoded(path).ok_or_else(|| invalid("has a `%` without two hexadecimal digits, or a zero byte"))?;
    Ok(Cow::Owned(PathBuf::from(OsString::from_vec(path))))
}

/// Puts bytes in place of `%` and two digits.
fn decoded(path: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    let mut decoded = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        decoded.push(match byte {
            b'%' => {
                let (digits, after) = rest.split_at_checked(2)?;
                rest = after;
                (digit(&digits[0])? << 4 | digit(&digits[1])?) as u8
            }
            byte => *byte,
        });
    }
    (!decoded.contains(&0)).then_some(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_that_is_no_path_of_this_machine_is_refused() {
        for (url, wanted) in [
            ("s3://bucket/key", "neither a path nor a `file://` URL"),
            ("HTTP://host/", "neither a path"),
            ("file://host/data", "no absolute path"),
            ("file://", "no absolute path"),
            ("file://localhost", "no absolute path"),
            ("file:///a%2", "two hexadecimal digits"),
            ("file:///a%zz", "two hexadecimal digits"),
            ("file:///a%00", "a zero byte"),
        ] {
            let error = local_path(Path::new(url)).unwrap_err().to_string();
            assert!(error.contains(wanted), "{url}: {error}");
        }
    }

    #[test]
    fn paths_are_what_they_are_and_urls_are_taken_apart() {
        for path in ["", "a/b", "/a b", "./x", "a%20b", "file:/x", "1://x", "/s3://x", "://"] {
            assert_eq!(local_path(Path::new(path)).unwrap(), Path::new(path));
        }
        for (url, path) in [
            ("file:///", "/"),
            ("file:///tmp/a%20b%25", "/tmp/a b%"),
            ("FILE://localhost/x", "/x"),
            ("file:///sp%C3%A4t/manifest.json", "/spät/manifest.json"),
        ] {
            assert_eq!(local_path(Path::new(url)).unwrap(), Path::new(path));
        }
    }
}
