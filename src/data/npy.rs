//! NPY, numpy's format of one array: the header and the numbers. Its header is Python text, of which only what numpy writes is read.

use super::DataError;
use std::io::Read;
use std::path::Path;

/// The longest header that is read.
const MAX_HEADER: u32 = 1 << 16;

/// The most axes that an array may have.
const MAX_RANK: usize = 8;

const REWRITE: &str = "write it again with np.savez(path, x=..., y=...)";

/// What a header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    /// The element's type as numpy has it, such as `<f4`.
    pub(super) descr: String,
    /// Sizes of the axes.
    pub(super) shape: Vec<usize>,
}

impl Header {
    /// Reads a header from the front of an array's bytes.
    pub(super) fn read(path: &Path, name: &str, data: &mut dyn Read) -> Result<Self, DataError> {
        let refuse = |problem: String| DataError::format(path, format!("array \"{name}\": {problem}"), REWRITE);
        let io = |error: std::io::Error| refuse(format!("its header cannot be read: {error}"));
        let mut magic = [0; 8];
        data.read_exact(&mut magic).map_err(io)?;
        if magic[..6] != *b"\x93NUMPY" {
            return Err(refuse("is not in numpy's format".to_string()));
        }
        let length = match magic[6] {
            1 => {
                let mut bytes = [0; 2];
                data.read_exact(&mut bytes).map_err(io)?;
                u32::from(u16::from_le_bytes(bytes))
            }
            2 | 3 => {
                let mut bytes = [0; 4];
                data.read_exact(&mut bytes).map_err(io)?;
                u32::from_le_bytes(bytes)
            }
            other => return Err(refuse(format!("is in version {other} of numpy's format; 1 to 3 are known"))),
        };
        if length > MAX_HEADER {
            return Err(refuse(format!("claims a header of {length} bytes; the limit is {MAX_HEADER}")));
        }
        let mut text = vec![0; length as usize];
        data.read_exact(&mut text).map_err(io)?;
        let text = String::from_utf8_lossy(&text);
        let header = parse(&text).map_err(|problem| refuse(format!("its header is not what numpy writes: {problem}")))?;
        if header.shape.len() > MAX_RANK {
            return Err(refuse(format!("has rank {}; the limit is {MAX_RANK}", header.shape.len())));
        }
        Ok(header)
    }
}

/// Refuses what is not a finite number.
pub(super) fn check_finite(path: &Path, values: &[f32]) -> Result<(), DataError> {
    match values.iter().position(|value| !value.is_finite()) {
        Some(index) => Err(DataError::format(path, format!("number {index} is {}", values[index]), "every number must be finite")),
        None => Ok(()),
    }
}

/// A row of tokens: `{'descr': '<f4', 'fortran_order': False, 'shape': (5, 20), }`.
struct Tokens<'a>(&'a str);

impl<'a> Tokens<'a> {
    fn accept(&mut self, token: &str) -> bool {
        self.0 = self.0.trim_start();
        match self.0.strip_prefix(token) {
            Some(rest) => {
                self.0 = rest;
                true
            }
            None => false,
        }
    }

    fn expect(&mut self, token: &str) -> Result<(), String> {
        if self.accept(token) {
            return Ok(());
        }
        Err(format!("\"{token}\" is wanted before \"{}\"", self.0.chars().take(20).collect::<String>().escape_debug()))
    }

    fn string(&mut self) -> Result<&'a str, String> {
        self.expect("'")?;
        let (text, rest) = self.0.split_once('\'').ok_or("a string does not end")?;
        self.0 = rest;
        Ok(text)
    }

    fn size(&mut self) -> Result<usize, String> {
        self.0 = self.0.trim_start();
        let digits = self.0.len() - self.0.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, rest) = self.0.split_at(digits);
        self.0 = rest;
        number.parse().map_err(|_| format!("\"{number}\" is no size of an axis"))
    }
}

fn parse(text: &str) -> Result<Header, String> {
    let mut tokens = Tokens(text);
    let (mut descr, mut order, mut shape) = (None, None, None);
    tokens.expect("{")?;
    while !tokens.accept("}") {
        let key = tokens.string()?;
        tokens.expect(":")?;
        match key {
            "descr" => descr = Some(tokens.string().map_err(|problem| format!("only plain numbers are supported: {problem}"))?.to_string()),
            "fortran_order" => {
                order = Some(tokens.accept("True"));
                if order == Some(false) {
                    tokens.expect("False")?;
                }
            }
            "shape" => {
                let mut sizes = Vec::new();
                tokens.expect("(")?;
                while !tokens.accept(")") {
                    sizes.push(tokens.size()?);
                    if !tokens.accept(",") {
                        tokens.expect(")")?;
                        break;
                    }
                }
                shape = Some(sizes);
            }
            other => return Err(format!("the key \"{}\" is not known", other.chars().take(20).collect::<String>().escape_debug())),
        }
        if !tokens.accept(",") {
            tokens.expect("}")?;
            break;
        }
    }
    match (descr, order, shape) {
        (Some(_), Some(true), Some(shape)) if shape.len() > 1 => {
            Err("the array is in Fortran order: use np.ascontiguousarray before saving".to_string())
        }
        (Some(descr), Some(_), Some(shape)) => Ok(Header { descr, shape }),
        _ => Err("descr, fortran_order and shape are wanted".to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_numpy_are_read_and_others_are_refused() {
        let header = parse("{'descr': '<f4', 'fortran_order': False, 'shape': (5, 20), }      \n").unwrap();
        assert_eq!(header, Header { descr: "<f4".to_string(), shape: vec![5, 20] });
        assert_eq!(parse("{'descr': '|u1', 'fortran_order': True, 'shape': (7,)}").unwrap().shape, [7]);
        assert_eq!(parse("{'descr': '|u1', 'fortran_order': False, 'shape': ()}").unwrap().shape, [0_usize; 0]);
        for bad in [
            "",
            "{",
            "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (5,)}",
            "{'descr': '<f4', 'fortran_order': True, 'shape': (5, 2)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (-5,)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999999,)}",
            "{'descr': '<f4', 'fortran_order': Maybe, 'shape': (5,)}",
            "{'descr': '<f4', 'shape': (5,)}",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
