//! Each constraint by itself: with a field at t the second command comes exactly t after the first, blocked at t - 1 and allowed at t; with
//! t + 1, one later.

use crate::{Line, banked, driven};
use systole::chip::Banked;
use systole::sim::dram::Command::{self, Activate, Precharge, PrechargeAll, Read, Refresh, Write};

/// Timing that keeps out of the way of the one field that a case is about.
const SMALL: [(&str, &str); 21] = [
    ("timing.trc", "9"),
    ("timing.tras", "6"),
    ("timing.cl", "5"),
    ("timing.cwl", "4"),
    ("timing.trcd_rd", "3"),
    ("timing.trcd_wr", "3"),
    ("timing.trp", "3"),
    ("timing.trp_ab", "3"),
    ("timing.trrd_s", "1"),
    ("timing.trrd_l", "1"),
    ("timing.tfaw", "4"),
    ("timing.tccd_s", "4"),
    ("timing.tccd_l", "4"),
    ("timing.twtr_s", "0"),
    ("timing.twtr_l", "0"),
    ("timing.twr", "1"),
    ("timing.trtp", "1"),
    ("timing.trfc", "50"),
    ("timing.trefi", "5000"),
    ("timing.turnaround", "0"),
    ("timing.trtrs", "0"),
];

/// A burst of 64 bytes: 4 groups of 4 banks in 2 ranks, 128 bursts a row, mapped `RoRaBaCoBgCh`.
fn address(row: u64, rank: u64, bank: u64, group: u64, column: u64) -> u64 {
    (((((row * 2 + rank) * 4 + bank) * 128) + column) * 4 + group) * 64
}

fn small(sets: &[(&str, u32)]) -> Banked {
    let mut all: Vec<(String, String)> = SMALL.iter().map(|(field, value)| ((*field).to_string(), (*value).to_string())).collect();
    all.push(("organisation.ranks".to_string(), "2".to_string()));
    all.extend(sets.iter().map(|(field, value)| (format!("timing.{field}"), value.to_string())));
    let all: Vec<(&str, &str)> = all.iter().map(|(field, value)| (field.as_str(), value.as_str())).collect();
    banked("DDR4-2400", &all)
}

/// `R` or `W`, row, rank, bank, group, column, the cycle in which it enters.
type Asked = (char, [u64; 5], u64);

/// Cycles between the `n`-th of one command and the `m`-th of another.
fn between(banked: &Banked, asked: &[Asked], (first, n): (Command, usize), (second, m): (Command, usize)) -> u64 {
    let lines: Vec<Line> = asked
        .iter()
        .map(|(kind, [row, rank, bank, group, column], earliest)| Line {
            address: address(*row, *rank, *bank, *group, *column),
            is_write: *kind == 'W',
            earliest: *earliest,
        })
        .collect();
    let (_, log, _) = driven(banked, &lines, 1);
    let cycle = |command, nth| {
        let mut all = log.iter().filter(|logged| logged.command == command);
        all.nth(nth).unwrap_or_else(|| panic!("no {command:?}: {log:?}")).cycle
    };
    cycle(second, m) - cycle(first, n)
}

/// What is asked; from which command to which; the field, t, and what else it brings; the cycles beyond t.
struct Case {
    field: &'static str,
    least: u32,
    with: &'static [&'static str],
    asked: Vec<Asked>,
    first: (Command, usize),
    second: (Command, usize),
    beyond: u64,
}

/// One row of every group and rank opened early, then what the case is about from cycle 300 on.
fn opened(then: &[Asked]) -> Vec<Asked> {
    let mut all: Vec<Asked> = Vec::new();
    for rank in 0..2 {
        all.extend((0..4).map(|group| ('R', [0, rank, 0, group, 0], 0)));
    }
    all.extend(then);
    all
}

