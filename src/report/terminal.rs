//! The report on the terminal, as text of at most 100 columns without colour: the chip, the network, the layers (first where their
//! cycles went, then what they did and cost), the totals, what pruning was worth, the metrics.
//!
//! Not here: printing it (`cli`), and how a number becomes text (`human`).

use super::human;
use super::pruning::pruning;
use super::whatif::why_so_long;
use super::{LayerSummary, MetricValues, Residency, Summary, ratio};
use crate::counts::StallReason;
use comfy_table::{CellAlignment, LineStyle, Table, presets};
use std::fmt::Write as _;

/// Which layers have a row of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayerRows {
    /// All of up to 25 layers; of more, the 10 that take most cycles, and the rest in one row.
    Costliest,
    /// All.
    All,
}

/// More layers than this are cut to the costliest.
const MOST_ROWS: usize = 25;
/// How many then keep a row of their own.
const KEPT_ROWS: usize = 10;
/// Stall reasons that have a column of their own; more are joined.
const STALL_COLUMNS: usize = 4;
/// Characters of a layer's name.
const NAME_WIDTH: usize = 23;

/// The whole report.
pub fn terminal(summary: &Summary, rows: LayerRows) -> String {
    let mut text = String::new();
    let layers = Shown::of(summary, rows);
    let parts = [head(summary), where_cycles_went(summary, &layers)];
    let parts = parts.into_iter().chain(why_so_long(summary, &layers)).chain([what_layers_cost(summary, &layers), totals(summary)]);
    for part in parts {
        text.push_str(&part);
        text.push('\n');
    }
    if let Some(mixed) = &summary.mixed_precision {
        text.push_str(&mixed.terminal());
        text.push('\n');
    }
    if let Some(pruning) = pruning(summary) {
        text.push_str(&pruning);
        text.push('\n');
    }
    text.push_str(&metrics(summary));
    text
}

/// What has a row: layers by themselves, and the rest together.
pub(super) struct Shown<'a> {
    rows: Vec<&'a LayerSummary>,
    rest: Vec<&'a LayerSummary>,
}

impl<'a> Shown<'a> {
    fn of(summary: &'a Summary, rows: LayerRows) -> Self {
        let all: Vec<&LayerSummary> = summary.layers.iter().collect();
        if rows == LayerRows::All || all.len() <= MOST_ROWS {
            return Self { rows: all, rest: Vec::new() };
        }
        let mut order: Vec<usize> = (0..all.len()).collect();
        order.sort_by_key(|&index| (std::cmp::Reverse(all[index].total_cycles), index));
        let (kept, _) = order.split_at(KEPT_ROWS);
        let (rows, rest): (Vec<_>, Vec<_>) = all.iter().enumerate().partition(|(index, _)| kept.contains(index));
        let bare = |part: Vec<(usize, &&'a LayerSummary)>| part.into_iter().map(|(_, layer)| *layer).collect();
        Self { rows: bare(rows), rest: bare(rest) }
    }

    /// Each row: its name and the layers that it sums; all layers last.
    pub(super) fn groups(&self, summary: &'a Summary) -> Vec<(String, Vec<&'a LayerSummary>)> {
        let mut groups: Vec<_> = self.rows.iter().map(|layer| (human::shorten(&layer.name, NAME_WIDTH), vec![*layer])).collect();
        if !self.rest.is_empty() {
            groups.push((format!("{} other layers", self.rest.len()), self.rest.clone()));
        }
        groups.push(("all".to_owned(), summary.layers.iter().collect()));
        groups
    }
}

fn sum(group: &[&LayerSummary], figure: impl Fn(&LayerSummary) -> u64) -> u64 {
    group.iter().map(|layer| figure(layer)).sum()
}

/// The chip, the network and the run, a line each, their facts three spaces apart.
fn head(summary: &Summary) -> String {
    let (chip, network) = (&summary.chip, &summary.network);
    let cores = if chip.cores == 1 { String::new() } else { format!("{} cores of ", chip.cores) };
    let lines = [
        (
            "chip",
            vec![
                chip.name.clone(),
                format!("{cores}{} × {} PEs at {}", chip.rows, chip.cols, human::frequency(chip.clock_hz)),
                format!("{} TOPS peak", human::digits(chip.peak_tops)),
                format!("{} on chip", human::bytes(chip.on_chip_bytes)),
                format!("DRAM {}/s", human::si(chip.dram_bytes_per_s, "B")),
            ],
        ),
        (
            "network",
            vec![
                network.name.clone(),
                human::plural(network.layers, "layer"),
                format!("{} MACs a sample", human::count(network.macs)),
                weights_held(summary),
            ],
        ),
        (
            "run",
            vec![
                summary.recipe.clone(),
                human::plural(summary.samples, "sample"),
                batches(summary),
                format!("{} weights", summary.weights.name()),
                format!("{} engine", summary.engine),
            ],
        ),
    ];
    let mut text = String::new();
    for (name, facts) in lines {
        let _ = writeln!(text, "{name:<9}{}", facts.join("   "));
    }
    text
}

/// The batch; where there are several, how many, and what fills the last one up.
fn batches(summary: &Summary) -> String {
    let programs = summary.programs();
    if programs == 1 && summary.samples == summary.batch || summary.batch == 1 {
        return format!("batch {}", human::count(summary.batch));
    }
    let zeros = (programs * summary.batch).saturating_sub(summary.samples);
    let filling = match (zeros, programs) {
        (0, _) => String::new(),
        (_, 1) => format!(" with {} of zeros", human::plural(zeros, "sample")),
        _ => format!(", the last with {} of zeros", human::plural(zeros, "sample")),
    };
    let number = if programs == 1 { "1 batch".to_owned() } else { format!("{} batches", human::count(programs)) };
    format!("{number} of {}{filling}", human::count(summary.batch))
}

/// A table without borders: names to the left, numbers to the right.
pub(super) fn table(header: &[String], left: usize) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING.header_separator(LineStyle::none().fill('─').junction('─')));
    table.force_no_tty();
    table.set_header(header.to_vec());
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 1));
        column.set_cell_alignment(if index < left { CellAlignment::Left } else { CellAlignment::Right });
    }
    table
}

