//! A value change dump (IEEE 1364) of a stepped run, for a waveform viewer: the clock, what each unit did with each cycle, and the
//! registers of every PE.
//!
//! Not here: the text of the format (the crate `vcd`), and where registers come from (`sim`).

use super::{GemmError, PipelineError};
use crate::chip::{Chip, Dataflow, Format, Stationary};
use crate::counts::StallReason;
use crate::numerics::Dtype;
use crate::program::ArrayMode;
use crate::sim::{Account, PeId, Run, Session};
use crate::units::{Cycles, Hertz};
use std::io::{self, Write};
use vcd::{IdCode, SimulationCommand, TimescaleUnit, Value, VarType, Writer};

/// The most PEs of an array that is dumped: more signals than that no viewer shows to any use.
pub const MAX_DUMP_PES: u64 = 4096;
/// The most values, signals of PEs times cycles, that are looked at for a dump: a file of some gigabytes where all of them change.
pub const MAX_DUMP_VALUES: u64 = 1 << 26;

/// Bits of a sum: any partial sum fits, whatever the format.
const SUM_BITS: u32 = 64;

/// What a dump shows of a machine.
pub(super) struct View {
    clock: Hertz,
    mode: ArrayMode,
    /// Names of the units, in the order of their accounts.
    units: Vec<String>,
}

impl View {
    /// A dump of the array, or of every unit, of a chip with an array of a size to be looked at.
    pub(super) fn new(chip: &Chip, format: &Format, dataflow: &Dataflow, array_only: bool) -> Result<Self, GemmError> {
        let mode = ArrayMode::new(chip, format, dataflow);
        let (rows, cols) = (mode.size.rows, mode.size.cols);
        if u64::from(rows) * u64::from(cols) > MAX_DUMP_PES {
            return Err(GemmError::DumpPes { rows, cols });
        }
        let mut units = vec!["array".to_string()];
        if !array_only {
            units.push("vector".to_string());
            units.extend((0..chip.dma().engines).map(|engine| format!("dma{engine}")));
        }
        Ok(Self { clock: chip.clock(), mode, units })
    }

    /// Judges the length of a run, before anything is written.
    pub(super) fn check(&self, cycles: Cycles) -> Result<(), GemmError> {
        let signals = u64::from(self.mode.size.rows) * u64::from(self.mode.size.cols) * (2 * u64::from(self.mode.depth()) + 1);
        let values = u128::from(signals) * u128::from(cycles.get());
        if values > u128::from(MAX_DUMP_VALUES) {
            return Err(GemmError::DumpLength { cycles: cycles.get(), signals, most: MAX_DUMP_VALUES / signals });
        }
        Ok(())
    }

    /// Runs to the end and writes every change on the way.
    pub(super) fn write(&self, mut session: Session<'_>, dump: &mut impl Write) -> Result<Run, PipelineError> {
        let broken = |error: io::Error| GemmError::Dump { problem: error.to_string() };
        let time = Time::of(self.clock);
        let mut writer = Writer::new(dump);
        let (clock, mut signals) = self.define(&mut writer, &time).map_err(broken)?;
        let mut values = Vec::with_capacity(signals.0.len());
        let mut cycle = 0;
        while let Some(accounts) = session.step()? {
            values.clear();
            self.values(cycle, &accounts, &mut session, &mut values);
            let mut write = || {
                writer.timestamp(time.of_half(2 * cycle))?;
                if cycle == 0 {
                    writer.begin(SimulationCommand::Dumpvars)?;
                }
                writer.change_scalar(clock, true)?;
                signals.change(&mut writer, &values, cycle == 0)?;
                if cycle == 0 {
                    writer.end()?;
                }
                writer.timestamp(time.of_half(2 * cycle + 1))?;
                writer.change_scalar(clock, false)
            };
            write().map_err(broken)?;
            cycle += 1;
        }
        // The last cycle lasts as long as the others.
        writer.timestamp(time.of_half(2 * cycle)).and_then(|()| writer.flush()).map_err(broken)?;
        Ok(session.finish()?)
    }

