//! From an experiment's text to what it says, with every fault's place.

use super::text::{beside, count, map, message, one_of};
use super::{AreaRule, BaseChip, Experiment, ExperimentError, Explore, Goal, NamedRecipe, Samples, Workload, axes};
use crate::chip::{self, ChipError, Faults, Form, Item, Kind, Node, Reader, nearest, parse_as};
use crate::compress::{Recipe, Step};
use crate::data::sha256_hex;
use crate::mapping::{Objective, Plan, WeightStart};
use crate::model::{self, Found, Model, Split};
use crate::report::{
    Requirement, SweepBaseline, SweepPlot, alike_columns, common_columns, is_against_baseline, is_share_column, is_text_column,
};
use std::collections::BTreeMap;
use std::path::Path;

const FORM: Form = Form { name: "experiment", a: "an experiment", whole: "`Experiment(..)`" };
/// The most entries of a list, and of combinations of a recipe's axes.
const MOST: usize = 10_000;
const HELP: &str = "an experiment has a question, chips, workloads and recipes; experiments/mnist.ron shows all of its fields";

/// The fields, those that may be left out last.
const FIELDS: [&str; 12] =
    ["question", "chips", "workloads", "recipes", "axes", "mapping", "seeds", "baseline", "require", "plots", "explore", "area"];

/// Reads an experiment.
pub(super) fn read(text: String, path: &str) -> Result<Experiment, ExperimentError> {
    let one = |fault| {
        let mut reader = Reader { faults: Faults::of("experiment") };
        reader.push(fault);
        ExperimentError::Faulty(reader.faults)
    };
    let root = parse_as(FORM, &text, &path.into()).map_err(|fault| one(*fault))?;
    let mut reader = Reader { faults: Faults::of("experiment") };
    let item = Item { node: &root, path: String::new() };
    let record = reader.record_with(Some(item), Some("Experiment"), &FIELDS, FIELDS.len() - 4, HELP);
    let Some(record) = record else { return Err(ExperimentError::Faulty(reader.faults)) };
    let question = reader.text(record.get("question"));
    let found_at = |name: &str| beside(Path::new(path), name);
    let chips = chips(&mut reader, record.get("chips"), found_at);
    let workloads = workloads(&mut reader, record.get("workloads"), found_at);
    let known = [workloads.iter().map(|workload| workload.model.clone()).collect(), chips.iter().map(|base| base.name.clone()).collect()];
    let drafts = drafts(&mut reader, record.get("recipes"), &known);
    let used: Vec<String> = drafts.iter().flat_map(|draft| draft.used.iter().cloned()).collect();
    let axes = axes::read(&mut reader, record.get("axes"), &chips, &used);
    let written_axes = record.get("axes").map(|item| axes::written(&item)).unwrap_or_default();
    let recipes: Vec<NamedRecipe> = drafts.into_iter().filter_map(|draft| draft.finish(&mut reader, &axes)).collect();
    let plan = record.get("mapping").map_or(Some(Plan::First), |item| plan(&mut reader, &item));
    let seeds = match record.get("seeds") {
        None => vec![1],
        Some(item) => {
            let entries = reader.list(Some(item), 1..=MOST).unwrap_or_default();
            entries.into_iter().filter_map(|entry| count(&mut reader, Some(entry), 0, u64::MAX)).collect()
        }
    };
    let names = |of: &mut dyn Iterator<Item = String>| -> Vec<String> { of.collect() };
    let chip_names = names(&mut chips.iter().map(|base| base.name.clone()));
    let recipe_names = names(&mut recipes.iter().map(|recipe| recipe.name.clone()));
    let baseline = record.get("baseline").and_then(|item| {
        let fields = reader.record(Some(item), None, &["chip", "recipe"])?;
        let chip = one_of(&mut reader, fields.get("chip"), &chip_names, "a chip");
        let recipe = one_of(&mut reader, fields.get("recipe"), &recipe_names, "a recipe");
        Some(SweepBaseline { chip: chip?, recipe: recipe? })
    });
    let columns = Columns::of(&axes, written_axes, record.get("baseline").is_some());
    let require = require(&mut reader, record.get("require"), &columns);
    let plots = plots(&mut reader, record.get("plots"), &columns);
    let explore = record.get("explore").map_or(Some(Explore::Grid), |item| explore(&mut reader, &item));
    let rules = [("Free", AreaRule::Free), ("Iso", AreaRule::Iso)];
    let area = record.get("area").map_or(Some(AreaRule::Free), |item| reader.choice(Some(item), &rules));
    if let Some(item) = record.get("area").filter(|_| area == Some(AreaRule::Iso))
        && let Some(axis) = axes.iter().find(|axis| axis.paths.iter().any(|path| path.starts_with("scratchpads.0.capacity")))
    {
        let help = "leave the axis out, or write Free";
        reader.refuse(&item, format!("with Iso the first scratchpad takes what area is left, and the axis {} sets it", axis.name), help);
    }
    if let Some(item) = record.get("seeds")
        && let Some(twice) = seeds.iter().enumerate().find_map(|(place, seed)| seeds[..place].contains(seed).then_some(seed))
    {
        reader.refuse(&item, format!("the seed {twice} is there twice"), "remove one of them");
    }
    match (reader.faults.is_empty(), question, plan, explore, area) {
        (true, Some(question), Some(plan), Some(explore), Some(area)) => {
            Ok(Experiment { text, question, chips, workloads, recipes, axes, plan, seeds, baseline, require, plots, explore, area })
        }
        _ => Err(ExperimentError::Faulty(reader.faults)),
    }
}

