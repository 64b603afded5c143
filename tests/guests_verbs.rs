//! The verbs that go into guests, on one small lab of the simulated Fusion: `exec` and `ssh`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::session::{Ended, Session};

const LAB: &str = "version: 1\npreset: small\n";
/// A guest that takes a command and never answers.
const STALLS: &str = "guest-stalls";
/// How often a machine that was told to power off is looked at: each look is a whole run of the program.
const LOOKS: usize = 100;

#[test]
fn verbs_that_go_into_guests() {
    let session = Session::new().file("fusionlab.yaml", LAB).env("NO_COLOR", "1");
    before_there_is_a_lab(&session);
    session.clone().args(["up", "--yes"]).run().exits(0);
    exec_in_one(&session);
    exec_in_several(&session);
    exec_that_hangs(&session);
    ssh(&session);
    who_is_off(&session);
    let config = session.fusionlab_home().join("labs/lab/ssh_config");
    assert!(config.exists());
    session.args(["destroy", "--yes"]).run().exits(0);
    assert!(!config.exists(), "it goes with the lab");
}

fn run(session: &Session, words: &[&str]) -> Ended {
    session.clone().args(words).run()
}

#[track_caller]
fn has(ended: &Ended, part: &str) {
    assert!(ended.shown().contains(part), "{part:?} is not in\n{}", ended.shown());
}

fn before_there_is_a_lab(session: &Session) {
    has(&run(session, &["exec", "gatway1", "--", "uptime"]).exits(2), "did you mean gateway1?");
    has(&run(session, &["ssh", "k8s-workr1"]).exits(2), "did you mean k8s-worker1?");
    has(&run(session, &["exec", "--", "uptime"]).exits(2), "--all");
    run(session, &["exec", "gateway1"]).exits(2);
    for words in [["exec", "gateway1", "--", "uptime"].as_slice(), &["ssh", "--config"]] {
        has(&run(session, words).exits(8), "fusionlab up");
    }
}

/// The output and the status are the command's own, and so is our input.
fn exec_in_one(session: &Session) {
    let ended = run(session, &["exec", "gateway1", "--", "hostname"]).exits(0);
    assert_eq!((&*ended.stdout, &*ended.stderr), ("gateway1\n", ""));
    let ended = run(session, &["exec", "gateway1", "--", "cat", "/no such file"]).exits(1);
    assert_eq!((&*ended.stdout, &*ended.stderr), ("", "cat: /no such file: No such file or directory\n"));
    run(session, &["exec", "gateway1", "--", "nosuchprogram"]).exits(127);
    let content = (0..=255).cycle().take(300_000).collect::<Vec<u8>>();
    let put = session.clone().input(content.clone());
    put.args(["exec", "gateway1", "--", "install", "/dev/stdin", "/tmp/x"]).run().exits(0);
    let out = to_file(session, &["exec", "gateway1", "--", "cat", "/tmp/x"], "x.bin").run().exits(0);
    assert_eq!(fs::read(out.session.work().join("x.bin")).unwrap(), content, "every byte comes back");
    let ended = run(session, &["exec", "gateway1", "--output", "json", "--", "false"]).exits(1);
    let json = ended.json();
    assert_eq!((&json["schema"], &json["simulated"]), (&"fusionlab.exec/1".into(), &true.into()));
    assert_eq!((&json["node"], &json["status"], &json["error"]), (&"gateway1".into(), &1.into(), &().into()));
}

/// Lines stand behind names, the worst status is ours, and who failed is said.
fn exec_in_several(session: &Session) {
    let ended = run(session, &["exec", "--all", "--", "hostname"]).exits(0);
    let mut lines: Vec<&str> = ended.stdout.lines().collect();
    lines.sort_unstable();
    assert!(lines.contains(&"gateway1    │ gateway1") && lines.contains(&"k8s-worker1 │ k8s-worker1"), "{lines:?}");
    assert!(!ended.shown().contains('\u{1b}'), "NO_COLOR is heard");
    let ended = run(session, &["exec", "--all", "--color", "always", "--", "hostname"]).exits(0);
    assert!(ended.stdout.contains("\u{1b}[36mgateway1\u{1b}[0m"), "{:?}", ended.stdout);
    let words = ["exec", "--role", "worker", "--role", "gateway", "--", "systemctl", "is-active", "keepalived"];
    let ended = run(session, &words).exits(3);
    has(&ended, "machines failed");
    has(&ended, "k8s-worker1  exit status 3");
    let quiet = run(session, &[&["--quiet"], words.as_slice()].concat()).exits(3);
    assert_eq!(quiet.stderr, ended.stderr, "failures are no chatter");
    let ended = run(session, &["exec", "--all", "--output", "json", "--", "hostname"]).exits(0);
    let nodes = ended.stdout.lines().map(|line| {
        let end: serde_json::Value = serde_json::from_str(line).expect("each line is an object");
        assert_eq!(end["stdout"], format!("{}\n", end["node"].as_str().unwrap()));
        end["node"].as_str().unwrap().to_owned()
    });
    assert!(nodes.collect::<Vec<_>>().contains(&"k8s-master1".to_owned()));
}

