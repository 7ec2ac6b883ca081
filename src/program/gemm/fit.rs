//! How a matrix product fits a chip's memories: the largest blocks, double buffers where there is room for them.

use super::super::{Address, Ring};
use super::{Gemm, LayoutError};
use crate::chip::{Chip, Scratchpad, Stationary};

/// More sets of sums than this never help: one fills while one empties.
const MAX_SUM_SLOTS: u64 = 4;

/// How a product lies in the memories of a chip.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fit {
    /// Vectors (rows of activations where sums stay) of a block.
    pub(super) block: u64,
    /// What streams: blocks in the ring, bytes of one, bytes from a vector (or a panel) to the next.
    pub(super) stream: Ringed,
    pub(super) stream_pitch: u64,
    /// What stays, or panels of weights: bytes from a step to the next.
    pub(super) held: Ringed,
    pub(super) held_pitch: u64,
    /// Sums: bytes from a line to the next.
    pub(super) sums: Ringed,
    pub(super) line_pitch: u64,
}

/// A circular buffer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ringed {
    pub(super) address: u64,
    pub(super) slots: u64,
    pub(super) slot: u64,
}

impl Ringed {
    /// The slot of piece `number`, which moves by `steps` pieces with each iteration of the loops around it, the outermost first.
    pub(super) fn at(&self, number: u64, steps: &[u64]) -> Address {
        let mut ring = Ring::new(self.slots, self.slot, number);
        for (depth, step) in steps.iter().enumerate() {
            ring = ring.step(depth, step * self.slot);
        }
        Address { ring: Some(ring), ..Address::at(self.address) }
    }
}

impl Fit {
    /// The largest blocks that fit, with double buffers if anything fits with them.
    pub(super) fn of(gemm: &Gemm, chip: &Chip) -> Result<Self, LayoutError> {
        let layout = &gemm.layout;
        let (stream_pad, held_pad) = gemm.pads();
        let (stream, held) = (&chip.scratchpads()[stream_pad as usize], &chip.scratchpads()[held_pad as usize]);
        let field = |pad: u32| format!("scratchpads.{pad}.capacity");
        let shared = stream_pad == held_pad;
        let (stream_port, held_port) = (u64::from(stream.port_bytes), u64::from(held.port_bytes));
        let sums_port = u64::from(chip.accumulator().port_bytes);
        // Steps of a tile may share a row of the memory; longer ones start on a row of their own.
        let pitch = |step: u64, pad: &Scratchpad| {
            let port = u64::from(pad.port_bytes);
            if port.is_multiple_of(step) { step } else { step.next_multiple_of(port) }
        };
        let (stream_pitch, stream_each, held_step, held_steps) = if gemm.sums_stay() {
            let step = pitch(layout.activation_step_stride(), stream);
            let panel = (gemm.mode.activation_steps(layout.k()).0 * step).next_multiple_of(stream_port);
            (step, panel, pitch(layout.weight_step_stride(), held), gemm.mode.steps(layout.k()))
        } else {
            let vector = layout.vector_stride().next_multiple_of(stream_port);
            (vector, vector, pitch(layout.held_step_stride(), held), gemm.mode.steps(layout.k_tile().min(layout.k())))
        };
        let held_slot = (held_steps * held_step).next_multiple_of(held_port);
        // Sums of one vector, or of one row tile of a block, and the vectors in it.
        let (rows, cols) = (layout.rows_tile(), layout.cols_tile());
        let (unit, line_pitch, unit_sums) = if gemm.sums_stay() {
            let (lines, width) = if gemm.mode.drains_columns { (cols, rows) } else { (rows, cols) };
            let line = (width * layout.element()).next_multiple_of(sums_port);
            (rows, line, lines * line)
        } else {
            let line = (cols * layout.element()).next_multiple_of(sums_port);
            (1, line, line)
        };
        let (sums_capacity, stream_capacity, held_capacity) =
            (chip.accumulator().capacity.get(), stream.capacity.get(), held.capacity.get());
        let too_small = |piece, memory, field, needed, capacity| Err(LayoutError::TooSmall { piece, memory, field, needed, capacity });
        if unit_sums > sums_capacity {
            let field = "accumulator.capacity".to_string();
            return too_small("set of sums", "the accumulator", field, unit_sums, sums_capacity);
        }
        if held_slot > held_capacity {
            return too_small("tile", "its scratchpad", field(held_pad), held_slot, held_capacity);
        }
        let outer = gemm.outer().div_ceil(unit);
        // Where sums stay, a step of each operand enters in the same cycle: in one scratchpad they lie half of its banks apart, if there is room.
        let stripe = u64::from(held.banks) * held_port;
        let apart = shared && gemm.sums_stay() && held.banks > 1;
        for (buffers, apart) in [(2, apart), (2, false), (1, apart), (1, false)] {
            let whole_stripes = |bytes: u64| if apart { bytes.next_multiple_of(stripe) } else { bytes };
            let (stream_each, held_slot) = (whole_stripes(stream_each), whole_stripes(held_slot));
            // Two tiles where one scratchpad holds both operands, so that the next comes while one is used.
            let kept = if shared { buffers * held_slot } else { 0 };
            let room = stream_capacity.saturating_sub(kept) / stream_each;
            let whole = if outer <= sums_capacity / unit_sums && buffers == 1 { outer } else { 0 };
            let most = (sums_capacity / unit_sums / buffers).max(whole).min(outer);
            // A ring of one block where the block is all there is.
            let blocks = if room >= outer && most >= outer { 1 } else { buffers };
            let mut count = most.min(room / blocks);
            if count == 0 {
                continue;
            }
            let per_pass = gemm.pass().div_ceil(unit).max(1);
            if gemm.mode.stationary == Stationary::Input && !gemm.zeros.is_empty() {
                // A tile of weights that is skipped is a pass: a block is no more.
                count = count.min(per_pass);
            }
            if count < outer && count > per_pass {
                count -= count % per_pass;
            }
            let block = count * unit;
            let stream_slots = blocks.min(outer.div_ceil(count));
            let stream_slot = count * stream_each;
            let held_address = match (shared, apart) {
                (false, _) => 0,
                (true, false) => (stream_slots * stream_slot).next_multiple_of(held_port),
                (true, true) => (stream_slots * stream_slot).next_multiple_of(stripe) + u64::from(held.banks / 2) * held_port,
            };
            let held_slots = (held_capacity.saturating_sub(held_address)) / held_slot;
            if held_slots < if apart { buffers } else { 1 } {
                continue;
            }
            let sums_slot = count * unit_sums;
            return Ok(Self {
                block,
                stream: Ringed { address: 0, slots: stream_slots, slot: stream_slot },
                stream_pitch,
                held: Ringed { address: held_address, slots: held_slots.min(64), slot: held_slot },
                held_pitch: held_step,
                sums: Ringed { address: 0, slots: (sums_capacity / sums_slot).min(MAX_SUM_SLOTS), slot: sums_slot },
                line_pitch,
            });
        }
        let needed = stream_each + if shared { held_slot } else { 0 };
        too_small("vector of all of K beside a tile", "its scratchpad", field(stream_pad), needed, stream_capacity)
    }
}
