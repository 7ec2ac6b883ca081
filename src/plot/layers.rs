//! The picture of where each layer's cycles went: a horizontal bar a layer, stacked from busy, stalls by reason, and idle.
//!
//! ```text
//!            +--------------------------------------+ cycles  MACs  util
//!  conv1     | busy      | weights | idle |         |
//!  conv2     | busy | weights           | drain |   |
//!  softmax   | host                                 |
//!            0        10 k       20 k       30 k   cycles a batch
//! ```
//!
//! More than 25 layers are cut to the 24 costliest and one bar for the rest, which is not to scale. Not here: pixels (`canvas`).

use super::PlotError;
use super::canvas::{Align, Canvas, Drawing, Ink, width_of};
use super::palette::{self, BUSY, FAINT_INK, GRID, IDLE, INK, PAPER};
use crate::counts::StallReason;
use crate::report::{LayerSummary, Summary, human, ratio};
use plotters::prelude::{DrawingBackend, RGBColor};

/// More layers than this are cut.
const MOST_ROWS: usize = 25;
const WIDTH: f64 = 1120.0;
const MARGIN: f64 = 28.0;
/// The columns of figures to the right of the bars.
const FIGURES: [(&str, f64); 3] = [("cycles", 104.0), ("MACs", 66.0), ("utilized", 68.0)];
const TITLE_SIZE: f64 = 19.0;
const NOTE_SIZE: f64 = 12.5;
const LABEL_SIZE: f64 = 12.5;
const SHARE_SIZE: f64 = 11.0;

/// A part of a bar.
struct Segment {
    cycles: f64,
    colour: RGBColor,
}

/// A bar, with cycles and multiply-accumulates a batch.
struct Row {
    name: String,
    cycles: f64,
    segments: Vec<Segment>,
    macs: f64,
    utilization: f64,
    is_to_scale: bool,
}

/// The picture, laid out.
pub(super) struct Picture {
    title: String,
    notes: [String; 2],
    legend: Vec<(&'static str, RGBColor)>,
    rows: Vec<Row>,
    /// Where bars start.
    left: f64,
    /// Where bars end.
    right: f64,
    /// Where the first row starts.
    top: f64,
    row_height: f64,
    /// Cycles between two ticks, and at the end of the axis.
    step: f64,
    end: f64,
}

impl Picture {
    /// Lays out the picture of a run.
    pub(super) fn of(summary: &Summary) -> Self {
        let rows = rows(summary);
        let longest = rows.iter().filter(|row| row.is_to_scale).map(|row| row.cycles).fold(0.0, f64::max);
        let (step, end) = axis(longest);
        let name_width = rows.iter().map(|row| width_of(&row.name, LABEL_SIZE, false)).fold(60.0, f64::max);
        let left = MARGIN + name_width + 14.0;
        let right = WIDTH - MARGIN - FIGURES.iter().map(|(_, width)| width).sum::<f64>();
        let row_height = match rows.len() {
            0..=6 => 40.0,
            7..=14 => 32.0,
            _ => 25.0,
        };
        let mut picture = Self {
            title: format!("Where the array's cycles went: {} on {}", summary.network.name, summary.chip.name),
            notes: notes(summary),
            legend: legend(summary),
            rows,
            left,
            right,
            top: 0.0,
            row_height,
            step,
            end,
        };
        let (_, legend_bottom) = picture.legend_places();
        picture.top = legend_bottom + 40.0;
        picture
    }

    /// Where each entry of the legend starts, and the bottom of all.
    fn legend_places(&self) -> (Vec<(f64, f64)>, f64) {
        let (mut x, mut y) = (MARGIN, 110.0);
        let mut places = Vec::new();
        for (name, _) in &self.legend {
            let width = 20.0 + width_of(name, NOTE_SIZE, false) + 22.0;
            if x + width > WIDTH - MARGIN + 22.0 {
                (x, y) = (MARGIN, y + 22.0);
            }
            places.push((x, y));
            x += width;
        }
        (places, y)
    }

    fn bottom(&self) -> f64 {
        self.top + self.row_height * self.rows.len().max(1) as f64
    }

    fn x(&self, cycles: f64) -> f64 {
        self.left + (self.right - self.left) * (cycles / self.end).min(1.0)
    }

    fn draw_head<DB: DrawingBackend>(&self, canvas: &Canvas<'_, DB>) -> Result<(), PlotError> {
        canvas.text(&self.title, (MARGIN, 32.0), Ink { size: TITLE_SIZE, is_bold: true, ..plain(INK) })?;
        for (note, y) in self.notes.iter().zip([60.0, 79.0]) {
            canvas.text(note, (MARGIN, y), Ink { size: NOTE_SIZE, ..plain(FAINT_INK) })?;
        }
        let (places, _) = self.legend_places();
        for ((name, colour), (x, y)) in self.legend.iter().zip(places) {
            canvas.rectangle((x, y - 6.5), (x + 13.0, y + 6.5), *colour)?;
            canvas.text(name, (x + 20.0, y), Ink { size: NOTE_SIZE, ..plain(INK) })?;
        }
        Ok(())
    }

