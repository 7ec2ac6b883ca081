//! Why a time is what it is: what each resource costs, measured by runs that have one more of them without limit each; and as a table.
//!
//! Not here: the runs (`pipeline`), and what a resource without limit is (`sim::Peeled`).

use super::terminal::{Shown, rendered, table};
use super::{Summary, human, ratio};
use serde::{Deserialize, Serialize};
use std::iter::Sum;
use std::ops::AddAssign;

/// Cycles that each resource costs, those before it in this list being without limit already, and what is left when all are. They sum to the
/// measured time. The order matters: what two resources would cost by themselves at the same time is told of the later one. A cost can be
/// negative: with less to wait for, things meet that did not before, and a layer may find less done ahead of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct WhatIf {
    /// DRAM's bandwidth and latency, and the DMA engines' bandwidth.
    pub dram_cycles: i64,
    /// Ports of scratchpads and accumulator: conflicts of banks, and rows that are pending.
    pub ports_cycles: i64,
    /// The vector unit.
    pub vector_cycles: i64,
    /// The array: loads, vectors, skew and drain.
    pub array_cycles: i64,
    /// The host, where it does what no unit of the chip can.
    pub host_cycles: i64,
    /// What is left: each unit starts one command a cycle, in order.
    pub rest_cycles: u64,
}

impl WhatIf {
    /// The measured time.
    pub const fn total_cycles(&self) -> i64 {
        self.dram_cycles + self.ports_cycles + self.vector_cycles + self.array_cycles + self.host_cycles + self.rest_cycles.cast_signed()
    }

    /// What is shown: each part under the name that a reader meets.
    const fn parts(&self) -> [(&'static str, i64); 6] {
        [
            ("DRAM", self.dram_cycles),
            ("memory\nports", self.ports_cycles),
            ("vector\nunit", self.vector_cycles),
            ("array", self.array_cycles),
            ("host", self.host_cycles),
            ("commands", self.rest_cycles.cast_signed()),
        ]
    }
}

impl AddAssign for WhatIf {
    fn add_assign(&mut self, other: Self) {
        self.dram_cycles += other.dram_cycles;
        self.ports_cycles += other.ports_cycles;
        self.vector_cycles += other.vector_cycles;
        self.array_cycles += other.array_cycles;
        self.host_cycles += other.host_cycles;
        self.rest_cycles += other.rest_cycles;
    }
}

impl Sum for WhatIf {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |mut sum, one| {
            sum += one;
            sum
        })
    }
}

/// The table, cycles a sample and shares of them, if it was asked for.
pub(super) fn why_so_long(summary: &Summary, shown: &Shown<'_>) -> Option<String> {
    summary.what_if?;
    let names = WhatIf::default().parts().map(|(name, _)| name.to_owned());
    let header: Vec<String> = ["layer".to_owned(), "cycles\na sample".to_owned()].into_iter().chain(names).collect();
    let mut costs = table(&header, 1);
    for (name, group) in shown.groups(summary) {
        let sum: WhatIf = group.iter().filter_map(|layer| layer.what_if).sum();
        let total = sum.total_cycles() as f64;
        if total <= 0.0 {
            costs.add_row([name, "host".to_owned()]);
            continue;
        }
        let share = |cost: i64| match (cost, human::percent(ratio(cost.unsigned_abs() as f64, total))) {
            (0, _) => "·".to_owned(),
            (..0, share) => format!("-{share}"),
            (_, share) => share,
        };
        let row = [name, human::about(ratio(total, summary.samples as f64))];
        costs.add_row(row.into_iter().chain(sum.parts().map(|(_, cost)| share(cost))));
    }
    let title = "Why it takes that long (what is saved by DRAM without limit, then by ports too, and so on)";
    Some(rendered(title, &costs))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{LayerRows, fixture, terminal};

    #[test]
    fn costs_are_shown_with_their_signs_and_sum() {
        let mut summary = fixture::simplenet();
        for (number, layer) in summary.layers.iter_mut().enumerate().take(3) {
            let cycles = layer.total_cycles.cast_signed();
            let ports = if number == 1 { -cycles / 10 } else { 0 };
            let costs =
                WhatIf { dram_cycles: cycles / 2, ports_cycles: ports, vector_cycles: 7, array_cycles: cycles / 4, ..WhatIf::default() };
            let rest_cycles = (cycles - costs.total_cycles()).unsigned_abs();
            layer.what_if = Some(WhatIf { rest_cycles, ..costs });
        }
        summary.what_if = Some(summary.layers.iter().filter_map(|layer| layer.what_if).sum());
        assert_eq!(summary.what_if.map(|costs| costs.total_cycles()), Some(summary.total_cycles.cast_signed()));
        let text = terminal(&summary, LayerRows::Costliest);
        let part = text.split("\n\n").find(|part| part.starts_with("Why it takes that long")).unwrap();
        insta::assert_snapshot!(part);
        assert!(part.lines().all(|line| line.chars().count() <= 100));
    }
}
