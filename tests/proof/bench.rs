//! One simulated lab with hands in it: as root in its guests, with kubectl in its cluster, beside its Fusion.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::process::Command as Process;
use std::sync::Arc;
use std::time::Duration;

use fusionlab::engine::home::store;
use fusionlab::formats::command::Command;
use fusionlab::host::dial::Dial;
use fusionlab::host::fusion::discover;
use fusionlab::host::ssh::SshShell;
use fusionlab::host::{GuestShell, GuestTarget};
use fusionlab::lab::catalogue::Arch;
use fusionlab::lab::names::{ADMIN_CONF, GUEST_USER};
use fusionlab::lab::paths::Home;
use fusionlab::lab::{Lab, resolve};
use fusionlab::stack::identity::Identity;
use serde_json::Value;

use crate::support::session::{Ended, Session};

/// Checks are not tried again for long: what is brought about stays.
const LAB: &str = "version: 1\nlimits: {verify_check: 1, guest_connect: 5, verify_refusal: 1}\n";
/// How long a hand's command may take.
const LIMIT: Duration = Duration::from_secs(60);
/// The exit status of an `up` whose proof found something.
const NOT_PROVED: i32 = 10;
/// How often `up` is run until its proof passes, which has a second for each check here: on a busy machine what was just
/// made may not answer by then.
const TRIES: usize = 5;
/// Where one control plane's tools run.
pub const MASTER: &str = "k8s-master1";

pub struct Bench {
    session: Session,
    pub lab: Lab,
    pub identity: Identity,
    shell: SshShell,
    runtime: tokio::runtime::Runtime,
}

fn comes_up(session: &Session) {
    let up = || session.clone().args(["up", "--yes"]).run();
    let mut ended = up();
    for _ in 1..TRIES {
        if ended.status.code() != Some(NOT_PROVED) {
            break;
        }
        ended = up();
    }
    ended.exits(0);
}

impl Bench {
    /// Brings the networking document's lab up.
    pub fn up() -> Self {
        Self::up_as(LAB)
    }

    /// Brings the lab of a lab file up.
    pub fn up_as(text: &str) -> Self {
        let session = Session::new().file("fusionlab.yaml", text);
        comes_up(&session);
        let lab = resolve::resolve(Some(text), None, Arch::Arm64).expect("the lab is valid").lab;
        let dir = Home(session.fusionlab_home()).lab(&lab.name);
        let identity = store::load(&lab, &dir).expect("it can be read").expect("the lab has one");
        let fusion = discover::find(Some(&session.simulated_mac())).expect("there is a simulated Fusion");
        let shell = SshShell::new(Arc::new(move || Dial::of(&fusion)), LIMIT);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        Self { session, lab, identity, shell, runtime }
    }

    /// Gives the lab another lab file, which its machines must have in common with the one before.
    pub fn write_lab(&self, text: &str) {
        let _ = self.session.clone().file("fusionlab.yaml", text);
    }

    /// Lets `up` put right what was done.
    pub fn put_right(&self) {
        comes_up(&self.session);
    }

    pub fn down(self) {
        self.run(&["destroy", "--yes"]).exits(0);
    }

    pub fn run(&self, arguments: &[&str]) -> Ended {
        self.session.clone().args(arguments).run()
    }

    /// Returns every check's id.
    pub fn ids(&self) -> BTreeSet<String> {
        let list = self.run(&["verify", "--list", "--output", "json"]).exits(0).json();
        let checks = list["checks"].as_array().expect("a list of checks");
        checks.iter().filter_map(|check| check["id"].as_str()).map(str::to_owned).collect()
    }

    /// Runs these checks, or all, and returns what those that fail saw, by their ids.
    pub fn failed(&self, only: &[&str]) -> BTreeMap<String, String> {
        let only = only.iter().flat_map(|id| ["--only", id]);
        let arguments: Vec<&str> = ["verify", "--output", "json"].into_iter().chain(only).collect();
        let ended = self.run(&arguments);
        // The result precedes the error, if there is one.
        let line = ended.stdout.lines().next().unwrap_or_default();
        let result: Value =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {}", ended.shown()));
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let checks = result["checks"].as_array().expect("a list of checks").iter();
        checks
            .filter(|check| check["passed"] == false)
            .inspect(|check| {
                assert!(!text(&check["hint"]).is_empty() && !text(&check["expected"]).is_empty())
            })
            .map(|check| (text(&check["id"]), text(&check["seen"])))
            .collect()
    }

    /// Runs a command as root in a guest, its words apart by spaces, to its good end.
    pub fn guest(&self, node: &str, line: &str) -> String {
        self.argv(node, &line.split(' ').collect::<Vec<_>>(), "")
    }

