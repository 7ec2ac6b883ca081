//! What a user gets whose input is wrong: one clear message, exit 1, nothing on standard output, and no results.

use crate::{files, idx_folder, root, systole, text};
use std::fs;
use std::path::Path;

/// Runs a command that must be refused, and holds it to every promise about refusals; the message.
pub(crate) fn refused(arguments: &[&str]) -> String {
    let home = tempfile::tempdir().unwrap();
    let out = home.path().join("deep/out");
    let mut command = systole(arguments);
    if arguments[0] == "run" && !arguments.contains(&"--out") {
        command.arg("--out").arg(&out);
    }
    let done = command.assert().code(1);
    let done = done.get_output();
    assert!(done.stdout.is_empty(), "{arguments:?}: a refusal prints nothing to standard output");
    assert!(files(home.path()).is_empty(), "{arguments:?}: a folder is left: {:?}", files(home.path()));
    let message = String::from_utf8(done.stderr.clone()).unwrap();
    assert!(message.starts_with("error: ") && message.matches("error: ").count() == 1, "{arguments:?}: {message}");
    assert!(message.len() < 2000 && message.lines().count() < 30, "{arguments:?}: {message}");
    message
}

/// Each command is refused, and the message has these words.
pub(crate) fn all_refused(cases: &[(&[&str], &[&str])]) {
    for (arguments, words) in cases {
        let message = refused(arguments);
        for word in *words {
            assert!(message.contains(word), "{arguments:?}: \"{word}\" is not in: {message}");
        }
    }
}

#[test]
fn options_out_of_range() {
    all_refused(&[
        (&["run", "--samples", "0"], &["0 samples", "1 to 10000", "--samples"]),
        (&["run", "--samples", "10001"], &["10001 samples", "1 to 10000"]),
        (&["run", "--batch", "0"], &["batch of 0", "1 to 1048576", "--batch"]),
        (&["run", "--batch", "1048576"], &["batch of 1048576", "bytes of input", "--batch of 171196"]),
        (&["run", "--set", "dram.bytes_per_cycle=0.000001"], &["dram.bytes_per_cycle", "from 0.001"]),
        (&["run", "--set", "array.rows="], &["array.rows", "written as in a chip file"]),
        (&["run", "--set", "array.rwos=3"], &["no field `array.rwos`", "did you mean `array.rows`"]),
        (&["run", "--set", "array.rows=(((("], &["not valid RON"]),
        (&["run", "--set", "clock=700"], &["needs its unit", "MHz(700)"]),
        (&["run", "--set", "clock=MHz(0)"], &["clock", "the least is Hz(1)"]),
        (&["run", "--set", "clock=MHz(NaN)"], &["clock"]),
        (&["run", "--set", "array.rows=-1"], &["array.rows", "1 to 512"]),
        (&["run", "--set", "array.rows=99999999999999999999"], &["array.rows", "1 to 512"]),
        (&["run", "--set", "name=\"../x\""], &["name", "folders of results"]),
        (&["chip", "check", "edge-16x16", "--set", "array.rows=0"], &["array.rows", "the least is 1"]),
        (&["chip", "new", "a b", "--out", "no/such/folder/x.ron"], &["name"]),
        (&["chip", "new", "mine", "--out", "no/such/folder/x.ron"], &["cannot write no/such/folder/x.ron", "--out"]),
        (&["chip", "diff", "edge-16x16", "nope"], &["no chip named `nope`"]),
        (&["chip", "show", "nope"], &["no chip named `nope`", "edge-16x16"]),
    ]);
}

#[test]
fn usage_errors_are_told_apart() {
    let cases: [&[&str]; 21] = [
        &[],
        &["bogus"],
        &["run", "--bogus"],
        &["run", "--samples", "many"],
        &["run", "--quant", "w7a9"],
        &["run", "--weights", "warm"],
        &["run", "--engine", "x"],
        &["run", "--set", "nonsense"],
        &["run", "--dump", "everything"],
        &["gemm"],
        &["gemm", "-m", "4", "-k", "4"],
        &["gemm", "-m", "4", "-k", "four", "-n", "4"],
        &["gemm", "-m", "-4", "-k", "4", "-n", "4"],
        &["gemm", "-m", "18446744073709551616", "-k", "4", "-n", "4"],
        &["gemm", "-m", "4", "-k", "4", "-n", "4", "--dataflow", "rs"],
        &["gemm", "-m", "4", "-k", "4", "-n", "4", "--format", "w7a9"],
        &["gemm", "-m", "4", "-k", "4", "-n", "4", "--density", "half"],
        &["gemm", "-m", "4", "-k", "4", "-n", "4", "--set", "nonsense"],
        &["topology"],
        &["topology", "t.csv", "--json", "--csv"],
        &["topology", "t.csv", "--dataflow", "WS"],
    ];
    for arguments in cases {
        let done = systole(arguments).assert().code(2);
        assert!(done.get_output().stdout.is_empty() && !done.get_output().stderr.is_empty(), "{arguments:?}");
    }
}

