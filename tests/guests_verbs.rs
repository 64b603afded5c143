//! The verbs that go into guests, on one small lab of the simulated Fusion: `exec`, `ssh`, `cp`, `logs` and `console`.

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
    cp(&session);
    cp_of_folders(&session);
    logs(&session);
    logs_that_go_on(&session);
    console(&session);
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
    assert!(
        lines.contains(&"gateway1    │ gateway1") && lines.contains(&"k8s-worker1 │ k8s-worker1"),
        "{lines:?}"
    );
    assert!(!ended.shown().contains('\u{1b}'), "NO_COLOR is heard");
    let ended = run(session, &["exec", "--all", "--color", "always", "--", "hostname"]).exits(0);
    assert!(ended.stdout.contains("\u{1b}[36mgateway1\u{1b}[0m"), "{:?}", ended.stdout);
    let words =
        ["exec", "--role", "worker", "--role", "gateway", "--", "systemctl", "is-active", "keepalived"];
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
    let without = run(session, &["ssh", "gateway1", "echo", "-n", "a"]).exits(0);
    assert_eq!(without.stdout, "-n a\n", "what stands behind the command is its own: {}", without.shown());
    let typed = session.clone().input("hostname\nexit\n").args(["ssh", "gateway1"]).run().exits(0);
    has(&typed, "This machine is simulated");
    has(&typed, "fusionlab@gateway1:~$ ");
    let plain =
        Command::new("ssh").arg("-F").arg(&config).args(["k8s-worker1", "hostname"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&plain.stdout), "k8s-worker1\n", "{plain:?}");
}

fn cp(session: &Session) {
    let content: Vec<u8> = (0..=255).cycle().take(200_000).collect();
    let session = session.clone().file("a.bin", &content).file("b.txt", "b");
    let ended = run(&session, &["cp", "a.bin", "gateway1:/tmp/copy.bin"]).exits(0);
    has(&ended, "a.bin is gateway1:/tmp/copy.bin (1 file, 195.3 KiB)");
    run(&session, &["cp", "gateway1:/tmp/copy.bin", "back.bin"]).exits(0);
    assert_eq!(fs::read(session.work().join("back.bin")).unwrap(), content, "every byte comes back");
    // Several go into a folder, and what is there gives way.
    run(&session, &["cp", "a.bin", "b.txt", "gateway1:/tmp"]).exits(0);
    run(&session, &["cp", "b.txt", "gateway1:/tmp/copy.bin"]).exits(0);
    let json =
        run(&session, &["cp", "gateway1:/tmp/copy.bin", "gateway1:/tmp/b.txt", ".", "--output", "json"]);
    let json = json.exits(0).json();
    assert_eq!(
        (&json["schema"], &json["copies"][0]["bytes"]),
        (&"fusionlab.cp/1".into(), &1.into()),
        "{json}"
    );
    assert_eq!(fs::read_to_string(session.work().join("copy.bin")).unwrap(), "b");
    // A path without a slash is seen from the user's home folder.
    has(&run(&session, &["cp", "b.txt", "gateway1:"]).exits(0), "b.txt is gateway1:b.txt (1 file, 1 B)");
    run(&session, &["cp", "gateway1:./b.txt", "home.txt"]).exits(0);
    assert_eq!(fs::read_to_string(session.work().join("home.txt")).unwrap(), "b");
    // What fails leaves nothing behind, at neither end.
    has(&run(&session, &["cp", "gateway1:/nothing", "x"]).exits(8), "/nothing: No such file or directory");
    let denied = run(&session, &["cp", "a.bin", "gateway1:/etc/a.bin"]).exits(8);
    has(&denied, "error: gateway1:/etc/a.bin: Permission denied");
    has(&denied, "fusionlab exec gateway1 -- sudo mv");
    run(&session, &["cp", "missing", "gateway1:"]).exits(4);
    has(&run(&session, &["cp", "a.bin", "b.txt"]).exits(2), "gateway1:");
    has(&run(&session, &["cp", "gateway1:/a", "k8s-worker1:/a"]).exits(2), "gateway1:");
    has(&run(&session, &["cp", "a.bin", "gatway1:"]).exits(2), "did you mean gateway1?");
    nothing_half_done(&session);
}

