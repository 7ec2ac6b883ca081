//! Runs an experiment's points: which are to be run, by which threads, and what becomes of their rows.

use super::SweepError;
use super::evolve::Evolution;
use super::log::Log;
use super::point::{identity, row};
use crate::data::sha256_hex;
use crate::experiment::{Coordinates, Experiment, Explore, MOST_POINTS, Point, Space};
use crate::pipeline::{ChoiceStore, Workbench};
use crate::report::{PointRow, RESULTS_VERSION, SweepProvenance, SweepResults};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// How a sweep is to be run.
#[derive(Debug, Clone)]
pub struct SweepOptions {
    /// Points that run at the same time.
    pub jobs: usize,
    /// The folder of results.
    pub out: PathBuf,
    /// Only the first so many points.
    pub max_points: Option<u64>,
    /// Only some of the points.
    pub shard: Option<Shard>,
    /// The command line, for the provenance.
    pub command: String,
}

/// Every `of`-th point, from the `number`-th on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    /// From 1.
    pub number: u64,
    /// Shards.
    pub of: u64,
}

/// Is told of a sweep's progress.
pub trait Progress: Sync {
    /// So many points are to be run in all; this many of them were there already.
    fn begins(&self, points: usize, known: &[PointRow]);
    /// A point is done and durable.
    fn done(&self, row: &PointRow);
}

/// What a sweep yielded.
#[derive(Debug)]
pub struct Swept {
    /// The results.
    pub results: SweepResults,
    /// Points that were there already.
    pub resumed: usize,
}

/// Points that an experiment has: exact for a grid; no more than these for a search.
///
/// # Errors
/// More points than are run.
pub fn expected(experiment: &Experiment) -> Result<u64, SweepError> {
    let total = Space::new(experiment).total();
    let points = match experiment.explore {
        Explore::Grid => total,
        Explore::Random { points, .. } | Explore::LatinHypercube { points, .. } => total.min(u128::from(points)),
        Explore::Nsga2 { population, generations, .. } => total.min(u128::from(population) * (u128::from(generations) + 1)),
    };
    u64::try_from(points).ok().filter(|points| *points <= MOST_POINTS).ok_or(SweepError::TooMany { points, limit: MOST_POINTS })
}

/// Runs an experiment's points into a folder, or goes on where a run into it was ended.
///
/// # Errors
/// A folder that cannot be used. Points that cannot be built or run are no errors.
///
/// # Panics
/// If the chip and the integer reference differ, which is a bug.
pub fn run(
    experiment: &Experiment,
    options: &SweepOptions,
    store: Option<&dyn ChoiceStore>,
    progress: &dyn Progress,
) -> Result<Swept, SweepError> {
    let space = Space::new(experiment);
    let points = expected(experiment)?;
    if options.shard.is_some() && matches!(experiment.explore, Explore::Nsga2 { .. }) {
        return Err(SweepError::ShardedSearch);
    }
    let (log, known) = Log::open(&options.out, &experiment.text, &provenance(experiment, options, points))?;
    let sweep = Sweep { experiment, space: &space, bench: Workbench::new(store), options, progress };
    let resumed = known.len();
    let known: BTreeMap<u64, PointRow> = known.into_iter().map(|row| (row.point, row)).collect();
    let most = options.max_points.unwrap_or(u64::MAX);
    let log = Mutex::new(log);
    let rows = if let Explore::Nsga2 { .. } = experiment.explore {
        progress.begins(usize::try_from(points.min(most)).unwrap_or(usize::MAX), &known.values().cloned().collect::<Vec<_>>());
        sweep.searched(&known, &log, most)?
    } else {
        let of_shard = |number: u64| options.shard.is_none_or(|shard| number % shard.of == shard.number - 1);
        let all = space.coordinates(most).into_iter().zip(0_u64..).filter(|(_, number)| of_shard(*number));
        let all: Vec<(u64, Point)> = all.map(|(at, number)| (number, space.point(&at))).collect();
        progress.begins(all.len(), &known.values().cloned().collect::<Vec<_>>());
        sweep.evaluated(&all, &known, &log)?
    };
    // Points of an earlier run that this one does not ask for are kept.
    let mut by_place = known;
    by_place.extend(rows.into_iter().map(|row| (row.point, row)));
    let log = log.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(Swept { results: log.finish(by_place.into_values().collect())?, resumed })
}

