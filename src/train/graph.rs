//! A network as a graph that gradients go back through: what its layers compute, on tensors of a batch, with fake quantization where the network has
//! grids. Built from a network whose values and weights may be quantized, and from the reals that its weights are trained as.
//!
//! Values are n x elements, whatever their shape; a layer takes the shape that it wants. Not here: how an operation is computed (`forward`).

use super::TrainError;
use super::parameters::{Kind, Parameter, Running};
use super::settings::Scales;
use crate::compress::CompressError;
use crate::network::{Activation, Bias, BinaryOp, Border, Function, Layer, LayerId, Network, Op, Pool, PoolKind, Weight};
use crate::numerics::{Dtype, Quantization};
use ndarray::{Array2, IxDyn};
use std::collections::{BTreeMap, BTreeSet};

/// What is added to a variance in a batch normalisation.
pub(super) const EPSILON: f32 = 1e-5;

/// The layers up to the logits, each behind those that it reads.
#[derive(Debug, Clone)]
pub(super) struct Graph {
    pub(super) nodes: Vec<Node>,
    /// The node of each layer.
    pub(super) places: BTreeMap<LayerId, usize>,
}

/// One layer.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) form: Form,
    /// The nodes that it reads.
    pub(super) reads: Vec<usize>,
    /// The shape of its value, of one sample.
    pub(super) shape: Vec<usize>,
    /// The grid that its value lies on.
    pub(super) grid: Option<Grid>,
}

/// How a value is held as integers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Grid {
    pub(super) held: Quantization,
    /// The parameter that is its scale; `held` says it where there is none.
    pub(super) scale: Option<usize>,
    /// Whether anything is rounded: what only moves lies on its input's grid already.
    pub(super) rounds: bool,
}

/// What a layer computes.
#[derive(Debug, Clone)]
pub(super) enum Form {
    Input,
    Weighted(Weighted),
    Function(Function),
    Pool(Pool),
    /// The mean of each channel of an image.
    ChannelMeans,
    Binary(BinaryOp),
    /// With a constant of the output's shape.
    WithConstant {
        op: BinaryOp,
        constant: Vec<f32>,
        constant_first: bool,
    },
    /// Values joined along their first axis.
    Join,
    /// The same numbers.
    Same,
}

/// A dense layer or a convolution.
#[derive(Debug, Clone)]
pub(super) struct Weighted {
    /// The parameter that is its weights: K x N, or M x C/groups x R x S.
    pub(super) weight: usize,
    pub(super) bias: Option<usize>,
    pub(super) norm: Option<Norm>,
    pub(super) fake: Option<FakeWeight>,
    pub(super) activation: Activation,
    /// Where the window moves, of a convolution.
    pub(super) window: Option<Sliding>,
}

/// How a convolution's window moves.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sliding {
    pub(super) stride: [usize; 2],
    pub(super) dilation: [usize; 2],
    /// Top, left, bottom, right.
    pub(super) padding: [usize; 4],
    pub(super) border: Border,
    pub(super) groups: usize,
}

/// A batch normalisation of a layer's sums, a factor and a shift a channel.
#[derive(Debug, Clone, Copy)]
pub(super) struct Norm {
    pub(super) gain: usize,
    pub(super) shift: usize,
    /// Its place among what runs beside the parameters.
    pub(super) running: usize,
}

/// How weights are held as integers.
#[derive(Debug, Clone, Copy)]
pub(super) enum FakeWeight {
    /// In steps of a scale that is trained.
    Learned { scale: usize, dtype: Dtype },
    /// As post-training quantization does it.
    Calibrated { dtype: Dtype, per_channel: bool },
}

/// The trained numbers of a graph.
pub(super) struct Parts {
    pub(super) graph: Graph,
    pub(super) parameters: Vec<Parameter>,
    pub(super) running: Vec<Running>,
}

impl Graph {
    /// Whether any weights are signs.
    pub(super) fn has_binary_weights(&self) -> bool {
        self.nodes.iter().any(|node| match &node.form {
            Form::Weighted(weighted) => weighted.fake.is_some_and(|fake| fake.dtype() == Dtype::Binary),
            _ => false,
        })
    }

    /// The graph of `network`, its weights the reals of `floats`, which has the same layers; `norms` names layers whose sums are normalised. `scales` says
    /// how grids are trained; without it nothing is trained, and weights may be integers.
    ///
    /// # Errors
    /// A layer that has no gradient here, or weights that are integers where they are to be trained.
    pub(super) fn of(network: &Network, floats: &Network, norms: &BTreeSet<String>, scales: Option<Scales>) -> Result<Parts, TrainError> {
        let mut builder =
            Builder { network, norms, scales, nodes: Vec::new(), places: BTreeMap::new(), parameters: Vec::new(), running: Vec::new() };
        let logits = network.logits().id;
        for (layer, float) in network.layers().zip(floats.layers()) {
            // A softmax at the end is the loss's.
            if builder.places.contains_key(&logits) {
                break;
            }
            builder.layer(layer, float)?;
        }
        let Builder { nodes, places, parameters, running, .. } = builder;
        Ok(Parts { graph: Self { nodes, places }, parameters, running })
    }