    fn draw_axis<DB: DrawingBackend>(&self, canvas: &Canvas<'_, DB>) -> Result<(), PlotError> {
        let bottom = self.bottom();
        let mut tick = 0.0;
        while tick <= self.end * 1.000_001 {
            let x = self.x(tick);
            let colour = if tick == 0.0 { FAINT_INK } else { GRID };
            canvas.rectangle((x - 0.5, self.top), (x + 0.5, bottom + 5.0), colour)?;
            let label = if tick == 0.0 { "0".to_owned() } else { tick_label(tick, self.step, self.end) };
            canvas.text(&label, (x, bottom + 17.0), Ink { size: SHARE_SIZE, align: Align::Centre, ..plain(INK) })?;
            tick += self.step;
        }
        let middle = f64::midpoint(self.left, self.right);
        canvas.text("core cycles a batch", (middle, bottom + 38.0), Ink { size: NOTE_SIZE, align: Align::Centre, ..plain(INK) })?;
        let mut right = self.right;
        for (name, width) in FIGURES {
            right += width;
            canvas.text(name, (right, self.top - 12.0), Ink { size: SHARE_SIZE, align: Align::Right, ..plain(FAINT_INK) })?;
        }
        Ok(())
    }

    fn draw_row<DB: DrawingBackend>(&self, canvas: &Canvas<'_, DB>, row: &Row, top: f64) -> Result<(), PlotError> {
        let middle = top + self.row_height / 2.0;
        let half = self.row_height * 0.36;
        canvas.text(&row.name, (self.left - 10.0, middle), Ink { align: Align::Right, ..plain(INK) })?;
        if row.cycles == 0.0 {
            return canvas.text("host, outside the chip's clock", (self.left + 8.0, middle), plain(FAINT_INK));
        }
        let scale = if row.is_to_scale { 1.0 } else { self.end / row.cycles };
        let mut spent = 0.0;
        for segment in &row.segments {
            let (from, to) = (self.x(spent * scale), self.x((spent + segment.cycles) * scale));
            spent += segment.cycles;
            canvas.rectangle((from, middle - half), (to, middle + half), segment.colour)?;
            // A thin gap keeps neighbours apart where colours do not, as in a grey print.
            if to - from > 3.0 {
                canvas.rectangle((to - 1.0, middle - half), (to, middle + half), PAPER)?;
            }
            let share = human::percent(ratio(segment.cycles, row.cycles));
            if width_of(&share, SHARE_SIZE, false) + 10.0 < to - from {
                let ink = Ink { size: SHARE_SIZE, align: Align::Centre, ..plain(palette::ink_on(segment.colour)) };
                canvas.text(&share, (f64::midpoint(from, to), middle), ink)?;
            }
        }
        if !row.is_to_scale {
            self.draw_break(canvas, middle, half)?;
        }
        let figures = [human::about(row.cycles), human::si(row.macs, ""), human::percent(row.utilization)];
        let mut right = self.right;
        for (text, (_, width)) in figures.iter().zip(FIGURES) {
            right += width;
            canvas.text(text, (right, middle), Ink { align: Align::Right, ..plain(INK) })?;
        }
        Ok(())
    }

    /// Two white cuts through a bar that is not to scale.
    fn draw_break<DB: DrawingBackend>(&self, canvas: &Canvas<'_, DB>, middle: f64, half: f64) -> Result<(), PlotError> {
        for x in [self.right - 22.0, self.right - 15.0] {
            let steps = 12;
            for step in 0..steps {
                let part = |step: i32| middle - half - 1.0 + (2.0 * half + 2.0) * f64::from(step) / f64::from(steps);
                let lean = 6.0 * f64::from(steps / 2 - step) / f64::from(steps);
                canvas.rectangle((x + lean, part(step)), (x + lean + 2.5, part(step + 1)), PAPER)?;
            }
        }
        Ok(())
    }
}

impl Drawing for Picture {
    fn size(&self) -> (u32, u32) {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a page has some hundreds of points")]
        let whole = |points: f64| points.ceil() as u32;
        (whole(WIDTH), whole(self.bottom() + 60.0))
    }

