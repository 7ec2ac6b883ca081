//! The commands, and the queues that hold them.

use super::host::HostWork;
use super::region::{Access, Dimension, ONCE, RegionOf};
use super::{Address, ArrayMode, Planes};
use crate::codec::Coding;
use crate::counts::{Operand, StallReason};
use crate::mapping::Slide;
use crate::numerics::{BIAS_BYTES, Dtype};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The kinds of unit that take commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum UnitKind {
    /// The systolic array: `preload`, `compute`, `product`.
    Array,
    /// The vector unit: `requantize`, `vector`.
    Vector,
    /// A DMA engine: `mvin`, `mvout`.
    Dma,
    /// The host, for what no unit of the chip can do: `host`.
    Host,
}

/// One unit of one core.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct UnitId {
    /// The core.
    pub core: u32,
    /// What it does.
    pub kind: UnitKind,
    /// Which of its kind in the core.
    pub index: u32,
}

impl fmt::Display for UnitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            UnitKind::Array => "array",
            UnitKind::Vector => "vector",
            UnitKind::Dma => "dma",
            UnitKind::Host => "host",
        };
        write!(f, "{kind}{}", self.index)?;
        if self.core > 0 { write!(f, " of core {}", self.core) } else { Ok(()) }
    }
}

/// A memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Place {
    /// The external memory.
    Dram,
    /// A core's scratchpad, by index.
    Scratchpad(u32, u32),
    /// A core's accumulator.
    Accumulator(u32),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dram => f.write_str("dram"),
            Self::Scratchpad(core, index) => write!(f, "scratchpad{index} of core {core}"),
            Self::Accumulator(core) => write!(f, "accumulator of core {core}"),
        }
    }
}

/// What a command belongs to. Opaque to the machine, which only keeps accounts by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Tag {
    /// The stage, an index into the program's list.
    pub stage: u32,
    /// The sample of the batch, where a command belongs to one; else 0.
    pub sample: u32,
}

/// A counting semaphore, by index into the program's list. One unit posts it, one unit waits for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Semaphore(pub u32);

/// What a semaphore is, and what a unit that waits for it is said to wait for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SemaphoreDecl {
    /// Its name, for messages.
    pub name: String,
    /// Tokens at the start.
    pub tokens: u32,
    /// The account of a cycle spent waiting for it.
    pub reason: StallReason,
}

/// One wait or post of a command. It takes one token (a wait, before the command starts) or gives one (a post, when it ends).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sync {
    /// The semaphore.
    pub semaphore: Semaphore,
    /// Only where the counters of this many innermost `repeat` blocks are all at their first (a wait) or last (a post) iteration; 0 is
    /// always.
    pub innermost: u32,
}

/// A command: what it belongs to, what it waits for, what it does, what it posts when it ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Command {
    /// What it belongs to.
    pub tag: Tag,
    /// What it waits for.
    pub wait: Vec<Sync>,
    /// What it does.
    pub operation: Operation,
    /// What it posts.
    pub post: Vec<Sync>,
}

/// What a command does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Operation {
    /// DRAM to an on-chip memory.
    Mvin(Transfer),
    /// An on-chip memory to DRAM.
    Mvout(Transfer),
    /// A stationary tile into the array.
    Preload(Preload),
    /// One pass past a stationary tile.
    Compute(Compute),
    /// One pass of an output-stationary array.
    Product(Product),
    /// Finished sums to the next layer's integers, on the vector unit.
    Requantize(Requantize),
    /// Integers in a scratchpad to others, on the vector unit.
    Vector(VectorWork),
    /// Elements in DRAM to others there, by the host.
    Host(HostWork),
    /// Nothing: waits and posts alone.
    Fence,
}