    /// The scale of a node's grid.
    pub(super) fn scale(&self, node: usize, parameters: &[Parameter]) -> Option<f32> {
        let grid = self.nodes[node].grid?;
        Some(grid.scale.map_or(grid.held.scale, |scale| parameters[scale].values[0]))
    }
}

struct Builder<'n> {
    network: &'n Network,
    norms: &'n BTreeSet<String>,
    scales: Option<Scales>,
    nodes: Vec<Node>,
    places: BTreeMap<LayerId, usize>,
    parameters: Vec<Parameter>,
    running: Vec<Running>,
}

impl Builder<'_> {
    fn layer(&mut self, layer: &Layer, float: &Layer) -> Result<(), TrainError> {
        let reads: Vec<usize> = self.network.inputs(layer.id).iter().map(|id| self.places[id]).collect();
        let form = self.form(layer, float, &reads)?;
        let grid = layer.output.quantization.map(|held| self.grid(layer, held, &form, &reads));
        self.places.insert(layer.id, self.nodes.len());
        self.nodes.push(Node { form, reads, shape: layer.output.shape.clone(), grid });
        Ok(())
    }

    fn parameter(&mut self, name: String, kind: Kind, shape: &[usize], values: Vec<f32>) -> usize {
        self.parameters.push(Parameter::new(name, kind, shape, values));
        self.parameters.len() - 1
    }

    /// The grid of a layer's value. What only moves has its input's where both are the same.
    fn grid(&mut self, layer: &Layer, held: Quantization, form: &Form, reads: &[usize]) -> Grid {
        let moves = matches!(form, Form::Same) && !matches!(layer.op, Op::Quantize);
        let picks = matches!(form, Form::Pool(Pool { kind: PoolKind::Max, .. }));
        if let Some(grid) = reads.first().and_then(|read| self.nodes[*read].grid).filter(|grid| (moves || picks) && grid.held == held) {
            return Grid { rounds: false, ..grid };
        }
        // What the network is given in eight bits or more lies between known bounds.
        let is_given = matches!(form, Form::Input) && held.dtype.bits() >= 8;
        let is_learned = self.scales == Some(Scales::Learned) && !is_given;
        let scale = is_learned.then(|| self.parameter(format!("{}/scale", layer.name), Kind::Scale, &[1], vec![held.scale]));
        Grid { held, scale, rounds: true }
    }

    fn form(&mut self, layer: &Layer, float: &Layer, reads: &[usize]) -> Result<Form, TrainError> {
        let refused =
            |problem: &str| TrainError::Unsupported { layer: layer.name.clone(), op: layer.op.name(), problem: problem.to_string() };
        match (&layer.op, &float.op) {
            (Op::Input, _) => Ok(Form::Input),
            (Op::Dense(dense), Op::Dense(real)) => {
                let window = None;
                self.weighted(layer, &dense.weight, &real.weight, real.bias.as_ref(), dense.activation, window)
            }
            (Op::Conv(conv), Op::Conv(real)) => {
                let window = Sliding {
                    stride: conv.stride,
                    dilation: conv.dilation,
                    padding: conv.padding,
                    border: conv.border,
                    groups: conv.groups,
                };
                self.weighted(layer, &conv.weight, &real.weight, real.bias.as_ref(), conv.activation, Some(window))
            }
            (Op::Unary(Function::PRelu { .. } | Function::Erf | Function::Sqrt | Function::Pow { .. }), _) => {
                Err(refused("this function has no gradient here"))
            }
            (Op::Unary(function), _) => Ok(Form::Function(function.clone())),
            (Op::Pool(pool), _) if pool.kind != PoolKind::Max && pool.dilation != [1, 1] => Err(refused("a mean over a window with gaps")),
            (Op::Pool(pool), _) => Ok(Form::Pool(*pool)),
            (Op::Mean { axes, .. }, _) if axes[..] == [1, 2] && self.nodes[reads[0]].shape.len() == 3 => Ok(Form::ChannelMeans),
            (Op::Mean { .. }, _) => Err(refused("a mean over other axes than those of an image")),
            (Op::Binary(op), _) if self.nodes[reads[0]].shape == self.nodes[reads[1]].shape => Ok(Form::Binary(*op)),
            (Op::Binary(_), _) => Err(refused("values of different shapes")),
            (Op::BinaryConstant(binary), _) => {
                let reals = binary.constant.to_reals();
                if self.nodes[reads[0]].shape != layer.output.shape {
                    return Err(refused("a constant of a larger shape than the value"));
                }
                let Some(whole) = reals.broadcast(IxDyn(&layer.output.shape)) else { return Err(refused("a constant of another shape")) };
                Ok(Form::WithConstant { op: binary.op, constant: whole.iter().copied().collect(), constant_first: binary.constant_first })
            }
            (Op::Concat { axis: 0 }, _) => Ok(Form::Join),
            (Op::Reshape(_) | Op::Quantize, _) => Ok(Form::Same),
            _ => Err(refused("it has no gradient here")),
        }
    }

    fn weighted<D: ndarray::RemoveAxis>(
        &mut self,
        layer: &Layer,
        held: &Weight<D>,
        real: &Weight<D>,
        bias: Option<&Bias>,
        activation: Activation,
        window: Option<Sliding>,
    ) -> Result<Form, TrainError> {
        let values = match real {
            Weight::Float(values) => values.iter().copied().collect::<Vec<f32>>(),
            Weight::Integer { .. } if self.scales.is_none() => real.to_reals().iter().copied().collect(),
            Weight::Integer { .. } => return Err(CompressError::AlreadyQuantized { layer: layer.name.clone() }.into()),
        };
        if values.iter().any(|w| !w.is_finite()) {
            return Err(CompressError::WeightNotFinite { layer: layer.name.clone() }.into());
        }
        let shape = real.shape().to_vec();
        let channels = if window.is_some() { shape[0] } else { shape[1] };
        let fake = match held {
            Weight::Integer { dtype, scales, .. } if self.scales.is_some() => Some((*dtype, scales.len())),
            _ => None,
        };
        let kind = if fake.is_some_and(|(dtype, _)| dtype == Dtype::Binary) { Kind::Sign } else { Kind::Weight };
        let name = |what: &str| format!("{}/{what}", layer.name);
        let fake = fake.map(|(dtype, count)| {
            if self.scales == Some(Scales::Calibrated) || matches!(dtype, Dtype::Binary | Dtype::Int16) {
                return FakeWeight::Calibrated { dtype, per_channel: count > 1 };
            }
            let scales = first_scales(&values, &shape, window.is_some(), count, dtype);
            FakeWeight::Learned { scale: self.parameter(name("weight_scale"), Kind::Scale, &[count], scales), dtype }
        });
        let weight = self.parameter(name("weight"), kind, &shape, values);
        let norm = self.norms.contains(&layer.name).then(|| {
            let gain = self.parameter(name("gain"), Kind::Shift, &[channels], vec![1.0; channels]);
            let shift = self.parameter(name("shift"), Kind::Shift, &[channels], vec![0.0; channels]);
            self.running.push(Running { name: layer.name.clone(), mean: vec![0.0; channels], variance: vec![1.0; channels] });
            Norm { gain, shift, running: self.running.len() - 1 }
        });
        // A normalisation's shift is the bias.
        let bias = match bias {
            Some(_) if norm.is_some() => None,
            Some(bias) => {
                let values = self.reals_of(layer, bias, held)?;
                Some(self.parameter(name("bias"), Kind::Shift, &[channels], values))
            }
            None => None,
        };
        Ok(Form::Weighted(Weighted { weight, bias, norm, fake, activation, window }))
    }

    /// A bias in reals, in whatever form it is.
    fn reals_of<D: ndarray::RemoveAxis>(&self, layer: &Layer, bias: &Bias, held: &Weight<D>) -> Result<Vec<f32>, TrainError> {
        let steps = match bias {
            Bias::Float(bias) => return Ok(bias.to_vec()),
            Bias::Integer(steps) => steps,
        };
        let read = self.network.inputs(layer.id).first().and_then(|id| self.network.layer(*id).output.quantization);
        let (Some(read), Some(scales)) = (read, held.scales()) else {
            return Err(CompressError::NoRange { layer: layer.name.clone() }.into());
        };
        let real = |(channel, steps): (usize, &i64)| {
            *steps as f64 * f64::from(read.scale) * f64::from(crate::numerics::of_channel(scales, channel))
        };
        #[expect(clippy::cast_possible_truncation, reason = "a bias is f32")]
        let reals = steps.iter().enumerate().map(|pair| real(pair) as f32).collect();
        Ok(reals)
    }
}

