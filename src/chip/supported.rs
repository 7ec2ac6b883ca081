//! What a chip file may say, and hardware could do, but this program cannot simulate yet: refused by name, never replaced by something
//! else. A feature that comes to work loses its lines here, and nothing else has to change.
//!
//! Not here: what no hardware could do (`check`).

use super::array::Sparsity;
use super::chip::{Codec, StorageWidth};
use super::read::Reader;
use super::schema::Draft;
use super::tree::Node;
use crate::units::Cycles;

/// Leaves a fault for everything that cannot be simulated yet.
pub(super) fn check(reader: &mut Reader, root: &Node, draft: &Draft) {
    let mut refuse = |path: &str, feature: &str, instead: &str| {
        reader.refuse_at(root, path, format!("not supported yet: {feature}"), format!("until it is, write `{instead}`"));
    };
    if draft.cores.is_some_and(|cores| cores > 1) {
        refuse("cores", "more than one core", "cores: 1");
    }
    if draft.interconnect.is_some_and(|interconnect| interconnect.latency > Cycles::ZERO) {
        refuse("interconnect.latency", "an interconnect that takes cycles", "interconnect: (latency: Cycles(0))");
    }
    if let Some(storage) = draft.storage {
        for (field, width) in [("weight", storage.weight), ("activation", storage.activation)] {
            if width != StorageWidth::Packed {
                refuse(&format!("storage.{field}"), "elements kept wider than their format", &format!("{field}: Packed"));
            }
        }
        if let Some(Sparsity::NM { n, m }) = draft.array.as_ref().and_then(|array| array.sparsity)
            && storage.codec != Codec::None
        {
            let what = format!("a codec behind `NM(n: {n}, m: {m})`, whose weights lie in DRAM without their zeros as it is");
            refuse("storage.codec", &what, "codec: None");
        }
    }
}
