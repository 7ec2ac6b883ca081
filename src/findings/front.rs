//! Points over two figures, with the Pareto front of each panel and what ties with it.
//!
//! **Front.** Of the points of a panel those that no other beats in one figure without losing in the other. Where one of the figures is the error
//! on the report split, the front goes by that on the select split, where all have it: nothing is chosen on the split that is shown.
//! **Ties.** Two neighbours on the front, of which the slower has the lower error, tie if McNemar's exact test on the same samples does not tell them apart
//! (p at least 0.05): then nothing shows that the slower one is better. A point off the front ties with it if the test tells it apart from none of
//! the front's points that cost no more.
//! **Cycles** of different clocks or kinds of DRAM do not compare: a panel never mixes them, the axis becomes latency.

use super::column::{self, Better, Workload, better, is_of_cycles, named};
use super::{FindingsError, MAX_GROUPS, MAX_PANELS};
use crate::metrics::mcnemar;
use crate::report::{AxisValue, Cell, SweepResults};
use std::collections::{BTreeMap, BTreeSet};

/// A difference that is no surer than this is none.
const SIGNIFICANT: f64 = 0.05;

/// What to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScatterRequest<'r> {
    /// Along.
    pub x: &'r str,
    /// Up.
    pub y: &'r str,
    /// One panel a value; points of different workloads have panels of their own in any case.
    pub facet: Option<&'r str>,
    /// One colour a value; the chip where it is not said.
    pub color: Option<&'r str>,
    /// Whether the front is looked for.
    pub has_front: bool,
}

/// Points over two figures.
#[derive(Debug, Clone, PartialEq)]
pub struct Scatter {
    /// The column along: the one that was asked for, or `latency_s` in place of cycles that do not compare.
    pub x: String,
    /// The column up, likewise.
    pub y: String,
    /// The column of colours.
    pub color: String,
    /// Its values, each a colour.
    pub groups: Vec<String>,
    /// A panel a facet and a workload.
    pub panels: Vec<Panel>,
    /// What a caption must say of how it was made.
    pub notes: Vec<String>,
    /// Points that ran and lack one of both figures.
    pub left_out: usize,
}

/// A panel of points that compare.
#[derive(Debug, Clone, PartialEq)]
pub struct Panel {
    /// What all its points have in common.
    pub title: String,
    /// The points.
    pub marks: Vec<Mark>,
    /// The front, by places in `marks`, along x.
    pub front: Vec<usize>,
    /// For each step of the front, whether its two ends tie.
    pub ties: Vec<bool>,
    /// Points off the front that tie with it.
    pub near: Vec<usize>,
}

/// A point.
#[derive(Debug, Clone, PartialEq)]
pub struct Mark {
    /// Its place in the results.
    pub place: usize,
    /// Along.
    pub x: f64,
    /// Up.
    pub y: f64,
    /// Its colour, an index into the groups.
    pub group: usize,
    /// What tells it from its neighbours: its recipe, where colours are chips.
    pub label: String,
}

/// Puts points into panels, and finds their fronts.
///
/// # Errors
/// Columns that there are not or that have no numbers; nothing to show; too many panels.
pub fn scatter(results: &SweepResults, request: ScatterRequest<'_>) -> Result<Scatter, FindingsError> {
    column::numeric(results, request.x, "an axis")?;
    column::numeric(results, request.y, "an axis")?;
    let color = request.color.unwrap_or("chip");
    column::known(results, color)?;
    if let Some(facet) = request.facet {
        column::known(results, facet)?;
    }
    let mut notes = Vec::new();
    let places: Vec<usize> = results.done().collect();
    let key = |place: usize| (request.facet.map_or(Cell::Empty, |facet| results.cell(place, facet)), Workload::of(results, place));
    let (x, y) = comparable(results, request, key, &mut notes);
    let number = |place: usize, column: &str| results.cell(place, column).number().filter(|value| value.is_finite());
    let shown: Vec<usize> = places.iter().copied().filter(|place| number(*place, &x).is_some() && number(*place, &y).is_some()).collect();
    if shown.is_empty() {
        return Err(column::nothing(results, request.x, request.y));
    }
    let group = |place: usize| named(&results.cell(place, color));
    let mut groups: Vec<String> = column::values(results, &shown, color).iter().map(named).collect();
    if shown.iter().any(|place| results.cell(*place, color) == Cell::Empty) {
        groups.push(named(&Cell::Empty));
    }
    if groups.len() > MAX_GROUPS {
        return Err(FindingsError::TooMany { what: "the colour", name: color.to_owned(), count: groups.len(), limit: MAX_GROUPS });
    }
    let mut keys: Vec<(Cell, Workload)> = Vec::new();
    for place in &shown {
        let own = key(*place);
        if !keys.contains(&own) {
            keys.push(own);
        }
    }
    if keys.len() > MAX_PANELS {
        let name = request.facet.unwrap_or("model, batch, weights").to_owned();
        return Err(FindingsError::TooMany { what: "the facet", name, count: keys.len(), limit: MAX_PANELS });
    }
    let labels = Labels::of(results, color);
    let mut panels = Vec::with_capacity(keys.len());
    for (facet, workload) in keys {
        let own: Vec<usize> = shown.iter().copied().filter(|place| key(*place) == (facet.clone(), workload.clone())).collect();
        let marks: Vec<Mark> = own
            .iter()
            .map(|place| Mark {
                place: *place,
                x: number(*place, &x).unwrap_or_default(),
                y: number(*place, &y).unwrap_or_default(),
                group: groups.iter().position(|name| *name == group(*place)).unwrap_or_default(),
                label: labels.label(*place),
            })
            .collect();
        let title = match request.facet {
            Some(name) if !["batch", "weights", "model"].contains(&name) => format!("{name} {}, {}", named(&facet), workload.caption()),
            _ => workload.caption(),
        };
        panels.push(Panel { title, marks, front: Vec::new(), ties: Vec::new(), near: Vec::new() });
    }
    let mut scatter = Scatter { x, y, color: color.to_owned(), groups, panels, notes, left_out: places.len() - shown.len() };
    if request.has_front {
        scatter.find_fronts(results);
    }
    Ok(scatter)
}

