//! Errors as the user meets them: kinds with exit codes, probable causes, and what to do. All advice stands here.
//!
//! Lower layers say what happened, as types; [`from_host`] and [`from_run`] add why and what next. Each id is
//! explained at length in [`catalogue`], which `fusionlab explain` prints and `docs/errors.md` is made from.

pub mod catalogue;
pub mod from_engine;
pub mod from_file;
pub mod from_host;
mod from_image;
pub mod from_lock;
pub mod from_names;
pub mod from_run;
mod from_support;
pub mod from_vm;

use serde::Serialize;

use crate::host::HostError;
use crate::lab::problem::{Problem, Severity};

/// What an error concerns; decides the exit code (design §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    Unexpected,
    Usage,
    LabFile,
    HostCheck,
    Locked,
    Fusion,
    Network,
    Guest,
    Kubernetes,
    Verification,
    Partly,
    Interrupted,
}

impl Kind {
    /// Every kind with its exit code and its meaning, in order of the codes. 0 is success, 12 is
    /// `plan --detailed-exitcode` with changes.
    pub const TABLE: &[(Self, &str)] = &[
        (Self::Unexpected, "unexpected: see the message"),
        (Self::Usage, "wrong usage"),
        (Self::LabFile, "the lab file is not valid"),
        (Self::HostCheck, "a check of this Mac failed"),
        (Self::Locked, "the lab is locked by another run"),
        (Self::Fusion, "VMware Fusion refused something"),
        (Self::Network, "a network or a download failed"),
        (Self::Guest, "a machine failed"),
        (Self::Kubernetes, "Kubernetes failed"),
        (Self::Verification, "verification failed"),
        (Self::Partly, "partly done: several things failed, for several reasons"),
        (Self::Interrupted, "interrupted"),
    ];

    /// Returns the process's exit code.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Unexpected => 1,
            Self::Usage => 2,
            Self::LabFile => 3,
            Self::HostCheck => 4,
            Self::Locked => 5,
            Self::Fusion => 6,
            Self::Network => 7,
            Self::Guest => 8,
            Self::Kubernetes => 9,
            Self::Verification => 10,
            Self::Partly => 11,
            Self::Interrupted => 130,
        }
    }
}

/// How a verb ended well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Success {
    Done,
    /// `plan --detailed-exitcode`: the plan is not empty.
    Changes,
    /// `exec`: the exit status of the guest's command.
    Guest(u8),
}

impl Success {
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Changes => 12,
            Self::Guest(status) => status,
        }
    }
}

/// One error, complete: what, where, why, the last words of a guest, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Stable; `fusionlab explain` knows it.
    pub id: &'static str,
    pub kind: Kind,
    /// What failed: a lower-case fragment.
    pub what: String,
    /// Where: a node, a step, a file.
    pub place: Option<String>,
    /// The probable cause.
    pub why: Option<String>,
    /// The last lines that a guest or a program printed.
    pub tail: Vec<String>,
    /// What failed besides, one line each.
    pub also: Vec<String>,
    /// What stands, where a run did not get through: a line for all that came equally far.
    pub stands: Vec<String>,
    /// What to do, the likeliest first.
    pub fix: Vec<Fix>,
    /// The file of what the failed step printed, or the folder of all of them.
    pub log: Option<String>,
}

/// One piece of advice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fix {
    /// Words.
    Say(String),
    /// A command line, ready to be pasted.
    Run(String),
}

impl Report {
    /// Returns a report with nothing but what happened.
    pub fn new(id: &'static str, kind: Kind, what: impl Into<String>) -> Self {
        Self {
            id,
            kind,
            what: what.into(),
            place: None,
            why: None,
            tail: Vec::new(),
            also: Vec::new(),
            stands: Vec::new(),
            fix: Vec::new(),
            log: None,
        }
    }

    pub fn at(mut self, place: impl Into<String>) -> Self {
        self.place = Some(place.into());
        self
    }

    pub fn because(mut self, why: impl Into<String>) -> Self {
        self.why = Some(why.into());
        self
    }

    pub fn with_tail(mut self, tail: impl IntoIterator<Item: Into<String>>) -> Self {
        self.tail = tail.into_iter().map(Into::into).collect();
        self
    }

    /// Adds advice in words.
    pub fn advise(mut self, words: impl Into<String>) -> Self {
        self.fix.push(Fix::Say(words.into()));
        self
    }

    /// Adds a command to run.
    pub fn run(mut self, command: impl Into<String>) -> Self {
        self.fix.push(Fix::Run(command.into()));
        self
    }

    /// Adds to our own commands the options that they need to find the same lab and Fusion.
    pub fn with_options(mut self, options: &str) -> Self {
        // Commands that name a Fusion or make a lab file are complete; explanations need neither.
        let is_complete = |rest: &str| {
            rest.contains("--sim") || ["init", "explain"].iter().any(|verb| rest.starts_with(verb))
        };
        for fix in &mut self.fix {
            if let Fix::Run(command) = fix
                && let Some(rest) = command.strip_prefix("fusionlab ")
                && !options.is_empty()
                && !is_complete(rest)
            {
                *command = format!("fusionlab {options} {rest}");
            }
        }
        self
    }

