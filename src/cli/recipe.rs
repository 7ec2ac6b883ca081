//! Options that say how a network is made smaller.

use clap::Args;
use std::error::Error;
use std::path::PathBuf;
use systole::compress::{Recipe, Step, comes_in_integers};
use systole::model::Model;

/// The recipe, in a file or in short forms.
#[derive(Debug, Args)]
pub(super) struct RecipeOptions {
    /// Bits of weights and activations: w8a8 is 8-bit weights and 8-bit activations, and what a chip runs where neither this nor a recipe says (a network that is only
    /// written stays in float then); 16, 8, 4, 2 and 1 (binary). Behind it ,tensor (one scale for a layer's weights), ,symmetric (no zero points) and @PATTERN (some layers only); steps are
    /// joined by +, a later one taking the place of an earlier one for its layers: w8a8+w4a8@conv*. ,wide multiplies weights in the format of activations though
    /// they lie in DRAM in fewer bits. mixed:w8a8/w4a8,cycles,loss:0.005 looks for each layer's: what is to be little (accuracy, cycles, energy, bytes),
    /// and what may not be more (loss:L, cycles:N, energy:PJ, bytes:N)
    #[arg(long, value_name = "SCHEME")]
    quant: Option<Recipe>,
    /// Prune first, one step; may stand several times, in order. mean:ALPHA[,global] (|w| below ALPHA times the mean of |w| becomes 0),
    /// magnitude:SPARSITY[,global], nm:N:M (N of each M along K stay), block:ROWSxCOLS,SPARSITY, block:array,SPARSITY,
    /// channel:FRACTION[,l2], features:FRACTION[,zeros] (channels, by activations), rank:R or energy:E (two layers in place of one), load:MODEL (another model's network), equalize,
    /// finetune:EPOCHS,LR (with the feature train); behind it @PATTERN for some layers only, such as nm:2:4@conv*
    #[arg(long, value_name = "STEP")]
    prune: Vec<Step>,
    /// A recipe in RON: steps as --prune has them, and formats; recipe.ron beside the results is one
    #[arg(long, value_name = "FILE", conflicts_with = "prune")]
    recipe: Option<PathBuf>,
}

impl RecipeOptions {
    /// The recipe that was asked for, its formats written out where any are said.
    pub(super) fn said(&self) -> Result<Recipe, Box<dyn Error>> {
        let recipe = match &self.recipe {
            Some(path) => Recipe::load(path)?,
            None => Recipe::new(self.prune.clone())?,
        };
        let Some(asked) = &self.quant else { return Ok(recipe) };
        if let Some(step) = asked.pruning().first() {
            return Err(format!("--quant {asked} does more than to quantize: {step}\n  help: prune with --prune {step}").into());
        }
        if !recipe.quantization().is_empty() && recipe.quantization() != asked.quantization() {
            let said: Vec<String> = recipe.quantization().iter().map(ToString::to_string).collect();
            let said = said.join("+");
            return Err(format!("the recipe quantizes to {said}, and --quant {asked} was given\n  help: say it in one place").into());
        }
        Ok(recipe.quantized_by(asked))
    }

    /// Refuses what a layer table, which has no weights and no data, cannot have.
    pub(super) fn refuse_for_tables(&self, recipe: &Recipe) -> Result<(), Box<dyn Error>> {
        let is_from = if self.recipe.is_some() { "--recipe" } else { "--prune" };
        if !recipe.pruning().is_empty() {
            let help = format!("leave {is_from} out, or give a network");
            return Err(format!("a layer table has no weights that could be pruned: it is only timed\n  help: {help}").into());
        }
        if let Some(search) = recipe.search() {
            return Err(format!(
                "step {} looks at what a network yields, and a layer table is only timed\n  help: say formats, such as --quant w8a8",
                search.step
            )
            .into());
        }
        let named = recipe.quantization().iter().find(|step| step.layers().is_some_and(|layers| !layers.0.is_empty()));
        named.map_or(Ok(()), |step| {
            Err(format!("step {step} names layers, and all layers of a table have one format\n  help: leave the pattern out").into())
        })
    }

    /// The recipe for a model: with formats, unless its network comes in integers and has its own.
    pub(super) fn for_model(&self, model: &Model) -> Result<Recipe, Box<dyn Error>> {
        let said = self.said()?;
        if !comes_in_integers(model.network()) {
            return Ok(said.with_formats());
        }
        match said.quantization().first() {
            None => Ok(said),
            Some(step) => Err(format!(
                "the network of model \"{}\" comes quantized: its weights are integers, of which {step} would change nothing\n  help: leave the formats \
                 out, and it runs in its own; or quantize the network in floating point that it was made from",
                model.card().name
            )
            .into()),
        }
    }

    /// The same, with formats in any case.
    pub(super) fn with_formats(&self) -> Result<Recipe, Box<dyn Error>> {
        Ok(self.said()?.with_formats())
    }
}
