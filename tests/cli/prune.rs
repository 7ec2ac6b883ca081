//! `systole run --prune` and `--recipe`: what they print and write, what pruning buys on which chip, and what is refused.

use crate::{count, files, layers, output, real, run_json, systole, text};
use serde_json::Value;
use std::fs;

const INT8_ONLY: &str = "formats=[(weight: Int8, activation: Int8, lanes: 1, accumulator_bits: 32, overflow: Saturate, pe: Table)]";

fn cycles(json: &Value) -> (u64, u64) {
    (count(json, "/total_cycles"), count(json, "/pruning/unpruned/total_cycles"))
}

#[test]
fn a_pruning_that_buys_nothing_says_so_and_its_recipe_does_the_same_again() {
    let home = tempfile::tempdir().unwrap();
    let (first, second) = (home.path().join("first"), home.path().join("second"));
    let printed = output(&mut systole(&["run", "--samples", "60", "--prune", "mean:1,global", "--out", text(&first)]));
    for part in [
        "mean:1,global+w8a8",
        "Pruning: Recipe(",
        "MeanThreshold(alpha: 1.0, scope: Global",
        "This pruning buys no cycle on this chip",
        "McNemar",
        "0 mismatches in 600 output values",
    ] {
        assert!(printed.contains(part), "{part:?} is missing:\n{printed}");
    }
    assert!(files(&first).contains(&"recipe.ron".to_string()));
    let recipe = first.join("recipe.ron");
    let again = output(&mut systole(&["run", "--samples", "60", "--json", "--recipe", text(&recipe), "--out", text(&second)]));
    let [mut one, mut other]: [Value; 2] =
        [fs::read_to_string(first.join("summary.json")).unwrap(), again].map(|text| serde_json::from_str(&text).unwrap());
    assert_eq!(fs::read(recipe).unwrap(), fs::read(second.join("recipe.ron")).unwrap());
    for json in [&mut one, &mut other] {
        json["provenance"]["command"] = Value::Null;
    }
    assert_eq!(one, other);
    let (now, before) = cycles(&one);
    assert_eq!(now, before);
    assert_eq!(one["recipe"], "mean:1,global+w8a8");
    // What the step says of a layer's zeros, the integers that ran keep at least.
    for (layer, pruned) in layers(&one).iter().zip(one["pruning"]["steps"][0]["layers"].as_array().unwrap()) {
        assert_eq!(layer["name"], pruned["name"]);
        assert!(real(layer, "/sparsity") >= real(pruned, "/sparsity"), "{layer} {pruned}");
    }
    // Without pruning it is the run that it always was.
    let plain = run_json(&["--samples", "60"]);
    assert!(plain["pruning"].is_null() && plain["recipe"] == "w8a8");
    assert_eq!(count(&plain, "/total_cycles"), before);
}

#[test]
fn each_chip_profits_from_what_it_is_made_for() {
    let blocks = run_json(&["--samples", "20", "--prune", "block:array,0.5", "--set", "array.sparsity=TileSkip"]);
    let (now, before) = cycles(&blocks);
    assert!(10 * now < 7 * before, "{now} of {before}");
    assert_eq!(2 * count(&blocks, "/macs_executed"), count(&blocks, "/macs_dense"));
    let coded = run_json(&["--samples", "20", "--prune", "magnitude:0.8", "--chip", "codec-16x16"]);
    let moved = count(&coded, "/pruning/unpruned/dram_read_bytes");
    assert!(2 * count(&coded, "/dram_read_bytes") < moved, "{moved}");
    for prune in ["channel:0.5", "rank:8"] {
        let small = run_json(&["--samples", "20", "--prune", prune]);
        let (now, before) = cycles(&small);
        assert!(10 * now < 8 * before, "{prune}: {now} of {before}");
        assert!(count(&small, "/macs_dense") < count(&small, "/pruning/unpruned/macs_dense"));
        assert_eq!(count(&small, "/mismatches"), 0);
    }
}

