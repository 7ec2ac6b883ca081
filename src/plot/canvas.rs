//! A page to draw on: rectangles, lines and text at places in points of a page, whether it becomes SVG or PNG.
//!
//! Text of a PNG is set here, glyph by glyph with its bearings and kerning, since the library's own bitmap text drops them. Not here: what
//! is drawn.

use super::palette::PAPER;
use super::{PlotError, png as encoder};
use ab_glyph::{Font, FontRef, Glyph, PxScale, ScaleFont, point};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{FontDesc, FontFamily, FontStyle, register_font};
use std::cell::RefCell;
use std::fmt::Write;
use std::sync::LazyLock;

/// Something that can be drawn on a page.
pub(super) trait Drawing {
    /// Width and height of its page, in points.
    fn size(&self) -> (u32, u32);

    /// Draws it.
    fn draw<DB: DrawingBackend>(&self, canvas: &Canvas<'_, DB>) -> Result<(), PlotError>;
}

/// A page.
pub(super) struct Canvas<'a, DB: DrawingBackend> {
    area: &'a DrawingArea<DB, Shift>,
    /// Pixels a point.
    scale: f64,
    text: TextMode,
    /// Widths of the texts whose words were left to the viewer, in the order in which they were drawn, in points.
    widths: RefCell<Vec<f64>>,
}

/// Who sets text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TextMode {
    /// The viewer of the picture, from its words.
    Words,
    /// We, from the font's outlines.
    Outlines,
}

/// Where a text's place lies in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Align {
    Left,
    Centre,
    Right,
}

/// How a text looks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Ink {
    /// Its em, in points.
    pub(super) size: f64,
    pub(super) colour: RGBColor,
    pub(super) is_bold: bool,
    pub(super) align: Align,
}

/// The family as SVG names it: ours first, then what a viewer without it has.
const FAMILY: &str = "Open Sans, Segoe UI, Helvetica, Arial, sans-serif";
/// The SVG back end divides sizes by this.
const SVG_EM: f64 = 1.24;
/// Pixels of a PNG for a point of the page.
const PNG_SCALE: u32 = 2;
/// Half the height of a lower-case letter in Open Sans, in ems: what is centred on a line.
const HALF_X_HEIGHT: f64 = 0.268;

const REGULAR: &[u8] = include_bytes!("../../assets/OpenSans-Regular.ttf");
const SEMIBOLD: &[u8] = include_bytes!("../../assets/OpenSans-Semibold.ttf");

