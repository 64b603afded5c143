//! `init`'s questions through a real terminal, in a window that some tests make tiny: what is asked, what is refused and
//! why, and that nothing is written before the last answer.

use std::fs;
use std::process::Command;

use crate::support::dialogue::{CTRL_C, Dialogue, ENTER, ESCAPE};
use crate::support::session::Session;

const PROGRAM: &str = env!("CARGO_BIN_EXE_fusionlab");
const TAB: &str = "\t";
const DOWN: &str = "\u{1b}[B";
const BACKSPACE: &str = "\u{7f}";
const HIDE_CURSOR: &str = "\u{1b}[?25l";
const SHOW_CURSOR: &str = "\u{1b}[?25h";
/// What stands at the end of the screen when each question waits for its answer.
pub const PROMPTS: [&str; 9] =
    ["small", "another subnet", "Address", "Address", "Network [", "File [", "Domain [", "Name [", "Write "];
const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f me@mac\n";

impl Dialogue {
    /// Waits until a question waits for its answer.
    #[track_caller]
    fn prompted(&mut self, question: usize) -> &mut Self {
        self.until(PROMPTS[question])
    }

    /// Answers a question as it is proposed.
    #[track_caller]
    pub fn accept(&mut self, question: usize) -> &mut Self {
        self.prompted(question).press(ENTER)
    }

    /// Gives a wrong answer, and waits for the reason against it.
    #[track_caller]
    fn refused(&mut self, question: usize, answer: &str, reason: &str) -> &mut Self {
        self.prompted(question).press(&format!("{answer}{ENTER}")).until(reason)
    }
}

pub fn with_key() -> Session {
    Session::new().file("../home/.ssh/id_ed25519.pub", KEY)
}

/// Returns the one line of a session's printed command, whose parts stand on several.
fn printed_command(screen: &str) -> String {
    let screen = console::strip_ansi_codes(screen);
    let shown: Vec<&str> = screen.lines().map(str::trim).collect();
    let first = shown.iter().position(|line| line.starts_with("fusionlab --sim init")).expect("a command");
    let last = first + shown[first..].iter().position(|line| line.contains("--yes")).expect("its end");
    shown[first..=last].join(" ").replace('\\', " ")
}

/// Returns the words of a command after the program's name, as a shell would have them.
fn words_of(command: &str, session: &Session) -> Vec<String> {
    let home = format!("{}/", session.work().join("../home").display());
    command.split_whitespace().skip(1).map(|word| word.replace("~/", &home)).collect()
}

/// What lies in the folder where the file would be, and in fusionlab's own but for the simulated Mac.
fn lies_there(session: &Session) -> Vec<String> {
    let names = |folder| fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.file_name());
    let mut found: Vec<String> = names(session.work())
        .chain(names(session.fusionlab_home()))
        .map(|name| name.to_string_lossy().into_owned())
        .collect();
    found.sort();
    found
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
    for part in ["VIP 192.168.68.200", "gateway2", "10.10.0.0/24", "Machines", "steps"] {
        assert!(screen.contains(part), "the picture and the plan are shown: {part}\n{screen}");
    }
    assert!(
        !screen.contains("memory-exceeds-host"),
        "what is simulated takes none of this host's:\n{screen}"
    );
    let command = printed_command(&screen);
    fs::rename(session.work().join("fusionlab.yaml"), session.work().join("first")).expect("it is there");
    session.clone().args(words_of(&command, &session)).run().exits(0);
    assert_eq!(written(&session), Some(file), "{command}");
}

