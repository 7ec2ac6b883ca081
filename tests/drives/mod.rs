//! Runs a program that needs nothing of the host in both drives and without numbers.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use systole::chip::Chip;
use systole::program::Program;
use systole::sim::{Engine, Machine, Run};

/// The run, alike in both drives and without numbers.
pub(crate) fn run(chip: &Chip, program: &Program) -> Run {
    let machine = Machine::new(chip, &chip.formats()[0], program).unwrap();
    let run = machine.run(&[], Engine::Wavefront).unwrap();
    assert_eq!(machine.run(&[], Engine::Stepped).unwrap(), run, "both drives agree");
    let timed = machine.time().unwrap();
    assert_eq!((timed.total_cycles, &timed.units, &timed.stages), (run.total_cycles, &run.units, &run.stages));
    run
}
