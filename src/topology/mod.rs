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
//! A convolution has no padding: `ofmap = ceil((ifmap - filter + stride) / stride)` each way, and as a product `M = ofmap height * ofmap
//! width`, `K = filter height * filter width * channels`, `N = filters`. A depthwise layer is a row like any other. Trailing commas, blank
//! lines, quotes, CRLF and a byte order mark are as good as none.
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

pub use error::{Fault, TopologyError};
pub use load::{MAX_BYTES, load, read};
pub use parse::{MAX_DIMENSION, MAX_LAYERS, parse};

/// A layer as a matrix product: `m` x `k` activations times `k` x `n` weights. Each dimension is 1 to [`MAX_DIMENSION`] elements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// The name; several layers may share one.
    pub name: String,
    /// Vectors of activations: pixels of the output feature map, for a convolution.
    pub m: u64,
    /// The length of the sums: a filter's elements, for a convolution.
    pub k: u64,
    /// Outputs of each vector: filters, for a convolution.
    pub n: u64,
    /// The convolution that it is, if it is one.
    pub convolution: Option<Convolution>,
}

/// A convolution without padding, sizes down and to the right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Convolution {
    /// Rows and columns of the input feature map.
    pub input: [u64; 2],
    /// Rows and columns of the filter.
    pub filter: [u64; 2],
    /// Input channels.
    pub channels: u64,
    /// Pixels from one place of the filter to the next.
    pub stride: [u64; 2],
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
}
