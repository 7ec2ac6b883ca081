//! Is the naive stepper the array's contract: its cycles, its order, its skew, its sums?
//!
//! The closed forms are written here from the contract's page, and the products with plain loops; the stepper knows neither. The longer run:
//! `PROPTEST_CASES=20000 cargo test --release --test naive`.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]
#![allow(clippy::cast_possible_truncation, reason = "sizes here are small")]

#[path = "naive/mod.rs"]
mod stepper;

use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use stepper::{IDEAL, IDEAL_OUTPUT, Matrix, OutputPass, Registers, Shape, StationaryPass, transposed};
use systole::chip::{Extent, MaxPassVectors, OutputTiming, Overlap, ReductionPadding, Span, StationaryTiming};
use systole::numerics::{AccumulateRule, Overflow};

const EXACT: AccumulateRule = AccumulateRule { bits: 64, overflow: Overflow::Wrap, chunk: 1 };

fn random(rng: &mut ChaCha8Rng, rows: usize, cols: usize) -> Matrix {
    (0..rows).map(|_| (0..cols).map(|_| rng.random_range(-9..=9)).collect()).collect()
}

/// Bias first, K ascending, one update a chunk.
fn product(a: &Matrix, b: &Matrix, bias: &Matrix, rule: &AccumulateRule) -> Matrix {
    let entry = |m: usize, n: usize| {
        let mut held = bias[m][n];
        for first in (0..b.len()).step_by(rule.chunk as usize) {
            let last = b.len().min(first + rule.chunk as usize);
            held = rule.update(held, (first..last).map(|k| a[m][k] * b[k][n]).sum());
        }
        held
    };
    (0..a.len()).map(|m| (0..b[0].len()).map(|n| entry(m, n)).collect()).collect()
}

fn resolve(span: Span, (rows, cols): (u64, u64)) -> u64 {
    u64::from(span.resolve(rows as u32, cols as u32))
}

fn tail((row_hop, col_hop, registers): (u32, u32, u32), (rows, cols): (u64, u64)) -> u64 {
    u64::from(row_hop) * (rows - 1) + u64::from(col_hop) * (cols - 1) + u64::from(registers)
}

/// Rows, columns that a pass goes by.
fn size(shape: Shape, extent: Extent, used: (usize, usize)) -> (u64, u64) {
    match extent {
        Extent::Physical => (shape.rows as u64, shape.cols as u64),
        Extent::Used => (used.0 as u64, used.1 as u64),
    }
}

/// The contract's closed forms for weight and input stationary.
fn stationary_cycles(shape: Shape, timing: &StationaryTiming, passes: &[StationaryPass]) -> u64 {
    let sizes: Vec<_> =
        passes.iter().map(|pass| size(shape, timing.extent, (pass.tile.len().div_ceil(shape.lanes), pass.tile[0].len()))).collect();
    let stays = |i: usize| i > 0 && passes[i].tile_id == passes[i - 1].tile_id;
    let load = |i: usize| if stays(i) { 0 } else { resolve(timing.load, sizes[i]) };
    let tail = |i: usize| tail((timing.row_hop, timing.col_hop, timing.pipeline_registers), sizes[i]);
    let length = |i: usize| (passes[i].vectors.len() as u64).max(u64::from(timing.min_pass_cycles));
    let last = passes.len() - 1;
    match (timing.overlap, timing.stationary_buffers) {
        (Overlap::Serial, _) => (0..=last).map(|i| load(i) + length(i) + tail(i)).sum(),
        (Overlap::Pipelined, 1) => {
            let groups = (0..=last).filter(|i| !stays(*i));
            groups.map(|i| load(i) + tail(i)).sum::<u64>() + (0..=last).map(length).sum::<u64>()
        }
        (Overlap::Pipelined, _) => load(0) + (0..last).map(|i| length(i).max(load(i + 1))).sum::<u64>() + length(last) + tail(last),
    }
}

