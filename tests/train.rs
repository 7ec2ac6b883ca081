//! Training: is what comes out what was trained, does a killed training end as if it had not been, do zeros stay, and is bad input refused?
//!
//! Gradients of what is ours are held to finite differences and definitions where they stand (`train::fake`, `train::loss`, `train::optimizer`).

#![cfg(feature = "train")]
#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

use ndarray::Array2;
use std::collections::BTreeSet;
use std::error::Error;
use std::sync::{Arc, Mutex};
use systole::compress::{Recipe, Surroundings};
use systole::model::{self, Samples, Split, Training};
use systole::network::{Network, Op, Weight, fuse_activations};
use systole::numerics::{AccumulateRule, Arithmetic, Dtype, Overflow, Requantizer};
use systole::pipeline::{Begin, TrainRequest, TrainSession};
use systole::reference::integer;
use systole::train::{
    Definition, EpochReport, Examples, Keep, OptimizerKind, Progress, Scales, Schedule, Settings, Start, Teacher, Trainer, Watch, drawn,
};

/// Sums that hold whatever a layer yields.
const EXACT: Arithmetic =
    Arithmetic { accumulate: AccumulateRule { bits: 64, overflow: Overflow::Saturate, chunk: 256 }, requantize: Requantizer::Float };

/// Keeps every checkpoint; where it is told to, it fails behind an epoch.
#[derive(Default, Clone)]
struct Keeper {
    checkpoints: Arc<Mutex<Vec<Vec<u8>>>>,
    stop_behind: Option<usize>,
}

impl Watch for Keeper {
    fn step(&mut self, _: Progress) {}

    fn epoch(&mut self, report: &EpochReport, checkpoint: &dyn Fn() -> Vec<u8>) -> Result<(), Box<dyn Error + Send + Sync>> {
        self.checkpoints.lock().unwrap().push(checkpoint());
        if self.stop_behind == Some(report.epoch) { Err("no space left on device".into()) } else { Ok(()) }
    }

    fn kept(&self, epoch: usize) -> String {
        format!("kept behind epoch {}", epoch - 1)
    }
}

fn recipe(text: &str) -> Recipe {
    text.parse().unwrap()
}

fn request(model: &str, settings: Settings) -> TrainRequest {
    TrainRequest {
        model: model.to_string(),
        data: None,
        begin: Begin::Drawn,
        recipe: None,
        teacher: None,
        settings,
        samples: Some(400),
        command: "systole train".to_string(),
    }
}

fn settings() -> Settings {
    Settings { epochs: 2, seed: 5, ..Settings::default() }
}

fn weights(network: &Network) -> Vec<(String, Vec<f32>)> {
    let of = |op: &Op| match op {
        Op::Dense(dense) => Some(dense.weight.to_reals().iter().copied().collect()),
        Op::Conv(conv) => Some(conv.weight.to_reals().iter().copied().collect()),
        _ => None,
    };
    network.layers().filter_map(|layer| Some((layer.name.clone(), of(&layer.op)?))).collect()
}

#[test]
fn the_same_seed_gives_the_same_weights_and_another_does_not() {
    let trained = |seed| {
        let session = TrainSession::new(&request("simplenet-mnist", Settings { seed, ..settings() })).unwrap();
        systole::train::on_threads(1, || session.run(&mut Keeper::default())).unwrap().unwrap()
    };
    let (one, again, other) = (trained(5), trained(5), trained(6));
    assert_eq!(weights(one.model.network()), weights(again.model.network()));
    assert_eq!(one.report, again.report);
    assert_ne!(weights(one.model.network()), weights(other.model.network()));
    assert_eq!(one.report.epochs.len(), 2);
    assert!(one.report.epochs[1].loss < one.report.epochs[0].loss);
    // Twelve steps of training, and a guess is right in a tenth.
    assert!(one.report.accuracy.low > 0.3, "{:?}", one.report.accuracy);
    assert_eq!(one.model.card().training, Training::Plain);
}

