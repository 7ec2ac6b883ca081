//! Names from a file: which are usable, and how they are shown. Not here: who has which name (`wiring`).

use super::onnx::NodeProto;
use crate::network::NetworkError;

/// The most bytes that a name may have.
const MAX_NAME: usize = 1024;

/// The most characters of a name that a message shows.
const SHOWN: usize = 80;

/// A name for a message: escaped, so that it cannot play with the terminal, and cut.
pub(super) fn shown(name: &str) -> String {
    let mut text: String = name.escape_debug().take(SHOWN).collect();
    if name.escape_debug().nth(SHOWN).is_some() {
        text.push_str("...");
    }
    text
}

/// A node's name, or its output's where it has none.
pub(super) fn of_node(node: &NodeProto) -> &str {
    let own = node.name();
    if own.is_empty() { node.output.first().map_or("", String::as_str) } else { own }
}

/// Refuses a name that cannot be shown in reports as it is.
pub(super) fn check(model: &str, name: &str) -> Result<(), NetworkError> {
    if name.len() > MAX_NAME {
        return Err(NetworkError::Limit {
            model: model.to_string(),
            what: "bytes in a name",
            count: name.len() as u64,
            limit: MAX_NAME as u64,
            help: "shorten the names of nodes and tensors",
        });
    }
    if name.chars().any(char::is_control) {
        return Err(NetworkError::Interface {
            model: model.to_string(),
            problem: format!("the name \"{}\" has control characters", shown(name)),
            help: "rename it: names stand in reports and tables as they are",
        });
    }
    Ok(())
}
