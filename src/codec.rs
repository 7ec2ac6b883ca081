//! The storage codecs: how a block of elements lies in DRAM with its zeros left out. Pure functions from bytes to bytes.
//!
//! A block is bytes that hold elements of 2, 4, 8 or 16 bits side by side, low bits first (16 bits little-endian). What rows of a tile are
//! filled up with to whole bytes is zero, and counts as elements. A coded block is a stream of bits, low bits of a byte first, filled up to a
//! whole byte with zeros:
//!
//! ```text
//! ZeroBitmask   a bit an element, 1 where it is not zero, up to a whole byte; then the elements that are not zero, side by side
//!               bytes = ceil(elements / 8) + ceil(nonzeros * width / 8)
//! RunLength     pairs of (zeros before: run_bits, element: width), side by side; a run of more than 2^run_bits - 1 zeros is cut by pairs
//!               whose element is zero, each of which stands for 2^run_bits zeros, and zeros at the end are a run whose last is the element
//!               bytes = ceil(pairs * (run_bits + width) / 8)
//! Narrow        each element in its `bits` low bits, two's complement, side by side: elements that all fit so many
//!               bytes = ceil(elements * bits / 8)
//! ```
//!
//! Run lengths are like those of Eyeriss (Chen, Emer, Sze and others, ISCA and ISSCC 2016; from memory: runs of 5 bits, elements of 16), but that
//! pairs follow each other where three of them and a closing bit fill a word of 64 bits there. The number of elements is no part of a block: who decodes it knows it. A block that
//! gets no shorter is to be kept as it is, so that nothing ever grows; that it is says the command that fetches it. Not here: which blocks there
//! are (`mapping`), and how long unpacking takes (`sim`).

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The longest field of a run.
pub const MOST_RUN_BITS: u32 = 8;

/// How zeros are left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Code {
    /// A bit an element says whether it is zero; the others follow.
    ZeroBitmask,
    /// Each element that is not zero stands behind the number of zeros before it.
    RunLength {
        /// Bits of that number, 1 to [`MOST_RUN_BITS`].
        run_bits: u32,
    },
    /// Each element in fewer bits, whose sign fills the others.
    Narrow {
        /// Bits that an element has in the block: 2, 4 or 8, and fewer than it has outside of it.
        bits: u32,
    },
}

/// A code for elements of some width.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Coding {
    /// How zeros are left out.
    pub code: Code,
    /// Bits of an element: 2, 4, 8 or 16.
    pub element_bits: u32,
}

/// Why a block is not what it is said to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum CodecError {
    /// It ends too soon.
    #[error("its {bytes} bytes end before the last of {elements} elements")]
    Short {
        /// Bytes that there are.
        bytes: u64,
        /// Elements that were wanted.
        elements: u64,
    },
    /// It goes on behind its last element.
    #[error("its {elements} elements end after {used} of {bytes} bytes")]
    Long {
        /// Bytes that there are.
        bytes: u64,
        /// Bytes that hold the elements.
        used: u64,
        /// Elements that were wanted.
        elements: u64,
    },
    /// A run of zeros leaves it.
    #[error("a run of zeros goes past the last of {elements} elements")]
    Run {
        /// Elements that were wanted.
        elements: u64,
    },
}

impl Coding {
    /// The code for elements of so many bits; none for binary ones, of which none is zero.
    pub fn new(code: Code, element_bits: u32) -> Option<Self> {
        let coding = Self { code, element_bits };
        coding.is_valid().then_some(coding)
    }

    /// Whether there are elements and runs of such widths.
    pub fn is_valid(self) -> bool {
        let has_code = match self.code {
            Code::ZeroBitmask => true,
            Code::RunLength { run_bits } => (1..=MOST_RUN_BITS).contains(&run_bits),
            Code::Narrow { bits } => matches!(bits, 2 | 4 | 8) && bits < self.element_bits,
        };
        has_code && matches!(self.element_bits, 2 | 4 | 8 | 16)
    }

    /// Elements in so many bytes; none where they hold no whole number of them.
    pub fn elements(self, bytes: u64) -> Option<u64> {
        let bits = bytes.checked_mul(8)?;
        bits.is_multiple_of(u64::from(self.element_bits)).then(|| bits / u64::from(self.element_bits))
    }

    /// Bytes of the shortest block of so many elements: all of them zero, where that matters.
    pub fn least_bytes(self, elements: u64) -> u64 {
        match self.code {
            Code::ZeroBitmask => elements.div_ceil(8),
            Code::Narrow { bits } => bytes_of_bits(elements, bits),
            Code::RunLength { run_bits } => bytes_of_bits(elements.div_ceil(1 << run_bits), run_bits + self.element_bits),
        }
    }

