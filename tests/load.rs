//! Does the recipe step `Load` put another model in a network's place, and refuse what does not belong there?

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

use std::fs;
use systole::compress::Recipe;
use systole::model::{self, Training};
use systole::pipeline::{self, RunOptions};

fn options(recipe: &str) -> RunOptions {
    RunOptions { samples: Some(50), ..RunOptions::new(recipe.parse::<Recipe>().unwrap()) }
}

#[test]
fn a_loaded_network_is_scored_in_the_place_of_the_models() {
    let (simple, lenet) = (model::load("simplenet-mnist").unwrap(), model::load("lenet-mnist").unwrap());
    let loaded = pipeline::compress(&simple, None, &options("load:lenet-mnist+w8a8")).unwrap();
    let own = pipeline::compress(&lenet, None, &options("w8a8")).unwrap();
    assert_eq!(loaded.report.weights, own.report.weights);
    assert_eq!(loaded.report.accuracy["integer"], own.report.accuracy["integer"]);
    // What it is compared with is what it stands for.
    assert_ne!(loaded.report.before, own.report.before);
    assert_eq!(loaded.report.steps[0].step, "load:lenet-mnist");
}

#[test]
fn what_does_not_belong_in_its_place_is_refused_with_help() {
    let model = model::load("simplenet-mnist").unwrap();
    let error = |recipe: &str| pipeline::compress(&model, None, &options(recipe)).unwrap_err().to_string();
    let unknown = error("load:lenet-mnst");
    assert!(unknown.contains("step load:lenet-mnst") && unknown.contains("did you mean lenet-mnist"), "{unknown}");
    let folder = tempfile::tempdir().unwrap();
    let card = fs::read_to_string("models/lenet-mnist.ron").unwrap();
    fs::copy("models/lenet-mnist.onnx", folder.path().join("lenet-mnist.onnx")).unwrap();
    let other = folder.path().join("shifted.ron");
    fs::write(&other, card.replace("mean: 0.0", "mean: 0.5")).unwrap();
    let prepared = error(&format!("load:{}", other.display()));
    assert!(prepared.contains("prepared otherwise") && prepared.contains("help: "), "{prepared}");
}

#[test]
fn a_card_says_what_training_knew() {
    let model = model::load("lenet-mnist").unwrap();
    assert_eq!(model.card().training, Training::Plain);
    let folder = tempfile::tempdir().unwrap();
    let card = fs::read_to_string("models/lenet-mnist.ron").unwrap();
    fs::copy("models/lenet-mnist.onnx", folder.path().join("lenet-mnist.onnx")).unwrap();
    let path = folder.path().join("tuned.ron");
    fs::write(&path, card.replace("    network:", "    training: FineTuned,\n    network:")).unwrap();
    let tuned = path.display().to_string();
    assert_eq!(model::load(&tuned).unwrap().card().training, Training::FineTuned);
    let of = |recipe: &str| pipeline::training(&model, &recipe.parse::<Recipe>().unwrap()).unwrap().name();
    assert_eq!((of("w8a8"), of(&format!("load:{tuned}+w4a4"))), ("ptq", "finetuned"));
}
