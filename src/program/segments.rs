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
