//! Which row groups of two savepoints need to be compared, and how, by the hashes of their columns alone.
//!
//! A key lies in one row group of each savepoint at most. So two row groups that are alike can be left out
//! of the comparison, wherever they lie, and two with the same keys can be compared row by row without regard
//! to the others.

use super::side::GroupId;
use crate::model::Fingerprint;
use std::collections::HashMap;

/// What is known of a row group without reading it.
#[derive(Clone, Debug)]
pub(super) struct GroupFacts<'a> {
    pub(super) id: GroupId,
    pub(super) schema: Fingerprint,
    /// The hashes of the columns of key groups and keys.
    pub(super) keys: &'a [u128],
    /// The hashes of the columns of values.
    pub(super) values: &'a [u128],
}

/// What to do with the row groups of a state.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Matching {
    /// Row groups with the same keys in the same order, but other values or another schema.
    pub(super) aligned: Vec<(GroupId, GroupId)>,
    /// Row groups of the first savepoint whose keys are to be looked for.
    pub(super) before: Vec<GroupId>,
    /// Row groups of the second savepoint whose keys are to be looked for.
    pub(super) after: Vec<GroupId>,
}

pub(super) fn match_groups(before: &[GroupFacts<'_>], after: &[GroupFacts<'_>]) -> Matching {
    // Several row groups with the same keys are damage, which is found when their rows are merged.
    let mut by_keys: HashMap<&[u128], Vec<&GroupFacts<'_>>> = HashMap::new();
    for group in before {
        by_keys.entry(group.keys).or_default().push(group);
    }
    let mut matching = Matching::default();
    for new in after {
        match by_keys.get_mut(new.keys).and_then(Vec::pop) {
            None => matching.after.push(new.id),
            Some(old) if (old.schema, old.values) == (new.schema, new.values) => {}
            Some(old) => matching.aligned.push((old.id, new.id)),
        }
    }
    matching.before = by_keys.into_values().flatten().map(|group| group.id).collect();
    matching.before.sort();
    matching
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::DataType;

    fn facts<'a>(group: usize, schema: &DataType, keys: &'a [u128], values: &'a [u128]) -> GroupFacts<'a> {
        GroupFacts { id: GroupId { file: 0, group }, schema: Fingerprint::of(schema), keys, values }
    }

    fn group(group: usize) -> GroupId {
        GroupId { file: 0, group }
    }

    #[test]
    fn groups_are_left_out_only_if_keys_values_and_schema_are_equal() {
        let before = [
            facts(0, &DataType::I64, &[1, 1], &[5]),
            facts(1, &DataType::I64, &[2, 2], &[5]),
            facts(2, &DataType::I64, &[3, 3], &[5]),
            facts(3, &DataType::I64, &[4, 4], &[5]),
        ];
        let after = [
            facts(0, &DataType::I64, &[2, 2], &[5]),
            facts(1, &DataType::U64, &[3, 3], &[5]),
            facts(2, &DataType::I64, &[1, 1], &[6]),
            facts(3, &DataType::I64, &[4, 5], &[5]),
        ];
        let wanted = Matching {
            aligned: vec![(group(2), group(1)), (group(0), group(2))],
            before: vec![group(3)],
            after: vec![group(3)],
        };
        assert_eq!(match_groups(&before, &after), wanted);
    }

    #[test]
    fn a_group_stands_for_one_other_group_only() {
        let twice = [facts(0, &DataType::I64, &[1], &[5]), facts(1, &DataType::I64, &[1], &[5])];
        let matching = match_groups(&twice[..1], &twice);
        assert_eq!(matching, Matching { aligned: vec![], before: vec![], after: vec![group(1)] });
    }
}
