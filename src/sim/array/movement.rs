//! What moves into and out of the array in one of its cycles, by memory row; and what a load or a pass counts, once, when it enters.

use super::drives::leaving_lines;
use super::operands::Panel;
use super::{Array, Load, Loaded, Pass, Sums, Use, Work};
use crate::chip::Stationary;
use crate::counts::Operand;
use crate::numerics::Dtype;
use crate::program::{Place, gcd};
use crate::sim::queue::Shared;

impl Array<'_> {
    /// Lists the memory rows that the array's cycle needs; what it reads through windows is noted with them.
    pub(super) fn claim(&mut self, shared: &Shared<'_>) {
        let mode = self.operands.mode;
        if let (Some(step), Some(pass)) = (self.entering(), self.passes.back()) {
            match pass.work {
                Work::Vectors { place, stream, stride, inner } => {
                    if let Some(gather) = &pass.gather {
                        let elements = (step..step + 1, 0..inner as u64);
                        self.windows.claim(shared, &mut self.claims, pass.ending.tag, gather, elements);
                    } else {
                        self.claims.add(shared, place, stream + step * stride, mode.vector_bytes(inner as u64), Use::Access);
                    }
                }
                Work::Product { activation_place, activation, weight_place, weight } => {
                    let (bytes, inner) = (mode.activation_step_bytes(activation.width as u64), activation.inner as u64);
                    for panel_step in self.activation_steps(activation, step) {
                        if let Some(gather) = &pass.gather {
                            let depth = mode.activation_steps(inner).1;
                            let elements = (0..activation.width as u64, panel_step * depth..inner.min((panel_step + 1) * depth));
                            self.windows.claim(shared, &mut self.claims, pass.ending.tag, gather, elements);
                        } else {
                            let address = activation.address + panel_step * activation.stride;
                            self.claims.add(shared, activation_place, address, bytes, Use::Access);
                        }
                    }
                    let bytes = mode.weight_step_bytes(weight.width as u64);
                    self.claims.add(shared, weight_place, weight.address + step * weight.stride, bytes, Use::Access);
                }
            }
        }
        let rows = self.loading();
        match self.load.as_ref().map(|load| load.what) {
            Some(Loaded::Tile { ending, panel, gather: Some(gather), .. }) => {
                let (lanes, inner) = (u64::from(mode.lanes), panel.inner as u64);
                for row in rows {
                    let elements = (0..panel.width as u64, row * lanes..inner.min((row + 1) * lanes));
                    self.windows.claim(shared, &mut self.claims, ending.tag, &gather, elements);
                }
            }
            Some(Loaded::Tile { place, panel, .. }) => {
                for row in rows {
                    let bytes = mode.tile_row_bytes(panel.width as u64);
                    self.claims.add(shared, place, panel.address + row * panel.stride, bytes, Use::Access);
                }
            }
            Some(Loaded::Biases(sums)) if sums.accumulate => {
                for row in rows {
                    for (address, bytes) in bias_row(&sums, mode.drains_columns, row, self.columns_of_next_pass(), self.element_bytes) {
                        self.claims.add(shared, sums.place, address, bytes, Use::Access);
                    }
                }
            }
            _ => {}
        }
        if let (Some(exit), Some(pass)) = (self.leaving(), self.passes.front()) {
            let (lines, purpose) = self.lines_out(pass, exit);
            for line in lines {
                let address = pass.sums.address + line * pass.sums.stride;
                self.claims.add(shared, pass.sums.place, address, pass.sums.width * self.element_bytes, purpose);
            }
        }
    }

    /// The lines of sums that go into the accumulator in cycle `exit` of a pass's results, and how.
    fn lines_out(&self, pass: &Pass, exit: u64) -> (impl Iterator<Item = u64> + use<>, Use) {
        let sums_stay = self.timing.sums_stay();
        let count = if self.operands.mode.drains_columns { pass.cols } else { pass.rows };
        let staying = leaving_lines(pass, count, exit).map(|line| line as u64).filter(move |_| sums_stay);
        let moving = Some(exit).filter(|_| !sums_stay).into_iter();
        // Biases that took cycles to enter are in the sums already.
        let reads = pass.sums.accumulate && !(sums_stay && self.timing.load(self.timing.size(1, 1)) > 0);
        (staying.chain(moving), if reads { Use::Update } else { Use::Access })
    }

    /// The columns of the pass that the biases under way are for: the next to enter.
    fn columns_of_next_pass(&self) -> u64 {
        self.next_passes.front().map_or(0, |pass| pass.cols as u64)
    }

    /// The steps of an activation panel that step `step` of the array reads: its own, or with N:M sparsity the groups that it is the first
    /// to choose from.
    fn activation_steps(&self, panel: Panel, step: u64) -> std::ops::Range<u64> {
        let Some(group) = self.operands.mode.group else { return step..step + 1 };
        let (n, lanes) = (u64::from(group.n), u64::from(self.operands.mode.lanes));
        let begun = |slots: u64| slots.div_ceil(n);
        let groups = self.operands.mode.activation_steps(panel.inner as u64).0;
        begun(step * lanes).min(groups)..begun((step + 1) * lanes).min(groups)
    }

    /// Counts what a load does.
    pub(super) fn count_load(&self, shared: &mut Shared<'_>, load: &Load) {
        let mode = &self.operands.mode;
        match load.what {
            Loaded::Tile { ending, place, panel, gather, zero_point } => {
                let (tag, cols) = (ending.tag, panel.width as u64);
                let inner = panel.inner as u64;
                let kept = if mode.stationary == Stationary::Weight { mode.kept(inner) } else { inner };
                let width = if mode.stationary == Stationary::Weight { weight_bits(mode.weight) } else { activation_bits(mode.activation) };
                let lanes = u64::from(mode.lanes);
                let of_row = |row: u64| (row + 1) * lanes.min(kept - (row * lanes).min(kept));
                let hops = cols * (0..load.rows).map(of_row).sum::<u64>();
                let actions = shared.accounts.actions(tag);
                actions.register_bits += hops * self.shape.row_hop as u64 * width;
                if gather.is_some() {
                    // What is read is counted when it is.
                    return;
                }
                let bytes = mode.tile_row_bytes(cols);
                let port_rows = port_rows(shared, place, (panel.address, panel.stride, load.rows), bytes);
                let elements = kept * cols;
                let actions = shared.accounts.actions(tag);
                let is_subtracted = mode.stationary == Stationary::Input && subtracts(mode.activation) || zero_point != 0;
                actions.zero_point_subtracts += if is_subtracted { elements } else { 0 };
                shared.accounts.scratchpad_read(tag, place, port_rows);
                let operand = if mode.stationary == Stationary::Weight { Operand::Weight } else { Operand::Input };
                shared.accounts.traffic(tag).scratchpad.of_mut(operand).read += load.rows * bytes;
                shared.accounts.elements(tag).read(operand, elements);
            }
            Loaded::Biases(_) => {}
        }
    }

    /// Bits of a kept weight's place in its group.
    fn place_bits(&self) -> u64 {
        self.operands.mode.group.map_or(0, |group| u64::from(group.index_bits()))
    }
}

