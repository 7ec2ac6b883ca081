//! Two small runs worked by hand from the contract of time: every unit's account of every cycle. ARCHITECTURE.md shows them; this holds
//! the machine, and that page, to them.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

use ndarray::{Array1, Array2};
use systole::chip::{self, Chip};
use systole::counts::StallReason;
use systole::mapping::{self, WeightStart};
use systole::network::{Activation, Bias, Dense, Network, NetworkBuilder, Op, Weight};
use systole::numerics::{Dtype, Quantization};
use systole::program::emit;
use systole::sim::{Account, Machine};

/// A 2 x 2 array, hops and buffers as usual, no registers beside them. DRAM and both DMA engines move 4 bytes a cycle after 2 cycles of
/// latency; a scratchpad row is 2 bytes, an accumulator row two sums; every on-chip latency is 1.
fn chip(banks: u32) -> Chip {
    let sets = [
        ("array.rows", "2".to_string()),
        ("array.cols", "2".to_string()),
        ("array.dataflows.0.pipeline_registers", "0".to_string()),
        ("array.dataflows.0.min_pass_cycles", "1".to_string()),
        ("scratchpads", format!("[(role: Shared, capacity: B(64), banks: {banks}, port_bytes: 2, latency: Cycles(1))]")),
        ("accumulator", "(capacity: B(64), banks: 2, port_bytes: 8, latency: Cycles(1))".to_string()),
        ("vector.lanes", "2".to_string()),
        ("vector.start_cycles", "0".to_string()),
        ("dma.bytes_per_cycle", "4".to_string()),
        ("dram", "Ideal(bytes_per_cycle: 4, latency: Cycles(2))".to_string()),
    ];
    chip::load("edge-16x16", &sets.map(|(field, value)| (field.to_string(), value))).unwrap()
}

/// One dense layer of K inputs and two outputs.
fn network(k: usize) -> Network {
    let quantization = Quantization { dtype: Dtype::Int8, scale: 1.0, zero_point: 0 };
    let weight = Weight::Integer { values: Array2::ones((k, 2)), dtype: Dtype::Int8, scales: vec![1.0], zero_points: vec![] };
    let dense = Dense { weight, bias: Some(Bias::Integer(Array1::from(vec![10, 20]))), activation: Activation::None };
    let mut builder = NetworkBuilder::new("one");
    let input = builder.input("x", vec![k]).unwrap();
    let output = builder.layer("dense", Op::Dense(dense), &[input]).unwrap();
    builder.quantize(input, quantization);
    builder.quantize(output, quantization);
    builder.finish(output).unwrap()
}

fn letter(account: Account) -> char {
    match account {
        Account::Busy => '#',
        Account::Idle => '.',
        Account::Stalled(StallReason::WeightsNotReady) => 'w',
        Account::Stalled(StallReason::ResultNotReady) => 'r',
        Account::Stalled(StallReason::MemoryLatency) => 'm',
        Account::Stalled(StallReason::ScratchpadConflict) => 'c',
        Account::Stalled(StallReason::DramLatency) => 'l',
        Account::Stalled(StallReason::DramBandwidth) => 'd',
        Account::Stalled(other) => panic!("{other:?} has no letter here"),
    }
}

/// A line a unit, a letter a cycle; and the two outputs.
fn timeline(chip: &Chip, k: usize, input: &[u8]) -> (String, Vec<u8>) {
    let network = network(k);
    let stages = mapping::lower(&network, chip, 1).unwrap().stages;
    let mapping = mapping::map(&stages, chip, 1, WeightStart::Cold).unwrap();
    let program = emit(&network, &mapping, chip).unwrap();
    let mut lines = ["array   ", "vector  ", "dma0    ", "dma1    "].map(str::to_string);
    let run = Machine::new(chip, &chip.formats()[0], &program)
        .unwrap()
        .run_watched(&[input], |_, accounts| lines.iter_mut().zip(accounts).for_each(|(line, account)| line.push(letter(*account))))
        .unwrap();
    (lines.join("\n"), run.output)
}

/// K = 2: one tile, one pass. Both engines ask for the bus at once; the lower one, which fetches the bias, goes first.
const ONE_TILE: &str = "\
array   wwwwwwm#####.....
vector  rrrrrrrrrrrrm#...
dma0    ll##d#...........
dma1    lldd#rrrrrrrrrll#";

/// K = 4 and one scratchpad bank: two tiles. A beat of 4 bytes fills two rows of the one bank, which takes two cycles, and the array goes
/// before the DMA engine where both want it.
const TWO_TILES_ONE_BANK: &str = "\
array   wwwwwwwwm##########.....
vector  rrrrrrrrrrrrrrrrrrrm#...
dma0    ll##ddc#cccc#...........
dma1    llddc#rrrrrrrrrrrrrrrll#";

#[test]
fn one_tile_runs_as_worked_by_hand() {
    assert_eq!(timeline(&chip(2), 2, &[1, 2]), (ONE_TILE.to_string(), vec![13, 23]));
}

#[test]
fn two_tiles_on_one_bank_run_as_worked_by_hand() {
    assert_eq!(timeline(&chip(1), 4, &[1, 2, 3, 4]), (TWO_TILES_ONE_BANK.to_string(), vec![20, 30]));
}

#[test]
fn the_architecture_page_shows_these_timelines() {
    let page = include_str!("../ARCHITECTURE.md");
    for timeline in [ONE_TILE, TWO_TILES_ONE_BANK] {
        assert!(page.contains(timeline), "ARCHITECTURE.md lacks\n{timeline}");
    }
}
