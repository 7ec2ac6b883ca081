//! What the array does to numbers, to be done again: images gathered, tiles taken, passes computed.

use super::operands::Panel;
use super::window::{Form, Gather};
use super::{Array, Pass};
use crate::program::Place;
use crate::sim::queue::Shared;
use crate::sim::recording::Effect;

/// One of these.
pub(in crate::sim) struct ArrayEffect(Done);

enum Done {
    Filled { gather: Gather, size: (usize, usize), form: Form, pad: i16 },
    Loaded { place: Place, number: u64, panel: Panel, zero_point: i16 },
    Passed(Box<Pass>),
}

/// Notes that images were gathered.
pub(super) fn fill(shared: &mut Shared<'_>, mode: u32, gather: Gather, size: (usize, usize), form: Form, pad: i16) {
    shared.note(|| Effect::Array(mode, ArrayEffect(Done::Filled { gather, size, form, pad })));
}

/// Notes that a tile was taken.
pub(super) fn load(shared: &mut Shared<'_>, mode: u32, place: Place, number: u64, panel: Panel, zero_point: i16) {
    shared.note(|| Effect::Array(mode, ArrayEffect(Done::Loaded { place, number, panel, zero_point })));
}

/// Notes that a pass was computed.
pub(super) fn pass(shared: &mut Shared<'_>, mode: u32, pass: &Pass) {
    shared.note(|| Effect::Array(mode, ArrayEffect(Done::Passed(Box::new(*pass)))));
}

impl Array<'_> {
    /// Begins anew, with nothing under way.
    pub(in crate::sim) fn restart(&mut self) {
        self.windows.restart();
    }

    /// Does it again.
    pub(in crate::sim) fn replay(&mut self, shared: &mut Shared<'_>, effect: &ArrayEffect) {
        match &effect.0 {
            Done::Filled { gather, size, form, pad } => {
                self.windows.fill(shared, gather, *size, *form, *pad);
            }
            Done::Loaded { place, number, panel, zero_point } => {
                self.drive.load(&mut self.operands, shared.sram(*place), *number, *panel, *zero_point);
            }
            Done::Passed(pass) => self.drive.finish(&mut self.operands, shared, pass, self.element_bytes),
        }
    }
}
