//! `systole model`: lists and shows models; and models by name in the other commands.

use crate::faults::refused;
use crate::{output, systole, text};
use serde_json::Value;
use std::fs;

fn shown(words: &[&str]) -> String {
    output(&mut systole(words))
}

#[test]
fn the_list_has_every_model_with_its_figures_and_its_source() {
    let list = shown(&["model", "list"]);
    for name in systole::model::names() {
        assert!(list.lines().any(|line| line.starts_with(&format!("{name} "))), "{name}: {list}");
    }
    for words in ["resnet18         layer table      21  1.81 G      11.7 M", "lenet-mnist      network           5   417 k      61.7 k"] {
        assert!(list.contains(words), "{words}: {list}");
    }
    assert!(list.lines().all(|line| line.chars().count() <= 100 && !line.ends_with(' ')), "{list}");
    let json: Value = serde_json::from_str(&shown(&["model", "list", "--json"])).unwrap();
    let entries = json.as_array().unwrap();
    assert_eq!(entries.len(), systole::model::names().count());
    assert!(entries.iter().all(|entry| entry["macs"].as_u64().unwrap() > 0 && entry["source"].as_str().unwrap().len() > 20));
}

#[test]
fn a_network_is_shown_with_shapes_figures_and_its_graph() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("lenet");
    let page = shown(&["model", "show", "lenet-mnist", "--out", text(&folder)]);
    // 28 x 28 pixels of 6 filters of 25 weights; 10 x 10 of 16 filters of 150; a bias each.
    for words in [
        "conv 5x5 p2",
        "6 x 28 x 28",
        "6 x 1 x 5 x 5",
        "118 k",
        "156",
        "16 x 6 x 5 x 5",
        "240 k",
        "400 x 120",
        "trained by scripts/train_lenet.py",
    ] {
        assert!(page.contains(words), "{words}: {page}");
    }
    let (svg, dot) = (fs::read_to_string(folder.join("graph.svg")).unwrap(), fs::read_to_string(folder.join("graph.dot")).unwrap());
    let json: Value = serde_json::from_str(&shown(&["model", "show", "lenet-mnist", "--json", "--out", text(&folder)])).unwrap();
    let layers = json["layers"].as_array().unwrap();
    for layer in layers {
        let name = layer["name"].as_str().unwrap();
        assert!(svg.contains(&format!("\n{name}\n")) && dot.contains(&format!("label=\"{name}\\n")), "{name}");
    }
    assert_eq!(dot.matches(" -> ").count(), layers.len() - 1);
    assert_eq!((json["macs"].as_u64(), json["parameters"].as_u64()), (Some(416_520), Some(61_706)));
    assert_eq!(fs::read_to_string(folder.join("graph.svg")).unwrap(), svg);
}

#[test]
fn a_layer_table_is_shown_and_joined_in_its_order() {
    let home = tempfile::tempdir().unwrap();
    let page = shown(&["model", "show", "mobilenet-v1", "--out", text(home.path())]);
    for words in ["conv 3x3 p1 g32", "32 x 1 x 3 x 3", "569 M", "4.21 M", "Howard et al."] {
        assert!(page.contains(words), "{words}: {page}");
    }
    let dot = fs::read_to_string(home.path().join("graph.dot")).unwrap();
    assert_eq!((dot.matches(" -> ").count(), dot.matches("style=dashed").count()), (27, 27));
    let json: Value = serde_json::from_str(&shown(&["model", "show", "bert-base", "--json"])).unwrap();
    let scores = &json["layers"][1];
    assert_eq!(
        (scores["repeat"].as_u64(), scores["parameters"].as_u64(), scores["inputs"].as_array().unwrap().len()),
        (Some(144), Some(0), 2)
    );
}

#[test]
fn models_go_by_name_in_every_command() {
    let home = tempfile::tempdir().unwrap();
    let run = |model: &str| -> Value {
        serde_json::from_str(&output(
            systole(&["run", "--chip", "tpu-v1-256x256", "--model", model, "--json", "--out", text(home.path())]).current_dir(home.path()),
        ))
        .unwrap()
    };
    let summary = run("mlp-tpu-v1");
    assert_eq!((summary["network"]["name"].as_str(), summary["network"]["macs"].as_u64()), (Some("mlp-tpu-v1"), Some(4_000_000_000)));
    // A table of the folder's own models/ comes before the one that is shipped.
    fs::create_dir(home.path().join("models")).unwrap();
    fs::write(home.path().join("models/mlp-tpu-v1.csv"), "Layer,M,N,K,Repeat\nown,2,3,4,5\n").unwrap();
    assert_eq!(run("mlp-tpu-v1")["network"]["macs"].as_u64(), Some(120));
    let csv = output(systole(&["topology", "mlp-tpu-v1", "--array-only", "--csv"]).current_dir(home.path()));
    assert!(csv.lines().nth(1).unwrap().starts_with("own,2,4,3,5,5,"), "{csv}");
    let page = shown(&["topology", "alexnet", "--chip", "ideal-128x128", "--array-only"]);
    assert!(page.contains("runs") && page.contains("conv5"), "{page}");
    let page = shown(&["map", "--model", "alexnet", "--layer", "conv2", "--budget", "1"]);
    // Its two groups are one stage.
    assert!(page.contains(" M 256 C 96 ") && !page.contains("such products") && page.matches("conv2 ").count() == 1, "{page}");
    let page = output(systole(&["map", "--model", "mlp-tpu-v1", "--layer", "own", "--budget", "1"]).current_dir(home.path()));
    assert!(page.contains("runs         5 such products, one after the other") && page.matches("own ").count() == 1, "{page}");
}

#[test]
fn what_cannot_be_shown_says_why() {
    let home = tempfile::tempdir().unwrap();
    let has = |message: &str, words: &[&str]| assert!(words.iter().all(|word| message.contains(word)), "{words:?}: {message}");
    has(&refused(&["model", "show", "resnet"]), &["no model \"resnet\"", "did you mean resnet18 or resnet50?", "vgg16"]);
    has(&refused(&["topology", "resnet-18"]), &["no model \"resnet-18\"", "did you mean resnet18"]);
    has(&refused(&["run", "--model", "vgg"]), &["did you mean vgg16?"]);
    let table = home.path().join("t.csv");
    fs::write(
        &table,
        "Layer,IFMAP Height,IFMAP Width,Filter Height,Filter Width,Channels,Num Filter,Strides,Padding,Groups\nx,9,9,3,3,6,8,1,1,4\n",
    )
    .unwrap();
    has(&refused(&["model", "show", text(&table)]), &["t.csv:2: Groups is 4, and Channels is 6", "a divisor of 6"]);
    fs::write(&table, "Layer,M,N,K,Repeat\nx,1,2,3,many\n").unwrap();
    has(&refused(&["model", "show", text(&table)]), &["t.csv:2: Repeat is \"many\"", "correct column 5"]);
    fs::write(&table, format!("Layer,M,N,K\n{}", "x,1,2,3\n".repeat(1001))).unwrap();
    has(&refused(&["model", "show", text(&table), "--out", text(&home.path().join("new"))]), &["1001 layers", "without --out"]);
    assert!(shown(&["model", "show", text(&table)]).lines().count() > 1000);
    has(&refused(&["model", "show", "alexnet", "--out", text(&table)]), &["--out"]);
}
