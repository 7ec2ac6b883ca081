//! Points of a sweep over two figures, in panels on common axes: colours and shapes by group, the Pareto front as steps, labelled; what ties with
//! it shaded; lines of equal energy times delay where the axes are these.
//!
//! ```text
//!  panel a                panel b
//!  | o..                  |  .
//!  |    o...  w4          |  o.......
//!  |  .     o  w2         |    .    o
//!  +-----------           +-----------
//! ```
//!
//! Not here: which points are on the front (`findings`).

use super::PlotError;
use super::axis::{Axis, Spread};
use super::canvas::{Align, Canvas, Drawing, Ink, width_of};
use super::palette::{FAINT_INK, GRID, INK, PAPER, SHADE, series};
use super::quantity;
use super::words::{LABEL_SIZE, MARGIN, NOTE_SIZE, NOTE_STEP, Taken, caption, draw_caption, draw_title, key_places, plain};
use crate::findings::{Better, Mark, Panel, Scatter, better, is_energy};
use crate::report::human;
use plotters::prelude::{DrawingBackend, RGBColor};
use std::collections::BTreeMap;

const LEFT: f64 = 92.0;
/// Between panels.
const GAP: f64 = 100.0;
const RADIUS: f64 = 4.8;
/// From a panel's bottom to the next one's title.
const BELOW: f64 = 108.0;
const TICK_SIZE: f64 = 11.5;
/// Lines of equal energy times delay, at most.
const ISO_LINES: usize = 7;

/// The picture, laid out.
pub(super) struct Picture<'s> {
    scatter: &'s Scatter,
    title: String,
    notes: Vec<String>,
    /// Of each panel; heights are common.
    x: Vec<Axis>,
    y: Axis,
    /// A panel's width and height.
    size: (f64, f64),
    columns: usize,
    width: f64,
    /// Where the first panel's title stands, and where keys do.
    top: f64,
    keys: Vec<(Key, String)>,
    key_places: Vec<(f64, f64)>,
}

/// A text and where it ends.
type Label = (String, (f64, f64));

/// What a key shows.
#[derive(Debug, Clone, Copy)]
enum Key {
    Group(usize),
    Front,
    Tie,
    Near,
}

impl<'s> Picture<'s> {
    /// Lays points out; `notes` are what a caption says beside what the points themselves do, and `half_sample` the error that stands for none.
    pub(super) fn of(scatter: &'s Scatter, title: String, mut notes: Vec<String>, half_sample: f64) -> Self {
        let columns = scatter.panels.len().clamp(1, 2);
        let size = if columns == 1 { (680.0, 430.0) } else { (452.0, 330.0) };
        let width = LEFT + size.0 * columns as f64 + GAP * (columns as f64 - 1.0) + MARGIN + 8.0;
        let marks = || scatter.panels.iter().flat_map(|panel| &panel.marks);
        let shown = |column: &str, value: f64| if column.ends_with("error_percent") && value == 0.0 { half_sample } else { value };
        let xs = |panel: &Panel| panel.marks.iter().map(|mark| shown(&scatter.x, mark.x)).collect::<Vec<f64>>();
        let ys = || marks().map(|mark| shown(&scatter.y, mark.y));
        let axis = |values: Vec<f64>, spread: Spread| match spread {
            Spread::Log | Spread::Log2 => Axis::log(values.iter().copied(), 0.0, 1.0),
            Spread::Linear => Axis::linear(values.iter().copied(), 0.0, 1.0),
        };
        let spread = quantity::spread(&scatter.x, scatter.panels.iter().flat_map(xs));
        let x = scatter.panels.iter().map(|panel| axis(xs(panel), spread)).collect();
        let y = axis(ys().collect(), quantity::spread(&scatter.y, ys()));
        let mut keys: Vec<(Key, String)> =
            scatter.groups.iter().enumerate().map(|(number, name)| (Key::Group(number), human::shorten(name, 40))).collect();
        if scatter.panels.iter().any(|panel| !panel.front.is_empty()) {
            keys.push((Key::Front, "Pareto front".to_owned()));
        }
        if scatter.panels.iter().any(|panel| panel.ties.contains(&true)) {
            keys.push((Key::Tie, "neighbours that tie (McNemar, p ≥ 0.05)".to_owned()));
        }
        if scatter.panels.iter().any(|panel| !panel.near.is_empty()) {
            keys.push((Key::Near, "off the front, and tied with it".to_owned()));
        }
        let is_zero_error = |mark: &Mark| {
            [(&scatter.x, mark.x), (&scatter.y, mark.y)].iter().any(|(column, value)| column.ends_with("error_percent") && *value == 0.0)
        };
        if marks().any(is_zero_error) {
            notes.push("errors of 0 stand where half a sample would".to_owned());
        }
        if scatter.panels.iter().any(|panel| nested(panel).iter().any(|(_, is_within)| *is_within)) {
            notes.push("points of the same figures stand within each other".to_owned());
        }
        if scatter.left_out > 0 {
            let points = human::plural(scatter.left_out as u64, "point");
            notes.push(format!("{points} without one of both figures left out"));
        }
        let notes = caption(&[joined(&notes)], width - 2.0 * MARGIN);
        let key_top = 58.0 + NOTE_STEP * notes.len() as f64 + 4.0;
        let (key_places, key_bottom) = key_places(keys.iter().map(|(_, name)| name.as_str()), key_top, width);
        Self { scatter, title, notes, x, y, size, columns, width, top: key_bottom + 32.0, keys, key_places }
    }

