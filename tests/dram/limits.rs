//! Latency and bandwidth against what the timing allows, preset by preset. Expected values are formulas over the preset's figures.

use crate::banked;
use systole::chip::{self, Banked};
use systole::sim::dram::{Command, Replay, Replayed};

fn replayed(banked: &Banked, requests: impl Iterator<Item = (u64, bool)>) -> Replayed {
    let mut replay = Replay::new(banked);
    for (address, is_write) in requests {
        replay.push(address, is_write, 0);
    }
    replay.finish()
}

#[test]
fn an_unloaded_read_takes_trcd_cl_and_a_burst() {
    for preset in chip::dram_presets() {
        let banked = banked(preset, &[]);
        let (t, burst) = (&banked.timing, banked.organisation.burst_cycles);
        let read = replayed(&banked, [(4096, false)].into_iter());
        assert_eq!(read.dram_cycles, u64::from(t.trcd_rd + t.cl + burst), "{preset}");
        assert_eq!(read.counts.read_latency_cycles, u128::from(read.dram_cycles));
        let write = replayed(&banked, [(4096, true)].into_iter());
        assert_eq!(write.dram_cycles, u64::from(t.trcd_wr + t.cwl + burst), "{preset}");
        // Alone, long after the start and between two refreshes: the same latency from when it entered.
        let mut replay = Replay::new(&banked);
        let entered = replay.push(0, false, 1_000_000_000 * u64::from(t.trefi) + u64::from(t.trfc + t.trp_ab + t.tras));
        let late = replay.finish();
        assert_eq!(late.dram_cycles - entered, u64::from(t.trcd_rd + t.cl + burst), "{preset}");
        assert_eq!(late.counts.refreshes, 1_000_000_000, "{preset}: one every tREFI");
    }
}

#[test]
fn streams_reach_the_peak_less_refresh() {
    for preset in chip::dram_presets() {
        for (channels, is_write) in [(1, false), (1, true), (4, false)] {
            let mut banked = banked(preset, &[]);
            banked.channels = channels;
            let burst = u64::from(banked.organisation.burst_bytes());
            let bursts = 60_000 * u64::from(channels);
            let done = replayed(&banked, (0..bursts).map(|number| (number * burst, is_write)));
            // Peak: all channels a burst every `burst_cycles`; of each tREFI, tRFC is lost.
            let available = 1.0 - f64::from(banked.timing.trfc) / f64::from(banked.timing.trefi);
            let data = (60_000 * u64::from(banked.organisation.burst_cycles)) as f64;
            let share = data / (done.dram_cycles as f64 * available);
            eprintln!("{preset} x {channels}, writes {is_write}: {share:.4} of peak less refresh");
            assert!((0.95..=1.0005).contains(&share), "{preset} x {channels}, writes {is_write}: {share}");
            assert_eq!(done.counts.refreshes, u64::from(channels) * (done.dram_cycles / u64::from(banked.timing.trefi)), "{preset}");
        }
    }
}

#[test]
fn rows_of_one_bank_are_bound_by_trc() {
    for preset in chip::dram_presets() {
        // Rows above all else, so that each address is of the same bank.
        let banked = banked(preset, &[("mapping", "RoRaBgBaCoCh")]);
        let t = &banked.timing;
        let row = banked.capacity_bytes() / u64::from(banked.organisation.rows);
        let rows = 2000;
        let done = replayed(&banked, (0..rows).map(|number| (number * 7919 % 8192 * row, false)));
        let cycle = u64::from(t.trc.max(t.trcd_rd + t.trtp + t.trp).max(t.tras + t.trp));
        let (least, refreshes) = ((rows - 1) * cycle, done.counts.refreshes);
        // A refresh costs tRFC and what it interrupts.
        let most = rows * cycle + refreshes * u64::from(t.trfc + t.trp_ab + t.trc + t.trcd_rd) + u64::from(t.trcd_rd + t.cl) + 64;
        assert!((least..=most).contains(&done.dram_cycles), "{preset}: {} is not {least} to {most}", done.dram_cycles);
        assert_eq!(done.counts.activates, rows, "{preset}");
        assert_eq!((done.counts.row_hits, done.counts.row_misses + done.counts.row_conflicts), (0, rows), "{preset}");
    }
}