/// What a pass of an output-stationary array takes: preload, elements, drain, tail.
fn output_parts(shape: Shape, timing: &OutputTiming, pass: &OutputPass) -> (u64, u64, u64, u64) {
    let size = size(shape, timing.extent, (pass.activations.len(), pass.weights[0].len()));
    let steps = (pass.weights.len() as u64).div_ceil(shape.lanes as u64);
    let steps = match timing.reduction_padding {
        ReductionPadding::Exact => steps,
        ReductionPadding::MultipleOfRows => steps.div_ceil(shape.rows as u64) * shape.rows as u64,
    };
    let drain = timing.drain.map_or(0, |drain| resolve(drain, size));
    let tail = tail((timing.row_hop, timing.col_hop, timing.pipeline_registers), size);
    (resolve(timing.psum_preload, size), steps.max(u64::from(timing.min_pass_cycles)), drain, tail)
}

/// The contract's closed forms for output stationary, where all passes stream equally many elements.
fn output_cycles(shape: Shape, timing: &OutputTiming, passes: &[OutputPass]) -> u64 {
    let parts: Vec<_> = passes.iter().map(|pass| output_parts(shape, timing, pass)).collect();
    match timing.overlap {
        Overlap::Serial => parts.iter().map(|(preload, length, drain, tail)| preload + length + drain + tail).sum(),
        Overlap::Pipelined => {
            let (preload, length, drain, tail) = parts[0];
            preload + (passes.len() as u64 - 1) * length.max(drain).max(preload) + length + drain + tail
        }
    }
}

/// Everything moves on the skew: what PE(0, 0) sees, PE(r, c) sees later by its hops, the elements of a row unchanged.
fn skewed(shape: Shape, (row_hop, col_hop): (u32, u32), ticks: &[Vec<Registers>], weights_pass: bool) -> Result<(), TestCaseError> {
    let bubble = Registers::default();
    let seen = |cycle: usize, late: usize, r: usize, c: usize| {
        if cycle < late { &bubble } else { &ticks[cycle - late][r * shape.cols + c] }
    };
    for cycle in 0..ticks.len() {
        for r in 0..shape.rows {
            for c in 0..shape.cols {
                let (down, right) = (r * row_hop as usize, c * col_hop as usize);
                let (here, corner) = (seen(cycle, 0, r, c), seen(cycle, down + right, 0, 0));
                prop_assert_eq!(here.stream.is_some(), corner.stream.is_some());
                prop_assert_eq!(here.weight.is_some(), corner.weight.is_some());
                prop_assert_eq!(here.sum.is_some(), corner.sum.is_some());
                prop_assert_eq!(&here.stream, &seen(cycle, right, r, 0).stream);
                if weights_pass {
                    prop_assert_eq!(&here.weight, &seen(cycle, down, 0, c).weight);
                }
            }
        }
    }
    Ok(())
}

fn spans(least: u32) -> impl Strategy<Value = Span> {
    prop_oneof![Just(Span::Rows), Just(Span::Cols), (least..=12_u32).prop_map(Span::Cycles)]
}

fn shapes() -> impl Strategy<Value = Shape> {
    (1..=8_usize, 1..=8_usize, 1..=3_usize).prop_map(|(rows, cols, lanes)| Shape { rows, cols, lanes })
}

fn hops() -> impl Strategy<Value = (u32, u32, u32, u32)> {
    (0..=3_u32, 0..=3_u32, 0..=4_u32, 1..=6_u32)
}

fn stationary_timings() -> impl Strategy<Value = StationaryTiming> {
    let modes = prop_oneof![
        Just((2, Overlap::Pipelined, Extent::Physical)),
        Just((1, Overlap::Pipelined, Extent::Physical)),
        Just((1, Overlap::Serial, Extent::Physical)),
        Just((1, Overlap::Serial, Extent::Used)),
    ];
    let most = prop_oneof![Just(MaxPassVectors::Unlimited), Just(MaxPassVectors::Rows)];
    (hops(), spans(1), modes, most).prop_map(|(hops, load, (stationary_buffers, overlap, extent), max_pass_vectors)| StationaryTiming {
        row_hop: hops.0,
        col_hop: hops.1,
        pipeline_registers: hops.2,
        load,
        stationary_buffers,
        max_pass_vectors,
        min_pass_cycles: hops.3,
        overlap,
        extent,
    })
}

