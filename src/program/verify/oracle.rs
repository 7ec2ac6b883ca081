//! The verifier once more, plain: each byte of each memory by itself. What the interval history is held to, on random accesses and on
//! random programs.

use super::history::{History, Refusal};
use super::piece::{Accessor, Fault};
use super::shape::Shape;
use super::{Order, host, verify};
use crate::chip::Stationary;
use crate::counts::{Operand, StallReason};
use crate::program::region::{Access, Dimension, RegionOf};
use crate::program::{
    Address, ArrayMode, Command, Cursor, Fill, Gemm, HostRegion, Image, Item, MemorySizes, Operation, Place, Preload, ProgramError,
    ProgramParts, Repeat, Ring, Semaphore, SemaphoreDecl, StageDecl, Sync, Tag, Transfer, UnitId, UnitKind, UnitQueue,
};
use proptest::prelude::*;
use std::collections::VecDeque;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Writer {
    Nobody,
    Host,
    Thread(usize, u32),
}

/// A memory, byte by byte.
#[derive(Clone)]
struct Bytes {
    threads: usize,
    writers: Vec<Writer>,
    /// The last command of each thread that read each byte.
    readers: Vec<u32>,
}

impl Bytes {
    fn new(size: u64, threads: usize) -> Self {
        let size = usize::try_from(size).unwrap();
        Self { threads, writers: vec![Writer::Nobody; size], readers: vec![0; threads * size] }
    }

    fn host_writes(&mut self, start: u64, bytes: u64) {
        for byte in start..start + bytes {
            self.writers[usize::try_from(byte).unwrap()] = Writer::Host;
        }
    }

    /// Every row of every dimension in turn, every byte of it in turn.
    fn touch(&mut self, start: u64, region: &RegionOf<'_>, thread: usize, now: u32, known: &[u32]) -> Result<(), (u64, Fault)> {
        let ordered = |other: usize, command: u32| other == thread || command <= known[other];
        let [inner, outer] = region.outer;
        for (o, i) in (0..outer.count).flat_map(|o| (0..inner.count).map(move |i| (o, i))) {
            for (row, byte) in (0..region.rows).flat_map(|row| (0..region.row_bytes).map(move |byte| (row, byte))) {
                let byte = start + o * outer.stride + i * inner.stride + row * region.stride + byte;
                let cell = usize::try_from(byte).unwrap();
                match self.writers[cell] {
                    Writer::Nobody if region.access != Access::Write => return Err((byte, Fault::NeverWritten)),
                    Writer::Thread(other, command) if !ordered(other, command) => {
                        return Err((byte, Fault::Race { other, command, wrote: true }));
                    }
                    _ => {}
                }
                let readers = &mut self.readers[cell * self.threads..(cell + 1) * self.threads];
                if region.access == Access::Read {
                    readers[thread] = now;
                } else {
                    if let Some(other) = (0..readers.len()).find(|other| readers[*other] > 0 && !ordered(*other, readers[*other])) {
                        return Err((byte, Fault::Race { other, command: readers[other], wrote: false }));
                    }
                    self.writers[cell] = Writer::Thread(thread, now);
                }
            }
        }
        Ok(())
    }
}

/// The token game, two threads a unit.
struct Game<'p> {
    parts: &'p ProgramParts,
    posters: &'p [Option<usize>],
    cursors: Vec<Cursor<'p>>,
    issued: Vec<u32>,
    last_preload: Vec<u32>,
    known: Vec<Vec<u32>>,
    tokens: Vec<VecDeque<Vec<u32>>>,
    memories: Vec<(Place, Bytes)>,
}

fn plain_verify(parts: &ProgramParts) -> Result<(), ProgramError> {
    let shape = Shape::check(parts)?;
    let (units, threads) = (parts.queues.len(), 2 * parts.queues.len());
    let mut game = Game {
        parts,
        posters: &shape.posters,
        cursors: parts.queues.iter().map(|queue| Cursor::new(&queue.items)).collect(),
        issued: vec![0; units],
        last_preload: vec![0; units],
        known: vec![vec![0; threads]; units],
        tokens: parts.semaphores.iter().map(|decl| (0..decl.tokens).map(|_| vec![0; threads]).collect()).collect(),
        memories: super::memories(parts).into_iter().map(|(place, size)| (place, Bytes::new(size, threads))).collect(),
    };
    for image in &parts.images {
        game.memory(image.place).host_writes(image.address, image.bytes.len() as u64);
    }
    for input in &parts.inputs {
        game.memory(input.place).host_writes(input.address, input.bytes);
    }
    while (0..units).try_fold(false, |moved, unit| Ok::<_, ProgramError>(game.run(unit)? || moved))? {}
    let waits: Vec<String> = (0..units).filter_map(|unit| game.wait_of(unit)).collect();
    if !waits.is_empty() {
        return Err(ProgramError::CircularWait { waits: waits.join("; ") });
    }
    let HostRegion { place, address, bytes } = parts.output;
    let memory = game.memory(place);
    let never = (address..address + bytes).find(|byte| memory.writers[usize::try_from(*byte).unwrap()] == Writer::Nobody);
    never.map_or(Ok(()), |byte| Err(ProgramError::NeverWritten { unit: host(), command: 0, place, byte }))
}