fn chips(reader: &mut Reader, item: Option<Item<'_>>, found_at: impl Fn(&str) -> String) -> Vec<BaseChip> {
    let mut chips: Vec<BaseChip> = Vec::new();
    for entry in reader.list(item, 1..=MOST).unwrap_or_default() {
        let Some(name) = reader.text(Some(entry.clone())) else { continue };
        let path = found_at(&name);
        if chips.iter().any(|base| base.name == name) {
            reader.refuse(&entry, format!("{name} is there twice"), "remove one of them");
            continue;
        }
        match chip::load(&path, &[]) {
            Ok(chip) => chips.push(BaseChip { name, path, chip }),
            Err(ChipError::Unknown { name, help }) => reader.refuse(&entry, format!("there is no chip named `{name}`"), help),
            Err(error) => {
                let (what, _) = message(&error);
                reader.refuse(&entry, format!("{}: {what}", entry.path), format!("`systole chip check {path}` tells all that is wrong"));
            }
        }
    }
    chips
}

fn workloads(reader: &mut Reader, item: Option<Item<'_>>, found_at: impl Fn(&str) -> String) -> Vec<Workload> {
    let mut workloads = Vec::new();
    for entry in reader.list(item, 1..=MOST).unwrap_or_default() {
        let help = "a workload is written (model: \"lenet-mnist\", batch: 1, weights: Cold)";
        let Some(fields) = reader.record_with(Some(entry.clone()), None, &["model", "batch", "weights", "samples"], 1, help) else {
            continue;
        };
        let batch = count(reader, fields.get("batch"), 1, 1 << 20);
        let weights = reader.choice(fields.get("weights"), &[("Cold", WeightStart::Cold), ("Resident", WeightStart::Resident)]);
        let samples = match fields.get("samples") {
            None => Some(Samples::All),
            Some(item) if item.node.head().is_some() => {
                reader.choice(Some(item), &[("All", Samples::All), ("TimingOnly", Samples::TimingOnly)])
            }
            Some(item) => count(reader, Some(item), 1, 1 << 32).and_then(|count| usize::try_from(count).ok()).map(Samples::First),
        };
        let Some(model) = reader.text(fields.get("model")) else { continue };
        let path = found_at(&model);
        let found = match model::find(&path) {
            Ok(found) => found,
            Err(error) => {
                let (what, help) = message(&error);
                reader.refuse(&entry, what, help);
                continue;
            }
        };
        let (Some(batch), Some(weights), Some(samples)) = (batch, weights, samples) else { continue };
        let samples = if matches!(found, Found::Table(_)) { Samples::TimingOnly } else { samples };
        match hash(&found, samples) {
            Ok(sha256) => workloads.push(Workload { model, path, found, sha256, batch, weights, samples }),
            Err(error) => {
                let (what, help) = message(&error);
                reader.refuse(&entry, what, help);
            }
        }
    }
    workloads
}

/// The hash of a workload's files. What chooses must not see the report split.
fn hash(found: &Found, samples: Samples) -> Result<String, model::ModelError> {
    let model: &Model = match found {
        Found::Table(table) => return Ok(table.sha256.clone()),
        Found::Network(model) => model,
    };
    let mut all: Vec<String> = model.files().iter().map(|file| file.sha256.clone()).collect();
    let mut splits = vec![Split::Calibrate];
    if samples != Samples::TimingOnly {
        model.selects_apart()?;
        splits.extend([Split::Select, Split::Report]);
    }
    for split in splits {
        all.extend(model.split(split, Some(1))?.files.into_iter().map(|file| file.sha256));
    }
    Ok(sha256_hex(all.join("\n").as_bytes()))
}

