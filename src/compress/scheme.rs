//! Which formats a network is quantized to, as a name says it: `w8a8`.

use super::CompressError;
use crate::numerics::Dtype;
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
        Self::supported(weight, activation)
    }
}

impl Scheme {
    /// The scheme of these bits.
    ///
    /// # Errors
    /// Bits that no format has, or formats that are not supported yet.
    pub fn of_bits(weight: u32, activation: u32) -> Result<Self, CompressError> {
        let formats = Dtype::from_bits(weight).zip(Dtype::from_bits(activation));
        let (weight, activation) = formats.ok_or_else(|| CompressError::NoScheme { given: format!("w{weight}a{activation}") })?;
        Self::supported(weight, activation)
    }

    fn supported(weight: Dtype, activation: Dtype) -> Result<Self, CompressError> {
        let scheme = Self { weight, activation };
        if (weight, activation) == (Dtype::Int8, Dtype::Int8) {
            Ok(scheme)
        } else {
            Err(CompressError::SchemeNotSupported { given: scheme.to_string() })
        }
    }
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
        assert_eq!("w8a8".parse::<Scheme>().expect("a scheme").to_string(), "w8a8");
        for text in ["", "w8", "a8w8", "w8a", "w7a8", "int8", "w8a8x", "w-8a8", "w4a8", "w1a1"] {
            assert!(text.parse::<Scheme>().is_err(), "{text}");
        }
    }
}
