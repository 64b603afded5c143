//! `status`: what stands, what it uses, and looking again and again without harm to the terminal.

use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::support::dialogue::{CTRL_C, Dialogue};
use crate::support::session::Session;

const PROGRAM: &str = env!("CARGO_BIN_EXE_fusionlab");
const LAB: &str = "version: 1\npreset: solo\nlimits: {status_answer: 2}\n";
const ENTER: &str = "\u{1b}[?1049h\u{1b}[?25l";
const LEAVE: &str = "\u{1b}[?25h\u{1b}[?1049l";
/// Less than a machine that builds is waited for (`limits.guest_command`): so soon one that does not answer is given up.
const SOON: Duration = Duration::from_secs(40);

fn lab() -> Session {
    let session = Session::new().file("fusionlab.yaml", LAB);
    session.clone().args(["up", "--yes"]).run().exits(0);
    session
}

fn seen(session: &Session) -> Value {
    session.clone().args(["status", "--output", "json"]).run().exits(0).json()
}

fn node<'a>(status: &'a Value, name: &str) -> &'a Value {
    let mut nodes = status["nodes"].as_array().expect("a list").iter();
    nodes.find(|node| node["name"] == name).unwrap_or_else(|| panic!("no {name}: {status:#}"))
}

/// Asks in a machine, by hand.
fn told(session: &Session, node: &str, words: &[&str]) -> String {
    session.clone().args(["exec", node, "--"]).args(words).run().exits(0).stdout
}

#[test]
fn a_status_says_what_machines_use_and_what_they_are_made_of() {
    let session = lab();
    let status = seen(&session);
    for (name, mib) in [("gateway1", 1024_u64), ("k8s-master1", 4096)] {
        let of = node(&status, name);
        let number = |what: &str, field: &str| of["resources"][what][field].as_u64().expect("a number");
        assert!(
            number("memory", "used") > 0 && number("memory", "used") < number("memory", "total"),
            "{of:#}"
        );
        assert!(number("memory", "total") <= mib << 20, "{of:#}");
        assert!(number("disk", "used") > 0 && number("disk", "used") < number("disk", "total"), "{of:#}");
        assert!(of["resources"]["load"].is_number() && of["clock_off_ms"] == 0, "{of:#}");
        // What is shown is what the machine says.
        let meminfo = told(&session, name, &["cat", "/proc/meminfo"]);
        assert!(meminfo.contains(&format!("{} kB", number("memory", "total") / 1024)), "{meminfo}");
        let df = told(&session, name, &["df", "-Pk", "/"]);
        assert!(df.contains(&format!(" {} ", number("disk", "total") / 1024)), "{df}");
    }
    let host = &status["host"];
    assert_eq!((&host["running"], &host["memory_given"]), (&2.into(), &(5120_u64 << 20).into()), "{host:#}");
    assert!(host["disk_taken"].as_u64() > Some(0) && host["disk_free"].is_u64(), "{host:#}");
    assert_eq!(status["versions"]["Kubernetes"], serde_json::json!(["1.36.4"]));
    let words = session.clone().arg("status").run().exits(0).stdout;
    for word in ["MEMORY", "LOAD", "right", "versions", "Kubernetes 1.36.4", "2 machines use", "certificates"]
    {
        assert!(words.contains(word), "{word}: {words}");
    }
    watched_in_a_terminal(&session);
    watched_elsewhere(&session);
    one_that_does_not_answer(&session);
}