impl Game<'_> {
    fn memory(&mut self, place: Place) -> &mut Bytes {
        &mut self.memories.iter_mut().find(|(known, _)| *known == place).unwrap().1
    }

    fn missing(&self, unit: usize) -> Option<Semaphore> {
        let cursor = &self.cursors[unit];
        let waits = &cursor.command()?.wait;
        waits.iter().find(|sync| cursor.waits(**sync) && self.tokens[sync.semaphore.0 as usize].is_empty()).map(|sync| sync.semaphore)
    }

    fn wait_of(&self, unit: usize) -> Option<String> {
        let semaphore = self.missing(unit)?.0 as usize;
        let poster = self.posters[semaphore]
            .map_or("which nobody posts".to_string(), |poster| format!("which {} posts", self.parts.queues[poster].unit));
        let (unit_id, name) = (self.parts.queues[unit].unit, &self.parts.semaphores[semaphore].name);
        Some(format!("{unit_id} waits at command {} for {name}, {poster}", self.issued[unit]))
    }

    /// Runs a unit as far as it comes.
    fn run(&mut self, unit: usize) -> Result<bool, ProgramError> {
        let mut moved = false;
        while let (Some(command), None) = (self.cursors[unit].command(), self.missing(unit)) {
            moved = true;
            for sync in &command.wait {
                if self.cursors[unit].waits(*sync) {
                    let Some(token) = self.tokens[sync.semaphore.0 as usize].pop_front() else { return Ok(moved) };
                    self.known[unit].iter_mut().zip(token).for_each(|(known, seen)| *known = (*known).max(seen));
                }
            }
            self.issued[unit] += 1;
            let now = self.issued[unit];
            let thread = 2 * unit + usize::from(matches!(command.operation, Operation::Preload(_)));
            if thread > 2 * unit {
                self.last_preload[unit] = now;
            } else if self.parts.queues[unit].unit.kind == UnitKind::Array {
                // A pass starts when the tiles before it have been loaded.
                let known = &mut self.known[unit][2 * unit + 1];
                *known = (*known).max(self.last_preload[unit]);
            }
            for region in command.regions(self.parts.mode_of(command.tag.stage), self.parts.accumulator_element_bytes).into_iter().flatten()
            {
                let start = region.address.resolve(self.cursors[unit].counters());
                let known = self.known[unit].clone();
                let result = self.memory(region.place).touch(start, &region, thread, now, &known);
                result.map_err(|(byte, fault)| {
                    let (place, command) = (region.place, u64::from(now - 1));
                    let queues = &self.parts.queues;
                    let unit = queues[unit].unit;
                    match fault {
                        Fault::NeverWritten => ProgramError::NeverWritten { unit, command, place, byte },
                        Fault::Race { other, command: other_command, wrote } => ProgramError::Race {
                            unit,
                            command,
                            access: if region.access == Access::Read { "reads" } else { "writes" },
                            place,
                            byte,
                            other: queues[other / 2].unit,
                            other_command: u64::from(other_command - 1),
                            other_access: if wrote { "writes" } else { "reads" },
                        },
                    }
                })?;
            }
            for sync in &command.post {
                if self.cursors[unit].posts(*sync) {
                    let mut token = self.known[unit].clone();
                    token[thread] = now;
                    self.tokens[sync.semaphore.0 as usize].push_back(token);
                }
            }
            self.cursors[unit].advance();
        }
        Ok(moved)
    }
}

// Random accesses to one memory.

const SIZE: u64 = 160;
const THREADS: usize = 4;

#[derive(Debug, Clone)]
enum Event {
    Touch {
        thread: usize,
        start: u64,
        row_bytes: u64,
        dimensions: [(u64, u64); 3],
        access: Access,
    },
    /// One learns what another knows.
    Learn(usize, usize),
    Sweep,
}

