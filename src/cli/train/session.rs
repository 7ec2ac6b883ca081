//! A training from the command line: what was asked for, progress, checkpoints, and the files at the end.

use super::super::options::user_fault;
use super::super::run::command_line;
use super::super::target::Target;
use super::super::{complain, say};
use super::{Init, Keep, Loss, Optimizer, Scales, Schedule, TrainArguments};
use indicatif::{ProgressBar, ProgressStyle};
use std::error::Error;
use std::path::Path;
use systole::model;
use systole::pipeline::{Begin, TrainRequest, TrainSession, Trained};
use systole::report::ResultFolder;
use systole::train::{self, EpochReport, OptimizerKind, Progress, Settings, Watch};

/// Does it.
pub(super) fn run(arguments: &TrainArguments) -> Result<(), Box<dyn Error>> {
    let target = Target::new(&arguments.out, &arguments.model)?;
    let checkpoint = arguments.checkpoint.clone().unwrap_or_else(|| arguments.out.with_extension("safetensors"));
    let request = request(arguments)?;
    let shown = checkpoint.display().to_string();
    let is_there = checkpoint.exists();
    match (is_there, arguments.resume) {
        (true, false) => {
            let help = "--resume goes on from it; to begin anew, remove it or choose another file with --checkpoint";
            return Err(format!("{shown} is there already, maybe of a training that was ended\n  help: {help}").into());
        }
        (false, true) => complain(&format!("note: there is no checkpoint {shown}, training begins anew")),
        _ => {}
    }
    let mut watch = Follower { bar: bar(), checkpoint: &checkpoint, last: None };
    let done = train::on_threads(usize::from(arguments.threads), || -> Result<Trained, Box<dyn Error + Send + Sync>> {
        let mut session = TrainSession::new(&request)?;
        // One that is there is there to be gone on from.
        if is_there {
            let bytes = std::fs::read(&checkpoint).map_err(|error| format!("{shown}: the checkpoint cannot be read: {error}"))?;
            session.resume(&bytes, &shown)?;
            complain(&format!("going on behind epoch {} of {}", session.epochs(), arguments.epochs));
            watch.last = Some(shown.clone());
        }
        Ok(session.run(&mut watch)?)
    })?;
    watch.bar.finish_and_clear();
    let mut trained = match done {
        Ok(trained) => trained,
        Err(error) => match error.downcast() {
            Ok(error) => return Err(user_fault(*error).into()),
            Err(error) => return Err(error),
        },
    };
    for warning in &trained.warnings {
        complain(&format!("warning: {warning}"));
    }
    trained.report.out = Some(arguments.out.display().to_string());
    let card = model::card_as(&trained.model, target.path())?;
    target.write(trained.model.network(), card.as_deref(), &trained.report.json())?;
    if arguments.checkpoint.is_none() {
        // Best effort: what is left over is of no harm.
        let _ = std::fs::remove_file(&checkpoint);
    }
    if arguments.json {
        return say(&trained.report.json());
    }
    say(&format!("{}\nwritten: {}\n", trained.report.terminal(), target.card().display()))
}

fn request(arguments: &TrainArguments) -> Result<TrainRequest, Box<dyn Error>> {
    let recipe = arguments.recipe.said()?;
    let is_empty = recipe.pruning().is_empty() && recipe.quantization().is_empty();
    if let Some(step) = recipe.search() {
        return Err(format!(
            "step {} looks for formats, and training wants them said\n  help: search first: systole compress writes what it chose",
            step.step
        )
        .into());
    }
    let settings = Settings {
        epochs: arguments.epochs,
        batch: arguments.batch,
        optimizer: match arguments.optimizer {
            Optimizer::Adam => OptimizerKind::Adam,
            Optimizer::Adamw => OptimizerKind::AdamW { weight_decay: arguments.weight_decay },
            Optimizer::Sgd => OptimizerKind::Sgd { momentum: arguments.momentum },
        },
        lr: arguments.lr,
        schedule: match arguments.schedule {
            Schedule::Constant => train::Schedule::Constant,
            Schedule::Cosine => train::Schedule::Cosine,
            Schedule::Step => train::Schedule::Step,
        },
        loss: match arguments.loss {
            Loss::CrossEntropy => train::Loss::CrossEntropy,
            Loss::Mse => train::Loss::Mse,
        },
        shift: arguments.shift,
        seed: arguments.seed,
        keep: match arguments.keep {
            Keep::Last => train::Keep::Last,
            Keep::Best => train::Keep::Best,
        },
        scales: match arguments.scales {
            Scales::Learned => train::Scales::Learned,
            Scales::Calibrated => train::Scales::Calibrated,
        },
        sparsity: arguments.sparsity,
        temperature: arguments.temperature,
        distill_weight: arguments.distill_weight,
    };
    let is_kept = arguments.init.map_or(!is_empty, |init| init == Init::Kept);
    let begin = if is_kept { Begin::Kept } else { Begin::Drawn };
    Ok(TrainRequest {
        model: arguments.model.clone(),
        data: arguments.data.clone(),
        begin,
        recipe: (!is_empty).then_some(recipe),
        teacher: arguments.teacher.clone(),
        settings,
        samples: arguments.samples.map(|samples| usize::try_from(samples).unwrap_or(usize::MAX)),
        command: command_line(),
    })
}

/// A bar on a terminal, nothing where standard error is piped.
fn bar() -> ProgressBar {
    let template = "epoch {msg} {bar:30} {pos}/{len} steps, {eta} left";
    let style = ProgressStyle::with_template(template).expect("bug: the template is a constant that parses");
    ProgressBar::new(0).with_style(style)
}

/// Shows how far a training is, and keeps its checkpoints.
struct Follower<'t> {
    bar: ProgressBar,
    checkpoint: &'t Path,
    /// The last checkpoint, where there is one.
    last: Option<String>,
}

impl Watch for Follower<'_> {
    fn step(&mut self, Progress { epoch, step, steps, loss }: Progress) {
        self.bar.set_length(steps as u64);
        self.bar.set_position(step as u64);
        self.bar.set_message(format!("{epoch} loss {loss:.4}"));
    }

    fn epoch(&mut self, report: &EpochReport, checkpoint: &dyn Fn() -> Vec<u8>) -> Result<(), Box<dyn Error + Send + Sync>> {
        let EpochReport { epoch, loss, select_accuracy, .. } = report;
        let line = format!("epoch {epoch}: loss {loss:.4}, select accuracy {select_accuracy:.4}");
        // A bar that nobody sees prints nothing.
        if self.bar.is_hidden() {
            complain(&line);
        } else {
            self.bar.println(line);
        }
        let (folder, name) = place(self.checkpoint)?;
        // In the place of the last one, once it is whole.
        folder.write_files(&[(name, &checkpoint())])?;
        self.last = Some(self.checkpoint.display().to_string());
        Ok(())
    }

    fn kept(&self, _: usize) -> String {
        match &self.last {
            Some(path) => format!("the last good checkpoint is {path}, and --resume goes on from it"),
            None => "no epoch was finished, so that there is no checkpoint".to_string(),
        }
    }
}

/// The folder that a checkpoint is in, and its name there.
fn place(checkpoint: &Path) -> Result<(ResultFolder, &str), Box<dyn Error + Send + Sync>> {
    let folder = checkpoint.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = checkpoint.file_name().and_then(|name| name.to_str()).ok_or("its name is not UTF-8 text")?;
    Ok((ResultFolder::prepare(folder)?, name))
}