/// Open Sans, regular and semibold, for text that we set.
static OUTLINES: LazyLock<Result<[FontRef<'static>; 2], PlotError>> =
    LazyLock::new(|| Ok([FontRef::try_from_slice(REGULAR).map_err(failed)?, FontRef::try_from_slice(SEMIBOLD).map_err(failed)?]));

static FONTS: LazyLock<Result<(), PlotError>> = LazyLock::new(|| {
    let broken = |_| PlotError::Draw("the shipped font is broken".to_owned());
    register_font(FAMILY, FontStyle::Normal, REGULAR).map_err(broken)?;
    register_font(FAMILY, FontStyle::Bold, SEMIBOLD).map_err(broken)
});

fn failed(error: impl std::fmt::Display) -> PlotError {
    PlotError::Draw(error.to_string())
}

/// A place on the page in pixels.
fn pixel(at: f64) -> i32 {
    #[expect(clippy::cast_possible_truncation, reason = "a page has some thousands of pixels")]
    let pixel = at.round() as i32;
    pixel
}

impl<DB: DrawingBackend> Canvas<'_, DB> {
    fn pixels(&self, (x, y): (f64, f64)) -> (i32, i32) {
        (pixel(x * self.scale), pixel(y * self.scale))
    }

    /// A filled rectangle between two corners.
    pub(super) fn rectangle(&self, from: (f64, f64), to: (f64, f64), colour: RGBColor) -> Result<(), PlotError> {
        let corners = [self.pixels(from), self.pixels(to)];
        self.area.draw(&Rectangle::new(corners, colour.filled())).map_err(failed)
    }

    /// A line through places.
    pub(super) fn line(&self, places: &[(f64, f64)], colour: RGBColor, width: f64) -> Result<(), PlotError> {
        let places: Vec<(i32, i32)> = places.iter().map(|place| self.pixels(*place)).collect();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a line is some pixels wide")]
        let style = ShapeStyle { color: colour.to_rgba(), filled: true, stroke_width: (width * self.scale).round().max(1.0) as u32 };
        self.area.draw(&PathElement::new(places, style)).map_err(failed)
    }

    /// A filled polygon.
    pub(super) fn polygon(&self, corners: &[(f64, f64)], colour: RGBColor) -> Result<(), PlotError> {
        let corners: Vec<(i32, i32)> = corners.iter().map(|corner| self.pixels(*corner)).collect();
        self.area.draw(&Polygon::new(corners, colour.filled())).map_err(failed)
    }

    /// A filled circle.
    pub(super) fn dot(&self, at: (f64, f64), radius: f64, colour: RGBColor) -> Result<(), PlotError> {
        self.area.draw(&Circle::new(self.pixels(at), pixel(radius * self.scale), colour.filled())).map_err(failed)
    }

    /// A text with the middle of its lower-case letters at this height.
    pub(super) fn text(&self, text: &str, at: (f64, f64), ink: Ink) -> Result<(), PlotError> {
        match self.text {
            TextMode::Words => self.words(text, at, ink),
            TextMode::Outlines => self.outlines(text, at, ink),
        }
    }

    fn words(&self, text: &str, at: (f64, f64), ink: Ink) -> Result<(), PlotError> {
        self.widths.borrow_mut().push(width_of(text, ink.size, ink.is_bold));
        let horizontal = match ink.align {
            Align::Left => HPos::Left,
            Align::Centre => HPos::Center,
            Align::Right => HPos::Right,
        };
        let weight = if ink.is_bold { FontStyle::Bold } else { FontStyle::Normal };
        let font = FontDesc::new(FontFamily::Name(FAMILY), ink.size * self.scale * SVG_EM, weight);
        let style = font.color(&ink.colour).pos(Pos::new(horizontal, VPos::Center));
        self.area.draw(&Text::new(text.to_owned(), self.pixels(at), style)).map_err(failed)
    }

    fn outlines(&self, text: &str, (x, y): (f64, f64), ink: Ink) -> Result<(), PlotError> {
        let (glyphs, width) = set(text, ink.size * self.scale, ink.is_bold)?;
        let start = x * self.scale
            - match ink.align {
                Align::Left => 0.0,
                Align::Centre => width / 2.0,
                Align::Right => width,
            };
        let baseline = (y + HALF_X_HEIGHT * ink.size) * self.scale;
        let font = &OUTLINES.as_ref().map_err(Clone::clone)?[usize::from(ink.is_bold)];
        for mut glyph in glyphs {
            glyph.position.x += single(start);
            glyph.position.y = single(baseline);
            let Some(outline) = font.outline_glyph(glyph) else { continue };
            let corner = outline.px_bounds().min;
            let mut pixels = Vec::new();
            outline.draw(|across, down, coverage| pixels.push((f64::from(across), f64::from(down), f64::from(coverage))));
            for (across, down, coverage) in pixels {
                let place = (pixel(f64::from(corner.x) + across), pixel(f64::from(corner.y) + down));
                self.area.draw_pixel(place, &ink.colour.mix(coverage.min(1.0))).map_err(failed)?;
            }
        }
        Ok(())
    }
}

/// A coordinate as the font library takes it.
fn single(value: f64) -> f32 {
    #[expect(clippy::cast_possible_truncation, reason = "a place on a page needs no more than single precision")]
    let value = value as f32;
    value
}