fn accesses() -> impl Strategy<Value = Access> {
    prop_oneof![3 => Just(Access::Read), 3 => Just(Access::Write), 1 => Just(Access::Update)]
}

fn events() -> impl Strategy<Value = Event> {
    let stride = || prop_oneof![3 => Just(8_u64), 1 => Just(16_u64), 1 => Just(12_u64), 1 => 0..=20_u64];
    let dimension = || (prop_oneof![2 => Just(1_u64), 1 => 2..=3_u64], prop_oneof![stride(), 24..=60_u64]);
    let start = prop_oneof![(0..SIZE / 8).prop_map(|slot| slot * 8), 0..SIZE];
    let row_bytes = prop_oneof![4 => 1..=8_u64, 1 => 1..=40_u64, 1 => Just(0)];
    let rows = (prop_oneof![1 => Just(1_u64), 3 => 2..=8_u64], stride());
    let touch = (0..THREADS, start, row_bytes, (rows, dimension(), dimension()), accesses()).prop_map(
        |(thread, start, row_bytes, (rows, inner, outer), access)| Event::Touch {
            thread,
            start,
            row_bytes,
            dimensions: [rows, inner, outer],
            access,
        },
    );
    prop_oneof![6 => touch, 4 => (0..THREADS, 0..THREADS).prop_map(|(one, other)| Event::Learn(one, other)), 1 => Just(Event::Sweep)]
}

/// Plays events on both; what has a fault is compared, and then as if it had not been.
fn play(events: &[Event], host: &[(u64, u64)]) -> Result<(), TestCaseError> {
    let mut bytes = Bytes::new(SIZE, THREADS);
    for (start, end) in host {
        bytes.host_writes(*start, end - start);
    }
    let mut intervals = History::<8>::new(Place::Dram, SIZE, host, &[(0, SIZE / 2), (SIZE / 2 + 7, SIZE)]);
    let mut known = [[0_u32; 8]; THREADS];
    let mut issued = [0_u32; THREADS];
    // Nobody is ever done, and each thread is a unit.
    let floor = |known: &[[u32; 8]; THREADS]| {
        std::array::from_fn(|thread| (0..THREADS).filter(|unit| *unit != thread).map(|unit| known[unit][thread]).min().unwrap())
    };
    let address = Address::at(0);
    for (number, event) in events.iter().enumerate() {
        match *event {
            Event::Learn(one, other) => {
                let mut token = known[other];
                token[other] = issued[other];
                known[one].iter_mut().zip(token).for_each(|(known, seen)| *known = (*known).max(seen));
            }
            Event::Sweep => intervals.sweep(&floor(&known)),
            Event::Touch { thread, start, row_bytes, dimensions: [rows, inner, outer], access } => {
                let outer = [inner, outer].map(|(count, stride)| Dimension { count, stride });
                let region = RegionOf { place: Place::Dram, address: &address, stride: rows.1, rows: rows.0, row_bytes, access, outer };
                let end = start + region.extent().unwrap();
                // No command writes the bytes in the middle.
                if end > SIZE || (access != Access::Read && start < SIZE / 2 + 7 && end > SIZE / 2) {
                    continue;
                }
                issued[thread] += 1;
                let mut by = Accessor { access, thread, command: issued[thread], known: known[thread] };
                by.known[thread] = u32::MAX;
                let before = (bytes.clone(), intervals.clone());
                let plain = bytes.touch(start, &region, thread, issued[thread], &known[thread]);
                let quick = intervals.touch(start, &region.coalesced(), &by, &|| floor(&known));
                prop_assert_eq!(quick, plain.map_err(|(byte, fault)| Refusal::Fault(byte, fault)), "event {}", number);
                if quick.is_err() {
                    (bytes, intervals) = before;
                }
            }
        }
        for byte in (0..SIZE).step_by(13) {
            let plain = (byte..SIZE).find(|byte| bytes.writers[usize::try_from(*byte).unwrap()] == Writer::Nobody);
            prop_assert_eq!(intervals.never_written(byte, SIZE), plain);
        }
        prop_assert!(intervals.is_whole());
    }
    Ok(())
}

// Random programs: two DMA engines and the array's preloads, in loops.

