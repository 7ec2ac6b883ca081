//! What a method does on each chip, and what a recipe that was found for one chip does on another.
//!
//! Where points of one chip and recipe differ in something else, the fastest of them stands for them. Recipes are chosen by the select split. Not here:
//! how it is drawn (`plot`).

use super::column::Workload;
use crate::report::{PointFigures, SweepResults, ratio};

/// A recipe that is chosen may err so much more, in percent of the select split, than the best one on the same chip.
pub const MAX_MORE_ERROR: f64 = 1.0;

/// What each recipe changes on each chip, of one workload.
#[derive(Debug, Clone, PartialEq)]
pub struct ChipMatrix {
    /// The workload.
    pub workload: Workload,
    /// The recipe that others are held against, on the same chip.
    pub baseline: String,
    /// Recipes, a row each.
    pub recipes: Vec<String>,
    /// Chips, a column each.
    pub chips: Vec<String>,
    /// Rows of fields; none where the point, or its baseline, did not run.
    pub fields: Vec<Vec<Option<MatrixCell>>>,
}

/// What a recipe changes on a chip.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MatrixCell {
    /// Latency over that of the baseline.
    pub latency: f64,
    /// Energy a sample over that of the baseline.
    pub energy: f64,
    /// Accuracy less that of the baseline, 0 to 1, on the report split; none where either was only timed.
    pub accuracy: Option<f64>,
}

/// What recipes that were found for each chip do on the others, of one workload.
#[derive(Debug, Clone, PartialEq)]
pub struct Transfer {
    /// The workload.
    pub workload: Workload,
    /// Chips: rows are what a recipe was found for, columns where it runs.
    pub chips: Vec<String>,
    /// For each chip the recipe that was found; none where none is good enough.
    pub found: Vec<Option<String>>,
    /// Rows of fields; none where it did not run.
    pub fields: Vec<Vec<Option<TransferCell>>>,
}

/// What a recipe does on a chip.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TransferCell {
    /// Its latency over that of the recipe which was found for this chip.
    pub latency: f64,
    /// Its error less that one's, in percent of the report split.
    pub error_percent: Option<f64>,
}

/// Points of one workload, the fastest of each chip and recipe.
struct Grid<'r> {
    results: &'r SweepResults,
    chips: Vec<String>,
    recipes: Vec<String>,
    /// By recipe and chip, places in the results.
    places: Vec<Vec<Option<usize>>>,
}

impl<'r> Grid<'r> {
    fn of(results: &'r SweepResults, workload: &Workload) -> Self {
        let own: Vec<usize> = (0..results.points.len()).filter(|place| Workload::of(results, *place) == *workload).collect();
        let mut grid = Self { results, chips: Vec::new(), recipes: Vec::new(), places: Vec::new() };
        for place in &own {
            let point = &results.points[*place];
            if !grid.chips.contains(&point.chip) {
                grid.chips.push(point.chip.clone());
            }
            if !grid.recipes.contains(&point.recipe) {
                grid.recipes.push(point.recipe.clone());
            }
        }
        let fastest = |recipe: &String, chip: &String| {
            let of_both = own.iter().copied().filter(|place| {
                let point = &results.points[*place];
                (&point.recipe, &point.chip) == (recipe, chip)
            });
            let timed = of_both.filter_map(|place| Some((results.points[place].figures.as_ref()?.latency_s, place)));
            timed.min_by(|one, other| one.0.total_cmp(&other.0)).map(|(_, place)| place)
        };
        grid.places = grid.recipes.iter().map(|recipe| grid.chips.iter().map(|chip| fastest(recipe, chip)).collect()).collect();
        grid
    }

    fn figures(&self, recipe: usize, chip: usize) -> Option<&'r PointFigures> {
        self.results.points[self.places[recipe][chip]?].figures.as_ref()
    }

    /// The fastest recipe on a chip that keeps what is required and errs hardly more than the best there.
    fn best(&self, chip: usize) -> Option<usize> {
        let error = |recipe: usize| self.figures(recipe, chip)?.select_error_percent;
        let least = (0..self.recipes.len()).filter_map(error).fold(f64::INFINITY, f64::min);
        let keeps = |recipe: &usize| {
            let Some(place) = self.places[*recipe][chip] else { return false };
            self.results.relative[place].meets_requirements && error(*recipe).is_none_or(|error| error <= least + MAX_MORE_ERROR)
        };
        let timed = (0..self.recipes.len()).filter(keeps).filter_map(|recipe| Some((self.figures(recipe, chip)?.latency_s, recipe)));
        timed.min_by(|one, other| one.0.total_cmp(&other.0)).map(|(_, recipe)| recipe)
    }
}

