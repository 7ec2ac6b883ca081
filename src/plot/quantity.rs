//! Columns as people read them: what they are called on an axis, and their values with units.
//!
//! Not here: which columns there are (`report`).

use super::axis::Spread;
use crate::report::human;

/// Bytes that are told in kilobytes of 1,000, as where ticks are round.
pub(super) const SI_BYTES: &str = "si bytes";

/// What a column is called on an axis.
pub(super) fn name(column: &str) -> String {
    let known = match column {
        "latency_s" => "latency of a batch",
        "error_percent" => "error on the report split",
        "select_error_percent" => "error on the select split",
        "accuracy" => "accuracy on the report split",
        "total_cycles" => "core cycles of the run",
        "cycles_per_sample" => "core cycles a sample",
        "energy_pj" => "energy of the run",
        "energy_pj_per_sample" => "energy a sample",
        "area_mm2" => "area",
        "throughput_per_s" => "samples a second",
        "speedup" => "speedup over the baseline",
        "energy_gain" => "the baseline's energy over this one's",
        "on_chip_bytes" => "memory on the chip",
        "weight_stored_bytes" => "bytes of weights in DRAM",
        _ => return plain(column),
    };
    known.to_owned()
}

fn plain(column: &str) -> String {
    // A path into a chip file, or a recipe's axis.
    if column.contains('.') {
        return column.to_owned();
    }
    // Parts of the energy and kinds of traffic are sums over all samples, as `energy_pj` is.
    if let Some(part) = column.strip_prefix("energy_pj_") {
        return format!("energy of the run: {}", part.replace("dram", "DRAM"));
    }
    let base = ["_bytes", "_percent", "_cycles", "_mm2", "_hz", "_s", "_pj"].iter().find_map(|unit| column.strip_suffix(unit));
    base.filter(|base| !base.is_empty()).unwrap_or(column).replace('_', " ").replace("dram", "DRAM")
}

/// A value of a column with its unit.
pub(super) fn text(column: &str, value: f64) -> String {
    let ends = |unit: &str| column.ends_with(unit);
    if column.contains("energy_pj") || ends("_pj") {
        human::energy(value)
    } else if column == SI_BYTES {
        human::si(value, "B")
    } else if ends("_percent") {
        format!("{}%", human::digits(value))
    } else if ends("_s") && !ends("bytes_per_s") && !ends("_per_s") {
        human::si(value, "s")
    } else if ends("bytes_per_s") {
        human::si(value, "B/s")
    } else if ends("_per_s") {
        human::si(value, "/s")
    } else if ends("_hz") {
        human::si(value, "Hz")
    } else if ends("_mm2") {
        format!("{} mm²", human::digits(value))
    } else if ends("_bytes") && value >= 0.0 {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bytes are a count")]
        let bytes = value.round() as u64;
        human::bytes(bytes)
    } else if column == "speedup" || column == "energy_gain" {
        format!("{}×", human::digits(value))
    } else if ["utilization", "energy_assumed_share"].contains(&column) || column.starts_with("macs_share") {
        human::percent(value)
    } else if column.contains("accuracy") {
        format!("{value:.4}")
    } else if value.abs() >= 1e4 {
        human::si(value, "")
    } else if value.fract() == 0.0 {
        format!("{value:.0}")
    } else {
        human::digits(value)
    }
}

/// A value at a tick: no zeros behind the last digit that counts.
pub(super) fn tick(column: &str, value: f64) -> String {
    let text = text(column, value);
    let end = text.find(|c: char| !(c.is_ascii_digit() || ".-,".contains(c))).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    if !number.contains('.') {
        return text;
    }
    format!("{}{unit}", number.trim_end_matches('0').trim_end_matches('.'))
}

/// How a column is spread along an axis, whose values are these: by logarithm what ranges widely and is never 0 or less, and errors and times in any
/// case.
pub(super) fn spread(column: &str, values: impl Iterator<Item = f64> + Clone) -> Spread {
    let shown = values.filter(|value| value.is_finite());
    let (least, most) = (shown.clone().fold(f64::INFINITY, f64::min), shown.fold(0.0, f64::max));
    let is_cost = ["latency_s", "error_percent", "select_error_percent"].contains(&column)
        || column.contains("energy_pj")
        || column.ends_with("cycles")
        || column.contains("cycles_per")
        || column.contains("bytes");
    if least > 0.0 && (is_cost || most / least > 20.0) { Spread::Log } else { Spread::Linear }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_their_units() {
        let cases = [
            ("latency_s", 1.25e-5, "12.5 µs"),
            ("energy_pj_per_sample", 1.5e6, "1.50 µJ"),
            ("error_percent", 2.5, "2.50%"),
            ("area_mm2", 1.423, "1.42 mm²"),
            ("scratchpads.0.capacity_bytes", 65536.0, "64 KiB"),
            ("speedup", 2.0, "2.00×"),
            ("throughput_per_s", 12_000.0, "12.0 k/s"),
            ("dram_bytes_per_s", 1.28e10, "12.8 GB/s"),
            ("dram.bytes_per_cycle", 16.0, "16"),
            ("alpha", 0.25, "0.25"),
            ("total_cycles", 41_000.0, "41.0 k"),
        ];
        for (column, value, wanted) in cases {
            assert_eq!(text(column, value), wanted, "{column}");
        }
        assert_eq!([tick("latency_s", 1e-5), tick("error_percent", 0.5), tick("total_cycles", 2e4)], ["10 µs", "0.5%", "20 k"]);
    }

    #[test]
    fn names_leave_units_to_the_ticks() {
        assert_eq!([name("dram_read_bytes"), name("latency_s"), name("array.rows")], ["DRAM read", "latency of a batch", "array.rows"]);
        assert_eq!(name("energy_pj_dram"), "energy of the run: DRAM");
    }
}