    /// Writes the header; the clock, and every other signal in the order of [`Self::values`].
    fn define<W: Write>(&self, writer: &mut Writer<W>, time: &Time) -> io::Result<(IdCode, Signals)> {
        // Neither a date nor the host's name: the same run gives the same bytes.
        writer.version("systole")?;
        writer.comment("account: 0 idle, 1 busy, 2 stalled, for the reason whose wire is 1. A register that is x holds a bubble.")?;
        writer.timescale(1, time.unit)?;
        writer.add_module("systole")?;
        let clock = writer.add_wire(1, "clock")?;
        let mut signals = Signals(Vec::new());
        signals.add(writer, VarType::Integer, 64, "cycle")?;
        for unit in &self.units {
            writer.add_module(unit)?;
            signals.add(writer, VarType::Wire, 2, "account")?;
            for reason in StallReason::ALL {
                signals.add(writer, VarType::Wire, 1, reason.name())?;
            }
            if unit == "array" {
                self.define_pes(writer, &mut signals)?;
            }
            writer.upscope()?;
        }
        writer.upscope()?;
        writer.enddefinitions()?;
        Ok((clock, signals))
    }

    fn define_pes<W: Write>(&self, writer: &mut Writer<W>, signals: &mut Signals) -> io::Result<()> {
        // A PE sees activations without their zero point, in one bit more; and -1 and 1 take two bits.
        let activation = self.mode.activation.bits() + 1;
        let weight = if self.mode.weight == Dtype::Binary { 2 } else { self.mode.weight.bits() };
        let (row, col, name) = match self.mode.stationary {
            Stationary::Weight => (activation, weight, "held"),
            Stationary::Input => (weight, activation, "held"),
            Stationary::Output => (activation, weight, "col"),
        };
        for pe in self.pes() {
            writer.add_module(&format!("pe_{}_{}", pe.row, pe.col))?;
            for lane in 0..self.mode.depth() {
                signals.add(writer, VarType::Integer, row, &format!("row_{lane}"))?;
            }
            for lane in 0..self.mode.depth() {
                signals.add(writer, VarType::Integer, col, &format!("{name}_{lane}"))?;
            }
            signals.add(writer, VarType::Integer, SUM_BITS, "sum")?;
            writer.upscope()?;
        }
        Ok(())
    }

    /// Every signal's value in a cycle, in the order of [`Self::define`]; None is x.
    fn values(&self, cycle: u64, accounts: &[Account], session: &mut Session<'_>, values: &mut Vec<Option<i64>>) {
        values.push(i64::try_from(cycle).ok());
        for (unit, account) in self.units.iter().zip(accounts) {
            values.push(Some(match account {
                Account::Idle => 0,
                Account::Busy => 1,
                Account::Stalled(_) => 2,
            }));
            values.extend(StallReason::ALL.map(|reason| Some(i64::from(*account == Account::Stalled(reason)))));
            if unit == "array" {
                for pe in self.pes() {
                    let registers = session.probe(pe);
                    for elements in [&registers.row, &registers.col] {
                        let lane = |lane: u32| elements.as_ref()?.get(lane as usize).copied();
                        values.extend((0..self.mode.depth()).map(lane));
                    }
                    values.push(registers.sum);
                }
            }
        }
    }

    fn pes(&self) -> impl Iterator<Item = PeId> + use<> {
        let (rows, cols) = (self.mode.size.rows, self.mode.size.cols);
        (0..rows).flat_map(move |row| (0..cols).map(move |col| PeId { row, col }))
    }
}

/// When a cycle is, in units of the dump. An edge is rounded to the nearest unit, each by itself, so that no error adds up where the clock's
/// period is no whole number of them.
struct Time {
    unit: TimescaleUnit,
    per_second: u64,
    clock: Hertz,
}

