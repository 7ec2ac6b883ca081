//! Operands as they come out of the memories: packed elements into the numbers that PEs see.

use crate::chip::Stationary;
use crate::numerics::Dtype;
use crate::numerics::kernel::transpose_i16;
use crate::numerics::packed::{number, unpack, unpack_rows, unpack_shifted};
use crate::program::ArrayMode;
use crate::sim::memory::{Sram, size};
use std::ops::Range;

/// Where a panel lies: a step each `stride` bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Panel {
    pub(super) address: u64,
    pub(super) stride: u64,
    /// Elements of K that it covers.
    pub(super) inner: usize,
    /// Rows or columns of the array that it fills.
    pub(super) width: usize,
}

/// Rows of elements in a memory; at least one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rows {
    pub(super) address: u64,
    pub(super) stride: u64,
    pub(super) width: usize,
    pub(super) count: usize,
}

/// Unpacks operands, with room for one step.
#[derive(Debug)]
pub(super) struct Operands {
    pub(super) mode: ArrayMode,
    lanes: usize,
    step: Vec<i16>,
    /// What enters the array's rows, and its columns, in one cycle: rows or columns x depth.
    across: Vec<i16>,
    down: Vec<i16>,
    /// A part of a panel, K x rows.
    part: Vec<i16>,
    /// What enters in a block of cycles, as it lies and the other way round.
    rows: Vec<i16>,
    turned: Vec<i16>,
}

impl Operands {
    pub(super) fn new(mode: ArrayMode) -> Self {
        let lanes = mode.lanes as usize;
        let widest = mode.size.rows.max(mode.size.cols) as usize;
        let depth = mode.group.map_or(lanes, |group| lanes.max(group.m as usize));
        let wide = mode.depth() as usize;
        Self {
            mode,
            lanes,
            step: vec![0; widest * depth],
            across: vec![0; widest * wide],
            down: vec![0; widest * wide],
            part: Vec::new(),
            rows: Vec::new(),
            turned: Vec::new(),
        }
    }

    /// As [`ArrayMode::depth`].
    pub(super) fn depth(&self) -> usize {
        self.mode.depth() as usize
    }

    /// Whether a step of a panel is a row of K as it lies: one lane, nothing left out.
    pub(super) fn is_plain(&self) -> bool {
        self.lanes == 1 && self.mode.group.is_none()
    }

    /// Calls `set(step, depth, column, k, value)` for each weight of a panel's steps, its place in the PE's depth and its row of K.
    pub(super) fn weights(&mut self, memory: &Sram, panel: Panel, steps: Range<u64>, mut set: impl FnMut(usize, usize, usize, usize, i16)) {
        let bytes_per_step = self.mode.weight_step_bytes(panel.width as u64);
        let count = panel.width * self.lanes;
        for step in steps {
            let bytes = memory.read(panel.address + step * panel.stride, bytes_per_step);
            unpack(self.mode.weight, bytes, 0, &mut self.step[..count]);
            let places = &bytes[size(self.mode.weight.packed_bytes(count as u64))..];
            let step = size(step);
            for col in 0..panel.width {
                for lane in 0..self.lanes {
                    let element = col * self.lanes + lane;
                    let slot = step * self.lanes + lane;
                    let (depth, k) = match self.mode.group {
                        None => (lane, slot),
                        Some(group) => {
                            let (n, m) = (group.n as usize, group.m as usize);
                            let place = number(places, element, group.index_bits());
                            let first = slot / n * m;
                            // Slots past what the last, partial group keeps hold nothing.
                            if slot % n >= n.min(panel.inner.saturating_sub(first)) {
                                continue;
                            }
                            (lane * m + place, first + place)
                        }
                    };
                    if k < panel.inner {
                        set(step, depth, col, k, self.step[element]);
                    }
                }
            }
        }
    }

    /// Calls `set(row, depth, column, value)` for each element of a stationary tile.
    pub(super) fn held(&mut self, memory: &Sram, panel: Panel, zero_point: i16, mut set: impl FnMut(usize, usize, usize, i16)) {
        if self.mode.stationary == Stationary::Weight {
            let steps = self.mode.steps(panel.inner as u64);
            self.weights(memory, panel, 0..steps, |step, depth, col, _, value| set(step, depth, col, value));
        } else {
            self.held_activations(memory, panel, zero_point, |step, depth, col, _, value| set(step, depth, col, value));
        }
    }

    /// Calls `set(step, depth, column, k, value)` for each activation of a stationary tile.
    fn held_activations(&mut self, memory: &Sram, panel: Panel, zero_point: i16, mut set: impl FnMut(usize, usize, usize, usize, i16)) {
        let count = panel.width * self.lanes;
        let bytes = self.mode.activation.packed_bytes(count as u64);
        for step in 0..panel.inner.div_ceil(self.lanes) {
            let bytes = memory.read(panel.address + step as u64 * panel.stride, bytes);
            elements_of(self.mode.activation, bytes, zero_point, &mut self.step[..count]);
            for col in 0..panel.width {
                for lane in 0..self.lanes.min(panel.inner - step * self.lanes) {
                    set(step, lane, col, step * self.lanes + lane, self.step[col * self.lanes + lane]);
                }
            }
        }
    }

