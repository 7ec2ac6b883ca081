//! From a card's text to what it says: parsing, and all checks that need nothing but the card. All faults at once, each with its place.

use super::locate::locate;
use super::schema::{CardFile, FilesFile, SplitFile};
use super::{Card, Fault, ModelError, Scale, SplitData};
use crate::data::{Metric, Source, Task};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// More classes are a fault of the card.
const MOST_CLASSES: usize = 1_000_000;

/// The version of the cards that are read.
const FORMAT_VERSION: u32 = 1;

/// A checked card, the network's file and the four splits in the order of [`super::Split::ALL`].
pub(super) struct Checked {
    pub(super) card: Card,
    pub(super) network: PathBuf,
    pub(super) splits: [SplitData; 4],
}

/// Parses and checks a card. Paths in it are relative to `folder`; `path` stands in messages.
pub(super) fn parse(text: &str, path: &str, folder: &Path) -> Result<Checked, ModelError> {
    let mut deserializer = ron::Deserializer::from_str(text).map_err(|error| syntax(path, "", &error))?;
    let file: CardFile = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let field = error.path().to_string();
        let field = if matches!(field.as_str(), "." | "?") { String::new() } else { field };
        let error = deserializer_error(text, error.into_inner());
        syntax(path, &field, &error)
    })?;
    deserializer.end().map_err(|error| syntax(path, "", &deserializer.span_error(error)))?;
    let mut checks = Checks { text, path, faults: Vec::new() };
    checks.card(&file);
    if checks.faults.is_empty() { Ok(accept(file, folder)) } else { Err(ModelError::Card(checks.faults)) }
}

/// The error with its place, which only a parse from the beginning knows.
fn deserializer_error(text: &str, error: ron::Error) -> ron::error::SpannedError {
    let start = ron::error::Position { line: 1, col: 1 };
    let fallback = ron::error::SpannedError { code: error, span: ron::error::Span { start, end: start } };
    ron::from_str::<CardFile>(text).err().unwrap_or(fallback)
}

fn syntax(path: &str, field: &str, error: &ron::error::SpannedError) -> ModelError {
    let ron::error::Position { line, col } = error.span.start;
    let help = "models/simplenet-mnist.ron shows the form of a card";
    let problem = match &error.code {
        ron::Error::IntegerOutOfBounds => "must be a whole number, not below 0 and within 64 bits".to_string(),
        other => other.to_string(),
    };
    ModelError::Card(vec![Fault { path: path.to_string(), line, column: col, field: field.to_string(), problem, help }])
}

struct Checks<'a> {
    text: &'a str,
    path: &'a str,
    faults: Vec<Fault>,
}

