//! Short forms of steps, as the command line takes them and reports show them.
//!
//! | short form | step |
//! | --- | --- |
//! | `load:MODEL` | `Load` |
//! | `mean:ALPHA[,layer\|global]` | `MeanThreshold` |
//! | `magnitude:SPARSITY[,layer\|global]` | `Magnitude` |
//! | `nm:N:M` | `NM` |
//! | `block:ROWSxCOLS,SPARSITY`, `block:array,SPARSITY` | `Block` |
//! | `channel:FRACTION[,l1\|l2]` | `Channel` |
//! | `features:FRACTION[,mean\|zeros]` | `FeatureMap` |
//! | `rank:R`, `energy:E` | `LowRank` |
//! | `equalize` | `Equalize` |
//! | `finetune:EPOCHS,LR[,float][,shift:N][,sparsity:S]` | `FineTune` |
//! | `w8a8[,tensor][,symmetric][,percentile:P\|,mse\|,kl][,bias][,wide]` | `Quantize` |
//! | `mixed:w8a8/w4a8/w2a8,OBJECTIVE,LIMIT` | `MixedPrecision`: `accuracy`, `cycles`, `energy` or `bytes`, and `loss:L`, `cycles:N`, `energy:PJ` or `bytes:N` |
//!
//! Behind each, `@PATTERN` names layers, as often as there are patterns.

use super::recipe::{Activity, BlockShape, Keep, Norm, Patterns, Recipe, Scope, Step};
use super::{Bits, Calibration, CompressError, Granularity, Scheme, Symmetry};
use std::fmt;
use std::str::FromStr;

/// What the command line shows of short forms.
const FORMS: &str = "write load:MODEL, mean:ALPHA[,global], magnitude:SPARSITY[,global], nm:N:M, block:ROWSxCOLS,SPARSITY, block:array,SPARSITY, \
                     channel:FRACTION[,l2], features:FRACTION[,zeros], rank:R, energy:E, equalize, finetune:EPOCHS,LR[,float][,shift:N][,sparsity:S] or w8a8[,tensor][,symmetric][,percentile:P|,mse|,kl][,bias][,wide] or mixed:w8a8/w4a8,accuracy|cycles|energy|bytes,loss:L|cycles:N|energy:PJ|bytes:N, and behind it @PATTERN for some layers only";

impl FromStr for Recipe {
    type Err = CompressError;

    /// Reads short forms joined by `+`.
    fn from_str(text: &str) -> Result<Self, CompressError> {
        Self::new(text.split('+').map(str::parse).collect::<Result<_, _>>()?)
    }
}

impl FromStr for Step {
    type Err = CompressError;

