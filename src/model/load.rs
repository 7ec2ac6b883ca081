//! Finding and loading a model, and reading its data.

use super::check::{self, Checked};
use super::find::{names, unknown};
use super::shipped::SHIPPED;
use super::{Card, ModelError, Preprocessing, Samples, Split, SplitData, Training};
use crate::data::{DataError, FileHash, Metric, Source, Task, sha256_hex};
use crate::network::{self, Network, import_bytes_beside};
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// The largest card that is read, in bytes.
const MAX_CARD: u64 = 1 << 20;

const IN_THE_PROJECT: &str = "\n  help: data is not part of the program: run it in the project's folder, or give other data with --data";

const CHECK_THE_PATH: &str = "\n  help: check the path: data is a folder with a pair of IDX files, or an NPZ file";

/// A network, what is known of it, and where its data lies.
#[derive(Debug, Clone)]
pub struct Model {
    card: Card,
    network: Network,
    splits: Option<[SplitData; 4]>,
    /// Data that stands in for the report split.
    data: Option<SplitData>,
    files: Vec<FileHash>,
}

/// Loads the model of this path or bare name: a card (`.ron`), a network without a card (`.onnx`), or a name, which is that of a card in
/// `models/` of the current folder or else of a model that is part of the program.
///
/// A network without a card gets one that says: no preprocessing, a classification among as many classes as it has outputs, no data.
///
/// # Errors
/// If there is no such model, or its card or network is wrong, or they do not belong together.
pub fn load(path_or_name: &str) -> Result<Model, ModelError> {
    let path = Path::new(path_or_name);
    let has_extension = |wanted: &str| path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case(wanted));
    if has_extension("onnx") {
        return Model::without_card(path);
    }
    if has_extension("ron") {
        return Model::with_card(path);
    }
    let local = Path::new("models").join(format!("{path_or_name}.ron"));
    let is_name = path.components().count() == 1 && !path_or_name.contains(['/', '\\']);
    if is_name && local.is_file() {
        return Model::with_card(&local);
    }
    match SHIPPED.iter().find(|shipped| shipped.name == path_or_name) {
        Some(shipped) => {
            let place = local.display().to_string();
            let checked = check::parse(shipped.card, &place, Path::new("models"))?;
            Model::new(checked, &place, shipped.card.as_bytes(), shipped.network)
        }
        None => Err(unknown(path_or_name, "ron", names())),
    }
}

impl Model {
    /// What is known of the model.
    pub fn card(&self) -> &Card {
        &self.card
    }

    /// The network, as imported.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// The files that the model was made from, with the hashes of their bytes: the card, where there is one, and the network.
    pub fn files(&self) -> &[FileHash] {
        &self.files
    }

    /// The same data for another network, whose card is this one's but for what `change` does to it.
    ///
    /// # Errors
    /// A network that does not yield a number for each class.
    pub fn with_network(&self, network: Network, change: impl FnOnce(&mut Card)) -> Result<Self, ModelError> {
        let mut model = Self { network, ..self.clone() };
        change(&mut model.card);
        let (outputs, wanted) =
            (model.network.logits().output.elements(), model.card.task.outputs(model.network.input().output.elements()));
        if outputs != wanted {
            let problem = format!("its data wants {wanted} numbers and its network yields {outputs}");
            let help = "give a network with an output for each class, or each number that is wanted";
            return Err(ModelError::Disagree { model: model.card.name, problem, help });
        }
        Ok(model)
    }

