//! Whether a conversion keeps the elements of sets and the keys of maps sorted and distinct (clause EV-9).

use super::{Conversion, Part};
use crate::model::DataType;

/// Returns whether converted values are as distinct as the stored ones and in the same order.
pub(super) fn keeps_order(how: &Conversion, stored: &DataType, wanted: &DataType) -> bool {
    use DataType::{Enum, List, Map, Option, Set, Struct, Tuple};
    match (how, stored, wanted) {
        (Conversion::Keep | Conversion::Widen | Conversion::Narrow, ..) => true,
        (Conversion::Unwrap(how), Option(a), b) => keeps_order(how, a, b),
        (Conversion::Present(how), a, Option(b)) => keeps_order(how, a, b),
        (Conversion::Inside(how), Option(a) | List(a) | Set(a), Option(b) | List(b) | Set(b)) => {
            keeps_order(how, a, b)
        }
        (Conversion::Entries(key, value), Map(ak, av), Map(bk, bv)) => {
            keeps_order(key, ak, bk) && keeps_order(value, av, bv)
        }
        (Conversion::Parts(parts), a, b) => {
            let part_type = |of: &'_ DataType, i: usize| match of {
                Struct(fields) => fields.get(i).map(|f| f.data_type.clone()),
                Tuple(types) => types.get(i).cloned(),
                _ => None,
            };
            let stored_len = match a {
                Struct(fields) => fields.len(),
                Tuple(types) => types.len(),
                _ => return false,
            };
            // Every stored field, in the stored order; what is filled in is equal in all elements.
            let mut next = 0;
            parts.iter().enumerate().all(|(i, part)| match part {
                Part::Default | Part::None => true,
                Part::Stored(index, how) => {
                    let in_order = *index == next;
                    next += 1;
                    let types = part_type(a, *index).zip(part_type(b, i));
                    in_order && types.is_some_and(|(a, b)| keeps_order(how, &a, &b))
                }
            }) && next == stored_len
        }
        // Enums sort by the names of their variants.
        (Conversion::Variants(variants), Enum(a), Enum(b)) => {
            variants.iter().zip(b).all(|(from, wanted)| match from {
                None => true,
                Some((index, how)) => a.get(*index).is_some_and(|stored| {
                    stored.name == wanted.name
                        && stored
                            .payload
                            .as_ref()
                            .zip(wanted.payload.as_ref())
                            .is_none_or(|(a, b)| keeps_order(how, a, b))
                }),
            })
        }
        _ => false,
    }
}
