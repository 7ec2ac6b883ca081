//! Mixed precision that is searched for: which format each layer gets, so that little is lost for what is gained.
//!
//! Losses and costs are added up over layers, as Cai et al. add their sensitivities (`ZeroQ`, CVPR 2020): the Kullback-Leibler divergence
//! of the outputs with one layer quantized from those in float. Which choices no other is better than in both is a multiple-choice knapsack;
//! [`frontier`] finds all of them, layer by layer, and drops what is dominated as it goes (Nemhauser and Ullmann, Management Science 15(9), 1969), which
//! loses no choice of the frontier, since what comes later adds the same to both. Not here: how losses and costs are measured (`pipeline`).

use super::{CompressError, Formats, Patterns, Recipe, Scheme, Step};
use crate::network::{LayerId, Network};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Choices that are kept after each layer at most: beyond it some between others are let go, and the frontier is no longer exact.
pub const MAX_FRONTIER: usize = 1 << 16;

/// Formats that a layer may get.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bits {
    /// Bits of weights.
    pub w: u32,
    /// Bits of the values that it reads.
    pub a: u32,
    /// Whether weights are multiplied in the format of the values.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub wide: bool,
}

/// What is to be little.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Goal {
    /// What is lost of accuracy.
    AccuracyLoss,
    /// Core cycles of a batch.
    Cycles,
    /// Energy of a batch.
    Energy,
    /// Bytes of weights.
    WeightBytes,
}

/// What may not be more.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum Limit {
    /// Accuracy on the select split that the float network has and the quantized one has not, 0 to 1.
    AccuracyLoss(f64),
    /// Core cycles of a batch.
    Cycles(u64),
    /// Picojoules of a batch.
    EnergyPj(f64),
    /// Bytes of weights, packed without gaps.
    WeightBytes(u64),
}

impl Goal {
    /// Its name in short forms.
    const NAMES: [(&'static str, Self); 4] =
        [("accuracy", Self::AccuracyLoss), ("cycles", Self::Cycles), ("energy", Self::Energy), ("bytes", Self::WeightBytes)];
}

impl Limit {
    /// What it limits.
    pub const fn goal(self) -> Goal {
        match self {
            Self::AccuracyLoss(_) => Goal::AccuracyLoss,
            Self::Cycles(_) => Goal::Cycles,
            Self::EnergyPj(_) => Goal::Energy,
            Self::WeightBytes(_) => Goal::WeightBytes,
        }
    }

    /// The most that there may be.
    pub const fn most(self) -> f64 {
        match self {
            Self::AccuracyLoss(most) | Self::EnergyPj(most) => most,
            Self::Cycles(most) | Self::WeightBytes(most) => most as f64,
        }
    }
}

impl Bits {
    /// The step that gives layers these formats.
    ///
    /// # Errors
    /// Bits that no format has.
    pub fn step(self, layers: Patterns) -> Result<Step, CompressError> {
        let mut step = Step::quantize(Scheme::of_bits(self.w, self.a)?, layers);
        if let Step::Quantize { wide, .. } = &mut step {
            *wide = self.wide;
        }
        Ok(step)
    }
}

impl fmt::Display for Bits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "w{}a{}{}", self.w, self.a, if self.wide { "wide" } else { "" })
    }
}

impl FromStr for Bits {
    type Err = CompressError;

    fn from_str(text: &str) -> Result<Self, CompressError> {
        let (scheme, wide) = text.strip_suffix("wide").map_or((text, false), |scheme| (scheme, true));
        let Scheme { weight, activation } = scheme.parse()?;
        Ok(Self { w: weight.bits(), a: activation.bits(), wide })
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::NAMES.iter().find(|(_, goal)| goal == self).map_or("", |(name, _)| name);
        f.write_str(name)
    }
}

impl FromStr for Goal {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::NAMES.iter().find(|(name, _)| *name == text).map(|(_, goal)| *goal).ok_or(())
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AccuracyLoss(most) => write!(f, "loss:{most}"),
            Self::Cycles(most) => write!(f, "cycles:{most}"),
            Self::EnergyPj(most) => write!(f, "energy:{most}"),
            Self::WeightBytes(most) => write!(f, "bytes:{most}"),
        }
    }
}

impl FromStr for Limit {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (name, most) = text.split_once(':').ok_or(())?;
        let real = || most.parse::<f64>().map_err(|_| ());
        let whole = || most.parse::<u64>().map_err(|_| ());
        match name {
            "loss" => Ok(Self::AccuracyLoss(real()?)),
            "cycles" => Ok(Self::Cycles(whole()?)),
            "energy" => Ok(Self::EnergyPj(real()?)),
            "bytes" => Ok(Self::WeightBytes(whole()?)),
            _ => Err(()),
        }
    }
}

