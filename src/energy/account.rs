//! What a run cost: counts times energy per action, per stage and in total.
//!
//! Totals come from the summed integer counts, once and in a fixed order, so that they do not depend on how a run was cut into stages.
//! Not here: how an action's energy is known (`table`).

use super::table::EnergyTable;
use crate::chip::{Action, EnergyEntry, Fidelity};
use crate::counts::{ActionCounts, MAX_SCRATCHPADS};
use crate::numerics::Dtype;
use crate::units::{Cycles, Picojoules};
use serde::Serialize;
use std::collections::BTreeMap;

/// What one stage did, over all programs of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StageActivity {
    /// Its actions, by tag.
    pub actions: ActionCounts,
    /// The cycles of its window: leakage and clocking go by it. Windows partition the run.
    pub window: Cycles,
    /// The weights' format of its multiply-accumulates, or of those that the array last did: the array is clocked in some format. With
    /// `activation` it must be a pair that the chip has.
    pub weight: Dtype,
    /// The activations' format, likewise.
    pub activation: Dtype,
}

/// Energy by component, in picojoules.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct EnergyByPart {
    /// Multiply-accumulates, gated ones, and zero points subtracted at the array's edge.
    pub mac: Picojoules,
    /// Registers between and in PEs.
    pub registers: Picojoules,
    /// Scratchpads, read and written.
    pub scratchpad: Picojoules,
    /// The accumulator, read and written.
    pub accumulator: Picojoules,
    /// DRAM's bus and device.
    pub dram: Picojoules,
    /// Unpacking of what lies coded in DRAM.
    pub codec: Picojoules,
    /// The vector unit.
    pub vector: Picojoules,
    /// The clock of the array, used or idle.
    pub clock: Picojoules,
    /// Leakage of the on-chip memories.
    pub leakage: Picojoules,
}

impl EnergyByPart {
    /// Every component by name, in the order of reports.
    pub fn parts(&self) -> [(&'static str, Picojoules); 9] {
        [
            ("mac", self.mac),
            ("registers", self.registers),
            ("scratchpad", self.scratchpad),
            ("accumulator", self.accumulator),
            ("dram", self.dram),
            ("codec", self.codec),
            ("vector", self.vector),
            ("clock", self.clock),
            ("leakage", self.leakage),
        ]
    }

    /// All components together.
    pub fn total(&self) -> Picojoules {
        self.parts().into_iter().map(|(_, energy)| energy).sum()
    }

    fn of_mut(&mut self, action: Action) -> &mut Picojoules {
        match action {
            Action::Mac { .. } | Action::GatedMac { .. } | Action::ZeroPointSubtract => &mut self.mac,
            Action::RegisterBit => &mut self.registers,
            Action::ScratchpadRead(_) | Action::ScratchpadWrite(_) => &mut self.scratchpad,
            Action::AccumulatorRead | Action::AccumulatorWrite => &mut self.accumulator,
            Action::DramReadByte | Action::DramWriteByte | Action::DramActivate | Action::DramRefresh => &mut self.dram,
            Action::CodecByte => &mut self.codec,
            Action::VectorOperation => &mut self.vector,
            Action::PeClock { .. } => &mut self.clock,
            Action::LeakageMicrosecond => &mut self.leakage,
        }
    }
}

/// What one stage cost.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct StageEnergy {
    /// By component.
    pub by_part: EnergyByPart,
    /// In all, in picojoules.
    pub total: Picojoules,
}

/// What a run cost.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EnergyReport {
    /// Each stage, in the order given.
    pub stages: Vec<StageEnergy>,
    /// The run by component.
    pub by_part: EnergyByPart,
    /// The run in all, in picojoules.
    pub total: Picojoules,
    /// The share of the total whose energy per action is assumed, 0 to 1.
    pub assumed_share: f64,
}

/// Counts by action. Leakage stays in cycles until it is priced, so that everything summed is an integer.
type Counts = BTreeMap<Action, u64>;

