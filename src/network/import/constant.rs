//! Constants of an import: where their numbers are, and what they are when asked for.

use super::external::Folder;
use super::onnx::TensorProto;
use super::onnx::tensor_proto::DataType;
use super::tensor;
use crate::network::{NetworkError, Weight};
use crate::numerics::Dtype;
use ndarray::{ArrayD, Axis};
use std::borrow::Cow;

/// A constant value of the file.
pub(super) enum Constant<'a> {
    /// As it stands in the file; read each time that it is used.
    Stored(Cow<'a, TensorProto>),
    /// Computed from others.
    Computed(Numbers),
}

/// The numbers of a constant.
#[derive(Clone)]
pub(super) enum Numbers {
    /// Reals.
    Float(ArrayD<f32>),
    /// Whole numbers in this format.
    Int(ArrayD<i64>, DataType),
    /// Whole numbers of this format that a `Clip` holds within bounds, as Brevitas writes narrow formats.
    Clipped(ArrayD<i32>, DataType, [i64; 2]),
    /// Reals that are held as integers.
    Quantized(Quantized),
}

/// Reals held as integers: `scale * (value - zero_point)`, both for all or for each index of `axis`.
#[derive(Clone)]
pub(super) struct Quantized {
    /// The integers: signed, shifted where the file has them unsigned.
    pub(super) values: ArrayD<i32>,
    /// Their format; `None` is 32 bits, as biases are.
    pub(super) dtype: Option<Dtype>,
    pub(super) scales: Vec<f32>,
    pub(super) zero_points: Vec<i32>,
    pub(super) axis: usize,
}

impl Constant<'_> {
    /// The sizes of its axes.
    pub(super) fn shape(&self) -> Result<Vec<usize>, NetworkError> {
        match self {
            Self::Stored(stored) => Ok(tensor::shape_of(stored)?.0),
            Self::Computed(numbers) => Ok(numbers.shape().to_vec()),
        }
    }

    /// The format of its numbers.
    pub(super) fn data_type(&self) -> DataType {
        match self {
            Self::Stored(stored) => DataType::try_from(tensor::data_type(stored)).unwrap_or(DataType::Undefined),
            Self::Computed(Numbers::Int(_, kind) | Numbers::Clipped(_, kind, _)) => *kind,
            Self::Computed(_) => DataType::Float,
        }
    }

    /// Its numbers.
    pub(super) fn numbers(&self, folder: Folder<'_>) -> Result<Numbers, NetworkError> {
        match (self, self.data_type()) {
            (Self::Computed(numbers), _) => Ok(numbers.clone()),
            (Self::Stored(stored), DataType::Float) => tensor::floats(stored, folder).map(Numbers::Float),
            (Self::Stored(stored), kind) => Ok(Numbers::Int(tensor::longs(stored, folder)?, kind)),
        }
    }

    /// Its numbers as reals.
    pub(super) fn reals(&self, folder: Folder<'_>) -> Result<ArrayD<f32>, NetworkError> {
        match self {
            Self::Stored(stored) => tensor::floats(stored, folder),
            Self::Computed(numbers) => Ok(numbers.reals()),
        }
    }

    /// Its numbers, where they are whole.
    pub(super) fn longs(&self, folder: Folder<'_>) -> Result<Option<ArrayD<i64>>, NetworkError> {
        match self {
            Self::Stored(stored) if self.data_type() == DataType::Float => tensor::floats(stored, folder).map(|_| None),
            Self::Stored(stored) => tensor::longs(stored, folder).map(Some),
            Self::Computed(Numbers::Int(values, _)) => Ok(Some(values.clone())),
            Self::Computed(Numbers::Clipped(values, ..)) => Ok(Some(values.mapv(i64::from))),
            Self::Computed(_) => Ok(None),
        }
    }

    /// Its numbers, where they are whole and have at most 32 bits.
    pub(super) fn narrow(&self, folder: Folder<'_>) -> Result<Option<ArrayD<i32>>, NetworkError> {
        match self {
            Self::Stored(stored) if self.data_type() != DataType::Float => tensor::integers(stored, folder).map(Some),
            Self::Computed(Numbers::Clipped(values, ..)) => Ok(Some(values.clone())),
            Self::Computed(Numbers::Int(values, _)) => {
                let narrow = values.iter().map(|value| i32::try_from(*value).ok()).collect::<Option<Vec<i32>>>();
                Ok(narrow.and_then(|narrow| ArrayD::from_shape_vec(values.raw_dim(), narrow).ok()))
            }
            _ => Ok(None),
        }
    }
}

impl Numbers {
    /// The sizes of its axes.
    pub(super) fn shape(&self) -> &[usize] {
        match self {
            Self::Float(values) => values.shape(),
            Self::Int(values, _) => values.shape(),
            Self::Clipped(values, ..) => values.shape(),
            Self::Quantized(quantized) => quantized.values.shape(),
        }
    }

    /// As reals.
    pub(super) fn reals(&self) -> ArrayD<f32> {
        match self {
            Self::Float(values) => values.clone(),
            Self::Int(values, _) => values.mapv(|value| value as f32),
            Self::Clipped(values, ..) => values.mapv(|value| value as f32),
            Self::Quantized(quantized) => quantized.reals(),
        }
    }
}

impl Quantized {
    /// The reals that the integers stand for, as `DequantizeLinear` has them.
    pub(super) fn reals(&self) -> ArrayD<f32> {
        let real = |channel: usize, value: i32| {
            let zero = self.zero_points.get(channel).or(self.zero_points.first()).copied().unwrap_or(0);
            (i64::from(value) - i64::from(zero)) as f32 * self.scales.get(channel).or(self.scales.first()).copied().unwrap_or(1.0)
        };
        if self.scales.len() <= 1 && self.zero_points.len() <= 1 {
            return self.values.mapv(|value| real(0, value));
        }
        let mut reals = ArrayD::zeros(self.values.raw_dim());
        let lanes = reals.axis_iter_mut(Axis(self.axis)).zip(self.values.axis_iter(Axis(self.axis)));
        for (channel, (mut reals, values)) in lanes.enumerate() {
            reals.zip_mut_with(&values, |to, value| *to = real(channel, *value));
        }
        reals
    }

    /// As weights, with scales along `axis` where there are many; `None` where they run along another axis or are too wide.
    pub(super) fn weight(&self, axis: usize) -> Option<Weight<ndarray::IxDyn>> {
        let many = self.scales.len() > 1 || self.zero_points.len() > 1;
        if many && self.axis != axis {
            return None;
        }
        let dtype = self.dtype?;
        let values = self.values.mapv(|value| i16::try_from(value).expect("bug: integers of at most 16 bits are within their format"));
        let zero_points = if self.zero_points.iter().all(|zero| *zero == 0) { Vec::new() } else { self.zero_points.clone() };
        Some(Weight::Integer { values, dtype, scales: self.scales.clone(), zero_points })
    }
}
