//! NPZ, numpy's archive of arrays: a zip file with one NPY file an array. Stored and deflated members are read.

use super::DataError;
use super::dataset::{MAX_BYTES, MAX_DEFLATE_RATIO, Values};
use super::hash::open;
use super::npy::{Header, check_finite};
use ndarray::ArrayD;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::ops::Range;
use std::path::Path;
use zip::ZipArchive;
use zip::read::ZipFile;

const REWRITE: &str = "write it again with np.savez(path, x=..., y=...)";

/// An open archive.
pub(super) struct Npz<'a> {
    path: &'a Path,
    archive: ZipArchive<BufReader<File>>,
}

/// Reads the array of this name from an NPZ file: bytes as they are, floats as `f32`.
///
/// # Errors
/// If the file cannot be read, is damaged, has no such array, or one of other numbers.
pub fn read_array(path: &Path, name: &str) -> Result<Values, DataError> {
    let mut npz = Npz::open(path)?;
    let count = npz.shape(name)?.first().copied().unwrap_or(0);
    npz.samples(name, 0..count)
}

impl<'a> Npz<'a> {
    /// Opens an archive.
    pub(super) fn open(path: &'a Path) -> Result<Self, DataError> {
        let file = open(path)?;
        let archive = ZipArchive::new(BufReader::new(file))
            .map_err(|error| DataError::format(path, format!("is no NPZ file, or is cut short: {error}"), REWRITE))?;
        Ok(Self { path, archive })
    }

    /// The shape that an array claims.
    pub(super) fn shape(&mut self, name: &str) -> Result<Vec<usize>, DataError> {
        let path = self.path;
        Ok(Header::read(path, name, &mut self.member(name)?)?.shape)
    }

    /// Some rows of an array of bytes or floats.
    pub(super) fn samples(&mut self, name: &str, range: Range<usize>) -> Result<Values, DataError> {
        let path = self.path;
        let (header, bytes) = self.rows(name, range.clone())?;
        let mut shape = header.shape;
        shape[0] = range.len();
        let whole = "bug: as many bytes as the shape has elements were read";
        let values: Vec<f32> = match header.descr.as_str() {
            "|u1" => return Ok(Values::U8(ArrayD::from_shape_vec(shape, bytes).expect(whole))),
            "<f4" => bytes.as_chunks::<4>().0.iter().map(|word| f32::from_le_bytes(*word)).collect(),
            "<f8" => bytes.as_chunks::<8>().0.iter().map(|word| narrow(f64::from_le_bytes(*word))).collect(),
            other => return Err(wrong_type(path, name, other, "samples must be uint8, float32 or float64")),
        };
        check_finite(path, &values)?;
        Ok(Values::F32(ArrayD::from_shape_vec(shape, values).expect(whole)))
    }

    /// Some of the labels: a list of integers.
    pub(super) fn labels(&mut self, name: &str, range: Range<usize>) -> Result<Vec<u32>, DataError> {
        let path = self.path;
        let (header, bytes) = self.rows(name, range)?;
        if header.shape.len() != 1 {
            let problem = format!("array \"{name}\" has shape {:?} where labels are wanted", header.shape);
            return Err(DataError::format(path, problem, "labels are a list: rank 1"));
        }
        let wide: Vec<i128> = match header.descr.as_str() {
            "|u1" => bytes.iter().map(|byte| i128::from(*byte)).collect(),
            "|i1" => bytes.iter().map(|byte| i128::from(i8::from_le_bytes([*byte]))).collect(),
            "<i2" => bytes.as_chunks::<2>().0.iter().map(|word| i128::from(i16::from_le_bytes(*word))).collect(),
            "<u2" => bytes.as_chunks::<2>().0.iter().map(|word| i128::from(u16::from_le_bytes(*word))).collect(),
            "<i4" => bytes.as_chunks::<4>().0.iter().map(|word| i128::from(i32::from_le_bytes(*word))).collect(),
            "<u4" => bytes.as_chunks::<4>().0.iter().map(|word| i128::from(u32::from_le_bytes(*word))).collect(),
            "<i8" => bytes.as_chunks::<8>().0.iter().map(|word| i128::from(i64::from_le_bytes(*word))).collect(),
            "<u8" => bytes.as_chunks::<8>().0.iter().map(|word| i128::from(u64::from_le_bytes(*word))).collect(),
            other => return Err(wrong_type(path, name, other, "labels must be integers, little-endian")),
        };
        wide.into_iter()
            .map(|label| {
                u32::try_from(label)
                    .map_err(|_| DataError::format(path, format!("array \"{name}\" has the label {label}"), "labels must be 0 to 2^32 - 1"))
            })
            .collect()
    }

