//! Why the time is what it is: the same program on machines that have one more resource without limit each.

use super::PipelineError;
use crate::report::WhatIf;
use crate::sim::{Machine, Peeled, Run};
use rayon::prelude::*;

/// For each stage, what each resource costs in `programs` programs that all take what `run` took on `machine`.
///
/// With `t(i)` a stage's window when the first i resources of [`Peeled::STEPS`] are without limit, resource i costs `t(i - 1) - t(i)`, and `t(5)`
/// is left: the sum is `t(0)`, whatever each is.
///
/// # Errors
/// A deadlock, which a verified program does not have.
pub(super) fn what_if(machine: &Machine<'_>, run: &Run, programs: u64) -> Result<Vec<WhatIf>, PipelineError> {
    let peeled: Vec<Run> = Peeled::STEPS[1..].par_iter().map(|peeled| machine.time_peeled(*peeled)).collect::<Result<_, _>>()?;
    let stages = (0..run.stages.len()).map(|stage| {
        let left = |step: usize| (peeled[step].stages[stage].window * programs).get();
        let costs = |before: u64, after: u64| before.cast_signed() - after.cast_signed();
        WhatIf {
            dram_cycles: costs((run.stages[stage].window * programs).get(), left(0)),
            ports_cycles: costs(left(0), left(1)),
            vector_cycles: costs(left(1), left(2)),
            array_cycles: costs(left(2), left(3)),
            host_cycles: costs(left(3), left(4)),
            rest_cycles: left(4),
        }
    });
    Ok(stages.collect())
}