#[test]
fn options_for_everything_come_back_as_a_command_that_writes_the_same_bytes() {
    let session = with_key().file("work key.pub", KEY);
    let said = [
        ["--preset", "small"],
        ["--lan", "192.168.68.0/24"],
        ["--router", "192.168.68.254"],
        ["--dns", "9.9.9.9,1.1.1.1"],
        ["--interface", "en0"],
        ["--vip", "192.168.68.210"],
        ["--gateways", "192.168.68.61"],
        ["--vmnet", "5"],
        ["--internal", "10.77.0.0/24"],
        ["--ssh-key", "work key.pub"],
        ["--domain", "home.test"],
        ["--name", "attic"],
        ["--out", "attic.yaml"],
    ];
    let init = || session.clone().args(["--sim", "--output", "json", "init", "--yes"]);
    let told = init().args(said.as_flattened()).run().exits(0).json();
    assert_eq!(told["assumed"].as_object().map(serde_json::Map::len), Some(0), "{told}");
    let first = fs::read_to_string(session.work().join("attic.yaml")).expect("it was written");
    for part in
        ["name: attic", "vip: 192.168.68.210", "vmnet: 5", "domain: home.test", "192.168.68.61", "me@mac"]
    {
        assert!(first.contains(part), "{part}:\n{first}");
    }
    fs::remove_file(session.work().join("attic.yaml")).expect("it is there");
    let command = told["command"].as_str().expect("a text");
    let line = command.replacen("fusionlab", &format!("exec '{PROGRAM}'"), 1);
    let mut dialogue = Dialogue::run(session.clone(), &line, 24, 80);
    dialogue.until("wrote attic.yaml");
    let (code, screen, session) = dialogue.end();
    assert_eq!(code, Some(0), "{screen}");
    let second = fs::read_to_string(session.work().join("attic.yaml")).expect("it was written");
    assert_eq!(second, first, "{command}");
}

#[test]
fn every_wrong_answer_is_refused_with_its_reason_and_asked_again() {
    let session = with_key().file("private", "-----BEGIN OPENSSH PRIVATE KEY-----\n").file("notes", "x\n");
    // Another machine has the address that would be proposed.
    session.clone().args(["sim", "hazard", "vip-taken"]).run().exits(0);
    let mut dialogue = Dialogue::begin(session, "init --sim", 40, 100);
    dialogue.accept(0);
    for (subnet, reason) in [
        ("192.168.68.0/30", "is too small"),
        ("192.168.68.9/24", "write 192.168.68.0/24"),
        ("home", "is not"),
        ("172.20.0.0/24 10.1.1.1", "10.1.1.1 lies outside"),
    ] {
        dialogue.prompted(1).press(&format!("{DOWN}{ENTER}"));
        dialogue.until("Subnet, such as").press(&format!("{subnet}{ENTER}")).until(reason);
    }
    dialogue.accept(1).until("Address [192.168.68.201]");
    dialogue.refused(2, "192.168.1.9", "lies outside the home network");
    dialogue.refused(2, "192.168.68.1", "is the router's").refused(2, "192.168.68.20", "this Mac's own");
    dialogue.refused(2, "192.168.68.0", "the first address").refused(2, "nonsense", "is not an IPv4 address");
    dialogue.refused(2, "192.168.68.200", "is taken: 3c:2a:f4:").accept(2);
    dialogue.refused(3, "192.168.68.56", "ha takes 2 addresses, not 1");
    dialogue.refused(3, "192.168.68.56 192.168.68.56", "stands twice");
    dialogue.refused(3, "192.168.68.56,192.168.68.201", "is the VIP already").accept(3);
    dialogue.refused(4, "vmnet8", "Fusion's own").refused(4, "192.168.0.0/16", "overlaps the home network");
    dialogue.refused(4, "vmnetx", "not the number").refused(4, "8.8.8.0/24", "belongs to others").accept(4);
    dialogue.refused(5, "nowhere.pub", "there is no file").refused(5, "private", "this is a private key");
    dialogue.refused(5, "notes", "notes: ").accept(5);
    dialogue.refused(6, "lab.local", "multicast DNS").refused(6, "lab", "is not a DNS name").accept(6);
    dialogue.refused(7, "My Lab", "is not a name").accept(7);
    dialogue.until(PROMPTS[8]).press("n");
    let (code, screen, session) = dialogue.end();
    assert_eq!((code, written(&session)), (Some(130), None), "{screen}");
}

#[test]
fn what_is_proposed_can_be_taken_into_the_line_and_changed() {
    let mut dialogue = Dialogue::begin(with_key(), "init --sim", 40, 100);
    dialogue.accept(0).accept(1);
    dialogue.prompted(2).press(&format!("{TAB}{BACKSPACE}9{ENTER}"));
    for question in 3..PROMPTS.len() - 1 {
        dialogue.accept(question);
    }
    dialogue.until(PROMPTS[8]).press("y");
    let (code, screen, session) = dialogue.end();
    assert_eq!(code, Some(0), "{screen}");
    assert!(written(&session).is_some_and(|file| file.contains("  vip: 192.168.68.209\n")), "{screen}");
}