    /// Bytes of the block of elements of which this tells, in order, whether they are zero.
    pub fn bytes_of(self, zeros: impl IntoIterator<Item = bool>) -> u64 {
        match self.code {
            Code::ZeroBitmask => {
                let (mut elements, mut others) = (0_u64, 0_u64);
                for zero in zeros {
                    elements += 1;
                    others += u64::from(!zero);
                }
                elements.div_ceil(8) + bytes_of_bits(others, self.element_bits)
            }
            Code::RunLength { run_bits } => {
                let (mut pairs, mut run) = (0_u64, 0_u64);
                for zero in zeros {
                    run += 1;
                    if !zero || run == 1 << run_bits {
                        (pairs, run) = (pairs + 1, 0);
                    }
                }
                bytes_of_bits(pairs + u64::from(run > 0), run_bits + self.element_bits)
            }
            Code::Narrow { bits } => bytes_of_bits(zeros.into_iter().count() as u64, bits),
        }
    }

    /// The block of these elements.
    ///
    /// # Panics
    /// If the coding is not valid, if the bytes hold no whole number of elements, or if one does not fit its narrower bits.
    pub fn encode(self, bytes: &[u8]) -> Vec<u8> {
        let mut coded = Vec::new();
        self.encode_into(bytes, &mut coded);
        coded
    }

    /// The same, behind what a vector has already.
    ///
    /// # Panics
    /// As [`Coding::encode`].
    pub fn encode_into(self, bytes: &[u8], coded: &mut Vec<u8>) {
        let elements = self.count(bytes);
        let mut coded = BitWriter { bytes: coded, bits: 0, count: 0 };
        match self.code {
            Code::ZeroBitmask => {
                for element in 0..elements {
                    coded.write(u32::from(self.element(bytes, element) != 0), 1);
                }
                coded.fill();
                for value in (0..elements).map(|element| self.element(bytes, element)).filter(|value| *value != 0) {
                    coded.write(value, self.element_bits);
                }
            }
            Code::Narrow { bits } => {
                for value in (0..elements).map(|element| self.element(bytes, element)) {
                    let narrow = value & ((1 << bits) - 1);
                    assert_eq!(self.widened(narrow, bits), value, "an element does not fit {bits} bits");
                    coded.write(narrow, bits);
                }
            }
            Code::RunLength { run_bits } => {
                let longest = (1 << run_bits) - 1;
                let mut run = 0;
                for element in 0..elements {
                    let value = self.element(bytes, element);
                    if value == 0 && run < longest && element + 1 < elements {
                        run += 1;
                    } else {
                        coded.write(run, run_bits);
                        coded.write(value, self.element_bits);
                        run = 0;
                    }
                }
            }
        }
        coded.fill();
    }

    /// An element that has its sign from its `bits` low bits on.
    fn widened(self, value: u32, bits: u32) -> u32 {
        let sign = 1 << (bits - 1);
        let wide = (value ^ sign).wrapping_sub(sign);
        wide & ((1 << self.element_bits) - 1)
    }

    /// The elements of a block, into bytes that hold just them.
    ///
    /// # Errors
    /// If it is the block of another number of elements, or none. The bytes hold whatever was decoded up to there.
    ///
    /// # Panics
    /// If the coding is not valid, or if `bytes` holds no whole number of elements.
    pub fn decode(self, coded: &[u8], bytes: &mut [u8]) -> Result<(), CodecError> {
        let elements = self.count(bytes);
        let (short, many) = (CodecError::Short { bytes: coded.len() as u64, elements: elements as u64 }, elements as u64);
        bytes.fill(0);
        let used = match self.code {
            Code::ZeroBitmask => {
                let (mask, values) = coded.split_at_checked(elements.div_ceil(8)).ok_or(short)?;
                let mut values = BitReader::new(values);
                for (number, mask) in mask.iter().enumerate() {
                    let mut mask = *mask;
                    while mask != 0 {
                        let element = number * 8 + mask.trailing_zeros() as usize;
                        if element >= elements {
                            return Err(CodecError::Run { elements: many });
                        }
                        let value = values.read(self.element_bits).ok_or(short)?;
                        self.put(bytes, element, value);
                        mask &= mask - 1;
                    }
                }
                mask.len() + values.used()
            }
            Code::RunLength { run_bits } => {
                let mut pairs = BitReader::new(coded);
                let mut element = 0;
                while element < elements {
                    element += pairs.read(run_bits).ok_or(short)? as usize;
                    let value = pairs.read(self.element_bits).ok_or(short)?;
                    if element >= elements {
                        return Err(CodecError::Run { elements: many });
                    }
                    self.put(bytes, element, value);
                    element += 1;
                }
                pairs.used()
            }
            Code::Narrow { bits } => {
                let mut values = BitReader::new(coded);
                for element in 0..elements {
                    let value = self.widened(values.read(bits).ok_or(short)?, bits);
                    self.put(bytes, element, value);
                }
                values.used()
            }
        };
        if used == coded.len() { Ok(()) } else { Err(CodecError::Long { bytes: coded.len() as u64, used: used as u64, elements: many }) }
    }

