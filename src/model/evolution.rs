//! Which changes of a type are safe by themselves (clauses EV-*).

/// Two types of one state that no rule leads between.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are named for the words of the message")]
pub struct Mismatch {
    /// Where in the type, such as `value.at_ms`; or `key`.
    pub place: String,
    pub found: String,
    pub wanted: String,
    pub reason: String,
    pub hint: String,
}

impl std::fmt::Display for Mismatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: found {}, wanted {}: {}", self.place, self.found, self.wanted, self.reason)
    }
}
