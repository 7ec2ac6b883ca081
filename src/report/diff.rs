//! Two runs beside each other: what each layer takes more or less, and where in its account. Data, JSON, and the terminal's table.
//!
//! All cycles are those of one batch, which every program of a run takes. The parts of a row sum to its change, and rows to that of the runs. Not
//! here: what a cycle is counted as (`counts`).

use super::json::pretty;
use super::terminal::{rendered, table};
use super::{LayerSummary, Summary, human, ratio};
use crate::counts::StallReason;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// Two runs, and what changes from the first to the second.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunDiff {
    /// The first run.
    pub a: DiffSide,
    /// The second.
    pub b: DiffSide,
    /// Each layer, those of the first run in order, then those that only the second has.
    pub layers: Vec<LayerDiff>,
    /// All layers together.
    pub total: LayerDiff,
}

/// One of two runs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DiffSide {
    /// The network.
    pub network: String,
    /// The chip.
    pub chip: String,
    /// The recipe.
    pub recipe: String,
    /// Samples of a batch.
    pub batch: u64,
    /// `cold` or `resident`.
    pub weights: String,
    /// The core clock in hertz.
    pub clock_hz: u64,
    /// Core cycles of a batch.
    pub cycles: u64,
    /// Seconds of a batch.
    pub latency_s: f64,
    /// Energy a sample in picojoules.
    pub energy_pj_per_sample: f64,
    /// Area of the chip in square millimetres.
    pub area_mm2: f64,
    /// Accuracy of what the chip computed, where it was measured.
    pub accuracy: Option<f64>,
}

/// What a layer takes in two runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LayerDiff {
    /// Its name.
    pub name: String,
    /// Cycles of its window in a batch of the first run; none where that does not have it.
    pub a_cycles: Option<u64>,
    /// Of the second.
    pub b_cycles: Option<u64>,
    /// The second less the first, a layer that is not there taking none.
    pub change_cycles: i64,
    /// The accounts that change, what changes most first. Their changes sum to `change_cycles`.
    pub accounts: Vec<AccountDiff>,
}

/// What an account of a layer has in two runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AccountDiff {
    /// `busy`, `idle`, or a reason to stall.
    pub account: String,
    /// Cycles in a batch of the first run.
    pub a_cycles: u64,
    /// Of the second.
    pub b_cycles: u64,
    /// The second less the first.
    pub change_cycles: i64,
}

/// More layers than this are cut to those that change most, of which so many keep a row of their own.
const MOST_ROWS: usize = 25;
const KEPT_ROWS: usize = 10;

/// Cycles of a batch by account.
type Accounts = BTreeMap<&'static str, u64>;

impl RunDiff {
    /// Puts two runs beside each other. Layers are alike if they have the same name, the first of one with the first of the other where a name stands
    /// more than once.
    pub fn of(a: &Summary, b: &Summary) -> Self {
        let mut rest: Vec<Option<&LayerSummary>> = b.layers.iter().map(Some).collect();
        let mut pairs: Vec<(Option<&LayerSummary>, Option<&LayerSummary>)> = Vec::new();
        for layer in &a.layers {
            let same = rest.iter_mut().find(|other| other.is_some_and(|other| other.name == layer.name));
            pairs.push((Some(layer), same.and_then(Option::take)));
        }
        pairs.extend(rest.into_iter().flatten().map(|layer| (None, Some(layer))));
        let (of_a, of_b) = (a.programs(), b.programs());
        let mut sums = [Accounts::new(), Accounts::new()];
        let mut layers = Vec::with_capacity(pairs.len());
        for (one, other) in pairs {
            let name = one.or(other).map_or_else(String::new, |layer| layer.name.clone());
            let sides = [one.map(|layer| accounts(layer, of_a)), other.map(|layer| accounts(layer, of_b))];
            for (sum, side) in sums.iter_mut().zip(&sides) {
                for (account, more) in side.iter().flatten() {
                    *sum.entry(account).or_default() += more;
                }
            }
            let [one, other] = sides;
            layers.push(LayerDiff::of(name, one.as_ref(), other.as_ref()));
        }
        let total = LayerDiff::of("all".to_owned(), Some(&sums[0]), Some(&sums[1]));
        Self { a: DiffSide::of(a), b: DiffSide::of(b), layers, total }
    }

