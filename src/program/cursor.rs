//! Walks a queue command by command, without unrolling it.

use super::{Command, Item, Sync};

/// The deepest nest of `repeat` blocks.
pub(super) const MAX_DEPTH: usize = 8;

/// A place in a queue: the command that comes next, and the counters of the blocks around it.
#[derive(Debug, Clone)]
pub struct Cursor<'p> {
    frames: Vec<Frame<'p>>,
    counters: Vec<u64>,
    trips: Vec<u64>,
}

#[derive(Debug, Clone, Copy)]
struct Frame<'p> {
    items: &'p [Item],
    position: usize,
}

impl<'p> Cursor<'p> {
    /// Stands before the first command of `items`.
    pub fn new(items: &'p [Item]) -> Self {
        let mut cursor = Self {
            frames: Vec::with_capacity(MAX_DEPTH + 1),
            counters: Vec::with_capacity(MAX_DEPTH),
            trips: Vec::with_capacity(MAX_DEPTH),
        };
        cursor.frames.push(Frame { items, position: 0 });
        cursor.settle();
        cursor
    }

    /// The next command, or `None` at the end.
    pub fn command(&self) -> Option<&'p Command> {
        let frame = self.frames.last()?;
        match frame.items.get(frame.position) {
            Some(Item::Do(command)) => Some(command),
            _ => None,
        }
    }

    /// The counters of the blocks around the next command, the outermost first.
    pub fn counters(&self) -> &[u64] {
        &self.counters
    }

    /// The trips of the blocks around the next command, the outermost first.
    pub fn trips(&self) -> &[u64] {
        &self.trips
    }

    /// Whether a wait of the next command applies in this iteration.
    pub fn waits(&self, sync: Sync) -> bool {
        self.counters.iter().rev().take(sync.innermost as usize).all(|counter| *counter == 0)
    }

    /// Whether a post of the next command applies in this iteration.
    pub fn posts(&self, sync: Sync) -> bool {
        self.counters.iter().zip(&self.trips).rev().take(sync.innermost as usize).all(|(counter, trips)| counter + 1 == *trips)
    }

    /// Goes past the next command.
    pub fn advance(&mut self) {
        if let Some(frame) = self.frames.last_mut() {
            frame.position += 1;
        }
        self.settle();
    }

    /// Enters blocks and leaves finished ones until a command, or the end, comes next.
    fn settle(&mut self) {
        while let Some(frame) = self.frames.last_mut() {
            match frame.items.get(frame.position) {
                Some(Item::Do(_)) => return,
                Some(Item::Repeat(repeat)) => {
                    if repeat.trips == 0 || repeat.body.is_empty() {
                        frame.position += 1;
                    } else {
                        self.counters.push(0);
                        self.trips.push(repeat.trips);
                        self.frames.push(Frame { items: &repeat.body, position: 0 });
                    }
                }
                None => {
                    let (Some(counter), Some(trips)) = (self.counters.last_mut(), self.trips.last()) else { return };
                    *counter += 1;
                    if *counter < *trips {
                        frame.position = 0;
                    } else {
                        self.counters.pop();
                        self.trips.pop();
                        self.frames.pop();
                        if let Some(outer) = self.frames.last_mut() {
                            outer.position += 1;
                        }
                    }
                }
            }
        }
    }
}
