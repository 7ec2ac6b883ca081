//! The folder that a run's results go to: made and tried before the run, filled after it, each file under another name first.
//!
//! A reader never meets half a file. Not here: what stands in the files.

use super::{Summary, layers_csv, summary_from_json, summary_json};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Why results could not be written.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// The folder is not there and cannot be made.
    #[error("cannot make the folder {} for results: {}\n  help: choose another with --out", .path.display(), if .path.exists() { "it is there and no folder".to_owned() } else { .source.to_string() })]
    Make {
        /// The folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A summary cannot be read.
    #[error("cannot read {}: {source}\n  help: give a folder that `systole run` wrote, or the summary.json in it", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file that is no summary.
    #[error("{} is no summary of a run: {source}\n  help: give a folder that `systole run` wrote, or the summary.json in it; one of another version is made again by its own command (provenance.command)", .path.display())]
    Form {
        /// The file.
        path: PathBuf,
        /// Where it is at fault.
        source: serde_json::Error,
    },
    /// A file cannot be written.
    #[error("cannot write {}: {source}\n  help: choose another folder with --out", .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// Reads the summary of a run: of a folder that `systole run` wrote, or its `summary.json`.
///
/// # Errors
/// If it cannot be read, or is no summary.
pub fn read_summary(path: &Path) -> Result<Summary, FolderError> {
    let file = if path.is_dir() { path.join("summary.json") } else { path.to_owned() };
    let text = fs::read_to_string(&file).map_err(|source| FolderError::Read { path: file.clone(), source })?;
    summary_from_json(&text).map_err(|source| FolderError::Form { path: file, source })
}

/// A folder that is there and can be written to. Folders that were made for it and stay empty, because the run fails, go away with it.
#[derive(Debug)]
pub struct ResultFolder {
    path: PathBuf,
    /// Folders that were not there before, the innermost first.
    made: Vec<PathBuf>,
}

impl ResultFolder {
    /// Makes the folder and tries to write to it, so that a bad path fails before a long run and not after.
    ///
    /// # Errors
    /// If it cannot be made or written to.
    pub fn prepare(path: &Path) -> Result<Self, FolderError> {
        let made = path.ancestors().take_while(|folder| !folder.as_os_str().is_empty() && !folder.exists()).map(Path::to_owned).collect();
        // From here on, what was made goes away again if anything fails.
        let folder = Self { path: path.to_owned(), made };
        fs::create_dir_all(path).map_err(|source| FolderError::Make { path: path.to_owned(), source })?;
        let trial = folder.temporary("trial");
        File::create(&trial)
            .and_then(|_| fs::remove_file(&trial))
            .map_err(|source| FolderError::Write { path: path.to_owned(), source })?;
        Ok(folder)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes `chip.ron`, `layers.csv`, `residency.csv`, the files of `more` by their names (pictures, and what else was asked for) and, last,
    /// `summary.json`: where that stands, the others do too. All are written under other names first, and none takes its place before all are whole.
    ///
    /// # Errors
    /// If a file cannot be written; then none of an earlier run was touched, unless it is the renaming that failed.
    pub fn write(&self, summary: &Summary, chip_ron: &str, more: &[(&str, &[u8])]) -> Result<(), FolderError> {
        let (csv, tensors, json) = (layers_csv(summary), summary.residency.csv(), summary_json(summary));
        let mut files: Vec<(&str, &[u8])> =
            vec![("chip.ron", chip_ron.as_bytes()), ("layers.csv", csv.as_bytes()), ("residency.csv", tensors.as_bytes())];
        files.extend(more);
        files.push(("summary.json", json.as_bytes()));
        self.write_files(&files)
    }

    /// Writes files by their names: all under other names first, and none takes its place before all are whole.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub fn write_files(&self, files: &[(&str, &[u8])]) -> Result<(), FolderError> {
        let written = files.iter().try_for_each(|(name, bytes)| self.write_temporary(name, bytes));
        let written = written.and_then(|()| files.iter().try_for_each(|(name, _)| self.rename(name)));
        if written.is_err() {
            for (name, _) in files {
                // Best effort: the message names what failed, whether or not the rest can be taken away.
                let _ = fs::remove_file(self.temporary(name));
            }
        }
        written
    }

    fn write_temporary(&self, name: &str, bytes: &[u8]) -> Result<(), FolderError> {
        let written = File::create(self.temporary(name)).and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        });
        written.map_err(|source| FolderError::Write { path: self.path.join(name), source })
    }

    fn rename(&self, name: &str) -> Result<(), FolderError> {
        let path = self.path.join(name);
        fs::rename(self.temporary(name), &path).map_err(|source| FolderError::Write { path, source })
    }

    /// A name that no other process uses.
    fn temporary(&self, name: &str) -> PathBuf {
        self.path.join(format!(".{name}.{}.tmp", std::process::id()))
    }
}

impl Drop for ResultFolder {
    fn drop(&mut self) {
        // Succeeds for empty folders only, which is what is wanted.
        let _ = self.made.iter().try_for_each(fs::remove_dir);
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
        let pictures: [(&str, &[u8]); 2] = [("layers.svg", b"<svg/>"), ("layers.png", &[1, 2, 3])];
        folder.write(&fixture::simplenet(), "Chip()", &[("logits.npz", &[4])]).unwrap();
        folder.write(&fixture::simplenet(), "Chip()", &pictures).unwrap();
        let mut names: Vec<String> =
            fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        assert_eq!(names, ["chip.ron", "layers.csv", "layers.png", "layers.svg", "logits.npz", "residency.csv", "summary.json"]);
        assert_eq!(fs::read_to_string(folder.path().join("summary.json")).unwrap(), summary_json(&fixture::simplenet()));
    }

    #[test]
    fn what_was_made_for_a_run_that_failed_goes_away() {
        let outer = tempfile::tempdir().unwrap();
        fs::create_dir(outer.path().join("there")).unwrap();
        drop(ResultFolder::prepare(&outer.path().join("there/a/b")).unwrap());
        assert!(outer.path().join("there").is_dir() && !outer.path().join("there/a").exists());
        let folder = ResultFolder::prepare(&outer.path().join("there")).unwrap();
        fs::create_dir_all(outer.path().join("there/layers.png/full")).unwrap();
        let error = folder.write(&fixture::simplenet(), "Chip()", &[("layers.png", &[])]).unwrap_err();
        assert!(error.to_string().contains("layers.png"), "{error}");
        assert!(fs::read_dir(folder.path()).unwrap().all(|entry| !entry.unwrap().file_name().into_string().unwrap().ends_with("tmp")));
    }

    #[test]
    fn a_path_through_a_file_is_refused_before_the_run() {
        let outer = tempfile::tempdir().unwrap();
        fs::write(outer.path().join("file"), "").unwrap();
        let error = ResultFolder::prepare(&outer.path().join("file/out")).unwrap_err();
        assert!(error.to_string().contains("--out"), "{error}");
    }
}