    fn count(self, bytes: &[u8]) -> usize {
        assert!(self.is_valid(), "{self:?} is no coding");
        let bits = bytes.len() * 8;
        let width = self.element_bits as usize;
        assert!(bits.is_multiple_of(width), "{} bytes hold no whole number of elements of {width} bits", bytes.len());
        bits / width
    }

    fn element(self, bytes: &[u8], element: usize) -> u32 {
        match self.element_bits {
            16 => u32::from(bytes[2 * element]) | u32::from(bytes[2 * element + 1]) << 8,
            8 => u32::from(bytes[element]),
            width => {
                let bit = element * width as usize;
                u32::from(bytes[bit / 8]) >> (bit % 8) & ((1 << width) - 1)
            }
        }
    }

    /// Puts an element where zeros are.
    fn put(self, bytes: &mut [u8], element: usize, value: u32) {
        let [low, high, ..] = value.to_le_bytes();
        match self.element_bits {
            16 => (bytes[2 * element], bytes[2 * element + 1]) = (low, high),
            8 => bytes[element] = low,
            width => {
                let bit = element * width as usize;
                bytes[bit / 8] |= low << (bit % 8);
            }
        }
    }
}

fn bytes_of_bits(count: u64, bits: u32) -> u64 {
    count.saturating_mul(u64::from(bits)).div_ceil(8)
}

/// Writes fields of at most 16 bits one behind the other.
struct BitWriter<'b> {
    bytes: &'b mut Vec<u8>,
    /// The bits that are not in `bytes` yet, fewer than 8 between two writes.
    bits: u32,
    count: u32,
}

impl BitWriter<'_> {
    fn write(&mut self, value: u32, bits: u32) {
        self.bits |= value << self.count;
        self.count += bits;
        while self.count >= 8 {
            self.bytes.push(self.bits.to_le_bytes()[0]);
            (self.bits, self.count) = (self.bits >> 8, self.count - 8);
        }
    }

    /// Fills the last byte up with zeros.
    fn fill(&mut self) {
        if self.count > 0 {
            self.write(0, 8 - self.count);
        }
    }
}

/// Reads fields of at most 16 bits one behind the other.
struct BitReader<'b> {
    bytes: &'b [u8],
    next: usize,
    bits: u32,
    count: u32,
}

impl<'b> BitReader<'b> {
    fn new(bytes: &'b [u8]) -> Self {
        Self { bytes, next: 0, bits: 0, count: 0 }
    }

    fn read(&mut self, bits: u32) -> Option<u32> {
        while self.count < bits {
            self.bits |= u32::from(*self.bytes.get(self.next)?) << self.count;
            (self.next, self.count) = (self.next + 1, self.count + 8);
        }
        let value = self.bits & ((1 << bits) - 1);
        (self.bits, self.count) = (self.bits >> bits, self.count - bits);
        Some(value)
    }

