//! The training loop: epochs of batches, each a step of the optimizer; the select split judges every epoch, and the report split is never seen.

use super::batches::{Batch, Epoch, Examples, generator, image};
use super::finish::finished;
use super::forward::Mode;
use super::graph::{Graph, Parts, rows};
use super::loss::loss;
use super::optimizer::Optimizer;
use super::parameters::{Parameter, Running};
use super::settings::{Keep, Settings};
use super::teacher::{Lessons, Teacher};
use super::{TrainError, checkpoint, masks};
use crate::compress::{Ranges, Recipe, calibrate_as, quantize, with_roundings};
use crate::metrics::accuracy;
use crate::network::Network;
use crate::numerics::Dtype;
use burn_tensor::{Device, Tensor, TensorData};
use ndarray::{Array2, ArrayView2, Axis};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Samples that are judged at a time.
const JUDGED: usize = 500;
/// Times in an epoch that weights are pruned, where they are while training.
const PRUNINGS: usize = 20;
/// What a batch's mean and variance count in those that are gathered.
const NEWEST: f32 = 0.1;

/// What one epoch was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EpochReport {
    /// Its number, from 1.
    pub epoch: usize,
    /// The mean loss of its samples, each as it was when its batch came.
    pub loss: f64,
    /// The share of the select split whose class is named right, 0 to 1, behind the epoch.
    pub select_accuracy: f64,
    /// The learning rate of its last step.
    pub lr: f64,
}

/// How far an epoch is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// The epoch, from 1.
    pub epoch: usize,
    /// Steps done in it.
    pub step: usize,
    /// Steps that it has.
    pub steps: usize,
    /// The mean loss so far.
    pub loss: f64,
}

/// Whoever follows a training.
pub trait Watch {
    /// A step is done.
    fn step(&mut self, progress: Progress);

    /// An epoch is done; `checkpoint` makes the bytes of a file that training goes on from.
    ///
    /// # Errors
    /// If it cannot be kept, which ends the training.
    fn epoch(&mut self, report: &EpochReport, checkpoint: &dyn Fn() -> Vec<u8>) -> Result<(), Box<dyn std::error::Error + Send + Sync>>;

    /// What is left to go on from, for the message of a training that failed in this epoch.
    fn kept(&self, epoch: usize) -> String;
}

/// The epoch that is kept.
#[derive(Debug, Clone)]
pub(super) struct Best {
    pub(super) epoch: usize,
    pub(super) select_accuracy: f64,
    pub(super) parameters: Vec<Parameter>,
    pub(super) running: Vec<Running>,
}

/// What changes while training.
#[derive(Debug, Clone)]
pub(super) struct State {
    pub(super) parameters: Vec<Parameter>,
    pub(super) running: Vec<Running>,
    pub(super) optimizer: Optimizer,
    /// Epochs that are done.
    pub(super) epochs: Vec<EpochReport>,
    pub(super) best: Option<Best>,
}

/// What training begins with.
#[derive(Debug, Clone, Copy)]
pub struct Start<'a> {
    /// The float network, its activations fused. Weights that are 0 stay 0.
    pub network: &'a Network,
    /// Layers whose sums are normalised batch by batch.
    pub norms: &'a BTreeSet<String>,
    /// The recipe whose formats are trained through; in float where there is none.
    pub formats: Option<&'a Recipe>,
    /// The samples that ranges are found on: n x the elements of the network's input.
    pub calibration: ArrayView2<'a, f32>,
    /// What a pixel outside of an image is.
    pub background: f32,
    /// What the training is of: a checkpoint of anything else is refused.
    pub identity: &'a str,
}

/// A training.
#[derive(Debug)]
pub struct Trainer {
    settings: Settings,
    /// The network whose layers and grids are trained.
    template: Network,
    graph: Graph,
    state: State,
    formats: Option<Recipe>,
    background: f32,
    fingerprint: String,
}

