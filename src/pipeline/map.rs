//! Looks for the best mapping of a network or a layer table onto a chip: each stage by itself, then all together.

use super::prepare::first_format;
use super::summary::{bound_by, roofs};
use super::{Cost, Objective, PipelineError, RunOptions};
use crate::chip::Chip;
use crate::energy::EnergyReport;
use crate::mapping::{
    Bounds, Budget, Choice, Found, InputBuffer, Layout, Lowered, Mapping, MappingError, OutputBuffer, Spread, Stage, WeightBuffer, Work,
    keeps_numbers, lower_bounds, map_as, search,
};
use crate::report::{MappedLayer, MappedLoop, MappingReport, MappingSearch, Roofline, RooflineLayer, human};
use crate::sim::Run;
use rayon::prelude::*;
use std::fmt::Write as _;
use std::ops::Range;

/// A mapping that was searched for.
#[derive(Debug)]
pub struct Searched {
    /// What was to be little.
    pub objective: Objective,
    /// All stages together.
    pub mapping: Mapping,
    /// What `mapping` took for each stage.
    pub choices: Vec<Choice>,
    /// What each stage's search found, alone on the chip.
    pub found: Vec<Found>,
    /// The bounds of the mapping and of its stages.
    pub bounds: Bounds,
    /// The run of all stages, timed.
    pub run: Run,
    /// Its energy.
    pub energy: EnergyReport,
}

/// Whether two stages have the same candidates, which take the same time.
pub(super) fn is_alike(one: &Lowered, other: &Lowered, chip: &Chip) -> bool {
    let mut dataflows = chip.array().dataflows.iter();
    // What moves is looked at each by itself.
    let is_same_work = match (&one.work, &other.work) {
        (Work::Array, Work::Array) => true,
        (Work::Product { weights: one, .. }, Work::Product { weights: other, .. }) => {
            one.starts.len() == other.starts.len() && one.stride == other.stride
        }
        (Work::Vector(one), Work::Vector(other)) => one == other,
        _ => false,
    };
    is_same_work
        && one.problem == other.problem
        && (&one.zeros, one.narrow) == (&other.zeros, other.narrow)
        && dataflows.all(|dataflow| keeps_numbers(one, chip, dataflow) == keeps_numbers(other, chip, dataflow))
}

/// Searches the mapping of each stage alone on the chip, as many candidates simulated for each as `budget` allows, and puts the best together. A layer whose
/// best does not fit beside what the others keep has the largest pieces that do, and so has one that costs less with them.
///
/// # Errors
/// If a stage does not fit the chip.
///
/// # Panics
/// If the stages were lowered for another chip.
pub fn search_mapping(
    stages: &[Lowered],
    chip: &Chip,
    options: &RunOptions,
    objective: Objective,
    budget: impl Into<Budget>,
) -> Result<Searched, PipelineError> {
    let budget = budget.into();
    let format = first_format(stages, chip);
    let cost = Cost::new(chip, format, objective)?;
    // Equal problems are searched once.
    let mut different: Vec<&Lowered> = Vec::new();
    let places = stages.iter().map(|stage| {
        different.iter().position(|known| is_alike(known, stage, chip)).unwrap_or_else(|| {
            different.push(stage);
            different.len() - 1
        })
    });
    let places: Vec<usize> = places.collect();
    let results: Vec<Found> = different
        .par_iter()
        .with_max_len(1)
        .map(|stage| {
            let outlook = |mapping: &Mapping| cost.outlook(mapping);
            let mut best = f64::INFINITY;
            let below = |mapping: &Mapping| {
                let cost = cost.below(mapping, best)?;
                best = best.min(cost);
                Ok(cost)
            };
            search(stage, chip, (options.batch, options.weights, options.layout), budget, outlook, below)
        })
        .collect::<Result<_, PipelineError>>()?;
    let found: Vec<Found> = places.iter().map(|place| results[*place].clone()).collect();
    let together = Together { stages, chip, options, cost: &cost, places: &places, problems: different.len() };
    let (choices, mapping, run) = together.best(&found)?;
    Ok(Searched { objective, bounds: lower_bounds(&mapping, chip), energy: cost.energy(&mapping, &run), mapping, choices, found, run })
}

/// Puts choices for stages together on one chip, where they share its memories.
struct Together<'t, 'c> {
    stages: &'t [Lowered],
    chip: &'t Chip,
    options: &'t RunOptions,
    cost: &'t Cost<'c>,
    /// For each stage the number of its problem: stages of one are cut alike.
    places: &'t [usize],
    /// How many problems there are.
    problems: usize,
}

type Timed = (Vec<Choice>, Mapping, Run);

