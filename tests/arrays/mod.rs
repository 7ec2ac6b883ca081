//! Arrays of NPZ files as the tests want them: any kind of number, as integers or reals.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "tests fail by panicking, and each uses a part of this"
)]

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// An array: its shape and its numbers, all of which f64 holds exactly.
#[derive(Debug, Clone)]
pub(crate) struct Array {
    /// Sizes of axes.
    pub(crate) shape: Vec<usize>,
    /// Numbers in row-major order.
    pub(crate) numbers: Vec<f64>,
    /// numpy's name of the kind of number.
    pub(crate) kind: String,
}

impl Array {
    /// The numbers as integers.
    pub(crate) fn integers(&self) -> Vec<i32> {
        self.numbers.iter().map(|number| *number as i32).collect()
    }

    /// The numbers as `f32`, which they were.
    pub(crate) fn reals(&self) -> Vec<f32> {
        self.numbers.iter().map(|number| *number as f32).collect()
    }
}

/// All arrays of an NPZ file.
pub(crate) fn read(path: &Path) -> BTreeMap<String, Array> {
    let mut archive = zip::ZipArchive::new(File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))).unwrap();
    let names: Vec<String> = archive.file_names().map(|name| name.unwrap().into_owned()).collect();
    let arrays = names.into_iter().map(|name| {
        let mut bytes = Vec::new();
        archive.by_name(&name).unwrap().read_to_end(&mut bytes).unwrap();
        (name.trim_end_matches(".npy").to_string(), array(&bytes))
    });
    arrays.collect()
}

fn array(bytes: &[u8]) -> Array {
    let file = npyz::NpyFile::new(bytes).unwrap();
    let shape = file.shape().iter().map(|size| usize::try_from(*size).unwrap()).collect();
    let npyz::DType::Plain(kind) = file.dtype() else { panic!("an array of records") };
    let kind = kind.to_string();
    let numbers = match kind.as_str() {
        "|i1" => file.into_vec::<i8>().unwrap().into_iter().map(f64::from).collect(),
        "|u1" => file.into_vec::<u8>().unwrap().into_iter().map(f64::from).collect(),
        "<i4" => file.into_vec::<i32>().unwrap().into_iter().map(f64::from).collect(),
        "<i8" => file.into_vec::<i64>().unwrap().into_iter().map(|number| number as f64).collect(),
        "<f4" => file.into_vec::<f32>().unwrap().into_iter().map(f64::from).collect(),
        other => panic!("numbers of kind {other}"),
    };
    Array { shape, numbers, kind }
}
