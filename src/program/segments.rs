//! Loops over a size that is cut into equal pieces and a rest: two loops, so that every size is a constant and every address affine.

/// Pieces of one size.
#[derive(Debug, Clone, Copy)]
pub(super) struct Segment {
    /// The number of the first piece.
    pub(super) start: u64,
    /// Pieces.
    pub(super) trips: u64,
    /// The size of each.
    pub(super) size: u64,
    pub(super) first: bool,
    pub(super) last: bool,
}

/// The pieces of `size`, full ones first.
pub(super) fn segments(size: u64, tile: u64) -> Vec<Segment> {
    let (full, rest) = (size / tile, size % tile);
    let mut all = Vec::with_capacity(2);
    if full > 0 {
        all.push(Segment { start: 0, trips: full, size: tile, first: true, last: rest == 0 });
    }
    if rest > 0 {
        all.push(Segment { start: full, trips: 1, size: rest, first: full == 0, last: true });
    }
    all
}

impl Segment {
    /// The first piece by itself, and the others, if there are any.
    pub(super) fn split_first(self) -> (Self, Option<Self>) {
        let others = self.trips - 1;
        let first = Self { trips: 1, last: self.last && others == 0, ..self };
        (first, (others > 0).then_some(Self { start: self.start + 1, trips: others, first: false, ..self }))
    }
}

/// Each piece of a segment by itself.
pub(super) fn singles(segment: Segment) -> impl Iterator<Item = Segment> {
    let end = segment.start + segment.trips;
    (segment.start..end).map(move |start| Segment {
        start,
        trips: 1,
        first: segment.first && start == segment.start,
        last: segment.last && start + 1 == end,
        ..segment
    })
}

/// The pieces that are kept, in loops over those that follow each other, each with how many kept pieces stand before it. The first of all
/// says that it is first, the last that it is last.
pub(super) fn runs(pieces: Vec<Segment>, keep: impl Fn(u64) -> bool) -> Vec<(u64, Segment)> {
    runs_alike(pieces, keep, |_, _| true)
}

/// The same, in loops over pieces that are alike, each to the one before it.
pub(super) fn runs_alike(pieces: Vec<Segment>, keep: impl Fn(u64) -> bool, alike: impl Fn(u64, u64) -> bool) -> Vec<(u64, Segment)> {
    let mut all: Vec<(u64, Segment)> = Vec::new();
    for (kept, single) in (0..).zip(pieces.into_iter().flat_map(singles).filter(|single| keep(single.start))) {
        match all.last_mut() {
            Some((_, run)) if run.size == single.size && run.start + run.trips == single.start && alike(single.start - 1, single.start) => {
                run.trips += 1;
            }
            _ => all.push((kept, Segment { first: kept == 0, last: false, ..single })),
        }
    }
    if let Some((_, last)) = all.last_mut() {
        last.last = true;
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_of_neighbours_of_one_size() {
        let runs = runs(segments(23, 4), |piece| piece != 2);
        let found: Vec<_> = runs.iter().map(|(before, run)| (*before, run.start, run.trips, run.size, run.first, run.last)).collect();
        assert_eq!(found, [(0, 0, 2, 4, true, false), (2, 3, 2, 4, false, false), (4, 5, 1, 3, false, true)]);
    }
}
