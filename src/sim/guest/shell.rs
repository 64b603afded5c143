//! How a command line becomes a tool of the model: words, `sudo`, and the search for the program.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::{Model, bake, tools};
use crate::formats::command::split;
use crate::sim::seam::Chunk;

/// Where cloud-init writes the users' sudo rules.
pub const SUDOERS: &str = "/etc/sudoers.d/90-cloud-init-users";

/// Exit statuses of a shell that found no program, or one it may not run.
const NOT_FOUND: i32 = 127;
const NOT_EXECUTABLE: i32 = 126;
/// A usage error.
pub const USAGE: i32 = 2;

/// One program's run: who, with what, and where its words go.
pub struct Call<'a> {
    pub model: &'a Arc<Model>,
    pub root: bool,
    /// The arguments, without the program's name.
    pub args: Vec<String>,
    pub input: Vec<u8>,
    /// The folder in which a login begins.
    home: String,
    output: &'a mpsc::Sender<Chunk>,
}

impl<'a> Call<'a> {
    pub fn new(
        model: &'a Arc<Model>,
        root: bool,
        args: Vec<String>,
        input: Vec<u8>,
        output: &'a mpsc::Sender<Chunk>,
    ) -> Self {
        Self { model, root, args, input, home: home_of("root"), output }
    }
}

impl Call<'_> {
    /// Writes text to standard output as it is.
    pub async fn print(&self, text: impl Into<Vec<u8>>) {
        // A reader that left does not stop the program: its end is what counts.
        let _ = self.output.send(Chunk::Stdout(text.into())).await;
    }

    /// Writes a line to standard output.
    pub async fn say(&self, line: impl AsRef<str>) {
        self.print(format!("{}\n", line.as_ref())).await;
    }

    /// Writes a line to standard error.
    pub async fn complain(&self, line: impl AsRef<str>) {
        let _ = self.output.send(Chunk::Stderr(format!("{}\n", line.as_ref()).into_bytes())).await;
    }

    /// Complains and returns the status: the usual end of a tool that fails.
    pub async fn fail(&self, status: i32, line: impl AsRef<str>) -> i32 {
        self.complain(line).await;
        status
    }

    pub fn words(&self) -> Vec<&str> {
        self.args.iter().map(String::as_str).collect()
    }

    /// Returns a path as it is seen from where the login began.
    pub fn place(&self, path: &str) -> String {
        match path.strip_prefix("./").unwrap_or(path) {
            whole if whole.starts_with('/') => whole.to_owned(),
            "" | "." => self.home.clone(),
            within => format!("{}/{within}", self.home),
        }
    }

    /// Says whether whoever runs the program may write to a place: root anywhere, others to what is theirs or everybody's.
    pub fn may_write(&self, place: &str) -> bool {
        let is_in = |folder: &str| place.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'));
        self.root || is_in("/tmp") || is_in(&self.home)
    }
}

fn home_of(user: &str) -> String {
    if user == "root" { "/root".to_owned() } else { format!("/home/{user}") }
}

/// Runs a line as a user's login shell would, and returns its exit status.
pub async fn run_line(
    model: &Arc<Model>,
    user: &str,
    line: &str,
    input: Vec<u8>,
    output: &mpsc::Sender<Chunk>,
) -> i32 {
    let Some(words) = split(line) else {
        let complaint = "bash: the model guest expands nothing: plain words only\n";
        let _ = output.send(Chunk::Stderr(complaint.into())).await;
        return USAGE;
    };
    run(model, user, words, input, output).await
}

/// Runs an argv as root with its output caught; returns the status and the last line.
pub async fn run_quietly(model: &Arc<Model>, argv: Vec<String>) -> (i32, String) {
    let (sender, mut receiver) = mpsc::channel(16);
    let gather = async {
        let mut text = Vec::new();
        while let Some(Chunk::Stdout(bytes) | Chunk::Stderr(bytes)) = receiver.recv().await {
            text.extend(bytes);
        }
        String::from_utf8_lossy(&text).lines().last().unwrap_or_default().to_owned()
    };
    let work = async move { run(model, "root", argv, Vec::new(), &sender).await };
    tokio::join!(work, gather)
}

/// Runs a line of `sh` as root: plain commands joined by `&&`, `||` and `;`, and nothing else.
pub async fn run_script_line(model: &Arc<Model>, line: &str) -> (i32, String) {
    let spaced = line
        .replace(" ; ", " \u{0} ; ")
        .replace("; ", " \u{0} ; ")
        .replace(" && ", " \u{0} && ")
        .replace(" || ", " \u{0} || ");
    let (mut status, mut last) = (0, String::new());
    for part in spaced.split('\u{0}').map(str::trim).filter(|part| !part.is_empty()) {
        let (wanted, command) = match part.split_at_checked(2) {
            Some(("&&", rest)) => (status == 0, rest),
            Some(("||", rest)) => (status != 0, rest),
            _ => (true, part.strip_prefix(';').unwrap_or(part)),
        };
        if !wanted || command.trim().is_empty() {
            continue;
        }
        let Some(words) = split(command.trim()) else {
            return (USAGE, format!("sh: the model guest does not interpret: {command}"));
        };
        (status, last) = run_quietly(model, words).await;
    }
    (status, last)
}

