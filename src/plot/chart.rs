//! A chart with two logarithmic axes: lines, dots, and a key to the right.
//!
//! ```text
//!  y |      ______  roof
//!    |    /  1 o      1  conv1
//!    |  /      |      2  conv2
//!    |/____2_o_+___
//!               x
//! ```
//!
//! Dots carry numbers, whose names stand in the key; dots that would cover each other share a text. Not here: what is shown.

use super::PlotError;
use super::axis::{Axis, is_positive as is_shown};
use super::canvas::{Align, Canvas, Drawing, Ink, width_of};
use super::palette::{FAINT_INK, GRID, INK, LINES, PAPER};
use crate::report::human;
use plotters::prelude::{DrawingBackend, RGBColor};

const LEFT: f64 = 84.0;
const MARGIN: f64 = 28.0;
const PLOT: (f64, f64) = (640.0, 430.0);
const TITLE_SIZE: f64 = 19.0;
const NOTE_SIZE: f64 = 12.5;
const LABEL_SIZE: f64 = 11.5;
/// A line of the key.
const KEY_STEP: f64 = 19.0;
const RADIUS: f64 = 4.5;

/// Something to plot: places that are not positive and finite are left out.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Chart {
    /// Above everything.
    pub title: String,
    /// Lines below the title.
    pub notes: Vec<String>,
    /// What is to the right.
    pub x_label: String,
    /// What is upwards.
    pub y_label: String,
    /// Lines, each with its name in the key.
    pub lines: Vec<ChartLine>,
    /// What a hollow dot is; nothing where there is none.
    pub hollow: String,
    /// What a full dot is; nothing where there is none.
    pub full: String,
    /// Dots, numbered from 1 in the key.
    pub dots: Vec<ChartDot>,
}

/// A line through places.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ChartLine {
    /// Its name; without one it is not in the key.
    pub name: String,
    /// The places, to the right and upwards.
    pub places: Vec<(f64, f64)>,
    /// Which of the palette's colours it has: 0 is the ink of the axes.
    pub colour: usize,
    /// Whether its places are marked.
    pub is_marked: bool,
}

/// A measured place and, above or below it, one that it is compared with.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ChartDot {
    /// Its name in the key.
    pub name: String,
    /// The place to the right.
    pub x: f64,
    /// What was measured: a full dot.
    pub y: f64,
    /// What it is compared with: a hollow dot.
    pub other: Option<f64>,
}

const FULL: RGBColor = LINES[1];
const HOLLOW: RGBColor = LINES[2];

/// `0.5`, `20`, `5 k`: a tick's value has one digit that counts.
fn tick_text(tick: f64) -> String {
    match tick {
        tick if tick >= 1e9 => format!("{} G", libm::round(tick / 1e9)),
        tick if tick >= 1e6 => format!("{} M", libm::round(tick / 1e6)),
        tick if tick >= 1e4 => format!("{} k", libm::round(tick / 1e3)),
        tick if tick >= 1.0 => libm::round(tick).to_string(),
        tick => human::digits(tick).trim_end_matches('0').to_owned(),
    }
}

/// Dots that share a text.
struct Cluster {
    at: (f64, f64),
    numbers: Vec<usize>,
}

impl Cluster {
    /// `1-3, 7`.
    fn text(&self) -> String {
        let mut runs: Vec<(usize, usize)> = Vec::new();
        for &number in &self.numbers {
            match runs.last_mut() {
                Some((_, last)) if *last + 1 == number => *last = number,
                _ => runs.push((number, number)),
            }
        }
        let run = |(first, last): &(usize, usize)| match last - first {
            0 => first.to_string(),
            1 => format!("{first}, {last}"),
            _ => format!("{first}-{last}"),
        };
        runs.iter().map(run).collect::<Vec<_>>().join(", ")
    }
}

/// The chart, laid out.
pub(super) struct Layout<'c> {
    chart: &'c Chart,
    x: Axis,
    y: Axis,
    top: f64,
    key_width: f64,
    clusters: Vec<Cluster>,
}

