//! The walk over two types side by side.

use super::order::keeps_order;
use super::plain::{exact_range, is_integer, why_not, widens};
use super::{Change, ChangeKind, Conversion, Facts, Mismatch, Part, Step};
use crate::model::text::{counted, grouped};
use crate::model::{DataType, Field, Value, Variant};

/// Walks both types from the root, where the place is called `value`.
pub(super) fn walk(
    stored: &DataType,
    wanted: &DataType,
    facts: &dyn Facts,
) -> Result<(Conversion, Vec<Change>), Vec<Mismatch>> {
    let mut walk = Walk { facts, at: Vec::new(), changes: Vec::new(), mismatches: Vec::new() };
    let root = walk.convert("value", stored, wanted);
    if walk.mismatches.is_empty() { Ok((root, walk.changes)) } else { Err(walk.mismatches) }
}

/// What was met on the way; conversions count only if there is no mismatch.
struct Walk<'a> {
    facts: &'a dyn Facts,
    /// Where the walk is in the stored type.
    at: Vec<Step>,
    changes: Vec<Change>,
    mismatches: Vec<Mismatch>,
}

impl Walk<'_> {
    /// Goes one step down in the stored type.
    fn below(&mut self, step: Step, place: &str, stored: &DataType, wanted: &DataType) -> Conversion {
        self.at.push(step);
        let how = self.convert(place, stored, wanted);
        self.at.pop();
        how
    }

    fn convert(&mut self, place: &str, stored: &DataType, wanted: &DataType) -> Conversion {
        use DataType::{Enum, List, Map, Option, Set, Struct, Tuple};
        match (stored, wanted) {
            (Option(a), Option(b)) if !a.is_nullable() && b.is_nullable() => self.refuse(
                place,
                stored,
                wanted,
                "a stored None could become None or Some(None)",
                "register a migration that says which".to_owned(),
            ),
            (Option(a), Option(b)) => inside(self.below(Step::Inside, place, a, b)),
            (_, Option(inner)) => self.make_optional(place, stored, wanted, inner),
            (Option(inner), _) => self.unwrap(place, stored, inner, wanted),
            (List(a), List(b)) => inside(self.below(Step::Inside, &format!("{place}[]"), a, b)),
            (Set(a), Set(b)) => {
                let element = self.below(Step::Inside, &format!("{place}[]"), a, b);
                self.check_order(&format!("{place}[]"), a, b, &element);
                inside(element)
            }
            (Map(ak, av), Map(bk, bv)) => {
                let key_place = format!("{place}{{key}}");
                let key = self.below(Step::Key, &key_place, ak, bk);
                self.check_order(&key_place, ak, bk, &key);
                match (key, self.below(Step::Value, &format!("{place}{{}}"), av, bv)) {
                    (Conversion::Keep, Conversion::Keep) => Conversion::Keep,
                    (key, value) => Conversion::Entries(Box::new(key), Box::new(value)),
                }
            }
            (Tuple(a), Tuple(b)) if a.len() == b.len() => self.tuple(place, a, b),
            (Tuple(a), Tuple(b)) => self.refuse(
                place,
                stored,
                wanted,
                &format!(
                    "{} parts do not become {}, since parts have no names to be found by",
                    a.len(),
                    b.len()
                ),
                "register a migration that says where each part comes from".to_owned(),
            ),
            (Struct(a), Struct(b)) => self.structure(place, a, b),
            (Enum(a), Enum(b)) => self.enumeration(place, a, b),
            (a, b) if a == b => Conversion::Keep,
            (a, b) if widens(a, b) => {
                self.note(place, ChangeKind::Widened, format!("{a} -> {b}"));
                Conversion::Widen
            }
            (a, b) => self.narrow(place, a, b),
        }
    }

    /// Makes what was optional required, if no stored value is absent (clause EV-11).
    fn unwrap(&mut self, place: &str, stored: &DataType, inner: &DataType, wanted: &DataType) -> Conversion {
        let fact = self.facts.at(&self.at);
        let absent = fact.and_then(|fact| fact.absent);
        if absent == Some(0) {
            let before = self.changes.len();
            let how = self.below(Step::Inside, place, inner, wanted);
            let values = fact.and_then(|fact| fact.present).map_or_else(
                || "no stored value is None".to_owned(),
                |present| format!("none of {} is None", counted(present, "stored value")),
            );
            let text = format!("{stored} -> {wanted}, safe: {values}");
            self.changes
                .insert(before, Change { place: place.to_owned(), kind: ChangeKind::MadeRequired, text });
            return Conversion::Unwrap(Box::new(how));
        }
        let reason = match absent {
            Some(absent) => format!("a stored None has no place in it, and {} None", are(absent)),
            None => "a stored None has no place in it".to_owned(),
        };
        let hint = format!("keep `{stored}`, or register a migration that says what None becomes as {inner}");
        self.refuse(place, stored, wanted, &reason, hint)
    }

    /// Makes a number narrower, if all stored ones fit (clause EV-11).
    fn narrow(&mut self, place: &str, stored: &DataType, wanted: &DataType) -> Conversion {
        let mut reason = why_not(stored, wanted);
        if let (true, Some((least, greatest))) = (is_integer(stored), exact_range(wanted))
            && let Some(fact) = self.facts.at(&self.at)
        {
            match fact.range {
                Some((min, max)) if min >= least && max <= greatest => {
                    let (min, max) = (grouped(min), grouped(max));
                    let text = format!("{stored} -> {wanted}, safe: stored values are {min} to {max}");
                    self.note(place, ChangeKind::Narrowed, text);
                    return Conversion::Narrow;
                }
                Some((min, max)) => {
                    let (min, max) = (grouped(min), grouped(max));
                    reason = format!("{reason}, and stored values are {min} to {max}");
                }
                None if fact.present == Some(0) => {
                    self.note(
                        place,
                        ChangeKind::Narrowed,
                        format!("{stored} -> {wanted}, safe: there is no value"),
                    );
                    return Conversion::Narrow;
                }
                None => {}
            }
        }
        let hint = format!("keep `{stored}`, or register a migration that says how values become `{wanted}`");
        self.refuse(place, stored, wanted, &reason, hint)
    }

    fn make_optional(
        &mut self,
        place: &str,
        stored: &DataType,
        wanted: &DataType,
        inner: &DataType,
    ) -> Conversion {
        let before = self.changes.len();
        let how = self.convert(place, stored, inner);
        if matches!(how, Conversion::Widen | Conversion::Narrow | Conversion::Present(_)) {
            self.changes.truncate(before); // one line says both
        }
        let from = if matches!(stored, DataType::Struct(_) | DataType::Enum(_)) {
            "now optional".to_owned()
        } else {
            format!("{stored} -> {wanted}")
        };
        self.changes
            .insert(before, Change { place: place.to_owned(), kind: ChangeKind::MadeOptional, text: from });
        Conversion::Present(Box::new(how))
    }

    fn tuple(&mut self, place: &str, stored: &[DataType], wanted: &[DataType]) -> Conversion {
        let pairs = stored.iter().zip(wanted).enumerate();
        let parts: Vec<_> = pairs
            .map(|(i, (a, b))| Part::Stored(i, self.below(Step::Part(i), &format!("{place}.{i}"), a, b)))
            .collect();
        if parts.iter().all(|part| matches!(part, Part::Stored(_, Conversion::Keep))) {
            Conversion::Keep
        } else {
            Conversion::Parts(parts)
        }
    }

    fn structure(&mut self, place: &str, stored: &[Field], wanted: &[Field]) -> Conversion {
        let position = |field: &Field| stored.iter().position(|s| s.identity() == field.identity());
        let mut unnamed = self.vanished(place, stored, wanted);
        let mut parts = Vec::with_capacity(wanted.len());
        for field in wanted {
            let place = format!("{place}.{}", field.name);
            parts.push(match position(field) {
                Some(index) => {
                    let old = &stored[index];
                    if old.name != field.name {
                        self.note(&place, ChangeKind::Renamed, format!("renamed from {}", old.name));
                    }
                    Part::Stored(
                        index,
                        self.below(Step::Part(index), &place, &old.data_type, &field.data_type),
                    )
                }
                None => self.added(&place, field, &mut unnamed),
            });
        }
        let kept: Vec<_> = wanted.iter().filter_map(position).collect();
        if !kept.is_sorted() {
            self.note(place, ChangeKind::Reordered, "fields in another order".to_owned());
        }
        let same = stored.len() == wanted.len()
            && stored.iter().zip(wanted).all(|(a, b)| a.name == b.name)
            && parts.iter().enumerate().all(|(i, part)| *part == Part::Stored(i, Conversion::Keep));
        if same { Conversion::Keep } else { Conversion::Parts(parts) }
    }

    /// Looks at stored fields that the wanted struct lacks (clause EV-3); returns the wanted fields that are
    /// likely their new names, whose own refusal would only repeat the first.
    fn vanished<'a>(&mut self, place: &str, stored: &[Field], wanted: &'a [Field]) -> Vec<&'a Field> {
        let has = |fields: &[Field], identity: &str| fields.iter().any(|f| f.identity() == identity);
        let mut likely: Vec<&'a Field> = Vec::new();
        for old in stored.iter().filter(|old| !has(wanted, old.identity())) {
            let identity = old.identity();
            let place = format!("{place}.{}", old.name);
            if wanted.iter().any(|f| f.dropped.iter().any(|d| d == identity)) {
                self.note(&place, ChangeKind::Dropped, "dropped, as declared".to_owned());
                continue;
            }
            let new = |f: &&&Field| !has(stored, f.identity()) && !likely.contains(*f);
            let same_name = wanted.iter().find(|f| f.name == old.name);
            let same_type = || wanted.iter().filter(|f| f.data_type == old.data_type).find(|f| new(&f));
            let hint = match same_name.or_else(same_type) {
                Some(field) if field.name == old.name => {
                    likely.push(field);
                    format!(
                        "its first name was `{identity}`: say `#[state(was = \"{identity}\")]` on `{}` again",
                        field.name
                    )
                }
                Some(field) => {
                    likely.push(field);
                    format!(
                        "if `{}` is its new name, say `#[state(was = \"{identity}\")]` on it; if it may go, say \
                         `#[state(dropped = \"{identity}\")]` on the type",
                        field.name
                    )
                }
                None => format!(
                    "if it may go, say `#[state(dropped = \"{identity}\")]` on the type; if a field has taken its \
                     place, say `#[state(was = \"{identity}\")]` on that"
                ),
            };
            self.mismatches.push(Mismatch {
                place,
                found: old.data_type.to_string(),
                wanted: "no such field".to_owned(),
                reason: "a stored field goes only when the type says so".to_owned(),
                hint,
            });
        }
        likely
    }

    /// Makes a field that stored values lack (clause EV-2).
    fn added(&mut self, place: &str, field: &Field, excused: &mut Vec<&Field>) -> Part {
        if let Some(default) = &field.default {
            if let Err(wrong) = Value::from_json(default, &field.data_type) {
                self.mismatches.push(Mismatch {
                    place: place.to_owned(),
                    found: format!("the default {default}"),
                    wanted: field.data_type.to_string(),
                    reason: wrong.to_string(),
                    hint: "give the field a default of its own type".to_owned(),
                });
            }
            self.note(place, ChangeKind::Added, format!("added, {default} for stored values"));
            return Part::Default;
        }
        if field.data_type.is_nullable() {
            self.note(place, ChangeKind::Added, "added, None for stored values".to_owned());
            return Part::None;
        }
        if !excused.contains(&field) {
            self.mismatches.push(Mismatch {
                place: place.to_owned(),
                found: "no such field".to_owned(),
                wanted: field.data_type.to_string(),
                reason: "stored values have nothing to put there".to_owned(),
                hint: format!(
                    "say `#[state(default = ...)]` on it, make it `Option<{}>`, or register a migration",
                    field.data_type
                ),
            });
        }
        Part::None
    }

    fn enumeration(&mut self, place: &str, stored: &[Variant], wanted: &[Variant]) -> Conversion {
        let same_layout = {
            let names = |variants: &[Variant]| {
                variants.iter().map(|v| (v.name.clone(), v.payload.is_some())).collect::<Vec<_>>()
            };
            names(stored) == names(wanted)
        };
        for old in stored {
            if !wanted.iter().any(|v| v.identity() == old.identity()) {
                self.mismatches.push(Mismatch {
                    place: format!("{place}.{}", old.name),
                    found: format!("variant {}", old.name),
                    wanted: "no such variant".to_owned(),
                    reason: "stored values may have it".to_owned(),
                    hint: format!(
                        "keep it; if another variant is its new name, say `#[state(was = \"{}\")]` on that; or \
                         register a migration",
                        old.identity()
                    ),
                });
            }
        }
        let variants: Vec<_> = wanted.iter().map(|variant| self.variant(place, stored, variant)).collect();
        let kept = |(i, v): (usize, &Option<(usize, Conversion)>)| *v == Some((i, Conversion::Keep));
        if same_layout && variants.iter().enumerate().all(kept) {
            Conversion::Keep
        } else {
            Conversion::Variants(variants)
        }
    }

    fn variant(&mut self, place: &str, stored: &[Variant], wanted: &Variant) -> Option<(usize, Conversion)> {
        let place = format!("{place}.{}", wanted.name);
        let Some(index) = stored.iter().position(|v| v.identity() == wanted.identity()) else {
            self.note(&place, ChangeKind::VariantAdded, "variant added".to_owned());
            return None;
        };
        let old = &stored[index];
        if old.name != wanted.name {
            self.note(&place, ChangeKind::VariantRenamed, format!("variant renamed from {}", old.name));
        }
        let refuse = |found: &str, wanted: &str, reason: &str, hint: &str| Mismatch {
            place: place.clone(),
            found: found.to_owned(),
            wanted: wanted.to_owned(),
            reason: reason.to_owned(),
            hint: hint.to_owned(),
        };
        let how = match (&old.payload, &wanted.payload) {
            (None, None) => Conversion::Keep,
            (Some(a), Some(b)) => self.below(Step::Variant(index), &place, a, b),
            (None, Some(b)) => {
                self.mismatches.push(refuse(
                    "a variant without data",
                    &b.to_string(),
                    "stored values have nothing to put there",
                    "add a variant of another name, or register a migration that says what its data is",
                ));
                Conversion::Keep
            }
            (Some(a), None) => {
                self.mismatches.push(refuse(
                    &a.to_string(),
                    "a variant without data",
                    "the data of stored values would be lost",
                    "keep the data, or register a migration that lets it go",
                ));
                Conversion::Keep
            }
        };
        Some((index, how))
    }

    /// Elements of sets and keys of maps lie in the order of their encoding, each once; a conversion
    /// must keep both (clause EV-9).
    fn check_order(&mut self, place: &str, stored: &DataType, wanted: &DataType, how: &Conversion) {
        if self.mismatches.is_empty() && !keeps_order(how, stored, wanted) {
            self.refuse(
                place,
                stored,
                wanted,
                "elements of a set and keys of a map are sorted and distinct, and this could change either",
                "register a migration that builds the set or map anew".to_owned(),
            );
        }
    }

    fn note(&mut self, place: &str, kind: ChangeKind, text: String) {
        self.changes.push(Change { place: place.to_owned(), kind, text });
    }

    fn refuse(
        &mut self,
        place: &str,
        found: &DataType,
        wanted: &DataType,
        reason: &str,
        hint: String,
    ) -> Conversion {
        self.mismatches.push(Mismatch {
            place: place.to_owned(),
            found: found.to_string(),
            wanted: wanted.to_string(),
            reason: reason.to_owned(),
            hint,
        });
        Conversion::Keep
    }
}

fn are(number: u64) -> String {
    if number == 1 {
        "1 stored value is".to_owned()
    } else {
        format!("{} stored values are", grouped(number))
    }
}

fn inside(how: Conversion) -> Conversion {
    if how == Conversion::Keep { how } else { Conversion::Inside(Box::new(how)) }
}