impl Array<'_> {
    /// Counts what a pass does.
    pub(super) fn count_pass(&mut self, shared: &mut Shared<'_>, pass: &Pass) {
        let mode = self.operands.mode;
        let tag = pass.ending.tag;
        let (array_rows, array_cols) = (self.shape.rows as u64, self.shape.cols as u64);
        let (row_hop, col_hop) = (self.shape.row_hop as u64, self.shape.col_hop as u64);
        let (rows, cols, steps) = (pass.rows as u64, pass.cols as u64, pass.steps);
        let sums_bits = self.accumulator_bits;
        let weight_width = weight_bits(mode.weight) + self.place_bits();
        match pass.work {
            Work::Vectors { place, stream, stride, inner } => {
                let inner = inner as u64;
                // With N:M sparsity a vector is whole groups, of which each PE takes what its weights are for.
                let kept = if mode.stationary == Stationary::Weight { mode.kept(inner) } else { inner };
                let weights_stay = mode.stationary == Stationary::Weight;
                let width = if weights_stay { activation_bits(mode.activation) } else { weight_bits(mode.weight) };
                let actions = shared.accounts.actions(tag);
                actions.macs += kept * cols * steps;
                actions.register_bits += steps * (inner * array_cols * col_hop * width + array_rows * array_cols * row_hop * sums_bits);
                // What is gathered is counted when it is read.
                if !pass.gathers() {
                    let bytes = mode.vector_bytes(inner);
                    let port_rows = port_rows(shared, place, (stream, stride, steps), bytes);
                    let subtracts = weights_stay && subtracts(mode.activation);
                    shared.accounts.actions(tag).zero_point_subtracts += if subtracts { inner * steps } else { 0 };
                    shared.accounts.scratchpad_read(tag, place, port_rows);
                    let operand = if weights_stay { Operand::Input } else { Operand::Weight };
                    shared.accounts.traffic(tag).scratchpad.of_mut(operand).read += bytes * steps;
                    shared.accounts.elements(tag).read(operand, inner * steps);
                }
            }
            Work::Product { activation_place, activation, weight_place, weight } => {
                let inner = activation.inner as u64;
                let kept = mode.kept(inner);
                let (panel_steps, _) = mode.activation_steps(inner);
                let (wide, tall) = (mode.activation_step_bytes(rows), mode.weight_step_bytes(cols));
                let read = |place, panel: Panel, steps, bytes| port_rows(shared, place, (panel.address, panel.stride, steps), bytes);
                // What is gathered is counted when it is read.
                let side_by_side = u64::from(!pass.gathers());
                let activation_rows = if pass.gathers() { 0 } else { read(activation_place, activation, panel_steps, wide) };
                let weight_rows = read(weight_place, weight, steps, tall);
                // Each sum goes through the registers between its PE and the side that it leaves by, each bias the way that it came.
                let chain = |count: u64, length: u64, hop: u64| hop * (0..count).map(|place| length - place).sum::<u64>();
                let leaves = match (pass.drain, mode.drains_columns) {
                    (0, _) => 0,
                    (_, false) => cols * chain(rows, array_rows, row_hop),
                    (_, true) => rows * chain(cols, array_cols, col_hop),
                };
                let enters = if self.preloads() { cols * chain(rows, rows, row_hop) } else { 0 };
                let actions = shared.accounts.actions(tag);
                actions.macs += rows * cols * kept;
                actions.zero_point_subtracts += if subtracts(mode.activation) { side_by_side * inner * rows } else { 0 };
                actions.register_bits += inner * rows * array_cols * col_hop * activation_bits(mode.activation)
                    + kept * cols * array_rows * row_hop * weight_width
                    + (leaves + enters) * sums_bits;
                if !pass.gathers() {
                    shared.accounts.scratchpad_read(tag, activation_place, activation_rows);
                }
                shared.accounts.scratchpad_read(tag, weight_place, weight_rows);
                let scratchpad = &mut shared.accounts.traffic(tag).scratchpad;
                scratchpad.input.read += side_by_side * panel_steps * wide;
                scratchpad.weight.read += steps * tall;
                let elements = shared.accounts.elements(tag);
                elements.read(Operand::Input, side_by_side * inner * rows);
                elements.read(Operand::Weight, kept * cols);
            }
        }
        self.count_sums(shared, pass);
        if self.zero_gating && self.drive.has_numbers() {
            let real = self.nonzero_products(shared, pass);
            let actions = shared.accounts.actions(tag);
            let kept = if mode.stationary == Stationary::Input { pass.inner() } else { mode.kept(pass.inner()) };
            let vectors = if self.timing.sums_stay() { rows } else { steps };
            actions.macs_gated += kept * cols * vectors - real;
        }
    }

    /// Counts what a pass reads from and writes into the accumulator.
    fn count_sums(&self, shared: &mut Shared<'_>, pass: &Pass) {
        let tag = pass.ending.tag;
        let lines = match (self.timing.sums_stay(), self.operands.mode.drains_columns) {
            (false, _) => pass.steps,
            (true, false) => pass.rows as u64,
            (true, true) => pass.cols as u64,
        };
        let bytes = pass.sums.width * self.element_bytes;
        let rows = port_rows(shared, pass.sums.place, (pass.sums.address, pass.sums.stride, lines), bytes);
        let reads = u64::from(pass.sums.accumulate);
        // Biases that enter ahead are read by array row, which is no line where sums leave by columns: element by element.
        let by_element = |line: u64| {
            let first = pass.sums.address + line * pass.sums.stride;
            port_rows(shared, pass.sums.place, (first, self.element_bytes, pass.rows as u64), self.element_bytes)
        };
        let read_rows = if self.preloads() && self.operands.mode.drains_columns { (0..lines).map(by_element).sum() } else { rows };
        let actions = shared.accounts.actions(tag);
        actions.accumulator_reads += reads * read_rows;
        actions.accumulator_writes += rows;
        let psum = &mut shared.accounts.traffic(tag).accumulator.psum;
        psum.read += reads * lines * bytes;
        psum.write += lines * bytes;
        shared.accounts.elements(tag).output_writes += lines * pass.sums.width;
    }

    /// Whether biases take cycles to enter before a pass.
    fn preloads(&self) -> bool {
        self.timing.sums_stay() && self.timing.load(self.timing.size(1, 1)) > 0
    }

    /// Products of a pass of which neither factor is zero.
    fn nonzero_products(&mut self, shared: &Shared<'_>, pass: &Pass) -> u64 {
        match pass.work {
            Work::Vectors { place, stream, stride, inner } => {
                let memory = shared.sram_ref(place);
                let bytes = self.operands.mode.vector_bytes(inner as u64);
                let held = self.held_nonzeros.clone();
                (0..pass.steps)
                    .map(|step| {
                        let vector = self.operands.vector_elements(memory.read(stream + step * stride, bytes), inner, pass.zero_point);
                        vector.iter().zip(&held).map(|(element, count)| if *element == 0 { 0 } else { *count }).sum::<u64>()
                    })
                    .sum()
            }
            Work::Product { activation_place, activation, weight_place, weight } => {
                let (activations, weights) = (shared.sram_ref(activation_place), shared.sram_ref(weight_place));
                let part = self.operands.part();
                let mut sum = 0;
                for first in (0..activation.inner).step_by(part) {
                    let range = first..activation.inner.min(first + part);
                    let mut rows = vec![0; range.len() * activation.width];
                    let mut dense = vec![0; range.len() * weight.width];
                    self.operands.activation_rows(activations, activation, pass.zero_point, range.clone(), &mut rows);
                    self.operands.dense_weights(weights, weight, range.clone(), &mut dense);
                    for (k, weights) in dense.chunks_exact(weight.width).enumerate() {
                        let weights = weights.iter().filter(|weight| **weight != 0).count() as u64;
                        let activations = rows[k..].iter().step_by(range.len()).filter(|element| **element != 0).count() as u64;
                        sum += weights * activations;
                    }
                }
                sum
            }
        }
    }
}

