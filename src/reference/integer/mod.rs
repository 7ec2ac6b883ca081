//! The golden executor of a quantized network: plain loops over the sums that the contract of numbers defines, no tiling, no time.
//!
//! A sum is `acc = bias`, then, K ascending in chunks, `acc = update(acc, sum over the chunk of (x[k] - zero_x) (w[k] - zero_w))`, then the
//! output stage; K is, for a convolution, filter rows, then filter columns, then the channels of the group, and padding is zero. All else is
//! done by the algorithms of `numerics::VectorOp`, whose numbers `network::IntegerForm` finds. It knows no command and no chip: what both
//! must agree on is [`Arithmetic`].

mod sums;
mod vector;

pub use sums::Reached;

use super::names::{names_rows, whole};
use super::{ReferenceError, movement};
use crate::network::{Element, IntegerForm, Layer, LayerId, Network, Op, Weight, integers_in, integers_of};
use crate::numerics::Arithmetic;
use ndarray::{Array2, ArrayView2, ArrayViewD, ArrayViewMutD, IxDyn};
use rayon::prelude::*;
use std::collections::BTreeMap;
use sums::Watch;

/// The most integers that a trace may hold (4 GiB).
const MAX_VALUES: u128 = 1 << 30;

/// Every layer's integers for a set of samples.
#[derive(Debug, Clone, PartialEq)]
pub struct IntegerTrace {
    values: BTreeMap<LayerId, Array2<i32>>,
}

impl IntegerTrace {
    /// A layer's integers, samples x elements; `None` for a layer that the host computes after the logits.
    pub fn layer(&self, id: LayerId) -> Option<&Array2<i32>> {
        self.values.get(&id)
    }
}

/// Real samples (n x elements of the input) as the integers that the host hands to the chip; whole numbers that name something stay as they are.
///
/// # Errors
/// If the network's input is not quantized, or the samples do not fit it, or are not whole where they name something.
#[expect(clippy::needless_pass_by_value, reason = "a view is a reference already")]
pub fn quantize_inputs(network: &Network, samples: ArrayView2<f32>) -> Result<Array2<i32>, ReferenceError> {
    let input = network.input();
    input_fits(network, samples.ncols())?;
    if input.output.element == Element::Index {
        whole(network, &samples)?;
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a cast from float to integer saturates, and names are checked where they are read"
        )]
        return Ok(samples.mapv(|x| x as i32));
    }
    let quantization = integers_of(input)?;
    Ok(samples.mapv(|x| quantization.quantize(x)))
}

fn input_fits(network: &Network, found: usize) -> Result<(), ReferenceError> {
    let input = &network.input().output;
    if found == input.elements() {
        return Ok(());
    }
    Err(ReferenceError::InputSize { network: network.name().to_string(), wanted: input.elements(), shape: input.shape.clone(), found })
}

/// Runs a quantized network on integer inputs (n x elements), up to its logits, each layer in its arithmetic.
///
/// # Errors
/// Inputs of another size, a layer that is not quantized, an operation that has no integer form, or values that would take more than 4 GiB.
pub fn run(network: &Network, arithmetic: impl Fn(LayerId) -> Arithmetic, inputs: Array2<i32>) -> Result<IntegerTrace, ReferenceError> {
    let samples = inputs.nrows();
    input_fits(network, inputs.ncols())?;
    let total: u128 = network.layers().map(|layer| layer.output.elements() as u128 * samples as u128).sum();
    if total > MAX_VALUES {
        return Err(ReferenceError::TooLarge { network: network.name().to_string(), samples, values: total, limit: MAX_VALUES });
    }
    let mut values: BTreeMap<LayerId, Array2<i32>> = BTreeMap::new();
    let logits = network.logits().id;
    let mut inputs = Some(inputs);
    for layer in network.layers() {
        let sources: Vec<&Array2<i32>> = network.inputs(layer.id).iter().map(|id| &values[id]).collect();
        let value = match inputs.take_if(|_| layer.id == network.input().id) {
            Some(inputs) => inputs.as_standard_layout().into_owned(),
            None => evaluate(network, layer, &arithmetic(layer.id), &sources, samples, None)?,
        };
        values.insert(layer.id, value);
        if layer.id == logits {
            break;
        }
    }
    Ok(IntegerTrace { values })
}

/// Runs one layer on the integers that it reads (one array an argument, n x elements), whatever the layers before it yield.
///
/// # Errors
/// As [`run`], for this layer alone. A layer that reads nothing has nothing to run on.
///
/// # Panics
/// If `id` comes from another network.
pub fn run_layer(network: &Network, id: LayerId, arithmetic: &Arithmetic, sources: &[&Array2<i32>]) -> Result<Array2<i32>, ReferenceError> {
    let layer = network.layer(id);
    let read = network.inputs(id);
    let sources: Vec<_> = sources.iter().map(|source| source.as_standard_layout().into_owned()).collect();
    let samples = sources.first().map_or(0, Array2::nrows);
    let fits = |(id, source): (&LayerId, &Array2<i32>)| source.dim() == (samples, network.layer(*id).output.elements());
    if read.is_empty() || read.len() != sources.len() || !read.iter().zip(&sources).all(fits) {
        let wanted: Vec<usize> = read.iter().map(|id| network.layer(*id).output.elements()).collect();
        let found = sources.iter().map(Array2::ncols).collect();
        return Err(ReferenceError::LayerInputs { layer: layer.name.clone(), wanted, found });
    }
    evaluate(network, layer, arithmetic, &sources.iter().collect::<Vec<_>>(), samples, None)
}

