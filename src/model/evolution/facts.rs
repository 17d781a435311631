//! What is known of stored values, where their type alone does not say enough (clause EV-11).

/// One step down from a type to a part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// What is inside of an `Option`, or an element of a list or set.
    Inside,
    /// The key of a map.
    Key,
    /// The value of a map.
    Value,
    /// A field of a struct, or a part of a tuple, by its position.
    Part(usize),
    /// The data of a variant, by its position.
    Variant(usize),
}

/// What is known of all values at one place of a stored type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fact {
    /// The least and the greatest number; none if there is no number, or it is not known.
    pub range: Option<(i128, i128)>,
    /// The number of places with `None`; none if it is not known.
    pub absent: Option<u64>,
    /// The number of values that are there.
    pub present: Option<u64>,
}

/// Answers for stored values.
pub trait Facts {
    /// Returns what is known of the values at a place, given from the root of the stored type; `None` if nothing is.
    fn at(&self, place: &[Step]) -> Option<Fact>;
}

/// Nothing is known: what types alone allow.
#[derive(Clone, Copy, Debug)]
pub struct NoFacts;

impl Facts for NoFacts {
    fn at(&self, _: &[Step]) -> Option<Fact> {
        None
    }
}
