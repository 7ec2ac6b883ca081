//! What is in a model: a row a layer with shapes, multiply-accumulates and parameters; as a table on the terminal and JSON. And the list of models.
//!
//! Field names are the names in JSON. Not here: where models come from (`model`), and their pictures (`plot`).

use super::human;
use super::json::pretty;
use super::terminal::{rendered, table};
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;

/// Characters of a layer's name and of its operation in the table, which has five columns beside them.
const NAME_WIDTH: usize = 16;
const OP_WIDTH: usize = 20;
/// Characters of a line of prose.
const LINE_WIDTH: usize = 100;

/// What kind of model it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModelKind {
    /// A network with its numbers: layers and what each reads are known.
    Network,
    /// A layer table: sizes in an order, and nothing of which layer reads which.
    LayerTable,
}

impl ModelKind {
    /// The name that a reader meets.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::LayerTable => "layer table",
        }
    }
}

/// A model and its layers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelReport {
    /// The name.
    pub name: String,
    /// A network or a layer table.
    pub kind: ModelKind,
    /// Where it comes from.
    pub source: String,
    /// What a reader of its figures must know.
    pub notes: Vec<String>,
    /// Layers in an order in which they can run.
    pub layers: Vec<ModelLayer>,
    /// Multiply-accumulates of one sample.
    pub macs: u64,
    /// Weights, biases and constants; of a layer table the weights of its rows, without biases.
    pub parameters: u64,
    /// Layers whose weights come pruned: at least one in twenty is zero.
    pub pruned: Vec<PrunedWeights>,
}

/// What is zero of a layer's weights as they come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrunedWeights {
    /// The layer's name.
    pub layer: String,
    /// Its weights.
    pub weights: u64,
    /// Those that are zero.
    pub zeros: u64,
    /// At most n of each m along K are not zero; none where there is no such pattern.
    pub n_of_m: Option<[u64; 2]>,
    /// Tiles of 16 rows of K and 16 channels that are all zero, and all tiles.
    pub zero_tiles: [u64; 2],
}

impl PrunedWeights {
    /// The pattern in a line: `50% zeros, 2:4 along K, 3 of 12 tiles of 16 x 16 all zero`.
    fn line(&self) -> String {
        let mut line = format!("{} zeros", human::percent(super::ratio(self.zeros as f64, self.weights as f64)));
        if let Some([n, m]) = self.n_of_m {
            let _ = write!(line, ", {n}:{m} along K");
        }
        if let [zero, all] = self.zero_tiles
            && zero > 0
        {
            let _ = write!(line, ", {zero} of {all} tiles of 16 x 16 all zero");
        }
        line
    }
}

impl ModelReport {
    /// Layers that multiply: those that an array would do.
    pub fn layers_that_multiply(&self) -> usize {
        self.layers.iter().filter(|layer| layer.macs > 0).count()
    }
}

/// A layer of a model. Shapes are those of one sample and, where there are groups and repeats, of the whole layer but for its weights.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ModelLayer {
    /// The name.
    pub name: String,
    /// What it does, such as `conv`.
    pub op: String,
    /// The layers that it reads, as places in the list, in the order of its arguments. Empty in a layer table.
    pub reads: Vec<usize>,
    /// The shapes of what it reads.
    pub inputs: Vec<Vec<u64>>,
    /// The shape of what it yields.
    pub output: Vec<u64>,
    /// The shape of its weights: filters x channels of a group x rows x columns, or K x N. Empty where there are none.
    pub weights: Vec<u64>,
    /// Rows and columns of a window, for convolutions and pools; else empty.
    pub kernel: Vec<u64>,
    /// Pixels from one place of the window to the next, down and to the right; else empty.
    pub stride: Vec<u64>,
    /// Border: top, left, bottom, right; else empty.
    pub padding: Vec<u64>,
    /// Groups of channels; 1 where there are none.
    pub groups: u64,
    /// How often it runs, with weights of its own each time.
    pub repeat: u64,
    /// Multiply-accumulates of one sample.
    pub macs: u64,
    /// Weights, biases and constants.
    pub parameters: u64,
}

impl ModelLayer {
    /// What it does in one line: `conv 3x3 /2 p1 g32`, the window, its stride where it is not 1, the border where there is one, groups, repeats.
    pub fn op_line(&self) -> String {
        let mut line = self.op.clone();
        let joined = |sizes: &[u64]| sizes.iter().map(u64::to_string).collect::<Vec<_>>().join("x");
        let all_equal = |sizes: &[u64]| sizes.windows(2).all(|pair| pair[0] == pair[1]);
        let short = |sizes: &[u64]| if all_equal(sizes) { joined(&sizes[..1]) } else { joined(sizes) };
        if !self.kernel.is_empty() {
            let _ = write!(line, " {}", joined(&self.kernel));
        }
        if self.stride.iter().any(|stride| *stride != 1) {
            let _ = write!(line, " /{}", short(&self.stride));
        }
        if self.padding.iter().any(|border| *border != 0) {
            let _ = write!(line, " p{}", short(&self.padding));
        }
        if self.groups > 1 {
            let _ = write!(line, " g{}", self.groups);
        }
        if self.repeat > 1 {
            let _ = write!(line, " ×{}", self.repeat);
        }
        line
    }
}

/// A shape as people write it: `64 x 56 x 56`.
pub fn shape(sizes: &[u64]) -> String {
    sizes.iter().map(u64::to_string).collect::<Vec<_>>().join(" x ")
}

/// The report as JSON, ending in a newline.
pub fn model_json(report: &ModelReport) -> String {
    pretty(report)
}

