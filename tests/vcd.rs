//! Does a value change dump show what the machine does? It is read back with a parser of the format, and every signal in every cycle is
//! held to what a session of the same product says.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

use ndarray::{Array2, Axis};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;
use systole::chip::{self, Chip, Stationary};
use systole::counts::StallReason;
use systole::numerics::Dtype;
use systole::pipeline::{GemmRequest, MAX_DUMP_PES, MAX_DUMP_VALUES, gemm_vcd};
use systole::program::Gemm;
use systole::sim::{Account, Engine, Machine, PeId, Session};
use vcd::{Command, ScopeItem, TimescaleUnit, Value, VarType};

const DATAFLOWS: &str = "[\
    WeightStationary(row_hop: 1, col_hop: 1, pipeline_registers: 1, min_pass_cycles: 1, overlap: Pipelined, extent: Physical, load: Rows, \
    stationary_buffers: 2, max_pass_vectors: Unlimited), \
    InputStationary(row_hop: 1, col_hop: 0, pipeline_registers: 0, min_pass_cycles: 1, overlap: Serial, extent: Physical, load: Rows, \
    stationary_buffers: 1, max_pass_vectors: Rows), \
    OutputStationary(row_hop: 1, col_hop: 1, pipeline_registers: 0, min_pass_cycles: 1, overlap: Pipelined, extent: Physical, drain: Rows, \
    psum_preload: Cycles(0), reduction_padding: Exact)]";

fn format(weight: &str, activation: &str, lanes: u32) -> String {
    let bits = if weight == "Int16" { 48 } else { 32 };
    format!("[(weight: {weight}, activation: {activation}, lanes: {lanes}, accumulator_bits: {bits}, overflow: Wrap, pe: Table)]")
}

fn chip(size: u32, more: &[(&str, String)]) -> Chip {
    let sets = [("array.rows", size.to_string()), ("array.cols", size.to_string()), ("array.dataflows", DATAFLOWS.to_string())];
    let sets: Vec<_> = sets.iter().chain(more).map(|(field, value)| ((*field).to_string(), value.clone())).collect();
    chip::load("edge-16x16", &sets).unwrap()
}

fn request(size: [u64; 3], dataflow: Stationary) -> GemmRequest {
    GemmRequest {
        m: size[0],
        k: size[1],
        n: size[2],
        dataflow: Some(dataflow),
        format: None,
        engine: Engine::Stepped,
        array_only: true,
        density: 1.0,
        seed: 7,
    }
}

fn dump(chip: &Chip, request: &GemmRequest) -> Vec<u8> {
    let mut bytes = Vec::new();
    let report = gemm_vcd(chip, request, &mut bytes).unwrap();
    assert_eq!(report.mismatches, 0);
    bytes
}

/// The operands as a request's seed gives them: activations first, row by row; the largest weight of each group with 1:M sparsity.
fn operands(chip: &Chip, request: &GemmRequest) -> [Array2<i16>; 2] {
    let mut rng = ChaCha8Rng::seed_from_u64(request.seed);
    let mut random = |dtype: Dtype, rows: u64, cols: u64| {
        let size = [rows, cols].map(|size| usize::try_from(size).unwrap());
        Array2::from_shape_simple_fn(size, || match dtype {
            Dtype::Binary => i16::from(rng.random::<bool>()) * 2 - 1,
            _ => i16::try_from(rng.random_range(dtype.min()..=dtype.max())).unwrap(),
        })
    };
    let format = &chip.formats()[0];
    let activations = random(format.activation, request.m, request.k);
    let mut weights = random(format.weight, request.k, request.n);
    if let chip::Sparsity::NM { n: 1, m } = chip.array().sparsity {
        for mut rows in weights.axis_chunks_iter_mut(Axis(0), m as usize) {
            for mut group in rows.columns_mut() {
                let largest = (0..group.len()).rev().max_by_key(|row| group[*row].unsigned_abs()).unwrap();
                group.indexed_iter_mut().filter(|(row, _)| *row != largest).for_each(|(_, weight)| *weight = 0);
            }
        }
    }
    [activations, weights]
}

