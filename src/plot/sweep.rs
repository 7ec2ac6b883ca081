//! Pictures of a sweep: those that its experiment asks for, and those that every sweep has.
//!
//! Captions say what runs (batch, cold or resident) and on what (clock, area). Not here: what the points say (`findings`).

use super::bars::{self, BarPanel, BarRow, Bars};
use super::fields::{self, Field, FieldPanel, Fields};
use super::palette::{change, scale, series};
use super::scatter::Picture as Points;
use super::{Drawn, PlotError, canvas, quantity, run};
use crate::findings::{
    Better, ChipMatrix, Heat, HeatCell, HeatPanel, MAX_MORE_ERROR, MatrixCell, Scatter, ScatterRequest, Transfer, Workload, better,
    chip_matrices, effect_figures, effects, heat, scatter as points_of, transfers,
};
use crate::report::{SweepPlot, SweepResults, axes_text, human, is_against_baseline};
use std::collections::BTreeSet;

/// Chips that a caption names.
const MOST_CHIPS: usize = 6;
/// Points with a bar of their own.
const MOST_BARS: usize = 24;

/// The pictures of a sweep.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SweepPictures {
    /// What could be drawn, each under a name of its own.
    pub drawn: Vec<Drawn>,
    /// What the experiment asked for and could not be drawn, with reasons.
    pub refused: Vec<String>,
}

/// Draws points over two figures.
///
/// # Errors
/// Fields that there are not, or that have no numbers; nothing to show; whatever the drawing library says.
pub fn scatter(results: &SweepResults, request: ScatterRequest<'_>) -> Result<Drawn, PlotError> {
    draw_scatter(results, &points_of(results, request)?, request)
}

/// Draws a field for each pair of values of `x` and `y`, coloured by `z`.
///
/// # Errors
/// As [`scatter()`].
pub fn heatmap(results: &SweepResults, axes: [&str; 3], facet: Option<&str>) -> Result<Drawn, PlotError> {
    let found = heat(results, axes, facet)?;
    let name = file_name(&format!("heat-{}-{}-{}{}", found.z, found.x, found.y, by(None, facet)));
    drawn(&name, &fields::Picture::of(heat_fields(results, &found)))
}

/// Draws what a sweep's experiment asks for, and then what every sweep has: error against latency, cycles and energy; energy against time; which axis
/// matters; where energy goes; what methods do on each chip; what recipes that were found for one chip do on another.
///
/// # Errors
/// Whatever the drawing library says.
pub fn sweep(results: &SweepResults) -> Result<SweepPictures, PlotError> {
    let mut pictures = SweepPictures::default();
    for plot in &results.provenance.plots {
        match asked(results, plot) {
            Ok(drawn) => pictures.add(drawn),
            Err(PlotError::Findings(error)) => pictures.refused.push(error.to_string()),
            Err(error) => return Err(error),
        }
    }
    let pairs = [
        ("latency_s", "error_percent"),
        ("cycles_per_sample", "error_percent"),
        ("energy_pj_per_sample", "error_percent"),
        ("cycles_per_sample", "energy_pj_per_sample"),
    ];
    for (x, y) in pairs {
        // What was not measured is no fault of a picture that nobody asked for.
        match scatter(results, ScatterRequest { x, y, facet: None, color: None, has_front: true }) {
            Ok(drawn) => pictures.add(drawn),
            Err(PlotError::Findings(_)) => {}
            Err(error) => return Err(error),
        }
    }
    if let Some(bars) = effect_bars(results) {
        pictures.add(drawn("axes", &bars::Picture::of(bars))?);
    }
    if let Some(bars) = energy_of_points(results) {
        pictures.add(drawn("energy", &bars::Picture::of(bars))?);
    }
    let axes = results.axes();
    let varied: Vec<&String> = axes.iter().filter(|axis| has_values(results, axis)).collect();
    // Two that vary apart: of linked ones only a diagonal would be filled.
    let pairs = varied.iter().enumerate().flat_map(|(place, x)| varied[place + 1..].iter().map(move |y| (*x, *y)));
    if let Some((x, y)) = pairs.into_iter().find(|(x, y)| vary_apart(results, x, y)) {
        match heatmap(results, [x, y, "latency_s"], None) {
            Ok(drawn) => pictures.add(drawn),
            Err(PlotError::Findings(_)) => {}
            Err(error) => return Err(error),
        }
    }
    let matrices = chip_matrices(results);
    if !matrices.is_empty() {
        pictures.add(drawn("methods", &fields::Picture::of(matrix_fields(results, &matrices)))?);
    }
    let found = transfers(results);
    if !found.is_empty() {
        pictures.add(drawn("transfer", &fields::Picture::of(transfer_fields(results, &found)))?);
    }
    Ok(pictures)
}

