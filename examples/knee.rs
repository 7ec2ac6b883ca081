//! Sweeps DRAM's bandwidth and the size of the scratchpad for one layer, and shows where more of either stops to help.
//!
//! `cargo run --release --example knee -- reports/knee-conv3_1b` writes `knee.csv`, `knee.svg` and `knee.png` to that folder and prints the knees.

#![allow(clippy::print_stdout, reason = "what it says is its output")]

use std::error::Error;
use std::fmt::Write as _;
use std::path::PathBuf;
use systole::chip;
use systole::mapping::{self, WeightStart};
use systole::pipeline::{self, RunOptions};
use systole::plot::{self, Chart, ChartLine};
use systole::topology::{self, Table};

const LAYER: &str = "conv3_1b";
/// KiB of the scratchpad.
const SIZES: [u32; 4] = [16, 64, 128, 256];
/// Bytes a cycle, about three a doubling.
const RATES: [&str; 23] = [
    "0.25", "0.32", "0.4", "0.5", "0.63", "0.8", "1", "1.25", "1.6", "2", "2.5", "3.2", "4", "5", "6.3", "8", "10", "12.5", "16", "20",
    "25", "32", "64",
];

fn main() -> Result<(), Box<dyn Error>> {
    let folder = PathBuf::from(std::env::args().nth(1).ok_or("say which folder: knee FOLDER")?);
    let mut table = topology::load("tests/topologies/resnet18.csv".as_ref())?;
    table.layers.retain(|layer| layer.name == LAYER);
    let options = RunOptions::new("w8a8".parse()?);
    let mut csv = String::from(
        "scratchpad_bytes,dram_bytes_per_cycle,total_cycles,dram_bytes,array_cycles_lower_bound,bandwidth_cycles_lower_bound\n",
    );
    let mut lines = Vec::new();
    println!(
        "| scratchpad | traffic, B | array, cycles | predicted knee, B a cycle | cycles there | of the array's | within 10 % of the least from | least cycles |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- |");
    for (number, size) in SIZES.into_iter().enumerate() {
        // What is cut how does not depend on the rate.
        let Timed { traffic, array, .. } = time(&table, &options, size, "1")?;
        let knee = format!("{:.3}", traffic as f64 / array as f64);
        let mut rates: Vec<&str> = RATES.into_iter().chain([knee.as_str()]).collect();
        rates.sort_by(|one, other| value(one).total_cmp(&value(other)));
        let mut measured = Vec::new();
        for rate in rates {
            let cycles = time(&table, &options, size, rate)?.cycles;
            let bandwidth = (traffic as f64 / value(rate)).ceil();
            writeln!(csv, "{},{rate},{cycles},{traffic},{array},{bandwidth}", size * 1024)?;
            measured.push((value(rate), cycles as f64));
        }
        let least = measured.iter().map(|(_, cycles)| *cycles).fold(f64::INFINITY, f64::min);
        let near = measured.iter().find(|(_, cycles)| *cycles <= 1.1 * least).map_or(f64::NAN, |(rate, _)| *rate);
        let there = measured.iter().find(|(rate, _)| *rate >= value(&knee)).map_or(f64::NAN, |(_, cycles)| *cycles);
        println!("| {size} KiB | {traffic} | {array} | {knee} | {there} | {:.2} | {near} | {least} |", there / array as f64);
        let law = |rate: f64| (array as f64).max(traffic as f64 / rate);
        let bound = [value(RATES[0]), value(&knee), 64.0].map(|rate| (rate, law(rate)));
        // The same colour for what was measured and for the law; only the former has marks.
        lines.push(ChartLine { name: format!("{size} KiB: measured"), places: measured, colour: number + 1, is_marked: true });
        let name = format!("{size} KiB: max(array, traffic / bandwidth)");
        lines.push(ChartLine { name, places: bound.to_vec(), colour: number + 1, is_marked: false });
    }
    let chart = Chart {
        title: format!("Where bandwidth stops to help: ResNet-18's {LAYER} on edge-16x16"),
        notes: vec!["batch 1  ·  ideal DRAM, 100 cycles of latency  ·  a line each for a size of the scratchpad".to_string()],
        x_label: "bytes a cycle of DRAM".to_string(),
        y_label: "core cycles".to_string(),
        lines,
        ..Chart::default()
    };
    let (svg, png) = plot::chart(&chart)?;
    std::fs::create_dir_all(&folder)?;
    for (name, bytes) in [("knee.csv", csv.as_bytes()), ("knee.svg", svg.as_bytes()), ("knee.png", &png)] {
        std::fs::write(folder.join(name), bytes)?;
    }
    Ok(())
}

/// One run.
struct Timed {
    cycles: u64,
    /// Bytes on DRAM's bus.
    traffic: u64,
    /// Cycles that the array's passes need.
    array: u64,
}

fn time(table: &Table, options: &RunOptions, size: u32, rate: &str) -> Result<Timed, Box<dyn Error>> {
    let sets = [
        ("scratchpads.0.capacity", format!("KiB({size})")),
        ("dram.bytes_per_cycle", rate.to_string()),
        ("dma.bytes_per_cycle", "64".to_string()),
    ];
    let chip = chip::load("edge-16x16", &sets.map(|(field, value)| (field.to_string(), value)))?;
    let stages = pipeline::table_stages(&chip, table, options)?;
    let mapping = mapping::map(&stages, &chip, 1, WeightStart::Cold)?;
    let array = mapping::lower_bounds(&mapping, &chip).stages[0].demand.array;
    let summary = pipeline::time_table(&chip, table, "", LAYER, options)?;
    Ok(Timed { cycles: summary.total_cycles, traffic: summary.dram_read_bytes + summary.dram_write_bytes, array })
}

/// Bytes a cycle as a number.
fn value(rate: &str) -> f64 {
    rate.parse().unwrap_or(f64::NAN)
}
