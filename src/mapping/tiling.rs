//! How one stage is cut into pieces, and what the pieces take of the memories.
//!
//! | stays | a chunk of channels is | weights come as | sums of a block and a chunk lie as |
//! | --- | --- | --- | --- |
//! | weights | the array's columns | tiles of K | a line a vector, of channels |
//! | activations | as many as stream past a tile | one piece of all of K | for each tile of vectors a line a channel, of vectors |
//! | sums | the array's columns | one panel of all of K | a line a vector, of channels; by columns: for each tile of vectors a line a channel |

use super::{Layout, Lowered, MappingError, Problem, round_up};
use crate::chip::{ArrayMode, Chip, Dataflow, Format, MaxPassVectors, Stationary};
use serde::{Deserialize, Serialize};

/// Which of a stage's outer loops is the outer one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    /// Blocks of vectors: weights are fetched again for each.
    Blocks,
    /// Chunks of channels: each weight is fetched once, and the input stays on the chip as a whole.
    Channels,
}

/// How a stage is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tiling {
    /// The outer of the two outer loops.
    pub order: Order,
    /// Vectors of a block: their sums lie in the accumulator at a time.
    pub block: u64,
    /// Channels of a chunk.
    pub chunk: u64,
}

/// Bytes from one thing to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pitches {
    /// From a pixel of the input to the next, on the chip; of one block of channels, where they lie in planes.
    pub input: u64,
    /// From a pixel of the whole output to the next, on the chip; likewise.
    pub output: u64,
    /// From a vector's results to the next's, where one chunk's results leave for DRAM and lie in no planes.
    pub stored: u64,
    /// From a step (where activations stay, a vector) of weights to the next, on the chip.
    pub weight: u64,
    /// From a line of sums to the next.
    pub sums: u64,
}

/// What of a chip the sizes of a stage's pieces go by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// What the array does.
    pub mode: ArrayMode,
    /// The most vectors of a pass past a tile that stays.
    pub pass: u64,
    /// Bytes of an accumulator element.
    pub element: u64,
    /// How the input lies, in DRAM and on the chip.
    pub input_layout: Layout,
    /// How the output lies.
    pub output_layout: Layout,
    /// Whether pixels of the input leave a row between them that would all begin in one bank.
    pub input_spreads: bool,
    /// Whether those of the output do.
    pub output_spreads: bool,
    activation_port: u64,
    activation_banks: u64,
    weight_port: u64,
    accumulator_port: u64,
}

impl Rules {
    /// The rules of `chip` for `format` in `dataflow`.
    pub fn new(chip: &Chip, format: &Format, dataflow: &Dataflow) -> Self {
        let roles = chip.scratchpad_roles();
        let port = |pad: usize| u64::from(chip.scratchpads()[pad].port_bytes);
        let mode = ArrayMode::new(chip, format, dataflow);
        let pass = match dataflow {
            Dataflow::WeightStationary(timing) | Dataflow::InputStationary(timing) => match timing.max_pass_vectors {
                MaxPassVectors::Rows => u64::from(mode.size.rows),
                MaxPassVectors::Unlimited => u64::from(u32::MAX),
            },
            Dataflow::OutputStationary(_) => u64::from(mode.size.rows),
        };
        Self {
            mode,
            pass,
            element: format.accumulator_bytes(),
            input_layout: Layout::ChannelInnermost,
            output_layout: Layout::ChannelInnermost,
            input_spreads: false,
            output_spreads: false,
            activation_port: port(roles.activation),
            activation_banks: u64::from(chip.scratchpads()[roles.activation].banks),
            weight_port: port(roles.weight),
            accumulator_port: u64::from(chip.accumulator().port_bytes),
        }
    }

    fn cols(&self) -> u64 {
        u64::from(self.mode.size.cols)
    }

    /// Vectors that the array holds at a time, or takes side by side: a block is a multiple of it. 1 where vectors stream.
    pub fn vector_unit(&self) -> u64 {
        match self.mode.stationary {
            Stationary::Weight => 1,
            Stationary::Input => self.cols(),
            Stationary::Output => u64::from(self.mode.size.rows),
        }
    }

    /// Whether a line of sums is a channel's, of vectors side by side.
    pub fn lines_are_channels(&self) -> bool {
        match self.mode.stationary {
            Stationary::Weight => false,
            Stationary::Input => true,
            Stationary::Output => self.mode.drains_columns,
        }
    }

