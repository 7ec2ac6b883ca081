//! IDX, the format of MNIST: four bytes of magic (0, 0, type, rank), a big-endian size an axis, then the numbers, big-endian.
//!
//! A gzip file is told by its own magic. Only the samples that are asked for are kept; those before them are unpacked and dropped.

use super::DataError;
use super::dataset::{MAX_BYTES, MAX_DEFLATE_RATIO, Values};
use super::hash::open;
use flate2::read::MultiGzDecoder;
use ndarray::ArrayD;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// The most axes that a file may have.
const MAX_RANK: usize = 8;

const WHAT_IT_IS: &str = "an IDX file begins with the bytes 0, 0, a type and a rank; it may be packed with gzip";

/// What an element is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Element {
    U8,
    I32,
    F32,
}

impl Element {
    fn bytes(self) -> u64 {
        if self == Self::U8 { 1 } else { 4 }
    }
}

/// An open file whose header has been read.
pub(super) struct Idx {
    path: PathBuf,
    data: Box<dyn Read>,
    element: Element,
    shape: Vec<usize>,
    /// Bytes of one sample.
    row: u64,
}

impl Idx {
    /// Opens a file and checks its header, and that its size can be what the header claims.
    pub(super) fn open(path: &Path) -> Result<Self, DataError> {
        let fault = |error| DataError::read(path, &error);
        let mut file = open(path)?;
        let stored = file.metadata().map_err(fault)?.len();
        let mut magic = Vec::new();
        (&mut file).take(2).read_to_end(&mut magic).map_err(fault)?;
        file.seek(SeekFrom::Start(0)).map_err(fault)?;
        let packed = magic == [0x1f, 0x8b];
        let file = BufReader::new(file);
        let mut data: Box<dyn Read> = if packed { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };

        let magic = u32::from_be_bytes(header_word(path, data.as_mut())?);
        let element = match magic >> 8 {
            0x08 => Element::U8,
            0x0c => Element::I32,
            0x0d => Element::F32,
            _ => return Err(DataError::format(path, format!("is no IDX file that is known: its magic is {magic:#010x}"), WHAT_IT_IS)),
        };
        let rank = (magic & 0xff) as usize;
        if rank == 0 || rank > MAX_RANK {
            return Err(DataError::format(path, format!("has rank {rank}; 1 to {MAX_RANK} is supported"), WHAT_IT_IS));
        }
        let mut shape = Vec::with_capacity(rank);
        for _ in 0..rank {
            shape.push(u32::from_be_bytes(header_word(path, data.as_mut())?) as usize);
        }
        if shape.contains(&0) {
            return Err(DataError::format(path, format!("has no elements: its shape is {shape:?}"), "every size must be at least 1"));
        }
        let row = shape[1..].iter().try_fold(element.bytes(), |product, size| product.checked_mul(*size as u64));
        let claim = row.and_then(|row| Some((row, row.checked_mul(shape[0] as u64)?)));
        let Some((row, claimed)) = claim else {
            return Err(DataError::format(path, format!("claims a shape of {shape:?}, more than 2^64 bytes"), "the file is damaged"));
        };
        let header = 4 + 4 * rank as u64;
        if !packed && stored != header + claimed {
            return Err(DataError::size(path, claimed, format!("{} follow it", stored.saturating_sub(header))));
        }
        if packed && claimed > stored.saturating_mul(MAX_DEFLATE_RATIO) {
            return Err(DataError::size(path, claimed, format!("a gzip file of {stored} bytes cannot hold as many")));
        }
        Ok(Self { path: path.to_path_buf(), data, element, shape, row })
    }

    /// How many samples the file has.
    pub(super) fn count(&self) -> usize {
        self.shape[0]
    }

    /// Some of the samples, in their shape.
    pub(super) fn samples(mut self, range: Range<usize>) -> Result<Values, DataError> {
        let mut shape = self.shape.clone();
        shape[0] = range.len();
        let bytes = self.bytes(range)?;
        let whole = "bug: as many bytes as the shape has elements were read";
        match self.element {
            Element::U8 => Ok(Values::U8(ArrayD::from_shape_vec(shape, bytes).expect(whole))),
            Element::F32 => {
                let values: Vec<f32> = bytes.as_chunks::<4>().0.iter().map(|word| f32::from_be_bytes(*word)).collect();
                super::npy::check_finite(&self.path, &values)?;
                Ok(Values::F32(ArrayD::from_shape_vec(shape, values).expect(whole)))
            }
            Element::I32 => Err(DataError::format(&self.path, "holds 32-bit integers as samples", "samples must be bytes or float32")),
        }
    }

    /// Some of the labels.
    pub(super) fn labels(mut self, range: Range<usize>) -> Result<Vec<u32>, DataError> {
        if self.shape.len() != 1 {
            let problem = format!("has shape {:?} where labels are wanted", self.shape);
            return Err(DataError::format(&self.path, problem, "labels are a list: rank 1 (are images and labels swapped?)"));
        }
        let bytes = self.bytes(range)?;
        match self.element {
            Element::U8 => Ok(bytes.into_iter().map(u32::from).collect()),
            Element::I32 => bytes
                .as_chunks::<4>()
                .0
                .iter()
                .map(|word| {
                    let label = i32::from_be_bytes(*word);
                    u32::try_from(label)
                        .map_err(|_| DataError::format(&self.path, format!("has the label {label}"), "labels must not be negative"))
                })
                .collect(),
            Element::F32 => {
                Err(DataError::format(&self.path, "holds float32 numbers as labels", "labels must be bytes or 32-bit integers"))
            }
        }
    }

    /// The bytes of some samples; at the end of the file, also whether it ends there, and its checksum.
    fn bytes(&mut self, range: Range<usize>) -> Result<Vec<u8>, DataError> {
        let Range { start, end } = range;
        let path = self.path.display().to_string();
        if start >= end || end > self.count() {
            return Err(DataError::Range { path, start, end, count: self.count() });
        }
        let wanted = self.row.saturating_mul((end - start) as u64);
        if wanted > MAX_BYTES {
            return Err(DataError::TooLarge { path, bytes: wanted, limit: MAX_BYTES });
        }
        let skip = self.row * start as u64;
        let claimed = self.row * self.count() as u64;
        let fault = |error: io::Error| match error.kind() {
            io::ErrorKind::UnexpectedEof => DataError::size(&self.path, claimed, "ends before".to_string()),
            _ => DataError::read(&self.path, &error),
        };
        let skipped = io::copy(&mut self.data.as_mut().take(skip), &mut io::sink()).map_err(fault)?;
        let mut bytes = Vec::new();
        self.data.as_mut().take(wanted).read_to_end(&mut bytes).map_err(fault)?;
        if (bytes.len() as u64) < wanted {
            return Err(DataError::size(&self.path, claimed, format!("{} follow it", skipped + bytes.len() as u64)));
        }
        if end == self.count() && self.data.read(&mut [0]).map_err(fault)? != 0 {
            return Err(DataError::size(&self.path, claimed, "more follow it".to_string()));
        }
        Ok(bytes)
    }
}

fn header_word(path: &Path, data: &mut dyn Read) -> Result<[u8; 4], DataError> {
    let mut word = [0; 4];
    data.read_exact(&mut word).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => DataError::format(path, "ends inside its header", WHAT_IT_IS),
        _ => DataError::read(path, &error),
    })?;
    Ok(word)
}
