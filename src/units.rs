//! Quantities with their units as types: points and spans of time, frequencies, sizes and energies.
//!
//! Counted things are integers and add exactly; only energy, area and derived rates are `f64`. There is no `From<u64>` and no
//! `Deref`: a number gets its unit where it is made (`Cycles::new(3)`) and loses it where it is printed (`.get()`).
//!
//! Not here: how a unit is written in a chip file (that is `chip::schema`).

use serde::Serialize;
use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Div, Mul, Sub};

/// Declares a counted quantity: a `u64` with a unit that adds, subtracts and sums with its like.
macro_rules! counted {
    ($(#[$doc:meta])* $name:ident, $suffix:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize)]
        #[serde(transparent)]
        pub struct $name(u64);

        impl $name {
            /// None of it.
            pub const ZERO: Self = Self(0);

            /// `count` of this unit.
            pub const fn new(count: u64) -> Self {
                Self(count)
            }

            /// The bare number, without its unit.
            pub const fn get(self) -> u64 {
                self.0
            }

            /// The bare number as a float, for ratios and reports.
            pub const fn as_f64(self) -> f64 {
                self.0 as f64
            }
        }

        impl Add for $name {
            type Output = Self;
            fn add(self, other: Self) -> Self {
                Self(self.0 + other.0)
            }
        }

        impl AddAssign for $name {
            fn add_assign(&mut self, other: Self) {
                self.0 += other.0;
            }
        }

        impl Sub for $name {
            type Output = Self;
            fn sub(self, other: Self) -> Self {
                Self(self.0 - other.0)
            }
        }

        impl Mul<u64> for $name {
            type Output = Self;
            fn mul(self, times: u64) -> Self {
                Self(self.0 * times)
            }
        }

        impl Sum for $name {
            fn sum<I: Iterator<Item = Self>>(parts: I) -> Self {
                parts.fold(Self::ZERO, Add::add)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{} {}", self.0, $suffix)
            }
        }
    };
}

counted!(
    /// A span of time, in cycles of the core clock (or of the clock that the context names).
    Cycles,
    "cycles"
);
counted!(
    /// A size in bytes.
    Bytes,
    "bytes"
);
counted!(
    /// Multiply-accumulate operations.
    Macs,
    "MACs"
);

/// A point in time: the number of a cycle, counted from 0. `Tick - Tick = Cycles`, and a stop tick is exclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize)]
#[serde(transparent)]
pub struct Tick(u64);

impl Tick {
    /// The first cycle.
    pub const START: Self = Self(0);

    /// The cycle with this number.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number of the cycle.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl Add<Cycles> for Tick {
    type Output = Self;
    fn add(self, span: Cycles) -> Self {
        Self(self.0 + span.0)
    }
}

impl Sub for Tick {
    type Output = Cycles;
    fn sub(self, earlier: Self) -> Cycles {
        Cycles(self.0 - earlier.0)
    }
}

impl fmt::Display for Tick {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cycle {}", self.0)
    }
}

/// A clock frequency in whole hertz.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Hertz(u64);

impl Hertz {
    /// A frequency of `hertz` Hz.
    pub const fn new(hertz: u64) -> Self {
        Self(hertz)
    }

    /// The frequency in Hz.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The frequency in Hz as a float, for rates.
    pub const fn as_f64(self) -> f64 {
        self.0 as f64
    }
}

impl Div<Hertz> for Cycles {
    type Output = Seconds;
    fn div(self, clock: Hertz) -> Seconds {
        Seconds(self.as_f64() / clock.as_f64())
    }
}

/// Declares a measured quantity: an `f64` with a unit.
macro_rules! measured {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Default, Serialize)]
        #[serde(transparent)]
        pub struct $name(f64);

        impl $name {
            /// None of it.
            pub const ZERO: Self = Self(0.0);

            /// `value` of this unit.
            pub const fn new(value: f64) -> Self {
                Self(value)
            }

            /// The bare number, without its unit.
            pub const fn get(self) -> f64 {
                self.0
            }
        }

        impl Add for $name {
            type Output = Self;
            fn add(self, other: Self) -> Self {
                Self(self.0 + other.0)
            }
        }

        impl Mul<f64> for $name {
            type Output = Self;
            fn mul(self, times: f64) -> Self {
                Self(self.0 * times)
            }
        }

        impl Sum for $name {
            fn sum<I: Iterator<Item = Self>>(parts: I) -> Self {
                parts.fold(Self::ZERO, Add::add)
            }
        }
    };
}

measured!(
    /// A span of time in seconds.
    Seconds
);
measured!(
    /// An energy in picojoules.
    Picojoules
);
measured!(
    /// A power in milliwatts.
    Milliwatts
);
measured!(
    /// An area in square millimetres.
    SquareMillimetres
);

/// A data rate in bytes a core cycle, exact to a millionth of a byte (a 34 GB/s memory beside a 700 MHz core moves 48.571428 bytes a cycle).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct BytesPerCycle {
    millionths: u64,
}

impl BytesPerCycle {
    /// A whole number of bytes a cycle.
    pub const fn whole(bytes: u64) -> Self {
        Self { millionths: bytes * 1_000_000 }
    }

    /// A rate in millionths of a byte a cycle.
    pub const fn from_millionths(millionths: u64) -> Self {
        Self { millionths }
    }

    /// The rate in millionths of a byte a cycle.
    pub const fn millionths(self) -> u64 {
        self.millionths
    }

    /// The rate as a float, for reports.
    pub fn as_f64(self) -> f64 {
        self.millionths as f64 / 1e6
    }

    /// `ceil(bytes / rate)`: the cycles that a transfer of `bytes` holds the link. The rate is never zero: `chip::check` refuses it.
    ///
    /// # Panics
    /// If the transfer takes more cycles than fit in 64 bits, which no checked program can ask for.
    pub fn cycles_for(self, bytes: Bytes) -> Cycles {
        let wanted = u128::from(bytes.0) * 1_000_000;
        let cycles = wanted.div_ceil(u128::from(self.millionths));
        Cycles(u64::try_from(cycles).expect("bug: a transfer longer than 2^64 cycles; please report it"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_the_difference_of_two_points() {
        assert_eq!(Tick::new(7) - Tick::new(3), Cycles::new(4));
        assert_eq!(Tick::new(3) + Cycles::new(4), Tick::new(7));
    }

    #[test]
    fn a_transfer_rounds_up_to_whole_cycles() {
        let rate = BytesPerCycle::whole(16);
        assert_eq!(rate.cycles_for(Bytes::new(0)), Cycles::new(0));
        assert_eq!(rate.cycles_for(Bytes::new(16)), Cycles::new(1));
        assert_eq!(rate.cycles_for(Bytes::new(17)), Cycles::new(2));
        // 34 GB/s at 700 MHz: 1000 bytes are 20.588... cycles.
        assert_eq!(BytesPerCycle::from_millionths(48_571_428).cycles_for(Bytes::new(1000)), Cycles::new(21));
    }
}
