//! Does a timeline say what the machine did? A run worked by hand, sums against the accounts of runs, tokens, and where a trace is cut.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

use ndarray::{Array1, Array2};
use serde_json::Value;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use systole::chip::{self, Chip};
use systole::compress::Recipe;
use systole::counts::StallReason;
use systole::mapping::{self, WeightStart};
use systole::network::{Activation, Bias, Dense, Network, NetworkBuilder, Op, Weight};
use systole::numerics::{Dtype, Quantization};
use systole::pipeline::{self, RunOptions, Traced, trace_program};
use systole::program::{Place, Program, UnitKind, emit};
use systole::sim::{Account, Machine, Run};
use systole::{model, topology};

/// The first chip of `tests/timelines.rs`: a 2 x 2 array, 4 bytes a cycle from DRAM after 2 cycles.
fn small_chip() -> Chip {
    let sets = [
        ("array.rows", "2"),
        ("array.cols", "2"),
        ("array.dataflows.0.pipeline_registers", "0"),
        ("array.dataflows.0.min_pass_cycles", "1"),
        ("scratchpads", "[(role: Shared, capacity: B(64), banks: 2, port_bytes: 2, latency: Cycles(1))]"),
        ("accumulator", "(capacity: B(64), banks: 2, port_bytes: 8, latency: Cycles(1))"),
        ("vector.lanes", "2"),
        ("vector.start_cycles", "0"),
        ("dma.bytes_per_cycle", "4"),
        ("dram", "Ideal(bytes_per_cycle: 4, latency: Cycles(2))"),
    ];
    chip::load("edge-16x16", &sets.map(|(field, value)| (field.to_string(), value.to_string()))).unwrap()
}

/// One dense layer of two inputs and two outputs, with a name that no format likes.
fn network() -> Network {
    let quantization = Quantization { dtype: Dtype::Int8, scale: 1.0, zero_point: 0 };
    let weight = Weight::Integer { values: Array2::ones((2, 2)), dtype: Dtype::Int8, scales: vec![1.0], zero_points: vec![] };
    let dense = Dense { weight, bias: Some(Bias::Integer(Array1::from(vec![10, 20]))), activation: Activation::None };
    let mut builder = NetworkBuilder::new("one");
    let input = builder.input("x", vec![2]).unwrap();
    let output = builder.layer("a \"dense\"\n</script>", Op::Dense(dense), &[input]).unwrap();
    builder.quantize(input, quantization);
    builder.quantize(output, quantization);
    builder.finish(output).unwrap()
}

fn program(chip: &Chip) -> Program {
    let stages = mapping::lower(&network(), chip, 1).unwrap().stages;
    emit(&network(), &mapping::map(&stages, chip, 1, WeightStart::Cold).unwrap(), chip).unwrap()
}

fn traced(chip: &Chip, program: &Program) -> (Traced, Value) {
    let mut file = Vec::new();
    let traced = trace_program(chip, &chip.formats()[0], program, &mut file).unwrap();
    (traced, serde_json::from_slice(&file).unwrap())
}

fn events<'v>(file: &'v Value, ph: &str, cat: &str) -> Vec<&'v Value> {
    let all = file["traceEvents"].as_array().unwrap().iter();
    all.filter(|event| event["ph"] == ph && (cat.is_empty() || event["cat"] == cat)).collect()
}

/// The names of processes by their numbers.
fn processes(file: &Value) -> BTreeMap<u64, String> {
    let names = events(file, "M", "").into_iter().filter(|event| event["name"] == "process_name");
    names.map(|event| (event["pid"].as_u64().unwrap(), event["args"]["name"].as_str().unwrap().to_string())).collect()
}

fn size(count: u64) -> usize {
    usize::try_from(count).unwrap()
}

