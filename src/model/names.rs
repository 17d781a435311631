//! Names that users choose and that savepoints keep: of jobs, operators and states.

use std::fmt;

/// The longest name that is accepted, in bytes.
pub const MAX_NAME_BYTES: usize = 255;

macro_rules! name {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $type(Box<str>);

        impl $type {
            /// Takes `name` if it is one: 1 to 255 bytes, no control characters, no space at either end.
            pub fn new(name: impl AsRef<str>) -> Option<Self> {
                let name = name.as_ref();
                let fits = !name.is_empty() && name.len() <= MAX_NAME_BYTES && name.trim() == name;
                (fits && !name.chars().any(char::is_control)).then(|| Self(name.into()))
            }

            /// Returns the name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(
    /// The name of a job, the same in all its releases.
    JobName
);
name!(
    /// The identity of an operator across releases; its state is found by it.
    OperatorUid
);
name!(
    /// Names one state inside an operator.
    StateName
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_padded_or_unprintable_name_is_refused() {
        for bad in ["", " a", "a ", "a\nb", "\0"] {
            assert_eq!(OperatorUid::new(bad), None, "{bad:?}");
        }
        assert_eq!(OperatorUid::new("x".repeat(256)), None);
    }

    #[test]
    fn a_name_keeps_its_text() {
        assert_eq!(StateName::new("späte flüge").map(|n| n.to_string()), Some("späte flüge".to_owned()));
    }
}
