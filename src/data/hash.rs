//! SHA-256 of files, for provenance.

use super::DataError;
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// A file and the hash of its bytes as they are stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileHash {
    /// The file's name, without the folders that it lies in.
    pub file: String,
    /// SHA-256 in lower-case hexadecimal.
    pub sha256: String,
}

/// SHA-256 of bytes, in lower-case hexadecimal.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// SHA-256 of a file, read piece by piece.
///
/// # Errors
/// If the file cannot be read.
pub fn sha256_file(path: &Path) -> Result<FileHash, DataError> {
    let fault = |error| DataError::read(path, &error);
    let mut file = open(path)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let read = file.read(&mut buffer).map_err(fault)?;
        if read == 0 {
            break;
        }
        hash.update(&buffer[..read]);
    }
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    Ok(FileHash { file: name, sha256: hex(&hash.finalize()) })
}

/// Opens a regular file; what else can be opened may never end, or never begin.
pub(super) fn open(path: &Path) -> Result<File, DataError> {
    let fault = |error| DataError::read(path, &error);
    if !std::fs::metadata(path).map_err(fault)?.is_file() {
        return Err(DataError::Read { path: path.display().to_string(), problem: "it is not a regular file".to_string() });
    }
    File::open(path).map_err(fault)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("bug: a string takes any text");
        text
    })
}