impl Checks<'_> {
    fn demand(&mut self, holds: bool, field: &str, problem: impl FnOnce() -> String, help: &'static str) {
        if !holds {
            let (line, column) = locate(self.text, field);
            self.faults.push(Fault { path: self.path.to_string(), line, column, field: field.to_string(), problem: problem(), help });
        }
    }

    fn card(&mut self, file: &CardFile) {
        let version = file.format_version;
        self.demand(version == FORMAT_VERSION, "format_version", || format!("is {version}; {FORMAT_VERSION} is known"), "write 1");
        self.demand(is_plain(&file.name), "name", || format!("is {:?}", file.name), "letters, digits, '-', '_' and '.' make a name");
        self.demand(!file.source.trim().is_empty(), "source", || "is empty".to_string(), "say where the model comes from");
        self.demand(
            is_path(&file.network),
            "network",
            || format!("is {:?}, which is empty or absolute", file.network),
            "give the .onnx file's path relative to the card",
        );
        self.preprocessing(file);
        self.task(file);
        self.data(file);
        self.splits(file);
    }

    fn preprocessing(&mut self, file: &CardFile) {
        let given = &file.preprocessing;
        let (Scale::Times(scale) | Scale::OneOver(scale)) = given.scale;
        let nonzero = "it must be a finite number other than 0";
        self.demand(scale.is_normal(), "preprocessing.scale", || format!("is {:?}", given.scale), nonzero);
        self.demand(given.mean.is_finite(), "preprocessing.mean", || format!("is {}", given.mean), "it must be a finite number");
        self.demand(
            given.std.is_normal() && given.std > 0.0,
            "preprocessing.std",
            || format!("is {}", given.std),
            "it must be finite and above 0",
        );
    }

    fn task(&mut self, file: &CardFile) {
        let task = file.task;
        let distinct: BTreeSet<_> = file.metrics.iter().collect();
        let counts = (distinct.len(), file.metrics.len());
        self.demand(
            counts.1 > 0 && counts.0 == counts.1,
            "metrics",
            || format!("is {:?}", file.metrics),
            "name at least one metric, each once",
        );
        let is_of_task = file.metrics.iter().all(|metric| metric.judges(task));
        let help = "classes are judged by Accuracy, TopK, Precision, Recall and F1, numbers by Mse, Rmse, Mae and R2";
        self.demand(is_of_task, "metrics", || format!("is {:?}, and the task {task:?}", file.metrics), help);
        let labels = file.labels.len();
        match task {
            Task::Classification { classes } => {
                self.demand(
                    (2..=MOST_CLASSES).contains(&classes),
                    "task",
                    || format!("has {classes} classes"),
                    "a classification has 2 classes or more, and a million at most",
                );
                let top = file.metrics.iter().find(|metric| matches!(metric, Metric::TopK(k) if *k == 0 || *k > classes));
                self.demand(top.is_none(), "metrics", || format!("is {:?}", file.metrics), "the k of TopK is 1 to the number of classes");
                let names = || format!("has {labels} names and the task {classes} classes");
                self.demand(
                    [0, classes].contains(&labels),
                    "labels",
                    names,
                    "give each class a name, or leave labels out: then they are numbers",
                );
            }
            Task::Regression { outputs } => {
                self.demand(outputs >= 1, "task", || format!("has {outputs} outputs"), "a regression has 1 output or more");
                self.demand(labels == 0, "labels", || format!("has {labels} names"), "numbers have no classes: write []");
            }
            Task::Reconstruction => {
                self.demand(labels == 0, "labels", || format!("has {labels} names"), "numbers have no classes: write []");
            }
        }
        let distinct: BTreeSet<_> = file.labels.iter().collect();
        self.demand(distinct.len() == labels, "labels", || "names two classes alike".to_string(), "names of classes must differ");
    }

    fn data(&mut self, file: &CardFile) {
        for (index, data) in file.data.iter().enumerate() {
            let name = &data.name;
            self.demand(is_plain(name), "data", || format!("has the name {name:?}"), "letters, digits, '-', '_' and '.' make a name");
            for earlier in &file.data[..index] {
                self.demand(earlier.name != *name, "data", || format!("has the name {name:?} twice"), "names must differ");
                let help = "give one name to one data set: splits are told apart by it";
                let (first, second) = (&earlier.name, name);
                self.demand(earlier.files != data.files, "data", || format!("{first:?} and {second:?} are the same files"), help);
            }
            let paths = match &data.files {
                FilesFile::Idx { images, labels } => vec![images, labels],
                FilesFile::Npz(path) => vec![path],
            };
            for path in paths {
                self.demand(
                    is_path(path),
                    "data",
                    || format!("{name:?} has the path {path:?}, which is empty or absolute"),
                    "give the file's path relative to the card",
                );
            }
        }
    }

    fn splits(&mut self, file: &CardFile) {
        let names: Vec<&str> = file.data.iter().map(|data| data.name.as_str()).collect();
        let all = [
            ("splits.train", &file.splits.train),
            ("splits.calibrate", &file.splits.calibrate),
            ("splits.select", &file.splits.select),
            ("splits.report", &file.splits.report),
        ];
        for (field, split) in all {
            let SplitFile { data, from, until } = split;
            self.demand(names.contains(&data.as_str()), field, || format!("takes from {data:?}; data has {names:?}"), "name one of these");
            self.demand(from < until, field, || format!("is {from} until {until}, which is nothing"), "the end is not included");
        }
        let [(_, train), (field, calibrate), (select_field, select), (report_field, report)] = all;
        let inside = calibrate.data == train.data && calibrate.from >= train.from && calibrate.until <= train.until;
        self.demand(inside, field, || format!("is {} and train is {}", shown(calibrate), shown(train)), "calibrate must be part of train");
        let what_chooses = "what is trained or chosen on must not be what is judged on: the figure would flatter the model";
        for (field, split, name, other) in
            [(select_field, select, "train", train), (report_field, report, "train", train), (report_field, report, "select", select)]
        {
            let shares = split.data == other.data && split.from < other.until && other.from < split.until;
            self.demand(!shares, field, || format!("is {} and shares samples with {name}, {}", shown(split), shown(other)), what_chooses);
        }
    }
}

fn shown(split: &SplitFile) -> String {
    format!("{} {} until {}", split.data, split.from, split.until)
}

fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

fn is_path(path: &str) -> bool {
    !path.is_empty() && !path.contains('\0') && Path::new(path).is_relative()
}

fn accept(file: CardFile, folder: &Path) -> Checked {
    let source = |split: &SplitFile| {
        let data = file.data.iter().find(|data| data.name == split.data).expect("bug: splits are checked to name data of the card");
        let source = match &data.files {
            FilesFile::Idx { images, labels } => Source::Idx { images: folder.join(images), labels: folder.join(labels) },
            FilesFile::Npz(path) => Source::Npz(folder.join(path)),
        };
        SplitData { source, range: Some(split.from..split.until) }
    };
    let splits = [&file.splits.train, &file.splits.calibrate, &file.splits.select, &file.splits.report].map(source);
    let network = folder.join(&file.network);
    let CardFile { name, source, notes, training, preprocessing, task, metrics, mut labels, .. } = file;
    if let (Task::Classification { classes }, true) = (task, labels.is_empty()) {
        labels = (0..classes).map(|class| class.to_string()).collect();
    }
    Checked { card: Card { name, source, notes, training, preprocessing, task, metrics, labels }, network, splits }
}
