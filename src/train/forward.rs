//! What the layers of a graph compute on a batch, as tensors that gradients go back through.

use super::fake;
use super::graph::{EPSILON, FakeWeight, Form, Graph, Grid, Sliding, Weighted};
use super::parameters::{Parameter, Running};
use crate::network::{Activation, BinaryOp, Border, Function, GeluForm, Pool, PoolKind};
use crate::numerics::{Dtype, Quantization, of_channel};
use burn_tensor::ops::{AvgPoolOptions, ConvOptions, MaxPoolOptions};
use burn_tensor::{Device, Tensor, TensorData, activation, module};

/// Whether batches are normalised by themselves, or by what has been gathered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Training,
    Judging,
}

/// What a batch yields.
pub(super) struct Passed {
    /// n x outputs.
    pub(super) logits: Tensor<2>,
    /// For each batch normalisation, in order of its place, the batch's mean and variance of each channel; of training alone.
    pub(super) statistics: Vec<(usize, Vec<f32>, Vec<f32>)>,
}

/// One pass.
struct Pass<'a> {
    graph: &'a Graph,
    parameters: &'a [Parameter],
    leaves: &'a [Tensor<1>],
    running: &'a [Running],
    mode: Mode,
    device: Device,
    samples: usize,
    statistics: Vec<(usize, Vec<f32>, Vec<f32>)>,
}

impl Graph {
    /// The logits of a batch, n x elements, with the parameters as `leaves`.
    pub(super) fn forward(
        &self,
        inputs: Tensor<2>,
        parameters: &[Parameter],
        leaves: &[Tensor<1>],
        running: &[Running],
        mode: Mode,
    ) -> Passed {
        let mut pass = Pass {
            graph: self,
            parameters,
            leaves,
            running,
            mode,
            device: inputs.device(),
            samples: inputs.dims()[0],
            statistics: Vec::new(),
        };
        let mut values: Vec<Tensor<2>> = Vec::with_capacity(self.nodes.len());
        for node in &self.nodes {
            let read = |slot: usize| values[node.reads[slot]].clone();
            let value = match &node.form {
                Form::Input => inputs.clone(),
                Form::Weighted(weighted) => pass.weighted(weighted, read(0), node.reads[0], &node.shape),
                Form::Function(function) => apply(function, read(0)),
                Form::Pool(pool) => pass.pool(pool, read(0), node.reads[0]),
                Form::ChannelMeans => pass.image(read(0), node.reads[0]).mean_dim(3).mean_dim(2).reshape([pass.samples, node.shape[0]]),
                Form::Binary(op) => pair(*op, read(0), read(1)),
                Form::WithConstant { op, constant, constant_first } => {
                    let constant = Tensor::from_data(TensorData::new(constant.clone(), [1, constant.len()]), &pass.device);
                    if *constant_first { pair(*op, constant.expand(read(0).dims()), read(0)) } else { pair(*op, read(0), constant) }
                }
                Form::Join => Tensor::cat((0..node.reads.len()).map(read).collect(), 1),
                Form::Same => read(0),
            };
            values.push(match &node.grid {
                Some(grid) if grid.rounds => pass.on_grid(value, grid),
                _ => value,
            });
        }
        let logits = values.pop().unwrap_or(inputs);
        Passed { logits, statistics: pass.statistics }
    }
}

