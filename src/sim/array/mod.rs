//! The systolic array as a unit: which pass enters when, what it reads and where its sums go, in every dataflow.
//!
//! The array has a clock of its own that stops in a stall: a vector, a row of a tile or a sum that cannot have its port in this cycle
//! freezes every register and the skew with them. At most one `preload` and one `compute` (or `product`) start a cycle, in program order;
//! addresses run ahead of the data, so that a memory's latency is paid only where nothing was under way to hide it.
//!
//! What happens to a pass is known when it enters: all its events are given in the array's own cycles.

mod drives;
mod issue;
mod mesh;
mod movement;
mod operands;
mod peeled;
mod plan;
mod probe;
mod products;
mod recorded;
mod room;
mod shape;
mod timing;
mod window;

pub(super) use movement::rows_touched;
pub use probe::{PeId, Registers};
pub(super) use recorded::ArrayEffect;

use super::accounts::Account;
use super::claims::{Claims, Use};
use super::engine::Numbers;
use super::error::SimError;
use super::machine::Setup;
use super::memory::MAX_PLANNED_BANKS;
use super::queue::{Did, Ending, Queue, Shared};
use crate::counts::{CycleCounts, StallReason};
use crate::program::{Operation, Place, UnitKind};
use drives::Drive;
use operands::{Operands, Panel};
use plan::Plan;
use shape::Shape;
use std::collections::VecDeque;
use timing::Timing;
use window::{Form, Gather, Windows};

/// Something that enters before a pass does: its tile, or its biases.
#[derive(Debug, Clone, Copy)]
struct Load {
    what: Loaded,
    /// Steps that it has: rows of the array.
    rows: u64,
    /// The cycle from which its first row may enter.
    fetched: u64,
    /// Its number; a pass names the load that it needs by it.
    number: u64,
    /// Passes that stand before it in the program.
    passes_before: u64,
    /// Cycles that it takes.
    span: u64,
    /// Its first cycle, on the array's clock.
    start: u64,
}

#[derive(Debug, Clone, Copy)]
enum Loaded {
    Tile { ending: Ending, place: Place, panel: Panel, zero_point: i16, gather: Option<Gather> },
    Biases(Sums),
}

/// Where a pass's sums lie in the accumulator: a line each `stride` bytes.
#[derive(Debug, Clone, Copy)]
struct Sums {
    place: Place,
    address: u64,
    stride: u64,
    /// Elements of a line.
    width: u64,
    /// Whether what lies there is added to.
    accumulate: bool,
}

/// What a pass multiplies.
#[derive(Debug, Clone, Copy)]
enum Work {
    /// Vectors, past a tile that stays.
    Vectors { place: Place, stream: u64, stride: u64, inner: usize },
    /// Activations by weights, where sums stay.
    Product { activation_place: Place, activation: Panel, weight_place: Place, weight: Panel },
}

/// A pass that is to enter, streams, or drains.
#[derive(Debug, Clone, Copy)]
struct Pass {
    ending: Ending,
    work: Work,
    /// Where its activations come from, if they lie as images.
    gather: Option<Gather>,
    zero_point: i16,
    sums: Sums,
    /// Its number, from 1.
    number: u64,
    /// The load that it needs.
    load: u64,
    /// Vectors or steps of K that enter, one a cycle.
    steps: u64,
    fetched: u64,
    /// Cycles that it streams, padding included.
    length: u64,
    /// Cycles from an element's entry to the last output that it is part of.
    tail: u64,
    /// Cycles that its sums take to leave once they are complete.
    drain: u64,
    /// Whether it is the first that streams past its tile.
    swaps: bool,
    /// Rows and columns of the array that it fills.
    rows: usize,
    cols: usize,
    /// Its first cycle, on the array's clock.
    start: u64,
    /// The cycle before which its PEs have finished with it, the skew apart.
    swap: u64,
    /// The cycle in which its first results come out, and how many cycles have results.
    exit: u64,
    exits: u64,
    /// The cycle after its last output, padding included.
    end: u64,
}

/// How what enters and leaves comes by the memories' ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ports {
    /// It needs none.
    Free,
    /// It asks for them cycle by cycle.
    Asked,
    /// It takes them ahead of time: not where every cycle is stepped, and not of memories of too many banks.
    Planned,
}

