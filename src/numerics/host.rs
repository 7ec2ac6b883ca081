//! What the host does on a chip's integers where no unit of the chip can: plain data, a byte an element. The machine's host and the integer
//! reference both apply it.
//!
//! | operation | algorithm |
//! | --- | --- |
//! | [`RealFunction`] | `quantize(f(dequantize(x)))` in f32, as the float reference computes `f` |
//! | [`HostOp::Product`] | sums of products under an accumulator's rule, through an [`OutputStage`] |
//! | [`HostOp::Copy`] | elements change places |

use super::{AccumulateRule, OutputStage, Quantization};
use serde::{Deserialize, Serialize};

/// A function of integers by way of the reals that they stand for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RealOp {
    /// The function.
    pub function: RealFunction,
    /// How each value that it reads is held.
    pub inputs: Vec<Quantization>,
    /// How its results are held.
    pub output: Quantization,
}

/// What is computed of reals, element by element. What has an element for each of a sample goes round from sample to sample.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum RealFunction {
    /// `a / b`.
    Quotient,
    /// `c / x`, a numerator an element of a sample.
    Reciprocal(Vec<f32>),
    /// `x` where it is positive, else `slope * x`, a slope an element of a sample.
    PRelu(Vec<f32>),
}

impl RealOp {
    /// The result for element `place` of each value.
    ///
    /// # Panics
    /// If a value is missing or shorter, or there is no numerator or slope, which [`HostOp::fault`] says.
    pub fn apply(&self, inputs: &[&[i16]], place: usize) -> i32 {
        let real = |slot: usize| self.inputs[slot].dequantize(i32::from(inputs[slot][place]));
        self.output.quantize(match &self.function {
            RealFunction::Quotient => real(0) / real(1),
            RealFunction::Reciprocal(numerators) => numerators[place % numerators.len()] / real(0),
            RealFunction::PRelu(slopes) => match real(0) {
                x if x < 0.0 => slopes[place % slopes.len()] * x,
                x => x,
            },
        })
    }

    fn fault(&self, elements: u64) -> Option<String> {
        let wanted = if matches!(self.function, RealFunction::Quotient) { 2 } else { 1 };
        if self.inputs.len() != wanted {
            return Some(format!("has {} quantizations of inputs and needs {wanted}", self.inputs.len()));
        }
        if let Some(held) = self.inputs.iter().chain([&self.output]).find(|held| !is_of_a_byte(held)) {
            return Some(format!("holds values as {held:?}, which is none of a byte"));
        }
        match &self.function {
            RealFunction::Quotient => None,
            RealFunction::Reciprocal(numbers) | RealFunction::PRelu(numbers) => {
                let fits = !numbers.is_empty() && elements.is_multiple_of(numbers.len() as u64);
                (!fits).then(|| format!("has {} constants for {elements} elements", numbers.len()))
            }
        }
    }
}

/// Whether it is a quantization of at most eight bits, its zero point one of its integers.
fn is_of_a_byte(held: &Quantization) -> bool {
    held.dtype.bits() <= 8 && (held.dtype.min()..=held.dtype.max()).contains(&held.zero_point) && held.scale.is_finite() && held.scale > 0.0
}

/// An operation of the host in the midst of a program.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum HostOp {
    /// Through reals.
    Reals(RealOp),
    /// Matrices, one after the other: `rows` x `inner` by `inner` x `cols`.
    Product(HostProduct),
    /// Elements as they are.
    Copy,
}

/// Products of matrices.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HostProduct {
    /// Rows of the left one.
    pub rows: u64,
    /// Columns of the left one, rows of the right one.
    pub inner: u64,
    /// Columns of the right one.
    pub cols: u64,
    /// What stands for zero in each.
    pub zero_points: [i32; 2],
    /// How products become a sum.
    pub rule: AccumulateRule,
    /// From a sum to the output.
    pub stage: OutputStage,
}

impl HostOp {
    /// The elements of each value that it reads for so many results.
    pub fn reads(&self, elements: u64) -> Vec<u64> {
        match self {
            Self::Reals(op) => vec![elements; op.inputs.len()],
            Self::Copy => vec![elements],
            Self::Product(HostProduct { rows, inner, cols, .. }) => {
                let matrices = elements / rows.saturating_mul(*cols).max(1);
                [rows, cols].map(|size| matrices.saturating_mul(size.saturating_mul(*inner))).to_vec()
            }
        }
    }

    /// What is wrong with it for so many results, if anything is: an operation that was read from a file may hold anything.
    pub fn fault(&self, elements: u64) -> Option<String> {
        match self {
            Self::Copy => None,
            Self::Reals(op) => op.fault(elements),
            Self::Product(HostProduct { rows, inner, cols, rule, stage, zero_points }) => {
                let matrix = rows.checked_mul(*cols).filter(|size| *size > 0 && *inner > 0);
                if matrix.is_none_or(|matrix| !elements.is_multiple_of(matrix)) {
                    return Some(format!("has {elements} results, which are no matrices of {rows} x {cols} over {inner}"));
                }
                let is_byte = |zero: &i32| i8::try_from(*zero).is_ok();
                let is_sound = (1..=64).contains(&rule.bits) && rule.chunk > 0 && zero_points.iter().all(is_byte) && stage.channels() == 1;
                (!is_sound).then(|| "has an accumulator, zero points or an output stage that are none".to_string())
            }
        }
    }