/// What a trace says that each unit did with each of its cycles.
fn accounts(file: &Value, cycles: u64) -> BTreeMap<String, Vec<String>> {
    let mut units: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let names = processes(file);
    for slice in events(file, "X", "account") {
        let unit = units.entry(names[&slice["pid"].as_u64().unwrap()].clone()).or_insert_with(|| vec![String::new(); size(cycles)]);
        let (from, cycles) = (slice["ts"].as_u64().unwrap(), slice["dur"].as_u64().unwrap());
        for cycle in from..from + cycles {
            assert!(unit[size(cycle)].is_empty(), "cycle {cycle} has two accounts");
            unit[size(cycle)] = slice["name"].as_str().unwrap().to_string();
        }
    }
    units
}

/// Every unit's slices sum to its account, for busy, idle and each reason.
fn sums_to(file: &Value, run: &Run) {
    let units = accounts(file, run.total_cycles.get());
    assert_eq!(units.len(), run.units.len());
    for unit in &run.units {
        let of_trace = &units[&unit.unit.to_string()];
        let count = |name: &str| of_trace.iter().filter(|account| *account == name).count() as u64;
        assert_eq!([count("busy"), count("idle")], [unit.cycles.busy, unit.cycles.idle], "{}", unit.unit);
        for reason in StallReason::ALL {
            assert_eq!(count(reason.name()), unit.cycles.stalled(reason), "{} {}", unit.unit, reason.name());
        }
    }
}

/// A counter's value over all cycles, each times what it lasts.
fn area(file: &Value, name: &str, end: u64) -> f64 {
    let all: Vec<(u64, f64)> = events(file, "C", "counter")
        .into_iter()
        .filter(|event| event["name"].as_str().unwrap().starts_with(name))
        .map(|event| (event["ts"].as_u64().unwrap(), event["args"].as_object().unwrap().values().next().unwrap().as_f64().unwrap()))
        .collect();
    let ends = all.iter().skip(1).map(|(from, _)| *from).chain([end]);
    all.iter().zip(ends).map(|((from, value), to)| value * (to - from) as f64).sum()
}

/// ```text
/// cycle   0         1
///         01234567890123456
/// array   wwwwwwm#####.....
/// vector  rrrrrrrrrrrrm#...
/// dma0    ll##d#...........    the bias (8 bytes, cycles 0 to 3), the weights (4 bytes, to 5)
/// dma1    lldd#rrrrrrrrrll#    the input (2 bytes, cycles 0 to 4), the result (2 bytes, 14 to 16)
/// ```
///
/// Weights are taken from the start of their transfer in 1 to the end of their load in 8, the input to the end of the pass in 11, the result from
/// the vector unit's start in 12 to the end of its transfer; the accumulator from the bias's start to the vector unit's end in 13.
#[test]
fn a_run_worked_by_hand_is_in_the_trace() {
    let chip = small_chip();
    let program = program(&chip);
    let (traced, file) = traced(&chip, &program);
    assert_eq!(traced, Traced { cycles: 17, total_cycles: 17 });
    assert_eq!(file["otherData"]["clock_hz"], chip.clock().get());

    let letters = |unit: &str| -> String {
        let letter = |name: &String| match name.as_str() {
            "busy" => '#',
            "idle" => '.',
            "weights_not_ready" => 'w',
            "result_not_ready" => 'r',
            "memory_latency" => 'm',
            "dram_latency" => 'l',
            "dram_bandwidth" => 'd',
            other => panic!("{other}"),
        };
        accounts(&file, 17)[unit].iter().map(letter).collect()
    };
    assert_eq!(letters("array0"), "wwwwwwm#####.....");
    assert_eq!(letters("vector0"), "rrrrrrrrrrrrm#...");
    assert_eq!(letters("dma0"), "ll##d#...........");
    assert_eq!(letters("dma1"), "lldd#rrrrrrrrrll#");

    let names = processes(&file);
    let commands: Vec<(String, String, u64, u64)> = events(&file, "X", "command")
        .into_iter()
        .map(|event| {
            let text = |value: &Value| value.as_str().unwrap().to_string();
            let name = text(&event["name"]).strip_prefix("a \"dense\"\n</script>: ").unwrap().to_string();
            (names[&event["pid"].as_u64().unwrap()].clone(), name, event["ts"].as_u64().unwrap(), event["dur"].as_u64().unwrap())
        })
        .filter(|(_, name, ..)| name != "fence")
        .collect();
    let has = |unit: &str, name: &str, from: u64, to: u64| {
        let wanted = (unit.to_string(), name.to_string(), from, to - from);
        assert!(commands.contains(&wanted), "{wanted:?} is not among {commands:#?}");
    };
    // Biases are weights; a unit starts one command a cycle.
    has("dma0", "mvin weight", 0, 4);
    has("dma0", "mvin weight", 1, 6);
    has("dma1", "mvin input", 0, 5);
    has("array0", "preload", 6, 9);
    has("array0", "compute", 6, 12);
    has("vector0", "requantize", 12, 14);
    has("dma1", "mvout output", 14, 17);

    // 8 + 4 + 2 in, 2 out.
    assert!((area(&file, "DRAM bus", 17) - 16.0).abs() < 1e-9);
    // Sums: 8 bytes from 0 to 13.
    assert!((area(&file, "accumulator", 17) - 8.0 * 14.0).abs() < 1e-9);
    // The input: 2 bytes, 0 to 11. The weights: 4, 1 to 8. The result: 2, 12 to 16.
    assert!((area(&file, "scratchpad0", 17) - (2.0 * 12.0 + 4.0 * 8.0 + 2.0 * 5.0)).abs() < 1e-9);
}