impl Pass<'_> {
    /// The scale of a grid as a tensor that broadcasts.
    fn scale<const D: usize>(&self, grid: &Grid) -> Tensor<D> {
        match grid.scale {
            Some(scale) => self.leaves[scale].clone().reshape([1; D]),
            None => Tensor::from_data(TensorData::new(vec![grid.held.scale], [1; D]), &self.device),
        }
    }

    fn on_grid(&self, value: Tensor<2>, grid: &Grid) -> Tensor<2> {
        let Quantization { dtype, zero_point, .. } = grid.held;
        if dtype == Dtype::Binary {
            return fake::sign(value) * self.scale(grid);
        }
        fake::on_grid(value, self.scale(grid), ((dtype.min() - zero_point) as f32, (dtype.max() - zero_point) as f32))
    }

    /// Weights as they are multiplied; channels lie along an axis.
    fn weights<const D: usize>(&self, weighted: &Weighted, channel_axis: usize) -> Tensor<D> {
        let parameter = &self.parameters[weighted.weight];
        let shape: [usize; D] = std::array::from_fn(|axis| parameter.shape[axis]);
        let values = self.leaves[weighted.weight].clone().reshape(shape);
        let along = |count: usize| -> [usize; D] { std::array::from_fn(|axis| if axis == channel_axis { count } else { 1 }) };
        match weighted.fake {
            None => values,
            Some(FakeWeight::Learned { scale, dtype }) => {
                let count = self.parameters[scale].values.len();
                let most = dtype.max() as f32;
                fake::on_grid(values, self.leaves[scale].clone().reshape(along(count)), (-most, most))
            }
            Some(FakeWeight::Calibrated { dtype: Dtype::Binary, per_channel }) => {
                let magnitudes = values.clone().abs();
                let channels = if per_channel { shape[channel_axis] } else { 1 };
                let means = if channel_axis == 0 || !per_channel {
                    magnitudes.reshape([channels, parameter.values.len() / channels]).mean_dim(1).reshape(along(channels))
                } else {
                    magnitudes.reshape([shape[0], channels]).mean_dim(0).reshape(along(channels))
                };
                fake::sign(values) * means
            }
            Some(FakeWeight::Calibrated { dtype, per_channel }) => {
                let scales = FakeWeight::Calibrated { dtype, per_channel }.scales(self.parameters, parameter, channel_axis);
                let shape = along(scales.len());
                let most = dtype.max() as f32;
                fake::on_grid(values, Tensor::from_data(TensorData::new(scales, shape), &self.device), (-most, most))
            }
        }
    }

    fn weighted(&mut self, weighted: &Weighted, x: Tensor<2>, read: usize, shape: &[usize]) -> Tensor<2> {
        let elements = shape.iter().product();
        let Some(window) = weighted.window else {
            let weights = self.weights::<2>(weighted, 1);
            let [inner, outputs] = weights.dims();
            let rows = self.samples * self.graph.nodes[read].shape.iter().product::<usize>() / inner;
            let sums = self.shifted(weighted, x.reshape([rows, inner]).matmul(weights), (1, read));
            debug_assert_eq!(sums.dims(), [rows, outputs], "bug: a product has other sizes");
            return activated(weighted.activation, sums.reshape([self.samples, elements]));
        };
        let weights = self.weights::<4>(weighted, 0);
        let (image, padding) = self.bordered(self.image(x, read), window, read);
        let [top, left, bottom, right] = padding;
        let options = ConvOptions {
            stride: window.stride,
            padding: [(top, bottom), (left, right)],
            dilation: window.dilation,
            groups: window.groups,
        };
        let sums = module::conv2d(image, weights, None, options);
        let sums = self.shifted(weighted, sums, (0, read));
        activated(weighted.activation, sums.reshape([self.samples, elements]))
    }

    /// Sums with their bias, or normalised; channels are the second axis of sums, and one of the weights'. `read` is the node whose value is multiplied.
    fn shifted<const D: usize>(&mut self, weighted: &Weighted, sums: Tensor<D>, (channel_axis, read): (usize, usize)) -> Tensor<D> {
        let along: [usize; D] = std::array::from_fn(|axis| if axis == 1 { sums.dims()[1] } else { 1 });
        let steps = |pass: &Self| pass.accumulator_steps(weighted, channel_axis, read);
        let Some(norm) = weighted.norm else {
            let Some(bias) = weighted.bias else { return sums };
            let steps = steps(self);
            return biased(sums, self.leaves[bias].clone().reshape(along), &self.parameters[bias].values, steps);
        };
        let (gain, shift) = (self.leaves[norm.gain].clone(), self.leaves[norm.shift].clone());
        if self.mode == Mode::Training {
            let passed = module::batch_norm_train(sums, gain, shift, f64::from(EPSILON));
            let read = |tensor: Tensor<1>| tensor.into_data().try_to_vec().unwrap_or_default();
            self.statistics.push((norm.running, read(passed.mean), read(passed.variance)));
            return passed.output;
        }
        // As it is folded at the end.
        let (factors, biases) = norm.folded(self.parameters, self.running);
        let of_factor = |steps: Steps| Steps {
            each: factors.iter().enumerate().map(|(n, factor)| of_channel(&steps.each, n) * f64::from(factor.abs())).collect(),
            ..steps
        };
        let constant = |values: &[f32]| Tensor::<D>::from_data(TensorData::new(values.to_vec(), along), &self.device);
        biased(sums * constant(&factors), constant(&biases), &biases, steps(self).map(of_factor))
    }

    /// For each channel, or for all, the step of the accumulator in which a bias is counted: that of the weights times that of what they meet. None where
    /// either is no integer.
    fn accumulator_steps(&self, weighted: &Weighted, channel_axis: usize, read: usize) -> Option<Steps> {
        let grid = self.graph.nodes[read].grid?;
        let of_values = grid.scale.map_or(grid.held.scale, |scale| self.parameters[scale].values[0]);
        let parameter = &self.parameters[weighted.weight];
        let fake = weighted.fake?;
        let scales = fake.scales(self.parameters, parameter, channel_axis);
        // The greatest sum, in steps: those that f32 tells apart can be put on whole ones.
        let of_grid = |dtype: Dtype| f64::from(dtype.max()) - f64::from(dtype.min());
        let terms = parameter.values.len() / parameter.shape[channel_axis].max(1);
        let most = terms as f64 * of_grid(fake.dtype()) / 2.0 * of_grid(grid.held.dtype);
        Some(Steps {
            each: scales.into_iter().map(|scale| f64::from(scale) * f64::from(of_values)).collect(),
            are_told_apart: most < fake::MOST_WHOLE,
        })
    }

    fn image(&self, x: Tensor<2>, node: usize) -> Tensor<4> {
        let shape = &self.graph.nodes[node].shape;
        x.reshape([self.samples, shape[0], shape[1], shape[2]])
    }

    /// The image with a border of one of its two values, where it is binary; and the padding that is left.
    fn bordered(&self, image: Tensor<4>, window: Sliding, read: usize) -> (Tensor<4>, [usize; 4]) {
        let grid = self.graph.nodes[read].grid.filter(|_| window.border != Border::Zero && window.padding != [0; 4]);
        let Some(grid) = grid else { return (image, window.padding) };
        let [top, left, bottom, right] = window.padding;
        let border = if window.border == Border::Minus { self.scale::<4>(&grid).neg() } else { self.scale::<4>(&grid) };
        // Moved so that the border is 0, and back: exact for two values of one magnitude.
        let padded = (image - border.clone()).pad([(top, bottom), (left, right)], 0.0_f32);
        (padded + border, [0; 4])
    }

    fn pool(&self, pool: &Pool, x: Tensor<2>, read: usize) -> Tensor<2> {
        let [top, left, bottom, right] = pool.padding;
        let padding = [(top, bottom), (left, right)];
        let image = self.image(x, read);
        let pooled = match pool.kind {
            PoolKind::Max => {
                let options =
                    MaxPoolOptions { kernel_size: pool.kernel, stride: pool.stride, padding, dilation: pool.dilation, ceil_mode: false };
                module::max_pool2d(image, options)
            }
            PoolKind::Average { count_include_pad } => {
                let options =
                    AvgPoolOptions { kernel_size: pool.kernel, stride: pool.stride, padding, count_include_pad, ceil_mode: false };
                module::avg_pool2d(image, options)
            }
        };
        let elements = pooled.dims()[1..].iter().product();
        pooled.reshape([self.samples, elements])
    }
}