#[test]
fn rows_of_all_banks_are_bound_by_tfaw_and_trc() {
    for preset in chip::dram_presets() {
        let banked = banked(preset, &[("mapping", "RoCoRaBaBgCh")]);
        let (t, organisation) = (&banked.timing, &banked.organisation);
        let banks = u64::from(organisation.bank_groups * organisation.banks_per_group);
        let row = banked.capacity_bytes() / u64::from(organisation.rows);
        let rounds = 500;
        let burst = u64::from(organisation.burst_bytes());
        let order = (0..rounds).flat_map(|round| (0..banks).map(move |bank| (round % 4096 * row + bank * burst, false)));
        let done = replayed(&banked, order);
        let activates = rounds * banks;
        assert_eq!(done.counts.activates, activates, "{preset}");
        // Four activates a tFAW, one a tRRD, one a bank and row cycle, one a burst.
        let row_cycle = u64::from(t.trc.max(t.trcd_rd + t.trtp + t.trp));
        let bounds = [
            activates * u64::from(t.tfaw) / 4,
            activates * u64::from(t.trrd_s),
            rounds * row_cycle,
            activates * u64::from(organisation.burst_cycles),
        ];
        let bound = *bounds.iter().max().unwrap() as f64;
        let available = 1.0 - f64::from(t.trfc) / f64::from(t.trefi);
        let share = bound / (done.dram_cycles as f64 * available);
        eprintln!("{preset}: {share:.4} of the bound {bounds:?}");
        assert!((0.85..=1.005).contains(&share), "{preset}: {share} of {bounds:?}");
    }
}

#[test]
fn nobody_starves() {
    let banked = banked("DDR4-2400", &[]);
    let longest = |requests: &[(u64, bool)], watched: usize| {
        let mut replay = Replay::new(&banked);
        replay.keep_log();
        for (address, is_write) in requests {
            replay.push(*address, *is_write, 0);
        }
        replay.finish();
        let at = replay.controller().locate(requests[watched].0);
        let is_column = |command| matches!(command, Command::Read | Command::Write);
        let columns: Vec<_> = replay.controller().log().filter(|logged| is_column(logged.command)).collect();
        columns.iter().position(|logged| (logged.bank, logged.row, logged.column) == (at.bank, at.row, at.column)).unwrap()
    };
    let row = banked.capacity_bytes() / u64::from(banked.organisation.rows);
    // Hits of one row for ever, one request for another row of the bank: the cap passes it, no more.
    let mut hits: Vec<(u64, bool)> = (0..2000).map(|number| (number % 128 * 256, false)).collect();
    hits.insert(40, (5 * row, false));
    let served = longest(&hits, 40);
    assert!(served <= 40 + 32 + 16, "{served}");
    // Reads for ever, one write.
    let mut reads: Vec<(u64, bool)> = (0..2000).map(|number| (number * 64, false)).collect();
    reads.insert(40, (256 * 100 + 3 * row, true));
    let served = longest(&reads, 40);
    // It waits for what is older, for the cap, and then its own row is opened while other writes, of which there are none, could pass.
    assert!(served <= 40 + 32 + 16, "{served}");
}

#[test]
fn a_trace_that_waits_for_ages_ends_at_once() {
    let banked = banked("HBM2", &[]);
    let mut replay = Replay::new(&banked);
    for number in 0..64 {
        replay.push(number * 4096, number % 3 == 0, number << 54);
    }
    let done = replay.finish();
    assert!(done.dram_cycles > 63 << 54);
    // At most the one that falls into the last request's own time is not done.
    let due = done.dram_cycles / u64::from(banked.timing.trefi);
    assert!((due - 1..=due).contains(&done.counts.refreshes));
}