/// The array.
pub(super) struct Array<'p> {
    queue: Queue<'p>,
    pub(super) cycles: CycleCounts,
    shape: Shape,
    timing: Timing,
    operands: Operands,
    drive: Drive,
    element_bytes: u64,
    /// Latency of each scratchpad, and of the accumulator behind them.
    latency: Vec<u64>,
    accumulator_latency: u64,
    ports: Ports,
    zero_gating: bool,
    accumulator_bits: u64,
    /// The array's own cycle, and the one up to which registers have moved.
    now: u64,
    moved_to: u64,
    /// Loads whose rows are on their way from the memory, in order.
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
    /// When the chain through which sums leave is free.
    chain_free: u64,
    loads_issued: u64,
    loads_done: u64,
    passes_issued: u64,
    passes_started: u64,
    passes_done: u64,
    /// Cycles that passes which have not started will stream at least, one after the other.
    to_stream: u64,
    last_load: u64,
    /// Whether the claims of the array's cycle are made.
    open: bool,
    claims: Claims,
    plan: Plan,
    windows: Windows,
    /// What it does, an index into the program's list.
    mode: u32,
    /// For each element of K of the tile that passes go by now, the columns in which it is not zero; kept where PEs gate zeros.
    held_nonzeros: Vec<u64>,
    /// The last pass that entered, for a probe after its end.
    last_pass: Option<Pass>,
    /// The last pass that ended: its last elements are still to be seen in the cycle in which it does.
    last_ended: Option<Pass>,
}