#[test]
fn files_that_are_not_there_or_are_no_files() {
    all_refused(&[
        (&["run", "--chip", "nope"], &["no chip named `nope`", "edge-16x16"]),
        (&["run", "--chip", "no/nope.ron"], &["no/nope.ron", "No such file"]),
        (&["run", "--chip", "hw-configs"], &["hw-configs"]),
        (&["run", "--model", "nope"], &["no model \"nope\"", "simplenet-mnist"]),
        (&["run", "--model", "nope.ron"], &["nope.ron", "No such file"]),
        (&["run", "--model", "nope.onnx"], &["nope.onnx", "No such file"]),
        (&["run", "--model", "data/mnist/README.md"], &["ends in .ron, .onnx or .csv"]),
        (&["run", "--model", "models/simplenet-mnist.onnx"], &["model card"]),
        (&["run", "--data", "nope"], &["nope", "No such file", "IDX"]),
        (&["run", "--data", "models"], &["models", "images"]),
        (&["run", "--data", "Cargo.toml"], &["Cargo.toml", "NPZ"]),
    ]);
}

/// Opening a pipe that nobody writes to would wait for ever.
#[cfg(unix)]
#[test]
fn pipes_are_refused_and_not_waited_for() {
    let home = tempfile::tempdir().unwrap();
    for name in ["p.ron", "p.onnx", "p.npz"] {
        let path = home.path().join(name);
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        let options: &[&str] = match name {
            "p.ron" => &["--chip", "--model"],
            "p.onnx" => &["--model"],
            _ => &["--data"],
        };
        for option in options {
            assert!(refused(&["run", option, text(&path)]).contains("not a regular file"), "{option} {name}");
        }
    }
}

#[test]
fn the_project_folder_is_needed_for_shipped_data() {
    let home = tempfile::tempdir().unwrap();
    let done = systole(&["run", "--samples", "2"]).current_dir(home.path()).assert().code(1);
    let message = String::from_utf8(done.get_output().stderr.clone()).unwrap();
    assert!(message.contains("data is not part of the program") && message.contains("--data"), "{message}");
    assert!(files(home.path()).is_empty());
}

#[test]
fn chip_files_that_are_wrong() {
    let home = tempfile::tempdir().unwrap();
    let edge = fs::read_to_string(root().join("hw-configs/edge-16x16.ron")).unwrap();
    let cases: [(&str, &str, &[&str]); 8] = [
        ("rows: 16,", "rows: 16, rows: 16,", &["rows"]),
        ("rows: 16,", "", &["rows"]),
        ("rows: 16,", "rows: 16, colour: 3,", &["colour"]),
        ("KiB(256)", "256", &["needs its unit"]),
        ("KiB(256)", "MHz(256)", &["MHz"]),
        ("MHz(1000)", "MHz(inf)", &["clock"]),
        ("cores: 1,", "cores: 1 1,", &["RON"]),
        ("Chip(", "Chip(((((((((((((((((((((", &["RON"]),
    ];
    for (good, bad, words) in cases {
        assert!(edge.contains(good));
        let path = home.path().join("chip.ron");
        fs::write(&path, edge.replacen(good, bad, 1)).unwrap();
        let message = refused(&["run", "--chip", text(&path)]);
        assert!(message.contains("chip.ron:"), "{bad}: the line is not told: {message}");
        assert!(words.iter().all(|word| message.contains(word)), "{bad}: {message}");
    }
}

#[test]
fn a_chip_too_small_for_one_tile_says_which_memory_and_how_much_it_needs() {
    let pads = "scratchpads=[(role: Weight, capacity: KiB(4), banks: 1, port_bytes: 16, latency: Cycles(1)), \
                (role: Input, capacity: B(512), banks: 1, port_bytes: 16, latency: Cycles(1))]";
    all_refused(&[
        (&["run", "--set", "scratchpads.0.capacity=B(512)"], &["does not fit the scratchpad", "scratchpads.0.capacity", "B(1088)", "512"]),
        (&["run", "--set", "accumulator.capacity=B(128)", "--set", "array.cols=64"], &["accumulator.capacity", "B(256)", "128"]),
        (&["run", "--set", pads], &["activation scratchpad", "scratchpads.1.capacity", "512"]),
    ]);
    // With as much as the message asks for, it runs.
    let folder = tempfile::tempdir().unwrap();
    systole(&["run", "--samples", "1", "--set", "scratchpads.0.capacity=B(1088)", "--out", text(folder.path())]).assert().success();
}

