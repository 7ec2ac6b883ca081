//! Samples with their labels, as a file holds them.

use ndarray::ArrayD;

/// The most bytes of data that are read from one file at once.
pub(super) const MAX_BYTES: u64 = 1 << 29;

/// The most that deflate can unpack a byte to; a claim beyond it is false.
pub(super) const MAX_DEFLATE_RATIO: u64 = 1032;

/// Numbers as a file holds them; the first axis counts samples.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// Bytes, 0 to 255.
    U8(ArrayD<u8>),
    /// Finite numbers; what was wider in the file is rounded.
    F32(ArrayD<f32>),
}

impl Values {
    /// The shape, the number of samples first.
    pub fn shape(&self) -> &[usize] {
        match self {
            Self::U8(values) => values.shape(),
            Self::F32(values) => values.shape(),
        }
    }
}

/// Samples with their labels.
#[derive(Debug, Clone, PartialEq)]
pub struct Dataset {
    samples: Values,
    labels: Vec<u32>,
}

impl Dataset {
    /// Samples with one label each; the readers have checked that.
    pub(super) fn new(samples: Values, labels: Vec<u32>) -> Self {
        assert_eq!(samples.shape().first(), Some(&labels.len()), "bug: the readers give as many labels as samples");
        Self { samples, labels }
    }

    /// The samples: n x the shape of one.
    pub fn samples(&self) -> &Values {
        &self.samples
    }

    /// One label a sample.
    pub fn labels(&self) -> &[u32] {
        &self.labels
    }

    /// How many samples there are.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }
}