/// A strided transfer between DRAM and an on-chip memory: `rows` rows of `row_bytes`. Rows that lie at one DRAM address
/// (`dram_stride` 0) are fetched once and written to each of their places.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Transfer {
    /// What moves.
    pub operand: Operand,
    /// The first row's address in DRAM.
    pub dram: Address,
    /// Bytes from a row to the next in DRAM.
    pub dram_stride: u64,
    /// The on-chip memory.
    pub place: Place,
    /// The first row's address there.
    pub local: Address,
    /// Bytes from a row to the next there.
    pub local_stride: u64,
    /// Rows.
    pub rows: u64,
    /// Bytes of a row.
    pub row_bytes: u64,
    /// How the rows lie coded in DRAM, if they do: as one block at `dram`, of all rows side by side (`dram_stride` is `row_bytes`).
    pub coded: Option<Coded>,
    /// Whether the bytes between its rows on the chip are its own, so that they count as written by an mvin, though they hold what they held before:
    /// pixels with rows of the memory between them are one stretch then, and the verifier need not follow what became of each gap.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub owns_gaps: bool,
}

/// A coded block in DRAM. Its length is part of the program, so that no time depends on what lies in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Coded {
    /// How it is coded.
    pub coding: Coding,
    /// Its bytes; fewer than it unpacks to.
    pub bytes: u64,
}

impl Transfer {
    /// Bytes that cross DRAM's bus.
    pub fn dram_bytes(&self) -> u64 {
        match self.coded {
            Some(coded) => coded.bytes,
            None if self.dram_stride == 0 => self.row_bytes,
            None => self.rows * self.row_bytes,
        }
    }

    /// What is wrong with how its rows are said to lie coded, if they are.
    pub(crate) fn coding_fault(&self) -> Option<String> {
        let Coded { coding, bytes } = self.coded?;
        let wanted = self.rows.checked_mul(self.row_bytes);
        let (Some(wanted), Some(elements)) = (wanted, wanted.and_then(|wanted| coding.elements(wanted)).filter(|_| coding.is_valid()))
        else {
            return Some(format!("{} rows of {} bytes cannot be coded as {coding:?}", self.rows, self.row_bytes));
        };
        if self.dram_stride != self.row_bytes {
            return Some(format!("coded rows of {} bytes are {} bytes apart, not side by side", self.row_bytes, self.dram_stride));
        }
        let least = coding.least_bytes(elements);
        let possible = bytes >= least.max(1) && bytes < wanted;
        (!possible).then(|| format!("{wanted} bytes are coded in {bytes}, which is not from {least} on and less than there are"))
    }
}

/// Activations that lie as images, pixel by pixel, and are read as the vectors that a filter sees (im2col, never materialised).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// The filter and where it slides.
    pub slide: Slide,
    /// Pixels that lie in memory at a time: pixel `i` of the batch lies at `i mod ring`.
    pub ring: u64,
    /// The first vector, as an "address" that follows the loops.
    pub vector: Address,
    /// The first element of K, as an "address" that follows the loops.
    pub inner: Address,
    /// How the channels of a pixel lie that do not all lie side by side.
    pub planes: Option<Planes>,
    /// Whether padding of binary elements is +1, else -1; other elements' padding is zero.
    pub plus_border: bool,
}

/// Shifts a stationary tile in, a step of its panel an array row; the array's other rows and columns hold zero.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preload {
    /// The scratchpad that holds the tile.
    pub place: Place,
    /// The address of array row 0's step.
    pub address: Address,
    /// Bytes from a step to the next.
    pub stride: u64,
    /// Elements of K that the tile covers.
    pub inner: u32,
    /// Columns of the array that it fills.
    pub cols: u32,
    /// Subtracted from each element at the array's edge; 0 unless activations stay, or a value plays the weights.
    pub zero_point: i32,
    /// How activations lie that are no panel: then `address` is that of pixel 0, `stride` from a pixel to the next, and a column of the
    /// array holds a vector.
    pub window: Option<Window>,
}