/// The greatest magnitude of each channel's weights, or of all.
pub(super) fn greatest(parameter: &Parameter, channel_axis: usize, channels: usize) -> Vec<f32> {
    let mut most = vec![0.0_f32; channels];
    let behind: usize = parameter.shape[channel_axis + 1..].iter().product();
    for (place, value) in parameter.values.iter().enumerate() {
        let channel = if channels == 1 { 0 } else { place / behind % channels };
        most[channel] = most[channel].max(value.abs());
    }
    most
}

/// The mean magnitude of each channel's weights, or of all.
fn means(parameter: &Parameter, channel_axis: usize, channels: usize) -> Vec<f32> {
    let mut sums = vec![0.0_f32; channels];
    let behind: usize = parameter.shape[channel_axis + 1..].iter().product();
    for (place, value) in parameter.values.iter().enumerate() {
        sums[if channels == 1 { 0 } else { place / behind % channels }] += value.abs();
    }
    let count = (parameter.values.len() / channels) as f32;
    sums.into_iter().map(|sum| sum / count).collect()
}

impl FakeWeight {
    /// The format of the integers.
    pub(super) const fn dtype(self) -> Dtype {
        match self {
            Self::Learned { dtype, .. } | Self::Calibrated { dtype, .. } => dtype,
        }
    }

