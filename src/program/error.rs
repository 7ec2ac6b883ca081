//! What can be wrong with a program.

use super::{Place, UnitId};
use thiserror::Error;

/// A fault in a program.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ProgramError {
    /// The text form does not parse.
    #[error("line {line}, column {column}: {problem}")]
    Text {
        /// 1-based line.
        line: usize,
        /// 1-based column, in characters.
        column: usize,
        /// What is wrong.
        problem: String,
    },
    /// A field of a command is out of its range, or names nothing.
    #[error("{unit}, command {command}: {problem}")]
    Command {
        /// The unit whose queue it stands in.
        unit: UnitId,
        /// Its number, counting every iteration, from 0.
        command: u64,
        /// What is wrong.
        problem: String,
    },
    /// An access leaves its memory.
    #[error("{unit}, command {command}: bytes {first}..{end} of {place} are outside of its {size} bytes")]
    OutOfBounds {
        /// The unit.
        unit: UnitId,
        /// The command's number.
        command: u64,
        /// The memory.
        place: Place,
        /// First byte.
        first: u64,
        /// One past the last.
        end: u64,
        /// The memory's size.
        size: u64,
    },
    /// A read of what nobody wrote.
    #[error("{unit}, command {command}: reads byte {byte} of {place}, which was never written")]
    NeverWritten {
        /// The unit.
        unit: UnitId,
        /// The command's number.
        command: u64,
        /// The memory.
        place: Place,
        /// The byte.
        byte: u64,
    },
    /// Two accesses whose order no semaphore settles.
    #[error(
        "{unit}, command {command}: {access} byte {byte} of {place}, but no semaphore makes it wait for {other}, command {other_command}, which {other_access} it"
    )]
    Race {
        /// The unit.
        unit: UnitId,
        /// The command's number.
        command: u64,
        /// "reads" or "writes".
        access: &'static str,
        /// The memory.
        place: Place,
        /// The byte.
        byte: u64,
        /// The unit that came before.
        other: UnitId,
        /// Its command's number.
        other_command: u64,
        /// "reads" or "writes".
        other_access: &'static str,
    },
    /// Nobody can go on.
    #[error("circular wait: {waits}")]
    CircularWait {
        /// Who waits for what, and who would post it.
        waits: String,
    },
    /// Too many commands to check.
    #[error(
        "the program has more than {limit} commands, the most that are checked\n  help: make the batch or the layers smaller, or choose a chip with a larger array or accumulator; `systole topology --array-only` times a layer of any length"
    )]
    TooLong {
        /// The limit.
        limit: u64,
    },
}
