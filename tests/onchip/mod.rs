//! Runs a quantized network on a chip, and through the integer reference.

#![allow(dead_code, clippy::unwrap_used, clippy::panic, reason = "not every test uses everything, and a test fails by panicking")]

use ndarray::Array2;
use std::collections::BTreeSet;
use systole::chip::Chip;
use systole::mapping::{self, Choice, Location, Lowering, Mapping, MappingError, WeightStart};
use systole::network::{LayerId, Network};
use systole::numerics::Dtype;
use systole::program::{Program, emit};
use systole::reference::integer::{self, IntegerTrace};

/// A network that is ready to run.
pub(crate) struct OnChip {
    pub(crate) lowering: Lowering,
    pub(crate) mapping: Mapping,
    pub(crate) program: Program,
    batch: u64,
}

impl OnChip {
    /// Lowers and maps a network, each stage as it was chosen.
    pub(crate) fn new(
        network: &Network,
        chip: &Chip,
        batch: u64,
        start: WeightStart,
        choose: impl FnMut() -> Choice,
    ) -> Result<Self, MappingError> {
        Self::widened(network, chip, batch, start, &BTreeSet::new(), choose)
    }

    /// The same, the weights of some layers multiplied in the format of what they read.
    pub(crate) fn widened(
        network: &Network,
        chip: &Chip,
        batch: u64,
        start: WeightStart,
        wide: &BTreeSet<LayerId>,
        mut choose: impl FnMut() -> Choice,
    ) -> Result<Self, MappingError> {
        let lowering = mapping::lower_wide(network, chip, batch, wide)?;
        let choices: Vec<Choice> = lowering.stages.iter().map(|_| choose()).collect();
        let mapping = mapping::map_as(&lowering.stages, chip, batch, start, &choices)?;
        let program = emit(network, &mapping, chip).unwrap_or_else(|error| panic!("what is mapped is a program: {error}"));
        Ok(Self { lowering, mapping, program, batch })
    }

    /// Every layer's integers as they should be.
    pub(crate) fn expected(&self, network: &Network, chip: &Chip, inputs: &Array2<f32>) -> IntegerTrace {
        integer::run(network, |layer| self.mapping.arithmetic(chip, layer), integer::quantize_inputs(network, inputs.view()).unwrap())
            .unwrap()
    }

    /// What the host lays into DRAM, value by value.
    pub(crate) fn hosted(&self, trace: &IntegerTrace) -> Vec<Vec<u8>> {
        let laid = |(id, location): &(_, Location)| {
            let filling = i32::from(location.tensor.format == Dtype::Binary);
            location.lay(trace.layer(*id).unwrap().iter().copied(), self.batch, filling)
        };
        self.lowering.inputs.iter().map(laid).collect()
    }

    /// The logits in what a run left in DRAM.
    pub(crate) fn logits(&self, output: &[u8]) -> Vec<i32> {
        self.lowering.output.pick(output, self.batch)
    }
}
