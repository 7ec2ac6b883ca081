//! `systole dram`: a trace in, figures out that can be worked by hand; traces that are wrong.

use crate::faults::refused;
use crate::{count, output, real, root, systole, text};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

const DDR4: &str =
    "dram=Banked(preset: \"DDR4-2400\", channels: 1, queue_depth: 32, starvation_cap: 16, page: Open, mapping: RoRaBaCoBgCh)";

fn written(folder: &Path, bytes: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.join("trace.txt");
    fs::write(&path, bytes).unwrap();
    path
}

fn dram(trace: &Path, more: &[&str]) -> Value {
    serde_json::from_str(&output(systole(&["dram", "--json", "--set", DDR4, "--trace", text(trace)]).args(more))).unwrap()
}

#[test]
fn a_trace_worked_by_hand() {
    let home = tempfile::tempdir().unwrap();
    // tRCD 16, CL 16, burst 4: 36 cycles. The third request's bank, in the group beside, is opened tRRD_S = 4 after the first and read 4
    // after it; the second, of the first one's row, could be read tCCD_L = 6 after that one, and goes tCCD_S = 4 after the third.
    let json = dram(&written(home.path(), "R 0x0\nR 0x13f\n\n# the group beside\nR 40 0\n"), &[]);
    assert_eq!(count(&json, "/dram_cycles"), 36 + 4 + 4);
    let fields = ["/reads", "/writes", "/row_hits", "/row_misses", "/row_conflicts", "/refreshes"].map(|field| count(&json, field));
    assert_eq!(fields, [3, 0, 1, 2, 0, 0]);
    let close = |field: &str, by_hand: f64| assert!((real(&json, field) - by_hand).abs() < 1e-9 * by_hand, "{field}: {json}");
    close("/average_latency_cycles", f64::from(36 + 40 + 44) / 3.0);
    close("/bandwidth_bytes_per_s", 192.0 / (44.0 / 1.2e9));
    // 20.3 pJ a bit; 909 pJ for each KiB of the two rows of 8 KiB.
    close("/energy_pj", 192.0 * 8.0 * 20.3 + 2.0 * 8.0 * 909.0);
    // Another row of the bank: precharged tRAS = 39 after the activate, then 16 + 16 + 16 + 4. A write alone, long after: 16 + 12 + 4.
    let json = dram(&written(home.path(), "R 0\nR 40000\nW 80 5000\n"), &[]);
    let capacity_a_row = 16 * 8192;
    assert_eq!(0x40000 % capacity_a_row, 0);
    assert_eq!((count(&json, "/dram_cycles"), count(&json, "/row_conflicts")), (5000 + 32, 1));
    close_to(&json, f64::from(36 + 39 + 52) / 2.0);
    let printed = output(&mut systole(&["dram", "--set", DDR4, "--trace", text(&home.path().join("trace.txt"))]));
    assert!(printed.contains("\nrequests 2 reads   1 writes\n") && printed.contains("63.5 cycles a read"), "{printed}");
}

fn close_to(json: &Value, latency: f64) {
    assert!((real(json, "/average_latency_cycles") - latency).abs() < 1e-9, "{json}");
}

#[test]
fn traces_that_are_wrong() {
    let home = tempfile::tempdir().unwrap();
    let at = |path: &Path| refused(&["dram", "--set", DDR4, "--trace", text(path)]);
    let of = |bytes: &[u8]| at(&written(home.path(), bytes));
    let has = |message: &str, words: &[&str]| assert!(words.iter().all(|word| message.contains(word)), "{words:?}: {message}");
    has(&at(&home.path().join("nope")), &["nope: the trace cannot be read: No such file", "help: "]);
    has(&at(home.path()), &["it is a folder", "help: "]);
    has(&of(b""), &["trace.txt: the trace has no request", "R 0x3f40"]);
    has(&of(b"# nothing\n\n"), &["no request"]);
    has(&of(b"R 0x40\nR 0x80\nW"), &["trace.txt:3: no address follows the W", "a line is R or W"]);
    has(&of(b"R 0x40\nR 200000000"), &["trace.txt:2: the address \"200000000\" lies beyond DRAM", "8589934592 bytes", "0x1ffffffff"]);
    has(&of(b"R 0x40 1152921504606846977"), &["trace.txt:1: the cycle is", "from 0 to 1152921504606846976"]);
    has(&of(&vec![b'R'; 10 << 20]), &["trace.txt:1: the line has more than 200 bytes"]);
    has(&of(&[0; 100]), &["trace.txt:1: the line begins with"]);
    has(&of(&[b'R', b' ', 0xfe, b'\n']), &["trace.txt:1: the line is not text"]);
    has(&at(&root().join("models/simplenet-mnist.onnx")), &["simplenet-mnist.onnx:1: "]);
    let good = written(home.path(), "R 0\n");
    has(&refused(&["dram", "--trace", text(&good)]), &["the DRAM of the chip \"edge-16x16\" is Ideal", "Banked(preset: \"DDR4-2400\""]);
    has(&refused(&["dram", "--chip", "nope", "--trace", text(&good)]), &["no chip named `nope`"]);
}

#[cfg(unix)]
#[test]
fn a_pipe_is_read_as_a_file_is() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("t");
    assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
    let (trace, pipe) = ("R 0x40\nR 0x80\n", path.clone());
    let writer = std::thread::spawn(move || fs::write(pipe, trace));
    let piped = output(&mut systole(&["dram", "--set", DDR4, "--trace", text(&path)]));
    writer.join().unwrap().unwrap();
    let file = written(home.path(), trace.as_bytes());
    assert_eq!(output(&mut systole(&["dram", "--set", DDR4, "--trace", text(&file)])), piped);
}

/// Every command that runs programs runs them on it.
#[test]
fn programs_run_on_dram_with_banks() {
    let home = tempfile::tempdir().unwrap();
    let table = home.path().join("table.csv");
    fs::write(&table, "Layer,M,N,K,\na,4,4,4,\n").unwrap();
    let gemm = ["gemm", "-m4", "-k4", "-n4", "--set", DDR4];
    for arguments in [&gemm[..], &["gemm", "-m4", "-k4", "-n4", "--chip", "edge-16x16-ddr4"], &["topology", text(&table), "--set", DDR4]] {
        output(&mut systole(arguments));
    }
    output(systole(&gemm).arg("--array-only"));
}

#[test]
fn the_same_trace_on_every_preset_and_both_pages() {
    let home = tempfile::tempdir().unwrap();
    let line = |number: u64| {
        let kind = if number.is_multiple_of(5) { "W" } else { "R" };
        format!("{kind} {:x} {}", number * number * 448 % (1 << 25), number * 2)
    };
    let lines = (0..3000).map(line).collect::<Vec<_>>().join("\n");
    let trace = written(home.path(), lines);
    for preset in systole::chip::dram_presets() {
        for page in ["Open", "Closed"] {
            let json = dram(&trace, &["--set", &format!("dram.preset={preset}"), "--set", &format!("dram.page={page}")]);
            assert_eq!((count(&json, "/reads"), count(&json, "/writes")), (2400, 600));
            let rows = ["/row_hits", "/row_misses", "/row_conflicts"].map(|field| count(&json, field));
            assert_eq!(rows.iter().sum::<u64>(), 3000);
            assert!(page == "Open" || rows[2] == 0, "{preset}: a row that closes by itself is in nobody's way: {json}");
            assert!(real(&json, "/bandwidth_bytes_per_s") <= real(&json, "/peak_bytes_per_s"), "{preset}: {json}");
        }
    }
}