    /// The left top corner of a panel's axes.
    fn corner(&self, number: usize) -> (f64, f64) {
        let (row, column) = (number / self.columns, number % self.columns);
        (LEFT + (self.size.0 + GAP) * column as f64, self.top + 40.0 + (self.size.1 + BELOW) * row as f64)
    }

    fn draw_keys<DB: DrawingBackend>(&self, canvas: &Canvas<'_, DB>) -> Result<(), PlotError> {
        for ((key, name), (x, y)) in self.keys.iter().zip(&self.key_places) {
            let at = (x + 8.0, *y);
            match key {
                Key::Group(number) => draw_mark(canvas, at, RADIUS, *number, series(*number))?,
                Key::Front => canvas.line(&[(*x, *y), (x + 16.0, *y)], INK, 1.6)?,
                Key::Tie => canvas.rectangle((*x, y - 6.0), (x + 16.0, y + 6.0), SHADE)?,
                Key::Near => draw_ring(canvas, at)?,
            }
            canvas.text(name, (x + 22.0, *y), Ink { size: NOTE_SIZE, ..plain(INK) })?;
        }
        Ok(())
    }

    fn draw_panel<DB: DrawingBackend>(&self, canvas: &Canvas<'_, DB>, number: usize, panel: &Panel) -> Result<(), PlotError> {
        let (left, top) = self.corner(number);
        let (right, bottom) = (left + self.size.0, top + self.size.1);
        let (x, y) = (self.x[number].moved(left, self.size.0), self.y.moved(bottom, -self.size.1));
        let lowest = |column: &str, axis: Axis, value: f64| {
            let is_zero_error = column.ends_with("error_percent") && value == 0.0 && axis.spread().is_log();
            // The axis begins a third below the half sample.
            axis.place(if is_zero_error { axis.ends().0 * 1.3 } else { value })
        };
        let at = |mark: &Mark| (lowest(&self.scatter.x, x, mark.x), lowest(&self.scatter.y, y, mark.y));
        let shares = nested(panel);
        let (labels, common) = labels(panel);
        canvas.text(&format!("{}{common}", panel.title), (left, top - 32.0), Ink { size: 13.0, is_bold: true, ..plain(INK) })?;
        for (step, is_tie) in panel.ties.iter().enumerate() {
            if *is_tie {
                let (one, other) = (at(&panel.marks[panel.front[step]]), at(&panel.marks[panel.front[step + 1]]));
                let from = (one.0.min(other.0) - 7.0, one.1.min(other.1) - 7.0);
                canvas.rectangle(from, (one.0.max(other.0) + 7.0, one.1.max(other.1) + 7.0), SHADE)?;
            }
        }
        self.draw_axes(canvas, (left, top), (x, y))?;
        let bounds = [left + 2.0, top + 2.0, right - 2.0, bottom - 2.0];
        let iso_labels = self.draw_iso_lines(canvas, (x, y), bounds)?;
        // Steps: what lies above and to the right of them is beaten.
        let mut steps: Vec<(f64, f64)> = Vec::new();
        for place in panel.front.iter().map(|mark| at(&panel.marks[*mark])) {
            if let Some((_, before)) = steps.last().copied() {
                steps.push((place.0, before));
            }
            steps.push(place);
        }
        let beyond = self.beyond(&steps, [left, top, right, bottom]);
        for line in &beyond {
            canvas.line(line, FAINT_INK, 1.0)?;
        }
        if steps.len() > 1 {
            canvas.line(&steps, INK, 1.6)?;
        }
        let mut taken = Taken::default();
        // Above all lines, so that none strikes a label through.
        for (text, (x, y)) in &iso_labels {
            let room = [x - width_of(text, 10.0, false) - 2.0, y - 6.0, x + 2.0, y + 6.0];
            taken.take(room);
            canvas.rectangle((room[0], room[1]), (room[2], room[3]), PAPER)?;
            canvas.text(text, (*x, *y), Ink { size: 10.0, align: Align::Right, ..plain(FAINT_INK) })?;
        }
        for [one, other] in steps.windows(2).map(|pair| [pair[0], pair[1]]).chain(beyond) {
            taken.take([one.0.min(other.0) - 1.0, one.1.min(other.1) - 1.0, one.0.max(other.0) + 1.0, one.1.max(other.1) + 1.0]);
        }
        for number in 0..panel.marks.len() {
            let at = at(&panel.marks[number]);
            taken.take([at.0 - 6.0, at.1 - 6.0, at.0 + 6.0, at.1 + 6.0]);
            if panel.near.contains(&number) {
                draw_ring(canvas, at)?;
            }
        }
        let size = |number: usize| {
            let is_large = panel.front.contains(&number) || panel.front.is_empty();
            shares[number].0 * if is_large { RADIUS + 0.6 } else { RADIUS - 0.8 }
        };
        // What stands within others last, those of the front behind the rest, and of each the larger first.
        let mut order: Vec<usize> = (0..panel.marks.len()).collect();
        order.sort_by(|one, other| {
            let rank = |number: &usize| (shares[*number].1, panel.front.contains(number));
            rank(one).cmp(&rank(other)).then(size(*other).total_cmp(&size(*one)))
        });
        for number in order {
            let mark = &panel.marks[number];
            draw_mark(canvas, at(mark), size(number), mark.group, series(mark.group))?;
        }
        let few = if panel.front.is_empty() && panel.marks.len() <= 12 { (0..panel.marks.len()).collect() } else { Vec::new() };
        for mark in panel.front.iter().chain(&few).copied() {
            let (text, place) = (human::shorten(&labels[mark], 44), at(&panel.marks[mark]));
            if let Some(label) = taken.label(&text, place, bounds) {
                let end = label.0 + width_of(&text, LABEL_SIZE, true);
                let near = place.0.clamp(label.0, end);
                let (across, down) = (place.0 - near, place.1 - label.1);
                if across * across + down * down > 22.0 * 22.0 {
                    canvas.line(&[place, (near, label.1)], FAINT_INK, 0.7)?;
                }
                canvas.text(&text, label, Ink { is_bold: true, ..plain(INK) })?;
            }
        }
        Ok(())
    }

