//! Transfers over DRAM with banks, held to formulas: latency to the cycle, bandwidth near the peak, whole bursts on the bus, refreshes.
//!
//! Random programs on random chips are `stages`' and `machine`'s; the controller alone is `dram`'s.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

use std::collections::BTreeSet;
use systole::chip::{self, ArrayMode, Banked, Chip, Dram};
use systole::counts::{Operand, StallReason};
use systole::program::{
    Address, Command, HostRegion, Image, Item, MemorySizes, Operation, Place, Program, ProgramParts, StageDecl, Tag, Transfer, UnitId,
    UnitKind, UnitQueue,
};
use systole::sim::{Engine, Machine, Run, SimError};

const PAD: Place = Place::Scratchpad(0, 0);

/// edge-16x16 with one channel of a preset, a wide link and a large scratchpad.
fn chip(preset: &str, clock: &str, rate: u64, more: &[(&str, &str)]) -> Chip {
    let dram = format!("Banked(preset: \"{preset}\", channels: 1, queue_depth: 32, starvation_cap: 16, page: Open, mapping: RoRaBaCoBgCh)");
    let mut sets = vec![
        ("dram".to_string(), dram),
        ("clock".to_string(), clock.to_string()),
        ("dma.bytes_per_cycle".to_string(), rate.to_string()),
        ("scratchpads.0.capacity".to_string(), "MiB(4)".to_string()),
        ("scratchpads.0.port_bytes".to_string(), "64".to_string()),
    ];
    sets.extend(more.iter().map(|(field, value)| ((*field).to_string(), (*value).to_string())));
    chip::load("edge-16x16", &sets).unwrap_or_else(|error| panic!("{error}"))
}

fn banked(chip: &Chip) -> &Banked {
    match chip.dram() {
        Dram::Banked(banked) => banked,
        Dram::Ideal { .. } => unreachable!(),
    }
}

/// `rows` rows of `row_bytes`, `stride` apart in DRAM from `dram` on, without gaps in the scratchpad.
#[derive(Debug, Clone, Copy)]
struct Area {
    dram: u64,
    stride: u64,
    rows: u64,
    row_bytes: u64,
}

impl Area {
    fn bytes(self) -> u64 {
        self.rows * self.row_bytes
    }

    fn transfer(self) -> Transfer {
        Transfer {
            operand: Operand::Input,
            dram: Address::at(self.dram),
            dram_stride: self.stride,
            place: PAD,
            local: Address::at(0),
            local_stride: self.row_bytes,
            rows: self.rows,
            row_bytes: self.row_bytes,
            coded: None,
            owns_gaps: false,
        }
    }
}

/// A program of these transfers on the first engine, one after the other, a stage each; the last writes one row, which is the output.
fn program(chip: &Chip, loads: &[Area], store: Area) -> Program {
    let (format, array) = (&chip.formats()[0], chip.array());
    let end = loads.iter().chain([&store]).map(|rows| rows.dram + (rows.rows - 1) * rows.stride + rows.row_bytes).max().unwrap();
    let mut operations: Vec<Operation> = loads.iter().map(|rows| Operation::Mvin(rows.transfer())).collect();
    operations.push(Operation::Mvout(Transfer { operand: Operand::Output, ..store.transfer() }));
    let command = |(stage, operation): (u32, Operation)| {
        Item::Do(Command { tag: Tag { stage, sample: 0 }, wait: Vec::new(), post: Vec::new(), operation })
    };
    let stages = (0..operations.len()).map(|stage| StageDecl { name: format!("transfer{stage}"), mode: 0 }).collect();
    let items = (0..).zip(operations).map(command).collect();
    Program::new(ProgramParts {
        queues: vec![UnitQueue { unit: UnitId { core: 0, kind: UnitKind::Dma, index: 0 }, items }],
        semaphores: Vec::new(),
        output_stages: Vec::new(),
        vector_ops: Vec::new(),
        host_ops: Vec::new(),
        stages,
        // Only what is loaded, and what is stored, has bytes.
        images: vec![Image { place: PAD, address: 0, bytes: (0..=255).cycle().take(usize::try_from(store.bytes()).unwrap()).collect() }],
        inputs: vec![HostRegion { place: Place::Dram, address: 0, bytes: store.dram }],
        output: HostRegion { place: Place::Dram, address: store.dram, bytes: store.bytes() },
        coded_values: Vec::new(),
        memories: MemorySizes {
            dram: end,
            scratchpads: chip.scratchpads().iter().map(|pad| pad.capacity.get()).collect(),
            accumulator: chip.accumulator().capacity.get(),
        },
        accumulator_element_bytes: 4,
        modes: vec![ArrayMode::new(chip, format, &array.dataflows[0])],
        array_only: false,
    })
    .unwrap_or_else(|error| panic!("{error}"))
}