/// A text's glyphs, the first at 0, and its width, for an em of this many pixels.
fn set(text: &str, em: f64, is_bold: bool) -> Result<(Vec<Glyph>, f64), PlotError> {
    let font = &OUTLINES.as_ref().map_err(Clone::clone)?[usize::from(is_bold)];
    // The font library's scale is the height from descent to ascent.
    let units = f64::from(font.units_per_em().unwrap_or(1000.0));
    let scale = PxScale::from(single(em * f64::from(font.height_unscaled()) / units));
    let scaled = font.as_scaled(scale);
    let (mut glyphs, mut pen) = (Vec::new(), 0.0_f32);
    let mut last = None;
    for letter in text.chars() {
        let id = scaled.glyph_id(letter);
        pen += last.map_or(0.0, |last| scaled.kern(last, id));
        glyphs.push(id.with_scale_and_position(scale, point(pen, 0.0)));
        pen += scaled.h_advance(id);
        last = Some(id);
    }
    Ok((glyphs, f64::from(pen)))
}

/// The width of a text in points. A text that cannot be measured is taken to be wide.
pub(super) fn width_of(text: &str, size: f64, is_bold: bool) -> f64 {
    set(text, size, is_bold).map_or(size * text.chars().count() as f64, |(_, width)| width)
}

/// The drawing as SVG.
pub(super) fn svg(drawing: &impl Drawing) -> Result<String, PlotError> {
    FONTS.clone()?;
    let mut text = String::new();
    let widths;
    {
        let area = SVGBackend::with_string(&mut text, drawing.size()).into_drawing_area();
        area.fill(&PAPER).map_err(failed)?;
        let canvas = Canvas { area: &area, scale: 1.0, text: TextMode::Words, widths: RefCell::default() };
        drawing.draw(&canvas)?;
        area.present().map_err(failed)?;
        widths = canvas.widths.into_inner();
    }
    Ok(fitted(&text, &widths))
}

/// An SVG whose texts are as wide as they are in our font, whatever font the viewer has: nothing overlaps that we set apart.
fn fitted(svg: &str, widths: &[f64]) -> String {
    let mut parts = svg.split("<text ");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for (part, width) in parts.zip(widths) {
        let _ = write!(text, "<text textLength=\"{width:.1}\" lengthAdjust=\"spacingAndGlyphs\" {part}");
    }
    text
}

/// The drawing as PNG, two pixels a point.
pub(super) fn png(drawing: &impl Drawing) -> Result<Vec<u8>, PlotError> {
    let (width, height) = drawing.size();
    let (width, height) = (width * PNG_SCALE, height * PNG_SCALE);
    let mut pixels = vec![0; width as usize * height as usize * 3];
    {
        let area = BitMapBackend::with_buffer(&mut pixels, (width, height)).into_drawing_area();
        area.fill(&PAPER).map_err(failed)?;
        drawing.draw(&Canvas { area: &area, scale: f64::from(PNG_SCALE), text: TextMode::Outlines, widths: RefCell::default() })?;
        area.present().map_err(failed)?;
    }
    encoder::encode(width, height, &pixels).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Two;

    impl Drawing for Two {
        fn size(&self) -> (u32, u32) {
            (200, 100)
        }

        fn draw<DB: DrawingBackend>(&self, canvas: &Canvas<'_, DB>) -> Result<(), PlotError> {
            let ink = Ink { size: 12.0, colour: BLACK, is_bold: false, align: Align::Left };
            canvas.text("a <text b", (10.0, 10.0), ink)?;
            canvas.text("cc", (10.0, 50.0), Ink { is_bold: true, ..ink })
        }
    }

    #[test]
    fn a_viewer_s_font_takes_the_room_of_ours() {
        let svg = svg(&Two).unwrap();
        let wide = |text: &str, is_bold: bool| format!("<text textLength=\"{:.1}\"", width_of(text, 12.0, is_bold));
        assert!(svg.contains(&wide("a <text b", false)) && svg.contains(&wide("cc", true)), "{svg}");
        assert_eq!((svg.matches("<text ").count(), svg.matches("</text>").count()), (2, 2));
    }
}