    /// The front beyond its ends, to the panel's edges: what is worse in one figure than the best of the other. `steps` go along x.
    fn beyond(&self, steps: &[(f64, f64)], [left, top, right, bottom]: [f64; 4]) -> Vec<[(f64, f64); 2]> {
        let (Some(first), Some(last)) = (steps.first().copied(), steps.last().copied()) else { return Vec::new() };
        let is_less = |column: &str| better(column) == Better::Less;
        let (is_less_across, is_less_up) = (is_less(&self.scatter.x), is_less(&self.scatter.y));
        let (cheap, good) = if is_less_across { (first, last) } else { (last, first) };
        let (over, under) = (if is_less_across { right } else { left }, if is_less_up { top } else { bottom });
        vec![[cheap, (cheap.0, under)], [good, (over, good.1)]]
    }

    fn draw_axes<DB: DrawingBackend>(
        &self,
        canvas: &Canvas<'_, DB>,
        (left, top): (f64, f64),
        (x, y): (Axis, Axis),
    ) -> Result<(), PlotError> {
        let (right, bottom) = (left + self.size.0, top + self.size.1);
        let small = Ink { size: TICK_SIZE, align: Align::Centre, ..plain(INK) };
        let mut reached = f64::NEG_INFINITY;
        for tick in x.ticks() {
            let at = x.place(tick);
            canvas.rectangle((at - 0.5, top), (at + 0.5, bottom), GRID)?;
            let text = quantity::tick(&self.scatter.x, tick);
            let half = width_of(&text, TICK_SIZE, false) / 2.0;
            if at - half > reached + 6.0 {
                canvas.text(&text, (at, bottom + 15.0), small)?;
                reached = at + half;
            }
        }
        for tick in y.ticks() {
            let at = y.place(tick);
            canvas.rectangle((left, at - 0.5), (right, at + 0.5), GRID)?;
            canvas.text(&quantity::tick(&self.scatter.y, tick), (left - 8.0, at), Ink { align: Align::Right, ..small })?;
        }
        canvas.rectangle((left - 0.5, top), (left + 0.5, bottom), FAINT_INK)?;
        canvas.rectangle((left, bottom - 0.5), (right, bottom + 0.5), FAINT_INK)?;
        let log = |axis: Axis| if axis.spread().is_log() { " (log)" } else { "" };
        let x_label = format!("{}{}", quantity::name(&self.scatter.x), log(x));
        canvas.text(&x_label, (left + self.size.0 / 2.0, bottom + 36.0), Ink { size: NOTE_SIZE, ..small })?;
        let y_label = format!("{}{}", quantity::name(&self.scatter.y), log(y));
        canvas.text(&y_label, (left - 8.0, top - 13.0), Ink { size: NOTE_SIZE, align: Align::Left, ..plain(FAINT_INK) })
    }

