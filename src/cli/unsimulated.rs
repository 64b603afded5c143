//! What stands for the simulated Fusion in a build without it: it says so.

use super::context::Context;
use super::error::{Failure, Report};
use super::sim::{SimAnswer, SimCommand};
use crate::host::fusion::Fusion;
use crate::lab::Lab;

fn none() -> Failure {
    Report::usage("this build has no simulated Fusion").advise("build it with the feature `sim`").into()
}

pub fn fusion(_context: &Context) -> Result<Fusion, Failure> {
    Err(none())
}

pub async fn make_ready(_context: &Context, _fusion: &Fusion) -> Result<(), Failure> {
    Ok(())
}

/// A simulated Fusion of another build's is served like a real one.
pub fn prepare(_lab: &mut Lab, _fusion: &Fusion) -> Result<(), Failure> {
    Ok(())
}

pub async fn command(_context: &Context, _command: &SimCommand) -> Result<SimAnswer, Failure> {
    Err(none())
}

pub fn faults() -> impl Iterator<Item = (&'static str, &'static str)> {
    std::iter::empty()
}

pub fn hazards() -> impl Iterator<Item = (&'static str, &'static str)> {
    std::iter::empty()
}