/// How far the sums of a dense layer, a convolution or a product of two values grow in a run, and how many of them its accumulator cannot hold.
///
/// # Errors
/// As [`run_layer`].
///
/// # Panics
/// If `trace` is of another network.
pub fn watch(network: &Network, id: LayerId, arithmetic: &Arithmetic, trace: &IntegerTrace) -> Result<Reached, ReferenceError> {
    let layer = network.layer(id);
    let sources: Vec<&Array2<i32>> = network.inputs(id).iter().map(|read| &trace.values[read]).collect();
    let samples = sources.first().map_or(0, |source| source.nrows());
    let watch = Watch::new();
    evaluate(network, layer, arithmetic, &sources, samples, Some(&watch))?;
    Ok(watch.reached())
}

/// Every sample of a layer. Sources are in standard layout.
fn evaluate(
    network: &Network,
    layer: &Layer,
    arithmetic: &Arithmetic,
    sources: &[&Array2<i32>],
    samples: usize,
    watch: Option<&Watch>,
) -> Result<Array2<i32>, ReferenceError> {
    let form = IntegerForm::of(network, layer, arithmetic.requantize)?;
    let read: Vec<&Layer> = network.inputs(layer.id).into_iter().map(|id| network.layer(id)).collect();
    let mut y = Array2::zeros((samples, layer.output.elements()));
    match &form {
        IntegerForm::Host => match &layer.op {
            Op::Gather(table) => gather(layer, table, sources[0], &mut y)?,
            // The only input is there before anything is evaluated.
            Op::Input => return Err(ReferenceError::SecondInput { layer: layer.name.clone() }),
            _ => moves(layer, &read, sources, 0, &mut y),
        },
        IntegerForm::Constant(constant) => {
            y.rows_mut().into_iter().for_each(|mut row| row.iter_mut().zip(constant).for_each(|(y, value)| *y = i32::from(*value)));
        }
        IntegerForm::Array(stage) => sums::run(layer, &read, arithmetic.accumulate, stage, sources, &mut y, watch)?,
        IntegerForm::Moves { tables, border } => {
            let through = |(source, table): (&&Array2<i32>, &Option<_>)| match table {
                Some(op) => source.mapv(|x| vector::one(op, x)),
                None => (*source).clone(),
            };
            let tabled: Vec<Array2<i32>> = sources.iter().zip(tables).map(through).collect();
            moves(layer, &read, &tabled.iter().collect::<Vec<_>>(), i32::from(*border), &mut y);
        }
        IntegerForm::Vector { .. } | IntegerForm::WithConstant { .. } | IntegerForm::Tables { .. } | IntegerForm::Reals(_) => {
            vector::run(layer, &read, &form, sources, &mut y);
        }
    }
    Ok(y)
}

/// The rows of a table that names name (a negative one counts from the end, as in ONNX).
fn gather(layer: &Layer, table: &Weight<IxDyn>, names: &Array2<i32>, y: &mut Array2<i32>) -> Result<(), ReferenceError> {
    let table = integers_in(table, &integers_of(layer)?);
    names_rows(layer, table.shape()[0], names)?;
    let rows = i64::try_from(table.shape()[0]).unwrap_or(i64::MAX);
    let width = table.len() / table.shape()[0];
    let table: Vec<i32> = table.iter().copied().collect();
    for (name, y) in names.iter().zip(flat_mut(y).chunks_exact_mut(width)) {
        let name = i64::from(*name);
        let row = if name < 0 { name + rows } else { name };
        let row = usize::try_from(row).expect("bug: names are checked just before");
        y.copy_from_slice(&table[row * width..][..width]);
    }
    Ok(())
}

fn moves(layer: &Layer, read: &[&Layer], sources: &[&Array2<i32>], border: i32, y: &mut Array2<i32>) {
    each_sample(sources, y, |x, y| {
        let views: Vec<_> = read.iter().zip(x).map(|(read, x)| view(&read.output.shape, x)).collect();
        let y = ArrayViewMutD::from_shape(IxDyn(&layer.output.shape), y).expect("bug: a value has as many numbers as its shape says");
        movement::run(&layer.op, &views, border, y);
    });
}

/// Computes every sample on its own: one slice a source, and the sample's outputs.
fn each_sample(sources: &[&Array2<i32>], y: &mut Array2<i32>, run: impl Fn(&[&[i32]], &mut [i32]) + Sync) {
    let sources: Vec<(&[i32], usize)> = sources.iter().map(|source| (flat(source), source.ncols())).collect();
    let width = y.ncols();
    flat_mut(y).par_chunks_exact_mut(width).enumerate().for_each(|(sample, y)| {
        let x: Vec<&[i32]> = sources.iter().map(|(source, size)| &source[sample * size..][..*size]).collect();
        run(&x, y);
    });
}

fn view<'x, T>(shape: &[usize], values: &'x [T]) -> ArrayViewD<'x, T> {
    ArrayViewD::from_shape(IxDyn(shape), values).expect("bug: a value has as many numbers as its shape says")
}

fn flat(values: &Array2<i32>) -> &[i32] {
    values.as_slice().expect("bug: values of layers are in standard layout")
}

fn flat_mut(values: &mut Array2<i32>) -> &mut [i32] {
    values.as_slice_mut().expect("bug: values of layers are in standard layout")
}
