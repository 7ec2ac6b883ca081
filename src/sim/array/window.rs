//! Activations that lie as images: the memory rows that a vector's elements touch, and the elements themselves.
//!
//! What a pass or a load reads is gathered when it enters, into line buffers beside the scratchpads, packed as an operand that lies side by
//! side would be: nothing that it reads may change before it ends. When it reads what, and from which banks, is claimed cycle by cycle.

use super::{Claims, Pass, Use};
use crate::numerics::Dtype;
use crate::numerics::packed::{pack_onto, unpack};
use crate::program::{Operation, Piece, Place, Planes, Slide, Tag, UnitKind, Window};
use crate::sim::machine::Setup;
use crate::sim::memory::{Sram, scratchpad_index, size};
use crate::sim::queue::Shared;
use std::ops::Range;

/// Images in a scratchpad, and where a command begins to read them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Gather {
    pub(super) place: Place,
    /// The address of pixel 0, and from a pixel to the next.
    address: u64,
    pitch: u64,
    ring: u64,
    /// The filter, by its number.
    slide: usize,
    /// The first vector, and the first element of K.
    vector: u64,
    inner: u64,
    planes: Planes,
    /// What padding is of binary elements.
    border: i16,
}

/// The filters of a program, and line buffers for what passes and loads read.
#[derive(Debug)]
pub(super) struct Windows {
    slides: Vec<Slide>,
    format: Dtype,
    buffers: Place,
    capacity: u64,
    next: u64,
    row: Vec<i16>,
    packed: Vec<u8>,
    /// Memory rows of one claim.
    rows: Vec<u64>,
    /// What claims have read.
    amounts: Vec<(Tag, Place, Amount)>,
    /// The elements of the filter that vectors under way read from.
    positions: Vec<Position>,
}

/// An element of a filter, and the part of a pixel that is read there.
#[derive(Debug, Clone, Copy)]
struct Position {
    /// Rows and columns from the filter's corner.
    at: [u64; 2],
    elements: u64,
    /// The first byte of the pixel, and the one behind the last.
    bytes: [u64; 2],
}

/// What is read through a window.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Amount {
    rows: u64,
    bytes: u64,
    elements: u64,
    /// Zero points that the array's edge subtracts.
    subtracts: u64,
}

/// What a vector touches: the banks of its rows, if none of them holds two.
#[derive(Debug, Clone, Copy)]
pub(super) struct Touch {
    pub(super) banks: Option<u64>,
    pub(super) amount: Amount,
}

impl std::ops::AddAssign for Amount {
    fn add_assign(&mut self, more: Self) {
        self.rows += more.rows;
        self.bytes += more.bytes;
        self.elements += more.elements;
        self.subtracts += more.subtracts;
    }
}

impl Amount {
    /// Counts it for a command's stage.
    pub(super) fn count(self, shared: &mut Shared<'_>, tag: Tag, place: Place, add: impl Fn(&mut u64, u64)) {
        let actions = shared.accounts.actions(tag);
        add(&mut actions.zero_point_subtracts, self.subtracts);
        add(&mut actions.scratchpad_reads[scratchpad_index(place)], self.rows);
        add(&mut shared.accounts.traffic(tag).scratchpad.input.read, self.bytes);
        add(&mut shared.accounts.elements(tag).input_reads, self.elements);
    }
}

/// How elements are gathered: vector after vector, or a panel of them, step by step.
#[derive(Debug, Clone, Copy)]
pub(super) enum Form {
    Vectors,
    /// Elements of K of each vector that make up a step.
    Panel {
        depth: usize,
    },
}