    /// Lines on which energy times delay is equal, a power of ten each, where the axes are an energy and a time; their labels, and where these end.
    fn draw_iso_lines<DB: DrawingBackend>(
        &self,
        canvas: &Canvas<'_, DB>,
        (x, y): (Axis, Axis),
        bounds: [f64; 4],
    ) -> Result<Vec<Label>, PlotError> {
        let is_time = |column: &str| column == "latency_s" || column.contains("cycles");
        let (across, up) = (self.scatter.x.as_str(), self.scatter.y.as_str());
        let fits = (is_time(across) && is_energy(up)) || (is_time(up) && is_energy(across));
        if !fits || x.spread() == Spread::Linear || y.spread() == Spread::Linear {
            return Ok(Vec::new());
        }
        let ((x_from, x_to), (y_from, y_to)) = (x.ends(), y.ends());
        let (least, most) = (libm::log10(x_from * y_from), libm::log10(x_to * y_to));
        let every = libm::ceil((most - least) / ISO_LINES as f64).max(1.0);
        let mut power = libm::ceil(least / every) * every;
        let mut labels = Vec::new();
        while power < most {
            let product = libm::pow(10.0, power);
            // From where it enters the panel to where it leaves.
            let (from, to) = ((product / y_to).max(x_from), (product / y_from).min(x_to));
            if from < to {
                let places = [(x.place(from), y.place(product / from)), (x.place(to), y.place(product / to))];
                dashed(canvas, places, RGBColor(0xAA, 0xAA, 0xAA))?;
                let end = places[1];
                if end.1 < bounds[3] - 14.0 || end.0 > bounds[0] + 90.0 {
                    let text = iso_text(across, up, product);
                    let place = (end.0.min(bounds[2] - 4.0), (end.1 - 9.0).clamp(bounds[1] + 24.0, bounds[3] - 8.0));
                    labels.push((text, place));
                }
            }
            power += every;
        }
        Ok(labels)
    }
}

/// The share of its size that each point is drawn with, and whether it stands within another: points of the very same figures do, each smaller than the one
/// before, so that none hides another.
fn nested(panel: &Panel) -> Vec<(f64, bool)> {
    let key = |mark: &Mark| (mark.x.to_bits(), mark.y.to_bits());
    let mut places: BTreeMap<(u64, u64), Vec<usize>> = BTreeMap::new();
    // What is on the front lies below: it is larger already.
    let order = |is_of_front: bool| (0..panel.marks.len()).filter(move |number| panel.front.contains(number) == is_of_front);
    order(true).chain(order(false)).for_each(|number| places.entry(key(&panel.marks[number])).or_default().push(number));
    let mut shares = vec![(1.0, false); panel.marks.len()];
    for together in places.values() {
        let step = 1.0 / together.len() as f64;
        let greatest = 1.0 + 0.6 * step * (together.len() - 1) as f64;
        for (turn, number) in together.iter().enumerate() {
            shares[*number] = (greatest - turn as f64 * step, turn > 0);
        }
    }
    shares
}

