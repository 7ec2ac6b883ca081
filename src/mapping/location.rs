//! Where the values of a network lie in DRAM: strides, as arrays have them, over a list of factors rather than the axes of
//! one shape. So a reshape never moves a byte, and a transpose or a slice only where no list of strides says the same.
//!
//! Places are counted in elements of the tensor's format. Elements of less than a byte are packed along the innermost axis, low bits first; each
//! of its rows starts on a byte, so that its pitch is a whole number of bytes ([`row_pitch`]).

use crate::numerics::Dtype;
use crate::numerics::packed::{pack, unpack};
use std::sync::Arc;

/// Bytes of DRAM that hold a value for a whole batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    /// Which one it is, among those of a network.
    pub number: usize,
    /// The format of its elements.
    pub format: Dtype,
    /// The integer that stands for zero in it, as far as is known: a chip may leave it out of DRAM.
    pub zero_point: i32,
    /// Bytes for all samples of a batch; what is the same for every sample is there once.
    pub bytes: u64,
    /// What lies there at the start, where that is known: a constant, or a border.
    pub content: Option<Arc<Vec<u8>>>,
}

impl Tensor {
    /// A zero as it lies at even and at odd addresses, elements of less than a byte side by side.
    pub fn zero_bytes(&self) -> [u8; 2] {
        let [low, high, ..] = self.zero_point.to_le_bytes();
        match self.format {
            Dtype::Binary => [0; 2],
            Dtype::Int2 => [(low & 0b11) * 0x55; 2],
            Dtype::Int4 => [(low & 0xF) * 0x11; 2],
            Dtype::Int8 => [low; 2],
            Dtype::Int16 => [low, high],
        }
    }
}

/// One factor of a place: how many, and how far from one to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Factor {
    /// How many.
    pub size: u64,
    /// Elements from one to the next (bytes, where bytes are counted); 0 where they are all the same.
    pub stride: u64,
}

/// Where the elements of a value lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// In what.
    pub tensor: Tensor,
    /// The first element's place.
    pub offset: u64,
    /// Elements from a sample to the next.
    pub sample: u64,
    /// The factors that the elements of a sample, row-major, are counted by, the outermost first.
    pub factors: Vec<Factor>,
}

/// A factor of several places at once: elements, and each place's bytes from one to the next.
pub type Joint<const N: usize> = (u64, [u64; N]);

impl Location {
    /// A place of so many elements one behind the other.
    pub fn dense(tensor: Tensor, sample: u64, elements: u64) -> Self {
        Self { tensor, offset: 0, sample, factors: joined([Factor { size: elements, stride: 1 }]) }
    }

    /// A value of `shape` whose axes lie in the order `order` in memory, the outermost first, with nothing between but what fills rows up to bytes.
    pub fn ordered(tensor: Tensor, sample: u64, shape: &[u64], order: &[usize]) -> Self {
        let (strides, _) = ordered_strides(tensor.format, shape, order);
        let factors = shape.iter().zip(strides).map(|(size, stride)| Factor { size: *size, stride });
        Self { tensor, offset: 0, sample, factors: joined(factors) }
    }

    /// Elements of a sample.
    pub fn elements(&self) -> u64 {
        self.factors.iter().map(|factor| factor.size).product()
    }

    /// The factors of each axis of a shape; none where an axis cuts through a factor.
    fn of_axes(&self, shape: &[u64]) -> Option<Vec<Vec<Factor>>> {
        let mut left = self.factors.clone();
        let mut axes = Vec::with_capacity(shape.len());
        for size in shape.iter().rev() {
            let (mut rest, mut axis) = (*size, Vec::new());
            while rest > 1 {
                let factor = left.pop()?;
                if factor.size <= rest {
                    if !rest.is_multiple_of(factor.size) {
                        return None;
                    }
                    rest /= factor.size;
                    axis.push(factor);
                } else {
                    if !factor.size.is_multiple_of(rest) {
                        return None;
                    }
                    left.push(Factor { size: factor.size / rest, stride: factor.stride * rest });
                    axis.push(Factor { size: rest, stride: factor.stride });
                    rest = 1;
                }
            }
            axis.reverse();
            axes.push(axis);
        }
        axes.reverse();
        Some(axes)
    }

