//! What recipes take from outside of `compress`: other models.

use super::PipelineError;
use crate::compress::{Outside, Recipe, Step};
use crate::model::{self, Model, ModelError, Training};
use crate::network::Network;
use ndarray::ArrayView2;
use std::error::Error;

/// Other models, for the recipe of this one.
#[derive(Debug)]
pub(super) struct Models<'m> {
    pub(super) model: &'m Model,
    /// The seed of what is trained.
    pub(super) seed: u64,
}

impl Outside for Models<'_> {
    fn load(&self, name: &str) -> Result<Network, Box<dyn Error + Send + Sync>> {
        let other = model::load(name)?;
        let (card, own) = (other.card(), self.model.card());
        // A network without a card says nothing of its samples.
        if !card.labels.is_empty() && card.preprocessing != own.preprocessing {
            let problem = format!(
                "its samples are prepared otherwise ({:?}) than those of {} ({:?})",
                card.preprocessing, own.name, own.preprocessing
            );
            return Err(Box::new(ModelError::Disagree {
                model: card.name.clone(),
                problem,
                help: "run that model by itself: --model takes its name",
            }));
        }
        Ok(other.network().clone())
    }

    #[cfg(not(feature = "train"))]
    fn fine_tune(
        &self,
        _: &Network,
        _: &Step,
        _: Option<&Recipe>,
        _: ArrayView2<'_, f32>,
    ) -> Result<Network, Box<dyn Error + Send + Sync>> {
        let _ = (self.model, self.seed);
        Err("this program was built without training\n  help: build it with the feature train: cargo run --release --features train -- ..."
            .into())
    }

    #[cfg(feature = "train")]
    fn fine_tune(
        &self,
        network: &Network,
        step: &Step,
        formats: Option<&Recipe>,
        samples: ArrayView2<'_, f32>,
    ) -> Result<Network, Box<dyn Error + Send + Sync>> {
        Ok(super::train::fine_tune(self.model, self.seed, network, step, formats, samples)?)
    }
}

/// What training knew of the compression that a model gets from a recipe, or was made with.
///
/// # Errors
/// A model that the recipe names and that cannot be loaded.
pub fn training(model: &Model, recipe: &Recipe) -> Result<Training, PipelineError> {
    let mut training = model.card().training;
    for step in recipe.pruning() {
        match step {
            Step::Load(name) => training = model::load(name)?.card().training,
            Step::FineTune { float, .. } if *float || recipe.quantization().is_empty() => training = training.max(Training::FineTuned),
            Step::FineTune { .. } => training = Training::QuantizationAware,
            _ => {}
        }
    }
    Ok(training)
}
