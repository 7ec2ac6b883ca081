//! Numbers that belong to a layer: weights, biases and constants, as trained or in integers.

use crate::numerics::{Dtype, of_channel};
use ndarray::{Array, Array1, Array2, Array4, ArrayD, Axis, Dimension, Ix2, IxDyn, RemoveAxis};

/// The weights of a layer, in the layout that its operation says: K x N for a dense layer, M x C/groups x R x S for a convolution.
#[derive(Debug, Clone, PartialEq)]
pub enum Weight<D: Dimension = Ix2> {
    /// As trained.
    Float(Array<f32, D>),
    /// Quantized: `w ~ scale * (value - zero_point)`, each per tensor or per channel.
    Integer {
        /// The integers, within `dtype`'s range.
        values: Array<i16, D>,
        /// Their format. In `Binary` a value is -1 or +1.
        dtype: Dtype,
        /// The real size of one step: one for all, or one for each channel (N of a dense layer, M of a convolution).
        scales: Vec<f32>,
        /// The integers that stand for 0.0: none where all are 0 (symmetric), one for all, or one for each channel.
        zero_points: Vec<i32>,
    },
}

/// The bias of a dense layer (N) or a convolution (M).
#[derive(Debug, Clone, PartialEq)]
pub enum Bias {
    /// As trained.
    Float(Array1<f32>),
    /// In steps of `input scale * weight scale[n]`, as the accumulator holds it.
    Integer(Array1<i64>),
}

impl<D: RemoveAxis> Weight<D> {
    /// The sizes of its axes.
    pub fn shape(&self) -> &[usize] {
        match self {
            Self::Float(values) => values.shape(),
            Self::Integer { values, .. } => values.shape(),
        }
    }

    /// How many numbers there are.
    pub fn len(&self) -> usize {
        self.shape().iter().product()
    }

    /// Whether there are none, which no checked network has.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The format of integers.
    pub fn dtype(&self) -> Option<Dtype> {
        if let Self::Integer { dtype, .. } = self { Some(*dtype) } else { None }
    }

    /// The scales of integers: one for all, or one a channel.
    pub fn scales(&self) -> Option<&[f32]> {
        match self {
            Self::Float(_) => None,
            Self::Integer { scales, .. } => Some(scales),
        }
    }

    /// The share of weights that stand for exactly zero.
    pub fn sparsity(&self) -> f64 {
        let zeros = match self {
            Self::Float(values) => values.iter().filter(|w| **w == 0.0).count(),
            Self::Integer { values, zero_points, .. } if zero_points.len() <= 1 => {
                let zero = zero_points.first().copied().unwrap_or(0);
                values.iter().filter(|w| i32::from(**w) == zero).count()
            }
            // One for each channel: of a matrix the last axis, else the first.
            Self::Integer { values, zero_points, .. } => {
                let axis = channel_axis(values.ndim());
                let is_zero = |(channel, w): (usize, &i16)| i32::from(*w) == zero_points[channel];
                let lanes = values.axis_iter(Axis(axis)).enumerate();
                lanes.map(|(channel, lane)| lane.iter().filter(|w| is_zero((channel, w))).count()).sum()
            }
        };
        if self.is_empty() { 0.0 } else { zeros as f64 / self.len() as f64 }
    }

    /// The reals that the numbers stand for: `scale * (value - zero_point)` in f32.
    pub fn to_reals(&self) -> Array<f32, D> {
        match self {
            Self::Float(values) => values.clone(),
            Self::Integer { values, scales, zero_points, .. } => {
                let of = |channel: usize| {
                    let zero = if zero_points.is_empty() { 0 } else { of_channel(zero_points, channel) };
                    (of_channel(scales, channel), zero)
                };
                let mut reals = values.mapv(f32::from);
                let real = |(scale, zero): (f32, i32), value: f32| scale * (value - zero as f32);
                if reals.ndim() < 2 || (scales.len() == 1 && zero_points.len() <= 1) {
                    reals.mapv_inplace(|value| real(of(0), value));
                } else {
                    let axis = channel_axis(reals.ndim());
                    for (channel, mut lane) in reals.axis_iter_mut(Axis(axis)).enumerate() {
                        lane.mapv_inplace(|value| real(of(channel), value));
                    }
                }
                reals
            }
        }
    }
}

