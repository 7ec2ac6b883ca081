//! The picture of a model's graph, layers from top to bottom, and the same graph in Graphviz's language.
//!
//! `layout-rs` places the layers and leads the edges round them (Sugiyama's way: ranks, few crossings, splines); what it would draw is taken
//! down and drawn on our page. A layer table does not say which layer reads which: its layers are joined by dashed lines, in their order.

use super::PlotError;
use super::canvas::{Align, Canvas, Drawing, Ink, width_of};
use super::palette::{FAINT_INK, INK};
use crate::report::{ModelKind, ModelLayer, ModelReport, human, shape};
use layout::core::base::Orientation;
use layout::core::color::Color;
use layout::core::format::{ClipHandle, RenderBackend};
use layout::core::geometry::{Point, Position};
use layout::core::style::{LineStyleKind, StyleAttr};
use layout::std_shapes::shapes::{Arrow, Element, LineEndKind, ShapeKind};
use layout::topo::layout::VisualGraph;
use petgraph::dot::{Config, Dot};
use petgraph::graph::DiGraph;
use plotters::prelude::{DrawingBackend, RGBColor};
use std::collections::BTreeSet;

/// The most layers of a picture: the time to place them grows faster than their number.
pub(super) const MAX_LAYERS: usize = 1000;
/// Characters of a layer's name.
const NAME_WIDTH: usize = 40;
/// Points: the em of a layer's name and of what is below it, and from one line to the next.
const NAME_EM: f64 = 12.0;
const TEXT_EM: f64 = 10.0;
const LINE: f64 = 15.0;
/// Points around a box's text, from box to box, and around the page.
const INSIDE: f64 = 10.0;
const APART: f64 = 15.0;
const MARGIN: f64 = 20.0;
/// How much wider a text may be where a viewer has not our font.
const OTHER_FONT: f64 = 1.15;
/// Points that the title takes.
const HEAD: f64 = 46.0;
/// Straight pieces that a bend is drawn with.
const PIECES: u32 = 6;
/// Points of a dash and of the gap behind it.
const DASH: f64 = 4.0;

/// A layer that multiplies, and one that does not.
const MULTIPLIES: RGBColor = RGBColor(0xCC, 0xE3, 0xF0);
const OTHER: RGBColor = RGBColor(0xF0, 0xF0, 0xF0);

/// A model's graph with a place for everything.
pub(super) struct Picture<'a> {
    report: &'a ModelReport,
    taken: Taken,
    size: (u32, u32),
}

/// What the layout would have drawn.
#[derive(Debug, Default)]
struct Taken {
    /// The upper left corner and the size of each layer's box.
    boxes: Vec<(Point, Point)>,
    /// Places along each edge, and whether it is dashed.
    edges: Vec<(Vec<(f64, f64)>, bool)>,
}

impl RenderBackend for Taken {
    fn draw_rect(&mut self, xy: Point, size: Point, _: &StyleAttr, _: Option<String>, _: Option<ClipHandle>) {
        self.boxes.push((xy, size));
    }

    fn draw_arrow(&mut self, path: &[(Point, Point)], dashed: bool, _: (bool, bool), _: &StyleAttr, _: Option<String>, _: &str) {
        self.edges.push((along(path), dashed));
    }

    fn draw_line(&mut self, _: Point, _: Point, _: &StyleAttr, _: Option<String>) {}

    fn draw_circle(&mut self, _: Point, _: Point, _: &StyleAttr, _: Option<String>) {}

    fn draw_text(&mut self, _: Point, _: &str, _: &StyleAttr) {}

    fn create_clip(&mut self, _: Point, _: Point, _: usize) -> ClipHandle {
        0
    }
}

/// Places along cubic Bezier curves: the first pair is a place and the control point behind it, each other one a control point and the place
/// behind it; the control point that a curve starts with mirrors the one that the curve before ended with.
fn along(path: &[(Point, Point)]) -> Vec<(f64, f64)> {
    let Some((&(start, control), rest)) = path.split_first() else { return Vec::new() };
    let (mut from, mut control) = (start, control);
    let mut places = vec![(from.x, from.y)];
    for &(before, to) in rest {
        for piece in 1..=PIECES {
            let t = f64::from(piece) / f64::from(PIECES);
            let s = 1.0 - t;
            let [a, b, c, d] = [s * s * s, 3.0 * s * s * t, 3.0 * s * t * t, t * t * t];
            let at = |of: fn(Point) -> f64| a * of(from) + b * of(control) + c * of(before) + d * of(to);
            places.push((at(|point| point.x), at(|point| point.y)));
        }
        (from, control) = (to, to.add(to.sub(before)));
    }
    places
}

