//! The card of a network that was made from another model's: the same data, task and preprocessing beside a new network file.

use super::load::Integers;
use super::schema::{CardFile, DataFile, FilesFile, SplitFile, SplitsFile};
use super::{Model, ModelError, Split, Training};
use crate::data::Source;
use std::path::{Component, Path, PathBuf};

/// The version of the cards that are written.
const FORMAT_VERSION: u32 = 1;

/// A card for the network file `network`, which was made from `model` as `training` and `how` say: for a file beside it. None where the model names no
/// data.
///
/// # Errors
/// If a path from there to the data cannot be found, or a name is not usable.
pub fn card_beside(model: &Model, network: &Path, training: Training, how: &str) -> Result<Option<String>, ModelError> {
    let notes = model.card().notes.iter().cloned().chain([how.to_string()]).collect();
    written(model, network, training, notes)
}

/// The card of `model` for a file that its network is written to, beside which it is to lie. None where the model names no data.
///
/// # Errors
/// As [`card_beside`].
pub fn card_as(model: &Model, network: &Path) -> Result<Option<String>, ModelError> {
    written(model, network, model.card().training, model.card().notes.clone())
}

fn written(model: &Model, network: &Path, training: Training, notes: Vec<String>) -> Result<Option<String>, ModelError> {
    if !model.has_splits() {
        return Ok(None);
    }
    let fault = |problem: String| ModelError::Write { path: network.display().to_string(), problem };
    let file = network.file_name().and_then(|name| name.to_str()).ok_or_else(|| fault("its name is not UTF-8 text".to_string()))?;
    let stem = network.file_stem().and_then(|stem| stem.to_str()).unwrap_or(file);
    let folder = network.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let path_to = |path: &PathBuf| way(folder, path).map_err(fault);
    let mut data: Vec<DataFile> = Vec::new();
    let mut splits = Vec::new();
    for split in Split::ALL {
        let found = model.own_split_data(split)?;
        let files = match &found.source {
            Source::Idx { images, labels } => FilesFile::Idx { images: path_to(images)?, labels: path_to(labels)? },
            Source::Npz(path) => FilesFile::Npz(path_to(path)?),
        };
        // A data set is named after the split that takes from it first.
        let known = data.iter().find(|data| data.files == files).map(|known| known.name.clone());
        let name = known.unwrap_or_else(|| {
            data.push(DataFile { name: split.name().to_string(), files });
            split.name().to_string()
        });
        let range = found.range.clone().unwrap_or(0..0);
        splits.push(SplitFile { data: name, from: range.start, until: range.end });
    }
    let [train, calibrate, select, report] = <[SplitFile; 4]>::try_from(splits).map_err(|_| fault("it has no four splits".to_string()))?;
    let card = model.card();
    let plain: String = stem.chars().map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' }).collect();
    let card = CardFile {
        format_version: FORMAT_VERSION,
        name: plain,
        source: card.source.clone(),
        notes,
        training,
        network: file.to_string(),
        preprocessing: Integers::of(model.network()).map_or(card.preprocessing, |integers| integers.folded(card.preprocessing)),
        task: card.task,
        metrics: card.metrics.clone(),
        labels: card.labels.clone(),
        data,
        splits: SplitsFile { train, calibrate, select, report },
    };
    let config = ron::ser::PrettyConfig::new().struct_names(false).depth_limit(3);
    let text = ron::ser::to_string_pretty(&card, config).map_err(|error| fault(error.to_string()))?;
    Ok(Some(format!("Model{text}\n")))
}

/// The way from a folder to a file, both of which are there.
///
/// # Errors
/// What the system says, or that there is no way.
pub fn way(folder: &Path, file: &Path) -> Result<String, String> {
    let found = |path: &Path| path.canonicalize().map_err(|error| format!("{} cannot be found: {error}", path.display()));
    let (folder, file) = (found(folder)?, found(file)?);
    let common = folder.components().zip(file.components()).take_while(|(a, b)| a == b).count();
    let is_apart = folder.components().skip(common).any(|part| !matches!(part, Component::Normal(_)));
    if is_apart {
        return Err(format!("there is no way from {} to {}", folder.display(), file.display()));
    }
    let up = folder.components().skip(common).map(|_| Some(".."));
    let down = file.components().skip(common).map(|part| part.as_os_str().to_str());
    let parts: Option<Vec<&str>> = up.chain(down).collect();
    parts.map(|parts| parts.join("/")).ok_or_else(|| format!("{} is not UTF-8 text", file.display()))
}
