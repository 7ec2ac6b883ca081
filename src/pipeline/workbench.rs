//! Many runs of few networks: what they share is computed once, whatever the chip and whoever asks first.
//!
//! | shared | by |
//! | --- | --- |
//! | data, the float network's outputs | model, samples |
//! | the network pruned and quantized, its float outputs | model, recipe, the array's tile where the recipe cuts by it |
//! | the integer reference's outputs, noise, error on the select split | the same, and the arithmetic of every layer |
//! | the time of a layer table | stages, what was chosen, all that time goes by (`Chip::timing`) |
//! | what a search chose | a `ChoiceStore`: stages, chip |
//!
//! What is asked for while another thread computes it is waited for. That must not happen on a thread of rayon's pool, which the computation may need:
//! callers ask from threads of their own. Not here: which runs are made (`sweep`).

use super::judged::judged;
use super::numbers::{Compared, Fidelity, Noise, dequantize, floor, floors};
use super::plan::ChoiceStore;
use super::prepare::{batch_fits, first_format, pruned, quantized, report_samples, tile_of};
use super::run::{ran, run_machine};
use super::summary::{Ran, summarize};
use super::table::time_table_sharing;
use super::{PipelineError, Prepared, RunOptions, choose_formats, time};
use crate::chip::Chip;
use crate::compress::{BlockShape, Step};
use crate::data::Truth;
use crate::metrics::right;
use crate::model::{Found, Model, Samples, Split};
use crate::network::{LayerId, Network, Op, check_rows};
use crate::numerics::Arithmetic;
use crate::program::emit;
use crate::reference::{float, integer};
use crate::report::Summary;
use crate::sim::Run;
use ndarray::{Array2, ArrayView2, Axis, concatenate};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// Numbers of a block of samples that references hold at a time (64 MiB).
const BLOCK_NUMBERS: usize = 1 << 24;

/// A run's figures, and what a summary has not.
#[derive(Debug)]
pub struct Measured {
    /// The figures.
    pub summary: Summary,
    /// Which samples of the report split the chip got right; none where the run was only timed.
    pub right: Option<Vec<bool>>,
    /// How the integer reference does on the select split; none where the run was only timed.
    pub selected: Option<Selected>,
}

/// A score on the select split.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Selected {
    /// Samples that were right.
    pub right: u64,
    /// All samples.
    pub samples: u64,
}

/// Whether numbers are simulated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Every sample's numbers, scored and compared.
    Numbers,
    /// Time, traffic and energy of one batch.
    Timing,
}

/// Something that is computed once, or could not be.
type Shared<T> = Arc<OnceLock<Result<Arc<T>, Arc<PipelineError>>>>;

/// Results by what they depend on.
struct Memory<T>(Mutex<BTreeMap<String, Shared<T>>>);

impl<T> Memory<T> {
    const fn new() -> Self {
        Self(Mutex::new(BTreeMap::new()))
    }

    fn get(&self, key: String, compute: impl FnOnce() -> Result<T, Arc<PipelineError>>) -> Result<Arc<T>, Arc<PipelineError>> {
        let cell = Arc::clone(self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default());
        cell.get_or_init(|| compute().map(Arc::new)).clone()
    }
}

/// A model's data and what its float network makes of it.
struct Data {
    calibration: Arc<Array2<f32>>,
    samples: Arc<Samples>,
    /// None where nothing is scored.
    scored: Option<Scored>,
}

struct Scored {
    select: Samples,
    float_logits: Array2<f32>,
}

/// A network pruned and quantized.
struct Held {
    compressed: Arc<Network>,
    quantized: Arc<Network>,
}

/// What references make of a network in integers.
struct Referenced {
    compressed_logits: Array2<f32>,
    integer_logits: Array2<i32>,
    /// What the host computes before the chip begins, other than the input.
    hosted: BTreeMap<LayerId, Array2<i32>>,
    fidelities: BTreeMap<LayerId, Fidelity>,
    /// None where the task names no classes.
    selected: Option<Selected>,
}

/// Makes runs that share what they can.
pub struct Workbench<'s> {
    store: Option<&'s dyn ChoiceStore>,
    data: Memory<Data>,
    held: Memory<Held>,
    referenced: Memory<Referenced>,
    timed: Memory<Run>,
}

impl fmt::Debug for Workbench<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Workbench").finish_non_exhaustive()
    }
}

impl<'s> Workbench<'s> {
    /// An empty one, whose searches are remembered in `store`.
    pub const fn new(store: Option<&'s dyn ChoiceStore>) -> Self {
        Self { store, data: Memory::new(), held: Memory::new(), referenced: Memory::new(), timed: Memory::new() }
    }