    fn draw<DB: DrawingBackend>(&self, canvas: &Canvas<'_, DB>) -> Result<(), PlotError> {
        self.draw_head(canvas)?;
        self.draw_axis(canvas)?;
        for (index, row) in self.rows.iter().enumerate() {
            self.draw_row(canvas, row, self.top + self.row_height * index as f64)?;
        }
        Ok(())
    }
}

/// Text of a label.
const fn plain(colour: RGBColor) -> Ink {
    Ink { size: LABEL_SIZE, colour, is_bold: false, align: Align::Left }
}

/// What the run was.
fn notes(summary: &Summary) -> [String; 2] {
    let chip = &summary.chip;
    let cycles = ratio(summary.total_cycles as f64, summary.programs() as f64);
    [
        format!(
            "{} × {} PEs at {}  ·  {} on chip  ·  DRAM {}/s  ·  recipe {}  ·  batch {}  ·  {} weights",
            chip.rows,
            chip.cols,
            human::frequency(chip.clock_hz),
            human::bytes(chip.on_chip_bytes),
            human::si(chip.dram_bytes_per_s, "B"),
            summary.recipe,
            summary.batch,
            summary.weights.name(),
        ),
        format!(
            "{} cycles a batch, {}  ·  {} of peak  ·  {} an inference",
            human::about(cycles),
            human::si(summary.latency_s, "s"),
            human::percent(summary.utilization),
            human::energy(summary.energy_pj_per_sample),
        ),
    ]
}

/// The accounts that occur, in the order of a bar.
fn legend(summary: &Summary) -> Vec<(&'static str, RGBColor)> {
    let occurs = |reason: &StallReason| summary.layers.iter().any(|layer| layer.stall_cycles.get(reason).is_some_and(|&cycles| cycles > 0));
    let stalls = StallReason::ALL.into_iter().filter(occurs).map(|reason| (human::stall(reason), palette::stall(reason)));
    [("busy", BUSY)].into_iter().chain(stalls).chain([("idle", IDLE)]).collect()
}

fn rows(summary: &Summary) -> Vec<Row> {
    let all: Vec<&LayerSummary> = summary.layers.iter().collect();
    let programs = summary.programs() as f64;
    let row = |name: String, group: &[&LayerSummary], is_to_scale: bool| {
        let sum = |figure: &dyn Fn(&LayerSummary) -> u64| group.iter().map(|layer| figure(layer)).sum::<u64>() as f64;
        let a_batch = |cycles: f64| ratio(cycles, programs);
        let stalls = StallReason::ALL.into_iter().map(|reason| {
            let cycles = sum(&|layer| layer.stall_cycles.get(&reason).copied().unwrap_or(0));
            Segment { cycles: a_batch(cycles), colour: palette::stall(reason) }
        });
        let busy = Segment { cycles: a_batch(sum(&|layer| layer.busy_cycles)), colour: BUSY };
        let idle = Segment { cycles: a_batch(sum(&|layer| layer.idle_cycles)), colour: IDLE };
        let cycles = sum(&|layer| layer.total_cycles);
        let weighted: f64 = group.iter().map(|layer| layer.utilization * layer.total_cycles as f64).sum();
        Row {
            name,
            cycles: a_batch(cycles),
            segments: [busy].into_iter().chain(stalls).chain([idle]).filter(|segment| segment.cycles > 0.0).collect(),
            macs: a_batch(sum(&|layer| layer.macs_executed)),
            utilization: ratio(weighted, cycles),
            is_to_scale,
        }
    };
    let shown = |layer: &&LayerSummary| row(human::shorten(&layer.name, 28), &[*layer], true);
    if all.len() <= MOST_ROWS {
        return all.iter().map(shown).collect();
    }
    let mut order: Vec<usize> = (0..all.len()).collect();
    order.sort_by_key(|&index| (std::cmp::Reverse(all[index].total_cycles), index));
    let (kept, dropped) = order.split_at(MOST_ROWS - 1);
    let of = |indices: &[usize]| {
        let mut indices = indices.to_vec();
        indices.sort_unstable();
        indices.into_iter().map(|index| all[index]).collect::<Vec<_>>()
    };
    let mut rows: Vec<Row> = of(kept).iter().map(shown).collect();
    rows.push(row(format!("{} other layers, not to scale", dropped.len()), &of(dropped), false));
    rows
}

/// The step between ticks, 1, 2 or 5 times a power of ten, and the axis's end: four to nine steps that hold the longest bar.
fn axis(longest: f64) -> (f64, f64) {
    let longest = longest.max(1.0);
    let mut power = 1.0;
    while power * 100.0 < longest {
        power *= 10.0;
    }
    let steps = [0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0].map(|times| times * power);
    let step = steps.into_iter().find(|step| *step >= 1.0 && longest / step <= 8.0).unwrap_or(longest);
    // A little past the longest bar, not up to the next tick.
    (step, longest * 1.01)
}

/// `250 k`, `1.5 M`: as short as the step allows, with the unit that the axis's end has.
fn tick_label(tick: f64, step: f64, end: f64) -> String {
    let (size, prefix) = match end {
        end if end >= 2e9 => (1e9, " G"),
        end if end >= 2e6 => (1e6, " M"),
        end if end >= 1e4 => (1e3, " k"),
        _ => return human::about(tick),
    };
    let decimals = [1.0, 10.0, 100.0].iter().position(|times| ((step * times) / size).fract() < 1e-9).unwrap_or(2);
    format!("{:.decimals$}{prefix}", tick / size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_has_few_round_ticks() {
        for longest in [1.0, 7.0, 4123.0, 5_000_000.0, 12_345_678_901.0] {
            let (step, end) = axis(longest);
            assert!((1.0..=9.0).contains(&(end / step)), "{longest}: {step} {end}");
        }
        assert_eq!(axis(4123.0).0.to_bits(), 1000.0_f64.to_bits());
        assert_eq!([tick_label(500.0, 500.0, 2e3), tick_label(1.5e6, 5e5, 3e6), tick_label(5e3, 5e3, 2e4)], ["500", "1.5 M", "5 k"]);
    }
}