/// The lines of a layer's box: its name, what it does and yields, and what it costs.
fn lines(layer: &ModelLayer) -> Vec<String> {
    let mut lines = vec![human::shorten(&layer.name, NAME_WIDTH), format!("{}  ·  {}", layer.op_line(), shape(&layer.output))];
    if layer.macs > 0 {
        lines.push(format!("{} MACs  ·  {} parameters", human::si(layer.macs as f64, ""), human::si(layer.parameters as f64, "")));
    }
    lines
}

/// The edges of a model, each once: from, to.
fn edges(report: &ModelReport) -> Vec<(usize, usize)> {
    match report.kind {
        ModelKind::LayerTable => (1..report.layers.len()).map(|place| (place - 1, place)).collect(),
        ModelKind::Network => {
            let all = report.layers.iter().enumerate().flat_map(|(place, layer)| layer.reads.iter().map(move |read| (*read, place)));
            all.collect::<BTreeSet<_>>().into_iter().collect()
        }
    }
}

impl<'a> Picture<'a> {
    pub(super) fn of(report: &'a ModelReport) -> Result<Self, PlotError> {
        let layers = report.layers.len();
        if layers > MAX_LAYERS {
            return Err(PlotError::TooManyLayers { layers, limit: MAX_LAYERS });
        }
        let look = StyleAttr::new(Color::fast("black"), 1, None, 0, 10);
        let mut graph = VisualGraph::new(Orientation::TopToBottom);
        let nodes: Vec<_> = report
            .layers
            .iter()
            .map(|layer| {
                let lines = lines(layer);
                let widths = lines.iter().enumerate().map(|(number, line)| width_of(line, em(number), number == 0));
                let size = Point::new(OTHER_FONT * widths.fold(0.0, f64::max) + 2.0 * INSIDE, lines.len() as f64 * LINE + INSIDE);
                let mut element = Element::create(ShapeKind::new_box(""), look.clone(), Orientation::TopToBottom, size);
                element.pos = Position::new(Point::zero(), size, Point::zero(), Point::splat(2.0 * APART));
                graph.add_node(element)
            })
            .collect();
        let style = if report.kind == ModelKind::LayerTable { LineStyleKind::Dashed } else { LineStyleKind::Normal };
        for (from, to) in edges(report) {
            graph.add_edge(Arrow::new(LineEndKind::None, LineEndKind::Arrow, style, "", &look, &None, &None), nodes[from], nodes[to]);
        }
        let mut taken = Taken::default();
        if !nodes.is_empty() {
            graph.do_it(false, false, false, &mut taken);
        }
        let size = taken.put_at((MARGIN, MARGIN + HEAD));
        let width =
            [title(report), subtitle(report)].iter().map(|text| OTHER_FONT * width_of(text, NAME_EM + 4.0, true)).fold(size.0, f64::max);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a page has some tens of thousands of points")]
        let size = ((width + 2.0 * MARGIN) as u32, (size.1 + HEAD + 2.0 * MARGIN) as u32);
        Ok(Self { report, taken, size })
    }
}

impl Taken {
    /// Moves everything so that its upper left corner is there; its width and height.
    fn put_at(&mut self, (x, y): (f64, f64)) -> (f64, f64) {
        let corners = self.boxes.iter().flat_map(|(at, size)| [(at.x, at.y), (at.x + size.x, at.y + size.y)]);
        let places: Vec<(f64, f64)> = corners.chain(self.edges.iter().flat_map(|(places, _)| places.iter().copied())).collect();
        let Some(&first) = places.first() else { return (0.0, 0.0) };
        let (left, top) = places.iter().fold(first, |least, place| (least.0.min(place.0), least.1.min(place.1)));
        let (right, bottom) = places.iter().fold(first, |most, place| (most.0.max(place.0), most.1.max(place.1)));
        let by = (x - left, y - top);
        for (at, _) in &mut self.boxes {
            *at = at.add(Point::new(by.0, by.1));
        }
        for place in self.edges.iter_mut().flat_map(|(places, _)| places) {
            *place = (place.0 + by.0, place.1 + by.1);
        }
        (right - left, bottom - top)
    }
}

/// The em of a line of a box.
const fn em(line: usize) -> f64 {
    if line == 0 { NAME_EM } else { TEXT_EM }
}

fn title(report: &ModelReport) -> String {
    let (macs, parameters) = (human::si(report.macs as f64, ""), human::si(report.parameters as f64, ""));
    format!("{}  ·  {macs} MACs  ·  {parameters} parameters", human::shorten(&report.name, NAME_WIDTH))
}

