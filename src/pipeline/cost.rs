//! What a mapping costs by an objective: simulated, and no less than in closed form.

use super::PipelineError;
use super::summary::energy_of;
use crate::chip::{Chip, Format};
use crate::counts::ActionCounts;
use crate::energy::{EnergyReport, EnergyTable};
use crate::mapping::{LeastActions, Mapping, Objective, Outlook, guess, least_actions, lower_bounds};
use crate::program::emit_timing;
use crate::sim::{Machine, Run};
use crate::units::Cycles;
use std::fmt;

/// What mappings onto a chip cost: cycles, picojoules, or picojoules times cycles.
pub struct Cost<'c> {
    chip: &'c Chip,
    format: &'c Format,
    objective: Objective,
    table: EnergyTable,
}

impl<'c> Cost<'c> {
    /// Costs on `chip`, which multiplies `format`.
    ///
    /// # Errors
    /// If the chip's table of energies cannot be made.
    pub fn new(chip: &'c Chip, format: &'c Format, objective: Objective) -> Result<Self, PipelineError> {
        Ok(Self { chip, format, objective, table: EnergyTable::resolve(chip)? })
    }

    /// Runs a mapping without numbers.
    ///
    /// # Errors
    /// If the mapping is for another chip.
    pub fn time(&self, mapping: &Mapping) -> Result<Run, PipelineError> {
        let program = emit_timing(mapping, self.chip)?;
        Ok(Machine::new(self.chip, self.format, &program)?.time()?)
    }

    /// What a mapping costs. A run ends as soon as it takes too many cycles to cost less than `best`, and costs infinity.
    pub(super) fn below(&self, mapping: &Mapping, best: f64) -> Result<f64, PipelineError> {
        let program = emit_timing(mapping, self.chip)?;
        let run = Machine::new(self.chip, self.format, &program)?.time_within(self.most_cycles(mapping, best))?;
        Ok(run.map_or(f64::INFINITY, |run| self.of(mapping, &run)))
    }

    /// The most cycles with which a mapping may still cost less than `best`.
    fn most_cycles(&self, mapping: &Mapping, best: f64) -> Cycles {
        /// How often the bound is doubled to find what is too long.
        const DOUBLINGS: usize = 8;
        let may_be_better = |cycles: u64| self.bound_in(mapping, Cycles::new(cycles)) < best;
        let least = lower_bounds(mapping, self.chip).program.get().max(1);
        let longer = std::iter::successors(Some(least), |cycles| cycles.checked_mul(2)).take(DOUBLINGS);
        let Some(mut high) = longer.skip(1).find(|cycles| !may_be_better(*cycles)) else { return Cycles::new(u64::MAX) };
        let mut low = high / 2;
        while high - low > 1 {
            let middle = u64::midpoint(low, high);
            if may_be_better(middle) { low = middle } else { high = middle }
        }
        Cycles::new(low)
    }

    /// What a run of a mapping cost.
    pub fn of(&self, mapping: &Mapping, run: &Run) -> f64 {
        let cycles = run.total_cycles.as_f64();
        if self.objective == Objective::Latency {
            return cycles;
        }
        self.by_energy(mapping, run.stages.iter().map(|stage| (stage.actions, stage.window)), cycles)
    }

    /// What each stage of a run cost by itself; these sum to the whole where it is not a product.
    pub(super) fn of_stages(&self, mapping: &Mapping, run: &Run) -> Vec<f64> {
        let windows = run.stages.iter().map(|stage| stage.window.as_f64());
        if self.objective == Objective::Latency {
            return windows.collect();
        }
        let energies = self.energy(mapping, run).stages.into_iter().map(|stage| stage.total.get());
        let of = |(energy, window): (f64, f64)| if self.objective == Objective::Energy { energy } else { energy * window };
        energies.zip(windows).map(of).collect()
    }

    /// The energy of a run of a mapping, whatever the objective: without numbers, so that no product is gated.
    pub(super) fn energy(&self, mapping: &Mapping, run: &Run) -> EnergyReport {
        energy_of(&self.table, mapping, run.stages.iter().map(|stage| (stage.actions, stage.window)))
    }

    /// No run of the mapping costs less: it takes no fewer cycles than its bound, and does no less than what it does at least. Each action costs
    /// the same in both, and sums of parts that are each no more come to no more, rounded or not.
    pub fn bound(&self, mapping: &Mapping) -> f64 {
        self.bound_in(mapping, lower_bounds(mapping, self.chip).program)
    }

    /// No run of the mapping that takes so many cycles, or more, costs less.
    fn bound_in(&self, mapping: &Mapping, cycles: Cycles) -> f64 {
        if self.objective == Objective::Latency {
            return cycles.as_f64();
        }
        let roles = self.chip.scratchpad_roles();
        let actions = least_actions(mapping, self.chip).into_iter().map(|least| counts(least, [roles.activation, roles.weight]));
        // The clock and leakage go by the whole of the time, whatever stage it is of.
        let windows = std::iter::once(cycles).chain(std::iter::repeat(Cycles::new(0)));
        self.by_energy(mapping, actions.zip(windows), cycles.as_f64())
    }

    /// The bound, and about what a run of the mapping costs.
    pub fn outlook(&self, mapping: &Mapping) -> Outlook {
        let bounds = lower_bounds(mapping, self.chip);
        let bound = self.bound_in(mapping, bounds.program);
        let guess = match self.objective {
            Objective::Latency => guess(mapping, &bounds, self.chip),
            // Nearly all of it goes by what is done, not by how long it takes.
            Objective::Energy => bound,
            Objective::Edp => bound * guess(mapping, &bounds, self.chip) / bounds.program.as_f64().max(1.0),
        };
        let cycles = bounds.program.get();
        Outlook { bound, guess, cycles }
    }

    fn by_energy(&self, mapping: &Mapping, stages: impl Iterator<Item = (ActionCounts, Cycles)>, cycles: f64) -> f64 {
        let energy = energy_of(&self.table, mapping, stages).total.get();
        if self.objective == Objective::Energy { energy } else { energy * cycles }
    }
}

impl fmt::Debug for Cost<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cost").field("objective", &self.objective).finish_non_exhaustive()
    }
}

/// The same as counts, activations and weights lying in the scratchpads of these numbers.
fn counts(least: LeastActions, pads: [usize; 2]) -> ActionCounts {
    let mut counts = ActionCounts {
        macs: least.macs,
        vector_operations: least.vector_operations,
        dram_read_bytes: least.dram_read_bytes,
        dram_write_bytes: least.dram_write_bytes,
        unpacked_bytes: least.unpacked_bytes,
        accumulator_reads: least.accumulator_reads,
        accumulator_writes: least.accumulator_writes,
        ..ActionCounts::default()
    };
    for (operand, pad) in pads.into_iter().enumerate() {
        counts.scratchpad_reads[pad] += least.scratchpad_reads[operand];
        counts.scratchpad_writes[pad] += least.scratchpad_writes[operand];
    }
    counts
}