    /// A network on data that no card describes. In a folder with a pair of IDX files `train...` beside one `t10k...` or `test...` the second is for
    /// reporting, and of the first five sixths are trained on and the rest is for choosing. Of other data the first 70 percent are trained on, 15 are
    /// for choosing, and the last 15 for reporting. The first 1,024 that are trained on calibrate.
    ///
    /// # Errors
    /// If there is no such data, or it has fewer than 20 samples.
    pub fn on_data(network: Network, path: &Path, preprocessing: Preprocessing) -> Result<Self, ModelError> {
        let fault = |error| data_fault(error, "");
        let (source, apart) = Source::find_train(path).map_err(fault)?;
        let count = source.count().map_err(fault)?;
        let classes = network.logits().output.elements();
        let name = network.name().to_string();
        if count < 20 {
            let problem = format!("{} has {count} samples, which are too few to be divided into splits", path.display());
            return Err(ModelError::Disagree {
                model: name,
                problem,
                help: "give 20 samples or more, or a model card that says the splits",
            });
        }
        let split = |source: &Source, range| SplitData { source: source.clone(), range: Some(range) };
        let (train, select, report) = if let Some(apart) = &apart {
            let train = count * 5 / 6;
            (train, split(&source, train..count), split(apart, 0..apart.count().map_err(fault)?))
        } else {
            let (train, select) = (count * 70 / 100, count * 85 / 100);
            (train, split(&source, train..select), split(&source, select..count))
        };
        let splits = [split(&source, 0..train), split(&source, 0..train.min(1024)), select, report];
        let card = Card {
            name,
            source: path.display().to_string(),
            notes: Vec::new(),
            training: Training::Plain,
            preprocessing,
            task: Task::Classification { classes },
            metrics: vec![Metric::Accuracy],
            labels: (0..classes).map(|class| class.to_string()).collect(),
        };
        Ok(Self { card, network, splits: Some(splits), data: None, files: Vec::new() })
    }

    /// The same model with other data for the report split: all of an NPZ file, or of a folder with a pair of IDX files.
    ///
    /// # Errors
    /// If there is no such data.
    pub fn with_data(mut self, path: &Path) -> Result<Self, ModelError> {
        let source = Source::find(path).map_err(|error| data_fault(error, ""))?;
        self.data = Some(SplitData { source, range: None });
        Ok(self)
    }

    /// Where the samples of a split lie.
    ///
    /// # Errors
    /// If the model names no data for it.
    pub fn split_data(&self, split: Split) -> Result<&SplitData, ModelError> {
        if let (Split::Report, Some(data)) = (split, &self.data) {
            return Ok(data);
        }
        self.own_split_data(split)
    }

    /// Whether a card says where samples lie.
    pub(super) const fn has_splits(&self) -> bool {
        self.splits.is_some()
    }

    /// Where the samples of a split lie, as the card says, whatever data stands in for it.
    pub(super) fn own_split_data(&self, split: Split) -> Result<&SplitData, ModelError> {
        let no_data = |help| ModelError::NoData { model: self.card.name.clone(), split, help };
        let Some([train, calibrate, select, report]) = &self.splits else {
            return Err(no_data(
                "write a model card (.ron) beside the network and give that: it names the data that quantization is calibrated on, which \
                 --data does not; models/simplenet-mnist.ron shows the form",
            ));
        };
        Ok(match split {
            Split::Train => train,
            Split::Calibrate => calibrate,
            Split::Select => select,
            Split::Report => report,
        })
    }

    /// Makes sure that no sample which something is chosen by is also reported on.
    ///
    /// # Errors
    /// Samples that are in the select split and in the report split, or that the model names no data.
    pub fn selects_apart(&self) -> Result<(), ModelError> {
        let (select, report) = (self.split_data(Split::Select)?, self.split_data(Split::Report)?);
        let hashes = |of: &SplitData| of.source.hashes().map_err(|error| data_fault(error, ""));
        let sums = |hashes: Vec<FileHash>| hashes.into_iter().map(|hash| hash.sha256).collect::<Vec<_>>();
        if select.source != report.source && sums(hashes(select)?) != sums(hashes(report)?) {
            return Ok(());
        }
        let bounds = |of: &SplitData| of.range.clone().unwrap_or(0..usize::MAX);
        let (one, other) = (bounds(select), bounds(report));
        if one.start.max(other.start) < one.end.min(other.end) {
            return Err(ModelError::Shared { model: self.card.name.clone() });
        }
        Ok(())
    }