/// A recipe as it is written, its axes still open.
struct Draft<'t> {
    name: String,
    item: Item<'t>,
    steps: Vec<&'t Node>,
    /// Names of axes.
    used: Vec<String>,
    /// Names of models and of chips that it is for, where it is not for all.
    only: [Option<Vec<String>>; 2],
}

fn drafts<'t>(reader: &mut Reader, item: Option<Item<'t>>, known: &[Vec<String>; 2]) -> Vec<Draft<'t>> {
    let example = "recipes: { \"w8a8\": [Quantize(w: 8, a: 8)] }";
    let whole = item.clone();
    let mut drafts = Vec::new();
    for (name, _, value) in map(reader, item, example) {
        let (mut steps, mut only) = (Some(value.clone()), [None, None]);
        if matches!(value.node.kind, Kind::Fields { .. }) {
            let help = "a recipe for some models or chips only is written (steps: [..], models: [..], chips: [..])";
            let Some(fields) = reader.record_with(Some(value.clone()), None, &["steps", "models", "chips"], 2, help) else { continue };
            steps = fields.get("steps");
            only = [("models", "a model", &known[0]), ("chips", "a chip", &known[1])].map(|(field, what, names)| {
                let entries = reader.list(Some(fields.get(field)?), 1..=MOST)?;
                Some(entries.into_iter().filter_map(|entry| one_of(reader, Some(entry), names, what)).collect())
            });
        }
        let Some(steps) = steps else { continue };
        let Kind::List(nodes) = &steps.node.kind else {
            reader.refuse(&steps, format!("{} is a list of steps", steps.path), format!("write it like `{example}`"));
            continue;
        };
        let mut used = Vec::new();
        for step in nodes {
            axes_of(step, &mut used);
        }
        drafts.push(Draft { name, item: value, steps: nodes.iter().collect(), used, only });
    }
    if let Some(whole) = whole.filter(|whole| matches!(&whole.node.kind, Kind::Map(entries) if entries.is_empty())) {
        reader.refuse(&whole, "there are no recipes", format!("write at least one: `{example}`"));
    }
    drafts
}

/// The name in `Axis("name")`.
fn axis_of(node: &Node) -> Option<String> {
    match &node.kind {
        Kind::Tuple { name: Some(name), items } if name == "Axis" && items.len() == 1 => items[0].text(),
        _ => None,
    }
}

fn axes_of(node: &Node, used: &mut Vec<String>) {
    if let Some(name) = axis_of(node) {
        if !used.contains(&name) {
            used.push(name);
        }
        return;
    }
    node.entries().for_each(|(_, inner)| axes_of(inner, used));
}

/// The step with its axes filled in.
fn filled(node: &Node, values: &BTreeMap<&str, &str>) -> Node {
    if let Some(value) = axis_of(node).and_then(|name| values.get(name.as_str()).copied()) {
        return Node { place: node.place.clone(), kind: Kind::Word(value.to_owned()) };
    }
    let mut node = node.clone();
    match &mut node.kind {
        Kind::Fields { fields, .. } => fields.iter_mut().for_each(|field| field.value = filled(&field.value, values)),
        Kind::Tuple { items, .. } | Kind::List(items) => items.iter_mut().for_each(|item| *item = filled(item, values)),
        Kind::Map(_) | Kind::Literal(_) | Kind::Word(_) => {}
    }
    node
}

