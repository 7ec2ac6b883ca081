//! NSGA-II over an experiment's coordinates: non-dominated sorting, crowding distance, binary tournaments, constraints first (Deb, Pratap, Agarwal,
//! Meyarivan, "A fast and elitist multiobjective genetic algorithm: NSGA-II", IEEE Transactions on Evolutionary Computation 6(2), 2002).
//!
//! Coordinates are places in lists, not reals: children take each coordinate from either parent, and one coordinate in as many as there are is drawn anew, or
//! goes a step along its list. Own code: generations are
//! replayed from a log after a kill, so that the loop is the log's.

use crate::experiment::{Coordinates, Experiment, Explore, Goal, Space};
use crate::report::{PointRow, SweepProvenance, SweepResults};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::cmp::Ordering;

/// A point of a population.
#[derive(Debug, Clone, PartialEq)]
struct Individual {
    at: Coordinates,
    /// How far it is from what is required; infinite where it could not run.
    violation: f64,
    /// What is to be little.
    costs: Vec<f64>,
    /// The front that it is on, 0 the best.
    rank: usize,
    /// How far its neighbours on the front are.
    crowding: f64,
}

/// A search under way.
pub(super) struct Evolution<'e> {
    space: &'e Space<'e>,
    minimize: Vec<Goal>,
    population: usize,
    /// Generations that are still to be asked for.
    left: u64,
    rng: ChaCha8Rng,
    parents: Vec<Individual>,
    asked: Vec<Coordinates>,
    require: Vec<String>,
}

impl<'e> Evolution<'e> {
    /// A search that has asked for nothing yet.
    ///
    /// # Panics
    /// If the experiment does not search.
    pub(super) fn new(experiment: &'e Experiment, space: &'e Space<'e>) -> Self {
        let Explore::Nsga2 { minimize, population, generations, seed } = &experiment.explore else {
            unreachable!("bug: an experiment that does not search")
        };
        Self {
            space,
            minimize: minimize.clone(),
            population: usize::try_from(*population).unwrap_or(usize::MAX),
            left: generations + 1,
            rng: ChaCha8Rng::seed_from_u64(*seed),
            parents: Vec::new(),
            asked: Vec::new(),
            require: experiment.require.iter().map(ToString::to_string).collect(),
        }
    }

    /// The coordinates of the next generation; none after the last.
    pub(super) fn next_generation(&mut self) -> Option<Vec<Coordinates>> {
        self.left = self.left.checked_sub(1)?;
        self.asked = if self.parents.is_empty() {
            (0..self.population).map(|_| self.space.draw_meant(&mut self.rng)).collect()
        } else {
            (0..self.population).map(|_| self.child()).collect()
        };
        Some(self.asked.clone())
    }

    /// What the points of the generation yielded, in the order in which they were asked for.
    pub(super) fn tell(&mut self, rows: &[PointRow]) {
        let results =
            SweepResults::new(self.provenance(), rows.iter().zip(0..).map(|(row, point)| PointRow { point, ..row.clone() }).collect());
        let mut all = std::mem::take(&mut self.parents);
        for (place, at) in self.asked.iter().enumerate() {
            if all.iter().any(|known| known.at == *at) {
                continue;
            }
            let costs: Option<Vec<f64>> = self.minimize.iter().map(|goal| results.cell(place, column(*goal)).number()).collect();
            let violation = if costs.is_some() { results.violation(place) } else { f64::INFINITY };
            let costs = costs.unwrap_or_else(|| vec![f64::INFINITY; self.minimize.len()]);
            all.push(Individual { at: at.clone(), violation, costs, rank: 0, crowding: 0.0 });
        }
        self.parents = survivors(all, self.population);
    }

    fn provenance(&self) -> SweepProvenance {
        SweepProvenance { require: self.require.clone(), ..SweepProvenance::default() }
    }

    fn child(&mut self) -> Coordinates {
        let parents = [self.winner(), self.winner()];
        let mut at: Coordinates = (0..parents[0].len()).map(|place| parents[usize::from(self.rng.random::<bool>())][place]).collect();
        let sizes = self.space.sizes();
        for place in 0..at.len() {
            if self.rng.random_range(0..at.len()) > 0 {
                continue;
            }
            // As often anywhere as next to where it is.
            at[place] = match self.rng.random_range(0..4) {
                0 => at[place].saturating_sub(1),
                1 => (at[place] + 1).min(sizes[place] - 1),
                _ => self.rng.random_range(0..sizes[place]),
            };
        }
        let at = self.space.normal(at);
        // What no recipe is for takes a fresh place.
        if self.space.is_meant(&at) { at } else { self.space.draw_meant(&mut self.rng) }
    }

