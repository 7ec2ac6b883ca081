//! What moves into and out of the array in one of its cycles, with its counts: a vector, a row of a tile, a row of sums.

use super::{ACTIVATION_REGISTER_BITS, Array, Datapath, WEIGHT_REGISTER_BITS, rows_touched};
use crate::program::Place;
use crate::sim::memory::{load_sum, size, store_sum};
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
        actions.register_bits += size * self.shape.row_hop as u64 * self.psum_bits;
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
        let add = |held: &mut [u8], addend: i64| store_sum(held, rule.update(load_sum(held), addend));
        let element = size(width);
        match &mut self.datapath {
            Datapath::Stepped(mesh) => {
                let entered = pass.start + vector;
                for (col, held) in memory.write(address, bytes).chunks_exact_mut(element).enumerate() {
                    #[expect(clippy::cast_possible_truncation, reason = "a sum inside a pass is whole and below 2^24")]
                    let addend = mesh.sum(entered, col) as i64;
                    add(held, addend);
                }
            }
            Datapath::Wavefront(products) if vector + 1 == pass.vectors => {
                let size = (pass.rows as usize, pass.cols as usize);
                let (scratchpads, accumulator) = (&shared.scratchpads, &mut shared.accumulator);
                let streamed = &scratchpads[scratchpad_index(pass.place)];
                products.pass(
                    pass.tile,
                    size,
                    pass.vectors,
                    pass.zero_point,
                    |vector, take| take(streamed.read(pass.stream + vector * pass.stream_stride, u64::from(pass.rows))),
                    |vector, sums| {
                        let row = accumulator.write(pass.result + vector * pass.result_stride, bytes);
                        row.chunks_exact_mut(element).zip(sums).for_each(|(held, sum)| add(held, i64::from(*sum)));
                    },
                );
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

fn scratchpad_index(place: Place) -> usize {
    match place {
        Place::Scratchpad(_, index) => index as usize,
        Place::Accumulator(_) | Place::Dram => unreachable!("bug: the verifier lets vectors stream from scratchpads only"),
    }
}
