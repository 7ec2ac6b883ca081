//! Does DRAM with banks keep its timing, serve everybody, and give the bandwidth that its data sheet allows? (`spacing`: each constraint,
//! blocked a cycle before and allowed on time; `limits`: latency and bandwidth against formulas; `presets`: in
//! chip files; here: against a naive controller.)
//!
//! The longer run: `PROPTEST_CASES=3000 cargo test --release --test dram`.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod limits;
mod naive;
mod presets;
mod spacing;

use naive::Naive;
use proptest::prelude::*;
use systole::chip::{self, Banked, Dram};
use systole::sim::dram::{Command, Completion, Controller, Counts, Logged, Replay, Request};

/// One channel of DDR4-2400, as a chip file says it.
const BANKED: &str = "Banked(preset: \"DDR4-2400\", channels: 1, queue_depth: 32, starvation_cap: 16, page: Open, mapping: RoRaBaCoBgCh)";

/// A preset's DRAM, with fields of `dram` changed.
fn banked(preset: &str, sets: &[(&str, &str)]) -> Banked {
    let dram = BANKED.replace("DDR4-2400", preset);
    let sets = sets.iter().map(|(field, value)| (format!("dram.{field}"), (*value).to_string()));
    let sets: Vec<_> = [("dram".to_string(), dram)].into_iter().chain(sets).collect();
    let chip = chip::load("edge-16x16", &sets).unwrap_or_else(|error| panic!("{error}"));
    match chip.dram() {
        Dram::Banked(banked) => (**banked).clone(),
        Dram::Ideal { .. } => unreachable!(),
    }
}

/// A line of a trace.
#[derive(Debug, Clone, Copy)]
struct Line {
    address: u64,
    is_write: bool,
    earliest: u64,
}

/// What a drive did: every completion in the order of requests, the log, the counts.
type Did = (Vec<u64>, Vec<Logged>, Counts);

/// Drives the controller by cycles: `stride` of them at a time while nothing can enter, as it is asked where that is 0.
fn driven(banked: &Banked, lines: &[Line], stride: u64) -> Did {
    let mut controller = Controller::new(banked);
    controller.keep_log();
    let mut ends = vec![0; lines.len()];
    let mut waiting = 0;
    let (mut cycle, mut next) = (0, 0);
    while next < lines.len() || waiting > 0 {
        while let Some(line) = lines.get(next).filter(|line| line.earliest <= cycle && controller.has_room(line.address)) {
            controller.push(Request { address: line.address, is_write: line.is_write, id: next as u64 }, cycle);
            next += 1;
            waiting += 1;
        }
        // Not past the next entry; and a place that is freed in a cycle is taken in the next.
        let entry = lines.get(next).map(|line| line.earliest).filter(|entry| *entry > cycle);
        let to = match stride {
            0 => controller.next_command().map(|command| command.max(cycle) + 1).into_iter().chain(entry).min().unwrap(),
            _ => cycle + stride,
        };
        controller.advance(to, |Completion { id, end, .. }| {
            ends[usize::try_from(id).unwrap()] = end;
            waiting -= 1;
        });
        cycle = to;
    }
    (ends, controller.log().copied().collect(), controller.counts())
}

