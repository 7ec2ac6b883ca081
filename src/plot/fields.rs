//! Fields in rows and columns, each with a colour and a text, in panels one below the other.
//!
//! ```text
//!            edge    nm
//!  w8a8     | 1.0 | 1.0 |
//!  2:4      | 1.0 | 0.6 |
//! ```
//!
//! Not here: what the fields say.

use super::PlotError;
use super::canvas::{Align, Canvas, Drawing, Ink, width_of};
use super::palette::{FAINT_INK, INK, PAPER, ink_on};
use super::scatter::joined;
use super::words::{LABEL_SIZE, MARGIN, NOTE_SIZE, NOTE_STEP, TITLE_SIZE, caption, draw_caption, draw_title, plain};
use crate::report::human;
use plotters::prelude::{DrawingBackend, RGBColor};

const HEIGHT: f64 = 30.0;
const LEAST_WIDTH: f64 = 58.0;
const LONGEST_NAME: usize = 30;
/// Above a panel's fields: its title and the names of columns.
const HEAD: f64 = 62.0;
/// Characters of a name of a column in a line.
const COLUMN_NAME: f64 = 116.0;

/// Panels of fields.
pub(super) struct Fields {
    pub(super) title: String,
    pub(super) notes: Vec<String>,
    pub(super) panels: Vec<FieldPanel>,
    /// Panels beside each other.
    pub(super) across: usize,
}

/// A panel.
pub(super) struct FieldPanel {
    pub(super) title: String,
    /// What rows and columns are.
    pub(super) row_label: String,
    pub(super) column_label: String,
    pub(super) rows: Vec<String>,
    pub(super) columns: Vec<String>,
    /// Rows of fields; nothing where there is no point.
    pub(super) fields: Vec<Vec<Option<Field>>>,
}

/// A field.
#[derive(Debug, Clone)]
pub(super) struct Field {
    pub(super) text: String,
    pub(super) colour: RGBColor,
}

/// Panels, laid out.
pub(super) struct Picture {
    fields: Fields,
    notes: Vec<String>,
    /// Where fields start in a panel, and a field's width, of all panels.
    left: f64,
    cell: f64,
    /// Of a panel, and of the page.
    panel_width: f64,
    width: f64,
    top: f64,
}

impl Picture {
    pub(super) fn of(fields: Fields) -> Self {
        let names = fields.panels.iter().flat_map(|panel| panel.rows.iter().chain([&panel.row_label]));
        let left = MARGIN + names.map(|name| width_of(&shortened(name), LABEL_SIZE, false)).fold(60.0, f64::max) + 14.0;
        let texts = fields.panels.iter().flat_map(|panel| panel.fields.iter().flatten().flatten().map(|field| &field.text));
        let columns = fields.panels.iter().flat_map(|panel| &panel.columns);
        let names = columns.map(|name| width_of(&shortened(name), LABEL_SIZE, false).min(COLUMN_NAME));
        let cell = texts.map(|text| width_of(text, LABEL_SIZE, false)).chain(names).fold(LEAST_WIDTH - 14.0, f64::max) + 14.0;
        let most = fields.panels.iter().map(|panel| panel.columns.len()).max().unwrap_or(0);
        let titles = fields.panels.iter().map(|panel| width_of(&panel.title, 13.5, true) + MARGIN).fold(0.0, f64::max);
        let panel_width = (left + cell * most as f64 + 10.0).max(titles + 16.0);
        let across = fields.across.clamp(1, fields.panels.len().max(1)) as f64;
        let width = (panel_width * across + MARGIN).max(width_of(&fields.title, TITLE_SIZE, true) + 2.0 * MARGIN).max(560.0);
        let notes = caption(&[joined(&fields.notes)], width - 2.0 * MARGIN);
        let top = 62.0 + NOTE_STEP * notes.len() as f64;
        Self { fields, notes, left, cell, panel_width, width, top }
    }

    fn draw_panel<DB: DrawingBackend>(
        &self,
        canvas: &Canvas<'_, DB>,
        panel: &FieldPanel,
        (start, top): (f64, f64),
    ) -> Result<(), PlotError> {
        let centred = Ink { align: Align::Centre, ..plain(INK) };
        let first = top + HEAD;
        canvas.text(&panel.title, (start + MARGIN, top + 12.0), Ink { size: 13.5, is_bold: true, ..plain(INK) })?;
        let faint = Ink { size: NOTE_SIZE, ..plain(FAINT_INK) };
        canvas.text(&panel.row_label, (start + MARGIN, first - 12.0), faint)?;
        canvas.text(&panel.column_label, (start + self.left, first - 30.0), faint)?;
        for (column, name) in panel.columns.iter().enumerate() {
            let middle = start + self.left + self.cell * (column as f64 + 0.5);
            canvas.text(&fitted(name, self.cell - 6.0), (middle, first - 11.0), centred)?;
        }
        for (row, (name, fields)) in panel.rows.iter().zip(&panel.fields).enumerate() {
            let (from, to) = (first + HEIGHT * row as f64, first + HEIGHT * (row as f64 + 1.0));
            let middle = f64::midpoint(from, to);
            canvas.text(&shortened(name), (start + self.left - 10.0, middle), Ink { align: Align::Right, ..plain(INK) })?;
            for (column, field) in fields.iter().enumerate() {
                let left = start + self.left + self.cell * column as f64;
                let colour = field.as_ref().map_or(RGBColor(0xF0, 0xF0, 0xF0), |field| field.colour);
                canvas.rectangle((left, from), (left + self.cell, to), PAPER)?;
                canvas.rectangle((left + 1.0, from + 1.0), (left + self.cell - 1.0, to - 1.0), colour)?;
                let (text, ink) = field.as_ref().map_or(("–", FAINT_INK), |field| (field.text.as_str(), ink_on(colour)));
                canvas.text(text, (left + self.cell / 2.0, middle), Ink { align: Align::Centre, ..plain(ink) })?;
            }
        }
        Ok(())
    }
}

/// The height of panels beside each other.
fn row_height(panels: &[FieldPanel]) -> f64 {
    HEAD + HEIGHT * panels.iter().map(|panel| panel.rows.len()).max().unwrap_or(0) as f64 + 26.0
}

fn shortened(name: &str) -> String {
    human::shorten(name, LONGEST_NAME)
}

/// A name of a column, cut to its width.
fn fitted(name: &str, width: f64) -> String {
    let mut text = shortened(name);
    let mut kept = text.chars().count();
    while kept > 3 && width_of(&text, LABEL_SIZE, false) > width {
        kept -= 1;
        text = human::shorten(name, kept);
    }
    text
}

impl Drawing for Picture {
    fn size(&self) -> (u32, u32) {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a page has some thousands of points")]
        let whole = |points: f64| points.ceil() as u32;
        let height: f64 = self.fields.panels.chunks(self.fields.across.max(1)).map(row_height).sum();
        (whole(self.width), whole(self.top + height + 8.0))
    }

    fn draw<DB: DrawingBackend>(&self, canvas: &Canvas<'_, DB>) -> Result<(), PlotError> {
        draw_title(canvas, &self.fields.title)?;
        draw_caption(canvas, &self.notes, 58.0)?;
        let mut top = self.top;
        for row in self.fields.panels.chunks(self.fields.across.max(1)) {
            for (number, panel) in row.iter().enumerate() {
                self.draw_panel(canvas, panel, (self.panel_width * number as f64, top))?;
            }
            top += row_height(row);
        }
        Ok(())
    }
}
