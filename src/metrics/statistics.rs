//! How sure a figure is: intervals of shares, and a test of two networks that saw the same samples.

use statrs::distribution::{Binomial, ContinuousCDF, DiscreteCDF, Normal};

/// Wilson's score interval of a share (E. B. Wilson, 1927): the true shares from which `right` of `samples` is no further than the normal
/// quantile of `confidence` (0 to 1, both excluded). Of no samples, 0 to 1.
pub fn wilson(right: u64, samples: u64, confidence: f64) -> [f64; 2] {
    if samples == 0 || !(confidence > 0.0 && confidence < 1.0) {
        return [0.0, 1.0];
    }
    let z = Normal::standard().inverse_cdf(0.5 + confidence / 2.0);
    let (n, share) = (samples as f64, right as f64 / samples as f64);
    let middle = share + z * z / (2.0 * n);
    let half = z * (share * (1.0 - share) / n + z * z / (4.0 * n * n)).sqrt();
    let scale = 1.0 + z * z / n;
    let low = if right == 0 { 0.0 } else { (middle - half) / scale };
    let high = if right >= samples { 1.0 } else { (middle + half) / scale };
    [low, high]
}

/// Two networks on the same samples.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Paired {
    /// Samples that only the first gets right.
    pub first_only: u64,
    /// Samples that only the second gets right.
    pub second_only: u64,
    /// The probability of a difference at least as large, either way, if both were equally good.
    pub p_value: f64,
}

/// McNemar's test (Q. McNemar, 1947), exact: where the networks differ, each is right alone with probability 1/2. Samples of which one list
/// says nothing do not count.
pub fn mcnemar(first: &[bool], second: &[bool]) -> Paired {
    let only = |one: bool, other: bool| first.iter().zip(second).filter(|pair| *pair == (&one, &other)).count() as u64;
    let (first_only, second_only) = (only(true, false), only(false, true));
    let tail = Binomial::new(0.5, first_only + second_only).map_or(0.5, |binomial| binomial.cdf(first_only.min(second_only)));
    Paired { first_only, second_only, p_value: (2.0 * tail).min(1.0) }
}
