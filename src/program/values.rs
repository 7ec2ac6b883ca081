//! Values whose zeros are left out while they lie in DRAM.
//!
//! A value has its place in DRAM, as long as it would be whole, cut into granules of [`GRANULE_BYTES`], and each granule is coded by itself where it
//! is written as a whole and where that is shorter. So a transfer may begin and end anywhere, no address depends on what is stored, and neither does
//! any time: a machine moves such values in the time that they would take whole. What fewer bytes save is traffic and energy.

use crate::codec::{Code, Coding};
use serde::{Deserialize, Serialize};

/// Bytes of a granule: what a column of 16 PEs yields a vector. The last one of a value may be shorter.
pub const GRANULE_BYTES: u64 = 16;

/// A value whose zeros are left out while it lies in DRAM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CodedValue {
    /// Its first byte's address.
    pub address: u64,
    /// Bytes that it would take whole.
    pub bytes: u64,
    /// How it is coded.
    pub coding: Coding,
    /// The two bytes that stand for zeros, at even and at odd addresses: with zero points a zero is no byte of zeros. What is coded is the
    /// exclusive or with them.
    pub zero: [u8; 2],
}

impl CodedValue {
    /// The address behind it.
    pub fn end(&self) -> u64 {
        self.address.saturating_add(self.bytes)
    }

    /// What is wrong with it in a DRAM of so many bytes, if anything is.
    pub(crate) fn fault(&self, dram: u64) -> Option<String> {
        let Self { address, bytes, coding, .. } = self;
        let fits = address.checked_add(*bytes).is_some_and(|end| end <= dram);
        let whole = address.is_multiple_of(GRANULE_BYTES) && coding.is_valid() && coding.elements(*bytes).is_some();
        // What is kept in fewer bits is another number for some.
        let keeps = !matches!(coding.code, Code::Narrow { .. });
        (!fits || !whole || !keeps).then(|| {
            format!("a value of {bytes} bytes at {address} of {dram} bytes of DRAM cannot lie there coded as {coding:?}, by {GRANULE_BYTES} bytes")
        })
    }
}
