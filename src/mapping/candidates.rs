//! The cuts of a stage that a search looks at: every legal one where there are few, else those next to which nothing is better by much.
//!
//! A cut is a dataflow, an order of the outer loops, a block of vectors and a chunk of channels. How deep buffers are follows from it: the larger the
//! pieces, the fewer of them are on the chip at a time, down to one. Not here: what a cut costs, and whether it fits (`fit`).

use super::{Choice, Layout, Lowered, Mapping, Order, Problem, Rules, Tiling, WeightStart, Work, keeps_numbers, map_as};
use crate::chip::{Chip, Dataflow, Stationary};
use std::collections::BTreeSet;

/// The most cuts of a dataflow that are all looked at; of more only the breakpoints are.
pub const MOST_CUTS: u64 = 2048;
/// The most blocks that a stage is cut into: what a bound takes goes by their number.
const MOST_BLOCKS: u64 = 1 << 16;
/// How close two breakpoints may lie: a part of so many of the larger one. The first that leaves no more than [`MOST_CUTS`] is taken.
const PARTS: [u64; 6] = [64, 32, 16, 8, 4, 2];

/// The cuts of one stage, in which a later one is taken only where it is better.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidates {
    /// What may be chosen, whether it fits the chip or not.
    pub choices: Vec<Choice>,
    /// Whether that is every cut that a pin may ask for in these dataflows.
    pub is_all: bool,
}

impl Candidates {
    /// The cuts of `stage` in each dataflow of the chip that keeps its numbers. The input lies as it is said to.
    pub fn of(stage: &Lowered, chip: &Chip, layout: Layout) -> Self {
        let dataflows = chip.array().dataflows.iter().filter(|dataflow| keeps_numbers(stage, chip, dataflow));
        let mut all = Self { choices: Vec::new(), is_all: true };
        for dataflow in dataflows {
            let stationary = dataflow.kind();
            if !stage.work.is_array() {
                // The vector unit and movements are cut in one way.
                all.choices.push(Choice { stationary, tiling: None, layout });
                return all;
            }
            let cuts = Cuts::of(stage, chip, dataflow);
            let (tilings, is_all) = cuts.all().map_or_else(|| (cuts.breakpoints(), false), |tilings| (tilings, true));
            all.is_all &= is_all;
            all.choices.extend(tilings.into_iter().map(|tiling| Choice { stationary, tiling: Some(tiling), layout }));
        }
        all
    }
}

/// What the cuts of a stage in one dataflow are made from.
struct Cuts<'s> {
    stage: &'s Lowered,
    problem: &'s Problem,
    rules: Rules,
    accumulator: u64,
    /// Vectors that blocks are multiples of.
    unit: u64,
}

impl<'s> Cuts<'s> {
    fn of(stage: &'s Lowered, chip: &Chip, dataflow: &Dataflow) -> Self {
        let problem = &stage.problem;
        let format = chip.format(problem.weight, problem.activation).expect("bug: lower refuses formats that the chip has not");
        let rules = Rules::new(chip, format, dataflow);
        let unit = if stage.run() < problem.vectors() { 1 } else { rules.vector_unit() };
        Self { stage, problem, rules, accumulator: chip.accumulator().capacity.get(), unit }
    }

    /// Chunks of channels are of one size but where activations stay, or where a group is cut.
    fn has_chunks(&self) -> bool {
        self.rules.mode.stationary == Stationary::Input || self.problem.groups > 1
    }

    /// The most channels of a chunk.
    fn most_channels(&self) -> u64 {
        let channels = self.problem.group_outputs();
        if self.rules.mode.stationary == Stationary::Input { channels } else { self.rules.chunk_unit().min(channels) }
    }

    /// Whether the accumulator holds the sums of a block and a chunk.
    fn has_room(&self, block: u64, chunk: u64) -> bool {
        let tiling = Tiling { order: Order::Blocks, block, chunk };
        self.rules.sums(self.problem, &tiling, block) <= self.accumulator
    }