fn exec_that_hangs(session: &Session) {
    run(session, &["sim", "fault", STALLS, "--on", "k8s-worker1"]).exits(0);
    has(&run(session, &["exec", "k8s-worker1", "--limit", "1s", "--", "hostname"]).exits(4), "deadline");
    // Others answer meanwhile, and Ctrl-C ends the wait for the one that does not.
    let mut exec = to_file(session, &["exec", "--all", "--", "hostname"], "out.txt").start();
    let out = session.work().join("out.txt");
    exec.wait_until(|| fs::read_to_string(&out).unwrap_or_default().contains("gateway1"));
    exec.signal("INT");
    has(&exec.wait().exits(130), "interrupted");
    run(session, &["sim", "fault", "--clear"]).exits(0);
}

/// Returns a run whose standard output goes into a file of the working folder.
fn to_file(session: &Session, words: &[&str], name: &str) -> Session {
    let script = format!("exec \"$0\" \"$@\" > {name}");
    session.clone().under(["sh", "-c", &script]).args(words)
}

fn ssh(session: &Session) {
    let printed = run(session, &["ssh", "--config"]).exits(0).stdout;
    let config = PathBuf::from(printed.trim_end());
    assert_eq!(config, session.fusionlab_home().join("labs/lab/ssh_config"));
    assert_eq!(fs::metadata(&config).unwrap().permissions().mode() & 0o777, 0o600);
    let json = run(session, &["ssh", "gateway1", "--output", "json", "--", "hostname"]).exits(0).json();
    assert_eq!(json["command"][0], "ssh");
    assert_eq!(json["command"].as_array().unwrap().last().unwrap(), "hostname");
    // The configuration is made anew where somebody removed it.
    fs::remove_file(&config).unwrap();
    run(session, &["ssh", "--config"]).exits(0);
    if !Path::new("/usr/bin/ssh").exists() {
        assert!(std::env::var_os("FUSIONLAB_TEST_TOOLS").is_none(), "there is no ssh");
        println!("skipped: there is no ssh");
        return;
    }
    let ended = run(session, &["ssh", "gateway1", "--", "hostname"]).exits(0);
    assert_eq!(ended.stdout, "gateway1\n", "{}", ended.shown());
    run(session, &["ssh", "gateway1", "--", "false"]).exits(1);
    let typed = session.clone().input("hostname\nexit\n").args(["ssh", "gateway1"]).run().exits(0);
    has(&typed, "This machine is simulated");
    has(&typed, "fusionlab@gateway1:~$ ");
    let plain = Command::new("ssh").arg("-F").arg(&config).args(["k8s-worker1", "hostname"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&plain.stdout), "k8s-worker1\n", "{plain:?}");
}

fn who_is_off(session: &Session) {
    run(session, &["exec", "k8s-worker1", "--", "sudo", "poweroff"]);
    let ended = (0..LOOKS)
        .map(|_| run(session, &["exec", "k8s-worker1", "--", "hostname"]))
        .find(|ended| ended.stderr.contains("guest-off"))
        .expect("it is off in the end")
        .exits(8);
    has(&ended, "k8s-worker1 is off");
    has(&ended, "fusionlab up");
    has(&run(session, &["ssh", "k8s-worker1"]).exits(8), "guest-off");
    let ended = run(session, &["exec", "--all", "--", "hostname"]).exits(8);
    has(&ended, "✗ k8s-worker1  k8s-worker1 is off");
    has(&ended, "gateway1    │ gateway1");
}
