//! A trace of requests through a chip's DRAM: read line by line, replayed, priced.
//!
//! A line is `R` or `W`, the address of a byte in hexadecimal, and, if the request is not to enter before it, a cycle of DRAM's command
//! clock. It stands for the burst that holds the byte. Empty lines, and what follows a `#`, say nothing. Not here: how the requests are
//! served (`sim::dram`), and opening the file (`cli`).

use super::PipelineError;
use crate::chip::{Action, Banked, Chip, Dram};
use crate::energy::EnergyTable;
use crate::report::{DramReport, ratio};
use crate::sim::dram::{LAST_ENTRY, Replay, Replayed};
use std::io::BufRead;
use thiserror::Error;

/// The most bytes of a line: an address and a cycle have a few dozen.
const LONGEST_LINE: usize = 200;
const A_LINE: &str = "a line is R or W, an address in hexadecimal and, if it likes, a cycle: `R 0x3f40 1200`";

/// Why a trace is not replayed.
#[derive(Debug, Error)]
pub enum DramError {
    /// The chip's DRAM has no banks.
    #[error(
        "the DRAM of the chip \"{chip}\" is Ideal, which has no banks to replay a trace on\n  help: give it some, as by --set 'dram=Banked(preset: \"DDR4-2400\", channels: 1, queue_depth: 32, starvation_cap: 16, page: Open, mapping: RoRaBaCoBgCh)'"
    )]
    Ideal {
        /// The chip.
        chip: String,
    },
    /// A line is wrong.
    #[error("{trace}:{line}: {what}\n  help: {help}")]
    Line {
        /// The trace as it was named.
        trace: String,
        /// The line, from 1.
        line: u64,
        /// What is wrong, with the value.
        what: String,
        /// What to write.
        help: String,
    },
    /// There is no request in it.
    #[error("{trace}: the trace has no request in it\n  help: {A_LINE}")]
    Empty {
        /// The trace as it was named.
        trace: String,
    },
    /// It cannot be read to its end.
    #[error("{trace}: the trace cannot be read after line {line}: {reason}\n  help: check the path, and that the disk is sound")]
    Unreadable {
        /// The trace as it was named.
        trace: String,
        /// Lines that were read.
        line: u64,
        /// What the system says.
        reason: String,
    },
}

/// Replays `trace`, which messages call `name`, on the chip's DRAM, all banks closed at the start.
///
/// # Errors
/// If the chip's DRAM has no banks, a line of the trace is wrong (the first that is), or it cannot be read.
pub fn dram(chip: &Chip, trace: &mut impl BufRead, name: &str) -> Result<DramReport, PipelineError> {
    let Dram::Banked(banked) = chip.dram() else {
        return Err(DramError::Ideal { chip: chip.name().to_string() }.into());
    };
    let table = EnergyTable::resolve(chip)?;
    let replayed = replay(banked, trace, name)?;
    Ok(report(chip, banked, &table, &replayed))
}

fn replay(banked: &Banked, trace: &mut impl BufRead, name: &str) -> Result<Replayed, DramError> {
    let capacity = banked.capacity_bytes();
    let mut replay = Replay::new(banked);
    let mut requests = 0_u64;
    let mut bytes = Vec::with_capacity(LONGEST_LINE + 1);
    for line in 1.. {
        bytes.clear();
        let failed = |error: std::io::Error| DramError::Unreadable { trace: name.to_string(), line: line - 1, reason: error.to_string() };
        if read_line(trace, &mut bytes).map_err(failed)? == 0 {
            break;
        }
        let wrong = |what: String, help: String| DramError::Line { trace: name.to_string(), line, what, help };
        if bytes.len() > LONGEST_LINE {
            return Err(wrong(format!("the line has more than {LONGEST_LINE} bytes before any #"), A_LINE.to_string()));
        }
        let Some(request) = parse(&bytes, capacity).map_err(|(what, help)| wrong(what, help))? else { continue };
        replay.push(request.address, request.is_write, request.earliest);
        requests += 1;
    }
    if requests == 0 {
        return Err(DramError::Empty { trace: name.to_string() });
    }
    Ok(replay.finish())
}

