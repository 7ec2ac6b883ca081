//! What was done to the bytes of a memory: disjoint pieces, split where accesses need it and joined where neighbours come to be alike.
//!
//! An access costs O(log pieces) where it covers what an earlier one did, rows with gaps included: the bytes between two rows belong to the
//! same piece, in other columns of it. Each piece that an access makes is paid for once; whatever everyone knows is forgotten as soon as
//! the pieces have doubled, so that they stay about as many as the accesses that are in flight.

use super::piece::{Accessor, Fault, Piece, Writer};
use crate::program::Place;
use crate::program::region::{Access, Block};
use std::collections::BTreeMap;

/// A history that takes more bytes than this is refused. It is weighed when it has doubled, so that for a while it may take three times as
/// many.
const MAX_BYTES: usize = 1 << 28;

/// Visits to more pieces than this are refused: the check would not end in reasonable time.
const MAX_VISITS: u64 = 1 << 32;

/// Fewer pieces than this are not worth a sweep; tests sweep all the time.
const MIN_SWEEP: usize = if cfg!(test) { 8 } else { 1024 };

/// Why an access is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The first byte that has a fault.
    Fault(u64, Fault),
    /// The history is too long.
    TooMany(TooMany),
}

/// What there is too much of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TooMany {
    /// Pieces, of this many.
    Pieces(usize),
    /// Visits.
    Visits,
}

impl From<(u64, Fault)> for Refusal {
    fn from((byte, fault): (u64, Fault)) -> Self {
        Self::Fault(byte, fault)
    }
}

#[cfg_attr(test, derive(Clone))]
pub(super) struct History<const T: usize> {
    pub(super) place: Place,
    size: u64,
    /// Disjoint, and together all of the memory; by where they begin.
    pieces: BTreeMap<u64, Piece<T>>,
    /// The weight at the last sweep, and at most so many were added since.
    weight: usize,
    added: usize,
    visits: u64,
}

impl<const T: usize> History<T> {
    /// More than this many pieces (a column counts as one) are refused.
    pub(super) const MAX_PIECES: usize = MAX_BYTES / size_of::<Piece<T>>();

    /// A memory that the host wrote these ranges of and that commands write at most these of, sorted and disjoint.
    pub(super) fn new(place: Place, size: u64, host: &[(u64, u64)], written: &[(u64, u64)]) -> Self {
        let mut history = Self { place, size, pieces: BTreeMap::new(), weight: 0, added: 0, visits: 0 };
        if size > 0 {
            history.pieces.insert(0, Piece::new(size, Writer::Nobody));
        }
        for (start, end) in host {
            history.put(*start, *end, Writer::Settled);
        }
        let mut at = 0;
        for (start, end) in written.iter().copied().chain([(size, size)]) {
            if at < start {
                history.fix(at, start);
            }
            at = at.max(end);
        }
        history
    }

    /// Makes one piece of these bytes.
    fn put(&mut self, start: u64, end: u64, writer: Writer) {
        if start >= end {
            return;
        }
        self.split(start);
        self.split(end);
        let inside: Vec<u64> = self.pieces.range(start..end).map(|(start, _)| *start).collect();
        for start in inside {
            self.pieces.remove(&start);
        }
        self.pieces.insert(start, Piece::new(end, writer));
    }

    /// Notes that no command writes here.
    fn fix(&mut self, start: u64, end: u64) {
        let settled: Vec<(u64, u64)> = self
            .pieces
            .range(..end)
            .rev()
            .take_while(|(_, piece)| piece.end > start)
            .filter(|(_, piece)| piece.writer() == Some(Writer::Settled))
            .map(|(from, piece)| ((*from).max(start), piece.end.min(end)))
            .collect();
        for (start, end) in settled {
            self.put(start, end, Writer::Fixed);
        }
    }

    /// The first byte of a range that nobody wrote.
    pub(super) fn never_written(&self, start: u64, end: u64) -> Option<u64> {
        let mut at = start;
        while at < end {
            let (_, piece) = self.pieces.range(..=at).next_back()?;
            if let Some(byte) = piece.never_written(at).filter(|byte| *byte < piece.end.min(end)) {
                return Some(byte);
            }
            at = piece.end;
        }
        None
    }

    /// Notes an access to a block of bytes that begins at `start`. `floor` tells what everyone knows.
    pub(super) fn touch(&mut self, start: u64, block: &Block, by: &Accessor<T>, floor: &impl Fn() -> [u32; T]) -> Result<(), Refusal> {
        if block.run == 0 {
            return Ok(());
        }
        let [middle, last] = block.outer;
        for outer in 0..last.count {
            for inner in 0..middle.count {
                self.rows(start + outer * last.stride + inner * middle.stride, block, by, floor)?;
            }
        }
        if self.added > self.weight.max(MIN_SWEEP) {
            self.sweep(&floor());
            if self.weight > Self::MAX_PIECES {
                return Err(Refusal::TooMany(TooMany::Pieces(Self::MAX_PIECES)));
            }
        }
        Ok(())
    }

