//! Training of a model: what is trained, its data, and how it does at the end.
//!
//! The train split is fitted, the select split judges epochs, and the report split is read once, behind the last one. Not here: files of results, and
//! progress (`cli`).

use super::compress::integer_run;
use super::judged::judged;
use super::numbers::dequantize;
use super::outside::Models;
use super::prepare::classes_of;
use super::pruning::{CONFIDENCE, rounded};
use super::run::is_at_chance;
use super::summary::joined;
use super::{PipelineError, RunOptions, Warning};
use crate::compress::{Recipe, Step, Surroundings};
use crate::data::{Average, Metric, Task};
use crate::metrics::{right, wilson};
use crate::model::{self, Card, Model, Preprocessing, Samples, Split, Training};
use crate::network::{Network, Op, Weight, fuse_activations};
use crate::report::{Interval, TrainedEpoch, TrainingReport};
use crate::train::{
    Definition, EpochReport, Examples, Loss, Progress, Schedule, Settings, Start, Teacher, TrainError, Trainer, Watch, drawn, on_threads,
};
use ndarray::{Array2, ArrayView2};
use std::collections::BTreeSet;
use std::error::Error;
use std::path::Path;

/// Where weights begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begin {
    /// Drawn anew.
    Drawn,
    /// As the model has them; a definition has none, and they are drawn.
    Kept,
}

/// What is to be trained, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainRequest {
    /// A model card, an ONNX file in float, a definition (`NetworkDef`), or the name of a card.
    pub model: String,
    /// A model whose data is used, or a data set; none where the model says.
    pub data: Option<String>,
    /// Where weights begin.
    pub begin: Begin,
    /// What is pruned first, and the formats that are trained through; none where there is nothing to compress.
    pub recipe: Option<Recipe>,
    /// A model whose outputs are learned too.
    pub teacher: Option<String>,
    /// How training is done.
    pub settings: Settings,
    /// Only so many samples of each split; all where there is none.
    pub samples: Option<usize>,
    /// The command line, for the report.
    pub command: String,
}

/// A training that is ready to be done.
#[derive(Debug)]
pub struct TrainSession {
    request: TrainRequest,
    model: Model,
    trainer: Trainer,
    teacher: Option<Teacher>,
    train: Samples,
    select: Samples,
}

/// What training yields.
#[derive(Debug)]
pub struct Trained {
    /// The model, with its network and a card that says how it was made.
    pub model: Model,
    /// What training knew of its compression.
    pub training: Training,
    /// The figures.
    pub report: TrainingReport,
    /// What seems wrong.
    pub warnings: Vec<Warning>,
}

impl TrainSession {
    /// Reads the model and its data, and makes the training ready.
    ///
    /// # Errors
    /// The first stage that cannot do its part, with its own message.
    pub fn new(request: &TrainRequest) -> Result<Self, PipelineError> {
        request.settings.check()?;
        let mut steps = request.recipe.iter().flat_map(Recipe::pruning);
        if let Some(step) = steps.find(|step| matches!(step, Step::FineTune { .. })) {
            return Err(TrainError::TrainsAlready { step: step.to_string() }.into());
        }
        let Subject { model, norms, has_weights } = subject(request)?;
        let begin = if has_weights { request.begin } else { Begin::Drawn };
        classes_of(&model, "training")?;
        let calibration = model.split(Split::Calibrate, None)?.inputs;
        let float = match begin {
            Begin::Drawn => drawn(model.network(), request.settings.seed)?,
            Begin::Kept => model.network().clone(),
        };
        let mut network = fuse_activations(&float)?;
        if let Some(recipe) = &request.recipe {
            let outside = Models { model: &model, seed: request.settings.seed };
            let around = Surroundings { samples: calibration.view(), tile: [1, 1], outside: Some(&outside) };
            network = recipe.prune(&network, around)?.0;
        }
        if let Some(layer) = network.layers().find(|layer| has_integers(&layer.op)) {
            return Err(TrainError::Integers { layer: layer.name.clone() }.into());
        }
        let train = model.split(Split::Train, request.samples)?;
        let select = model.split(Split::Select, request.samples)?;
        let teacher = request.teacher.as_deref().map(|name| teacher(name, &model, &network)).transpose()?;
        let identity = format!(
            "{} {:?} {:?} {:?} {} {} {:?}",
            joined(model.files()),
            begin,
            norms,
            request.teacher,
            joined(&train.files),
            joined(&select.files),
            (request.samples, model.network().macs())
        );
        let start = Start {
            network: &network,
            norms: &norms,
            formats: request.recipe.as_ref().filter(|recipe| !recipe.quantization().is_empty()),
            calibration: calibration.view(),
            background: background(model.card()),
            identity: &identity,
        };
        let trainer = Trainer::new(start, &request.settings)?;
        Ok(Self { request: request.clone(), model, trainer, teacher, train, select })
    }