/// One pass: `vectors` vectors stream through the tile that was preloaded last, and the sums go into the accumulator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Compute {
    /// The scratchpad that the vectors come from.
    pub place: Place,
    /// The first vector's address; its elements lie side by side.
    pub stream: Address,
    /// Bytes from a vector to the next.
    pub stream_stride: u64,
    /// Vectors.
    pub vectors: u32,
    /// Elements of a vector: the K that the tile covers.
    pub inner: u32,
    /// Columns whose sums are kept.
    pub cols: u32,
    /// Subtracted from each element at the array's edge; 0 unless activations stream.
    pub zero_point: i32,
    /// How activations lie that are no vectors side by side: then `stream` is the address of pixel 0, `stream_stride` from a pixel to the
    /// next.
    pub window: Option<Window>,
    /// The address of the first vector's sums in the accumulator.
    pub result: Address,
    /// Bytes from a vector's sums to the next's.
    pub result_stride: u64,
    /// Whether sums are added to what is there; else they take its place.
    pub accumulate: bool,
}

/// One pass of an output-stationary array: `rows` rows of activations times `cols` columns of weights, over all of K, each a panel. The
/// sums go into the accumulator, a line each `result_stride` bytes: a row of the array, or a column where sums leave by columns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Product {
    /// The scratchpad that the activations come from.
    pub activation_place: Place,
    /// The address of their first step.
    pub activation: Address,
    /// Bytes from a step to the next.
    pub activation_stride: u64,
    /// The scratchpad that the weights come from.
    pub weight_place: Place,
    /// The address of their first step.
    pub weight: Address,
    /// Bytes from a step to the next.
    pub weight_stride: u64,
    /// Elements of K.
    pub inner: u32,
    /// Rows of the array that the pass fills.
    pub rows: u32,
    /// Columns of the array that the pass fills.
    pub cols: u32,
    /// Subtracted from each activation at the array's edge.
    pub zero_point: i32,
    /// How activations lie that are no panel: then `activation` is the address of pixel 0, `activation_stride` from a pixel to the next,
    /// and a row of the array takes a vector.
    pub window: Option<Window>,
    /// The address of the first line of sums in the accumulator.
    pub result: Address,
    /// Bytes from a line to the next.
    pub result_stride: u64,
    /// Whether the sums start from what lies there (a bias); else from zero.
    pub accumulate: bool,
}

/// Turns `rows` rows of `cols` finished sums into integers in a scratchpad. A row of sums is a vector's, of channels side by side, or a
/// channel's, of vectors side by side (`by_channels`): then element c of row r goes to `result + c * result_stride`, and r elements on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Requantize {
    /// The first row of sums in the accumulator.
    pub sums: Address,
    /// Bytes from a row of sums to the next.
    pub sums_stride: u64,
    /// The scratchpad that takes the results.
    pub place: Place,
    /// The first row of results there.
    pub result: Address,
    /// Bytes from a row of results to the next.
    pub result_stride: u64,
    /// Rows.
    pub rows: u32,
    /// Elements of a row.
    pub cols: u32,
    /// The output stage, an index into the program's list.
    pub stage: u32,
    /// The results' format.
    pub format: Dtype,
    /// The first channel, as an "address" that follows the loops.
    pub channel: Address,
    /// Whether a row of sums is a channel's.
    pub by_channels: bool,
    /// How the results' channels lie that do not all lie side by side: whole blocks of them.
    pub planes: Option<Planes>,
}

/// One operation of the vector unit: `rows` rows of `cols` elements, each row packed from a byte on, from one or two inputs in a scratchpad.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VectorWork {
    /// The operation, an index into the program's list.
    pub op: u32,
    /// The scratchpad of inputs and results.
    pub place: Place,
    /// The first input.
    pub input: VectorInput,
    /// The second, where the operation has two; of a depthwise convolution rows of weights, a tap each, and of the biases' bytes.
    pub second: Option<VectorInput>,
    /// The first row of results.
    pub result: Address,
    /// Bytes from a row of results to the next.
    pub result_stride: u64,
    /// The results' format.
    pub format: Dtype,
    /// Rows.
    pub rows: u32,
    /// Elements of a row.
    pub cols: u32,
    /// Where the input lies as images, which a window slides over: then the input's address is pixel 0's, its stride from a pixel to
    /// the next, and a row is what the window makes of the `cols` channels of its taps. The element of K that the window names is 0.
    pub window: Option<Window>,
}

