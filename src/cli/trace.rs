//! `run --trace`: the file that a timeline goes to, tried before the run and filled after it.

use super::complain;
use super::options::user_fault;
use std::error::Error;
use std::fs::{self, File};
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use systole::pipeline::{PipelineError, Traced};
use systole::report::human;

/// A file that can be written to. It takes its name when it is whole.
pub(super) struct TraceFile {
    path: PathBuf,
    temporary: PathBuf,
    out: BufWriter<File>,
    is_whole: bool,
}

impl TraceFile {
    /// Tries to write to the file's folder.
    pub(super) fn open(path: &Path) -> Result<Self, Box<dyn Error>> {
        let fault = |problem: String| format!("cannot write {}: {problem}\n  help: choose another file with --trace", path.display());
        let name = path.file_name().filter(|_| !path.is_dir()).ok_or_else(|| fault("it is no name of a file".to_string()))?;
        let temporary = path.with_file_name(format!(".{}.{}.tmp", name.to_string_lossy(), std::process::id()));
        let file = File::create(&temporary).map_err(|error| fault(error.to_string()))?;
        Ok(Self { path: path.to_owned(), temporary, out: BufWriter::new(file), is_whole: false })
    }

    /// Fills it, and tells of what did not fit.
    pub(super) fn write(mut self, trace: impl FnOnce(&mut BufWriter<File>) -> Result<Traced, PipelineError>) -> Result<(), Box<dyn Error>> {
        let Traced { cycles, total_cycles } = trace(&mut self.out).map_err(user_fault)?;
        let renamed = fs::rename(&self.temporary, &self.path);
        renamed.map_err(|error| format!("cannot write {}: {error}\n  help: choose another file with --trace", self.path.display()))?;
        self.is_whole = true;
        let shown = if cycles < total_cycles {
            let (cycles, total) = (human::count(cycles), human::count(total_cycles));
            format!(
                "warning: {} shows the first {cycles} of {total} cycles: more would make a file that no viewer opens\n  help: trace a smaller \
                 batch, or a smaller model",
                self.path.display()
            )
        } else {
            format!("a timeline of {} is in {}: open it in ui.perfetto.dev", human::plural(total_cycles, "cycle"), self.path.display())
        };
        complain(&shown);
        Ok(())
    }
}

impl Drop for TraceFile {
    fn drop(&mut self) {
        if !self.is_whole {
            // Best effort: what failed has a message of its own.
            let _ = fs::remove_file(&self.temporary);
        }
    }
}