    /// Goes on from a checkpoint; `path` stands in messages.
    ///
    /// # Errors
    /// A checkpoint that is damaged, or of another training.
    pub fn resume(&mut self, bytes: &[u8], path: &str) -> Result<(), PipelineError> {
        Ok(self.trainer.resume(bytes, path)?)
    }

    /// Epochs that are done.
    pub fn epochs(&self) -> usize {
        self.trainer.epochs().len()
    }

    /// Trains to the end, and judges what came out on the report split.
    ///
    /// # Errors
    /// What ends a training before its end.
    pub fn run(mut self, watch: &mut dyn Watch) -> Result<Trained, PipelineError> {
        self.trainer.fit(examples(&self.train), examples(&self.select), self.teacher.as_ref(), watch)?;
        let network = self.trainer.network()?;
        let report = self.report(&network)?;
        let training = training(&self.request, report.zeros);
        let source = format!("made by systole {}: {}", env!("CARGO_PKG_VERSION"), self.request.command);
        let note = note(&report);
        let model = self.model.with_network(network, |card| {
            card.source = source;
            card.notes = vec![note];
            card.training = training;
        })?;
        let (accuracy, samples) = (report.accuracy.value, usize::try_from(report.samples).unwrap_or(usize::MAX));
        let is_lost = matches!(model.card().task, Task::Classification { classes } if is_at_chance(accuracy, classes, samples));
        let warnings = is_lost.then_some(Warning::Untrained { accuracy }).into_iter().collect();
        Ok(Trained { model, training, report, warnings })
    }

    fn report(&self, network: &Network) -> Result<TrainingReport, PipelineError> {
        let samples = self.model.split(Split::Report, self.request.samples)?;
        // As training computed them, fake-quantized where formats were trained through.
        let logits = self.trainer.kept_logits(&samples.inputs);
        let recipe = self.request.recipe.as_ref();
        let quantizes = recipe.filter(|recipe| !recipe.quantization().is_empty());
        let integers = match quantizes {
            None => None,
            Some(recipe) => {
                let trace = integer_run(network, None, &RunOptions::new(recipe.clone()), &samples.inputs)?;
                trace.layer(network.logits().id).map(|logits| dequantize(network, logits))
            }
        };
        let asked = [Metric::Accuracy, Metric::Precision(Average::Macro), Metric::Recall(Average::Macro), Metric::F1(Average::Macro)];
        let own = self.model.card().metrics.iter().copied().filter(|metric| !asked.contains(metric));
        let card = Card { metrics: asked.iter().copied().chain(own).collect(), ..self.model.card().clone() };
        let metrics = judged(&card, samples.truth(), [Some(&logits), None, integers.as_ref(), None])?.metrics;
        let right = right(integers.as_ref().unwrap_or(&logits).view(), &samples.labels);
        let (count, all) = (right.iter().filter(|right| **right).count() as u64, right.len() as u64);
        let [low, high] = wilson(count, all, CONFIDENCE);
        let counted = weights(network);
        let epoch = |report: &EpochReport| TrainedEpoch {
            epoch: report.epoch as u64,
            loss: rounded(report.loss),
            select_accuracy: report.select_accuracy,
            lr: report.lr,
        };
        Ok(TrainingReport {
            network: self.model.card().name.clone(),
            recipe: recipe.map(recipe_text),
            seed: self.request.settings.seed,
            epochs: self.trainer.epochs().iter().map(epoch).collect(),
            kept_epoch: self.trainer.kept_epoch() as u64,
            loss: rounded(loss(self.request.settings.loss, &logits, &samples.labels)),
            samples: all,
            metrics,
            accuracy: Interval { value: count as f64 / all.max(1) as f64, low: rounded(low), high: rounded(high) },
            weights: counted.0,
            zeros: counted.1,
            out: None,
            version: env!("CARGO_PKG_VERSION").to_string(),
            command: self.request.command.clone(),
            model_sha256: joined(self.model.files()),
            data_sha256: joined(&[self.train.files.clone(), samples.files].concat()),
        })
    }
}