impl Windows {
    /// What a program needs, if as many array cycles as `in_flight` may pass between a pass's last vector and its end.
    pub(super) fn new(setup: &Setup<'_>, in_flight: u64, buffers: Place) -> Self {
        let mode = setup.array_mode();
        let mut slides = Vec::new();
        let (mut largest, mut step) = (0, 0);
        setup.program.each_command(UnitKind::Array, &mut |command| {
            let (window, steps, bytes) = match &command.operation {
                Operation::Preload(load) => (&load.window, mode.steps(u64::from(load.inner)), mode.tile_row_bytes(u64::from(load.cols))),
                Operation::Compute(pass) => (&pass.window, u64::from(pass.vectors), mode.vector_bytes(u64::from(pass.inner))),
                // With N:M sparsity a step of the array may take several of the panel.
                Operation::Product(pass) => {
                    let (inner, rows) = (u64::from(pass.inner), u64::from(pass.rows));
                    let bytes = mode.activation_steps(inner).0 * mode.activation_step_bytes(rows);
                    (&pass.window, mode.steps(inner), bytes.div_ceil(mode.steps(inner)))
                }
                _ => return,
            };
            if let Some(window) = window.as_ref().filter(|_| setup.is_of_mode(command)) {
                (largest, step) = (largest.max(steps * bytes), step.max(bytes));
                if !slides.contains(&window.slide) {
                    slides.push(window.slide);
                }
            }
        });
        // The passes under way are the oldest, the youngest, and what entered while the oldest drained; the one that ended last may still be
        // looked at, and a pass that would go past the end leaves room there.
        let capacity = if slides.is_empty() { 0 } else { 5 * largest + in_flight * step };
        Self {
            slides,
            format: mode.activation,
            buffers,
            capacity,
            next: 0,
            row: Vec::new(),
            packed: Vec::new(),
            rows: Vec::new(),
            amounts: Vec::new(),
            positions: Vec::new(),
        }
    }

    /// The line buffers, as one more scratchpad; none where nothing is gathered.
    pub(super) fn buffers(&self) -> Option<Sram> {
        (self.capacity > 0).then(|| Sram::new(self.capacity, 1, 1, crate::counts::StallReason::ScratchpadConflict))
    }

    /// Begins anew with empty buffers.
    pub(super) fn restart(&mut self) {
        self.next = 0;
    }

    /// What a command reads.
    pub(super) fn gather(&self, window: &Window, place: Place, [address, pitch]: [u64; 2], counters: &[u64]) -> Gather {
        Gather {
            place,
            address,
            pitch,
            ring: window.ring,
            slide: self.slides.iter().position(|slide| *slide == window.slide).expect("bug: every filter of the program was noted"),
            vector: window.vector.resolve(counters),
            inner: window.inner.resolve(counters),
            border: if window.plus_border { 1 } else { -1 },
            planes: window.planes.unwrap_or(Planes { block: window.slide.channels, bytes: 0 }),
        }
    }

    /// Claims the memory rows of elements `inner` (counted from the command's first) of some of its vectors, each row once, and notes what is
    /// read.
    pub(super) fn claim(
        &mut self,
        shared: &Shared<'_>,
        claims: &mut Claims,
        tag: Tag,
        gather: &Gather,
        (vectors, inner): (Range<u64>, Range<u64>),
    ) {
        let amount = self.touch(shared, gather, vectors, inner);
        for row in &self.rows {
            claims.add_row(gather.place, *row, Use::Access);
        }
        self.amounts.push((tag, gather.place, amount));
    }

    /// Finds the memory rows of elements `inner` of some of a command's vectors, each row once; what is read.
    fn touch(&mut self, shared: &Shared<'_>, gather: &Gather, vectors: Range<u64>, inner: Range<u64>) -> Amount {
        let Self { slides, format, rows, .. } = self;
        let memory = shared.sram_ref(gather.place);
        let (mut elements, mut bytes) = (0, 0);
        let mut in_order = true;
        rows.clear();
        gather.pieces(&slides[gather.slide], vectors, inner, |_, address, piece| {
            let [first, end] = bytes_of(*format, piece.channel, piece.count);
            (elements, bytes) = (elements + piece.count, bytes + end - first);
            for row in memory.row_of(address + first)..=memory.row_of(address + end - 1) {
                if rows.last() != Some(&row) {
                    in_order &= rows.last().is_none_or(|last| *last < row);
                    rows.push(row);
                }
            }
        });
        if !in_order {
            rows.sort_unstable();
            rows.dedup();
        }
        Amount { rows: rows.len() as u64, bytes, elements, subtracts: if super::movement::subtracts(*format) { elements } else { 0 } }
    }