impl Together<'_, '_> {
    /// The best of the largest pieces, the best that a hand would try and the best of each stage alone. Where these do not all fit beside each other,
    /// or cost more together than others do, also: for each stage what cost it less in two of them.
    fn best(&self, found: &[Found]) -> Result<Timed, PipelineError> {
        let first = Choice { layout: self.options.layout, ..Choice::first(self.chip) };
        let largest = vec![first; self.stages.len()];
        let alone: Vec<Choice> = found.iter().map(|found| found.choice).collect();
        let by_hand: Vec<Choice> = found.iter().map(|found| found.by_hand).collect();
        // The message says what does not fit.
        self.map(&largest)?;
        let mut all = vec![self.fitting(&largest, &alone), self.fitting(&largest, &by_hand), largest.clone()];
        let all_fit = all[0] == alone;
        all.dedup();
        let mut all: Vec<Timed> = all.into_par_iter().with_max_len(1).map(|choices| self.time(choices)).collect::<Result<_, _>>()?;
        let cost = |timed: &Timed| self.cost.of(&timed.1, &timed.2);
        let cheapest = |one: &&Timed, other: &&Timed| cost(one).total_cmp(&cost(other));
        let other = all[1..].iter().min_by(cheapest).filter(|other| !all_fit || cost(other) < cost(&all[0]));
        let mixed = other.map(|other| self.fitting(&largest, &self.cheaper(other, &all[0])));
        if let Some(mixed) = mixed.filter(|mixed| all.iter().all(|(choices, ..)| choices != mixed)) {
            all.push(self.time(mixed)?);
        }
        let least = all.into_iter().min_by(|one, other| cost(one).total_cmp(&cost(other)));
        Ok(least.expect("bug: the largest pieces are one of them"))
    }

    fn map(&self, choices: &[Choice]) -> Result<Mapping, MappingError> {
        map_as(self.stages, self.chip, self.options.batch, self.options.weights, choices)
    }

    fn time(&self, choices: Vec<Choice>) -> Result<Timed, PipelineError> {
        let mapping = self.map(&choices)?;
        let run = self.cost.time(&mapping)?;
        Ok((choices, mapping, run))
    }

    /// `wanted` where that fits beside the others, else `base`, which does.
    fn fitting(&self, base: &[Choice], wanted: &[Choice]) -> Vec<Choice> {
        if self.map(wanted).is_ok() {
            return wanted.to_vec();
        }
        let mut choices = base.to_vec();
        for problem in 0..self.problems {
            let before = choices.clone();
            for (place, choice) in choices.iter_mut().enumerate().filter(|(place, _)| self.places[*place] == problem) {
                *choice = wanted[place];
            }
            if self.map(&choices).is_err() {
                choices = before;
            }
        }
        choices
    }

    /// For each problem the choice of that run in which its stages cost less.
    fn cheaper(&self, one: &Timed, other: &Timed) -> Vec<Choice> {
        let of_problems = |(_, mapping, run): &Timed| {
            let mut sums = vec![0.0; self.problems];
            for (problem, cost) in self.places.iter().zip(self.cost.of_stages(mapping, run)) {
                sums[*problem] += cost;
            }
            sums
        };
        let (ones, others) = (of_problems(one), of_problems(other));
        let choose = |(stage, problem): (usize, &usize)| if ones[*problem] < others[*problem] { one.0[stage] } else { other.0[stage] };
        self.places.iter().enumerate().map(choose).collect()
    }
}

impl Searched {
    /// The mapping as text: for each layer its loop nest, level by level, with what is kept where, its bound, its cycles, and what binds.
    pub fn describe(&self, only: Option<&str>) -> String {
        let mut text = String::new();
        for like in self.alike() {
            let stage = &self.mapping.stages()[like.start];
            if only.is_none_or(|only| only == stage.name) {
                self.describe_stage(&mut text, like.start, stage);
                if like.len() > 1 {
                    let cycles: u64 = self.run.stages[like.clone()].iter().map(|run| run.window.get()).sum();
                    let _ = writeln!(text, "  runs         {} such products, one after the other: {cycles} cycles", like.len());
                }
                text.push('\n');
            }
        }
        if only.is_none() {
            let (cycles, bound) = (self.run.total_cycles.get(), self.bounds.program.get());
            let share = 100.0 * bound as f64 / cycles.max(1) as f64;
            let energy = self.energy.total.get();
            let edp = energy * cycles as f64;
            let energy = human::energy(energy);
            let _ = writeln!(text, "all layers   {cycles} cycles   bound {bound} ({share:.0}%)   energy {energy}   {edp:.4e} pJ x cycles");
        }
        text
    }

