//! Stages of the vector unit.
//!
//! ```text
//! store engine: mvin what is read whole
//! for block of rows     store engine: mvin the rows of the inputs that it is the first to need
//!                       vector: the operation
//!                       store engine: mvout, where the results do not stay
//! ```

use super::super::segments::Segment;
use super::super::{Address, Operation, Transfer, VectorInput, VectorWork, Window};
use super::blocks::kept;
use super::plan::{Block, Plan};
use super::{Emitter, Queue, Shared, Units, command, index};
use crate::counts::Operand;
use crate::mapping::{InputBuffer, OutputBuffer};
use crate::numerics::VectorOp;

impl Emitter<'_> {
    pub(super) fn vector_stage(&mut self, plan: &Plan<'_>, ops: &[VectorOp]) {
        let mut units = Units::default();
        let mut fetched = 0;
        self.open(plan, &mut units);
        self.constants(plan, &mut units);
        for block in &plan.blocks {
            self.fetch_ahead(plan, block, &mut fetched, &mut units);
            self.rows(plan, ops, block, &mut units);
        }
        self.units.extend(units);
    }

    /// What is there whole before the first block begins. A token says so where no other transfer behind it gives one.
    fn constants(&self, plan: &Plan<'_>, units: &mut Units) {
        let Some((address, operand, source)) = plan.constants() else { return };
        let row_bytes = plan.stage.problem.m;
        let transfer = Transfer {
            operand: Operand::Weight,
            dram: Address::at(source),
            dram_stride: row_bytes,
            place: self.activation_place,
            local: Address::at(address),
            local_stride: plan.stage.pitches.input,
            rows: operand.run,
            row_bytes,
            coded: None,
            owns_gaps: false,
        };
        let post = if is_fetched(plan) { Vec::new() } else { vec![Shared::VectorFull.sync()] };
        units.push(self.store, command(plan, Vec::new(), Operation::Mvin(transfer), post));
    }

    /// A block of rows: one operation, or one for each channel.
    fn rows(&self, plan: &Plan<'_>, ops: &[VectorOp], block: &Block, units: &mut Units) {
        let (stage, channels) = (plan.stage, plan.stage.problem.m);
        let all = Segment { start: 0, trips: 1, size: channels, first: true, last: true };
        let runs = plan.channel_runs(all);
        let (result, pitch, _) = plan.results(block, all, &runs[0]);
        let stored = matches!(stage.output, OutputBuffer::Stored { .. });
        // Of what only is read whole the first block waits for all blocks.
        let waits = is_fetched(plan) || (plan.constants().is_some() || plan.waits_for_stores) && block.number == 0;
        let cols = channels / ops.len() as u64;
        for (number, op) in (0..).zip(ops) {
            let (mut wait, mut post) = (Vec::new(), Vec::new());
            if number == 0 {
                wait.extend(waits.then_some(Shared::VectorFull.sync()));
                wait.extend(stored.then(|| plan.output_free(0)));
            }
            if number + 1 == ops.len() as u64 {
                post.extend(stored.then_some(Shared::OutputFull.sync()));
                post.extend(plan.frees_rows.then(|| plan.input_free(0)));
                if block.number + 1 == stage.blocks() {
                    post.extend(kept(plan, 0));
                }
            }
            let has_window = op.kind().has_window();
            let input = |buffer| {
                let first = if has_window { plan.buffer(buffer).0 } else { plan.rows_of(buffer, block) };
                VectorInput {
                    address: Address::at(first + stage.problem.activation.packed_bytes(number * cols)),
                    stride: stage.pitches.input,
                    format: stage.problem.activation,
                }
            };
            let window = has_window.then(|| Window {
                slide: stage.problem.slide(),
                ring: plan.input().1,
                vector: Address::at(block.start),
                inner: Address::at(0),
                planes: None,
                plus_border: false,
            });
            let work = VectorWork {
                op: index(self.vector_ops.len() as u64 + number),
                place: self.activation_place,
                input: input(stage.input),
                second: stage.second.map(input),
                result: result.clone().skip(stage.problem.output_bytes(number * cols)),
                result_stride: pitch,
                format: stage.problem.output,
                rows: index(block.size),
                cols: index(cols),
                window,
            };
            units.push(Queue::Vector, command(plan, wait, Operation::Vector(work), post));
        }
        if stored {
            self.store(plan, block, all, units);
        }
    }
}

/// Whether any input comes block by block.
fn is_fetched(plan: &Plan<'_>) -> bool {
    plan.stage.inputs().any(|(buffer, _)| matches!(buffer, InputBuffer::Fetched { .. }))
}
