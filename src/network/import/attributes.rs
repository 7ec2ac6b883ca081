//! The attributes of one node, each read by name and type; what was never asked for is refused, so that none is silently dropped.

use super::names::{of_node, shown};
use super::onnx::attribute_proto::AttributeType;
use super::onnx::{AttributeProto, NodeProto};
use crate::network::NetworkError;

/// The attributes of a node.
pub(super) struct Attributes<'a> {
    pub(super) node: &'a NodeProto,
}

impl<'a> Attributes<'a> {
    /// The node's attributes.
    ///
    /// # Errors
    /// If one is given twice, or is not in `known`.
    pub(super) fn new(node: &'a NodeProto, known: &[&str]) -> Result<Self, NetworkError> {
        for (index, attribute) in node.attribute.iter().enumerate() {
            let name = attribute.name();
            if !known.contains(&name) {
                let known = if known.is_empty() { "none".to_string() } else { known.join(", ") };
                return Err(fault(node, format!("has the attribute \"{}\"; known: {known}", shown(name)), "remove the attribute"));
            }
            if node.attribute[..index].iter().any(|earlier| earlier.name() == name) {
                return Err(fault(node, format!("has the attribute \"{name}\" twice"), "remove one of them"));
            }
        }
        Ok(Self { node })
    }

    /// An attribute, whatever its type.
    pub(super) fn get(&self, name: &str) -> Option<&'a AttributeProto> {
        self.node.attribute.iter().find(|attribute| attribute.name() == name)
    }

    /// An integer, or `default` where it is not given.
    pub(super) fn integer(&self, name: &str, default: i64) -> Result<i64, NetworkError> {
        Ok(self.typed(name, AttributeType::Int)?.and_then(|attribute| attribute.i).unwrap_or(default))
    }

    /// A finite number, or `default` where it is not given.
    pub(super) fn float(&self, name: &str, default: f32) -> Result<f32, NetworkError> {
        let value = self.typed(name, AttributeType::Float)?.and_then(|attribute| attribute.f).unwrap_or(default);
        if !value.is_finite() {
            return Err(fault(self.node, format!("has {name} = {value}"), "it must be a finite number"));
        }
        Ok(value)
    }

    /// A list of integers, where it is given.
    pub(super) fn integers(&self, name: &str) -> Result<Option<&'a [i64]>, NetworkError> {
        Ok(self.typed(name, AttributeType::Ints)?.map(|attribute| attribute.ints.as_slice()))
    }

    /// A list of two integers that are not negative (of one where `spatial` is 1, the other being `default`), or `default`.
    pub(super) fn pair(&self, name: &str, spatial: usize, default: usize) -> Result<[usize; 2], NetworkError> {
        let Some(given) = self.integers(name)? else { return Ok([default; 2]) };
        let sizes = given.iter().map(|size| usize::try_from(*size).ok()).collect::<Option<Vec<usize>>>().unwrap_or_default();
        match (&sizes[..], spatial) {
            ([width], 1) => Ok([default, *width]),
            ([height, width], 2) => Ok([*height, *width]),
            _ => {
                let given = &given[..given.len().min(8)];
                let problem = format!("has {name} = {given:?} for {spatial} spatial axes");
                Err(fault(self.node, problem, "give one number, not negative, for each spatial axis"))
            }
        }
    }

    /// A text, or `default` where it is not given.
    pub(super) fn text(&self, name: &str, default: &'static str) -> Result<String, NetworkError> {
        let found = self.typed(name, AttributeType::String)?;
        Ok(found.map_or_else(|| default.to_string(), |attribute| shown(&String::from_utf8_lossy(attribute.s()))))
    }

    /// An attribute that has to be of this type; files of the oldest kind leave the type out.
    fn typed(&self, name: &str, wanted: AttributeType) -> Result<Option<&'a AttributeProto>, NetworkError> {
        let Some(attribute) = self.get(name) else { return Ok(None) };
        let found = attribute.r#type.unwrap_or_default();
        if found != 0 && found != wanted as i32 {
            let found = AttributeType::try_from(found).map_or_else(|_| format!("type {found}"), |known| known.as_str_name().to_string());
            let problem = format!("has the attribute \"{name}\" as {found} where {} is wanted", wanted.as_str_name());
            return Err(fault(self.node, problem, "the file was written wrongly: export it again"));
        }
        Ok(Some(attribute))
    }
}

/// A fault of a node.
pub(super) fn fault(node: &NodeProto, problem: String, help: &'static str) -> NetworkError {
    NetworkError::Node { node: shown(of_node(node)), operator: shown(node.op_type()), problem, help }
}
