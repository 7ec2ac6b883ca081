//! Why a machine cannot run a program.

use crate::codec::CodecError;
use crate::program::UnitId;
use thiserror::Error;

/// A fault in running a program.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum SimError {
    /// The program was made for another chip.
    #[error("the program was made for another chip: {problem}")]
    OtherChip {
        /// What differs.
        problem: String,
    },
    /// The program's data does not fit in DRAM.
    #[error(
        "the program needs {needed} bytes of DRAM, and the chip's has {capacity}\n  help: give it more, as by a larger `dram.channels` or `dram.organisation.rows`"
    )]
    DramTooSmall {
        /// Bytes that the program needs.
        needed: u64,
        /// Bytes of all channels.
        capacity: u64,
    },
    /// The program reads another number of inputs.
    #[error("the program reads {wanted} inputs and was given {given}")]
    InputCount {
        /// Inputs that the program reads.
        wanted: usize,
        /// Inputs that there are.
        given: usize,
    },
    /// The input does not have the size that the program reads.
    #[error("the program reads an input of {wanted} bytes and was given {given}")]
    InputSize {
        /// Bytes that the program reads.
        wanted: u64,
        /// Bytes that there are.
        given: u64,
    },
    /// What is fetched as a coded block is none.
    #[error(
        "the coded block of {bytes} bytes at {address} of dram, which {unit} fetches, is not one of {wanted} bytes: {problem}\n  help: it is \
         put there by an image or an input of the program, which `systole` emits together with the commands that fetch it"
    )]
    NotDecodable {
        /// The engine.
        unit: UnitId,
        /// Its first byte.
        address: u64,
        /// Its bytes.
        bytes: u64,
        /// Bytes that it should unpack to.
        wanted: u64,
        /// What is wrong with it.
        problem: CodecError,
    },
    /// The array's registers would not fit the host's memory.
    #[error(
        "the {engine} engine would need {bytes} bytes for the registers of this array and the tiles under way in it, and {limit} is the most that it is given\n  help: make the array smaller (rows, cols, lanes, the groups of its sparsity), let tiles load in more cycles, or choose another --engine"
    )]
    TooLarge {
        /// The engine.
        engine: &'static str,
        /// Bytes that it would need.
        bytes: u128,
        /// The most.
        limit: u128,
    },
    /// Nobody can go on.
    #[error("deadlock in cycle {cycle}: {waits}")]
    Deadlock {
        /// The cycle.
        cycle: u64,
        /// Who waits for what.
        waits: String,
    },
}