fn provenance(experiment: &Experiment, options: &SweepOptions, points: u64) -> SweepProvenance {
    let mut models: Vec<(String, String)> =
        experiment.workloads.iter().map(|workload| (workload.model.clone(), workload.sha256.clone())).collect();
    for recipe in &experiment.recipes {
        models.extend(recipe.loads.iter().map(|sha256| (format!("of recipe {}", recipe.name), sha256.clone())));
    }
    models.dedup();
    SweepProvenance {
        results_version: RESULTS_VERSION,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        command: options.command.clone(),
        experiment_sha256: sha256_hex(experiment.text.as_bytes()),
        question: experiment.question.clone(),
        points,
        shard: options.shard.map(|shard| format!("{}/{}", shard.number, shard.of)),
        models,
        chips: experiment.chips.iter().map(|base| (base.name.clone(), sha256_hex(base.chip.resolved().as_bytes()))).collect(),
        baseline: experiment.baseline.clone(),
        require: experiment.require.iter().map(ToString::to_string).collect(),
        plots: experiment.plots.clone(),
    }
}

/// 2^64 over the golden section: multiples of it fill the range evenly (Knuth, The Art of Computer Programming 3, 6.4).
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// What the threads of a sweep share.
struct Sweep<'s> {
    experiment: &'s Experiment,
    space: &'s Space<'s>,
    bench: Workbench<'s>,
    options: &'s SweepOptions,
    progress: &'s dyn Progress,
}

impl Sweep<'_> {
    /// The rows of some points, in their order; those that are known are not run again.
    fn evaluated(&self, points: &[(u64, Point)], known: &BTreeMap<u64, PointRow>, log: &Mutex<Log>) -> Result<Vec<PointRow>, SweepError> {
        let rows: Vec<Mutex<Option<PointRow>>> = points
            .iter()
            .map(|(number, point)| {
                let there = known.get(number).filter(|row| row.point_id == identity(self.experiment, point));
                Mutex::new(there.cloned())
            })
            .collect();
        let mut missing: Vec<usize> = (0..rows.len()).filter(|place| held(&rows[*place]).is_none()).collect();
        // Neighbours share most: who starts both at a time waits for the other. A step of the golden section goes to another part each time.
        missing.sort_by_key(|place| (*place as u64).wrapping_mul(GOLDEN));
        let (next, is_over) = (AtomicUsize::new(0), AtomicBool::new(false));
        let fault: Mutex<Option<SweepError>> = Mutex::new(None);
        let work = || {
            while !is_over.load(Ordering::Relaxed) {
                let Some(place) = missing.get(next.fetch_add(1, Ordering::Relaxed)) else { return };
                let (number, point) = &points[*place];
                let row = row(self.experiment, &self.bench, *number, point);
                let kept = held(log).append(&row);
                if let Err(error) = kept {
                    is_over.store(true, Ordering::Relaxed);
                    held(&fault).get_or_insert(error);
                    return;
                }
                self.progress.done(&row);
                *held(&rows[*place]) = Some(row);
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..self.options.jobs.clamp(1, missing.len().max(1)) {
                scope.spawn(work);
            }
        });
        if let Some(error) = held(&fault).take() {
            return Err(error);
        }
        Ok(rows.into_iter().filter_map(|row| row.into_inner().unwrap_or_else(PoisonError::into_inner)).collect())
    }

    /// The rows of the points that a search looks at, in the order in which it asks for them first.
    fn searched(&self, known: &BTreeMap<u64, PointRow>, log: &Mutex<Log>, most: u64) -> Result<Vec<PointRow>, SweepError> {
        let mut evolution = Evolution::new(self.experiment, self.space);
        let mut all: BTreeMap<Coordinates, PointRow> = BTreeMap::new();
        while let Some(generation) = evolution.next_generation() {
            let mut fresh: Vec<Coordinates> = Vec::new();
            for at in &generation {
                if !all.contains_key(at) && !fresh.contains(at) && ((all.len() + fresh.len()) as u64) < most {
                    fresh.push(at.clone());
                }
            }
            let first = all.len() as u64;
            let points: Vec<(u64, Point)> = fresh.iter().zip(first..).map(|(at, number)| (number, self.space.point(at))).collect();
            let rows = self.evaluated(&points, known, log)?;
            all.extend(fresh.into_iter().zip(rows));
            if all.len() as u64 >= most {
                break;
            }
            let wanted: Vec<PointRow> = generation.iter().map(|at| all[at].clone()).collect();
            evolution.tell(&wanted);
        }
        let mut rows: Vec<PointRow> = all.into_values().collect();
        rows.sort_by_key(|row| row.point);
        Ok(rows)
    }
}

/// What a lock holds, whatever became of a thread that held it.
fn held<T>(lock: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The folder of an experiment where none is named: `out/<name>-<hash>`, and the shard.
pub fn default_folder(experiment: &Path, text: &str, shard: Option<Shard>) -> PathBuf {
    let stem = experiment.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let plain: String = stem.chars().take(64).map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' }).collect();
    let shard = shard.map_or_else(String::new, |shard| format!("-{}of{}", shard.number, shard.of));
    PathBuf::from("out").join(format!("{plain}-{}{shard}", &sha256_hex(text.as_bytes())[..8]))
}