/// Reads the next line up to a `#`, with its end where there is none, and goes past the rest of it; no more than a line may have and one byte are
/// kept. Returns how many bytes the line had, 0 at the end.
fn read_line(trace: &mut impl BufRead, line: &mut Vec<u8>) -> std::io::Result<u64> {
    let (mut read, mut is_said) = (0, false);
    loop {
        let held = match trace.fill_buf() {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            held => held?,
        };
        let end = place_of(held, b'\n').map_or(held.len(), |end| end + 1);
        let says = place_of(&held[..end], b'#').unwrap_or(end);
        if !is_said {
            line.extend_from_slice(&held[..says.min(LONGEST_LINE + 1 - line.len())]);
        }
        is_said |= says < end;
        let is_last = held.is_empty() || held[end - 1] == b'\n';
        read += end as u64;
        trace.consume(end);
        // A line that is too long is read no further: it is an error.
        if is_last || line.len() > LONGEST_LINE {
            return Ok(read);
        }
    }
}

fn place_of(bytes: &[u8], wanted: u8) -> Option<usize> {
    bytes.iter().position(|byte| *byte == wanted)
}

/// A line's request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Line {
    address: u64,
    is_write: bool,
    earliest: u64,
}

/// What a line asks for, nothing where it is empty; else what is wrong and what to write.
fn parse(bytes: &[u8], capacity: u64) -> Result<Option<Line>, (String, String)> {
    let wrong = |what: String| (what, A_LINE.to_string());
    let text = std::str::from_utf8(bytes).map_err(|_| wrong("the line is not text".to_string()))?;
    let text = text.split('#').next().unwrap_or_default();
    let mut words = text.split_ascii_whitespace();
    let Some(kind) = words.next() else { return Ok(None) };
    let is_write = match kind {
        "R" => false,
        "W" => true,
        _ => return Err(wrong(format!("the line begins with {}, not with R or W", quoted(kind)))),
    };
    let written = words.next().ok_or_else(|| wrong(format!("no address follows the {kind}")))?;
    let digits = written.strip_prefix("0x").or_else(|| written.strip_prefix("0X")).unwrap_or(written);
    let is_number = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    if !is_number {
        return Err(wrong(format!("the address is {}, not a number in hexadecimal", quoted(written))));
    }
    let address = u64::from_str_radix(digits.trim_start_matches('0'), 16).or_else(|error| match error.kind() {
        std::num::IntErrorKind::Empty => Ok(0),
        _ => Err(()),
    });
    let Some(address) = address.ok().filter(|address| *address < capacity) else {
        let help = format!(
            "the chip's DRAM has {capacity} bytes, of which the last is {:#x}; dram.channels and dram.organisation say so",
            capacity - 1
        );
        return Err((format!("the address {} lies beyond DRAM", quoted(written)), help));
    };
    let earliest = match words.next() {
        None => 0,
        Some(word) => {
            let is_number = word.bytes().all(|digit| digit.is_ascii_digit());
            let cycle = word.parse().ok().filter(|cycle| is_number && *cycle <= LAST_ENTRY);
            cycle.ok_or_else(|| {
                let help = format!("write a cycle of DRAM's command clock, from 0 to {LAST_ENTRY}, or leave it out");
                (format!("the cycle is {}, not a whole number from 0 to {LAST_ENTRY}", quoted(word)), help)
            })?
        }
    };
    if let Some(word) = words.next() {
        return Err(wrong(format!("{} follows the cycle", quoted(word))));
    }
    Ok(Some(Line { address, is_write, earliest }))
}

/// A word of the trace for a message: in quotes, cut, and without what a terminal would take for a command.
fn quoted(word: &str) -> String {
    const SHOWN: usize = 40;
    let start: String = word.chars().take(SHOWN).collect();
    format!("\"{}{}\"", start.escape_debug(), if start.len() < word.len() { "..." } else { "" })
}