/// The labels of a panel's points, without what those of all points that are labelled end with; and that, for the panel's title.
fn labels(panel: &Panel) -> (Vec<String>, String) {
    let parts: Vec<Vec<&str>> = panel.marks.iter().map(|mark| mark.label.split(", ").collect()).collect();
    let all: Vec<usize> = if panel.front.is_empty() { (0..parts.len()).collect() } else { panel.front.clone() };
    let mut common: Vec<&str> = Vec::new();
    if let [first, rest @ ..] = &all[..]
        && !rest.is_empty()
    {
        while let Some(part) = parts[*first].len().checked_sub(common.len() + 1).filter(|at| *at > 0).map(|at| parts[*first][at]) {
            let has = |of: &usize| parts[*of].len() > common.len() + 1 && parts[*of][parts[*of].len() - common.len() - 1] == part;
            if !rest.iter().all(has) {
                break;
            }
            common.push(part);
        }
    }
    let kept = |parts: &Vec<&str>| parts[..parts.len().saturating_sub(common.len()).max(1)].join(", ");
    let told = common.iter().rev().copied().collect::<Vec<_>>().join(", ");
    let what = if panel.front.is_empty() { "all" } else { "front" };
    (parts.iter().map(kept).collect(), if told.is_empty() { told } else { format!("; {what}: {told}") })
}

/// A product of energy and delay: in joules times seconds, or times cycles.
fn iso_text(across: &str, up: &str, product: f64) -> String {
    let unit = if [across, up].contains(&"latency_s") { "J s" } else { "J cycles" };
    let exponent = libm::round(libm::log10(product * 1e-12));
    format!("EDP 1e{exponent:.0} {unit}")
}

/// Sentences of a caption, one behind the other.
pub(super) fn joined(notes: &[String]) -> String {
    notes.iter().filter(|note| !note.is_empty()).map(String::as_str).collect::<Vec<_>>().join("  ·  ")
}

/// Draws a line of dashes between two places.
fn dashed<DB: DrawingBackend>(canvas: &Canvas<'_, DB>, [from, to]: [(f64, f64); 2], colour: RGBColor) -> Result<(), PlotError> {
    let (across, down) = (to.0 - from.0, to.1 - from.1);
    let length = libm::sqrt(across * across + down * down);
    let mut at = 0.0;
    while at < length {
        let place = |along: f64| (from.0 + across * along / length, from.1 + down * along / length);
        canvas.line(&[place(at), place((at + 5.0).min(length))], colour, 1.0)?;
        at += 9.0;
    }
    Ok(())
}

/// A point of a group: each has a shape of its own beside its colour, for grey prints and colour-blind readers.
pub(super) fn draw_mark<DB: DrawingBackend>(
    canvas: &Canvas<'_, DB>,
    (x, y): (f64, f64),
    radius: f64,
    group: usize,
    colour: RGBColor,
) -> Result<(), PlotError> {
    // A pale rim keeps points apart that lie on each other.
    for (radius, colour) in [(radius + 1.0, PAPER), (radius, colour)] {
        let r = radius;
        match group % 5 {
            0 => canvas.dot((x, y), r, colour)?,
            1 => canvas.rectangle((x - 0.88 * r, y - 0.88 * r), (x + 0.88 * r, y + 0.88 * r), colour)?,
            2 => canvas.polygon(&[(x, y - 1.2 * r), (x + 1.1 * r, y + 0.8 * r), (x - 1.1 * r, y + 0.8 * r)], colour)?,
            3 => canvas.polygon(&[(x, y - 1.3 * r), (x + 1.3 * r, y), (x, y + 1.3 * r), (x - 1.3 * r, y)], colour)?,
            _ => canvas.polygon(&[(x, y + 1.2 * r), (x + 1.1 * r, y - 0.8 * r), (x - 1.1 * r, y - 0.8 * r)], colour)?,
        }
    }
    Ok(())
}

/// What goes round a point that ties with the front.
fn draw_ring<DB: DrawingBackend>(canvas: &Canvas<'_, DB>, at: (f64, f64)) -> Result<(), PlotError> {
    canvas.dot(at, 8.5, RGBColor(0x8A, 0xA6, 0xC0))?;
    canvas.dot(at, 7.0, PAPER)
}

impl Drawing for Picture<'_> {
    fn size(&self) -> (u32, u32) {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a page has some thousands of points")]
        let whole = |points: f64| points.ceil() as u32;
        let rows = self.scatter.panels.len().max(1).div_ceil(self.columns);
        (whole(self.width), whole(self.top + 40.0 + (self.size.1 + BELOW) * rows as f64 - 50.0))
    }

    fn draw<DB: DrawingBackend>(&self, canvas: &Canvas<'_, DB>) -> Result<(), PlotError> {
        draw_title(canvas, &self.title)?;
        draw_caption(canvas, &self.notes, 58.0)?;
        self.draw_keys(canvas)?;
        for (number, panel) in self.scatter.panels.iter().enumerate() {
            self.draw_panel(canvas, number, panel)?;
        }
        Ok(())
    }
}