    fn from_str(text: &str) -> Result<Self, CompressError> {
        let fault = || CompressError::ShortForm { given: text.to_string(), help: FORMS };
        let mut parts = text.split('@');
        let form = parts.next().unwrap_or("");
        let patterns: Vec<String> = parts.map(str::to_string).collect();
        if patterns.iter().any(String::is_empty) {
            return Err(fault());
        }
        let layers = Patterns(patterns);
        let mut options = form.split(',');
        let head = options.next().unwrap_or("");
        if Scheme::is_meant(head) {
            let scheme = head.parse::<Scheme>()?;
            let (mut weights, mut activations) = (Granularity::PerChannel, Symmetry::Affine);
            let (mut calibration, mut bias_correction, mut wide) = (Calibration::MinMax, false, false);
            for option in options {
                match option {
                    "tensor" => weights = Granularity::PerTensor,
                    "symmetric" => activations = Symmetry::Symmetric,
                    "mse" => calibration = Calibration::Mse,
                    "kl" => calibration = Calibration::Kl,
                    "bias" => bias_correction = true,
                    "wide" => wide = true,
                    _ => {
                        let percent = option.strip_prefix("percentile:").and_then(|percent| percent.parse().ok());
                        calibration = Calibration::Percentile(percent.ok_or_else(fault)?);
                    }
                }
            }
            let (w, a) = (scheme.weight.bits(), scheme.activation.bits());
            return Ok(Self::Quantize { w, a, weights, activations, calibration, bias_correction, wide, layers });
        }
        if form == "equalize" {
            return Ok(Self::Equalize { layers });
        }
        let (kind, rest) = form.split_once(':').ok_or_else(fault)?;
        let (first, option) = rest.split_once(',').map_or((rest, None), |(first, option)| (first, Some(option)));
        let real = |text: &str| text.parse::<f64>().map_err(|_| fault());
        let count = |text: &str| text.parse::<usize>().map_err(|_| fault());
        let scope = || match option {
            None | Some("layer") => Ok(Scope::Layer),
            Some("global") => Ok(Scope::Global),
            Some(_) => Err(fault()),
        };
        if kind == "mixed" {
            let bits = first.split('/').map(str::parse).collect::<Result<Vec<Bits>, _>>()?;
            let (objective, constraint) = option.and_then(|option| option.split_once(',')).ok_or_else(fault)?;
            let (objective, constraint) = (objective.parse().map_err(|()| fault())?, constraint.parse().map_err(|()| fault())?);
            return Ok(Self::MixedPrecision { bits, objective, constraint, layers });
        }
        if let ("finetune", Some(options)) = (kind, option) {
            if !layers.0.is_empty() {
                return Err(fault());
            }
            let (mut float, mut shift, mut sparsity) = (false, 0, None);
            let mut options = options.split(',');
            let lr = real(options.next().unwrap_or(""))?;
            for option in options {
                match option.split_once(':') {
                    None if option == "float" => float = true,
                    Some(("shift", pixels)) => shift = count(pixels)?,
                    Some(("sparsity", share)) => sparsity = Some(real(share)?),
                    _ => return Err(fault()),
                }
            }
            return Ok(Self::FineTune { epochs: count(first)?, lr, float, shift, sparsity });
        }
        match (kind, option) {
            ("load", None) if layers.0.is_empty() => Ok(Self::Load(first.to_string())),
            ("mean", _) => Ok(Self::MeanThreshold { alpha: real(first)?, scope: scope()?, layers }),
            ("magnitude", _) => Ok(Self::Magnitude { sparsity: real(first)?, scope: scope()?, layers }),
            ("nm", None) => {
                let (n, m) = first.split_once(':').ok_or_else(fault)?;
                Ok(Self::NM { n: count(n)?, m: count(m)?, layers })
            }
            ("block", Some(sparsity)) => {
                let sized = || {
                    let (rows, cols) = first.split_once('x').ok_or_else(fault)?;
                    Ok::<_, CompressError>(BlockShape::Sized { rows: count(rows)?, cols: count(cols)? })
                };
                let shape = if first == "array" { BlockShape::Array } else { sized()? };
                Ok(Self::Block { shape, sparsity: real(sparsity)?, layers })
            }
            ("channel", None | Some("l1")) => Ok(Self::Channel { fraction: real(first)?, by: Norm::L1, layers }),
            ("channel", Some("l2")) => Ok(Self::Channel { fraction: real(first)?, by: Norm::L2, layers }),
            ("features", None | Some("mean")) => Ok(Self::FeatureMap { fraction: real(first)?, by: Activity::ActivationMean, layers }),
            ("features", Some("zeros")) => Ok(Self::FeatureMap { fraction: real(first)?, by: Activity::ZeroFraction, layers }),
            ("rank", None) => Ok(Self::LowRank { keep: Keep::Rank(count(first)?), layers }),
            ("energy", None) => Ok(Self::LowRank { keep: Keep::Energy(real(first)?), layers }),
            _ => Err(fault()),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scope = |scope: &Scope| if *scope == Scope::Global { ",global" } else { "" };
        match self {
            Self::Load(name) => write!(f, "load:{name}"),
            Self::MeanThreshold { alpha, scope: over, .. } => write!(f, "mean:{alpha}{}", scope(over)),
            Self::Magnitude { sparsity, scope: over, .. } => write!(f, "magnitude:{sparsity}{}", scope(over)),
            Self::NM { n, m, .. } => write!(f, "nm:{n}:{m}"),
            Self::Block { shape: BlockShape::Array, sparsity, .. } => write!(f, "block:array,{sparsity}"),
            Self::Block { shape: BlockShape::Sized { rows, cols }, sparsity, .. } => write!(f, "block:{rows}x{cols},{sparsity}"),
            Self::Channel { fraction, by, .. } => write!(f, "channel:{fraction}{}", if *by == Norm::L2 { ",l2" } else { "" }),
            Self::FeatureMap { fraction, by, .. } => {
                write!(f, "features:{fraction}{}", if *by == Activity::ZeroFraction { ",zeros" } else { "" })
            }
            Self::LowRank { keep: Keep::Rank(rank), .. } => write!(f, "rank:{rank}"),
            Self::LowRank { keep: Keep::Energy(energy), .. } => write!(f, "energy:{energy}"),
            Self::Equalize { .. } => f.write_str("equalize"),
            Self::FineTune { epochs, lr, float, shift, sparsity } => {
                write!(f, "finetune:{epochs},{lr}{}", if *float { ",float" } else { "" })?;
                if *shift > 0 {
                    write!(f, ",shift:{shift}")?;
                }
                sparsity.map_or(Ok(()), |sparsity| write!(f, ",sparsity:{sparsity}"))
            }
            Self::MixedPrecision { bits, objective, constraint, .. } => {
                let bits: Vec<String> = bits.iter().map(ToString::to_string).collect();
                write!(f, "mixed:{},{objective},{constraint}", bits.join("/"))
            }
            Self::Quantize { w, a, weights, activations, calibration, bias_correction, wide, .. } => {
                let of_weights = if *weights == Granularity::PerTensor { ",tensor" } else { "" };
                write!(f, "w{w}a{a}{of_weights}{}", if *activations == Symmetry::Symmetric { ",symmetric" } else { "" })?;
                match calibration {
                    Calibration::MinMax => Ok(()),
                    Calibration::Percentile(percent) => write!(f, ",percentile:{percent}"),
                    Calibration::Mse => f.write_str(",mse"),
                    Calibration::Kl => f.write_str(",kl"),
                }?;
                f.write_str(if *bias_correction { ",bias" } else { "" })?;
                f.write_str(if *wide { ",wide" } else { "" })
            }
        }?;
        self.layers().into_iter().flat_map(|patterns| &patterns.0).try_for_each(|pattern| write!(f, "@{pattern}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_forms_and_ron_say_the_same() {
        let forms = "load:lenet-mnist-w4a4+mean:0.5,global+mean:1@z1@z2+magnitude:0.9+nm:2:4@conv*+block:16x8,0.5+block:array,0.25+channel:0.25,l2+\
                     features:0.5,zeros+features:0.1+rank:16+energy:0.9@fc?+finetune:3,0.001,float,shift:2,sparsity:0.9+finetune:2,0.0005+w8a8,mse,bias+w4a8,wide@a+w4a8,tensor,symmetric@z*+w1a1@x@y+mixed:w8a8/w4a8wide/w2a4,cycles,loss:0.005@z1";
        let recipe: Recipe = forms.parse().unwrap();
        assert_eq!(recipe.to_string(), forms);
        assert_eq!(Recipe::parse(&recipe.to_ron(), "x.ron").unwrap(), recipe);
        assert_eq!(recipe.pruning().len(), 14);
        let written = "Recipe(format_version: 1, steps: [MeanThreshold(alpha: 0.5, scope: Global), NM(n: 2, m: 4, layers: [\"z*\"]), \
                       LowRank(keep: Energy(0.9)), Block(shape: Sized(rows: 4, cols: 2), sparsity: 0.5)])";
        let read = Recipe::parse(written, "x.ron").unwrap();
        assert_eq!(read.to_string(), "mean:0.5,global+nm:2:4@z*+energy:0.9+block:4x2,0.5");
        assert_eq!(Recipe::new(Vec::new()).unwrap().to_string(), "as-imported");
    }

    #[test]
    fn what_is_out_of_range_is_refused_with_help() {
        for (text, part) in [
            ("mean:-1", "alpha is -1"),
            ("mean:NaN", "alpha is NaN"),
            ("mean:inf", "alpha is inf"),
            ("magnitude:1", "pruned to nothing"),
            ("magnitude:-0.1", "sparsity is -0.1"),
            ("nm:5:4", "n is 5 and m is 4"),
            ("nm:0:4", "n is 0"),
            ("block:0x4,0.5", "a block is 0 x 4"),
            ("block:array,1.5", "sparsity is 1.5"),
            ("channel:1", "pruned to nothing"),
            ("features:NaN", "fraction is NaN"),
            ("rank:0", "the rank is 0"),
            ("energy:0", "energy is 0"),
            ("energy:1.1", "energy is 1.1"),
            ("w8a8+mean:1", "stands before mean:1"),
            ("w3a8", "no quantization"),
            ("w8a8,both", "no step"),
            ("mixed:w8a8,cycles,loss:0.1", "a choice of 1"),
            ("mixed:w8a8/w4a8/w8a8,cycles,loss:0.1", "w8a8 stands there twice"),
            ("mixed:w8a8/w4a8,cycles,energy:5", "cycles is to be little, and energy:5 is the limit"),
            ("mixed:w8a8/w4a8,accuracy,loss:0.1", "one of the two is about accuracy"),
            ("mixed:w8a8/w4a8,cycles,loss:NaN", "a loss of NaN"),
            ("mixed:w8a8/w4a8,cycles,loss:-0.5", "a loss of -0.5"),
            ("mixed:w8a8/w4a8,accuracy,energy:inf", "an energy of inf"),
            ("mixed:w8a8/w4a8,accuracy,bytes:0", "nothing is the limit"),
            ("mixed:w8a8/w8a8wide,cycles,loss:0.1", "weights of 8 bits"),
            ("mixed:w8a8/w4a8,cycles", "no step"),
            ("mixed:w8a8/w4a8,speed,loss:0.1", "no step"),
            ("mixed:w8a8/w3a8,cycles,loss:0.1", "no quantization"),
            ("mixed:w8a8/w4a8,cycles,loss:0.1+w8a8", "stands before w8a8"),
            ("w8a8,wide", "weights of 8 bits"),
            ("w1a8,wide", "weights of 1 bits"),
            ("w4a8@z1+nm:2:4", "stands before nm:2:4"),
            ("finetune:0,0.1", "it has no epochs"),
            ("finetune:1,0", "the learning rate is 0"),
            ("finetune:1,NaN", "the learning rate is NaN"),
            ("finetune:1,0.1,sparsity:1", "pruned to nothing"),
            ("finetune:1", "no step"),
            ("finetune:1,0.1,fast", "no step"),
            ("finetune:1,0.1@fc1", "no step"),
            ("w8a8+finetune:1,0.1", "stands before finetune:1,0.1"),
            ("load:", "it has no name"),
            ("load", "no step"),
            ("load:a@fc1", "no step"),
            ("nm:2:4+load:a", "stands behind nm:2:4"),
            ("mean", "no step"),
            ("mean:0.5,both", "no step"),
            ("mean:0.5@", "no step"),
            ("nm:2", "no step"),
            ("block:4,0.5", "no step"),
            ("channel:0.5,l3", "no step"),
            ("rank:-1", "no step"),
            ("", "no step"),
        ] {
            let error = text.parse::<Recipe>().unwrap_err().to_string();
            assert!(error.contains(part) && error.contains("\n  help: "), "{text}: {error}");
        }
    }

    #[test]
    fn text_that_is_no_recipe_is_refused_with_its_place() {
        for (text, part) in [
            ("Recipe(format_version: 2, steps: [])", "format_version is 2"),
            ("Recipe(format_version: 1,\n steps: [Mean(alpha: 1)])", "x.ron:2:"),
            ("Recipe(format_version: 1, steps: [MeanThreshold(alfa: 1)])", "alfa"),
            ("Recipe(format_version: 1, steps: [Quantize(w: 3, a: 8)])", "no quantization"),
            ("Recipe(format_version: 1, steps: [MeanThreshold(alpha: NaN)])", "alpha is NaN"),
            ("Recipe(format_version: 1, steps: [NM(n: -2, m: 4)])", "x.ron:1:"),
        ] {
            let error = Recipe::parse(text, "x.ron").unwrap_err().to_string();
            assert!(error.contains(part) && error.contains("\n  help: "), "{text}: {error}");
        }
    }
}
