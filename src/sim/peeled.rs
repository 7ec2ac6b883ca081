//! What a machine is asked to have without limit, to see what its time is made of.
//!
//! A peeled resource ends what it is given in the cycle in which it starts it, and starts one command a cycle, as every unit does. What is left
//! when all are peeled is the order of the commands: each unit starts one a cycle, and a token is seen in the cycle after the one in which it
//! was posted.

/// The resources that are without limit, in a run without numbers ([`super::Machine::time_peeled`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each resource is peeled or not, whatever the others are")]
pub struct Peeled {
    /// DRAM and the engines at it: a transfer's bytes all cross in the cycle in which it starts, beside those of other engines. Its on-chip rows
    /// still need their ports, for which engines take turns to go first.
    pub dram: bool,
    /// The ports of scratchpads and accumulator: every access is had in the cycle in which it is wanted, and no row is ever pending. Latencies
    /// stay, of the units that read.
    pub ports: bool,
    /// The vector unit: a command takes no cycles of its own, and no latency. Its rows still need their ports.
    pub vector: bool,
    /// The array: neither a tile's load, nor its vectors, nor skew and drain take a cycle, nor a latency, nor a port.
    pub array: bool,
    /// The host: a command takes no cycles of its own.
    pub host: bool,
}

impl Peeled {
    /// Nothing, then one more resource at a time, in the order of reports: DRAM, ports, vector unit, array, host.
    pub const STEPS: [Self; 6] = {
        let none = Self { dram: false, ports: false, vector: false, array: false, host: false };
        let dram = Self { dram: true, ..none };
        let ports = Self { ports: true, ..dram };
        let vector = Self { vector: true, ..ports };
        let array = Self { array: true, ..vector };
        [none, dram, ports, vector, array, Self { host: true, ..array }]
    };
}