impl Draft<'_> {
    /// The recipe for every combination of its axes' values.
    fn finish(self, reader: &mut Reader, axes: &[axes::Axis]) -> Option<NamedRecipe> {
        let mut places = Vec::new();
        for name in &self.used {
            let Some(place) = axes.iter().position(|axis| axis.paths.is_empty() && axis.name == *name) else {
                let known = axes.iter().filter(|axis| axis.paths.is_empty()).map(|axis| axis.name.as_str());
                let near = nearest(name, known).map(|near| format!("did you mean `{near}`? ")).unwrap_or_default();
                let help = format!("{near}write its values under axes: `{name:?}: [..]`");
                reader.refuse(&self.item, format!("{}: there is no axis {name:?}", self.item.path), help);
                return None;
            };
            places.push(place);
        }
        let total = places.iter().try_fold(1_usize, |total, place| total.checked_mul(axes[*place].values.len()));
        let Some(total) = total.filter(|total| *total <= MOST) else {
            reader.refuse(
                &self.item,
                format!("{} has more than {MOST} combinations of its axes", self.item.path),
                "give the axes fewer values",
            );
            return None;
        };
        let mut variants = Vec::with_capacity(total);
        for number in 0..total {
            let mut left = number;
            let mut values = BTreeMap::new();
            for place in places.iter().rev() {
                let axis = &axes[*place];
                values.insert(axis.name.as_str(), axis.values[left % axis.values.len()][0].as_str());
                left /= axis.values.len();
            }
            let mut steps = Vec::new();
            for node in &self.steps {
                let filled = filled(node, &values);
                match ron::from_str::<Step>(&filled.line()) {
                    Ok(step) => steps.push(step),
                    Err(error) => {
                        let at = Item { node: &filled, path: self.item.path.clone() };
                        reader.refuse(
                            &at,
                            format!("{}: no step: {}", self.item.path, error.code),
                            "ARCHITECTURE.md lists the steps of recipes",
                        );
                        return None;
                    }
                }
            }
            match Recipe::new(steps) {
                Ok(recipe) => variants.push(recipe.with_formats()),
                Err(error) => {
                    let (what, help) = message(&error);
                    reader.refuse(&self.item, format!("{}: {what}", self.item.path), help);
                    return None;
                }
            }
        }
        let mut loads = Vec::new();
        for step in variants.iter().flat_map(Recipe::pruning) {
            let Step::Load(name) = step else { continue };
            match model::load(name) {
                Ok(model) => loads.extend(model.files().iter().map(|file| file.sha256.clone())),
                Err(error) => {
                    let (what, help) = message(&error);
                    reader.refuse(&self.item, format!("{}: {what}", self.item.path), help);
                    return None;
                }
            }
        }
        loads.dedup();
        let [models, chips] = self.only;
        Some(NamedRecipe { name: self.name, axes: places, variants, loads, models, chips })
    }
}

fn plan(reader: &mut Reader, item: &Item<'_>) -> Option<Plan> {
    match reader.variant(item, &["First", "Heuristic", "Search"])? {
        "First" => reader.word(item).map(|()| Plan::First),
        "Heuristic" => reader.word(item).map(|()| Plan::Heuristic),
        _ => {
            let fields = reader.record(Some(item.clone()), Some("Search"), &["objective", "budget"])?;
            let objectives = [("Latency", Objective::Latency), ("Energy", Objective::Energy), ("Edp", Objective::Edp)];
            let objective = reader.choice(fields.get("objective"), &objectives);
            let budget = count(reader, fields.get("budget"), 1, u64::from(u32::MAX));
            Some(Plan::Search { objective: objective?, budget: budget? })
        }
    }
}

fn explore(reader: &mut Reader, item: &Item<'_>) -> Option<Explore> {
    let kind = reader.variant(item, &["Grid", "Random", "LatinHypercube", "Nsga2"])?;
    if kind == "Grid" {
        return reader.word(item).map(|()| Explore::Grid);
    }
    if kind == "Nsga2" {
        let fields = reader.record(Some(item.clone()), Some(kind), &["minimize", "population", "generations", "seed"])?;
        let goals = [("Error", Goal::Error), ("Latency", Goal::Latency), ("Energy", Goal::Energy), ("Area", Goal::Area)];
        let entries = reader.list(fields.get("minimize"), 1..=4).unwrap_or_default();
        let wanted = entries.len();
        let mut minimize: Vec<Goal> = Vec::new();
        for entry in entries {
            if let Some(goal) = reader.choice(Some(entry.clone()), &goals) {
                if minimize.contains(&goal) {
                    reader.refuse(&entry, "it is there twice", "remove one of them");
                }
                minimize.push(goal);
            }
        }
        let population = count(reader, fields.get("population"), 4, 10_000);
        let generations = count(reader, fields.get("generations"), 1, 10_000);
        let seed = count(reader, fields.get("seed"), 0, u64::MAX);
        let is_whole = wanted > 0 && minimize.len() == wanted;
        let (population, generations, seed) = (population?, generations?, seed?);
        return is_whole.then_some(Explore::Nsga2 { minimize, population, generations, seed });
    }
    let fields = reader.record(Some(item.clone()), Some(kind), &["points", "seed"])?;
    let (points, seed) = (count(reader, fields.get("points"), 1, 1_000_000), count(reader, fields.get("seed"), 0, u64::MAX));
    let (points, seed) = (points?, seed?);
    Some(if kind == "Random" { Explore::Random { points, seed } } else { Explore::LatinHypercube { points, seed } })
}

