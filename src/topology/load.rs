//! From a path to a layer table. The only place of this module that touches the file system.

use super::{Table, TopologyError, parse};
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

/// The most bytes of a file: tables have a few thousand.
pub const MAX_BYTES: u64 = 16 << 20;

const A_TABLE: &str = "give a CSV file with a header, such as `Layer, M, N, K,` and a row a layer";

/// Reads the layer table at `path`.
///
/// # Errors
/// As [`read`]; or if it has faults.
pub fn load(path: &Path) -> Result<Table, TopologyError> {
    parse(&read(path)?, &path.display().to_string())
}

/// The text of the layer table at `path`, for [`parse`].
///
/// # Errors
/// If it is no file, cannot be read, is no text, or is larger than [`MAX_BYTES`].
pub fn read(path: &Path) -> Result<String, TopologyError> {
    let name = path.display().to_string();
    let fault = |reason: String| TopologyError::Unreadable { path: name.clone(), reason, help: A_TABLE };
    // Asked before it is opened: opening a pipe that nobody writes to would wait for ever.
    if !std::fs::metadata(path).map_err(|error| fault(error.to_string()))?.is_file() {
        return Err(fault("it is not a regular file".to_string()));
    }
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes)).map_err(|error| fault(error.to_string()))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(fault(format!("it has more than {MAX_BYTES} bytes, the limit of a layer table")));
    }
    String::from_utf8(bytes)
        .map_err(|error| fault(format!("it is not UTF-8 text (the byte at {} begins no character)", error.utf8_error().valid_up_to())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_text_file_of_a_table_s_size_is_refused() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("table.csv");
        let message = |path: &Path| load(path).unwrap_err().to_string();
        assert!(message(&path).contains("table.csv: the layer table cannot be read: No such file"), "{}", message(&path));
        assert!(message(home.path()).contains("not a regular file"));
        std::fs::write(&path, [b'L', 0xff, 0xfe]).unwrap();
        assert!(message(&path).contains("not UTF-8 text (the byte at 1"), "{}", message(&path));
        File::create(&path).unwrap().set_len(MAX_BYTES + 1).unwrap();
        assert!(message(&path).contains("more than 16777216 bytes"));
        std::fs::write(&path, "Layer,M,N,K,\na,1,2,3,\n").unwrap();
        assert_eq!(load(&path).unwrap().layers.len(), 1);
    }
}
