//! Pictures of a run and of a sweep, drawn from plain data: SVG and PNG from the same drawing code, with a font of our own.
//!
//! Open Sans (Apache-2.0, `assets/`) is part of the program, so a picture is the same on every machine. Not here: what is shown as text
//! (`report`), and any computing.

mod axis;
mod bars;
mod canvas;
mod chart;
mod fields;
mod graph;
mod layers;
mod palette;
mod png;
mod quantity;
mod roofline;
mod run;
mod scatter;
mod sweep;
mod words;

pub use chart::{Chart, ChartDot, ChartLine};
pub use sweep::{SweepPictures, heatmap, scatter, sweep};

use crate::counts::StallReason;
use crate::findings::FindingsError;
use crate::report::{ModelReport, Roofline, Summary};

/// A picture, drawn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drawn {
    /// What its files are called, without their endings.
    pub name: String,
    /// As SVG.
    pub svg: String,
    /// As PNG, two pixels a point.
    pub png: Vec<u8>,
}

/// Why a picture could not be drawn.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlotError {
    /// The drawing library gave up.
    #[error("cannot draw a picture: {0}")]
    Draw(String),
    /// Points that cannot be shown as they were asked for.
    #[error(transparent)]
    Findings(#[from] FindingsError),
    /// A graph too large to be placed.
    #[error(
        "a picture of {layers} layers is too large to be drawn; {limit} is the most\n  help: show the model without --out, or a smaller part of it"
    )]
    TooManyLayers {
        /// Layers of the model.
        layers: usize,
        /// The most.
        limit: usize,
    },
}

/// Draws where each layer's cycles went: a bar a layer, in cycles a batch, split into busy, each kind of stall, and idle. As SVG and
/// as PNG.
///
/// # Errors
/// If the drawing library fails, which takes a picture too large for memory.
pub fn layers(summary: &Summary) -> Result<(String, Vec<u8>), PlotError> {
    let picture = layers::Picture::of(summary);
    Ok((canvas::svg(&picture)?, canvas::png(&picture)?))
}

/// Draws all pictures of a run: where its layers' cycles went, its roofline, where its energy goes, what crosses each memory's port.
///
/// # Errors
/// As [`layers`].
pub fn run(summary: &Summary) -> Result<Vec<Drawn>, PlotError> {
    let (layers_svg, layers_png) = layers(summary)?;
    let mut roofs = roofline::chart(&run::roofline(summary));
    roofs.notes.insert(0, run::facts(summary));
    let (roof_svg, roof_png) = chart(&roofs)?;
    let bars = |name: &str, bars: bars::Bars| -> Result<Drawn, PlotError> {
        let picture = bars::Picture::of(bars);
        Ok(Drawn { name: name.to_owned(), svg: canvas::svg(&picture)?, png: canvas::png(&picture)? })
    };
    Ok(vec![
        Drawn { name: "layers".to_owned(), svg: layers_svg, png: layers_png },
        Drawn { name: "roofline".to_owned(), svg: roof_svg, png: roof_png },
        bars("energy", run::energy(summary))?,
        bars("traffic", run::traffic(summary))?,
    ])
}

/// A column of results as a reader knows it, its unit left to the values.
pub fn column_name(column: &str) -> String {
    quantity::name(column)
}

/// A value of a column of results, with its unit.
pub fn column_text(column: &str, value: f64) -> String {
    quantity::text(column, value)
}

/// The colour of a reason to stall, as `#rrggbb`.
pub fn stall_colour(reason: StallReason) -> String {
    palette::hex(palette::stall(reason))
}

/// The colours of busy and idle cycles, as `#rrggbb`.
pub fn busy_and_idle_colours() -> (String, String) {
    (palette::hex(palette::BUSY), palette::hex(palette::IDLE))
}