/// Each token leaves inside of the command that posts it, in its last cycle, and arrives in the first of the one that takes it, at least a cycle
/// later.
fn tokens_hold(file: &Value) -> usize {
    let mut commands: BTreeMap<(u64, u64), Vec<(u64, u64)>> = BTreeMap::new();
    let place = |event: &Value| (event["pid"].as_u64().unwrap(), event["tid"].as_u64().unwrap());
    for event in events(file, "X", "command") {
        let (from, cycles) = (event["ts"].as_u64().unwrap(), event["dur"].as_u64().unwrap());
        commands.entry(place(event)).or_default().push((from, from + cycles));
    }
    // Commands of a track do not overlap.
    assert!(commands.values().flat_map(|track| track.windows(2)).all(|pair| pair[0].1 <= pair[1].0));
    let starts: BTreeMap<u64, &Value> =
        events(file, "s", "token").into_iter().map(|event| (event["id"].as_u64().unwrap(), event)).collect();
    let ends = events(file, "f", "token");
    assert_eq!(starts.len(), ends.len());
    for end in &ends {
        let start = starts[&end["id"].as_u64().unwrap()];
        let (posted, taken) = (start["ts"].as_u64().unwrap(), end["ts"].as_u64().unwrap());
        assert!(posted < taken, "a token is seen a cycle later");
        assert!(commands[&place(start)].iter().any(|command| command.1 == posted + 1));
        assert!(commands[&place(end)].iter().any(|command| command.0 == taken));
    }
    ends.len()
}

