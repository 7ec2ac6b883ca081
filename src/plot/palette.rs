//! Colours that colour-blind readers can tell apart: Okabe and Ito's (2008) for what is common, lighter or darker kin for what is rare.
//!
//! An account has the same colour in every picture. Not here: where a colour is used.

use crate::counts::StallReason;
use plotters::style::RGBColor;

/// Text and axes.
pub(super) const INK: RGBColor = RGBColor(0x22, 0x22, 0x22);
/// Text of second rank.
pub(super) const FAINT_INK: RGBColor = RGBColor(0x66, 0x66, 0x66);
/// Lines behind bars.
pub(super) const GRID: RGBColor = RGBColor(0xE6, 0xE6, 0xE6);
/// Behind everything.
pub(super) const PAPER: RGBColor = RGBColor(0xFF, 0xFF, 0xFF);
/// Okabe and Ito's colours (2008), dark enough for lines, the ink first.
pub(super) const LINES: [RGBColor; 7] = [
    INK,
    RGBColor(0x00, 0x72, 0xB2),
    RGBColor(0xD5, 0x5E, 0x00),
    RGBColor(0x00, 0x9E, 0x73),
    RGBColor(0xCC, 0x79, 0xA7),
    RGBColor(0xE6, 0x9F, 0x00),
    RGBColor(0x56, 0xB4, 0xE9),
];

/// What is shaded behind points.
pub(super) const SHADE: RGBColor = RGBColor(0xD9, 0xE4, 0xEE);

/// The array advanced.
pub(super) const BUSY: RGBColor = RGBColor(0x00, 0x72, 0xB2);
/// The array had nothing to do.
pub(super) const IDLE: RGBColor = RGBColor(0xDD, 0xDD, 0xDD);

/// The array had a command that could not advance.
pub(super) const fn stall(reason: StallReason) -> RGBColor {
    match reason {
        StallReason::WeightsNotReady => RGBColor(0xE6, 0x9F, 0x00),
        StallReason::InputNotReady => RGBColor(0x56, 0xB4, 0xE9),
        StallReason::BiasNotReady => RGBColor(0xF0, 0xE4, 0x42),
        StallReason::ResultNotReady => RGBColor(0xCC, 0x79, 0xA7),
        StallReason::BufferFull => RGBColor(0x00, 0x9E, 0x73),
        StallReason::MemoryLatency => RGBColor(0xB8, 0xDE, 0xF6),
        StallReason::ScratchpadConflict => RGBColor(0x8F, 0xD3, 0xBF),
        StallReason::AccumulatorConflict => RGBColor(0xEB, 0xC9, 0xDC),
        StallReason::AccumulatorHazard => RGBColor(0x85, 0x3D, 0x66),
        StallReason::DramLatency => RGBColor(0xF2, 0xB8, 0x94),
        StallReason::DramBandwidth => RGBColor(0xD5, 0x5E, 0x00),
        StallReason::Codec => RGBColor(0x8B, 0x5A, 0x2B),
        StallReason::ArrayDrain => RGBColor(0x4D, 0x4D, 0x4D),
        StallReason::Host => RGBColor(0x99, 0x00, 0x33),
    }
}

/// The colour of the n-th of several kinds of points: the ink comes last.
pub(super) const fn series(number: usize) -> RGBColor {
    LINES[(number + 1) % LINES.len()]
}

/// A share of a scale, 0 to 1, as a colour from light to dark, in steps that a grey print keeps: the blues of `ColorBrewer` (C. Brewer).
pub(super) fn scale(share: f64) -> RGBColor {
    between(RGBColor(0xEF, 0xF5, 0xFB), RGBColor(0x08, 0x40, 0x81), share)
}

/// A change that is good (-1 to 0) or bad (0 to 1), as a colour: blue, white, orange.
pub(super) fn change(share: f64) -> RGBColor {
    let end = if share < 0.0 { RGBColor(0x3B, 0x8F, 0xC4) } else { RGBColor(0xE0, 0x86, 0x3C) };
    between(RGBColor(0xF7, 0xF7, 0xF7), end, share.abs())
}

fn between(from: RGBColor, to: RGBColor, share: f64) -> RGBColor {
    let share = if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between two bytes")]
    let mix = |one: u8, other: u8| (f64::from(one) + (f64::from(other) - f64::from(one)) * share).round() as u8;
    RGBColor(mix(from.0, to.0), mix(from.1, to.1), mix(from.2, to.2))
}

/// A colour as HTML has it.
pub(super) fn hex(colour: RGBColor) -> String {
    format!("#{:02x}{:02x}{:02x}", colour.0, colour.1, colour.2)
}

/// Ink that can be read on `colour`: white on dark, by its luminance (Rec. 709).
pub(super) fn ink_on(colour: RGBColor) -> RGBColor {
    let luminance = 0.2126 * f64::from(colour.0) + 0.7152 * f64::from(colour.1) + 0.0722 * f64::from(colour.2);
    if luminance < 140.0 { PAPER } else { INK }
}
