//! What moves into and out of the array in one of its cycles, with its counts: a vector, a row of a tile, a row of sums.

use super::products::Stream;
use super::{ACTIVATION_REGISTER_BITS, Array, Datapath, Pass, WEIGHT_REGISTER_BITS, rows_touched};
use crate::numerics::AccumulateRule;
use crate::program::Place;
use crate::sim::memory::{Sram, load_sum, size, store_sum};
use crate::sim::queue::Shared;

impl Array<'_> {
    pub(super) fn enter_vector(&mut self, shared: &mut Shared<'_>, vector: u64) {
        let Some(pass) = self.passes.back() else { return };
        let rows = u64::from(pass.rows);
        let memory = shared.sram(pass.place);
        let address = pass.stream + vector * pass.stream_stride;
        if let Datapath::Stepped(mesh) = &mut self.datapath {
            for (row, byte) in memory.read(address, rows).iter().enumerate() {
                mesh.element(row, f32::from(i16::from(i8::from_le_bytes([*byte])) - pass.zero_point));
            }
        }
        let port_rows = rows_touched(memory.row_of(address), memory.row_of(address + rows - 1));
        let tag = pass.ending.tag;
        let (size, cols) = (self.shape.rows as u64 * self.shape.cols as u64, self.shape.cols as u64);
        let actions = shared.accounts.actions(tag);
        actions.macs += rows * u64::from(pass.cols);
        actions.zero_point_subtracts += rows;
        actions.register_bits += rows * cols * self.shape.col_hop as u64 * ACTIVATION_REGISTER_BITS;
        actions.register_bits += size * self.shape.row_hop as u64 * u64::from(self.rule.bits);
        shared.accounts.scratchpad_read(tag, pass.place, port_rows);
        shared.accounts.traffic(tag).scratchpad.input.read += rows;
    }

    pub(super) fn load_row(&mut self, shared: &mut Shared<'_>, row: u64) {
        let Some(load) = &self.load else { return };
        let cols = u64::from(load.cols);
        let address = load.address + row * load.stride;
        let memory = shared.sram(load.place);
        let bytes = memory.read(address, cols);
        let index = usize::try_from(row).expect("bug: a tile has no more rows than the array");
        match &mut self.datapath {
            Datapath::Stepped(mesh) => {
                for (weight, byte) in mesh.tile_row(load.tile, index).iter_mut().zip(bytes) {
                    *weight = f32::from(i8::from_le_bytes([*byte]));
                }
            }
            Datapath::Wavefront(products) => products.load_row(load.tile, index, bytes),
        }
        let port_rows = rows_touched(memory.row_of(address), memory.row_of(address + cols - 1));
        let tag = load.ending.tag;
        shared.accounts.actions(tag).register_bits += (row + 1) * cols * self.shape.row_hop as u64 * WEIGHT_REGISTER_BITS;
        shared.accounts.scratchpad_read(tag, load.place, port_rows);
        shared.accounts.traffic(tag).scratchpad.weight.read += cols;
    }

    pub(super) fn accumulate(&mut self, shared: &mut Shared<'_>, vector: u64) {
        let Some(pass) = self.passes.front() else { return };
        let width = self.element_bytes;
        let address = pass.result + vector * pass.result_stride;
        let bytes = u64::from(pass.cols) * width;
        let memory = &mut shared.accumulator;
        let port_rows = rows_touched(memory.row_of(address), memory.row_of(address + bytes - 1));
        let rule = self.rule;
        let element = size(width);
        match &mut self.datapath {
            Datapath::Stepped(mesh) => {
                let entered = pass.start + vector;
                for (col, held) in memory.write(address, bytes).chunks_exact_mut(element).enumerate() {
                    #[expect(clippy::cast_possible_truncation, reason = "a sum inside a pass is whole and below 2^24")]
                    let addend = mesh.sum(entered, col) as i64;
                    store_sum(held, rule.update(load_sum(held), addend));
                }
            }
            Datapath::Wavefront(products) if vector + 1 == pass.vectors => {
                let streamed = &shared.scratchpads[scratchpad_index(pass.place)];
                let mut stream = PassStream { pass, streamed, accumulator: &mut shared.accumulator, rule, element };
                let filled = (pass.rows as usize, pass.cols as usize);
                products.pass(pass.tile, filled, pass.vectors, pass.zero_point, &mut stream);
            }
            Datapath::Wavefront(_) => {}
        }
        let actions = shared.accounts.actions(pass.ending.tag);
        actions.accumulator_reads += port_rows;
        actions.accumulator_writes += port_rows;
        let psum = &mut shared.accounts.traffic(pass.ending.tag).accumulator.psum;
        psum.read += bytes;
        psum.write += bytes;
    }
}

/// A pass's vectors in their scratchpad and its sums in the accumulator.
struct PassStream<'a> {
    pass: &'a Pass,
    streamed: &'a Sram,
    accumulator: &'a mut Sram,
    rule: AccumulateRule,
    /// Bytes of a sum.
    element: usize,
}

impl Stream for PassStream<'_> {
    fn vector(&self, number: u64) -> &[u8] {
        self.streamed.read(self.pass.stream + number * self.pass.stream_stride, u64::from(self.pass.rows))
    }

    fn take(&mut self, number: u64, sums: &[i32]) {
        let bytes = (sums.len() * self.element) as u64;
        let row = self.accumulator.write(self.pass.result + number * self.pass.result_stride, bytes);
        for (held, sum) in row.chunks_exact_mut(self.element).zip(sums) {
            store_sum(held, self.rule.update(load_sum(held), i64::from(*sum)));
        }
    }
}

fn scratchpad_index(place: Place) -> usize {
    match place {
        Place::Scratchpad(_, index) => index as usize,
        Place::Accumulator(_) | Place::Dram => unreachable!("bug: the verifier lets vectors stream from scratchpads only"),
    }
}