async fn run(
    model: &Arc<Model>,
    user: &str,
    mut words: Vec<String>,
    input: Vec<u8>,
    output: &mpsc::Sender<Chunk>,
) -> i32 {
    let (root, home) = (user == "root", home_of(user));
    let mut call = Call { model, root, args: Vec::new(), input, home, output };
    let mut sudo = false;
    if words.first().is_some_and(|word| word == "sudo") {
        sudo = true;
        words.remove(0);
        if words.first().is_some_and(|word| word == "-n") {
            words.remove(0);
        } else if !may_sudo(model, user) {
            return call.fail(1, "sudo: a terminal is required to read the password").await;
        }
        if !may_sudo(model, user) {
            return call.fail(1, "sudo: a password is required").await;
        }
        call.root = true;
    }
    if words.is_empty() {
        return if sudo { call.fail(1, "usage: sudo -h | -K | -k | -V").await } else { 0 };
    }
    let program = words.remove(0);
    call.args = words;
    find_and_run(&mut call, program, sudo).await
}

fn may_sudo(model: &Model, user: &str) -> bool {
    let rules = model.disk(|disk| disk.text(SUDOERS)).unwrap_or_default();
    let allows = |line: &str| line.split_whitespace().next() == Some(user) && line.contains("NOPASSWD");
    user == "root" || rules.lines().any(allows)
}

pub async fn find_and_run(call: &mut Call<'_>, mut program: String, sudo: bool) -> i32 {
    if program == "systemd-run" {
        // The model runs the service at once and waits for it, whatever it is to wait for itself.
        while call.args.first().is_some_and(|word| word.starts_with("--")) {
            call.args.remove(0);
        }
        if call.args.is_empty() {
            return call.fail(1, "Command line to execute required.").await;
        }
        program = call.args.remove(0);
    }
    let shell = matches!(program.as_str(), "sh" | "bash" | "/bin/sh" | "/bin/bash" | "/usr/bin/bash");
    if shell && call.args.len() == 2 && call.args[0] == "-c" {
        let script = call.args.remove(1);
        return Box::pin(in_turn(call, &script)).await;
    }
    if shell && call.args.first().is_some_and(|first| first.starts_with('/')) {
        program = call.args.remove(0);
    } else if shell {
        return call
            .fail(
                USAGE,
                "sh: the model guest runs scripts by their path, or plain commands joined by && (-c)",
            )
            .await;
    }
    let system = ["/usr/bin/", "/usr/sbin/", "/bin/", "/sbin/", "/usr/local/bin/"];
    let bare = system.iter().find_map(|place| program.strip_prefix(place)).unwrap_or(&program).to_owned();
    if !bare.contains('/') {
        return match tools::package_of(&bare) {
            Some(package)
                if package.is_empty() || call.model.disk(|disk| disk.packages.contains_key(package)) =>
            {
                tools::run(call, &bare).await
            }
            _ if sudo => call.fail(1, format!("sudo: {program}: command not found")).await,
            _ => call.fail(NOT_FOUND, format!("bash: line 1: {program}: command not found")).await,
        };
    }
    let mode = call.model.disk(|disk| disk.file(&program).map(|file| file.mode));
    match mode {
        None if sudo => call.fail(1, format!("sudo: {program}: command not found")).await,
        None => call.fail(NOT_FOUND, format!("bash: line 1: {program}: No such file or directory")).await,
        Some(mode) if mode & 0o111 == 0 && !shell && sudo => {
            call.fail(1, format!("sudo: {program}: command not found")).await
        }
        Some(mode) if mode & 0o111 == 0 && !shell => {
            call.fail(NOT_EXECUTABLE, format!("bash: line 1: {program}: Permission denied")).await
        }
        Some(_) => run_script(call, &program).await,
    }
}

/// Runs what `sh -c` is given: plain commands joined by `&&`, and nothing else.
async fn in_turn(call: &mut Call<'_>, script: &str) -> i32 {
    for command in script.split(" && ") {
        let Some(mut words) = split(command).filter(|words| !words.is_empty()) else {
            return call.fail(USAGE, format!("sh: the model guest does not interpret: {command}")).await;
        };
        let program = words.remove(0);
        call.args = words;
        let status = find_and_run(call, program, false).await;
        if status != 0 {
            return status;
        }
    }
    0
}

/// Runs one of the scripts that the model knows by its path.
async fn run_script(call: &mut Call<'_>, path: &str) -> i32 {
    match path {
        tools::facts::PATH => tools::facts::run(call).await,
        tools::kubeadm_unit::PATH => tools::kubeadm_unit::run(call).await,
        bake::RUN => bake::run(call).await,
        other => {
            call.fail(NOT_EXECUTABLE, format!("{other}: the model guest cannot interpret this script")).await
        }
    }
}
