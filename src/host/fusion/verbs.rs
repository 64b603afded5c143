//! Every verb of Fusion's programs in one table: how long a try may take, how many there are, what is tried again, and
//! what decides how it ended.
//!
//! `vmrun` and `vmrest` report failure for what worked and success for what did not, hang, and are busy for a moment
//! (facts/vmrun-vmrest.md §1.4, §1.5, §3.3). Both drivers read this table, and hold no numbers of their own.

use std::time::Duration;

use crate::host::clock;

/// The limits that concern VMs, each by its name in the lab file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    pub fusion_query: Duration,
    pub fusion_address: Duration,
    pub vm_start: Duration,
    pub vm_stop_soft: Duration,
    pub vm_stop_hard: Duration,
    pub vm_clone: Duration,
    pub vm_unlock: Duration,
}

/// One row of the table.
#[derive(Debug)]
pub struct Verb {
    /// What vmrun calls it; vmrest's calls of the same purpose share the row.
    pub name: &'static str,
    /// The limit of one try.
    pub limit: fn(&Deadlines) -> Duration,
    pub tries: u32,
    /// What a further try is made after.
    pub again: &'static [Again],
    pub decided: Decided,
    /// Whether it works on a VM's files, so that whoever comes after a run that was killed meanwhile waits for its end.
    pub outlives: bool,
}

/// Why something is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// It said nothing, and did nothing.
    Silence,
    /// It complained of something that passes (`COMPLAINTS`).
    Busy,
    /// It did not end in time.
    Hang,
    /// Its answer contradicts itself.
    Nonsense,
}

/// What decides how it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decided {
    /// `vmrun list`, whatever was said.
    ByList,
    /// The VM's files, whatever was said.
    ByFiles,
    /// The VM's files, if nothing was complained of: half of a clone looks like a clone.
    ByFilesAndAnswer,
    ByAnswer,
}

/// `vmrun list`: what it says is compared with its own count.
pub const LIST: Verb = Verb {
    name: "list",
    limit: |deadlines| deadlines.fusion_query,
    tries: 3,
    again: &[Again::Busy, Again::Hang, Again::Nonsense],
    decided: Decided::ByAnswer,
    outlives: false,
};
/// Other questions that change nothing.
pub const QUERY: Verb = Verb { name: "listSnapshots", ..LIST };
/// `getGuestIPAddress` as one question, which a VM without a window may answer wrongly.
pub const ADDRESS: Verb = Verb { name: "getGuestIPAddress", tries: 1, again: &[], ..LIST };
/// `getGuestIPAddress -wait`, which has no end of its own: what hangs does not know.
pub const ADDRESS_WAIT: Verb =
    Verb { name: "getGuestIPAddress", limit: |deadlines| deadlines.fusion_address, ..ADDRESS };
/// Peers raised theirs from 45 s to 300 s. Right after a shutdown it may do nothing, and say nothing.
pub const START: Verb = Verb {
    name: "start",
    limit: |deadlines| deadlines.vm_start,
    tries: 5,
    again: &[Again::Silence, Again::Busy],
    decided: Decided::ByList,
    outlives: false,
};
/// One that hangs is not tried again: the caller pulls the plug.
pub const STOP_SOFT: Verb = Verb {
    name: "stop",
    limit: |deadlines| deadlines.vm_stop_soft,
    tries: 2,
    again: &[Again::Busy],
    decided: Decided::ByList,
    outlives: false,
};
pub const STOP_HARD: Verb = Verb {
    name: "stop",
    limit: |deadlines| deadlines.vm_stop_hard,
    tries: 3,
    again: &[Again::Silence, Again::Busy, Again::Hang],
    decided: Decided::ByList,
    outlives: false,
};
pub const SNAPSHOT: Verb = Verb {
    name: "snapshot",
    limit: |deadlines| deadlines.vm_clone,
    tries: 3,
    again: &[Again::Busy],
    decided: Decided::ByFiles,
    outlives: true,
};
/// A parent takes one clone at a time, also of other programs.
pub const CLONE: Verb = Verb { name: "clone", tries: 5, decided: Decided::ByFilesAndAnswer, ..SNAPSHOT };
pub const DELETE: Verb = Verb { name: "deleteVM", again: &[Again::Busy, Again::Silence], ..SNAPSHOT };
/// Telling vmrest of a VM that it does not list.
pub const REGISTER: Verb = Verb { name: "registration", ..QUERY };
/// vmrest's start: another port is tried if the one that was free a moment ago is taken.
pub const SERVE: Verb = Verb { name: "vmrest", again: &[Again::Busy], ..QUERY };

/// How often a VM is looked for that was said not to have started, or whose start said nothing.
pub const START_LOOKS: u32 = 6;
/// Pauses between two looks or tries: the first, and the longest; each is twice the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_millis(1000);

/// Whom to ask for the cause of a complaint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Witness {
    /// `vmware.log`.
    Log,
    /// The lock folders beside the VM.
    Locks,
    /// The owners of the VM's files.
    Owners,
}

/// What a complaint of Fusion's means.
#[derive(Debug)]
pub struct Complaint {
    /// Words that are in it.
    words: &'static str,
    /// Whether it passes, so that the same is tried again.
    pub passes: bool,
    /// Whom to ask for its cause, the likeliest first.
    pub witnesses: &'static [Witness],
}