fn report(chip: &Chip, banked: &Banked, table: &EnergyTable, replayed: &Replayed) -> DramReport {
    let Replayed { counts, dram_cycles } = *replayed;
    let burst = u64::from(banked.organisation.burst_bytes());
    let did = [
        (Action::DramReadByte, counts.reads * burst),
        (Action::DramWriteByte, counts.writes * burst),
        (Action::DramActivate, counts.activates),
        (Action::DramRefresh, counts.refreshes),
    ];
    let energy = |(action, count): (Action, u64)| {
        let entry = table.entry(action).unwrap_or_else(|| unreachable!("bug: DRAM did {action:?}, which has no energy; please report it"));
        entry.picojoules * count as f64
    };
    let seconds = dram_cycles as f64 / banked.clock().as_f64();
    DramReport {
        chip: chip.name().to_string(),
        dram_cycles,
        reads: counts.reads,
        writes: counts.writes,
        row_hits: counts.row_hits,
        row_misses: counts.row_misses,
        row_conflicts: counts.row_conflicts,
        refreshes: counts.refreshes,
        bandwidth_bytes_per_s: ratio(((counts.reads + counts.writes) * burst) as f64, seconds),
        peak_bytes_per_s: banked.peak_bytes_per_s() as f64,
        energy_pj: did.into_iter().map(energy).sum(),
        average_latency_cycles: ratio(counts.read_latency_cycles as f64, counts.reads as f64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAPACITY: u64 = 1 << 33;

    #[test]
    fn lines_are_read() {
        let line = |address, is_write, earliest| Ok(Some(Line { address, is_write, earliest }));
        for (text, wanted) in [
            ("R 0x40\n", line(64, false, 0)),
            ("W 1ffffffff 12", line(CAPACITY - 1, true, 12)),
            ("  R\t0X0 0 # first\r\n", line(0, false, 0)),
            ("R 00000000000000000000000000000000000040", line(64, false, 0)),
            ("", Ok(None)),
            ("# R 0\n", Ok(None)),
            (" \t\n", Ok(None)),
        ] {
            assert_eq!(parse(text.as_bytes(), CAPACITY), wanted, "{text:?}");
        }
    }

    #[test]
    fn what_follows_a_hash_may_be_of_any_length() {
        let chip = crate::chip::load("edge-16x16-ddr4", &[]).unwrap();
        let long = "x".repeat(1 << 20);
        let text = format!("# {long}\nR 0x40 # {long}\nW 0x80 #\n#{long}");
        // In pieces of 7 bytes, as a pipe may give them.
        for size in [7, 1 << 16] {
            let report = dram(&chip, &mut std::io::BufReader::with_capacity(size, text.as_bytes()), "t").unwrap();
            assert_eq!((report.reads, report.writes), (1, 1));
        }
        for text in [format!("R {long}"), format!("R 0x40\n{}R 0 # a", " ".repeat(300))] {
            let message = dram(&chip, &mut text.as_bytes(), "t").unwrap_err().to_string();
            assert!(message.contains("the line has more than 200 bytes before any #"), "{message}");
        }
        assert!(
            dram(&chip, &mut "\u{e9} # a".as_bytes(), "t").is_err()
                && dram(&chip, &mut &[b'#', 0xff, b'\n', b'R', b' ', b'0'][..], "t").is_ok()
        );
    }

    proptest::proptest! {
        #![proptest_config(proptest::test_runner::Config { failure_persistence: None, ..Default::default() })]

        #[test]
        fn bytes_of_any_kind_never_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..60), text in "[RW] (0x)?[0-9a-fA-F]{0,20}( [0-9]{0,22})?") {
            let _ = parse(&bytes, CAPACITY);
            let _ = parse(text.as_bytes(), CAPACITY);
        }
    }

    #[test]
    fn lines_that_are_wrong_say_what_and_what_to_write() {
        for (text, words) in [
            ("R", "no address follows the R"),
            ("X 0", "begins with \"X\", not with R or W"),
            ("read 0", "begins with \"read\""),
            ("r 0", "begins with \"r\""),
            ("0x40 R", "begins with \"0x40\""),
            ("R 0x", "the address is \"0x\", not a number in hexadecimal"),
            ("R -1", "the address is \"-1\""),
            ("R +1", "the address is \"+1\""),
            ("R 0x40g", "the address is \"0x40g\""),
            ("R 200000000", "the address \"200000000\" lies beyond DRAM"),
            ("R ffffffffffffffffffffffff", "lies beyond DRAM"),
            ("R 0 -1", "the cycle is \"-1\""),
            ("R 0 +1", "the cycle is \"+1\""),
            ("R 0 0x10", "the cycle is \"0x10\""),
            ("R 0 1152921504606846977", "not a whole number from 0 to 1152921504606846976"),
            ("R 0 99999999999999999999999", "the cycle is"),
            ("R 0 1 2", "\"2\" follows the cycle"),
            ("R \u{1b}[2J", "the address is \"\\u{1b}[2J\""),
        ] {
            let (what, help) = parse(text.as_bytes(), CAPACITY).unwrap_err();
            assert!(what.contains(words) && !help.is_empty(), "{text:?}: {what}");
        }
        assert!(parse(&[b'R', b' ', 0xff], CAPACITY).unwrap_err().0.contains("not text"));
    }
}
