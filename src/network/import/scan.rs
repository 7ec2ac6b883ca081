//! A walk over the bytes of an ONNX file that bounds what decoding it can cost, before it is decoded. It gives no values.
//!
//! Two bytes can say "an empty node", which takes hundreds once decoded; so a small file could fill the memory. The walk counts
//! the parts (fields of messages) by the format's own tags and refuses a file with too many.

use super::wire::{Field, Payload, Reader};

/// The most parts that a file may have. A network of 4,096 nodes with ten attributes each has fewer.
pub(super) const MAX_PARTS: u64 = 1 << 18;

/// The deepest nesting of messages; prost's own limit is 100.
const MAX_DEPTH: usize = 64;

/// The messages whose inside is walked.
#[derive(Clone, Copy)]
enum Message {
    Model,
    Graph,
    Node,
    Attribute,
    Tensor,
    SparseTensor,
    Entry,
}

/// What a field holds, as far as cost is concerned.
enum Content {
    /// A message whose parts are counted.
    Walked(Message),
    /// A message that is not walked, or packed integers that grow eightfold: each byte counts.
    Opaque,
    /// A string, bytes or packed floats: no larger decoded than stored.
    Flat,
}

/// Counts the parts of a model, stopping soon after [`MAX_PARTS`].
///
/// # Errors
/// What is wrong with the bytes, in words.
pub(super) fn count_parts(bytes: &[u8]) -> Result<u64, String> {
    let mut parts = 0_u64;
    // Messages still to walk, with their depth: a stack of our own, since the nesting comes from the file.
    let mut open = vec![(Message::Model, bytes, 0_usize)];
    while let Some((message, inside, depth)) = open.pop() {
        let mut reader = Reader::new(inside);
        while let Some(Field { tag, payload }) = reader.next()? {
            parts += 1;
            if let Payload::Bytes(content) = payload {
                match content_of(message, tag) {
                    Content::Walked(_) if depth == MAX_DEPTH => return Err(format!("messages are nested more than {MAX_DEPTH} deep")),
                    Content::Walked(kind) => open.push((kind, content, depth + 1)),
                    Content::Opaque => parts += content.len() as u64,
                    Content::Flat => {}
                }
            }
            if parts > MAX_PARTS {
                return Ok(parts);
            }
        }
    }
    Ok(parts)
}

/// The tags are those of `onnx.proto`; a test decodes what they stand for.
fn content_of(message: Message, tag: u64) -> Content {
    match (message, tag) {
        (Message::Model, 7) | (Message::Attribute, 6 | 11) => Content::Walked(Message::Graph),
        (Message::Graph, 1) => Content::Walked(Message::Node),
        (Message::Graph, 5) | (Message::Attribute, 5 | 10) | (Message::SparseTensor, 1 | 2) => Content::Walked(Message::Tensor),
        (Message::Graph, 15) | (Message::Attribute, 22 | 23) => Content::Walked(Message::SparseTensor),
        (Message::Node, 5) => Content::Walked(Message::Attribute),
        (Message::Model, 14) | (Message::Graph, 16) | (Message::Node, 9) | (Message::Tensor, 13 | 16) => Content::Walked(Message::Entry),
        (Message::Model, 8 | 20 | 25 | 26)
        | (Message::Graph, 11..=14)
        | (Message::Node, 10)
        | (Message::Attribute, 7 | 8 | 14 | 15)
        | (Message::Tensor, 1 | 3 | 5 | 7 | 11)
        | (Message::SparseTensor, 3) => Content::Opaque,
        _ => Content::Flat,
    }
}