    /// The mapping as plain data, of a network with this name. Without a layer's name, all layers.
    pub fn report(&self, chip: &Chip, network: &str, only: Option<&str>) -> MappingReport {
        let stages = self.mapping.stages();
        let wanted = self.alike().into_iter().filter(|like| only.is_none_or(|only| only == stages[like.start].name));
        MappingReport {
            chip: chip.name().to_string(),
            network: network.to_string(),
            batch: self.mapping.batch(),
            objective: self.objective.to_string(),
            total_cycles: self.run.total_cycles.get(),
            cycles_lower_bound: self.bounds.program.get(),
            energy_pj: self.energy.total.get(),
            layers: wanted.map(|like| self.mapped_layer(like)).collect(),
        }
    }

    fn mapped_layer(&self, like: Range<usize>) -> MappedLayer {
        let (stage, found, last) = (&self.mapping.stages()[like.start], &self.found[like.start], like.end - 1);
        let (problem, runs) = (&stage.problem, &self.run.stages[like.clone()]);
        let sizes = [problem.n, problem.m, problem.c, problem.p, problem.q, problem.r, problem.s];
        let spread = |spread| match spread {
            Spread::Buffer => "buffer",
            Spread::Pass => "pass",
            Spread::Rows => "rows",
            Spread::Cols => "cols",
            Spread::Stream => "stream",
        };
        let loops = stage.nest.loops().iter().map(|l| MappedLoop {
            dimension: format!("{:?}", l.dim),
            trips: l.trips,
            tile: l.tile,
            spread: spread(l.spread).to_string(),
        });
        MappedLayer {
            name: stage.name.clone(),
            dataflow: stage.rules.mode.stationary.to_string(),
            format: format!("{} x {}", problem.weight, problem.activation),
            dimensions: ["N", "M", "C", "P", "Q", "R", "S"].map(str::to_string).into_iter().zip(sizes).collect(),
            loops: loops.collect(),
            repeats: like.len() as u64,
            total_cycles: runs.iter().map(|run| run.window.get()).sum(),
            cycles_lower_bound: self.bounds.stages[like.clone()].iter().map(|bound| bound.cycles.get()).sum(),
            bound_by: bound_by(&self.bounds.stages[last], &self.run.stages[last]).to_string(),
            energy_pj: self.energy.stages[like.clone()].iter().map(|energy| energy.total.get()).sum(),
            dram_weight_bytes: runs.iter().map(|run| run.traffic.dram.weight.read).sum(),
            dram_input_bytes: runs.iter().map(|run| run.traffic.dram.input.read).sum(),
            dram_output_bytes: runs.iter().map(|run| run.traffic.dram.output.write).sum(),
            search: MappingSearch {
                candidates: found.candidates,
                simulated: found.simulated,
                cost: found.cost,
                bound: found.bound,
                is_best: found.is_best(),
                is_every_tiling: found.is_all,
            },
        }
    }

    /// The stages of each layer: groups and repeats of a table's layer are stages that follow one another and are alike.
    fn alike(&self) -> Vec<Range<usize>> {
        let stages = self.mapping.stages();
        let mut all: Vec<Range<usize>> = Vec::new();
        for (number, stage) in stages.iter().enumerate() {
            match all.last_mut() {
                Some(like) if stages[like.start].name == stage.name && stages[like.start].problem == stage.problem => like.end = number + 1,
                _ => all.push(number..number + 1),
            }
        }
        all
    }

    /// The layers under the roofs of the chip that they were mapped onto, of a network with this name. Without a layer's name, all.
    pub fn roofline(&self, chip: &Chip, network: &str, only: Option<&str>) -> Roofline {
        let stages = self.mapping.stages();
        let layers = self.alike().into_iter().filter(|like| only.is_none_or(|only| only == stages[like.start].name)).map(|like| {
            let (runs, bounds, last) = (&self.run.stages[like.clone()], &self.bounds.stages[like.clone()], like.end - 1);
            RooflineLayer {
                name: stages[like.start].name.clone(),
                macs: runs.iter().map(|run| run.actions.macs).sum(),
                dram_bytes: runs.iter().map(|run| run.actions.dram_read_bytes + run.actions.dram_write_bytes).sum(),
                total_cycles: runs.iter().map(|run| run.window.get()).sum(),
                cycles_lower_bound: bounds.iter().map(|bound| bound.cycles.get()).sum(),
                bound_by: bound_by(&self.bounds.stages[last], &self.run.stages[last]).to_string(),
            }
        });
        Roofline {
            chip: chip.name().to_string(),
            network: network.to_string(),
            batch: self.mapping.batch(),
            roofs: roofs(chip, &self.mapping),
            layers: layers.collect(),
        }
    }

