//! One matrix product from random operands to a report.

use super::PipelineError;
use super::gemm::{GemmError, GemmRequest, MAX_PASSES};
use super::numbers::integers_sha256;
use crate::chip::{Chip, Dataflow, Format, Sparsity};
use crate::numerics::Dtype;
use crate::program::{Gemm, Program};
use crate::reference::{self, Kept};
use crate::report::{GemmReport, TopologyRow};
use crate::sim::{Machine, Run};
use crate::topology::Layer;
use ndarray::{Array2, Axis};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// A product that is ready to be made.
pub(super) struct Product<'c> {
    chip: &'c Chip,
    format: &'c Format,
    dataflow: &'c Dataflow,
    gemm: Gemm,
    program: Program,
    activations: Array2<i16>,
    weights: Array2<i16>,
    bytes: [Vec<u8>; 2],
}

impl<'c> Product<'c> {
    /// Draws the operands and lays them out.
    pub(super) fn new(chip: &'c Chip, format: &'c Format, dataflow: &'c Dataflow, request: &GemmRequest) -> Result<Self, PipelineError> {
        let size = |elements: u64| usize::try_from(elements).expect("bug: a request is checked to be of limited size");
        let (m, k, n) = (size(request.m), size(request.k), size(request.n));
        let mut rng = ChaCha8Rng::seed_from_u64(request.seed);
        let activations = random(&mut rng, format.activation, (m, k));
        let mut weights = random(&mut rng, format.weight, (k, n));
        if request.density < 1.0 {
            weights.mapv_inplace(|weight| if rng.random_bool(request.density) { weight } else { 0 });
        }
        if let Sparsity::NM { n, m } = chip.array().sparsity {
            keep_largest(&mut weights, n as usize, m as usize);
        }
        let gemm = Gemm::new([request.m, request.k, request.n], chip, format, dataflow, Some(weights.view()))?;
        let (gemm, program) = laid_out(gemm, chip, request.array_only)?;
        let bytes = [gemm.activations(activations.view()), gemm.weights(weights.view())?];
        Ok(Self { chip, format, dataflow, gemm, program, activations, weights, bytes })
    }

    pub(super) fn machine(&self) -> Result<Machine<'_>, PipelineError> {
        Ok(Machine::new(self.chip, self.format, &self.program)?)
    }

    pub(super) fn inputs(&self) -> [&[u8]; 2] {
        [&self.bytes[0], &self.bytes[1]]
    }

    /// What a run did, and whether its outputs are the integer product.
    pub(super) fn report(&self, request: &GemmRequest, run: &Run) -> GemmReport {
        let kept = match self.chip.array().sparsity {
            Sparsity::NM { n, m } => Some(Kept { n: n as usize, m: m as usize }),
            Sparsity::Dense | Sparsity::TileSkip => None,
        };
        let rule = self.chip.arithmetic(self.format, self.dataflow).accumulate;
        let wanted = reference::product(self.activations.view(), self.weights.view(), rule, kept);
        let sums = self.gemm.sums(&run.output);
        let mismatches = sums.iter().zip(&wanted).filter(|(sum, wanted)| sum != wanted).count() as u64;
        let array = run.units[0].cycles;
        let mut traffic = crate::counts::TrafficBytes::default();
        for stage in &run.stages {
            traffic += stage.traffic;
        }
        let fill = Fill::of(&self.gemm, self.chip, self.format);
        GemmReport {
            chip: self.chip.name().to_string(),
            m: request.m,
            k: request.k,
            n: request.n,
            dataflow: self.dataflow.kind().name().to_string(),
            format: self.format.name(),
            engine: request.engine.name().to_string(),
            passes: run.passes,
            total_cycles: run.total_cycles.get(),
            busy_cycles: array.busy,
            idle_cycles: array.idle,
            stall_cycles: array.stalls().collect(),
            macs_dense: request.m * request.k * request.n,
            macs_executed: fill.macs,
            padded_macs: fill.room - fill.macs,
            utilization: fill.utilization(run.total_cycles.get()),
            mapping_efficiency: fill.mapping_efficiency(),
            traffic_bytes: traffic,
            mismatches,
            output_hash: integers_sha256(sums.iter().copied()),
            array_only: request.array_only,
            density: request.density,
            seed: request.seed,
            macs_gated: run.stages.iter().map(|stage| stage.actions.macs_gated).sum(),
        }
    }
}

