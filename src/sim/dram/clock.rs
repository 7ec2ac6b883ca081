//! Two clocks merged exactly: the core's and DRAM's command clock, both from time 0, in fractions that are never rounded.
//!
//! Core cycle c starts `c / core_hz` seconds after 0, DRAM's cycle d `d * denominator / numerator`. What the core says in its cycle c counts
//! from the first cycle of DRAM that starts at or after c does; what happened by the start of DRAM's cycle d is seen from the first core
//! cycle that starts at or after it.

use super::LAST_ENTRY;
use crate::chip::CommandClock;
use crate::units::Hertz;

/// Both clocks: `dram` cycles of the command clock take as long as `core` of the core's.
#[derive(Debug, Clone, Copy)]
pub(in crate::sim) struct Clocks {
    dram: u64,
    core: u64,
}

impl Clocks {
    pub(in crate::sim) fn new(command: CommandClock, core: Hertz) -> Self {
        let (dram, core) = (u128::from(command.numerator), u128::from(core.get()) * u128::from(command.denominator));
        let (mut common, mut rest) = (dram, core);
        while rest > 0 {
            (common, rest) = (rest, common % rest);
        }
        let reduced = |part: u128| u64::try_from(part / common.max(1)).expect("bug: a clock of more than 2^64 hertz; please report it");
        Self { dram: reduced(dram), core: reduced(core).max(1) }
    }

    /// The first cycle of DRAM that starts at or after core cycle `cycle` does; past [`LAST_ENTRY`] time stands still.
    pub(in crate::sim) fn dram_from(&self, cycle: u64) -> u64 {
        match cycle.checked_mul(self.dram) {
            Some(product) => product.div_ceil(self.core),
            None => u64::try_from((u128::from(cycle) * u128::from(self.dram)).div_ceil(u128::from(self.core))).unwrap_or(LAST_ENTRY),
        }
        .min(LAST_ENTRY)
    }

    /// The first core cycle that starts at or after DRAM's cycle `cycle` does.
    pub(in crate::sim) fn core_from(&self, cycle: u64) -> u64 {
        match cycle.checked_mul(self.core) {
            Some(product) => product.div_ceil(self.dram),
            None => u64::try_from((u128::from(cycle) * u128::from(self.core)).div_ceil(u128::from(self.dram))).unwrap_or(u64::MAX),
        }
    }

    /// The first core cycle up to whose start DRAM's cycle `cycle` has begun: the first `c` with `dram_from(c) > cycle`.
    pub(in crate::sim) fn core_after(&self, cycle: u64) -> u64 {
        match cycle.checked_mul(self.core) {
            Some(product) => product / self.dram + 1,
            None => u64::try_from(u128::from(cycle) * u128::from(self.core) / u128::from(self.dram) + 1).unwrap_or(u64::MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clocks(numerator: u64, denominator: u64, core: u64) -> Clocks {
        Clocks::new(CommandClock { numerator, denominator }, Hertz::new(core))
    }

    #[test]
    fn cycles_start_when_exact_fractions_say() {
        for (numerator, denominator, core) in [
            (1_200_000_000, 1, 1_000_000_000),
            (1_066_500_000, 4, 700_000_000),
            (800_000_000, 1, 800_000_000),
            (3, 2, 1),
            (7, 64, 99_999_999_977),
        ] {
            let clocks = clocks(numerator, denominator, core);
            let (ours, theirs) = (u128::from(numerator), u128::from(core) * u128::from(denominator));
            for cycle in (0..2000_u64).chain((1 << 40)..(1 << 40) + 50) {
                let wide = u128::from(cycle);
                // Times are compared by cross-multiplication: d / numerator' with c / core.
                let dram = u128::from(clocks.dram_from(cycle));
                assert!(dram * theirs >= wide * ours && (dram == 0 || (dram - 1) * theirs < wide * ours));
                // What lies past 2^64 core cycles is never seen.
                let exact = (wide * theirs).div_ceil(ours);
                let seen = u128::from(clocks.core_from(cycle));
                assert_eq!(seen, exact.min(u64::MAX.into()));
                assert!(exact > u64::MAX.into() || seen * ours >= wide * theirs && (seen == 0 || (seen - 1) * ours < wide * theirs));
                let after = clocks.core_after(cycle);
                if after < 1 << 50 {
                    assert!(clocks.dram_from(after) > cycle && (after == 0 || clocks.dram_from(after - 1) <= cycle));
                }
            }
        }
    }

    #[test]
    fn equal_clocks_tick_together_and_no_time_is_too_late() {
        let same = clocks(5, 5, 1);
        assert_eq!((same.dram_from(9), same.core_from(9), same.core_after(9)), (9, 9, 10));
        let slow_core = clocks(6_400_000_000_000_000, 1, 1);
        assert_eq!(slow_core.dram_from(u64::MAX), LAST_ENTRY);
        assert_eq!(clocks(1, 64, 100_000_000_000).core_from(u64::MAX), u64::MAX);
    }
}