impl SweepPictures {
    /// Adds a picture, but not one that is there already.
    fn add(&mut self, mut drawn: Drawn) {
        if self.drawn.iter().any(|other| other.svg == drawn.svg) {
            return;
        }
        let name = drawn.name.clone();
        let mut number = 2;
        while self.drawn.iter().any(|other| other.name == drawn.name) {
            drawn.name = format!("{name}-{number}");
            number += 1;
        }
        self.drawn.push(drawn);
    }
}

fn asked(results: &SweepResults, plot: &SweepPlot) -> Result<Drawn, PlotError> {
    match plot {
        SweepPlot::Pareto { x, y, facet, color } => {
            scatter(results, ScatterRequest { x, y, facet: facet.as_deref(), color: color.as_deref(), has_front: true })
        }
        SweepPlot::Scatter { x, y, facet, color } => {
            scatter(results, ScatterRequest { x, y, facet: facet.as_deref(), color: color.as_deref(), has_front: false })
        }
        SweepPlot::Heatmap { x, y, z, facet } => heatmap(results, [x, y, z], facet.as_deref()),
    }
}

fn drawn(name: &str, drawing: &impl canvas::Drawing) -> Result<Drawn, PlotError> {
    Ok(Drawn { name: name.to_owned(), svg: canvas::svg(drawing)?, png: canvas::png(drawing)? })
}

fn draw_scatter(results: &SweepResults, points: &Scatter, request: ScatterRequest<'_>) -> Result<Drawn, PlotError> {
    let title = capital(&format!("{} against {}", quantity::name(&points.y), quantity::name(&points.x)));
    let mut notes = vec![results.provenance.question.clone()];
    notes.extend(points.notes.iter().cloned());
    if points.color != "chip" {
        notes.push(format!("colours: {}", points.color));
    }
    notes.push(chips(results));
    let samples = results.points.iter().map(|point| point.samples).max().unwrap_or(0);
    let half_sample = 50.0 / samples.max(1) as f64;
    let kind = if request.has_front { "pareto" } else { "points" };
    let name = file_name(&format!("{kind}-{}-{}{}", points.y, points.x, by(request.color, request.facet)));
    drawn(&name, &Points::of(points, title, notes, half_sample))
}

/// What a file's name says of colours and panels that are not those of every picture.
fn by(color: Option<&str>, facet: Option<&str>) -> String {
    let color = color.filter(|color| *color != "chip").map(|color| format!("-color-{color}"));
    let facet = facet.filter(|facet| !["model", "batch", "weights"].contains(facet)).map(|facet| format!("-facet-{facet}"));
    color.unwrap_or_default() + &facet.unwrap_or_default()
}

