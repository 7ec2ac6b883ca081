//! The front end: commands that start, with their addresses, on their way to the array.

use super::operands::Panel;
use super::{Array, Gather, Load, Loaded, Pass, Sums, Work};
use crate::counts::StallReason;
use crate::program::{Command, Compute, Operation, Place, Preload, Product};
use crate::sim::queue::{Ending, Shared};

impl Array<'_> {
    /// Starts commands whose waits are met, at most one of a kind; tells what the next one waits for.
    pub(super) fn issue(&mut self, shared: &mut Shared<'_>, cycle: u64) -> Option<StallReason> {
        let (mut loads, mut passes) = (0, 0);
        while let Some(command) = self.queue.head().filter(|command| self.is_mine(shared, command)) {
            let first_of_its_kind = match &command.operation {
                Operation::Preload(_) => loads == 0,
                Operation::Compute(_) | Operation::Product(_) => passes == 0,
                _ => loads == 0 && passes == 0,
            };
            if !first_of_its_kind || !self.has_room(&command.operation) {
                return None;
            }
            if let Some(reason) = self.queue.blocked(shared) {
                return Some(reason);
            }
            let counters = self.queue.counters();
            match &command.operation {
                Operation::Preload(preload) => {
                    let address = preload.address.resolve(counters);
                    let from = [address, preload.stride];
                    let gather = preload.window.as_ref().map(|window| self.windows.gather(window, preload.place, from, counters));
                    let ending = self.queue.start(shared, command, cycle);
                    self.issue_load(preload, (address, gather), ending, cycle);
                    loads += 1;
                }
                Operation::Compute(compute) => {
                    let addresses = [compute.stream.resolve(counters), compute.result.resolve(counters)];
                    let from = [addresses[0], compute.stream_stride];
                    let gather = compute.window.as_ref().map(|window| self.windows.gather(window, compute.place, from, counters));
                    let ending = self.queue.start(shared, command, cycle);
                    self.issue_pass(compute, (addresses, gather), ending, cycle);
                    passes += 1;
                }
                Operation::Product(product) => {
                    let addresses =
                        [product.activation.resolve(counters), product.weight.resolve(counters), product.result.resolve(counters)];
                    let (from, place) = ([addresses[0], product.activation_stride], product.activation_place);
                    let gather = product.window.as_ref().map(|window| self.windows.gather(window, place, from, counters));
                    let ending = self.queue.start(shared, command, cycle);
                    self.issue_product(product, (addresses, gather), ending, cycle);
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

    /// Whether a command would start in the next cycle.
    pub(super) fn can_issue(&self, shared: &Shared<'_>) -> bool {
        let issues = |command: &Command| self.is_mine(shared, command) && self.has_room(&command.operation);
        self.queue.head().is_some_and(|command| issues(command) && self.queue.missing(shared).is_none())
    }

    /// Whether a command is of the array's mode: one of another waits until nothing is under way.
    pub(super) fn is_mine(&self, shared: &Shared<'_>, command: &Command) -> bool {
        shared.program.stages[command.tag.stage as usize].mode == self.mode
    }

    fn has_room(&self, operation: &Operation) -> bool {
        let (loads, passes) = (self.next_loads.len() < self.ahead, self.next_passes.len() < self.ahead);
        match operation {
            Operation::Preload(_) => loads,
            Operation::Compute(_) => passes,
            Operation::Product(_) => loads && passes,
            // A fence ends after all that stands before it.
            _ => self.quiet() && self.next_loads.is_empty() && self.next_passes.is_empty(),
        }
    }

    fn latency_of(&self, place: Place) -> u64 {
        match place {
            Place::Scratchpad(_, index) => self.latency[index as usize],
            Place::Accumulator(_) => self.accumulator_latency,
            Place::Dram => 0,
        }
    }

    fn issue_load(&mut self, preload: &Preload, (address, gather): (u64, Option<Gather>), ending: Ending, cycle: u64) {
        self.loads_issued += 1;
        let rows = narrow(self.operands.mode.steps(u64::from(preload.inner)));
        let panel = Panel { address, stride: preload.stride, inner: preload.inner as usize, width: preload.cols as usize };
        self.next_loads.push_back(Load {
            what: Loaded::Tile { ending, place: preload.place, panel, zero_point: short(preload.zero_point), gather },
            rows: u64::from(rows),
            fetched: cycle + self.latency_of(preload.place),
            number: self.loads_issued,
            passes_before: self.passes_issued,
            span: self.timing.load(self.timing.size(rows, preload.cols)),
            start: 0,
        });
    }

    fn issue_pass(&mut self, compute: &Compute, ([stream, result], gather): ([u64; 2], Option<Gather>), ending: Ending, cycle: u64) {
        let rows = narrow(self.operands.mode.steps(u64::from(compute.inner)));
        let swaps = self.last_load != self.loads_issued;
        self.last_load = self.loads_issued;
        let sums = Sums {
            place: compute.place.accumulator_beside(),
            address: result,
            stride: compute.result_stride,
            width: u64::from(compute.cols),
            accumulate: compute.accumulate,
        };
        let steps = u64::from(compute.vectors);
        let size = self.timing.size(rows, compute.cols);
        self.passes_issued += 1;
        self.next_passes.push_back(Pass {
            ending,
            work: Work::Vectors { place: compute.place, stream, stride: compute.stream_stride, inner: compute.inner as usize },
            gather,
            zero_point: short(compute.zero_point),
            sums,
            number: self.passes_issued,
            load: self.loads_issued,
            steps,
            fetched: cycle + self.latency_of(compute.place),
            length: self.timing.length(steps),
            tail: self.timing.tail(size),
            drain: 0,
            swaps,
            rows: rows as usize,
            cols: compute.cols as usize,
            start: 0,
            swap: 0,
            exit: 0,
            exits: 0,
            end: 0,
        });
    }

    fn issue_product(&mut self, product: &Product, (addresses, gather): ([u64; 3], Option<Gather>), ending: Ending, cycle: u64) {
        let [activation, weight, result] = addresses;
        let mode = &self.operands.mode;
        let inner = u64::from(product.inner);
        let steps = mode.steps(inner);
        let (_, width) = mode.result_lines(product.rows, product.cols);
        let place = product.activation_place.accumulator_beside();
        let sums = Sums { place, address: result, stride: product.result_stride, width, accumulate: product.accumulate };
        let size = self.timing.size(product.rows, product.cols);
        let span = self.timing.load(size);
        if span > 0 {
            self.loads_issued += 1;
            self.next_loads.push_back(Load {
                what: Loaded::Biases(sums),
                rows: u64::from(product.rows),
                fetched: cycle + if product.accumulate { self.latency_of(place) } else { 0 },
                number: self.loads_issued,
                passes_before: self.passes_issued,
                span,
                start: 0,
            });
        }
        self.passes_issued += 1;
        let panel = |address, stride, width: u32| Panel { address, stride, inner: product.inner as usize, width: width as usize };
        self.next_passes.push_back(Pass {
            ending,
            work: Work::Product {
                activation_place: product.activation_place,
                activation: panel(activation, product.activation_stride, product.rows),
                weight_place: product.weight_place,
                weight: panel(weight, product.weight_stride, product.cols),
            },
            gather,
            zero_point: short(product.zero_point),
            sums,
            number: self.passes_issued,
            load: self.loads_issued,
            steps,
            fetched: cycle + self.latency_of(product.activation_place).max(self.latency_of(product.weight_place)),
            length: self.timing.length(self.timing.padded(steps)),
            tail: self.timing.tail(size),
            drain: self.timing.drain(size),
            swaps: false,
            rows: product.rows as usize,
            cols: product.cols as usize,
            start: 0,
            swap: 0,
            exit: 0,
            exits: 0,
            end: 0,
        });
    }
}

fn narrow(rows: u64) -> u32 {
    u32::try_from(rows).expect("bug: the verifier lets no pass fill more rows than the array has")
}

fn short(zero_point: i32) -> i16 {
    i16::try_from(zero_point).expect("bug: the verifier lets zero points be of eight bits")
}