/// The same by the naive controller.
fn naively(banked: &Banked, lines: &[Line]) -> Did {
    let places = Controller::new(banked);
    let mut channels: Vec<Naive<'_>> = (0..banked.channels).map(|_| Naive::new(banked)).collect();
    let mut next = 0;
    let mut cycle = 0;
    while next < lines.len() || channels.iter().any(|channel| !channel.is_idle()) {
        while let Some(line) = lines.get(next) {
            let at = places.locate(line.address);
            let channel = &mut channels[at.channel as usize];
            if line.earliest > cycle || !channel.has_room() {
                break;
            }
            channel.enter(at, line.is_write, next as u64);
            next += 1;
        }
        for channel in &mut channels {
            channel.tick(cycle);
        }
        cycle += 1;
    }
    let mut ends = vec![0; lines.len()];
    let mut counts = Counts::default();
    let mut log = Vec::new();
    for (channel, number) in channels.iter().zip(0..) {
        for (id, end) in &channel.done {
            ends[usize::try_from(*id).unwrap()] = *end;
            counts.end = counts.end.max(*end);
        }
        let [hits, misses, conflicts] = channel.hits_misses_conflicts;
        counts.row_hits += hits;
        counts.row_misses += misses;
        counts.row_conflicts += conflicts;
        for event in channel.commands() {
            let is = |commands: &[Command]| u64::from(commands.contains(&event.command));
            counts.reads += is(&[Command::Read, Command::ReadPrecharge]);
            counts.writes += is(&[Command::Write, Command::WritePrecharge]);
            counts.activates += is(&[Command::Activate]);
            counts.refreshes += is(&[Command::Refresh]);
            let naive::Event { cycle, command, bank, row, column, .. } = *event;
            log.push(Logged { cycle, command, channel: number, bank, row, column });
        }
    }
    (ends, log, counts)
}

/// DRAM of any preset with any policy; refreshes often, so that short traces see several, and sometimes a field that is odd.
fn any_banked() -> impl Strategy<Value = Banked> {
    let presets = prop::sample::select(chip::dram_presets());
    let odd = prop::sample::select(vec!["tfaw", "trtp", "twr", "tccd_l", "twtr_l", "trrd_l", "trp_ab", "cwl", "cl", "turnaround"]);
    let policy = (0..7_u32, 1..20_u32, any::<bool>(), prop::sample::select(vec!["RoRaBaCoBgCh", "RoBgBaRaCoCh", "ChRoCoRaBaBg"]));
    (presets, policy, 0..3_u32, 0..2_u32, odd, 1..60_u32, 0..1500_u32).prop_map(
        |(preset, (depth, cap, is_open, mapping), ranks, channels, odd, value, more)| {
            let mut banked = banked(preset, &[("mapping", mapping), ("page", if is_open { "Open" } else { "Closed" })]);
            banked.queue_depth = [1, 2, 3, 5, 8, 32, 64][depth as usize];
            banked.starvation_cap = cap;
            banked.channels = 1 << channels;
            banked.organisation.ranks = 1 << ranks;
            banked.organisation.rows = 4;
            let timing = &mut banked.timing;
            timing.trefi = 2 * timing.trfc + 600 + more;
            // Half of the cases keep the preset's figure.
            if value < 30 {
                match odd {
                    "tfaw" => timing.tfaw = value * 3,
                    "trtp" => timing.trtp = value,
                    "twr" => timing.twr = value,
                    "tccd_l" => timing.tccd_l = timing.tccd_s + value,
                    "twtr_l" => timing.twtr_l = timing.twtr_s + value,
                    "trrd_l" => timing.trrd_l = timing.trrd_s + value,
                    "trp_ab" => timing.trp_ab = timing.trp + value,
                    "cwl" => timing.cwl = value,
                    "cl" => timing.cl = value,
                    _ => timing.turnaround = value,
                }
            }
            banked
        },
    )
}

/// Traces of streams, jumps and repeats, reads and writes, in bursts and with pauses.
fn any_trace() -> impl Strategy<Value = Vec<Line>> {
    let line = (0..4_u8, any::<u32>(), prop::bool::weighted(0.4), 0..40_u64, prop::bool::weighted(0.02));
    prop::collection::vec(line, 1..220).prop_map(|lines| {
        let (mut address, mut earliest) = (0_u64, 0);
        let step = |(kind, jump, is_write, wait, pause): (u8, u32, bool, u64, bool)| {
            address = match kind {
                0 => u64::from(jump),
                1 => address,
                _ => address + 64,
            };
            earliest += if pause { 3000 } else { wait.saturating_sub(30) };
            Line { address, is_write, earliest }
        };
        lines.into_iter().map(step).collect()
    })
}