impl Time {
    /// Picoseconds; nanoseconds for a slow clock, so that the longest run fits the 63 bits of a viewer.
    fn of(clock: Hertz) -> Self {
        let (unit, per_second) =
            if clock.get() < 1_000_000 { (TimescaleUnit::NS, 1_000_000_000) } else { (TimescaleUnit::PS, 1_000_000_000_000) };
        Self { unit, per_second, clock }
    }

    /// When a half of a cycle starts; two make a cycle.
    fn of_half(&self, half: u64) -> u64 {
        let hertz = u128::from(self.clock.get());
        let time = (u128::from(half) * u128::from(self.per_second / 2) + hertz / 2) / hertz;
        u64::try_from(time).expect("bug: a dump longer than 2^64 units of time; please report it")
    }
}

/// A signal: what it is called in the dump, its bits, and its last value, None being x.
struct Signal {
    id: IdCode,
    bits: u32,
    last: Option<i64>,
}

struct Signals(Vec<Signal>);

impl Signals {
    fn add<W: Write>(&mut self, writer: &mut Writer<W>, kind: VarType, bits: u32, name: &str) -> io::Result<()> {
        let id = writer.add_var(kind, bits, name, None)?;
        self.0.push(Signal { id, bits, last: None });
        Ok(())
    }

    /// Writes the values that are not as before; all of them the first time.
    fn change<W: Write>(&mut self, writer: &mut Writer<W>, values: &[Option<i64>], is_first: bool) -> io::Result<()> {
        for (signal, value) in self.0.iter_mut().zip(values) {
            if signal.last == *value && !is_first {
                continue;
            }
            signal.last = *value;
            match value {
                Some(value) if signal.bits == 1 => writer.change_scalar(signal.id, *value == 1)?,
                Some(value) => writer.change_vector(signal.id, bits_of(*value, signal.bits))?,
                None => writer.change_vector(signal.id, [Value::X])?,
            }
        }
        Ok(())
    }
}

/// The bits of a number, the highest first. A reader puts zeros before a vector that is too short, so those need not be written.
fn bits_of(value: i64, width: u32) -> impl Iterator<Item = Value> {
    let written = if value < 0 { width } else { (i64::BITS - value.leading_zeros()).max(1) };
    assert!(written <= width && (value >= 0 || value >> (width - 1) == -1), "bug: {value} in {width} bits; please report it");
    (0..written).rev().map(move |bit| Value::from(value >> bit & 1 == 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(value: i64, width: u32) -> String {
        bits_of(value, width).map(|bit| bit.to_string()).collect()
    }

    #[test]
    fn numbers_are_two_s_complement_without_leading_zeros() {
        let cases = [(0, 9, "0"), (5, 9, "101"), (-1, 3, "111"), (-4, 3, "100"), (i64::MIN, 64, &format!("1{}", "0".repeat(63)))];
        for (value, width, wanted) in cases {
            assert_eq!(written(value, width), wanted);
        }
    }

    #[test]
    #[should_panic(expected = "bug: -5 in 3 bits")]
    fn a_number_that_does_not_fit_is_a_bug() {
        written(-5, 3);
    }

    #[test]
    fn edges_are_where_the_clock_has_them() {
        let halves = |hertz| (0..5).map(|half| Time::of(Hertz::new(hertz)).of_half(half)).collect::<Vec<_>>();
        assert_eq!(halves(1_000_000_000), [0, 500, 1000, 1500, 2000]);
        // 700 MHz: 714.28 ps each.
        assert_eq!(halves(700_000_000), [0, 714, 1429, 2143, 2857]);
        assert_eq!(Time::of(Hertz::new(700_000_000)).of_half(1_400_000_000), 1_000_000_000_000);
        assert_eq!(halves(1), [0, 500_000_000, 1_000_000_000, 1_500_000_000, 2_000_000_000]);
        // The longest run of the slowest clock, one PE of one lane.
        assert!(i64::try_from(Time::of(Hertz::new(1)).of_half(2 * MAX_DUMP_VALUES / 3)).is_ok());
        assert!(i64::try_from(Time::of(Hertz::new(1_000_000)).of_half(2 * MAX_DUMP_VALUES / 3)).is_ok());
    }
}