    /// Notes an access to the rows of one part of a block. Most often one piece is it, or has its rows as columns.
    fn rows(&mut self, first: u64, block: &Block, by: &Accessor<T>, floor: &impl Fn() -> [u32; T]) -> Result<(), Refusal> {
        let Block { run, rows, stride, .. } = *block;
        let end = first + (rows - 1) * stride + run;
        self.visit(1)?;
        let (&start, piece) = self.pieces.range_mut(..=first).next_back().expect("bug: pieces cover a memory, and addresses were checked");
        if by.access == Access::Read && piece.writer() == Some(Writer::Fixed) && end <= piece.end {
            return Ok(());
        }
        if rows == 1 {
            if start == first && piece.end == end {
                let columns = piece.weight();
                piece.touch(start, by)?;
                return self.visit(columns);
            }
            return self.range(first, end, by);
        }
        // The piece may begin and end in the gaps beside the rows.
        let gap = stride - run;
        if first - start <= gap
            && end <= piece.end
            && piece.end - end <= gap
            && (piece.is_even() || piece.period() == stride)
            && piece.is_long(start, stride)
        {
            let columns = piece.weight();
            piece.touch_columns(start, first, run, stride, by)?;
            self.added += piece.weight().saturating_sub(columns);
            return self.visit(columns);
        }
        let low = if first - start <= gap { start } else { first };
        let after = low.saturating_add(rows.saturating_mul(stride)).min(self.size);
        let high = self.pieces.range(end..=after).next_back().map_or(after, |(key, _)| *key);
        self.split(low);
        self.split(high);
        let mut at = low;
        while at < high {
            at = self.rows_of_piece(at, first, block, by, floor)?;
        }
        self.join(low, high)
    }

    /// Notes an access to the rows that lie in the piece that begins at `at`; where it ends.
    fn rows_of_piece(
        &mut self,
        at: u64,
        first: u64,
        block: &Block,
        by: &Accessor<T>,
        floor: &impl Fn() -> [u32; T],
    ) -> Result<u64, Refusal> {
        let Block { run, stride, .. } = *block;
        self.visit(1)?;
        let piece = self.pieces.get_mut(&at).expect("bug: a piece begins where the one before it ends");
        let end = piece.end;
        if !piece.is_even() && piece.period() != stride {
            piece.settle(&floor());
            if !piece.is_even() && !piece.widen(at, stride) {
                self.unroll(at)?;
                return self.rows_one_by_one([at, end], first, block, by);
            }
        }
        if piece.is_long(at, stride) {
            let columns = piece.weight();
            piece.touch_columns(at, first, run, stride, by)?;
            self.added += piece.weight().saturating_sub(columns);
            self.visit(columns)?;
        } else {
            self.rows_one_by_one([at, end], first, block, by)?;
        }
        Ok(end)
    }

    /// Notes an access to the rows between `low` and `high`, each by itself; returns `high`.
    fn rows_one_by_one(&mut self, [low, high]: [u64; 2], first: u64, block: &Block, by: &Accessor<T>) -> Result<u64, Refusal> {
        let skipped = low.saturating_sub(first) / block.stride;
        for row in skipped..block.rows {
            let start = first + row * block.stride;
            if start >= high {
                break;
            }
            let (from, end) = (start.max(low), (start + block.run).min(high));
            if from < end {
                self.range(from, end, by)?;
            }
        }
        Ok(high)
    }

    /// Notes an access to contiguous bytes.
    fn range(&mut self, start: u64, end: u64, by: &Accessor<T>) -> Result<(), Refusal> {
        self.split(start);
        self.split(end);
        let mut visits = 1;
        let mut pieces = 0;
        for (start, piece) in self.pieces.range_mut(start..end) {
            visits += piece.weight();
            pieces += 1;
            piece.touch(*start, by)?;
        }
        self.visit(visits)?;
        if pieces == 1 {
            return Ok(());
        }
        if by.access == Access::Read {
            return self.join(start + 1, end - 1);
        }
        // All of it is alike now.
        while let Some((&next, _)) = self.pieces.range(start + 1..end).next() {
            self.pieces.remove(&next);
        }
        if let Some(piece) = self.pieces.get_mut(&start) {
            piece.end = end;
        }
        Ok(())
    }

    /// Makes one of neighbours that are alike and that meet between `low` and `high`.
    fn join(&mut self, low: u64, high: u64) -> Result<(), Refusal> {
        let mut at = low;
        let mut visits = 0;
        while at <= high {
            let Some((&next, _)) = self.pieces.range(at..=high).next() else { break };
            visits += 1;
            at = next + 1;
            let mut both = self.pieces.range_mut(..=next).rev();
            let (Some((_, piece)), Some((_, before))) = (both.next(), both.next()) else { continue };
            if before.is_like(piece) {
                before.end = piece.end;
                self.pieces.remove(&next);
            }
        }
        self.visit(visits)
    }