#[test]
fn networks_that_are_wrong() {
    let home = tempfile::tempdir().unwrap();
    let network = fs::read(root().join("models/simplenet-mnist.onnx")).unwrap();
    // Names of the same length keep the lengths that the file is full of.
    let with = |from: &str, to: &str, nth: usize| {
        assert_eq!(from.len(), to.len());
        let mut bytes = network.clone();
        let mut places = (0..bytes.len() - from.len()).filter(|at| &network[*at..at + from.len()] == from.as_bytes());
        let at = places.nth(nth).unwrap_or_else(|| panic!("{from} does not stand {nth} times in the network"));
        bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
        bytes
    };
    let cases: [(Vec<u8>, &[&str]); 5] = [
        (network[..network.len() / 2].to_vec(), &["cut short"]),
        (Vec::new(), &["cut short"]),
        (with("Gemm", "Germ", 0), &["Germ", "not supported", "Relu"]),
        (with("W1", "W9", 0), &["W9", "incomplete"]),
        (with("W1", "W2", 0), &["z1", "help"]),
    ];
    for (bytes, words) in &cases {
        let path = home.path().join("network.onnx");
        fs::write(&path, bytes).unwrap();
        let message = refused(&["run", "--model", text(&path)]);
        assert!(message.contains("network.onnx") && words.iter().all(|word| message.contains(word)), "{message}");
    }
}

#[test]
fn data_that_is_wrong() {
    let home = tempfile::tempdir().unwrap();
    let right = |known: u32| u8::try_from(known).unwrap();
    let with = |file: &str, change: &dyn Fn(&mut Vec<u8>)| {
        let folder = idx_folder(home.path(), 30, right);
        let mut bytes = fs::read(folder.join(file)).unwrap();
        change(&mut bytes);
        fs::write(folder.join(file), bytes).unwrap();
        refused(&["run", "--data", text(&folder)])
    };
    let has = |message: &str, word: &str| assert!(message.contains(word), "{word}: {message}");
    has(&with("test-images", &|bytes| bytes[2] = 99), "magic is 0x00006303");
    has(&with("test-images", &|bytes| bytes.truncate(1000)), "claims 23520 bytes");
    has(&with("test-images", &|bytes| bytes.truncate(5)), "header");
    has(&with("test-images", &|bytes| bytes.fill(0xff)), "magic");
    has(&with("test-labels", &|bytes| bytes.push(0)), "claims 30 bytes");
    has(&with("test-labels", &|bytes| bytes[10] = 77), "label 77");
    let fewer = |bytes: &mut Vec<u8>| {
        bytes[7] = 29;
        bytes.pop();
    };
    has(&with("test-labels", &fewer), "29 labels");
    let folder = idx_folder(home.path(), 30, right);
    fs::copy(folder.join("test-images"), folder.join("test-more-images")).unwrap();
    has(&refused(&["run", "--data", text(&folder)]), "2 files with \"images\"");
}

#[test]
fn results_that_cannot_be_written() {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("file"), "mine").unwrap();
    let run = |out: &Path| refused(&["run", "--samples", "1", "--out", text(out)]);
    assert!(run(&home.path().join("file")).contains("no folder"));
    assert!(run(&home.path().join("file/inside")).contains("--out"));
    assert_eq!(fs::read_to_string(home.path().join("file")).unwrap(), "mine");
    // A folder where a file must go: none of the others is left half written.
    fs::create_dir_all(home.path().join("out/layers.svg/full")).unwrap();
    assert!(run(&home.path().join("out")).contains("layers.svg"));
    assert!(files(&home.path().join("out")).iter().all(|name| !name.ends_with("tmp") && name != "summary.json"));
}

#[cfg(target_os = "linux")]
#[test]
fn standard_output_that_is_full_or_gone() {
    use std::process::{Command, Stdio};
    let home = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str], stdout: Stdio| {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("systole"));
        command.current_dir(root()).args(arguments).stdout(stdout).stderr(Stdio::piped());
        let done = command.spawn().unwrap().wait_with_output().unwrap();
        (done.status.code(), String::from_utf8(done.stderr).unwrap())
    };
    let commands: [&[&str]; 4] =
        [&["run", "--samples", "1", "--out", text(home.path())], &["chip", "list"], &["chip", "show", "edge-16x16"], &["--help"]];
    for arguments in commands {
        let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let (code, message) = run(arguments, full.into());
        assert!(code == Some(1) && message.starts_with("error: cannot write to standard output"), "{arguments:?}: {code:?} {message}");
        // A pipe whose reader has gone, as behind `| head -1`.
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        assert_eq!(run(arguments, writer.into()), (Some(0), String::new()), "{arguments:?}");
    }
}
