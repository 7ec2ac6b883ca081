//! The systolic array as a unit: which pass enters when, what it reads and where its sums go. Weight stationary.
//!
//! The array has a clock of its own that stops in a stall: a vector, a row of a tile or a sum that cannot have its port in this cycle
//! freezes every register and the skew with them. At most one `preload` and one `compute` start a cycle, in program order; addresses run
//! ahead of the data, so that a memory's latency is paid only where nothing was under way to hide it.

mod mesh;
mod movement;
mod products;

use super::claims::{Claims, Use};
use super::machine::Engine;
use super::queue::{Did, Ending, Queue, Shared};
use crate::chip::{Chip, Dataflow, Extent, Overlap, StationaryTiming};
use crate::counts::{CycleCounts, StallReason};
use crate::numerics::AccumulateRule;
use crate::program::{Compute, Operation, Place, Preload};
use mesh::{Mesh, Shape};
use products::Products;
use std::collections::VecDeque;

/// Bits of an activation register: eight and a sign, since the edge has subtracted the zero point.
const ACTIVATION_REGISTER_BITS: u64 = 9;
/// Bits of a weight register.
const WEIGHT_REGISTER_BITS: u64 = 8;

/// A tile that is to be shifted in, or is being.
#[derive(Debug, Clone, Copy)]
struct Load {
    ending: Ending,
    place: Place,
    address: u64,
    stride: u64,
    rows: u32,
    cols: u32,
    /// The cycle from which its first row may enter.
    fetched: u64,
    /// Its number; a pass names the tile that it needs by it.
    tile: u64,
    /// Passes that stand before it in the program.
    passes_before: u64,
    /// Cycles that it takes.
    span: u64,
    /// Its first cycle, on the array's clock.
    start: u64,
}

/// A pass that is to stream, does, or drains.
#[derive(Debug, Clone, Copy)]
struct Pass {
    ending: Ending,
    place: Place,
    stream: u64,
    stream_stride: u64,
    result: u64,
    result_stride: u64,
    vectors: u64,
    rows: u32,
    cols: u32,
    zero_point: i16,
    fetched: u64,
    tile: u64,
    /// Cycles from its first vector to the first of the next pass, at least.
    length: u64,
    /// Cycles from a vector's entry to its last sum.
    tail: u64,
    start: u64,
    /// Whether it is the first that streams past its tile.
    swaps: bool,
}

/// How the array's numbers come about.
#[derive(Debug)]
enum Datapath {
    /// Every register of every PE moves in every cycle.
    Stepped(Mesh),
    /// A pass's sums are computed when the last one comes out.
    Wavefront(Products),
}

/// The array.
pub(super) struct Array<'p> {
    queue: Queue<'p>,
    pub(super) cycles: CycleCounts,
    shape: Shape,
    timing: StationaryTiming,
    rule: AccumulateRule,
    element_bytes: u64,
    /// Latency of each scratchpad.
    latency: Vec<u64>,
    datapath: Datapath,
    /// The array's own cycle.
    now: u64,
    /// Tiles whose rows are on their way from the memory, in order.
    next_loads: VecDeque<Load>,
    load: Option<Load>,
    /// Passes whose first vectors are on their way from the memory, in order.
    next_passes: VecDeque<Pass>,
    /// How many of each may be: enough that a latency is hidden wherever there is something to hide it behind.
    ahead: usize,
    /// Passes that have started and not given their last sum, in order.
    passes: VecDeque<Pass>,
    /// When the next pass may enter.
    free_from: u64,
    tiles_issued: u64,
    tiles_loaded: u64,
    passes_issued: u64,
    passes_started: u64,
    passes_done: u64,
    last_tile: u64,
    /// Whether the claims of the array's cycle are made.
    open: bool,
    claims: Claims,
}

