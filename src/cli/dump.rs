//! `--dump`: numbers of a run as NPZ, for numpy.

use clap::ValueEnum;
use ndarray::Array2;
use npyz::WriterBuilder;
use std::error::Error;
use std::io::{Cursor, Write};
use systole::metrics::argmax;
use systole::network::Network;
use systole::pipeline::{Numbers, Prepared};

/// What to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Dump {
    /// The class that each execution names for each sample: float, integer, chip, and the labels
    Predictions,
    /// The logits of each execution: float, integer and chip, with the scale and zero point of the last two
    Logits,
    /// Every layer's values: float as trained, and integer (the reference, which the chip equals where there are no mismatches)
    Layers,
}

impl Dump {
    /// The file's name in the results folder.
    pub(crate) const fn file_name(self) -> &'static str {
        match self {
            Self::Predictions => "predictions.npz",
            Self::Logits => "logits.npz",
            Self::Layers => "layers.npz",
        }
    }

    /// The file's bytes.
    pub(crate) fn bytes(self, prepared: &Prepared<'_>, numbers: &Numbers) -> Result<Vec<u8>, Box<dyn Error>> {
        let network = &prepared.quantized;
        let mut file = Npz::new();
        match self {
            Self::Predictions if prepared.samples.targets.is_some() => {
                return Err("--dump predictions: the task names no classes\n  help: dump logits, the numbers that were yielded".into());
            }
            Self::Predictions => {
                file.add("float", &[prepared.samples.count()], classes(numbers.float.logits(), |x| *x))?;
                file.add("integer", &[prepared.samples.count()], classes(numbers.integer_logits(network), |x| *x as f32))?;
                file.add("chip", &[prepared.samples.count()], classes(&numbers.chip_logits, |x| *x as f32))?;
                file.add("labels", &[prepared.samples.count()], prepared.samples.labels.iter().copied())?;
            }
            Self::Logits => {
                file.add("float", numbers.float.logits().shape(), numbers.float.logits().iter().copied())?;
                file.add("integer", numbers.chip_logits.shape(), numbers.integer_logits(network).iter().copied())?;
                file.add("chip", numbers.chip_logits.shape(), numbers.chip_logits.iter().copied())?;
                add_quantization(&mut file, network, network.logits().id, "")?;
            }
            Self::Layers => {
                for layer in network.layers() {
                    let float = numbers.compressed.layer(layer.id);
                    file.add(&format!("float/{}", layer.name), float.shape(), float.iter().copied())?;
                    if let Some(integer) = numbers.integer.layer(layer.id) {
                        file.add(&format!("integer/{}", layer.name), integer.shape(), integer.iter().copied())?;
                        add_quantization(&mut file, network, layer.id, &format!("/{}", layer.name))?;
                    }
                }
            }
        }
        file.finish()
    }
}

fn add_quantization(file: &mut Npz, network: &Network, layer: systole::network::LayerId, suffix: &str) -> Result<(), Box<dyn Error>> {
    if let Some(quantization) = network.layer(layer).output.quantization {
        file.add(&format!("scale{suffix}"), &[1], [quantization.scale])?;
        file.add(&format!("zero_point{suffix}"), &[1], [quantization.zero_point])?;
    }
    Ok(())
}

/// The class that each row of logits names.
fn classes<T>(logits: &Array2<T>, real: fn(&T) -> f32) -> Vec<u32> {
    logits
        .rows()
        .into_iter()
        .map(|row| u32::try_from(argmax(row.map(real).view())).expect("bug: the importer limits outputs to 2^31"))
        .collect()
}

/// An NPZ file in memory: a zip archive of NPY files.
struct Npz {
    archive: zip::ZipWriter<Cursor<Vec<u8>>>,
}

impl Npz {
    fn new() -> Self {
        Self { archive: zip::ZipWriter::new(Cursor::new(Vec::new())) }
    }

    fn add<T: npyz::AutoSerialize>(
        &mut self,
        name: &str,
        shape: &[usize],
        values: impl IntoIterator<Item = T>,
    ) -> Result<(), Box<dyn Error>> {
        let shape: Vec<u64> = shape.iter().map(|n| *n as u64).collect();
        let mut array = Vec::new();
        let mut writer = npyz::WriteOptions::new().default_dtype().shape(&shape).writer(&mut array).begin_nd()?;
        writer.extend(values)?;
        writer.finish()?;
        // No time of day in the archive: the same run gives the same bytes.
        let options = zip::write::SimpleFileOptions::default().last_modified_time(zip::DateTime::default());
        self.archive.start_file(format!("{name}.npy"), options)?;
        self.archive.write_all(&array)?;
        Ok(())
    }

    fn finish(self) -> Result<Vec<u8>, Box<dyn Error>> {
        Ok(self.archive.finish()?.into_inner())
    }
}