/// The run, alike in both drives, without numbers, and twice.
fn run(chip: &Chip, program: &Program) -> Run {
    let machine = Machine::new(chip, &chip.formats()[0], program).unwrap();
    let input: Vec<u8> = (0..251).cycle().take(usize::try_from(program.parts().inputs[0].bytes).unwrap()).collect();
    let run = machine.run(&[&input], Engine::Wavefront).unwrap();
    assert_eq!(machine.run(&[&input], Engine::Wavefront).unwrap(), run, "two runs are equal");
    assert_eq!(machine.run(&[&input], Engine::Stepped).unwrap(), run, "both drives agree");
    let timed = machine.time().unwrap();
    assert_eq!((timed.total_cycles, &timed.units, &timed.stages), (run.total_cycles, &run.units, &run.stages));
    run
}

fn cycles_of(stage: u32, run: &Run) -> [u64; 2] {
    let stage = &run.stages[stage as usize];
    [stage.first_tick.get(), stage.last_tick.get()]
}

/// The first core cycle that starts at or after a cycle of DRAM does, and the other way round.
fn core_from(chip: &Chip, cycle: u64) -> u64 {
    let clock = banked(chip).clock();
    let exact = u128::from(cycle) * u128::from(clock.denominator) * u128::from(chip.clock().get());
    u64::try_from(exact.div_ceil(u128::from(clock.numerator))).unwrap()
}

fn dram_from(chip: &Chip, cycle: u64) -> u64 {
    let clock = banked(chip).clock();
    let exact = u128::from(cycle) * u128::from(clock.numerator);
    u64::try_from(exact.div_ceil(u128::from(clock.denominator) * u128::from(chip.clock().get()))).unwrap()
}

#[test]
fn one_burst_takes_its_unloaded_latency() {
    for preset in chip::dram_presets() {
        for (clock, rate) in [("MHz(1000)", 64), ("MHz(333.33)", 7), ("GHz(4)", 5), ("MHz(1)", 16)] {
            let chip = chip(preset, clock, rate, &[]);
            let (organisation, t) = (banked(&chip).organisation, banked(&chip).timing);
            let bytes = u64::from(organisation.burst_bytes());
            // The burst that is written lies in another rank, bank or row's distance, before the first refresh or not: it is held to below.
            let one = |dram: u64| Area { dram, stride: bytes, rows: 1, row_bytes: bytes };
            let run = run(&chip, &program(&chip, &[one(0)], one(1 << 20)));
            let beats = bytes.div_ceil(rate);
            let loaded = core_from(&chip, u64::from(t.trcd_rd + t.cl + organisation.burst_cycles)) + beats - 1;
            assert_eq!(cycles_of(0, &run), [0, loaded], "{preset} at {clock}: a burst is activated, read, and crosses the link");
            // An mvout alone: its bytes cross, then it is asked for.
            let alone = self::run(&chip, &program(&chip, &[], one(1 << 20)));
            let (entered, least) = (dram_from(&chip, beats), u64::from(t.trcd_wr + t.cwl + organisation.burst_cycles));
            if entered + least < u64::from(t.trefi) {
                assert_eq!(cycles_of(0, &alone), [0, core_from(&chip, entered + least)], "{preset} at {clock}: written with its last beat");
            }
            assert_eq!(alone.stages[0].actions.dram_activates, 1);
        }
    }
}

#[test]
fn a_long_load_comes_at_nearly_the_peak_rate() {
    for preset in chip::dram_presets() {
        let chip = chip(preset, "MHz(1000)", 1024, &[]);
        let (organisation, t) = (banked(&chip).organisation, banked(&chip).timing);
        let (burst, bytes) = (u64::from(organisation.burst_bytes()), 1 << 20);
        let long = Area { dram: 0, stride: bytes, rows: 1, row_bytes: bytes };
        let run = run(&chip, &program(&chip, &[long], Area { dram: bytes, stride: 64, rows: 1, row_bytes: 64 }));
        let taken = dram_from(&chip, cycles_of(0, &run)[1]);
        let bursts = bytes / burst;
        // Each burst takes its beats; a refresh takes its time, and the banks that it closed and opens anew.
        let beats = bursts * u64::from(organisation.burst_cycles.max(t.tccd_s));
        let opening = u64::from(t.trcd_rd + t.cl + organisation.burst_cycles);
        assert!(taken >= beats + u64::from(t.trcd_rd + t.cl), "{preset}: {taken} of {beats} cycles");
        let refreshes = u64::from(organisation.ranks) * (taken / u64::from(t.trefi) + 1);
        let each = u64::from(t.trfc + t.trp_ab + t.tras) + opening + 2 * u64::from(t.tfaw);
        let most = beats + beats / 20 + opening + refreshes * each;
        assert!(taken <= most, "{preset}: {taken} cycles, and {most} at most");
        assert_eq!(run.stages[0].actions.dram_read_bytes, bytes);
        // Every row that the stream goes through is opened once, and once more for each refresh.
        let banks = u64::from(organisation.ranks * organisation.bank_groups * organisation.banks_per_group);
        let rows = bytes.div_ceil(u64::from(organisation.row_bytes));
        assert!((rows..=rows + refreshes * banks).contains(&run.stages[0].actions.dram_activates), "{preset}");
        assert!(run.units[2].cycles.stalled(StallReason::DramBandwidth) > run.units[2].cycles.stalled(StallReason::DramLatency));
    }
}