#[test]
fn a_killed_training_resumes_to_the_same_end() {
    let keep = Settings { epochs: 3, shift: 1, keep: Keep::Best, schedule: Schedule::Cosine, ..settings() };
    let request = TrainRequest { recipe: Some(recipe("nm:2:4+w4a4")), begin: Begin::Kept, ..request("simplenet-mnist", keep) };
    let run = |watch: &Keeper, from: Option<&[u8]>| {
        systole::train::on_threads(1, || {
            let mut session = TrainSession::new(&request).unwrap();
            if let Some(bytes) = from {
                session.resume(bytes, "x.safetensors").unwrap();
            }
            session.run(&mut watch.clone())
        })
        .unwrap()
    };
    let whole = Keeper::default();
    let end = run(&whole, None).unwrap();
    // The disk is full behind the first epoch: the training ends there, and says so.
    let killed = Keeper { stop_behind: Some(1), ..Keeper::default() };
    let error = run(&killed, None).unwrap_err().to_string();
    assert!(error.contains("checkpoint of epoch 1") && error.contains("no space left"), "{error}");
    let checkpoint = killed.checkpoints.lock().unwrap()[0].clone();
    assert_eq!(checkpoint, whole.checkpoints.lock().unwrap()[0]);
    let resumed = Keeper::default();
    let after = run(&resumed, Some(&checkpoint)).unwrap();
    assert_eq!(weights(end.model.network()), weights(after.model.network()));
    assert_eq!(end.report, after.report);
    assert_eq!(whole.checkpoints.lock().unwrap()[1..], resumed.checkpoints.lock().unwrap()[..]);
    assert_eq!(after.report.epochs.len(), 3);

    // What is damaged, or of another training, is refused.
    let with = |settings: Settings| TrainRequest { settings, ..request.clone() };
    let other = with(Settings { batch: 50, ..request.settings.clone() });
    let refused =
        |request: &TrainRequest, bytes: &[u8]| TrainSession::new(request).unwrap().resume(bytes, "x.safetensors").unwrap_err().to_string();
    let error = refused(&other, &checkpoint);
    assert!(error.contains("x.safetensors") && error.contains("another training") && error.contains("help: "), "{error}");
    let error = refused(&request, &checkpoint[..checkpoint.len() / 2]);
    assert!(error.contains("no safetensors file"), "{error}");
    let error = refused(&request, b"");
    assert!(error.contains("no safetensors file"), "{error}");
    // A bit that flipped, in a number and in what is said.
    let number = checkpoint.len() - 3;
    let said = checkpoint.windows(6).position(|bytes| bytes == b"step\\\"").unwrap() + 7;
    for (place, bit) in [(number, 1), (said, 1)] {
        let mut flipped = checkpoint.clone();
        flipped[place] ^= bit;
        let error = refused(&request, &flipped);
        assert!(error.contains("not those that were written"), "{error}");
    }
    // A training that diverged goes on with another rate, one that was too short with more epochs, and none with fewer than it has.
    let go_on = |settings: Settings| TrainSession::new(&with(settings)).unwrap().resume(&checkpoint, "x.safetensors");
    assert!(go_on(Settings { lr: 1e-4, epochs: 5, schedule: Schedule::Constant, ..request.settings.clone() }).is_ok());
    let two = whole.checkpoints.lock().unwrap()[1].clone();
    let error = refused(&with(Settings { epochs: 1, ..request.settings.clone() }), &two);
    assert!(error.contains("it has 2 epochs, and 1 are asked for"), "{error}");
}

/// A network that was trained through formats a little, what it yielded while it was trained, and what its integers yield.
fn trained_through(model: &str, definition: Option<&str>, formats: &str, scales: Scales) -> (Network, Array2<f32>, Array2<f32>) {
    let model = model::load(model).unwrap();
    let (network, norms) = match definition {
        None => (model.network().clone(), BTreeSet::new()),
        Some(text) => {
            let definition = Definition::parse(text, "x.ron").unwrap();
            (drawn(&definition.network, 3).unwrap(), definition.norms)
        }
    };
    let Samples { inputs, labels, .. } = model.split(Split::Train, Some(300)).unwrap();
    let calibration = model.split(Split::Calibrate, Some(200)).unwrap().inputs;
    let formats = recipe(formats);
    let network = fuse_activations(&network).unwrap();
    let start =
        Start { network: &network, norms: &norms, formats: Some(&formats), calibration: calibration.view(), background: 0.0, identity: "" };
    let settings = Settings { epochs: 1, batch: 50, scales, ..settings() };
    let mut trainer = Trainer::new(start, &settings).unwrap();
    let examples = Examples { inputs: &inputs, labels: &labels };
    trainer.fit(examples, examples, None, &mut Keeper::default()).unwrap();
    let judged = model.split(Split::Select, Some(200)).unwrap().inputs;
    let fake = trainer.logits(&judged);
    let network = trainer.network().unwrap();
    let integers = integer::quantize_inputs(&network, judged.view()).unwrap();
    let trace = integer::run(&network, |_| EXACT, integers).unwrap();
    let held = network.logits().output.quantization.unwrap();
    let exact = trace.layer(network.logits().id).unwrap().mapv(|q| held.dequantize(q));
    (network, fake, exact)
}