    /// The stride of each axis of a shape; none where an axis has no single one. An axis of one element has any, said as 0.
    pub fn strides(&self, shape: &[u64]) -> Option<Vec<u64>> {
        let axes = self.of_axes(shape)?.into_iter().map(|factors| match joined(factors)[..] {
            [] => Some(0),
            [factor] => Some(factor.stride),
            _ => None,
        });
        axes.collect()
    }

    /// The factors of its rows, where the elements of each row of `inner` lie side by side.
    pub fn split_last(&self, rows: u64, inner: u64) -> Option<Vec<Factor>> {
        let [rows, inner]: [Vec<Factor>; 2] = self.of_axes(&[rows, inner])?.try_into().ok()?;
        let inner = joined(inner);
        matches!(inner[..], [] | [Factor { stride: 1, .. }]).then(|| joined(rows))
    }

    /// The same value with its axes in another order: axis i is axis `perm[i]` of `shape`.
    pub fn transposed(&self, shape: &[u64], perm: &[usize]) -> Option<Self> {
        let axes = self.of_axes(shape)?;
        let factors = joined(perm.iter().flat_map(|axis| axes[*axis].iter().copied()));
        Some(Self { factors, ..self.clone() })
    }

    /// Part of it: of each axis of `shape` elements `start`, `start + step`, ... of which there are `count`.
    pub fn sliced(&self, shape: &[u64], spans: &[(u64, u64, u64)]) -> Option<Self> {
        let strides = self.strides(shape)?;
        let mut offset = self.offset;
        let factors = spans.iter().zip(strides).map(|((start, count, step), stride)| {
            offset += start * stride;
            Factor { size: *count, stride: stride * step }
        });
        let factors = joined(factors.collect::<Vec<_>>());
        Some(Self { offset, factors, ..self.clone() })
    }

    /// It as a value of shape `to`, with which its own shape `from` broadcasts, aligned at the last axis.
    pub fn broadcast(&self, from: &[u64], to: &[u64]) -> Option<Self> {
        let mut axes = vec![Vec::new(); to.len().checked_sub(from.len())?];
        axes.extend(self.of_axes(from)?);
        let before = to.len() - from.len();
        let factors = axes.into_iter().zip(to).enumerate().flat_map(|(axis, (factors, size))| {
            let is_one = axis < before || from[axis - before] == 1;
            if is_one { vec![Factor { size: *size, stride: 0 }] } else { factors }
        });
        Some(Self { factors: joined(factors), ..self.clone() })
    }

    /// Whether its elements are each byte of a row of bytes, in whatever order, and samples follow each other without gaps.
    pub fn is_dense(&self) -> bool {
        let mut factors = self.factors.clone();
        factors.sort_by_key(|factor| factor.stride);
        let end = factors.iter().try_fold(1, |next, factor| (factor.stride == next).then_some(next * factor.size));
        end == Some(self.sample)
    }

    /// The order of the axes of `shape` in memory, the outermost first.
    pub fn order(&self, shape: &[u64]) -> Option<Vec<usize>> {
        let strides = self.strides(shape)?;
        let mut order: Vec<usize> = (0..shape.len()).collect();
        order.sort_by_key(|axis| (std::cmp::Reverse(strides[*axis]), *axis));
        Some(order)
    }

    /// A batch of values, sample by sample, row-major, as they lie; samples that are all `filling` fill the batch up, and it lies in what is
    /// no element.
    ///
    /// # Panics
    /// If a value is none of the tensor's format, or the tensor is larger than memory.
    pub fn lay(&self, values: impl IntoIterator<Item = i32>, samples: u64, filling: i32) -> Vec<u8> {
        let format = self.tensor.format;
        let narrow = |value: i32| i16::try_from(value).expect("bug: a value is within its format");
        let mut elements = vec![narrow(filling); size(self.tensor.bytes * 8 / u64::from(format.bits()))];
        let mut values = values.into_iter().chain(std::iter::repeat(filling));
        self.each(samples, |place| elements[size(place)] = narrow(values.next().unwrap_or(filling)));
        pack(format, elements.into_iter())
    }