    /// Elements of K of a tile; all of K where sums stay.
    pub fn k_tile(&self, problem: &Problem) -> u64 {
        match self.mode.stationary {
            Stationary::Output => problem.reduction(),
            _ => self.mode.tile_inner().min(problem.reduction()),
        }
    }

    /// Tiles of K.
    pub fn k_tiles(&self, problem: &Problem) -> u64 {
        problem.reduction().div_ceil(self.k_tile(problem))
    }

    /// Pieces in which the weights of a chunk come, each a slot of the ring.
    pub fn pieces_of_chunk(&self, problem: &Problem) -> u64 {
        if self.mode.stationary == Stationary::Weight { self.k_tiles(problem) } else { 1 }
    }

    /// Pieces in which all weights come.
    pub fn pieces(&self, problem: &Problem, tiling: &Tiling) -> u64 {
        problem.channels().div_ceil(tiling.chunk) * self.pieces_of_chunk(problem)
    }

    /// Bytes of one element of K tile's slice of a vector of weights, and of all slices.
    fn weight_vector(&self, problem: &Problem) -> u64 {
        self.k_tiles(problem) * self.mode.vector_bytes(self.k_tile(problem))
    }

    /// Bytes from a pixel to the next on the chip. A vector by itself starts on a row of the memory; pixels of an image lie one behind the
    /// other. Where pixels would all begin in one bank, so that the array holds that bank for as long as it reads the same channels of one
    /// after the other, a row may be left between them.
    fn pixel(&self, bytes: u64, pixels: u64, image: [u64; 2], spreads: bool) -> u64 {
        let pitch = if image == [1, 1] { round_up(bytes, self.activation_port) } else { bytes };
        let in_one_bank = self.activation_banks > 1 && pitch.is_multiple_of(self.activation_port * self.activation_banks);
        if spreads && in_one_bank && pixels > 1 { pitch + self.activation_port } else { pitch }
    }

    fn input_pitch(&self, problem: &Problem) -> u64 {
        let (layout, pixels) = (self.input_layout, problem.n * problem.input[0] * problem.input[1]);
        self.pixel(
            problem.activation.packed_bytes(layout.block(problem.c)),
            pixels,
            problem.input,
            self.input_spreads && layout.is_one_plane(problem.c),
        )
    }

    /// Whether a row is left between the pixels of the input.
    pub fn leaves_rows(&self, problem: &Problem) -> bool {
        self.input_pitch(problem) > Self { input_spreads: false, ..*self }.input_pitch(problem)
    }

    /// Whether a row could be left between the pixels of the input or of the output, which lie close now.
    pub(super) fn may_leave_rows(&self, problem: &Problem) -> bool {
        let spread = Self { input_spreads: true, output_spreads: true, ..*self };
        spread.input_pitch(problem) > self.input_pitch(problem) || spread.output_pitch(problem) > self.output_pitch(problem)
    }

    fn output_pitch(&self, problem: &Problem) -> u64 {
        let layout = self.output_layout;
        self.pixel(
            problem.output_bytes(layout.block(problem.m)),
            problem.vectors(),
            [problem.p, problem.q],
            self.output_spreads && layout.is_one_plane(problem.m),
        )
    }

    /// Every pitch of a stage.
    pub fn pitches(&self, problem: &Problem, tiling: &Tiling) -> Pitches {
        // Several short steps may share a row of the memory; longer ones start on a row of their own.
        let step = |bytes: u64| if self.weight_port.is_multiple_of(bytes) { bytes } else { round_up(bytes, self.weight_port) };
        let line = if self.lines_are_channels() { self.vector_unit() } else { tiling.chunk.min(problem.channels()) };
        Pitches {
            input: self.input_pitch(problem),
            output: self.output_pitch(problem),
            stored: round_up(problem.output_bytes(tiling.chunk.min(problem.channels())), self.activation_port),
            weight: match self.mode.stationary {
                Stationary::Weight => step(self.mode.tile_row_bytes(self.cols().min(problem.channels()))),
                Stationary::Input => round_up(self.weight_vector(problem), self.weight_port),
                Stationary::Output => step(self.mode.weight_step_bytes(self.cols().min(problem.channels()))),
            },
            sums: round_up(line * self.element, self.accumulator_port),
        }
    }

