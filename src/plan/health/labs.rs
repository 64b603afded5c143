//! The labs on this Mac: what killed runs have left of them, and whether the Mac's clock stands where it must.

use std::path::PathBuf;

use super::{Check, Remedy, Seen, some};
use crate::stack::validity::long;

/// Records of another moment than the Mac's clock shows are no sign as long as they are not further ahead (milliseconds).
const AHEAD_MS: u64 = 2_000;
const MIB: u64 = 1024 * 1024;

/// What was found that nobody works with, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeftBehind {
    /// What the Mac's clock shows, in milliseconds since 1970.
    pub now_ms: u64,
    /// When the newest record of any lab was written; none if there is none.
    pub newest_ms: Option<u64>,
    pub dead_locks: Vec<DeadLock>,
    /// Files that a run was writing when it was killed.
    pub half_written: Vec<PathBuf>,
    /// Folders of machines whose making was cut short.
    pub machines: Vec<PathBuf>,
    /// Keys of the templates that no lab uses.
    pub templates: Vec<String>,
    /// Room that these take.
    pub templates_bytes: u64,
    /// Files of `/etc/resolver` that we wrote for a lab which is gone, with that lab.
    pub resolvers: Vec<(PathBuf, String)>,
    /// Backups of Fusion's networking file.
    pub backups: usize,
}

/// A lock whose holder was killed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLock {
    /// What it is of, such as `lab-lab`.
    pub name: String,
    pub verb: String,
    pub pid: u32,
    /// When the holder was last heard of, in words.
    pub last_heard: String,
}

impl LeftBehind {
    /// Says in words what [`Remedy::Fix`] would do; empty if there is nothing.
    pub fn repairs(&self) -> Vec<String> {
        let locks = self.dead_locks.iter().map(|lock| {
            format!("clear the lock {}: process {} (`{}`) was killed", lock.name, lock.pid, lock.verb)
        });
        let files =
            self.half_written.iter().map(|path| format!("remove the half-written {}", path.display()));
        locks.chain(files).collect()
    }
}

/// Checks what is left of labs and runs.
pub fn leftovers(left: &LeftBehind) -> Vec<Check> {
    vec![
        locks(left).named("lab.locks", "locks of killed runs"),
        half_written(left).named("lab.half-written", "half-written files"),
        machines(left).named("lab.machines", "half-made machines"),
        templates(left).named("lab.templates", "unused templates"),
        resolvers(left).named("lab.resolver", "names of labs that are gone"),
        Seen::ok(some(left.backups, "backup")).named("lab.backups", "backups of the networking file"),
    ]
}

/// Checks the Mac's clock against what this Mac itself wrote earlier: there is no other clock that could be asked in silence.
pub fn clock(left: &LeftBehind) -> Check {
    let seen = match left.newest_ms {
        None => Seen::unknown("no lab has written down a time to compare with, and no server is asked"),
        Some(newest) if newest > left.now_ms + AHEAD_MS => {
            let behind = long((newest - left.now_ms) / 1000);
            let detail =
                format!("it is {behind} behind what fusionlab wrote last: certificates may not be valid yet");
            Seen::fail(detail, Remedy::SetClock)
        }
        Some(newest) => Seen::ok(format!(
            "{} after what fusionlab wrote last",
            long((left.now_ms.saturating_sub(newest)) / 1000)
        )),
    };
    seen.named("mac.clock", "the clock")
}

fn locks(left: &LeftBehind) -> Seen {
    let [first, more @ ..] = left.dead_locks.as_slice() else { return Seen::ok("none") };
    let DeadLock { name, verb, pid, last_heard } = first;
    let detail =
        format!("{name}: process {pid} (`{verb}`), last heard of {last_heard}{}", and_more(more.len()));
    Seen::warn(detail, Remedy::Fix)
}

fn half_written(left: &LeftBehind) -> Seen {
    named(&left.half_written, Remedy::Fix)
}