impl Trainer {
    /// Makes a training ready: finds ranges and scales, if the network is to be quantized.
    ///
    /// # Errors
    /// Settings that make no sense, and layers that cannot be trained or quantized.
    pub fn new(start: Start<'_>, settings: &Settings) -> Result<Self, TrainError> {
        settings.check()?;
        let scales = Some(settings.scales);
        if settings.shift > 0 && image(&start.network.input().output.shape).is_none() {
            let help = "images alone can be shifted: C x H x W, or the H x H numbers of a flat one; leave it out";
            return Err(TrainError::Option { option: "shift", value: settings.shift.to_string(), help });
        }
        let (template, parts) = match start.formats {
            None => (start.network.clone(), Graph::of(start.network, start.network, start.norms, scales)?),
            Some(formats) => {
                let rounding = with_roundings(start.network, formats)?;
                let plain = if start.norms.is_empty() { rounding.clone() } else { normalised(&rounding, start)? };
                let ranges = calibrate_as(&plain, start.calibration, formats)?;
                let held = quantize(&plain, &ranges, formats)?;
                let parts = Graph::of(&held, &rounding, start.norms, scales)?;
                (held, parts)
            }
        };
        if let Some(sparsity) = settings.sparsity.filter(|_| parts.graph.has_binary_weights()) {
            let help = "binary weights have no zero: leave it out, or give the layers more bits";
            return Err(TrainError::Option { option: "sparsity", value: sparsity.to_string(), help });
        }
        let input = template.input();
        let is_binary = input.output.quantization.is_some_and(|grid| grid.dtype == Dtype::Binary);
        if is_binary && start.calibration.iter().all(|x| *x >= 0.0) {
            return Err(TrainError::Signless { layer: input.name.clone() });
        }
        let Parts { graph, mut parameters, running } = parts;
        parameters.iter_mut().filter(|parameter| parameter.kind.is_weight()).for_each(Parameter::hold_zeros);
        let optimizer = Optimizer::new(settings.optimizer, &parameters);
        let mut state = State { parameters, running, optimizer, epochs: Vec::new(), best: None };
        first_statistics(&graph, &mut state, &start.calibration);
        // A training that diverged goes on with another rate, and one that was too short with more epochs.
        let Settings { epochs, lr, schedule, .. } = Settings::default();
        let lasting = Settings { epochs, lr, schedule, ..settings.clone() };
        let fingerprint = format!("{} {lasting:?} {:?}", start.identity, start.formats.map(ToString::to_string));
        let fingerprint = crate::data::sha256_hex(fingerprint.as_bytes());
        let formats = start.formats.cloned();
        Ok(Self { settings: settings.clone(), template, graph, state, formats, background: start.background, fingerprint })
    }

    /// Goes on from a checkpoint; `path` stands in messages.
    ///
    /// # Errors
    /// A checkpoint that is damaged, or of another training.
    pub fn resume(&mut self, bytes: &[u8], path: &str) -> Result<(), TrainError> {
        checkpoint::restore(&mut self.state, bytes, &self.fingerprint, path)?;
        let done = self.state.epochs.len();
        if done > self.settings.epochs {
            return Err(TrainError::Checkpoint {
                path: path.to_string(),
                problem: format!("it has {done} epochs, and {} are asked for", self.settings.epochs),
                help: "ask for as many or more with --epochs, or leave --resume out and choose another --checkpoint to begin anew",
            });
        }
        Ok(())
    }

    /// Epochs that are done.
    pub fn epochs(&self) -> &[EpochReport] {
        &self.state.epochs
    }

    /// Trains to the last epoch, on `train`, and judges each on `select`.
    ///
    /// # Errors
    /// Labels that are no classes of the network, a loss that is infinite or not a number, or a checkpoint that cannot be kept.
    pub fn fit(
        &mut self,
        train: Examples<'_>,
        select: Examples<'_>,
        teacher: Option<&Teacher>,
        watch: &mut dyn Watch,
    ) -> Result<(), TrainError> {
        let outputs = self.template.logits().output.elements();
        for (split, examples) in [("train", train), ("select", select)] {
            if let Some(sample) = examples.labels.iter().position(|label| *label as usize >= outputs) {
                return Err(TrainError::Label { sample, split, label: examples.labels[sample], outputs });
            }
        }
        let lessons = teacher.map(|teacher| Lessons::of(teacher, train.inputs, self.settings.shift > 0));
        for epoch in self.state.epochs.len() + 1..=self.settings.epochs {
            let report = self.epoch(epoch, train, select, lessons.as_ref(), watch)?;
            if self.settings.keep == Keep::Best && self.state.best.as_ref().is_none_or(|best| report.select_accuracy > best.select_accuracy)
            {
                let State { parameters, running, .. } = &self.state;
                let (parameters, running) = (parameters.clone(), running.clone());
                self.state.best = Some(Best { epoch, select_accuracy: report.select_accuracy, parameters, running });
            }
            self.state.epochs.push(report.clone());
            let bytes = || checkpoint::to_bytes(&self.state, &self.fingerprint);
            watch.epoch(&report, &bytes).map_err(|error| TrainError::Keep { epoch, error })?;
        }
        Ok(())
    }