/// The report for people: where the model comes from, and a row a layer with the totals in the last.
pub fn model_terminal(report: &ModelReport) -> String {
    let mut text = format!("{} {}\n{}", report.kind.name(), report.name, wrapped(&report.source));
    for note in &report.notes {
        text += &wrapped(note);
    }
    text.push('\n');
    let mut rows = table(&["layer", "what it does", "input", "weights", "output", "MACs", "para-\nmeters"].map(str::to_owned), 2);
    for layer in &report.layers {
        let inputs: Vec<String> = layer.inputs.iter().map(|sizes| shape(sizes)).collect();
        rows.add_row([
            human::shorten(&layer.name, NAME_WIDTH),
            human::shorten(&layer.op_line(), OP_WIDTH),
            inputs.join("\n"),
            shape(&layer.weights),
            shape(&layer.output),
            figure(layer.macs),
            figure(layer.parameters),
        ]);
    }
    let empty = String::new;
    rows.add_row(["all".to_owned(), empty(), empty(), empty(), empty(), figure(report.macs), figure(report.parameters)]);
    let short = "/: stride, p: border, g: groups, ×: times that it runs";
    text += &rendered(&format!("Layers, shapes of one sample ({short})"), &rows);
    if !report.pruned.is_empty() {
        text.push_str("\nWeights that come pruned (a chip that profits from it does so without being asked)\n");
        for layer in &report.pruned {
            let _ = writeln!(text, "  {:<NAME_WIDTH$}  {}", human::shorten(&layer.layer, NAME_WIDTH), layer.line());
        }
    }
    text
}

/// Models in a list, for people: a line each with its figures, and its source below.
pub fn models_terminal(reports: &[ModelReport]) -> String {
    let mut rows = table(&["model", "kind", "layers", "MACs", "parameters"].map(str::to_owned), 2);
    for report in reports {
        rows.add_row([
            report.name.clone(),
            report.kind.name().to_owned(),
            human::count(report.layers_that_multiply() as u64),
            figure(report.macs),
            figure(report.parameters),
        ]);
    }
    let mut text = rendered("Models (layers: those that multiply)", &rows);
    text.push_str("\nWhere they come from\n");
    for report in reports {
        let _ = write!(text, "{}\n{}", report.name, wrapped(&report.source));
    }
    text
}

/// The list as JSON, without layers, ending in a newline.
pub fn models_json(reports: &[ModelReport]) -> String {
    let entry = |report: &ModelReport| {
        serde_json::json!({
            "name": report.name,
            "kind": report.kind,
            "layers": report.layers_that_multiply(),
            "macs": report.macs,
            "parameters": report.parameters,
            "source": report.source,
        })
    };
    let entries: Vec<serde_json::Value> = reports.iter().map(entry).collect();
    pretty(&entries)
}

/// A count in three digits, nothing where it is zero.
fn figure(value: u64) -> String {
    if value == 0 { String::new() } else { human::si(value as f64, "") }
}

/// Prose in lines of limited width, set in.
fn wrapped(prose: &str) -> String {
    const INDENT: &str = "    ";
    let mut text = String::new();
    let mut line = String::new();
    for word in prose.split_whitespace() {
        if !line.is_empty() && INDENT.len() + line.chars().count() + 1 + word.chars().count() > LINE_WIDTH {
            let _ = writeln!(text, "{INDENT}{line}");
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line += word;
    }
    if line.is_empty() { text } else { text + &format!("{INDENT}{line}\n") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> ModelReport {
        let layer =
            |name: &str, op: &str| ModelLayer { name: name.to_owned(), op: op.to_owned(), groups: 1, repeat: 1, ..ModelLayer::default() };
        let conv = ModelLayer {
            reads: vec![0],
            inputs: vec![vec![3, 224, 224]],
            output: vec![64, 112, 56],
            weights: vec![64, 1, 7, 7],
            kernel: vec![7, 7],
            stride: vec![2, 4],
            padding: vec![3; 4],
            groups: 3,
            macs: 19_668_992,
            parameters: 3136,
            ..layer("a.layer.with.a.very.long.name.indeed", "conv")
        };
        let heads = ModelLayer {
            inputs: vec![vec![128, 64], vec![64, 128]],
            output: vec![128, 128],
            repeat: 12,
            macs: 1 << 20,
            ..layer("qk", "gemm")
        };
        let layers = vec![ModelLayer { output: vec![3, 224, 224], ..layer("image", "input") }, conv, heads];
        let (macs, parameters) = (layers.iter().map(|layer| layer.macs).sum(), layers.iter().map(|layer| layer.parameters).sum());
        let (name, source, notes) = ("net".to_owned(), "a paper, ".repeat(30), vec!["a note".to_owned()]);
        ModelReport { name, kind: ModelKind::Network, source, notes, layers, macs, parameters, pruned: Vec::new() }
    }

    #[test]
    fn a_model_is_pleasant_to_read() {
        let text = model_terminal(&report());
        insta::assert_snapshot!(text);
        assert!(text.lines().all(|line| line.chars().count() <= LINE_WIDTH && !line.ends_with(' ')), "{text}");
    }

    #[test]
    fn what_a_layer_does_fits_a_line() {
        let lines: Vec<String> = report().layers.iter().map(ModelLayer::op_line).collect();
        assert_eq!(lines, ["input", "conv 7x7 /2x4 p3 g3", "gemm ×12"]);
    }

    #[test]
    fn json_holds_the_same() {
        let report = report();
        assert_eq!(serde_json::from_str::<ModelReport>(&model_json(&report)).unwrap(), report);
        let list: serde_json::Value = serde_json::from_str(&models_json(std::slice::from_ref(&report))).unwrap();
        assert_eq!((&list[0]["macs"], &list[0]["layers"], &list[0]["kind"]), (&report.macs.into(), &2.into(), &"network".into()));
        assert!(models_terminal(&[report]).contains("net    network"));
    }
}
