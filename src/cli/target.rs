//! Where a network that was made is written: ONNX, with its card and its report beside it.

use super::complain;
use std::error::Error;
use std::path::{Path, PathBuf};
use systole::network::{self, Network};
use systole::report::ResultFolder;

/// Three files of one name.
pub(crate) struct Target {
    folder: ResultFolder,
    path: PathBuf,
    stem: String,
}

impl Target {
    /// Tries the folder, so that a bad path fails before the work and not after; `model` is what is read, which is not written over.
    pub(crate) fn new(path: &Path, model: &str) -> Result<Self, Box<dyn Error>> {
        let is_onnx = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("onnx"));
        let stem = path.file_stem().and_then(|stem| stem.to_str()).filter(|_| is_onnx);
        let Some(stem) = stem else {
            return Err(format!("{} is no name for an ONNX file\n  help: give --out a path that ends in .onnx", path.display()).into());
        };
        let parent = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let target = Self { folder: ResultFolder::prepare(parent)?, path: path.to_path_buf(), stem: stem.to_string() };
        // A name is a card's in models/, too.
        let read = [PathBuf::from(model), Path::new("models").join(format!("{model}.ron"))];
        let same = |one: &Path, other: &Path| matches!((one.canonicalize(), other.canonicalize()), (Ok(a), Ok(b)) if a == b);
        let card = target.card();
        for (written, read) in read.iter().flat_map(|read| [(card.as_path(), read.clone()), (path, read.with_extension("onnx"))]) {
            if same(&read, written) {
                let help = "choose another file with --out; its card (.ron) and report (.json) lie beside it";
                return Err(format!("{} is the model that is read, and would be written over\n  help: {help}", written.display()).into());
            }
        }
        Ok(target)
    }

    /// The network's own path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The card's.
    pub(crate) fn card(&self) -> PathBuf {
        self.path.with_file_name(format!("{}.ron", self.stem))
    }

    /// Writes other files of the name: `NAME.EXTENSION`.
    pub(crate) fn write_beside(&self, files: &[(&str, &str)]) -> Result<(), Box<dyn Error>> {
        let names: Vec<String> = files.iter().map(|(extension, _)| format!("{}.{extension}", self.stem)).collect();
        let files: Vec<(&str, &[u8])> = names.iter().zip(files).map(|(name, (_, text))| (name.as_str(), text.as_bytes())).collect();
        Ok(self.folder.write_files(&files)?)
    }

    /// Writes the network, its card if its data is known, and the report.
    pub(crate) fn write(&self, network: &Network, card: Option<&str>, report: &str) -> Result<(), Box<dyn Error>> {
        let bytes = network::export(network)?;
        // What cannot be read again would be of no use.
        network::import_bytes(&bytes, &self.stem)?;
        let [network_file, card_file, report_file] = ["onnx", "ron", "json"].map(|extension| format!("{}.{extension}", self.stem));
        let mut files: Vec<(&str, &[u8])> = vec![(&network_file, &bytes), (&report_file, report.as_bytes())];
        match card {
            Some(card) => files.push((&card_file, card.as_bytes())),
            None => complain("warning: no card was written, since the model names no data"),
        }
        Ok(self.folder.write_files(&files)?)
    }
}