    fn epoch(
        &mut self,
        epoch: usize,
        train: Examples<'_>,
        select: Examples<'_>,
        lessons: Option<&Lessons<'_>>,
        watch: &mut dyn Watch,
    ) -> Result<EpochReport, TrainError> {
        let Settings { batch, shift, .. } = self.settings;
        let steps = train.labels.len().div_ceil(batch);
        let shape = self.template.input().output.shape.clone();
        let batches = Epoch::new(train, &shape, (batch, shift, self.background), generator(self.settings.seed, epoch))?;
        let (mut sum, mut seen, mut rate) = (0.0, 0, 0.0);
        for (number, batch) in batches.enumerate() {
            let step = (epoch - 1) * steps + number;
            rate = self.settings.schedule.rate(self.settings.lr, step, steps * self.settings.epochs);
            self.thin_out(step, steps);
            let samples = batch.labels.len();
            let loss = self.step(batch, lessons, rate);
            if !loss.is_finite() {
                return Err(TrainError::Diverged { epoch, step: number + 1, loss, lr: rate, kept: watch.kept(epoch) });
            }
            sum += f64::from(loss) * samples as f64;
            seen += samples;
            watch.step(Progress { epoch, step: number + 1, steps, loss: sum / seen as f64 });
        }
        let select_accuracy = accuracy(self.logits(select.inputs).view(), select.labels);
        Ok(EpochReport { epoch, loss: sum / seen.max(1) as f64, select_accuracy, lr: rate })
    }

    /// Prunes while training, where that is asked for.
    fn thin_out(&mut self, step: usize, steps: usize) {
        let Some(sparsity) = self.settings.sparsity else { return };
        if step.is_multiple_of((steps / PRUNINGS).max(1)) {
            let done = step as f64 / (steps * self.settings.epochs) as f64;
            masks::prune(&mut self.state.parameters, masks::share(sparsity, done));
        }
    }

    /// One batch: its loss, whose gradients move the parameters.
    fn step(&mut self, batch: Batch, lessons: Option<&Lessons<'_>>, rate: f64) -> f32 {
        let device = Device::flex().autodiff();
        let taught = lessons.map(|lessons| lessons.of_batch(&batch, &device));
        let Batch { inputs, labels, .. } = batch;
        let elements = inputs.len() / labels.len();
        let inputs = Tensor::from_data(TensorData::new(inputs, [labels.len(), elements]), &device);
        let State { parameters, running, optimizer, .. } = &mut self.state;
        let leaves: Vec<Tensor<1>> = parameters.iter().map(|parameter| parameter.leaf(&device)).collect();
        let passed = self.graph.forward(inputs, parameters, &leaves, running, Mode::Training);
        let loss = loss(&self.settings, passed.logits, &labels, taught);
        let value = first(&loss);
        if !value.is_finite() {
            return value;
        }
        let gradients = loss.backward();
        let gradients: Vec<Vec<f32>> = leaves
            .iter()
            .zip(parameters.iter())
            .map(|(leaf, parameter)| {
                let gradient = leaf.grad(&gradients).and_then(|gradient| gradient.into_data().try_to_vec().ok());
                // What nothing leads to from the loss stays as it is.
                gradient.unwrap_or_else(|| vec![0.0; parameter.values.len()])
            })
            .collect();
        optimizer.apply(parameters, &gradients, rate);
        for (place, mean, variance) in passed.statistics {
            running[place].take_in(&mean, &variance, NEWEST);
        }
        value
    }

