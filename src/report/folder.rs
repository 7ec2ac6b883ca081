//! The folder that a run's results go to: made and tried before the run, filled after it, each file under another name first.
//!
//! A reader never meets half a file. Not here: what stands in the files.

use super::{Summary, layers_csv, summary_json};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Why results could not be written.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// The folder is not there and cannot be made.
    #[error("cannot make the folder {} for results: {source}; choose another with --out", .path.display())]
    Make {
        /// The folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file cannot be written.
    #[error("cannot write {}: {source}; choose another folder with --out", .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// The pictures of a run, drawn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pictures {
    /// Where each layer's cycles went, as SVG.
    pub layers_svg: String,
    /// The same as PNG.
    pub layers_png: Vec<u8>,
}

/// A folder that is there and can be written to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResultFolder {
    path: PathBuf,
}

impl ResultFolder {
    /// Makes the folder and tries to write to it, so that a bad path fails before a long run and not after.
    ///
    /// # Errors
    /// If it cannot be made or written to.
    pub fn prepare(path: &Path) -> Result<Self, FolderError> {
        fs::create_dir_all(path).map_err(|source| FolderError::Make { path: path.to_owned(), source })?;
        let folder = Self { path: path.to_owned() };
        let trial = folder.temporary("trial");
        File::create(&trial).and_then(|_| fs::remove_file(&trial)).map_err(|source| FolderError::Write { path: trial, source })?;
        Ok(folder)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes `chip.ron`, `layers.csv`, `layers.svg`, `layers.png` and, last, `summary.json`: where that stands, the others do too.
    ///
    /// # Errors
    /// If a file cannot be written; those before it stay.
    pub fn write(&self, summary: &Summary, chip_ron: &str, pictures: &Pictures) -> Result<(), FolderError> {
        self.write_file("chip.ron", chip_ron.as_bytes())?;
        self.write_file("layers.csv", layers_csv(summary).as_bytes())?;
        self.write_file("layers.svg", pictures.layers_svg.as_bytes())?;
        self.write_file("layers.png", &pictures.layers_png)?;
        self.write_file("summary.json", summary_json(summary).as_bytes())
    }

    /// Writes one file whole: to another name, then renamed.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write_file(&self, name: &str, bytes: &[u8]) -> Result<(), FolderError> {
        let temporary = self.temporary(name);
        let path = self.path.join(name);
        let written = File::create(&temporary).and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&temporary, &path)
        });
        written.map_err(|source| {
            // Best effort: the message names the file that was asked for, whether or not the other can be taken away.
            let _ = fs::remove_file(&temporary);
            FolderError::Write { path, source }
        })
    }

    /// A name that no other process uses.
    fn temporary(&self, name: &str) -> PathBuf {
        self.path.join(format!(".{name}.{}.tmp", std::process::id()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    #[test]
    fn files_stand_whole_and_nothing_else_is_left() {
        let outer = tempfile::tempdir().unwrap();
        let folder = ResultFolder::prepare(&outer.path().join("a/b")).unwrap();
        let pictures = Pictures { layers_svg: "<svg/>".to_owned(), layers_png: vec![1, 2, 3] };
        folder.write(&fixture::simplenet(), "Chip()", &pictures).unwrap();
        folder.write(&fixture::simplenet(), "Chip()", &pictures).unwrap();
        let mut names: Vec<String> =
            fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        assert_eq!(names, ["chip.ron", "layers.csv", "layers.png", "layers.svg", "summary.json"]);
        assert_eq!(fs::read_to_string(folder.path().join("summary.json")).unwrap(), summary_json(&fixture::simplenet()));
    }

    #[test]
    fn a_path_through_a_file_is_refused_before_the_run() {
        let outer = tempfile::tempdir().unwrap();
        fs::write(outer.path().join("file"), "").unwrap();
        let error = ResultFolder::prepare(&outer.path().join("file/out")).unwrap_err();
        assert!(error.to_string().contains("--out"), "{error}");
    }
}
