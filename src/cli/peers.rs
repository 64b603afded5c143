//! What other tools call things, and what is ours for it.

use clap::Command;

use super::error::Report;
use super::words::either;
use crate::lab::spec::closest;

const PROGRAM: &str = "fusionlab";

/// Letters that two words must share from their first on, for the shorter one to stand for the longer one.
const SHARED: usize = 3;

/// Verbs of limactl, multipass, vagrant, kind, docker and others, and what is ours for them.
pub const VERBS: &[(&[&str], &str)] = &[
    (&["ps", "info", "inspect", "get", "nodes", "dashboard"], "status"),
    (&["labs", "global-status"], "list"),
    (&["create", "start", "launch", "apply", "boot", "run", "resume", "reload", "provision"], "up"),
    (&["delete", "rm", "remove", "down", "purge", "clean", "teardown", "uninstall"], "destroy"),
    (&["shell", "sh", "login", "enter", "attach"], "ssh"),
    (&["copy", "scp", "transfer", "push", "pull"], "cp"),
    (&["log", "journal"], "logs"),
    (&["test", "check", "health", "prove"], "verify"),
    (&["preflight", "diagnose"], "doctor"),
    (&["validate", "lint", "diff", "dry-run", "preview"], "plan"),
    (&["new", "configure", "config", "wizard", "edit"], "init"),
    (&["ssh-config"], "ssh --config"),
    (&["kubectl", "context", "env"], "kubeconfig"),
    (&["networks", "net", "vmnet"], "network show"),
    (&["images", "templates", "bake"], "template list"),
    (&["fault", "chaos"], "drill"),
    (&["bundle", "bugreport", "collect"], "support"),
    (&["diagram", "graph", "draw"], "topology"),
    (&["version"], "--version"),
];

/// Verbs that fusionlab does not have yet, and what does the same meanwhile.
pub const NOT_YET: &[(&[&str], &str, &str)] = &[
    (
        &["stop", "halt", "suspend", "pause", "shutdown", "poweroff", "restart", "reboot"],
        "shut the machines down in Fusion, or all of them by `fusionlab exec --all -- sudo poweroff`; what is off, up starts again, \
         and puts the lab in order:",
        "up",
    ),
    (&["scale"], "a lab grows by its lab file: name more machines there, and up makes them:", "up"),
    (
        &["snapshot", "restore"],
        "Fusion's window takes and restores snapshots of machines that are off; what is off, up starts again:",
        "up",
    ),
    (
        &["upgrade", "rollback"],
        "versions are those of the lab file, and a lab that stands keeps its own; what a change would do is told by:",
        "plan",
    ),
];

/// Says whether other tools have an option.
#[cfg(test)]
pub fn has_option(option: &str) -> bool {
    OPTIONS.iter().any(|(theirs, ..)| theirs.contains(&option))
}

/// What is advised where a verb has none of the options that are ours for another tool's.
enum Otherwise {
    Nothing,
    Say(&'static str),
    /// Words, and the command that they lead to.
    Run(&'static str, &'static str),
}

/// Options of limactl, multipass, vagrant, kubectl, terraform and others; the options that are ours for them, of which a verb
/// need not have each; and what is told where it has none.
const OPTIONS: &[(&[&str], &[&str], Otherwise)] = &[
    (&["--json", "-j", "-o", "--format", "--machine-readable"], &["--output json"], Otherwise::Nothing),
    (
        &[
            "--force",
            "--auto-approve",
            "--no-input",
            "--non-interactive",
            "--no-interactive",
            "--no-prompt",
            "--assume-yes",
            "--batch",
            "--tty",
        ],
        &["--yes"],
        Otherwise::Say("it asks nothing, so there is nothing to answer beforehand: leave the option out"),
    ),
    (&["-f"], &["--lab FILE", "--yes"], Otherwise::Nothing),
    (&["--file", "--config", "-c", "--var-file"], &["--lab FILE"], Otherwise::Nothing),
    (&["--tail", "--last"], &["--lines"], Otherwise::Run("the last lines are told by:", "logs --all -n 20")),
    (
        &["--dry-run", "--noop", "--what-if", "--preview", "--check"],
        &[],
        Otherwise::Run("what would be done is told by:", "plan"),
    ),
    (
        &["-v", "--verbose", "--debug", "-d", "--trace", "-vv", "--log-level"],
        &["--verbose"],
        Otherwise::Run(
            "what a run does is kept in its log, and a failure says where that is; each step beforehand is told by:",
            "plan --verbose",
        ),
    ),
    (
        &["--no-color", "--no-colour", "--no-colors", "--no-ansi", "--monochrome", "--colour"],
        &["--color never"],
        Otherwise::Nothing,
    ),
    (&["--silent", "-s"], &["--quiet"], Otherwise::Nothing),
    (
        &["--timeout", "--wait-timeout"],
        &["--limit"],
        Otherwise::Say("how long each thing may take stands in the lab file, under `limits`"),
    ),
    (
        &["--interval", "-w", "--refresh"],
        &["--watch"],
        Otherwise::Run("again and again is told by:", "status --watch"),
    ),
    (
        &[
            "--cpus",
            "--cpu",
            "--memory",
            "-m",
            "--disk",
            "--workers",
            "--masters",
            "--control-planes",
            "--nodes",
        ],
        &[],
        Otherwise::Run("it stands in the lab file; one with every setting in it is written by:", "init"),
    ),
];

/// Advises what is ours for an option of other tools, or what was likely meant; `path` leads to the verb.
pub fn advise_option(report: Report, option: &str, verb: &Command, path: &[String]) -> Report {
    if let Some((_, ours, otherwise)) = OPTIONS.iter().find(|(words, ..)| words.contains(&option)) {
        let longs = longs(verb);
        let there_are = |ours: &&&str| {
            let long = ours.trim_start_matches('-').split(' ').next().unwrap_or_default();
            longs.contains(&long)
        };
        let ours: Vec<String> = ours.iter().filter(there_are).map(|ours| (*ours).to_owned()).collect();
        return match (ours.as_slice(), otherwise) {
            ([], Otherwise::Nothing) => report,
            ([], Otherwise::Say(words)) => report.advise(*words),
            ([], Otherwise::Run(words, command)) => {
                report.advise(*words).run(format!("{PROGRAM} {}", in_place(command, path)))
            }
            (ours, _) => report.advise(format!("here it is {}", either(ours, "or"))),
        };
    }
    match option.strip_prefix("--").and_then(|word| likely(word, &longs(verb))) {
        Some(meant) => report.advise(format!("did you mean --{meant}?")),
        None => report,
    }
}

/// Each verb that changes something has a plan of its own.
fn in_place<'a>(command: &'a str, path: &[String]) -> &'a str {
    match path.first().map(String::as_str) {
        Some("destroy") if command == "plan" => "plan --destroy",
        Some("network") if command == "plan" => "network plan",
        _ => command,
    }
}

