//! Activations that lie as images: what a program must keep to, and which bytes a command reads.

use super::region::{Access, Block, Dimension, ONCE, RegionOf};
use super::{Address, Command, Operation, Place, ProgramParts, Window};
use crate::numerics::Dtype;
use serde::{Deserialize, Serialize};
use std::convert::Infallible;
use std::ops::Range;

/// The most of each size of a filter, and of an image's rows and columns.
const MAX_SIDE: u64 = 1 << 20;
/// The most channels of a pixel, elements of K, vectors of an image and pixels of a ring.
const MAX_COUNT: u64 = 1 << 31;
/// The largest number of a vector.
const MAX_VECTOR: u64 = 1 << 40;

/// How channels of a byte lie that do not all lie side by side: channel c at `c / block * bytes + c % block` from where channel 0 would.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Planes {
    /// Channels that lie side by side.
    pub block: u64,
    /// Bytes from a block of channels to the next: the plane of a block's pixels.
    pub bytes: u64,
}

impl Planes {
    /// What is wrong with them, if anything is.
    pub(super) fn fault(&self) -> Option<String> {
        let Self { block, bytes } = *self;
        (block == 0 || block > bytes).then(|| format!("planes of {bytes} bytes hold no pixels of {block} channels"))
    }
}

/// A window, with the command's own fields that it goes with.
#[derive(Debug, Clone, Copy)]
pub(super) struct WindowOf<'c> {
    pub(super) place: Place,
    /// The address of pixel 0.
    pub(super) address: &'c Address,
    /// Bytes from a pixel to the next.
    pub(super) pitch: u64,
    pub(super) window: &'c Window,
    /// The format of its elements, where that is not the array's activations'.
    format: Option<Dtype>,
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
                format: None,
                vectors: u64::from(p.cols),
                inner: u64::from(p.inner),
            }),
            Operation::Compute(c) => c.window.as_ref().map(|window| WindowOf {
                place: c.place,
                address: &c.stream,
                pitch: c.stream_stride,
                window,
                format: None,
                vectors: u64::from(c.vectors),
                inner: u64::from(c.inner),
            }),
            Operation::Product(p) => p.window.as_ref().map(|window| WindowOf {
                place: p.activation_place,
                address: &p.activation,
                pitch: p.activation_stride,
                window,
                format: None,
                vectors: u64::from(p.rows),
                inner: u64::from(p.inner),
            }),
            Operation::Vector(v) => v.window.as_ref().map(|window| WindowOf {
                place: v.place,
                address: &v.input.address,
                pitch: v.input.stride,
                window,
                format: Some(v.input.format),
                vectors: u64::from(v.rows),
                inner: 1,
            }),
            Operation::Mvin(_) | Operation::Mvout(_) | Operation::Requantize(_) | Operation::Fence | Operation::Host(_) => None,
        }
    }
}

impl Command {
    /// Shows every part of memory that the command touches in the iteration that `counters` tells, reads before writes: what it reads through a
    /// window are whole rows of images. Each is its first byte's address, and its shape.
    pub(crate) fn each_block(&self, parts: &ProgramParts, counters: &[u64], mut see: impl FnMut(Place, u64, Block, Access)) {
        let mode = parts.mode_of(self.tag.stage);
        let mut show = |region: &RegionOf<'_>| see(region.place, region.address.resolve(counters), region.coalesced(), region.access);
        if let Some(window) = self.window() {
            let shown: Result<(), Infallible> = window.regions(counters, window.format(mode.activation), |region| {
                show(region);
                Ok(())
            });
            let Ok(()) = shown;
        }
        self.regions(mode, parts.accumulator_element_bytes).iter().flatten().for_each(show);
    }
}

impl WindowOf<'_> {
    /// The format of its elements, where the array's activations have this one.
    pub(super) fn format(&self, activation: Dtype) -> Dtype {
        self.format.unwrap_or(activation)
    }

    /// Bytes from the first that is read of any pixel to one past the last, its elements being of this format.
    pub(super) fn bytes(&self, format: Dtype) -> Option<u64> {
        let last = self.window.ring.saturating_sub(1).checked_mul(self.pitch)?;
        match self.window.planes {
            None => last.checked_add(format.packed_bytes(self.channels())),
            Some(Planes { block, bytes }) => {
                bytes.checked_mul(self.channels().checked_sub(1)? / block)?.checked_add(last)?.checked_add(self.pitch)
            }
        }
    }

    /// What is wrong with it, if anything is, where the loops around it run so many times. `format` is that of its elements.
    pub(super) fn fault(&self, trips: &[u64], format: Dtype) -> Option<String> {
        let Window { slide, ring, vector, inner, planes, plus_border: _ } = self.window;
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
        let side_by_side = planes.map_or(slide.channels, |planes| planes.block);
        if self.pitch < format.packed_bytes(side_by_side.min(slide.channels)) {
            return Some(format!("a pixel of {side_by_side} channels does not fit the {} bytes from it to the next", self.pitch));
        }
        let planes = planes.as_ref()?;
        if format.bits() != 8 {
            return Some(format!("its window's {format} elements lie in planes, which only elements of a byte do"));
        }
        if ring.checked_mul(self.pitch).is_none_or(|plane| planes.bytes < plane) {
            return Some(format!("{ring} pixels, {} bytes apart, do not fit their plane of {} bytes", self.pitch, planes.bytes));
        }
        planes.fault()
    }

    /// Channels of a pixel.
    const fn channels(&self) -> u64 {
        self.window.slide.channels
    }

    /// Shows what the command may read: all channels of the pixels.
    pub(super) fn regions<E>(&self, counters: &[u64], format: Dtype, mut see: impl FnMut(&RegionOf<'_>) -> Result<(), E>) -> Result<(), E> {
        let (address, channels) = (self.address.resolve(counters), self.channels());
        let Planes { block, bytes } = self.window.planes.unwrap_or(Planes { block: channels, bytes: 0 });
        // Blocks of all their channels, and what is left.
        let parts = [(0, channels / block, block), (channels / block, 1, channels % block)];
        for pixels in self.reads(counters).into_iter().filter(|pixels| !pixels.is_empty()) {
            for (first, count, width) in parts.into_iter().filter(|(_, count, width)| count * width > 0) {
                see(&RegionOf {
                    place: self.place,
                    address: &Address::at(address + first * bytes + pixels.start * self.pitch),
                    stride: self.pitch,
                    rows: pixels.end - pixels.start,
                    row_bytes: format.packed_bytes(width),
                    access: Access::Read,
                    outer: [Dimension { count, stride: bytes }, ONCE[1]],
                })?;
            }
        }
        Ok(())
    }

    /// The pixels that the command may read, by their place in the ring: whole rows of images from the first to the last that its vectors reach,
    /// in two parts where they go round the end.
    fn reads(&self, counters: &[u64]) -> [Range<u64>; 2] {
        let Window { slide, ring, vector, .. } = self.window;
        let first = vector.resolve(counters);
        let rows = slide.rows_of(first..first + self.vectors);
        let (start, count) = (rows.start * slide.input[1] % ring, ((rows.end - rows.start) * slide.input[1]).min(*ring));
        let before = count.min(ring - start);
        [start..start + before, 0..count - before]
    }
}
