//! What changed in where sources resume.

use crate::model::{OperatorUid, SourceEntry, SourcePosition};

/// What changed in where one source resumes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceDiff {
    /// The source's operator uid.
    pub uid: OperatorUid,
    /// Its watermark in the first savepoint, in milliseconds.
    pub watermark_before_ms: Option<i64>,
    /// Its watermark in the second savepoint, in milliseconds.
    pub watermark_after_ms: Option<i64>,
    /// The splits whose positions differ.
    pub positions: Vec<PositionDiff>,
}

/// What changed in where one split resumes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PositionDiff {
    /// Names the split.
    pub split: String,
    /// Its position in the first savepoint, if it has one there.
    pub before: Option<SourcePosition>,
    /// Its position in the second savepoint, if it has one there.
    pub after: Option<SourcePosition>,
}

/// Compares the sources of two savepoints; those that are the same are left out.
pub(super) fn diff(before: &[SourceEntry], after: &[SourceEntry]) -> Vec<SourceDiff> {
    let find = |sources: &[SourceEntry], uid: &OperatorUid| sources.iter().position(|s| &s.uid == uid);
    let gone = before.iter().filter(|source| find(after, &source.uid).is_none()).map(|s| (Some(s), None));
    let pairs = after.iter().map(|new| (find(before, &new.uid).map(|at| &before[at]), Some(new))).chain(gone);
    pairs
        .filter(|(old, new)| old != new)
        .filter_map(|(old, new)| {
            let positions = |source: Option<&SourceEntry>| source.map_or(Vec::new(), |s| s.positions.clone());
            Some(SourceDiff {
                uid: new.or(old)?.uid.clone(),
                watermark_before_ms: old.and_then(SourceEntry::watermark_ms),
                watermark_after_ms: new.and_then(SourceEntry::watermark_ms),
                positions: diff_positions(positions(old), positions(new)),
            })
        })
        .collect()
}

fn diff_positions(mut before: Vec<SourcePosition>, after: Vec<SourcePosition>) -> Vec<PositionDiff> {
    let mut positions = Vec::new();
    for new in after {
        let old = before.iter().position(|old| old.split == new.split).map(|at| before.remove(at));
        if old.as_ref() != Some(&new) {
            positions.push(PositionDiff { split: new.split.clone(), before: old, after: Some(new) });
        }
    }
    let gone =
        |old: SourcePosition| PositionDiff { split: old.split.clone(), before: Some(old), after: None };
    positions.extend(before.into_iter().map(gone));
    positions
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(uid: &str, positions: &[(&str, u64)]) -> SourceEntry {
        let position = |(split, offset): &(&str, u64)| SourcePosition {
            split: (*split).to_owned(),
            offset: *offset,
            records: *offset / 10,
            finished: false,
            watermark_ms: Some(*offset as i64),
        };
        SourceEntry {
            uid: OperatorUid::new(uid).unwrap(),
            positions: positions.iter().map(position).collect(),
        }
    }

    #[test]
    fn sources_that_did_not_move_are_left_out_whatever_their_order() {
        let (a, b) = (source("a", &[("x", 1)]), source("b", &[("y", 2)]));
        assert_eq!(diff(&[a.clone(), b.clone()], &[b, a]), []);
    }

    #[test]
    fn moved_new_and_vanished_splits_and_sources_are_found() {
        let before = [source("a", &[("x", 10), ("y", 20), ("z", 5)]), source("old", &[("o", 1)])];
        let after = [source("new", &[]), source("a", &[("z", 5), ("x", 30), ("w", 40)])];
        let found = diff(&before, &after);
        let uids: Vec<_> = found.iter().map(|s| s.uid.as_str()).collect();
        assert_eq!(uids, ["new", "a", "old"]);
        assert_eq!((found[1].watermark_before_ms, found[1].watermark_after_ms), (Some(5), Some(5)));
        let offset = |p: &Option<SourcePosition>| p.as_ref().map(|p| p.offset);
        let moved: Vec<_> = found[1]
            .positions
            .iter()
            .map(|p| (p.split.as_str(), offset(&p.before), offset(&p.after)))
            .collect();
        assert_eq!(moved, [("x", Some(10), Some(30)), ("w", None, Some(40)), ("y", Some(20), None)]);
    }
}