fn addresses(limit: u64) -> impl Strategy<Value = Address> {
    let steps = || prop::collection::vec(prop_oneof![Just(0_u64), Just(8), 0..=16_u64], 0..=2);
    let ring = (1..=4_u64, prop_oneof![Just(8_u64), Just(16)], 0..=3_u64, steps())
        .prop_map(|(slots, slot, first, steps)| Ring { steps, ..Ring::new(slots, slot, first) });
    (prop_oneof![(0..limit / 8).prop_map(|slot| slot * 8), 0..limit], steps(), prop::option::weighted(0.4, ring))
        .prop_map(|(base, steps, ring)| Address { base, steps, ring })
}

fn syncs() -> impl Strategy<Value = Vec<(u32, u32)>> {
    prop::collection::vec((0..3_u32, prop_oneof![3 => Just(0_u32), 1 => 1..=2_u32]), 0..=2)
}

/// What a command of unit `queue` does; semaphores join each pair of units in a ring of their own.
fn commands(queue: u32) -> impl Strategy<Value = Command> {
    let strides = || prop_oneof![Just(8_u64), Just(4), Just(0), 0..=12_u64];
    let transfer = (addresses(48), strides(), addresses(48), strides(), 1..=4_u64, prop_oneof![Just(4_u64), Just(8), 1..=8_u64]).prop_map(
        |(dram, dram_stride, local, local_stride, rows, row_bytes)| Transfer {
            operand: Operand::Input,
            dram,
            dram_stride,
            place: Place::Scratchpad(0, 0),
            local,
            local_stride,
            rows,
            row_bytes,
            coded: None,
            owns_gaps: false,
        },
    );
    let preload = (addresses(48), strides(), 1..=4_u32, 1..=4_u32).prop_map(|(address, stride, inner, cols)| {
        Operation::Preload(Preload { place: Place::Scratchpad(0, 0), address, stride, inner, cols, zero_point: 0, window: None })
    });
    let mv = (transfer, any::<bool>()).prop_map(|(transfer, out)| if out { Operation::Mvout(transfer) } else { Operation::Mvin(transfer) });
    let operation = if queue == 2 {
        prop_oneof![5 => preload, 1 => Just(Operation::Fence)].boxed()
    } else {
        prop_oneof![5 => mv, 1 => Just(Operation::Fence)].boxed()
    };
    (operation, syncs(), syncs()).prop_map(move |(operation, wait, post)| {
        // Unit q waits for semaphores 3q.. and posts those of the next unit.
        let sync = |owner: u32, (index, innermost): (u32, u32)| Sync { semaphore: Semaphore(owner * 3 + index), innermost };
        Command {
            tag: Tag { stage: 0, sample: 0 },
            wait: wait.into_iter().map(|one| sync(queue, one)).collect(),
            operation,
            post: post.into_iter().map(|one| sync((queue + 1) % 3, one)).collect(),
        }
    })
}

fn queues(queue: u32) -> impl Strategy<Value = Vec<Item>> {
    let item = prop_oneof![
        3 => commands(queue).prop_map(Item::Do),
        1 => (0..=4_u64, prop::collection::vec(commands(queue).prop_map(Item::Do), 1..=2))
            .prop_map(|(trips, body)| Item::Repeat(Repeat { trips, body })),
    ];
    let nest = (1..=3_u64, prop::collection::vec(item, 1..=3)).prop_map(|(trips, body)| Item::Repeat(Repeat { trips, body }));
    prop::collection::vec(nest, 1..=2)
}

fn programs() -> impl Strategy<Value = ProgramParts> {
    let dma = |index| UnitId { core: 0, kind: UnitKind::Dma, index };
    let sizes = prop_oneof![4 => Just(400_u64), 1 => 60..=200_u64];
    let host = (prop_oneof![3 => Just(0_u64), 1 => 0..=40_u64], prop_oneof![1 => 0..=60_u64, 3 => Just(400)]);
    (
        queues(0),
        queues(1),
        queues(2),
        prop::collection::vec(0..=3_u32, 9),
        [sizes.clone(), sizes],
        host,
        prop_oneof![1 => 0..=60_usize, 3 => Just(400)],
        0..=60_u64,
    )
        .prop_map(move |(load, store, array, tokens, [dram, pad], (address, bytes), image, output)| ProgramParts {
            queues: vec![
                UnitQueue { unit: dma(0), items: load },
                UnitQueue { unit: dma(1), items: store },
                UnitQueue { unit: UnitId { core: 0, kind: UnitKind::Array, index: 0 }, items: array },
            ],
            semaphores: (tokens.into_iter().enumerate())
                .map(|(number, tokens)| SemaphoreDecl { name: format!("s{number}"), tokens, reason: StallReason::BufferFull })
                .collect(),
            output_stages: Vec::new(),
            vector_ops: Vec::new(),
            host_ops: Vec::new(),
            stages: vec![StageDecl { name: "one".to_string(), mode: 0 }],
            images: vec![Image { place: Place::Scratchpad(0, 0), address: 0, bytes: vec![0; image.min(usize::try_from(pad).unwrap())] }],
            inputs: vec![HostRegion { place: Place::Dram, address, bytes: bytes.min(dram - address) }],
            output: HostRegion { place: Place::Dram, address: 0, bytes: output },
            coded_values: Vec::new(),
            memories: MemorySizes { dram, scratchpads: vec![pad], accumulator: 64 },
            accumulator_element_bytes: 4,
            modes: vec![mode()],
            array_only: false,
        })
}