/// What a step asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct Search<'s> {
    /// The step.
    pub step: &'s Step,
    /// Formats to choose from; the first is where the search begins.
    pub bits: &'s [Bits],
    /// What is to be little.
    pub objective: Goal,
    /// What may not be more.
    pub constraint: Limit,
}

/// What is wrong with a search, and what to do.
pub(super) fn fault(bits: &[Bits], objective: Goal, constraint: Limit) -> Option<(String, &'static str)> {
    if bits.len() < 2 {
        return Some((format!("there is a choice of {}", bits.len()), "name two formats or more, such as w8a8/w4a8"));
    }
    if let Some((number, again)) = bits.iter().enumerate().find(|(number, again)| bits[..*number].contains(again)) {
        return Some((format!("{again} stands there twice, the second time as number {}", number + 1), "name each format once"));
    }
    if (objective == Goal::AccuracyLoss) == (constraint.goal() == Goal::AccuracyLoss) {
        return Some((
            format!("{objective} is to be little, and {constraint} is the limit"),
            "one of the two is about accuracy and the other about cycles, energy or bytes: cycles,loss:0.005 or accuracy,bytes:20000",
        ));
    }
    match constraint {
        Limit::AccuracyLoss(most) if !(0.0..=1.0).contains(&most) => {
            Some((format!("a loss of {most} is the limit"), "it is a share of the samples: 0 to 1"))
        }
        Limit::EnergyPj(most) if !(most.is_finite() && most > 0.0) => {
            Some((format!("an energy of {most} is the limit"), "it is a number of picojoules above 0"))
        }
        Limit::Cycles(0) | Limit::WeightBytes(0) => Some(("nothing is the limit".to_string(), "allow 1 or more")),
        _ => None,
    }
}

impl Recipe {
    /// What its last step searches for, if it does.
    pub fn search(&self) -> Option<Search<'_>> {
        let step = self.quantization().last()?;
        let Step::MixedPrecision { bits, objective, constraint, .. } = step else { return None };
        Some(Search { step, bits, objective: *objective, constraint: *constraint })
    }

    /// The layers of a network that its search is for.
    ///
    /// # Errors
    /// A pattern that names none.
    pub fn searched(&self, network: &Network) -> Result<Vec<LayerId>, CompressError> {
        self.search().map_or_else(|| Ok(Vec::new()), |search| super::apply::named(search.step, network))
    }

    /// The recipe with formats in place of its search: for each layer, by name, the number of one of the search's.
    ///
    /// # Errors
    /// A layer whose name stands, as a pattern, for others too that get other formats.
    pub fn with_choice(&self, network: &Network, choice: &[(LayerId, usize)]) -> Result<Self, CompressError> {
        let Some(search) = self.search() else { return Ok(self.clone()) };
        let base = super::recipe::for_all(self.quantization());
        let quantization = self.quantization();
        let mut steps: Vec<Step> = self.pruning().iter().chain(&quantization[..quantization.len() - 1]).cloned().collect();
        if base.is_none() {
            steps.push(Step::quantize(Scheme::EIGHT_BITS, Patterns::default()));
        }
        // Names that are patterns too come first, so that those which they stand for besides get their own formats after them.
        let is_pattern = |id: &LayerId| network.layer(*id).name.contains(['*', '?']);
        for of_patterns in [true, false] {
            for (number, bits) in search.bits.iter().enumerate() {
                let chosen = choice.iter().filter(|(id, chosen)| *chosen == number && is_pattern(id) == of_patterns);
                let names: Vec<String> = chosen.map(|(id, _)| network.layer(*id).name.clone()).collect();
                if names.is_empty() {
                    continue;
                }
                let mut step = bits.step(Patterns(names))?;
                if let (
                    Some(Step::Quantize { weights: of_weights, activations: of_values, .. }),
                    Step::Quantize { weights, activations, .. },
                ) = (base, &mut step)
                {
                    (*weights, *activations) = (*of_weights, *of_values);
                }
                steps.push(step);
            }
        }
        let recipe = Self::new(steps)?;
        let resolved = Formats::from(&recipe).resolve(network)?;
        for (id, number) in choice {
            let (layer, bits) = (network.layer(*id), search.bits[*number]);
            let found = resolved.of(layer);
            if (found.scheme, found.is_wide) != (Scheme::of_bits(bits.w, bits.a)?, bits.wide) {
                let problem = format!("the name of layer \"{}\" stands, as a pattern, for others too", layer.name);
                return Err(search.step.fault(problem, "rename the layer in the model: * and ? are of patterns"));
            }
        }
        Ok(recipe)
    }
}

/// A choice of a format for each layer.
#[derive(Debug, Clone, PartialEq)]
pub struct Choices {
    /// The number of each layer's format.
    pub chosen: Vec<usize>,
    /// The sum of what is lost.
    pub loss: f64,
    /// The sum of costs.
    pub cost: f64,
}