/// Timing that no device has, and a chip file may say: fields up to `most`.
fn any_timing(most: u32) -> impl Strategy<Value = Banked> {
    let fields = prop::collection::vec(1..=most, 19);
    (any_banked(), fields, 1..=3 * most).prop_map(move |(mut banked, v, more)| {
        let t = &mut banked.timing;
        (t.cl, t.cwl, t.trcd_rd, t.trcd_wr, t.trp, t.tras, t.trrd_s, t.tccd_s, t.twtr_s) =
            (v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7], v[8] - 1);
        (t.trp_ab, t.trc, t.trrd_l, t.tccd_l, t.twtr_l) =
            (v[4].max(v[9]), v[5].max(v[10]), v[6].max(v[11]), v[7].max(v[12]), v[8].max(v[13]));
        (t.tfaw, t.twr, t.trtp, t.trfc, t.turnaround) = (v[14], v[15], v[16], v[17], v[18] - 1);
        t.trefi = t.trfc + t.trp_ab + t.tras.max(t.trcd_rd).max(t.trcd_wr) + t.cl.max(t.cwl) + t.twr + 100 + more;
        banked
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn commands_and_completions_are_the_naive_controller_s(banked in any_banked(), lines in any_trace()) {
        let by_command = driven(&banked, &lines, 0);
        let by_cycle = driven(&banked, &lines, 1);
        prop_assert_eq!(&by_command.0, &by_cycle.0);
        let (ends, log, counts) = naively(&banked, &lines);
        prop_assert_eq!(&by_cycle.0, &ends);
        // The naive one goes on in all channels to the last command of any.
        let until = by_cycle.1.iter().map(|logged| logged.cycle).max().unwrap_or(0);
        let upto = |log: &[Logged]| log.iter().filter(|logged| logged.cycle <= until).copied().collect::<Vec<_>>();
        prop_assert_eq!(upto(&by_cycle.1), upto(&log));
        prop_assert_eq!(Counts { read_latency_cycles: 0, ..by_cycle.2 }, counts);
        let requests = lines.len() as u64;
        prop_assert_eq!(counts.reads + counts.writes, requests);
        prop_assert_eq!(counts.row_hits + counts.row_misses + counts.row_conflicts, requests);
        prop_assert_eq!((by_command.2.reads, by_command.2.row_hits), (counts.reads, counts.row_hits));
    }

    #[test]
    fn odd_timing_is_kept_too(banked in any_timing(100), lines in any_trace()) {
        let (ends, log, _) = driven(&banked, &lines, 0);
        let (naive_ends, naive_log, _) = naively(&banked, &lines);
        prop_assert_eq!(ends, naive_ends);
        let until = log.iter().map(|logged| logged.cycle).max().unwrap_or(0);
        prop_assert_eq!(log, naive_log.into_iter().filter(|logged| logged.cycle <= until).collect::<Vec<_>>());
    }

    #[test]
    fn every_timing_that_a_chip_file_may_say_serves_everybody(banked in any_timing(10_000), lines in any_trace()) {
        let mut replay = Replay::new(&banked);
        for line in &lines {
            replay.push(line.address, line.is_write, line.earliest);
        }
        let counts = replay.finish().counts;
        prop_assert_eq!(counts.reads + counts.writes, lines.len() as u64);
    }

    #[test]
    fn a_replay_is_the_controller_driven_by_hand(banked in any_banked(), lines in any_trace()) {
        let mut replay = Replay::new(&banked);
        for line in &lines {
            replay.push(line.address, line.is_write, line.earliest);
        }
        let replayed = replay.finish();
        let (ends, log, counts) = driven(&banked, &lines, 1);
        prop_assert_eq!(replayed.dram_cycles, ends.iter().copied().max().unwrap());
        // Refreshes of the time after the last command, until the last data, are the replay's alone.
        prop_assert_eq!(Counts { refreshes: 0, ..replayed.counts }, Counts { refreshes: 0, ..counts });
        let refreshes = log.iter().filter(|logged| logged.command == Command::Refresh).count() as u64;
        prop_assert!((refreshes..=refreshes + 8).contains(&replayed.counts.refreshes));
    }
}
