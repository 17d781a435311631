//! What a builder of columns says of a value that it cannot take.

use super::columns::join;
use std::fmt;

/// The most bytes in a key or a value: as many as a row group has room for (clause PQ-12), with what each of its elements
/// weighs on top. The size of a page, which has 31 bits, leaves room for more.
pub(crate) const MAX_CELL_BYTES: usize = 1 << 27;

/// A value that cannot be stored as its type says, such as a time that is finer than the type's unit.
///
/// Small, since every value that is stored returns one or none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unstorable(Box<Reason>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Reason {
    place: String,
    found: String,
    wanted: String,
    hint: Option<&'static str>,
}

impl Unstorable {
    /// Says what the value is and what its type can store.
    #[cold]
    pub fn new(found: impl fmt::Display, wanted: impl fmt::Display) -> Self {
        let (found, wanted) = (found.to_string(), wanted.to_string());
        Self(Box::new(Reason { place: String::new(), found, wanted, hint: None }))
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn with_hint(mut self, hint: &'static str) -> Self {
        self.0.hint = Some(hint);
        self
    }

    /// Returns the same for a value that lies inside of another one under `name`.
    #[cold]
    #[must_use]
    pub fn inside(mut self, name: &str) -> Self {
        self.0.place = join(name, &self.0.place);
        self
    }

    /// Returns what to do about it, if there is something to say.
    pub fn hint(&self) -> Option<&'static str> {
        self.0.hint
    }
}

impl fmt::Display for Unstorable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Reason { place, found, wanted, .. } = &*self.0;
        if !place.is_empty() {
            write!(f, "`{place}`: ")?;
        }
        write!(f, "found {found}, wanted {wanted}")
    }
}

impl std::error::Error for Unstorable {}

/// A row of a state that cannot be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Which row it is, for people: `key "a"`, `element 3`.
    pub row: String,
    /// What is wrong with its key or its value.
    pub problem: Unstorable,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_cannot_be_stored_is_named_by_the_way_from_the_root() {
        let error = Unstorable::new("a", "b").with_hint("c").inside("at").inside("value");
        assert_eq!(error.to_string(), "`value.at`: found a, wanted b");
        assert_eq!(error.hint(), Some("c"));
        assert_eq!(size_of::<Result<(), Unstorable>>(), size_of::<usize>());
    }
}
