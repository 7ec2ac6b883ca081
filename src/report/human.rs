//! Numbers as people read them: three digits and a unit of the right size. For the terminal and for pictures only; files hold base units.
//!
//! Not here: which numbers are shown.

use crate::counts::StallReason;

/// An exact count with its thousands apart: `1,234,567`.
pub fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count that need not be whole: exact where it is, else with one decimal.
pub fn about(value: f64) -> String {
    let tenths = (value * 10.0).round();
    if !(0.0..1e15).contains(&tenths) {
        return format!("{value:.1}");
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 1e15, just checked")]
    let tenths = tenths as u64;
    if tenths.is_multiple_of(10) { count(tenths / 10) } else { format!("{}.{}", count(tenths / 10), tenths % 10) }
}

/// Three digits: `1.23`, `12.3`, `123`.
pub fn digits(value: f64) -> String {
    match value.abs() {
        size if size >= 99.95 => format!("{value:.0}"),
        size if size >= 9.995 => format!("{value:.1}"),
        size if size >= 0.1 || size == 0.0 => format!("{value:.2}"),
        size if size >= 0.01 => format!("{value:.3}"),
        _ => format!("{value:.4}"),
    }
}

/// A value with the prefix that leaves one to three digits before the point: `si(0.0123, "s")` is `12.3 ms`.
pub fn si(value: f64, unit: &str) -> String {
    const PREFIXES: [(&str, f64); 10] =
        [("P", 1e15), ("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3), ("", 1.0), ("m", 1e-3), ("µ", 1e-6), ("n", 1e-9), ("p", 1e-12)];
    if value == 0.0 || !value.is_finite() {
        return format!("{value} {unit}").trim_end().to_owned();
    }
    // 999.5 of a prefix would print as 1000 of it.
    let fits = |&&(_, size): &&(&str, f64)| value.abs() >= size * 0.999_5;
    let &(prefix, size) = PREFIXES.iter().find(fits).unwrap_or(&PREFIXES[9]);
    format!("{} {prefix}{unit}", digits(value / size)).trim_end().to_owned()
}

/// A size: `320 B`, `51.5 KiB`.
pub fn bytes(value: u64) -> String {
    const UNITS: [(&str, u64); 4] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match UNITS.into_iter().find(|&(_, size)| value >= size) {
        None => format!("{value} B"),
        Some((unit, size)) if value.is_multiple_of(size) => format!("{} {unit}", value / size),
        Some((unit, size)) => format!("{} {unit}", digits(value as f64 / size as f64)),
    }
}

/// An energy given in picojoules: `1.23 nJ`.
pub fn energy(picojoules: f64) -> String {
    si(picojoules * 1e-12, "J")
}

/// A frequency: `700 MHz`, exact where it is a whole number of the unit.
pub fn frequency(hertz: u64) -> String {
    match hertz {
        hertz if hertz >= 1_000_000_000 && hertz.is_multiple_of(10_000_000) => format!("{} GHz", hertz as f64 / 1e9),
        hertz if hertz >= 1_000_000 => format!("{} MHz", hertz as f64 / 1e6),
        hertz => si(hertz as f64, "Hz"),
    }
}

/// A share of a whole: `38%`, `2.4%`, and `<0.1%` for what is there but small.
pub fn percent(share: f64) -> String {
    match share * 100.0 {
        0.0 => "0%".to_owned(),
        value if value < 0.05 => "<0.1%".to_owned(),
        value if value < 9.95 => format!("{value:.1}%"),
        value => format!("{value:.0}%"),
    }
}

/// A text of at most `width` characters; a longer one loses its middle, since layer names differ at their ends.
pub fn shorten(text: &str, width: usize) -> String {
    let chars: Vec<char> = text.chars().collect();
    if chars.len() <= width {
        return text.to_owned();
    }
    let kept = width.saturating_sub(1);
    let head = kept / 3;
    let tail = &chars[chars.len() - (kept - head)..];
    chars[..head].iter().chain(&['…']).chain(tail).collect()
}

/// What a reader calls a reason.
pub const fn stall(reason: StallReason) -> &'static str {
    match reason {
        StallReason::WeightsNotReady => "waits for weights",
        StallReason::InputNotReady => "waits for input",
        StallReason::BiasNotReady => "waits for bias",
        StallReason::ResultNotReady => "waits for sums",
        StallReason::BufferFull => "buffer full",
        StallReason::MemoryLatency => "on-chip latency",
        StallReason::ScratchpadConflict => "scratchpad bank conflict",
        StallReason::AccumulatorConflict => "accumulator bank conflict",
        StallReason::AccumulatorHazard => "accumulator row pending",
        StallReason::DramLatency => "DRAM latency",
        StallReason::DramBandwidth => "DRAM busy",
        StallReason::Codec => "unpacking",
        StallReason::ArrayDrain => "array drains",
        StallReason::Host => "host at work",
    }
}

/// One of something, or several: `1 layer`, `4 layers`.
pub fn plural(value: u64, noun: &str) -> String {
    let ending = if value == 1 { "" } else { "s" };
    format!("{} {noun}{ending}", count(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_sizes() {
        assert_eq!([0, 7, 999, 1000, 1_234_567].map(count), ["0", "7", "999", "1,000", "1,234,567"]);
        assert_eq!([bytes(320), bytes(1024), bytes(52_736), bytes(3 << 20)], ["320 B", "1 KiB", "51.5 KiB", "3 MiB"]);
        assert_eq!([about(4123.0), about(4123.25)], ["4,123", "4,123.3"]);
        assert_eq!([plural(1, "layer"), plural(4, "layer")], ["1 layer", "4 layers"]);
    }

    #[test]
    fn units_have_the_right_size() {
        assert_eq!(si(12.3e-6, "s"), "12.3 µs");
        assert_eq!(si(999.96e-6, "s"), "1.00 ms");
        assert_eq!(si(0.0, "J"), "0 J");
        assert_eq!(energy(1234.0), "1.23 nJ");
        assert_eq!([frequency(700_000_000), frequency(933_330_000), frequency(1_050_000_000)], ["700 MHz", "933.33 MHz", "1.05 GHz"]);
        assert_eq!([percent(0.0), percent(0.0001), percent(0.024), percent(0.384)], ["0%", "<0.1%", "2.4%", "38%"]);
    }

    #[test]
    fn a_long_name_loses_its_middle() {
        assert_eq!(
            shorten("/layer1/layer1.0/conv1/Conv", 16),
            "/laye….0/conv1/Conv".chars().take(0).collect::<String>() + "/laye…conv1/Conv"
        );
        assert_eq!(shorten("fc1", 16), "fc1");
    }
}
