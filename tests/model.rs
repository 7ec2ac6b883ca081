//! Do cards load, are wrong ones refused with their places, and does SimpleNet reach its accuracy on the data that ships?

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use ndarray::s;
use std::path::{Path, PathBuf};
use systole::data::{self, Source, Task};
use systole::model::{self, Model, ModelError, Split};
use systole::network;
use systole::reference::float;
use systole::{data::Metric, metrics};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn simplenet() -> Model {
    model::load(root().join("models/simplenet-mnist.ron").to_str().unwrap()).unwrap()
}

#[test]
fn simplenet_reaches_its_accuracy_on_the_report_split() {
    let model = simplenet();
    let samples = model.split(Split::Report, None).unwrap();
    assert_eq!(samples.inputs.dim(), (10_000, 784));
    let trace = float::run(model.network(), samples.inputs.view()).unwrap();
    let card = model.card();
    let found = metrics::evaluate(card.task, &card.metrics, trace.logits().view(), samples.truth()).unwrap();
    assert!((found["accuracy"] - 0.9742).abs() < 1e-12, "{found:?}");

    // A softmax changes no order, and a fused activation no value.
    let through_softmax = metrics::evaluate(card.task, &card.metrics, trace.output().view(), samples.truth()).unwrap();
    assert_eq!(found, through_softmax);
    let fused = network::fuse_activations(model.network()).unwrap();
    let part = samples.inputs.slice(s![..100, ..]);
    assert_eq!(float::run(&fused, part).unwrap().logits(), &trace.logits().slice(s![..100, ..]));
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let model = simplenet();
    let samples = model.split(Split::Calibrate, Some(300)).unwrap();
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| float::run(model.network(), samples.inputs.view()).unwrap())
    };
    assert_eq!(run(1), run(3));
}

#[test]
fn splits_are_those_of_the_card() {
    let model = simplenet();
    assert_eq!(model.card().task, Task::Classification { classes: 10 });
    assert_eq!(model.card().metrics, [Metric::Accuracy]);
    for (split, wanted) in [(Split::Train, 50_000), (Split::Calibrate, 1024), (Split::Select, 10_000), (Split::Report, 10_000)] {
        assert_eq!(model.split_data(split).unwrap().range.clone().unwrap().len(), wanted, "{split}");
    }
    let whole =
        data::load(&root().join("data/mnist/train-images-idx3-ubyte.gz"), &root().join("data/mnist/train-labels-idx1-ubyte.gz")).unwrap();
    let select = model.split(Split::Select, Some(10)).unwrap();
    assert_eq!(select.inputs.nrows(), 10);
    assert_eq!(select.labels, &whole.labels()[50_000..50_010]);
    let data::Values::U8(pixels) = whole.samples() else { panic!("bytes") };
    assert_eq!(pixels.shape(), [60_000, 28, 28]);
    let pixel = (14 * 28 + 14, f32::from(pixels[[50_003, 14, 14]]) / 255.0);
    assert_eq!(select.inputs[[3, pixel.0]].to_bits(), pixel.1.to_bits());
    assert_eq!(select.files.len(), 2);
    assert_eq!(model.files()[1].sha256, data::sha256_hex(&std::fs::read(root().join("models/simplenet-mnist.onnx")).unwrap()));
}

/// A folder with a copy of the card in which `from` is replaced, and with the network.
fn card(from: &str, to: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let text = std::fs::read_to_string(root().join("models/simplenet-mnist.ron")).unwrap();
    assert!(text.contains(from), "{from}");
    let path = folder.path().join("card.ron");
    std::fs::write(&path, text.replacen(from, to, 1)).unwrap();
    std::fs::copy(root().join("models/simplenet-mnist.onnx"), folder.path().join("simplenet-mnist.onnx")).unwrap();
    (folder, path)
}

#[test]
fn classes_without_names_are_numbers() {
    let names = "    labels: [\"0\", \"1\", \"2\", \"3\", \"4\", \"5\", \"6\", \"7\", \"8\", \"9\"],\n";
    let (_folder, path) = card(names, "");
    let named = model::load("simplenet-mnist").unwrap();
    assert_eq!(model::load(path.to_str().unwrap()).unwrap().card().labels, named.card().labels);
}