const fn complaint(words: &'static str, passes: bool, witnesses: &'static [Witness]) -> Complaint {
    Complaint { words, passes, witnesses }
}

/// The complaints that mean more than they say (facts/vmrun-vmrest.md §1.4, §3.3).
const COMPLAINTS: &[Complaint] = &[
    complaint("Unable to connect to host", true, &[Witness::Log, Witness::Owners]),
    complaint("has been locked", true, &[Witness::Locks]),
    complaint("already in use", true, &[Witness::Locks]),
    complaint("is busy", true, &[Witness::Locks]),
    complaint(
        "Cannot connect to the virtual machine",
        false,
        &[Witness::Log, Witness::Owners, Witness::Locks],
    ),
    complaint("operation was canceled", false, &[Witness::Log, Witness::Locks, Witness::Owners]),
    complaint("Unknown error", false, &[Witness::Log, Witness::Locks, Witness::Owners]),
    complaint("Insufficient permissions", false, &[Witness::Owners]),
];

/// Every other complaint.
const PLAIN: Complaint = complaint("", false, &[Witness::Log]);

/// Returns what a complaint means.
pub fn meaning(message: &str) -> &'static Complaint {
    COMPLAINTS.iter().find(|complaint| message.contains(complaint.words)).unwrap_or(&PLAIN)
}

/// What one try has to say for itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    Nothing,
    Complaint(String),
    /// It did not end within its limit; what it was.
    Hung(String),
}

impl Said {
    fn again(&self) -> Again {
        match self {
            Self::Hung(_) => Again::Hang,
            Self::Nothing => Again::Silence,
            Self::Complaint(_) => Again::Busy,
        }
    }

    /// Returns its words, if it has any.
    pub fn words(self) -> Option<String> {
        match self {
            Self::Nothing => None,
            Self::Complaint(text) | Self::Hung(text) => Some(text),
        }
    }
}

/// How a try is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Done,
    Again,
    Failed,
}

/// The tries of one order.
pub struct Tries {
    verb: &'static Verb,
    left: u32,
    pauses: Pauses,
}

impl Tries {
    pub fn of(verb: &'static Verb) -> Self {
        Self { verb, left: verb.tries, pauses: Pauses::default() }
    }

    /// Judges a try by what it said and whether what it is for is `seen`. Before another one it lets a moment pass.
    pub async fn judge(&mut self, said: &Said, seen: bool) -> Verdict {
        let done = match self.verb.decided {
            Decided::ByList | Decided::ByFiles => seen,
            Decided::ByFilesAndAnswer => seen && *said == Said::Nothing,
            Decided::ByAnswer => *said == Said::Nothing,
        };
        if done {
            return Verdict::Done;
        }
        let passes = match said {
            Said::Complaint(text) => meaning(text).passes,
            _ => true,
        };
        if passes && self.another(said.again()).await { Verdict::Again } else { Verdict::Failed }
    }

    /// Says whether there is another try after this, and lets a moment pass before it.
    pub async fn another(&mut self, after: Again) -> bool {
        self.left = self.left.saturating_sub(1);
        let another = self.left > 0 && self.verb.again.contains(&after);
        if another {
            self.pauses.next().await;
        }
        another
    }
}

/// Growing pauses between looks.
pub struct Pauses(Duration);

impl Default for Pauses {
    fn default() -> Self {
        Self(FIRST_PAUSE)
    }
}

impl Pauses {
    pub async fn next(&mut self) {
        clock::pause(self.0).await;
        self.0 = (self.0 * 2).min(LONGEST_PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_list_decides_about_power_and_silence_about_clones() {
        let complaint = Said::Complaint("One of the parameters was invalid".to_owned());
        assert_eq!(Tries::of(&START).judge(&complaint, true).await, Verdict::Done);
        assert_eq!(Tries::of(&START).judge(&complaint, false).await, Verdict::Failed);
        assert_eq!(Tries::of(&CLONE).judge(&complaint, true).await, Verdict::Failed);
        assert_eq!(Tries::of(&CLONE).judge(&Said::Nothing, true).await, Verdict::Done);
        assert_eq!(Tries::of(&CLONE).judge(&Said::Nothing, false).await, Verdict::Failed);
    }

    #[tokio::test]
    async fn what_passes_is_tried_as_often_as_the_table_says() {
        for (verb, said) in [
            (&START, Said::Nothing),
            (&STOP_HARD, Said::Hung("hung".to_owned())),
            (&CLONE, Said::Complaint("The file is already in use".to_owned())),
            (&CLONE, Said::Complaint("The virtual machine has been locked".to_owned())),
        ] {
            let (mut tries, mut made) = (Tries::of(verb), 1);
            while tries.judge(&said, false).await == Verdict::Again {
                made += 1;
            }
            assert_eq!(made, verb.tries, "{}", verb.name);
        }
        assert_eq!(Tries::of(&START).judge(&Said::Hung("hung".to_owned()), false).await, Verdict::Failed);
    }

    #[test]
    fn complaints_name_whom_to_ask() {
        let text = "Cannot connect to the virtual machine: /x/one.vmx";
        assert_eq!(meaning(text).witnesses, [Witness::Log, Witness::Owners, Witness::Locks]);
        assert!(!meaning(text).passes);
        assert_eq!(meaning("The snapshot already exists").witnesses, [Witness::Log]);
    }
}
