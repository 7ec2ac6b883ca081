//! Numbers as hardware holds them: formats, quantization, accumulation and requantization. Plain functions on plain values.
//!
//! Not here: networks, time, or which chip does what (`chip` yields an [`Arithmetic`], `reference` and `sim` consume it).

mod accumulate;
mod depthwise;
mod dtype;
mod host;
pub mod kernel;
pub mod packed;
mod quantization;
mod requantize;
mod vector;

pub use accumulate::{AccumulateRule, Overflow, accumulate_i32, accumulate_i64, accumulate_rows_i32, load_sum, store_sum};
pub use depthwise::{BIAS_BYTES, Depthwise};
pub use dtype::Dtype;
pub use host::{HostOp, HostProduct, RealFunction, RealOp};
pub use quantization::{Quantization, of_channel};
pub use requantize::{Arithmetic, FixedPointMultiplier, LayerClass, OutputStage, Requantizer, Rounding};
pub use vector::{Average, LayerNorm, MAX_ROW, Product, Rescale, Softmax, Sum, Table, Target, VectorKind, VectorOp};