fn cases() -> Vec<Case> {
    let case = |field, least, with, asked: &[Asked], first, second, beyond| Case {
        field,
        least,
        with,
        asked: asked.to_vec(),
        first,
        second,
        beyond,
    };
    let five: Vec<Asked> = (0..5).map(|n| ('R', [0, 0, n / 4, n % 4, 0], 0)).collect();
    // In `opened`, eight reads and activates come first.
    vec![
        case("trcd_rd", 20, &[], &[('R', [0; 5], 0)], (Activate, 0), (Read, 0), 0),
        case("trcd_wr", 20, &[], &[('W', [0; 5], 0)], (Activate, 0), (Write, 0), 0),
        case("tras", 40, &["trc"], &[('R', [0; 5], 0), ('R', [1, 0, 0, 0, 0], 0)], (Activate, 0), (Precharge, 0), 0),
        case("trp", 30, &["trp_ab"], &[('R', [0; 5], 0), ('R', [1, 0, 0, 0, 0], 100)], (Precharge, 0), (Activate, 1), 0),
        case("trc", 90, &[], &[('R', [0; 5], 0), ('R', [1, 0, 0, 0, 0], 0)], (Activate, 0), (Activate, 1), 0),
        case("trrd_s", 10, &["trrd_l"], &[('R', [0; 5], 0), ('R', [0, 0, 0, 1, 0], 0)], (Activate, 0), (Activate, 1), 0),
        case("trrd_l", 11, &[], &[('R', [0; 5], 0), ('R', [0, 0, 1, 0, 0], 0)], (Activate, 0), (Activate, 1), 0),
        case("tfaw", 80, &[], &five, (Activate, 0), (Activate, 4), 0),
        case("tccd_s", 12, &["tccd_l"], &opened(&[('R', [0; 5], 300), ('R', [0, 0, 0, 1, 0], 300)]), (Read, 8), (Read, 9), 0),
        case("tccd_l", 15, &[], &opened(&[('R', [0; 5], 300), ('R', [0, 0, 0, 0, 1], 300)]), (Read, 8), (Read, 9), 0),
        case("tccd_l", 15, &[], &opened(&[('W', [0; 5], 300), ('W', [0, 0, 0, 0, 1], 300)]), (Write, 0), (Write, 1), 0),
        // CWL + burst = 8.
        case("twtr_s", 20, &["twtr_l"], &opened(&[('W', [0; 5], 300), ('R', [0, 0, 0, 1, 0], 301)]), (Write, 0), (Read, 8), 8),
        case("twtr_l", 25, &[], &opened(&[('W', [0; 5], 300), ('R', [0, 0, 0, 0, 1], 301)]), (Write, 0), (Read, 8), 8),
        case("twr", 30, &[], &opened(&[('W', [0; 5], 300), ('R', [1, 0, 0, 0, 0], 301)]), (Write, 0), (Precharge, 0), 8),
        case("trtp", 30, &[], &opened(&[('R', [0; 5], 300), ('R', [1, 0, 0, 0, 0], 301)]), (Read, 8), (Precharge, 0), 0),
        // CL + burst - CWL = 5.
        case("turnaround", 7, &[], &opened(&[('R', [0; 5], 300), ('W', [0, 0, 0, 1, 0], 301)]), (Read, 8), (Write, 0), 5),
        case("trtrs", 7, &[], &opened(&[('R', [0; 5], 300), ('R', [0, 1, 0, 0, 0], 301)]), (Read, 8), (Read, 9), 4),
        case("trtrs", 7, &[], &opened(&[('W', [0; 5], 300), ('W', [0, 1, 0, 0, 0], 301)]), (Write, 0), (Write, 1), 4),
        case("trtrs", 7, &[], &opened(&[('R', [0; 5], 300), ('W', [0, 1, 0, 0, 0], 301)]), (Read, 8), (Write, 0), 5),
        // CWL + burst - CL = 3.
        case("trtrs", 7, &[], &opened(&[('W', [0; 5], 300), ('R', [0, 1, 0, 0, 0], 301)]), (Write, 0), (Read, 8), 3),
        // Of a closed rank, with a request that comes while it is refreshed.
        case("trfc", 60, &[], &[('R', [0; 5], 5005)], (Refresh, 0), (Activate, 0), 0),
        case("trp_ab", 40, &[], &[('R', [0; 5], 0), ('R', [0; 5], 5000)], (PrechargeAll, 0), (Refresh, 1), 0),
        case("trefi", 6000, &[], &[('R', [0; 5], 20_000)], (Refresh, 0), (Refresh, 2), 0),
    ]
}

#[test]
fn every_field_is_kept_to_the_cycle() {
    for Case { field, least, with, asked, first, second, beyond } in cases() {
        for t in [least, least + 1] {
            let sets: Vec<(&str, u32)> = with.iter().copied().chain([field]).map(|field| (field, t)).collect();
            let gap = between(&small(&sets), &asked, first, second);
            assert_eq!(gap, u64::from(t) + beyond, "{field} = {t}: {first:?} to {second:?}");
        }
    }
}

#[test]
fn data_never_meet_on_the_bus_however_small_tccd_is() {
    let gap =
        between(&small(&[("tccd_s", 1), ("tccd_l", 1)]), &opened(&[('R', [0; 5], 300), ('R', [0, 0, 0, 1, 0], 300)]), (Read, 8), (Read, 9));
    assert_eq!(gap, 4, "a burst takes four cycles");
}

#[test]
fn a_closed_page_precharges_by_itself() {
    let mut banked = small(&[("trtp", 8), ("tras", 6), ("trp", 10), ("trp_ab", 10), ("trc", 9)]);
    banked.page = systole::chip::Page::Closed;
    let read = |column| ('R', [0, 0, 0, 0, column], 0);
    // Activate, read after tRCD, precharge after tRTP, activate after tRP.
    assert_eq!(between(&banked, &[read(0), read(1)], (Activate, 0), (Activate, 1)), 3 + 8 + 10);
}
