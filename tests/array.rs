//! Does the array take the cycles that its contract says, and compute the products, for every combination of its fields?
//!
//! A program of `preload` and `compute` alone runs on random arrays; the array's busy cycles must be the closed form, and the sums, moved
//! out of the accumulator by DMA, must be the products. The longer run: `PROPTEST_CASES=20000 cargo test --release --test array`.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]
#![allow(clippy::cast_possible_truncation, reason = "sizes here are small")]

use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use systole::chip::{self, Chip, Dataflow, Extent, Overlap};
use systole::counts::{Operand, StallReason};
use systole::program::{
    Address, ArrayMode, Command, Compute, HostRegion, Image, Item, MemorySizes, Operation, Place, Preload, Program, ProgramParts,
    Semaphore, SemaphoreDecl, StageDecl, Sync, Tag, Transfer, UnitId, UnitKind, UnitQueue,
};
use systole::sim::{Engine, Machine, Run};

const WEIGHTS: Place = Place::Scratchpad(0, 0);
const INPUTS: Place = Place::Scratchpad(0, 1);
/// Bytes of a row of either scratchpad: no row of a tile or vector spans two.
const PORT: u64 = 32;
/// Bytes of a row of sums.
const SUMS: u64 = 128;

/// A stationary tile and the passes that stream past it.
#[derive(Debug, Clone)]
struct Group {
    rows: u32,
    cols: u32,
    passes: Vec<u32>,
}

#[derive(Debug, Clone)]
struct Case {
    rows: u32,
    cols: u32,
    row_hop: u32,
    col_hop: u32,
    registers: u32,
    load: String,
    buffers: u32,
    min_pass: u32,
    overlap: &'static str,
    extent: &'static str,
    groups: Vec<Group>,
    zero_point: i32,
    seed: u64,
}

fn cases() -> impl Strategy<Value = Case> {
    let size = prop_oneof![4 => 1..=8_u32, 1 => 9..=20_u32];
    (size.clone(), size).prop_flat_map(|(rows, cols)| {
        let group = (1..=rows, 1..=cols, prop::collection::vec(1..=9_u32, 1..=3));
        let timing = (
            (0..=3_u32, 0..=3_u32, 0..=4_u32),
            prop_oneof![Just("Rows".to_string()), Just("Cols".to_string()), (1..=24_u32).prop_map(|n| format!("Cycles({n})"))],
            prop_oneof![
                Just((2, "Pipelined", "Physical")),
                Just((1, "Pipelined", "Physical")),
                Just((1, "Serial", "Physical")),
                Just((1, "Serial", "Used"))
            ],
            1..=6_u32,
        );
        (timing, prop::collection::vec(group, 1..=6), -128..=127_i32, any::<u64>()).prop_map(move |(timing, groups, zero_point, seed)| {
            let ((row_hop, col_hop, registers), load, (buffers, overlap, extent), min_pass) = timing;
            let groups = groups.into_iter().map(|(rows, cols, passes)| Group { rows, cols, passes }).collect();
            Case { rows, cols, row_hop, col_hop, registers, load, buffers, min_pass, overlap, extent, groups, zero_point, seed }
        })
    })
}

impl Case {
    fn chip(&self) -> Chip {
        let flow = format!(
            "WeightStationary(row_hop: {}, col_hop: {}, pipeline_registers: {}, load: {}, stationary_buffers: {}, \
             max_pass_vectors: Unlimited, min_pass_cycles: {}, overlap: {}, extent: {})",
            self.row_hop, self.col_hop, self.registers, self.load, self.buffers, self.min_pass, self.overlap, self.extent
        );
        // 32 banks, so that the rows that enter through several ports of one cycle never meet in a bank.
        let pad = |role: &str| format!("(role: {role}, capacity: KiB(32), banks: 32, port_bytes: {PORT}, latency: Cycles(1))");
        let sets = [
            ("array.rows", self.rows.to_string()),
            ("array.cols", self.cols.to_string()),
            ("array.dataflows", format!("[{flow}]")),
            ("scratchpads", format!("[{}, {}]", pad("Weight"), pad("Input"))),
            ("accumulator", format!("(capacity: KiB(64), banks: 2, port_bytes: {SUMS}, latency: Cycles(1))")),
        ];
        let sets: Vec<_> = sets.into_iter().map(|(field, value)| (field.to_string(), value)).collect();
        chip::load("edge-16x16", &sets).unwrap()
    }