fn subtitle(report: &ModelReport) -> String {
    match report.kind {
        ModelKind::Network => "network; blue: layers that multiply".to_owned(),
        ModelKind::LayerTable => "layer table, in its order: it does not say which layer reads which".to_owned(),
    }
}

impl Drawing for Picture<'_> {
    fn size(&self) -> (u32, u32) {
        self.size
    }

    fn draw<DB: DrawingBackend>(&self, canvas: &Canvas<'_, DB>) -> Result<(), PlotError> {
        let ink = |size, colour, is_bold, align| Ink { size, colour, is_bold, align };
        canvas.text(&title(self.report), (MARGIN, MARGIN + 4.0), ink(NAME_EM + 4.0, INK, true, Align::Left))?;
        canvas.text(&subtitle(self.report), (MARGIN, MARGIN + 24.0), ink(TEXT_EM + 1.0, FAINT_INK, false, Align::Left))?;
        for (places, is_dashed) in &self.taken.edges {
            if *is_dashed {
                for dash in dashes(places) {
                    canvas.line(&dash, FAINT_INK, 1.0)?;
                }
            } else {
                canvas.line(places, FAINT_INK, 1.0)?;
            }
            if let [.., before, tip] = places.as_slice() {
                canvas.polygon(&head(*before, *tip), FAINT_INK)?;
            }
        }
        for (layer, (at, size)) in self.report.layers.iter().zip(&self.taken.boxes) {
            let (from, to) = ((at.x, at.y), (at.x + size.x, at.y + size.y));
            canvas.rectangle(from, to, if layer.macs > 0 { MULTIPLIES } else { OTHER })?;
            canvas.line(&[from, (to.0, from.1), to, (from.0, to.1), from], FAINT_INK, 1.0)?;
            for (number, line) in lines(layer).iter().enumerate() {
                let place = (at.x + size.x / 2.0, at.y + INSIDE / 2.0 + (number as f64 + 0.5) * LINE);
                canvas.text(line, place, ink(em(number), INK, number == 0, Align::Centre))?;
            }
        }
        Ok(())
    }
}

/// The dashes of a line.
fn dashes(places: &[(f64, f64)]) -> Vec<Vec<(f64, f64)>> {
    let mut all = Vec::new();
    let (mut dash, mut left, mut is_dash) = (Vec::new(), DASH, true);
    for pair in places.windows(2) {
        let (mut from, to) = (pair[0], pair[1]);
        loop {
            let (dx, dy) = (to.0 - from.0, to.1 - from.1);
            let length = (dx * dx + dy * dy).sqrt();
            if is_dash && dash.is_empty() {
                dash.push(from);
            }
            if length < left {
                left -= length;
                dash.extend(is_dash.then_some(to));
                break;
            }
            from = (from.0 + dx * left / length, from.1 + dy * left / length);
            if is_dash {
                dash.push(from);
                all.push(std::mem::take(&mut dash));
            }
            (left, is_dash) = (DASH, !is_dash);
        }
    }
    all.extend((dash.len() > 1).then_some(dash));
    all
}

/// The head of an arrow.
fn head(before: (f64, f64), tip: (f64, f64)) -> [(f64, f64); 3] {
    const LONG: f64 = 7.0;
    const WIDE: f64 = 3.0;
    let (dx, dy) = (tip.0 - before.0, tip.1 - before.1);
    let length = (dx * dx + dy * dy).sqrt().max(f64::MIN_POSITIVE);
    let (dx, dy) = (dx / length, dy / length);
    let back = (tip.0 - LONG * dx, tip.1 - LONG * dy);
    [tip, (back.0 - WIDE * dy, back.1 + WIDE * dx), (back.0 + WIDE * dy, back.1 - WIDE * dx)]
}

/// The graph in Graphviz's language.
pub(super) fn dot(report: &ModelReport) -> String {
    let mut graph = DiGraph::<&ModelLayer, ()>::new();
    let nodes: Vec<_> = report.layers.iter().map(|layer| graph.add_node(layer)).collect();
    for (from, to) in edges(report) {
        graph.add_edge(nodes[from], nodes[to], ());
    }
    let is_table = report.kind == ModelKind::LayerTable;
    let edge = |_, _| if is_table { "style=dashed".to_owned() } else { String::new() };
    let node = |_, (_, layer): (_, &&ModelLayer)| {
        let fill = if layer.macs > 0 { ", style=filled, fillcolor=\"#cce3f0\"" } else { "" };
        format!("label=\"{}\", shape=box{fill}", lines(layer).iter().map(|line| escaped(line)).collect::<Vec<_>>().join("\\n"))
    };
    format!("{:?}", Dot::with_attr_getters(&graph, &[Config::NodeNoLabel, Config::EdgeNoLabel], &edge, &node))
}

