//! `systole run`: the main job.

use super::dump::Dump;
use super::options::{ChipOptions, Drive, complain_of_columns, user_fault};
use super::recipe::RecipeOptions;
use super::trace::TraceFile;
use super::{complain, say, spinner};
use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use std::error::Error;
use std::path::{Path, PathBuf};
use systole::chip::Chip;
use systole::data::sha256_hex;
use systole::mapping::{Layout, MappingFile, WeightStart};
use systole::model::{self, Found, LayerTable};
use systole::page;
use systole::pipeline::{self, Plan, Prepared, RunOptions};
use systole::plot::{self, Drawn};
use systole::report::{LayerRows, ResultFolder, Summary, summary_json, terminal};
use systole::sweep::quoted;

/// What to run, on what, and how.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch on the command line")]
pub(crate) struct RunArguments {
    #[command(flatten)]
    chip: ChipOptions,
    /// A model card (.ron), an ONNX file, a layer table (.csv), or the name of a card or a table in models/ or of a shipped one (see systole
    /// model list); a layer table, in SCALE-Sim's format, is timed without numbers, its layers in order
    #[arg(long, value_name = "MODEL", default_value = "simplenet-mnist")]
    model: String,
    /// Data in place of the card's report split: a folder with a pair of IDX files, or an NPZ file with x and y
    #[arg(long, value_name = "PATH")]
    data: Option<PathBuf>,
    /// Samples that the chip processes at a time; zero samples fill the last batch up, which cost and are not scored
    #[arg(long, value_name = "N", default_value_t = 1)]
    batch: u64,
    /// Where weights are when a batch starts
    #[arg(long, value_enum, default_value_t = Weights::Cold)]
    weights: Weights,
    #[command(flatten)]
    recipe: RecipeOptions,
    /// Only the first N samples of the data; all where it is not given
    #[arg(long, value_name = "N")]
    samples: Option<usize>,
    /// Seed of every random generator; it is kept beside the results (quantization to w8a8 draws no random number)
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// The folder for results, in place of out/<network>-<recipe>-<chip>-<hash>
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print the summary as JSON, the same bytes as summary.json, in place of tables
    #[arg(long)]
    json: bool,
    /// How simulated time is driven; it changes no figure
    #[arg(long, value_enum, default_value_t = Drive::Wavefront)]
    engine: Drive,
    /// Only time the run: no numbers, no metrics, the same cycles (products that PEs gate are not known, and count as multiplied)
    #[arg(long, conflicts_with_all = ["dump", "engine"])]
    timing_only: bool,
    /// Write a timeline of one batch to this file, for ui.perfetto.dev: every unit's commands and stalls, tokens, DRAM's bus and the memories; a
    /// microsecond of it is a cycle
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// A mapping that `systole map --save` wrote: how layers are cut and in which dataflow they run; layers that it does not name are left to the tool
    #[arg(long, value_name = "FILE")]
    mapping: Option<PathBuf>,
    /// How layers are mapped: first (the largest pieces, in the chip's first dataflow), heuristic (the least closed-form bound), or
    /// search:OBJECTIVE:BUDGET (latency, energy or edp; candidates that are simulated for each layer at most)
    #[arg(long, value_name = "PLAN", default_value = "first", conflicts_with = "mapping")]
    plan: Plan,
    /// Also tell why the time is what it is: time the program again with DRAM, then ports, the vector unit and the array without limit too
    #[arg(long)]
    what_if: bool,
    /// How activations of images lie, where the mapping does not say: nhwc, nchw, or blocks of channels such as nc16hw16
    #[arg(long, value_name = "LAYOUT", default_value = "nhwc")]
    layout: Layout,
    /// A row for every layer in the tables; else the 10 costliest of more than 25
    #[arg(long)]
    all_layers: bool,
    /// Also write numbers of the run, as NPZ
    #[arg(long, value_enum, value_name = "WHAT")]
    dump: Option<Dump>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Weights {
    /// In DRAM, all of them
    Cold,
    /// On the chip, those that fit
    Resident,
}

impl Weights {
    /// The pipeline's word for it.
    pub(super) const fn start(self) -> WeightStart {
        match self {
            Self::Cold => WeightStart::Cold,
            Self::Resident => WeightStart::Resident,
        }
    }
}

/// The folder of results, which is no sweep's.
fn folder_at(path: &Path) -> Result<ResultFolder, Box<dyn Error>> {
    if path.join("points.jsonl").exists() {
        let help = "choose another folder with --out, or remove this one if its results are not wanted";
        return Err(format!("{} holds the results of a sweep\n  help: {help}", path.display()).into());
    }
    Ok(ResultFolder::prepare(path)?)
}

/// Does it.
pub(crate) fn run(arguments: &RunArguments) -> Result<(), Box<dyn Error>> {
    let chip = arguments.chip.load()?;
    let mut options = options(arguments)?;
    let mut model = match model::find(&arguments.model)? {
        Found::Table(table) => return time_table(arguments, &chip, &table, &options),
        Found::Network(model) => *model,
    };
    options.recipe = arguments.recipe.for_model(&model)?;
    if let Some(data) = &arguments.data {
        model = model.with_data(data)?;
    }
    let options = pipeline::choose_formats(&model, Some(&chip), &options).map_err(user_fault)?;
    let prepared = pipeline::prepare(&model, &chip, &options).map_err(user_fault)?;
    let folder = folder_at(&arguments.out.clone().unwrap_or_else(|| default_folder(&prepared, &options)))?;
    let trace = arguments.trace.as_deref().map(TraceFile::open).transpose()?;
    if arguments.timing_only {
        let summary = pipeline::time(&prepared, &options).map_err(user_fault)?;
        show(arguments, &chip, &folder, &summary, &recipe_file(&summary))?;
        return trace.map_or(Ok(()), |trace| trace.write(|out| pipeline::trace(&prepared, out)));
    }
    let bar = progress_bar(prepared.samples.count() as u64, options.batch);
    let outcome = pipeline::run(&prepared, &options, &|| bar.inc(1));
    bar.finish_and_clear();
    let outcome = match outcome {
        Ok(outcome) => outcome,
        Err(error) => {
            // A bug ends the program where it is met; the empty folder must be gone by then.
            drop(folder);
            return Err(user_fault(error).into());
        }
    };
    let mut more = recipe_file(&outcome.summary);
    if let Some(dump) = arguments.dump {
        more.push((dump.file_name(), dump.bytes(&prepared, &outcome.numbers)?));
    }
    show(arguments, &chip, &folder, &outcome.summary, &more)?;
    if let Some(trace) = trace {
        trace.write(|out| pipeline::trace(&prepared, out))?;
    }
    for warning in &outcome.warnings {
        complain(&format!("warning: {warning}"));
    }
    match &outcome.summary.first_mismatch {
        // The comparison is the tool's promise: a difference is our bug, whatever the input.
        Some(first) => panic!("the chip and the integer reference differ, first in {first:?}"),
        None => Ok(()),
    }
}

fn options(arguments: &RunArguments) -> Result<RunOptions, Box<dyn Error>> {
    Ok(RunOptions {
        batch: arguments.batch,
        weights: arguments.weights.start(),
        recipe: arguments.recipe.with_formats()?,
        samples: arguments.samples,
        engine: arguments.engine.engine(),
        seed: arguments.seed,
        mapping: arguments.mapping.as_deref().map(MappingFile::load).transpose()?,
        plan: arguments.plan,
        what_if: arguments.what_if,
        layout: arguments.layout,
        mixed_precision: None,
        command: command_line(),
    })
}

/// Times a layer table.
fn time_table(arguments: &RunArguments, chip: &Chip, table: &LayerTable, options: &RunOptions) -> Result<(), Box<dyn Error>> {
    let senseless =
        [("--data", arguments.data.is_some()), ("--samples", arguments.samples.is_some()), ("--dump", arguments.dump.is_some())];
    arguments.recipe.refuse_for_tables(&options.recipe)?;
    if let Some((option, _)) = senseless.iter().find(|(_, given)| *given) {
        let help = "leave it out; --batch says how many samples are processed at a time";
        return Err(format!("{option} was given with a layer table, which has no samples: it is only timed\n  help: {help}").into());
    }
    let LayerTable { name, sha256, .. } = table;
    let waiting = spinner("timing the table's layers");
    let summary = pipeline::time_table(chip, &table.table, sha256, name, options);
    waiting.finish_and_clear();
    let summary = summary.map_err(user_fault)?;
    let RunOptions { batch, weights, recipe, mapping, what_if, .. } = options;
    let more = if *what_if { " what-if" } else { "" };
    let key = format!(
        "{} {} {batch} {weights:?} {recipe} {mapping:?}{}{}{more}",
        chip.resolved(),
        sha256,
        layout_key(options),
        plan_key(options)
    );
    let folder = arguments.out.clone().unwrap_or_else(|| folder_named(name, options, chip, &key));
    let trace = arguments.trace.as_deref().map(TraceFile::open).transpose()?;
    show(arguments, chip, &folder_at(&folder)?, &summary, &[])?;
    if let Some(trace) = trace {
        trace.write(|out| pipeline::trace_table(chip, &table.table, options, out))?;
    }
    complain_of_columns(table);
    Ok(())
}

/// The recipe as a file, where it does more than to quantize.
fn recipe_file(summary: &Summary) -> Vec<(&'static str, Vec<u8>)> {
    let of_pruning = summary.pruning.as_ref().map(|pruning| &pruning.recipe_ron);
    let of_search = summary.mixed_precision.as_ref().map(|mixed| &mixed.recipe_ron);
    of_pruning.or(of_search).map(|ron| ("recipe.ron", ron.clone().into_bytes())).into_iter().collect()
}

/// Writes the results and prints the summary.
fn show(
    arguments: &RunArguments,
    chip: &Chip,
    folder: &ResultFolder,
    summary: &Summary,
    more: &[(&str, Vec<u8>)],
) -> Result<(), Box<dyn Error>> {
    let drawn = plot::run(summary)?;
    let page = page::run_page(summary, &drawn);
    let names: Vec<[String; 2]> = drawn.iter().map(|drawn| ["svg", "png"].map(|kind| format!("{}.{kind}", drawn.name))).collect();
    let mut files: Vec<(&str, &[u8])> = Vec::new();
    for (Drawn { svg, png, .. }, [svg_name, png_name]) in drawn.iter().zip(&names) {
        files.extend([(svg_name.as_str(), svg.as_bytes()), (png_name.as_str(), png.as_slice())]);
    }
    files.push(("report.html", page.as_bytes()));
    files.extend(more.iter().map(|(name, bytes)| (*name, bytes.as_slice())));
    folder.write(summary, chip.resolved(), &files)?;
    if arguments.json {
        say(&summary_json(summary))?;
    } else {
        let rows = if arguments.all_layers { LayerRows::All } else { LayerRows::Costliest };
        say(&format!("{}\nresults in {}\n", terminal(summary, rows), folder.path().display()))?;
    }
    Ok(())
}

/// The command as a user would type it again, without what changes no figure: where results go, and how they are shown.
pub(super) fn command_line() -> String {
    let words = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned());
    recorded(words)
}

