//! A sweep for people: the Pareto front of each workload, and what it teaches, in words that follow from the figures.
//!
//! Not here: pictures (`plot`), and all points (`columns`).

use super::point::{PointFigures, PointRow, PointStatus};
use super::results::SweepResults;
use crate::report::terminal::{rendered, table};
use crate::report::{WeightsAt, human, ratio};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Rows of a front that are shown at most.
const MOST_ROWS: usize = 16;
/// Reasons that are shown at most.
const MOST_REASONS: usize = 4;
/// Names that a sentence lists at most.
const MOST_NAMES: usize = 8;
const NAME_WIDTH: usize = 22;
const AXES_WIDTH: usize = 48;
const REASON_WIDTH: usize = 180;

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Short<'r> {
    folder: &'r str,
    points: usize,
    done: usize,
    failed: usize,
    front: Vec<&'r PointRow>,
}

/// A workload: a model, a batch, where weights start.
type Workload<'r> = (&'r str, u64, WeightsAt);

impl SweepResults {
    /// The sweep in a few lines of JSON: how many points, and those of the fronts, without layers.
    ///
    /// # Panics
    /// Never: plain data can be written.
    pub fn json(&self, folder: &str) -> String {
        let done = self.done().count();
        let front: Vec<PointRow> =
            self.done().filter(|place| self.relative[*place].is_on_front).map(|place| bare(&self.points[place])).collect();
        let short = Short { folder, points: self.points.len(), done, failed: self.points.len() - done, front: front.iter().collect() };
        serde_json::to_string_pretty(&short).expect("bug: a sweep that is not JSON; please report it") + "\n"
    }

    /// The sweep for a terminal.
    pub fn terminal(&self) -> String {
        let done = self.done().count();
        let mut text = format!("{}\n\n", self.provenance.question);
        let _ = write!(text, "{} of {} run", human::plural(done as u64, "point"), self.provenance.points);
        let failed = self.points.len() - done;
        if failed > 0 {
            let _ = write!(text, ", {failed} that cannot be built or run");
        }
        let values: u64 = self.figures().map(|(_, figures)| figures.right_bits.as_ref().map_or(0, |_| 1)).sum();
        if values > 0 {
            let _ = write!(text, "; in {values} of them the chip computed every sample, equal to the integer reference bit for bit");
        }
        text.push('\n');
        for workload in self.workloads() {
            text.push('\n');
            text += &self.front(workload);
            for line in self.lessons(workload) {
                let _ = writeln!(text, "- {line}");
            }
        }
        text += &self.reasons();
        text
    }

    fn figures(&self) -> impl Iterator<Item = (usize, &PointFigures)> {
        self.points.iter().enumerate().filter_map(|(place, point)| Some((place, point.figures.as_ref()?)))
    }