pub(super) fn rendered(title: &str, table: &Table) -> String {
    let mut text = format!("{title}\n");
    for line in table.lines() {
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Cycles of each layer, and the share of them that was busy, idle, or stalled for each reason that occurred.
fn where_cycles_went(summary: &Summary, shown: &Shown<'_>) -> String {
    let mut reasons: Vec<(StallReason, u64)> = StallReason::ALL
        .into_iter()
        .map(|reason| (reason, summary.layers.iter().filter_map(|layer| layer.stall_cycles.get(&reason)).sum()))
        .filter(|(_, cycles)| *cycles > 0)
        .collect();
    reasons.sort_by_key(|&(reason, cycles)| (std::cmp::Reverse(cycles), reason));
    let named = if reasons.len() > STALL_COLUMNS { STALL_COLUMNS - 1 } else { reasons.len() };
    let (own, joined) = reasons.split_at(named);

    let mut header: Vec<String> = ["layer", "cycles\na sample", "cycles\nin all", "share", "busy"].map(str::to_owned).into();
    header.extend(own.iter().map(|(reason, _)| stall_header(*reason).to_owned()));
    if !joined.is_empty() {
        header.push("other\nstalls".to_owned());
    }
    header.push("idle".to_owned());

    let mut cycles = table(&header, 1);
    for (name, group) in shown.groups(summary) {
        let total = sum(&group, |layer| layer.total_cycles);
        if total == 0 {
            cycles.add_row([name, "host".to_owned()]);
            continue;
        }
        let part = |spent: u64| if spent == 0 { "·".to_owned() } else { human::percent(ratio(spent as f64, total as f64)) };
        let stalled = |reasons: &[(StallReason, u64)]| {
            sum(&group, |layer| reasons.iter().filter_map(|(reason, _)| layer.stall_cycles.get(reason)).sum())
        };
        let mut row = vec![
            name,
            human::about(ratio(total as f64, summary.samples as f64)),
            human::si(total as f64, ""),
            human::percent(ratio(total as f64, summary.total_cycles as f64)),
            part(sum(&group, |layer| layer.busy_cycles)),
        ];
        row.extend(own.iter().map(|reason| part(stalled(std::slice::from_ref(reason)))));
        if !joined.is_empty() {
            row.push(part(stalled(joined)));
        }
        row.push(part(sum(&group, |layer| layer.idle_cycles)));
        cycles.add_row(row);
    }
    rendered("Where the array's cycles went (busy: it loads, fills, computes or drains)", &cycles)
}

/// What a reason's column is called, on two lines.
const fn stall_header(reason: StallReason) -> &'static str {
    match reason {
        StallReason::WeightsNotReady => "wait for\nweights",
        StallReason::InputNotReady => "wait for\ninput",
        StallReason::BiasNotReady => "wait for\nbias",
        StallReason::ResultNotReady => "wait for\nsums",
        StallReason::BufferFull => "buffer\nfull",
        StallReason::MemoryLatency => "memory\nlatency",
        StallReason::ScratchpadConflict => "pad bank\nconflict",
        StallReason::AccumulatorConflict => "acc bank\nconflict",
        StallReason::AccumulatorHazard => "acc row\npending",
        StallReason::DramLatency => "DRAM\nlatency",
        StallReason::DramBandwidth => "DRAM\nbusy",
        StallReason::Codec => "un-\npacking",
        StallReason::ArrayDrain => "array\ndrain",
        StallReason::Host => "host\nbusy",
    }
}

/// The bytes of weights, how they are stored where that takes fewer, and the share of zeros where one in twenty is zero.
fn weights_held(summary: &Summary) -> String {
    let network = &summary.network;
    let mut text = format!("{} of weights", human::bytes(network.weight_bytes));
    if network.weight_stored_bytes < network.weight_bytes {
        let _ = write!(text, ", stored in {}", human::bytes(network.weight_stored_bytes));
    }
    let zeros: f64 = summary.layers.iter().map(|layer| layer.sparsity * layer.weight_bytes as f64).sum();
    let share = ratio(zeros, network.weight_bytes as f64);
    if share >= 0.05 {
        let _ = write!(text, ", {} zeros", human::percent(share));
    }
    text
}

/// What each layer did and cost. MACs, bytes and energy are a sample's.
fn what_layers_cost(summary: &Summary, shown: &Shown<'_>) -> String {
    let header = ["layer", "format", "bound by", "MACs", "util", "mapped", "DRAM", "energy", "SQNR\ndB"].map(str::to_owned);
    let mut costs = table(&header, 3);
    let samples = summary.samples as f64;
    for (name, group) in shown.groups(summary) {
        let energy: f64 = group.iter().map(|layer| layer.energy_pj).sum();
        let macs = sum(&group, |layer| layer.macs_executed) as f64 / samples;
        let dram = sum(&group, |layer| layer.dram_read_bytes + layer.dram_write_bytes);
        let one = if let [layer] = group[..] { Some(layer) } else { None };
        let is_host = group.iter().all(|layer| layer.is_host());
        let utilization = match one {
            Some(layer) => layer.utilization,
            None if group.len() == summary.layers.len() => summary.utilization,
            None => {
                let weighted: f64 = group.iter().map(|layer| layer.utilization * layer.total_cycles as f64).sum();
                ratio(weighted, sum(&group, |layer| layer.total_cycles) as f64)
            }
        };
        let unless_host = |text: String| if is_host { String::new() } else { text };
        let mapped = one.filter(|layer| layer.macs_executed > 0).map(|layer| human::percent(layer.mapping_efficiency));
        let bound = one.map_or_else(String::new, |layer| layer.bound_by.replace('_', " ").replace("dram", "DRAM"));
        costs.add_row([
            name,
            one.filter(|_| !is_host).map_or_else(String::new, |layer| short_format(&layer.format)),
            bound,
            unless_host(human::si(macs, "")),
            unless_host(human::percent(utilization)),
            mapped.unwrap_or_default(),
            unless_host(whole_or_part(dram, summary.samples)),
            unless_host(human::energy(ratio(energy, samples))),
            one.and_then(|layer| layer.sqnr_db).map_or_else(String::new, |sqnr| format!("{sqnr:.1}")),
        ]);
    }
    rendered("What each layer did and cost, a sample (util: MACs per cycle and PE; mapped: PEs that a pass fills)", &costs)
}

/// `int8 x int8` as `int8`, `int4 x int8` as `int4×int8`.
fn short_format(format: &str) -> String {
    match format.split_once(" x ") {
        Some((weight, activation)) if weight == activation => weight.to_owned(),
        _ => format.replace(" x ", "×"),
    }
}

/// Bytes a sample.
fn whole_or_part(bytes: u64, samples: u64) -> String {
    human::bytes((bytes + samples / 2) / samples.max(1))
}

/// Latency, throughput, energy, power, efficiency, area, and how much of it is assumed.
fn totals(summary: &Summary) -> String {
    let programs = summary.programs();
    let batch_cycles = ratio(summary.total_cycles as f64, programs as f64);
    let bound = ratio(summary.cycles_lower_bound as f64, summary.total_cycles as f64);
    let peak = ratio(summary.effective_tops(), summary.chip.peak_tops);
    let mut parts: Vec<(&str, f64)> = summary.energy_pj_by_part.parts().into();
    parts.sort_by(|one, other| other.1.total_cmp(&one.1));
    let shares: Vec<String> = parts
        .iter()
        .filter(|(_, energy)| *energy > 0.0)
        .take(4)
        .map(|(name, energy)| format!("{name} {}", human::percent(ratio(*energy, summary.energy_pj))))
        .collect();
    let mut rows = vec![
        (
            "latency",
            human::si(summary.latency_s, "s"),
            format!(
                "{} cycles a batch of {}; lower bound {} ({})",
                human::about(batch_cycles),
                human::count(summary.batch),
                human::about(ratio(summary.cycles_lower_bound as f64, programs as f64).round()),
                human::percent(bound)
            ),
        ),
        ("throughput", human::si(summary.throughput_per_s, "/s"), "samples, full batches one after another".to_owned()),
        ("energy", human::energy(summary.energy_pj_per_sample), format!("a sample: {}", shares.join(", "))),
        ("power", human::si(summary.average_power_mw() * 1e-3, "W"), "average while it runs, DRAM included".to_owned()),
        (
            "performance",
            format!("{} TOPS", human::digits(summary.effective_tops())),
            format!("effective, {} of peak", human::percent(peak)),
        ),
        ("efficiency", format!("{} TOPS/W", human::digits(summary.tops_per_watt())), "effective, at that power".to_owned()),
        ("area", format!("{} mm²", human::digits(summary.area_mm2)), "array, memories and vector unit".to_owned()),
        (
            "on chip",
            human::bytes(summary.residency.memories.iter().map(|memory| memory.peak_bytes).max().unwrap_or(0)),
            on_chip(&summary.residency),
        ),
        (
            "assumed",
            human::percent(summary.energy_assumed_share),
            "of the energy is counted at assumed costs, the rest at sourced ones".to_owned(),
        ),
    ];
    if summary.coded_bytes > 0 {
        let read = whole_or_part(summary.coded_bytes, summary.samples);
        let unpacked = whole_or_part(summary.unpacked_bytes, summary.samples);
        rows.insert(2, ("codec", read, format!("crossed coded a sample, {unpacked} unpacked")));
    }
    let width = rows.iter().map(|(_, value, _)| value.chars().count()).max().unwrap_or(0);
    let mut text = "Totals\n".to_owned();
    for (name, value, note) in rows {
        let _ = writeln!(text, "{name:<12} {value:>width$}   {note}");
    }
    text
}

/// How full the fullest memory is, and what stays on the chip between layers.
fn on_chip(residency: &Residency) -> String {
    let fullest = residency.memories.iter().max_by_key(|memory| memory.peak_bytes);
    let mut text =
        fullest.map_or_else(String::new, |memory| format!("at most, of {} of {}", human::bytes(memory.capacity_bytes), memory.memory));
    let Residency { passed_on, spilled, .. } = residency;
    if *passed_on > 0 {
        let _ = write!(text, "; {} of {} stay", passed_on - spilled, human::plural(*passed_on, "output"));
    }
    if let Some(smallest) = &residency.smallest_scratchpad {
        let _ = write!(text, ", all with {}", human::bytes(smallest.capacity_bytes));
    }
    text
}

/// A value of a metric.
type MetricColumn = fn(&MetricValues) -> Option<f64>;

/// The metrics of three executions, and whether the chip computed what the integer reference did.
fn metrics(summary: &Summary) -> String {
    let mut text = String::new();
    if let Some(metrics) = summary.metrics.as_ref().filter(|metrics| !metrics.is_empty()) {
        let columns: [(&str, MetricColumn); 4] = [
            ("float\nreference", |values| values.float),
            ("compressed\nfloat", |values| values.compressed_float),
            ("integer\nreference", |values| values.integer),
            ("this\nchip", |values| values.chip),
        ];
        let used: Vec<_> = columns.into_iter().filter(|(_, column)| metrics.values().any(|values| column(values).is_some())).collect();
        let header: Vec<String> = ["metric"].into_iter().chain(used.iter().map(|(name, _)| *name)).map(str::to_owned).collect();
        let mut table = table(&header, 1);
        for (name, values) in metrics {
            let cells = used.iter().map(|(_, column)| column(values).map_or_else(String::new, |value| format!("{value:.4}")));
            table.add_row([name.clone()].into_iter().chain(cells).collect::<Vec<String>>());
        }
        text.push_str(&rendered("Metrics", &table));
        text.push('\n');
    }
    // A sentence to search for, in logs too: its numbers have no separators.
    let values = format!("{} output value{}", summary.output_values, if summary.output_values == 1 { "" } else { "s" });
    match summary.mismatches {
        None => text.push_str("Outputs were not compared with the integer reference.\n"),
        Some(0) => {
            let _ = writeln!(text, "0 mismatches in {values}: the chip equals the integer reference, bit for bit.");
        }
        Some(mismatches) => {
            let _ = writeln!(text, "{mismatches} mismatch{} in {values}!", if mismatches == 1 { "" } else { "es" });
            if let Some(first) = &summary.first_mismatch {
                let cycle = first.cycle.map_or_else(String::new, |cycle| format!(", cycle {}", human::count(cycle)));
                let _ = writeln!(
                    text,
                    "The first: stage {}, sample {}, element {}{cycle}: expected {}, got {}.",
                    first.stage, first.sample, first.index, first.expected, first.got
                );
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Mismatch;
    use crate::report::fixture;

    #[test]
    fn a_report_is_pleasant_to_read() {
        insta::assert_snapshot!(terminal(&fixture::simplenet(), LayerRows::Costliest));
    }

    #[test]
    fn many_layers_are_cut_to_the_costliest_and_their_rows_still_sum() {
        let summary = fixture::deep(53);
        let text = terminal(&summary, LayerRows::Costliest);
        insta::assert_snapshot!(text);
        assert!(text.contains("44 other layers"));
        assert!(terminal(&summary, LayerRows::All).lines().count() > 100);
    }

    #[test]
    fn a_hundred_columns_are_enough() {
        for summary in [fixture::simplenet(), fixture::deep(12), fixture::deep(53)] {
            for line in terminal(&summary, LayerRows::All).lines() {
                assert!(line.chars().count() <= 100 && !line.ends_with(' '), "{line}");
            }
        }
    }

    #[test]
    fn what_crosses_coded_is_told_in_both_sizes() {
        let mut summary = fixture::simplenet();
        assert!(!terminal(&summary, LayerRows::Costliest).contains("codec"));
        (summary.coded_bytes, summary.unpacked_bytes) = (10_000 * 2048, 10_000 * 8192);
        summary.network.weight_stored_bytes = 20 * 1024;
        let text = terminal(&summary, LayerRows::Costliest);
        assert!(text.contains("51.8 KiB of weights, stored in 20 KiB"), "{text}");
        assert!(text.contains("crossed coded a sample, 8 KiB unpacked"), "{text}");
    }

    #[test]
    fn the_first_mismatch_is_named() {
        let mut summary = fixture::simplenet();
        summary.mismatches = Some(3);
        summary.first_mismatch = Some(Mismatch { stage: "fc1".to_owned(), sample: 12, index: 3, cycle: Some(4123), expected: 12, got: 13 });
        let text = terminal(&summary, LayerRows::Costliest);
        assert!(text.contains("3 mismatches in 100000 output values!"), "{text}");
        assert!(text.contains("The first: stage fc1, sample 12, element 3, cycle 4,123: expected 12, got 13."), "{text}");
    }
}
