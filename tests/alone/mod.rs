//! A matrix product on an array alone: chips and operands for tests, both drives held to each other and to the oracle, and the contract's
//! closed forms over a list of passes.
//!
//! The closed forms and the order of passes are written here from the contract's page, and share nothing with the program that makes them.
//! `tests/naive.rs` finds the same sums on a stepper. A test takes this in with `mod alone;`.

#![allow(dead_code, reason = "each test uses a part of it")]
#![allow(clippy::print_stdout, reason = "a test that is skipped says so")]

use ndarray::Array2;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::fs;
use std::path::{Path, PathBuf};
use systole::chip::{self, Chip, Dataflow, Extent, Format, MaxPassVectors, Overlap, ReductionPadding, Span, Sparsity, Stationary};
use systole::numerics::Dtype;
use systole::program::Gemm;
use systole::reference::{self, Kept};
use systole::sim::{Engine, Machine, Run};
use systole::topology::{self, Layer};

/// A shipped chip, changed.
pub(crate) fn chip<T: ToString>(base: &str, sets: &[(&str, T)]) -> Chip {
    let sets: Vec<_> = sets.iter().map(|(field, value)| ((*field).to_string(), value.to_string())).collect();
    chip::load(base, &sets).unwrap_or_else(|error| panic!("{error}"))
}

/// A list of one format.
pub(crate) fn formats(weight: &str, activation: &str, lanes: u32, bits: u32, overflow: &str) -> String {
    format!("[(weight: {weight}, activation: {activation}, lanes: {lanes}, accumulator_bits: {bits}, overflow: {overflow}, pe: Table)]")
}

/// The dataflow of this kind; the chip has it.
pub(crate) fn dataflow(chip: &Chip, kind: Stationary) -> &Dataflow {
    chip.dataflow(kind).expect("the chip has the dataflow")
}

pub(crate) fn rng(seed: u64) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(seed)
}

/// Numbers over the full range of a format, a share of them zero.
pub(crate) fn random(rng: &mut ChaCha8Rng, dtype: Dtype, zeros: f64, size: (usize, usize)) -> Array2<i16> {
    Array2::from_shape_simple_fn(size, || match dtype {
        Dtype::Binary => i16::from(rng.random::<bool>()) * 2 - 1,
        _ if rng.random_bool(zeros) => 0,
        _ => i16::try_from(rng.random_range(dtype.min()..=dtype.max())).expect("at most 16 bits"),
    })
}

/// A product on the array alone.
pub(crate) struct Problem<'c> {
    pub(crate) chip: &'c Chip,
    pub(crate) format: &'c Format,
    pub(crate) dataflow: &'c Dataflow,
    pub(crate) activations: Array2<i16>,
    pub(crate) weights: Array2<i16>,
}

/// What came of it.
pub(crate) struct Made {
    pub(crate) run: Run,
    pub(crate) sums: Vec<i64>,
}