    /// Bytes that were read, the last one maybe in part.
    fn used(&self) -> usize {
        self.next
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MASK: Coding = Coding { code: Code::ZeroBitmask, element_bits: 8 };

    fn runs(run_bits: u32, element_bits: u32) -> Coding {
        Coding { code: Code::RunLength { run_bits }, element_bits }
    }

    #[test]
    fn blocks_worked_by_hand() {
        // Elements 1, 4 and 9 of ten are not zero: bits 1 and 4 of the first byte of the mask, 1 of the second.
        let bytes = [0, 7, 0, 0, 9, 0, 0, 0, 0, 255];
        assert_eq!(MASK.encode(&bytes), [0b0001_0010, 0b10, 7, 9, 255]);
        // Runs 1, 2 and 4 of three bits with eight bits of element: 33 bits, 7<<3|1, then at bit 11 9<<3|2, then at bit 22 255<<3|4.
        let stream: u64 = (7 << 3 | 1) | (9 << 3 | 2) << 11 | (255 << 3 | 4) << 22;
        assert_eq!(runs(3, 8).encode(&bytes), stream.to_le_bytes()[..5]);
        // Nibbles 0, 5, 0, 0: the two zeros at the end are a run of one and a zero.
        let nibbles = [0x50, 0x00];
        assert_eq!(Coding { element_bits: 4, ..MASK }.encode(&nibbles), [0b10, 0x05]);
        assert_eq!(runs(4, 4).encode(&nibbles), [0x51, 0x01]);
        // Element 9 of twelve is a one; runs of two bits: three zeros and a zero, twice, one zero and the one, one zero and a zero.
        assert_eq!(runs(2, 2).encode(&[0, 0, 0b0100]), [0b0011_0011, 0b0001_0101]);
    }

    #[test]
    fn a_block_that_is_another_s_is_refused() {
        let coded = MASK.encode(&[0, 7, 0, 9]);
        let decode = |coding: Coding, coded: &[u8], bytes: usize| coding.decode(coded, &mut vec![0; bytes]);
        assert_eq!(decode(MASK, &coded, 4), Ok(()));
        assert_eq!(decode(MASK, &coded, 3), Err(CodecError::Run { elements: 3 }));
        assert_eq!(decode(MASK, &coded[..2], 4), Err(CodecError::Short { bytes: 2, elements: 4 }));
        assert_eq!(decode(MASK, &[], 4), Err(CodecError::Short { bytes: 0, elements: 4 }));
        assert_eq!(decode(MASK, &[0, 1], 4), Err(CodecError::Long { bytes: 2, used: 1, elements: 4 }));
        assert_eq!(decode(runs(8, 8), &[4, 1], 4), Err(CodecError::Run { elements: 4 }));
        assert_eq!(decode(runs(8, 8), &[3, 1, 0], 4), Err(CodecError::Long { bytes: 3, used: 2, elements: 4 }));
        assert_eq!(decode(runs(8, 8), &[3], 4), Err(CodecError::Short { bytes: 1, elements: 4 }));
    }

    #[test]
    fn there_is_no_code_for_bits_and_none_without_runs() {
        assert_eq!(Coding::new(Code::ZeroBitmask, 1), None);
        assert_eq!(Coding::new(Code::RunLength { run_bits: 0 }, 8), None);
        assert_eq!(Coding::new(Code::RunLength { run_bits: 9 }, 8), None);
        assert_eq!(Coding { element_bits: 16, ..MASK }.elements(3), None);
        for (bits, width) in [(8, 8), (1, 8), (4, 2), (3, 8), (16, 16)] {
            assert_eq!(Coding::new(Code::Narrow { bits }, width), None, "{bits} of {width}");
        }
    }

    fn codings() -> impl Strategy<Value = Coding> {
        let code = prop_oneof![Just(Code::ZeroBitmask), (1..=MOST_RUN_BITS).prop_map(|run_bits| Code::RunLength { run_bits })];
        (code, prop::sample::select(&[2_u32, 4, 8, 16][..])).prop_map(|(code, element_bits)| Coding { code, element_bits })
    }

    fn blocks() -> impl Strategy<Value = Vec<u8>> {
        let byte = prop_oneof![3 => Just(0_u8), 1 => any::<u8>(), 1 => prop::sample::select(&[1_u8, 4, 16, 64, 5][..])];
        let parts = prop_oneof![(0..300_usize).prop_map(|zeros| vec![0; zeros]), prop::collection::vec(byte, 0..40)];
        prop::collection::vec(parts, 0..6).prop_map(|parts| parts.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_encoded_comes_back_in_as_many_bytes_as_foretold(coding in codings(), mut bytes in blocks()) {
            bytes.truncate(bytes.len() / 2 * 2);
            let coded = coding.encode(&bytes);
            let elements = coding.elements(bytes.len() as u64).unwrap();
            let zeros: Vec<bool> = (0..coding.count(&bytes)).map(|element| coding.element(&bytes, element) == 0).collect();
            prop_assert_eq!(coded.len() as u64, coding.bytes_of(zeros.iter().copied()));
            prop_assert!(coding.least_bytes(elements) <= coded.len() as u64);
            prop_assert_eq!(coding.least_bytes(elements), coding.bytes_of(zeros.iter().map(|_| true)));
            let mut found = vec![0xA5; bytes.len()];
            prop_assert_eq!(coding.decode(&coded, &mut found), Ok(()));
            prop_assert_eq!(&found, &bytes);
            // A byte less, or one more, is another block.
            prop_assert!(coded.is_empty() || coding.decode(&coded[..coded.len() - 1], &mut found).is_err());
            prop_assert!(coding.decode(&[&coded[..], &[0]].concat(), &mut found).is_err());
        }

        #[test]
        fn no_bytes_make_a_decoder_panic(coding in codings(), coded in prop::collection::vec(any::<u8>(), 0..60), pairs in 0..40_usize) {
            let _ = coding.decode(&coded, &mut vec![0; 2 * pairs]);
        }
    }
}
