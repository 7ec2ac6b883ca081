//! A timeline of one program in Chrome's Trace Event Format, for ui.perfetto.dev. A microsecond of the file is one cycle of the
//! core's clock, so that all times are whole and exact.
//!
//! A process a unit: its account as slices, one of `busy`, `idle` or a reason to stall after the other, and its commands, on as many tracks as it
//! has of them under way at a time. A token is a flow from the command that posted it to the one that took it. A last process has counters:
//! bytes a cycle on DRAM's bus, and bytes of each memory that are taken. All of it is what the machine did in a run without numbers, which
//! takes the same cycles as any other. Not here: what a unit does (`sim`).

use super::{PipelineError, Prepared, RunOptions};
use crate::chip::{Chip, Format};
use crate::program::{Place, Program};
use crate::sim::{Account, CommandRun, Machine, Run, Watched};
use crate::topology::Table;
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::ops::ControlFlow;

/// The most slices of accounts, and the most commands, of a trace: its file then has some hundred megabytes. What comes later is left out.
pub const MAX_TRACE_SLICES: usize = 1 << 18;

/// Stretches of cycles over which DRAM's bytes are averaged, at most.
const MAX_STRETCHES: u64 = 1 << 12;

/// What a trace holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Traced {
    /// Cycles of the program that it shows, from the first on.
    pub cycles: u64,
    /// Cycles of the program.
    pub total_cycles: u64,
}

/// Writes the timeline of one program of a prepared run.
///
/// # Errors
/// If it cannot be written.
pub fn trace(prepared: &Prepared<'_>, out: &mut impl Write) -> Result<Traced, PipelineError> {
    trace_program(prepared.chip, prepared.format, &prepared.program, out)
}

/// Writes the timeline of a layer table's program.
///
/// # Errors
/// As [`super::time_table`], or if it cannot be written.
pub fn trace_table(chip: &Chip, table: &Table, options: &RunOptions, out: &mut impl Write) -> Result<Traced, PipelineError> {
    let (format, program) = super::table::table_program(chip, table, options)?;
    trace_program(chip, format, &program, out)
}

/// Writes the timeline of a program.
///
/// # Errors
/// If the program is not for the chip, or the timeline cannot be written.
///
/// # Panics
/// If the machine does something else when it is watched, which would be a bug.
pub fn trace_program(chip: &Chip, format: &Format, program: &Program, out: &mut impl Write) -> Result<Traced, PipelineError> {
    let machine = Machine::new(chip, format, program)?;
    let run = machine.time()?;
    let total_cycles = run.total_cycles.get();
    let mut slices = Slices { open: vec![None; run.units.len()], done: Vec::new() };
    let mut bus = Bus { stretch: total_cycles.div_ceil(MAX_STRETCHES).max(1).next_power_of_two(), crossed: 0, bytes: vec![0] };
    let watched = machine.time_watched(MAX_TRACE_SLICES, |cycle| {
        let tick = cycle.tick.get();
        slices.add(tick, cycle.accounts);
        bus.add(tick, cycle.bus_bytes);
        if slices.done.len() < MAX_TRACE_SLICES { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    if let Some(seen) = &watched.run {
        assert_eq!(*seen, run, "bug: a machine that is watched does something else; please report it");
    }
    let cycles = watched.cycles.get();
    slices.close(cycles);
    let file = File { chip, program, run: &run, watched: &watched, slices: &slices.done, bus: &bus };
    file.write(out).map_err(|error| PipelineError::Trace { problem: error.to_string() })?;
    Ok(Traced { cycles, total_cycles })
}

/// Cycles of a unit with one account, one behind the other.
struct Slice {
    unit: usize,
    account: Account,
    from: u64,
    cycles: u64,
}

/// The accounts of all units.
struct Slices {
    /// Each unit's account of the last cycle, and since when it has it.
    open: Vec<Option<(Account, u64)>>,
    done: Vec<Slice>,
}

impl Slices {
    fn add(&mut self, tick: u64, accounts: &[Account]) {
        for (unit, (open, account)) in self.open.iter_mut().zip(accounts).enumerate() {
            match *open {
                Some((before, _)) if before == *account => continue,
                Some((before, from)) => self.done.push(Slice { unit, account: before, from, cycles: tick - from }),
                None => {}
            }
            *open = Some((*account, tick));
        }
    }

    fn close(&mut self, end: u64) {
        for (unit, open) in self.open.iter_mut().enumerate() {
            if let Some((account, from)) = open.take() {
                self.done.push(Slice { unit, account, from, cycles: end - from });
            }
        }
    }
}

/// Bytes on DRAM's bus, a sum for each stretch of cycles.
struct Bus {
    stretch: u64,
    crossed: u64,
    bytes: Vec<u64>,
}

impl Bus {
    fn add(&mut self, tick: u64, crossed: u64) {
        while tick / self.stretch >= self.bytes.len() as u64 {
            self.bytes.push(0);
        }
        if let Some(last) = self.bytes.last_mut() {
            *last += crossed - self.crossed;
        }
        self.crossed = crossed;
    }
}

/// An event as the format has it.
#[derive(Serialize, Default)]
struct Event<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    cat: &'a str,
    ph: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    ts: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dur: Option<u64>,
    pid: u64,
    tid: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bp: Option<&'a str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    args: BTreeMap<&'a str, serde_json::Value>,
}

/// What the whole file says of itself.
#[derive(Serialize)]
struct About<'a> {
    chip: &'a str,
    clock_hz: u64,
    time: &'a str,
    total_cycles: u64,
    traced_cycles: u64,
}

/// Events, one a line, behind one another.
struct Lines<'w, W: Write> {
    out: &'w mut W,
    is_first: bool,
}