/// The columns to show: latency in place of cycles where a panel would mix what does not compare. `key` says which panel a point is in.
fn comparable<K: PartialEq>(
    results: &SweepResults,
    request: ScatterRequest<'_>,
    key: impl Fn(usize) -> K,
    notes: &mut Vec<String>,
) -> (String, String) {
    let mixes = |column: &str| {
        let mut firsts: Vec<(K, Cell)> = Vec::new();
        results.done().any(|place| {
            let (own, cell) = (key(place), results.cell(place, column));
            if let Some((_, first)) = firsts.iter().find(|(key, _)| *key == own) {
                return *first != cell;
            }
            firsts.push((own, cell));
            false
        })
    };
    let asks = [request.x, request.y].into_iter().any(is_of_cycles);
    let what = match (asks && mixes("clock_hz"), asks && mixes("dram_model")) {
        (true, true) => "clocks and kinds of DRAM",
        (true, false) => "clocks",
        (false, true) => "kinds of DRAM",
        (false, false) => return (request.x.to_owned(), request.y.to_owned()),
    };
    let mut replaced = |column: &str| {
        if !is_of_cycles(column) {
            return column.to_owned();
        }
        notes.push(format!("latency in place of {column}: cycles of different {what} do not compare"));
        "latency_s".to_owned()
    };
    (replaced(request.x), replaced(request.y))
}

/// What points are called where their colour says a column.
struct Labels<'r> {
    results: &'r SweepResults,
    color: &'r str,
    has_chips: bool,
    has_seeds: bool,
    /// Axes that tell points of one recipe and chip apart.
    varied: BTreeSet<(&'r str, &'r str, &'r str)>,
}

impl<'r> Labels<'r> {
    fn of(results: &'r SweepResults, color: &'r str) -> Self {
        let mut firsts: BTreeMap<(&str, &str, &str), &AxisValue> = BTreeMap::new();
        let mut varied = BTreeSet::new();
        let mut chips = BTreeSet::new();
        for point in results.done().map(|place| &results.points[place]) {
            chips.insert(point.chip.as_str());
            for (path, value) in &point.axes {
                let key = (point.recipe.as_str(), point.chip.as_str(), path.as_str());
                if *firsts.entry(key).or_insert(value) != value {
                    varied.insert(key);
                }
            }
        }
        let has_seeds = results.points.windows(2).any(|pair| pair[0].seed != pair[1].seed);
        Self { results, color, has_chips: chips.len() > 1, has_seeds, varied }
    }

    fn label(&self, place: usize) -> String {
        let point = &self.results.points[place];
        let mut parts = Vec::new();
        if self.color != "recipe" {
            parts.push(point.recipe.clone());
        }
        if self.color != "chip" && self.has_chips {
            parts.push(point.chip.clone());
        }
        if self.has_seeds && self.color != "seed" {
            parts.push(format!("seed {}", point.seed));
        }
        for (path, _) in point.own_axes().filter(|(path, _)| *path != self.color) {
            if self.varied.contains(&(point.recipe.as_str(), point.chip.as_str(), path.as_str())) {
                let short = path.rsplit('.').next().unwrap_or(path);
                parts.push(format!("{short} {}", self.results.cell(place, path).text()));
            }
        }
        parts.join(", ")
    }
}