    /// One step of an activation panel, rows x depth of it, and that depth.
    pub(super) fn activation_step(&mut self, memory: &Sram, panel: Panel, step: u64, zero_point: i16) -> (&[i16], usize) {
        let (_, depth) = self.mode.activation_steps(panel.inner as u64);
        let count = panel.width * size(depth);
        let bytes = memory.read(panel.address + step * panel.stride, self.mode.activation_step_bytes(panel.width as u64));
        elements_of(self.mode.activation, bytes, zero_point, &mut self.step[..count]);
        (&self.step[..count], size(depth))
    }

    /// The elements of a vector, as they lie.
    pub(super) fn vector_elements(&mut self, bytes: &[u8], inner: usize, zero_point: i16) -> &[i16] {
        elements_of(self.mode.streamed(), bytes, zero_point, &mut self.down[..inner]);
        &self.down[..inner]
    }

    /// The elements of a vector that passes a tile of `inner` elements of K, as they enter: rows x depth, as far as there are any.
    pub(super) fn vector(&mut self, bytes: &[u8], inner: usize, zero_point: i16) -> &[i16] {
        let Some(group) = self.mode.group else {
            elements_of(self.mode.streamed(), bytes, zero_point, &mut self.across[..inner]);
            return &self.across[..inner];
        };
        // Every slot of a PE sees the whole group that it chooses from.
        let (n, m) = (group.n as usize, group.m as usize);
        let groups = inner.div_ceil(m);
        self.down[..groups * m].fill(0);
        elements_of(self.mode.streamed(), bytes, zero_point, &mut self.down[..inner]);
        for (slot, seen) in self.across.chunks_exact_mut(m).take(groups * n).enumerate() {
            seen.copy_from_slice(&self.down[slot / n * m..][..m]);
        }
        &self.across[..groups * n * m]
    }

    /// Rows of a memory that enter cycle after cycle, as they lie: `count` of `width` elements from `address` on, `stride` bytes apart.
    pub(super) fn rows(&mut self, memory: &Sram, dtype: Dtype, from: Rows, zero_point: i16) -> &[i16] {
        let Rows { address, stride, width, count } = from;
        let bytes = (count as u64 - 1) * stride + dtype.packed_bytes(width as u64);
        self.rows.resize(count * width, 0);
        unpack_rows(dtype, (memory.read(address, bytes), size(stride)), zero_point, width, &mut self.rows);
        &self.rows
    }

    /// The same, for each element its value in every row.
    pub(super) fn rows_turned(&mut self, memory: &Sram, dtype: Dtype, from: Rows, zero_point: i16) -> &[i16] {
        self.rows(memory, dtype, from, zero_point);
        self.turned.resize(from.count * from.width, 0);
        transpose_i16(&self.rows, from.count, from.width, &mut self.turned);
        &self.turned
    }

    /// Step `step` of a product as it enters: activations, rows x depth, and weights, columns x depth.
    pub(super) fn product_step(
        &mut self,
        (activations, activation): (&Sram, Panel),
        (weights, weight): (&Sram, Panel),
        zero_point: i16,
        step: u64,
    ) -> (&[i16], &[i16]) {
        if self.is_plain() {
            let (rows, cols) = (activation.width, weight.width);
            let bytes = activations.read(activation.address + step * activation.stride, self.mode.activation_step_bytes(rows as u64));
            elements_of(self.mode.activation, bytes, zero_point, &mut self.across[..rows]);
            let bytes = weights.read(weight.address + step * weight.stride, self.mode.weight_step_bytes(cols as u64));
            unpack(self.mode.weight, bytes, 0, &mut self.down[..cols]);
            return (&self.across[..rows], &self.down[..cols]);
        }
        let depth = self.depth();
        let mut across = std::mem::take(&mut self.across);
        let mut down = std::mem::take(&mut self.down);
        let (rows, cols) = (activation.width * depth, weight.width * depth);
        across[..rows].fill(0);
        down[..cols].fill(0);
        match self.mode.group {
            None => {
                // What lies past the end of K counts for nothing.
                let valid = self.lanes.min(activation.inner - size(step) * self.lanes);
                let (elements, _) = self.activation_step(activations, activation, step, zero_point);
                for (seen, elements) in across.chunks_exact_mut(depth).zip(elements.chunks_exact(depth)) {
                    seen[..valid].copy_from_slice(&elements[..valid]);
                }
            }
            Some(group) => {
                let (n, m) = (group.n as usize, group.m as usize);
                for lane in 0..self.lanes {
                    let number = (size(step) * self.lanes + lane) / n;
                    if number * m >= activation.inner {
                        continue;
                    }
                    let valid = m.min(activation.inner - number * m);
                    let (elements, _) = self.activation_step(activations, activation, number as u64, zero_point);
                    for (seen, elements) in across.chunks_exact_mut(depth).zip(elements.chunks_exact(m)) {
                        seen[lane * m..lane * m + valid].copy_from_slice(&elements[..valid]);
                    }
                }
            }
        }
        self.weights(weights, weight, step..step + 1, |_, element, col, _, value| down[col * depth + element] = value);
        (self.across, self.down) = (across, down);
        (&self.across[..rows], &self.down[..cols])
    }

