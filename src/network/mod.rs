//! Networks: the graph, its operations, and how both come out of a model file and go into one. The same on every chip.
//!
//! Not here: quantization (`compress`), execution (`reference`), anything of a chip.

mod error;
pub mod export;
mod graph;
pub mod import;
mod integer;
mod op;
mod shape;
mod weight;
mod window;

pub use error::NetworkError;
pub use export::export;
pub use graph::{Element, Layer, LayerId, Network, NetworkBuilder, Value, fuse_activations};
pub use import::{import, import_bytes, import_bytes_beside};
pub use integer::{IntegerForm, check_rows, integers_in, integers_of};
pub use op::{Activation, BinaryConstant, BinaryOp, Border, Conv, Dense, Function, GeluForm, LayerNorm, Op, Pad, Pool, PoolKind, Span};
pub use weight::{Bias, Weight, exchanged, filters_as_rows};

use shape::broadcast;
