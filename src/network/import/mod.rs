//! Import of ONNX files: bytes in, a checked [`Network`] out. Float and quantized networks, opsets 7 to 21; all else is refused by name.
//!
//! Bytes come from anywhere, so nothing here believes a claim before it is checked, recurses by what the file says, or allocates more
//! than a small multiple of the file's size. The steps: bound the cost (`scan`), decode (`onnx`, generated), order the nodes (`wiring`), read
//! constants (`tensor`, `external`) and compute on them (`fold`), add layers (`operators`, `movement`), make them plain (`simplify`). The
//! network's own checks then hold for what comes out.

mod attributes;
mod constant;
mod external;
mod fold;
mod importer;
mod movement;
mod names;
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::pedantic,
    clippy::enum_variant_names,
    reason = "generated from ONNX's own definition, which documents it"
)]
pub(super) mod onnx;
mod operators;
mod scan;
mod simplify;
mod tensor;
#[cfg(test)]
mod tests;
mod wire;
mod wiring;

use super::{Network, NetworkError};
use external::Folder;
use names::shown;
use prost::Message;
use prost::bytes::Bytes;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// The largest file that is read.
const MAX_FILE: u64 = 1 << 30;

/// The most nodes that a graph may have.
const MAX_NODES: usize = 4096;

/// The oldest and newest versions of ONNX's operators that are known.
const OPSETS: (i64, i64) = (7, 21);

/// Reads a network from an ONNX file; the network's name is the file's stem. Tensors may lie in files beside it.
///
/// # Errors
/// If a file cannot be read, is no ONNX file, or holds what is not supported.
pub fn import(path: &Path) -> Result<Network, NetworkError> {
    let bytes = read(path)?;
    let name = path.file_stem().map_or_else(|| "network".into(), |stem| stem.to_string_lossy());
    import_buffer(Bytes::from(bytes), &name, Folder(path.parent()))
}

/// Reads a network from the bytes of an ONNX file, which has all its tensors in it.
///
/// # Errors
/// If the bytes are no ONNX file, or one that holds what is not supported.
pub fn import_bytes(bytes: &[u8], name: &str) -> Result<Network, NetworkError> {
    import_buffer(Bytes::copy_from_slice(bytes), name, Folder(None))
}

/// Reads a network from the bytes of an ONNX file that stands at `path`; tensors may lie in files beside it.
///
/// # Errors
/// If the bytes are no ONNX file, or one that holds what is not supported.
pub fn import_bytes_beside(bytes: &[u8], name: &str, path: &Path) -> Result<Network, NetworkError> {
    import_buffer(Bytes::copy_from_slice(bytes), name, Folder(path.parent()))
}

/// The names of all operators that are known, for a message.
pub(super) fn supported() -> &'static str {
    operators::SUPPORTED.as_str()
}

/// The bytes of a model file, of at most 1 GiB.
///
/// # Errors
/// If the file cannot be read or is larger.
pub fn read(path: &Path) -> Result<Vec<u8>, NetworkError> {
    let fault = |error: std::io::Error| NetworkError::Read { path: shown(&path.display().to_string()), problem: error.to_string() };
    // What is no regular file, such as a named pipe, may never end, or never begin.
    if !std::fs::metadata(path).map_err(fault)?.is_file() {
        return Err(fault(std::io::Error::other("it is not a regular file")));
    }
    let mut bytes = Vec::new();
    File::open(path).map_err(fault)?.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(fault)?;
    Ok(bytes)
}

fn import_buffer(bytes: Bytes, name: &str, folder: Folder<'_>) -> Result<Network, NetworkError> {
    let model = shown(name);
    let limit = |what, count, limit, help| NetworkError::Limit { model: model.clone(), what, count, limit, help };
    let size = bytes.len();
    if size as u64 > MAX_FILE {
        return Err(limit("bytes in the file", size as u64, MAX_FILE, "use a smaller network"));
    }
    let broken = |problem| NetworkError::Decode { model: model.clone(), bytes: size, problem };
    let parts = scan::count_parts(&bytes).map_err(broken)?;
    if parts > scan::MAX_PARTS {
        return Err(limit(
            "parts (fields of nodes, tensors and other messages)",
            parts,
            scan::MAX_PARTS,
            "strip metadata and what is not needed",
        ));
    }
    let file = onnx::ModelProto::decode(bytes).map_err(|error| broken(error.to_string()))?;
    let Some(graph) = &file.graph else {
        return Err(broken("it holds no graph".to_string()));
    };
    if graph.node.len() > MAX_NODES {
        return Err(limit("nodes in the graph", graph.node.len() as u64, MAX_NODES as u64, "use a smaller network"));
    }
    importer::Importer::import(&model, graph, opset(&model, &file)?, size, folder)
}

/// The version of ONNX's own operators that the file is written in.
fn opset(model: &str, file: &onnx::ModelProto) -> Result<i64, NetworkError> {
    let (oldest, newest) = OPSETS;
    let refuse = |found| Err(NetworkError::Opset { model: model.to_string(), found, oldest, newest });
    let mut versions =
        file.opset_import.iter().filter(|opset| matches!(opset.domain(), "" | "ai.onnx")).map(onnx::OperatorSetIdProto::version);
    match (versions.next(), versions.next()) {
        (None, _) => refuse("does not say which opset its operators are of".to_string()),
        (Some(version), None) if (oldest..=newest).contains(&version) => Ok(version),
        (Some(version), None) => refuse(format!("is written in opset {version}")),
        (Some(first), Some(second)) => refuse(format!("names two opsets, {first} and {second}")),
    }
}