impl Scatter {
    fn find_fronts(&mut self, results: &SweepResults) {
        let choosing = |column: &str, marks: &[Mark]| {
            let select = |place: usize| results.cell(place, "select_error_percent").number();
            let is_error = ["error_percent", "accuracy"].contains(&column);
            is_error && marks.iter().all(|mark| select(mark.place).is_some())
        };
        let (mut selected, mut reported) = (false, false);
        for panel in &mut self.panels {
            let [x, y] = [&self.x, &self.y].map(|column| {
                let by_select = choosing(column, &panel.marks);
                selected |= by_select;
                reported |= !by_select && ["error_percent", "accuracy"].contains(&column.as_str());
                let cost = |mark: &Mark| {
                    // What breaks a requirement is shown, and not chosen.
                    if !results.relative[mark.place].meets_requirements {
                        return f64::INFINITY;
                    }
                    if by_select {
                        return results.cell(mark.place, "select_error_percent").number().unwrap_or(f64::INFINITY);
                    }
                    let value = if *column == self.x { mark.x } else { mark.y };
                    if better(column) == Better::More { -value } else { value }
                };
                panel.marks.iter().map(cost).collect::<Vec<f64>>()
            });
            panel.front = pareto(&x, &y);
            if panel.front.is_empty() {
                self.notes.push(format!("{}: no point keeps what is required", panel.title));
            }
            let rights: Vec<Option<Vec<bool>>> = panel.marks.iter().map(|mark| results.points[mark.place].right()).collect();
            // Samples that were got right tell errors apart, and nothing else.
            let has_error = [&self.x, &self.y].into_iter().any(|column| ["error_percent", "accuracy"].contains(&column.as_str()));
            if !has_error {
                panel.ties = vec![false; panel.front.len().saturating_sub(1)];
                continue;
            }
            let ties = |one: usize, other: usize| match (&rights[one], &rights[other]) {
                (Some(one), Some(other)) if one.len() == other.len() => mcnemar(one, other).p_value >= SIGNIFICANT,
                _ => false,
            };
            panel.ties = panel.front.windows(2).map(|pair| ties(pair[0], pair[1])).collect();
            let off = (0..panel.marks.len()).filter(|mark| !panel.front.contains(mark) && rights[*mark].is_some());
            let costs = if ["error_percent", "accuracy"].contains(&self.y.as_str()) { &x } else { &y };
            panel.near = off
                .filter(|mark| {
                    let mut cheaper = panel.front.iter().filter(|front| costs[**front] <= costs[*mark]).peekable();
                    cheaper.peek().is_some() && cheaper.all(|front| ties(*front, *mark))
                })
                .collect();
        }
        if !results.provenance.require.is_empty() {
            self.notes.push(format!("the front is of points with {}", results.provenance.require.join(", ")));
        }
        if selected {
            self.notes.push("the front is chosen on the select split, errors are those of the report split".to_owned());
        }
        if reported {
            self.notes.push("the front goes by the report split, since some points were not scored on the select split".to_owned());
        }
    }
}