    /// The better of two.
    fn winner(&mut self) -> Coordinates {
        let mut draw = || self.rng.random_range(0..self.parents.len());
        let (one, other) = (draw(), draw());
        let (one, other) = (&self.parents[one], &self.parents[other]);
        let by_crowding = || other.crowding.total_cmp(&one.crowding);
        let is_first = one.rank.cmp(&other.rank).then_with(by_crowding) != Ordering::Greater;
        if is_first { one.at.clone() } else { other.at.clone() }
    }
}

/// The column of what is to be little.
const fn column(goal: Goal) -> &'static str {
    match goal {
        Goal::Error => "select_error_percent",
        Goal::Latency => "latency_s",
        Goal::Energy => "energy_pj_per_sample",
        Goal::Area => "area_mm2",
    }
}

/// Whether one is better: it keeps more of what is required, or costs no more in anything and less in something.
fn dominates(one: &Individual, other: &Individual) -> bool {
    if one.violation > 0.0 || other.violation > 0.0 {
        return one.violation < other.violation;
    }
    let pairs = || one.costs.iter().zip(&other.costs);
    pairs().all(|(one, other)| one <= other) && pairs().any(|(one, other)| one < other)
}

/// The fronts, the best first, as places.
fn fronts(all: &[Individual]) -> Vec<Vec<usize>> {
    let mut dominated: Vec<Vec<usize>> = vec![Vec::new(); all.len()];
    let mut above = vec![0_usize; all.len()];
    for (place, one) in all.iter().enumerate() {
        for (other, individual) in all.iter().enumerate() {
            if dominates(one, individual) {
                dominated[place].push(other);
                above[other] += 1;
            }
        }
    }
    let mut found = Vec::new();
    let mut front: Vec<usize> = (0..all.len()).filter(|place| above[*place] == 0).collect();
    while !front.is_empty() {
        let mut next = Vec::new();
        for place in &front {
            for other in &dominated[*place] {
                above[*other] -= 1;
                if above[*other] == 0 {
                    next.push(*other);
                }
            }
        }
        next.sort_unstable();
        found.push(std::mem::replace(&mut front, next));
    }
    found
}

/// Gives the members of a front their crowding distance.
fn crowd(all: &mut [Individual], front: &[usize]) {
    for goal in 0..all.first().map_or(0, |one| one.costs.len()) {
        let mut order = front.to_vec();
        order.sort_by(|one, other| all[*one].costs[goal].total_cmp(&all[*other].costs[goal]).then(one.cmp(other)));
        let (first, last) = (order[0], order[order.len() - 1]);
        let span = all[last].costs[goal] - all[first].costs[goal];
        all[first].crowding = f64::INFINITY;
        all[last].crowding = f64::INFINITY;
        for three in order.windows(3) {
            let gap = (all[three[2]].costs[goal] - all[three[0]].costs[goal]) / span;
            if gap.is_finite() {
                all[three[1]].crowding += gap;
            }
        }
    }
}

/// The best so many: whole fronts first, of the last one the least crowded.
fn survivors(mut all: Vec<Individual>, most: usize) -> Vec<Individual> {
    let mut kept = Vec::new();
    for one in &mut all {
        one.crowding = 0.0;
    }
    for (rank, mut front) in fronts(&all).into_iter().enumerate() {
        crowd(&mut all, &front);
        front.sort_by(|one, other| all[*other].crowding.total_cmp(&all[*one].crowding).then(one.cmp(other)));
        for place in front.into_iter().take(most - kept.len()) {
            kept.push(Individual { rank, ..all[place].clone() });
        }
        if kept.len() == most {
            break;
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(violation: f64, costs: &[f64]) -> Individual {
        Individual { at: vec![], violation, costs: costs.to_vec(), rank: 0, crowding: 0.0 }
    }

    #[test]
    fn fronts_are_those_of_the_definition_and_constraints_come_first() {
        let all = [one(0.0, &[1.0, 4.0]), one(0.0, &[2.0, 2.0]), one(0.0, &[3.0, 3.0]), one(0.5, &[0.0, 0.0]), one(0.2, &[9.0, 9.0])];
        assert_eq!(fronts(&all), [vec![0, 1], vec![2], vec![4], vec![3]]);
        assert!(!dominates(&all[0], &all[0]));
    }

    #[test]
    fn of_the_last_front_the_least_crowded_survive() {
        // Four on one front: the ends have no neighbour on one side, and of the others the second is nearer to its neighbours.
        let all = vec![one(0.0, &[0.0, 10.0]), one(0.0, &[1.0, 9.0]), one(0.0, &[5.0, 4.0]), one(0.0, &[10.0, 0.0])];
        let kept: Vec<Vec<f64>> = survivors(all, 3).into_iter().map(|one| one.costs).collect();
        assert_eq!(kept, [vec![0.0, 10.0], vec![10.0, 0.0], vec![5.0, 4.0]]);
    }
}