#[test]
fn formats_of_a_layer_that_a_step_made_do_not_keep_the_whole_network_from_being_timed() {
    let json = run_json(&["--samples", "4", "--prune", "energy:0.9@z1", "--quant", "w8a8+w4a8@z1/low_rank"]);
    let plain = run_json(&["--samples", "4"]);
    assert_eq!(cycles(&json).1, count(&plain, "/total_cycles"));
    assert_eq!((layers(&json)[0]["name"].as_str(), layers(&json)[0]["format"].as_str()), (Some("z1/low_rank"), Some("int4 x int8")));
}

#[test]
fn n_of_m_is_in_the_order_in_which_the_chip_groups_weights() {
    // The chip refuses weights of which a group has too many, so that any other order of K would fail.
    for model in ["simplenet-mnist", "lenet-mnist"] {
        let json = run_json(&[
            "--model",
            model,
            "--samples",
            "4",
            "--prune",
            "nm:2:4",
            "--set",
            INT8_ONLY,
            "--set",
            "array.sparsity=NM(n: 2, m: 4)",
        ]);
        assert_eq!(count(&json, "/mismatches"), 0);
        assert!(json["pruning"]["unpruned"].is_null());
        assert!(json["pruning"]["unpruned_fault"].as_str().unwrap().contains("the array keeps 2 of each 4"), "{}", json["pruning"]);
        assert!(count(&json, "/macs_executed") < count(&json, "/macs_dense") * 6 / 10);
    }
}

#[test]
fn recipes_that_make_no_sense_are_refused_with_help_and_leave_nothing_behind() {
    let home = tempfile::tempdir().unwrap();
    let out = home.path().join("out");
    let file = |name: &str, text: &str| {
        let path = home.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_string()
    };
    let pair = file("pair.ron", "Recipe(format_version: 1, steps: [Quantize(w: 16, a: 16, layers: [\"z1\"])])");
    let typo = file("typo.ron", "Recipe(format_version: 1, steps: [\n    MeanThreshold(alfa: 1),\n])");
    let eight = file("eight.ron", "Recipe(format_version: 1, steps: [Quantize(w: 8, a: 8)])");
    let no_int8 = "formats=[(weight: Int16, activation: Int16, lanes: 1, accumulator_bits: 48, overflow: Saturate, pe: Table)]";
    let cases: [(&[&str], i32, &str); 13] = [
        (&["--prune", "mean:1@nothing"], 1, "the layers are z1, z2, z3"),
        (&["--prune", "nm:5:4"], 1, "n is 5 and m is 4"),
        (&["--prune", "mean:-1"], 1, "alpha is -1"),
        (&["--prune", "mean:NaN"], 1, "alpha is NaN"),
        (&["--prune", "channel:1.5"], 1, "fraction is 1.5"),
        (&["--prune", "mean:50"], 1, "would be pruned to nothing"),
        (&["--prune", "some"], 2, "no step of a recipe"),
        (&["--recipe", &pair, "--chip", "gemmini-16x16-ws"], 1, "layer \"z1\" multiplies int16 weights by int16 activations"),
        (&["--recipe", &typo], 1, "typo.ron:2:"),
        (&["--recipe", "nowhere.ron"], 1, "cannot be read"),
        (&["--recipe", &eight, "--prune", "mean:1"], 2, "cannot be used with"),
        (&["--recipe", &eight, "--set", no_int8], 1, "int16"),
        (&["--model", "resnet18", "--prune", "mean:1"], 1, "no weights that could be pruned"),
    ];
    for (arguments, code, part) in cases {
        let done = systole(&["run", "--samples", "2", "--out", text(&out)]).args(arguments).assert().code(code);
        let message = String::from_utf8(done.get_output().stderr.clone()).unwrap();
        assert!(message.contains(part) && message.contains("help"), "{arguments:?}: {message}");
        assert!(!out.exists(), "{arguments:?}");
    }
}