    /// The most vectors of a block whose sums the accumulator holds; 0 where it holds none.
    fn most_vectors(&self, chunk: u64) -> u64 {
        let vectors = self.stage.run();
        if self.has_room(vectors, chunk) {
            return vectors;
        }
        let (mut low, mut high) = (0, vectors.div_ceil(self.unit));
        while high - low > 1 {
            let middle = u64::midpoint(low, high);
            if self.has_room(middle * self.unit, chunk) { low = middle } else { high = middle }
        }
        low * self.unit
    }

    /// The fewest vectors of a block that are looked at.
    fn least_vectors(&self) -> u64 {
        self.problem.vectors().div_ceil(MOST_BLOCKS).max(1)
    }

    /// A size of a block as one that may be: all vectors, or whole units of them; a divisor of those that are multiplied by the same.
    fn is_block(&self, block: u64) -> bool {
        let run = self.stage.run();
        if run < self.problem.vectors() { run.is_multiple_of(block) } else { block == run || block.is_multiple_of(self.unit) }
    }

    /// Every cut, the largest blocks first, where there are no more than [`MOST_CUTS`].
    fn all(&self) -> Option<Vec<Tiling>> {
        let chunks: Vec<u64> = if self.has_chunks() {
            (self.most_channels() <= MOST_CUTS).then(|| (1..=self.most_channels()).rev().collect())?
        } else {
            vec![self.problem.share(self.most_channels()).unwrap_or(1)]
        };
        let mut cuts = Vec::new();
        for chunk in chunks.into_iter().filter(|chunk| self.problem.groups == 1 || self.problem.group_outputs().is_multiple_of(*chunk)) {
            let most = self.most_vectors(chunk);
            if most / self.unit > MOST_CUTS || most > 0 && self.least_vectors() > 1 {
                return None;
            }
            let whole = (most > 0 && !most.is_multiple_of(self.unit)).then_some(most);
            let blocks = whole.into_iter().chain((1..=most / self.unit).rev().map(|units| units * self.unit));
            cuts.extend(blocks.filter(|block| self.is_block(*block)).map(|block| (block, chunk)));
            if cuts.len() as u64 > MOST_CUTS {
                return None;
            }
        }
        let tilings = self.ordered(&cuts);
        (tilings.len() as u64 <= MOST_CUTS).then_some(tilings)
    }

    /// Of cuts into as many pieces those with the smallest, and those that end where passes and rows of pixels do.
    fn breakpoints(&self) -> Vec<Tiling> {
        let mut tilings = Vec::new();
        for parts in PARTS {
            let pass = self.rules.chunk_unit();
            let chunks = if self.has_chunks() {
                breakpoints(self.problem.group_outputs(), 1, (1, self.most_channels()), parts, &[pass])
            } else {
                vec![self.problem.share(self.most_channels()).unwrap_or(1)]
            };
            let mut cuts = Vec::new();
            for chunk in chunks {
                let (least, most) = (self.least_vectors(), self.most_vectors(chunk));
                let blocks = breakpoints(self.stage.run(), self.unit, (least.min(most), most), parts, &[self.rules.pass, self.problem.q]);
                cuts.extend(blocks.into_iter().filter(|block| self.is_block(*block)).map(|block| (block, chunk)));
            }
            tilings = self.ordered(&cuts);
            if tilings.len() as u64 <= MOST_CUTS {
                break;
            }
        }
        tilings
    }

    /// Cuts in each order of the outer loops: one block is one block whatever stands outside of it, and a value's weights are those of their blocks.
    fn ordered(&self, cuts: &[(u64, u64)]) -> Vec<Tiling> {
        let both = self.stage.work == Work::Array;
        let of = |order: Order| {
            let cuts = cuts.iter().filter(move |(block, _)| order == Order::Blocks || both && *block < self.problem.vectors());
            cuts.map(move |(block, chunk)| Tiling { order, block: *block, chunk: *chunk })
        };
        of(Order::Blocks).chain(of(Order::Channels)).collect()
    }
}