    /// The tile that a load brings as K x columns, what it does not hold being 0.
    pub(super) fn tile(&mut self, memory: &Sram, panel: Panel, zero_point: i16, dense: &mut [i16]) {
        let weights_stay = self.mode.stationary == Stationary::Weight;
        // Activations are whole whatever is left out of the weights.
        if self.is_plain() || self.lanes == 1 && !weights_stay {
            plain_rows(memory, panel, self.mode.held(), zero_point, dense);
        } else if weights_stay {
            self.dense_weights(memory, panel, 0..panel.inner, dense);
        } else {
            let width = panel.width;
            self.held_activations(memory, panel, zero_point, |_, _, col, k, value| dense[k * width + col] = value);
        }
    }

    /// For each element of K of a stationary tile, the columns in which it is not zero.
    pub(super) fn nonzeros(&mut self, memory: &Sram, panel: Panel, zero_point: i16, counts: &mut Vec<u64>) {
        let mut dense = vec![0; panel.inner * panel.width];
        self.tile(memory, panel, zero_point, &mut dense);
        counts.clear();
        counts.extend(dense.chunks_exact(panel.width).map(|row| row.iter().filter(|value| **value != 0).count() as u64));
    }

    /// Part `range` of K of a weight panel as K x columns, what it does not hold being 0. The part begins on a whole step and a whole group.
    pub(super) fn dense_weights(&mut self, memory: &Sram, panel: Panel, range: Range<usize>, dense: &mut [i16]) {
        let steps = self.mode.steps(range.start as u64)..self.mode.steps(range.end as u64);
        let width = panel.width;
        if self.is_plain() {
            let part = Panel { address: panel.address + steps.start * panel.stride, ..panel };
            return plain_rows(memory, part, self.mode.weight, 0, dense);
        }
        dense.fill(0);
        self.weights(memory, panel, steps, |_, _, col, k, value| dense[(k - range.start) * width + col] = value);
    }

    /// Part `range` of K of a weight panel as it lies, where that is rows of 8-bit numbers: its bytes, and from a row to the next.
    pub(super) fn plain_int8<'m>(&self, memory: &'m Sram, panel: Panel, range: Range<usize>) -> Option<(&'m [u8], usize)> {
        if self.mode.weight != Dtype::Int8 || !self.is_plain() {
            return None;
        }
        let bytes = (range.len() as u64 - 1) * panel.stride + panel.width as u64;
        Some((memory.read(panel.address + range.start as u64 * panel.stride, bytes), size(panel.stride)))
    }

    /// Part `range` of K of an activation panel as rows x K. The part begins on a whole step.
    pub(super) fn activation_rows(&mut self, memory: &Sram, panel: Panel, zero_point: i16, range: Range<usize>, rows: &mut [i16]) {
        let steps = |inner: usize| self.mode.activation_steps(inner as u64).0;
        let inner = range.len();
        if self.is_plain() {
            let part = Panel { address: panel.address + range.start as u64 * panel.stride, ..panel };
            self.part.resize(inner * panel.width, 0);
            plain_rows(memory, part, self.mode.activation, zero_point, &mut self.part);
            return transpose_i16(&self.part, inner, panel.width, rows);
        }
        for step in steps(range.start)..steps(range.end) {
            let (elements, depth) = self.activation_step(memory, panel, step, zero_point);
            let first = size(step) * depth;
            let count = depth.min(range.end - first);
            for (row, elements) in elements.chunks_exact(depth).enumerate() {
                rows[row * inner + first - range.start..][..count].copy_from_slice(&elements[..count]);
            }
        }
    }

    /// The K that a large pass is computed by at a time: whole steps and whole groups.
    pub(super) fn part(&self) -> usize {
        const PART: usize = 1024;
        PART.next_multiple_of(self.lanes * self.mode.group.map_or(1, |group| group.m as usize))
    }
}

/// A panel of one lane: its steps are rows of K.
fn plain_rows(memory: &Sram, panel: Panel, dtype: Dtype, zero_point: i16, dense: &mut [i16]) {
    let bytes = dtype.packed_bytes(panel.width as u64);
    for (step, row) in (0..).zip(dense.chunks_exact_mut(panel.width)) {
        elements_of(dtype, memory.read(panel.address + step * panel.stride, bytes), zero_point, row);
    }
}

/// The elements of a row, less the zero point.
#[inline]
pub(super) fn elements_of(dtype: Dtype, bytes: &[u8], zero_point: i16, elements: &mut [i16]) {
    if zero_point == 0 { unpack(dtype, bytes, 0, elements) } else { unpack_shifted(dtype, bytes, 0, zero_point, elements) }
}
