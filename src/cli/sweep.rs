//! `systole sweep`: the points of an experiment.

use super::{complain, plot, say};
use clap::{Args, Subcommand};
use indicatif::{HumanDuration, ProgressBar, ProgressState, ProgressStyle};
use std::error::Error;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use systole::experiment::Experiment;
use systole::report::{PointRow, PointStatus, SweepResults};
use systole::sweep::{self, ChoiceFolder, Progress, Shard, SweepOptions, quoted};

/// Which experiment, and how.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct SweepArguments {
    #[command(subcommand)]
    command: Option<SweepCommand>,
    /// An experiment (.ron), such as experiments/mnist.ron
    #[arg(required = true, value_name = "EXPERIMENT")]
    experiment: Option<PathBuf>,
    /// Points that run at the same time; as many as there are processors where it is not given. It changes no figure
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    jobs: Option<u16>,
    /// The folder for results, in place of out/<experiment>-<hash>; a sweep that was ended goes on where it was
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Only the first N points
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    max_points: Option<u64>,
    /// Only check the experiment, and tell which points it has
    #[arg(long)]
    dry_run: bool,
    /// Only every n-th point, from the i-th on: i/n, such as 2/4; `systole sweep merge` joins the folders
    #[arg(long, value_name = "I/N", value_parser = shard)]
    shard: Option<Shard>,
    /// Where searched mappings are kept for other sweeps
    #[arg(long, value_name = "DIR", default_value = "out/cache")]
    cache: PathBuf,
    /// Print the points of the front as JSON in place of tables
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum SweepCommand {
    /// Join the folders of shards
    Merge(MergeArguments),
}

/// Which folders, and where to.
#[derive(Debug, Args)]
struct MergeArguments {
    /// Folders that `systole sweep --shard` wrote
    #[arg(required = true, value_name = "DIR")]
    folders: Vec<PathBuf>,
    /// The folder for all of them
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Print the points of the front as JSON in place of tables
    #[arg(long)]
    json: bool,
}

/// Does it.
pub(crate) fn run(arguments: &SweepArguments) -> Result<(), Box<dyn Error>> {
    if let Some(SweepCommand::Merge(merge)) = &arguments.command {
        let results = sweep::merge(&merge.folders, &merge.out)?;
        let (found, all) = (results.points.len() as u64, results.provenance.points);
        if found < all {
            complain(&format!("note: {found} of {all} points: a shard is missing, or has not run to its end"));
        }
        return show(&results, &merge.out, merge.json);
    }
    let path = arguments.experiment.as_ref().expect("bug: an experiment is required where there is no other command");
    let experiment = Experiment::load(path)?;
    let points = sweep::expected(&experiment)?;
    if arguments.dry_run {
        return say(&planned(&experiment, points, arguments));
    }
    let jobs = arguments.jobs.map_or_else(|| std::thread::available_parallelism().map_or(1, usize::from), usize::from);
    // What a point does inside has as many threads as points run at the same time.
    rayon::ThreadPoolBuilder::new().num_threads(jobs).build_global()?;
    let options = SweepOptions {
        jobs,
        out: arguments.out.clone().unwrap_or_else(|| sweep::default_folder(path, &experiment.text, arguments.shard)),
        max_points: arguments.max_points,
        shard: arguments.shard,
        command: format!("systole sweep {}", quoted(&path.to_string_lossy())),
    };
    let bar = Bar::new();
    let store = ChoiceFolder::new(&arguments.cache);
    let swept = sweep::run(&experiment, &options, Some(&store), &bar);
    bar.bar.finish_and_clear();
    let swept = swept?;
    if swept.resumed > 0 {
        complain(&format!("{} points were there already", swept.resumed));
    }
    show(&swept.results, &options.out, arguments.json)
}

/// Draws the results, and prints them.
fn show(results: &SweepResults, folder: &std::path::Path, json: bool) -> Result<(), Box<dyn Error>> {
    if !results.points.is_empty() && results.done().next().is_none() {
        complain("warning: no point of the sweep could be built and run; the reasons stand in points.csv");
    }
    plot::draw(results, folder).map_err(|error| {
        format!("{error}\n  note: all points are safe; `systole plot {}` draws them once there is room", quoted(&folder.to_string_lossy()))
    })?;
    let folder = folder.display().to_string();
    if json { say(&results.json(&folder)) } else { say(&format!("{}\nresults in {folder}\n", results.terminal())) }
}

