//! Mappings as files: what was chosen for each layer, by its name, in RON.

use super::{Choice, Layout, Lowered, Mapping, MappingError, Order, Tiling, Work};
use crate::chip::Stationary;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// A larger file is no mapping.
const MAX_BYTES: u64 = 16 << 20;

/// The choices for a network's layers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MappingFile {
    /// The layers that are not left to the tool.
    pub layers: Vec<Pin>,
}

/// What is chosen for one layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pin {
    /// The layer's name.
    pub layer: String,
    /// What stays in the array.
    pub stationary: Stationary,
    /// The outer of the two outer loops.
    pub order: Order,
    /// Vectors of a block.
    pub block: u64,
    /// Channels of a chunk.
    pub chunk: u64,
    /// How its input lies, where that is images; where there is nothing, as for layers that the file does not name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layout: Option<Layout>,
}

impl MappingFile {
    /// What a mapping chose.
    pub fn of(mapping: &Mapping) -> Self {
        let pin = |stage: &super::Stage| {
            let Tiling { order, block, chunk } = stage.tiling;
            let layout = Some(stage.rules.input_layout).filter(|layout| *layout != Layout::ChannelInnermost);
            Pin { layer: stage.name.clone(), stationary: stage.rules.mode.stationary, order, block, chunk, layout }
        };
        let mut layers: Vec<Pin> = mapping.stages().iter().filter(|stage| stage.work.is_array()).map(pin).collect();
        // Groups and repeats of a table's layer are stages that follow one another, cut alike.
        layers.dedup();
        Self { layers }
    }

    /// The file's text.
    ///
    /// # Panics
    /// Never: names and numbers can be written.
    pub fn to_text(&self) -> String {
        let text = ron::ser::to_string_pretty(self, ron::ser::PrettyConfig::default().struct_names(true));
        text.expect("bug: names and numbers can be written as RON") + "\n"
    }

    /// Reads a file's text; `file` names it in messages.
    ///
    /// # Errors
    /// What is wrong, and where.
    pub fn parse(text: &str, file: &str) -> Result<Self, MappingError> {
        ron::from_str(text).map_err(|error| MappingError::File {
            file: file.to_string(),
            problem: format!("line {}, column {}: {}", error.span.start.line, error.span.start.col, error.code),
        })
    }

    /// Reads a file.
    ///
    /// # Errors
    /// If it cannot be read, or what is wrong in it.
    pub fn load(path: &Path) -> Result<Self, MappingError> {
        let name = path.display().to_string();
        let fault = |problem: String| MappingError::File { file: name.clone(), problem };
        if !std::fs::metadata(path).map_err(|error| fault(error.to_string()))?.is_file() {
            return Err(fault("it is not a regular file".to_string()));
        }
        let mut text = String::new();
        let file = File::open(path).map_err(|error| fault(error.to_string()))?;
        file.take(MAX_BYTES + 1).read_to_string(&mut text).map_err(|error| fault(error.to_string()))?;
        if text.len() as u64 > MAX_BYTES {
            return Err(fault(format!("it has more than {MAX_BYTES} bytes, the limit of a mapping")));
        }
        Self::parse(&text, &name)
    }

    /// Refuses a layout for what reads no image of the array's: a vector lies in one way only.
    ///
    /// # Errors
    /// The first such pin.
    pub fn check_layouts(&self, stages: &[Lowered]) -> Result<(), MappingError> {
        let layouts = self.layers.iter().filter_map(|pin| Some((pin, pin.layout.filter(|layout| *layout != Layout::ChannelInnermost)?)));
        for (pin, layout) in layouts {
            let reads_no_image = |stage: &&Lowered| stage.work != Work::Array || stage.problem.input == [1, 1];
            if stages.iter().filter(|stage| stage.name == pin.layer).all(|stage| reads_no_image(&stage)) {
                let problem = "the layer reads vectors, not images, and they lie in one way".to_string();
                return Err(MappingError::Layout { layer: pin.layer.clone(), layout, problem });
            }
        }
        Ok(())
    }

    /// The choice for each of these layers; `unless` where the file has none.
    ///
    /// # Errors
    /// If the file names a layer that there is not, or one twice.
    pub fn choices(&self, layers: &[&str], unless: Choice) -> Result<Vec<Choice>, MappingError> {
        let mut choices = vec![unless; layers.len()];
        for (number, pin) in self.layers.iter().enumerate() {
            let fault = |problem: &str| Err(MappingError::Pinned { layer: pin.layer.clone(), problem: problem.to_string() });
            if self.layers[..number].iter().any(|earlier| earlier.layer == pin.layer) {
                return fault("the mapping names it twice");
            }
            let mut found = false;
            for (choice, _) in choices.iter_mut().zip(layers).filter(|(_, layer)| **layer == pin.layer) {
                let tiling = Some(Tiling { order: pin.order, block: pin.block, chunk: pin.chunk });
                let layout = pin.layout.unwrap_or(unless.layout);
                (*choice, found) = (Choice { stationary: pin.stationary, tiling, layout }, true);
            }
            if !found && self.layers.iter().all(|pin| !layers.contains(&pin.layer.as_str())) {
                return fault(
                    "the network has no such layer that the array computes, nor any other of the mapping: it is another network's",
                );
            }
            if !found {
                return fault("the network has no such layer that the array computes");
            }
        }
        Ok(choices)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapping_reads_back_and_a_wrong_one_says_where() {
        let pin = |layer: &str| Pin {
            layer: layer.to_string(),
            stationary: Stationary::Output,
            order: Order::Channels,
            block: 16,
            chunk: 8,
            layout: None,
        };
        let blocked = "nc4hw4".parse().ok();
        let file = MappingFile { layers: vec![pin("a"), Pin { layout: blocked, ..pin("c") }] };
        assert_eq!(MappingFile::parse(&file.to_text(), "m.ron").unwrap(), file);
        let first = Choice { stationary: Stationary::Weight, tiling: None, layout: Layout::RowMajor };
        let choices = file.choices(&["a", "b", "c"], first).unwrap();
        assert_eq!((choices[0].stationary, choices[1]), (Stationary::Output, first));
        assert_eq!((choices[0].layout, Some(choices[2].layout)), (Layout::RowMajor, blocked), "a layer's own layout, or that of all");
        let none = file.to_text().replace("BlockedByC(4)", "BlockedByC(0)");
        assert!(MappingFile::parse(&none, "m.ron").unwrap_err().to_string().contains("nonzero"), "a block has channels");
        for (text, words) in [("MappingFile(layers: [(layer: 3)])", "line 1"), ("", "m.ron"), ("MappingFile(layers: [], more: 1)", "more")]
        {
            let message = MappingFile::parse(text, "m.ron").unwrap_err().to_string();
            assert!(message.contains(words), "{message}");
        }
        let message = file.choices(&["a"], first).unwrap_err().to_string();
        assert!(message.contains("\"c\"") && message.contains("no such layer"), "{message}");
        let message = file.choices(&["x"], first).unwrap_err().to_string();
        assert!(message.contains("another network's"), "{message}");
        let twice = MappingFile { layers: vec![pin("a"), pin("a")] };
        assert!(twice.choices(&["a"], first).unwrap_err().to_string().contains("twice"));
    }
}
