//! systole: a cycle-by-cycle simulator of neural-network accelerators, with the real numbers flowing through.

pub mod chip;
pub mod counts;
pub mod mapping;
pub mod network;
pub mod numerics;
pub mod program;
pub mod sim;
pub mod units;
