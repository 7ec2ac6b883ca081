//! `systole topology`: layer tables in, a row a layer out; tables that are wrong.

use crate::faults::refused;
use crate::{count, layers, output, real, root, systole, text};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

/// Two layers of LeNet-5 as its paper has them (`LeCun` et al., 1998), and a name that a CSV must quote.
const TABLE: &str = "Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter, Strides,\n\
                     C1, 32, 32, 5, 5, 1, 6, 1,\n\"C5, dense\", 5, 5, 5, 5, 16, 120, 1,\n";

fn written(folder: &Path, bytes: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.join("table.csv");
    fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn files_that_are_no_layer_tables() {
    let home = tempfile::tempdir().unwrap();
    let at = |path: &Path| refused(&["topology", text(path)]);
    let has = |message: &str, words: &[&str]| assert!(words.iter().all(|word| message.contains(word)), "{words:?}: {message}");
    has(&at(&home.path().join("nope.csv")), &["nope.csv", "No such file", "Layer, M, N, K"]);
    has(&at(home.path()), &["not a regular file"]);
    has(&at(&root().join("models/simplenet-mnist.onnx")), &["simplenet-mnist.onnx", "not UTF-8 text"]);
    has(&at(&root().join("Cargo.toml")), &["Cargo.toml:1: the first line is no header", "Layer, M, N, K"]);
    has(&at(&written(home.path(), "")), &["table.csv: the file is empty"]);
    has(&at(&written(home.path(), [0; 64])), &["table.csv:1", "no header"]);
    has(&at(&written(home.path(), vec![b','; (16 << 20) + 1])), &["more than 16777216 bytes"]);
    has(&at(&written(home.path(), &TABLE[..TABLE.len() - 30])), &["table.csv:3: ", "is missing; allowed: a whole number, 1 to 2147483648"]);
    has(
        &at(&written(home.path(), TABLE.replace("C1, 32", "C1, 4"))),
        &["table.csv:2: Filter Height is 5, more than IFMAP Height, which is 4"],
    );
    has(&at(&written(home.path(), TABLE.replace("16, 120", "0, x"))), &["table.csv:3: Channels is 0", "table.csv:3: Num Filter is \"x\""]);
    has(
        &at(&written(home.path(), "Layer,M,N,K,\nbig,2147483648,2147483648,2147483648,\n")),
        &["layer \"big\" has 2147483648 x 2147483648 x 2147483648 multiply-accumulates"],
    );
    let table = written(home.path(), TABLE);
    has(&refused(&["topology", text(&table), "--dataflow", "is"]), &["has no dataflow is; it has ws"]);
    has(&refused(&["topology", text(&table), "--chip", "nope"]), &["no chip named `nope`"]);
}

#[cfg(unix)]
#[test]
fn a_pipe_is_refused_and_not_waited_for() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("t.csv");
    assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
    assert!(refused(&["topology", text(&path)]).contains("not a regular file"));
}

/// Every public table of the format that is at hand.
#[test]
fn tables_from_the_wild_are_read() {
    let Some(extra) = std::env::var_os("SYSTOLE_EXTRA") else {
        eprintln!("skipped: SYSTOLE_EXTRA is not set");
        return;
    };
    let folder = Path::new(&extra).join("topologies");
    let mut read = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let table = systole::topology::load(&path).unwrap_or_else(|error| panic!("{error}"));
        let rows = fs::read_to_string(&path).unwrap().lines().filter(|line| !line.trim().is_empty()).count() - 1;
        assert_eq!((table.layers.len(), table.ignored), (rows, Vec::new()), "{}", path.display());
        read += 1;
    }
    assert!(read > 0);
}

#[test]
fn a_row_a_layer_as_json_csv_and_table() {
    let home = tempfile::tempdir().unwrap();
    let table = written(home.path(), TABLE);
    let run = |more: &[&str]| output(systole(&["topology", "--array-only", text(&table)]).args(more));
    let json: Value = serde_json::from_str(&run(&["--json"])).unwrap();
    let rows = layers(&json);
    assert_eq!((rows[0]["layer"].as_str(), rows[1]["layer"].as_str()), (Some("C1"), Some("C5, dense")));
    let sizes = |row: &Value| ["/m", "/k", "/n"].map(|field| count(row, field));
    assert_eq!((sizes(&rows[0]), sizes(&rows[1])), ([28 * 28, 25, 6], [1, 400, 120]));
    assert_eq!(rows.iter().map(|row| count(row, "/total_cycles")).sum::<u64>(), count(&json, "/total_cycles"));
    for row in rows {
        let [m, k, n] = sizes(row);
        let (across, down) = (n.div_ceil(16), k.div_ceil(16));
        // Each tile's vectors stream in blocks of 16.
        assert_eq!(count(row, "/passes"), across * down * m.div_ceil(16));
        let reads = ["/input_reads", "/weight_reads", "/output_writes"].map(|field| count(row, field));
        assert_eq!(reads, [m * k * across, k * n, m * n * down]);
        let utilization = (m * k * n) as f64 / (256.0 * real(row, "/total_cycles"));
        assert!((real(row, "/utilization") - utilization).abs() < 1e-9);
    }
    let csv = run(&["--csv"]);
    assert!(csv.starts_with(
        "layer,m,k,n,runs,passes,total_cycles,utilization,mapping_efficiency,input_reads,weight_reads,output_writes\nC1,784,"
    ));
    assert!(csv.contains("\n\"C5, dense\",1,400,120,") && csv.lines().count() == 3, "{csv}");
    let printed = run(&[]);
    assert!(printed.contains("\nC1 ") && printed.contains("\nC5, dense ") && printed.contains("\nall "), "{printed}");
}

/// The timing is SCALE-Sim 3's model, which reports this less one, the index of the last cycle.
#[test]
fn an_array_alone_takes_the_cycles_of_its_closed_form() {
    let home = tempfile::tempdir().unwrap();
    let table = written(home.path(), "Layer,M,N,K,\na,128,64,512,\nb,7,3,5,\n");
    let ideal = "array.dataflows=[WeightStationary(row_hop: 1, col_hop: 1, pipeline_registers: 0, load: Rows, stationary_buffers: 1, \
                 max_pass_vectors: Unlimited, min_pass_cycles: 1, overlap: Serial, extent: Physical)]";
    let json: Value =
        serde_json::from_str(&output(&mut systole(&["topology", "--array-only", "--json", text(&table), "--set", ideal]))).unwrap();
    for row in layers(&json) {
        let [m, k, n] = ["/m", "/k", "/n"].map(|field| count(row, field));
        assert_eq!(count(row, "/total_cycles"), k.div_ceil(16) * n.div_ceil(16) * (m + 2 * 16 + 16 - 2), "{row}");
    }
}

#[test]
fn a_column_that_is_not_used_is_told() {
    let home = tempfile::tempdir().unwrap();
    let table = written(home.path(), "Layer,M,N,K,Sparsity,\na,128,64,512,2:4,\n");
    let done = systole(&["topology", "--array-only", "--csv", text(&table)]).assert().success();
    let warning = String::from_utf8(done.get_output().stderr.clone()).unwrap();
    assert!(warning.starts_with("warning: the column \"Sparsity\" of ") && warning.ends_with("table.csv is not used\n"), "{warning}");
}