/// A name of a file out of names of fields.
fn file_name(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' }).take(96).collect()
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

fn has_values(results: &SweepResults, column: &str) -> bool {
    let mut texts = results.done().map(|place| results.cell(place, column).text());
    let first = texts.next();
    texts.any(|text| Some(&text) != first.as_ref())
}

/// Whether some value of one column meets several of the other, and the other way round.
fn vary_apart(results: &SweepResults, x: &str, y: &str) -> bool {
    let of = |column: &str| results.done().map(|place| results.cell(place, column).text()).collect::<Vec<_>>();
    let (xs, ys) = (of(x), of(y));
    let distinct = |values: &[String]| values.iter().collect::<BTreeSet<_>>().len();
    let both = xs.iter().zip(&ys).collect::<BTreeSet<_>>().len();
    both > distinct(&xs).max(distinct(&ys))
}

/// The chips, each with its clock and area; of many only how far these range.
fn chips(results: &SweepResults) -> String {
    let mut all: Vec<(&str, [u64; 2], [f64; 2])> = Vec::new();
    for place in results.done() {
        let point = &results.points[place];
        let Some(figures) = &point.figures else { continue };
        match all.iter_mut().find(|(name, ..)| *name == point.chip) {
            Some((_, clock, area)) => {
                *clock = [clock[0].min(figures.clock_hz), clock[1].max(figures.clock_hz)];
                *area = [area[0].min(figures.area_mm2), area[1].max(figures.area_mm2)];
            }
            None => all.push((&point.chip, [figures.clock_hz; 2], [figures.area_mm2; 2])),
        }
    }
    let range = |one: String, other: String| if one == other { one } else { format!("{one} to {other}") };
    let told = |clock: [u64; 2], area: [f64; 2]| {
        let [one, other] = area.map(|area| format!("{} mm²", human::digits(area)));
        format!("{}, {}", range(human::frequency(clock[0]), human::frequency(clock[1])), range(one, other))
    };
    if all.len() <= MOST_CHIPS {
        return all.iter().map(|(name, clock, area)| format!("{name}: {}", told(*clock, *area))).collect::<Vec<_>>().join("; ");
    }
    let clock = all.iter().fold([u64::MAX, 0], |sum, (_, clock, _)| [sum[0].min(clock[0]), sum[1].max(clock[1])]);
    let area = all.iter().fold([f64::INFINITY, 0.0_f64], |sum, (.., area)| [sum[0].min(area[0]), sum[1].max(area[1])]);
    format!("{} chips: {}", all.len(), told(clock, area))
}

fn heat_fields(results: &SweepResults, found: &Heat) -> Fields {
    let ends = |panel: &HeatPanel| {
        let values = || panel.fields.iter().flatten().flatten().map(|field| field.value);
        (values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max))
    };
    // What ranges over more than a factor of eight is coloured by its logarithm.
    let is_log = found.panels.iter().map(ends).any(|(least, most)| least > 0.0 && most / least > 8.0);
    let place = |(least, most): (f64, f64), value: f64| match (most > least, is_log && least > 0.0) {
        (false, _) => 0.5,
        (true, true) => libm::log(value / least) / libm::log(most / least),
        (true, false) => (value - least) / (most - least),
    };
    let colour =
        |ends: (f64, f64), field: HeatCell| Field { text: quantity::text(&found.z, field.value), colour: scale(place(ends, field.value)) };
    let coloured = |panel: &HeatPanel| {
        let ends = ends(panel);
        panel.fields.iter().map(|row| row.iter().map(|field| field.map(|field| colour(ends, field))).collect()).collect()
    };
    let panels = found.panels.iter().map(|panel| FieldPanel {
        title: panel.title.clone(),
        row_label: found.y.clone(),
        column_label: found.x.clone(),
        rows: found.ys.clone(),
        columns: found.xs.clone(),
        fields: coloured(panel),
    });
    let mut notes = vec![results.provenance.question.clone()];
    if found.most > 1 {
        let best = if better(&found.z) == Better::Less { "least" } else { "greatest" };
        notes.push(format!("a cell is the {best} of up to {} points, whatever else they differ in", found.most));
    }
    let logarithm = if is_log { ", by logarithm" } else { "" };
    notes.push(format!("colours from the least to the greatest of each panel{logarithm}"));
    if let Some(baseline) = results.provenance.baseline.as_ref().filter(|_| is_against_baseline(&found.z)) {
        let axes = results.axes();
        let shown = if axes.iter().any(|axis| [&found.x, &found.y].contains(&axis)) {
            ": an axis by itself shows in latency_s or energy_pj_per_sample, not in what is against a baseline that takes it too"
        } else {
            ""
        };
        notes.push(format!("1 is {} on {} at the same values of the axes{shown}", baseline.recipe, baseline.chip));
    }
    notes.push(chips(results));
    let title = capital(&format!("{} by {} and {}", quantity::name(&found.z), quantity::name(&found.x), quantity::name(&found.y)));
    Fields { title, notes, panels: panels.collect(), across: if found.xs.len() > 6 { 1 } else { 3 } }
}

/// What a field shows of what a recipe changes.
type FieldOf<'f> = &'f dyn Fn(&MatrixCell) -> Option<Field>;

