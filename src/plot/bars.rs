//! Horizontal bars of segments, in panels one below the other, each with a scale of its own and a figure to the right of every bar.
//!
//! ```text
//!  energy a sample            0    1 µJ   2 µJ
//!  DRAM    |==========|                        63%
//!  MACs    |==|                                 9%
//! ```
//!
//! Not here: what the bars say.

use super::PlotError;
use super::canvas::{Align, Canvas, Drawing, Ink, width_of};
use super::palette::{FAINT_INK, GRID, INK, PAPER, ink_on};
use super::scatter::joined;
use super::words::{LABEL_SIZE, MARGIN, NOTE_SIZE, NOTE_STEP, TITLE_SIZE, caption, draw_caption, draw_title, key_places, plain};
use super::{axis::Axis, quantity};
use plotters::prelude::{DrawingBackend, RGBColor};

const WIDTH: f64 = 900.0;
const ROW: f64 = 29.0;
/// Above a panel's bars, and below.
const HEAD: f64 = 34.0;
const FOOT: f64 = 48.0;
const TICK_SIZE: f64 = 11.5;

/// Panels of bars.
pub(super) struct Bars {
    pub(super) title: String,
    pub(super) notes: Vec<String>,
    /// What colours are.
    pub(super) key: Vec<(String, RGBColor)>,
    pub(super) panels: Vec<BarPanel>,
}

/// A panel.
pub(super) struct BarPanel {
    pub(super) title: String,
    /// The column whose unit values have.
    pub(super) column: &'static str,
    pub(super) rows: Vec<BarRow>,
}

/// A bar.
pub(super) struct BarRow {
    pub(super) name: String,
    /// Its parts, from left to right, with texts where they fit.
    pub(super) segments: Vec<(f64, RGBColor, String)>,
    /// What stands to its right.
    pub(super) figure: String,
}

/// Panels, laid out.
pub(super) struct Picture {
    bars: Bars,
    notes: Vec<String>,
    places: Vec<(f64, f64)>,
    left: f64,
    right: f64,
    top: f64,
}

impl Picture {
    pub(super) fn of(bars: Bars) -> Self {
        let notes = caption(&[joined(&bars.notes)], WIDTH - 2.0 * MARGIN);
        let below = 58.0 + NOTE_STEP * notes.len() as f64 + 4.0;
        let (places, last) = key_places(bars.key.iter().map(|(name, _)| name.as_str()), below, WIDTH);
        let top = if bars.key.is_empty() { below - 4.0 } else { last + 24.0 };
        let rows = || bars.panels.iter().flat_map(|panel| &panel.rows);
        let widest = |texts: &mut dyn Iterator<Item = &String>| texts.map(|text| width_of(text, LABEL_SIZE, false)).fold(50.0, f64::max);
        let left = MARGIN + widest(&mut rows().map(|row| &row.name)) + 14.0;
        let right = WIDTH.max(width_of(&bars.title, TITLE_SIZE, true)) - MARGIN - widest(&mut rows().map(|row| &row.figure)) - 14.0;
        Self { notes, places, left, right: right.max(left + 200.0), top, bars }
    }

    fn draw_panel<DB: DrawingBackend>(&self, canvas: &Canvas<'_, DB>, panel: &BarPanel, top: f64) -> Result<(), PlotError> {
        canvas.text(&panel.title, (MARGIN, top + 10.0), Ink { size: 13.5, is_bold: true, ..plain(INK) })?;
        let first = top + HEAD;
        let bottom = first + ROW * panel.rows.len() as f64;
        let sum = |row: &BarRow| row.segments.iter().map(|(value, ..)| value).sum::<f64>();
        let longest = panel.rows.iter().map(sum).fold(0.0, f64::max);
        let end = if longest > 0.0 { longest * 1.01 } else { 1.0 };
        let x = |value: f64| self.left + (self.right - self.left) * value / end;
        let ticks = if longest > 0.0 { Axis::linear([0.0, longest].into_iter(), 0.0, 1.0).ticks() } else { vec![0.0] };
        for tick in ticks.into_iter().filter(|tick| *tick <= end) {
            let at = x(tick);
            canvas.rectangle((at - 0.5, first), (at + 0.5, bottom + 4.0), if tick == 0.0 { FAINT_INK } else { GRID })?;
            let text = if tick == 0.0 { "0".to_owned() } else { quantity::tick(panel.column, tick) };
            canvas.text(&text, (at, bottom + 15.0), Ink { size: TICK_SIZE, align: Align::Centre, ..plain(INK) })?;
        }
        for (number, row) in panel.rows.iter().enumerate() {
            let middle = first + ROW * (number as f64 + 0.5);
            let half = ROW * 0.36;
            canvas.text(&row.name, (self.left - 10.0, middle), Ink { align: Align::Right, ..plain(INK) })?;
            let mut spent = 0.0;
            for (value, colour, text) in row.segments.iter().filter(|(value, ..)| *value > 0.0) {
                let (from, to) = (x(spent), x(spent + value));
                spent += value;
                canvas.rectangle((from, middle - half), (to, middle + half), *colour)?;
                if to - from > 3.0 {
                    canvas.rectangle((to - 1.0, middle - half), (to, middle + half), PAPER)?;
                }
                if !text.is_empty() && width_of(text, TICK_SIZE, false) + 10.0 < to - from {
                    let ink = Ink { size: TICK_SIZE, align: Align::Centre, ..plain(ink_on(*colour)) };
                    canvas.text(text, (f64::midpoint(from, to), middle), ink)?;
                }
            }
            canvas.text(&row.figure, (self.right + 10.0, middle), plain(INK))?;
        }
        Ok(())
    }
}

impl Drawing for Picture {
    fn size(&self) -> (u32, u32) {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a page has some thousands of points")]
        let whole = |points: f64| points.ceil() as u32;
        let height: f64 = self.bars.panels.iter().map(|panel| HEAD + ROW * panel.rows.len() as f64 + FOOT).sum();
        let width = WIDTH.max(width_of(&self.bars.title, TITLE_SIZE, true) + 2.0 * MARGIN);
        (whole(width.max(self.right + MARGIN)), whole(self.top + height))
    }

    fn draw<DB: DrawingBackend>(&self, canvas: &Canvas<'_, DB>) -> Result<(), PlotError> {
        draw_title(canvas, &self.bars.title)?;
        draw_caption(canvas, &self.notes, 58.0)?;
        for ((name, colour), (x, y)) in self.bars.key.iter().zip(&self.places) {
            canvas.rectangle((*x, y - 6.5), (x + 13.0, y + 6.5), *colour)?;
            canvas.text(name, (x + 20.0, *y), Ink { size: NOTE_SIZE, ..plain(INK) })?;
        }
        let mut top = self.top;
        for panel in &self.bars.panels {
            self.draw_panel(canvas, panel, top)?;
            top += HEAD + ROW * panel.rows.len() as f64 + FOOT;
        }
        Ok(())
    }
}