/// The axis along which a scale a channel runs: N of a matrix K x N, the first axis of all else.
pub(super) fn channel_axis(rank: usize) -> usize {
    usize::from(rank == 2)
}

/// Filters M x C x R x S as a matrix K x M, in the order in which an array takes them: K runs over filter rows, filter columns and channels,
/// channels innermost.
///
/// # Panics
/// Never: there are as many elements as before.
pub fn filters_as_rows<T: Clone>(filters: Array4<T>) -> Array2<T> {
    let (outputs, channels, rows, columns) = filters.dim();
    let in_order = filters.permuted_axes([2, 3, 1, 0]).as_standard_layout().into_owned();
    in_order.into_shape_with_order((rows * columns * channels, outputs)).expect("bug: as many elements as before")
}

/// A matrix whose rows count `outer` things, and pixels of each innermost, with the things innermost: the K of a flattened image, channels outermost, as
/// that of the image with its channels innermost. Given the pixels in place of the channels it is the way back.
pub fn exchanged<T: Copy>(matrix: &Array2<T>, outer: usize) -> Array2<T> {
    let inner = matrix.nrows() / outer;
    Array2::from_shape_fn(matrix.dim(), |(k, n)| matrix[[k % outer * inner + k / outer, n]])
}

/// The same numbers in another shape, row-major.
///
/// # Panics
/// If it has not as many elements, which whoever asks has checked.
pub(super) fn reshaped<T: Clone>(values: ArrayD<T>, shape: &[usize]) -> ArrayD<T> {
    let values = if values.is_standard_layout() { values } else { values.as_standard_layout().into_owned() };
    values.into_shape_with_order(IxDyn(shape)).expect("bug: a shape was checked to have as many elements")
}

impl Weight<IxDyn> {
    /// The same numbers with other sizes of axes, of as many elements.
    ///
    /// # Panics
    /// If there are not as many elements.
    pub(super) fn map_shape(self, shape: impl Fn(&[usize]) -> Vec<usize>) -> Self {
        let shape = shape(self.shape());
        match self {
            Self::Float(values) => Self::Float(reshaped(values, &shape)),
            Self::Integer { values, dtype, scales, zero_points } => {
                Self::Integer { values: reshaped(values, &shape), dtype, scales, zero_points }
            }
        }
    }

    /// The same numbers with their rank known; `None` where it is another.
    pub(super) fn into_dimensionality<D: Dimension>(self) -> Option<Weight<D>> {
        match self {
            Self::Float(values) => values.into_dimensionality().ok().map(Weight::Float),
            Self::Integer { values, dtype, scales, zero_points } => {
                let values = values.into_dimensionality().ok()?;
                Some(Weight::Integer { values, dtype, scales, zero_points })
            }
        }
    }
}

impl Weight {
    /// The weights with their axes swapped.
    pub(super) fn transposed(self) -> Self {
        match self {
            Self::Float(values) => Self::Float(values.reversed_axes().as_standard_layout().into_owned()),
            Self::Integer { values, dtype, scales, zero_points } => {
                Self::Integer { values: values.reversed_axes().as_standard_layout().into_owned(), dtype, scales, zero_points }
            }
        }
    }

    /// K and N of a dense layer's weights.
    pub fn dim(&self) -> (usize, usize) {
        match self {
            Self::Float(values) => values.dim(),
            Self::Integer { values, .. } => values.dim(),
        }
    }

    /// Bytes of the weights as they are stored: packed in their format, each of the K rows ending on a byte (4 bytes each in float).
    pub fn stored_bytes(&self) -> u64 {
        let (k, n) = self.dim();
        match self {
            Self::Float(_) => 4 * k as u64 * n as u64,
            Self::Integer { dtype, .. } => k as u64 * dtype.packed_bytes(n as u64),
        }
    }
}

impl Bias {
    /// How many there are: one a channel.
    pub fn len(&self) -> usize {
        match self {
            Self::Float(bias) => bias.len(),
            Self::Integer(bias) => bias.len(),
        }
    }

    /// Whether there are none, which no checked network has.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
