//! A depthwise convolution on the vector unit: each channel is multiplied by a filter of its own, tap by tap.
//!
//! `y[c] = stage(b[c] + sum over taps of (x[tap][c] - zero_x) w[tap][c])`, the sum exact in 64 bits; a tap that is padding adds nothing. The
//! numbers of a channel are a column of bytes: its weights, tap by tap, then its bias, [`BIAS_BYTES`] bytes, the lowest first.

use super::OutputStage;
use serde::{Deserialize, Serialize};

/// Bytes of a bias.
pub const BIAS_BYTES: u64 = 4;

/// A depthwise convolution, without the weights and biases, which are a value that it reads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Depthwise {
    /// The input's zero point.
    pub zero_point: i32,
    /// From sums to outputs.
    pub stage: OutputStage,
    /// The first channel, among those of the output stage.
    pub first: u64,
}

impl Depthwise {
    /// The rows of the weights' and biases' bytes: a row of `channels` bytes for each tap, then those of the biases.
    ///
    /// # Panics
    /// If there is not a bias for each channel.
    pub fn rows(taps: impl Iterator<Item = Vec<i8>>, biases: &[i32]) -> Vec<u8> {
        let mut rows = Vec::new();
        for tap in taps {
            assert_eq!(tap.len(), biases.len(), "a bias a channel");
            rows.extend(tap.iter().map(|weight| weight.to_le_bytes()[0]));
        }
        for byte in 0..size_of::<i32>() {
            rows.extend(biases.iter().map(|bias| bias.to_le_bytes()[byte]));
        }
        rows
    }

    /// The sums that the rows of the biases hold.
    pub fn biases<'r>(rows: impl Iterator<Item = &'r [u8]>, sums: &mut Vec<i64>, channels: usize) {
        let mut biases = vec![[0; size_of::<i32>()]; channels];
        for (byte, row) in rows.take(size_of::<i32>()).enumerate() {
            biases.iter_mut().zip(row).for_each(|(bias, of_row)| bias[byte] = *of_row);
        }
        sums.clear();
        sums.extend(biases.iter().map(|bias| i64::from(i32::from_le_bytes(*bias))));
    }

    /// Adds a tap: a pixel's channels by their weights.
    pub fn add(&self, sums: &mut [i64], pixel: &[i16], weights: &[u8]) {
        for ((sum, x), weight) in sums.iter_mut().zip(pixel).zip(weights) {
            let x = i64::from(*x) - i64::from(self.zero_point);
            *sum = sum.saturating_add(x.saturating_mul(i64::from(i8::from_le_bytes([*weight]))));
        }
    }

    /// The output of a channel, counted from the first, with this sum.
    ///
    /// # Panics
    /// If the output stage has not so many channels, which [`super::VectorOp::fault`] says.
    pub fn output(&self, channel: usize, sum: i64) -> i8 {
        let first = usize::try_from(self.first).unwrap_or(usize::MAX);
        let y = self.stage.apply(first.saturating_add(channel), sum);
        i8::try_from(y.clamp(i32::from(i8::MIN), i32::from(i8::MAX))).expect("bug: clamped to eight bits just before")
    }

    /// What is wrong with it for so many channels, if anything is.
    pub(super) fn fault(&self, channels: u64) -> Option<String> {
        let of_stage = self.stage.channels() as u64;
        let fits = of_stage == 1 || self.first.checked_add(channels).is_some_and(|end| end <= of_stage);
        (!fits).then(|| format!("has {channels} channels from {} on, of the {of_stage} of its output stage", self.first))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::numerics::Dtype;

    #[test]
    fn a_sum_is_the_bias_and_the_taps() {
        let rows = Depthwise::rows([vec![2, -3], vec![-128, 127]].into_iter(), &[1000, -70_000]);
        assert_eq!(rows.len(), 2 * (2 + 4));
        let op = Depthwise { zero_point: -1, stage: OutputStage::unit(Dtype::Int8), first: 0 };
        let mut sums = Vec::new();
        Depthwise::biases(rows[4..].chunks(2), &mut sums, 2);
        assert_eq!(sums, [1000, -70_000]);
        op.add(&mut sums, &[4, 127], &rows[..2]);
        op.add(&mut sums, &[-128, 9], &rows[2..4]);
        assert_eq!(sums, [1000 + 10 + 127 * 128, -70_000 - 384 + 1270]);
        assert_eq!((op.output(0, 12), op.output(1, -999)), (12, -128));
        assert!(op.fault(7).is_none(), "one multiplier serves all channels");
    }
}