/// Scales to begin with: `2 mean(|w|) / sqrt(max)` of a channel's weights, those that are 0 left out, or of all.
fn first_scales(values: &[f32], shape: &[usize], is_conv: bool, count: usize, dtype: Dtype) -> Vec<f32> {
    let rows = if is_conv { values.len() / shape[0] } else { shape[0] };
    let matrix = |place: usize| if is_conv { place / rows } else { place % shape[1] };
    let mut sums = vec![(0.0_f64, 0_u64); count];
    for (place, value) in values.iter().enumerate().filter(|(_, value)| **value != 0.0) {
        let sum = &mut sums[if count > 1 { matrix(place) } else { 0 }];
        *sum = (sum.0 + f64::from(value.abs()), sum.1 + 1);
    }
    let scale = |(sum, count): (f64, u64)| {
        #[expect(clippy::cast_possible_truncation, reason = "a scale is f32")]
        let scale = (2.0 * sum / count.max(1) as f64 / f64::from(dtype.max()).sqrt()) as f32;
        if scale.is_normal() { scale } else { 1.0 }
    };
    sums.into_iter().map(scale).collect()
}

/// Rows of samples, as a tensor takes them.
pub(super) fn rows(samples: &Array2<f32>) -> Vec<f32> {
    samples.iter().copied().collect()
}
