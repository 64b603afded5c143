//! `fusionlab cp`: files and folders into a machine and out of it.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::calls::Session;
use super::candidates;
use super::context::{Context, Warnings};
use super::error::{Failure, Report, Success};
use super::{guests, words};
use crate::lab::Lab;

/// The JSON form's schema; the number rises when a field changes its meaning or goes away.
const SCHEMA: &str = "fusionlab.cp/1";

/// Copy files into a machine or out of it
///
/// A path in a machine is MACHINE:PATH, seen from the lab user's home folder. A copy has another name until it is whole, so
/// nobody meets half of one; a file takes the place of one that is there, a folder does not. What is copied into a machine
/// belongs to the lab's user.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  fusionlab cp notes.txt gateway1:
  fusionlab cp a.yaml b.yaml k8s-master1:/tmp
  fusionlab cp k8s-master1:/etc/os-release .
  fusionlab cp -r site gateway1:/tmp/site")]
pub struct CpArgs {
    /// What to copy, and in the end where to
    #[arg(add = candidates::places(), required = true, num_args = 2.., value_name = "[MACHINE:]PATH")]
    places: Vec<String>,

    /// Folders with all that is in them; links are followed
    #[arg(short, long)]
    recursive: bool,
}

/// One end of a copy.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    Here(PathBuf),
    Guest { node: String, path: String },
}

impl Place {
    /// Reads `MACHINE:PATH`, or a path of this Mac: one with a slash before the colon is no machine's.
    fn of(text: &str) -> Self {
        match text.split_once(':') {
            Some((node, path)) if !node.is_empty() && !node.contains('/') => {
                Self::Guest { node: node.to_owned(), path: path.to_owned() }
            }
            _ => Self::Here(PathBuf::from(text)),
        }
    }
}

pub async fn run(args: CpArgs, context: &Context) -> Result<Success, Failure> {
    let lab = context.lab(None, Warnings::Untold)?;
    let mut places: Vec<Place> = args.places.iter().map(|text| Place::of(text)).collect();
    let to = places.pop().expect("clap sees to two places at least");
    known(&places, &to, &lab)?;
    let session = Session::open(context, lab, "cp").await?;
    let mut copies = Vec::new();
    for (place, text) in places.into_iter().zip(&args.places) {
        let (arrived, copied) = match (place, &to) {
            (Place::Here(from), Place::Guest { node, path }) => {
                let arrived = session.upload(node, &from, path, args.recursive).await?;
                (format!("{node}:{}", arrived.place), arrived.copied)
            }
            (Place::Guest { node, path }, Place::Here(to)) => {
                let arrived = session.download(&node, &path, to, args.recursive).await?;
                (arrived.place.display().to_string(), arrived.copied)
            }
            _ => return Err(one_end_each()),
        };
        let files = words::count(usize::try_from(copied.files).unwrap_or(usize::MAX), "file");
        context.say([format!("{text} is {arrived} ({files}, {})", words::bytes(copied.bytes))]);
        copies.push(json!({ "from": text, "to": arrived, "files": copied.files, "bytes": copied.bytes }));
    }
    if context.json() {
        let (lab, simulated) = (&session.lab.name, session.fusion.simulated);
        context
            .print_json(&json!({ "schema": SCHEMA, "lab": lab, "simulated": simulated, "copies": copies }))?;
    }
    Ok(Success::Done)
}

/// Fails if a machine is not the lab's, or not one of the ends is a machine.
fn known(from: &[Place], to: &Place, lab: &Lab) -> Result<(), Failure> {
    for place in from.iter().chain([to]) {
        if let Place::Guest { node, .. } = place {
            guests::one(lab, node)?;
        }
    }
    let is_guest = |place: &Place| matches!(place, Place::Guest { .. });
    if from.iter().any(|place| is_guest(place) == is_guest(to)) { Err(one_end_each()) } else { Ok(()) }
}

fn one_end_each() -> Failure {
    Report::one_end_each().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_machines_if_a_name_and_a_colon_come_first() {
        let guest = |node: &str, path: &str| Place::Guest { node: node.into(), path: path.into() };
        assert_eq!(Place::of("gateway1:"), guest("gateway1", ""));
        assert_eq!(Place::of("gateway1:/a:b"), guest("gateway1", "/a:b"));
        for here in ["a", "./a:b", "/a:b", ":a"] {
            assert_eq!(Place::of(here), Place::Here(here.into()));
        }
    }
}
