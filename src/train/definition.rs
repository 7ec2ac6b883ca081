//! Definitions of networks that are to be trained: layers one after the other, in RON, and weights drawn anew.
//!
//! ```ron
//! NetworkDef(
//!     format_version: 1,
//!     name: "simplenet",
//!     data: "simplenet-mnist",
//!     input: [784],
//!     layers: [Dense(units: 64), Relu, Dense(units: 32), Relu, Dense(units: 10)],
//! )
//! ```

use super::TrainError;
use super::batches::generator;
use crate::model::Preprocessing;
use crate::network::{
    Activation, Bias, Border, Conv, Dense, Function, LayerId, Network, NetworkBuilder, Op, Pool, PoolKind, Weight, fuse_activations,
};
use ndarray::{Array1, Array2, Array4};
use rand::RngExt;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::Path;

/// The version of the definitions that are read.
const FORMAT_VERSION: u32 = 1;
/// The largest definition that is read, in bytes.
const MAX_DEFINITION: u64 = 1 << 20;
/// The most weights of a definition: what is trained is held many times.
const MAX_WEIGHTS: usize = 1 << 26;

/// A network that is to be trained, its weights 0 still.
#[derive(Debug, Clone)]
pub struct Definition {
    /// Its layers.
    pub network: Network,
    /// Layers whose sums are normalised batch by batch.
    pub norms: BTreeSet<String>,
    /// The model whose data it is trained on; none where it does not say.
    pub data: Option<String>,
    /// How samples are prepared, where that is another way than that model's.
    pub preprocessing: Option<Preprocessing>,
}

/// A definition as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename = "NetworkDef")]
struct DefinitionFile {
    format_version: u32,
    name: String,
    #[serde(default)]
    data: Option<String>,
    #[serde(default)]
    preprocessing: Option<Preprocessing>,
    input: Vec<usize>,
    layers: Vec<LayerDef>,
}

/// One layer as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
enum LayerDef {
    /// A dense layer with a bias; `norm` normalises its sums batch by batch, which is folded into it once it is trained.
    Dense {
        units: usize,
        #[serde(default)]
        norm: bool,
    },
    /// A convolution, likewise: square filters, zeros on every side.
    Conv {
        filters: usize,
        kernel: usize,
        #[serde(default = "one")]
        stride: usize,
        #[serde(default)]
        padding: usize,
        #[serde(default = "one")]
        groups: usize,
        #[serde(default)]
        norm: bool,
    },
    Relu,
    Clip {
        min: f32,
        max: f32,
    },
    LeakyRelu {
        alpha: f32,
    },
    Tanh,
    Sigmoid,
    MaxPool {
        size: usize,
        #[serde(default)]
        stride: Option<usize>,
    },
    AveragePool {
        size: usize,
        #[serde(default)]
        stride: Option<usize>,
    },
    GlobalAveragePool,
    Flatten,
    /// What the layers in it yield is added to what they read.
    Residual(Vec<LayerDef>),
}

const fn one() -> usize {
    1
}

impl Definition {
    /// Reads a definition file.
    ///
    /// # Errors
    /// A file that cannot be read, and as [`Self::parse`].
    pub fn load(path: &Path) -> Result<Self, TrainError> {
        let place = path.display().to_string();
        let fault = |problem: String| TrainError::DefinitionRead { path: place.clone(), problem };
        let mut text = String::new();
        let read = std::fs::File::open(path).and_then(|file| file.take(MAX_DEFINITION + 1).read_to_string(&mut text));
        read.map_err(|error| fault(error.to_string()))?;
        if text.len() as u64 > MAX_DEFINITION {
            return Err(fault(format!("it has more than {MAX_DEFINITION} bytes, the limit of a definition")));
        }
        Self::parse(&text, &place)
    }

    /// Whether text is meant as a definition, and not as a model card.
    pub fn is_one(text: &str) -> bool {
        let lines = text.lines().map(str::trim_start).filter(|line| !line.is_empty() && !line.starts_with("//"));
        lines.into_iter().next().is_some_and(|line| line.starts_with("NetworkDef"))
    }

    /// Reads a definition's RON; `path` stands in messages.
    ///
    /// # Errors
    /// Text that is no definition, or layers that do not fit each other.
    pub fn parse(text: &str, path: &str) -> Result<Self, TrainError> {
        let fault = |line, column, problem: String| TrainError::DefinitionText { path: path.to_string(), line, column, problem };
        let file: DefinitionFile = ron::from_str(text).map_err(|error| {
            let ron::error::Position { line, col } = error.span.start;
            fault(line, col, error.code.to_string())
        })?;
        if file.format_version != FORMAT_VERSION {
            return Err(fault(1, 1, format!("format_version is {}, and {FORMAT_VERSION} is known", file.format_version)));
        }
        let mut builder = NetworkBuilder::new(file.name);
        let input = builder.input("input", file.input)?;
        let mut drafter = Drafter { builder, counts: BTreeMap::new(), norms: BTreeSet::new(), weights: 0, path };
        let output = drafter.chain(&file.layers, input)?;
        let Drafter { builder, norms, .. } = drafter;
        let network = fuse_activations(&builder.finish(output)?)?;
        Ok(Self { network, norms, data: file.data, preprocessing: file.preprocessing })
    }
}