    /// Takes out what claims have noted.
    pub(super) fn take_amounts(&mut self) -> impl Iterator<Item = (Tag, Place, Amount)> + '_ {
        self.amounts.drain(..)
    }

    /// Finds out what some of a command's vectors, of `inner` elements, touch: for each the banks, if none of them holds two rows of it.
    pub(super) fn walk(&mut self, gather: &Gather, vectors: Range<u64>, inner: u64, memory: &Sram, touches: &mut Vec<Touch>) {
        let Self { slides, format, rows, positions, .. } = self;
        let slide = &slides[gather.slide];
        gather.positions(slide, *format, inner, positions);
        let subtracts = super::movement::subtracts(*format);
        let number = gather.vector + vectors.start;
        let (mut image, place) = (number / slide.vectors_of_image(), number % slide.vectors_of_image());
        let [mut down, mut across] = [place / slide.output[1], place % slide.output[1]];
        for _ in vectors {
            let corner = [down * slide.stride[0], across * slide.stride[1]];
            touches.push(match positions[..] {
                [only] => gather.touch_one(slide, memory, only, (image, corner), subtracts),
                _ => gather.touch_all(slide, memory, positions, (image, corner), subtracts, rows),
            });
            across += 1;
            if across == slide.output[1] {
                (down, across) = (down + 1, 0);
                if down == slide.output[0] {
                    (image, down) = (image + 1, 0);
                }
            }
        }
    }

    /// Gathers `vectors` vectors of `inner` elements into the line buffers, padding being `pad`; where they lie.
    pub(super) fn fill(
        &mut self,
        shared: &mut Shared<'_>,
        gather: &Gather,
        (vectors, inner): (usize, usize),
        form: Form,
        pad: i16,
    ) -> (Place, u64) {
        let Self { slides, format, row, packed, .. } = self;
        let slide = &slides[gather.slide];
        let pad = if *format == Dtype::Binary { gather.border } else { pad };
        packed.clear();
        let memory = shared.sram_ref(gather.place);
        let fetch = |vector: usize, range: Range<usize>, row: &mut [i16]| {
            row.fill(pad);
            let vector = vector as u64..vector as u64 + 1;
            gather.pieces(slide, vector, range.start as u64..range.end as u64, |_, address, piece| {
                let [_, end] = bytes_of(*format, piece.channel, piece.count);
                let at = size(piece.at);
                unpack(*format, memory.read(address, end), size(piece.channel), &mut row[at..at + size(piece.count)]);
            });
        };
        match form {
            Form::Vectors => {
                row.resize(inner, 0);
                for vector in 0..vectors {
                    fetch(vector, 0..inner, row);
                    pack_onto(*format, row.iter().copied(), packed);
                }
            }
            Form::Panel { depth } => {
                // Past the end of K nothing counts; what lies there is whatever a panel is filled up with.
                row.resize(vectors * depth, 0);
                let filler = if *format == Dtype::Binary { -1 } else { 0 };
                for first in (0..inner).step_by(depth) {
                    row.fill(filler);
                    let end = inner.min(first + depth);
                    for (vector, row) in row.chunks_exact_mut(depth).enumerate() {
                        fetch(vector, first..end, &mut row[..end - first]);
                    }
                    pack_onto(*format, row.iter().copied(), packed);
                }
            }
        }
        let bytes = packed.len() as u64;
        if self.next + bytes > self.capacity {
            self.next = 0;
        }
        let address = self.next;
        shared.sram(self.buffers).write(address, bytes).copy_from_slice(packed);
        self.next += bytes;
        (self.buffers, address)
    }
}

impl Gather {
    /// The elements of the filter that a vector of `inner` elements reads from.
    fn positions(&self, slide: &Slide, format: Dtype, inner: u64, positions: &mut Vec<Position>) {
        positions.clear();
        let Planes { block, bytes } = self.planes;
        let (mut k, end) = (self.inner, self.inner + inner);
        while k < end {
            let (position, channel) = (k / slide.channels, k % slide.channels);
            // Where channels lie in planes, a position's are of one plane.
            let elements = (block - channel % block).min(slide.channels - channel).min(end - k);
            let plane = channel / block * bytes;
            let at = [position / slide.filter[1] * slide.dilation[0], position % slide.filter[1] * slide.dilation[1]];
            positions.push(Position { at, elements, bytes: bytes_of(format, channel % block, elements).map(|byte| plane + byte) });
            k += elements;
        }
    }

