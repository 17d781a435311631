//! How failures look: what went wrong, why, and what to do.

use super::Failure;
use std::io::{self, ErrorKind, Write};

/// Writes `error:`, a `because:` for each cause, and `hint:`; nothing if the reader of the answer went away.
pub(super) fn write(failure: &Failure, err: &mut dyn Write) -> io::Result<()> {
    match failure {
        Failure::Output(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        Failure::Output(error) => writeln!(err, "error: cannot write the answer\nbecause: {error}"),
        Failure::Usage { error, hint } => writeln!(err, "error: {error}\nhint: {hint}"),
        Failure::Error(error) => error.report(err),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error;

    fn written(failure: &Failure) -> String {
        let mut err = Vec::new();
        write(failure, &mut err).unwrap();
        String::from_utf8(err).unwrap()
    }

    #[test]
    fn a_reader_that_went_away_is_not_an_error_to_report() {
        assert_eq!(written(&Failure::Output(ErrorKind::BrokenPipe.into())), "");
    }

    #[test]
    fn an_error_is_followed_by_its_cause_and_its_hint() {
        let missing = io::Error::other("the disk is gone");
        let error = error::Error::Io { action: "read", path: "x".to_owned(), source: missing };
        assert_eq!(written(&Failure::Error(error)), "error: cannot read x\nbecause: the disk is gone\n");
        let error = error::Error::AmbiguousJob { name: "a".to_owned(), candidates: "a-1, a-2".to_owned() };
        let wanted = "error: `a` is the name of several running jobs: a-1, a-2\nhint: name one by its id\n";
        assert_eq!(written(&Failure::Error(error)), wanted);
    }
}