impl<W: Write> Lines<'_, W> {
    fn put(&mut self, event: &Event<'_>) -> io::Result<()> {
        self.out.write_all(if std::mem::take(&mut self.is_first) { b"\n" } else { b",\n" })?;
        Ok(serde_json::to_writer(&mut *self.out, event)?)
    }

    /// A name of a process or a track.
    fn name(&mut self, what: &str, pid: u64, tid: u64, name: &str) -> io::Result<()> {
        self.put(&Event { name: what, ph: "M", pid, tid, args: BTreeMap::from([("name", name.into())]), ..Event::default() })
    }
}

/// The file, before it is written.
struct File<'a> {
    chip: &'a Chip,
    program: &'a Program,
    run: &'a Run,
    watched: &'a Watched,
    slices: &'a [Slice],
    bus: &'a Bus,
}

impl File<'_> {
    fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let about = About {
            chip: self.chip.name(),
            clock_hz: self.chip.clock().get(),
            time: "1 us is 1 cycle of the core clock",
            total_cycles: self.run.total_cycles.get(),
            traced_cycles: self.watched.cycles.get(),
        };
        out.write_all(b"{\"displayTimeUnit\":\"ms\",\"otherData\":")?;
        serde_json::to_writer(&mut *out, &about)?;
        out.write_all(b",\"traceEvents\":[")?;
        let mut lines = Lines { out: &mut *out, is_first: true };
        self.write_accounts(&mut lines)?;
        self.write_commands(&mut lines)?;
        self.write_counters(&mut lines)?;
        out.write_all(b"\n]}\n")?;
        out.flush()
    }

    fn write_accounts<W: Write>(&self, lines: &mut Lines<'_, W>) -> io::Result<()> {
        for (unit, run) in self.run.units.iter().enumerate() {
            let pid = process(unit);
            lines.name("process_name", pid, track(pid, 0), &run.unit.to_string())?;
            let order = BTreeMap::from([("sort_index", pid.into())]);
            lines.put(&Event { name: "process_sort_index", ph: "M", pid, tid: track(pid, 0), args: order, ..Event::default() })?;
            lines.name("thread_name", pid, track(pid, 0), "account")?;
        }
        for Slice { unit, account, from, cycles } in self.slices {
            let name = match account {
                Account::Busy => "busy",
                Account::Idle => "idle",
                Account::Stalled(reason) => reason.name(),
            };
            let pid = process(*unit);
            let (ts, dur) = (Some(*from), Some(*cycles));
            lines.put(&Event { name, cat: "account", ph: "X", ts, dur, pid, tid: track(pid, 0), ..Event::default() })?;
        }
        Ok(())
    }

    /// Commands, each on the first track of its unit that is free, and the tokens between them.
    fn write_commands<W: Write>(&self, lines: &mut Lines<'_, W>) -> io::Result<()> {
        let parts = self.program.parts();
        // For each unit, up to when its tracks are taken.
        let mut tracks: Vec<Vec<u64>> = vec![Vec::new(); self.run.units.len()];
        let mut places: Vec<(u64, u64)> = Vec::with_capacity(self.watched.commands.len());
        for command in &self.watched.commands {
            let unit = self.run.units.iter().position(|run| run.unit == command.unit).unwrap_or_default();
            let pid = process(unit);
            let (from, to) = self.span(command);
            let free = tracks[unit].iter().position(|taken| *taken <= from);
            let number = free.unwrap_or(tracks[unit].len());
            if let Some(taken) = tracks[unit].get_mut(number) {
                *taken = to;
            } else {
                tracks[unit].push(to);
                let name = if number == 0 { "commands".to_string() } else { format!("commands {}", number + 1) };
                lines.name("thread_name", pid, track(pid, number + 1), &name)?;
            }
            let tid = track(pid, number + 1);
            places.push((pid, tid));
            let stage = &parts.stages[command.tag.stage as usize].name;
            let operand = command.operand.map_or_else(String::new, |operand| format!(" {}", operand.name()));
            let name = format!("{stage}: {}{operand}", command.operation);
            let mut args = BTreeMap::from([("stage", stage.as_str().into()), ("sample", command.tag.sample.into())]);
            args.extend(command.sizes.iter().map(|(size, value)| (*size, (*value).into())));
            let (ts, dur) = (Some(from), Some(to - from));
            lines.put(&Event { name: &name, cat: "command", ph: "X", ts, dur, pid, tid, args, ..Event::default() })?;
        }
        for (id, token) in self.watched.tokens.iter().enumerate() {
            let name = &parts.semaphores[token.semaphore as usize].name;
            let ends = [("s", token.from, None), ("f", token.to, Some("e"))];
            for (ph, command, bp) in ends {
                let (from, to) = self.span(&self.watched.commands[command]);
                let (pid, tid) = places[command];
                // Inside of the slice that it belongs to: a token is posted in the last cycle of a command, and taken in the first.
                let ts = Some(if ph == "s" { to - 1 } else { from });
                lines.put(&Event { name, cat: "token", ph, ts, pid, tid, id: Some(id), bp, ..Event::default() })?;
            }
        }
        Ok(())
    }

    /// From which cycle up to which a command is shown.
    fn span(&self, command: &CommandRun) -> (u64, u64) {
        let last = command.last_tick.map_or(self.watched.cycles.get(), |last| last.get() + 1);
        (command.first_tick.get(), last.max(command.first_tick.get() + 1))
    }

    fn write_counters<W: Write>(&self, lines: &mut Lines<'_, W>) -> io::Result<()> {
        let pid = process(self.run.units.len());
        lines.name("process_name", pid, track(pid, 0), "memories")?;
        let order = BTreeMap::from([("sort_index", pid.into())]);
        lines.put(&Event { name: "process_sort_index", ph: "M", pid, tid: track(pid, 0), args: order, ..Event::default() })?;
        let mut counter = |name: &str, unit: &str, ts: u64, value: serde_json::Value| {
            let args = BTreeMap::from([(unit, value)]);
            lines.put(&Event { name, cat: "counter", ph: "C", ts: Some(ts), pid, tid: track(pid, 0), args, ..Event::default() })
        };
        let end = self.watched.cycles.get();
        let mut before = None;
        for (stretch, bytes) in (0_u64..).zip(&self.bus.bytes) {
            let from = stretch * self.bus.stretch;
            let cycles = self.bus.stretch.min(end - from);
            if before != Some((*bytes, cycles)) {
                before = Some((*bytes, cycles));
                counter("DRAM bus", "bytes_per_cycle", from, (*bytes as f64 / cycles.max(1) as f64).into())?;
            }
        }
        counter("DRAM bus", "bytes_per_cycle", end, 0.0.into())?;
        for memory in &self.watched.occupancy {
            let name = match memory.place {
                Place::Scratchpad(_, index) => format!("scratchpad{index} ({} bytes)", memory.capacity),
                _ => format!("accumulator ({} bytes)", memory.capacity),
            };
            if memory.changes.first().is_none_or(|(tick, _)| tick.get() > 0) {
                counter(&name, "taken_bytes", 0, 0.into())?;
            }
            for (tick, bytes) in &memory.changes {
                counter(&name, "taken_bytes", tick.get(), (*bytes).into())?;
            }
        }
        Ok(())
    }
}

/// The process of a unit.
fn process(unit: usize) -> u64 {
    unit as u64 + 1
}

/// A track of a process; the first has the account. No two processes share a number.
fn track(pid: u64, number: usize) -> u64 {
    pid * 1_000_000 + number as u64
}