#[test]
fn a_home_network_that_is_not_here_is_taken_as_it_is_said() {
    let mut dialogue = Dialogue::begin(with_key(), "init --sim", 40, 100);
    dialogue.accept(0).prompted(1).press(&format!("{DOWN}{ENTER}"));
    dialogue.until("Subnet, such as").press(&format!("172.20.0.0/24 172.20.0.254{ENTER}"));
    dialogue.until("172.20.0.0/24, router 172.20.0.254");
    for question in 2..PROMPTS.len() - 1 {
        dialogue.accept(question);
    }
    dialogue.until(PROMPTS[8]).press("y");
    let (code, screen, session) = dialogue.end();
    assert_eq!(code, Some(0), "{screen}");
    assert!(!screen.contains("looking for") && !screen.contains("Nobody answers"), "{screen}");
    let file = written(&session).unwrap_or_default();
    assert!(file.contains("subnet: 172.20.0.0/24") && file.contains("router: 172.20.0.254"), "{file}");
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
            assert_eq!(code, Some(130), "{key:?} at {left_at}:\n{screen}");
            assert_eq!(lies_there(&session), ["sim"], "{key:?} at {left_at}:\n{screen}");
            assert!(screen.trim_end().ends_with("nothing was written"), "{screen}");
            assert!(!screen.contains(HIDE_CURSOR) || screen.contains(SHOW_CURSOR), "{screen:?}");
        }
    }
}

#[test]
fn a_signal_from_elsewhere_leaves_the_terminal_as_it_was() {
    for question in [0, 2] {
        let line = format!("stty -g; '{PROGRAM}' init --sim; stty -g");
        let mut dialogue = Dialogue::run(with_key(), &line, 40, 100);
        for earlier in 0..question {
            dialogue.accept(earlier);
        }
        dialogue.prompted(question);
        let processes = dialogue.session.processes();
        let asking = processes.iter().find(|process| process.command == format!("{PROGRAM} init --sim"));
        let id = asking.unwrap_or_else(|| panic!("nobody asks: {processes:#?}")).id;
        assert!(Command::new("kill").arg(id.to_string()).status().expect("kill runs").success());
        let (_, screen, session) = dialogue.end();
        let modes: Vec<&str> = screen.lines().map(str::trim).filter(|line| is_modes(line)).collect();
        assert!(modes.len() == 2 && modes[0] == modes[1], "{modes:?}\n{screen}");
        assert_eq!(lies_there(&session), ["sim"], "{screen}");
    }
}

/// Says whether a line is `stty -g`'s: numbers with colons.
fn is_modes(line: &str) -> bool {
    line.split(':').count() > 10 && line.chars().all(|char| char == ':' || char.is_ascii_hexdigit())
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
    for line in screen.lines() {
        let line = console::strip_ansi_codes(line.trim_end());
        let line = line.rsplit('\r').next().unwrap_or_default();
        // The networking file's change is shown as it will be.
        let is_change =
            ["      +", "      -", "      @", "       "].iter().any(|begin| line.starts_with(begin));
        // An option of the printed command stays with its value, so that it can be pasted.
        let is_option = line.starts_with("    --");
        // So does a path with all of itself.
        let is_path = line.trim_start().starts_with('/');
        assert!(is_change || is_option || is_path || line.chars().count() <= 40, "{line:?}\n{screen}");
    }
}

#[test]
fn a_terminal_that_cannot_redraw_is_asked_in_whole_lines() {
    let line = format!("export TERM=dumb; exec '{PROGRAM}' init --sim");
    let mut dialogue = Dialogue::run(with_key(), &line, 40, 80);
    dialogue.until("1) ha").until("Size [").press("9\n").until("a number from 1 to 3");
    dialogue.until("Size [").press("3\n").until("Home network [1]").press("\n");
    for question in 2..PROMPTS.len() - 1 {
        dialogue.prompted(question).press("\n");
    }
    dialogue.until("Write fusionlab.yaml? [yes]").press("\n");
    let (code, screen, session) = dialogue.end();
    assert_eq!(code, Some(0), "{screen}");
    assert!(!screen.contains(ESCAPE), "{screen:?}");
    assert!(written(&session).is_some_and(|file| file.contains("preset: solo")), "{screen}");
}

