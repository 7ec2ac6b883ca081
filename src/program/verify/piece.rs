//! An interval of a memory whose bytes were treated alike, or alike in each period of so many bytes.

use crate::program::gcd;
use crate::program::region::Access;

/// Repeating columns are kept only where as many periods as this share them, else each period stands for itself.
const MIN_PERIODS: u64 = 2;

/// The most columns that a change of period may make.
const MAX_COLUMNS: u64 = 512;

/// The last write and the last reads of a byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct State<const T: usize> {
    pub(super) writer: Writer,
    /// The last command of each thread, counted from 1, that read it since it was written, or 0.
    readers: [u32; T],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Writer {
    Nobody,
    /// The host, or a command that everyone knows to have ended.
    Settled,
    /// The host, and no command ever writes here, so that reads need not be kept.
    Fixed,
    Thread(u32, u32),
}

/// An access, and what the unit knows that makes it.
pub(super) struct Accessor<const T: usize> {
    pub(super) access: Access,
    pub(super) thread: usize,
    pub(super) command: u32,
    /// The last command of each thread that is known to have ended; of the own thread, all of them.
    pub(super) known: [u32; T],
}

/// What is wrong with an access.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    NeverWritten,
    /// Another thread's command, counted from 1, and whether it wrote.
    Race {
        other: usize,
        command: u32,
        wrote: bool,
    },
}

impl<const T: usize> State<T> {
    pub(super) const fn new(writer: Writer) -> Self {
        Self { writer, readers: [0; T] }
    }

    fn fault(&self, by: &Accessor<T>) -> Option<Fault> {
        match self.writer {
            Writer::Nobody if by.access != Access::Write => return Some(Fault::NeverWritten),
            Writer::Thread(other, command) if command > by.known[other as usize] => {
                return Some(Fault::Race { other: other as usize, command, wrote: true });
            }
            _ => {}
        }
        if by.access == Access::Read {
            return None;
        }
        let unordered = |(_, (command, known)): &(usize, (&u32, &u32))| command > known;
        let (other, (command, _)) = self.readers.iter().zip(&by.known).enumerate().find(unordered)?;
        Some(Fault::Race { other, command: *command, wrote: false })
    }

    /// The state after an access without fault. A write forgets the reads before it: whoever comes after the write comes after them.
    fn note(&mut self, by: &Accessor<T>) {
        if by.access != Access::Read {
            *self = by.written();
        } else if self.writer != Writer::Fixed {
            self.readers[by.thread] = by.command;
        }
    }

    /// Forgets what everyone knows, `floor` being the last command of each thread that everyone else knows to have ended.
    fn settle(&mut self, floor: &[u32; T]) {
        if let Writer::Thread(thread, command) = self.writer
            && command <= floor[thread as usize]
        {
            self.writer = Writer::Settled;
        }
        for (reader, floor) in self.readers.iter_mut().zip(floor) {
            if *reader <= *floor {
                *reader = 0;
            }
        }
    }
}

impl<const T: usize> Accessor<T> {
    /// What a byte is that this access wrote.
    fn written(&self) -> State<T> {
        // A program of more threads than fit `T` was refused.
        let thread = u32::try_from(self.thread).unwrap_or(u32::MAX);
        State::new(Writer::Thread(thread, self.command))
    }
}

/// Bytes whose address, modulo the period, is from `from` on up to the next column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Column<const T: usize> {
    from: u64,
    state: State<T>,
}

/// The bytes from where it is kept up to `end`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Piece<const T: usize> {
    pub(super) end: u64,
    /// What all bytes are, if there are no columns.
    state: State<T>,
    /// The period of the columns; 0 without any.
    period: u64,
    /// At least two, the first from 0.
    columns: Vec<Column<T>>,
}

impl<const T: usize> Piece<T> {
    pub(super) const fn new(end: u64, writer: Writer) -> Self {
        Self { end, state: State::new(writer), period: 0, columns: Vec::new() }
    }