/// The places of those that no other beats in one cost without losing in the other, by the first cost; of equals the first.
fn pareto(x: &[f64], y: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..x.len()).collect();
    order.sort_by(|one, other| x[*one].total_cmp(&x[*other]).then(y[*one].total_cmp(&y[*other])).then(one.cmp(other)));
    let mut least = f64::INFINITY;
    order.retain(|place| {
        let is_better = y[*place] < least;
        least = least.min(y[*place]);
        is_better
    });
    order
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{point, results};
    use super::*;

    #[test]
    fn a_front_by_hand() {
        //            0    1    2    3    4    5
        let x = [1.0, 2.0, 2.0, 3.0, 4.0, 1.0];
        let y = [9.0, 5.0, 4.0, 6.0, 1.0, 9.0];
        assert_eq!(pareto(&x, &y), [0, 2, 4]);
        assert_eq!(pareto(&[], &[]), Vec::<usize>::new());
        assert_eq!(pareto(&[1.0, 1.0], &[f64::NAN, 2.0]), [1]);
    }

    fn request<'r>(x: &'r str, y: &'r str) -> ScatterRequest<'r> {
        ScatterRequest { x, y, facet: None, color: None, has_front: true }
    }

    /// Ten samples: a is right on 5, b on 6 (of which 5 are a's), c on all. McNemar: a and b differ on 1, p = 1; b and c on 4, p = 2 / 16;
    /// a and c on 5, p = 2 / 32. With forty samples of the same shares: a and b 4, p = 0.125; b and c 16, p = 2 / 65536.
    #[test]
    fn ties_are_what_mcnemar_does_not_tell_apart() {
        let bits = |right: usize, of: usize| -> Vec<bool> { (0..of).map(|sample| sample < right).collect() };
        let points = vec![
            point("chip", "a", 1e-6, Some(&bits(20, 40))),
            point("chip", "b", 2e-6, Some(&bits(24, 40))),
            point("chip", "c", 3e-6, Some(&bits(40, 40))),
            // As good as b, and slower; worse than a, and slower.
            point("chip", "d", 2.5e-6, Some(&bits(23, 40))),
            point("chip", "e", 2.6e-6, Some(&bits(2, 40))),
        ];
        let found = scatter(&results(points), request("latency_s", "error_percent")).unwrap();
        let panel = &found.panels[0];
        let names: Vec<&str> = panel.front.iter().map(|place| panel.marks[*place].label.as_str()).collect();
        assert_eq!(names, ["a", "b", "c"]);
        assert_eq!(panel.ties, [true, false]);
        assert_eq!(panel.near.iter().map(|place| panel.marks[*place].label.as_str()).collect::<Vec<_>>(), ["d"]);
        assert!(found.notes.iter().any(|note| note.contains("select split, errors are those")));
    }

    #[test]
    fn the_front_is_chosen_on_the_select_split() {
        let mut points = vec![point("chip", "a", 1e-6, None), point("chip", "b", 2e-6, None)];
        for (point, (select, report)) in points.iter_mut().zip([(5.0, 9.0), (6.0, 1.0)]) {
            let figures = point.figures.as_mut().unwrap();
            (figures.select_error_percent, figures.error_percent) = (Some(select), Some(report));
        }
        let found = scatter(&results(points), request("latency_s", "error_percent")).unwrap();
        assert_eq!(found.panels[0].front, [0], "b is better on the report split alone");
        assert_eq!(found.panels[0].marks[1].y.to_bits(), 1.0_f64.to_bits());
    }

    #[test]
    fn cycles_of_different_clocks_become_latency_and_of_equal_ones_stay() {
        let mut points = vec![point("chip", "a", 1e-6, None), point("fast", "a", 2e-6, None)];
        let same = scatter(&results(points.clone()), request("total_cycles", "energy_pj_per_sample")).unwrap();
        assert_eq!(same.x, "total_cycles");
        points[1].figures.as_mut().unwrap().clock_hz = 1;
        let mixed = scatter(&results(points.clone()), request("total_cycles", "energy_pj_per_sample")).unwrap();
        assert_eq!(mixed.x, "latency_s");
        assert!(mixed.notes[0].contains("cycles of different clocks do not compare"), "{:?}", mixed.notes);
        points[1].figures.as_mut().unwrap().clock_hz = points[0].figures.as_ref().unwrap().clock_hz;
        points[1].figures.as_mut().unwrap().dram_model = "ddr4".to_owned();
        let mixed = scatter(&results(points.clone()), request("cycles_per_sample", "energy_pj_per_sample")).unwrap();
        assert!(mixed.x == "latency_s" && mixed.notes[0].contains("kinds of DRAM"));
        let faceted = ScatterRequest { facet: Some("dram_model"), ..request("total_cycles", "energy_pj_per_sample") };
        let apart = scatter(&results(points), faceted).unwrap();
        assert!(apart.x == "total_cycles" && apart.panels.len() == 2);
    }

    #[test]
    fn workloads_have_panels_of_their_own() {
        let mut points = vec![point("chip", "a", 1e-6, None), point("chip", "a", 2e-6, None)];
        points[1].batch = 64;
        let found = scatter(&results(points), request("latency_s", "energy_pj_per_sample")).unwrap();
        assert_eq!(found.panels.len(), 2);
        assert!(found.panels.iter().all(|panel| panel.front.len() == 1));
        assert_eq!(found.panels[1].title, "net, batch 64, cold weights");
    }

    #[test]
    fn what_cannot_be_shown_is_refused_with_a_reason() {
        let all = results(vec![point("chip", "a", 1e-6, None)]);
        let fault = |x, y| scatter(&all, request(x, y)).unwrap_err().to_string();
        assert!(fault("latency", "energy_pj").contains("the nearest are latency_s"), "{}", fault("latency", "energy_pj"));
        assert!(fault("eror_percent", "energy_pj").contains("error_percent"));
        assert!(fault("recipe", "energy_pj").contains("no numbers (it has \"a\")"));
        assert!(fault("zzzzqqq", "energy_pj").contains("points.csv names all"));
        let empty = scatter(&results(Vec::new()), request("latency_s", "energy_pj")).unwrap_err().to_string();
        assert!(empty.contains("no points yet"), "{empty}");
        let mut failed = point("chip", "a", 1e-6, None);
        (failed.figures, failed.reason) = (None, Some("too large".to_owned()));
        let failed = scatter(&results(vec![failed]), request("latency_s", "energy_pj")).unwrap_err().to_string();
        assert!(failed.contains("1 failed") && failed.contains("the first is: too large"), "{failed}");
    }
}