    /// The layers that have a row of their own, and the others as one: of more than 25 the 10 that change most are told apart.
    fn shown(&self) -> (Vec<&LayerDiff>, Option<LayerDiff>) {
        if self.layers.len() <= MOST_ROWS {
            return (self.layers.iter().collect(), None);
        }
        let mut order: Vec<usize> = (0..self.layers.len()).collect();
        order.sort_by_key(|place| std::cmp::Reverse(self.layers[*place].change_cycles.unsigned_abs()));
        let (kept, rest) = order.split_at(KEPT_ROWS);
        let mut kept = kept.to_vec();
        kept.sort_unstable();
        let sum = |cycles: fn(&LayerDiff) -> Option<u64>| Some(rest.iter().filter_map(|place| cycles(&self.layers[*place])).sum::<u64>());
        let others = LayerDiff {
            name: format!("{} other layers", rest.len()),
            a_cycles: sum(|layer| layer.a_cycles),
            b_cycles: sum(|layer| layer.b_cycles),
            change_cycles: rest.iter().map(|place| self.layers[*place].change_cycles).sum(),
            accounts: Vec::new(),
        };
        (kept.into_iter().map(|place| &self.layers[place]).collect(), Some(others))
    }

    /// The difference as JSON.
    pub fn json(&self) -> String {
        pretty(self)
    }

    /// The difference as text of at most 100 columns.
    pub fn terminal(&self) -> String {
        let mut text = String::new();
        for (name, side) in [("A", &self.a), ("B", &self.b)] {
            let accuracy = side.accuracy.map_or_else(String::new, |accuracy| format!("   accuracy {accuracy:.4}"));
            let _ = writeln!(
                text,
                "{name}   {} on {} at {}   {}   batch {}   {} weights\n    {} cycles a batch, {}   {} a sample{accuracy}",
                human::shorten(&side.network, 24),
                human::shorten(&side.chip, 24),
                human::frequency(side.clock_hz),
                human::shorten(&side.recipe, 20),
                human::count(side.batch),
                side.weights,
                human::count(side.cycles),
                human::si(side.latency_s, "s"),
                human::energy(side.energy_pj_per_sample),
            );
        }
        if self.a.clock_hz != self.b.clock_hz {
            text.push_str("The clocks differ: cycles of A are not as long as those of B.\n");
        }
        if (self.a.batch, &self.a.network) != (self.b.batch, &self.b.network) {
            text.push_str("Not the same work: networks or batches differ.\n");
        }
        text.push('\n');
        let header = ["layer, and in which account", "A", "B", "change", ""].map(str::to_owned);
        let mut rows = table(&header, 1);
        let (shown, rest) = self.shown();
        for layer in shown.into_iter().chain(rest.as_ref()).chain([&self.total]) {
            let cycles = |cycles: Option<u64>| cycles.map_or_else(|| "-".to_owned(), human::count);
            let row = |name: String, a: Option<u64>, b: Option<u64>, change: i64| {
                let share = match a {
                    Some(before @ 1..) => signed_percent(ratio(change as f64, before as f64)),
                    _ => String::new(),
                };
                [name, cycles(a), cycles(b), signed(change), share]
            };
            rows.add_row(row(human::shorten(&layer.name, 36), layer.a_cycles, layer.b_cycles, layer.change_cycles));
            for account in &layer.accounts {
                let name = format!("  {}", human_account(&account.account));
                rows.add_row(row(name, Some(account.a_cycles), Some(account.b_cycles), account.change_cycles));
            }
        }
        text.push_str(&rendered("Core cycles of a batch", &rows));
        text
    }
}

impl DiffSide {
    fn of(summary: &Summary) -> Self {
        Self {
            network: summary.network.name.clone(),
            chip: summary.chip.name.clone(),
            recipe: summary.recipe.clone(),
            batch: summary.batch,
            weights: summary.weights.name().to_owned(),
            clock_hz: summary.chip.clock_hz,
            cycles: a_program(summary.total_cycles, summary.programs()),
            latency_s: summary.latency_s,
            energy_pj_per_sample: summary.energy_pj_per_sample,
            area_mm2: summary.area_mm2,
            accuracy: summary.metrics.as_ref().and_then(|metrics| metrics.get("accuracy")).and_then(|values| values.chip),
        }
    }
}

impl LayerDiff {
    fn of(name: String, a: Option<&Accounts>, b: Option<&Accounts>) -> Self {
        let sum = |side: Option<&Accounts>| side.map(|side| side.values().sum::<u64>());
        let of = |side: Option<&Accounts>, account| side.and_then(|side| side.get(account)).copied().unwrap_or(0);
        let names: BTreeSet<&str> = a.into_iter().chain(b).flat_map(|side| side.keys().copied()).collect();
        let accounts = names.into_iter().map(|account| {
            let (a_cycles, b_cycles) = (of(a, account), of(b, account));
            let change_cycles = b_cycles.cast_signed() - a_cycles.cast_signed();
            AccountDiff { account: account.to_owned(), a_cycles, b_cycles, change_cycles }
        });
        let mut accounts: Vec<AccountDiff> = accounts.filter(|account| account.change_cycles != 0).collect();
        // Stable: what changes as much stays in the order of names.
        accounts.sort_by_key(|account| std::cmp::Reverse(account.change_cycles.unsigned_abs()));
        let change_cycles = accounts.iter().map(|account| account.change_cycles).sum();
        Self { name, a_cycles: sum(a), b_cycles: sum(b), change_cycles, accounts }
    }
}