    /// Reads the samples of a split, as the network sees them; only the first `limit` where there is one. Where the file's input is of integers, so
    /// are the samples, and what is yielded is the reals that these stand for.
    ///
    /// # Errors
    /// If the model names no data for the split, or it cannot be read, is damaged, or does not belong to the model.
    pub fn split(&self, split: Split, limit: Option<usize>) -> Result<Samples, ModelError> {
        let SplitData { source, range } = self.split_data(split)?;
        let fault = |error| {
            let is_missing = range.is_some() && source.files().iter().any(|path| !path.exists());
            data_fault(error, if is_missing { IN_THE_PROJECT } else { "" })
        };
        let task = self.card.task;
        let all = match (range, task) {
            (Some(range), _) => range.clone(),
            (None, Task::Reconstruction) => 0..source.count_samples().map_err(fault)?,
            (None, _) => 0..source.count().map_err(fault)?,
        };
        let end = limit.map_or(all.end, |limit| all.end.min(all.start.saturating_add(limit)));
        let range = all.start..end;
        let (values, labels, numbers) = match task {
            Task::Classification { .. } => {
                let data = source.read(range).map_err(fault)?;
                (data.samples().clone(), data.labels().to_vec(), None)
            }
            Task::Regression { .. } => {
                let (values, numbers) = source.read_with_numbers(range).map_err(fault)?;
                (values, Vec::new(), Some(numbers))
            }
            Task::Reconstruction => (source.read_samples(range).map_err(fault)?, Vec::new(), None),
        };
        let wanted = self.network.input().output.elements();
        let found: usize = values.shape()[1..].iter().product();
        if found != wanted {
            let shape = &self.network.input().output.shape;
            let problem = format!(
                "takes {wanted} numbers a sample (shape {shape:?}) and those of {} have {found} (shape {:?})",
                source.files()[0].display(),
                &values.shape()[1..]
            );
            return Err(ModelError::Disagree { model: self.card.name.clone(), problem, help: "give data that belongs to the model" });
        }
        if let Task::Classification { classes } = task
            && let Some(sample) = labels.iter().position(|label| *label as usize >= classes)
        {
            let path = source.files().last().map_or(String::new(), |path| path.display().to_string());
            let label = labels[sample];
            return Err(ModelError::Label { path, sample: all.start + sample, label, model: self.card.name.clone(), classes });
        }
        let mut inputs = self.card.preprocessing.apply_all(&values);
        if let Some(integers) = Integers::of(&self.network) {
            for ((sample, element), x) in inputs.indexed_iter_mut() {
                *x = integers.real(*x).ok_or_else(|| ModelError::Integers {
                    model: self.card.name.clone(),
                    path: source.files()[0].display().to_string(),
                    sample: all.start + sample,
                    element,
                    found: *x,
                    low: integers.low,
                    high: integers.high,
                })?;
            }
        }
        let targets = match (task, numbers) {
            (Task::Classification { .. }, _) => None,
            (Task::Reconstruction, _) => Some(inputs.clone()),
            // Numbers that are wanted are meant as they stand.
            (Task::Regression { .. }, numbers) => numbers.map(|numbers| Preprocessing::NONE.apply_all(&numbers)),
        };
        if let Some(targets) = targets.as_ref().filter(|targets| targets.ncols() != task.outputs(wanted)) {
            let (outputs, found) = (task.outputs(wanted), targets.ncols());
            let problem = format!("yields {outputs} numbers a sample and the y of {} has {found}", source.files()[0].display());
            return Err(ModelError::Disagree { model: self.card.name.clone(), problem, help: "give data that belongs to the model" });
        }
        let files = source.hashes().map_err(fault)?;
        Ok(Samples { inputs, labels, targets, files })
    }

    fn with_card(path: &Path) -> Result<Self, ModelError> {
        let place = path.display().to_string();
        let fault = |problem: String| ModelError::Read { path: place.clone(), problem };
        if std::fs::metadata(path).is_ok_and(|found| !found.is_file()) {
            return Err(fault("it is not a regular file".to_string()));
        }
        let mut text = Vec::new();
        File::open(path).and_then(|file| file.take(MAX_CARD + 1).read_to_end(&mut text)).map_err(|error| fault(error.to_string()))?;
        if text.len() as u64 > MAX_CARD {
            return Err(fault(format!("it has more than {MAX_CARD} bytes, the limit of a card")));
        }
        let text = String::from_utf8(text).map_err(|error| fault(format!("it is not UTF-8 text: {error}")))?;
        let checked = check::parse(&text, &place, path.parent().unwrap_or(Path::new("")))?;
        let error = |error| ModelError::Network { path: checked.network.display().to_string(), error };
        let bytes = network::import::read(&checked.network).map_err(error)?;
        Self::new(checked, &place, text.as_bytes(), &bytes)
    }

