//! The streams that enter the array's rows: each reversed, so that the registers of a row are a slice of it.

use super::Number;

/// One stream for every row and every element of K side by side in a PE.
#[derive(Debug)]
pub(super) struct Streams<F> {
    /// Stream after stream, the newest entry first, from `head` on.
    entries: Vec<F>,
    length: usize,
    head: usize,
    /// Entries that the PEs of a row can still see.
    window: usize,
}

impl<F: Number> Streams<F> {
    /// `count` streams of bubbles.
    pub(super) fn new(count: usize, window: usize) -> Self {
        let length = 4 * window + 256;
        Self { entries: vec![F::default(); count * length], length, head: length - window, window }
    }

    /// Makes room for what enters in this cycle, as zeros (a bubble).
    #[inline(always)]
    pub(super) fn enter(&mut self) {
        if self.head == 0 {
            self.turn();
        }
        self.head -= 1;
    }

    /// Brings what can still be seen to the other end.
    #[cold]
    fn turn(&mut self) {
        let Self { window, length, .. } = *self;
        self.head = length - window;
        for stream in self.entries.chunks_exact_mut(length) {
            stream.copy_within(0..window, length - window);
            // All that is to enter is a bubble until an element is set.
            stream[..length - window].fill(F::default());
        }
    }

    /// Sets a stream's element that enters in this cycle.
    #[inline(always)]
    pub(super) fn set(&mut self, stream: usize, value: F) {
        self.entries[stream * self.length + self.head] = value;
    }

    /// A stream's elements, the one that entered `age` cycles ago first.
    #[inline(always)]
    pub(super) fn since(&self, stream: usize, age: usize) -> &[F] {
        &self.entries[stream * self.length + self.head + age..(stream + 1) * self.length]
    }
}
