//! An array that takes no time: a command ends in the cycle in which it starts. Nothing is read, written or counted, but the passes are.

use super::Array;
use crate::program::Operation;
use crate::sim::queue::{Did, Shared};

impl Array<'_> {
    /// One cycle of the machine: at most one load and one pass, in program order, as in an array that takes time.
    pub(super) fn tick_peeled(&mut self, shared: &mut Shared<'_>, cycle: u64) -> Did {
        let (mut loads, mut passes, mut others) = (0, 0, 0);
        let mut blocked = None;
        while let Some(command) = self.queue.head().filter(|command| self.is_mine(shared, command)) {
            let is_first = match &command.operation {
                Operation::Preload(_) => loads + others == 0,
                Operation::Compute(_) | Operation::Product(_) => passes + others == 0,
                _ => loads + passes + others == 0,
            };
            blocked = self.queue.blocked(shared);
            if !is_first || blocked.is_some() {
                break;
            }
            let ending = self.queue.start(shared, command, cycle);
            ending.end(shared, cycle);
            match &command.operation {
                Operation::Preload(_) => loads += 1,
                Operation::Compute(_) | Operation::Product(_) => passes += 1,
                _ => others += 1,
            }
        }
        self.passes_done += passes;
        if loads + passes + others > 0 {
            self.cycles.busy += 1;
            return Did::Moved;
        }
        self.account_quiet(blocked, 1)
    }
}