impl<'p> Array<'p> {
    pub(super) fn new(queue: Queue<'p>, chip: &Chip, rule: AccumulateRule, element_bytes: u64, engine: Engine) -> Self {
        let array = chip.array();
        let Dataflow::WeightStationary(timing) = array.dataflows[0] else {
            unreachable!("bug: a dataflow other than weight stationary should have been refused by chip::check");
        };
        let shape = Shape {
            rows: array.rows as usize,
            cols: array.cols as usize,
            row_hop: timing.row_hop as usize,
            col_hop: timing.col_hop as usize,
            registers: timing.pipeline_registers as usize,
        };
        let least = match timing.extent {
            Extent::Physical => timing.load.resolve(array.rows, array.cols).max(timing.min_pass_cycles),
            Extent::Used => timing.min_pass_cycles,
        };
        // A tile is in use from its load until its last vector has left; loads start at least this many cycles apart.
        let in_flight = super::memory::size(shape.tail(shape.rows, shape.cols) + 1);
        let tiles = in_flight / (least as usize).max(1) + 3;
        let latency: Vec<u64> = chip.scratchpads().iter().map(|pad| pad.latency.get()).collect();
        let ahead = super::memory::size(latency.iter().copied().max().unwrap_or(0)) + 2;
        Self {
            queue,
            cycles: CycleCounts::default(),
            shape,
            timing,
            rule,
            element_bytes,
            latency,
            datapath: match engine {
                Engine::Stepped => Datapath::Stepped(Mesh::new(shape, tiles)),
                Engine::Wavefront => Datapath::Wavefront(Products::new(shape.rows, shape.cols, tiles)),
            },
            now: 0,
            next_loads: VecDeque::with_capacity(ahead),
            load: None,
            next_passes: VecDeque::with_capacity(ahead),
            ahead,
            passes: VecDeque::with_capacity(shape.rows + shape.cols + 4),
            free_from: 0,
            tiles_issued: 0,
            tiles_loaded: 0,
            passes_issued: 0,
            passes_started: 0,
            passes_done: 0,
            last_tile: 0,
            open: false,
            claims: Claims::new(),
        }
    }

    /// Whether every command has ended.
    pub(super) fn done(&self) -> bool {
        self.queue.head().is_none() && self.quiet() && self.next_loads.is_empty() && self.next_passes.is_empty()
    }

