//! Points: repeated by `run`, held to the baseline, chosen on the select split; and searches.

use super::{lines, results, sweep, systole, timing_only};
use serde_json::Value;
use std::fs;
use std::path::Path;

/// The points in a folder.
fn points(folder: &Path) -> Vec<Value> {
    fs::read_to_string(folder.join("points.jsonl")).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The rows of a CSV table, by column.
fn table(path: &Path) -> Vec<std::collections::BTreeMap<String, String>> {
    let mut reader = csv::Reader::from_path(path).unwrap();
    let header = reader.headers().unwrap().clone();
    let rows =
        reader.records().map(|row| header.iter().zip(row.unwrap().iter()).map(|(name, cell)| (name.to_owned(), cell.to_owned())).collect());
    rows.collect()
}

/// An experiment on the first images of MNIST.
fn scored(folder: &Path) -> std::path::PathBuf {
    let experiment = folder.join("scored.ron");
    let text = r#"Experiment(
    question: "What do bits cost SimpleNet?",
    chips: ["edge-16x16", "xnor-16x16"],
    workloads: [(model: "simplenet-mnist", batch: 7, weights: Resident, samples: 100)],
    recipes: {
        "w8a8": [Quantize(w: 8, a: 8)],
        "thr": [MeanThreshold(alpha: Axis("alpha"), scope: Global), Quantize(w: 8, a: 8)],
        "w2a8": (steps: [Quantize(w: 2, a: 8)], chips: ["edge-16x16"]),
    },
    axes: { "alpha": [0.5, 1.5] },
    seeds: [3],
    baseline: (chip: "edge-16x16", recipe: "w8a8"),
    require: ["accuracy >= 0.5"],
)"#;
    fs::write(&experiment, text).unwrap();
    experiment
}

#[test]
fn a_point_is_what_its_command_runs() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    sweep(&scored(folder.path()), &out, &[]).assert().success();
    let points = points(&out);
    assert_eq!(points.len(), 7, "w2a8 is for one chip");
    for (number, point) in points.iter().enumerate() {
        assert_eq!((point["point"].as_u64(), point["status"].as_str()), (Some(number as u64), Some("done")));
        let command = point["run"].as_str().unwrap();
        let words: Vec<&str> = command.split(' ').skip(1).collect();
        let repeated = folder.path().join(format!("run-{number}"));
        systole(&words).arg("--out").arg(&repeated).assert().success();
        let summary: Value = serde_json::from_str(&fs::read_to_string(repeated.join("summary.json")).unwrap()).unwrap();
        let same = [
            "total_cycles",
            "cycles_lower_bound",
            "latency_s",
            "energy_pj",
            "energy_pj_by_part",
            "area_mm2",
            "dram_read_bytes",
            "mismatches",
            "traffic_bytes",
        ];
        for field in same {
            assert_eq!(point[field], summary[field], "{field} of {command}");
        }
        for (field, of) in [("accuracy", "chip"), ("float_accuracy", "float"), ("compressed_float_accuracy", "compressed_float")] {
            assert_eq!(point[field], summary["metrics"]["accuracy"][of], "{field} of {command}");
        }
        for (layer, of_run) in point["layers"].as_array().unwrap().iter().zip(summary["layers"].as_array().unwrap()) {
            for field in ["name", "total_cycles", "busy_cycles", "stall_cycles", "energy_pj", "sqnr_db", "bound_by"] {
                assert_eq!(layer[field], of_run[field], "{field} of {command}");
            }
        }
        // 100 bits, as many of them set as are right.
        let bits = point["right_bits"].as_str().unwrap();
        let set: u32 = bits.chars().map(|digit| digit.to_digit(16).unwrap().count_ones()).sum();
        assert_eq!((bits.len(), f64::from(set) / 100.0), (26, point["accuracy"].as_f64().unwrap()));
    }
    let alphas: Vec<Option<f64>> = points.iter().map(|point| point["alpha"].as_f64()).collect();
    assert_eq!(alphas, [None, Some(0.5), Some(1.5), None, None, Some(0.5), Some(1.5)]);
    assert_eq!(points[3]["macs_share"]["w2a8"].as_f64(), Some(1.0));
    let rows = table(&out.join("points.csv"));
    assert_eq!((rows[0]["speedup"].as_str(), rows[1]["alpha"].as_str(), rows[0]["alpha"].as_str()), ("1", "0.5", ""));
    for (row, point) in rows.iter().zip(&points) {
        let keeps = 100.0 - point["select_error_percent"].as_f64().unwrap() >= 50.0;
        assert_eq!(row["meets_requirements"], keeps.to_string());
    }
    let layers = table(&out.join("layers.csv"));
    let of_first: u64 = layers.iter().filter(|row| row["point"] == "0").map(|row| row["total_cycles"].parse::<u64>().unwrap()).sum();
    assert_eq!(Some(of_first), points[0]["total_cycles"].as_u64());
}