/// A text inside of quotes.
fn escaped(text: &str) -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().map(plain).collect::<String>().replace('\\', "\\\\").replace('"', "\\\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(kind: ModelKind, reads: &[&[usize]]) -> ModelReport {
        let layer = |(place, reads): (usize, &&[usize])| ModelLayer {
            name: format!("layer<{place}> \"é\""),
            op: "conv".to_owned(),
            reads: reads.to_vec(),
            output: vec![8, 16, 16],
            groups: 1,
            repeat: 1,
            macs: place as u64,
            ..ModelLayer::default()
        };
        let layers = reads.iter().enumerate().map(layer).collect();
        ModelReport {
            name: "net".to_owned(),
            kind,
            source: String::new(),
            notes: Vec::new(),
            layers,
            macs: 1,
            parameters: 2,
            pruned: Vec::new(),
        }
    }

    /// A residual block: the sum reads the input past two layers.
    const BLOCK: [&[usize]; 4] = [&[], &[0], &[1], &[2, 0]];

    #[test]
    fn boxes_do_not_meet_and_lie_on_the_page_from_top_to_bottom() {
        let report = report(ModelKind::Network, &BLOCK);
        let picture = Picture::of(&report).unwrap();
        let boxes = &picture.taken.boxes;
        assert_eq!((boxes.len(), picture.taken.edges.len()), (4, 4));
        for pair in boxes.windows(2) {
            assert!(pair[0].0.y + pair[0].1.y < pair[1].0.y, "{boxes:?}");
        }
        let size = (f64::from(picture.size.0), f64::from(picture.size.1));
        let inside = |(x, y): (f64, f64)| x >= 0.0 && y >= HEAD && x <= size.0 && y <= size.1;
        assert!(boxes.iter().all(|(at, size)| inside((at.x, at.y)) && inside((at.x + size.x, at.y + size.y))));
        assert!(picture.taken.edges.iter().all(|(places, is_dashed)| places.iter().all(|place| inside(*place)) && !is_dashed));
        // The edge past two layers goes round their boxes.
        let meets = |place: (f64, f64), (at, size): (Point, Point)| {
            place.0 > at.x && place.0 < at.x + size.x && place.1 > at.y && place.1 < at.y + size.y
        };
        let long = picture.taken.edges.iter().map(|(places, _)| places).max_by(|one, other| {
            let height = |places: &[(f64, f64)]| places[places.len() - 1].1 - places[0].1;
            height(one).total_cmp(&height(other))
        });
        assert!(long.unwrap().iter().all(|place| !meets(*place, boxes[1]) && !meets(*place, boxes[2])));
    }

    #[test]
    fn the_same_graph_gives_the_same_bytes_whatever_its_size() {
        for kind in [ModelKind::Network, ModelKind::LayerTable] {
            for reads in [&BLOCK[..0], &BLOCK[..1], &BLOCK] {
                let report = report(kind, reads);
                let svg = || super::super::canvas::svg(&Picture::of(&report).unwrap()).unwrap();
                assert_eq!(svg(), svg());
            }
        }
        let reads: Vec<&[usize]> = vec![&[]; MAX_LAYERS + 1];
        let message = Picture::of(&report(ModelKind::LayerTable, &reads)).err().unwrap().to_string();
        assert!(message.contains("1001 layers") && message.contains("help: "), "{message}");
    }

    #[test]
    fn graphviz_gets_every_layer_and_edge() {
        let text = dot(&report(ModelKind::Network, &BLOCK));
        assert!(text.starts_with("digraph {") && text.matches(" -> ").count() == 4, "{text}");
        assert!(text.contains("0 -> 3") && text.contains(r#"label="layer<2> \"é\"\nconv  ·  8 x 16 x 16\n2"#), "{text}");
        assert_eq!(dot(&report(ModelKind::LayerTable, &BLOCK)).matches("style=dashed").count(), 3);
    }

    #[test]
    fn dashes_cover_half_of_a_line() {
        let found = dashes(&[(0.0, 0.0), (0.0, 10.0), (0.0, 18.0)]);
        assert_eq!(found, [vec![(0.0, 0.0), (0.0, 4.0)], vec![(0.0, 8.0), (0.0, 10.0), (0.0, 12.0)], vec![(0.0, 16.0), (0.0, 18.0)]]);
        assert!(dashes(&[(0.0, 0.0), (0.0, 0.0)]).len() <= 1);
    }
}
