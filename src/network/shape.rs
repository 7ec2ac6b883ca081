//! Shape inference: what a layer yields for the shapes that it reads. Checked arithmetic throughout, since shapes come from files.

use super::window::{self, Window};
use super::{BinaryConstant, Conv, Dense, Function, LayerNorm, NetworkError, Op, Pad, Pool, Span, Weight};
use ndarray::RemoveAxis;

/// The most elements that one sample of a value may have.
pub(super) const MAX_ELEMENTS: usize = 1 << 31;

/// Refuses a shape that is empty or too large to be meant.
pub(super) fn check_size(layer: &str, shape: &[usize]) -> Result<usize, NetworkError> {
    let fault = |problem| NetworkError::Size { layer: layer.to_string(), shape: shape.to_vec(), problem };
    let elements = shape.iter().try_fold(1_usize, |product, n| product.checked_mul(*n)).filter(|n| *n <= MAX_ELEMENTS);
    match elements {
        None => Err(fault("too many elements")),
        Some(0) => Err(fault("no elements")),
        Some(n) => Ok(n),
    }
}

/// The shape of one sample that `op` yields for `inputs`, and the multiply-accumulates that it takes.
pub(super) fn infer(layer: &str, op: &Op, inputs: &[&[usize]]) -> Result<(Vec<usize>, u64), NetworkError> {
    // Whether its groups are those of a depthwise one is what is to be found out.
    let name = if let Op::Conv(_) = op { "conv" } else { op.name() };
    let fault = |problem: String| NetworkError::Shape { layer: layer.to_string(), op: name, problem };
    let wanted = match op {
        Op::Input | Op::Constant(_) => 0..=0,
        Op::Binary(_) | Op::MatMul => 2..=2,
        Op::Concat { .. } => 1..=usize::MAX,
        _ => 1..=1,
    };
    if !wanted.contains(&inputs.len()) {
        return Err(fault(format!("reads {} values and needs {}", inputs.len(), wanted.start())));
    }
    let inferred = match op {
        Op::Input => Err("an input is added by name and shape".to_string()),
        Op::Constant(weight) => integers_fit(weight, None).map(|()| weight.shape().to_vec()),
        Op::Dense(dense) => self::dense(dense, inputs[0]),
        Op::Conv(conv) => self::conv(conv, inputs[0]),
        Op::MatMul => matmul(inputs[0], inputs[1]),
        Op::Binary(_) => broadcast(inputs[0], inputs[1]),
        Op::BinaryConstant(BinaryConstant { constant, .. }) => {
            integers_fit(constant, None).and_then(|()| broadcast(inputs[0], constant.shape()))
        }
        Op::Unary(function) => unary(function, inputs[0]),
        Op::Softmax { axis } => axis_of(*axis, inputs[0]).map(|_| inputs[0].to_vec()),
        Op::LayerNorm(norm) => layer_norm(norm, inputs[0]),
        Op::Pool(pool) => self::pool(pool, inputs[0]),
        Op::Mean { axes, keep } => mean(axes, *keep, inputs[0]),
        Op::Concat { axis } => concat(*axis, inputs),
        Op::Slice(spans) => slice(spans, inputs[0]),
        Op::Pad(pad) => self::pad(pad, inputs[0]),
        Op::Reshape(shape) => {
            let (from, to) = (check_size(layer, inputs[0])?, check_size(layer, shape)?);
            if from == to {
                Ok(shape.clone())
            } else {
                Err(format!("reshapes {:?} ({from} elements) to {shape:?} ({to} elements)", inputs[0]))
            }
        }
        Op::Transpose(perm) => transpose(perm, inputs[0]),
        Op::Gather(table) => gather(table, inputs[0]),
        Op::Quantize => Ok(inputs[0].to_vec()),
    };
    let shape = inferred.map_err(fault)?;
    let elements = check_size(layer, &shape)?;
    let products = match op {
        Op::Dense(dense) => dense.inputs(),
        Op::Conv(conv) => conv.inputs(),
        Op::MatMul => inputs[0].last().copied().unwrap_or(1),
        _ => 0,
    };
    Ok((shape, (elements as u64).saturating_mul(products as u64)))
}

