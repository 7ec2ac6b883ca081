//! Which formats a network is quantized to, as a name says it: `w8a8`.

use super::CompressError;
use crate::numerics::Dtype;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The formats of weights and of activations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scheme {
    /// The weights' format.
    pub weight: Dtype,
    /// The activations' format.
    pub activation: Dtype,
}

impl FromStr for Scheme {
    type Err = CompressError;

    /// Reads `w<bits>a<bits>`.
    fn from_str(text: &str) -> Result<Self, CompressError> {
        let bits = |digits: &str| digits.parse().ok().and_then(Dtype::from_bits);
        let parts = text.strip_prefix('w').and_then(|rest| rest.split_once('a'));
        let Some((weight, activation)) = parts.and_then(|(w, a)| Some((bits(w)?, bits(a)?))) else {
            return Err(CompressError::NoScheme { given: text.to_string() });
        };
        Ok(Self { weight, activation })
    }
}

impl Scheme {
    /// 8 bits of both, which is meant where nothing is said.
    pub const EIGHT_BITS: Self = Self { weight: Dtype::Int8, activation: Dtype::Int8 };

    /// The scheme of these bits.
    ///
    /// # Errors
    /// Bits that no format has.
    pub fn of_bits(weight: u32, activation: u32) -> Result<Self, CompressError> {
        let formats = Dtype::from_bits(weight).zip(Dtype::from_bits(activation));
        let (weight, activation) = formats.ok_or_else(|| CompressError::NoScheme { given: format!("w{weight}a{activation}") })?;
        Ok(Self { weight, activation })
    }

    /// Whether a text says bits of weights and of activations, be they those of a format or not.
    pub(super) fn is_meant(text: &str) -> bool {
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        text.strip_prefix('w').and_then(|rest| rest.split_once('a')).is_some_and(|(w, a)| is_number(w) && is_number(a))
    }

    /// Whether weights or activations are binary.
    pub fn is_binary(self) -> bool {
        [self.weight, self.activation].contains(&Dtype::Binary)
    }
}

/// What shares a scale of weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Granularity {
    /// The weights of an output channel.
    #[default]
    PerChannel,
    /// All weights of a layer.
    PerTensor,
}

/// Whether a value may have a zero point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Symmetry {
    /// It has one that makes the most of its range.
    #[default]
    Affine,
    /// It has none: 0 stands for 0.0.
    Symmetric,
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "w{}a{}", self.weight.bits(), self.activation.bits())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scheme_reads_back_and_what_is_none_is_refused() {
        for text in ["w8a8", "w16a16", "w4a8", "w2a4", "w1a1"] {
            assert_eq!(text.parse::<Scheme>().expect("a scheme").to_string(), text);
            assert!(Scheme::is_meant(text));
        }
        for text in ["", "w8", "a8w8", "w8a", "w7a8", "int8", "w8a8x", "w-8a8", "w0a8"] {
            assert!(text.parse::<Scheme>().is_err(), "{text}");
        }
        assert!(Scheme::is_meant("w3a8") && !Scheme::is_meant("wa8") && !Scheme::is_meant("rank:3"));
    }
}