    /// Its queue.
    pub(super) fn queue(&self) -> &Queue<'p> {
        &self.queue
    }

    /// Nothing moves in the array.
    fn quiet(&self) -> bool {
        self.load.is_none() && self.passes.is_empty()
    }

    /// One cycle of the machine.
    pub(super) fn tick(&mut self, shared: &mut Shared<'_>, cycle: u64) -> Did {
        let blocked = self.issue(shared, cycle);
        if !self.open {
            self.start(cycle);
            if self.quiet() {
                return self.account_quiet(blocked, 1);
            }
            self.claim(shared);
            self.open = true;
        }
        if let Some(reason) = self.claims.take(shared, cycle) {
            self.cycles.stall(reason, 1);
            return Did::Moved;
        }
        self.advance(shared, cycle);
        self.cycles.busy += 1;
        Did::Moved
    }

    /// The account of cycles in which nothing moves in the array. With it empty, a command that has started and not entered can only wait
    /// for its first row.
    fn account_quiet(&mut self, blocked: Option<StallReason>, cycles: u64) -> Did {
        let fetching = !self.next_loads.is_empty() || !self.next_passes.is_empty();
        self.queue.account_quiet(&mut self.cycles, fetching, blocked, cycles)
    }

    /// Starts commands whose waits are met, at most one of a kind; tells what the next one waits for.
    fn issue(&mut self, shared: &mut Shared<'_>, cycle: u64) -> Option<StallReason> {
        let (mut loads, mut passes) = (0, 0);
        while let Some(command) = self.queue.head() {
            let room = match &command.operation {
                Operation::Preload(_) => loads == 0 && self.next_loads.len() < self.ahead,
                Operation::Compute(_) => passes == 0 && self.next_passes.len() < self.ahead,
                _ => loads == 0 && passes == 0,
            };
            if !room {
                return None;
            }
            if let Some(reason) = self.queue.blocked(shared) {
                return Some(reason);
            }
            match &command.operation {
                Operation::Preload(preload) => {
                    let address = preload.address.resolve(self.queue.counters());
                    let ending = self.queue.start(shared, command, cycle);
                    self.issue_load(preload, address, ending, cycle);
                    loads += 1;
                }
                Operation::Compute(compute) => {
                    let counters = self.queue.counters();
                    let addresses = (compute.stream.resolve(counters), compute.result.resolve(counters));
                    let ending = self.queue.start(shared, command, cycle);
                    self.issue_pass(compute, addresses, ending, cycle);
                    passes += 1;
                }
                _ => {
                    let ending = self.queue.start(shared, command, cycle);
                    ending.end(shared, cycle);
                    return None;
                }
            }
        }
        None
    }

    fn latency_of(&self, place: Place) -> u64 {
        match place {
            Place::Scratchpad(_, index) => self.latency[index as usize],
            Place::Accumulator(_) | Place::Dram => 0,
        }
    }

    fn issue_load(&mut self, preload: &Preload, address: u64, ending: Ending, cycle: u64) {
        self.tiles_issued += 1;
        let (rows, cols) = self.extent(preload.rows, preload.cols);
        self.next_loads.push_back(Load {
            ending,
            place: preload.place,
            address,
            stride: preload.stride,
            rows: preload.rows,
            cols: preload.cols,
            fetched: cycle + self.latency_of(preload.place),
            tile: self.tiles_issued,
            passes_before: self.passes_issued,
            span: u64::from(self.timing.load.resolve(rows, cols)),
            start: 0,
        });
    }

    fn issue_pass(&mut self, compute: &Compute, (stream, result): (u64, u64), ending: Ending, cycle: u64) {
        self.passes_issued += 1;
        let (rows, cols) = self.extent(compute.rows, compute.cols);
        let swaps = self.last_tile != self.tiles_issued;
        self.last_tile = self.tiles_issued;
        self.next_passes.push_back(Pass {
            ending,
            place: compute.place,
            stream,
            stream_stride: compute.stream_stride,
            result,
            result_stride: compute.result_stride,
            vectors: u64::from(compute.vectors),
            rows: compute.rows,
            cols: compute.cols,
            zero_point: i16::try_from(compute.zero_point).expect("bug: the verifier lets zero points be of eight bits"),
            fetched: cycle + self.latency_of(compute.place),
            tile: self.tiles_issued,
            length: u64::from(compute.vectors.max(self.timing.min_pass_cycles)),
            tail: self.shape.tail(rows as usize, cols as usize),
            start: 0,
            swaps,
        });
    }

    /// The size that load and tail go by.
    fn extent(&self, rows: u32, cols: u32) -> (u32, u32) {
        match self.timing.extent {
            Extent::Used => (rows, cols),
            Extent::Physical => (narrow(self.shape.rows), narrow(self.shape.cols)),
        }
    }

    /// Lets the next pass and the next tile enter in the array's cycle, where they may.
    fn start(&mut self, cycle: u64) {
        if self.may_enter(cycle)
            && let Some(pass) = self.next_passes.pop_front()
        {
            self.passes_started += 1;
            self.free_from = self.now + pass.length;
            if pass.swaps
                && let Datapath::Stepped(mesh) = &mut self.datapath
            {
                mesh.swap(pass.tile, self.now);
            }
            self.passes.push_back(Pass { start: self.now, ..pass });
        }
        if self.load.is_none()
            && self.next_loads.front().is_some_and(|load| self.may_load(load) && load.fetched <= cycle)
            && let Some(load) = self.next_loads.pop_front()
        {
            match &mut self.datapath {
                Datapath::Stepped(mesh) => mesh.open_tile(load.tile),
                Datapath::Wavefront(products) => products.open_tile(load.tile, load.rows as usize, load.cols as usize),
            }
            self.load = Some(Load { start: self.now, ..load });
        }
    }

    /// Whether the next pass may enter in the array's cycle.
    fn may_enter(&self, cycle: u64) -> bool {
        let Some(pass) = self.next_passes.front() else { return false };
        let free = match self.timing.overlap {
            Overlap::Serial => self.passes.is_empty(),
            Overlap::Pipelined => self.now >= self.free_from,
        };
        free && pass.fetched <= cycle && pass.tile <= self.tiles_loaded
    }

    /// Whether the passes before a tile let it load: with two buffers once they have started, else once they have drained.
    fn may_load(&self, load: &Load) -> bool {
        let beside = self.timing.overlap == Overlap::Pipelined && self.timing.stationary_buffers == 2;
        let passed = if beside { self.passes_started } else { self.passes_done };
        passed >= load.passes_before
    }

    /// The vector of the youngest pass that enters in the array's cycle.
    fn entering(&self) -> Option<u64> {
        let pass = self.passes.back()?;
        Some(self.now - pass.start).filter(|vector| *vector < pass.vectors)
    }

    /// The vector of the oldest pass whose last sum comes out in the array's cycle. Passes come out in order.
    fn leaving(&self) -> Option<u64> {
        let pass = self.passes.front()?;
        (self.now - pass.start).checked_sub(pass.tail).filter(|vector| *vector < pass.vectors)
    }

    /// The rows of the tile that enter in the array's cycle: the lowest of each entry port's first, as a shift chain takes them.
    fn loading(&self) -> impl Iterator<Item = u64> + use<> {
        let (offset, span, rows) = match &self.load {
            Some(load) => (load.span - 1 - (self.now - load.start), load.span, u64::from(load.rows)),
            None => (0, 1, 0),
        };
        (0..).map(move |port| offset + port * span).take_while(move |row| *row < rows)
    }

    /// Lists the memory rows that the array's cycle needs.
    fn claim(&mut self, shared: &Shared<'_>) {
        if let (Some(vector), Some(pass)) = (self.entering(), self.passes.back()) {
            self.claims.add(shared, pass.place, pass.stream + vector * pass.stream_stride, u64::from(pass.rows), Use::Access);
        }
        let rows = self.loading();
        if let Some(load) = &self.load {
            for row in rows {
                self.claims.add(shared, load.place, load.address + row * load.stride, u64::from(load.cols), Use::Access);
            }
        }
        if let (Some(vector), Some(pass)) = (self.leaving(), self.passes.front()) {
            let address = pass.result + vector * pass.result_stride;
            self.claims.add(shared, pass.place.accumulator_beside(), address, u64::from(pass.cols) * self.element_bytes, Use::Update);
        }
    }

    /// One cycle of the array's clock: data enters, every PE works, sums leave.
    fn advance(&mut self, shared: &mut Shared<'_>, cycle: u64) {
        self.open = false;
        if let Datapath::Stepped(mesh) = &mut self.datapath {
            mesh.enter();
        }
        if let Some(vector) = self.entering() {
            self.enter_vector(shared, vector);
        }
        for row in self.loading() {
            self.load_row(shared, row);
        }
        if let Datapath::Stepped(mesh) = &mut self.datapath {
            mesh.step(self.now);
        }
        if let Some(vector) = self.leaving() {
            self.accumulate(shared, vector);
        }
        if let Some(load) = &self.load
            && self.now + 1 == load.start + load.span
        {
            self.tiles_loaded = load.tile;
            load.ending.end(shared, cycle);
            self.load = None;
        }
        // A pass that is shorter than the least still holds its place until that is over.
        while let Some(pass) = self.passes.front()
            && self.now + 1 >= pass.start + pass.length + pass.tail
        {
            pass.ending.end(shared, cycle);
            self.passes_done += 1;
            self.passes.pop_front();
        }
        self.now += 1;
    }

    /// The first cycle, from `next` on, in which a tick would do anything but repeat this one's account; `None` if only a token can wake
    /// the array.
    pub(super) fn next_event(&self, shared: &Shared<'_>, next: u64) -> Option<u64> {
        if !self.claims.is_empty() || self.can_issue(shared) {
            return Some(next);
        }
        if self.load.is_some() || self.entering().is_some() {
            return Some(next);
        }
        // What is left is to drain, and to wait for what comes next: a sum or the end of the oldest pass, the next pass, the next tile.
        let oldest = self.passes.front().map(|pass| match (pass.start + pass.tail).checked_sub(self.now) {
            Some(wait) => next + wait,
            None if self.leaving().is_some() => next,
            None => next + (pass.start + pass.length + pass.tail - 1 - self.now),
        });
        let pass = self.next_passes.front().map(|pass| pass.fetched.max(next + self.free_from.saturating_sub(self.now)));
        let load = self.next_loads.front().filter(|load| self.may_load(load)).map(|load| load.fetched.max(next));
        oldest.into_iter().chain(pass).chain(load).min()
    }

    /// Lets `cycles` cycles pass in which nothing happens but the account of the last one.
    pub(super) fn skip(&mut self, shared: &Shared<'_>, cycles: u64) {
        if self.quiet() {
            let blocked = self.queue.blocked(shared);
            self.account_quiet(blocked, cycles);
        } else {
            self.cycles.busy += cycles;
            self.now += cycles;
        }
    }

    /// Whether a command would start in the next cycle.
    fn can_issue(&self, shared: &Shared<'_>) -> bool {
        self.queue.head().is_some_and(|command| {
            let room = match &command.operation {
                Operation::Preload(_) => self.next_loads.len() < self.ahead,
                Operation::Compute(_) => self.next_passes.len() < self.ahead,
                _ => true,
            };
            room && self.queue.missing(shared).is_none()
        })
    }
}

fn narrow(size: usize) -> u32 {
    u32::try_from(size).expect("bug: an array has at most 512 rows and columns")
}

/// How many rows lie from one to another, both included.
pub(super) fn rows_touched(first: u64, last: u64) -> u64 {
    last - first + 1
}
