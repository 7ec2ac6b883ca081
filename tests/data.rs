//! Are data files read right, and are wrong, hostile and cut ones refused?

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use std::io::Write;
use std::path::{Path, PathBuf};
use systole::data::{Dataset, Source, Values, load, read_array};

fn idx(kind: u8, shape: &[u32], data: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, kind, u8::try_from(shape.len()).unwrap()];
    for size in shape {
        bytes.extend(size.to_be_bytes());
    }
    bytes.extend(data);
    bytes
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Three samples of 2 x 2, and their labels.
fn samples() -> (Vec<u8>, Vec<u8>) {
    (idx(8, &[3, 2, 2], &(0..12).collect::<Vec<u8>>()), idx(8, &[3], &[7, 8, 9]))
}

fn written(folder: &Path, images: &[u8], labels: &[u8]) -> (PathBuf, PathBuf) {
    let paths = (folder.join("images"), folder.join("labels"));
    std::fs::write(&paths.0, images).unwrap();
    std::fs::write(&paths.1, labels).unwrap();
    paths
}

fn read(images: &[u8], labels: &[u8]) -> Result<Dataset, String> {
    let folder = tempfile::tempdir().unwrap();
    let (images, labels) = written(folder.path(), images, labels);
    load(&images, &labels).map_err(|error| error.to_string())
}

#[test]
fn idx_is_read_packed_and_plain() {
    let (images, labels) = samples();
    let plain = read(&images, &labels).unwrap();
    assert_eq!(plain.labels(), [7, 8, 9]);
    assert_eq!(plain.samples().shape(), [3, 2, 2]);
    assert_eq!(read(&gzip(&images), &gzip(&labels)).unwrap(), plain);
    let floats: Vec<u8> = [0.5_f32, -1.0].iter().flat_map(|x| x.to_be_bytes()).collect();
    let wide: Vec<u8> = [300_i32, 1].iter().flat_map(|x| x.to_be_bytes()).collect();
    let data = read(&idx(0x0d, &[2, 1], &floats), &idx(0x0c, &[2], &wide)).unwrap();
    assert_eq!(data.labels(), [300, 1]);
    assert!(matches!(data.samples(), Values::F32(values) if values.as_slice() == Some(&[0.5, -1.0])));
}

#[test]
fn a_range_is_read_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (images, labels) = samples();
    let (images, labels) = written(folder.path(), &gzip(&images), &labels);
    let source = Source::Idx { images, labels };
    let part = source.read(1..2).unwrap();
    assert_eq!(part.labels(), [8]);
    assert!(matches!(part.samples(), Values::U8(values) if values.as_slice() == Some(&[4, 5, 6, 7])));
    assert!(source.read(1..4).unwrap_err().to_string().contains("samples 1 to 4 are asked for (the end not included) and the file has 3"));
    assert!(source.read(2..2).is_err());
    assert_eq!(source.hashes().unwrap()[1].file, "labels");
}

#[test]
fn wrong_idx_is_refused() {
    let (images, labels) = samples();
    let cases = [
        (read(b"hello, world", &labels), "its magic is 0x68656c6c"),
        (read(b"", &labels), "ends inside its header"),
        (read(&idx(8, &[], &[]), &labels), "has rank 0; 1 to 8 is supported"),
        (read(&idx(8, &[3, 0], &[]), &labels), "has no elements: its shape is [3, 0]"),
        (read(&images[..20], &labels), "claims 12 bytes of data and 4 follow it"),
        (read(&[&images[..], &[0]].concat(), &labels), "claims 12 bytes of data and 13 follow it"),
        (read(&idx(8, &[u32::MAX, u32::MAX], &[0; 4]), &labels), "claims 18446744065119617025 bytes of data and 4 follow it"),
        (read(&idx(8, &[u32::MAX; 8], &[0; 4]), &labels), "more than 2^64 bytes"),
        (read(&gzip(&idx(8, &[3, 65535, 65535], &[0; 4])), &labels), "cannot hold as many"),
        (read(&gzip(&images[..20]), &labels), "claims 12 bytes of data and 4 follow it"),
        (read(&gzip(&[&images[..], &[0]].concat()), &labels), "claims 12 bytes of data and more follow it"),
        (read(&gzip(&images)[..25], &labels), "ends"),
        (read(&images, &idx(8, &[2], &[1, 2])), "has 3 samples and"),
        (read(&labels, &images), "(are images and labels swapped?)"),
        (read(&images, &idx(0x0c, &[3], &[0xff; 12])), "has the label -1"),
        (read(&idx(0x0d, &[3], &[0xff; 12]), &labels), "number 0 is NaN"),
        (load(Path::new("no-such-file"), Path::new("none")).map_err(|error| error.to_string()), "no-such-file: cannot be read"),
    ];
    for (found, wanted) in cases {
        let found = found.unwrap_err();
        assert!(found.contains(wanted), "wanted: {wanted}\nfound: {found}");
    }
}