    /// The results for what it reads.
    ///
    /// # Panics
    /// If it does not fit what it reads, which [`HostOp::fault`] says.
    pub fn apply(&self, inputs: &[&[i16]], results: &mut [i8]) {
        match self {
            Self::Reals(op) => results.iter_mut().enumerate().for_each(|(place, y)| *y = narrow(op.apply(inputs, place))),
            Self::Copy => results.iter_mut().zip(inputs[0]).for_each(|(y, x)| *y = narrow(i32::from(*x))),
            Self::Product(product) => product.apply([inputs[0], inputs[1]], results),
        }
    }
}

impl HostProduct {
    fn apply(&self, [left, right]: [&[i16]; 2], results: &mut [i8]) {
        let size = |size: u64| usize::try_from(size).expect("bug: what was read is as large as memory at most");
        let (rows, inner, cols, chunk) = (size(self.rows), size(self.inner), size(self.cols), usize::try_from(self.rule.chunk));
        let chunk = chunk.unwrap_or(usize::MAX);
        let matrices = left.chunks_exact(rows * inner).zip(right.chunks_exact(inner * cols)).zip(results.chunks_exact_mut(rows * cols));
        for ((left, right), results) in matrices {
            for (place, y) in results.iter_mut().enumerate() {
                let products = |k: usize| {
                    let of = |x: i16, zero: i32| i64::from(x) - i64::from(zero);
                    of(left[place / cols * inner + k], self.zero_points[0]) * of(right[k * cols + place % cols], self.zero_points[1])
                };
                let sum_of = |first: usize| (first..first.saturating_add(chunk).min(inner)).map(products).sum();
                let sum = (0..inner).step_by(chunk).fold(0, |sum, first| self.rule.update(sum, sum_of(first)));
                *y = narrow(self.stage.apply(0, sum));
            }
        }
    }
}

fn narrow(value: i32) -> i8 {
    i8::try_from(value.clamp(i32::from(i8::MIN), i32::from(i8::MAX))).expect("bug: clamped to eight bits just before")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::numerics::{Dtype, Overflow};

    fn int8(scale: f32, zero_point: i32) -> Quantization {
        Quantization { dtype: Dtype::Int8, scale, zero_point }
    }

    #[test]
    fn a_quotient_is_that_of_the_reals_rounded() {
        let function = RealFunction::Quotient;
        let op = HostOp::Reals(RealOp { function, inputs: vec![int8(0.5, 1), int8(0.25, -2)], output: int8(0.125, 3) });
        let mut results = [0; 5];
        // 2 / 1.5; -3 / 0.5; 1 / 0 and -1 / 0, which are infinite; 0 / 0, which is no number.
        op.apply(&[&[5, -5, 3, -1, 1], &[4, 0, -2, -2, -2]], &mut results);
        assert_eq!(results, [14, -45, 127, -128, 3]);
        assert!(op.fault(5).is_none());
    }

    #[test]
    fn constants_go_round_from_sample_to_sample() {
        let of = |function| HostOp::Reals(RealOp { function, inputs: vec![int8(0.5, 0)], output: int8(0.25, 0) });
        let mut results = [0; 4];
        of(RealFunction::PRelu(vec![0.5, -1.0])).apply(&[&[-4, -4, 4, -2]], &mut results);
        assert_eq!(results, [-4, 8, 8, 4]);
        of(RealFunction::Reciprocal(vec![1.0, 3.0])).apply(&[&[1, 2, 4, -2]], &mut results);
        assert_eq!(results, [8, 12, 2, -12]);
        assert!(of(RealFunction::PRelu(vec![1.0; 3])).fault(4).is_some() && of(RealFunction::Quotient).fault(4).is_some());
    }

    #[test]
    fn a_product_is_updated_chunk_by_chunk() {
        let rule = AccumulateRule { bits: 8, overflow: Overflow::Saturate, chunk: 1 };
        let product = HostProduct { rows: 1, inner: 3, cols: 1, zero_points: [1, 0], rule, stage: OutputStage::unit(Dtype::Int8) };
        let mut results = [0; 2];
        HostOp::Product(product.clone()).apply(&[&[101, 101, -99, 1, 2, 3], &[1, 1, 1, 1, 1, 1]], &mut results);
        assert_eq!(results, [27, 3], "100, then 127, then 27; 0, 1, 3");
        assert_eq!(HostOp::Product(product.clone()).reads(2), [6, 6]);
        assert!(HostOp::Product(HostProduct { cols: 3, ..product }).fault(2).is_some());
    }
}