/// Calls `look` with a session of the same product, once a cycle, and every unit's account.
fn watch(chip: &Chip, request: &GemmRequest, mut look: impl FnMut(&mut Session<'_>, &[Account])) -> u64 {
    let format = &chip.formats()[0];
    let dataflow = chip.dataflow(request.dataflow.unwrap()).unwrap();
    let [activations, weights] = operands(chip, request);
    let gemm = Gemm::new([request.m, request.k, request.n], chip, format, dataflow, Some(weights.view())).unwrap();
    let gemm = if request.array_only { gemm } else { gemm.in_blocks_of(chip).unwrap() };
    let inputs = [gemm.activations(activations.view()), gemm.weights(weights.view()).unwrap()];
    let program = if request.array_only { gemm.program().unwrap() } else { gemm.machine_program(chip).unwrap() };
    let machine = Machine::new(chip, format, &program).unwrap();
    let mut session = machine.start(&[&inputs[0], &inputs[1]], Engine::Stepped).unwrap();
    let mut cycles = 0;
    while let Some(accounts) = session.step().unwrap() {
        look(&mut session, &accounts);
        cycles += 1;
    }
    assert_eq!(session.finish().unwrap().total_cycles.get(), cycles);
    cycles
}

/// A signal's declaration, and its value after each time step in which anything changed: None is x.
struct Signal {
    kind: VarType,
    bits: u32,
    values: Vec<Option<i64>>,
}

/// A dump, read back.
struct Read {
    timescale: (u32, TimescaleUnit),
    times: Vec<u64>,
    signals: BTreeMap<String, Signal>,
}

impl Read {
    fn of(bytes: &[u8]) -> Self {
        let mut parser = vcd::Parser::new(bytes);
        let header = parser.parse_header().unwrap();
        assert_eq!((header.date, header.version.as_deref()), (None, Some("systole")));
        let mut found = BTreeMap::new();
        find(&header.items, "", &mut found);
        let mut now = BTreeMap::new();
        let mut read = Self { timescale: header.timescale.unwrap(), times: Vec::new(), signals: BTreeMap::new() };
        for command in parser {
            match command.unwrap() {
                Command::Timestamp(time) => {
                    read.end_step(&found, &now);
                    read.times.push(time);
                }
                Command::ChangeScalar(id, value) => change(&mut now, &found[&id].1, &[value]),
                Command::ChangeVector(id, value) => change(&mut now, &found[&id].1, &value.iter().collect::<Vec<Value>>()),
                Command::Begin(_) | Command::End(_) => assert_eq!(read.times, [0], "initial values are at time 0"),
                other => panic!("{other:?} is not expected"),
            }
        }
        assert!(read.times.is_sorted_by(|one, next| one < next), "time goes on");
        read
    }

    fn end_step(&mut self, found: &BTreeMap<vcd::IdCode, (String, vcd::Var)>, now: &BTreeMap<vcd::IdCode, Option<i64>>) {
        if self.times.is_empty() {
            return assert!(now.is_empty(), "nothing changes before there is a time");
        }
        for (name, var) in found.values() {
            let signal = Signal { kind: var.var_type, bits: var.size, values: Vec::new() };
            let signal = self.signals.entry(name.clone()).or_insert(signal);
            signal.values.push(*now.get(&var.code).unwrap_or_else(|| panic!("{name} has a value from the start")));
        }
    }

    fn cycles(&self) -> usize {
        assert_eq!(self.times.len() % 2, 1, "two half cycles each, and the end");
        self.times.len() / 2
    }

    /// A signal's value in each cycle, from its rising edge to the next.
    fn by_cycle(&self, name: &str) -> Vec<Option<i64>> {
        let signal = self.signals.get(name).unwrap_or_else(|| panic!("no signal {name} in {:?}", self.signals.keys()));
        assert!(signal.values.chunks(2).all(|halves| halves[0] == halves[1]), "{name} changes at rising edges only");
        signal.values.iter().step_by(2).copied().collect()
    }
}

fn find(items: &[ScopeItem], path: &str, found: &mut BTreeMap<vcd::IdCode, (String, vcd::Var)>) {
    for item in items {
        match item {
            ScopeItem::Scope(scope) => find(&scope.items, &format!("{path}{}.", scope.identifier), found),
            ScopeItem::Var(var) => {
                let before = found.insert(var.code, (format!("{path}{}", var.reference), var.clone()));
                assert!(before.is_none(), "each signal has a code of its own");
            }
            _ => {}
        }
    }
}

/// A change of a signal: to another value than it had. An integer is in two's complement; a vector that is too short is extended with zeros,
/// as IEEE 1364 says.
fn change(now: &mut BTreeMap<vcd::IdCode, Option<i64>>, var: &vcd::Var, bits: &[Value]) {
    let (id, width) = (var.code, var.size);
    assert!((1..=width as usize).contains(&bits.len()));
    let value = if bits == [Value::X] {
        None
    } else {
        let digit = |bit: &Value| match bit {
            Value::V0 => 0,
            Value::V1 => 1,
            other => panic!("{other} in a number"),
        };
        let number = bits.iter().fold(0_u64, |number, bit| number << 1 | digit(bit));
        let is_negative = var.var_type == VarType::Integer && bits.len() == width as usize && bits[0] == Value::V1;
        let sign = if is_negative { u64::MAX.checked_shl(width).unwrap_or(0) } else { 0 };
        Some((number | sign).cast_signed())
    };
    assert_ne!(now.insert(id, value), Some(value), "a change changes something");
}

/// Holds every signal of a dump to the session's words.
fn check(chip: &Chip, request: &GemmRequest) {
    let bytes = dump(chip, request);
    assert_eq!(dump(chip, request), bytes, "two runs give the same bytes");
    let mut read = Read::of(&bytes);
    let mut wanted: BTreeMap<String, Vec<Option<i64>>> = BTreeMap::new();
    let units = if request.array_only { vec!["array"] } else { vec!["array", "vector", "dma0", "dma1"] };
    let array = chip.array();
    let format = &chip.formats()[0];
    let depth = chip_depth(chip);
    let held = if request.dataflow == Some(Stationary::Output) { "col" } else { "held" };
    let cycles = watch(chip, request, |session, accounts| {
        let mut see = |name: String, value| wanted.entry(name).or_default().push(value);
        for (unit, account) in units.iter().zip(accounts) {
            let code = [matches!(account, Account::Idle), *account == Account::Busy, matches!(account, Account::Stalled(_))];
            see(format!("systole.{unit}.account"), Some([0, 1, 2][code.iter().position(|is| *is).unwrap()]));
            for reason in StallReason::ALL {
                see(format!("systole.{unit}.{}", reason.name()), Some(i64::from(*account == Account::Stalled(reason))));
            }
        }
        for (row, col) in (0..array.rows).flat_map(|row| (0..array.cols).map(move |col| (row, col))) {
            let registers = session.probe(PeId { row, col });
            let pe = format!("systole.array.pe_{row}_{col}");
            for (name, elements) in [("row", &registers.row), (held, &registers.col)] {
                assert!(elements.as_ref().is_none_or(|elements| elements.len() == depth), "{name} has {depth} lanes");
                for lane in 0..depth {
                    see(format!("{pe}.{name}_{lane}"), elements.as_ref().map(|elements| elements[lane]));
                }
            }
            see(format!("{pe}.sum"), registers.sum);
        }
    });
    let clock = read.signals.remove("systole.clock").unwrap();
    assert!(clock.bits == 1 && clock.values.iter().enumerate().all(|(half, value)| *value == Some(i64::from(half % 2 == 0))));
    assert_eq!(u64::try_from(read.cycles()).unwrap(), cycles);
    assert_eq!(read.by_cycle("systole.cycle"), (0..i64::try_from(cycles).unwrap()).map(Some).collect::<Vec<_>>());
    read.signals.remove("systole.cycle");
    for (name, wanted) in &wanted {
        assert_eq!(&read.by_cycle(name), wanted, "{name}");
    }
    assert!(read.signals.keys().eq(wanted.keys()), "no other signals");
    // Numbers are shown with their sign, sums in full.
    let (activation, weight) = (format.activation.bits() + 1, format.weight.bits().max(if format.is_binary() { 2 } else { 1 }));
    let (row, col) = if request.dataflow == Some(Stationary::Input) { (weight, activation) } else { (activation, weight) };
    for (name, bits) in [("row_0", row), (&format!("{held}_0"), col), ("sum", 64)] {
        let signal = &read.signals[&format!("systole.array.pe_0_0.{name}")];
        assert_eq!((signal.kind, signal.bits), (VarType::Integer, bits), "{name}");
    }
}

/// Elements side by side in a PE: its lanes, or a group for each.
fn chip_depth(chip: &Chip) -> usize {
    let group = match chip.array().sparsity {
        chip::Sparsity::NM { m, .. } => m,
        chip::Sparsity::Dense | chip::Sparsity::TileSkip => 1,
    };
    (chip.formats()[0].lanes * group) as usize
}

#[test]
fn every_signal_is_the_probe_s_in_every_cycle() {
    for size in [2, 3] {
        let chip = chip(size, &[]);
        for dataflow in Stationary::ALL {
            check(&chip, &request([4, 5, 4], dataflow));
            check(&chip, &GemmRequest { array_only: false, ..request([2, 2, 3], dataflow) });
        }
    }
}

#[test]
fn lanes_and_narrow_formats_have_signals_of_their_own() {
    for (weight, activation, lanes) in [("Int4", "Int8", 2), ("Int2", "Int4", 3), ("Binary", "Binary", 4), ("Int16", "Int16", 1)] {
        let chip = chip(2, &[("formats", format(weight, activation, lanes))]);
        for dataflow in Stationary::ALL {
            check(&chip, &request([3, 9, 3], dataflow));
        }
    }
    // A PE sees the whole group that its weight may come from. Activations that stay cannot be chosen from.
    let (first, rest) = DATAFLOWS.split_once("InputStationary").unwrap();
    let dataflows = format!("{first}OutputStationary{}", rest.split_once("OutputStationary").unwrap().1);
    let sets = [("array.dataflows", dataflows), ("array.sparsity", "NM(n: 1, m: 4)".to_string()), ("formats", format("Int8", "Int8", 2))];
    let chip = chip(2, &sets);
    for dataflow in [Stationary::Weight, Stationary::Output] {
        check(&chip, &request([3, 9, 3], dataflow));
    }
}

#[test]
fn time_is_the_chip_s() {
    let times = |clock: &str| {
        let read = Read::of(&dump(&chip(2, &[("clock", clock.to_string())]), &request([1, 1, 1], Stationary::Weight)));
        (read.timescale, read.times[..4].to_vec())
    };
    assert_eq!(times("GHz(1)"), ((1, TimescaleUnit::PS), vec![0, 500, 1000, 1500]));
    assert_eq!(times("MHz(700)"), ((1, TimescaleUnit::PS), vec![0, 714, 1429, 2143]));
    assert_eq!(times("Hz(1000)"), ((1, TimescaleUnit::NS), vec![0, 500_000, 1_000_000, 1_500_000]));
}

#[test]
fn what_is_too_large_is_refused_before_anything_is_written() {
    let refused = |chip: &Chip, request: &GemmRequest| {
        let mut bytes = Vec::new();
        let message = gemm_vcd(chip, request, &mut bytes).unwrap_err().to_string();
        assert!(bytes.is_empty() && message.contains("\n  help: "), "{message}");
        message
    };
    let message = refused(&chip(65, &[]), &request([1, 1, 1], Stationary::Output));
    assert!(message.contains("65 x 65") && message.contains(&MAX_DUMP_PES.to_string()), "{message}");
    dump(&chip(64, &[]), &request([1, 1, 1], Stationary::Output));
    let message = refused(&chip(64, &[]), &request([6000, 1, 1], Stationary::Weight));
    assert!(message.contains("12288 signals") && message.contains(&MAX_DUMP_VALUES.to_string()) && message.contains("5461 cycles"));
}