impl<'c> Layout<'c> {
    pub(super) fn of(chart: &'c Chart) -> Self {
        let top = 84.0 + 19.0 * chart.notes.len() as f64;
        let places = || chart.lines.iter().flat_map(|line| line.places.iter().copied());
        let dots = || chart.dots.iter().flat_map(|dot| [(dot.x, dot.y)].into_iter().chain(dot.other.map(|other| (dot.x, other))));
        let x = Axis::log(places().chain(dots()).map(|(x, _)| x), LEFT, PLOT.0);
        let y = Axis::log(places().chain(dots()).map(|(_, y)| y), top + PLOT.1, -PLOT.1);
        let mut clusters: Vec<Cluster> = Vec::new();
        for (number, dot) in chart.dots.iter().enumerate().filter(|(_, dot)| is_shown(dot.x) && is_shown(dot.y)) {
            let at = (x.place(dot.x), y.place(dot.y));
            let is_near = |cluster: &&mut Cluster| (cluster.at.0 - at.0).abs() < 16.0 && (cluster.at.1 - at.1).abs() < 12.0;
            match clusters.iter_mut().find(is_near) {
                Some(cluster) => cluster.numbers.push(number + 1),
                None => clusters.push(Cluster { at, numbers: vec![number + 1] }),
            }
        }
        let names =
            chart.lines.iter().map(|line| &line.name).chain([&chart.full, &chart.hollow]).chain(chart.dots.iter().map(|dot| &dot.name));
        let key_width = names.map(|name| width_of(name, LABEL_SIZE, false)).fold(80.0, f64::max) + 34.0;
        Self { chart, x, y, top, key_width, clusters }
    }

    fn at(&self, (x, y): (f64, f64)) -> Option<(f64, f64)> {
        (is_shown(x) && is_shown(y)).then(|| (self.x.place(x), self.y.place(y)))
    }

    fn draw_axes<DB: DrawingBackend>(&self, canvas: &Canvas<'_, DB>) -> Result<(), PlotError> {
        let (right, bottom) = (LEFT + PLOT.0, self.top + PLOT.1);
        let small = Ink { size: LABEL_SIZE, colour: INK, is_bold: false, align: Align::Centre };
        for tick in self.x.ticks() {
            let x = self.x.place(tick);
            canvas.rectangle((x - 0.5, self.top), (x + 0.5, bottom), GRID)?;
            canvas.text(&tick_text(tick), (x, bottom + 15.0), small)?;
        }
        for tick in self.y.ticks() {
            let y = self.y.place(tick);
            canvas.rectangle((LEFT, y - 0.5), (right, y + 0.5), GRID)?;
            canvas.text(&tick_text(tick), (LEFT - 8.0, y), Ink { align: Align::Right, ..small })?;
        }
        canvas.rectangle((LEFT - 0.5, self.top), (LEFT + 0.5, bottom), FAINT_INK)?;
        canvas.rectangle((LEFT, bottom - 0.5), (right, bottom + 0.5), FAINT_INK)?;
        canvas.text(&self.chart.x_label, (LEFT + PLOT.0 / 2.0, bottom + 38.0), Ink { size: NOTE_SIZE, ..small })?;
        canvas.text(&self.chart.y_label, (MARGIN, self.top - 15.0), Ink { size: NOTE_SIZE, align: Align::Left, ..small })
    }

    fn draw_lines<DB: DrawingBackend>(&self, canvas: &Canvas<'_, DB>) -> Result<(), PlotError> {
        for line in &self.chart.lines {
            let places: Vec<(f64, f64)> = line.places.iter().filter_map(|place| self.at(*place)).collect();
            let colour = LINES[line.colour % LINES.len()];
            canvas.line(&places, colour, 2.0)?;
            for place in places.iter().filter(|_| line.is_marked) {
                canvas.dot(*place, 3.5, colour)?;
            }
        }
        Ok(())
    }

    fn draw_dots<DB: DrawingBackend>(&self, canvas: &Canvas<'_, DB>) -> Result<(), PlotError> {
        for dot in &self.chart.dots {
            let (Some(at), other) = (self.at((dot.x, dot.y)), dot.other.and_then(|other| self.at((dot.x, other)))) else { continue };
            if let Some(other) = other {
                canvas.line(&[at, other], FAINT_INK, 1.0)?;
                hollow(canvas, other)?;
            }
        }
        for at in self.chart.dots.iter().filter_map(|dot| self.at((dot.x, dot.y))) {
            canvas.dot(at, RADIUS, FULL)?;
        }
        for Cluster { at: (x, y), .. } in &self.clusters {
            canvas.dot((*x, *y), RADIUS, FULL)?;
        }
        let mut taken: Vec<[f64; 3]> = Vec::new();
        for cluster in &self.clusters {
            let (x, mut y) = cluster.at;
            let text = cluster.text();
            let width = width_of(&text, LABEL_SIZE, true);
            let is_left = x + 12.0 + width > LEFT + PLOT.0;
            let (x, align) = if is_left { (x - 9.0, Align::Right) } else { (x + 9.0, Align::Left) };
            let from = if is_left { x - width } else { x };
            // Texts that would cover each other go below each other.
            while taken.iter().any(|[left, right, at]| from < right + 4.0 && *left < from + width + 4.0 && (at - y).abs() < 13.0) {
                y += 2.0;
            }
            taken.push([from, from + width, y]);
            canvas.text(&text, (x, y + 9.0), Ink { size: LABEL_SIZE, colour: INK, is_bold: true, align })?;
        }
        Ok(())
    }

