//! What an array of a chip does with one of its formats in one of its dataflows: what stays in its PEs, which formats it multiplies, and how operands are packed for it.
//!
//! A *panel* is an operand that enters the array across one of its sides: steps that are `width` elements wide (rows or columns of the
//! array), `depth` deep (lanes of K side by side in one PE), packed in that order, depth innermost, each step starting on a byte. A
//! stationary tile is a panel of array rows; in an output-stationary array both operands are panels of streamed steps. A *vector* is an
//! operand that streams past a stationary tile: K elements side by side, starting on a byte.

use super::{Chip, Dataflow, Format, Span, Sparsity, Stationary};
use crate::numerics::Dtype;
use serde::{Deserialize, Serialize};

/// N:M sparsity along K: of each group of `m` weights `n` are kept, with their places in the group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// Weights kept.
    pub n: u32,
    /// Of this many.
    pub m: u32,
}

impl Group {
    /// Bits of a kept weight's place in its group.
    pub const fn index_bits(self) -> u32 {
        u32::BITS - (self.m - 1).leading_zeros()
    }
}

/// Rows and columns of an array, or of what fills it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fill {
    /// Rows.
    pub rows: u32,
    /// Columns.
    pub cols: u32,
}

/// What the array does in a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArrayMode {
    /// The array's size.
    pub size: Fill,
    /// What stays in the PEs.
    pub stationary: Stationary,
    /// The weights' format.
    pub weight: Dtype,
    /// The activations' format.
    pub activation: Dtype,
    /// Elements of K side by side in one PE.
    pub lanes: u32,
    /// N:M sparsity of the weights, if the array profits from it.
    pub group: Option<Group>,
    /// Whether sums that stayed leave by columns of the array: then a line of results is one of its columns, else one of its rows.
    pub drains_columns: bool,
}

impl ArrayMode {
    /// The mode of `chip` when it multiplies `format` in `dataflow`.
    pub fn new(chip: &Chip, format: &Format, dataflow: &Dataflow) -> Self {
        Self {
            size: Fill { rows: chip.array().rows, cols: chip.array().cols },
            stationary: match dataflow {
                Dataflow::WeightStationary(_) => Stationary::Weight,
                Dataflow::InputStationary(_) => Stationary::Input,
                Dataflow::OutputStationary(_) => Stationary::Output,
            },
            weight: format.weight,
            activation: format.activation,
            lanes: format.lanes,
            group: match chip.array().sparsity {
                Sparsity::NM { n, m } => Some(Group { n, m }),
                Sparsity::Dense | Sparsity::TileSkip => None,
            },
            drains_columns: matches!(dataflow, Dataflow::OutputStationary(timing) if timing.drain == Some(Span::Cols)),
        }
    }

    /// Lines of results of a pass of an output-stationary array that fills `rows` x `cols`, and elements in each.
    pub fn result_lines(&self, rows: u32, cols: u32) -> (u64, u64) {
        let (rows, cols) = (u64::from(rows), u64::from(cols));
        if self.drains_columns { (cols, rows) } else { (rows, cols) }
    }

    /// Elements of K that a PE sees side by side: its lanes, or for each the group that it chooses from.
    pub fn depth(&self) -> u32 {
        self.lanes * self.group.map_or(1, |group| group.m)
    }

    /// Places for weights in the array along a K of `inner` elements: `ceil(K/M)*N` with N:M sparsity.
    pub fn slots(&self, inner: u64) -> u64 {
        self.group.map_or(inner, |group| inner.div_ceil(u64::from(group.m)) * u64::from(group.n))
    }

    /// Products in one output over a K of `inner` elements: without those that N:M sparsity drops.
    pub fn kept(&self, inner: u64) -> u64 {
        self.group.map_or(inner, |group| {
            let (n, m) = (u64::from(group.n), u64::from(group.m));
            inner / m * n + n.min(inner % m)
        })
    }

    /// Steps of the array along a K of `inner` elements, a PE's lanes each: `ceil(K/L)`.
    pub fn steps(&self, inner: u64) -> u64 {
        self.slots(inner).div_ceil(u64::from(self.lanes))
    }

    /// Elements of K that one stationary tile covers: R * L, and M/N times as many with N:M sparsity.
    pub fn tile_inner(&self) -> u64 {
        let slots = u64::from(self.size.rows) * u64::from(self.lanes);
        self.group.map_or(slots, |group| slots / u64::from(group.n) * u64::from(group.m))
    }

    /// The format of the operand that stays, or of the activations where sums do.
    pub const fn held(&self) -> Dtype {
        match self.stationary {
            Stationary::Weight => self.weight,
            Stationary::Input | Stationary::Output => self.activation,
        }
    }

    /// The format of the operand that streams past a stationary tile.
    pub const fn streamed(&self) -> Dtype {
        match self.stationary {
            Stationary::Weight => self.activation,
            Stationary::Input | Stationary::Output => self.weight,
        }
    }

    /// Bytes of a streamed vector of `inner` elements.
    pub const fn vector_bytes(&self, inner: u64) -> u64 {
        self.streamed().packed_bytes(inner)
    }

    /// Bytes of one array row of a stationary tile that fills `cols` columns.
    pub fn tile_row_bytes(&self, cols: u64) -> u64 {
        match self.stationary {
            Stationary::Weight => self.weight_step_bytes(cols),
            Stationary::Input | Stationary::Output => self.activation.packed_bytes(cols * u64::from(self.lanes)),
        }
    }

    /// Bytes of one step of a weight panel of `cols` columns: the weights, then their places in their groups.
    pub fn weight_step_bytes(&self, cols: u64) -> u64 {
        let elements = cols * u64::from(self.lanes);
        let places = self.group.map_or(0, |group| (elements * u64::from(group.index_bits())).div_ceil(8));
        self.weight.packed_bytes(elements) + places
    }

    /// Steps of an activation panel over a K of `inner` elements, and elements of K in each: lanes, or whole groups with N:M sparsity.
    pub fn activation_steps(&self, inner: u64) -> (u64, u64) {
        let depth = u64::from(self.group.map_or(self.lanes, |group| group.m));
        (inner.div_ceil(depth), depth)
    }

    /// Bytes of one step of an activation panel of `rows` rows.
    pub fn activation_step_bytes(&self, rows: u64) -> u64 {
        let depth = self.group.map_or(self.lanes, |group| group.m);
        self.activation.packed_bytes(rows * u64::from(depth))
    }
}
