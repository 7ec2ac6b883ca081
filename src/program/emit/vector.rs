//! Stages of the vector unit.
//!
//! ```text
//! for block of rows     store engine: mvin the rows of the inputs that it is the first to need
//!                       vector: the operation
//!                       store engine: mvout, where the results do not stay
//! ```

use super::super::segments::Segment;
use super::super::{Address, Operation, VectorInput, VectorWork, Window};
use super::blocks::kept;
use super::plan::{Block, Plan};
use super::{Emitter, Queue, Shared, Units, command, index};
use crate::mapping::{InputBuffer, OutputBuffer};
use crate::numerics::{VectorKind, VectorOp};

impl Emitter<'_> {
    pub(super) fn vector_stage(&mut self, plan: &Plan<'_>, ops: &[VectorOp]) {
        let mut units = Units::default();
        let mut fetched = 0;
        self.open(plan, &mut units);
        for block in &plan.blocks {
            self.fetch_ahead(plan, block, &mut fetched, &mut units);
            self.rows(plan, ops, block, &mut units);
        }
        self.units.extend(units);
    }

    /// A block of rows: one operation, or one for each channel.
    fn rows(&self, plan: &Plan<'_>, ops: &[VectorOp], block: &Block, units: &mut Units) {
        let (stage, channels) = (plan.stage, plan.stage.problem.m);
        let all = Segment { start: 0, trips: 1, size: channels, first: true, last: true };
        let runs = plan.channel_runs(all);
        let (result, pitch, _) = plan.results(block, all, &runs[0]);
        let stored = matches!(stage.output, OutputBuffer::Stored { .. });
        let is_fetched = stage.inputs().any(|(buffer, _)| matches!(buffer, InputBuffer::Fetched { .. }));
        let cols = channels / ops.len() as u64;
        for (number, op) in (0..).zip(ops) {
            let (mut wait, mut post) = (Vec::new(), Vec::new());
            if number == 0 {
                wait.extend(is_fetched.then_some(Shared::VectorFull.sync()));
                wait.extend(stored.then(|| plan.output_free(0)));
            }
            if number + 1 == ops.len() as u64 {
                post.extend(stored.then_some(Shared::OutputFull.sync()));
                post.extend(plan.frees_rows.then(|| plan.input_free(0)));
                if block.number + 1 == stage.blocks() {
                    post.extend(kept(plan, 0));
                }
            }
            let is_pool = op.kind() == VectorKind::Pool;
            let input = |buffer| {
                let first = if is_pool { plan.buffer(buffer).0 } else { plan.rows_of(buffer, block) };
                VectorInput {
                    address: Address::at(first + stage.problem.activation.packed_bytes(number * cols)),
                    stride: stage.pitches.input,
                    format: stage.problem.activation,
                }
            };
            let window = is_pool.then(|| Window {
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
