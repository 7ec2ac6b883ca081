//! Text on a page: titles, captions that are broken into lines, keys of colours, and labels that keep out of each other's way.
//!
//! Not here: pixels (`canvas`).

use super::PlotError;
use super::canvas::{Align, Canvas, Ink, width_of};
use super::palette::{FAINT_INK, INK};
use plotters::prelude::{DrawingBackend, RGBColor};

pub(super) const MARGIN: f64 = 28.0;
pub(super) const TITLE_SIZE: f64 = 19.0;
pub(super) const NOTE_SIZE: f64 = 12.5;
pub(super) const LABEL_SIZE: f64 = 12.0;
/// From a line of a caption to the next.
pub(super) const NOTE_STEP: f64 = 18.0;
/// From a line of a key to the next.
pub(super) const KEY_STEP: f64 = 21.0;

/// Ink for labels.
pub(super) const fn plain(colour: RGBColor) -> Ink {
    Ink { size: LABEL_SIZE, colour, is_bold: false, align: Align::Left }
}

/// A text in lines of at most so many points, broken at spaces.
pub(super) fn wrapped(text: &str, size: f64, width: f64) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    let mut words: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match words.last_mut() {
            // A number stays with its unit.
            Some(last) if last.rsplit(' ').next().is_some_and(|end| end.parse::<f64>().is_ok()) => {
                last.push(' ');
                last.push_str(word);
            }
            _ => words.push(word.to_owned()),
        }
    }
    for word in &words {
        let longer = if line.is_empty() { word.clone() } else { format!("{line} {word}") };
        if !line.is_empty() && width_of(&longer, size, false) > width {
            lines.push(std::mem::replace(&mut line, word.clone()));
        } else {
            line = longer;
        }
    }
    lines.push(line);
    lines
}

/// The lines of a caption.
pub(super) fn caption(notes: &[String], width: f64) -> Vec<String> {
    notes.iter().filter(|note| !note.is_empty()).flat_map(|note| wrapped(note, NOTE_SIZE, width)).collect()
}

/// Draws a title.
pub(super) fn draw_title<DB: DrawingBackend>(canvas: &Canvas<'_, DB>, title: &str) -> Result<(), PlotError> {
    canvas.text(title, (MARGIN, 32.0), Ink { size: TITLE_SIZE, is_bold: true, ..plain(INK) })
}

/// Draws lines of a caption, the first at a height.
pub(super) fn draw_caption<DB: DrawingBackend>(canvas: &Canvas<'_, DB>, lines: &[String], mut y: f64) -> Result<(), PlotError> {
    for line in lines {
        canvas.text(line, (MARGIN, y), Ink { size: NOTE_SIZE, ..plain(FAINT_INK) })?;
        y += NOTE_STEP;
    }
    Ok(())
}

/// Where each entry of a key starts that runs over the page from left to right, and the height of its last line.
pub(super) fn key_places<'n>(names: impl Iterator<Item = &'n str>, top: f64, width: f64) -> (Vec<(f64, f64)>, f64) {
    let (mut x, mut y) = (MARGIN, top);
    let mut places = Vec::new();
    for name in names {
        let own = 22.0 + width_of(name, NOTE_SIZE, false) + 20.0;
        if x > MARGIN && x + own > width - MARGIN + 20.0 {
            (x, y) = (MARGIN, y + KEY_STEP);
        }
        places.push((x, y));
        x += own;
    }
    (places, y)
}

/// Room on a page that is taken.
#[derive(Debug, Default)]
pub(super) struct Taken(Vec<[f64; 4]>);

impl Taken {
    /// Takes a rectangle: left, top, right, bottom.
    pub(super) fn take(&mut self, rectangle: [f64; 4]) {
        self.0.push(rectangle);
    }

    fn is_free(&self, [left, top, right, bottom]: [f64; 4]) -> bool {
        !self.0.iter().any(|taken| left < taken[2] && taken[0] < right && top < taken[3] && taken[1] < bottom)
    }

    /// A place for a label of a point, near it, inside of `bounds`, where nothing is yet; taken from then on. It is the middle of the label's left end.
    pub(super) fn label(&mut self, text: &str, (x, y): (f64, f64), bounds: [f64; 4]) -> Option<(f64, f64)> {
        let width = width_of(text, LABEL_SIZE, true);
        let half = 8.0;
        for reach in [0.0, 12.0, 26.0, 42.0, 60.0, 82.0] {
            // Right, up and right, left, down, and so on.
            let ways = [
                (9.0 + reach, -reach * 0.6 - 9.0),
                (9.0 + reach, 0.0),
                (9.0 + reach, reach * 0.6 + 10.0),
                (-width / 2.0, -reach - 15.0),
                (-9.0 - reach - width, -reach * 0.6 - 9.0),
                (-9.0 - reach - width, 0.0),
                (-9.0 - reach - width, reach * 0.6 + 10.0),
                (-width / 2.0, reach + 16.0),
            ];
            for (across, down) in ways {
                let (left, middle) = (x + across, y + down);
                let own = [left - 2.0, middle - half, left + width + 2.0, middle + half];
                let inside = own[0] >= bounds[0] && own[1] >= bounds[1] && own[2] <= bounds[2] && own[3] <= bounds[3];
                if inside && self.is_free(own) {
                    self.take(own);
                    return Some((left, middle));
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_no_longer_than_they_may_be_and_lose_no_word() {
        let text = "one two three four five six seven eight nine ten";
        let lines = wrapped(text, 12.0, 80.0);
        assert!(lines.len() > 2 && lines.iter().all(|line| width_of(line, 12.0, false) <= 80.0));
        assert_eq!(lines.join(" "), text);
        assert!(wrapped("a clock of 700 MHz and more", 12.0, 62.0).iter().any(|line| line.contains("700 MHz")));
        assert_eq!(wrapped("unbreakable-as-it-is", 12.0, 10.0), ["unbreakable-as-it-is"]);
    }

    #[test]
    fn labels_keep_apart() {
        let mut taken = Taken::default();
        let bounds = [0.0, 0.0, 300.0, 300.0];
        let places: Vec<(f64, f64)> = (0..6).filter_map(|_| taken.label("a label", (150.0, 150.0), bounds)).collect();
        assert_eq!(places.len(), 6);
        let width = width_of("a label", LABEL_SIZE, true);
        for (number, one) in places.iter().enumerate() {
            for other in &places[..number] {
                assert!((one.0 - other.0).abs() > width || (one.1 - other.1).abs() >= 15.9, "{one:?} {other:?}");
            }
        }
        assert_eq!(taken.label("a label", (150.0, 150.0), [149.0, 149.0, 151.0, 151.0]), None);
    }
}
