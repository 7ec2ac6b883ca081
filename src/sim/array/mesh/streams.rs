//! The streams that enter the array's rows: each reversed, so that the registers of a row are a slice of it.

use super::{BLOCK, Number, Seen};

/// One stream for every row and every element of K side by side in a PE.
#[derive(Debug)]
pub(super) struct Streams<F> {
    /// Stream after stream, the newest entry first, from `head` on.
    entries: Vec<F>,
    length: usize,
    head: usize,
    /// Entries that the PEs of a row can still see.
    window: usize,
    /// Cycles of the block that entered last.
    cycles: usize,
}

impl<F: Number> Streams<F> {
    /// `count` streams of bubbles.
    pub(super) fn new(count: usize, window: usize) -> Self {
        // A whole row of lanes may be read where only a part of it counts.
        let window = window + BLOCK + super::LANES;
        let length = 4 * window + 16 * BLOCK;
        Self { entries: vec![F::default(); count * length], length, head: length - window, window, cycles: 0 }
    }

    /// Makes room for what enters in the next `cycles` cycles, as zeros (bubbles).
    #[inline(always)]
    pub(super) fn enter(&mut self, cycles: usize) {
        if self.head < cycles {
            self.turn();
        }
        self.head -= cycles;
        self.cycles = cycles;
    }

    /// Brings what can still be seen to the other end.
    #[cold]
    fn turn(&mut self) {
        let Self { window, length, head, .. } = *self;
        self.head = length - window;
        for stream in self.entries.chunks_exact_mut(length) {
            stream.copy_within(head..head + window, length - window);
            // All that is to enter is a bubble until an element is set.
            stream[..length - window].fill(F::default());
        }
    }

    /// Sets the elements that enter in cycle `cycle` of the block, a stream each; bubbles where there are fewer.
    #[inline(always)]
    pub(super) fn set(&mut self, cycle: usize, elements: &[i16]) {
        let at = self.head + self.cycles - 1 - cycle;
        for (stream, element) in self.entries.chunks_exact_mut(self.length).zip(elements) {
            stream[at] = F::from(*element);
        }
    }

    /// What a stream's PEs see in the block: PE 0 what entered `age` cycles ago.
    #[inline(always)]
    pub(super) fn seen(&self, stream: usize, age: usize, hop: usize) -> Seen<'_, F> {
        let entries = &self.entries[stream * self.length + self.head..(stream + 1) * self.length];
        Seen { entries, first: self.cycles - 1 + age, hop, cycles: self.cycles }
    }

    /// The element of a stream that entered `age` cycles before the last cycle.
    pub(super) fn at(&self, stream: usize, age: usize) -> F {
        self.entries[stream * self.length + self.head + age]
    }
}