fn recorded(words: impl Iterator<Item = String>) -> String {
    let mut kept = vec!["systole".to_string()];
    let mut is_value = false;
    for word in words {
        let is_left_out = std::mem::take(&mut is_value)
            || ["--out=", "--trace="].iter().any(|option| word.starts_with(option))
            || ["--json", "--all-layers"].contains(&word.as_str());
        if ["--out", "--trace"].contains(&word.as_str()) {
            is_value = true;
        } else if !is_left_out {
            kept.push(quoted(&word));
        }
    }
    kept.join(" ")
}

/// `out/<network>-<recipe>-<chip>-<hash>`, the hash of all that the figures depend on.
fn default_folder(prepared: &Prepared<'_>, options: &RunOptions) -> PathBuf {
    let RunOptions { batch, weights, recipe, samples, engine, seed, mapping, plan: _, layout: _, what_if, mixed_precision: _, command: _ } =
        options;
    let files = prepared.model.files().iter().chain(&prepared.samples.files).map(|file| file.sha256.clone()).collect::<Vec<_>>().join(" ");
    let mut pinned = mapping.as_ref().map_or_else(String::new, |mapping| format!(" {mapping:?}"));
    pinned += &layout_key(options);
    pinned += &plan_key(options);
    pinned += if *what_if { " what-if" } else { "" };
    let run = format!("{} {files} {batch} {weights:?} {recipe} {samples:?} {engine:?} {seed}{pinned}", prepared.chip.resolved());
    folder_named(prepared.quantized.name(), options, prepared.chip, &run)
}

