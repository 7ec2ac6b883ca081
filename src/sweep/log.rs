//! The folder of a sweep while it runs: a lock, the provenance, and the log to which each finished point is a durable line.
//!
//! `points.jsonl` grows a line a point, each synced to the disk before the next is begun; a line that a kill tore is cut when the sweep goes on. At the end
//! the lines stand in the order of the points, whoever finished first, and the tables stand beside them. Not here: which points there are (`run`).

use super::SweepError;
use crate::report::{PointRow, ResultFolder, SweepProvenance, SweepResults, human, layers_csv_of, point_line, points_csv};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// The log's name.
pub(super) const POINTS: &str = "points.jsonl";
/// The name of the experiment's text.
pub(super) const EXPERIMENT: &str = "experiment.ron";
/// The provenance's name.
pub(super) const PROVENANCE: &str = "provenance.json";

/// A folder that no other sweep writes to.
#[derive(Debug)]
pub(super) struct Log {
    folder: ResultFolder,
    provenance: SweepProvenance,
    path: PathBuf,
    file: File,
    /// Points that are safe.
    kept: usize,
    /// Held until the end.
    _lock: File,
}

impl Log {
    /// Opens or makes the folder, and reads what is there already.
    pub(super) fn open(folder: &Path, experiment: &str, provenance: &SweepProvenance) -> Result<(Self, Vec<PointRow>), SweepError> {
        let made = ResultFolder::prepare(folder)?;
        let lock = lock(folder)?;
        sweep_out(folder);
        let path = folder.join(POINTS);
        let place = folder.join(PROVENANCE);
        let mut known = Vec::new();
        let provenance = if place.exists() {
            let text = fs::read_to_string(&place).map_err(|error| write(&place, &error, 0))?;
            let found = SweepResults::provenance_of(&text, &place)?;
            belongs(folder, &found, provenance, experiment)?;
            known = recover(&path)?;
            found
        } else {
            if path.exists() {
                return Err(SweepError::Other { path: folder.to_owned(), what: "something that does not say what made it".to_owned() });
            }
            if folder.join("summary.json").exists() {
                return Err(SweepError::Other { path: folder.to_owned(), what: "a run".to_owned() });
            }
            let json = pretty(provenance);
            made.write_files(&[(EXPERIMENT, experiment.as_bytes()), (PROVENANCE, json.as_bytes())])?;
            provenance.clone()
        };
        let file = OpenOptions::new().create(true).append(true).open(&path).map_err(|error| write(&path, &error, known.len()))?;
        sync_folder(folder);
        let kept = known.len();
        Ok((Self { folder: made, provenance, path, file, kept, _lock: lock }, known))
    }

    /// Keeps a finished point: it is on the disk when this returns.
    pub(super) fn append(&mut self, point: &PointRow) -> Result<(), SweepError> {
        let line = point_line(point);
        let written = self.file.write_all(line.as_bytes()).and_then(|()| self.file.sync_data());
        written.map_err(|error| write(&self.path, &error, self.kept))?;
        self.kept += 1;
        Ok(())
    }

    /// Puts the lines into the order of the points, and writes the tables. All files appear whole.
    pub(super) fn finish(self, rows: Vec<PointRow>) -> Result<SweepResults, SweepError> {
        let results = SweepResults::new(self.provenance, rows);
        write_results(&self.folder, &results)?;
        Ok(results)
    }
}

/// Writes the log and the tables, in the order of the points.
pub(super) fn write_results(folder: &ResultFolder, results: &SweepResults) -> Result<(), SweepError> {
    let lines: String = results.points.iter().map(point_line).collect();
    let (points, layers) = (points_csv(results), layers_csv_of(results));
    folder.write_files(&[("points.csv", points.as_bytes()), ("layers.csv", layers.as_bytes()), (POINTS, lines.as_bytes())])?;
    sync_folder(folder.path());
    Ok(())
}

/// The provenance as JSON.
pub(super) fn pretty(provenance: &SweepProvenance) -> String {
    serde_json::to_string_pretty(provenance).expect("bug: a provenance that is not JSON; please report it") + "\n"
}

