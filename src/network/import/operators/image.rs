//! Convolutions and poolings. Those of sequences (1-D) stand between reshapes to and from images of height 1.

use super::super::attributes::{Attributes, fault};
use super::super::importer::{Importer, Known, Tensor};
use super::super::movement::listed;
use super::super::onnx::NodeProto;
use crate::network::{Activation, Bias, Border, Conv, NetworkError, Op, Pool, PoolKind, Weight};
use crate::numerics::Quantization;
use ndarray::{Ix4, IxDyn};

/// What convolutions and poolings say of their windows.
struct Windows {
    stride: [usize; 2],
    dilation: [usize; 2],
    padding: [usize; 4],
    /// Rows and columns that a last window sees beyond the padding, where the output's size is rounded up.
    beyond: [usize; 2],
}

/// An image that a node reads.
struct Image {
    tensor: Tensor,
    /// Spatial axes in the file: 1 or 2.
    spatial: usize,
    /// Rows and columns.
    size: [usize; 2],
}

impl<'a> Importer<'a> {
    /// A value as a C x H x W image; a C x W sequence gets a height of 1.
    fn image(&mut self, node: &NodeProto, tensor: Tensor) -> Result<Image, NetworkError> {
        let tensor = self.samples(node, tensor)?;
        match self.builder.value(tensor.id).shape[..] {
            [_, h, w] => Ok(Image { tensor, spatial: 2, size: [h, w] }),
            [c, w] => {
                let id = self.aside(node, "image", Op::Reshape(vec![c, 1, w]), &[tensor.id])?;
                Ok(Image { tensor: Tensor { id, ..tensor }, spatial: 1, size: [1, w] })
            }
            ref shape => {
                let problem = format!("reads samples of shape {shape:?}");
                Err(fault(node, problem, "sequences (channels x length) and images (channels x height x width) are supported"))
            }
        }
    }

    /// A value that was made of a sequence as one again.
    fn of_image(&mut self, node: &NodeProto, spatial: usize, tensor: Tensor) -> Result<Tensor, NetworkError> {
        let shape = &self.builder.value(tensor.id).shape;
        if spatial == 2 {
            return Ok(tensor);
        }
        let sequence = vec![shape[0], shape[2]];
        let id = self.aside(node, "sequence", Op::Reshape(sequence), &[tensor.id])?;
        Ok(Tensor { id, ..tensor })
    }

    pub(super) fn conv(&mut self, node: &'a NodeProto) -> Result<Tensor, NetworkError> {
        let tensor = self.tensor(node, 0)?;
        let weight = self.weight(node, 1, 0)?;
        let outputs = weight.shape().first().copied().unwrap_or(0);
        let input = self.builder.value(tensor.id).quantization;
        let bias = if Self::has(node, 2) { Some(self.bias(node, 2, outputs, input, weight.scales())?) } else { None };
        self.convolution(node, tensor, weight, bias, None)
    }

    /// The convolution of a node, whose attributes are those of `Conv`.
    pub(super) fn convolution(
        &mut self,
        node: &'a NodeProto,
        tensor: Tensor,
        weight: Weight<IxDyn>,
        bias: Option<Bias>,
        output: Option<Quantization>,
    ) -> Result<Tensor, NetworkError> {
        let attributes = Attributes::new(node, &["auto_pad", "dilations", "group", "kernel_shape", "pads", "strides"])?;
        let image = self.image(node, tensor)?;
        let weight = if image.spatial == 1 && weight.shape().len() == 3 {
            weight.map_shape(|shape| vec![shape[0], shape[1], 1, shape[2]])
        } else {
            weight
        };
        let shape = weight.shape().to_vec();
        let Some(weight) = weight.into_dimensionality::<Ix4>().filter(|_| !shape.contains(&0)) else {
            let problem = format!("has weights of shape {shape:?} for images of {} spatial axes", image.spatial);
            return Err(fault(node, problem, "weights must be filters x channels x rows x columns"));
        };
        let kernel = [weight.shape()[2], weight.shape()[3]];
        if attributes.get("kernel_shape").is_some() && attributes.pair("kernel_shape", image.spatial, 1)? != kernel {
            let problem = format!("has weights of shape {shape:?} and another kernel_shape");
            return Err(fault(node, problem, "the file contradicts itself: export it again"));
        }
        let groups = attributes.integer("group", 1)?;
        let windows = windows(&attributes, &image, kernel)?;
        let Ok(groups) = usize::try_from(groups) else {
            return Err(fault(node, format!("has group = {groups}"), "it must be at least 1"));
        };
        let conv = Conv {
            weight,
            bias,
            stride: windows.stride,
            dilation: windows.dilation,
            padding: windows.padding,
            border: Border::Zero,
            groups,
            activation: Activation::None,
        };
        let id = self.layer(node, Op::Conv(conv), &[image.tensor.id])?;
        self.quantized(id, output);
        self.of_image(node, image.spatial, Tensor { id, batched: true, sole: true })
    }

