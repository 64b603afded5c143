//! All labs of this Mac: each Fusion that may have some is looked at, none is laid out for it.

use std::path::{Path, PathBuf};

use super::{deadlines, is_same};
use crate::cli::context::{Context, LAB_FILE};
use crate::cli::error::Failure;
use crate::engine::home::labs::{self, FileState, LabSeen, Library};
use crate::engine::home::made_from;
use crate::host::fusion::vmrun::Vmrun;
use crate::host::fusion::{Fusion, discover};
use crate::host::{HostError, files};
use crate::lab::limits::Limits;
use crate::lab::paths::Home;
use crate::lab::spec::USUAL_NAME;

/// Returns the file that a lab was last made from, if it is there, still means that lab, and is not the one here.
pub fn file_elsewhere(home: &Home, lab: &str, here: Option<&Path>) -> Option<PathBuf> {
    // What is wrong with the record is told by whoever needs it.
    let file = made_from::read(&home.lab(lab)).ok().flatten()?.file?;
    let is_another = here.is_none_or(|here| files::resolved(here) != files::resolved(&file));
    (is_another && labs::state_of(&file, lab) == FileState::There).then_some(file)
}

/// As [`file_elsewhere`], of the lab whose file has no name, where no lab file is here.
pub fn usual_file_elsewhere(home: &Home) -> Option<PathBuf> {
    if files::exists(Path::new(LAB_FILE)) { None } else { file_elsewhere(home, USUAL_NAME, None) }
}

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
