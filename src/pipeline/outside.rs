//! What recipes take from outside of `compress`: other models.

use super::PipelineError;
use crate::compress::{Outside, Recipe, Step};
use crate::model::{self, Model, ModelError, Training};
use crate::network::Network;
use std::error::Error;

/// Other models, for the recipe of this one.
#[derive(Debug)]
pub(super) struct Models<'m> {
    pub(super) model: &'m Model,
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
}

/// What training knew of the compression that a model gets from a recipe, or was made with.
///
/// # Errors
/// A model that the recipe names and that cannot be loaded.
pub fn training(model: &Model, recipe: &Recipe) -> Result<Training, PipelineError> {
    let mut training = model.card().training;
    for step in recipe.pruning() {
        if let Step::Load(name) = step {
            training = model::load(name)?.card().training;
        }
    }
    Ok(training)
}
