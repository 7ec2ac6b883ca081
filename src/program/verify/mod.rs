//! The verifier: what a program must keep to whatever the timing.
//!
//! Addresses are checked symbolically, a loop body once (`shape`). The order of accesses is checked by vector clocks, as race detectors do
//! (Flanagan, Freund: `FastTrack`, PLDI 2009): a unit knows what happened before through the tokens it took, and two accesses to one
//! place, of which one writes, must be ordered by that knowledge (`game`). What was done to each byte is kept for intervals of bytes that
//! were treated alike (`history`, `piece`). Playing the token game in any order finds a circular wait if there is one, because each
//! semaphore has one poster and one waiter.

mod game;
mod history;
#[cfg(test)]
mod oracle;
mod piece;
mod shape;

use super::{Place, ProgramError, ProgramParts, UnitId, UnitKind};
use shape::Shape;

/// More commands than this (every iteration counted) are refused: the check would not end in reasonable time.
const MAX_COMMANDS: u64 = 50_000_000;

/// The same for a program for the array alone, whose order needs no check.
const MAX_ARRAY_COMMANDS: u64 = 1 << 40;

/// Whether the order of accesses is played through, or known to hold of who wrote the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Played,
    Trusted,
}

/// Verifies a program; the result is how many commands carry each stage's tag.
pub(super) fn verify(parts: &ProgramParts, order: Order) -> Result<Vec<u64>, ProgramError> {
    if parts.array_only {
        is_for_the_array_alone(parts)?;
    }
    let shape = Shape::check(parts)?;
    if !parts.array_only && order == Order::Played {
        game::play(parts, &shape)?;
    }
    Ok(shape.commands_per_stage)
}

/// One unit in order, that reads only what the host wrote and updates only sums that begin at zero, can neither race nor wait in a circle,
/// nor read what was never written: nothing is left to play.
fn is_for_the_array_alone(parts: &ProgramParts) -> Result<(), ProgramError> {
    let fault = |problem: &str| {
        Err(ProgramError::Command { unit: host(), command: 0, problem: format!("a program for the array alone {problem}") })
    };
    match parts.queues.as_slice() {
        [queue] if queue.unit.kind == UnitKind::Array => {}
        _ => return fault("has one queue, the array's"),
    }
    if !parts.semaphores.is_empty() {
        return fault("has no semaphores");
    }
    if !matches!(parts.output.place, Place::Accumulator(_)) {
        return fault("leaves its results in the accumulator");
    }
    Ok(())
}

fn host() -> UnitId {
    UnitId { core: 0, kind: UnitKind::Dma, index: 0 }
}

/// The program's memories and their sizes.
fn memories(parts: &ProgramParts) -> Vec<(Place, u64)> {
    let mut all = vec![(Place::Dram, parts.memories.dram), (Place::Accumulator(0), parts.memories.accumulator)];
    for (index, size) in (0..).zip(&parts.memories.scratchpads) {
        all.push((Place::Scratchpad(0, index), *size));
    }
    all
}
