//! The exit statuses of `run`, for supervisors of any kind.

use crate::error::Error;

pub(super) const DONE: u8 = 0;
/// It could not be started, and will not until something is changed.
pub(super) const REFUSED: u8 = 2;
/// Another process of the job failed, or is lost.
pub(super) const PEER_FAILED: u8 = 70;
/// A newer attempt has taken over.
pub(super) const FENCED: u8 = 71;
/// Another process of the job did not come, or hangs.
pub(super) const PEER_SILENT: u8 = 72;
/// It failed, while it ran or for want of something that may come back.
pub(super) const FAILED: u8 = 73;
/// Somebody insisted, as a shell says it of a program that SIGINT has ended.
pub(super) const KILLED: u8 = 130;

/// Returns the exit status for what has ended an attempt.
pub(super) fn status_of(error: &Error, has_started: bool) -> u8 {
    match error {
        Error::Fenced { .. } => FENCED,
        Error::PeerLost { .. } | Error::PeerFailed { .. } => PEER_FAILED,
        Error::PeerSilent { .. } | Error::GivenUpByPeer { .. } | Error::PeersMissing { .. } => PEER_SILENT,
        error if has_started || may_pass(error) => FAILED,
        _ => REFUSED,
    }
}

/// Returns whether an attempt that could not start may be able to another time, although nobody changes anything.
fn may_pass(error: &Error) -> bool {
    matches!(error, Error::Io { .. } | Error::Stopped { .. })
}

/// Returns whether an attempt that ended so may be followed by another.
pub(super) fn is_final(status: u8) -> bool {
    matches!(status, DONE | REFUSED | FENCED)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::JobProblem;

    #[test]
    fn what_nobody_changes_is_refused_and_what_may_pass_has_failed() {
        let problem = JobProblem::MissingUid { kind: "source" };
        let refused = Error::Job { job: "j".to_owned(), problem };
        let away = Error::io("read", "x")(std::io::ErrorKind::NotFound.into());
        let fenced = Error::Fenced { job: "j".to_owned(), attempt: 1, by: 2 };
        assert_eq!([&refused, &away, &fenced].map(|e| status_of(e, false)), [2, 73, 71]);
        assert_eq!([&refused, &away, &fenced].map(|e| status_of(e, true)), [73, 73, 71]);
        assert_eq!([0, 2, 70, 71, 72, 73, 137].map(is_final), [true, true, false, true, false, false, false]);
    }
}
