//! A value change dump of a stepped run.

use super::PipelineError;
use crate::chip::Chip;
use crate::sim::{Run, Session};
use std::io::Write;

/// Runs to the end.
pub(super) fn write(_: &Chip, session: Session<'_>, _: &mut impl Write) -> Result<Run, PipelineError> {
    Ok(session.finish()?)
}
