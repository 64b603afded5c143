//! When the certificates of the labs on this machine end, for `doctor`.

use super::Session;
use crate::cli::context::Context;
use crate::cli::error::Failure;
use crate::engine::store;
use crate::host::{clock, files};
use crate::lab::{Lab, paths};
use crate::plan::health::{self, Check, LabEnds};
use crate::stack::certificates;

/// Looks at what each lab keeps on this machine, and asks the machines of the lab that the lab file names.
pub async fn check(context: &Context, lab: &Lab) -> Result<Check, Failure> {
    let mut labs = Vec::new();
    for folder in files::list(&context.home.labs())? {
        let Some((name, false)) = paths::lab_of(&folder) else { continue };
        // A folder that cannot be read is the next `up`'s to tell of.
        let Ok(ends) = store::ends(&context.home.lab(name)) else { continue };
        let mut ends: Vec<_> = ends.into_iter().map(|(leaf, ends)| (leaf.words().to_owned(), ends)).collect();
        if name == lab.name {
            ends.extend(of_machines(context, lab).await);
        }
        labs.push(LabEnds { lab: name.to_owned(), ends });
    }
    Ok(health::certificates(&labs, clock::now()))
}

/// Returns what the lab's machines tell. What keeps them from being asked is no concern of the certificates' check.
async fn of_machines(context: &Context, lab: &Lab) -> Vec<(String, u64)> {
    let Ok(session) = Session::open(context, lab.clone(), "doctor").await else { return Vec::new() };
    let Ok(facts) = session.facts().await else { return Vec::new() };
    facts
        .guests
        .iter()
        .flat_map(|(node, guest)| certificates::ends(node, guest).collect::<Vec<_>>())
        .collect()
}
