//! Regression and reconstruction: how far numbers are from those that were wanted. Sums are in f64, in order.

/// Errors of a regression.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RegressionErrors {
    /// The mean of squared differences.
    pub mse: f64,
    /// Its root.
    pub rmse: f64,
    /// The mean of absolute differences.
    pub mae: f64,
    /// `1 - sum (wanted - found)^2 / sum (wanted - mean)^2`; where all that is wanted is alike, 1 if all is met and else 0, as scikit-learn's.
    pub r2: f64,
}

/// Errors of `found` against `wanted`; none of nothing, or where there are not as many.
pub fn regression(wanted: &[f32], found: &[f32]) -> Option<RegressionErrors> {
    if wanted.is_empty() || wanted.len() != found.len() {
        return None;
    }
    let count = wanted.len() as f64;
    let differences = || wanted.iter().zip(found).map(|(wanted, found)| f64::from(*wanted) - f64::from(*found));
    let squares: f64 = differences().map(|difference| difference * difference).sum();
    let mean = wanted.iter().map(|x| f64::from(*x)).sum::<f64>() / count;
    let spread: f64 = wanted.iter().map(|x| (f64::from(*x) - mean) * (f64::from(*x) - mean)).sum();
    let r2 = match (squares == 0.0, spread == 0.0) {
        (_, false) => 1.0 - squares / spread,
        (true, true) => 1.0,
        (false, true) => 0.0,
    };
    let mse = squares / count;
    Some(RegressionErrors { mse, rmse: mse.sqrt(), mae: differences().map(f64::abs).sum::<f64>() / count, r2 })
}