#[test]
fn slices_of_whole_networks_sum_to_the_accounts_of_their_runs() {
    for (chip, network, batch) in
        [("edge-16x16", "simplenet-mnist", 1), ("edge-16x16-ddr4", "simplenet-mnist", 3), ("codec-16x16", "lenet-mnist", 1)]
    {
        let (chip, model) = (chip::load(chip, &[]).unwrap(), model::load(network).unwrap());
        let options = RunOptions { samples: Some(1), batch, ..RunOptions::new("w8a8".parse::<Recipe>().unwrap()) };
        let prepared = pipeline::prepare(&model, &chip, &options).unwrap();
        let (traced, file) = traced(&chip, &prepared.program);
        let machine = Machine::new(&chip, prepared.format, &prepared.program).unwrap();
        let run = machine.time().unwrap();
        assert_eq!([traced.cycles, traced.total_cycles], [run.total_cycles.get(); 2]);
        sums_to(&file, &run);
        assert!(tokens_hold(&file) > 0);
        let bytes: u64 = run.stages.iter().map(|stage| stage.actions.dram_read_bytes + stage.actions.dram_write_bytes).sum();
        let moved = area(&file, "DRAM bus", run.total_cycles.get());
        assert!((moved - bytes as f64).abs() < 1e-6 * bytes as f64, "{moved} of {bytes} bytes");
        // A command of a stage lies between its first and its last tick.
        for (stage, decl) in run.stages.iter().zip(&prepared.program.parts().stages) {
            let of_stage = events(&file, "X", "command").into_iter().filter(|event| event["args"]["stage"] == decl.name.as_str());
            let spans: Vec<(u64, u64)> = of_stage
                .map(|event| (event["ts"].as_u64().unwrap(), event["ts"].as_u64().unwrap() + event["dur"].as_u64().unwrap()))
                .collect();
            assert_eq!(spans.iter().map(|span| span.0).min(), Some(stage.first_tick.get()));
            assert_eq!(spans.iter().map(|span| span.1).max(), Some(stage.last_tick.get() + 1));
        }
    }
}

/// The machine that is timed from event to event, and is watched, does in every cycle what the stepped one does with real numbers.
#[test]
fn watched_cycles_are_those_of_the_stepped_machine() {
    let chip = small_chip();
    let program = program(&chip);
    let machine = Machine::new(&chip, &chip.formats()[0], &program).unwrap();
    let mut stepped: Vec<Vec<Account>> = Vec::new();
    machine.run_watched(&[&[3, 4]], |_, accounts| stepped.push(accounts.to_vec())).unwrap();
    let mut timed: Vec<Vec<Account>> = Vec::new();
    let watched = machine
        .time_watched(1000, |cycle| {
            timed.push(cycle.accounts.to_vec());
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(timed, stepped);
    assert_eq!(watched.run.unwrap(), machine.time().unwrap());
}

#[test]
fn a_watch_ends_when_it_is_told_to_or_holds_enough() {
    let chip = small_chip();
    let program = program(&chip);
    let machine = Machine::new(&chip, &chip.formats()[0], &program).unwrap();
    let stop_at = |cycles: u64| {
        machine
            .time_watched(1000, |cycle| if cycle.tick.get() + 1 < cycles { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
            .unwrap()
    };
    let watched = stop_at(3);
    assert!(watched.cycles.get() == 3 && watched.run.is_none());
    // Both first transfers are under way.
    let of_dma: Vec<_> = watched.commands.iter().filter(|command| command.unit.kind == UnitKind::Dma).collect();
    assert!(of_dma.iter().all(|command| command.last_tick.is_none()) && of_dma.len() >= 2);
    let full = machine.time_watched(1, |_| ControlFlow::Continue(())).unwrap();
    assert!(full.run.is_none() && full.commands.len() > 1 && full.cycles.get() < 17);
    // Nobody can take more of a memory than there is.
    for memory in machine.time_watched(1000, |_| ControlFlow::Continue(())).unwrap().occupancy {
        assert!(memory.place != Place::Dram && memory.changes.iter().all(|(_, bytes)| *bytes <= memory.capacity));
        assert_eq!(memory.changes.last().map(|(_, bytes)| *bytes), Some(0), "at the end nothing is left to be read");
    }
}

#[test]
fn a_layer_table_has_a_trace_too() {
    let chip = chip::load("edge-16x16", &[]).unwrap();
    let table = topology::parse("name, M, N, K,\none, 20, 30, 40,\n", "table").unwrap();
    let options = RunOptions::new("w8a8".parse::<Recipe>().unwrap());
    let mut file = Vec::new();
    let traced = pipeline::trace_table(&chip, &table, &options, &mut file).unwrap();
    let summary = pipeline::time_table(&chip, &table, "", "table", &options).unwrap();
    assert_eq!([traced.cycles, traced.total_cycles], [summary.total_cycles; 2]);
    assert!(serde_json::from_slice::<Value>(&file).is_ok());
}