    /// The values of so many samples in what lies there.
    ///
    /// # Panics
    /// If the bytes are not all of the tensor.
    pub fn pick(&self, bytes: &[u8], samples: u64) -> Vec<i32> {
        let format = self.tensor.format;
        let mut elements = vec![0; bytes.len() * 8 / format.bits() as usize];
        unpack(format, bytes, 0, &mut elements);
        let mut values = Vec::new();
        self.each(samples, |place| values.push(i32::from(elements[size(place)])));
        values
    }

    /// The places of a batch's elements, sample by sample, row-major.
    pub fn each(&self, samples: u64, mut see: impl FnMut(u64)) {
        fn walk(factors: &[Factor], at: u64, see: &mut impl FnMut(u64)) {
            match factors {
                [] => see(at),
                [factor, rest @ ..] => (0..factor.size).for_each(|number| walk(rest, at + number * factor.stride, see)),
            }
        }
        for sample in 0..samples {
            walk(&self.factors, self.offset + sample * self.sample, &mut see);
        }
    }
}

fn size(bytes: u64) -> usize {
    usize::try_from(bytes).expect("bug: a batch is limited far below what memory holds")
}

/// Elements from a row of `elements` to the next, each row on bytes of its own.
pub(super) fn row_pitch(format: Dtype, elements: u64) -> u64 {
    elements.next_multiple_of(u64::from(8 / format.bits().min(8)))
}

/// The strides of the axes of a shape that lie in this order, and the elements of all.
pub(super) fn ordered_strides(format: Dtype, shape: &[u64], order: &[usize]) -> (Vec<u64>, u64) {
    let Some((inner, outer)) = order.split_last() else { return (Vec::new(), row_pitch(format, 1)) };
    let mut strides = vec![0; shape.len()];
    strides[*inner] = 1;
    let (of_outer, elements) = packed(
        outer.iter().map(|axis| (*axis, shape[*axis])).collect::<Vec<_>>().into_iter(),
        row_pitch(format, shape[*inner]),
        shape.len(),
    );
    for axis in outer {
        strides[*axis] = of_outer[*axis];
    }
    (strides, elements)
}

/// The strides of sizes that lie in this order, the outermost first, with nothing between and `inner` elements from one of the innermost to the next;
/// each is at its place, of so many. And the elements of all.
pub(super) fn packed(order: impl DoubleEndedIterator<Item = (usize, u64)>, inner: u64, places: usize) -> (Vec<u64>, u64) {
    let mut strides = vec![0; places];
    let elements = order.rev().fold(inner, |stride, (place, size)| {
        strides[place] = stride;
        stride * size
    });
    (strides, elements)
}

/// Factors without those of one element, neighbours that go on as one being one.
pub(super) fn joined(factors: impl IntoIterator<Item = Factor>) -> Vec<Factor> {
    let mut all: Vec<Factor> = Vec::new();
    for factor in factors.into_iter().filter(|factor| factor.size != 1) {
        match all.last_mut() {
            Some(last) if last.stride == factor.stride * factor.size => {
                *last = Factor { size: last.size * factor.size, stride: factor.stride };
            }
            _ => all.push(factor),
        }
    }
    all
}

/// The factors that several lists have in common, the outermost first; none where they do not divide each other. Lists of as many elements.
pub(super) fn common<const N: usize>(lists: [&[Factor]; N]) -> Option<Vec<Joint<N>>> {
    let mut left = lists.map(<[Factor]>::to_vec);
    let mut all = Vec::new();
    while left.iter().any(|list| !list.is_empty()) {
        let size = left.iter().map(|list| list.last().map_or(1, |factor| factor.size)).min()?;
        let mut strides = [0; N];
        for (list, stride) in left.iter_mut().zip(&mut strides) {
            let factor = list.pop()?;
            if !factor.size.is_multiple_of(size) {
                return None;
            }
            *stride = factor.stride;
            if factor.size > size {
                list.push(Factor { size: factor.size / size, stride: factor.stride * size });
            }
        }
        all.push((size, strides));
    }
    all.reverse();
    Some(all)
}

