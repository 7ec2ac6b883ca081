//! The text form of a program: RON, a command a line, that reads back to the same program.

use super::{ProgramError, ProgramParts};
use ron::ser::PrettyConfig;

/// Blocks nest at most this deep before the printer keeps a value on one line: queue, items, and the blocks inside.
const MULTILINE_DEPTH: usize = 4;

/// The text form.
pub(super) fn print(parts: &ProgramParts) -> Result<String, ProgramError> {
    let style = PrettyConfig::new().depth_limit(MULTILINE_DEPTH).indentor("  ").struct_names(true);
    ron::ser::to_string_pretty(parts, style).map_err(|fault| ProgramError::Text { line: 0, column: 0, problem: fault.to_string() })
}

/// Reads the text form.
pub(super) fn parse(text: &str) -> Result<ProgramParts, ProgramError> {
    ron::from_str(text).map_err(|fault| ProgramError::Text {
        line: fault.span.start.line,
        column: fault.span.start.col,
        problem: fault.code.to_string(),
    })
}

/// Bytes as a string of hexadecimal digits.
pub(super) mod hex {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use std::fmt::Write;

    /// Writes bytes as hexadecimal digits, two a byte.
    pub(in crate::program) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        let mut digits = String::with_capacity(bytes.len() * 2);
        for byte in bytes {
            // Writing to a String cannot fail.
            let _ = write!(digits, "{byte:02x}");
        }
        serializer.serialize_str(&digits)
    }

    /// Reads hexadecimal digits.
    pub(in crate::program) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let digits = String::deserialize(deserializer)?;
        if !digits.is_ascii() || !digits.len().is_multiple_of(2) {
            return Err(D::Error::custom("bytes need an even number of hexadecimal digits"));
        }
        (0..digits.len() / 2)
            .map(|i| {
                u8::from_str_radix(&digits[2 * i..2 * i + 2], 16)
                    .map_err(|_| D::Error::custom(format!("digit {} is not hexadecimal", 2 * i)))
            })
            .collect()
    }
}