/// Draws a chart, as SVG and as PNG.
///
/// # Errors
/// As [`layers`].
pub fn chart(chart: &Chart) -> Result<(String, Vec<u8>), PlotError> {
    let layout = chart::Layout::of(chart);
    Ok((canvas::svg(&layout)?, canvas::png(&layout)?))
}

/// Draws layers under the roofs of their chip, as SVG and as PNG.
///
/// # Errors
/// As [`layers`].
pub fn roofline(roofline: &Roofline) -> Result<(String, Vec<u8>), PlotError> {
    chart(&roofline::chart(roofline))
}

/// Draws a model's graph, layers from top to bottom, as SVG.
///
/// # Errors
/// As [`layers`], or if the model has too many layers.
pub fn graph(report: &ModelReport) -> Result<String, PlotError> {
    canvas::svg(&graph::Picture::of(report)?)
}

/// A model's graph in Graphviz's language.
pub fn graph_dot(report: &ModelReport) -> String {
    graph::dot(report)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Roofs;
    use crate::report::fixture;

    #[test]
    fn the_same_summary_gives_the_same_bytes() {
        let summary = fixture::simplenet();
        assert_eq!(layers(&summary).unwrap(), layers(&summary).unwrap());
    }

    #[test]
    fn names_accounts_and_the_run_are_in_the_picture() {
        let svg = layers(&fixture::simplenet()).unwrap().0;
        for wanted in
            ["fc1", "fc3", "softmax", "host", "edge-16x16", "simplenet-mnist", "int8", "batch 1", "cold", "700 MHz", "busy", "idle"]
        {
            assert!(svg.contains(wanted), "{wanted} is missing");
        }
    }

    #[test]
    fn any_number_of_layers_can_be_drawn() {
        for count in [0, 1, 24, 25, 60] {
            let (svg, png) = layers(&fixture::deep(count)).unwrap();
            assert!(png.starts_with(b"\x89PNG"));
            assert_eq!(svg.contains("other layers"), count >= 25, "{count} and a softmax");
        }
        let mut empty = fixture::simplenet();
        empty.layers.clear();
        assert!(layers(&empty).is_ok());
    }

    #[test]
    fn layers_stand_under_their_roofs() {
        let layer = |name: &str, macs: u64, dram_bytes: u64, total_cycles: u64| crate::report::RooflineLayer {
            name: name.to_owned(),
            macs,
            dram_bytes,
            total_cycles,
            cycles_lower_bound: total_cycles / 2,
            bound_by: "dram_bandwidth".to_owned(),
        };
        let layers = vec![layer("one", 1000, 100, 50), layer("none", 0, 0, 7), layer("same", 1000, 100, 50)];
        let (chip, network) = ("edge".to_owned(), "net".to_owned());
        let roofs = Roofline { chip, network, batch: 1, roofs: Roofs { macs_per_cycle: 256, dram_bytes_per_cycle: 16.0 }, layers };
        assert_eq!(roofs.roofs.ridge().to_bits(), 16.0_f64.to_bits());
        let (svg, png) = roofline(&roofs).unwrap();
        assert!(png.starts_with(b"\x89PNG") && svg.contains("DRAM bandwidth") && svg.contains("256 MACs a cycle") && svg.contains("1, 3"));
        // An empty chart is one too.
        assert!(chart(&Chart::default()).is_ok());
    }

    /// Writes pictures to look at into the folder that `SYSTOLE_PICTURES` names.
    #[test]
    fn pictures_to_look_at() {
        let Some(folder) = std::env::var_os("SYSTOLE_PICTURES").map(std::path::PathBuf::from) else {
            return;
        };
        let mut one = fixture::deep(1);
        one.layers.truncate(1);
        for (name, summary) in [("three", fixture::simplenet()), ("one", one), ("twelve", fixture::deep(12)), ("deep", fixture::deep(53))] {
            let (svg, png) = layers(&summary).unwrap();
            std::fs::write(folder.join(format!("{name}.svg")), svg).unwrap();
            std::fs::write(folder.join(format!("{name}.png")), png).unwrap();
        }
    }
}