    /// Runs a model on a chip as `run` does, or times it as `time` and `time_table` do. `id` tells models apart. A layer table is only timed.
    ///
    /// # Errors
    /// The first stage that cannot do its part, with its own message.
    ///
    /// # Panics
    /// If a stage lets pass what it promises to refuse, which would be a bug.
    pub fn measure(
        &self,
        (found, id): (&Found, &str),
        chip: &Chip,
        options: &RunOptions,
        depth: Depth,
    ) -> Result<Measured, Arc<PipelineError>> {
        match found {
            Found::Table(table) => {
                let names = (table.sha256.as_str(), table.name.as_str());
                let timed = |key: String, time: &dyn Fn() -> Result<Run, PipelineError>| -> Result<Run, Arc<PipelineError>> {
                    self.timed.get(key, || Ok(time()?)).map(|run| Run::clone(&run))
                };
                let summary = time_table_sharing(chip, &table.table, names, options, self.store, timed)?;
                Ok(Measured { summary, right: None, selected: None })
            }
            Found::Network(model) => self.run((model, id), chip, options, depth),
        }
    }

    fn run(&self, (model, id): (&Model, &str), chip: &Chip, options: &RunOptions, depth: Depth) -> Result<Measured, Arc<PipelineError>> {
        batch_fits(model, options)?;
        check_rows(model.network()).map_err(PipelineError::from)?;
        let options = &choose_formats(model, Some(chip), options)?;
        let data = self.data(model, id, options, depth)?;
        let held_key = held_key(id, chip, options);
        let held = self.held.get(held_key.clone(), || Ok(held(model, chip, &data, options)?))?;
        let lowering = options.lower(&held.quantized, chip)?;
        let (mapping, choices) = options.map(&lowering.stages, chip, self.store)?;
        let passed_on = options.passed_on(Some(&held.quantized), &lowering.stages, chip, (&mapping, &choices));
        let program = emit(&held.quantized, &mapping, chip).map_err(PipelineError::from)?;
        let prepared = Prepared {
            model,
            chip,
            format: first_format(&lowering.stages, chip),
            pruning: Vec::new(),
            calibration: Arc::clone(&data.calibration),
            compressed: Arc::clone(&held.compressed),
            quantized: Arc::clone(&held.quantized),
            lowering,
            mapping,
            passed_on,
            program,
            samples: Arc::clone(&data.samples),
        };
        let (Depth::Numbers, Some(scored)) = (depth, &data.scored) else {
            return Ok(Measured { summary: time(&prepared, options)?, right: None, selected: None });
        };
        let arithmetic = |layer: LayerId| prepared.mapping.arithmetic(chip, layer);
        let rules: Vec<Arithmetic> = prepared.mapping.stages().iter().map(|stage| arithmetic(stage.layers[0])).collect();
        let key = format!("{held_key} {rules:?} {:?}", options.samples);
        let referenced = self.referenced.get(key, || Ok(referenced(&prepared, scored, arithmetic)?))?;
        simulated(&prepared, scored, &referenced, options)
    }

    fn data(&self, model: &Model, id: &str, options: &RunOptions, depth: Depth) -> Result<Arc<Data>, Arc<PipelineError>> {
        self.data.get(format!("{id} {:?} {depth:?}", options.samples), || {
            let read = || -> Result<Data, PipelineError> {
                let samples = Arc::new(report_samples(model, options.samples)?);
                let scored = match depth {
                    Depth::Timing => None,
                    Depth::Numbers => {
                        model.selects_apart()?;
                        let float_logits = float_logits(model.network(), samples.inputs.view())?;
                        Some(Scored { select: model.split(Split::Select, options.samples)?, float_logits })
                    }
                };
                Ok(Data { calibration: Arc::new(model.split(Split::Calibrate, None)?.inputs), samples, scored })
            };
            Ok(read()?)
        })
    }
}

/// Runs every batch on the machine, and holds what it yields to the reference.
fn simulated(
    prepared: &Prepared<'_>,
    scored: &Scored,
    referenced: &Referenced,
    options: &RunOptions,
) -> Result<Measured, Arc<PipelineError>> {
    let quantized = &prepared.quantized;
    let input = integer::quantize_inputs(quantized, prepared.samples.inputs.view()).map_err(PipelineError::from)?;
    let value = |id: &LayerId| referenced.hosted.get(id).unwrap_or(&input);
    let hosted: Vec<&Array2<i32>> = prepared.lowering.inputs.iter().map(|(id, _)| value(id)).collect();
    let (totals, chip_logits) = run_machine(prepared, options, &hosted, &|| ())?;
    let stages = prepared.mapping.stages();
    let compared = Compared::of(&referenced.integer_logits, &chip_logits, &stages[stages.len() - 1].name);
    let (integer, chip) = (dequantize(quantized, &referenced.integer_logits), dequantize(quantized, &chip_logits));
    let logits = [&scored.float_logits, &referenced.compressed_logits, &integer, &chip].map(Some);
    let ran = Ran {
        judged: Some(judged(prepared.model.card(), prepared.samples.truth(), logits)?),
        compared: Some(compared),
        engine: options.engine.name(),
        ..ran(prepared, |layer| referenced.fidelities.get(&layer).copied().unwrap_or_default())
    };
    let summary = summarize(ran, options, &totals)?;
    let right = match prepared.samples.truth() {
        Truth::Labels(labels) => Some(right(chip.view(), labels)),
        Truth::Numbers(_) => None,
    };
    Ok(Measured { summary, right, selected: referenced.selected })
}