impl<'p> Array<'p> {
    /// An empty array.
    ///
    /// # Errors
    /// If its registers are more than the host is asked to hold.
    pub(super) fn new(queue: Queue<'p>, setup: &Setup<'p>, line_buffers: Place) -> Result<Self, SimError> {
        let array = setup.chip.array();
        let timing = Timing::new(array, setup.dataflow);
        let mode = *setup.array_mode();
        let operands = Operands::new(mode);
        let shape = Shape::new(array, setup.dataflow, operands.depth());
        // What a load brings, or a pass sums, is in use until the last element that needs it has left.
        let in_flight = shape.window() + super::memory::size(timing.drain(timing.size(mode.size.rows, mode.size.cols)));
        let apart = timing.least_between_loads().max(timing.length(timing.padded(shortest_pass(setup))));
        let loads = if timing.serial() { 3 } else { in_flight / super::memory::size(apart) + 4 };
        let alone = setup.program.array_only;
        let latency: Vec<u64> = setup.chip.scratchpads().iter().map(|pad| if alone { 0 } else { pad.latency.get() }).collect();
        let ahead = super::memory::size(latency.iter().copied().max().unwrap_or(0)) + 2;
        let most_banks = setup.chip.scratchpads().iter().map(|pad| pad.banks).fold(setup.chip.accumulator().banks, u32::max);
        room::check(setup, &shape, loads)?;
        Ok(Self {
            queue,
            cycles: CycleCounts::default(),
            shape,
            timing,
            operands,
            drive: Drive::new(setup, shape, loads),
            element_bytes: setup.program.accumulator_element_bytes,
            latency,
            accumulator_latency: if alone { 0 } else { setup.chip.accumulator().latency.get() },
            ports: match !alone && !setup.peeled.ports {
                false => Ports::Free,
                true if setup.numbers != Numbers::Stepped && most_banks <= MAX_PLANNED_BANKS => Ports::Planned,
                true => Ports::Asked,
            },
            zero_gating: array.zero_gating,
            accumulator_bits: u64::from(setup.format.accumulator_bits),
            now: 0,
            moved_to: 0,
            next_loads: VecDeque::with_capacity(ahead),
            load: None,
            next_passes: VecDeque::with_capacity(ahead),
            ahead,
            passes: VecDeque::with_capacity(loads),
            free_from: 0,
            chain_free: 0,
            loads_issued: 0,
            loads_done: 0,
            passes_issued: 0,
            passes_started: 0,
            passes_done: 0,
            to_stream: to_stream(setup, &timing),
            last_load: 0,
            open: false,
            claims: Claims::new(),
            plan: Plan::default(),
            windows: Windows::new(setup, in_flight as u64, line_buffers),
            mode: setup.mode,
            held_nonzeros: Vec::new(),
            last_pass: None,
            last_ended: None,
        })
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
        if shared.peeled.array {
            return self.tick_peeled(shared, cycle);
        }
        let issued = (self.loads_issued, self.passes_issued);
        let blocked = self.issue(shared, cycle);
        if self.ports == Ports::Planned {
            if issued != (self.loads_issued, self.passes_issued) {
                self.cut_plan(shared, cycle);
            }
            return self.tick_as_planned(shared, blocked, cycle);
        }
        if !self.open {
            self.start(shared, cycle);
            if self.quiet() {
                return self.account_quiet(blocked, 1);
            }
            if self.ports == Ports::Asked {
                self.claim(shared);
                for (tag, place, amount) in self.windows.take_amounts() {
                    amount.count(shared, tag, place, |sum, more| *sum += more);
                }
            }
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

    /// One cycle of the machine, after commands have started, with ports that were taken ahead of time.
    fn tick_as_planned(&mut self, shared: &mut Shared<'_>, blocked: Option<StallReason>, cycle: u64) -> Did {
        if self.plan.account(cycle).is_none() {
            self.start(shared, cycle);
            if self.quiet() {
                return self.account_quiet(blocked, 1);
            }
            self.make_plan(shared, cycle);
        }
        if let Some(Account::Stalled(reason)) = self.plan.account(cycle) {
            self.cycles.stall(reason, 1);
        } else {
            self.advance(shared, cycle);
            self.cycles.busy += 1;
        }
        Did::Moved
    }

    /// The account of cycles in which nothing moves in the array. With it empty, a command that has started and not entered can only wait
    /// for its first row.
    fn account_quiet(&mut self, blocked: Option<StallReason>, cycles: u64) -> Did {
        let fetching = !self.next_loads.is_empty() || !self.next_passes.is_empty();
        self.queue.account_quiet(&mut self.cycles, fetching, blocked, cycles)
    }

    /// Lets the next pass and the next load enter in the array's cycle, where they may.
    fn start(&mut self, shared: &mut Shared<'_>, cycle: u64) {
        if self.may_enter(cycle)
            && let Some(mut pass) = self.next_passes.pop_front()
        {
            self.catch_up(shared, self.now);
            self.passes_started += 1;
            self.to_stream = self.to_stream.saturating_sub(pass.length);
            pass.start = self.now;
            // Sums that stay wait in their PEs until those of the pass before have left the chain.
            pass.swap = (self.now + pass.length).max(if self.timing.sums_stay() { self.chain_free } else { 0 });
            self.free_from = pass.swap;
            if self.timing.sums_stay() {
                self.chain_free = pass.swap + pass.drain;
                (pass.exit, pass.exits) = if pass.drain > 0 { (pass.swap + pass.tail, pass.drain) } else { (pass.swap + pass.tail - 1, 1) };
            } else {
                (pass.exit, pass.exits) = (pass.start + pass.tail, pass.steps);
            }
            pass.end = pass.swap + pass.drain + pass.tail;
            self.gather_pass(shared, &mut pass);
            self.count_pass(shared, &pass);
            self.drive.begin(shared, &pass, self.element_bytes);
            self.last_pass = Some(pass);
            self.passes.push_back(pass);
        }
        if self.load.is_none()
            && self.next_loads.front().is_some_and(|load| self.may_load(load) && load.fetched <= cycle)
            && let Some(mut load) = self.next_loads.pop_front()
        {
            load.start = self.now;
            self.gather_load(shared, &mut load);
            self.count_load(shared, &load);
            self.load = Some(load);
        }
    }

    /// Gathers the activations of a pass that enters, if they lie as images.
    fn gather_pass(&mut self, shared: &mut Shared<'_>, pass: &mut Pass) {
        let Some(gather) = pass.gather.filter(|_| shared.has_numbers) else { return };
        let (mode, pad) = (self.operands.mode, pass.zero_point);
        match &mut pass.work {
            Work::Vectors { place, stream, stride, inner } => {
                let size = (super::memory::size(pass.steps), *inner);
                recorded::fill(shared, self.mode, gather, size, Form::Vectors, pad);
                (*place, *stream) = self.windows.fill(shared, &gather, size, Form::Vectors, pad);
                *stride = mode.vector_bytes(*inner as u64);
            }
            Work::Product { activation_place, activation, .. } => {
                let depth = super::memory::size(mode.activation_steps(activation.inner as u64).1);
                let size = (activation.width, activation.inner);
                recorded::fill(shared, self.mode, gather, size, Form::Panel { depth }, pad);
                (*activation_place, activation.address) = self.windows.fill(shared, &gather, size, Form::Panel { depth }, pad);
                activation.stride = mode.activation_step_bytes(activation.width as u64);
            }
        }
    }

    /// Gathers the activations of a tile that is loaded, if they lie as images.
    fn gather_load(&mut self, shared: &mut Shared<'_>, load: &mut Load) {
        let Loaded::Tile { place, panel, zero_point, gather: Some(gather), .. } = &mut load.what else { return };
        if shared.has_numbers {
            let (mode, size) = (self.operands.mode, (panel.width, panel.inner));
            let form = Form::Panel { depth: mode.lanes as usize };
            recorded::fill(shared, self.mode, *gather, size, form, *zero_point);
            (*place, panel.address) = self.windows.fill(shared, gather, size, form, *zero_point);
            panel.stride = mode.tile_row_bytes(panel.width as u64);
        }
    }

    /// What it does, an index into the program's list.
    pub(super) const fn mode(&self) -> u32 {
        self.mode
    }

    /// What the array is to do next, if that is something else than now and nothing is under way any more.
    pub(super) fn next_mode(&self, shared: &Shared<'_>) -> Option<u32> {
        let mode = shared.program.stages[self.queue.head()?.tag.stage as usize].mode;
        let rests = || self.quiet() && self.next_loads.is_empty() && self.next_passes.is_empty();
        Some(mode).filter(|mode| *mode != self.mode && rests())
    }

    /// Hands its queue and its account to the array in another mode.
    pub(super) fn hand_over(&mut self, other: &mut Self) {
        std::mem::swap(&mut self.queue, &mut other.queue);
        std::mem::swap(&mut self.cycles, &mut other.cycles);
    }

    /// The line buffers that stand beside the scratchpads.
    pub(super) fn line_buffers(&self) -> Option<super::memory::Sram> {
        self.windows.buffers()
    }

    /// Whether the next pass may enter in the array's cycle.
    fn may_enter(&self, cycle: u64) -> bool {
        let Some(pass) = self.next_passes.front() else { return false };
        let free = if self.timing.serial() { self.passes.is_empty() } else { self.now >= self.free_from };
        free && pass.fetched <= cycle && pass.load <= self.loads_done
    }

    /// Whether the passes before a load let it enter: with a chain of its own once they have started, else once they have drained.
    fn may_load(&self, load: &Load) -> bool {
        let passed = if self.timing.loads_beside() { self.passes_started } else { self.passes_done };
        passed >= load.passes_before
    }

    /// The step of the youngest pass that enters in the array's cycle.
    fn entering(&self) -> Option<u64> {
        let pass = self.passes.back()?;
        Some(self.now - pass.start).filter(|step| *step < pass.steps)
    }

    /// Which of the oldest pass's results come out in the array's cycle. Passes come out in order.
    fn leaving(&self) -> Option<u64> {
        let pass = self.passes.front()?;
        self.now.checked_sub(pass.exit).filter(|exit| *exit < pass.exits)
    }

    /// The rows that enter in the array's cycle: the lowest of each entry port's first, as a shift chain takes them.
    fn loading(&self) -> impl Iterator<Item = u64> + use<> {
        let (offset, span, rows) = match &self.load {
            Some(load) => (load.span - 1 - (self.now - load.start), load.span, load.rows),
            None => (0, 1, 0),
        };
        (0..).map(move |port| offset + port * span).take_while(move |row| *row < rows)
    }

    /// One cycle of the array's clock: data enters, every PE works, sums leave.
    fn advance(&mut self, shared: &mut Shared<'_>, cycle: u64) {
        self.open = false;
        if let Some(load) = self.load
            && self.now + 1 == load.start + load.span
        {
            self.loads_done = load.number;
            self.catch_up(shared, self.now + 1);
            if let Loaded::Tile { ending, place, panel, zero_point, .. } = load.what {
                recorded::load(shared, self.mode, place, load.number, panel, zero_point);
                self.drive.load(&mut self.operands, shared.sram(place), load.number, panel, zero_point);
                if self.zero_gating && self.drive.has_numbers() {
                    self.operands.nonzeros(shared.sram(place), panel, zero_point, &mut self.held_nonzeros);
                }
                ending.end(shared, cycle);
            }
            self.load = None;
        }
        // A pass that is shorter than the least still holds its place until that is over.
        while let Some(pass) = self.passes.front()
            && self.now + 1 >= pass.end
        {
            let pass = *pass;
            self.catch_up(shared, self.now + 1);
            recorded::pass(shared, self.mode, &pass);
            self.drive.finish(&mut self.operands, shared, &pass, self.element_bytes);
            pass.ending.end(shared, cycle);
            self.passes_done += 1;
            self.last_ended = self.passes.pop_front();
        }
        self.now += 1;
    }

    /// The first cycle, from `next` on, in which a tick would do anything but repeat this one's account; `None` if only a token can wake
    /// the array.
    pub(super) fn next_event(&self, shared: &Shared<'_>, next: u64) -> Option<u64> {
        if !self.claims.is_empty() || self.can_issue(shared) {
            return Some(next);
        }
        if let Some(event) = self.plan.event(next) {
            return Some(event);
        }
        if self.ports != Ports::Free && (self.load.is_some() || self.entering().is_some()) {
            return Some(next);
        }
        let at = |cycle: u64| next + cycle.saturating_sub(self.now);
        // Without ports, only the ends of loads and passes are events; with them, what is left is to drain.
        let oldest = self.passes.front().map(|pass| match self.ports != Ports::Free {
            true if self.now < pass.exit => at(pass.exit),
            true if self.leaving().is_some() => next,
            _ => at(pass.end - 1),
        });
        let loading = self.load.as_ref().map(|load| at(load.start + load.span - 1));
        let pass = self.next_passes.front().and_then(|pass| {
            let free = if self.timing.serial() { self.passes.is_empty().then_some(next) } else { Some(at(self.free_from)) };
            free.filter(|_| pass.load <= self.loads_done).map(|free| free.max(pass.fetched))
        });
        let load = self.next_loads.front().filter(|load| self.load.is_none() && self.may_load(load)).map(|load| load.fetched.max(next));
        oldest.into_iter().chain(loading).chain(pass).chain(load).min()
    }

    /// Lets `cycles` cycles pass from `next` on in which nothing happens but what is planned, or else the account of the last one.
    pub(super) fn skip(&mut self, shared: &mut Shared<'_>, next: u64, cycles: u64) {
        if self.plan.account(next).is_some() {
            let mut stalled = 0;
            for reason in self.plan.stalls(next, cycles) {
                self.cycles.stall(reason, 1);
                stalled += 1;
            }
            self.cycles.busy += cycles - stalled;
            self.now += cycles - stalled;
        } else if self.quiet() {
            let blocked = self.queue.blocked(shared);
            self.account_quiet(blocked, cycles);
        } else {
            self.cycles.busy += cycles;
            self.now += cycles;
        }
    }

    /// Cycles that are left to the array at least.
    pub(super) fn to_stream(&self) -> u64 {
        self.to_stream
    }

    /// Passes that have ended.
    pub(super) fn passes_done(&self) -> u64 {
        self.passes_done
    }
}

/// Cycles that all passes of a mode stream, one after the other.
fn to_stream(setup: &Setup<'_>, timing: &Timing) -> u64 {
    let mut sum = 0_u64;
    setup.program.each_command_with_trips(UnitKind::Array, &mut |command, trips| {
        let length = match &command.operation {
            Operation::Compute(compute) => timing.length(u64::from(compute.vectors)),
            Operation::Product(product) => timing.length(timing.padded(setup.array_mode().steps(u64::from(product.inner)))),
            _ => 0,
        };
        if setup.is_of_mode(command) {
            sum = sum.saturating_add(length.saturating_mul(trips));
        }
    });
    sum
}

/// The fewest vectors, or steps of K, of any pass of a program.
fn shortest_pass(setup: &Setup<'_>) -> u64 {
    let mut fewest = u64::from(u32::MAX);
    setup.program.each_command(UnitKind::Array, &mut |command| match &command.operation {
        _ if !setup.is_of_mode(command) => {}
        Operation::Compute(compute) => fewest = fewest.min(u64::from(compute.vectors)),
        Operation::Product(product) => fewest = fewest.min(setup.array_mode().steps(u64::from(product.inner))),
        _ => {}
    });
    fewest
}
