//! What any PE holds: its registers after a cycle, the same from every drive.
//!
//! Which element is where follows from when its pass entered. The numbers come from the registers themselves where they are moved, else
//! from the operands.

use super::drives::Path;
use super::products::{Factors, Products};
use super::{Array, Pass, Work};
use crate::chip::Stationary;
use crate::sim::memory::scratchpad_index;
use crate::sim::queue::Shared;

/// A processing element, by its place in the array.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeId {
    /// Row, from 0 at the top.
    pub row: u32,
    /// Column, from 0 at the left.
    pub col: u32,
}

/// What a PE holds after a cycle.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Registers {
    /// The elements that came along the row, a lane each (a whole group for each with N:M sparsity); activations, or weights where
    /// activations stay. None is a bubble.
    pub row: Option<Vec<i64>>,
    /// The elements that it holds, or where sums stay the weights that came down the column.
    pub col: Option<Vec<i64>>,
    /// The sum that it gives to the PE below, or where sums stay the one that it keeps.
    pub sum: Option<i64>,
}

/// Where a PE is in the sequence of passes.
#[derive(Clone, Copy)]
struct At {
    pass: Pass,
    /// Cycles since the pass reached the PE.
    age: u64,
}

impl Array<'_> {
    /// The registers of a PE after the array's last cycle; None where the array computes no numbers.
    pub(in crate::sim) fn probe(&mut self, shared: &mut Shared<'_>, pe: PeId) -> Option<Registers> {
        let (row, col) = (pe.row as usize, pe.col as usize);
        if matches!(self.drive.path, Path::Timing) {
            return None;
        }
        self.catch_up(shared, self.now);
        let Some(at) = self.at(row, col) else { return Some(Registers::default()) };
        let (held, seen, sum) = match &mut self.drive.path {
            Path::Timing => return None,
            Path::Held(mesh) => mesh.probe(row, col),
            Path::HeldWide(mesh) => mesh.probe(row, col),
            Path::Sums(mesh) => mesh.probe(row, col),
            Path::SumsWide(mesh) => mesh.probe(row, col),
            Path::Wavefront(_) => self.computed(shared, &at, row, col),
        };
        let sums_stay = self.operands.mode.stationary == Stationary::Output;
        let streams = at.age < at.pass.length;
        Some(Registers {
            row: streams.then_some(seen),
            col: (streams || !sums_stay).then_some(held),
            sum: (streams || sums_stay).then_some(sum),
        })
    }

    /// The youngest pass that has reached a PE.
    fn at(&self, row: usize, col: usize) -> Option<At> {
        let skew = self.shape.registers + row * self.shape.row_hop + col * self.shape.col_hop;
        let age = self.now.checked_sub(1 + skew as u64)?;
        let passes = self.passes.iter().chain(&self.last_ended).chain(&self.last_pass);
        let reached = passes.filter(|pass| pass.start <= age).max_by_key(|pass| pass.number)?;
        // A pass that goes by the size that it fills leaves the others out.
        let size = self.timing.size(u32::try_from(reached.rows).ok()?, u32::try_from(reached.cols).ok()?);
        if row >= size.rows as usize || col >= size.cols as usize {
            return None;
        }
        Some(At { pass: *reached, age: age - reached.start })
    }

    /// What PE(row, col) holds, sees and sums, from the operands.
    fn computed(&mut self, shared: &Shared<'_>, at: &At, row: usize, col: usize) -> (Vec<i64>, Vec<i64>, i64) {
        let depth = self.shape.depth;
        let wide = |elements: &[i16]| elements.iter().map(|element| i64::from(*element)).collect::<Vec<i64>>();
        let Path::Wavefront(products) = &self.drive.path else { return Default::default() };
        match at.pass.work {
            Work::Vectors { place, stream, stride, inner } => {
                let held = |row: usize| products.held(at.pass.load, depth, row, col);
                let mut seen = vec![0; (row + 1) * depth];
                if at.age < at.pass.steps {
                    let bytes = self.operands.mode.vector_bytes(inner as u64);
                    let bytes = shared.scratchpads[scratchpad_index(place)].read(stream + at.age * stride, bytes);
                    let vector = self.operands.vector(bytes, inner, at.pass.zero_point);
                    let count = seen.len().min(vector.len());
                    seen[..count].copy_from_slice(&vector[..count]);
                }
                let sum =
                    (0..=row).flat_map(|row| held(row).into_iter().zip(&seen[row * depth..][..depth])).map(|(w, x)| w * i64::from(*x));
                (held(row), wide(&seen[row * depth..]), sum.sum())
            }
            Work::Product { activation_place, activation, weight_place, weight } => {
                let memories =
                    (&shared.scratchpads[scratchpad_index(activation_place)], &shared.scratchpads[scratchpad_index(weight_place)]);
                let (mut seen, mut passing) = (vec![0; depth], vec![0; depth]);
                if at.age < at.pass.steps {
                    let (across, down) =
                        self.operands.product_step((memories.0, activation), (memories.1, weight), at.pass.zero_point, at.age);
                    let part = |elements: &[i16], place: usize| elements.get(place * depth..(place + 1) * depth).map(<[i16]>::to_vec);
                    seen = part(across, row).unwrap_or(seen);
                    passing = part(down, col).unwrap_or(passing);
                }
                let sum = if row >= at.pass.rows || col >= at.pass.cols {
                    0
                } else if let Some(total) = self.drive.ended_total(&at.pass, row, col) {
                    total
                } else {
                    let factors =
                        Factors { activations: memories.0, activation, weights: memories.1, weight, zero_point: at.pass.zero_point };
                    let bias = self.drive.bias_of(shared, &at.pass, self.element_bytes, row, col);
                    let steps = at.pass.steps.min(at.age + 1);
                    Products::sum_so_far(&mut self.operands, &factors, self.drive.rule, (row, col), bias, steps)
                };
                (wide(&passing), wide(&seen), sum)
            }
        }
    }
}
