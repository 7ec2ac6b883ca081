//! Stages of the host, from DRAM to DRAM.
//!
//! ```text
//! store engine: says that all before is in DRAM, and waits for the host
//! host: the operation
//! ```
//!
//! Activations cross DRAM's bus in the store engine's order, so that what comes next finds the result there.

use super::super::{Address, HostFactor, HostInput, HostWork, Operation};
use super::plan::Plan;
use super::{Emitter, Queue, Shared, Units, command, index};
use crate::mapping::HostCall;

impl Emitter<'_> {
    pub(super) fn host(&mut self, plan: &Plan<'_>, call: &HostCall) {
        let addresses: Vec<u64> = call.inputs.iter().map(|read| self.tensor(&read.tensor, None)).collect();
        let inputs = call.inputs.iter().zip(addresses).map(|(read, address)| HostInput {
            address: Address::at(address),
            bytes: read.tensor.bytes,
            first: read.first,
            factors: read.factors.iter().map(|(count, stride)| HostFactor { count: *count, stride: *stride }).collect(),
        });
        let work = HostWork {
            op: index(self.host_ops.len()),
            inputs: inputs.collect(),
            result: Address::at(plan.ends.target),
            elements: call.elements,
        };
        self.host_ops.push(call.op.clone());
        let mut units = Units::default();
        self.open(plan, &mut units);
        units.push(self.store, command(plan, Vec::new(), Operation::Fence, vec![Shared::HostFull.sync()]));
        units.push(Queue::Host, command(plan, vec![Shared::HostFull.sync()], Operation::Host(work), vec![Shared::HostDone.sync()]));
        units.push(self.store, command(plan, vec![Shared::HostDone.sync()], Operation::Fence, Vec::new()));
        self.units.extend(units);
    }
}
