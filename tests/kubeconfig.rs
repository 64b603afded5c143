//! The lab's way into the user's own kubeconfig and out again, as kubectl and other tools would find it.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::session::Session;

/// As kubectl writes it, with a comment of its owner's.
const USERS: &str = "\
apiVersion: v1
# Ask Ada before you change this.
clusters:
- cluster:
    server: https://work.example:6443
  name: work
contexts:
- context:
    cluster: work
    user: ada
  name: work
current-context: work
kind: Config
preferences: {}
users:
- name: ada
  user:
    token: abc
";
const SOLO: &str = "version: 1\npreset: solo\nlimits: {kubeconfig_lock: 1}\n";

struct User {
    session: Session,
    file: PathBuf,
}

impl User {
    fn new() -> Self {
        let session = Session::new().file("fusionlab.yaml", SOLO);
        let file = session.work().join("../home/.kube/config");
        fs::create_dir_all(file.parent().expect("it lies in a folder")).expect("the home takes a folder");
        Self { session, file }
    }

    fn verb(&self, flags: &[&str]) -> Session {
        self.session.clone().arg("kubeconfig").args(flags)
    }

    fn text(&self) -> String {
        fs::read_to_string(&self.file).expect("it is there")
    }

    fn value(&self) -> Value {
        read(&self.file)
    }
}

fn read(path: &Path) -> Value {
    serde_saphyr::from_str(&fs::read_to_string(path).expect("it is there")).expect("it is YAML")
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("it is there").permissions().mode() & 0o777
}

#[test]
fn the_lab_is_merged_into_the_users_kubeconfig_and_destroy_takes_it_out() {
    let user = User::new();
    user.verb(&["--merge"]).run().exits(9);
    user.session.clone().args(["up", "--yes"]).run().exits(0);
    into_a_file_with_others(&user);
    into_no_file(&user);
    into_what_is_not_understood(&user);
    while_somebody_else_writes(&user);
    through_a_link(&user);

    fs::remove_file(&user.file).expect("it was a link");
    fs::write(&user.file, USERS).expect("the folder is there");
    user.verb(&["--merge", "--use"]).run().exits(0);
    let plan = user.session.clone().args(["plan", "--destroy"]).run().exits(0).stdout;
    assert!(plan.contains(".kube/config"), "what destroy takes out is shown:\n{plan}");
    user.session.clone().args(["destroy", "--yes"]).run().exits(0);
    assert_eq!(user.text(), USERS.replace("current-context: work", "current-context: \"\""));
}

fn into_a_file_with_others(user: &User) {
    fs::write(&user.file, USERS).expect("the folder is there");
    fs::set_permissions(&user.file, fs::Permissions::from_mode(0o640)).expect("it is ours");
    let merged = user.verb(&["--merge"]).run().exits(0);
    assert!(merged.stderr.contains("~/.kube/config has the lab's entries"), "{}", merged.stderr);
    assert!(merged.stderr.contains("kubectl --context lab"), "{}", merged.stderr);
    for line in USERS.lines() {
        assert!(user.text().lines().any(|other| other == line), "{line} is gone:\n{}", user.text());
    }
    assert_eq!((mode(&user.file), &user.value()["current-context"]), (0o640, &"work".into()));
    let own = read(&user.session.fusionlab_home().join("labs/lab/kubeconfig"));
    let ours = &user.value()["users"][1];
    assert_eq!(ours["name"], "lab-admin");
    assert_eq!(ours["user"]["client-key-data"], own["users"][0]["user"]["client-key-data"]);
    let again = user.verb(&["--merge", "--output", "json"]).run().exits(0).json();
    assert_eq!(again["files"][0]["changes"], Value::Array(Vec::new()), "{again:#}");
    let used = user.verb(&["--merge", "--use", "--output", "json"]).run().exits(0).json();
    assert_eq!(used["files"][0]["current_context"], "lab", "{used:#}");
    user.session.clone().args(["up", "--yes"]).run().exits(0);
    user.verb(&["--remove"]).run().exits(0);
    assert_eq!(user.text(), USERS.replace("current-context: work", "current-context: \"\""));
    assert_eq!(
        fs::read_dir(user.file.parent().expect("a folder")).expect("it is there").count(),
        1,
        "no lock is left"
    );
}

fn into_no_file(user: &User) {
    let other = user.session.work().join("kube/other");
    let list = format!("{}:{}", user.session.work().join("missing").display(), other.display());
    user.verb(&["--merge"]).env("KUBECONFIG", &list).run().exits(0);
    assert_eq!((mode(&other), &read(&other)["current-context"]), (0o600, &"lab".into()));
    // It is found by its record, whatever KUBECONFIG says by now.
    user.verb(&["--remove"]).run().exits(0);
    assert_eq!(read(&other)["clusters"], Value::Array(Vec::new()));
    let own = user.session.fusionlab_home().join("labs/lab/kubeconfig");
    let refused = user.verb(&["--merge"]).env("KUBECONFIG", &own).run().exits(2);
    assert!(refused.stderr.contains("the lab's own kubeconfig"), "{}", refused.stderr);
}

fn into_what_is_not_understood(user: &User) {
    for (text, id) in [
        ("clusters: [", "kubeconfig-unusable"),
        ("clusters: [{name: a, cluster: {}}]\nkind: Config\n", "kubeconfig-unusable"),
        ("contexts:\n- context: {}\n  name: lab\n", "kubeconfig-taken"),
    ] {
        fs::write(&user.file, text).expect("the folder is there");
        let refused = user.verb(&["--merge", "--output", "json"]).run().exits(4).json();
        assert_eq!(refused["error"]["id"], id, "{refused:#}");
        assert_eq!(user.text(), text, "nothing was changed");
    }
}

fn while_somebody_else_writes(user: &User) {
    let lock = user.file.with_file_name("config.lock");
    fs::write(&user.file, USERS).expect("the folder is there");
    fs::write(&lock, "").expect("the folder is there");
    let refused = user.verb(&["--merge"]).run().exits(5);
    assert!(refused.stderr.contains("config.lock") && refused.stderr.contains("rm "), "{}", refused.stderr);
    assert_eq!(user.text(), USERS);
    assert!(lock.exists(), "it is not ours to remove");
    fs::remove_file(&lock).expect("it is there");
}

fn through_a_link(user: &User) {
    let real = user.session.work().join("dotfiles");
    fs::write(&real, USERS).expect("the folder is there");
    fs::remove_file(&user.file).expect("it is there");
    symlink(&real, &user.file).expect("its place is free");
    user.verb(&["--merge"]).run().exits(0);
    assert!(user.file.is_symlink() && read(&real)["contexts"][1]["name"] == "lab");
    user.verb(&["--remove"]).run().exits(0);
    assert_eq!(fs::read_to_string(&real).expect("it is there"), USERS);
}