struct Drafter<'p> {
    builder: NetworkBuilder,
    /// Layers of each kind so far: their names.
    counts: BTreeMap<&'static str, usize>,
    norms: BTreeSet<String>,
    weights: usize,
    path: &'p str,
}

impl Drafter<'_> {
    fn name(&mut self, kind: &'static str) -> String {
        let count = self.counts.entry(kind).or_default();
        *count += 1;
        format!("{kind}{count}")
    }

    fn chain(&mut self, layers: &[LayerDef], mut read: LayerId) -> Result<LayerId, TrainError> {
        for layer in layers {
            read = self.layer(layer, read)?;
        }
        Ok(read)
    }

    /// Counts weights, so that a slip of the pen takes no memory.
    fn counted(&mut self, sizes: &[usize]) -> Result<(), TrainError> {
        let count = sizes.iter().try_fold(1_usize, |count, size| count.checked_mul(*size));
        let all = count.and_then(|count| count.checked_add(self.weights)).filter(|all| *all <= MAX_WEIGHTS && !sizes.contains(&0));
        let problem = || format!("a layer has weights of {sizes:?}: all layers may have 1 to {MAX_WEIGHTS}");
        self.weights =
            all.ok_or_else(|| TrainError::DefinitionText { path: self.path.to_string(), line: 1, column: 1, problem: problem() })?;
        Ok(())
    }

    fn layer(&mut self, layer: &LayerDef, read: LayerId) -> Result<LayerId, TrainError> {
        let shape = self.builder.value(read).shape.clone();
        let (name, op) = match layer {
            LayerDef::Dense { units, norm } => {
                let inner = shape.last().copied().unwrap_or(1);
                self.counted(&[inner, *units])?;
                let name = self.name("fc");
                if *norm {
                    self.norms.insert(name.clone());
                }
                let weight = Weight::Float(Array2::zeros((inner, *units)));
                (name, Op::Dense(Dense { weight, bias: Some(Bias::Float(Array1::zeros(*units))), activation: Activation::None }))
            }
            LayerDef::Conv { filters, kernel, stride, padding, groups, norm } => {
                let channels = shape.first().copied().unwrap_or(1) / (*groups).max(1);
                self.counted(&[*filters, channels, *kernel, *kernel])?;
                let name = self.name("conv");
                if *norm {
                    self.norms.insert(name.clone());
                }
                let conv = Conv {
                    weight: Weight::Float(Array4::zeros((*filters, channels, *kernel, *kernel))),
                    bias: Some(Bias::Float(Array1::zeros(*filters))),
                    stride: [*stride; 2],
                    dilation: [1; 2],
                    padding: [*padding; 4],
                    border: Border::Zero,
                    groups: *groups,
                    activation: Activation::None,
                };
                (name, Op::Conv(conv))
            }
            LayerDef::Relu => (self.name("relu"), Op::Unary(Function::Relu)),
            LayerDef::Clip { min, max } => (self.name("clip"), Op::Unary(Function::Clip { min: *min, max: *max })),
            LayerDef::LeakyRelu { alpha } => (self.name("leaky"), Op::Unary(Function::LeakyRelu { alpha: *alpha })),
            LayerDef::Tanh => (self.name("tanh"), Op::Unary(Function::Tanh)),
            LayerDef::Sigmoid => (self.name("sigmoid"), Op::Unary(Function::Sigmoid)),
            LayerDef::MaxPool { size, stride } => (self.name("pool"), pool(PoolKind::Max, *size, *stride)),
            LayerDef::AveragePool { size, stride } => {
                (self.name("pool"), pool(PoolKind::Average { count_include_pad: false }, *size, *stride))
            }
            LayerDef::GlobalAveragePool => (self.name("pool"), Op::Mean { axes: vec![1, 2], keep: false }),
            LayerDef::Flatten => (self.name("flatten"), Op::Reshape(vec![shape.iter().product()])),
            LayerDef::Residual(layers) => {
                let inner = self.chain(layers, read)?;
                let name = self.name("add");
                return Ok(self.builder.layer(name, Op::Binary(crate::network::BinaryOp::Add), &[inner, read])?);
            }
        };
        Ok(self.builder.layer(name, op, &[read])?)
    }
}

fn pool(kind: PoolKind, size: usize, stride: Option<usize>) -> Op {
    Op::Pool(Pool { kind, kernel: [size; 2], stride: [stride.unwrap_or(size); 2], dilation: [1; 2], padding: [0; 4] })
}

