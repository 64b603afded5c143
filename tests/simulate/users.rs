//! What the Mac's user has beside the lab: a kubeconfig with other clusters, and files for names.

use std::fs;

use fusionlab::lab::Lab;

use super::invariants::{Found, Violation, everything};
use super::mac::Mac;

const RULE: &str = "users' files";

/// A kubeconfig that somebody has written by hand.
const OTHERS: &str = "\
# Of the office.
apiVersion: v1
kind: Config
clusters:
  - name: office   # ask the network people
    cluster: {server: 'https://10.99.0.1:6443'}
contexts:
- context:
    cluster: office
    user: me
  name: office
current-context: office
users:
- {name: me, user: {token: not-a-secret}}
";

/// Gives the Mac's user a kubeconfig; returns what is in it.
pub fn has_other_clusters(mac: &Mac) -> Vec<u8> {
    let path = mac.users_kubeconfig();
    fs::create_dir_all(path.parent().expect("a file is in a folder")).expect("it can be made");
    fs::write(path, OTHERS).expect("it can be written");
    OTHERS.into()
}

/// Whatever was merged and taken out: what is not ours is there still.
pub fn keep_their_clusters(mac: &Mac, before: &[u8]) -> Found {
    let now = fs::read_to_string(mac.users_kubeconfig()).unwrap_or_default();
    let before = String::from_utf8_lossy(before);
    let mut others = before.lines().filter(|line| !line.starts_with("current-context"));
    match others.find(|line| !now.lines().any(|there| there == *line)) {
        Some(line) => Err(Violation::of(RULE, format!("the kubeconfig lacks {line:?}"))),
        None => Ok(()),
    }
}

/// After a merge that says that it is done.
pub fn have_the_lab(mac: &Mac, lab: &Lab) -> Found {
    let now = fs::read_to_string(mac.users_kubeconfig()).unwrap_or_default();
    let is_up = mac.home.lab(&lab.name).kubeconfig().exists();
    if is_up && !now.lines().any(|line| line == format!("current-context: {}", lab.name)) {
        return Err(Violation::of(RULE, format!("{} is not the current context:\n{now}", lab.name)));
    }
    Ok(())
}

/// Nothing of any lab's is left, and the other clusters are as they were.
pub fn have_no_lab(mac: &Mac, before: &[u8]) -> Found {
    let now = fs::read(mac.users_kubeconfig()).unwrap_or_default();
    let without_choice = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes).into_owned();
        text.lines()
            .filter(|line| !line.starts_with("current-context"))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    // Which context is the current one was the user's choice, who chose the lab's.
    if without_choice(&now) != without_choice(before) {
        let now = String::from_utf8_lossy(&now);
        return Err(Violation::of(RULE, format!("the kubeconfig is not as it was:\n{now}")));
    }
    match everything(&mac.inside.places.root().join("etc/resolver")).into_iter().find(|path| path.is_file()) {
        Some(path) => Err(Violation::of("nothing left", path.display())),
        None => Ok(()),
    }
}

/// A killed run has left a lock beside the kubeconfig that names its process, which is gone. Here it is this test's own
/// process that it names, which is not: so the lock goes as if it had been known.
pub fn locks_are_left_behind(mac: &Mac) {
    let lock = mac.users_kubeconfig().with_file_name("config.lock");
    if fs::remove_file(&lock).is_ok() {
        mac.inside.note("a killed run has left the kubeconfig's lock");
    }
}