#[test]
fn points_that_cannot_be_built_are_rows_with_their_reason() {
    let (folder, experiment) = timing_only();
    let out = folder.path().join("out");
    let said = sweep(&experiment, &out, &[]).assert().success().get_output().stdout.clone();
    let said = String::from_utf8(said).unwrap();
    assert!(said.contains("12 that cannot be built or run") && said.contains("Points that cannot be built or run"), "{said}");
    for row in table(&out.join("points.csv")) {
        let cannot = row["chip"] == "xnor-16x16" && row["recipe"] == "w4a4";
        assert_eq!((row["status"].as_str(), row["reason"].is_empty()), if cannot { ("failed", false) } else { ("done", true) });
        // The baseline of a point is the chip and recipe at the same values of the axes.
        if row["chip"] == "edge-16x16" && row["recipe"] == "w8a8" {
            assert_eq!(row["speedup"], "1");
        }
        if !cannot {
            assert_eq!((row["array_rows"].as_str(), row["array_cols"].as_str()), (row["array.rows"].as_str(), row["array.cols"].as_str()));
        }
    }
}

#[test]
fn random_hypercube_and_search_look_at_points_of_the_grid() {
    let (folder, experiment) = timing_only();
    let text = fs::read_to_string(&experiment).unwrap();
    let grid = folder.path().join("grid");
    sweep(&experiment, &grid, &[]).assert().success();
    let key = |point: &Value| point["point_id"].as_str().unwrap().to_owned();
    let all: Vec<(String, Value)> = points(&grid).into_iter().map(|point| (key(&point), point["total_cycles"].clone())).collect();
    let ways = [
        ("random", "Random(points: 10, seed: 4)", 10..=10),
        ("hypercube", "LatinHypercube(points: 12, seed: 4)", 6..=12),
        ("search", "Nsga2(minimize: [Latency, Area], population: 8, generations: 5, seed: 4)", 8..=48),
    ];
    for (name, explore, counts) in ways {
        let other = folder.path().join(format!("{name}.ron"));
        fs::write(&other, text.replace("mapping:", &format!("explore: {explore},\n    mapping:"))).unwrap();
        let out = folder.path().join(name);
        sweep(&other, &out, &["--jobs", "3"]).assert().success();
        let found = points(&out);
        assert!(counts.contains(&found.len()), "{name}: {}", found.len());
        for point in &found {
            assert!(all.contains(&(key(point), point["total_cycles"].clone())), "{name}: {}", point["run"]);
        }
        // Cut off in the middle, it goes on to the same bytes.
        let (whole, log) = (results(&out), out.join("points.jsonl"));
        let text = fs::read_to_string(&log).unwrap();
        fs::write(&log, &text[..text.len() / 2]).unwrap();
        sweep(&other, &out, &["--jobs", "1"]).assert().success();
        assert_eq!(results(&out), whole, "{name}");
        if name == "search" {
            // It finds both ends of the front of the whole grid.
            for column in ["latency_s", "area_mm2"] {
                let least = |points: &[Value]| points.iter().filter_map(|point| point[column].as_f64()).min_by(f64::total_cmp);
                assert_eq!(least(&found), least(&points(&grid)), "{column}");
            }
            let message = super::refused(&mut sweep(&other, &folder.path().join("shard"), &["--shard", "1/2"]));
            assert!(message.contains("cannot be split into shards"), "{message}");
        }
    }
}