/// What a dry run tells.
fn planned(experiment: &Experiment, points: u64, arguments: &SweepArguments) -> String {
    let mut text = format!(
        "{}\n\n{points} points: {} workloads, {} chips, {} recipes",
        experiment.question,
        experiment.workloads.len(),
        experiment.chips.len(),
        experiment.recipes.len()
    );
    let _ = writeln!(text, ", {} seeds; mapping {}", experiment.seeds.len(), experiment.plan);
    for axis in &experiment.axes {
        let values: Vec<String> = axis.values.iter().map(|parts| parts.join(" and ")).collect();
        let _ = writeln!(text, "axis {}: {}", axis.name, values.join(", "));
    }
    if let Some(shard) = arguments.shard {
        let _ = writeln!(text, "shard {} of {}: every {}th point", shard.number, shard.of, shard.of);
    }
    text
}

/// Reads `i/n`.
fn shard(text: &str) -> Result<Shard, String> {
    let parts = text.split_once('/').and_then(|(number, of)| Some((number.parse().ok()?, of.parse().ok()?)));
    match parts {
        Some((number, of)) if number >= 1 && number <= of => Ok(Shard { number, of }),
        _ => Err("write i/n, such as 2/4 for the second of four".to_owned()),
    }
}

/// Between two lines of progress where there is no bar.
const BETWEEN_LINES: Duration = Duration::from_secs(30);

/// A bar on a terminal; lines now and then where standard error is piped.
struct Bar {
    bar: ProgressBar,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    failed: usize,
    /// How long it took until progress was last told where there is no bar.
    told: Duration,
    best: Option<(f64, String)>,
}

impl Bar {
    fn new() -> Self {
        let template = "{bar:30} {pos}/{len} points, {rate} a minute, {left} left; {msg}";
        let rate = |state: &ProgressState, text: &mut dyn std::fmt::Write| {
            let _ = write!(text, "{:.1}", state.per_sec() * 60.0);
        };
        let left = |state: &ProgressState, text: &mut dyn std::fmt::Write| {
            let _ = write!(text, "{}", HumanDuration(state.eta()));
        };
        let style = ProgressStyle::with_template(template).expect("bug: the template is a constant that parses");
        let bar = ProgressBar::new(0).with_style(style.with_key("rate", rate).with_key("left", left));
        Self { bar, state: Mutex::default() }
    }

    /// A line for logs, every half minute.
    fn tell(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.bar.elapsed();
        if now.saturating_sub(state.told) >= BETWEEN_LINES {
            state.told = now;
            complain(&format!("{} of {} points, {} failed", self.bar.position(), self.bar.length().unwrap_or(0), state.failed));
        }
    }

    fn take(&self, row: &PointRow) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.failed += usize::from(row.status == PointStatus::Failed);
        if let Some(figures) = &row.figures {
            let cost = figures.select_error_percent.unwrap_or(figures.latency_s);
            if state.best.as_ref().is_none_or(|(best, _)| cost < *best) {
                let figure = figures.select_error_percent.map_or_else(String::new, |error| format!("{error:.2}% wrong in "));
                let latency = systole::report::human::si(figures.latency_s, "s");
                state.best = Some((cost, format!("{} on {}, {figure}{latency}", row.recipe, row.chip)));
            }
        }
        let best = state.best.as_ref().map_or_else(String::new, |(_, best)| format!("best: {best}"));
        self.bar.set_message(format!("{} failed; {best}", state.failed));
    }
}

impl Progress for Bar {
    fn begins(&self, points: usize, known: &[PointRow]) {
        self.bar.set_length(points as u64);
        self.bar.set_position(known.len() as u64);
        self.bar.reset_eta();
        for row in known {
            self.take(row);
        }
    }

    fn done(&self, row: &PointRow) {
        self.take(row);
        self.bar.inc(1);
        if self.bar.is_hidden() {
            self.tell();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_read() {
        assert_eq!(shard("2/4"), Ok(Shard { number: 2, of: 4 }));
        for text in ["", "2", "0/4", "5/4", "a/b", "1/0", "-1/2"] {
            assert!(shard(text).is_err(), "{text}");
        }
    }
}