    fn workloads(&self) -> Vec<Workload<'_>> {
        let mut all = Vec::new();
        for point in &self.points {
            let workload = workload_of(point);
            if !all.contains(&workload) {
                all.push(workload);
            }
        }
        all
    }

    fn of<'r>(&'r self, workload: Workload<'r>) -> impl Iterator<Item = (usize, &'r PointRow, &'r PointFigures)> + 'r {
        self.figures()
            .map(|(place, figures)| (place, &self.points[place], figures))
            .filter(move |(_, point, _)| workload_of(point) == workload)
    }

    /// The front of a workload, the fastest first, and the baseline.
    fn front(&self, workload: Workload<'_>) -> String {
        let mut rows: Vec<usize> =
            self.of(workload).filter(|(place, ..)| self.relative[*place].is_on_front).map(|(place, ..)| place).collect();
        let latency = |place: usize| self.points[place].figures.as_ref().map_or(0.0, |figures| figures.latency_s);
        rows.sort_by(|one, other| latency(*one).total_cmp(&latency(*other)));
        let all = rows.len();
        let baseline = self.baseline_in(workload);
        rows.truncate(MOST_ROWS);
        rows.extend(baseline.filter(|place| !rows.contains(place)));
        let is_scored = rows.iter().any(|place| self.points[*place].figures.as_ref().is_some_and(|figures| figures.accuracy.is_some()));
        let has_axes = !self.axes().is_empty();
        let mut header = vec!["recipe", "chip", "training"];
        if has_axes {
            header.push("axes");
        }
        let left = header.len();
        if is_scored {
            header.extend(["error\n%", "95% interval\n%"]);
        }
        header.extend(["cycles\na sample", "latency\na batch", "energy\na sample", "speedup", "energy\ngain"]);
        let header: Vec<String> = header.into_iter().map(str::to_owned).collect();
        let mut lines = table(&header, left);
        // What all rows have in common is said once.
        let axes: Vec<Vec<String>> = rows.iter().map(|place| shown_axes(&self.points[*place], |_| true)).collect();
        let common: Vec<String> = axes.first().map_or_else(Vec::new, |first| {
            first.iter().filter(|part| axes.len() > 1 && axes.iter().all(|other| other.contains(part))).cloned().collect()
        });
        for (place, axes) in rows.iter().zip(&axes) {
            let (point, relative) = (&self.points[*place], &self.relative[*place]);
            let Some(figures) = &point.figures else { continue };
            let mark = if Some(*place) == baseline { " (baseline)" } else { "" };
            let mut row = vec![
                format!("{}{mark}", human::shorten(&point.recipe, NAME_WIDTH)),
                human::shorten(&point.chip, NAME_WIDTH),
                point.training.name().to_owned(),
            ];
            if has_axes {
                let own: Vec<String> = axes.iter().filter(|part| !common.contains(part)).cloned().collect();
                row.push(whole_parts(&own, AXES_WIDTH));
            }
            if is_scored {
                let [low, high] = [figures.accuracy_high, figures.accuracy_low].map(|share| share.map(|share| 100.0 * (1.0 - share)));
                row.push(figures.error_percent.map_or_else(String::new, |error| format!("{error:.2}")));
                row.push(low.zip(high).map_or_else(String::new, |(low, high)| format!("{low:.2} to {high:.2}")));
            }
            let times = |gain: Option<f64>| gain.map_or_else(String::new, |gain| format!("{gain:.2}x"));
            row.extend([
                human::digits(figures.cycles_per_sample),
                human::si(figures.latency_s, "s"),
                human::energy(figures.energy_pj_per_sample),
                times(relative.speedup),
                times(relative.energy_gain),
            ]);
            lines.add_row(row);
        }
        let (model, batch, weights) = workload;
        let what =
            if is_scored { "error (chosen on the select split, shown on the report split) and latency" } else { "latency and energy" };
        let at = if common.is_empty() { String::new() } else { format!("; all at {}", common.join(", ")) };
        let mut text = rendered(&format!("{model}, batch {batch}, weights {}: the front of {what}{at}", weights.name()), &lines);
        if all > MOST_ROWS {
            let _ = writeln!(text, "and {} more; points.csv has all", all - MOST_ROWS);
        }
        text
    }

    /// The one point that all of a workload are held against; none where each is held to one at its own values of the axes.
    fn baseline_in(&self, workload: Workload<'_>) -> Option<usize> {
        let mut all = self.of(workload).filter_map(|(place, ..)| self.baseline_of(place));
        let first = all.next()?;
        (all.all(|place| place == first) && self.points[first].figures.is_some()).then_some(first)
    }

    /// What the points of a workload say, in words. Each is held to the baseline at its own values of the axes, as everywhere.
    fn lessons(&self, workload: Workload<'_>) -> Vec<String> {
        let mut lines = Vec::new();
        if !self.provenance.require.is_empty() {
            let (kept, all) = (self.kept(workload).count(), self.of(workload).count());
            lines.push(format!(
                "{kept} of {} keep what is required: {}.",
                human::plural(all as u64, "point"),
                self.provenance.require.join(", ")
            ));
        }
        let alone = self.of(workload).filter(|(place, ..)| self.relative[*place].speedup.is_none()).count() as u64;
        if self.provenance.baseline.is_some() && alone > 0 {
            lines.push(format!("{} with no baseline at the same values of the axes: no speedup is told.", human::plural(alone, "point")));
        }
        let base_of = |place: usize| self.baseline_of(place).and_then(|place| Some((place, self.points[place].figures.as_ref()?)));
        let fastest = |allowed: f64| {
            let keeps = self.kept(workload).filter(move |(place, _, figures)| {
                let limit = base_of(*place).and_then(|(_, base)| base.select_error_percent).map(|error| error + allowed);
                figures.select_error_percent.zip(limit).is_some_and(|(error, limit)| error <= limit)
            });
            keeps.min_by(|one, other| one.2.latency_s.total_cmp(&other.2.latency_s).then(one.0.cmp(&other.0)))
        };
        let shown = |allowed: &str, found: Option<(usize, &PointRow, &PointFigures)>| {
            let (place, point, figures) = found?;
            let (baseline, base) = base_of(place)?;
            let speedup = ratio(base.latency_s, figures.latency_s);
            let (error, was) = (figures.error_percent?, base.error_percent?);
            let base = &self.points[baseline];
            let both = shown_axes(base, |path| point.axes.contains_key(path));
            let at = if both.is_empty() { String::new() } else { format!(", both at {}", both.join(", ")) };
            (speedup > 1.0).then(|| {
                format!(
                    "{allowed}: {} on {} is {speedup:.2}x as fast as {} on {}{at} ({error:.2}% wrong, {was:.2}% there).",
                    point.recipe, point.chip, base.recipe, base.chip
                )
            })
        };
        lines.extend(shown("No more wrong on the select split", fastest(0.0)));
        lines.extend(shown("At most half a point more wrong", fastest(0.5)));
        lines.extend(shown("At most two points more wrong", fastest(2.0)));
        lines.extend(self.no_faster(workload));
        lines
    }

    /// The points of a workload that keep what is required.
    fn kept<'r>(&'r self, workload: Workload<'r>) -> impl Iterator<Item = (usize, &'r PointRow, &'r PointFigures)> + 'r {
        self.of(workload).filter(|(place, ..)| self.relative[*place].meets_requirements)
    }

    /// Recipes that are no faster than the baseline's on any chip, each held to the baseline's recipe on the same chip.
    fn no_faster(&self, workload: Workload<'_>) -> Option<String> {
        let recipe = &self.provenance.baseline.as_ref()?.recipe;
        let plain: Vec<_> = self.of(workload).filter(|(_, point, _)| point.recipe == *recipe).collect();
        let mut gains: BTreeMap<&str, (bool, u64)> = BTreeMap::new();
        let mut order = Vec::new();
        for (place, point, figures) in self.of(workload).filter(|(_, point, _)| point.recipe != *recipe) {
            let before = plain.iter().find(|(other, plain, _)| plain.chip == point.chip && self.is_held_to(place, *other));
            let Some((.., before)) = before else { continue };
            if !order.contains(&point.recipe.as_str()) {
                order.push(point.recipe.as_str());
            }
            let gain = gains.entry(&point.recipe).or_default();
            *gain = (gain.0 || figures.latency_s < before.latency_s, gain.1 + 1);
        }
        let none: Vec<&str> = order.into_iter().filter(|recipe| !gains[recipe].0).collect();
        if none.is_empty() {
            return None;
        }
        let more = if none.len() > MOST_NAMES { format!(" and {} more", none.len() - MOST_NAMES) } else { String::new() };
        let names = none[..none.len().min(MOST_NAMES)].join(", ");
        Some(format!("No faster than {recipe} on any chip that ran both: {names}{more}."))
    }

    /// Why points could not be built or run, the most frequent reasons first.
    fn reasons(&self) -> String {
        // How many points, the first of them, and whether all are of its recipe and chip.
        let mut counts: BTreeMap<&str, (usize, &PointRow, bool)> = BTreeMap::new();
        for point in self.points.iter().filter(|point| point.status == PointStatus::Failed) {
            let (count, first, are_alike) = counts.entry(point.reason.as_deref().unwrap_or_default()).or_insert((0, point, true));
            *count += 1;
            *are_alike &= (&first.recipe, &first.chip) == (&point.recipe, &point.chip);
        }
        let mut counts: Vec<_> = counts.into_iter().collect();
        counts.sort_by_key(|(_, (count, point, _))| (std::cmp::Reverse(*count), point.point));
        let mut text = String::new();
        if !counts.is_empty() {
            text.push_str("\nPoints that cannot be built or run\n");
        }
        for (reason, (count, point, are_alike)) in counts.iter().take(MOST_REASONS) {
            // What is wrong comes first; the help is in points.csv.
            let what: String = reason.split(" help: ").next().unwrap_or(reason).chars().take(REASON_WIDTH).collect();
            let cut = if what.chars().count() == REASON_WIDTH { "…" } else { "" };
            let others = if *are_alike { "" } else { " and others" };
            let _ = writeln!(text, "  {count:>4}  {} on {}{others}: {what}{cut}", point.recipe, point.chip);
        }
        if counts.len() > MOST_REASONS {
            let _ = writeln!(text, "  and {} other reasons; points.csv has all", counts.len() - MOST_REASONS);
        }
        text
    }
}

