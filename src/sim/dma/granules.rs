//! What crosses DRAM's bus of values that lie coded there.
//!
//! A granule (`program::GRANULE_BYTES`) that is written as a whole is coded, and stays as it is where that is no shorter; one that is written in part lies as
//! it is from then on. One that lies coded is fetched whole, whatever is wanted of it; of one that lies as it is only what is wanted. Which of
//! the two it is is a bit a granule, which the engines keep. The simulated DRAM holds what a granule's code decodes to, so that whoever reads it
//! there reads what came through the codec. Not here: time, which such values take as if they were whole.

use super::super::memory::size;
use super::super::queue::Shared;
use super::{Direction, Flight};
use crate::program::{CodedValue, GRANULE_BYTES};

/// All values that lie coded.
pub(in crate::sim) struct Granules<'p> {
    values: &'p [CodedValue],
    /// The number of each value's first granule.
    firsts: Vec<usize>,
    /// Bytes that each granule takes. Empty where there are no numbers: then each takes what it would whole.
    stored: Vec<u8>,
    coded: Vec<u8>,
}

/// Bytes of one transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::sim) struct Crossing {
    /// That cross the bus.
    crossed: u64,
    /// How many of these are of coded values.
    coded: u64,
    /// How many are wanted of coded values.
    wanted: u64,
}

impl<'p> Granules<'p> {
    /// Of these values, each of which lies as it is; none where there are none.
    pub(in crate::sim) fn new(values: &'p [CodedValue], has_numbers: bool) -> Option<Self> {
        let mut granules = Self { values, firsts: Vec::with_capacity(values.len()), stored: Vec::new(), coded: Vec::new() };
        let mut count = 0;
        for value in values {
            granules.firsts.push(count);
            count += size(value.bytes.div_ceil(GRANULE_BYTES));
        }
        if has_numbers {
            granules.stored = vec![u8::try_from(GRANULE_BYTES).expect("bug: a granule has few bytes"); count];
        }
        (!values.is_empty()).then_some(granules)
    }

    /// The parts of some bytes of DRAM that lie in coded values: each with its value's number and its value.
    fn parts(&self, start: u64, end: u64) -> impl Iterator<Item = (usize, CodedValue, u64, u64)> + use<'p> {
        let first = self.values.partition_point(|value| value.end() <= start);
        let values = self.values[first..].iter().take_while(move |value| value.address < end);
        values.enumerate().map(move |(place, value)| (first + place, *value, start.max(value.address), end.min(value.end())))
    }

    /// Codes what was just written from `start` up to `end`, and tells what had to cross the bus for it.
    pub(in crate::sim) fn write(&mut self, dram: &mut [u8], start: u64, end: u64) -> Crossing {
        let mut crossing = Crossing { crossed: end - start, ..Crossing::default() };
        for (number, value, start, end) in self.parts(start, end) {
            crossing.wanted += end - start;
            crossing.coded += end - start;
            if self.stored.is_empty() {
                continue;
            }
            for granule in (start - value.address) / GRANULE_BYTES..(end - value.address).div_ceil(GRANULE_BYTES) {
                let from = value.address + granule * GRANULE_BYTES;
                let to = (from + GRANULE_BYTES).min(value.end());
                let is_whole = start <= from && to <= end;
                let stored = if is_whole { self.code(&value, &mut dram[size(from)..size(to)]) } else { to - from };
                self.stored[self.firsts[number] + size(granule)] = u8::try_from(stored).expect("bug: a granule has few bytes");
                crossing.crossed -= to - from - stored;
                crossing.coded -= to - from - stored;
            }
        }
        crossing
    }

    /// Lets a granule go through the codec, if that makes it shorter; the bytes that it takes.
    fn code(&mut self, value: &CodedValue, bytes: &mut [u8]) -> u64 {
        let whole = bytes.len() as u64;
        // Values begin at even addresses.
        let turn = |bytes: &mut [u8]| bytes.iter_mut().zip(value.zero.iter().cycle()).for_each(|(byte, zero)| *byte ^= zero);
        turn(bytes);
        self.coded.clear();
        value.coding.encode_into(bytes, &mut self.coded);
        let stored = self.coded.len() as u64;
        if stored < whole {
            value.coding.decode(&self.coded, bytes).expect("bug: a codec reads what it wrote; please report it");
        }
        turn(bytes);
        stored.min(whole)
    }

    /// What has to cross the bus for the bytes from `start` up to `end`; `before` is the last granule that this transfer has fetched.
    fn read(&self, before: &mut Option<usize>, start: u64, end: u64) -> Crossing {
        let mut crossing = Crossing { crossed: end - start, ..Crossing::default() };
        for (number, value, start, end) in self.parts(start, end) {
            crossing.wanted += end - start;
            crossing.coded += end - start;
            if self.stored.is_empty() {
                continue;
            }
            for granule in (start - value.address) / GRANULE_BYTES..(end - value.address).div_ceil(GRANULE_BYTES) {
                let from = value.address + granule * GRANULE_BYTES;
                let to = (from + GRANULE_BYTES).min(value.end());
                let place = self.firsts[number] + size(granule);
                let (wanted, stored) = (end.min(to) - start.max(from), u64::from(self.stored[place]));
                if stored < to - from {
                    let fetched = if *before == Some(place) { 0 } else { stored };
                    crossing.crossed = crossing.crossed - wanted + fetched;
                    crossing.coded = crossing.coded - wanted + fetched;
                    *before = Some(place);
                }
            }
        }
        crossing
    }
}

impl Flight {
    /// The bytes that had to cross DRAM's bus for this transfer, which is over; counts those of coded values.
    pub(super) fn crossed(&self, shared: &mut Shared<'_>) -> u64 {
        let Some(granules) = &mut shared.granules else { return self.bus_bytes };
        if self.block.is_some() {
            return self.bus_bytes;
        }
        let (rows, bytes) = match self.rows {
            _ if self.copies() => (1, self.row_bytes),
            rows if self.dram_stride == self.row_bytes => (1, rows * self.row_bytes),
            rows => (rows, self.row_bytes),
        };
        let (mut sum, mut before) = (Crossing::default(), None);
        for row in 0..rows {
            let start = self.dram + row * self.dram_stride;
            let one = match self.direction {
                Direction::In => granules.read(&mut before, start, start + bytes),
                Direction::Out => granules.write(&mut shared.dram, start, start + bytes),
            };
            sum.crossed += one.crossed;
            sum.coded += one.coded;
            sum.wanted += one.wanted;
        }
        let actions = shared.accounts.actions(self.ending.tag);
        actions.coded_bytes += sum.coded;
        actions.unpacked_bytes += sum.wanted;
        sum.crossed
    }
}