/// A choice as it grows: what it adds to one of the layers before.
#[derive(Clone, Copy)]
struct Link {
    before: usize,
    chosen: usize,
    loss: f64,
    cost: f64,
}

/// Every choice for which none costs as little and loses less, or loses as little and costs less; the cheapest first. `layers` has, for each layer, what
/// each of its formats loses and costs; none of one that it cannot have. Empty where a layer can have none.
pub fn frontier(layers: &[Vec<Option<[f64; 2]>>]) -> Vec<Choices> {
    let mut levels: Vec<Vec<Link>> = vec![vec![Link { before: 0, chosen: 0, loss: 0.0, cost: 0.0 }]];
    for options in layers {
        let last = &levels[levels.len() - 1];
        let mut all: Vec<Link> = Vec::with_capacity(last.len() * options.len());
        for (before, link) in last.iter().enumerate() {
            let with = |(chosen, option): (usize, &Option<[f64; 2]>)| {
                option.map(|[loss, cost]| Link { before, chosen, loss: link.loss + loss, cost: link.cost + cost })
            };
            all.extend(options.iter().enumerate().filter_map(with));
        }
        // Stable, so that of equals the earlier formats stay.
        all.sort_by(|one, other| one.cost.total_cmp(&other.cost).then(one.loss.total_cmp(&other.loss)));
        let mut least = f64::INFINITY;
        all.retain(|link| {
            let is_better = link.loss < least;
            least = least.min(link.loss);
            is_better
        });
        levels.push(spread(all, MAX_FRONTIER));
    }
    let ends = levels[levels.len() - 1].iter().map(|end| {
        let mut chosen = Vec::with_capacity(layers.len());
        let mut link = end;
        for level in (1..levels.len()).rev() {
            chosen.push(link.chosen);
            link = &levels[level - 1][link.before];
        }
        chosen.reverse();
        Choices { chosen, loss: end.loss, cost: end.cost }
    });
    ends.collect()
}

/// At most so many, both ends among them, as evenly as can be.
pub fn spread<T>(all: Vec<T>, most: usize) -> Vec<T> {
    let count = all.len();
    if count <= most || most < 2 {
        return all;
    }
    let mut wanted = (0..most).map(|number| number * (count - 1) / (most - 1)).peekable();
    let is_wanted = |place: usize, wanted: &mut std::iter::Peekable<_>| wanted.next_if_eq(&place).is_some();
    all.into_iter().enumerate().filter_map(|(place, one)| is_wanted(place, &mut wanted).then_some(one)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn at_most_so_many_are_kept_and_both_ends() {
        assert_eq!(spread(vec![1, 2, 3], 3), [1, 2, 3]);
        assert_eq!(spread((0..=100).collect(), 5), [0, 25, 50, 75, 100]);
        assert_eq!(spread((0..10).collect(), 9).len(), 9);
    }

    #[test]
    fn a_layer_without_a_format_leaves_nothing() {
        assert_eq!(frontier(&[vec![Some([0.0, 1.0])], vec![None, None]]), []);
        assert_eq!(frontier(&[]), [Choices { chosen: vec![], loss: 0.0, cost: 0.0 }]);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Every choice there is, compared with every other.
        #[test]
        fn the_frontier_is_what_no_other_choice_dominates(
            layers in prop::collection::vec(prop::collection::vec(prop::option::weighted(0.9, (0..40_u8, -20..20_i8)), 1..4), 1..5)
        ) {
            let layers: Vec<Vec<Option<[f64; 2]>>> = layers.iter().map(|options| {
                options.iter().map(|option| option.map(|(loss, cost)| [f64::from(loss), f64::from(cost)])).collect()
            }).collect();
            let mut all: Vec<(f64, f64)> = vec![(0.0, 0.0)];
            for options in &layers {
                all = all.iter().flat_map(|(loss, cost)| options.iter().flatten().map(move |[l, c]| (loss + l, cost + c))).collect();
            }
            let dominates = |(l, c): &(f64, f64), (loss, cost): &(f64, f64)| l <= loss && c <= cost && (l < loss || c < cost);
            let mut best: Vec<(f64, f64)> = all.iter().filter(|one| !all.iter().any(|other| dominates(other, one))).copied().collect();
            best.sort_by(|one, other| one.1.total_cmp(&other.1));
            best.dedup();
            let found = frontier(&layers);
            prop_assert_eq!(found.iter().map(|point| (point.loss, point.cost)).collect::<Vec<_>>(), best);
            for point in found {
                let sums = point.chosen.iter().zip(&layers).map(|(chosen, options)| options[*chosen].unwrap());
                let [loss, cost] = sums.fold([0.0, 0.0], |[loss, cost], [l, c]| [loss + l, cost + c]);
                prop_assert_eq!((loss, cost), (point.loss, point.cost));
            }
        }
    }
}