impl Pass {
    /// Elements of K.
    fn inner(&self) -> u64 {
        match self.work {
            Work::Vectors { inner, .. } => inner as u64,
            Work::Product { activation, .. } => activation.inner as u64,
        }
    }
}

/// The parts of the accumulator that hold the biases of array row `row`: a line, or an element of each.
fn bias_row(sums: &Sums, by_columns: bool, row: u64, cols: u64, element: u64) -> impl Iterator<Item = (u64, u64)> + use<> {
    let Sums { address, stride, width, .. } = *sums;
    let lines = if by_columns { 0..cols } else { row..row + 1 };
    lines.map(
        move |line| {
            if by_columns { (address + line * stride + row * element, element) } else { (address + line * stride, width * element) }
        },
    )
}

/// Rows of a memory's port that `count` accesses of `bytes` bytes touch, the first at `address`, each `stride` bytes behind the one before.
fn port_rows(shared: &Shared<'_>, place: Place, (address, stride, count): (u64, u64, u64), bytes: u64) -> u64 {
    let memory = shared.sram_ref(place);
    let touched = |number: u64| {
        let first = address + number * stride;
        rows_touched(memory.row_of(first), memory.row_of(first + bytes - 1))
    };
    // Where accesses lie in a row repeats, and so does how many rows each touches.
    let period = memory.port() / gcd(memory.port(), stride % memory.port());
    let sum = |count: u64| (0..count).map(touched).sum::<u64>();
    if count <= period { sum(count) } else { count / period * sum(period) + sum(count % period) }
}

/// How many rows lie from one to another, both included.
pub(in crate::sim) fn rows_touched(first: u64, last: u64) -> u64 {
    last - first + 1
}

/// Whether the array's edge subtracts a zero point from activations of this format.
pub(super) fn subtracts(activation: Dtype) -> bool {
    !matches!(activation, Dtype::Binary | Dtype::Int16)
}

/// Bits of an activation register: one more than the format's where the edge has subtracted the zero point.
fn activation_bits(activation: Dtype) -> u64 {
    u64::from(activation.bits()) + u64::from(subtracts(activation))
}

/// Bits of a weight register.
fn weight_bits(weight: Dtype) -> u64 {
    u64::from(weight.bits())
}