/// Takes away what a killed sweep left half written, under other names, here and in folders of pictures. Nobody else writes here.
fn sweep_out(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.path().is_dir() {
            sweep_out(&entry.path());
        } else if name.starts_with('.') && Path::new(&name).extension().is_some_and(|ending| ending == "tmp") {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Makes names of new files durable, where the system can.
fn sync_folder(folder: &Path) {
    let _ = File::open(folder).and_then(|folder| folder.sync_all());
}

/// Takes the folder for this process; the system gives it back when the process ends, however it does.
pub(super) fn lock(folder: &Path) -> Result<File, SweepError> {
    let path = folder.join(".lock");
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(|error| write(&path, &error, 0))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(SweepError::Locked { path: folder.to_owned() }),
        Err(TryLockError::Error(error)) => Err(write(&path, &error, 0)),
    }
}

fn write(path: &Path, error: &io::Error, kept: usize) -> SweepError {
    SweepError::Write { path: path.to_owned(), reason: error.to_string(), kept }
}

/// Refuses a folder of another version, experiment, chip, model or shard.
fn belongs(folder: &Path, found: &SweepProvenance, wanted: &SweepProvenance, experiment: &str) -> Result<(), SweepError> {
    let of_another = || {
        let there = fs::read_to_string(folder.join(EXPERIMENT)).unwrap_or_default();
        format!("another experiment ({:?}){}", found.question, first_difference(&there, experiment))
    };
    let differs = [
        (found.version != wanted.version, format!("systole {}, and this is {}", found.version, wanted.version)),
        (found.experiment_sha256 != wanted.experiment_sha256, of_another()),
        (found.chips != wanted.chips, "the same experiment with other chips: a chip file has changed since".to_owned()),
        (
            found.models != wanted.models,
            "the same experiment with other models: a model, its data or a layer table has changed since".to_owned(),
        ),
        (
            found.shard != wanted.shard,
            format!("the shard {} of the same experiment", found.shard.as_deref().unwrap_or("that is the whole")),
        ),
    ];
    match differs.into_iter().find(|(differs, _)| *differs) {
        Some((_, what)) => Err(SweepError::Other { path: folder.to_owned(), what }),
        None => Ok(()),
    }
}

/// Where two texts begin to differ, for a message; nothing where they do not.
fn first_difference(there: &str, here: &str) -> String {
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    let (there, here) = (lines(there), lines(here));
    let shown =
        |line: Option<&String>| line.map_or_else(|| "has ended".to_owned(), |line| format!("is `{}`", human::shorten(line.trim(), 60)));
    let number = (0..there.len().max(here.len())).find(|number| there.get(*number) != here.get(*number));
    number.map_or_else(String::new, |number| {
        format!(", which differs from line {} on: it {} there and {} here", number + 1, shown(there.get(number)), shown(here.get(number)))
    })
}

/// The whole lines of the log; a torn last one is cut off.
fn recover(path: &Path) -> Result<Vec<PointRow>, SweepError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(write(path, &error, 0)),
    };
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let text = String::from_utf8_lossy(&bytes[..whole]);
    let points = SweepResults::points_of(&text, path)?;
    if whole < bytes.len() {
        let cut = OpenOptions::new().write(true).open(path).and_then(|file| {
            file.set_len(whole as u64)?;
            file.sync_all()
        });
        cut.map_err(|error| write(path, &error, points.len()))?;
    }
    Ok(points)
}

#[cfg(test)]
mod tests {
    use super::first_difference;

    #[test]
    fn the_first_line_that_differs_is_told() {
        assert_eq!(first_difference("a\nb\n", "a\nb\n"), "");
        assert_eq!(first_difference("a\n  b,\nc", "a\nx\nc"), ", which differs from line 2 on: it is `b,` there and is `x` here");
        assert_eq!(first_difference("a", "a\nx"), ", which differs from line 2 on: it has ended there and is `x` here");
    }
}