#[test]
fn rows_that_share_or_touch_a_burst_ask_for_it_once() {
    let chip = chip("DDR4-2400", "MHz(1000)", 16, &[]);
    for (dram, stride, row_bytes) in [(0, 48, 48), (5, 48, 48), (0, 100, 3), (17, 64, 64), (0, 640, 130), (3, 21, 20), (63, 64, 2)] {
        let rows = Area { dram, stride, rows: 40, row_bytes };
        let run = run(&chip, &program(&chip, &[rows], Area { dram: 1 << 16, stride: 100, rows: 1, row_bytes: 70 }));
        let touched: BTreeSet<u64> = (0..40).flat_map(|row| (0..row_bytes).map(move |byte| (dram + row * stride + byte) / 64)).collect();
        let stage = &run.stages[0];
        assert_eq!((stage.traffic.dram.input.read, stage.actions.dram_read_bytes), (rows.bytes(), 64 * touched.len() as u64));
        // 70 bytes from the start of a burst on are two bursts, of which one is masked.
        assert_eq!((run.stages[1].traffic.dram.output.write, run.stages[1].actions.dram_write_bytes), (70, 128));
        // The loaded bytes went through the scratchpad.
        let expected: Vec<u8> = (0..40)
            .flat_map(|row| (0..row_bytes).map(move |byte| dram + row * stride + byte))
            .map(|at| u8::try_from(at % 251).unwrap())
            .collect();
        let most = expected.len().min(70);
        assert_eq!(run.output[..most], expected[..most]);
    }
}

#[test]
fn one_row_is_fetched_once_and_written_to_each_place() {
    let chip = chip("HBM2", "MHz(700)", 16, &[]);
    let copies = Area { dram: 0, stride: 0, rows: 9, row_bytes: 64 };
    let run = run(&chip, &program(&chip, &[copies], Area { dram: 4096, stride: 64, rows: 1, row_bytes: 64 }));
    let stage = &run.stages[0];
    assert_eq!((stage.traffic.dram.input.read, stage.actions.dram_read_bytes), (64, 64));
    assert_eq!(stage.traffic.scratchpad.input.write, 9 * 64);
}

/// Ranks are due at every multiple of tREFI, for as long as the program runs, whoever waits.
#[test]
fn refreshes_go_on_while_the_program_runs_and_no_longer() {
    let chip = chip("DDR4-2400", "MHz(1000)", 1, &[("dram.channels", "2"), ("dram.organisation.ranks", "2")]);
    let (long, store) =
        (Area { dram: 0, stride: 1 << 17, rows: 1, row_bytes: 1 << 17 }, Area { dram: 1 << 17, stride: 1, rows: 1, row_bytes: 1 });
    let run = run(&chip, &program(&chip, &[long], store));
    let t = banked(&chip).timing;
    let total = dram_from(&chip, run.total_cycles.get());
    let refreshes: u64 = run.stages.iter().map(|stage| stage.actions.dram_refreshes).sum();
    // Each comes soon after it is due: what was begun is ended, the banks are closed.
    let soon = u64::from(t.cl + t.tras + t.twr + t.trp_ab + 100);
    let (least, most) = ((total - soon) / u64::from(t.trefi), total / u64::from(t.trefi));
    assert!((4 * least..=4 * most).contains(&refreshes) && least > 10, "{refreshes} refreshes in {total} cycles");
}

#[test]
fn a_program_that_needs_more_dram_than_there_is_is_refused() {
    let chip = chip("DDR4-2400", "MHz(1000)", 16, &[("dram.organisation.rows", "1")]);
    let one = |dram| Area { dram, stride: 64, rows: 1, row_bytes: 64 };
    let capacity = banked(&chip).capacity_bytes();
    assert_eq!(capacity, 16 * 8192);
    let machine = |dram: u64| Machine::new(&chip, &chip.formats()[0], &program(&chip, &[], one(dram))).map(|_| ());
    assert_eq!(machine(capacity - 64), Ok(()));
    assert_eq!(machine(capacity), Err(SimError::DramTooSmall { needed: capacity + 64, capacity }));
}