    fn draw_key<DB: DrawingBackend>(&self, canvas: &Canvas<'_, DB>) -> Result<(), PlotError> {
        let x = LEFT + PLOT.0 + 24.0;
        let mut y = self.top + 6.0;
        let ink = Ink { size: LABEL_SIZE, colour: INK, is_bold: false, align: Align::Left };
        for line in self.chart.lines.iter().filter(|line| !line.name.is_empty()) {
            let colour = LINES[line.colour % LINES.len()];
            canvas.line(&[(x, y), (x + 20.0, y)], colour, 2.0)?;
            if line.is_marked {
                canvas.dot((x + 10.0, y), 3.5, colour)?;
            }
            canvas.text(&line.name, (x + 28.0, y), ink)?;
            y += KEY_STEP;
        }
        for (name, is_full) in [(&self.chart.full, true), (&self.chart.hollow, false)].into_iter().filter(|(name, _)| !name.is_empty()) {
            if is_full {
                canvas.dot((x + 10.0, y), RADIUS, FULL)?;
            } else {
                hollow(canvas, (x + 10.0, y))?;
            }
            canvas.text(name, (x + 28.0, y), ink)?;
            y += KEY_STEP;
        }
        y += 6.0;
        for (number, dot) in self.chart.dots.iter().enumerate() {
            canvas.text(&(number + 1).to_string(), (x + 20.0, y), Ink { is_bold: true, align: Align::Right, ..ink })?;
            canvas.text(&dot.name, (x + 28.0, y), ink)?;
            y += KEY_STEP;
        }
        Ok(())
    }
}

/// A ring.
fn hollow<DB: DrawingBackend>(canvas: &Canvas<'_, DB>, at: (f64, f64)) -> Result<(), PlotError> {
    canvas.dot(at, RADIUS, HOLLOW)?;
    canvas.dot(at, RADIUS - 1.8, PAPER)
}

impl Drawing for Layout<'_> {
    fn size(&self) -> (u32, u32) {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a page has some thousands of points")]
        let whole = |points: f64| points.ceil() as u32;
        let entries = self.chart.lines.len() + self.chart.dots.len() + 3;
        let height = (PLOT.1 + 60.0).max(KEY_STEP * entries as f64);
        let notes = self.chart.notes.iter().map(|note| width_of(note, NOTE_SIZE, false));
        let head = notes.fold(width_of(&self.chart.title, TITLE_SIZE, true), f64::max) + 2.0 * MARGIN;
        (whole((LEFT + PLOT.0 + 24.0 + self.key_width + MARGIN).max(head)), whole(self.top + height))
    }

    fn draw<DB: DrawingBackend>(&self, canvas: &Canvas<'_, DB>) -> Result<(), PlotError> {
        canvas.text(&self.chart.title, (MARGIN, 30.0), Ink { size: TITLE_SIZE, colour: INK, is_bold: true, align: Align::Left })?;
        let mut y = 56.0;
        for note in &self.chart.notes {
            canvas.text(note, (MARGIN, y), Ink { size: NOTE_SIZE, colour: FAINT_INK, is_bold: false, align: Align::Left })?;
            y += 19.0;
        }
        self.draw_axes(canvas)?;
        self.draw_lines(canvas)?;
        self.draw_dots(canvas)?;
        self.draw_key(canvas)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_short() {
        assert_eq!([0.02, 0.5, 1.0, 5e3, 2e5, 1e7].map(tick_text), ["0.02", "0.5", "1", "5000", "200 k", "10 M"]);
    }

    #[test]
    fn numbers_that_follow_each_other_are_one_text() {
        let cluster = |numbers: &[usize]| Cluster { at: (0.0, 0.0), numbers: numbers.to_vec() }.text();
        assert_eq!([cluster(&[1]), cluster(&[1, 2]), cluster(&[1, 2, 3, 7])], ["1", "1, 2", "1-3, 7"]);
    }
}