    /// The scale of each channel's weights, or of all.
    pub(super) fn scales(self, parameters: &[Parameter], weight: &Parameter, channel_axis: usize) -> Vec<f32> {
        let channels = |per_channel: bool| if per_channel { weight.shape[channel_axis] } else { 1 };
        match self {
            Self::Learned { scale, .. } => parameters[scale].values.clone(),
            Self::Calibrated { dtype: Dtype::Binary, per_channel } => means(weight, channel_axis, channels(per_channel)),
            Self::Calibrated { dtype, per_channel } => {
                let most = greatest(weight, channel_axis, channels(per_channel));
                most.into_iter().map(|most| Quantization::symmetric(dtype, most).scale).collect()
            }
        }
    }
}

/// The steps of an accumulator, of each channel or of all.
struct Steps {
    each: Vec<f64>,
    /// Whether sums are of so few steps that `f32` tells each.
    are_told_apart: bool,
}

/// Sums and their bias, which lies in `leaf` and in `values`: in integers the bias is whole steps, half to even, and sums are too, so that one
/// of 0 is 0, and its sign no chance of `f32`.
fn biased<const D: usize>(sums: Tensor<D>, leaf: Tensor<D>, values: &[f32], steps: Option<Steps>) -> Tensor<D> {
    let Some(Steps { each, are_told_apart }) = steps.filter(|steps| steps.each.iter().all(|step| *step > 0.0)) else { return sums + leaf };
    let along = leaf.dims();
    let constant = |of: &dyn Fn(usize) -> f64| {
        #[expect(clippy::cast_possible_truncation, reason = "rounding to f32 is what is wanted")]
        let each = (0..values.len()).map(|n| of(n) as f32).collect::<Vec<f32>>();
        Tensor::<D>::from_data(TensorData::new(each, along), &leaf.device())
    };
    let whole = |n: usize| libm::rint(f64::from(values[n]) / of_channel(&each, n));
    if !are_told_apart {
        let rounded = constant(&|n| whole(n) * of_channel(&each, n));
        return sums + fake::straight_through(leaf, rounded);
    }
    let step = constant(&|n| of_channel(&each, n));
    let biases = fake::straight_through(leaf.clone() / step.clone(), constant(&whole));
    (fake::whole(sums / step.clone()) + biases) * step
}

fn activated(activation: Activation, x: Tensor<2>) -> Tensor<2> {
    match activation {
        Activation::None => x,
        Activation::Relu => activation::relu(x),
        Activation::Clip { min, max } => clipped(x, min, max),
    }
}

fn clipped(x: Tensor<2>, min: f32, max: f32) -> Tensor<2> {
    let x = if min.is_finite() { x.clamp_min(min) } else { x };
    if max.is_finite() { x.clamp_max(max) } else { x }
}

fn pair(op: BinaryOp, a: Tensor<2>, b: Tensor<2>) -> Tensor<2> {
    match op {
        BinaryOp::Add => a + b,
        BinaryOp::Sub => a - b,
        BinaryOp::Mul => a * b,
        BinaryOp::Div => a / b,
    }
}

/// A function of each element; what has no gradient here was refused before.
fn apply(function: &Function, x: Tensor<2>) -> Tensor<2> {
    match function {
        Function::Relu => activation::relu(x),
        Function::LeakyRelu { alpha } => x.clone().clamp_min(0.0) + x.clamp_max(0.0).mul_scalar(*alpha),
        Function::Clip { min, max } => clipped(x, *min, *max),
        Function::Sigmoid => activation::sigmoid(x),
        Function::HardSigmoid { alpha, beta } => x.mul_scalar(*alpha).add_scalar(*beta).clamp(0.0, 1.0),
        Function::HardSwish => x.clone() * x.div_scalar(6.0).add_scalar(0.5).clamp(0.0, 1.0),
        Function::Tanh => activation::tanh(x),
        Function::Gelu(GeluForm::Erf) => activation::gelu(x),
        Function::Gelu(GeluForm::Tanh) => activation::gelu_approximate(x),
        Function::Exp => x.exp(),
        Function::PRelu { .. } | Function::Erf | Function::Sqrt | Function::Pow { .. } => {
            unreachable!("bug: refused when the graph was built")
        }
    }
}