    fn new(checked: Checked, place: &str, text: &[u8], bytes: &[u8]) -> Result<Self, ModelError> {
        let Checked { card, network: path, splits } = checked;
        let stem = path.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
        let network =
            import_bytes_beside(bytes, &stem, &path).map_err(|error| ModelError::Network { path: path.display().to_string(), error })?;
        let (outputs, wanted) = (network.logits().output.elements(), card.task.outputs(network.input().output.elements()));
        if outputs != wanted {
            let wants = match card.task {
                Task::Classification { .. } => format!("has {wanted} classes"),
                Task::Regression { .. } => format!("wants {wanted} numbers"),
                Task::Reconstruction => format!("wants the {wanted} numbers of a sample back"),
            };
            let problem = format!("the card {place} {wants} and the network {} yields {outputs} numbers", path.display());
            return Err(ModelError::Disagree { model: card.name, problem, help: "give the network that belongs to the card" });
        }
        let files = vec![hash(Path::new(place), text), hash(&path, bytes)];
        Ok(Self { card, network, splits: Some(splits), data: None, files })
    }

    fn without_card(path: &Path) -> Result<Self, ModelError> {
        let fault = |error| ModelError::Network { path: path.display().to_string(), error };
        let bytes = network::import::read(path).map_err(fault)?;
        let stem = path.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
        let network = import_bytes_beside(&bytes, &stem, path).map_err(fault)?;
        let card = Card {
            name: network.name().to_string(),
            source: path.display().to_string(),
            notes: Vec::new(),
            training: Training::Plain,
            preprocessing: Preprocessing::NONE,
            task: Task::Classification { classes: network.logits().output.elements() },
            metrics: vec![Metric::Accuracy],
            labels: Vec::new(),
        };
        Ok(Self { card, network, splits: None, data: None, files: vec![hash(path, &bytes)] })
    }
}

/// The integers that a network's file takes where its input is of integers, and what they stand for.
pub(super) struct Integers {
    scale: f32,
    /// The integer that stands for 0.0, in the file's signs.
    zero_point: i32,
    low: i32,
    high: i32,
}

impl Integers {
    /// Those of a network; none where it takes reals.
    pub(super) fn of(network: &Network) -> Option<Self> {
        let (grid, shift) = (network.input().output.quantization?, network.input_shift()?);
        let [zero_point, low, high] = [grid.zero_point, grid.dtype.min(), grid.dtype.max()].map(|ours| ours.saturating_add(shift));
        Some(Self { scale: grid.scale, zero_point, low, high })
    }

    /// The real that an integer of the file stands for: `scale * (x - zero point)`; none of what is no such integer.
    fn real(&self, x: f32) -> Option<f32> {
        let is_one = x.fract() == 0.0 && (self.low as f32..=self.high as f32).contains(&x);
        is_one.then_some(self.scale * (x - self.zero_point as f32))
    }

    /// The preprocessing that yields these reals where `given` yields the integers: for the card of a network that takes reals.
    pub(super) fn folded(&self, given: Preprocessing) -> Preprocessing {
        Preprocessing { mean: given.mean + self.zero_point as f32 * given.std, std: given.std / self.scale, ..given }
    }
}

/// A fault in data, with the help that goes with it where neither the fault nor the caller has one.
fn data_fault(error: DataError, help: &'static str) -> ModelError {
    let is_bare = help.is_empty() && matches!(error, DataError::Read { .. });
    ModelError::Data { error, help: if is_bare { CHECK_THE_PATH } else { help } }
}

fn hash(path: &Path, bytes: &[u8]) -> FileHash {
    let file = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    FileHash { file, sha256: sha256_hex(bytes) }
}