/// A network trained as a recipe's step says, on a model's train split.
pub(super) fn fine_tune(
    model: &Model,
    seed: u64,
    network: &Network,
    step: &Step,
    formats: Option<&Recipe>,
    calibration: &ArrayView2<'_, f32>,
) -> Result<Network, PipelineError> {
    let Step::FineTune { epochs, lr, shift, sparsity, .. } = step else { unreachable!("bug: no other step trains") };
    let settings =
        Settings { epochs: *epochs, lr: *lr, shift: *shift, sparsity: *sparsity, seed, schedule: Schedule::Cosine, ..Settings::default() };
    let norms = BTreeSet::new();
    let background = background(model.card());
    let start = Start { network, norms: &norms, formats, calibration: calibration.view(), background, identity: "" };
    let mut trainer = Trainer::new(start, &settings)?;
    let (train, select) = (model.split(Split::Train, None)?, model.split(Split::Select, None)?);
    // On one thread, so that the same recipe gives the same weights.
    on_threads(1, || trainer.fit(examples(&train), examples(&select), None, &mut Unwatched))??;
    Ok(trainer.network()?)
}

/// Samples as training takes them.
fn examples(Samples { inputs, labels, .. }: &Samples) -> Examples<'_> {
    Examples { inputs, labels }
}

/// Nobody follows, and nothing is kept.
struct Unwatched;

impl Watch for Unwatched {
    fn step(&mut self, _: Progress) {}

    fn epoch(&mut self, _: &EpochReport, _: &dyn Fn() -> Vec<u8>) -> Result<(), Box<dyn Error + Send + Sync>> {
        Ok(())
    }

    fn kept(&self, _: usize) -> String {
        "nothing was kept".to_string()
    }
}

/// What is trained.
struct Subject {
    model: Model,
    /// Layers whose sums are normalised.
    norms: BTreeSet<String>,
    /// Whether it has weights already, as all but definitions do.
    has_weights: bool,
}

fn subject(request: &TrainRequest) -> Result<Subject, PipelineError> {
    let path = Path::new(&request.model);
    let is_ron = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("ron"));
    let definition = match std::fs::read_to_string(path) {
        Ok(text) if is_ron && Definition::is_one(&text) => Some(Definition::load(path)?),
        _ => None,
    };
    let Some(definition) = definition else {
        let model = model::load(&request.model)?;
        let model = match &request.data {
            Some(data) => on_data_of(data, model.network().clone(), &model.card().name, model.card().preprocessing)?,
            None => model,
        };
        return Ok(Subject { model, norms: BTreeSet::new(), has_weights: true });
    };
    let name = definition.network.name().to_string();
    let Some(data) = request.data.as_ref().or(definition.data.as_ref()) else {
        return Err(TrainError::Option {
            option: "data",
            value: "not given, and the definition names no model whose data it is trained on".to_string(),
            help: "name one with --data, such as --data simplenet-mnist, or as data: Some(\"simplenet-mnist\") in the definition",
        }
        .into());
    };
    // What is not said of the samples of a data set is as the model has it whose data the definition names.
    let named = definition.data.as_ref().filter(|_| definition.preprocessing.is_none() && request.data.is_some());
    let of_named = named.and_then(|data| model::load(data).ok()).map(|model| model.card().preprocessing);
    let model = on_data_of(data, definition.network, &name, of_named.unwrap_or(Preprocessing::NONE))?;
    let model = match definition.preprocessing {
        Some(preprocessing) => model.with_network(model.network().clone(), |card| card.preprocessing = preprocessing)?,
        None => model,
    };
    Ok(Subject { model, norms: definition.norms, has_weights: false })
}