fn machines(left: &LeftBehind) -> Seen {
    named(&left.machines, Remedy::GoOn)
}

fn named(paths: &[PathBuf], fix: Remedy) -> Seen {
    let [first, more @ ..] = paths else { return Seen::ok("none") };
    Seen::warn(format!("{}{}", first.display(), and_more(more.len())), fix)
}

/// An unused template spares the next `up` its longest step, so it is no fault.
fn templates(left: &LeftBehind) -> Seen {
    let [first, more @ ..] = left.templates.as_slice() else { return Seen::ok("none") };
    let size = left.templates_bytes / MIB;
    Seen::ok(format!(
        "no lab uses {first}{}, of {size} MiB: it is there for the next `up`, and `fusionlab template prune` frees it",
        and_more(more.len())
    ))
}

fn resolvers(left: &LeftBehind) -> Seen {
    let Some((path, lab)) = left.resolvers.first() else { return Seen::ok("none") };
    let detail = format!("{} is of the lab {lab:?}{}", path.display(), and_more(left.resolvers.len() - 1));
    Seen::warn(detail, Remedy::RemoveResolver { path: path.clone() })
}

fn and_more(number: usize) -> String {
    if number == 0 { String::new() } else { format!(", and {number} more") }
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    fn check(left: &LeftBehind, id: &str) -> Check {
        leftovers(left).into_iter().find(|check| check.id == id).unwrap_or_else(|| panic!("no {id}"))
    }

    #[test]
    fn a_clean_mac_has_nothing_to_put_away() {
        let left = LeftBehind::default();
        assert!(leftovers(&left).iter().all(|check| check.state == State::Ok));
        assert_eq!(left.repairs(), [""; 0]);
    }

    #[test]
    fn what_is_left_is_named_with_who_can_put_it_away() {
        let lock = DeadLock {
            name: "lab-lab".to_owned(),
            verb: "up".to_owned(),
            pid: 4711,
            last_heard: "14:03:55".to_owned(),
        };
        let left = LeftBehind {
            dead_locks: vec![lock],
            half_written: vec!["/h/labs/lab/.fusionlab-aB3dE6".into(), "/h/network/.fusionlab-aB3dE7".into()],
            machines: vec!["/l/lab/.making-gateway1".into()],
            templates: vec!["0123".to_owned()],
            resolvers: vec![("/etc/resolver/lab.internal".into(), "gone".to_owned())],
            ..LeftBehind::default()
        };
        let found = check(&left, "lab.locks");
        assert_eq!(found.detail, "lab-lab: process 4711 (`up`), last heard of 14:03:55");
        assert_eq!((found.state, found.fix), (State::Warn, vec![Remedy::Fix]));
        assert!(check(&left, "lab.half-written").detail.ends_with(".fusionlab-aB3dE6, and 1 more"));
        assert_eq!(check(&left, "lab.machines").fix, [Remedy::GoOn]);
        assert_eq!(check(&left, "lab.templates").state, State::Ok);
        let path = PathBuf::from("/etc/resolver/lab.internal");
        assert_eq!(check(&left, "lab.resolver").fix, [Remedy::RemoveResolver { path }]);
        assert_eq!(left.repairs().len(), 3);
    }

    #[test]
    fn a_clock_that_went_back_is_noticed_by_what_was_written_before() {
        let state = |newest_ms| clock(&LeftBehind { now_ms: 10_000_000, newest_ms, ..LeftBehind::default() });
        assert_eq!(state(None).state, State::Unknown);
        assert_eq!(state(Some(10_000_000 + AHEAD_MS)).state, State::Ok);
        assert_eq!(state(Some(9_990_000)).detail, "10 s after what fusionlab wrote last");
        let behind = state(Some(17_200_000));
        assert_eq!((behind.state, behind.fix.as_slice()), (State::Fail, &[Remedy::SetClock][..]));
        assert!(behind.detail.starts_with("it is 2 h behind"), "{}", behind.detail);
    }
}