/// What each recipe changes on each chip, for every workload with several recipes.
pub fn chip_matrices(results: &SweepResults) -> Vec<ChipMatrix> {
    let matrix = |workload: Workload| {
        let grid = Grid::of(results, &workload);
        let named = results.provenance.baseline.as_ref().map(|baseline| &baseline.recipe);
        let baseline = grid.recipes.iter().position(|recipe| Some(recipe) == named).unwrap_or(0);
        if grid.recipes.len() < 2 {
            return None;
        }
        let home = results.provenance.baseline.as_ref().and_then(|baseline| grid.chips.iter().position(|chip| *chip == baseline.chip));
        let field = |recipe: usize, chip: usize| {
            // A chip that cannot run the baseline, as one of 2:4 alone, is held to the baseline's own chip.
            let base = grid.figures(baseline, chip).or_else(|| grid.figures(baseline, home?))?;
            let own = grid.figures(recipe, chip)?;
            Some(MatrixCell {
                latency: ratio(own.latency_s, base.latency_s),
                energy: ratio(own.energy_pj_per_sample, base.energy_pj_per_sample),
                accuracy: own.accuracy.zip(base.accuracy).map(|(own, base)| own - base),
            })
        };
        let fields = (0..grid.recipes.len()).map(|recipe| (0..grid.chips.len()).map(|chip| field(recipe, chip)).collect()).collect();
        Some(ChipMatrix { workload, baseline: grid.recipes[baseline].clone(), recipes: grid.recipes, chips: grid.chips, fields })
    };
    Workload::all(results).into_iter().filter_map(matrix).collect()
}

/// What a recipe that was found for one chip does on another, for every workload with several of both.
pub fn transfers(results: &SweepResults) -> Vec<Transfer> {
    let transfer = |workload: Workload| {
        let grid = Grid::of(results, &workload);
        if grid.recipes.len() < 2 || grid.chips.len() < 2 {
            return None;
        }
        let best: Vec<Option<usize>> = (0..grid.chips.len()).map(|chip| grid.best(chip)).collect();
        let field = |recipe: Option<usize>, chip: usize| {
            let (own, found) = (grid.figures(recipe?, chip)?, grid.figures(best[chip]?, chip)?);
            Some(TransferCell {
                latency: ratio(own.latency_s, found.latency_s),
                error_percent: own.error_percent.zip(found.error_percent).map(|(own, found)| own - found),
            })
        };
        let fields = best.iter().map(|recipe| (0..grid.chips.len()).map(|chip| field(*recipe, chip)).collect()).collect();
        let found = best.iter().map(|recipe| recipe.map(|recipe| grid.recipes[recipe].clone())).collect();
        Some(Transfer { workload, found, fields, chips: grid.chips })
    };
    Workload::all(results).into_iter().filter_map(transfer).collect()
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{point, results};
    use super::*;
    use crate::report::{PointRow, SweepBaseline};

    fn accuracy(mut point: PointRow, right: f64) -> PointRow {
        let figures = point.figures.as_mut().unwrap();
        let error = 100.0 * (1.0 - right);
        (figures.accuracy, figures.error_percent, figures.select_error_percent) = (Some(right), Some(error), Some(error));
        point
    }

    /// Two chips, three recipes: w4 is fast on both but errs too much on neither; 2:4 is the fastest on b alone; bad is the fastest, and wrong.
    fn points() -> Vec<PointRow> {
        vec![
            accuracy(point("a", "w8", 8e-6, None), 0.99),
            accuracy(point("a", "w4", 4e-6, None), 0.985),
            accuracy(point("a", "2:4", 8e-6, None), 0.988),
            accuracy(point("a", "bad", 1e-6, None), 0.5),
            accuracy(point("b", "w8", 8e-6, None), 0.99),
            accuracy(point("b", "w4", 6e-6, None), 0.985),
            accuracy(point("b", "2:4", 3e-6, None), 0.988),
            // Slower than what stands above.
            accuracy(point("b", "2:4", 5e-6, None), 0.988),
        ]
    }

    #[test]
    fn methods_are_held_against_the_baseline_of_the_same_chip() {
        let mut all = results(points());
        all.provenance.baseline = Some(SweepBaseline { chip: "a".to_owned(), recipe: "w8".to_owned() });
        let matrix = &chip_matrices(&all)[0];
        assert_eq!(
            (matrix.baseline.as_str(), &matrix.recipes[..], &matrix.chips[..]),
            ("w8", &["w8", "w4", "2:4", "bad"].map(str::to_owned)[..], &["a", "b"].map(str::to_owned)[..])
        );
        let latency = |row: usize, col: usize| matrix.fields[row][col].map(|field| field.latency);
        assert_eq!([latency(0, 0), latency(0, 1)], [Some(1.0); 2]);
        assert!((latency(1, 0).unwrap() - 0.5).abs() < 1e-12 && (latency(2, 1).unwrap() - 0.375).abs() < 1e-12);
        assert_eq!(latency(3, 1), None, "it did not run on b");
        assert!((matrix.fields[1][1].unwrap().accuracy.unwrap() + 0.005).abs() < 1e-12);
    }

    #[test]
    fn a_recipe_is_found_by_its_latency_among_those_that_err_little() {
        let transfer = &transfers(&results(points()))[0];
        assert_eq!(transfer.found, [Some("w4".to_owned()), Some("2:4".to_owned())]);
        let latency = |row: usize, col: usize| transfer.fields[row][col].unwrap().latency;
        assert!((latency(0, 0) - 1.0).abs() < 1e-12 && (latency(1, 1) - 1.0).abs() < 1e-12);
        // w4 on b takes 6 where 2:4 takes 3; 2:4 on a takes 8 where w4 takes 4.
        assert!((latency(0, 1) - 2.0).abs() < 1e-12 && (latency(1, 0) - 2.0).abs() < 1e-12);
    }

    #[test]
    fn one_recipe_or_one_chip_has_nothing_to_compare() {
        let all = results(vec![point("a", "w8", 1e-6, None), point("b", "w8", 2e-6, None)]);
        assert!(chip_matrices(&all).is_empty() && transfers(&all).is_empty());
    }
}
