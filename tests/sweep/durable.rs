//! Kills, torn lines, threads, shards, locks and folders that cannot be written.

use super::{lines, refused, results, sweep, systole, timing_only};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

#[test]
fn a_sweep_that_is_killed_twenty_times_ends_in_the_bytes_of_an_unbroken_one() {
    let (folder, experiment) = timing_only();
    let whole = folder.path().join("whole");
    sweep(&experiment, &whole, &[]).assert().success();
    let expected = results(&whole);
    assert_eq!(lines(&whole), 48);
    let broken = folder.path().join("broken");
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let (mut kills, mut seen) = (0, 0);
    while kills < 20 {
        // A cache of its own: what is killed is searching too.
        let mut child = Command::new(assert_cmd::cargo::cargo_bin!("systole"))
            .current_dir(super::root())
            .arg("sweep")
            .arg(&experiment)
            .arg("--out")
            .arg(&broken)
            .arg("--cache")
            .arg(folder.path().join("cache-of-broken"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        sleep(Duration::from_millis(rng.random_range(10..160)));
        let is_over = child.try_wait().unwrap().is_some();
        child.kill().unwrap();
        child.wait().unwrap();
        kills += 1;
        let there = lines(&broken);
        assert!(there >= seen, "{there} lines, and {seen} before");
        if there == 48 && is_over {
            assert_eq!(results(&broken), expected);
            // From the beginning, as long as kills are left.
            fs::remove_dir_all(&broken).unwrap();
            fs::remove_dir_all(folder.path().join("cache-of-broken")).unwrap();
            seen = 0;
        } else {
            // The last line may be torn.
            seen = there.saturating_sub(1);
        }
    }
    sweep(&experiment, &broken, &[]).assert().success();
    assert_eq!(results(&broken), expected);
}

#[test]
fn a_torn_last_line_is_cut_and_a_finished_sweep_runs_nothing_again() {
    let (folder, experiment) = timing_only();
    let out = folder.path().join("out");
    sweep(&experiment, &out, &["--max-points", "5"]).assert().success();
    let log = out.join("points.jsonl");
    let five = fs::read(&log).unwrap();
    assert_eq!(lines(&out), 5);
    fs::OpenOptions::new().append(true).open(&log).unwrap().write_all(b"{\"point\":5,\"point_id\":\"0123").unwrap();
    let said = sweep(&experiment, &out, &["--max-points", "5"]).assert().success().get_output().stderr.clone();
    assert!(String::from_utf8(said).unwrap().contains("5 points were there already"));
    assert_eq!(fs::read(&log).unwrap(), five);
    sweep(&experiment, &out, &[]).assert().success();
    let (whole, again) = (folder.path().join("whole"), results(&out));
    sweep(&experiment, &whole, &[]).assert().success();
    assert_eq!(results(&whole), again);
}

#[test]
fn threads_and_shards_make_the_same_bytes() {
    let (folder, experiment) = timing_only();
    let at = |name: &str| folder.path().join(name);
    sweep(&experiment, &at("one"), &["--jobs", "1"]).assert().success();
    sweep(&experiment, &at("four"), &["--jobs", "4"]).assert().success();
    assert_eq!(results(&at("one")), results(&at("four")));
    for shard in ["1/3", "2/3", "3/3"] {
        sweep(&experiment, &at(&shard.replace('/', "of")), &["--shard", shard]).assert().success();
    }
    assert_eq!(lines(&at("2of3")), 16);
    let mut merge = systole(&["sweep", "merge", "--out"]);
    merge.arg(at("merged")).args(["2of3", "1of3", "3of3"].map(at)).assert().success();
    assert_eq!(results(&at("merged")), results(&at("one")));
    let message = refused(systole(&["sweep", "merge", "--out"]).arg(at("one")).arg(at("1of3")));
    assert!(message.contains("holds results of a sweep already"), "{message}");
    let message = refused(&mut sweep(&experiment, &at("1of3"), &[]));
    assert!(message.contains("the shard 1/3 of the same experiment") && message.contains("--out"), "{message}");
}

#[test]
fn two_sweeps_in_one_folder_and_results_of_something_else_are_refused() {
    let (folder, experiment) = timing_only();
    let out = folder.path().join("out");
    sweep(&experiment, &out, &["--max-points", "2"]).assert().success();
    let lock = fs::OpenOptions::new().write(true).open(out.join(".lock")).unwrap();
    lock.lock().unwrap();
    let message = refused(&mut sweep(&experiment, &out, &[]));
    assert!(message.contains("another sweep is writing to") && message.contains("--out"), "{message}");
    drop(lock);
    let before = results(&out);
    let text = fs::read_to_string(&experiment).unwrap();
    fs::write(&experiment, text.replace("budget: 2", "budget: 3")).unwrap();
    let message = refused(&mut sweep(&experiment, &out, &[]));
    assert!(message.contains("another experiment") && message.contains("--out"), "{message}");
    fs::write(&experiment, &text).unwrap();
    let provenance = out.join("provenance.json");
    let json = fs::read_to_string(&provenance).unwrap();
    fs::write(&provenance, json.replace("\"version\": \"", "\"version\": \"9")).unwrap();
    let message = refused(&mut sweep(&experiment, &out, &[]));
    assert!(message.contains("results of systole 9") && message.contains("--out"), "{message}");
    fs::write(&provenance, json.replace("\"results_version\": 1", "\"results_version\": 7")).unwrap();
    let message = refused(&mut sweep(&experiment, &out, &[]));
    assert!(message.contains("has version 7") && message.contains("help:"), "{message}");
    fs::write(&provenance, &json).unwrap();
    assert_eq!(results(&out), before, "nothing is lost");
    let table = folder.path().join("small.csv");
    fs::write(&table, "Layer, M, N, K,\na, 32, 48, 65,\n").unwrap();
    let message = refused(&mut sweep(&experiment, &out, &[]));
    assert!(message.contains("with other models"), "{message}");
}

#[test]
fn a_full_disk_and_a_path_through_a_file_are_said_and_lose_nothing() {
    let (folder, experiment) = timing_only();
    fs::write(folder.path().join("file"), "").unwrap();
    let message = refused(&mut sweep(&experiment, &folder.path().join("file/out"), &[]));
    assert!(message.contains("cannot make the folder") && message.contains("--out"), "{message}");
    if !std::path::Path::new("/dev/full").exists() {
        return;
    }
    let out = folder.path().join("out");
    sweep(&experiment, &out, &["--max-points", "3"]).assert().success();
    let kept = fs::read(out.join("points.jsonl")).unwrap();
    // A log on a full device: what is there cannot grow.
    let limited = Command::new("sh")
        .current_dir(super::root())
        .args(["-c", "ulimit -f \"$1\"; shift; trap '' XFSZ; exec \"$@\"", "sh"])
        .arg((kept.len() / 512 + 4).to_string())
        .arg(assert_cmd::cargo::cargo_bin!("systole"))
        .arg("sweep")
        .arg(&experiment)
        .arg("--out")
        .arg(&out)
        .arg("--cache")
        .arg(folder.path().join("cache"))
        .output()
        .unwrap();
    let message = String::from_utf8(limited.stderr).unwrap();
    assert_eq!(limited.status.code(), Some(1), "{message}");
    assert!(message.contains("finished points are safe there") && message.contains("run the same command again"), "{message}");
    assert!(fs::read(out.join("points.jsonl")).unwrap().starts_with(&kept));
    sweep(&experiment, &out, &[]).assert().success();
    let whole = folder.path().join("whole");
    sweep(&experiment, &whole, &[]).assert().success();
    assert_eq!(results(&out), results(&whole));
}
