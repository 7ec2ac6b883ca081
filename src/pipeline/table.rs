//! A layer table on a chip, timed as one program: its layers in order, each from DRAM to DRAM.
//!
//! A table says nothing of which layer reads which: between two of its layers there may be a pool, a sum or a branch. So no activation stays
//! on the chip between them. Not here: layers timed each by itself (`gemm::topology`).

use super::run::Totals;
use super::summary::{Facts, Ran, summarize};
use super::{PipelineError, RunOptions, TIMING_ONLY};
use crate::chip::Chip;
use crate::mapping::{Lowered, Problem};
use crate::program::emit_timing;
use crate::report::Summary;
use crate::sim::Machine;
use crate::topology::{Layer, Table};

/// Times the layers of a table, `sha256` being its file's hash, one after the other, for batches of `options.batch`: no metrics, nothing compared.
///
/// # Errors
/// The first stage that cannot do its part, with its own message.
///
/// # Panics
/// If a stage lets pass what it promises to refuse, which would be a bug.
pub fn time_table(chip: &Chip, table: &Table, sha256: &str, name: &str, options: &RunOptions) -> Result<Summary, PipelineError> {
    let (mapping, least_scratchpad) = options.map(&table_stages(chip, table, options)?, chip)?;
    let program = emit_timing(&mapping, chip)?;
    let format = chip.format(options.scheme.weight, options.scheme.activation).expect("bug: lower refuses formats that the chip has not");
    let machine = Machine::new(chip, format, &program)?;
    let run = machine.time()?;
    let bias = mapping.buffers().accumulator_element_bytes;
    let facts = mapping.stages().iter().zip(&table.layers).map(|(stage, layer)| Facts {
        op: if layer.convolution.is_some() { "conv" } else { "gemm" },
        weight_bytes: stage.problem.weight_bytes() + stage.problem.channels() * bias,
        sparsity: 0.0,
        sqnr_db: None,
    });
    let ran = Ran {
        chip,
        format,
        mapping: &mapping,
        least_scratchpad,
        name: name.to_string(),
        samples: options.batch,
        layers: facts.collect(),
        host: Vec::new(),
        metrics: None,
        compared: None,
        model_sha256: sha256.to_string(),
        data_sha256: None,
        engine: TIMING_ONLY,
    };
    summarize(ran, options, &Totals::of_equal(run, 1).explained(&machine, options)?)
}

/// The array operations of a table's layers, before they are mapped.
///
/// # Errors
/// Formats that the chip does not multiply.
pub fn table_stages(chip: &Chip, table: &Table, options: &RunOptions) -> Result<Vec<Lowered>, PipelineError> {
    let stage = |(number, layer): (usize, &Layer)| Ok(Lowered::alone(&layer.name, problem(layer, options), number, chip)?);
    table.layers.iter().enumerate().map(stage).collect()
}

/// What a layer computes for a batch.
fn problem(layer: &Layer, options: &RunOptions) -> Problem {
    let (weight, activation) = (options.scheme.weight, options.scheme.activation);
    let Some(convolution) = layer.convolution else {
        return Problem::matrix(layer.m * options.batch, layer.k, layer.n, weight, activation);
    };
    Problem {
        n: options.batch,
        p: convolution.output[0],
        q: convolution.output[1],
        r: convolution.filter[0],
        s: convolution.filter[1],
        input: convolution.input,
        stride: convolution.stride,
        ..Problem::matrix(1, convolution.channels, layer.n, weight, activation)
    }
}