    /// Makes a piece begin at `at`, if that is inside of the memory.
    fn split(&mut self, at: u64) {
        let Some((&start, piece)) = self.pieces.range_mut(..=at).next_back() else { return };
        if start == at || at >= piece.end {
            return;
        }
        let right = piece.clone();
        piece.end = at;
        let period = piece.period();
        let is_long = [piece.is_long(start, period), right.is_long(at, period)];
        self.added += right.weight();
        self.pieces.insert(at, right);
        for (start, is_long) in [start, at].into_iter().zip(is_long) {
            if !is_long {
                self.make_even(start);
            }
        }
    }

    /// Replaces a piece with columns by even pieces, unless they are too many.
    fn unroll(&mut self, start: u64) -> Result<(), Refusal> {
        let pieces = self.pieces.get(&start).map_or(0, |piece| piece.even_pieces(start));
        let fits = usize::try_from(pieces).is_ok_and(|pieces| self.weight + self.added + pieces <= 3 * Self::MAX_PIECES);
        if !fits {
            return Err(Refusal::TooMany(TooMany::Pieces(Self::MAX_PIECES)));
        }
        self.visit(usize::try_from(pieces).unwrap_or(usize::MAX))?;
        self.make_even(start);
        Ok(())
    }

    fn make_even(&mut self, start: u64) {
        if let Some(piece) = self.pieces.remove(&start) {
            if piece.is_even() {
                self.pieces.insert(start, piece);
                return;
            }
            piece.each_even(start, |start, piece| {
                self.pieces.insert(start, piece);
                self.added += 1;
            });
        }
    }

    /// Forgets what everyone knows, and makes one of neighbours that are alike.
    pub(super) fn sweep(&mut self, floor: &[u32; T]) {
        let mut kept: Vec<(u64, Piece<T>)> = Vec::new();
        for (start, mut piece) in std::mem::take(&mut self.pieces) {
            piece.settle(floor);
            piece.shrink();
            match kept.last_mut() {
                Some((_, last)) if last.is_like(&piece) => last.end = piece.end,
                _ => kept.push((start, piece)),
            }
        }
        self.weight = kept.iter().map(|(_, piece)| piece.weight()).sum();
        self.added = 0;
        self.pieces = kept.into_iter().collect();
    }

    /// Counts work.
    fn visit(&mut self, pieces: usize) -> Result<(), Refusal> {
        self.visits = self.visits.saturating_add(pieces as u64);
        if self.visits > MAX_VISITS {
            return Err(Refusal::TooMany(TooMany::Visits));
        }
        if self.weight + self.added > 3 * Self::MAX_PIECES {
            return Err(Refusal::TooMany(TooMany::Pieces(Self::MAX_PIECES)));
        }
        Ok(())
    }

    /// Whether pieces follow each other from the first byte to the last.
    /// Whether pieces follow each other from the first byte to the last.
    #[cfg(test)]
    pub(super) fn is_whole(&self) -> bool {
        let end = self.pieces.iter().try_fold(0, |end, (start, piece)| (*start == end && piece.end > end).then_some(piece.end));
        end == Some(self.size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::program::region::ONCE;

    fn by(access: Access, thread: usize, command: u32, known: u32) -> Accessor<8> {
        Accessor { access, thread, command, known: [known; 8] }
    }

    #[test]
    fn a_ring_takes_as_many_pieces_as_it_has_slots_and_columns_however_long_it_goes_on() {
        let mut history = History::<8>::new(Place::Dram, 1 << 40, &[], &[(0, 1 << 40)]);
        let mut command = 0;
        let mut access = |start, block, access, thread| {
            command += 1;
            history.touch(start, &block, &by(access, thread, command, command - 1), &|| [0; 8]).unwrap();
            history.pieces.values().map(Piece::weight).sum::<usize>()
        };
        let mut most = 0;
        for round in 0..1000 {
            let slot = round % 3 * 4096;
            most = most.max(access(slot, Block { run: 4096, rows: 1, stride: 0, outer: ONCE }, Access::Write, 0));
            for column in 0..4 {
                for pass in 0..4 {
                    let rows = Block { run: 16, rows: 16, stride: 64, outer: ONCE };
                    most = most.max(access(slot + pass * 1024 + column * 16, rows, Access::Read, 1));
                }
            }
        }
        assert!(most <= 3 * 4 * 5 + 1, "{most} pieces");
    }

    #[test]
    fn rows_that_never_meet_again_are_refused_before_they_take_all_memory() {
        let mut history = History::<8>::new(Place::Dram, 1 << 60, &[], &[(0, 1 << 60)]);
        let mut write = |run, stride, rows| {
            let block = Block { run, rows, stride, outer: ONCE };
            history.touch(0, &block, &by(Access::Write, 0, 1, 1), &|| [0; 8])
        };
        assert_eq!(write(3, 16, 1 << 50), Ok(()), "as many rows as there may be are one piece");
        assert_eq!(write(5, 32, 1 << 49), Ok(()), "and twice the stride is");
        let refusal = write(5, 17, 1 << 49);
        assert_eq!(refusal, Err(Refusal::TooMany(TooMany::Pieces(History::<8>::MAX_PIECES))));
    }
}