/// A layer's accounts in one of so many programs, which all take the same.
fn accounts(layer: &LayerSummary, programs: u64) -> Accounts {
    let fixed = [("busy", layer.busy_cycles), ("idle", layer.idle_cycles)];
    let stalls = layer.stall_cycles.iter().map(|(reason, cycles)| (reason.name(), *cycles));
    fixed.into_iter().chain(stalls).map(|(account, cycles)| (account, a_program(cycles, programs))).collect()
}

fn a_program(cycles: u64, programs: u64) -> u64 {
    cycles / programs.max(1)
}

fn signed(change: i64) -> String {
    let sign = match change {
        0 => "",
        1.. => "+",
        _ => "-",
    };
    format!("{sign}{}", human::count(change.unsigned_abs()))
}

fn signed_percent(share: f64) -> String {
    let sign = if share < 0.0 { "-" } else { "+" };
    if share == 0.0 { "0%".to_owned() } else { format!("{sign}{}", human::percent(share.abs())) }
}

fn human_account(account: &str) -> String {
    StallReason::from_name(account).map_or_else(|| account.to_owned(), |reason| human::stall(reason).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    /// 2 layers in A, 2 in B, of which one is the same; two programs in A, one in B.
    fn runs() -> (Summary, Summary) {
        use StallReason::{DramBandwidth, WeightsNotReady};
        let a = fixture::run(
            "a",
            2,
            vec![fixture::layer("one", 100, 2000, 50, &[(WeightsNotReady, 30)]), fixture::layer("two", 100, 400, 100, &[])],
        );
        let b = fixture::run(
            "b",
            1,
            vec![
                fixture::layer("one", 100, 900, 60, &[(WeightsNotReady, 10), (DramBandwidth, 20)]),
                fixture::layer("three", 9, 50, 100, &[]),
            ],
        );
        (a, b)
    }

    #[test]
    fn rows_and_their_accounts_sum_to_the_difference_by_hand() {
        let (a, b) = runs();
        let diff = RunDiff::of(&a, &b);
        // A batch of A: 1000 (500 busy, 300 weights, 200 idle) and 200; of B: 900 (540 busy, 90 weights, 180 DRAM, 90 idle) and 50.
        let row = |layer: &LayerDiff| (layer.a_cycles, layer.b_cycles, layer.change_cycles);
        assert_eq!(
            diff.layers.iter().map(row).collect::<Vec<_>>(),
            [(Some(1000), Some(900), -100), (Some(200), None, -200), (None, Some(50), 50)]
        );
        let one: Vec<_> = diff.layers[0].accounts.iter().map(|part| (part.account.as_str(), part.a_cycles, part.change_cycles)).collect();
        assert_eq!(one, [("weights_not_ready", 300, -210), ("dram_bandwidth", 0, 180), ("idle", 200, -110), ("busy", 500, 40)]);
        assert_eq!(row(&diff.total), (Some(1200), Some(950), -250));
        for layer in diff.layers.iter().chain([&diff.total]) {
            assert_eq!(layer.accounts.iter().map(|part| part.change_cycles).sum::<i64>(), layer.change_cycles);
        }
        assert_eq!(diff.layers.iter().map(|layer| layer.change_cycles).sum::<i64>(), diff.total.change_cycles);
        assert_eq!([diff.a.cycles, diff.b.cycles], [1200, 950]);
    }

    #[test]
    fn a_run_differs_from_itself_in_nothing() {
        let run = fixture::deep(12);
        let diff = RunDiff::of(&run, &run);
        assert_eq!(diff.total.change_cycles, 0);
        assert!(diff.layers.iter().all(|layer| layer.accounts.is_empty() && layer.a_cycles == layer.b_cycles));
    }

    #[test]
    fn a_hundred_columns_are_enough_and_json_has_every_row() {
        let (a, b) = (fixture::deep(53), fixture::deep(12));
        let diff = RunDiff::of(&a, &b);
        assert!(diff.terminal().lines().all(|line| line.chars().count() <= 100), "{}", diff.terminal());
        let value: serde_json::Value = serde_json::from_str(&diff.json()).unwrap();
        assert_eq!(value["layers"].as_array().unwrap().len(), diff.layers.len());
        assert!(diff.terminal().contains("44 other layers"));
        let (a, b) = runs();
        let text = RunDiff::of(&a, &b).terminal();
        for wanted in ["  waits for weights", "-210", "+180", "-250", "Not the same work"] {
            assert!(text.contains(wanted), "{wanted} is missing from {text}");
        }
    }
}