impl Problem<'_> {
    /// M, K, N.
    pub(crate) fn size(&self) -> [usize; 3] {
        [self.activations.nrows(), self.activations.ncols(), self.weights.ncols()]
    }

    /// Makes the product by both drives and without numbers. They must agree in everything, and the sums must be the oracle's.
    pub(crate) fn make(&self) -> Made {
        let engines = [Engine::Stepped, Engine::Wavefront];
        let [stepped, wavefront] = engines.map(|engine| self.make_by(engine));
        assert_eq!(stepped.run, wavefront.run, "both drives agree in outputs, cycles and counts");
        wavefront
    }

    /// As [`Self::make`], by one drive.
    pub(crate) fn make_by(&self, engine: Engine) -> Made {
        let size = self.size().map(|size| size as u64);
        let gemm = Gemm::new(size, self.chip, self.format, self.dataflow, Some(self.weights.view())).expect("it can be laid out");
        let inputs = [gemm.activations(self.activations.view()), gemm.weights(self.weights.view()).expect("the weights are pruned")];
        let program = gemm.program().expect("the verifier takes it");
        let machine = Machine::new(self.chip, self.format, &program).expect("it is this chip's");
        let run = machine.run(&[&inputs[0], &inputs[1]], engine).expect("it runs to its end");
        let timed = machine.time().expect("it runs to its end");
        assert_eq!((timed.total_cycles, timed.passes, &timed.units), (run.total_cycles, run.passes, &run.units), "time alone");
        assert_eq!((timed.stages[0].elements, timed.stages[0].traffic), (run.stages[0].elements, run.stages[0].traffic));
        assert_eq!(run.units[0].cycles.busy, run.total_cycles.get(), "an array alone is never idle and never stalls");
        let shapes = gemm.passes();
        assert_eq!(shapes.iter().map(|shape| shape.count).sum::<u64>(), run.passes, "passes");
        assert_eq!(shapes.iter().map(|shape| shape.count * shape.macs).sum::<u64>(), run.stages[0].actions.macs, "products");
        let sums = gemm.sums(&run.output);
        let kept = match self.chip.array().sparsity {
            Sparsity::NM { n, m } => Some(Kept { n: n as usize, m: m as usize }),
            Sparsity::Dense | Sparsity::TileSkip => None,
        };
        let rule = self.chip.arithmetic(self.format, self.dataflow).accumulate;
        let wanted = reference::product(self.activations.view(), self.weights.view(), rule, kept);
        assert_eq!(sums, wanted.iter().copied().collect::<Vec<_>>(), "sums");
        Made { run, sums }
    }
}

/// The exact product.
pub(crate) fn exact(activations: &Array2<i16>, weights: &Array2<i16>) -> Vec<i64> {
    activations.mapv(i64::from).dot(&weights.mapv(i64::from)).iter().copied().collect()
}

/// One pass of the array: the number of its stationary tile, the rows and columns that it fills, the vectors or steps of K that it streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pass {
    pub(crate) tile: u64,
    pub(crate) rows: u64,
    pub(crate) cols: u64,
    pub(crate) steps: u64,
}

/// The pieces of `whole` of at most `size`.
fn pieces(whole: u64, size: u64) -> impl Iterator<Item = u64> {
    (0..whole.div_ceil(size)).map(move |piece| size.min(whole - piece * size))
}

/// The passes of a product, in the contract's order, without those of weight tiles that are skipped: K tile, tile of N.
pub(crate) fn passes(
    chip: &Chip,
    format: &Format,
    dataflow: &Dataflow,
    [m, k, n]: [u64; 3],
    skipped: impl Fn(u64, u64) -> bool,
) -> Vec<Pass> {
    let (rows, cols, lanes) = (u64::from(chip.array().rows), u64::from(chip.array().cols), u64::from(format.lanes));
    // N:M sparsity keeps n of each m places along K; only they take room.
    let (kept, of) = match chip.array().sparsity {
        Sparsity::NM { n, m } => (u64::from(n), u64::from(m)),
        Sparsity::Dense | Sparsity::TileSkip => (1, 1),
    };
    let slots = |inner: u64| inner.div_ceil(of) * kept;
    let mut passes = Vec::new();
    match dataflow {
        Dataflow::WeightStationary(timing) | Dataflow::InputStationary(timing) => {
            let weights_stay = dataflow.kind() == Stationary::Weight;
            let (held, streamed) = if weights_stay { (n, m) } else { (m, n) };
            let block = if timing.max_pass_vectors == MaxPassVectors::Rows { rows } else { u64::MAX };
            let mut tile = 0;
            for (across, width) in (0..).zip(pieces(held, cols)) {
                for (down, depth) in (0..).zip(pieces(k, rows * lanes / kept * of)) {
                    for (piece, steps) in (0..).zip(pieces(streamed, block)) {
                        if !skipped(down, if weights_stay { across } else { piece }) {
                            passes.push(Pass { tile, rows: slots(depth).div_ceil(lanes), cols: width, steps });
                        }
                    }
                    tile += 1;
                }
            }
        }
        Dataflow::OutputStationary(timing) => {
            let steps = slots(k).div_ceil(lanes);
            let padded = if timing.reduction_padding == ReductionPadding::MultipleOfRows { steps.div_ceil(rows) * rows } else { steps };
            for height in pieces(m, rows) {
                for (across, width) in (0..).zip(pieces(n, cols)).filter(|(across, _)| !skipped(0, *across)) {
                    passes.push(Pass { tile: across, rows: height, cols: width, steps: padded });
                }
            }
        }
    }
    passes
}