    /// Bytes of a tile of weights of `channels` channels and `inner` elements of K, as it crosses DRAM's bus.
    pub fn weight_bytes(&self, channels: u64, inner: u64) -> u64 {
        match self.mode.stationary {
            Stationary::Weight => self.mode.steps(inner) * self.mode.tile_row_bytes(channels),
            Stationary::Input => channels * self.mode.vector_bytes(inner),
            Stationary::Output => self.mode.steps(inner) * self.mode.weight_step_bytes(channels),
        }
    }

    /// Bytes of one piece of weights in its ring.
    pub fn weight_slot(&self, problem: &Problem, tiling: &Tiling) -> u64 {
        let lines = match self.mode.stationary {
            Stationary::Input => tiling.chunk.min(problem.channels()),
            _ => self.mode.steps(self.k_tile(problem)),
        };
        round_up(lines * self.pitches(problem, tiling).weight, self.weight_port)
    }

    /// Bytes of the sums of `vectors` vectors and a chunk.
    pub fn sums(&self, problem: &Problem, tiling: &Tiling, vectors: u64) -> u64 {
        let chunk = tiling.chunk.min(problem.channels());
        let lines = if self.lines_are_channels() { vectors.div_ceil(self.vector_unit()) * chunk } else { vectors };
        lines * self.pitches(problem, tiling).sums
    }

    /// Bytes of `rows` rows of the input's images on the chip.
    pub fn input_bytes(&self, problem: &Problem, rows: u64) -> u64 {
        let planes = self.input_layout.blocks(problem.c);
        round_up(planes * rows * problem.input[1] * self.input_pitch(problem), self.activation_port)
    }

    /// Bytes of rows on the chip that are read whole, each as far from the next as pixels of the input are.
    pub fn constant_bytes(&self, problem: &Problem, rows: u64) -> u64 {
        round_up(rows * self.input_pitch(problem), self.activation_port)
    }

    /// Bytes of the whole output on the chip.
    pub fn output_bytes(&self, problem: &Problem) -> u64 {
        let planes = self.output_layout.blocks(problem.m);
        round_up(planes * problem.vectors() * self.output_pitch(problem), self.activation_port)
    }

    /// Bytes of the results of a block of vectors and a chunk, where they leave for DRAM. In planes they lie one run behind the other.
    pub fn stored_bytes(&self, problem: &Problem, tiling: &Tiling) -> u64 {
        if self.output_layout.is_one_plane(problem.m) {
            return tiling.block * self.pitches(problem, tiling).stored;
        }
        round_up(tiling.block * tiling.chunk.min(problem.channels()), self.activation_port)
    }

    /// The most channels of a chunk: the array's columns, or what streams past a tile in whole passes.
    pub fn chunk_unit(&self) -> u64 {
        if self.mode.stationary == Stationary::Input { self.pass } else { self.cols() }
    }
}

/// Results of less than a byte whose chunks would share bytes.
pub(super) fn not_whole(lowered: &Lowered, most: u64) -> MappingError {
    let Problem { output, groups, .. } = lowered.problem;
    let of = if groups > 1 { format!(" of a group's {}", lowered.problem.group_outputs()) } else { String::new() };
    MappingError::NotSupported {
        layer: lowered.name.clone(),
        op: "layer",
        problem: format!("yields {output} values, {most} channels at a time{of}, which are no whole bytes"),
        help: "let what reads it have activations of 8 bits (Quantize(w: .., a: 8, layers: [NAME])), or choose an array with more columns",
    }
}

/// The rows of the input that must be on the chip at a time so that `ahead` blocks, one behind the other, find theirs.
pub(super) fn rows_for_blocks(problem: &Problem, block: u64, ahead: u64) -> u64 {
    let vectors = problem.vectors();
    if problem.is_matrix() {
        return vectors.min(block * ahead);
    }
    let rows = |first: u64| {
        let start = problem.rows_of(first..(first + block).min(vectors)).start;
        let last = (first + (ahead - 1) * block).min((vectors - 1) / block * block);
        problem.rows_of(last..(last + block).min(vectors)).end - start
    };
    (0..vectors.div_ceil(block)).map(|number| rows(number * block)).max().unwrap_or(0).max(1)
}