/// Times one layer without numbers: one of its products, which stands for all, since each starts on an empty chip.
pub(super) fn time(
    chip: &Chip,
    format: &Format,
    dataflow: &Dataflow,
    layer: &Layer,
    array_only: bool,
) -> Result<TopologyRow, PipelineError> {
    let gemm = Gemm::new([layer.m, layer.k, layer.n], chip, format, dataflow, None)?;
    let fill = Fill::of(&gemm, chip, format);
    if fill.passes > MAX_PASSES {
        return Err(GemmError::Passes { layer: layer.name.clone(), passes: fill.passes }.into());
    }
    let (gemm, program) = laid_out(gemm, chip, array_only)?;
    let fill = Fill::of(&gemm, chip, format);
    let run = Machine::new(chip, format, &program)?.time()?;
    let (elements, runs) = (run.stages[0].elements, layer.runs());
    Ok(TopologyRow {
        layer: layer.name.clone(),
        m: layer.m,
        k: layer.k,
        n: layer.n,
        runs,
        passes: run.passes * runs,
        total_cycles: run.total_cycles.get() * runs,
        utilization: fill.utilization(run.total_cycles.get()),
        mapping_efficiency: fill.mapping_efficiency(),
        input_reads: elements.input_reads * runs,
        weight_reads: elements.weight_reads * runs,
        output_writes: elements.output_writes * runs,
    })
}

/// The product as it lies on the chip, or in the array alone, and its program.
fn laid_out(gemm: Gemm, chip: &Chip, array_only: bool) -> Result<(Gemm, Program), PipelineError> {
    if array_only {
        let program = gemm.program()?;
        return Ok((gemm, program));
    }
    let gemm = gemm.in_blocks_of(chip)?;
    let program = gemm.machine_program(chip)?;
    Ok((gemm, program))
}

/// What the passes of a product fill of the array.
struct Fill {
    passes: u64,
    /// Multiply-accumulates that are made, and that there is room for.
    macs: u64,
    room: u64,
    /// PEs filled, over all passes.
    filled: u64,
    pes: u64,
    lanes: u64,
}

impl Fill {
    fn of(gemm: &Gemm, chip: &Chip, format: &Format) -> Self {
        let pes = u64::from(chip.array().rows) * u64::from(chip.array().cols);
        let lanes = u64::from(format.lanes);
        let mut fill = Self { passes: 0, macs: 0, room: 0, filled: 0, pes, lanes };
        for shape in gemm.passes() {
            fill.passes += shape.count;
            fill.macs += shape.count * shape.macs;
            fill.room += shape.count * shape.steps * pes * lanes;
            fill.filled += shape.count * shape.rows * shape.cols;
        }
        fill
    }

    fn utilization(&self, cycles: u64) -> f64 {
        if cycles == 0 { 0.0 } else { self.macs as f64 / (cycles as f64 * (self.pes * self.lanes) as f64) }
    }

    fn mapping_efficiency(&self) -> f64 {
        if self.passes == 0 { 0.0 } else { self.filled as f64 / (self.passes as f64 * self.pes as f64) }
    }
}

/// Numbers over the full range of a format.
fn random(rng: &mut ChaCha8Rng, dtype: Dtype, size: (usize, usize)) -> Array2<i16> {
    Array2::from_shape_simple_fn(size, || match dtype {
        Dtype::Binary if rng.random() => 1,
        Dtype::Binary => -1,
        _ => i16::try_from(rng.random_range(dtype.min()..=dtype.max())).expect("bug: a format of at most 16 bits fits"),
    })
}

/// Keeps the `n` weights of largest magnitude of each `m` along K, the first of equal ones; the others become zero.
fn keep_largest(weights: &mut Array2<i16>, n: usize, m: usize) {
    for mut rows in weights.axis_chunks_iter_mut(Axis(0), m) {
        for mut column in rows.columns_mut() {
            let mut order: Vec<usize> = (0..column.len()).collect();
            order.sort_by_key(|row| std::cmp::Reverse(column[*row].unsigned_abs()));
            for row in order.into_iter().skip(n) {
                column[row] = 0;
            }
        }
    }
}
