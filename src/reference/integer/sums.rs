//! Sums of products: dense layers, convolutions, products of two values.

use super::super::{ReferenceError, movement};
use super::{each_sample, flat, flat_mut};
use crate::network::{Bias, Border, Conv, Layer, NetworkError, Op, integers_of};
use crate::numerics::{AccumulateRule, OutputStage};
use ndarray::Array2;
use rayon::prelude::*;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

/// An operand less its zero point: 16 bits where they hold all of a layer's, which is faster.
trait Operand: Copy + Default + Send + Sync {
    /// The operand that an integer is, which fits.
    fn of(value: i32) -> Self;

    /// The exact sum of products; as many products as `at_once` stay within 32 bits.
    fn dot(a: &[Self], b: &[Self], at_once: usize) -> i64;
}

impl Operand for i16 {
    fn of(value: i32) -> Self {
        Self::try_from(value).expect("bug: operands of 16 bits were chosen because all fit")
    }

    fn dot(a: &[Self], b: &[Self], at_once: usize) -> i64 {
        // Nothing here overflows, by the choice of `at_once`; checks would keep the loop from using vectors.
        let short =
            |a: &[Self], b: &[Self]| a.iter().zip(b).fold(0_i32, |sum, (a, b)| sum.wrapping_add(i32::from(*a).wrapping_mul(i32::from(*b))));
        if a.len() <= at_once {
            return i64::from(short(a, b));
        }
        a.chunks(at_once).zip(b.chunks(at_once)).map(|(a, b)| i64::from(short(a, b))).sum()
    }
}

impl Operand for i32 {
    fn of(value: i32) -> Self {
        value
    }

    fn dot(a: &[Self], b: &[Self], _: usize) -> i64 {
        a.iter().zip(b).fold(0_i64, |sum, (a, b)| sum.wrapping_add(i64::from(*a) * i64::from(*b)))
    }
}

/// What the sums of a layer reach, as they grow: the bias, and the exact sum after each chunk of K, as if no accumulator could overflow.
#[derive(Debug)]
pub(super) struct Watch {
    least: AtomicI64,
    greatest: AtomicI64,
    updates: AtomicU64,
    overflows: AtomicU64,
}

/// What the sums of a layer reached on some data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reached {
    /// The least partial sum.
    pub least: i64,
    /// The greatest.
    pub greatest: i64,
    /// Updates of the accumulator.
    pub updates: u64,
    /// Those whose exact sum the accumulator cannot hold.
    pub overflows: u64,
}

impl Reached {
    /// The fewest bits of an accumulator that holds every partial sum.
    pub fn least_bits(&self) -> u32 {
        let bits = |sum: i64| 65 - (if sum < 0 { !sum } else { sum }).leading_zeros();
        bits(self.least).max(bits(self.greatest))
    }
}

impl Watch {
    pub(super) const fn new() -> Self {
        let (least, greatest) = (AtomicI64::new(0), AtomicI64::new(0));
        Self { least, greatest, updates: AtomicU64::new(0), overflows: AtomicU64::new(0) }
    }

    pub(super) fn reached(self) -> Reached {
        Reached {
            least: self.least.into_inner(),
            greatest: self.greatest.into_inner(),
            updates: self.updates.into_inner(),
            overflows: self.overflows.into_inner(),
        }
    }

    /// Follows one sum, chunk by chunk. What is kept does not depend on the order of sums.
    fn follow(&self, rule: AccumulateRule, bias: i64, chunks: impl Iterator<Item = i64>) {
        let (mut sum, mut least, mut greatest, mut updates, mut overflows) = (bias, bias, bias, 0, 0);
        for addend in chunks {
            sum = sum.saturating_add(addend);
            least = least.min(sum);
            greatest = greatest.max(sum);
            updates += 1;
            overflows += u64::from(rule.update(sum, 0) != sum);
        }
        self.least.fetch_min(least, Relaxed);
        self.greatest.fetch_max(greatest, Relaxed);
        self.updates.fetch_add(updates, Relaxed);
        self.overflows.fetch_add(overflows, Relaxed);
    }
}

/// How the sums of a layer come about.
struct Sums<'a> {
    rule: AccumulateRule,
    chunk: usize,
    stage: &'a OutputStage,
    bias: Vec<i64>,
    /// Products that 32 bits hold.
    at_once: usize,
    /// Whether no order of additions can leave the accumulator.
    never_overflows: bool,
    /// Who wants to know how sums grow.
    watch: Option<&'a Watch>,
}