/// Prices what a run's stages did with the chip's table.
pub fn account(table: &EnergyTable, stages: &[StageActivity]) -> EnergyReport {
    let mut sum = Counts::new();
    let mut priced = Vec::with_capacity(stages.len());
    for stage in stages {
        let counts = count(table, stage);
        let (by_part, total, _) = price(table, &counts);
        priced.push(StageEnergy { by_part, total });
        for (action, more) in counts {
            *sum.entry(action).or_default() += more;
        }
    }
    let (by_part, total, assumed) = price(table, &sum);
    let assumed_share = if total.get() > 0.0 { assumed.get() / total.get() } else { 0.0 };
    EnergyReport { stages: priced, by_part, total, assumed_share }
}

/// A stage's actions. What did not happen is left out, so a table need not price what a chip cannot do.
fn count(table: &EnergyTable, stage: &StageActivity) -> Counts {
    let did = &stage.actions;
    let StageActivity { weight, activation, .. } = *stage;
    let fixed = [
        (Action::Mac { weight, activation }, did.macs - did.macs_gated),
        (Action::GatedMac { weight, activation }, did.macs_gated),
        (Action::RegisterBit, did.register_bits),
        (Action::ZeroPointSubtract, did.zero_point_subtracts),
        (Action::AccumulatorRead, did.accumulator_reads),
        (Action::AccumulatorWrite, did.accumulator_writes),
        (Action::DramReadByte, did.dram_read_bytes),
        (Action::DramWriteByte, did.dram_write_bytes),
        (Action::DramActivate, did.dram_activates),
        (Action::DramRefresh, did.dram_refreshes),
        (Action::CodecByte, did.unpacked_bytes),
        (Action::VectorOperation, did.vector_operations),
        (Action::PeClock { weight, activation }, stage.window.get() * table.pes()),
        (Action::LeakageMicrosecond, stage.window.get()),
    ];
    let pads = (0..MAX_SCRATCHPADS).flat_map(|pad| {
        [(Action::ScratchpadRead(pad), did.scratchpad_reads[pad]), (Action::ScratchpadWrite(pad), did.scratchpad_writes[pad])]
    });
    fixed.into_iter().chain(pads).filter(|(_, count)| *count > 0).collect()
}

/// The energy of these counts by component, in all, and of that what is assumed; in the order of actions.
fn price(table: &EnergyTable, counts: &Counts) -> (EnergyByPart, Picojoules, Picojoules) {
    let mut by_part = EnergyByPart::default();
    let (mut total, mut assumed) = (Picojoules::ZERO, Picojoules::ZERO);
    for (&action, &count) in counts {
        let entry = table.entry(action).unwrap_or_else(|| unreachable!("bug: a chip did {action:?}, which it cannot do; please report it"));
        let energy = Picojoules::new(cost(table, entry, count));
        let part = by_part.of_mut(action);
        *part = *part + energy;
        total = total + energy;
        if entry.fidelity == Fidelity::Assumed {
            assumed = assumed + energy;
        }
    }
    (by_part, total, assumed)
}