#[test]
fn iso_area_gives_to_the_scratchpad_what_the_array_saves() {
    let (folder, experiment) = timing_only();
    let text = fs::read_to_string(&experiment).unwrap().replace("mapping:", "area: Iso,\n    mapping:");
    fs::write(&experiment, text).unwrap();
    let out = folder.path().join("out");
    sweep(&experiment, &out, &["--max-points", "12"]).assert().success();
    let rows = table(&out.join("points.csv"));
    let capacity = |row: &std::collections::BTreeMap<String, String>| row["scratchpads.0.capacity_bytes"].parse::<u64>().unwrap();
    let of_size = |size: &str| rows.iter().find(|row| row["array.rows"] == size).unwrap();
    assert!(capacity(of_size("8")) > capacity(of_size("16")));
    let areas: Vec<f64> = rows.iter().map(|row| row["area_mm2"].parse().unwrap()).collect();
    let most = areas.iter().copied().fold(0.0, f64::max);
    assert!(areas.iter().all(|area| *area > 0.999 * most), "{areas:?}");
    assert!(rows[0]["run"].contains("--set 'scratchpads.0.capacity=B("), "{}", rows[0]["run"]);
    assert_eq!(lines(&out), 12);
}

#[test]
fn a_dry_run_tells_the_points_and_writes_nothing() {
    let (folder, experiment) = timing_only();
    let out = folder.path().join("out");
    let said = sweep(&experiment, &out, &["--dry-run"]).assert().success().get_output().stdout.clone();
    let said = String::from_utf8(said).unwrap();
    assert!(said.contains("48 points: 1 workloads, 2 chips, 2 recipes") && said.contains("8 and 32"), "{said}");
    assert!(!out.exists());
}

#[test]
fn the_shipped_experiments_can_be_read() {
    for entry in fs::read_dir(super::root().join("experiments")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "ron") {
            systole(&["sweep", "--dry-run"]).arg(&path).assert().success();
        }
    }
}

/// Axes whose columns would be those of figures: a chip's `clock` (and `clock_hz`) and `cores`; and a chip in a file beside the experiment, however that is named.
#[test]
fn axes_named_as_figures_read_back_and_paths_of_an_experiment_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("chips")).unwrap();
    fs::copy(super::root().join("hw-configs/edge-16x16.ron"), folder.path().join("chips/own.ron")).unwrap();
    let experiment = folder.path().join("clocks.ron");
    let text = r#"Experiment(
    question: "What does a clock buy?",
    chips: ["chips/own.ron"],
    workloads: [(model: "mlp-tpu-v1", batch: 1, weights: Cold)],
    recipes: { "w8a8": [Quantize(w: 8, a: 8)] },
    axes: { "clock": [MHz(600), MHz(800)], "cores": [1] },
    baseline: (chip: "chips/own.ron", recipe: "w8a8"),
)"#;
    fs::write(&experiment, text).unwrap();
    let out = folder.path().join("out");
    sweep(&experiment, &out, &[]).assert().success();
    let before = fs::read(out.join("points.csv")).unwrap();
    let header = String::from_utf8(before.clone()).unwrap().lines().next().unwrap().to_owned();
    let columns: Vec<&str> = header.split(',').collect();
    for name in ["clock", "clock_hz", "cores", "chip.cores"] {
        assert_eq!(columns.iter().filter(|column| **column == name).count(), 1, "{name} in {header}");
    }
    // It goes on, and is drawn; from another spelling of its path too.
    let spelled = folder.path().join("chips/../clocks.ron");
    for path in [&experiment, &spelled] {
        sweep(path, &out, &[]).assert().success();
        assert_eq!(fs::read(out.join("points.csv")).unwrap(), before);
    }
    systole(&["plot"]).arg(&out).assert().success();
    let rows = table(&out.join("points.csv"));
    assert_eq!(rows.iter().map(|row| row["chip"].as_str()).collect::<Vec<_>>(), ["chips/own.ron"; 2]);
    assert_eq!(rows.iter().map(|row| row["clock_hz"].as_str()).collect::<Vec<_>>(), ["600000000", "800000000"]);
}