    pub fn argv(&self, node: &str, argv: &[&str], input: &str) -> String {
        let node = self.lab.node(node).expect("a machine of the lab");
        let dir = Home(self.session.fusionlab_home()).lab(&self.lab.name);
        let target = GuestTarget {
            node: node.name.clone(),
            address: node.address(),
            user: GUEST_USER.to_owned(),
            host_key: self.identity.host(&node.name).expect("each has one").public_line.clone(),
            identity: dir.identity().join(store::USER_KEY),
        };
        let command = Command::new(argv.iter().copied()).as_root().with_input(input);
        let output = self.runtime.block_on(self.shell.run(&target, &command, LIMIT, None));
        let output = output.unwrap_or_else(|error| panic!("{}: {argv:?}: {error}", node.name));
        let (out, err) = (output.text(), String::from_utf8_lossy(&output.stderr).into_owned());
        assert!(output.success(), "{}: {argv:?}: {out}{err}", node.name);
        out
    }

    /// Puts a file into a guest.
    pub fn put(&self, node: &str, path: &str, mode: &str, content: &str) {
        self.argv(
            node,
            &["install", "-D", "-o", "root", "-g", "root", "-m", mode, "/dev/stdin", path],
            content,
        );
    }

    pub fn kubectl(&self, arguments: &[&str]) -> String {
        self.argv(MASTER, &[&["kubectl", "--kubeconfig", ADMIN_CONF], arguments].concat(), "")
    }

    /// Merges a patch into an object; `place` is its namespace and kind.
    pub fn patch(&self, (namespace, kind): (&str, &str), name: &str, patch: &str) {
        self.kubectl(&["-n", namespace, "patch", kind, name, "--type", "merge", "-p", patch]);
    }

    pub fn apply(&self, manifest: &str) {
        let apply = ["kubectl", "--kubeconfig", ADMIN_CONF, "apply", "--server-side", "-f", "-"];
        self.argv(MASTER, &apply, manifest);
    }

    /// Applies the way in again, as `up` put it there.
    pub fn apply_ingress(&self) {
        let apply = ["apply", "--server-side", "--force-conflicts", "-f", "/etc/fusionlab/ingress.yaml"];
        self.kubectl(&apply);
    }

    pub fn object(&self, namespace: &str, kind: &str, name: &str) -> Value {
        let text = self.kubectl(&["-n", namespace, "get", kind, name, "-o", "json"]);
        serde_json::from_str(&text).expect("kubectl prints JSON")
    }

    /// Returns the gateway that holds the VIPs, and the other one.
    pub fn gateways(&self) -> (&'static str, &'static str) {
        let result = self.run(&["verify", "--only", "gateway.vips", "--output", "json"]).exits(0).json();
        match result["checks"][0]["seen"].as_str() {
            Some("gateway1") => ("gateway1", "gateway2"),
            _ => ("gateway2", "gateway1"),
        }
    }

    /// Returns a file of the lab's folder on this machine.
    pub fn lab_file(&self, name: &str) -> PathBuf {
        Home(self.session.fusionlab_home()).lab(&self.lab.name).root().join(name)
    }

    /// Returns a file of the lab's keys and certificates there.
    pub fn identity_file(&self, name: &str) -> PathBuf {
        self.lab_file("identity").join(name)
    }

    /// Returns a file of the simulated Mac.
    pub fn file(&self, path: &str) -> PathBuf {
        self.session.simulated_mac().join(path)
    }

    /// Makes another text of a file of the simulated Mac's, and keeps the one before.
    pub fn edit(&self, path: &str, change: impl FnOnce(&str) -> String) {
        let path = self.file(path);
        let before = fs::read_to_string(&path).expect("it can be read");
        let after = change(&before);
        assert_ne!(after, before, "{} is as it was", path.display());
        fs::write(kept(&path), &before).expect("it can be written");
        fs::write(&path, after).expect("it can be written");
    }

    /// Puts an edited file back.
    pub fn restore(&self, path: &str) {
        let path = self.file(path);
        fs::rename(kept(&path), &path).expect("it was kept");
    }

    /// Runs one of the simulated Fusion's programs, and does not ask how it ended: some of them say the opposite.
    pub fn program(&self, name: &str, arguments: &[&str]) {
        let program = self.file("Applications/VMware Fusion.app/Contents/Library").join(name);
        Process::new(program).args(arguments).output().expect("it runs");
    }

    pub fn vmx(&self, node: &str) -> String {
        let path = format!("Virtual Machines.localized/lab/{node}.vmwarevm/{node}.vmx");
        self.file(&path).to_str().expect("the path is text").to_owned()
    }
}

fn kept(path: &std::path::Path) -> PathBuf {
    path.with_extension("kept")
}