    pub(super) fn pool(&mut self, node: &'a NodeProto) -> Result<Known<'a>, NetworkError> {
        match self.value(node, 0) {
            Known::Integers(tensor, shift) if node.op_type() != "AveragePool" => {
                Ok(Known::Integers(self.pooling(node, tensor, None)?, shift))
            }
            _ => Ok(Known::Layer(self.pooling(node, self.tensor(node, 0)?, None)?)),
        }
    }

    /// The pooling of a node, whose result is quantized where `output` says how.
    pub(super) fn pooling(&mut self, node: &'a NodeProto, tensor: Tensor, output: Option<Quantization>) -> Result<Tensor, NetworkError> {
        let operator = node.op_type();
        let attributes = Attributes::new(node, if operator == "GlobalMaxPool" { &[] } else { POOLING })?;
        channels_first(&attributes)?;
        let image = self.image(node, tensor)?;
        let kernel = if operator == "GlobalMaxPool" {
            image.size
        } else if attributes.get("kernel_shape").is_none() {
            return Err(fault(node, "has no kernel_shape".to_string(), "the file was written wrongly: export it again"));
        } else {
            attributes.pair("kernel_shape", image.spatial, 1)?
        };
        let windows = windows(&attributes, &image, kernel)?;
        let is_mean = operator.ends_with("AveragePool");
        let count_include_pad = attributes.integer("count_include_pad", 0)? != 0;
        if is_mean && count_include_pad && windows.beyond != [0, 0] {
            let problem = "rounds its output's size up (ceil_mode) and counts padding in its means".to_string();
            return Err(fault(node, problem, "the two together are not supported: use one of them"));
        }
        let kind = if is_mean { PoolKind::Average { count_include_pad } } else { PoolKind::Max };
        let [top, left, bottom, right] = windows.padding;
        let padding = [top, left, bottom + windows.beyond[0], right + windows.beyond[1]];
        let pool = Pool { kind, kernel, stride: windows.stride, dilation: windows.dilation, padding };
        let id = self.layer(node, Op::Pool(pool), &[image.tensor.id])?;
        self.quantized(id, output);
        self.of_image(node, image.spatial, Tensor { id, batched: true, sole: true })
    }
}

/// Attributes of poolings.
const POOLING: &[&str] =
    &["auto_pad", "ceil_mode", "channels_last", "count_include_pad", "dilations", "kernel_shape", "pads", "storage_order", "strides"];

/// Refuses images whose channels are last, which ONNX Runtime's own operators may have.
pub(super) fn channels_first(attributes: &Attributes<'_>) -> Result<(), NetworkError> {
    if attributes.get("channels_last").is_none() || attributes.integer("channels_last", 0)? == 0 {
        return Ok(());
    }
    Err(fault(attributes.node, "has its channels last".to_string(), "export the model with channels first"))
}

/// The windows of a convolution or pooling over an image, its padding resolved.
fn windows(attributes: &Attributes<'_>, image: &Image, kernel: [usize; 2]) -> Result<Windows, NetworkError> {
    let spatial = image.spatial;
    let (stride, dilation) = (attributes.pair("strides", spatial, 1)?, attributes.pair("dilations", spatial, 1)?);
    let limits = |sizes: &[usize], least| sizes.iter().all(|size| (least..1 << 24).contains(size));
    if !limits(&kernel, 1) || !limits(&stride, 1) || !limits(&dilation, 1) {
        let problem = format!("has kernel {kernel:?}, strides {stride:?} and dilations {dilation:?}");
        return Err(fault(attributes.node, problem, "all must be at least 1, and below 2^24"));
    }
    let extent = |axis: usize| (kernel[axis] - 1) * dilation[axis] + 1;
    let mut padding = [0; 4];
    match attributes.text("auto_pad", "NOTSET")?.as_str() {
        "NOTSET" => {
            if let Some(given) = attributes.integers("pads")? {
                let sizes: Vec<usize> = given.iter().filter_map(|size| usize::try_from(*size).ok()).collect();
                padding = match sizes[..] {
                    [left, right] if spatial == 1 && given.len() == 2 => [0, left, 0, right],
                    [top, left, bottom, right] if spatial == 2 && given.len() == 4 => [top, left, bottom, right],
                    _ => {
                        let problem = format!("has pads = {} for {spatial} spatial axes", listed(given));
                        return Err(fault(attributes.node, problem, "give two numbers, not negative, for each spatial axis"));
                    }
                };
            }
        }
        "VALID" => {}
        same @ ("SAME_UPPER" | "SAME_LOWER") => {
            for axis in 0..2 {
                let outputs = image.size[axis].div_ceil(stride[axis]);
                let total = ((outputs - 1) * stride[axis] + extent(axis)).saturating_sub(image.size[axis]);
                let (small, large) = (total / 2, total - total / 2);
                (padding[axis], padding[axis + 2]) = if same == "SAME_UPPER" { (small, large) } else { (large, small) };
            }
        }
        other => {
            return Err(fault(
                attributes.node,
                format!("has auto_pad = \"{other}\""),
                "NOTSET, VALID, SAME_UPPER and SAME_LOWER are known",
            ));
        }
    }
    if !limits(&padding, 0) {
        return Err(fault(attributes.node, format!("has a padding of {padding:?}"), "each must be below 2^24"));
    }
    let mut beyond = [0; 2];
    if attributes.get("ceil_mode").is_some() && attributes.integer("ceil_mode", 0)? != 0 {
        for axis in 0..2 {
            let padded = image.size[axis] + padding[axis] + padding[axis + 2];
            let Some(room) = padded.checked_sub(extent(axis)) else { continue };
            // The last window has to start inside of the image or its first padding.
            let start = room.div_ceil(stride[axis]) * stride[axis];
            if start < image.size[axis] + padding[axis] {
                beyond[axis] = (start + extent(axis)).saturating_sub(padded);
            }
        }
    }
    Ok(Windows { stride, dilation, padding, beyond })
}