/// A layout as part of what a folder's name goes by; nothing where channels are innermost.
fn layout_key(options: &RunOptions) -> String {
    if options.layout == Layout::ChannelInnermost { String::new() } else { format!(" {}", options.layout) }
}

/// A plan as part of what a folder's name goes by; nothing where it is the first.
fn plan_key(options: &RunOptions) -> String {
    if options.plan == Plan::First { String::new() } else { format!(" {}", options.plan) }
}

fn folder_named(network: &str, options: &RunOptions, chip: &Chip, key: &str) -> PathBuf {
    let hash = &sha256_hex(key.as_bytes())[..8];
    // A network's name may be anything; the hash tells those apart whose names are cut.
    let plain = |name: &str| -> String {
        name.chars().take(64).map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' }).collect()
    };
    PathBuf::from("out").join(format!("{}-{}-{}-{hash}", plain(network), plain(&options.recipe.to_string()), plain(chip.name())))
}

/// A bar on a terminal, nothing where standard error is piped.
fn progress_bar(samples: u64, batch: u64) -> ProgressBar {
    let style =
        ProgressStyle::with_template("{bar:40} {pos}/{len} batches, {eta} left").expect("bug: the template is a constant that parses");
    ProgressBar::new(samples.div_ceil(batch.max(1))).with_style(style)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_recorded_command_says_what_changes_figures_and_no_more() {
        let command = |text: &str| recorded(text.split(' ').map(str::to_owned));
        assert_eq!(command("run --json --samples 4 --out a/b --all-layers --batch=2"), "systole run --samples 4 --batch=2");
        assert_eq!(command("run --trace a.json --set rows=4 --trace=b"), "systole run --set rows=4");
        assert_eq!(command("run --out=x --set clock=MHz(700) --out y"), "systole run --set 'clock=MHz(700)'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted(""), "''");
    }
}
