//! Activations that lie as images: what a program must keep to, and which bytes a command reads.

use super::{Address, Command, Operation, Place, Window};
use std::ops::Range;

/// The most of each size of a filter, and of an image's rows and columns.
const MAX_SIDE: u64 = 1 << 20;
/// The most channels of a pixel, elements of K, vectors of an image and pixels of a ring.
const MAX_COUNT: u64 = 1 << 31;
/// The largest number of a vector.
const MAX_VECTOR: u64 = 1 << 40;

/// A window, with the command's own fields that it goes with.
#[derive(Debug, Clone, Copy)]
pub(super) struct WindowOf<'c> {
    pub(super) place: Place,
    /// The address of pixel 0.
    pub(super) address: &'c Address,
    /// Bytes from a pixel to the next.
    pub(super) pitch: u64,
    window: &'c Window,
    vectors: u64,
    inner: u64,
}

impl Command {
    /// The window through which the command reads, if it has one.
    pub(super) fn window(&self) -> Option<WindowOf<'_>> {
        match &self.operation {
            Operation::Preload(p) => p.window.as_ref().map(|window| WindowOf {
                place: p.place,
                address: &p.address,
                pitch: p.stride,
                window,
                vectors: u64::from(p.cols),
                inner: u64::from(p.inner),
            }),
            Operation::Compute(c) => c.window.as_ref().map(|window| WindowOf {
                place: c.place,
                address: &c.stream,
                pitch: c.stream_stride,
                window,
                vectors: u64::from(c.vectors),
                inner: u64::from(c.inner),
            }),
            Operation::Product(p) => p.window.as_ref().map(|window| WindowOf {
                place: p.activation_place,
                address: &p.activation,
                pitch: p.activation_stride,
                window,
                vectors: u64::from(p.rows),
                inner: u64::from(p.inner),
            }),
            Operation::Vector(v) => v.window.as_ref().map(|window| WindowOf {
                place: v.place,
                address: &v.input.address,
                pitch: v.input.stride,
                window,
                vectors: u64::from(v.rows),
                inner: 1,
            }),
            Operation::Mvin(_) | Operation::Mvout(_) | Operation::Requantize(_) | Operation::Fence => None,
        }
    }
}

impl WindowOf<'_> {
    /// Bytes from the first that is read of any pixel to one past the last, a pixel being `pixel` bytes.
    pub(super) fn bytes(&self, pixel: u64) -> Option<u64> {
        self.window.ring.saturating_sub(1).checked_mul(self.pitch)?.checked_add(pixel)
    }

    /// What is wrong with it, if anything is, where the loops around it run so many times. `pixel` are the bytes of a pixel.
    pub(super) fn fault(&self, trips: &[u64], pixel: impl Fn(u64) -> u64) -> Option<String> {
        let Window { slide, ring, vector, inner } = self.window;
        let sides = [slide.input, slide.output, slide.filter, slide.stride, slide.dilation];
        if sides.iter().flatten().any(|side| !(1..=MAX_SIDE).contains(side)) || slide.padding.iter().any(|side| *side > MAX_SIDE) {
            return Some(format!("its window has a side that is not 1 to {MAX_SIDE}: {slide:?}"));
        }
        // Products of no more than three sides fit 64 bits.
        let counts = [slide.channels, slide.vectors_of_image(), slide.filter[0] * slide.filter[1], *ring];
        if counts.iter().any(|count| !(1..=MAX_COUNT).contains(count)) || slide.reduction() > MAX_COUNT {
            return Some(format!("its window has a size that is not 1 to {MAX_COUNT}: {slide:?}, {ring} pixels"));
        }
        if vector.ring.is_some() || inner.ring.is_some() {
            return Some("its window's vector or element of K goes round in a ring".to_string());
        }
        let last = |first: &Address, count: u64| first.greatest(trips).and_then(|first| first.checked_add(count));
        if last(vector, self.vectors).is_none_or(|last| last > MAX_VECTOR) {
            return Some(format!("its window reaches a vector past {MAX_VECTOR}"));
        }
        if last(inner, self.inner).is_none_or(|last| last > slide.reduction()) {
            return Some(format!("its window reaches past the {} elements of K of a vector", slide.reduction()));
        }
        if self.pitch < pixel(slide.channels) {
            return Some(format!("a pixel of {} channels does not fit the {} bytes from it to the next", slide.channels, self.pitch));
        }
        None
    }

    /// Channels of a pixel.
    pub(super) const fn channels(&self) -> u64 {
        self.window.slide.channels
    }

    /// The pixels that the command may read, by their place in the ring: whole rows of images from the first to the last that its vectors reach,
    /// in two parts where they go round the end.
    pub(super) fn reads(&self, counters: &[u64]) -> [Range<u64>; 2] {
        let Window { slide, ring, vector, .. } = self.window;
        let first = vector.resolve(counters);
        let rows = slide.rows_of(first..first + self.vectors);
        let (start, count) = (rows.start * slide.input[1] % ring, ((rows.end - rows.start) * slide.input[1]).min(*ring));
        let before = count.min(ring - start);
        [start..start + before, 0..count - before]
    }
}
