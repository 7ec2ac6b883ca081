//! Decimal numbers as they are written, taken exactly: `MHz(933.33)` is 933330000 Hz, not the nearest float's worth of it.

/// A number as it was written, times a whole factor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scaled {
    /// A whole number.
    Whole(u64),
    /// A number of at least zero that is not whole.
    Fraction,
    /// A number below zero.
    Negative,
    /// A number above all that fit 64 bits.
    TooLarge,
    /// No decimal number.
    NotANumber,
}

/// `text`, a decimal number, times `factor`.
pub(super) fn scaled(text: &str, factor: u64) -> Scaled {
    let text = text.replace('_', "");
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(&text)),
    };
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits: String = whole.chars().chain(fraction.chars()).collect();
    if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return Scaled::NotANumber;
    }
    let Some(exponent) = exponent_of(exponent) else { return Scaled::NotANumber };
    let significant = digits.trim_start_matches('0').trim_end_matches('0');
    if significant.is_empty() {
        return Scaled::Whole(0);
    }
    if negative {
        return Scaled::Negative;
    }
    let trailing = digits.len() - digits.trim_end_matches('0').len();
    let power = exponent.saturating_add_unsigned(trailing as u64).saturating_sub_unsigned(fraction.len() as u64);
    match significant.parse::<u128>().ok().and_then(|mantissa| mantissa.checked_mul(u128::from(factor))) {
        Some(product) => shifted(product, power),
        None if power.saturating_add_unsigned(significant.len() as u64) > 20 => Scaled::TooLarge,
        None => Scaled::Fraction,
    }
}

/// An exponent's number; a huge one is held at a bound that is as good.
fn exponent_of(text: &str) -> Option<i64> {
    const BOUND: i64 = 1 << 40;
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let size = digits.parse::<i64>().map_or(BOUND, |size| size.min(BOUND));
    Some(if negative { -size } else { size })
}

/// `product * 10^power`, for a product above zero.
fn shifted(product: u128, power: i64) -> Scaled {
    let ten_to = u32::try_from(power.unsigned_abs()).ok().and_then(|size| 10_u128.checked_pow(size));
    let value = match (power >= 0, ten_to) {
        (true, Some(factor)) => product.checked_mul(factor),
        (true, None) => None,
        (false, Some(divisor)) if product.is_multiple_of(divisor) => Some(product / divisor),
        (false, Some(divisor)) if product / divisor > u128::from(u64::MAX) => None,
        (false, _) => return Scaled::Fraction,
    };
    value.and_then(|value| u64::try_from(value).ok()).map_or(Scaled::TooLarge, Scaled::Whole)
}

#[cfg(test)]
mod tests {
    use super::Scaled::{Fraction, Negative, NotANumber, TooLarge, Whole};
    use super::scaled;

    #[test]
    fn decimals_are_taken_exactly() {
        for (text, factor, wanted) in [
            ("700", 1_000_000, Whole(700_000_000)),
            ("933.33", 1_000_000, Whole(933_330_000)),
            ("1e3", 1, Whole(1000)),
            ("1_000.5e1", 1, Whole(10_005)),
            ("0.0", 5, Whole(0)),
            ("-0", 5, Whole(0)),
            ("48.571428", 1_000_000, Whole(48_571_428)),
            ("48.5714285", 1_000_000, Fraction),
            ("0.5", 1024, Whole(512)),
            (".5", 2, Whole(1)),
            ("5.", 2, Whole(10)),
            ("-3", 1, Negative),
            ("1e300", 1, TooLarge),
            ("1e99999999999999999999", 1, TooLarge),
            ("1e-99999999999999999999", 1, Fraction),
            ("18446744073709551616", 1, TooLarge),
            ("18446744073709551615", 1, Whole(u64::MAX)),
            ("99999999999999999999999999999999999999999999", 1, TooLarge),
            ("0.99999999999999999999999999999999999999999999", 1, Fraction),
            ("0x10", 1, NotANumber),
            ("inf", 1, NotANumber),
            ("", 1, NotANumber),
            ("1.2.3", 1, NotANumber),
            ("1e", 1, NotANumber),
        ] {
            assert_eq!(scaled(text, factor), wanted, "{text} x {factor}");
        }
    }
}
