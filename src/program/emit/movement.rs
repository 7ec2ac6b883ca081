//! Stages that only move bytes, from DRAM to DRAM through a buffer of the activation scratchpad.
//!
//! ```text
//! for outer factor      store engine: mvin rows, as they are counted where they lie
//!                       store engine: mvout the same, as they are counted where they go
//! ```
//!
//! One engine does both, in order, so that nothing waits for a token.

use super::super::segments::segments;
use super::super::{Address, Operation, Transfer};
use super::plan::Plan;
use super::{Emitter, Units, command};
use crate::counts::Operand;
use crate::mapping::Copy;

impl Emitter<'_> {
    pub(super) fn movement(&mut self, plan: &Plan<'_>, copies: &[Copy]) {
        let mut units = Units::default();
        self.open(plan, &mut units);
        for copy in copies {
            let from = self.tensor(&copy.from, None);
            self.copy(plan, copy, from, &mut units);
        }
        self.units.extend(units);
    }

    fn copy(&self, plan: &Plan<'_>, copy: &Copy, from: u64, units: &mut Units) {
        let (address, room) = plan.input();
        let mut outer = copy.factors.clone();
        let (size, [stride, _]) = outer.pop().unwrap_or((1, [1, 1]));
        // Bytes that lie side by side are a row; others are rows of a byte, which lie side by side on the chip.
        let bytes = if stride == 1 { size } else { 1 };
        let (rows, strides) = match outer.last().copied().filter(|_| stride == 1 && bytes <= room) {
            _ if stride != 1 => (size, [stride, 1]),
            Some(next) => {
                outer.pop();
                next
            }
            None => (1, [bytes, bytes]),
        };
        let first = [from + copy.first[0], plan.ends.target + copy.first[1]];
        // Of rows that are too long, parts; else as many rows as there is room for.
        let parts = if bytes > room { segments(bytes, room) } else { segments(rows, room / bytes) };
        for part in parts {
            let step = if bytes > room { [room, room] } else { strides.map(|stride| room / bytes * stride) };
            let depth = outer.len();
            let place = |end: usize| {
                let at = Address::at(first[end] + part.start * step[end]);
                let at = outer.iter().enumerate().fold(at, |at, (depth, (_, strides))| at.step(depth, strides[end]));
                at.step(depth, step[end])
            };
            let (rows, bytes) = if bytes > room { (1, part.size) } else { (part.size, bytes) };
            let transfer = |operand, end: usize| {
                // Rows without gaps are one.
                let is_one = strides[end] == bytes;
                Transfer {
                    operand,
                    dram: place(end),
                    dram_stride: if is_one { rows * bytes } else { strides[end] },
                    place: self.activation_place,
                    local: Address::at(address),
                    local_stride: if is_one { rows * bytes } else { bytes },
                    rows: if is_one { 1 } else { rows },
                    row_bytes: if is_one { rows * bytes } else { bytes },
                    coded: None,
                    owns_gaps: false,
                }
            };
            let mut body = Units::default();
            body.push(self.store, command(plan, Vec::new(), Operation::Mvin(transfer(Operand::Input, 0)), Vec::new()));
            body.push(self.store, command(plan, Vec::new(), Operation::Mvout(transfer(Operand::Output, 1)), Vec::new()));
            let mut nest = Units::default();
            nest.repeat(part.trips, body);
            for (trips, _) in outer.iter().rev() {
                let mut around = Units::default();
                around.repeat(*trips, nest);
                nest = around;
            }
            units.extend(nest);
        }
    }
}