/// Rows that the vector unit reads; a stride of 0 is one row for all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VectorInput {
    /// The first row.
    pub address: Address,
    /// Bytes from a row to the next.
    pub stride: u64,
    /// The format of its elements.
    pub format: Dtype,
}

/// A block that runs `trips` times.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Repeat {
    /// How many times.
    pub trips: u64,
    /// What.
    pub body: Vec<Item>,
}

/// A command, or a block of them.
#[expect(clippy::large_enum_variant, reason = "nearly all items are commands, so that a box would cost more than it saves")]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Item {
    /// A block.
    Repeat(Repeat),
    /// A command.
    Do(Command),
}

/// One unit's commands, in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnitQueue {
    /// The unit.
    pub unit: UnitId,
    /// Its commands.
    pub items: Vec<Item>,
}

impl Command {
    /// The parts of memory that the command touches, reads before writes, apart from what it reads through a window.
    pub(crate) fn regions(&self, mode: &ArrayMode, accumulator_element_bytes: u64) -> [Option<RegionOf<'_>>; 3] {
        let sums = |elements: u64| elements * accumulator_element_bytes;
        let update = |accumulate| if accumulate { Access::Update } else { Access::Write };
        match &self.operation {
            Operation::Mvin(t) => [Some(t.dram_region(Access::Read)), Some(t.claimed_region()), None],
            Operation::Mvout(t) => [Some(t.local_region(Access::Read)), Some(t.dram_region(Access::Write)), None],
            Operation::Preload(p) => {
                let read = RegionOf {
                    place: p.place,
                    address: &p.address,
                    stride: p.stride,
                    rows: mode.steps(u64::from(p.inner)),
                    row_bytes: mode.tile_row_bytes(u64::from(p.cols)),
                    access: Access::Read,
                    outer: ONCE,
                };
                [Some(read).filter(|_| p.window.is_none()), None, None]
            }
            Operation::Compute(c) => {
                let stream = RegionOf {
                    place: c.place,
                    address: &c.stream,
                    stride: c.stream_stride,
                    rows: u64::from(c.vectors),
                    row_bytes: mode.vector_bytes(u64::from(c.inner)),
                    access: Access::Read,
                    outer: ONCE,
                };
                let result = RegionOf {
                    place: c.place.accumulator_beside(),
                    address: &c.result,
                    stride: c.result_stride,
                    rows: u64::from(c.vectors),
                    row_bytes: sums(u64::from(c.cols)),
                    access: update(c.accumulate),
                    outer: ONCE,
                };
                [Some(stream).filter(|_| c.window.is_none()), Some(result), None]
            }
            Operation::Product(p) => {
                let inner = u64::from(p.inner);
                let activation = RegionOf {
                    place: p.activation_place,
                    address: &p.activation,
                    stride: p.activation_stride,
                    rows: mode.activation_steps(inner).0,
                    row_bytes: mode.activation_step_bytes(u64::from(p.rows)),
                    access: Access::Read,
                    outer: ONCE,
                };
                let weight = RegionOf {
                    place: p.weight_place,
                    address: &p.weight,
                    stride: p.weight_stride,
                    rows: mode.steps(inner),
                    row_bytes: mode.weight_step_bytes(u64::from(p.cols)),
                    access: Access::Read,
                    outer: ONCE,
                };
                let (lines, elements) = mode.result_lines(p.rows, p.cols);
                let result = RegionOf {
                    place: p.activation_place.accumulator_beside(),
                    address: &p.result,
                    stride: p.result_stride,
                    rows: lines,
                    row_bytes: sums(elements),
                    access: update(p.accumulate),
                    outer: ONCE,
                };
                [Some(activation).filter(|_| p.window.is_none()), Some(weight), Some(result)]
            }
            Operation::Requantize(r) => {
                let read = RegionOf {
                    place: r.place.accumulator_beside(),
                    address: &r.sums,
                    stride: r.sums_stride,
                    rows: u64::from(r.rows),
                    row_bytes: sums(u64::from(r.cols)),
                    access: Access::Read,
                    outer: ONCE,
                };
                let (rows, row) = if r.by_channels { (r.cols, r.rows) } else { (r.rows, r.cols) };
                // In planes an element is a byte.
                let Planes { block, bytes } = r.planes.unwrap_or(Planes { block: u64::from(row), bytes: 0 });
                let write = RegionOf {
                    place: r.place,
                    address: &r.result,
                    stride: r.result_stride,
                    rows: u64::from(rows),
                    row_bytes: r.format.packed_bytes(block),
                    access: Access::Write,
                    outer: [Dimension { count: u64::from(row) / block.max(1), stride: bytes }, ONCE[1]],
                };
                [Some(read), Some(write), None]
            }
            Operation::Vector(v) => {
                let rows = |input| v.rows_of(input, Access::Read);
                let first = Some(rows(&v.input)).filter(|_| v.window.is_none());
                let result = RegionOf {
                    address: &v.result,
                    stride: v.result_stride,
                    row_bytes: v.format.packed_bytes(u64::from(v.cols)),
                    ..v.rows_of(&v.input, Access::Write)
                };
                [first, v.second.as_ref().map(|second| RegionOf { rows: v.second_rows(), ..rows(second) }), Some(result)]
            }
            Operation::Host(h) => h.regions(),
            Operation::Fence => [None, None, None],
        }
    }
}