    /// The closed form of the contract, from the chip as it was read.
    fn cycles(&self, chip: &Chip) -> u64 {
        let Dataflow::WeightStationary(timing) = chip.array().dataflows[0] else { unreachable!() };
        let min = u64::from(timing.min_pass_cycles);
        let size = |group: &Group| match timing.extent {
            Extent::Physical => (self.rows, self.cols),
            Extent::Used => (group.rows, group.cols),
        };
        let load = |group: &Group| u64::from(timing.load.resolve(size(group).0, size(group).1));
        let tail = |group: &Group| {
            let (rows, cols) = size(group);
            u64::from(timing.row_hop * (rows - 1) + timing.col_hop * (cols - 1) + timing.pipeline_registers)
        };
        let lengths = |group: &Group| group.passes.iter().map(|t| u64::from(*t).max(min)).collect::<Vec<u64>>();
        let group_alone = |group: &Group| load(group) + lengths(group).iter().sum::<u64>() + tail(group);
        match (timing.overlap, timing.stationary_buffers) {
            // One-pass runs, the load spent where the tile is new.
            (Overlap::Serial, _) => {
                self.groups.iter().map(|group| group_alone(group) + (group.passes.len() as u64 - 1) * tail(group)).sum()
            }
            (Overlap::Pipelined, 1) => self.groups.iter().map(group_alone).sum(),
            (Overlap::Pipelined, _) => {
                let mut sum = load(&self.groups[0]) + tail(&self.groups[0]);
                for (number, group) in self.groups.iter().enumerate() {
                    let mut lengths = lengths(group);
                    if let (Some(last), Some(next)) = (lengths.last_mut(), self.groups.get(number + 1)) {
                        *last = (*last).max(load(next));
                    }
                    sum += lengths.iter().sum::<u64>();
                }
                sum
            }
        }
    }