    /// The header of an array and the bytes of some of its rows.
    fn rows(&mut self, name: &str, range: Range<usize>) -> Result<(Header, Vec<u8>), DataError> {
        let path = self.path;
        let text = path.display().to_string();
        let mut member = self.member(name)?;
        let stored = member.compressed_size();
        let header = Header::read(path, name, &mut member)?;
        let count = header.shape.first().copied().unwrap_or(0);
        let Range { start, end } = range;
        if start >= end || end > count {
            return Err(DataError::Range { path: text, start, end, count });
        }
        let width = header.descr.get(2..).and_then(|digits| digits.parse::<u64>().ok()).unwrap_or(0);
        let row = header.shape[1..].iter().try_fold(width, |product, size| product.checked_mul(*size as u64));
        let claim = row.and_then(|row| Some((row, row.checked_mul(count as u64)?))).filter(|(row, _)| *row > 0);
        let Some((row, claimed)) = claim else {
            let problem = format!("array \"{name}\" claims shape {:?} of type {}", header.shape, header.descr.escape_debug());
            return Err(DataError::format(path, problem, "it must have elements, and fewer than 2^64 bytes"));
        };
        if claimed > stored.saturating_mul(MAX_DEFLATE_RATIO) {
            return Err(DataError::size(path, claimed, format!("{stored} packed bytes of \"{name}\" cannot hold as many")));
        }
        let wanted = row * (end - start) as u64;
        if wanted > MAX_BYTES {
            return Err(DataError::TooLarge { path: text, bytes: wanted, limit: MAX_BYTES });
        }
        let fault = |error: io::Error| DataError::format(path, format!("array \"{name}\" cannot be unpacked: {error}"), REWRITE);
        let skipped = io::copy(&mut member.by_ref().take(row * start as u64), &mut io::sink()).map_err(fault)?;
        let mut bytes = Vec::new();
        member.by_ref().take(wanted).read_to_end(&mut bytes).map_err(fault)?;
        if (bytes.len() as u64) < wanted {
            return Err(DataError::size(path, claimed, format!("{} follow it in \"{name}\"", skipped + bytes.len() as u64)));
        }
        if end == count && member.read(&mut [0]).map_err(fault)? != 0 {
            return Err(DataError::size(path, claimed, format!("more follow it in \"{name}\"")));
        }
        Ok((header, bytes))
    }

    fn member(&mut self, name: &str) -> Result<ZipFile<'_, BufReader<File>>, DataError> {
        let path = self.path;
        let names: Vec<String> =
            self.archive.file_names().filter_map(Result::ok).take(8).map(|name| name.escape_debug().to_string()).collect();
        self.archive.by_name(&format!("{name}.npy")).map_err(|error| {
            let problem = format!("has no array \"{name}\" that can be read ({error}); it has: {}", names.join(", "));
            DataError::format(path, problem, REWRITE)
        })
    }
}

fn wrong_type(path: &Path, name: &str, descr: &str, help: &'static str) -> DataError {
    DataError::format(path, format!("array \"{name}\" holds numbers of type {}", descr.escape_debug()), help)
}

fn narrow(wide: f64) -> f32 {
    #[expect(clippy::cast_possible_truncation, reason = "data is used as f32; what overflows becomes infinite and is refused")]
    let narrow = wide as f32;
    narrow
}
