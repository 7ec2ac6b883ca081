//! Which axis matters: the share of a figure's variation over all points that one axis by itself tells.
//!
//! Of the logarithm of a figure, about the mean of each workload, since what changes a chip multiplies its latency: `eta^2 = sum over values of n (mean of value)^2 / sum over points of point^2` (the correlation ratio, R. A. Fisher, 1925). In a full grid where axes multiply, the shares of all axes sum to 1; what is
//! missing then is told by axes together. Points that are not a grid may share what they tell.

use super::column::{self, Workload};
use super::{FindingsError, MAX_VALUES};
use crate::report::{Cell, SweepResults, ratio};

/// A mean square of logarithms that is no more is rounding, and nothing to be told.
const FLAT: f64 = 1e-20;

/// What each axis tells of a figure.
#[derive(Debug, Clone, PartialEq)]
pub struct Effects {
    /// The figure.
    pub figure: String,
    /// The axes, what tells most first.
    pub effects: Vec<Effect>,
    /// Points that count.
    pub points: usize,
}

/// What an axis tells.
#[derive(Debug, Clone, PartialEq)]
pub struct Effect {
    /// The column.
    pub axis: String,
    /// The share of the variation, 0 to 1.
    pub share: f64,
    /// The value with the least figure, and its geometric mean.
    pub least: (String, f64),
    /// The value with the most.
    pub most: (String, f64),
}

/// What each axis that has several values tells of a figure, over all points that ran and have a positive one; one point's zero errors count as half a
/// sample.
///
/// # Errors
/// A column that there is not or that has no numbers; nothing to show.
pub fn effects(results: &SweepResults, figure: &str) -> Result<Effects, FindingsError> {
    column::numeric(results, figure, "what an axis changes")?;
    let value = |place: usize| {
        let value = results.cell(place, figure).number()?;
        let samples = results.points[place].samples;
        let value = if value == 0.0 && figure == "error_percent" { 50.0 / samples.max(1) as f64 } else { value };
        (value > 0.0 && value.is_finite()).then(|| libm::log(value))
    };
    let shown: Vec<(usize, f64)> = results.done().filter_map(|place| Some((place, value(place)?))).collect();
    if shown.is_empty() {
        return Err(column::nothing(results, figure, figure));
    }
    let mean = |values: &mut dyn Iterator<Item = f64>| {
        let (sum, count) = values.fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
        (ratio(sum, count), count)
    };
    // About the mean of each workload: how workloads differ is not asked.
    let centred = Workload::all(results).into_iter().flat_map(|workload| {
        let own: Vec<(usize, f64)> = shown.iter().copied().filter(|(place, _)| Workload::of(results, *place) == workload).collect();
        let (middle, _) = mean(&mut own.iter().map(|(_, value)| *value));
        own.into_iter().map(move |(place, value)| (place, value - middle)).collect::<Vec<_>>()
    });
    let centred: Vec<(usize, f64)> = centred.collect();
    let all: f64 = centred.iter().map(|(_, value)| value * value).sum();
    let places: Vec<usize> = shown.iter().map(|(place, _)| *place).collect();
    let mut axes: Vec<String> = ["chip", "recipe", "mapping", "seed"].map(str::to_owned).to_vec();
    axes.extend(results.axes());
    let mut found = Vec::new();
    for axis in axes {
        let values = column::values(results, &places, &axis);
        if values.len() < 2 || values.len() > MAX_VALUES {
            continue;
        }
        let of = |points: &[(usize, f64)], value: &Cell| {
            mean(&mut points.iter().filter(|(place, _)| results.cell(*place, &axis) == *value).map(|(_, value)| *value))
        };
        let means: Vec<(String, f64)> = values.iter().map(|value| (value.text(), of(&shown, value).0)).collect();
        // About the mean of the points that have the axis: what tells them from the others is another one, such as the recipe.
        let (middle, _) =
            mean(&mut centred.iter().filter(|(place, _)| results.cell(*place, &axis) != Cell::Empty).map(|(_, value)| *value));
        let between: f64 =
            values.iter().map(|value| of(&centred, value)).map(|(mean, count)| count * (mean - middle) * (mean - middle)).sum();
        let end = |is_least: bool| {
            let ends = means.iter().map(|(name, mean)| (name.clone(), libm::exp(*mean)));
            ends.reduce(|best, one| if (one.1 < best.1) == is_least { one } else { best }).unwrap_or_default()
        };
        found.push(Effect {
            share: if all > FLAT * shown.len() as f64 { ratio(between, all).clamp(0.0, 1.0) } else { 0.0 },
            least: end(true),
            most: end(false),
            axis,
        });
    }
    found.sort_by(|one, other| other.share.total_cmp(&one.share));
    Ok(Effects { figure: figure.to_owned(), effects: found, points: shown.len() })
}

/// The figures of which effects are shown, those that the results have.
pub fn effect_figures(results: &SweepResults) -> Vec<&'static str> {
    let has = |name: &str| results.done().any(|place| results.cell(place, name).number().is_some());
    ["latency_s", "energy_pj_per_sample", "error_percent"].into_iter().filter(|name| has(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{point, results};
    use super::*;

    #[test]
    fn shares_of_axes_that_multiply_sum_to_one_and_are_the_squares_of_their_logarithms() {
        // Latency is 1, 2 or 4 by chip times 1 or 3 by recipe.
        let mut points = Vec::new();
        for (chip, by_chip) in [("a", 1.0), ("b", 2.0), ("c", 4.0)] {
            for (recipe, by_recipe) in [("x", 1.0), ("y", 3.0)] {
                points.push(point(chip, recipe, by_chip * by_recipe * 1e-6, None));
            }
        }
        let found = effects(&results(points), "latency_s").unwrap();
        // Variances of the logarithms: of chips ln(2)^2 * 2 / 3, of recipes (ln(3) / 2)^2.
        let (chips, recipes) = (libm::pow(libm::log(2.0), 2.0) * 2.0 / 3.0, libm::pow(libm::log(3.0) / 2.0, 2.0));
        let names: Vec<(&str, f64)> = found.effects.iter().map(|effect| (effect.axis.as_str(), effect.share)).collect();
        assert_eq!(names.iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["chip", "recipe"]);
        assert!((names[0].1 - chips / (chips + recipes)).abs() < 1e-12, "{names:?}");
        assert!((names[0].1 + names[1].1 - 1.0).abs() < 1e-12);
        let chip = &found.effects[0];
        assert_eq!((chip.least.0.as_str(), chip.most.0.as_str()), ("a", "c"));
        // Geometric means: sqrt(1 * 3) and sqrt(4 * 12).
        assert!((chip.least.1 / 1e-6 - libm::sqrt(3.0)).abs() < 1e-9 && (chip.most.1 / 1e-6 - libm::sqrt(48.0)).abs() < 1e-9);
        assert_eq!(found.points, 6);
    }

    #[test]
    fn an_axis_that_changes_nothing_tells_nothing() {
        let points = vec![point("a", "x", 1e-6, None), point("b", "x", 1e-6, None)];
        assert_eq!(effects(&results(points), "latency_s").unwrap().effects[0].share.to_bits(), 0.0_f64.to_bits());
    }
}
