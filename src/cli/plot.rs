//! `systole plot`: pictures and the page of a sweep's results.

use super::{complain, say};
use clap::Args;
use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use systole::findings::ScatterRequest;
use systole::page;
use systole::plot::{self, Drawn};
use systole::report::{ResultFolder, SweepResults};

/// Where pictures go in a sweep's folder.
const PICTURES: &str = "plots";

/// What to draw.
#[derive(Debug, Args)]
pub(crate) struct PlotArguments {
    /// A folder that systole sweep wrote
    #[arg(value_name = "RESULTS")]
    results: PathBuf,
    /// The field along: a column of points.csv, such as `latency_s`. Without --x and --y all pictures of the sweep are drawn, and its page
    #[arg(long, value_name = "FIELD", requires = "y")]
    x: Option<String>,
    /// The field up, such as `error_percent`
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
    /// The folder for pictures, in place of plots/ in RESULTS; without --x and --y the one that plots/ and report.html go to
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Does it.
pub(crate) fn run(arguments: &PlotArguments) -> Result<(), Box<dyn Error>> {
    let results = SweepResults::load(&arguments.results)?;
    let (Some(x), Some(y)) = (&arguments.x, &arguments.y) else {
        return told(&draw(&results, arguments.out.as_ref().unwrap_or(&arguments.results))?);
    };
    let drawn = if let Some(z) = &arguments.z {
        plot::heatmap(&results, [x, y, z], arguments.facet.as_deref())?
    } else {
        let (facet, color) = (arguments.facet.as_deref(), arguments.color.as_deref());
        plot::scatter(&results, ScatterRequest { x, y, facet, color, has_front: arguments.pareto })?
    };
    let folder = arguments.out.clone().unwrap_or_else(|| arguments.results.join(PICTURES));
    told(&write(&folder, &[drawn])?)
}

/// Draws all pictures of a sweep into `plots/` of a folder, and writes its page there; the files. What could not be drawn is told.
pub(super) fn draw(results: &SweepResults, folder: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let pictures = plot::sweep(results)?;
    for refused in &pictures.refused {
        complain(&format!("warning: a picture that the experiment asks for cannot be drawn: {refused}"));
    }
    let mut files = write(&folder.join(PICTURES), &pictures.drawn)?;
    let page = page::sweep_page(results, &pictures);
    ResultFolder::prepare(folder)?.write_files(&[("report.html", page.as_bytes())])?;
    files.push(folder.join("report.html"));
    Ok(files)
}

fn write(folder: &Path, drawn: &[Drawn]) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let folder = ResultFolder::prepare(folder)?;
    let names: Vec<[String; 2]> = drawn.iter().map(|drawn| ["svg", "png"].map(|kind| format!("{}.{kind}", drawn.name))).collect();
    let mut files: Vec<(&str, &[u8])> = Vec::new();
    for (drawn, [svg, png]) in drawn.iter().zip(&names) {
        files.extend([(svg.as_str(), drawn.svg.as_bytes()), (png.as_str(), drawn.png.as_slice())]);
    }
    folder.write_files(&files)?;
    Ok(files.iter().map(|(name, _)| folder.path().join(name)).collect())
}

fn told(files: &[PathBuf]) -> Result<(), Box<dyn Error>> {
    say(&files.iter().fold(String::new(), |mut text, file| {
        let _ = writeln!(text, "{}", file.display());
        text
    }))
}
