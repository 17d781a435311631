//! Which changes of a type are safe by themselves (clauses EV-1 to EV-11).
//!
//! [`evolve`] decides from two types alone, so that a plan made offline, a job that starts and a rewrite
//! cannot disagree. What it does not allow needs a migration: it refuses rather than guesses. [`evolve_with`] allows more,
//! for values that are known: a narrower type that has a place for each of them.

mod facts;
mod order;
mod plain;
mod rules;
#[cfg(test)]
mod tests;

pub use facts::{Fact, Facts, NoFacts, Step};

use super::{DataType, Fingerprint};
use std::fmt;

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

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: found {}, wanted {}: {}", self.place, self.found, self.wanted, self.reason)
    }
}

/// How values of a wanted type are made from values of a stored one, without a user's code.
#[derive(Clone, Debug, PartialEq)]
pub struct Evolution {
    /// The type that the values were written with.
    pub stored: DataType,
    /// The type that they are read as.
    pub wanted: DataType,
    /// How the whole value is made.
    pub root: Conversion,
    /// What changes, for people; empty if both types are alike.
    pub changes: Vec<Change>,
}

impl Evolution {
    /// Returns whether stored values are wanted ones as they lie.
    pub fn is_identity(&self) -> bool {
        self.root == Conversion::Keep
    }
}

/// How one part of a value is made; read beside the two types that it leads between.
#[derive(Clone, Debug, PartialEq)]
pub enum Conversion {
    /// As it lies.
    Keep,
    /// A plain type becomes a wider one that holds each of its values.
    Widen,
    /// A number becomes one of a narrower type, which holds the values that there are.
    Narrow,
    /// An `Option` becomes what is inside, which all stored values have, after the inner conversion.
    Unwrap(Box<Conversion>),
    /// A value becomes `Some` of it, after the inner conversion.
    Present(Box<Conversion>),
    /// The elements of a list or set, or the value of an `Option`, are converted.
    Inside(Box<Conversion>),
    /// The keys and values of a map are converted.
    Entries(Box<Conversion>, Box<Conversion>),
    /// A struct or tuple is put together, one part for each wanted field.
    Parts(Vec<Part>),
    /// An enum is put together, one entry for each wanted variant: the stored variant that becomes it, if
    /// there is one, and how its payload is made.
    Variants(Vec<Option<(usize, Conversion)>>),
}

/// Where one field of a wanted struct or tuple comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum Part {
    /// From a stored field, by its position.
    Stored(usize, Conversion),
    /// From the default of the wanted field.
    Default,
    /// It is `None`.
    None,
}

/// One thing that a person should know about how stored values become wanted ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Where in the type, such as `value.at_ms`.
    pub place: String,
    /// What kind of change it is.
    pub kind: ChangeKind,
    /// The change in words, such as `renamed from at` or `i32 -> i64`.
    pub text: String,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.text)
    }
}

/// The kinds of change that need no code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// A field that stored values lack; they read as its default, or as `None`.
    Added,
    /// A stored field that the wanted type lets go by name.
    Dropped,
    /// A field that kept its identity under another name.
    Renamed,
    /// The same fields in another order.
    Reordered,
    /// A plain type that became a wider one.
    Widened,
    /// A plain type that became a narrower one, which holds the values that there are.
    Narrowed,
    /// A value that may now be absent.
    MadeOptional,
    /// A value that may no longer be absent, and is not.
    MadeRequired,
    /// A variant that no stored value has.
    VariantAdded,
    /// A variant that kept its identity under another name.
    VariantRenamed,
}

impl ChangeKind {
    /// Returns the word for it in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Dropped => "dropped",
            Self::Renamed => "renamed",
            Self::Reordered => "reordered",
            Self::Widened => "widened",
            Self::Narrowed => "narrowed",
            Self::MadeOptional => "made-optional",
            Self::MadeRequired => "made-required",
            Self::VariantAdded => "variant-added",
            Self::VariantRenamed => "variant-renamed",
        }
    }
}

/// Decides how values that were written as `stored` become values of the type `wanted`.
///
/// # Errors
///
/// Everything that no rule allows, one [`Mismatch`] for each place; never empty.
///
/// # Examples
///
/// ```
/// use pitlane::model::{DataType, evolve};
///
/// let evolution = evolve(&DataType::I32, &DataType::I64).expect("each i32 is an i64");
/// assert_eq!(evolution.changes[0].to_string(), "value: i32 -> i64");
///
/// let mismatches = evolve(&DataType::I64, &DataType::I32).expect_err("not each i64 is an i32");
/// assert_eq!(mismatches[0].to_string(), "value: found i64, wanted i32: not every i64 fits into i32");
/// ```
pub fn evolve(stored: &DataType, wanted: &DataType) -> Result<Evolution, Vec<Mismatch>> {
    evolve_with(stored, wanted, &NoFacts)
}

/// Decides as [`evolve`], and asks for facts about the stored values where the types alone do not allow a change
/// (clause EV-11).
///
/// # Errors
///
/// As [`evolve`].
pub fn evolve_with(
    stored: &DataType,
    wanted: &DataType,
    facts: &dyn Facts,
) -> Result<Evolution, Vec<Mismatch>> {
    let (root, changes) = rules::walk(stored, wanted, facts)?;
    Ok(Evolution { stored: stored.clone(), wanted: wanted.clone(), root, changes })
}

/// Checks that a key type is the stored one: keys never evolve (clause EV-10).
///
/// # Errors
///
/// The mismatch, unless both types are the same.
pub fn same_key(stored: Option<&DataType>, wanted: Option<&DataType>) -> Result<(), Mismatch> {
    if stored.map(Fingerprint::of) == wanted.map(Fingerprint::of) {
        return Ok(());
    }
    let shown = |key: Option<&DataType>| key.map_or("no key".to_owned(), DataType::to_string);
    Err(Mismatch {
        place: "key".to_owned(),
        found: shown(stored),
        wanted: shown(wanted),
        reason: "keys never change by themselves, since they decide where a row lies".to_owned(),
        hint:
            "keep the key's type; a new key needs an operator with a new uid, or a rewrite of the savepoint"
                .to_owned(),
    })
}
