//! The space of an experiment's points: coordinates in workloads, chips, recipes, seeds and axes, and what stands at each.
//!
//! The order of the grid is that of the coordinates: workload, chip, the axes of chips, recipe, its axes, seed, the last fastest. Coordinates along axes
//! that do not concern the point are 0, so that no point is there twice.

use super::{Experiment, Explore, Samples};
use crate::compress::Recipe;
use crate::report::AxisValue;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::{BTreeMap, BTreeSet};

/// The most points of a sweep.
pub const MOST_POINTS: u64 = 1_000_000;

/// Coordinates, in the order of [`Space::sizes`].
pub type Coordinates = Vec<usize>;

/// The space of an experiment.
#[derive(Debug)]
pub struct Space<'e> {
    experiment: &'e Experiment,
    /// Places of the axes of chips, then of recipes.
    chip_axes: Vec<usize>,
    recipe_axes: Vec<usize>,
    sizes: Vec<usize>,
}

/// What stands at some coordinates.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// The place of its workload.
    pub workload: usize,
    /// The place of its chip.
    pub chip: usize,
    /// Fields of the chip and their values.
    pub sets: Vec<(String, String)>,
    /// The place of its recipe.
    pub recipe: usize,
    /// The recipe with its axes filled in.
    pub steps: Recipe,
    /// The seed.
    pub seed: u64,
    /// Columns of its axes.
    pub axes: BTreeMap<String, AxisValue>,
}

impl<'e> Space<'e> {
    /// The space of an experiment.
    pub fn new(experiment: &'e Experiment) -> Self {
        let of = |is_of_chip: bool| -> Vec<usize> {
            (0..experiment.axes.len()).filter(|place| experiment.axes[*place].paths.is_empty() != is_of_chip).collect()
        };
        let (chip_axes, recipe_axes) = (of(true), of(false));
        let values = |place: &usize| experiment.axes[*place].values.len();
        let sizes = [experiment.workloads.len(), experiment.chips.len()]
            .into_iter()
            .chain(chip_axes.iter().map(values))
            .chain([experiment.recipes.len()])
            .chain(recipe_axes.iter().map(values))
            .chain([experiment.seeds.len()])
            .collect();
        Self { experiment, chip_axes, recipe_axes, sizes }
    }

    /// How many values each coordinate has.
    pub fn sizes(&self) -> &[usize] {
        &self.sizes
    }

    /// The coordinates with 0 along axes that the recipe does not use.
    pub fn normal(&self, mut at: Coordinates) -> Coordinates {
        let recipe = 2 + self.chip_axes.len();
        let used = &self.experiment.recipes[at[recipe]].axes;
        for (place, axis) in self.recipe_axes.iter().enumerate() {
            if !used.contains(axis) {
                at[recipe + 1 + place] = 0;
            }
        }
        at
    }

    /// Whether the recipe is for the model and the chip.
    pub fn is_meant(&self, at: &[usize]) -> bool {
        self.meets(at[0], at[1], at[2 + self.chip_axes.len()])
    }

    fn meets(&self, workload: usize, chip: usize, recipe: usize) -> bool {
        let (recipe, experiment) = (&self.experiment.recipes[recipe], self.experiment);
        let is_for = |only: &Option<Vec<String>>, name: &String| only.as_ref().is_none_or(|only| only.contains(name));
        is_for(&recipe.models, &experiment.workloads[workload].model) && is_for(&recipe.chips, &experiment.chips[chip].name)
    }

    /// Points of the whole grid, none twice.
    pub fn total(&self) -> u128 {
        let experiment = self.experiment;
        let size = |place: &usize| experiment.axes[*place].values.len() as u128;
        let axes = self.chip_axes.iter().map(size).fold(experiment.seeds.len() as u128, u128::saturating_mul);
        let mut met = 0_u128;
        for (number, recipe) in experiment.recipes.iter().enumerate() {
            let chips = |workload| (0..experiment.chips.len()).filter(|chip| self.meets(workload, *chip, number)).count() as u128;
            let pairs: u128 = (0..experiment.workloads.len()).map(chips).sum();
            met += pairs * recipe.variants.len() as u128;
        }
        axes.saturating_mul(met)
    }

    /// The coordinates that the experiment looks at, in order; none where a search looks for them. No more than `most`.
    pub fn coordinates(&self, most: u64) -> Vec<Coordinates> {
        let most = usize::try_from(most.min(MOST_POINTS)).unwrap_or(usize::MAX);
        match self.experiment.explore {
            Explore::Grid => self.grid().take(most).collect(),
            Explore::Random { points, seed } => self.random(points, seed).into_iter().take(most).collect(),
            Explore::LatinHypercube { points, seed } => self.hypercube(points, seed).into_iter().take(most).collect(),
            Explore::Nsga2 { .. } => Vec::new(),
        }
    }