    /// Every tile, vector and sum has rows of its own, but that all groups stream the same vectors into the same sums.
    fn program(&self, chip: &Chip, rng: &mut ChaCha8Rng) -> (Program, Vec<i64>) {
        let mut random = |count: u64| (0..count).map(|_| rng.random::<i8>()).collect::<Vec<i8>>();
        let most: u32 = self.groups.iter().map(|group| group.passes.iter().sum()).max().unwrap();
        let weights = random(self.groups.len() as u64 * u64::from(self.rows) * PORT);
        let vectors = random(u64::from(most) * PORT);
        let mut sums = vec![0_i64; most as usize * self.cols as usize];
        let mut items = Vec::new();
        let tag = Tag { stage: 0, sample: 0 };
        let sync = |semaphore| Sync { semaphore: Semaphore(semaphore), innermost: 0 };
        for (number, group) in self.groups.iter().enumerate() {
            let tile = number as u64 * u64::from(self.rows) * PORT;
            let preload = Preload {
                place: WEIGHTS,
                address: Address::at(tile),
                stride: PORT,
                inner: group.rows,
                cols: group.cols,
                zero_point: 0,
                window: None,
            };
            items.push(Item::Do(Command { tag, wait: vec![], operation: Operation::Preload(preload), post: vec![] }));
            let mut first = 0;
            for (pass, vectors_of_pass) in group.passes.iter().enumerate() {
                let last = number + 1 == self.groups.len() && pass + 1 == group.passes.len();
                let compute = Compute {
                    place: INPUTS,
                    stream: Address::at(u64::from(first) * PORT),
                    stream_stride: PORT,
                    vectors: *vectors_of_pass,
                    inner: group.rows,
                    cols: group.cols,
                    zero_point: self.zero_point,
                    window: None,
                    result: Address::at(u64::from(first) * SUMS),
                    result_stride: SUMS,
                    accumulate: true,
                };
                let post = if last { vec![sync(0)] } else { vec![] };
                items.push(Item::Do(Command { tag, wait: vec![], operation: Operation::Compute(compute), post }));
                first += vectors_of_pass;
            }
            for t in 0..first as usize {
                for c in 0..group.cols as usize {
                    let product = |r: usize| {
                        let x = i64::from(vectors[t * PORT as usize + r]) - i64::from(self.zero_point);
                        x * i64::from(weights[usize::try_from(tile).unwrap() + r * PORT as usize + c])
                    };
                    sums[t * self.cols as usize + c] += (0..group.rows as usize).map(product).sum::<i64>();
                }
            }
        }
        let bytes = |values: &[i8]| values.iter().map(|v| v.to_le_bytes()[0]).collect::<Vec<u8>>();
        let out = Transfer {
            operand: Operand::Psum,
            dram: Address::at(0),
            dram_stride: u64::from(self.cols) * 4,
            place: Place::Accumulator(0),
            local: Address::at(0),
            local_stride: SUMS,
            rows: u64::from(most),
            row_bytes: u64::from(self.cols) * 4,
            coded: None,
            owns_gaps: false,
        };
        let unit = |kind| UnitId { core: 0, kind, index: 0 };
        let mvout = Command { tag, wait: vec![sync(0)], operation: Operation::Mvout(out), post: vec![] };
        let dram = u64::from(most) * u64::from(self.cols) * 4;
        let parts = ProgramParts {
            queues: vec![
                UnitQueue { unit: unit(UnitKind::Array), items },
                UnitQueue { unit: unit(UnitKind::Dma), items: vec![Item::Do(mvout)] },
            ],
            semaphores: vec![SemaphoreDecl { name: "done".to_string(), tokens: 0, reason: StallReason::ResultNotReady }],
            output_stages: vec![],
            vector_ops: Vec::new(),
            host_ops: Vec::new(),
            stages: vec![StageDecl { name: "gemm".to_string(), mode: 0 }],
            images: vec![
                Image { place: WEIGHTS, address: 0, bytes: bytes(&weights) },
                Image { place: INPUTS, address: 0, bytes: bytes(&vectors) },
                Image { place: Place::Accumulator(0), address: 0, bytes: vec![0; most as usize * SUMS as usize] },
            ],
            inputs: vec![],
            output: HostRegion { place: Place::Dram, address: 0, bytes: dram },
            coded_values: Vec::new(),
            memories: MemorySizes { dram, scratchpads: vec![32 << 10, 32 << 10], accumulator: 64 << 10 },
            accumulator_element_bytes: 4,
            modes: vec![ArrayMode::new(chip, &chip.formats()[0], &chip.array().dataflows[0])],
            array_only: false,
        };
        (Program::new(parts).unwrap(), sums)
    }

    fn run(&self) -> (Run, u64, Vec<i64>) {
        let chip = self.chip();
        let (program, sums) = self.program(&chip, &mut ChaCha8Rng::seed_from_u64(self.seed));
        let machine = Machine::new(&chip, &chip.formats()[0], &program).unwrap();
        let run = machine.run(&[], Engine::Stepped).unwrap();
        assert_eq!(machine.run(&[], Engine::Wavefront).unwrap(), run, "both drives agree in outputs, cycles, counts and stalls");
        (run, self.cycles(&chip), sums)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.max(2000), ..ProptestConfig::default() })]

    #[test]
    fn cycles_are_the_closed_form_and_sums_the_products(case in cases()) {
        let (run, cycles, sums) = case.run();
        let got: Vec<i64> = run.output.chunks_exact(4).map(|b| i64::from(i32::from_le_bytes(b.try_into().unwrap()))).collect();
        // Not every group reaches every sum: unreached ones are zero in both.
        prop_assert_eq!(got, sums);
        let array = run.units[0].cycles;
        prop_assert_eq!(array.busy, cycles);
        // The first tile pays the scratchpad's latency, and nothing else ever waits.
        prop_assert_eq!(array.stalled(StallReason::MemoryLatency), 1);
        prop_assert_eq!(array.stalled_total(), 1);
    }
}