fn output_timings() -> impl Strategy<Value = OutputTiming> {
    let modes = prop_oneof![
        Just((Overlap::Pipelined, Extent::Physical)),
        Just((Overlap::Serial, Extent::Physical)),
        Just((Overlap::Serial, Extent::Used))
    ];
    let padding = prop_oneof![Just(ReductionPadding::Exact), Just(ReductionPadding::MultipleOfRows)];
    (hops(), prop::option::of(spans(0)), spans(0), modes, padding).prop_map(
        |(hops, drain, psum_preload, (overlap, extent), reduction_padding)| OutputTiming {
            row_hop: hops.0,
            col_hop: hops.1,
            pipeline_registers: hops.2,
            min_pass_cycles: hops.3,
            overlap,
            drain,
            psum_preload,
            reduction_padding,
            extent,
        },
    )
}

/// An accumulator, often too narrow for the sums.
fn rules() -> impl Strategy<Value = AccumulateRule> {
    let overflow = prop_oneof![Just(Overflow::Wrap), Just(Overflow::Saturate)];
    (prop_oneof![Just(64_u32), 8..=12_u32], overflow).prop_map(|(bits, overflow)| AccumulateRule { bits, overflow, chunk: 1 })
}

fn gemms() -> impl Strategy<Value = (usize, usize, usize)> {
    (1..=20_usize, 1..=20_usize, 1..=20_usize)
}

/// Steps a whole GEMM: its cycles, its product, what the probe saw.
fn stationary_gemm(
    shape: Shape,
    timing: &StationaryTiming,
    (a, b, bias): (&Matrix, &Matrix, &Matrix),
    rule: &AccumulateRule,
    inputs_stay: bool,
) -> (Vec<StationaryPass>, u64, Matrix, Vec<Vec<Registers>>) {
    let mut ticks = vec![];
    let cut = if inputs_stay { stepper::cut_input_stationary } else { stepper::cut_weight_stationary };
    let passes = cut(shape, timing, a, b);
    let run = stepper::run_stationary(shape, timing, &passes, |cycle, pes| {
        assert_eq!(cycle as usize, ticks.len());
        ticks.push(pes.to_vec());
    });
    let held = if inputs_stay { transposed(bias) } else { bias.clone() };
    let held = stepper::accumulate(&passes, &run.outputs, held, rule);
    (passes, run.cycles, if inputs_stay { transposed(&held) } else { held }, ticks)
}