/// The second screen is left as it was entered, and the first one's modes are what they were.
fn watched_in_a_terminal(session: &Session) {
    let line = format!(
        "trap : INT; stty -a | sed s/^/before:/; '{PROGRAM}' status --watch=1; echo ended $?; stty -a | sed s/^/after:/"
    );
    for end in ["q", CTRL_C] {
        let mut terminal = Dialogue::run(session.clone(), &line, 40, 100);
        terminal.until(ENTER).until("k8s-master1").until("q ends").noted().until("q ends").press(end);
        checked(terminal);
    }
    for signal in ["TERM", "HUP", "QUIT"] {
        let mut terminal = Dialogue::run(session.clone(), &line, 40, 100);
        terminal.until(ENTER).until("k8s-master1").until("q ends");
        let watching = session.processes();
        let one = watching
            .iter()
            .find(|process| process.command == format!("{PROGRAM} status --watch=1"))
            .expect("it runs");
        let sent =
            Command::new("kill").args(["-s", signal, &one.id.to_string()]).status().expect("kill runs");
        assert!(sent.success());
        checked(terminal);
    }
    // A window of five rows says what it does not show.
    let mut terminal = Dialogue::begin(session.clone(), "status --watch=1", 5, 60);
    terminal.until("the window is too low").press("q");
    assert_eq!(terminal.end().0, Some(0));
}

fn checked(mut terminal: Dialogue) {
    terminal.until("ended 0");
    let (_, screen, _) = terminal.end();
    let of = |word: &str| {
        let lines = screen.lines().filter_map(|line| line.trim().strip_prefix(word));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    assert!(!of("before:").is_empty() && of("before:") == of("after:"), "{screen}");
    assert_eq!((screen.matches(ENTER).count(), screen.matches(LEAVE).count()), (1, 1), "{screen}");
    assert!(screen.find(LEAVE) < screen.find("ended 0"), "{screen}");
}

/// Through a pipe and on a terminal that cannot redraw, block after block; for programs, line after line.
fn watched_elsewhere(session: &Session) {
    let count = |text: &str| text.matches("k8s-master1  ").count();
    for (format, word) in [("text", "NAME"), ("json", "fusionlab.status/1")] {
        let line =
            format!("'{PROGRAM}' status --watch=1 --output {format} | grep -m 3 -o '{word}'; echo ended");
        let mut terminal = Dialogue::run(session.clone(), &line, 40, 100);
        terminal.until("ended");
        let (_, screen, _) = terminal.end();
        assert_eq!(screen.matches(word).count(), 3, "{screen}");
        assert!(!screen.contains(ENTER), "{screen}");
    }
    let mut terminal = Dialogue::begin(session.clone().env("TERM", "dumb"), "status --watch=1", 40, 100);
    terminal.until("Gateway API").noted().until("Gateway API").press(CTRL_C);
    let (code, screen, _) = terminal.end();
    assert!(code == Some(0) && count(&screen) >= 2 && !screen.contains("\u{1b}["), "{code:?}: {screen}");
}

/// One that runs and says nothing is told as such, within the limit, and the rest is shown.
fn one_that_does_not_answer(session: &Session) {
    let fault = |words: &[&str]| session.clone().args(["sim", "fault"]).args(words).run().exits(0);
    fault(&["guest-stalls", "--on", "gateway1"]);
    let ended = session.clone().args(["status", "--output", "json"]).limit(SOON).run().exits(0);
    let status = ended.json();
    let gateway = node(&status, "gateway1");
    assert_eq!(
        (&gateway["vm"], &gateway["guest"], &gateway["resources"], &gateway["clock_off_ms"]),
        (&"running".into(), &Value::Null, &Value::Null, &Value::Null)
    );
    assert!(node(&status, "k8s-master1")["resources"].is_object());
    let words = session.clone().arg("status").limit(SOON).run().exits(0).stdout;
    assert!(words.contains("no answer"), "{words}");
    fault(&["--clear"]);
    assert!(node(&seen(session), "gateway1")["resources"].is_object());
}

#[test]
fn a_status_has_its_way_on_until_the_lab_stands() {
    let session = Session::new();
    let told = |session: &Session| session.clone().arg("status").run().exits(0).stdout;
    let nothing = told(&session);
    assert!(nothing.trim_end().ends_with("\nnot made yet: fusionlab up"), "{nothing}");
    session.clone().args(["up", "--yes", "--preset", "solo"]).run().exits(0);
    let whole = told(&session);
    assert!(!whole.contains("fusionlab up"), "{whole}");
    session.clone().args(["sim", "reboot"]).run().exits(0);
    let off = told(&session);
    assert!(off.contains("2 machines off; to go on from what stands: fusionlab up"), "{off}");
}