    /// The address of the pixel at which an element of a filter lies, whose corner is there in an image; none where that is padding.
    #[inline]
    fn pixel(&self, slide: &Slide, at: [u64; 2], (image, corner): (u64, [u64; 2])) -> Option<u64> {
        // What is above or to the left of the image wraps around to far more than its size.
        let row = (corner[0] + at[0]).wrapping_sub(slide.padding[0]);
        let column = (corner[1] + at[1]).wrapping_sub(slide.padding[1]);
        if row >= slide.input[0] || column >= slide.input[1] {
            return None;
        }
        let pixel = (image * slide.input[0] + row) * slide.input[1] + column;
        let pixel = if pixel < self.ring { pixel } else { pixel % self.ring };
        Some(self.address + pixel * self.pitch)
    }

    /// What a vector touches that reads from one element of the filter.
    #[inline]
    fn touch_one(&self, slide: &Slide, memory: &Sram, only: Position, place: (u64, [u64; 2]), subtracts: bool) -> Touch {
        let Position { at, elements, bytes: [first, end] } = only;
        let Some(address) = self.pixel(slide, at, place) else { return Touch { banks: Some(0), amount: Amount::default() } };
        // Rows that lie side by side are each another one.
        let banks = memory.banks_of(address + first, end - first);
        let rows = banks.map_or(0, |banks| u64::from(banks.count_ones()));
        Touch { banks, amount: Amount { rows, bytes: end - first, elements, subtracts: if subtracts { elements } else { 0 } } }
    }

    /// The same of one that reads from several.
    fn touch_all(
        &self,
        slide: &Slide,
        memory: &Sram,
        positions: &[Position],
        place: (u64, [u64; 2]),
        subtracts: bool,
        rows: &mut Vec<u64>,
    ) -> Touch {
        let mut amount = Amount::default();
        let mut banks = 0;
        rows.clear();
        for Position { at, elements, bytes: [first, end] } in positions {
            let Some(address) = self.pixel(slide, *at, place) else { continue };
            amount.elements += elements;
            amount.bytes += end - first;
            for row in memory.row_of(address + first)..=memory.row_of(address + end - 1) {
                let bank = 1 << memory.bank_of(row);
                if banks & bank == 0 {
                    rows.push(row);
                } else if !rows.contains(&row) {
                    return Touch { banks: None, amount: Amount::default() };
                }
                banks |= bank;
            }
        }
        amount.rows = rows.len() as u64;
        amount.subtracts = if subtracts { amount.elements } else { 0 };
        Touch { banks: Some(banks), amount }
    }

    /// Shows elements `inner` of some vectors, both counted from the command's first: for each piece its vector and its pixel's address. Where
    /// channels lie in planes, a piece is of one plane and its channel that of the block.
    fn pieces(&self, slide: &Slide, vectors: Range<u64>, inner: Range<u64>, mut see: impl FnMut(u64, u64, Piece)) {
        let Planes { block, bytes } = self.planes;
        for vector in vectors {
            slide.pieces(self.vector + vector, self.inner + inner.start..self.inner + inner.end, |piece| {
                let address = self.address + piece.pixel % self.ring * self.pitch;
                let (mut channel, end) = (piece.channel, piece.channel + piece.count);
                while channel < end {
                    let count = (block - channel % block).min(end - channel);
                    let part = Piece { channel: channel % block, at: piece.at + (channel - piece.channel), count, ..piece };
                    see(vector, address + channel / block * bytes, part);
                    channel += count;
                }
            });
        }
    }
}

/// The bytes of a pixel that hold some of its channels.
fn bytes_of(format: Dtype, channel: u64, count: u64) -> [u64; 2] {
    [channel * u64::from(format.bits()) / 8, format.packed_bytes(channel + count)]
}

impl Pass {
    /// Whether its activations lie as images.
    pub(super) fn gathers(&self) -> bool {
        self.gather.is_some()
    }
}