fn matrix_fields(results: &SweepResults, matrices: &[ChipMatrix]) -> Fields {
    let mut panels = Vec::new();
    for matrix in matrices {
        // A factor of four is as blue or as orange as it gets; so is a loss of five points.
        let by_ratio = |ratio: f64| change(libm::log2(ratio.max(1e-9)) / 2.0);
        let percent = |ratio: f64| format!("{}{}", if ratio > 1.0 { "+" } else { "" }, signed_percent(ratio - 1.0));
        let figures: [(&str, FieldOf<'_>); 3] = [
            ("latency", &|cell| Some(Field { text: percent(cell.latency), colour: by_ratio(cell.latency) })),
            ("energy a sample", &|cell| Some(Field { text: percent(cell.energy), colour: by_ratio(cell.energy) })),
            ("accuracy, points", &|cell| {
                let points = cell.accuracy? * 100.0;
                Some(Field { text: format!("{points:+.2}"), colour: change(-points / 5.0) })
            }),
        ];
        for (figure, field) in figures {
            let fields: Vec<Vec<Option<Field>>> =
                matrix.fields.iter().map(|row| row.iter().map(|cell| cell.as_ref().and_then(field)).collect()).collect();
            if fields.iter().flatten().any(Option::is_some) {
                panels.push(FieldPanel {
                    title: format!("{figure}: {}", matrix.workload.caption()),
                    row_label: "recipe".to_owned(),
                    column_label: "chip".to_owned(),
                    rows: matrix.recipes.clone(),
                    columns: matrix.chips.clone(),
                    fields,
                });
            }
        }
    }
    let baseline = matrices.first().map_or_else(String::new, |matrix| matrix.baseline.clone());
    let notes = vec![
        format!("change against {baseline} on the same chip, or on the baseline's where that did not run on this one"),
        "blue is better, orange is worse".to_owned(),
        "of several points the fastest".to_owned(),
        "–: did not run".to_owned(),
        chips(results),
    ];
    Fields { title: "What each method changes on each chip".to_owned(), notes, panels, across: 3 }
}

fn transfer_fields(results: &SweepResults, found: &[Transfer]) -> Fields {
    let panels = found.iter().map(|transfer| {
        let field = |cell: &crate::findings::TransferCell| {
            let error = cell.error_percent.map_or_else(String::new, |error| format!(", {error:+.2}%"));
            Field { text: format!("{}×{error}", human::digits(cell.latency)), colour: change(libm::log2(cell.latency.max(1e-9))) }
        };
        let rows = transfer.chips.iter().zip(&transfer.found);
        FieldPanel {
            title: transfer.workload.caption(),
            row_label: "found for".to_owned(),
            column_label: "runs on".to_owned(),
            rows: rows.map(|(chip, recipe)| format!("{chip}: {}", recipe.as_deref().unwrap_or("none"))).collect(),
            columns: transfer.chips.clone(),
            fields: transfer.fields.iter().map(|row| row.iter().map(|cell| cell.as_ref().map(field)).collect()).collect(),
        }
    });
    let notes = vec![
        "latency over that of the recipe which was found for the chip, and error on the report split less that one's".to_owned(),
        format!(
            "found: the fastest that keeps what the experiment requires and errs at most {MAX_MORE_ERROR}% more on the select split than the best"
        ),
        "–: did not run there".to_owned(),
        chips(results),
    ];
    Fields { title: "How a recipe that was found for one chip does on another".to_owned(), notes, panels: panels.collect(), across: 2 }
}

/// A share with its sign, the plus left out.
fn signed_percent(share: f64) -> String {
    let digits = human::percent(share.abs());
    if share < 0.0 && digits != "0%" { format!("-{digits}") } else { digits }
}

/// What each axis tells of each figure; none where no axis has several values.
fn effect_bars(results: &SweepResults) -> Option<Bars> {
    let found: Vec<_> = effect_figures(results).into_iter().filter_map(|figure| effects(results, figure).ok()).collect();
    let panels = found.iter().filter(|found| !found.effects.is_empty()).map(|found| BarPanel {
        title: format!("{} ({})", quantity::name(&found.figure), human::plural(found.points as u64, "point")),
        column: "utilization",
        rows: found
            .effects
            .iter()
            .map(|effect| {
                let value =
                    |(name, value): &(String, f64)| format!("{}: {}", human::shorten(name, 18), quantity::text(&found.figure, *value));
                BarRow {
                    name: human::shorten(&effect.axis, 28),
                    segments: vec![(effect.share, series(0), human::percent(effect.share))],
                    figure: format!("{} … {}", value(&effect.least), value(&effect.most)),
                }
            })
            .collect(),
    });
    let panels: Vec<BarPanel> = panels.collect();
    let mut notes = vec![
        "the share of a figure's variation (of its logarithm, about the mean of each workload) that an axis tells by itself".to_owned(),
        "to the right: the values with the least and the greatest geometric mean".to_owned(),
        chips(results),
    ];
    if results.done().any(|place| results.cell(place, "error_percent").number() == Some(0.0)) {
        notes.push("no error counts as half a sample, which has a logarithm".to_owned());
    }
    (!panels.is_empty()).then(|| Bars { title: "Which axis matters".to_owned(), notes, key: Vec::new(), panels })
}

/// Where the energy of points goes: of all, or of those on the front where they are many.
fn energy_of_points(results: &SweepResults) -> Option<Bars> {
    let mut places: Vec<usize> = results.done().collect();
    let mut note = "all points".to_owned();
    if places.len() > MOST_BARS {
        places.retain(|place| results.relative[*place].is_on_front);
        "points on the front of latency and select error".clone_into(&mut note);
        places.truncate(MOST_BARS);
    }
    let workloads = Workload::all(results);
    let are_several = workloads.iter().any(|workload| workload.model != workloads[0].model);
    let rows = places.into_iter().filter_map(|place| {
        let point = &results.points[place];
        let figures = point.figures.as_ref()?;
        let model = if are_several { format!("{}: ", point.model) } else { String::new() };
        let axes = axes_text(point);
        let axes = if axes.is_empty() { axes } else { format!(", {axes}") };
        let name = format!("{model}{}, {}, {} {}{axes}", point.recipe, point.chip, point.batch, point.weights.name());
        let per = crate::report::ratio(figures.energy_pj, figures.energy_pj_per_sample).max(1.0);
        Some((human::shorten(&name, 64), figures.energy_pj_by_part, per, figures.energy_assumed_share))
    });
    let (key, panel) = run::energy_bars(rows.collect());
    let notes = vec![note, "a bar: model where there are several, recipe, chip, batch, weights and axes".to_owned(), chips(results)];
    (!panel.rows.is_empty()).then(|| Bars { title: "Where the energy goes".to_owned(), notes, key, panels: vec![panel] })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::findings::study;

    fn pictures() -> SweepPictures {
        sweep(&study()).unwrap()
    }

    #[test]
    fn a_sweep_has_what_was_asked_for_and_what_every_sweep_has() {
        let pictures = pictures();
        let names: Vec<&str> = pictures.drawn.iter().map(|drawn| drawn.name.as_str()).collect();
        let wanted = [
            "pareto-error_percent-latency_s",
            "heat-speedup-dram.bytes_per_cycle-recipe-facet-chip",
            "pareto-error_percent-latency_s-2",
            "pareto-error_percent-cycles_per_sample",
            "pareto-error_percent-energy_pj_per_sample",
            "pareto-energy_pj_per_sample-cycles_per_sample",
            "axes",
            "energy",
            "methods",
            "transfer",
        ];
        // The experiment's own picture of error against latency is the same as that of every sweep.
        let wanted: Vec<&str> = wanted.into_iter().filter(|name| !name.ends_with("-2")).collect();
        assert_eq!(names, wanted);
        assert!(pictures.refused.len() == 1 && pictures.refused[0].contains("latency_s"), "{:?}", pictures.refused);
        assert!(pictures.drawn.iter().all(|drawn| drawn.png.starts_with(b"\x89PNG") && drawn.svg.starts_with("<svg")));
    }

    #[test]
    fn captions_say_batch_weights_clock_and_area_and_fronts_are_labelled() {
        let pictures = pictures();
        let front = &pictures.drawn[0].svg;
        for wanted in [
            "batch 1, cold weights",
            "batch 64, resident weights",
            "edge-16x16: 700 MHz, 1.42 mm²",
            "Pareto front",
            "binary-qat",
            "select split",
        ] {
            assert!(front.contains(wanted), "{wanted} is missing");
        }
        for drawn in &pictures.drawn {
            assert!(drawn.svg.contains("700 MHz"), "{} does not say the clock", drawn.name);
        }
        let of = |name: &str| &pictures.drawn.iter().find(|drawn| drawn.name == name).unwrap().svg;
        assert!(of("pareto-energy_pj_per_sample-cycles_per_sample").contains("EDP 1e"), "lines of equal energy times delay");
        assert!(of("methods").contains("-78%") && of("methods").contains("change against w8a8 on the same chip"));
        assert!(of("transfer").contains("nm-16x16: "));
    }

    #[test]
    fn the_same_results_give_the_same_bytes() {
        assert_eq!(pictures(), pictures());
    }

    #[test]
    fn names_are_escaped() {
        let mut results = study();
        for point in &mut results.points {
            point.recipe = format!("</script><b>{}&", point.recipe);
        }
        for drawn in sweep(&results).unwrap().drawn {
            assert!(!drawn.svg.contains("</script>") && !drawn.svg.contains("<b>"), "{}", drawn.name);
        }
    }

    /// Writes pictures to look at into the folder that `SYSTOLE_PICTURES` names.
    #[test]
    fn pictures_to_look_at() {
        let Some(folder) = std::env::var_os("SYSTOLE_PICTURES").map(std::path::PathBuf::from) else {
            return;
        };
        let mut all = pictures().drawn;
        all.extend(
            crate::plot::run(&crate::report::fixture::deep(30))
                .unwrap()
                .into_iter()
                .map(|drawn| Drawn { name: format!("run-{}", drawn.name), ..drawn }),
        );
        for drawn in all {
            std::fs::write(folder.join(format!("{}.svg", drawn.name)), drawn.svg).unwrap();
            std::fs::write(folder.join(format!("{}.png", drawn.name)), drawn.png).unwrap();
        }
    }
}