fn dense(dense: &Dense, input: &[usize]) -> Result<Vec<usize>, String> {
    let (k, n) = dense.weight.dim();
    let Some((last, rows)) = input.split_last() else {
        return Err(format!("reads a scalar a sample and needs rows of {k}"));
    };
    if *last != k {
        return Err(format!("reads rows of {last} (shape {input:?}) and its weights are {k} x {n}"));
    }
    let biases = dense.bias.as_ref().map_or(n, super::Bias::len);
    if biases != n {
        return Err(format!("has {biases} biases and its weights are {k} x {n}"));
    }
    integers_fit(&dense.weight, Some(n))?;
    let mut shape = rows.to_vec();
    shape.push(n);
    Ok(shape)
}

fn conv(conv: &Conv, input: &[usize]) -> Result<Vec<usize>, String> {
    let &[c, h, w] = input else {
        return Err(format!("reads samples of shape {input:?} and needs an image (channels x height x width)"));
    };
    let filters = conv.weight.shape();
    let (m, of_group, groups) = (filters[0], filters[1], conv.groups);
    if groups == 0 || filters.contains(&0) || !m.is_multiple_of(groups) || of_group.checked_mul(groups) != Some(c) {
        return Err(format!(
            "reads {c} channels in {groups} groups and its weights are {filters:?} (filters, channels a group, rows, columns)"
        ));
    }
    let biases = conv.bias.as_ref().map_or(m, super::Bias::len);
    if biases != m {
        return Err(format!("has {biases} biases and {m} filters"));
    }
    integers_fit(&conv.weight, Some(m))?;
    let window = Window { kernel: conv.kernel(), stride: conv.stride, dilation: conv.dilation, padding: conv.padding };
    let [p, q] = window.outputs([h, w])?;
    Ok(vec![m, p, q])
}

fn pool(pool: &Pool, input: &[usize]) -> Result<Vec<usize>, String> {
    let &[c, h, w] = input else {
        return Err(format!("reads samples of shape {input:?} and needs an image (channels x height x width)"));
    };
    let window = Window { kernel: pool.kernel, stride: pool.stride, dilation: pool.dilation, padding: pool.padding };
    let [p, q] = window.outputs([h, w])?;
    window::none_is_empty(&window, [h, w], [p, q])?;
    Ok(vec![c, p, q])
}

fn matmul(left: &[usize], right: &[usize]) -> Result<Vec<usize>, String> {
    let ([left_batch @ .., i, k], [right_batch @ .., other, j]) = (left, right) else {
        return Err(format!("multiplies shapes {left:?} and {right:?}; both need two axes at least"));
    };
    if k != other {
        return Err(format!("multiplies shapes {left:?} and {right:?}; the last axis of the left must be the last but one of the right"));
    }
    let mut shape = broadcast(left_batch, right_batch)?;
    shape.extend([*i, *j]);
    Ok(shape)
}

/// The shape that two broadcast to, aligned at the last axis.
pub(super) fn broadcast(left: &[usize], right: &[usize]) -> Result<Vec<usize>, String> {
    let rank = left.len().max(right.len());
    let size = |shape: &[usize], axis: usize| (axis + shape.len()).checked_sub(rank).map_or(1, |axis| shape[axis]);
    (0..rank)
        .map(|axis| match (size(left, axis), size(right, axis)) {
            (1, n) | (n, 1) => Ok(n),
            (n, other) if n == other => Ok(n),
            _ => Err(format!("joins shapes {left:?} and {right:?}, which do not broadcast")),
        })
        .collect()
}

fn unary(function: &Function, input: &[usize]) -> Result<Vec<usize>, String> {
    if let Function::PRelu { slopes } = function
        && broadcast(input, slopes.shape()).as_deref() != Ok(input)
    {
        return Err(format!("has slopes of shape {:?} for samples of {input:?}", slopes.shape()));
    }
    Ok(input.to_vec())
}

fn axis_of(axis: usize, input: &[usize]) -> Result<usize, String> {
    input.get(axis).copied().ok_or_else(|| format!("has axis {axis} and reads samples of shape {input:?}"))
}

