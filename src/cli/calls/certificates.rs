//! How long the certificates of the labs on this Mac are valid, for `doctor`.

use super::Session;
use crate::cli::context::Context;
use crate::cli::error::Failure;
use crate::engine::home::store;
use crate::host::{clock, files};
use crate::lab::{Lab, paths};
use crate::plan::health::{self, Check, LabCertificates};
use crate::stack::certificates;
use crate::stack::validity::Validity;

/// Looks at what each lab keeps on this Mac, and asks the machines of the lab that the lab file names.
pub async fn check(context: &Context, lab: &Lab) -> Result<Check, Failure> {
    let mut labs = Vec::new();
    for folder in files::list(&context.home.labs())? {
        let Some((name, false)) = paths::lab_of(&folder) else { continue };
        // A folder that cannot be read is the next `up`'s to tell of.
        let Ok(own) = store::validities(&context.home.lab(name)) else { continue };
        let mut all: Vec<_> =
            own.into_iter().map(|(leaf, validity)| (leaf.words().to_owned(), validity)).collect();
        if name == lab.name {
            all.extend(of_machines(context, lab).await);
        }
        labs.push(LabCertificates { lab: name.to_owned(), all });
    }
    Ok(health::certificates(&labs, clock::now()))
}

/// Returns what the lab's machines tell. What keeps them from being asked is no concern of the certificates' check.
async fn of_machines(context: &Context, lab: &Lab) -> Vec<(String, Validity)> {
    let Ok(session) = Session::open(context, lab.clone(), "doctor").await else { return Vec::new() };
    let Ok(facts) = session.facts().await else { return Vec::new() };
    facts
        .guests
        .iter()
        .flat_map(|(node, guest)| certificates::first(node, guest, facts.now).collect::<Vec<_>>())
        .collect()
}