fn cp_of_folders(session: &Session) {
    let session = session.clone().file("site/index.html", "<p>").file("site/deep/data", vec![7; 70_000]);
    has(&run(&session, &["cp", "site", "gateway1:/tmp"]).exits(2), "-r");
    has(
        &run(&session, &["cp", "-r", "site", "gateway1:/tmp"]).exits(0),
        "gateway1:/tmp/site (2 files, 68.4 KiB)",
    );
    has(
        &run(&session, &["cp", "-r", "site", "gateway1:/tmp"]).exits(2),
        "gateway1:/tmp/site is there already",
    );
    has(&run(&session, &["cp", "gateway1:/tmp/site", "."]).exits(2), "-r");
    run(&session, &["cp", "-r", "gateway1:/tmp/site", "back"]).exits(0);
    let work = session.work();
    assert_eq!(fs::read_to_string(work.join("back/index.html")).unwrap(), "<p>");
    assert_eq!(fs::read(work.join("back/deep/data")).unwrap(), vec![7; 70_000]);
    nothing_half_done(&session);
}

/// Passing names are gone, here and in the guest.
fn nothing_half_done(session: &Session) {
    let left: Vec<_> = fs::read_dir(session.work())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|name| name.contains("fusionlab-"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

fn logs(session: &Session) {
    let ended = run(session, &["logs", "gateway1", "-n", "1000"]).exits(0);
    has(&ended, "  console     [    0.000000] Linux version");
    has(&ended, "  cloud-init  Cloud-init v. 26.2 running 'init-local' at ");
    has(&ended, "  journal     nginx: Started nginx.service.");
    assert!(!ended.shown().contains('\u{1b}'), "NO_COLOR is heard");
    let lines =
        |words: &[&str]| run(session, words).exits(0).stdout.lines().map(str::to_owned).collect::<Vec<_>>();
    let last = lines(&["logs", "gateway1", "--source", "journal", "-n", "3"]);
    assert_eq!(last.len(), 3, "{last:?}");
    assert!(last.iter().all(|line| line.contains("  journal  ")), "{last:?}");
    assert!(lines(&["logs", "gateway1", "--source", "journal", "--since", "1h"]).len() > 3);
    let all = lines(&["logs", "--all", "--source", "console", "-n", "2"]);
    assert!(all.iter().any(|line| line.contains("  gateway1     console")), "{all:?}");
    assert!(all.iter().any(|line| line.contains("  k8s-master1  console")), "{all:?}");
    for line in lines(&["logs", "gateway1", "--output", "json"]) {
        let entry: serde_json::Value = serde_json::from_str(&line).expect("each line is an object");
        assert_eq!((&entry["schema"], &entry["node"]), (&"fusionlab.logs/1".into(), &"gateway1".into()));
        assert!(entry["at"].as_str().is_none_or(|at| at.ends_with('Z')), "{entry}");
    }
    has(&run(session, &["logs", "gatway1"]).exits(2), "did you mean gateway1?");
}

/// What comes is shown until Ctrl-C, which is the way to end it and no failure.
fn logs_that_go_on(session: &Session) {
    let words = ["logs", "gateway1", "--source", "journal", "-n", "1", "-f"];
    let mut logs = to_file(session, &words, "logs.txt").start();
    let out = session.work().join("logs.txt");
    let lines = || fs::read_to_string(&out).unwrap_or_default().lines().count();
    logs.wait_until(|| lines() == 1);
    run(session, &["exec", "gateway1", "--", "sudo", "systemctl", "restart", "nginx"]).exits(0);
    logs.wait_until(|| lines() > 1);
    logs.signal("INT");
    logs.wait().exits(0);
    has_text(&fs::read_to_string(&out).unwrap(), "nginx: Started nginx.service.");
}

fn console(session: &Session) {
    let json = run(session, &["console", "gateway1", "--output", "json"]).exits(0).json();
    assert_eq!((&json["schema"], &json["window"]), (&"fusionlab.console/1".into(), &().into()));
    assert!(json["lines"].as_array().unwrap().iter().any(|line| line == "gateway1 login: "), "{json:#}");
    let mut console = to_file(session, &["console", "gateway1"], "console.txt").start();
    let out = session.work().join("console.txt");
    console.wait_until(|| fs::read_to_string(&out).unwrap_or_default().contains("gateway1 login:"));
    console.signal("INT");
    has(&console.wait().exits(0), "none: it is simulated");
    has(&run(session, &["console", "gatway1"]).exits(2), "did you mean gateway1?");
}

#[track_caller]
fn has_text(text: &str, part: &str) {
    assert!(text.contains(part), "{part:?} is not in\n{text}");
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
    // Its console is a file on this machine.
    has(&run(session, &["logs", "k8s-worker1", "--source", "console"]).exits(0), "reboot: Power down");
    let ended = run(session, &["logs", "k8s-worker1"]).exits(8);
    has(&ended, "reboot: Power down");
    has(&ended, "guest-off");
}