/// The same, neighbours that go on as one in every place being one.
pub(super) fn joint<const N: usize>(factors: impl IntoIterator<Item = Joint<N>>) -> Vec<Joint<N>> {
    let mut all: Vec<Joint<N>> = Vec::new();
    for (size, strides) in factors.into_iter().filter(|(size, _)| *size != 1) {
        match all.last_mut() {
            Some((last, before)) if before.iter().zip(&strides).all(|(before, stride)| *before == stride * size) => {
                (*last, *before) = (*last * size, strides);
            }
            _ => all.push((size, strides)),
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(bytes: u64) -> Tensor {
        Tensor { number: 0, format: Dtype::Int8, zero_point: 0, bytes, content: None }
    }

    fn bytes(place: &Location) -> Vec<u64> {
        let mut all = Vec::new();
        place.each(1, |byte| all.push(byte));
        all
    }

    /// Two channels of 2 x 3 pixels, channels innermost.
    fn image() -> Location {
        Location::ordered(tensor(12), 12, &[2, 2, 3], &[1, 2, 0])
    }

    #[test]
    fn reshapes_of_an_image_are_the_image() {
        assert_eq!(bytes(&image()), [0, 2, 4, 6, 8, 10, 1, 3, 5, 7, 9, 11]);
        assert_eq!(image().strides(&[2, 2, 3]), Some(vec![1, 6, 2]));
        assert_eq!(image().strides(&[2, 6]), Some(vec![1, 2]));
        assert_eq!(image().strides(&[12]), None, "no stride goes from the last pixel of a channel to the first of the next");
        assert_eq!(image().strides(&[3, 4]), None);
        assert_eq!(image().order(&[2, 2, 3]), Some(vec![1, 2, 0]));
        assert!(image().is_dense() && !Location { sample: 13, ..image() }.is_dense());
    }

    #[test]
    fn transposes_and_slices_are_strides() {
        let pixels = image().transposed(&[2, 6], &[1, 0]).unwrap();
        assert_eq!(pixels, Location::dense(tensor(12), 12, 12), "pixels by channels lie row-major");
        let last = image().sliced(&[2, 2, 3], &[(1, 1, 1), (0, 2, 1), (0, 2, 2)]).unwrap();
        assert_eq!(bytes(&last), [1, 5, 7, 11]);
        assert_eq!(image().sliced(&[2, 6], &[(0, 2, 1), (2, 3, 1)]).map(|place| bytes(&place)), Some(vec![4, 6, 8, 5, 7, 9]));
    }

    #[test]
    fn what_broadcasts_repeats() {
        let row = Location::dense(tensor(3), 3, 3);
        assert_eq!(bytes(&row.broadcast(&[3], &[2, 3]).unwrap()), [0, 1, 2, 0, 1, 2]);
        assert_eq!(bytes(&row.broadcast(&[3, 1], &[3, 2]).unwrap()), [0, 0, 1, 1, 2, 2]);
    }

    #[test]
    fn common_factors_divide_both() {
        let one = [Factor { size: 4, stride: 6 }, Factor { size: 6, stride: 1 }];
        let other = [Factor { size: 2, stride: 1 }, Factor { size: 12, stride: 2 }];
        assert_eq!(common([&one, &other]), Some(vec![(2, [12, 1]), (2, [6, 12]), (6, [1, 2])]));
        assert_eq!(common([&one, &[Factor { size: 3, stride: 1 }, Factor { size: 8, stride: 3 }]]), None);
        assert_eq!(joint([(2, [12, 24]), (2, [6, 12]), (6, [1, 2])]), [(24, [1, 2])]);
    }
}
