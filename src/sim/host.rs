//! The host: does what no unit of the chip can, from DRAM to DRAM, while the chip waits for it.
//!
//! A command takes the chip's cycles an element of its result, in which all that the host does is contained: it takes no port, no bus and no
//! transfer of the chip's. What it reads and writes in DRAM counts as traffic and as DRAM's actions. Commands run one after the other.

use super::memory::size;
use super::queue::{Did, Ending, Queue, Shared};
use crate::chip::{Chip, Dram, VectorUnit};
use crate::counts::{CycleCounts, StallReason};
use crate::program::{HostInput, HostWork, Operation};

/// A command under way, with its addresses.
struct Work<'p> {
    command: &'p HostWork,
    inputs: Vec<u64>,
    result: u64,
    ending: Ending,
}

/// The host, where the program has work for it.
pub(super) struct Host<'p> {
    queue: Queue<'p>,
    pub(super) cycles: CycleCounts,
    unit: VectorUnit,
    dram: &'p Dram,
    /// Whether a command takes no cycles of its own.
    is_peeled: bool,
    work: Option<Work<'p>>,
    /// The cycles that the command under way has left, the present one included.
    left: u64,
}

impl<'p> Host<'p> {
    pub(super) fn new(queue: Queue<'p>, chip: &'p Chip, is_peeled: bool) -> Self {
        Self { queue, cycles: CycleCounts::default(), unit: *chip.vector(), dram: chip.dram(), is_peeled, work: None, left: 0 }
    }

    pub(super) fn done(&self) -> bool {
        self.queue.head().is_none() && self.work.is_none()
    }

    /// Its queue.
    pub(super) fn queue(&self) -> &Queue<'p> {
        &self.queue
    }

    /// One cycle of the machine.
    pub(super) fn tick(&mut self, shared: &mut Shared<'_>, cycle: u64) -> Did {
        if self.work.is_none() {
            let blocked = self.issue(shared, cycle);
            if self.work.is_none() {
                return self.queue.account_quiet(&mut self.cycles, false, blocked, 1);
            }
        }
        self.left -= 1;
        if self.left == 0
            && let Some(work) = self.work.take()
        {
            if shared.has_numbers {
                work.compute(shared);
            }
            work.count(shared, self.dram);
            work.ending.end(shared, cycle);
        }
        shared.host_works[1] = self.work.is_some();
        self.cycles.busy += 1;
        Did::Moved
    }

    /// Starts the next command if it may; tells what it waits for.
    fn issue(&mut self, shared: &mut Shared<'_>, cycle: u64) -> Option<StallReason> {
        let command = self.queue.head()?;
        if let Some(reason) = self.queue.blocked(shared) {
            return Some(reason);
        }
        let Operation::Host(work) = &command.operation else {
            self.queue.start(shared, command, cycle).end(shared, cycle);
            return None;
        };
        let counters = self.queue.counters();
        let (inputs, result) = (work.inputs.iter().map(|input| input.address.resolve(counters)).collect(), work.result.resolve(counters));
        let cycles = self.unit.host_cycles(work.elements).expect("bug: a program with work for the host is for a chip with one");
        self.left = if self.is_peeled { 1 } else { cycles };
        self.work = Some(Work { command: work, inputs, result, ending: self.queue.start(shared, command, cycle) });
        None
    }

    /// The first cycle, from `next` on, in which a tick would do anything but repeat this one's account; `None` if only a token can wake it.
    pub(super) fn next_event(&self, shared: &Shared<'_>, next: u64) -> Option<u64> {
        match self.work {
            Some(_) => Some(next + self.left - 1),
            None => (self.queue.head().is_some() && self.queue.missing(shared).is_none()).then_some(next),
        }
    }

    /// Lets `cycles` cycles pass in which nothing happens but the account of the last one.
    pub(super) fn skip(&mut self, shared: &Shared<'_>, cycles: u64) {
        if self.work.is_none() {
            let blocked = self.queue.blocked(shared);
            self.queue.account_quiet(&mut self.cycles, false, blocked, cycles);
        } else {
            self.cycles.busy += cycles;
            self.left -= cycles;
        }
    }
}

impl Work<'_> {
    /// Counts the bytes that it reads and writes, by a path of its own beside the chip's bus: each that it wants once, front to back, so that a row of
    /// banked DRAM is activated once for each value that lies in it.
    fn count(&self, shared: &mut Shared<'_>, dram: &Dram) {
        let tag = self.ending.tag;
        let (read, written): (Vec<u64>, u64) = (self.command.inputs.iter().map(HostInput::wanted).collect(), self.command.elements);
        let traffic = &mut shared.accounts.traffic(tag).dram;
        traffic.input.read += read.iter().sum::<u64>();
        traffic.output.write += written;
        let of_bursts = |bytes: u64| match dram {
            Dram::Ideal { .. } => [bytes, 0],
            Dram::Banked(banked) => {
                let (burst, row) = (u64::from(banked.organisation.burst_bytes()), u64::from(banked.organisation.row_bytes));
                [bytes.div_ceil(burst) * burst, bytes.div_ceil(row)]
            }
        };
        let actions = shared.accounts.actions(tag);
        for bytes in read {
            let [on_bus, rows] = of_bursts(bytes);
            actions.dram_read_bytes += on_bus;
            actions.dram_activates += rows;
        }
        let [on_bus, rows] = of_bursts(written);
        actions.dram_write_bytes += on_bus;
        actions.dram_activates += rows;
    }

    /// Reads all values, computes, writes the result.
    fn compute(&self, shared: &mut Shared<'_>) {
        let value = |(input, start): (&HostInput, &u64)| {
            let mut elements = Vec::new();
            input.each(|byte| elements.push(i16::from(i8::from_le_bytes([shared.dram[size(start + byte)]]))));
            elements
        };
        let values: Vec<Vec<i16>> = self.command.inputs.iter().zip(&self.inputs).map(value).collect();
        let values: Vec<&[i16]> = values.iter().map(Vec::as_slice).collect();
        let mut results = vec![0; size(self.command.elements)];
        shared.program.host_ops[self.command.op as usize].apply(&values, &mut results);
        for (byte, y) in shared.dram[size(self.result)..].iter_mut().zip(results) {
            [*byte] = y.to_le_bytes();
        }
        shared.code(self.result, self.command.elements);
    }
}
