//! All labs of this Mac: each Fusion that may have some is looked at, none is laid out for it.

use super::{deadlines, is_same};
use crate::cli::context::Context;
use crate::cli::error::Failure;
use crate::engine::labs::{self, LabSeen, Library};
use crate::host::HostError;
use crate::host::fusion::vmrun::Vmrun;
use crate::host::fusion::{Fusion, discover};
use crate::lab::limits::Limits;

/// Returns the labs of the home, and those of which a Fusion's library alone knows.
pub async fn labs(context: &Context) -> Result<Vec<LabSeen>, Failure> {
    let mut libraries = Vec::new();
    for fusion in fusions(context)? {
        let vms = Vmrun::new(fusion.clone(), deadlines(&Limits::default()));
        tokio::select! {
            library = Library::look(fusion, &vms) => libraries.push(library),
            () = context.cancel.cancelled() => return Err(HostError::Interrupted.into()),
        }
    }
    Ok(labs::list(&context.home, &libraries)?)
}

/// Returns the Fusion that is named, or this Mac's own; the simulated one of the home, if it was laid out; and those that labs of
/// the home were made in. One that is not there has no labs.
fn fusions(context: &Context) -> Result<Vec<Fusion>, Failure> {
    let named = match &context.options.fusion {
        Some(path) => Some(discover::find(Some(path))?),
        None if context.options.sim => None,
        None => discover::find(None).ok(),
    };
    let mut found: Vec<Fusion> = named.into_iter().collect();
    let roots = labs::roots(&context.home)?;
    for root in std::iter::once(context.home.sim()).chain(roots) {
        if !found.iter().any(|known| is_same(&known.root, &root)) {
            found.extend(discover::find(Some(&root)).ok());
        }
    }
    Ok(found)
}
