//! What enters the array, the newest first: a stream of elements for each row, rows of lanes for the columns.
//!
//! Both lie in rooms that are larger than what can still be seen. What enters goes in front of what is there, and once in a while what can
//! still be seen is brought back to the other end, so that no place is ever looked for round a corner.

use super::{BLOCK, LANES, Lanes, Number};

/// Rooms of one length, filled towards their fronts together.
#[derive(Debug)]
struct Rooms<T> {
    places: Vec<T>,
    /// Places of a room.
    length: usize,
    /// Where the newest is.
    head: usize,
    /// Places from the head on that count, and places ahead of it that are written already.
    behind: usize,
    ahead: usize,
}

impl<T: Copy> Rooms<T> {
    fn new(count: usize, ahead: usize, behind: usize, bubble: T) -> Self {
        let length = 2 * (ahead + behind) + 8 * BLOCK;
        Self { places: vec![bubble; count * length], length, head: length - behind, behind, ahead }
    }

    /// Makes room for what enters in the next `cycles` cycles, as bubbles but for what was written ahead.
    #[inline(always)]
    fn enter(&mut self, cycles: usize, bubble: T) {
        if self.head < self.ahead + cycles {
            self.turn(bubble);
        }
        self.head -= cycles;
    }

    /// Brings what counts to the other end.
    #[cold]
    fn turn(&mut self, bubble: T) {
        let Self { length, head, behind, ahead, .. } = *self;
        for room in self.places.chunks_exact_mut(length) {
            room.copy_within(head - ahead..head + behind, length - behind - ahead);
            room[..length - behind - ahead].fill(bubble);
        }
        self.head = length - behind;
    }

    /// A room from the newest on.
    #[inline(always)]
    fn room(&self, number: usize) -> &[T] {
        &self.places[number * self.length + self.head..(number + 1) * self.length]
    }
}

/// One stream for every row and every element of K side by side in a PE.
#[derive(Debug)]
pub(super) struct Streams<F> {
    rooms: Rooms<F>,
    /// Cycles of the block that entered last.
    cycles: usize,
}

impl<F: Number> Streams<F> {
    /// `count` streams of bubbles, of which `window` entries can be seen behind a block.
    pub(super) fn new(count: usize, window: usize) -> Self {
        Self { rooms: Rooms::new(count, 0, window + BLOCK, F::default()), cycles: 0 }
    }

    /// Makes room for what enters in the next `cycles` cycles, as zeros (bubbles).
    #[inline(always)]
    pub(super) fn enter(&mut self, cycles: usize) {
        self.rooms.enter(cycles, F::default());
        self.cycles = cycles;
    }

    /// Sets the elements that enter in cycle `cycle` of the block, a stream each; bubbles where there are fewer.
    #[inline(always)]
    pub(super) fn set(&mut self, cycle: usize, elements: &[i16]) {
        let at = self.rooms.head + self.cycles - 1 - cycle;
        for (stream, element) in self.rooms.places.chunks_exact_mut(self.rooms.length).zip(elements) {
            stream[at] = F::from(*element);
        }
    }

    /// The same of the block's first `count` cycles: for each stream its elements, the first to enter first.
    #[inline(always)]
    pub(super) fn set_first(&mut self, count: usize, elements: &[i16]) {
        let end = self.rooms.head + self.cycles;
        for (stream, elements) in self.rooms.places.chunks_exact_mut(self.rooms.length).zip(elements.chunks_exact(count)) {
            for (entry, element) in stream[end - count..end].iter_mut().zip(elements.iter().rev()) {
                *entry = F::from(*element);
            }
        }
    }

    /// A stream's elements by the cycles since they entered, counted from the block's last.
    #[inline(always)]
    pub(super) fn seen(&self, stream: usize) -> &[F] {
        self.rooms.room(stream)
    }
}

/// Rows of columns, [`LANES`] in a part, that go down the array.
#[derive(Debug)]
pub(super) struct Waves<F>(Rooms<Lanes<F>>);

impl<F: Number> Waves<F> {
    /// `count` parts, each of `behind` rows behind a block and `ahead` rows before it.
    pub(super) fn new(count: usize, ahead: usize, behind: usize) -> Self {
        Self(Rooms::new(count, ahead, behind + BLOCK, Lanes::default()))
    }

    /// Makes room for the rows of the next `cycles` cycles, zeros but for what was written ahead.
    #[inline(always)]
    pub(super) fn enter(&mut self, cycles: usize) {
        self.0.enter(cycles, Lanes::default());
    }

    /// A part's rows, that of the block's last cycle first.
    #[inline(always)]
    pub(super) fn rows(&self, part: usize) -> &[Lanes<F>] {
        self.0.room(part)
    }

    #[inline(always)]
    pub(super) fn rows_mut(&mut self, part: usize) -> &mut [Lanes<F>] {
        let Rooms { length, head, .. } = self.0;
        &mut self.0.places[part * length + head..(part + 1) * length]
    }

    /// The numbers down a diagonal: lane 0's in row `at`, counted from the first that may be written, each other one `hop` rows nearer to it.
    #[inline(always)]
    pub(super) fn along(&self, part: usize, at: usize, hop: usize) -> Lanes<F> {
        let end = self.place(part, at) + 1;
        let mut lanes = Lanes::default();
        if hop == 1
            && let Some(rows) = self.0.places[..end].last_chunk::<LANES>()
        {
            for lane in 0..LANES {
                lanes[lane] = rows[LANES - 1 - lane][lane];
            }
            return lanes;
        }
        for (lane, number) in lanes.iter_mut().enumerate() {
            *number = self.0.places[(end - 1).saturating_sub(lane * hop)][lane];
        }
        lanes
    }

    /// Puts numbers where [`Waves::along`] finds them.
    #[inline(always)]
    pub(super) fn set_along(&mut self, part: usize, at: usize, hop: usize, numbers: &Lanes<F>) {
        let end = self.place(part, at) + 1;
        if hop == 1
            && let Some(rows) = self.0.places[..end].last_chunk_mut::<LANES>()
        {
            for lane in 0..LANES {
                rows[LANES - 1 - lane][lane] = numbers[lane];
            }
            return;
        }
        for (lane, number) in numbers.iter().enumerate() {
            self.0.places[(end - 1).saturating_sub(lane * hop)][lane] = *number;
        }
    }

    #[inline(always)]
    fn place(&self, part: usize, at: usize) -> usize {
        part * self.0.length + self.0.head - self.0.ahead + at
    }
}