    /// The writer, if all bytes are alike.
    pub(super) fn writer(&self) -> Option<Writer> {
        self.is_even().then_some(self.state.writer)
    }

    pub(super) fn is_even(&self) -> bool {
        self.columns.is_empty()
    }

    /// How much it takes to keep.
    pub(super) fn weight(&self) -> usize {
        1 + self.columns.len()
    }

    pub(super) fn is_like(&self, other: &Self) -> bool {
        self.period == other.period && if self.is_even() { self.state == other.state } else { self.columns == other.columns }
    }

    /// Whether the piece, which begins at `start`, can be kept in columns.
    pub(super) fn is_long(&self, start: u64, period: u64) -> bool {
        self.end - start >= period.saturating_mul(MIN_PERIODS)
    }

    pub(super) fn period(&self) -> u64 {
        self.period
    }

    /// The first byte from `start` on that nobody wrote.
    pub(super) fn never_written(&self, start: u64) -> Option<u64> {
        if self.is_even() {
            return (self.state.writer == Writer::Nobody).then_some(start);
        }
        let nobody = self.columns.iter().enumerate().filter(|(_, column)| column.state.writer == Writer::Nobody);
        nobody.map(|(index, column)| first_byte(start, self.period, column.from, self.to(index))).min()
    }

    /// Notes an access to every byte; the fault is that of the first byte that has one.
    pub(super) fn touch(&mut self, start: u64, by: &Accessor<T>) -> Result<(), (u64, Fault)> {
        if self.is_even() {
            if let Some(fault) = self.state.fault(by) {
                return Err((start, fault));
            }
            self.state.note(by);
            return Ok(());
        }
        self.check_columns(start, 0..self.columns.len(), by)?;
        if by.access == Access::Read {
            self.note_columns(0..self.columns.len(), by);
        } else {
            self.become_even(by.written());
        }
        Ok(())
    }

    /// Notes an access to the `run` bytes from `from` on, modulo `period`, of each period. The piece is long enough for its period, and
    /// even or of this one.
    pub(super) fn touch_columns(&mut self, start: u64, from: u64, run: u64, period: u64, by: &Accessor<T>) -> Result<(), (u64, Fault)> {
        if self.is_even() {
            if self.state.writer == Writer::Fixed && by.access == Access::Read {
                return Ok(());
            }
            self.period = period;
            self.columns.push(Column { from: 0, state: self.state });
        }
        let from = from % period;
        let end = from + run;
        if end > period {
            // It goes round: the end of each period and the start of the next.
            let low = self.cut(end - period);
            let high = self.cut(from);
            self.check_columns(start, (0..low).chain(high..self.columns.len()), by)?;
            self.note_columns(high..self.columns.len(), by);
            self.note_columns(0..low, by);
        } else {
            let low = self.cut(from);
            let high = self.cut(end);
            self.check_columns(start, low..high, by)?;
            self.note_columns(low..high, by);
        }
        self.even_out();
        Ok(())
    }

    /// Makes a column begin at `at`; its index.
    fn cut(&mut self, at: u64) -> usize {
        let index = self.columns.partition_point(|column| column.from < at);
        if at < self.period && self.columns.get(index).is_none_or(|column| column.from > at) {
            let state = self.columns[index.saturating_sub(1)].state;
            self.columns.insert(index, Column { from: at, state });
        }
        index
    }

    /// Where a column ends.
    fn to(&self, index: usize) -> u64 {
        self.columns.get(index + 1).map_or(self.period, |next| next.from)
    }

    fn check_columns(&self, start: u64, columns: impl Iterator<Item = usize>, by: &Accessor<T>) -> Result<(), (u64, Fault)> {
        let mut first: Option<(u64, Fault)> = None;
        for index in columns {
            let column = &self.columns[index];
            if let Some(fault) = column.state.fault(by) {
                let byte = first_byte(start, self.period, column.from, self.to(index));
                if first.is_none_or(|(first, _)| byte < first) {
                    first = Some((byte, fault));
                }
            }
        }
        first.map_or(Ok(()), Err)
    }