const BINARY: &str = "NetworkDef(format_version: 1, name: \"b\", input: [1, 28, 28], layers: [Conv(filters: 8, kernel: 5, stride: 2, padding: 2, norm: true), \
                      Conv(filters: 16, kernel: 3, stride: 2, padding: 1, norm: true), Flatten, Dense(units: 32, norm: true), Dense(units: 10, norm: true)])";
const RESIDUAL: &str = "NetworkDef(format_version: 1, name: \"r\", input: [1, 28, 28], layers: [Conv(filters: 4, kernel: 5, stride: 2, padding: 2), Relu, \
                        Residual([Conv(filters: 4, kernel: 3, padding: 1, norm: true), Relu]), AveragePool(size: 2), Flatten, Dense(units: 10)])";

#[test]
fn what_was_trained_is_what_integers_compute() {
    let mut faults = Vec::new();
    for (model, definition, formats, scales) in [
        ("simplenet-mnist", None, "w8a8", Scales::Learned),
        ("simplenet-mnist", None, "w4a4", Scales::Learned),
        ("simplenet-mnist", None, "w4a4,tensor,symmetric", Scales::Learned),
        ("simplenet-mnist", None, "w2a4", Scales::Calibrated),
        ("lenet-mnist", None, "w4a4", Scales::Learned),
        ("lenet-mnist", None, "w2a8", Scales::Learned),
        ("lenet-mnist", None, "w8a8+w4a4@f*", Scales::Learned),
        ("lenet-mnist", Some(BINARY), "w1a1", Scales::Learned),
        ("lenet-mnist", Some(BINARY), "w1a1,tensor", Scales::Calibrated),
        ("lenet-mnist", Some(BINARY), "w4a8", Scales::Learned),
        ("lenet-mnist", Some(RESIDUAL), "w4a4", Scales::Learned),
    ] {
        let (network, fake, exact) = trained_through(model, definition, formats, scales);
        let step = network.logits().output.quantization.unwrap().scale;
        let steps: Vec<f32> = fake.iter().zip(&exact).map(|(fake, exact)| ((fake - exact) / step).abs()).collect();
        let differ = steps.iter().filter(|steps| **steps > 0.01).count() as f64 / steps.len() as f64;
        let most = steps.iter().fold(0.0_f32, |most, steps| most.max(*steps));
        // A sum within a rounding of f32 of the middle between two integers may go either way, and what follows with it; nothing else differs.
        if differ >= 0.03 {
            faults.push(format!("{model} {definition:?} {formats}: {differ} differ, by {most} steps at most"));
        }
        assert!(fake.iter().any(|x| x.abs() > step), "{formats}: the logits are nothing");
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn binary_layers_come_out_binary_and_normalisations_are_gone() {
    let (network, ..) = trained_through("lenet-mnist", Some(BINARY), "w1a1", Scales::Learned);
    let dtypes: Vec<Option<Dtype>> = network
        .layers()
        .filter_map(|layer| match &layer.op {
            Op::Dense(dense) => Some(dense.weight.dtype()),
            Op::Conv(conv) => Some(conv.weight.dtype()),
            _ => None,
        })
        .collect();
    assert_eq!(dtypes, [Dtype::Int8, Dtype::Binary, Dtype::Binary, Dtype::Int8].map(Some));
    let bytes = systole::network::export(&network).unwrap();
    let read = systole::network::import_bytes(&bytes, "b").unwrap();
    assert_eq!(weights(&read), weights(&network));
}

#[test]
fn zeros_stay_zeros_and_grow_where_that_is_asked_for() {
    let model = model::load("lenet-mnist").unwrap();
    let run = |steps: Option<&str>, sparsity: Option<f64>, optimizer: OptimizerKind| {
        let settings = Settings { sparsity, optimizer, lr: 1e-3, ..settings() };
        let request = TrainRequest { recipe: steps.map(recipe), begin: Begin::Kept, ..request("lenet-mnist", settings) };
        TrainSession::new(&request).unwrap().run(&mut Keeper::default()).unwrap()
    };
    for (steps, optimizer) in [
        ("nm:2:4", OptimizerKind::AdamW { weight_decay: 0.1 }),
        ("magnitude:0.9,global", OptimizerKind::Sgd { momentum: 0.9 }),
        ("nm:2:4+w4a4", OptimizerKind::Adam),
    ] {
        let trained = run(Some(steps), None, optimizer);
        let samples = model.split(Split::Calibrate, Some(10)).unwrap().inputs;
        let around = Surroundings { samples: samples.view(), tile: [1, 1], outside: None };
        let pruned = recipe(steps).prune(&fuse_activations(model.network()).unwrap(), around).unwrap().0;
        let mut moved = 0;
        for ((name, before), (_, after)) in weights(&pruned).iter().zip(weights(trained.model.network())) {
            let held = before.iter().zip(&after).all(|(before, after)| *before != 0.0 || *after == 0.0);
            assert!(held, "{steps}: a zero of {name} is none any more");
            moved += before.iter().zip(&after).filter(|(before, after)| **before != 0.0 && before.to_bits() != after.to_bits()).count();
        }
        assert!(moved > 1000, "{steps}: nothing else was trained");
    }
    let grown = run(None, Some(0.8), OptimizerKind::Adam);
    assert_eq!(grown.report.zeros, grown.report.weights * 8 / 10, "{} of {}", grown.report.zeros, grown.report.weights);
    assert_eq!(grown.model.card().training, Training::FineTuned);
}

#[test]
fn the_step_finetune_trains_inside_a_recipe() {
    use systole::pipeline::{self, RunOptions};
    let folder = tempfile::tempdir().unwrap();
    // A small data set, so that whole splits are quickly trained on.
    let model = model::load("simplenet-mnist").unwrap();
    let Samples { inputs, labels, .. } = model.split(Split::Train, Some(1000)).unwrap();
    let card = small_model(folder.path(), &inputs, &labels);
    let small = model::load(&card).unwrap();
    let options = |text: &str| RunOptions::new(recipe(text));
    let without = pipeline::compress(&small, None, &options("nm:1:4+w4a4")).unwrap();
    let with = pipeline::compress(&small, None, &options("nm:1:4+finetune:3,0.001+w4a4")).unwrap();
    assert_eq!((without.training, with.training), (Training::Plain, Training::QuantizationAware));
    assert!(with.report.zeros >= without.report.zeros * 99 / 100);
    let [before, after] = [&without, &with].map(|compressed| compressed.report.accuracy["integer"].value);
    assert!(after > before + 0.02, "{before} and {after}");
    assert!(with.network.layers().all(|layer| !matches!(&layer.op, Op::Dense(dense) if matches!(dense.weight, Weight::Float(_)))));
    let float = pipeline::compress(&small, None, &options("nm:1:4+finetune:1,0.001,float")).unwrap();
    assert_eq!(float.training, Training::FineTuned);
}

/// SimpleNet on a few samples of its own, as a card and IDX files; the card's path.
fn small_model(folder: &std::path::Path, inputs: &Array2<f32>, labels: &[u32]) -> String {
    write_idx(folder, inputs, labels);
    let card = std::fs::read_to_string("models/simplenet-mnist.ron").unwrap();
    let (head, _) = card.split_once("    data: [").unwrap();
    std::fs::copy("models/simplenet-mnist.onnx", folder.join("simplenet-mnist.onnx")).unwrap();
    let splits = "    data: [(name: \"d\", files: Idx(images: \"images-idx3-ubyte\", labels: \"labels-idx1-ubyte\"))],\n    splits: (train: (data: \"d\", from: 0, until: 700), calibrate: (data: \"d\", \
                  from: 0, until: 200), select: (data: \"d\", from: 700, until: 800), report: (data: \"d\", from: 800, until: 1000)),\n)\n";
    let file = folder.join("small.ron");
    std::fs::write(&file, format!("{head}{splits}")).unwrap();
    file.display().to_string()
}

/// A pair of IDX files of 28 x 28 pixels, 0 to 1.
fn write_idx(folder: &std::path::Path, inputs: &Array2<f32>, labels: &[u32]) {
    let size = |size: usize| u32::try_from(size).unwrap().to_be_bytes();
    let mut images = vec![0, 0, 8, 3];
    for count in [inputs.nrows(), 28, 28] {
        images.extend(size(count));
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of 255")]
    images.extend(inputs.iter().map(|x| (x * 255.0).round() as u8));
    let mut of_labels = vec![0, 0, 8, 1];
    of_labels.extend(size(labels.len()));
    of_labels.extend(labels.iter().map(|label| u8::try_from(*label).unwrap()));
    std::fs::write(folder.join("images-idx3-ubyte"), images).unwrap();
    std::fs::write(folder.join("labels-idx1-ubyte"), of_labels).unwrap();
}

#[test]
fn a_teacher_moves_its_student_and_one_that_does_not_fit_is_refused() {
    let taught = |teacher: Option<&str>, distill_weight| {
        let settings = Settings { distill_weight, ..settings() };
        let request = TrainRequest { teacher: teacher.map(str::to_string), ..request("simplenet-mnist", settings) };
        TrainSession::new(&request).unwrap().run(&mut Keeper::default()).unwrap()
    };
    let (alone, taught_none, taught_half) = (taught(None, 0.5), taught(Some("lenet-mnist"), 0.0), taught(Some("lenet-mnist"), 0.5));
    // A teacher without weight teaches nothing.
    assert_eq!(weights(alone.model.network()), weights(taught_none.model.network()));
    assert_ne!(weights(alone.model.network()), weights(taught_half.model.network()));
    // A teacher whose samples are prepared otherwise is shown them so.
    let folder = tempfile::tempdir().unwrap();
    let lenet = std::fs::read_to_string("models/lenet-mnist.ron").unwrap();
    let data = std::fs::canonicalize("data").unwrap().display().to_string();
    let relative = |text: &str| text.replace("../data", "data");
    let moved = relative(&lenet.replace("scale: OneOver(255.0), mean: 0.0, std: 1.0", "scale: Times(0.007843137), mean: 1.0, std: 2.0"));
    assert_ne!(moved, relative(&lenet), "{lenet}");
    std::os::unix::fs::symlink(data, folder.path().join("data")).unwrap();
    std::fs::copy("models/lenet-mnist.onnx", folder.path().join("lenet-mnist.onnx")).unwrap();
    std::fs::write(folder.path().join("moved.ron"), moved).unwrap();
    let of_moved = taught(Some(&folder.path().join("moved.ron").display().to_string()), 0.5);
    assert_ne!(weights(of_moved.model.network()), weights(alone.model.network()));
    let other = Definition::parse("NetworkDef(format_version: 1, name: \"o\", input: [10], layers: [Dense(units: 10)])", "o.ron").unwrap();
    let error = Teacher::new(&other.network, model::load("lenet-mnist").unwrap().network(), [1.0, 0.0]).unwrap_err().to_string();
    assert!(error.contains("takes 10 numbers") && error.contains("help: "), "{error}");
}

#[test]
fn bad_input_is_refused_with_help() {
    let folder = tempfile::tempdir().unwrap();
    let definition = |text: &str| {
        let path = folder.path().join("d.ron");
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let error = |request: TrainRequest| match TrainSession::new(&request) {
        Err(error) => error.to_string(),
        Ok(session) => session.run(&mut Keeper::default()).unwrap_err().to_string(),
    };
    // A model whose output does not fit the classes.
    let nine = definition(
        "NetworkDef(format_version: 1, name: \"nine\", data: Some(\"simplenet-mnist\"), input: [784], layers: [Dense(units: 9)])",
    );
    let found = error(request(&nine, settings()));
    assert!(found.contains("wants 10 numbers") && found.contains("yields 9") && found.contains("help: "), "{found}");
    let none = definition("NetworkDef(format_version: 1, name: \"none\", input: [784], layers: [Dense(units: 10)])");
    let found = error(request(&none, settings()));
    assert!(found.contains("--data is not given"), "{found}");
    // Labels out of range, of data that no card describes.
    write_idx(folder.path(), &Array2::zeros((40, 784)), &(0..40).map(|sample| sample % 11).collect::<Vec<u32>>());
    let found = error(TrainRequest { data: Some(folder.path().display().to_string()), samples: None, ..request(&none, settings()) });
    assert!(found.contains("label 10"), "{found}");
    // A learning rate that diverges.
    let wild = Settings { lr: 1e20, optimizer: OptimizerKind::Sgd { momentum: 0.9 }, ..settings() };
    let found = error(request("simplenet-mnist", wild));
    assert!(found.contains("training diverged in step") && found.contains("kept behind epoch 0") && found.contains("--lr"), "{found}");
    // What cannot be trained is named.
    let quantized = TrainRequest { recipe: Some(recipe("w8a8")), begin: Begin::Kept, ..request("simplenet-mnist", settings()) };
    let trained = TrainSession::new(&quantized).unwrap().run(&mut Keeper::default()).unwrap();
    let path = folder.path().join("q.onnx");
    std::fs::write(&path, systole::network::export(trained.model.network()).unwrap()).unwrap();
    let again = TrainRequest {
        model: path.display().to_string(),
        data: Some("simplenet-mnist".to_string()),
        begin: Begin::Kept,
        ..request("simplenet-mnist", settings())
    };
    let found = error(again);
    assert!(found.contains("weights in integers") && found.contains("--init drawn"), "{found}");
    // What trains already, what has no zero, and signs that say nothing.
    let quantized = |text: &str| TrainRequest { recipe: Some(recipe(text)), begin: Begin::Kept, ..request("simplenet-mnist", settings()) };
    let found = error(quantized("finetune:1,0.001+w8a8"));
    assert!(found.contains("finetune:1,0.001") && found.contains("so does this command"), "{found}");
    let sparse = Settings { sparsity: Some(0.5), ..settings() };
    let found = error(TrainRequest { settings: sparse, ..quantized("w1a1") });
    assert!(found.contains("--sparsity is 0.5") && found.contains("binary weights have no zero"), "{found}");
    let found = error(quantized("w1a1@*"));
    assert!(found.contains("never below 0") && found.contains("mean: 0.5"), "{found}");
}

#[test]
fn a_folder_of_two_pairs_is_trained_on_the_one_and_judged_on_the_other() {
    let text = "NetworkDef(format_version: 1, name: \"d\", data: Some(\"simplenet-mnist\"), input: [784], layers: [Dense(units: 10)])";
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("d.ron"), text).unwrap();
    for model in ["simplenet-mnist".to_string(), folder.path().join("d.ron").display().to_string()] {
        let on_folder = TrainRequest { data: Some("data/mnist".to_string()), samples: Some(2000), ..request(&model, settings()) };
        let trained = TrainSession::new(&on_folder).unwrap().run(&mut Keeper::default()).unwrap();
        let card = model::load("simplenet-mnist").unwrap();
        assert_eq!(trained.model.card().preprocessing, card.card().preprocessing, "{model}");
        let data = |split| trained.model.split_data(split).unwrap().clone();
        assert_eq!(
            (data(Split::Train).range, data(Split::Select).range, data(Split::Report).range),
            (Some(0..50_000), Some(50_000..60_000), Some(0..10_000))
        );
        assert!(data(Split::Train).source.files()[0].ends_with("train-images-idx3-ubyte.gz"));
        assert!(data(Split::Report).source.files()[0].ends_with("t10k-images-idx3-ubyte.gz"));
    }
    // More samples than a split has are all of it.
    let all = TrainRequest { samples: Some(20_000), ..request("simplenet-mnist", Settings { epochs: 1, ..settings() }) };
    let trained = TrainSession::new(&all).unwrap().run(&mut Keeper::default()).unwrap();
    assert_eq!(trained.report.samples, 10_000);
}

#[test]
fn a_checkpoint_is_gone_on_from_or_left_alone_and_a_log_has_progress() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("n.onnx");
    let train = |more: &[&str]| {
        let mut command = std::process::Command::new(assert_cmd::cargo::cargo_bin!("systole"));
        command
            .args(["train", "--model", "models/definitions/simplenet.ron", "--samples", "300", "--seed", "1", "--out"])
            .arg(&out)
            .args(more);
        let done = command.current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
        (done.status.code(), String::from_utf8(done.stderr).unwrap())
    };
    let kept = folder.path().join("kept.safetensors");
    let checkpoint = ["--checkpoint", kept.to_str().unwrap()];
    let (code, said) = train(&[&checkpoint[..], &["--epochs", "2"]].concat());
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("epoch 1: loss") && said.contains("epoch 2: loss"), "{said}");
    let bytes = std::fs::read(&kept).unwrap();
    // Without --resume it is no target, with it more epochs follow.
    let (code, said) = train(&checkpoint);
    assert!(code == Some(1) && said.contains("is there already") && said.contains("--resume"), "{said}");
    assert_eq!(std::fs::read(&kept).unwrap(), bytes);
    let (code, said) = train(&[&checkpoint[..], &["--resume", "--epochs", "3"]].concat());
    assert!(code == Some(0) && said.contains("going on behind epoch 2 of 3") && !said.contains("epoch 2: loss"), "{said}");
    let none = folder.path().join("none.safetensors");
    let (code, said) = train(&["--checkpoint", none.to_str().unwrap(), "--resume", "--epochs", "1"]);
    assert!(code == Some(0) && said.contains("there is no checkpoint"), "{said}");
}