    /// Adds the size that an option named to our own commands that take it, so that they mean the same lab.
    pub fn with_size(mut self, size: Option<&str>) -> Self {
        let Some(size) = size else { return self };
        let takes_it = |command: &str| {
            let verb = command.strip_prefix("fusionlab ").and_then(|rest| rest.split(' ').next());
            verb.is_some_and(|verb| ["up", "plan"].contains(&verb)) && !command.contains("--preset")
        };
        for fix in &mut self.fix {
            if let Fix::Run(command) = fix
                && takes_it(command)
            {
                command.push_str(&format!(" --preset {size}"));
            }
        }
        self
    }

    /// A wish that cannot be granted as it was typed.
    pub fn usage(what: impl Into<String>) -> Self {
        Self::new("usage", Kind::Usage, what)
    }

    /// What cannot be, unless fusionlab is wrong.
    pub fn unexpected(what: impl Into<String>) -> Self {
        Self::new("unexpected", Kind::Unexpected, what)
            .because("this is a mistake in fusionlab, not in your lab")
            .advise("please tell us, with the file that this writes:")
            .run("fusionlab support")
    }

    /// There is no lab that could be proved.
    pub fn not_up(lab: &str) -> Self {
        Self::new("lab-not-up", Kind::Verification, format!("the lab \"{lab}\" is not up"))
            .because("it has no keys on this Mac, so it was never made here, or was destroyed")
            .run("fusionlab up")
    }

    /// A proof that failed, or could not be asked for.
    pub fn unproven(what: impl Into<String>) -> Self {
        Self::new("verification-failed", Kind::Verification, what)
            .advise("see what stands, then let up put it right:")
            .run("fusionlab status")
            .run("fusionlab up")
    }

    /// `sudo` did not let us change Fusion's networks; `asked` says whether somebody could type a password.
    pub fn root_denied(asked: bool) -> Self {
        let report =
            Self::new("root-denied", Kind::HostCheck, "sudo did not let us change Fusion's networks")
                .at("/usr/bin/sudo -v");
        let report = if asked {
            report.because("the password was wrong, or this user may not use sudo")
        } else {
            report.because("sudo wants a password, and nobody can type one here")
        };
        let report = report
            .advise(
                "nothing was changed; run the same command again in a terminal, as a user who may use sudo:",
            )
            .run("sudo -v");
        if asked {
            return report;
        }
        report
            .advise("or let sudo do without a password for this one command:")
            .run("fusionlab network sudoers")
    }

    /// The user said stop.
    pub fn interrupted() -> Self {
        Self::new("interrupted", Kind::Interrupted, "interrupted")
            .advise("what was finished stands; the same command goes on from there")
    }
}

/// A lab file that was not accepted, with all that is wrong in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabFileProblems {
    /// As the user named it.
    pub file: String,
    pub text: String,
    pub problems: Vec<Problem>,
}

impl LabFileProblems {
    /// Returns the number of errors and of warnings.
    pub fn counts(&self) -> (usize, usize) {
        let errors = self.problems.iter().filter(|problem| problem.severity == Severity::Error).count();
        (errors, self.problems.len() - errors)
    }
}

/// Why a verb did not succeed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    Report(Box<Report>),
    LabFile(LabFileProblems),
    /// Everything was said already; only the exit code is left to give.
    Told(Kind),
    /// Whoever read our output went away: nobody is left to tell.
    OutputClosed,
}

impl Failure {
    pub fn kind(&self) -> Kind {
        match self {
            Self::Report(report) => report.kind,
            Self::LabFile(_) => Kind::LabFile,
            Self::Told(kind) => *kind,
            Self::OutputClosed => Kind::Unexpected,
        }
    }
}

impl Failure {
    /// Adds to the advised commands the options that they need to find the same lab and Fusion.
    pub fn with_options(self, options: &str) -> Self {
        match self {
            Self::Report(report) => (*report).with_options(options).into(),
            other => other,
        }
    }

    /// Adds the size that an option named to the advised commands that take it.
    pub fn with_size(self, size: Option<&str>) -> Self {
        match self {
            Self::Report(report) => (*report).with_size(size).into(),
            other => other,
        }
    }
}

impl From<Report> for Failure {
    fn from(report: Report) -> Self {
        Self::Report(Box::new(report))
    }
}

impl From<HostError> for Failure {
    fn from(error: HostError) -> Self {
        Report::from(&error).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advised_commands_find_the_same_lab() {
        let report = Report::usage("x").run("fusionlab status").run("fusionlab up --sim").run("df -h ~");
        let commands = |options: &str| {
            let fix = report.clone().with_options(options).fix;
            fix.into_iter().map(|fix| format!("{fix:?}")).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(commands(""), commands(""));
        let text = commands("--lab a.yaml");
        assert!(
            text.contains("fusionlab --lab a.yaml status") && text.contains("\"fusionlab up --sim\""),
            "{text}"
        );
    }

    #[test]
    fn advised_commands_mean_a_lab_of_the_same_size() {
        let report =
            Report::usage("x").run("fusionlab up").run("fusionlab destroy").run("fusionlab plan --preset ha");
        let fix = report.with_size(Some("solo")).with_options("--sim").fix;
        let commands = [
            "fusionlab --sim up --preset solo",
            "fusionlab --sim destroy",
            "fusionlab --sim plan --preset ha",
        ];
        assert_eq!(fix, commands.map(|command| Fix::Run(command.to_owned())));
    }

    #[test]
    fn exit_codes_are_those_of_the_design() {
        let codes: Vec<u8> = Kind::TABLE.iter().map(|(kind, _)| kind.exit_code()).collect();
        assert_eq!(codes, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 130]);
        assert_eq!((Success::Done.exit_code(), Success::Changes.exit_code()), (0, 12));
    }
}