#[test]
fn up_without_a_lab_file_asks_first_and_leaving_leaves_nothing() {
    for key in [ESCAPE, CTRL_C] {
        let mut dialogue = Dialogue::begin(with_key(), "up --sim", 40, 100);
        dialogue.until("There is no fusionlab.yaml here").accept(0);
        dialogue.prompted(1).press(key);
        let (code, screen, session) = dialogue.end();
        assert_eq!((code, lies_there(&session)), (Some(130), vec!["sim".to_owned()]), "{screen}");
    }
}

#[test]
fn up_without_fusion_says_so_before_it_asks_anything() {
    let mut dialogue = Dialogue::begin(with_key(), "--fusion /nowhere up", 40, 100);
    dialogue.until("fusion-not-found");
    let (code, screen, session) = dialogue.end();
    assert!(code == Some(4) && !screen.contains("1/8"), "{code:?}\n{screen}");
    assert_eq!(lies_there(&session), Vec::<String>::new());
}

#[test]
fn up_goes_on_with_the_file_that_its_questions_made() {
    let mut dialogue = Dialogue::begin(with_key(), "up --sim", 40, 100);
    for question in 0..PROMPTS.len() - 1 {
        dialogue.accept(question);
    }
    dialogue.until(PROMPTS[8]).press("y").until("wrote fusionlab.yaml").until("Do this?").press("n");
    let (code, screen, session) = dialogue.end();
    assert_eq!(code, Some(130), "{screen}");
    assert_eq!(screen.matches("Machines").count(), 1, "the plan is shown once:\n{screen}");
    assert_eq!(screen.matches("reservation-in-dhcp-pool").count(), 1, "and so are the warnings:\n{screen}");
    assert!(written(&session).is_some(), "the file is the user's, whatever becomes of the plan:\n{screen}");
    // With a file nothing is asked but whether to go on.
    let mut dialogue = Dialogue::begin(session, "up --sim", 40, 100);
    dialogue.until("Do this?").press("n");
    let (code, screen, _) = dialogue.end();
    assert!(code == Some(130) && !screen.contains("1/8"), "{screen}");
}

#[test]
fn up_asks_nothing_where_a_size_is_said_or_a_lab_stands() {
    let mut dialogue = Dialogue::begin(Session::new(), "up --sim --preset solo", 40, 100);
    dialogue.until("Do this?").press("n");
    let (_, screen, session) = dialogue.end();
    assert!(!screen.contains("1/8"), "{screen}");
    session.clone().args(["up", "--sim", "--preset", "solo", "--yes"]).run().exits(0);
    let (_, screen, session) = Dialogue::begin(session, "up --sim", 40, 100).end();
    assert!(!screen.contains("1/8"), "the built-in lab is meant, which stands:\n{screen}");
    assert!(screen.contains("nothing had to be done"), "of the size that it was made with:\n{screen}");
    // Beside it a new one has another name and other addresses, and another network in Fusion.
    let ended = session.clone().args(["--output", "json", "init", "--sim", "--yes"]).run().exits(0);
    let assumed = &ended.json()["assumed"];
    for (what, value) in [
        ("name", "lab2"),
        ("VIP", "192.168.68.201"),
        ("gateways", "192.168.68.57,192.168.68.58"),
        ("internal network", "vmnet3 10.10.1.0/24"),
    ] {
        assert_eq!(assumed[what], value, "{assumed}");
    }
    // Whose an address is, is said by its name, and known of a machine that is off as well.
    session.clone().args(["sim", "reboot"]).run().exits(0);
    let taken = ["init", "--sim", "--yes", "--preset", "solo", "--gateways", "192.168.68.56"];
    let ended = session.clone().args(taken).run().exits(2);
    assert!(ended.stderr.contains("192.168.68.56 is taken: gateway1 of lab \"lab\" has it"), "{ended:?}");
    session.args(["destroy", "--sim", "--yes"]).run().exits(0);
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
    assert_eq!(lies_there(&session), ["sim"]);
    let ended = session.clone().args(["init", "--sim", "--yes", "--preset", "solo"]).run().exits(0);
    assert!(ended.stderr.contains("Taken as found here"), "{ended:?}");
    assert!(written(&session).is_some_and(|file| file.contains("preset: solo")));
}