impl VectorWork {
    /// Rows of the second input: those of a depthwise convolution's weights and biases are the taps' and the biases' bytes.
    pub(crate) fn second_rows(&self) -> u64 {
        let of_window = |window: &Window| window.slide.filter[0].saturating_mul(window.slide.filter[1]).saturating_add(BIAS_BYTES);
        self.window.as_ref().map_or(u64::from(self.rows), of_window)
    }

    fn rows_of<'c>(&self, input: &'c VectorInput, access: Access) -> RegionOf<'c> {
        let (rows, row_bytes) = (u64::from(self.rows), input.format.packed_bytes(u64::from(self.cols)));
        RegionOf { place: self.place, address: &input.address, stride: input.stride, rows, row_bytes, access, outer: ONCE }
    }
}

impl Transfer {
    fn dram_region(&self, access: Access) -> RegionOf<'_> {
        let rows = if self.dram_stride == 0 { 1 } else { self.rows };
        let (rows, row_bytes) = self.coded.map_or((rows, self.row_bytes), |coded| (1, coded.bytes));
        RegionOf { place: Place::Dram, address: &self.dram, stride: self.dram_stride, rows, row_bytes, access, outer: ONCE }
    }

    fn local_region(&self, access: Access) -> RegionOf<'_> {
        RegionOf {
            place: self.place,
            address: &self.local,
            stride: self.local_stride,
            rows: self.rows,
            row_bytes: self.row_bytes,
            access,
            outer: ONCE,
        }
    }

    /// What an mvin writes on the chip.
    fn claimed_region(&self) -> RegionOf<'_> {
        let region = self.local_region(Access::Write);
        match region.extent() {
            Some(extent) if self.owns_gaps => RegionOf { rows: 1, row_bytes: extent, ..region },
            _ => region,
        }
    }
}

impl Place {
    /// The accumulator of the core that this memory belongs to.
    pub(crate) fn accumulator_beside(self) -> Self {
        match self {
            Self::Dram => Self::Accumulator(0),
            Self::Scratchpad(core, _) | Self::Accumulator(core) => Self::Accumulator(core),
        }
    }
}
