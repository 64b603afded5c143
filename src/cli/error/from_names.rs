//! Advice on names that the lab does not know.

use super::{Kind, Report};
use crate::formats::command::quote;
use crate::lab::Lab;
use crate::lab::spec::closest;

/// What the C library says of what somebody may not do.
const DENIED: &str = "Permission denied";
/// What it says of what is not there.
const MISSING: &str = "No such file or directory";

/// Returns the report of a machine that the lab does not have, with the one that was likely meant.
pub fn unknown_node(name: &str, lab: &Lab) -> Report {
    let names: Vec<&str> = lab.nodes.iter().map(|node| node.name.as_str()).collect();
    let report = Report::usage(format!("there is no machine {name} in the lab \"{}\"", lab.name));
    let report = match closest(name, names.iter().copied()) {
        Some(meant) => report.advise(format!("did you mean {meant}?")),
        None => report,
    };
    report.advise(format!("its machines are {}", names.join(", ")))
}

/// Returns the report of a wish that names no machine.
pub fn no_node(lab: &Lab) -> Report {
    let names: Vec<&str> = lab.nodes.iter().map(|node| node.name.as_str()).collect();
    Report::usage("which machines are meant?")
        .advise(format!("name one or several: {}", names.join(", ")))
        .advise("or say --role gateway, control-plane or worker, or --all")
}

impl Report {
    /// A role that no machine has.
    pub fn no_node_of_role(lab: &str) -> Self {
        Self::usage(format!("the lab \"{lab}\" has no machine of that role"))
            .advise("see which machines it has:")
            .run("fusionlab topology")
    }

    /// There is no lab whose guests could be reached.
    pub fn no_guests(lab: &str) -> Self {
        Self::new("lab-not-up", Kind::Guest, format!("the lab \"{lab}\" is not up"))
            .because("it has no keys on this Mac, so it was never made here, or was destroyed")
            .run("fusionlab up")
    }

    /// The user said stop while commands ran in guests.
    pub fn interrupted_in_guests() -> Self {
        Self::new("interrupted", Kind::Interrupted, "interrupted")
            .advise("the connections are cut; what was begun in the machines may go on there")
    }

    /// A copy from here to here, or between machines.
    pub fn one_end_each() -> Self {
        Self::usage("a copy goes from this Mac into one of the lab's machines, or from one of those to here")
            .advise("say which end is the machine's, by its name and a colon:")
            .run("fusionlab cp notes.txt gateway1:")
    }

    /// A folder that would have to be merged with what is there.
    pub fn taken(what: String) -> Self {
        Self::usage(what).advise("a folder takes nobody's place: name another one, or remove what is there")
    }

    /// A machine that did not give or take what was to be copied.
    pub fn not_copied(what: String, node: &str, reason: &str) -> Self {
        let report = Self::new("guest-command-failed", Kind::Guest, what).at(node);
        if reason.contains(MISSING) {
            let place = report.what.split(": ").next().unwrap_or_default().to_owned();
            let path = place.split_once(':').map_or("", |(_, path)| path);
            let folder = match path.trim_end_matches('/').rsplit_once('/') {
                Some(("", _)) => "/",
                Some((folder, _)) => folder,
                None => ".",
            };
            return Self { what: format!("there is no {place}"), ..report }
                .because("the path is mistyped, or the folder that it would lie in is not there; nothing was copied")
                .advise("see what is there:")
                .run(format!("fusionlab exec {node} -- ls -la {}", quote(folder)));
        }
        if !reason.contains(DENIED) {
            return report
                .advise("nothing was copied; see what is there:")
                .run(format!("fusionlab exec {node} -- ls -la"));
        }
        report
            .because("a copy is made as the lab's user, who may not do that there")
            .advise("that user may use sudo; take the way through /tmp, or read as root:")
            .run(format!("fusionlab exec {node} -- sudo mv /tmp/FILE PATH"))
            .run(format!("fusionlab exec {node} -- sudo cat PATH > FILE"))
    }

    /// A machine that does not run.
    pub fn off(node: &str) -> Self {
        Self::new("guest-off", Kind::Guest, format!("{node} is off"))
            .at(node)
            .because(
                "Fusion does not run it: it was shut down or suspended, it crashed, or it was never made",
            )
            .advise("up starts what is off, and makes what is missing:")
            .run("fusionlab up")
    }
}

#[cfg(test)]
mod tests {
    use super::super::catalogue;
    use super::*;
    use crate::cli::screen::status::tests::lab;

    #[test]
    fn a_misspelt_machine_is_recognised_and_what_nobody_could_mean_is_answered_by_the_list() {
        let fixes = |name: &str| format!("{:?}", unknown_node(name, &lab()).fix);
        assert!(fixes("gatway1").contains("did you mean gateway1?"), "{}", fixes("gatway1"));
        assert!(fixes("k8s-masterl").contains("did you mean k8s-master"), "{}", fixes("k8s-masterl"));
        let listed = fixes("database");
        assert!(
            !listed.contains("did you mean") && listed.contains("its machines are gateway1, "),
            "{listed}"
        );
    }

    #[test]
    fn what_is_not_there_in_a_machine_is_told_with_the_folder_to_look_into() {
        for (path, folder) in [("/a b/c", "'/a b'"), ("/nope", "/"), ("notes", ".")] {
            let what = format!("gateway1:{path}: No such file or directory");
            let report = Report::not_copied(what, "gateway1", MISSING);
            assert_eq!(report.what, format!("there is no gateway1:{path}"));
            assert!(
                format!("{:?}", report.fix).contains(&format!("-- ls -la {folder}\"")),
                "{:?}",
                report.fix
            );
        }
    }

    #[test]
    fn what_can_be_wrong_with_a_machine_is_explained() {
        for report in [Report::off("gateway1"), Report::no_guests("lab"), Report::no_node_of_role("lab")] {
            assert!(catalogue::find(report.id).is_some() && !report.fix.is_empty(), "{}", report.id);
        }
    }
}
