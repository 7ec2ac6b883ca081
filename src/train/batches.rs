//! Samples in the order of an epoch, shifted where that is asked for. All of it follows from the seed and the epoch's number, so that training goes on
//! after a stop as if there had been none.

use super::TrainError;
use ndarray::Array2;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// The generator of an epoch, from 1; weights are drawn from that of epoch 0.
pub(super) fn generator(seed: u64, epoch: usize) -> ChaCha8Rng {
    let mut generator = ChaCha8Rng::seed_from_u64(seed);
    generator.set_stream(epoch as u64);
    generator
}

/// Samples that weights are fitted to.
#[derive(Debug, Clone, Copy)]
pub struct Examples<'a> {
    /// One row a sample: n x the elements of the network's input.
    pub inputs: &'a Array2<f32>,
    /// One label a sample.
    pub labels: &'a [u32],
}

/// Channels, rows and columns of a sample as an image.
pub(super) fn image(shape: &[usize]) -> Option<[usize; 3]> {
    match *shape {
        [channels, rows, columns] => Some([channels, rows, columns]),
        // Flat, and a square: one channel.
        [elements] => {
            (1..=elements).take_while(|side| side * side <= elements).find(|side| side * side == elements).map(|side| [1, side, side])
        }
        _ => None,
    }
}

/// The samples of one epoch, batch by batch.
pub(super) struct Epoch<'a> {
    examples: Examples<'a>,
    order: Vec<usize>,
    batch: usize,
    next: usize,
    shift: Option<(usize, [usize; 3], f32)>,
    generator: ChaCha8Rng,
}

impl<'a> Epoch<'a> {
    /// Draws an order. `shift` is the most pixels, and `background` what lies outside of an image.
    pub(super) fn new(
        examples: Examples<'a>,
        shape: &[usize],
        (batch, shift, background): (usize, usize, f32),
        mut generator: ChaCha8Rng,
    ) -> Result<Self, TrainError> {
        let mut order: Vec<usize> = (0..examples.labels.len()).collect();
        for place in (1..order.len()).rev() {
            order.swap(place, generator.random_range(0..=place));
        }
        let shift = if shift == 0 {
            None
        } else {
            let help = "images alone can be shifted: C x H x W, or the H x H numbers of a flat one; leave it out";
            let image = image(shape).ok_or_else(|| TrainError::Option { option: "shift", value: shift.to_string(), help })?;
            Some((shift, image, background))
        };
        Ok(Self { examples, order, batch, next: 0, shift, generator })
    }
}

/// Samples of one step.
pub(super) struct Batch {
    /// Row-major, shifted where that is asked for.
    pub(super) inputs: Vec<f32>,
    pub(super) labels: Vec<u32>,
    /// Their places among the examples.
    pub(super) places: Vec<usize>,
}

impl Iterator for Epoch<'_> {
    type Item = Batch;

    fn next(&mut self) -> Option<Self::Item> {
        let places = self.order.get(self.next..self.order.len().min(self.next + self.batch)).filter(|places| !places.is_empty())?;
        self.next += places.len();
        let elements = self.examples.inputs.ncols();
        let mut inputs = Vec::with_capacity(places.len() * elements);
        for place in places {
            let row = self.examples.inputs.row(*place);
            match self.shift {
                None => inputs.extend(row.iter()),
                Some((most, image, background)) => {
                    let [down, right] = [0; 2].map(|_| self.generator.random_range(0..=2 * most));
                    shifted(row.iter().copied(), image, [down, right], most, background, &mut inputs);
                }
            }
        }
        let labels = places.iter().map(|place| self.examples.labels[*place]).collect();
        Some(Batch { inputs, labels, places: places.to_vec() })
    }
}

/// Adds an image, moved down and right by so many pixels less `most`.
fn shifted(
    pixels: impl Iterator<Item = f32>,
    [channels, rows, columns]: [usize; 3],
    [down, right]: [usize; 2],
    most: usize,
    background: f32,
    to: &mut Vec<f32>,
) {
    let start = to.len();
    to.resize(start + channels * rows * columns, background);
    for (place, pixel) in pixels.enumerate() {
        let (plane, within) = (place / (rows * columns), place % (rows * columns));
        let (row, column) = (within / columns + down, within % columns + right);
        if (most..rows + most).contains(&row) && (most..columns + most).contains(&column) {
            to[start + (plane * rows + row - most) * columns + column - most] = pixel;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array2;

    #[test]
    fn an_epoch_has_every_sample_once_and_is_that_of_its_seed() {
        let inputs = Array2::from_shape_fn((10, 4), |(sample, _)| sample as f32);
        let labels: Vec<u32> = (0..10).collect();
        let examples = Examples { inputs: &inputs, labels: &labels };
        let labels_of = |seed, epoch| -> Vec<Vec<u32>> {
            let epoch = Epoch::new(examples, &[4], (4, 0, 0.0), generator(seed, epoch)).unwrap();
            epoch
                .map(|Batch { inputs, labels, places }| {
                    assert!(labels.iter().zip(&places).all(|(label, place)| *label as usize == *place));
                    assert!(inputs.chunks(4).zip(&labels).all(|(row, label)| row.iter().all(|x| (x - *label as f32).abs() < 1e-6)));
                    labels
                })
                .collect()
        };
        let first = labels_of(7, 1);
        assert_eq!(first.iter().map(Vec::len).collect::<Vec<_>>(), [4, 4, 2]);
        let mut all = first.concat();
        all.sort_unstable();
        assert_eq!(all, labels);
        assert_eq!(first, labels_of(7, 1));
        assert_ne!(first, labels_of(7, 2));
        assert_ne!(first, labels_of(8, 1));
    }

    #[test]
    fn images_move_and_their_border_is_background() {
        let mut moved = Vec::new();
        shifted((1..=9_u8).map(f32::from), [1, 3, 3], [2, 0], 1, -1.0, &mut moved);
        // One down, one left.
        assert_eq!(moved, [-1.0, -1.0, -1.0, 2.0, 3.0, -1.0, 5.0, 6.0, -1.0]);
        assert_eq!((image(&[784]), image(&[3, 8, 4]), image(&[785]), image(&[2, 2])), (Some([1, 28, 28]), Some([3, 8, 4]), None, None));
        let inputs = Array2::zeros((1, 785));
        let examples = Examples { inputs: &inputs, labels: &[0] };
        let error = Epoch::new(examples, &[785], (1, 2, 0.0), generator(1, 1)).err().unwrap().to_string();
        assert!(error.contains("--shift is 2"), "{error}");
    }
}