impl<'a> Sums<'a> {
    /// Sums of `inner` products of numbers up to `reach` in magnitude.
    fn new(rule: AccumulateRule, stage: &'a OutputStage, bias: Vec<i64>, inner: usize, reach: [u32; 2]) -> Self {
        let product = (u64::from(reach[0]) * u64::from(reach[1])).max(1);
        let heaviest = bias.iter().map(|bias| u128::from(bias.unsigned_abs())).max().unwrap_or(0);
        Self {
            rule,
            chunk: usize::try_from(rule.chunk).unwrap_or(usize::MAX).max(1),
            stage,
            bias,
            at_once: usize::try_from(u64::from(i32::MAX.unsigned_abs()) / product).unwrap_or(usize::MAX).max(1),
            watch: None,
            never_overflows: u128::from(product) * inner as u128 + heaviest < 1 << (rule.bits - 1),
        }
    }

    fn watched(self, watch: Option<&'a Watch>) -> Self {
        Self { watch, ..self }
    }

    /// The output of one channel.
    fn output<T: Operand>(&self, channel: usize, x: &[T], w: &[T]) -> i32 {
        let bias = self.bias.get(channel).copied().unwrap_or(0);
        if let Some(watch) = self.watch {
            let chunks = x.chunks(self.chunk).zip(w.chunks(self.chunk));
            watch.follow(self.rule, bias, chunks.map(|(x, w)| T::dot(x, w, self.at_once)));
        }
        let sum = if self.never_overflows {
            bias + T::dot(x, w, self.at_once)
        } else {
            let chunks = x.chunks(self.chunk).zip(w.chunks(self.chunk));
            chunks.fold(bias, |sum, (x, w)| self.rule.update(sum, T::dot(x, w, self.at_once)))
        };
        self.stage.apply(channel, sum)
    }

    /// Outputs for rows of `inner` operands and as many weights a channel.
    fn rows<T: Operand>(&self, x: &[T], weights: &[T], inner: usize, y: &mut [i32]) {
        let channels = weights.len() / inner;
        for (x, y) in x.chunks_exact(inner).zip(y.chunks_exact_mut(channels)) {
            for (channel, (y, w)) in y.iter_mut().zip(weights.chunks_exact(inner)).enumerate() {
                *y = self.output(channel, x, w);
            }
        }
    }
}

/// The greatest magnitude of values less a zero point.
fn reach<'v>(values: impl IntoIterator<Item = &'v i32>, zero: i32) -> u32 {
    values.into_iter().map(|x| x.saturating_sub(zero).unsigned_abs()).max().unwrap_or(0)
}

/// Whether 16 bits hold operands up to these magnitudes.
fn are_narrow(reach: [u32; 2]) -> bool {
    reach.iter().all(|reach| *reach <= u32::from(i16::MAX.unsigned_abs()))
}

/// All samples of a layer.
pub(super) fn run(
    layer: &Layer,
    read: &[&Layer],
    rule: AccumulateRule,
    stage: &OutputStage,
    sources: &[&Array2<i32>],
    y: &mut Array2<i32>,
    watch: Option<&Watch>,
) -> Result<(), ReferenceError> {
    let not_quantized = |what| NetworkError::NotQuantized { layer: layer.name.clone(), what };
    let biases = |bias: Option<&Bias>| match bias {
        Some(Bias::Integer(bias)) => Ok(bias.to_vec()),
        Some(Bias::Float(_)) => Err(not_quantized("its bias")),
        None => Ok(Vec::new()),
    };
    let zero = integers_of(read[0])?.zero_point;
    let of_x = reach(sources[0], zero);
    match &layer.op {
        Op::Dense(dense) => {
            let weights = dense.weight.less_zero_points().ok_or_else(|| not_quantized("its weights"))?;
            let reach = [of_x, reach(&weights, 0)];
            let sums = Sums::new(rule, stage, biases(dense.bias.as_ref())?, dense.inputs(), reach).watched(watch);
            // A row of weights for each channel.
            let weights: Vec<i32> = weights.t().iter().copied().collect();
            let run = if are_narrow(reach) { self::dense::<i16> } else { self::dense::<i32> };
            run(&sums, dense.inputs(), &weights, zero, sources[0], y);
        }
        Op::Conv(conv) => {
            let weights = conv.weight.less_zero_points().ok_or_else(|| not_quantized("its weights"))?;
            let reach = [of_x, reach(&weights, 0)];
            let sums = Sums::new(rule, stage, biases(conv.bias.as_ref())?, conv.inputs(), reach).watched(watch);
            // K in its order: filter rows, filter columns, channels.
            let weights: Vec<i32> = weights.permuted_axes([0, 2, 3, 1]).iter().copied().collect();
            let (image, output) = (&read[0].output.shape, &layer.output.shape);
            let sizes = [image[0], image[1], image[2], output[1], output[2]];
            let run = if are_narrow(reach) { self::convolution::<i16> } else { self::convolution::<i32> };
            run(&sums, conv, &weights, zero, sizes, sources[0], y);
        }
        _ => {
            let right = integers_of(read[1])?.zero_point;
            let reach = [of_x, reach(sources[1], right)];
            let shapes = [&read[0].output.shape[..], &read[1].output.shape[..], &layer.output.shape[..]];
            let sums = Sums::new(rule, stage, Vec::new(), shapes[0][shapes[0].len() - 1], reach).watched(watch);
            let run = if are_narrow(reach) { self::matmul::<i16> } else { self::matmul::<i32> };
            run(&sums, shapes, [zero, right], sources, y);
        }
    }
    Ok(())
}