    /// The logits of samples (n x elements), with the weights as they are now: n x outputs.
    pub fn logits(&self, inputs: &Array2<f32>) -> Array2<f32> {
        judged(&self.graph, &self.state.parameters, &self.state.running, inputs)
    }

    /// As [`Self::logits`], with the weights that the network has.
    pub fn kept_logits(&self, inputs: &Array2<f32>) -> Array2<f32> {
        let (parameters, running) = self.kept();
        judged(&self.graph, parameters, running, inputs)
    }

    /// What is kept: of the last epoch, or of the best one.
    fn kept(&self) -> (&[Parameter], &[Running]) {
        let State { parameters, running, best, .. } = &self.state;
        best.as_ref().map_or((parameters, running), |best| (&best.parameters, &best.running))
    }

    /// The trained network: that of the last epoch, or of the best one, as the settings say. In integers where formats were trained through, and then
    /// nothing else but biases is rounded.
    ///
    /// # Errors
    /// None that a training can cause; the network's own checks run again.
    pub fn network(&self) -> Result<Network, TrainError> {
        let (parameters, running) = self.kept();
        let network = finished(&self.template, &self.graph, parameters, running)?;
        match &self.formats {
            None => Ok(network),
            Some(formats) => Ok(quantize(&network, &Ranges::default(), formats)?),
        }
    }

    /// The epoch whose weights the network has, from 1; 0 before the first.
    pub fn kept_epoch(&self) -> usize {
        self.state.best.as_ref().map_or(self.state.epochs.len(), |best| best.epoch)
    }
}

/// The logits of samples, batch by batch.
pub(super) fn judged(graph: &Graph, parameters: &[Parameter], running: &[Running], inputs: &Array2<f32>) -> Array2<f32> {
    let device = Device::flex();
    let leaves: Vec<Tensor<1>> = parameters.iter().map(|parameter| parameter.leaf(&device)).collect();
    let mut all = Vec::new();
    let mut outputs = 0;
    for block in inputs.axis_chunks_iter(Axis(0), JUDGED) {
        let numbers: Vec<f32> = block.iter().copied().collect();
        let block = Tensor::from_data(TensorData::new(numbers, [block.nrows(), block.ncols()]), &device);
        let logits = graph.forward(block, parameters, &leaves, running, Mode::Judging).logits;
        outputs = logits.dims()[1];
        all.extend(logits.into_data().try_to_vec::<f32>().unwrap_or_default());
    }
    Array2::from_shape_vec((inputs.nrows(), outputs), all).expect("bug: as many logits as samples have")
}

/// What a loss is.
fn first(loss: &Tensor<1>) -> f32 {
    loss.clone().into_data().try_to_vec().ok().and_then(|values| values.first().copied()).unwrap_or(f32::NAN)
}

/// Gives batch normalisations the mean and variance of the calibration samples, so that the first judgement is no guess.
fn first_statistics(graph: &Graph, state: &mut State, calibration: &ArrayView2<'_, f32>) {
    if state.running.is_empty() {
        return;
    }
    let device = Device::flex();
    let leaves: Vec<Tensor<1>> = state.parameters.iter().map(|parameter| parameter.leaf(&device)).collect();
    let samples = calibration.to_owned();
    let inputs = Tensor::from_data(TensorData::new(rows(&samples), [samples.nrows(), samples.ncols()]), &device);
    let passed = graph.forward(inputs, &state.parameters, &leaves, &state.running, Mode::Training);
    for (place, mean, variance) in passed.statistics {
        state.running[place].take_in(&mean, &variance, 1.0);
    }
}

/// The float network with its normalisations folded in, as they are on the calibration samples: what ranges are found on.
fn normalised(network: &Network, start: Start<'_>) -> Result<Network, TrainError> {
    let Parts { graph, parameters, running } = Graph::of(network, network, start.norms, None)?;
    let optimizer = Optimizer::new(super::settings::OptimizerKind::Adam, &[]);
    let mut state = State { parameters, running, optimizer, epochs: Vec::new(), best: None };
    first_statistics(&graph, &mut state, &start.calibration);
    finished(network, &graph, &state.parameters, &state.running)
}