/// No tile is skipped.
pub(crate) fn dense(_: u64, _: u64) -> bool {
    false
}

/// The contract's closed forms.
pub(crate) fn cycles(chip: &Chip, dataflow: &Dataflow, passes: &[Pass]) -> u64 {
    let Some(last) = passes.len().checked_sub(1) else { return 0 };
    let size = |pass: &Pass| match dataflow.extent() {
        Extent::Physical => (u64::from(chip.array().rows), u64::from(chip.array().cols)),
        Extent::Used => (pass.rows, pass.cols),
    };
    let span = |span: Span, pass: &Pass| match span {
        Span::Rows => size(pass).0,
        Span::Cols => size(pass).1,
        Span::Cycles(cycles) => u64::from(cycles),
    };
    let tail = |pass: &Pass| {
        let (rows, cols) = size(pass);
        u64::from(dataflow.row_hop()) * (rows - 1) + u64::from(dataflow.col_hop()) * (cols - 1) + u64::from(dataflow.pipeline_registers())
    };
    let length = |pass: &Pass| pass.steps.max(u64::from(dataflow.min_pass_cycles()));
    let serial = dataflow.overlap() == Overlap::Serial;
    match dataflow {
        Dataflow::WeightStationary(timing) | Dataflow::InputStationary(timing) => {
            let stays = |at: usize| at > 0 && passes[at].tile == passes[at - 1].tile;
            let load = |at: usize| if stays(at) { 0 } else { span(timing.load, &passes[at]) };
            let all = 0..=last;
            if serial {
                all.map(|at| load(at) + length(&passes[at]) + tail(&passes[at])).sum()
            } else if timing.stationary_buffers == 1 {
                all.map(|at| length(&passes[at]) + if stays(at) { 0 } else { load(at) + tail(&passes[at]) }).sum()
            } else {
                let streamed = (0..last).map(|at| length(&passes[at]).max(load(at + 1))).sum::<u64>();
                load(0) + streamed + length(&passes[last]) + tail(&passes[last])
            }
        }
        Dataflow::OutputStationary(timing) => {
            let preload = |pass: &Pass| span(timing.psum_preload, pass);
            let drain = |pass: &Pass| timing.drain.map_or(0, |drain| span(drain, pass));
            if serial {
                return passes.iter().map(|pass| preload(pass) + length(pass) + drain(pass) + tail(pass)).sum();
            }
            let (first, end) = (&passes[0], &passes[last]);
            let streamed = passes[..last].iter().map(|pass| length(pass).max(drain(pass)).max(preload(pass))).sum::<u64>();
            preload(first) + streamed + length(end) + drain(end) + tail(end)
        }
    }
}

/// The tables of layers in a folder, by their paths in order.
fn tables_in(folder: &Path) -> Vec<(PathBuf, Vec<Layer>)> {
    let mut paths: Vec<PathBuf> =
        fs::read_dir(folder).expect("the folder is there").map(|entry| entry.expect("it can be read").path()).collect();
    paths.sort();
    let read = |path: PathBuf| {
        let table = topology::load(&path).unwrap_or_else(|error| panic!("{error}"));
        (path, table.layers)
    };
    paths.into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "csv")).map(read).collect()
}

/// The project's layer tables.
pub(crate) fn tables() -> Vec<(PathBuf, Vec<Layer>)> {
    tables_in(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/topologies"))
}

/// SCALE-Sim's own layer tables, which are not part of the project: those of the folder that `SYSTOLE_EXTRA` names.
pub(crate) fn extra_tables() -> Vec<(PathBuf, Vec<Layer>)> {
    let folder = std::env::var_os("SYSTOLE_EXTRA").map(|extra| Path::new(&extra).join("topologies"));
    let Some(folder) = folder.filter(|folder| folder.is_dir()) else {
        println!("skipped: SYSTOLE_EXTRA names no folder with topologies");
        return Vec::new();
    };
    tables_in(&folder)
}
