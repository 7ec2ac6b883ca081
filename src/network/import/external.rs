//! Tensors whose bytes lie in a file beside the model. Nothing outside of the model's folder is ever read, and no more than a shape needs.

use super::names::shown;
use super::onnx::TensorProto;
use super::tensor::fault;
use crate::network::NetworkError;
use prost::bytes::Bytes;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Component, Path};

/// The folder of the model file; none where a model came as bytes.
#[derive(Clone, Copy)]
pub(super) struct Folder<'a>(pub(super) Option<&'a Path>);

impl Folder<'_> {
    /// `wanted` bytes of a tensor that says where they lie.
    ///
    /// # Errors
    /// If the place is none in this folder, or the file has fewer bytes.
    pub(super) fn read(self, tensor: &TensorProto, wanted: usize) -> Result<Bytes, NetworkError> {
        let Some(folder) = self.0 else {
            let problem = "its data lies in another file, and the model came without its folder".to_string();
            return Err(fault(tensor, problem, "save it in one file: onnx.save_model(..., save_as_external_data=False)"));
        };
        let entry = |key: &str| tensor.external_data.iter().find(|entry| entry.key() == key).map(|entry| entry.value().to_string());
        let number = |key: &str| match entry(key) {
            None => Ok(None),
            Some(text) => text.parse::<u64>().map(Some).map_err(|_| {
                let problem = format!("has the {key} \"{}\" in its external file", shown(&text));
                fault(tensor, problem, "the file was written wrongly: export it again")
            }),
        };
        let (location, offset, length) = (entry("location").unwrap_or_default(), number("offset")?.unwrap_or(0), number("length")?);
        if length.is_some_and(|length| length != wanted as u64) {
            let problem = format!("its shape needs {wanted} bytes and its external file is said to have {}", length.unwrap_or(0));
            return Err(fault(tensor, problem, "the file was written wrongly: export it again"));
        }
        let refuse = |problem: &str, help| Err(fault(tensor, format!("its external file \"{}\" {problem}", shown(&location)), help));
        let inside = Path::new(&location).components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        if location.is_empty() || location.contains('\0') || !inside {
            return refuse("is no path below the model's folder", "put the file beside the model and name it alone");
        }
        let root = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        let missing = "put the file beside the model, as it was exported";
        // Links are followed before the path is judged.
        let (Ok(root), Ok(path)) = (root.canonicalize(), root.join(&location).canonicalize()) else {
            return refuse("is not there", missing);
        };
        if !path.starts_with(&root) || !path.is_file() {
            return refuse("is no file below the model's folder", missing);
        }
        let read = || {
            let mut file = File::open(&path)?;
            let size = file.metadata()?.len();
            if offset.checked_add(wanted as u64).is_none_or(|end| end > size) {
                return Ok(Err(size));
            }
            file.seek(SeekFrom::Start(offset))?;
            let mut bytes = vec![0; wanted];
            file.read_exact(&mut bytes)?;
            Ok(Ok(bytes))
        };
        match read() {
            Ok(Ok(bytes)) => Ok(Bytes::from(bytes)),
            Ok(Err(size)) => {
                refuse(&format!("has {size} bytes and {wanted} are wanted from {offset} on"), "it is cut short: copy it again")
            }
            Err(error) => {
                let error: std::io::Error = error;
                refuse(&format!("cannot be read: {error}"), missing)
            }
        }
    }
}
