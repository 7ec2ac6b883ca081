//! Checkpoints: all that training goes on from, as the bytes of a safetensors file. Not here: files (the caller writes and reads them).

use super::TrainError;
use super::parameters::{Parameter, Running};
use super::trainer::{Best, EpochReport, State};
use crate::data::sha256_hex;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};

/// The entry of the file's metadata that says what is no tensor.
const ENTRY: &str = "systole_train";

/// What is no tensor.
#[derive(Debug, Serialize, Deserialize)]
struct Said {
    /// What the training is of, hashed: another one's checkpoint is refused.
    fingerprint: String,
    /// Steps that the optimizer has made.
    step: u64,
    epochs: Vec<EpochReport>,
    /// The best epoch, and its accuracy on the select split.
    best: Option<(usize, f64)>,
    /// SHA-256 of the rest of this and of all tensors: a bit that flipped is no training.
    sha256: String,
}

impl Said {
    /// The hash of what is said and of the file's tensors.
    fn digest<'t>(&self, tensors: impl Iterator<Item = (&'t str, &'t [u8])>) -> String {
        let plain = Self { sha256: String::new(), fingerprint: self.fingerprint.clone(), epochs: self.epochs.clone(), ..*self };
        let mut all = serde_json::to_vec(&plain).expect("bug: what is said is plain data");
        let mut tensors: Vec<(&str, &[u8])> = tensors.collect();
        tensors.sort_unstable();
        for (name, bytes) in tensors {
            all.extend(name.as_bytes());
            all.extend(bytes);
        }
        sha256_hex(&all)
    }
}

/// Calls `f` with each list of numbers and its name, in a fixed order. Masks are the zeros of their parameters.
fn each(state: &mut State, f: &mut dyn FnMut(&str, &mut Vec<f32>)) {
    for (number, parameter) in state.parameters.iter_mut().enumerate() {
        f(&format!("parameter/{}", parameter.name), &mut parameter.values);
        let moments = [("first", &mut state.optimizer.first[number]), ("second", &mut state.optimizer.second[number])];
        for (what, moments) in moments.into_iter().filter(|(_, moments)| !moments.is_empty()) {
            f(&format!("{what}/{}", parameter.name), moments);
        }
    }
    each_running("", &mut state.running, f);
    if let Some(best) = &mut state.best {
        for parameter in &mut best.parameters {
            f(&format!("best/parameter/{}", parameter.name), &mut parameter.values);
        }
        each_running("best/", &mut best.running, f);
    }
}

fn each_running(prefix: &str, all: &mut [Running], f: &mut dyn FnMut(&str, &mut Vec<f32>)) {
    for Running { name, mean, variance } in all {
        f(&format!("{prefix}mean/{name}"), mean);
        f(&format!("{prefix}variance/{name}"), variance);
    }
}

/// The bytes of a checkpoint.
pub(super) fn to_bytes(state: &State, fingerprint: &str) -> Vec<u8> {
    let mut said = Said {
        fingerprint: fingerprint.to_string(),
        step: state.optimizer.step,
        epochs: state.epochs.clone(),
        best: state.best.as_ref().map(|best| (best.epoch, best.select_accuracy)),
        sha256: String::new(),
    };
    let mut tensors: Vec<(String, usize, Vec<u8>)> = Vec::new();
    each(&mut state.clone(), &mut |name, values| {
        tensors.push((name.to_string(), values.len(), values.iter().flat_map(|value| value.to_le_bytes()).collect()));
    });
    for parameter in &state.parameters {
        if let Some(kept) = &parameter.kept {
            tensors.push((
                format!("kept/{}", parameter.name),
                kept.len(),
                kept.iter().flat_map(|kept| f32::from(u8::from(*kept)).to_le_bytes()).collect(),
            ));
        }
    }
    said.sha256 = said.digest(tensors.iter().map(|(name, _, bytes)| (name.as_str(), bytes.as_slice())));
    let views = tensors
        .iter()
        .map(|(name, count, bytes)| (name, TensorView::new(Dtype::F32, vec![*count], bytes).expect("bug: four bytes a number")));
    let entry = (ENTRY.to_string(), serde_json::to_string(&said).expect("bug: what is said is plain data"));
    // One entry has one order.
    safetensors::serialize(views, Some([entry].into_iter().collect())).expect("bug: the file is made of plain lists")
}

/// Puts a checkpoint's numbers in the place of a state's, which was made as the one that the checkpoint is of.
pub(super) fn restore(state: &mut State, bytes: &[u8], fingerprint: &str, path: &str) -> Result<(), TrainError> {
    let damaged = |problem: String| TrainError::Checkpoint {
        path: path.to_string(),
        problem,
        help: "give a checkpoint that this command wrote, or leave --resume out to begin anew",
    };
    let file = SafeTensors::deserialize(bytes).map_err(|error| damaged(format!("it is no safetensors file ({error})")))?;
    let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(|error| damaged(error.to_string()))?;
    let said = metadata.metadata().as_ref().and_then(|entries| entries.get(ENTRY));
    let said: Said = said
        .and_then(|text| serde_json::from_str(text).ok())
        .ok_or_else(|| damaged("it does not say that it is one of systole's".to_string()))?;
    let tensors = file.tensors();
    if said.sha256 != said.digest(tensors.iter().map(|(name, view)| (name.as_str(), view.data()))) {
        return Err(damaged("its numbers are not those that were written".to_string()));
    }
    if said.fingerprint != fingerprint {
        return Err(TrainError::Checkpoint {
            path: path.to_string(),
            problem: "it is of another training: the model, the data, the recipe or an option differs".to_string(),
            help: "resume with the options that it was made with, or leave --resume out to begin anew",
        });
    }
    let read = |name: &str, count: usize| -> Result<Vec<f32>, TrainError> {
        let tensor = file.tensor(name).map_err(|_| damaged(format!("it has no tensor \"{name}\"")))?;
        if tensor.dtype() != Dtype::F32 || tensor.shape() != [count] {
            return Err(damaged(format!(
                "its tensor \"{name}\" is {:?} of {:?}, and {count} float32 are wanted",
                tensor.shape(),
                tensor.dtype()
            )));
        }
        Ok(tensor.data().chunks_exact(4).map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])).collect())
    };
    let mut restored = state.clone();
    restored.optimizer.step = said.step;
    restored.epochs = said.epochs;
    restored.best = said.best.map(|(epoch, select_accuracy)| Best {
        epoch,
        select_accuracy,
        parameters: state.parameters.clone(),
        running: state.running.clone(),
    });
    let mut fault = None;
    each(&mut restored, &mut |name, values| match read(name, values.len()) {
        Ok(numbers) => *values = numbers,
        Err(error) => fault = Some(error),
    });
    for parameter in &mut restored.parameters {
        let name = format!("kept/{}", parameter.name);
        parameter.kept = match file.tensor(&name) {
            Ok(_) => Some(read(&name, parameter.values.len())?.iter().map(|kept| *kept != 0.0).collect()),
            Err(_) => None,
        };
    }
    keep_masks(&mut restored);
    if let Some(error) = fault {
        return Err(error);
    }
    *state = restored;
    Ok(())
}

/// The masks of the best epoch are its zeros, and nothing trains it: it needs none.
fn keep_masks(state: &mut State) {
    let best = state.best.iter_mut().flat_map(|best| &mut best.parameters);
    best.for_each(|parameter: &mut Parameter| parameter.kept = None);
}