/// At least a thousand, more where the environment asks for more.
fn cases() -> u32 {
    ProptestConfig::default().cases.max(1000)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_stationary_gemm_takes_the_closed_form_and_gives_the_product(
        shape in shapes(), timing in stationary_timings(), rule in rules(), (m, k, n) in gemms(), inputs_stay: bool, seed: u64,
    ) {
        let rule = AccumulateRule { chunk: (shape.rows * shape.lanes) as u64, ..rule };
        let rng = &mut ChaCha8Rng::seed_from_u64(seed);
        let (a, b, bias) = (random(rng, m, k), random(rng, k, n), random(rng, m, n));
        let (passes, cycles, held, ticks) = stationary_gemm(shape, &timing, (&a, &b, &bias), &rule, inputs_stay);
        prop_assert_eq!(cycles, stationary_cycles(shape, &timing, &passes));
        prop_assert_eq!(cycles, ticks.len() as u64);
        prop_assert_eq!(held, product(&a, &b, &bias, &rule));
        if timing.extent == Extent::Physical {
            skewed(shape, (timing.row_hop, timing.col_hop), &ticks, false)?;
        }
    }

    #[test]
    fn stationary_passes_of_every_size_take_the_closed_form_and_give_their_column_sums(
        shape in shapes(), timing in stationary_timings(), lengths in prop::collection::vec((1..=12_usize, any::<bool>()), 1..=8), seed: u64,
    ) {
        let rng = &mut ChaCha8Rng::seed_from_u64(seed);
        let mut passes: Vec<StationaryPass> = vec![];
        for (length, keeps) in lengths {
            let length = if timing.max_pass_vectors == MaxPassVectors::Rows { length.min(shape.rows) } else { length };
            let (tile_id, tile) = match passes.last() {
                Some(last) if keeps => (last.tile_id, last.tile.clone()),
                last => {
                    let (rows, cols) = (rng.random_range(1..=shape.rows * shape.lanes), rng.random_range(1..=shape.cols));
                    (last.map_or(0, |last| last.tile_id + 1), random(rng, rows, cols))
                }
            };
            let vectors = random(rng, length, tile.len());
            passes.push(StationaryPass { tile_id, tile, vectors, at: (0, 0) });
        }
        let run = stepper::run_stationary(shape, &timing, &passes, |_, _| {});
        prop_assert_eq!(run.cycles, stationary_cycles(shape, &timing, &passes));
        for (pass, output) in passes.iter().zip(&run.outputs) {
            let zeros = vec![vec![0; pass.tile[0].len()]; pass.vectors.len()];
            prop_assert_eq!(output, &product(&pass.vectors, &pass.tile, &zeros, &EXACT));
        }
    }

    #[test]
    fn an_output_stationary_gemm_takes_the_closed_form_and_gives_the_product(
        shape in shapes(), timing in output_timings(), rule in rules(), (m, k, n) in gemms(), biased: bool, seed: u64,
    ) {
        let rule = AccumulateRule { chunk: shape.lanes as u64, ..rule };
        let rng = &mut ChaCha8Rng::seed_from_u64(seed);
        let (a, b) = (random(rng, m, k), random(rng, k, n));
        let bias = if biased { random(rng, m, n) } else { vec![vec![0; n]; m] };
        let passes = stepper::cut_output_stationary(shape, &a, &b, biased.then_some(&bias));
        let mut ticks = vec![];
        let run = stepper::run_output(shape, &timing, &rule, &passes, |cycle, pes| {
            assert_eq!(cycle as usize, ticks.len());
            ticks.push(pes.to_vec());
        });
        prop_assert_eq!(run.cycles, output_cycles(shape, &timing, &passes));
        prop_assert_eq!(run.cycles, ticks.len() as u64);
        prop_assert_eq!(stepper::collect(&passes, &run.outputs, m, n), product(&a, &b, &bias, &rule));
        if timing.extent == Extent::Physical {
            skewed(shape, (timing.row_hop, timing.col_hop), &ticks, true)?;
        }
    }

    /// Across problems K differs from pass to pass: the drain of one pass limits the next.
    #[test]
    fn output_stationary_passes_of_every_length_wait_for_drain_and_bias(
        shape in shapes(), timing in output_timings(), depths in prop::collection::vec(1..=16_usize, 1..=8), seed: u64,
    ) {
        let rng = &mut ChaCha8Rng::seed_from_u64(seed);
        let passes: Vec<OutputPass> = depths.iter().map(|k| {
            let (rows, cols) = (rng.random_range(1..=shape.rows), rng.random_range(1..=shape.cols));
            let (activations, weights, bias) = (random(rng, rows, *k), random(rng, *k, cols), random(rng, rows, cols));
            OutputPass { activations, weights, bias: Some(bias), at: (0, 0) }
        }).collect();
        let rule = AccumulateRule { chunk: shape.lanes as u64, ..EXACT };
        let run = stepper::run_output(shape, &timing, &rule, &passes, |_, _| {});
        let mut cycles = 0;
        if timing.overlap == Overlap::Serial {
            cycles = output_cycles(shape, &timing, &passes);
        } else {
            let (mut start, mut drained) = (0, 0);
            for (number, pass) in passes.iter().enumerate() {
                let (preload, length, drain, tail) = output_parts(shape, &timing, pass);
                // When this pass's drain begins is when its last element has entered and the chain is free, and then the next may start.
                start = if number == 0 { preload } else { (start + preload).max(drained) };
                drained = if number == 0 { start + length } else { (start + length).max(drained + drain) };
                cycles = drained + drain + tail;
            }
        }
        prop_assert_eq!(run.cycles, cycles);
        for (pass, output) in passes.iter().zip(&run.outputs) {
            prop_assert_eq!(output, &product(&pass.activations, &pass.weights, pass.bias.as_ref().unwrap(), &rule));
        }
    }

    /// The three columns of the contract's table, each with its own formula written out.
    #[test]
    fn the_three_measured_points_take_what_they_are_known_to_take(
        rows in 1..=8_usize, cols in 1..=8_usize, (m, k, n) in gemms(), inputs_stay: bool, seed: u64,
    ) {
        let shape = Shape { rows, cols, lanes: 1 };
        let (r, c, high, deep, wide) = (rows as u64, cols as u64, m as u64, k as u64, n as u64);
        let rng = &mut ChaCha8Rng::seed_from_u64(seed);
        let (a, b, zeros) = (random(rng, m, k), random(rng, k, n), vec![vec![0; n]; m]);
        let stationary = |timing: &StationaryTiming| stationary_gemm(shape, timing, (&a, &b, &zeros), &EXACT, inputs_stay).1;
        let tiles = stepper::cut_output_stationary(shape, &a, &b, None);
        let output = |timing: &OutputTiming| stepper::run_output(shape, timing, &EXACT, &tiles, |_, _| {}).cycles;
        // Input stationary is the transposed product.
        let (streamed, across) = if inputs_stay { (wide, high) } else { (high, wide) };

        prop_assert_eq!(stationary(&IDEAL), deep.div_ceil(r) * across.div_ceil(c) * (streamed + 2 * r + c - 2));
        prop_assert_eq!(output(&IDEAL_OUTPUT), high.div_ceil(r) * wide.div_ceil(c) * (deep + r + c - 2));

        // Gemmini: a new tile hides behind the last block of the one before, but for what is longer than the block; blocks of R vectors.
        let rest = streamed - (streamed.div_ceil(r) - 1) * r;
        let full_blocks = (streamed.div_ceil(r) - 1) * r.max(4);
        let tiles_loaded = deep.div_ceil(r) * across.div_ceil(c);
        let gemmini = r + tiles_loaded * full_blocks + (tiles_loaded - 1) * rest.max(4).max(r) + rest.max(4) + (r + c - 2 + 3);
        prop_assert_eq!(stationary(&GEMMINI), gemmini);
        let outputs = high.div_ceil(r) * wide.div_ceil(c);
        let steps = (deep.div_ceil(r) * r).max(4);
        prop_assert_eq!(output(&GEMMINI_OUTPUT), r + outputs * steps + r + (r + c - 2 + 3));

        prop_assert_eq!(output(&AXIS_SA), (outputs - 1) * deep.max(c) + deep + c + (r + c - 2 + 2));
    }
}

const GEMMINI: StationaryTiming = StationaryTiming {
    pipeline_registers: 3,
    stationary_buffers: 2,
    max_pass_vectors: MaxPassVectors::Rows,
    min_pass_cycles: 4,
    overlap: Overlap::Pipelined,
    ..IDEAL
};

const GEMMINI_OUTPUT: OutputTiming = OutputTiming {
    pipeline_registers: 3,
    min_pass_cycles: 4,
    overlap: Overlap::Pipelined,
    drain: Some(Span::Rows),
    psum_preload: Span::Rows,
    reduction_padding: ReductionPadding::MultipleOfRows,
    ..IDEAL_OUTPUT
};

const AXIS_SA: OutputTiming = OutputTiming { pipeline_registers: 2, overlap: Overlap::Pipelined, drain: Some(Span::Cols), ..IDEAL_OUTPUT };