fn cost(table: &EnergyTable, entry: &EnergyEntry, count: u64) -> f64 {
    let times = match entry.action {
        Action::LeakageMicrosecond => (Cycles::new(count) / table.clock()).get() * 1e6,
        _ => count as f64,
    };
    times * entry.picojoules
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chip::{EnergySource, ShippedTable};
    use crate::energy::parts::fixture;

    fn table(edit: impl Fn(&mut EnergyEntry)) -> EnergyTable {
        let parts = fixture::small();
        let shipped = EnergyTable::from_parts(&parts.parts(), &EnergySource::Table(ShippedTable::Nm45)).unwrap();
        let mut entries = shipped.entries().to_vec();
        entries.iter_mut().for_each(edit);
        EnergyTable::from_parts(&parts.parts(), &EnergySource::Listed(entries)).unwrap()
    }

    fn stage(macs: u64, window: u64) -> StageActivity {
        let actions = ActionCounts {
            macs,
            macs_gated: macs / 4,
            zero_point_subtracts: 10,
            register_bits: 1000,
            scratchpad_reads: [7, 0],
            scratchpad_writes: [3, 0],
            accumulator_reads: 5,
            accumulator_writes: 6,
            dram_read_bytes: 640,
            dram_write_bytes: 64,
            dram_activates: 0,
            dram_refreshes: 0,
            coded_bytes: 0,
            unpacked_bytes: 0,
            vector_operations: 32,
        };
        StageActivity { actions, window: Cycles::new(window), weight: Dtype::Int8, activation: Dtype::Int8 }
    }

    #[test]
    fn a_stage_worked_by_hand() {
        let table = table(|_| ());
        let report = account(&table, &[stage(1000, 500)]);
        let close = |energy: Picojoules, by_hand: f64| assert!((energy.get() - by_hand).abs() < 1e-9 * by_hand, "{energy:?} {by_hand}");
        // 750 MACs of 0.3 pJ, 250 gated ones of 0.01, 10 subtractions of 0.03.
        close(report.by_part.mac, 750.0 * 0.3 + 250.0 * 0.01 + 10.0 * 0.03);
        close(report.by_part.registers, 5.0);
        close(report.by_part.dram, 704.0 * 64.0);
        close(report.by_part.vector, 32.0 * 3.8);
        // 256 PEs of 48 flip-flops at 1 fJ for 500 cycles; 500 cycles at 500 MHz are 1 us.
        close(report.by_part.clock, 500.0 * 256.0 * 0.048);
        close(report.by_part.leakage, 1.527_98);
        close(report.total, report.by_part.total().get());
        assert!(report.assumed_share > 0.9 && report.assumed_share < 1.0);
    }

    #[test]
    fn each_stage_is_priced_in_its_own_format() {
        let mut parts = fixture::small();
        parts.formats.push(fixture::format(Dtype::Int2, 4));
        let table = EnergyTable::from_parts(&parts.parts(), &EnergySource::Table(ShippedTable::Nm45)).unwrap();
        let (wide, narrow) = (stage(1000, 500), StageActivity { weight: Dtype::Int2, ..stage(1000, 500) });
        let report = account(&table, &[wide, narrow]);
        assert_eq!(report.stages[0].by_part, account(&table, &[wide]).by_part);
        let cost = |action| table.entry(action).unwrap().picojoules;
        let (weight, activation) = (Dtype::Int2, Dtype::Int8);
        let by_hand =
            750.0 * cost(Action::Mac { weight, activation }) + 250.0 * cost(Action::GatedMac { weight, activation }) + 10.0 * 0.03;
        assert!((report.stages[1].by_part.mac.get() - by_hand).abs() < 1e-9, "{report:?}");
        // 4 lanes of 2 + 8 bits and a sum of 32 are 72 flip-flops; the other format clocks its own 48 alone.
        assert!((report.stages[1].by_part.clock.get() - 500.0 * 256.0 * 0.072).abs() < 1e-6, "{report:?}");
        assert!((report.stages[0].by_part.clock.get() - 500.0 * 256.0 * 0.048).abs() < 1e-6, "{report:?}");
        let apart: f64 = report.stages.iter().map(|stage| stage.total.get()).sum();
        assert!((report.total.get() - apart).abs() < 1e-9 * apart);
    }

    #[test]
    fn doubling_the_energy_of_an_action_doubles_its_line_and_no_other() {
        let before = account(&table(|_| ()), &[stage(1000, 500)]);
        let double = table(|entry| {
            if entry.action == Action::RegisterBit {
                entry.picojoules *= 2.0;
            }
        });
        let after = account(&double, &[stage(1000, 500)]);
        for ((name, one), (_, other)) in before.by_part.parts().into_iter().zip(after.by_part.parts()) {
            let times = if name == "registers" { 2.0 } else { 1.0 };
            assert_eq!(one * times, other, "{name}");
        }
    }

    #[test]
    fn a_total_does_not_depend_on_how_the_run_is_cut() {
        let table = table(|_| ());
        let (one, other) = (stage(1000, 500), stage(4000, 700));
        let mut actions = one.actions;
        actions += other.actions;
        let whole = StageActivity { actions, window: one.window + other.window, ..one };
        let (apart, together) = (account(&table, &[one, other]), account(&table, &[whole]));
        assert_eq!(apart.total, together.total);
        assert_eq!(apart.by_part, together.by_part);
        assert_eq!(apart.stages.len(), 2);
    }

    #[test]
    fn nothing_costs_nothing() {
        let report = account(&table(|_| ()), &[]);
        assert_eq!((report.total, report.assumed_share), (Picojoules::ZERO, 0.0));
    }
}