/// Sizes of pieces of `size`, the largest first: from `most` to `least`, for each number of pieces the smallest that needs no more, in whole units and
/// in whole `granules`; the next number that is looked at has pieces smaller by a part in `parts`.
fn breakpoints(size: u64, unit: u64, (least, most): (u64, u64), parts: u64, granules: &[u64]) -> Vec<u64> {
    let mut all = BTreeSet::new();
    let mut at = most;
    while at >= least.max(1) {
        let even = size.div_ceil(size.div_ceil(at));
        let whole = granules.iter().flat_map(|granule| [at - at % granule, even.next_multiple_of(*granule)]);
        let whole = whole.chain([at, even]).map(|piece| if piece >= size { size } else { piece.next_multiple_of(unit).min(size) });
        all.extend(whole.filter(|piece| (1..=most).contains(piece)));
        at = size.div_ceil(size.div_ceil(at) + 1).min(at - at / parts).min(at - 1);
    }
    all.into_iter().rev().collect()
}

/// The cuts of a stage that are worth a look where nothing is simulated: each dataflow of the chip that keeps its numbers, each order of the outer
/// loops, and blocks from the largest that fits with double buffers down by halves, and evenly. The input lies as it is said to.
pub fn few_candidates(stage: &Lowered, chip: &Chip, batch: u64, start: WeightStart, layout: Layout) -> Vec<(Choice, Mapping)> {
    let mut all: Vec<(Choice, Mapping)> = Vec::new();
    for dataflow in chip.array().dataflows.iter().filter(|dataflow| keeps_numbers(stage, chip, dataflow)) {
        let stationary = dataflow.kind();
        let alone = |tiling| map_as(std::slice::from_ref(stage), chip, batch, start, &[Choice { stationary, tiling, layout }]);
        let Ok(largest) = alone(None) else { continue };
        if !stage.work.is_array() {
            return vec![(Choice { stationary, tiling: None, layout }, largest)];
        }
        let (rules, Tiling { block: most, chunk, .. }) = (largest.stages()[0].rules, largest.stages()[0].tiling);
        let (vectors, unit) = (stage.problem.vectors(), rules.vector_unit());
        let mut blocks = vec![most, vectors.div_ceil(vectors.div_ceil(most))];
        blocks.extend((1..=4).map(|halves| most >> halves));
        if stage.run() < vectors {
            // Blocks divide what is multiplied by the same.
            blocks = (1..=8).map(|parts| most / parts).filter(|block| *block > 0 && most.is_multiple_of(*block)).collect();
        }
        let unit = if stage.run() < vectors { 1 } else { unit };
        let whole = |block: u64| if block >= vectors { vectors } else { block.next_multiple_of(unit).min(vectors) };
        let mut blocks: Vec<u64> = blocks.into_iter().map(|block| whole(block.max(1))).collect();
        blocks.sort_unstable();
        blocks.dedup();
        let chunks = if stationary == Stationary::Input { vec![chunk, (chunk / 2).max(1)] } else { vec![chunk] };
        for order in [Order::Blocks, Order::Channels] {
            for block in blocks.iter().rev() {
                for chunk in &chunks {
                    let tiling = Tiling { order, block: *block, chunk: *chunk };
                    if let Ok(mapping) = alone(Some(tiling)) {
                        // One block is one block whatever stands outside of it.
                        let tiling = mapping.stages()[0].tiling;
                        if all
                            .iter()
                            .all(|(_, known)| known.stages()[0].tiling != tiling || known.stages()[0].rules != mapping.stages()[0].rules)
                        {
                            all.push((Choice { stationary, tiling: Some(tiling), layout }, mapping));
                        }
                    }
                }
            }
        }
    }
    all
}