    fn grid(&self) -> impl Iterator<Item = Coordinates> + '_ {
        let first = Some(vec![0; self.sizes.len()]);
        let next = |at: &Coordinates| {
            let mut at = at.clone();
            for place in (0..at.len()).rev() {
                at[place] += 1;
                if at[place] < self.sizes[place] {
                    return Some(at);
                }
                at[place] = 0;
            }
            None
        };
        std::iter::successors(first, next).filter(|at| self.is_meant(at) && self.normal(at.clone()) == *at)
    }

    /// Coordinates drawn at random.
    pub fn draw(&self, rng: &mut ChaCha8Rng) -> Coordinates {
        self.normal(self.sizes.iter().map(|size| rng.random_range(0..*size)).collect())
    }

    /// Coordinates drawn at random, of a recipe that is for its model and chip, if such are met in a thousand draws.
    pub fn draw_meant(&self, rng: &mut ChaCha8Rng) -> Coordinates {
        for _ in 0..1000 {
            let at = self.draw(rng);
            if self.is_meant(&at) {
                return at;
            }
        }
        self.grid().next().unwrap_or_else(|| self.draw(rng))
    }

    fn random(&self, points: u64, seed: u64) -> Vec<Coordinates> {
        if u128::from(points) >= self.total() {
            return self.grid().collect();
        }
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let (mut known, mut all) = (BTreeSet::new(), Vec::new());
        // Points that many coordinates lead to are drawn often; what is missing after a while is rare.
        for _ in 0..points.saturating_mul(1000) {
            if all.len() as u64 >= points {
                break;
            }
            let at = self.draw(&mut rng);
            if self.is_meant(&at) && known.insert(at.clone()) {
                all.push(at);
            }
        }
        all
    }

    /// Each value of each coordinate as often as any other, or once more; points that fall together are there once.
    fn hypercube(&self, points: u64, seed: u64) -> Vec<Coordinates> {
        let points = usize::try_from(points).unwrap_or(usize::MAX);
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let columns: Vec<Vec<usize>> = (self.sizes.iter())
            .map(|size| {
                let mut strata: Vec<usize> = (0..points).map(|stratum| stratum * size / points).collect();
                strata.shuffle(&mut rng);
                strata
            })
            .collect();
        let mut known = BTreeSet::new();
        let at = |point: usize| self.normal(columns.iter().map(|column| column[point]).collect());
        (0..points).map(at).filter(|at| self.is_meant(at) && known.insert(at.clone())).collect()
    }

    /// What stands at some coordinates.
    ///
    /// # Panics
    /// If the coordinates are of another space.
    pub fn point(&self, at: &[usize]) -> Point {
        let experiment = self.experiment;
        let of_recipe = 2 + self.chip_axes.len();
        let (mut sets, mut axes) = (Vec::new(), BTreeMap::new());
        for (place, axis) in self.chip_axes.iter().enumerate() {
            let (axis, value) = (&experiment.axes[*axis], at[2 + place]);
            sets.extend(axis.paths.iter().cloned().zip(axis.values[value].iter().cloned()));
            axes.extend(axis.columns(value));
        }
        let recipe = &experiment.recipes[at[of_recipe]];
        let mut variant = 0;
        for axis in &recipe.axes {
            let place = self.recipe_axes.iter().position(|known| known == axis).expect("bug: a recipe's axes are the experiment's");
            let value = at[of_recipe + 1 + place];
            variant = variant * experiment.axes[*axis].values.len() + value;
            axes.extend(experiment.axes[*axis].columns(value));
        }
        Point {
            workload: at[0],
            chip: at[1],
            sets,
            recipe: at[of_recipe],
            steps: recipe.variants[variant].clone(),
            seed: experiment.seeds[at[at.len() - 1]],
            axes,
        }
    }
}

impl Point {
    /// All that the point's figures depend on, as a text: its hash is the point's identity.
    pub fn inputs(&self, experiment: &Experiment) -> String {
        let (workload, recipe) = (&experiment.workloads[self.workload], &experiment.recipes[self.recipe]);
        let samples = match workload.samples {
            Samples::All => "all".to_owned(),
            Samples::First(count) => count.to_string(),
            Samples::TimingOnly => "timing".to_owned(),
        };
        format!(
            "{}\n{:?}\n{} {} {:?} {samples}\n{}{:?}\n{} {} {:?}",
            experiment.chips[self.chip].chip.resolved(),
            self.sets,
            workload.sha256,
            workload.batch,
            workload.weights,
            self.steps.to_ron(),
            recipe.loads,
            self.seed,
            experiment.plan,
            experiment.area,
        )
    }
}