fn layer_norm(norm: &LayerNorm, input: &[usize]) -> Result<Vec<usize>, String> {
    axis_of(norm.axis, input)?;
    let rows = &input[norm.axis..];
    for (what, shape) in [("scales", Some(norm.scale.shape())), ("biases", norm.bias.as_ref().map(ndarray::ArrayBase::shape))] {
        if let Some(shape) = shape.filter(|shape| *shape != rows) {
            return Err(format!("has {what} of shape {shape:?} and normalises rows of {rows:?}"));
        }
    }
    Ok(input.to_vec())
}

fn mean(axes: &[usize], keep: bool, input: &[usize]) -> Result<Vec<usize>, String> {
    if axes.iter().any(|axis| *axis >= input.len()) || axes.windows(2).any(|pair| pair[0] >= pair[1]) {
        return Err(format!("has axes {axes:?} (they must ascend) and reads samples of shape {input:?}"));
    }
    let sizes = input.iter().enumerate();
    Ok(sizes.filter_map(|(axis, size)| if axes.contains(&axis) { keep.then_some(1) } else { Some(*size) }).collect())
}

fn concat(axis: usize, inputs: &[&[usize]]) -> Result<Vec<usize>, String> {
    let mut shape = inputs[0].to_vec();
    axis_of(axis, &shape)?;
    for input in &inputs[1..] {
        let fits = input.len() == shape.len() && (0..shape.len()).all(|other| other == axis || input[other] == shape[other]);
        let joined = fits.then(|| shape[axis].checked_add(input[axis])).flatten();
        shape[axis] = joined.ok_or_else(|| format!("joins shapes {:?} and {input:?} along axis {axis}", inputs[0]))?;
    }
    Ok(shape)
}

fn slice(spans: &[Span], input: &[usize]) -> Result<Vec<usize>, String> {
    let fits = |span: &Span, size: usize| {
        let steps = isize::try_from(span.count).ok().and_then(|count| (count - 1).checked_mul(span.step));
        let last = steps.and_then(|steps| span.start.checked_add_signed(steps));
        span.count > 0 && span.step != 0 && span.start < size && last.is_some_and(|last| last < size)
    };
    if spans.len() != input.len() || spans.iter().zip(input).any(|(span, size)| !fits(span, *size)) {
        return Err(format!("takes {spans:?} of samples of shape {input:?}"));
    }
    Ok(spans.iter().map(|span| span.count).collect())
}

fn pad(pad: &Pad, input: &[usize]) -> Result<Vec<usize>, String> {
    if pad.before.len() != input.len() || pad.after.len() != input.len() {
        return Err(format!("pads {} and {} axes of samples of shape {input:?}", pad.before.len(), pad.after.len()));
    }
    let borders = pad.before.iter().zip(&pad.after);
    let sizes = input.iter().zip(borders).map(|(size, (before, after))| size.checked_add(*before)?.checked_add(*after));
    sizes.collect::<Option<_>>().ok_or_else(|| "has a border that is too large".to_string())
}

fn transpose(perm: &[usize], input: &[usize]) -> Result<Vec<usize>, String> {
    let mut sorted = perm.to_vec();
    sorted.sort_unstable();
    if !sorted.iter().copied().eq(0..input.len()) {
        return Err(format!("has the order of axes {perm:?} and reads samples of shape {input:?}"));
    }
    Ok(perm.iter().map(|axis| input[*axis]).collect())
}

fn gather(table: &Weight<ndarray::IxDyn>, input: &[usize]) -> Result<Vec<usize>, String> {
    integers_fit(table, None)?;
    let [_, row @ ..] = table.shape() else { return Err("has a scalar as its table".to_string()) };
    Ok([input, row].concat())
}

/// Whether integers have one scale (and zero point) for all, or one for each of `channels`.
fn integers_fit<D: RemoveAxis>(weight: &Weight<D>, channels: Option<usize>) -> Result<(), String> {
    let Weight::Integer { scales, zero_points, .. } = weight else { return Ok(()) };
    let fits = |count: usize| count == 1 || Some(count) == channels;
    if fits(scales.len()) && (zero_points.is_empty() || fits(zero_points.len())) {
        return Ok(());
    }
    let channels = channels.map_or("one tensor".to_string(), |channels| format!("{channels} channels"));
    Err(format!("has {} scales and {} zero points for {channels}", scales.len(), zero_points.len()))
}