#[test]
fn faults_of_a_card_have_their_place() {
    let cases = [
        ("metrics: [Accuracy]", "metrics: [Sharpness]", "card.ron:13:15: metrics[0]: Unexpected variant named `Sharpness`"),
        ("metrics: [Accuracy]", "metrics: [Precision]", "card.ron:13:24: metrics[0].Precision: Expected opening `(`"),
        ("metrics: [Accuracy]", "metrics: [TopK(11)]", "metrics: is [TopK(11)]"),
        ("std: 1.0", "std: 1.0, gamma: 2", "card.ron:11:65: preprocessing"),
        ("name: \"simplenet", "nmae: \"simplenet", "card.ron:4:5: "),
        ("from: 0", "from: -1", "card.ron:32:39: splits.train.from: must be a whole number, not below 0"),
        ("format_version: 1", "format_version: 2", "card.ron:3:5: format_version: is 2; 1 is known"),
        ("std: 1.0", "std: 0.0", "card.ron:11:55: preprocessing.std: is 0"),
        ("OneOver(255.0)", "OneOver(NaN)", "card.ron:11:21: preprocessing.scale: is OneOver(NaN)"),
        ("\"9\"", "\"8\"", "labels: names two classes alike"),
        ("classes: 10", "classes: 2000000000", "task: has 2000000000 classes"),
        (", \"9\"", "", "labels: has 9 names and the task 10 classes"),
        ("from: 0, until: 1024", "from: 49000, until: 51000", "card.ron:33:9: splits.calibrate: is train 49000 until 51000 and train is"),
        ("from: 50000", "from: 49999", "splits.select: is train 49999 until 60000 and shares samples with train"),
        (
            "report: (data: \"test\", from: 0, until: 10000)",
            "report: (data: \"train\", from: 50000, until: 60000)",
            "splits.report: is train 50000 until 60000 and shares samples with select",
        ),
        ("report: (data: \"test\"", "report: (data: \"tset\"", "splits.report: takes from \"tset\"; data has [\"train\", \"test\"]"),
        ("simplenet-mnist.onnx", "/etc/passwd", "network: is \"/etc/passwd\""),
        ("classes: 10", "classes: 11", "labels: has 10 names and the task 11 classes"),
        ("Model(", "Model((((", "card.ron:2:7: Expected identifier"),
    ];
    for (from, to, wanted) in cases {
        let (_folder, path) = card(from, to);
        let found = model::load(path.to_str().unwrap()).unwrap_err().to_string();
        assert!(found.contains(wanted), "wanted: {wanted}\nfound: {found}");
    }
    let (_folder, path) = card(
        "std: 1.0, layout: Flatten),\n    task: Classification(classes: 10)",
        "std: 0.0, layout: Flatten),\n    task: Classification(classes: 1)",
    );
    let Err(ModelError::Card(faults)) = model::load(path.to_str().unwrap()) else { panic!("the card is wrong") };
    assert_eq!(faults.iter().map(|fault| fault.field.as_str()).collect::<Vec<_>>(), ["preprocessing.std", "task", "labels"]);
}

#[test]
fn models_are_found_by_path_and_by_name() {
    let model = model::load("simplenet-mnist").unwrap();
    assert_eq!(model.network().layers().count(), 7);
    assert_eq!(model.files()[0].file, "simplenet-mnist.ron");
    let found = model::load("simplenet").unwrap_err().to_string();
    assert!(found.contains("there is no model \"simplenet\"") && found.contains("simplenet-mnist"), "{found}");
    assert!(model::load("no/such.ron").unwrap_err().to_string().contains("no/such.ron: the model card cannot be read"));
    assert!(model::load("no/such.onnx").unwrap_err().to_string().contains("no/such.onnx"));
    assert!(model::load("").is_err());
    assert!(model::load("../simplenet-mnist").is_err());
}

#[test]
fn a_network_without_a_card_takes_data_for_its_report() {
    let path = root().join("models/simplenet-mnist.onnx");
    let model = model::load(path.to_str().unwrap()).unwrap();
    let found = model.split(Split::Report, None).unwrap_err().to_string();
    assert!(found.contains("names no data for \"report\"") && found.contains("--data"), "{found}");
    let model = model.with_data(&root().join("data/mnist")).unwrap();
    let data = model.split_data(Split::Report).unwrap();
    assert!(matches!(&data.source, Source::Idx { images, .. } if images.ends_with("t10k-images-idx3-ubyte.gz")));
    assert_eq!(model.split(Split::Report, Some(7)).unwrap().inputs.dim(), (7, 784));
    assert!(model.split(Split::Calibrate, None).unwrap_err().to_string().contains("write a model card"));
}

#[test]
fn data_that_does_not_belong_to_the_model_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("test-images"), [&[0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3][..], &[1; 6]].concat()).unwrap();
    std::fs::write(folder.path().join("test-labels"), [0, 0, 8, 1, 0, 0, 0, 2, 1, 2]).unwrap();
    let model = simplenet().with_data(folder.path()).unwrap();
    let found = model.split(Split::Report, None).unwrap_err().to_string();
    assert!(found.contains("takes 784 numbers a sample (shape [784])") && found.contains("have 3 (shape [3])"), "{found}");

    std::fs::write(folder.path().join("test-images"), [&[0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 3, 16][..], &[1; 2 * 784]].concat()).unwrap();
    std::fs::write(folder.path().join("test-labels"), [0, 0, 8, 1, 0, 0, 0, 2, 1, 10]).unwrap();
    let found = model.split(Split::Report, None).unwrap_err().to_string();
    assert!(found.contains("sample 1 has the label 10 and model \"simplenet-mnist\" has 10 classes (0 to 9)"), "{found}");
    std::fs::remove_file(folder.path().join("test-labels")).unwrap();
    assert!(model.split(Split::Report, None).unwrap_err().to_string().contains("cannot be read"));
    assert!(simplenet().with_data(folder.path()).unwrap_err().to_string().contains("has no file with \"labels\" in its name"));

    let (_folder, path) = card("simplenet", "simplenet");
    let found = model::load(path.to_str().unwrap()).unwrap().split(Split::Report, None).unwrap_err().to_string();
    assert!(found.contains("t10k-images-idx3-ubyte.gz") && found.contains("--data"), "{found}");
}
