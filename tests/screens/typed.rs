//! What is typed to see each screen, and that no verb is left out.

use std::collections::BTreeSet;

use crate::completions::values;
use crate::support::session::Session;

/// What stands while verbs run; the folders of their screens.
pub const NOTHING: &str = "nothing";
pub const LAB: &str = "lab";
pub const DOCUMENT: &str = "document";

/// What is typed while no lab stands: plans, pictures, explanations, and what goes wrong.
pub const WITHOUT_A_LAB: &[&str] = &[
    "plan",
    "plan --verbose",
    "topology",
    "doctor",
    "status",
    "verify --list",
    "drill --list",
    "network show",
    "network plan",
    "network backups",
    "template list",
    "explain",
    "explain vip-taken",
    "explain reservation-in-dhcp-pool",
    "sim fault",
    "sim hazard",
    "help",
    "help up",
    "stauts",
    "list",
    "rm",
    "stop",
    "up --yess",
    "network restore nosuch",
    "image info nope.qcow2",
    "image fetch debain-13",
    "topology --svg no/such/lab.svg",
    "--plain topology",
    "init --yes --out - >/dev/null",
    "ssh k8s-master9",
    "ssh gateway1",
    "plan --lab missing.yaml",
    "plan --lab typo.yaml",
    "kubeconfig",
    "explain nothing-known",
    "template prune",
    "network sudoers",
    "image seed",
    "image vmx nope.vmx",
    "names",
    "trust",
    "logs",
    "console gateway1",
    "exec gateway1 -- hostname",
    "verify",
    "completions",
    "man nosuch",
    "sim status",
    "sim sleep",
    "sim image list",
    "destroy --yes",
];

/// What is typed once then, in this order, and does what it says.
pub const ONCE: [&str; 11] = [
    "render --out rendered",
    "network apply --yes",
    "network restore --yes",
    "image seed --user-data user-data --meta-data meta-data seed.iso",
    "image info disk.raw",
    "image convert disk.raw disk.vmdk",
    "image vmx machine.vmx",
    "sim start",
    "sim reboot",
    "sim stop",
    "sim wipe",
];

/// The wizard, every question answered as it proposes.
pub const ASKED: &str = "init";

/// What is typed while one does.
pub const WITH_A_LAB: &[&str] = &[
    "plan",
    "up --yes",
    "status",
    "list",
    "topology --live",
    "verify",
    "names",
    "trust",
    "logs gateway1 -n 3",
    "exec gateway1 -- hostname",
    "network show",
    "doctor",
    "kubeconfig",
    "cp nope.txt gateway1:",
    "cp gateway1:/nope .",
    "exec --all gateway1 -- hostname",
    "drill gateway-vm --yes",
    "template build",
    "template list",
    "template prune",
    "network plan",
    "sim status",
];

/// What is seen once with a lab: how it came, who reads along with a machine, and how the lab went.
pub const FIRST_UP: &str = "up, the first one";
pub const READ_ALONG: &str = "console k8s-master1 -n 3";
pub const LAST: &str = "destroy --yes";

/// What is typed while the networking document's own lab stands.
pub const WITH_THE_DOCUMENTS_LAB: &[&str] = &["status", "topology --live", "verify"];

/// What is looked at in a window of 24 rows then.
pub const WATCHED: &str = "status --watch 1";

/// What does something then, or takes long.
pub const WITH_THE_DOCUMENTS_LAB_ONCE: [&str; 5] =
    ["plan", "logs k8s-master1 --source console -n 3", "logs", "drill gateway-nginx --yes", "support"];

/// What has colours, and says the same to the letter each time.
pub const COLOURED: [&str; 7] =
    ["topology", "plan", "explain vip-taken", "plan --lab typo.yaml", "help up", "stauts", "verify --list"];

/// Verbs that show nobody anything, and why.
const SHOWN_TO_NOBODY: [(&str, &str); 1] = [("schema", "an editor reads it")];

/// Returns the verb's words of what is typed.
fn verb_of(typed: &str) -> Vec<&str> {
    typed.split_whitespace().filter(|word| !word.starts_with('-')).collect()
}

#[test]
fn no_verb_is_left_out() {
    let session = Session::new();
    let lists = [WITHOUT_A_LAB, &ONCE, WITH_A_LAB, WITH_THE_DOCUMENTS_LAB, &WITH_THE_DOCUMENTS_LAB_ONCE];
    let seen: Vec<Vec<&str>> =
        lists.concat().into_iter().chain([ASKED, READ_ALONG, LAST, WATCHED]).map(verb_of).collect();
    let is_seen = |verb: &[&str]| seen.iter().any(|typed| typed.starts_with(verb));
    let mut missing = BTreeSet::new();
    for verb in values(&session, &["man", ""]) {
        let below = values(&session, &["man", &verb, ""]);
        let is_excused = SHOWN_TO_NOBODY.iter().any(|(excused, _)| *excused == verb);
        if below.is_empty() && !is_excused && !is_seen(&[&verb]) {
            missing.insert(verb.clone());
        }
        let unseen = below.into_iter().filter(|inner| !is_seen(&[&verb, inner]));
        missing.extend(unseen.map(|inner| format!("{verb} {inner}")));
    }
    assert_eq!(missing, BTreeSet::new(), "no screen of theirs is agreed on");
}
