//! Which checkpoint builds on which: what has changed since an older one goes into a layer on top of its files.
//!
//! A checkpoint in layers has links to the files of the one before, so each is complete, and whichever is discarded takes
//! nothing from another. Layers are bounded as the digits of a number are: a new one takes those in that are no larger
//! than itself, by asking for what has changed since an older checkpoint; so of `n` rows there are about `log n` layers,
//! and none is written more often than that. Once layers together have more rows than what they lie on, or there are too
//! many of them, the state is written anew as a whole.

use super::image::{ChainOrder, ImageOrder};
use crate::model::{OperatorUid, StateEntry, StateName};
use crate::savepoint::Savepoint;
use std::collections::BTreeMap;

/// The most layers of a state, the lowest one included.
const MAX_LAYERS: usize = 8;
/// What the attempt started from counts as the image of this epoch, before all others.
pub(crate) const START: u64 = 0;

/// The checkpoint on which the next one can build.
#[derive(Debug)]
pub(crate) struct Chain {
    image: Savepoint,
    states: BTreeMap<(OperatorUid, StateName), Vec<Mark>>,
}

/// A layer of a state: what has changed between the image of the mark before and that of `epoch`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mark {
    epoch: u64,
    layer: u32,
    rows: u64,
    /// How many images it has taken the place of.
    images: u64,
}

impl Chain {
    /// Begins with what an attempt starts from.
    pub(crate) fn of_start(image: Savepoint) -> Self {
        let no_order = ImageOrder { epoch: START, directory: String::new(), chains: Vec::new() };
        Self::after(None, image, &no_order)
    }

    /// Goes on from `before` with a checkpoint that is committed, and was taken as `order` said.
    pub(crate) fn after(before: Option<&Self>, image: Savepoint, order: &ImageOrder) -> Self {
        let mut states = BTreeMap::new();
        for (operator, state) in image.manifest().states().filter(|(_, state)| state.kind.is_keyed()) {
            let id = (operator.uid.clone(), state.name.clone());
            let known = before.and_then(|before| before.states.get(&id));
            let layer = order.chain(&operator.uid, &state.name).and_then(|chain| chain.layer);
            let rows = |is_of: &dyn Fn(u32) -> bool| {
                state.all_files().filter(|file| is_of(file.layer)).map(|file| file.rows).sum()
            };
            let marks = match (known, layer) {
                (Some(known), Some((since, layer))) => {
                    let kept = known.iter().filter(|mark| mark.epoch <= since);
                    let merged = known.iter().filter(|mark| mark.epoch > since);
                    let images = 1 + merged.map(|mark| mark.images).sum::<u64>();
                    let new = Mark { epoch: order.epoch, layer, rows: rows(&|of| of == layer), images };
                    kept.cloned().chain([new]).collect()
                }
                _ => {
                    let layer = state.layers().last().copied().unwrap_or(0);
                    vec![Mark { epoch: order.epoch, layer, rows: rows(&|_| true), images: 0 }]
                }
            };
            states.insert(id, marks);
        }
        Self { image, states }
    }

    /// The image that the next checkpoint builds on.
    pub(crate) fn image(&self) -> &Savepoint {
        &self.image
    }

    /// Says of each state what the next image is to have: what has changed, or, if it is to be complete by itself, all.
    pub(crate) fn order(&self, is_whole: bool) -> Vec<ChainOrder> {
        let order = |((uid, state), marks): (&(OperatorUid, StateName), &Vec<Mark>)| {
            let (Some(first), Some(last)) = (marks.first(), marks.last()) else { return None };
            let since = if is_whole { None } else { since(marks).map(|index| marks[index].epoch) };
            Some(ChainOrder {
                uid: uid.to_string(),
                state: state.to_string(),
                oldest: first.epoch,
                layer: since.map(|since| (since, last.layer + 1)),
            })
        };
        self.states.iter().filter_map(order).collect()
    }

    /// Returns what a state keeps of the image before when an image of its changes since `since` is laid over it.
    pub(crate) fn kept(&self, uid: &OperatorUid, state: &StateName, since: u64) -> Option<StateEntry> {
        let marks = self.states.get(&(uid.clone(), state.clone()))?;
        let greatest = marks.iter().filter(|mark| mark.epoch <= since).map(|mark| mark.layer).max()?;
        let mut kept = self.image.manifest().operator(uid)?.state(state)?.clone();
        kept.files.retain(|file| file.layer <= greatest);
        kept.tombstones.retain(|file| file.layer <= greatest);
        Some(kept)
    }
}

/// Decides since which of the layers the next one tells what has changed; `None` if the state is to be written whole.
fn since(marks: &[Mark]) -> Option<usize> {
    let (base, upper) = marks.split_first()?;
    // As many rows as an image had on average lately.
    let mut rows = upper.last().map_or(0, |last| last.rows / last.images.max(1));
    let mut index = upper.len();
    while index > 0 && (rows >= marks[index].rows || index + 2 > MAX_LAYERS) {
        rows += marks[index].rows;
        index -= 1;
    }
    let above: u64 = marks[1..=index].iter().map(|mark| mark.rows).sum();
    (rows + above <= base.rows).then_some(index)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marks(rows: &[(u64, u64)]) -> Vec<Mark> {
        let mark = |(index, (rows, images)): (usize, &(u64, u64))| Mark {
            epoch: index as u64,
            layer: index as u32,
            rows: *rows,
            images: *images,
        };
        rows.iter().enumerate().map(mark).collect()
    }

    #[test]
    fn the_first_layer_tells_what_has_changed_since_the_whole() {
        assert_eq!(since(&marks(&[(1000, 0)])), Some(0));
    }

    #[test]
    fn a_layer_takes_in_those_that_are_no_larger() {
        assert_eq!(since(&marks(&[(1000, 0), (100, 1)])), Some(0));
        assert_eq!(since(&marks(&[(1000, 0), (200, 2)])), Some(1));
        assert_eq!(since(&marks(&[(1000, 0), (200, 2), (100, 1)])), Some(0));
        assert_eq!(since(&marks(&[(1000, 0), (400, 4), (100, 1)])), Some(1));
    }

    #[test]
    fn layers_with_more_rows_than_what_they_lie_on_are_written_whole() {
        assert_eq!(since(&marks(&[(1000, 0), (900, 1)])), None);
        assert_eq!(since(&marks(&[(0, 0), (1, 1)])), None);
        assert_eq!(since(&marks(&[(1000, 0), (600, 3), (300, 1)])), None);
    }

    #[test]
    fn there_are_never_more_layers_than_the_bound_and_no_row_is_written_too_often() {
        let mut marks = marks(&[(1_000_000, 0)]);
        let (mut written, mut whole) = (0, 0);
        for epoch in 1..1000 {
            // Each image has a thousand rows that none before it had.
            let Some(index) = since(&marks) else {
                whole += 1;
                marks = vec![Mark { epoch, layer: 0, rows: 1_000_000, images: 0 }];
                continue;
            };
            let merged: Vec<_> = marks.drain(index + 1..).collect();
            let images = 1 + merged.iter().map(|mark| mark.images).sum::<u64>();
            let rows = 1000 + merged.iter().map(|mark| mark.rows).sum::<u64>();
            written += rows;
            marks.push(Mark { epoch, layer: epoch as u32, rows, images });
            assert!(marks.len() <= MAX_LAYERS);
        }
        assert!(whole <= 1, "{whole}");
        assert!(written < 12 * 1000 * 1000, "{written} rows for a million");
    }
}