fn operands<T: Operand>(values: &[i32], zero: i32) -> Vec<T> {
    values.iter().map(|x| T::of(x.saturating_sub(zero))).collect()
}

/// Rows of `inner` elements by channels of as many weights.
fn dense<T: Operand>(sums: &Sums, inner: usize, weights: &[i32], zero: i32, x: &Array2<i32>, y: &mut Array2<i32>) {
    let weights: Vec<T> = operands(weights, 0);
    let channels = weights.len() / inner;
    let rows = flat_mut(y).par_chunks_exact_mut(channels).zip(flat(x).par_chunks_exact(inner));
    rows.for_each(|(y, x)| sums.rows(&operands::<T>(x, zero), &weights, inner, y));
}

/// Images of C x H x W to M x P x Q, given C, H, W, P and Q.
fn convolution<T: Operand>(
    sums: &Sums,
    conv: &Conv,
    weights: &[i32],
    zero: i32,
    [c, h, w, p, q]: [usize; 5],
    x: &Array2<i32>,
    y: &mut Array2<i32>,
) {
    let weights: Vec<T> = operands(weights, 0);
    let ([rows, columns], inner) = (conv.kernel(), conv.inputs());
    let (filters, channels) = (conv.outputs(), c / conv.groups);
    each_sample(&[x], y, |x, y| {
        // Pixels, each with its channels side by side; real zeros stand for zeros.
        let mut image = vec![T::default(); c * h * w];
        for (channel, plane) in x[0].chunks_exact(h * w).enumerate() {
            for (x, pixel) in plane.iter().zip(image.chunks_exact_mut(c)) {
                pixel[channel] = T::of(x.saturating_sub(zero));
            }
        }
        let border = T::of(match conv.border {
            Border::Zero => 0,
            Border::Minus => -1,
            Border::Plus => 1,
        });
        let mut outputs = vec![0; filters * p * q];
        outputs.par_chunks_exact_mut(q * filters).enumerate().for_each(|(p, outputs)| {
            let mut window = vec![T::default(); inner];
            for (q, outputs) in outputs.chunks_exact_mut(filters).enumerate() {
                for (group, outputs) in outputs.chunks_exact_mut(filters / conv.groups).enumerate() {
                    for (element, window) in window.chunks_exact_mut(channels).enumerate() {
                        let line = (p * conv.stride[0] + element / columns * conv.dilation[0])
                            .checked_sub(conv.padding[0])
                            .filter(|line| *line < h);
                        let at =
                            (q * conv.stride[1] + element % columns * conv.dilation[1]).checked_sub(conv.padding[1]).filter(|at| *at < w);
                        match line.zip(at) {
                            Some((line, at)) => window.copy_from_slice(&image[(line * w + at) * c + group * channels..][..channels]),
                            None => window.fill(border),
                        }
                    }
                    let first = group * (filters / conv.groups);
                    for (filter, output) in outputs.iter_mut().enumerate() {
                        *output = sums.output(first + filter, &window, &weights[(first + filter) * inner..][..inner]);
                    }
                }
            }
        });
        for (pixel, outputs) in outputs.chunks_exact(filters).enumerate() {
            for (filter, output) in outputs.iter().enumerate() {
                y[filter * p * q + pixel] = *output;
            }
        }
    });
    debug_assert_eq!(rows * columns * channels, inner, "K is filter rows, columns and channels");
}

/// The products of all matrices of two stacks, whose leading axes broadcast; the right one's elements are the weights.
fn matmul<T: Operand>(sums: &Sums, [left, right, output]: [&[usize]; 3], zeros: [i32; 2], sources: &[&Array2<i32>], y: &mut Array2<i32>) {
    let [batch @ .., i, j] = output else { unreachable!("bug: a product has two axes at least") };
    let k = left[left.len() - 1];
    let stack = |shape: &[usize]| movement::spread(&shape[..shape.len() - 2], batch);
    let places: Vec<(usize, usize)> = stack(left).into_iter().zip(stack(right)).collect();
    each_sample(sources, y, |x, y| {
        y.par_chunks_exact_mut(i * j).zip(&places).for_each(|(y, (left, right))| {
            let matrix = &x[1][right * k * j..][..k * j];
            // A row of weights for each column.
            let weights: Vec<T> = (0..k * j).map(|place| T::of(matrix[place % k * j + place / k].saturating_sub(zeros[1]))).collect();
            for (x, y) in x[0][left * i * k..][..i * k].chunks_exact(k).zip(y.chunks_exact_mut(*j)) {
                // One scale serves all columns.
                let x: Vec<T> = operands(x, zeros[0]);
                sums.rows(&x, &weights, k, y);
            }
        });
    });
}