/// A network with the data of a model of this name or path, or of a data set whose samples are prepared so.
fn on_data_of(data: &str, network: Network, name: &str, preprocessing: Preprocessing) -> Result<Model, PipelineError> {
    let path = Path::new(data);
    if path.is_dir() || path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("npz")) {
        return Ok(Model::on_data(network, path, preprocessing)?);
    }
    let name = name.to_string();
    Ok(model::load(data)?.with_network(network, |card| card.name = name)?)
}

fn teacher(name: &str, student: &Model, network: &Network) -> Result<Teacher, PipelineError> {
    let model = model::load(name)?;
    let prepared = model.card().preprocessing.after(&student.card().preprocessing);
    Ok(Teacher::new(&fuse_activations(model.network())?, network, prepared)?)
}

/// What a pixel of nothing is, as the network sees it.
fn background(card: &Card) -> f32 {
    card.preprocessing.apply(0.0)
}

fn recipe_text(recipe: &Recipe) -> String {
    let steps: Vec<String> = recipe.pruning().iter().chain(recipe.quantization()).map(ToString::to_string).collect();
    steps.join("+")
}

/// What training knew of the compression: the formats, or what is pruned.
fn training(request: &TrainRequest, zeros: u64) -> Training {
    match &request.recipe {
        Some(recipe) if !recipe.quantization().is_empty() => Training::QuantizationAware,
        Some(_) => Training::FineTuned,
        None if request.settings.sparsity.is_some() && zeros > 0 => Training::FineTuned,
        None => Training::Plain,
    }
}

fn note(report: &TrainingReport) -> String {
    let [value, low, high] =
        [report.accuracy.value, report.accuracy.low, report.accuracy.high].map(|share| format!("{:.2}", 100.0 * share));
    let of = if report.metrics.values().any(|values| values.integer.is_some()) { "in integers" } else { "in float32" };
    format!(
        "{value}% ({low} to {high}) of {} samples of the report split {of}; weights of epoch {} of {}; seed {}",
        report.samples,
        report.kept_epoch,
        report.epochs.len(),
        report.seed
    )
}

/// Whether a layer's weights are integers already.
fn has_integers(op: &Op) -> bool {
    match op {
        Op::Dense(dense) => matches!(dense.weight, Weight::Integer { .. }),
        Op::Conv(conv) => matches!(conv.weight, Weight::Integer { .. }),
        _ => false,
    }
}

/// Weights of all layers, and those that are zero.
fn weights(network: &Network) -> (u64, u64) {
    let of = |op: &Op| -> Option<(u64, f64)> {
        match op {
            Op::Dense(dense) => Some((dense.weight.len() as u64, dense.weight.sparsity())),
            Op::Conv(conv) => Some((conv.weight.len() as u64, conv.weight.sparsity())),
            _ => None,
        }
    };
    let all: Vec<(u64, f64)> = network.layers().filter_map(|layer| of(&layer.op)).collect();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a count, rounded")]
    let zeros = all.iter().map(|(count, sparsity)| libm::rint(sparsity * *count as f64) as u64).sum();
    (all.iter().map(|(count, _)| count).sum(), zeros)
}

/// The loss of logits by itself, in f64.
fn loss(loss: Loss, logits: &Array2<f32>, labels: &[u32]) -> f64 {
    let of = |(row, label): (ndarray::ArrayView1<'_, f32>, &u32)| -> f64 {
        let label = *label as usize;
        match loss {
            Loss::CrossEntropy => {
                let most = row.iter().fold(f64::NEG_INFINITY, |most, x| most.max(f64::from(*x)));
                let sum: f64 = row.iter().map(|x| libm::exp(f64::from(*x) - most)).sum();
                most + libm::log(sum) - f64::from(row[label])
            }
            Loss::Mse => {
                let squared = |(class, x): (usize, &f32)| (f64::from(*x) - f64::from(u8::from(class == label))).powi(2);
                row.iter().enumerate().map(squared).sum::<f64>() / row.len().max(1) as f64
            }
        }
    };
    logits.rows().into_iter().zip(labels).map(of).sum::<f64>() / labels.len().max(1) as f64
}