    fn describe_stage(&self, text: &mut String, number: usize, stage: &Stage) {
        let (problem, rules) = (&stage.problem, &stage.rules);
        let _ = writeln!(
            text,
            "{}   {}   N {} M {} C {} P {} Q {} R {} S {}   {} x {}",
            stage.name,
            rules.mode.stationary,
            problem.n,
            problem.m,
            problem.c,
            problem.p,
            problem.q,
            problem.r,
            problem.s,
            problem.weight,
            problem.activation
        );
        let traffic = self.run.stages[number].traffic.dram;
        let _ = writeln!(
            text,
            "  DRAM         weights and biases {} B, input {} B, output {} B",
            traffic.weight.read, traffic.input.read, traffic.output.write
        );
        let input = match stage.input {
            InputBuffer::Kept { from, .. } if from + 1 < number => format!("input whole, left by {}", self.mapping.stages()[from].name),
            InputBuffer::Kept { .. } => "input whole, left by the layer before".to_string(),
            InputBuffer::Whole { .. } => "input whole".to_string(),
            InputBuffer::Passing { bytes, .. } => format!("{bytes} B at a time on their way"),
            InputBuffer::Fetched { rows, .. } if rows >= problem.input_rows() => "input whole".to_string(),
            InputBuffer::Fetched { rows, .. } => format!("{rows} of {} rows of input", problem.input_rows()),
        };
        let weights = match stage.weights {
            _ if !stage.work.is_array() => "no weights".to_string(),
            WeightBuffer::Resident { .. } => "weights resident".to_string(),
            WeightBuffer::Fetched => {
                let pieces = rules.pieces(problem, &stage.tiling);
                format!("{} of {pieces} pieces of weights", self.mapping.buffers().weight_ring_slots.min(pieces))
            }
        };
        let output = match stage.output {
            OutputBuffer::Kept { .. } if self.mapping.stages().get(number + 1).is_none_or(|next| !next.follows) => {
                "output whole, kept for later layers".to_string()
            }
            OutputBuffer::Kept { .. } => "output whole, kept for the next layer".to_string(),
            OutputBuffer::Stored { slots, .. } => format!("{slots} blocks of output"),
        };
        let spread = stage.rules.leaves_rows(problem);
        let between = if spread { ", a row between pixels" } else { "" };
        let _ = writeln!(text, "  scratchpad   {input}{between}; {weights}; {output}");
        if rules.input_layout != Layout::ChannelInnermost {
            let _ = writeln!(text, "               input laid out {}", rules.input_layout);
        }
        let mut depth = 2;
        let mut level = None;
        for l in stage.nest.loops() {
            let (name, inner) = match l.spread {
                Spread::Buffer => ("scratchpad", "for"),
                Spread::Pass => ("accumulator", "for (pass)"),
                Spread::Rows => ("array", "for (rows)"),
                Spread::Cols => ("array", "for (columns)"),
                Spread::Stream => ("array", "for (stream)"),
            };
            if level != Some(name) && level.is_some() {
                let what = match name {
                    "accumulator" => format!("sums of {} vectors and {} channels", stage.tiling.block, stage.tiling.chunk),
                    _ => format!("{} stay in the PEs", held(stage)),
                };
                let _ = writeln!(text, "  {name:<12} {what}");
            }
            level = Some(name);
            let _ = writeln!(text, "  {:depth$}{inner} {:?} in 0..{} by {}", "", l.dim, l.trips, l.tile);
            depth += 2;
        }
        let (window, bound) = (self.run.stages[number].window, &self.bounds.stages[number]);
        let found = &self.found[number];
        // A share is rounded down: what is not proven is not said.
        let share = (100.0 * found.bound / found.cost).floor();
        let proof = match (found.is_best(), found.is_all) {
            (true, true) => "the best of all tilings".to_string(),
            (true, false) => "the best of them, which are not all tilings".to_string(),
            (false, true) => format!("no tiling costs less than {share:.0}% of it"),
            (false, false) => format!("none of them, which are not all tilings, costs less than {share:.0}% of it"),
        };
        let _ = writeln!(
            text,
            "  cycles       {}   bound {} ({:.0}%)   bound by {}   energy {}\n  search       {} of {} candidates simulated: {proof}",
            window.get(),
            bound.cycles.get(),
            100.0 * bound.cycles.as_f64() / window.as_f64().max(1.0),
            bound_by(bound, &self.run.stages[number]),
            human::energy(self.energy.stages[number].total.get()),
            found.simulated,
            found.candidates
        );
    }
}

fn held(stage: &Stage) -> &'static str {
    match stage.rules.mode.stationary {
        crate::chip::Stationary::Weight => "weights",
        crate::chip::Stationary::Input => "activations",
        crate::chip::Stationary::Output => "sums",
    }
}
