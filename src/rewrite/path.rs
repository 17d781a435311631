//! Naming a part of a value: `at_ms`, `address.street`, `0`, `home?.street`, `items[].price`, `names{}.first`,
//! `mode:Run.speed`, and `value` for the whole.

use super::part::Slot;
use std::fmt;

/// The way from a value to a part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Path {
    pub(super) steps: Vec<Way>,
}

/// One step of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// A field of a struct, or a part of a tuple by its number.
    Field(String),
    Into(Slot),
}

impl Path {
    /// Reads a path.
    ///
    /// # Errors
    ///
    /// What was found instead.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let odd = |rest: &str| {
            let found = rest.chars().next().map_or("the end".to_owned(), |c| format!("`{c}`"));
            Err(format!(
                "found {found} in `{text}`, wanted a path such as `address.street` or `items[].price`"
            ))
        };
        let mut rest = text;
        let mut steps = Vec::new();
        let name = |rest: &mut &str| {
            let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            let (name, after) = rest.split_at(end);
            *rest = after;
            name.to_owned()
        };
        let mut is_name_due = true;
        while !rest.is_empty() || is_name_due {
            if is_name_due && !(steps.is_empty() && rest.starts_with(['?', '[', '{', ':'])) {
                match name(&mut rest) {
                    name if name.is_empty() => return odd(rest),
                    name => steps.push(Way::Field(name)),
                }
            }
            is_name_due = false;
            if let Some(after) = rest.strip_prefix('.') {
                (rest, is_name_due) = (after, true);
            } else if let Some(after) = rest.strip_prefix('?') {
                (rest, steps) = (after, pushed(steps, Slot::Present));
            } else if let Some(after) = rest.strip_prefix("[]") {
                (rest, steps) = (after, pushed(steps, Slot::Element));
            } else if let Some(after) = rest.strip_prefix("{}") {
                (rest, steps) = (after, pushed(steps, Slot::MapValue));
            } else if let Some(after) = rest.strip_prefix(':') {
                rest = after;
                match name(&mut rest) {
                    name if name.is_empty() => return odd(rest),
                    name => steps.push(Way::Into(Slot::Variant(name))),
                }
            } else if !rest.is_empty() {
                return odd(rest);
            }
        }
        Ok(Self { steps })
    }

    /// The last step, and the path to where it starts from.
    pub(super) fn split(&self) -> Option<(&[Way], &Way)> {
        self.steps.split_last().map(|(last, before)| (before, last))
    }
}

fn pushed(mut steps: Vec<Way>, slot: Slot) -> Vec<Way> {
    steps.push(Way::Into(slot));
    steps
}

/// Shows the path as it is written.
pub(super) fn shown(steps: &[Way]) -> String {
    Path { steps: steps.to_vec() }.to_string()
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.steps.is_empty() {
            return f.write_str("value");
        }
        for (i, step) in self.steps.iter().enumerate() {
            match step {
                Way::Field(name) if i == 0 => f.write_str(name)?,
                Way::Field(name) => write!(f, ".{name}")?,
                Way::Into(Slot::Present) => f.write_str("?")?,
                Way::Into(Slot::Element) => f.write_str("[]")?,
                Way::Into(Slot::MapValue) => f.write_str("{}")?,
                Way::Into(Slot::Variant(name)) => write!(f, ":{name}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_path_is_refused() {
        for (bad, found) in [
            ("", "the end"),
            ("a.", "the end"),
            (".a", "`.`"),
            ("a b", "` `"),
            ("a..b", "`.`"),
            ("a:", "the end"),
            ("a[0]", "`[`"),
        ] {
            let error = Path::parse(bad).unwrap_err();
            assert!(error.starts_with(&format!("found {found} in")), "{bad}: {error}");
        }
    }

    #[test]
    fn a_path_is_shown_as_it_is_written() {
        for path in [
            "a",
            "a.b.c",
            "0",
            "pair.1",
            "home?.street",
            "items[].price",
            "m{}.x",
            "mode:Run.speed",
            "a?[]{}",
            "?",
            "[].x",
        ] {
            assert_eq!(Path::parse(path).map(|p| p.to_string()), Ok(path.to_owned()));
        }
    }
}
