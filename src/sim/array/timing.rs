//! An array's timing, the same fields for every dataflow, as spans that are resolved for the size that a pass goes by.

use crate::chip::{Array, Dataflow, Extent, Overlap, ReductionPadding, Span};

/// What is particular to what stays.
#[derive(Debug, Clone, Copy)]
enum Kind {
    /// Weights or activations: tiles are loaded, two at a time where the array has the buffers.
    Tile { load: Span, buffers: u32 },
    /// Sums: a bias may be loaded first, sums may take time to drain.
    Sums { preload: Span, drain: Option<Span>, padding: ReductionPadding },
}

/// When things happen in the array.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timing {
    rows: u32,
    cols: u32,
    dataflow: Dataflow,
    kind: Kind,
}

/// Rows and columns that load, drain and tail go by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Size {
    pub(super) rows: u32,
    pub(super) cols: u32,
}

impl Timing {
    pub(super) fn new(array: &Array, dataflow: &Dataflow) -> Self {
        let kind = match dataflow {
            Dataflow::WeightStationary(timing) | Dataflow::InputStationary(timing) => {
                Kind::Tile { load: timing.load, buffers: timing.stationary_buffers }
            }
            Dataflow::OutputStationary(timing) => {
                Kind::Sums { preload: timing.psum_preload, drain: timing.drain, padding: timing.reduction_padding }
            }
        };
        Self { rows: array.rows, cols: array.cols, dataflow: *dataflow, kind }
    }

    /// Whether sums stay.
    pub(super) const fn sums_stay(&self) -> bool {
        matches!(self.kind, Kind::Sums { .. })
    }

    /// The size that a pass that fills `rows` x `cols` goes by.
    pub(super) fn size(&self, rows: u32, cols: u32) -> Size {
        match self.dataflow.extent() {
            Extent::Used => Size { rows, cols },
            Extent::Physical => Size { rows: self.rows, cols: self.cols },
        }
    }

    /// Cycles from an element's entry to the last output that it is part of.
    pub(super) fn tail(&self, size: Size) -> u64 {
        let hops =
            u64::from(self.dataflow.row_hop()) * u64::from(size.rows - 1) + u64::from(self.dataflow.col_hop()) * u64::from(size.cols - 1);
        hops + u64::from(self.dataflow.pipeline_registers())
    }

    /// Cycles that a tile, or the biases of a pass, take to enter; 0 where they take none.
    pub(super) const fn load(&self, size: Size) -> u64 {
        match self.kind {
            Kind::Tile { load, .. } => load.resolve(size.rows, size.cols) as u64,
            Kind::Sums { preload, .. } => preload.resolve(size.rows, size.cols) as u64,
        }
    }

    /// Cycles that sums take to leave after the last product; 0 where they are valid where they are.
    pub(super) fn drain(&self, size: Size) -> u64 {
        match self.kind {
            Kind::Sums { drain: Some(drain), .. } => u64::from(drain.resolve(size.rows, size.cols)),
            Kind::Sums { drain: None, .. } | Kind::Tile { .. } => 0,
        }
    }

    /// The steps that an output-stationary pass over `steps` steps of K streams.
    pub(super) fn padded(&self, steps: u64) -> u64 {
        match self.kind {
            Kind::Sums { padding: ReductionPadding::MultipleOfRows, .. } => steps.next_multiple_of(u64::from(self.rows)),
            _ => steps,
        }
    }

    /// Cycles of a pass over `steps` vectors or steps of K, without load, drain and tail.
    pub(super) fn length(&self, steps: u64) -> u64 {
        steps.max(u64::from(self.dataflow.min_pass_cycles()))
    }

    /// Whether a pass enters only after the one before has given its last output.
    pub(super) fn serial(&self) -> bool {
        self.dataflow.overlap() == Overlap::Serial
    }

    /// Whether the next tile, or the next biases, enter while a pass streams: through a chain of their own.
    pub(super) fn loads_beside(&self) -> bool {
        let own_chain = match self.kind {
            Kind::Tile { buffers, .. } => buffers == 2,
            Kind::Sums { .. } => true,
        };
        own_chain && !self.serial()
    }

    /// Loads start at least this many cycles apart.
    pub(super) fn least_between_loads(&self) -> u64 {
        let min = u64::from(self.dataflow.min_pass_cycles());
        match self.dataflow.extent() {
            Extent::Physical => self.load(Size { rows: self.rows, cols: self.cols }).max(min),
            Extent::Used => min,
        }
        .max(1)
    }
}