fn workload_of(point: &PointRow) -> Workload<'_> {
    (&point.model, point.batch, point.weights)
}

/// The values of a point's axes, without those that are there twice.
pub(crate) fn axes_text(point: &PointRow) -> String {
    shown_axes(point, |_| true).join(", ")
}

/// Axes by the last part of their path, or by all of it where two end alike.
fn shown_axes(point: &PointRow, is_wanted: impl Fn(&str) -> bool) -> Vec<String> {
    use super::point::AxisValue;
    let last = |path: &str| path.rsplit('.').next().unwrap_or_default().to_owned();
    let axes: Vec<_> = point.own_axes().filter(|(path, _)| is_wanted(path)).collect();
    let shown = axes.iter().map(|(path, value)| {
        let alike = axes.iter().filter(|(other, _)| last(other) == last(path)).count();
        let name = if alike > 1 { (*path).clone() } else { last(path) };
        match value {
            AxisValue::Number(value) => format!("{name} {value}"),
            AxisValue::Text(value) => format!("{name} {value}"),
        }
    });
    shown.collect()
}

/// As many whole parts of a list as there is room for.
fn whole_parts(parts: &[String], width: usize) -> String {
    let mut kept = String::new();
    for (number, part) in parts.iter().enumerate() {
        let more = if kept.is_empty() { part.clone() } else { format!("{kept}, {part}") };
        if more.chars().count() > width && !kept.is_empty() {
            return format!("{kept} and {} more", parts.len() - number);
        }
        kept = more;
    }
    kept
}

/// A point without what is long.
fn bare(point: &PointRow) -> PointRow {
    let figures = point.figures.clone().map(|figures| PointFigures { layers: Vec::new(), right_bits: None, ..figures });
    PointRow { figures, ..point.clone() }
}