/// The network with weights drawn anew, as Keras draws them: evenly between plus and minus `sqrt(6 / (inputs + outputs))` (Glorot and Bengio, 2010), and
/// biases of 0. Of a convolution the inputs and outputs count once for each element of a filter.
///
/// # Errors
/// None that a checked network can cause; its own checks run again.
pub fn drawn(network: &Network, seed: u64) -> Result<Network, TrainError> {
    let mut generator = generator(seed, 0);
    let mut draw = |inputs: usize, outputs: usize, count: usize| -> Vec<f32> {
        #[expect(clippy::cast_possible_truncation, reason = "weights are f32")]
        let limit = (6.0 / (inputs + outputs).max(1) as f64).sqrt() as f32;
        (0..count).map(|_| generator.random_range(-limit..limit)).collect()
    };
    let mut builder = NetworkBuilder::new(network.name());
    let mut renamed: BTreeMap<LayerId, LayerId> = BTreeMap::new();
    for layer in network.layers() {
        let reads: Vec<LayerId> = network.inputs(layer.id).iter().map(|id| renamed[id]).collect();
        let mut op = layer.op.clone();
        match &mut op {
            Op::Dense(dense) => {
                let (k, n) = dense.weight.dim();
                let values = Array2::from_shape_vec((k, n), draw(k, n, k * n));
                dense.weight = Weight::Float(values.expect("bug: as many weights as were drawn"));
                dense.bias = dense.bias.as_ref().map(|bias| Bias::Float(Array1::zeros(bias.len())));
            }
            Op::Conv(conv) => {
                let &[m, c, r, s] = conv.weight.shape() else { unreachable!("bug: filters have four axes") };
                let values = Array4::from_shape_vec((m, c, r, s), draw(c * r * s, m / conv.groups.max(1) * r * s, m * c * r * s));
                conv.weight = Weight::Float(values.expect("bug: as many weights as were drawn"));
                conv.bias = conv.bias.as_ref().map(|bias| Bias::Float(Array1::zeros(bias.len())));
            }
            _ => {}
        }
        let id = match op {
            Op::Input => builder.input_of(layer.name.clone(), layer.output.shape.clone(), layer.output.element)?,
            op => builder.layer(layer.name.clone(), op, &reads)?,
        };
        renamed.insert(layer.id, id);
    }
    Ok(builder.finish(renamed[&network.output().id])?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIMPLE: &str = "// A comment.\nNetworkDef(format_version: 1, name: \"s\", input: [1, 8, 8], layers: [\
                          Conv(filters: 4, kernel: 3, padding: 1, norm: true), Relu, Residual([Conv(filters: 4, kernel: 3, padding: 1), Relu]), \
                          MaxPool(size: 2), Flatten, Dense(units: 3)])";

    #[test]
    fn a_definition_becomes_a_network_with_drawn_weights() {
        let definition = Definition::parse(SIMPLE, "s.ron").unwrap();
        assert!(Definition::is_one(SIMPLE) && !Definition::is_one("// x\nModel(format_version: 1)"));
        assert_eq!(definition.network.logits().output.shape, [3]);
        assert_eq!(definition.norms.iter().collect::<Vec<_>>(), ["conv1"]);
        assert_eq!(definition.network.macs(), 64 * (4 * 9 + 4 * 4 * 9) + 64 * 3);
        let weights = |seed| {
            let network = drawn(&definition.network, seed).unwrap();
            let of = |op: &Op| if let Op::Dense(dense) = op { Some(dense.weight.to_reals()) } else { None };
            network.layers().find_map(|layer| of(&layer.op)).unwrap()
        };
        let (one, other) = (weights(1), weights(2));
        assert_eq!(one, weights(1));
        assert_ne!(one, other);
        let limit = (6.0_f32 / 67.0).sqrt();
        let most = one.iter().fold(0.0_f32, |most, w| most.max(w.abs()));
        assert!(most <= limit && most > 0.9 * limit, "{most} of {limit}");
    }

    #[test]
    fn what_is_no_definition_is_refused_with_its_place() {
        for (text, part) in [
            ("NetworkDef(format_version: 2, name: \"s\", input: [1], layers: [])", "format_version is 2"),
            ("NetworkDef(format_version: 1, name: \"s\", input: [1],\n layers: [Dence(units: 1)])", "s.ron:2:"),
            ("NetworkDef(format_version: 1, name: \"s\", input: [4], layers: [Dense(units: 99999999999)])", "all layers may have"),
            ("NetworkDef(format_version: 1, name: \"s\", input: [4], layers: [Dense(units: 0)])", "all layers may have"),
            ("NetworkDef(format_version: 1, name: \"s\", input: [4], layers: [Conv(filters: 2, kernel: 3)])", "conv1"),
            ("NetworkDef(format_version: 1, name: \"s\", input: [4], layers: [Residual([Dense(units: 3)])])", "add1"),
        ] {
            let error = Definition::parse(text, "s.ron").unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
