//! `init`'s questions through a real terminal, in a window that some tests make tiny: what is asked, what is refused and
//! why, and that nothing is written before the last answer.

use std::fs;
use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::support::session::Session;

const ENTER: &str = "\r";
const ESCAPE: &str = "\u{1b}";
const CTRL_C: &str = "\u{3}";
const LIMIT: Duration = Duration::from_secs(120);
/// What stands at the end of the screen when each question waits for its answer.
const PROMPTS: [&str; 9] =
    ["small", "another subnet", "Address", "Address", "Network [", "File [", "Domain [", "Name [", "Write "];
const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f me@mac\n";

/// The program in a terminal.
struct Dialogue {
    session: Session,
    child: Child,
    keys: ChildStdin,
    screen: mpsc::Receiver<Vec<u8>>,
    seen: String,
    /// What was seen already when the last key was pressed.
    answered: usize,
}

impl Dialogue {
    fn begin(session: Session, words: &str, rows: u16, columns: u16) -> Self {
        let program = env!("CARGO_BIN_EXE_fusionlab");
        let line = format!("stty rows {rows} cols {columns}; exec '{program}' {words}");
        let mut child = session
            .terminal()
            .args(["-q", "-e", "-c", &line, "/dev/null"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("script starts");
        let keys = child.stdin.take().expect("it is a pipe");
        let mut stream = child.stdout.take().expect("it is a pipe");
        let (sender, screen) = mpsc::channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = stream.read(&mut buffer) {
                if sender.send(buffer[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self { session, child, keys, screen, seen: String::new(), answered: 0 }
    }

    /// Waits until something is shown that was not there at the last key.
    #[track_caller]
    fn until(&mut self, text: &str) -> &mut Self {
        let end = Instant::now() + LIMIT;
        while !self.seen[self.answered..].contains(text) {
            let left = end.saturating_duration_since(Instant::now());
            match self.screen.recv_timeout(left) {
                Ok(bytes) => self.seen.push_str(&String::from_utf8_lossy(&bytes)),
                Err(_) => panic!("{text:?} was not shown:\n{}", self.seen),
            }
        }
        self
    }

    fn press(&mut self, keys: &str) -> &mut Self {
        self.answered = self.seen.len();
        self.keys.write_all(keys.as_bytes()).expect("the terminal takes keys");
        self
    }

    /// Waits until a question waits for its answer.
    #[track_caller]
    fn prompted(&mut self, question: usize) -> &mut Self {
        self.until(PROMPTS[question])
    }

    /// Answers a question as it is proposed.
    #[track_caller]
    fn accept(&mut self, question: usize) -> &mut Self {
        self.prompted(question).press(ENTER)
    }

    /// Gives a wrong answer, and waits for the reason against it.
    #[track_caller]
    fn refused(&mut self, question: usize, answer: &str, reason: &str) -> &mut Self {
        self.prompted(question).press(&format!("{answer}{ENTER}")).until(reason)
    }

    /// Waits for the end; returns the exit status and the screen.
    fn end(mut self) -> (Option<i32>, String, Session) {
        while let Ok(bytes) = self.screen.recv_timeout(LIMIT) {
            self.seen.push_str(&String::from_utf8_lossy(&bytes));
        }
        let status = self.child.wait().expect("it ends");
        (status.code(), self.seen, self.session)
    }
}

fn with_key() -> Session {
    Session::new().file("../home/.ssh/id_ed25519.pub", KEY)
}

fn written(session: &Session) -> Option<String> {
    fs::read_to_string(session.work().join("fusionlab.yaml")).ok()
}

#[test]
fn eight_answers_write_a_file_and_the_printed_command_writes_it_again() {
    let mut dialogue = Dialogue::begin(with_key(), "init --sim", 40, 100);
    dialogue.until("Found here").until("192.168.68.0/24");
    for question in 0..PROMPTS.len() - 1 {
        dialogue.accept(question);
        assert_eq!(written(&dialogue.session), None, "nothing is written before the last answer");
    }
    dialogue.until("Write fusionlab.yaml?").press("y");
    let (code, screen, session) = dialogue.end();
    assert_eq!(code, Some(0), "{screen}");
    let file = written(&session).unwrap_or_else(|| panic!("no file:\n{screen}"));
    assert!(file.contains("  vip: 192.168.68.200\n") && file.contains("me@mac"), "{file}");
    let shown: Vec<&str> = screen.lines().map(str::trim).collect();
    let first = shown.iter().position(|line| line.starts_with("fusionlab --sim init")).expect("a command");
    let last = first + shown[first..].iter().position(|line| line.contains("--yes")).expect("its end");
    let command = shown[first..=last].join(" ").replace('\\', " ");
    fs::rename(session.work().join("fusionlab.yaml"), session.work().join("first")).expect("it is there");
    let words: Vec<String> = command
        .split_whitespace()
        .skip(1)
        .map(|word| word.replace("~/", &format!("{}/", session.work().join("../home").display())))
        .collect();
    session.clone().args(&words).run().exits(0);
    assert_eq!(written(&session), Some(file), "{command}");
}

#[test]
fn every_wrong_answer_is_refused_with_its_reason_and_asked_again() {
    let session = with_key().file("private", "-----BEGIN OPENSSH PRIVATE KEY-----\n");
    let mut dialogue = Dialogue::begin(session, "init --sim", 40, 100);
    dialogue.accept(0).accept(1);
    dialogue.refused(2, "192.168.1.9", "lies outside the home network");
    dialogue.refused(2, "192.168.68.1", "is the router's").refused(2, "192.168.68.20", "this machine's own");
    dialogue.refused(2, "nonsense", "is not an IPv4 address").accept(2);
    dialogue.refused(3, "192.168.68.56,192.168.68.200", "is the VIP already").accept(3);
    dialogue.refused(4, "vmnet8", "Fusion's own").refused(4, "192.168.0.0/16", "overlaps the home network");
    dialogue.accept(4);
    dialogue.refused(5, "nowhere.pub", "there is no file").refused(5, "private", "this is a private key");
    dialogue.accept(5);
    dialogue.refused(6, "lab.local", "multicast DNS").refused(6, "lab", "is not a DNS name").accept(6);
    dialogue.refused(7, "My Lab", "is not a name").accept(7);
    dialogue.until(PROMPTS[8]).press("n");
    let (code, screen, session) = dialogue.end();
    assert_eq!((code, written(&session)), (Some(130), None), "{screen}");
}

#[test]
fn leaving_at_any_question_leaves_nothing() {
    for key in [ESCAPE, CTRL_C] {
        for left_at in 0..PROMPTS.len() {
            let mut dialogue = Dialogue::begin(with_key(), "init --sim", 40, 100);
            for question in 0..left_at {
                dialogue.accept(question);
            }
            dialogue.prompted(left_at).press(key);
            let (code, screen, session) = dialogue.end();
            assert_eq!((code, written(&session)), (Some(130), None), "{key:?} at {left_at}:\n{screen}");
            assert!(screen.trim_end().contains("nothing was written"), "{screen}");
        }
    }
}

#[test]
fn a_tiny_terminal_is_enough() {
    let mut dialogue = Dialogue::begin(with_key(), "init --sim", 12, 40);
    for heading in ["1/8", "2/8", "3/8", "4/8", "5/8", "6/8", "7/8", "8/8"] {
        dialogue.until(heading);
        // The prompt follows its heading; what is typed too early is kept for it.
        dialogue.press(ENTER);
    }
    dialogue.until("Write ").press("y");
    let (code, screen, session) = dialogue.end();
    assert_eq!(code, Some(0), "{screen}");
    assert!(written(&session).is_some(), "{screen}");
}

#[test]
fn wrong_options_are_told_together_and_without_a_terminal_the_rest_is_as_found() {
    let session = with_key();
    let wrong = ["--vip", "192.168.68.1", "--domain", "lab.local", "--vmnet", "8"];
    let ended = session.clone().args(["init", "--sim", "--yes"]).args(wrong).run().exits(2);
    for part in ["3 options of init", "--vip: 192.168.68.1 is the router's", "--domain: ", "--vmnet: "] {
        assert!(ended.stderr.contains(part), "{part}: {ended:?}");
    }
    assert_eq!(written(&session), None);
    let ended = session.clone().args(["init", "--sim"]).run().exits(2);
    assert!(ended.stderr.contains("--yes"), "{ended:?}");
    let ended = session.clone().args(["init", "--sim", "--yes", "--preset", "solo"]).run().exits(0);
    assert!(ended.stderr.contains("taken as found here"), "{ended:?}");
    assert!(written(&session).is_some_and(|file| file.contains("preset: solo")));
}
