//! `systole plot`: pictures and the page of a sweep's results.

use super::{complain, say};
use clap::Args;
use std::error::Error;
use std::path::{Path, PathBuf};
use systole::findings::ScatterRequest;
use systole::page;
use systole::plot::{self, Drawn};
use systole::report::{ResultFolder, SweepResults};

/// What to draw.
#[derive(Debug, Args)]
pub(crate) struct PlotArguments {
    /// A folder that systole sweep wrote
    #[arg(value_name = "RESULTS")]
    results: PathBuf,
    /// The field along: a column of points.csv, such as latency_s. Without --x and --y all pictures of the sweep are drawn, and its page
    #[arg(long, value_name = "FIELD", requires = "y")]
    x: Option<String>,
    /// The field up, such as error_percent
    #[arg(long, value_name = "FIELD", requires = "x")]
    y: Option<String>,
    /// Draw a heat map, this field being its colour
    #[arg(long, value_name = "FIELD", requires = "x", conflicts_with_all = ["color", "pareto"])]
    z: Option<String>,
    /// One colour a value of this field; chips where it is not given
    #[arg(long, value_name = "FIELD", requires = "x")]
    color: Option<String>,
    /// One panel a value of this field; workloads have panels of their own in any case
    #[arg(long, value_name = "FIELD", requires = "x")]
    facet: Option<String>,
    /// Draw the Pareto front, and shade what ties with it
    #[arg(long, requires = "x")]
    pareto: bool,
    /// The folder for pictures, in place of plots/ in RESULTS
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Does it.
pub(crate) fn run(arguments: &PlotArguments) -> Result<(), Box<dyn Error>> {
    let results = SweepResults::load(&arguments.results)?;
    let folder = arguments.out.clone().unwrap_or_else(|| arguments.results.join("plots"));
    let (Some(x), Some(y)) = (&arguments.x, &arguments.y) else { return all(&results, &folder) };
    let drawn = match &arguments.z {
        Some(z) => plot::heatmap(&results, [x, y, z], arguments.facet.as_deref())?,
        None => {
            let (facet, color) = (arguments.facet.as_deref(), arguments.color.as_deref());
            plot::scatter(&results, ScatterRequest { x, y, facet, color, has_front: arguments.pareto })?
        }
    };
    write(&folder, &[drawn], None)
}

/// Draws all pictures of a sweep into a folder, and writes its page there; what could not be drawn is told.
pub(super) fn all(results: &SweepResults, folder: &Path) -> Result<(), Box<dyn Error>> {
    let pictures = plot::sweep(results)?;
    let page = page::sweep_page(results, &pictures);
    for refused in &pictures.refused {
        complain(&format!("warning: a picture that the experiment asks for cannot be drawn: {refused}"));
    }
    write(folder, &pictures.drawn, Some(&page))
}

fn write(folder: &Path, drawn: &[Drawn], page: Option<&str>) -> Result<(), Box<dyn Error>> {
    let folder = ResultFolder::prepare(folder)?;
    let names: Vec<[String; 2]> = drawn.iter().map(|drawn| ["svg", "png"].map(|kind| format!("{}.{kind}", drawn.name))).collect();
    let mut files: Vec<(&str, &[u8])> = Vec::new();
    for (drawn, [svg, png]) in drawn.iter().zip(&names) {
        files.extend([(svg.as_str(), drawn.svg.as_bytes()), (png.as_str(), drawn.png.as_slice())]);
    }
    files.extend(page.map(|page| ("report.html", page.as_bytes())));
    folder.write_files(&files)?;
    let lines: Vec<String> = files.iter().map(|(name, _)| folder.path().join(name).display().to_string()).collect();
    say(&format!("{}\n", lines.join("\n")))
}
