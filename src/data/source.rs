//! Where a data set lies: a pair of IDX files or one NPZ file, read in part or whole.

use super::idx::Idx;
use super::npz::Npz;
use super::{DataError, Dataset, FileHash, Values, sha256_file};
use ndarray::Array1;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// A data set that has not been read yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Two IDX files, packed with gzip or not.
    Idx {
        /// The samples.
        images: PathBuf,
        /// One label a sample.
        labels: PathBuf,
    },
    /// An NPZ file with the samples as `x` and the labels as `y`.
    Npz(PathBuf),
}

/// Reads all of a pair of IDX files.
///
/// # Errors
/// If a file cannot be read or is damaged, or they do not belong together.
pub fn load(images: &Path, labels: &Path) -> Result<Dataset, DataError> {
    let source = Source::Idx { images: images.to_path_buf(), labels: labels.to_path_buf() };
    source.read(0..source.count()?)
}

/// The names of what is in a folder, in order.
fn names_in(folder: &Path) -> Result<Vec<String>, DataError> {
    let fault = |error| DataError::read(folder, &error);
    let mut names: Vec<String> = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(fault)? {
        names.push(entry.map_err(fault)?.file_name().to_string_lossy().into_owned());
    }
    names.sort_unstable();
    Ok(names)
}

impl Source {
    /// The data that a user points at: an NPZ file, or a folder with a pair of IDX files. In a folder those are taken whose names begin with
    /// `t10k` or `test` where there are such, and have `images` and `labels` in them.
    ///
    /// # Errors
    /// If there is nothing of the kind, or more than one.
    pub fn find(path: &Path) -> Result<Self, DataError> {
        if !path.is_dir() {
            std::fs::metadata(path).map_err(|error| DataError::read(path, &error))?;
            return Ok(Self::Npz(path.to_path_buf()));
        }
        let names = names_in(path)?;
        let pick = |word: &str| -> Result<PathBuf, DataError> {
            let all: Vec<&String> = names.iter().filter(|name| name.contains(word)).collect();
            let test: Vec<&String> = all.iter().copied().filter(|name| name.starts_with("t10k") || name.starts_with("test")).collect();
            match (&test[..], &all[..]) {
                ([one], _) | ([], [one]) => Ok(path.join(one)),
                ([], []) => Err(DataError::format(
                    path,
                    format!("has no file with \"{word}\" in its name"),
                    "give a folder with a pair of IDX files (such as t10k-images-idx3-ubyte.gz and t10k-labels-idx1-ubyte.gz), or an .npz file",
                )),
                ([], several) | (several, _) => Err(DataError::format(
                    path,
                    format!("has {} files with \"{word}\" in their names: {}, {}, ...", several.len(), several[0], several[1]),
                    "leave one pair of IDX files in the folder, or name the pair that is meant test-...",
                )),
            }
        };
        Ok(Self::Idx { images: pick("images")?, labels: pick("labels")? })
    }

    /// The data that a user points at to be trained on, and what is apart from it for reporting: in a folder with a pair of IDX files whose names begin
    /// with `train` beside what [`Self::find`] finds, these two; else what that finds alone.
    ///
    /// # Errors
    /// As [`Self::find`].
    pub fn find_train(path: &Path) -> Result<(Self, Option<Self>), DataError> {
        let found = Self::find(path)?;
        let Self::Idx { images, .. } = &found else { return Ok((found, None)) };
        let names = names_in(path)?;
        let of = |word: &str| {
            let mut all = names.iter().filter(|name| name.starts_with("train") && name.contains(word));
            all.next().filter(|_| all.next().is_none()).map(|name| path.join(name))
        };
        match (of("images"), of("labels")) {
            (Some(own), Some(labels)) if own != *images => Ok((Self::Idx { images: own, labels }, Some(found))),
            _ => Ok((found, None)),
        }
    }

    /// The files, in a fixed order.
    pub fn files(&self) -> Vec<&Path> {
        match self {
            Self::Idx { images, labels } => vec![images, labels],
            Self::Npz(path) => vec![path],
        }
    }

    /// The hashes of the files as they are stored.
    ///
    /// # Errors
    /// If one cannot be read.
    pub fn hashes(&self) -> Result<Vec<FileHash>, DataError> {
        self.files().into_iter().map(sha256_file).collect()
    }

    /// How many samples there are, by the headers, which must agree on it.
    ///
    /// # Errors
    /// If a header cannot be read or is false, or samples and labels differ in number.
    pub fn count(&self) -> Result<usize, DataError> {
        let (samples, labels, paths) = match self {
            Self::Idx { images, labels } => (Idx::open(images)?.count(), Idx::open(labels)?.count(), (images, labels)),
            Self::Npz(path) => {
                let mut npz = Npz::open(path)?;
                let mut first = |name| Ok(npz.shape(name)?.first().copied().unwrap_or(0));
                (first("x")?, first("y")?, (path, path))
            }
        };
        if samples != labels {
            let (samples_path, labels_path) = (paths.0.display().to_string(), paths.1.display().to_string());
            return Err(DataError::Counts { samples_path, samples, labels_path, labels });
        }
        Ok(samples)
    }

    /// How many samples there are, whatever else is known of them.
    ///
    /// # Errors
    /// If the header cannot be read or is false.
    pub fn count_samples(&self) -> Result<usize, DataError> {
        match self {
            Self::Idx { images, .. } => Ok(Idx::open(images)?.count()),
            Self::Npz(path) => Ok(Npz::open(path)?.shape("x")?.first().copied().unwrap_or(0)),
        }
    }

    /// Reads some of the samples alone; the end of the range is not included.
    ///
    /// # Errors
    /// If a file cannot be read or is damaged, or has no such samples.
    pub fn read_samples(&self, range: Range<usize>) -> Result<Values, DataError> {
        match self {
            Self::Idx { images, .. } => Idx::open(images)?.samples(range),
            Self::Npz(path) => Npz::open(path)?.samples("x", range),
        }
    }

    /// Reads some of the samples with the numbers that are wanted of each: `y` of an NPZ file, the labels of IDX files. The end of the range is not
    /// included.
    ///
    /// # Errors
    /// If a file cannot be read or is damaged, or has no such samples, or there are not as many of both.
    pub fn read_with_numbers(&self, range: Range<usize>) -> Result<(Values, Values), DataError> {
        self.count()?;
        let samples = self.read_samples(range.clone())?;
        let numbers = match self {
            Self::Idx { labels, .. } => {
                #[expect(clippy::cast_precision_loss, reason = "labels of IDX files are small counts")]
                let numbers: Vec<f32> = Idx::open(labels)?.labels(range)?.into_iter().map(|label| label as f32).collect();
                Values::F32(Array1::from_vec(numbers).into_dyn())
            }
            Self::Npz(path) => Npz::open(path)?.samples("y", range)?,
        };
        Ok((samples, numbers))
    }

    /// Reads some of the samples with their labels; the end of the range is not included.
    ///
    /// # Errors
    /// If a file cannot be read or is damaged, or has no such samples.
    pub fn read(&self, range: Range<usize>) -> Result<Dataset, DataError> {
        self.count()?;
        match self {
            Self::Idx { images, labels } => {
                let samples = Idx::open(images)?.samples(range.clone())?;
                Ok(Dataset::new(samples, Idx::open(labels)?.labels(range)?))
            }
            Self::Npz(path) => {
                let mut npz = Npz::open(path)?;
                let samples = npz.samples("x", range.clone())?;
                Ok(Dataset::new(samples, npz.labels("y", range)?))
            }
        }
    }
}
