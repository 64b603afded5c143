//! A lab's file changes between two verbs: it gains a machine.

use fusionlab::lab::Role;

use super::chance::Chance;
use super::mac::Mac;

/// Lets the first lab's file name one worker more, or a second gateway, unless it has been changed before or there is another
/// lab, which may have the addresses.
pub fn changes(mac: &Mac, chance: &mut Chance) {
    if mac.second().is_some() {
        return;
    }
    let count = |role: Role| mac.lab().nodes.iter().filter(|node| node.role == role).count();
    let line = if count(Role::Gateway) == 1 && chance.percent(40) {
        "gateways: {count: 2}".to_owned()
    } else {
        format!("workers: {{count: {}}}", count(Role::Worker) + 1)
    };
    if mac.edit_lab_file(&with(mac.lab_file, &line)) {
        mac.inside.note(format!("the lab file gains: {line}"));
    }
}

/// Returns the file with a line instead of the one about the same.
fn with(lab_file: &str, line: &str) -> String {
    let (key, _) = line.split_once(':').expect("it has a key");
    let others = lab_file.lines().filter(|there| there.split_once(':').is_none_or(|(other, _)| other != key));
    others.chain([line]).flat_map(|line| [line, "\n"]).collect()
}

#[test]
fn a_file_says_each_thing_once() {
    let small = "version: 1\npreset: small\n";
    assert_eq!(with(small, "workers: {count: 3}"), format!("{small}workers: {{count: 3}}\n"));
    let named = "version: 1\nworkers: {count: 0}\ngateways: {count: 1}\n";
    let more = "version: 1\ngateways: {count: 1}\nworkers: {count: 1}\n";
    assert_eq!(with(named, "workers: {count: 1}"), more);
}