fn mode() -> ArrayMode {
    let chip = crate::chip::load("edge-16x16", &[]).unwrap();
    let format = chip.format_named("w8a8").unwrap();
    ArrayMode { size: Fill { rows: 4, cols: 4 }, ..ArrayMode::new(&chip, format, &chip.array().dataflows[0]) }
}

/// The program of a small product on a small machine.
fn product(stationary: Stationary, [m, k, n]: [u64; 3], [pad, sums]: [u64; 2]) -> Option<ProgramParts> {
    let name = if stationary == Stationary::Weight { "edge-16x16" } else { "ideal-16x16" };
    let pads: Vec<String> = (0..crate::chip::load(name, &[]).unwrap().scratchpads().len())
        .map(|index| format!("scratchpads.{index}.capacity"))
        .chain(["accumulator.capacity".to_string()])
        .collect();
    let last = pads.len() - 1;
    let size = |index| format!("B({})", if index == last { sums * 1024 } else { pad * 256 });
    let mut sets: Vec<_> = pads.into_iter().enumerate().map(|(index, field)| (field, size(index))).collect();
    sets.extend([("array.rows", "4"), ("array.cols", "4")].map(|(field, value)| (field.to_string(), value.to_string())));
    let chip = crate::chip::load(name, &sets).unwrap();
    let format = chip.format_named("w8a8").unwrap();
    let gemm = Gemm::new([m, k, n], &chip, format, chip.dataflow(stationary).unwrap(), None).unwrap();
    gemm.machine_program(&chip).ok().map(|program| program.parts().clone())
}

/// Takes one wait or post out of a program.
fn spoil(items: &mut [Item], which: &mut usize) {
    for item in items {
        match item {
            Item::Repeat(repeat) => spoil(&mut repeat.body, which),
            Item::Do(command) => {
                for syncs in [&mut command.wait, &mut command.post] {
                    if *which < syncs.len() {
                        syncs.remove(*which);
                        *which = usize::MAX;
                        return;
                    }
                    *which -= syncs.len();
                }
            }
        }
        if *which == usize::MAX {
            return;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: ProptestConfig::default().cases.max(6000),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn intervals_say_what_bytes_say(
        events in prop::collection::vec(events(), 1..=60),
        host in prop::collection::vec((0..SIZE, 0..=SIZE), 0..=3),
        all in prop::option::weighted(0.7, Just((0, SIZE))),
    ) {
        let host: Vec<_> = host.into_iter().map(|(start, bytes)| (start, (start + bytes).min(SIZE))).chain(all).collect();
        play(&events, &host)?;
    }

    #[test]
    fn programs_are_refused_for_what_bytes_refuse_them_for(parts in programs()) {
        prop_assert_eq!(verify(&parts, Order::Played).map(|_| ()), plain_verify(&parts));
    }
    #[test]
    fn products_without_one_wait_or_post_are_refused_for_what_bytes_refuse_them_for(
        stationary in prop_oneof![Just(Stationary::Weight), Just(Stationary::Input), Just(Stationary::Output)],
        size in [1..=20_u64, 1..=20_u64, 1..=20_u64],
        memories in [1..=8_u64, 1..=2_u64],
        spoils in prop::collection::vec(0..40_usize, 0..=2),
    ) {
        let Some(mut parts) = product(stationary, size, memories) else { return Err(TestCaseError::reject("too small a memory")) };
        for mut which in spoils {
            for queue in &mut parts.queues {
                if which != usize::MAX {
                    spoil(&mut queue.items, &mut which);
                }
            }
        }
        prop_assert_eq!(verify(&parts, Order::Played).map(|_| ()), plain_verify(&parts));
    }
}
