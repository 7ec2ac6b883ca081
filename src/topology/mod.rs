//! Layer tables in SCALE-Sim's format: a CSV with a header, each row a convolution or a matrix product.
//!
//! The header says which. Names are taken without regard to case, spaces and punctuation, columns in the header's order; the first is the
//! layer's name:
//!
//! ```text
//! Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter, Strides,
//! Layer, M, N, K,
//! ```
//!
//! More columns may stand in any table, and every row then has a value in them:
//!
//! | column | what | without it |
//! | --- | --- | --- |
//! | `Padding` | rows and columns of zeros on each side of the input feature map (convolutions only) | 0 |
//! | `Groups` | each of so many groups reads its share of the channels (of K) and yields its share of the filters (of N) | 1 |
//! | `Repeat` | the layer runs as often, each time with weights of its own | 1 |
//! | `Weights` | 1: the filters (the K x N operand) are trained; 0: they are activations, as in attention | 1 |
//!
//! Without `Padding` a convolution is as SCALE-Sim has it, its input given with its padding, a last, partial step of the stride counting as one:
//! `ofmap = ceil((ifmap - filter + stride) / stride)` each way. With it, it is as papers and frameworks have it: `ofmap = floor((ifmap + 2 *
//! padding - filter) / stride) + 1`. As a product `M = ofmap height * ofmap width`, `K = filter height * filter width * channels / groups`,
//! `N = filters / groups`, made `groups * repeat` times. Trailing commas, blank lines, quotes, CRLF and a byte order mark are as good as none; a
//! line that begins with `#` is a comment, and those above the header say where the table comes from.
//!
//! ```
//! let table = systole::topology::parse("Layer, M, N, K,\nfc1, 128, 64, 512,\n", "mlp.csv")?;
//! assert_eq!((table.layers[0].m, table.layers[0].k, table.layers[0].n), (128, 512, 64));
//! # Ok::<(), systole::topology::TopologyError>(())
//! ```
//!
//! Not here: how long a layer takes (`pipeline`), and networks with their numbers (`network`).

mod columns;
mod error;
mod load;
mod parse;
mod shipped;

pub use error::{Fault, TopologyError};
pub use load::{MAX_BYTES, load, read};
pub use parse::{MAX_DIMENSION, MAX_LAYERS, MAX_RUNS, parse};
pub use shipped::{shipped, shipped_names};

/// A layer as matrix products, `runs` of them: each `m` x `k` activations times `k` x `n` weights. Each dimension is 1 to [`MAX_DIMENSION`]
/// elements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// The name; several layers may share one.
    pub name: String,
    /// Vectors of activations: pixels of the output feature map, for a convolution.
    pub m: u64,
    /// The length of the sums: the elements that a filter has in its group, for a convolution.
    pub k: u64,
    /// Outputs of each vector: filters of a group, for a convolution.
    pub n: u64,
    /// Groups of channels, each a product of its own; 1 for a dense layer.
    pub groups: u64,
    /// How often the layer runs, each time with weights of its own. `groups * repeat` is at most [`MAX_RUNS`].
    pub repeat: u64,
    /// Whether the weights are trained: not so where both operands are activations.
    pub has_weights: bool,
    /// The convolution that it is, if it is one.
    pub convolution: Option<Convolution>,
}

impl Layer {
    /// A matrix product, once.
    pub fn product(name: impl Into<String>, [m, k, n]: [u64; 3]) -> Self {
        Self { name: name.into(), m, k, n, groups: 1, repeat: 1, has_weights: true, convolution: None }
    }

    /// Products that the layer makes, one after the other: one for each group, as often as it is repeated.
    pub const fn runs(&self) -> u64 {
        self.groups * self.repeat
    }

    /// Multiply-accumulates of all runs: `m * k * n * runs`. Wide, since each factor may have 31 bits.
    pub fn macs(&self) -> u128 {
        // Three factors of at most 31 bits, and one of at most 16.
        u128::from(self.m) * u128::from(self.k) * u128::from(self.n) * u128::from(self.runs())
    }

    /// Trained weights of all runs, without biases, of which a table says nothing: `k * n * runs`, or none.
    pub fn parameters(&self) -> u128 {
        if self.has_weights { u128::from(self.k) * u128::from(self.n) * u128::from(self.runs()) } else { 0 }
    }
}

/// One group of a convolution, sizes down and to the right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Convolution {
    /// Rows and columns of the input feature map, without `padding`.
    pub input: [u64; 2],
    /// Rows and columns of the filter.
    pub filter: [u64; 2],
    /// Input channels of a group.
    pub channels: u64,
    /// Pixels from one place of the filter to the next.
    pub stride: [u64; 2],
    /// Rows and columns of zeros on each side of the input.
    pub padding: u64,
    /// Rows and columns of the output feature map.
    pub output: [u64; 2],
}

/// A layer table: at least one layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// The layers in the file's order.
    pub layers: Vec<Layer>,
    /// Columns that the header names, that have values, and that nothing here uses, such as SCALE-Sim 3's `Sparsity`.
    pub ignored: Vec<String>,
    /// What the comments above the header say: where the table comes from. Empty where there are none.
    pub source: String,
}

impl Table {
    /// Multiply-accumulates of all layers.
    pub fn macs(&self) -> u128 {
        // At most 2^16 layers of at most 2^110.
        self.layers.iter().map(Layer::macs).sum()
    }

    /// Trained weights of all layers, without biases.
    pub fn parameters(&self) -> u128 {
        self.layers.iter().map(Layer::parameters).sum()
    }
}