/// What is known of the columns that results will have.
struct Columns {
    /// Those that every sweep has, and those of axes.
    names: Vec<String>,
    /// Axes as they are written: of one that is at fault it was told already.
    written_axes: Vec<String>,
    has_baseline: bool,
}

impl Columns {
    fn of(axes: &[axes::Axis], written_axes: Vec<String>, has_baseline: bool) -> Self {
        let of_axes = axes.iter().flat_map(|axis| (0..axis.values.len()).flat_map(|value| axis.columns(value).into_keys()));
        let mut names: Vec<String> = common_columns().into_iter().chain(of_axes).collect();
        names.sort();
        names.dedup();
        Self { names, written_axes, has_baseline }
    }

    /// The names, of which those that go by parts and memories stand as one each.
    fn listed(&self) -> String {
        let is_one =
            |name: &&String| !name.starts_with("traffic_") && (!name.starts_with("energy_pj_") || name.as_str() == "energy_pj_per_sample");
        let forms = ["energy_pj_<part>", "macs_share_<format>", "traffic_<memory>_<operand>_read_bytes and _write_bytes"];
        self.names.iter().filter(is_one).map(String::as_str).chain(forms).collect::<Vec<_>>().join(", ")
    }

    /// Refuses a name that is no column, or one that has nothing for what it is to do.
    fn check(&self, reader: &mut Reader, at: &Item<'_>, name: &str, needs_numbers: bool) -> bool {
        if self.written_axes.iter().any(|axis| axis == name) {
            return true;
        }
        if !is_share_column(name) && !self.names.iter().any(|column| column == name) {
            let near = alike_columns(name, self.names.iter().cloned());
            let near = near.first().map(|near| format!("did you mean `{near}`? ")).unwrap_or_default();
            let help = format!("{near}the columns are {}", self.listed());
            reader.refuse(at, format!("{}: results have no column {name:?}", at.path), help);
            return false;
        }
        if needs_numbers && is_text_column(name) {
            let help = "choose a column of numbers, such as latency_s or error_percent; texts are for facet and color, and for the axes of a heat map";
            reader.refuse(at, format!("{}: the column {name:?} holds no numbers", at.path), help);
            return false;
        }
        if is_against_baseline(name) && !self.has_baseline {
            let help = "say which points are 1: `baseline: (chip: \"edge-16x16\", recipe: \"w8a8\")`";
            reader.refuse(at, format!("{}: {name} is against a baseline, and the experiment has none", at.path), help);
            return false;
        }
        true
    }
}

fn require(reader: &mut Reader, item: Option<Item<'_>>, columns: &Columns) -> Vec<Requirement> {
    let mut all = Vec::new();
    for entry in item.and_then(|item| reader.list(Some(item), 0..=MOST)).unwrap_or_default() {
        let Some(text) = reader.text(Some(entry.clone())) else { continue };
        match Requirement::parse(&text) {
            Ok(requirement) if columns.check(reader, &entry, &requirement.column, true) => all.push(requirement),
            Ok(_) => {}
            Err(what) => reader.refuse(&entry, what, "write it like \"accuracy >= 0.98\""),
        }
    }
    all
}

fn plots(reader: &mut Reader, item: Option<Item<'_>>, columns: &Columns) -> Vec<SweepPlot> {
    let mut all = Vec::new();
    for entry in item.and_then(|item| reader.list(Some(item), 0..=MOST)).unwrap_or_default() {
        let options = ron::Options::default().with_default_extension(ron::extensions::Extensions::IMPLICIT_SOME);
        match options.from_str::<SweepPlot>(&entry.node.line()) {
            Ok(plot) => {
                let faults =
                    plot.columns().into_iter().filter(|(name, needs_numbers)| !columns.check(reader, &entry, name, *needs_numbers));
                if faults.count() == 0 {
                    all.push(plot);
                }
            }
            Err(error) => {
                let help = "write it like `Pareto(x: \"latency_s\", y: \"error_percent\", facet: \"batch\")`";
                reader.refuse(&entry, format!("{} is no picture: {}", entry.path, error.code), help);
            }
        }
    }
    all
}