#[test]
fn a_gzip_bomb_is_not_unpacked() {
    // A gigabyte of zeros in a megabyte, whose header claims as much.
    let header = idx(8, &[1 << 30], &[]);
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(&header).unwrap();
    encoder.write_all(&vec![0; 1 << 24]).unwrap();
    let found = read(&encoder.finish().unwrap(), &idx(8, &[3], &[1, 2, 3])).unwrap_err();
    assert!(found.contains("cannot hold as many") || found.contains("samples and"), "{found}");
}

fn npy(descr: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend(u16::try_from(header.len()).unwrap().to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(data);
    bytes
}

fn npz(arrays: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (index, (name, bytes)) in arrays.iter().enumerate() {
        let method = if index == 0 { zip::CompressionMethod::Deflated } else { zip::CompressionMethod::Stored };
        writer.start_file(format!("{name}.npy"), zip::write::SimpleFileOptions::default().compression_method(method)).unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

fn read_npz(bytes: &[u8]) -> Result<Dataset, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data.npz");
    std::fs::write(&path, bytes).unwrap();
    let source = Source::find(&path).unwrap();
    let count = source.count().map_err(|error| error.to_string())?;
    source.read(0..count).map_err(|error| error.to_string())
}

#[test]
fn npz_is_read_and_wrong_ones_are_refused() {
    let x = npy("<f8", "(2, 3)", &[1.5_f64; 6].iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<_>>());
    let y = npy("<i8", "(2,)", &[3_i64, 4].iter().flat_map(|y| y.to_le_bytes()).collect::<Vec<_>>());
    let data = read_npz(&npz(&[("x", x.clone()), ("y", y.clone())])).unwrap();
    assert_eq!(data.labels(), [3, 4]);
    assert!(
        matches!(data.samples(), Values::F32(values) if values.iter().all(|x| x.to_bits() == 1.5_f32.to_bits()) && values.shape() == [2, 3])
    );
    let with_x = |x: Vec<u8>| read_npz(&npz(&[("x", x), ("y", y.clone())]));
    let cases = [
        (read_npz(b"PK\x03\x04 no"), "is no NPZ file"),
        (read_npz(&npz(&[("x", x.clone())])), "has no array \"y\" that can be read"),
        (with_x(npy("<f4", "(2, 3)", &[0; 20])), "claims 24 bytes of data and 20 follow it"),
        (with_x(npy("<f4", "(2, 3)", &[0; 28])), "more follow it in \"x\""),
        (with_x(npy("<c8", "(2, 3)", &[0; 48])), "holds numbers of type <c8"),
        (with_x(npy("|u1", "(2, 99999999999)", &[0; 48])), "cannot hold as many"),
        (with_x(npy("|u1", "(2, 99999999999, 99999999999)", &[0; 48])), "fewer than 2^64 bytes"),
        (with_x(npy("|u1", "(3, 1)", &[0; 3])), "has 3 samples and"),
        (with_x(npy("<f4", "()", &[0; 4])), "has 0 samples and"),
        (with_x(npy("<f4", "(2, 0)", &[])), "it must have elements"),
        (with_x(npy("<f4", "(2, 1)", &[0xff; 8])), "number 0 is NaN"),
        (with_x(vec![0; 40]), "is not in numpy's format"),
        (read_npz(&npz(&[("x", x.clone()), ("y", npy("<i8", "(2,)", &[0xff; 16]))])), "has the label -1"),
        (read_npz(&npz(&[("x", x.clone()), ("y", npy("<f4", "(2,)", &[0; 8]))])), "labels must be integers"),
        (read_npz(&npz(&[("x", x), ("y", npy("<i8", "(2, 1)", &[0; 16]))])), "labels are a list"),
    ];
    for (found, wanted) in cases {
        let found = found.unwrap_err();
        assert!(found.contains(wanted), "wanted: {wanted}\nfound: {found}");
    }
    assert!(read_array(Path::new("none.npz"), "x").unwrap_err().to_string().contains("none.npz: cannot be read"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn changed_files_never_panic(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5), cut in any::<prop::sample::Index>()) {
        let (images, labels) = samples();
        let archive = npz(&[("x", npy("<f4", "(2, 1)", &[0; 8])), ("y", npy("|u1", "(2,)", &[1, 2]))]);
        let change = |bytes: &[u8]| {
            let mut bytes = bytes.to_vec();
            for (index, byte) in &changes {
                let index = index.index(bytes.len());
                bytes[index] = *byte;
            }
            bytes
        };
        let _ = read(&change(&images), &labels);
        let _ = read(&change(&gzip(&images)), &labels);
        let _ = read(&gzip(&change(&images)), &labels);
        let _ = read_npz(&change(&archive));
        let _ = read_npz(&archive[..cut.index(archive.len())]);
    }
}