/// What a network in integers depends on.
fn held_key(id: &str, chip: &Chip, options: &RunOptions) -> String {
    let is_cut_by_array = |step: &Step| matches!(step, Step::Block { shape: BlockShape::Array, .. });
    let tile = options.recipe.pruning().iter().any(is_cut_by_array).then(|| tile_of(chip, options));
    format!("{id} {} {tile:?}", options.recipe.to_ron())
}

fn held(model: &Model, chip: &Chip, data: &Data, options: &RunOptions) -> Result<Held, PipelineError> {
    let (compressed, _) = pruned(model, tile_of(chip, options), &data.calibration, options)?;
    let quantized = quantized(&data.calibration, &compressed, options)?;
    Ok(Held { compressed: Arc::new(compressed), quantized: Arc::new(quantized) })
}

/// Samples that are held at a time, so that all values of a network fit.
fn block(network: &Network) -> usize {
    let of_one: usize = network.layers().map(|layer| layer.output.elements()).sum();
    (BLOCK_NUMBERS / of_one.max(1)).max(1)
}

#[expect(clippy::needless_pass_by_value, reason = "a view is a reference already")]
fn float_logits(network: &Network, inputs: ArrayView2<f32>) -> Result<Array2<f32>, PipelineError> {
    let mut all = Vec::new();
    for inputs in inputs.axis_chunks_iter(Axis(0), block(network)) {
        all.push(float::run(network, inputs)?.logits().clone());
    }
    Ok(joined(&all))
}

/// Rows of blocks, one below the other.
fn joined<T: Clone>(blocks: &[Array2<T>]) -> Array2<T> {
    let views: Vec<ArrayView2<'_, T>> = blocks.iter().map(|block| block.view()).collect();
    concatenate(Axis(0), &views).expect("bug: blocks of one network have the same outputs")
}

/// Runs the references, a block of samples at a time.
fn referenced(
    prepared: &Prepared<'_>,
    scored: &Scored,
    arithmetic: impl Fn(LayerId) -> Arithmetic + Copy,
) -> Result<Referenced, PipelineError> {
    let (compressed, quantized) = (&prepared.compressed, &prepared.quantized);
    let run = |inputs: ArrayView2<f32>| -> Result<_, PipelineError> {
        Ok(integer::run(quantized, arithmetic, integer::quantize_inputs(quantized, inputs)?)?)
    };
    let logits = quantized.logits().id;
    let logits_of = |trace: &integer::IntegerTrace| -> Array2<i32> {
        trace.layer(logits).expect("bug: the integer reference runs up to the logits").clone()
    };
    let is_hosted = |id: LayerId| matches!(quantized.layer(id).op, Op::Gather(_));
    let (mut exact_blocks, mut integer_blocks) = (Vec::new(), Vec::new());
    let mut hosted: BTreeMap<LayerId, Vec<Array2<i32>>> = BTreeMap::new();
    let mut noises: BTreeMap<LayerId, Noise> = BTreeMap::new();
    let floors = floors(quantized);
    for inputs in prepared.samples.inputs.axis_chunks_iter(Axis(0), block(quantized)) {
        let exact = float::run(compressed, inputs)?;
        let trace = run(inputs)?;
        for layer in quantized.layers() {
            let Some((integers, grid)) = trace.layer(layer.id).zip(layer.output.quantization) else { continue };
            let reals = exact.layer(layer.id).iter().map(|x| x.max(floor(&floors, layer.id)));
            noises.entry(layer.id).or_default().add(reals, integers.iter().map(|q| grid.dequantize(*q)));
        }
        for (id, _) in prepared.lowering.inputs.iter().filter(|(id, _)| is_hosted(*id)) {
            let values = trace.layer(*id).expect("bug: the integer reference runs all that the host computes before the chip begins");
            hosted.entry(*id).or_default().push(values.clone());
        }
        exact_blocks.push(exact.logits().clone());
        integer_blocks.push(logits_of(&trace));
    }
    let mut selected = Selected { right: 0, samples: scored.select.count() as u64 };
    let labels = scored.select.labels.chunks(block(quantized));
    for (inputs, labels) in scored.select.inputs.axis_chunks_iter(Axis(0), block(quantized)).zip(labels) {
        let found = dequantize(quantized, &logits_of(&run(inputs)?));
        selected.right += right(found.view(), labels).iter().filter(|right| **right).count() as u64;
    }
    Ok(Referenced {
        compressed_logits: joined(&exact_blocks),
        integer_logits: joined(&integer_blocks),
        hosted: hosted.into_iter().map(|(id, blocks)| (id, joined(&blocks))).collect(),
        fidelities: noises.into_iter().map(|(id, noise)| (id, noise.fidelity())).collect(),
        selected: matches!(scored.select.truth(), Truth::Labels(_)).then_some(selected),
    })
}