/// Returns the options that a verb shows, its own and every verb's.
fn longs(verb: &Command) -> Vec<&str> {
    verb.get_arguments().filter(|argument| !argument.is_hide_set()).filter_map(clap::Arg::get_long).collect()
}

/// Returns what was likely meant: by some wrong letters, or by the beginning of it alone.
fn likely<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let begins = |known: &&&'a str| known.len().min(word.len()) >= SHARED && are_one(known, word);
    closest(word, known.iter().copied()).or_else(|| known.iter().find(begins).copied())
}

/// Says whether one word is the other one's beginning.
fn are_one(one: &str, other: &str) -> bool {
    one.starts_with(other) || other.starts_with(one)
}

/// Says whether a word can have been meant by another one. What clap proposes may have no more than a letter in common.
pub fn is_like(word: &str, meant: &str) -> bool {
    likely(word, &[meant]).is_some()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::super::Cli;
    use super::super::error::Fix;
    use super::*;

    /// What is advised of an option of a verb, in one line.
    fn advised(line: &str) -> String {
        let mut words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let option = words.pop().unwrap();
        let mut all = Cli::command();
        all.build();
        let verb = words.iter().fold(&all, |verb, word| verb.find_subcommand(word).unwrap());
        let report = advise_option(Report::usage("x"), &option, verb, &words);
        let fix = report.fix.iter().map(|(Fix::Say(text) | Fix::Run(text))| text.clone());
        fix.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn options_of_peers_lead_to_ours() {
        for (line, part) in [
            ("status --json", "here it is --output json"),
            ("plan -o", "here it is --output json"),
            ("up --no-input", "here it is --yes"),
            ("destroy --force", "here it is --yes"),
            ("destroy -f", "here it is --lab FILE or --yes"),
            ("status -f", "here it is --lab FILE"),
            ("status --force", "it asks nothing"),
            ("logs --tail", "here it is --lines"),
            ("up --dry-run", "fusionlab plan"),
            ("destroy --dry-run", "fusionlab plan --destroy"),
            ("network apply --dry-run", "fusionlab network plan"),
            ("up --verbose", "fusionlab plan --verbose"),
            ("plan -v", "here it is --verbose"),
            ("up --debug", "fusionlab plan --verbose"),
            ("verify --no-color", "here it is --color never"),
            ("exec --timeout", "here it is --limit"),
            ("up --memory", "fusionlab init"),
        ] {
            let advised = advised(line);
            assert!(advised.ends_with(part) || advised.starts_with(part), "{line}: {advised}");
        }
    }

    #[test]
    fn only_what_is_likely_is_proposed() {
        assert_eq!(advised("up --yess"), "did you mean --yes?");
        assert_eq!(advised("up --timing"), "did you mean --timings?");
        assert_eq!(advised("up --pre"), "did you mean --preset?");
        for nonsense in ["up --jsn", "up --no", "up --banana", "up --x", "up -z", "up --"] {
            assert_eq!(advised(nonsense), "", "{nonsense}");
        }
        assert!(is_like("stauts", "status") && !is_like("banana", "names"));
    }

    #[test]
    fn no_option_of_peers_is_one_of_ours_where_it_is_advised_about() {
        let mut all = Cli::command();
        all.build();
        let mut known: Vec<String> = Vec::new();
        for verb in all.get_subcommands() {
            known.extend(longs(verb).iter().map(|long| format!("--{long}")));
        }
        for (_, ours, otherwise) in OPTIONS {
            for ours in *ours {
                let long = ours.split(' ').next().unwrap();
                assert!(known.iter().any(|known| known == long), "{ours}");
            }
            if let Otherwise::Run(_, command) = otherwise {
                let words: Vec<&str> = std::iter::once(PROGRAM).chain(command.split(' ')).collect();
                assert!(Cli::command().try_get_matches_from(words).is_ok(), "{command}");
            }
        }
    }
}