    /// Notes an access to these columns, and makes one of those that are alike then.
    fn note_columns(&mut self, range: std::ops::Range<usize>, by: &Accessor<T>) {
        if by.access == Access::Read {
            for column in &mut self.columns[range.clone()] {
                column.state.note(by);
            }
        } else if !range.is_empty() {
            self.columns[range.start].state = by.written();
            self.columns.drain(range.start + 1..range.end);
        }
        let (first, last) = (range.start.saturating_sub(1), if by.access == Access::Read { range.end } else { range.start + 1 });
        let mut kept = first;
        let last = last.min(self.columns.len().saturating_sub(1));
        for index in first + 1..=last {
            if self.columns[index].state != self.columns[kept].state {
                kept += 1;
                self.columns[kept] = self.columns[index];
            }
        }
        if kept < last {
            self.columns.drain(kept + 1..=last);
        }
    }

    fn even_out(&mut self) {
        if let [only] = self.columns.as_slice() {
            let state = only.state;
            self.become_even(state);
        }
    }

    fn become_even(&mut self, state: State<T>) {
        self.state = state;
        self.period = 0;
        // The columns' allocation stays for the next ones.
        self.columns.clear();
    }

    /// Forgets what everyone knows.
    pub(super) fn settle(&mut self, floor: &[u32; T]) {
        self.state.settle(floor);
        for column in &mut self.columns {
            column.state.settle(floor);
        }
        self.columns.dedup_by(|next, column| next.state == column.state);
        self.even_out();
    }

    /// Gives back what is allocated and not used.
    pub(super) fn shrink(&mut self) {
        self.columns.shrink_to_fit();
    }

    /// Rewrites the columns in a period that is a multiple of theirs and of `period`, where that does not take too many.
    pub(super) fn widen(&mut self, start: u64, period: u64) -> bool {
        let Some(common) = (self.period / gcd(self.period, period)).checked_mul(period) else { return false };
        let times = common / self.period;
        if common != period || times.saturating_mul(self.columns.len() as u64) > MAX_COLUMNS || !self.is_long(start, common) {
            return false;
        }
        let columns = self.columns.clone();
        for time in 1..times {
            self.columns.extend(columns.iter().map(|column| Column { from: column.from + time * self.period, ..*column }));
        }
        self.columns.dedup_by(|next, column| next.state == column.state);
        self.period = common;
        true
    }

    /// How many even pieces it would take, at most.
    pub(super) fn even_pieces(&self, start: u64) -> u64 {
        ((self.end - start) / self.period.max(1) + 2).saturating_mul(self.columns.len() as u64)
    }

    /// Shows the even pieces that it is made of, each with its start.
    pub(super) fn each_even(&self, start: u64, mut see: impl FnMut(u64, Self)) {
        let mut period_start = start - start % self.period.max(1);
        let mut last: Option<(u64, Self)> = None;
        while period_start < self.end {
            for (index, column) in self.columns.iter().enumerate() {
                let from = start.max(period_start + column.from);
                let end = self.end.min(period_start.saturating_add(self.to(index)));
                if from >= end {
                    continue;
                }
                match &mut last {
                    Some((_, last)) if last.state == column.state => last.end = end,
                    _ => {
                        if let Some((from, piece)) = last.take() {
                            see(from, piece);
                        }
                        last = Some((from, Self { end, state: column.state, period: 0, columns: Vec::new() }));
                    }
                }
            }
            period_start = period_start.saturating_add(self.period.max(1));
        }
        if let Some((from, piece)) = last {
            see(from, piece);
        }
    }
}

/// The first byte from `start` on that is from `from` on and before `to`, modulo `period`.
fn first_byte(start: u64, period: u64, from: u64, to: u64) -> u64 {
    let phase = start % period;
    if phase < from {
        start + (from - phase)
    } else if phase < to {
        start
    } else {
        start + (period - phase) + from
    }
}
