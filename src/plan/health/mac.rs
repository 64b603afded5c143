//! Fusion itself and the Mac that it runs on: what is known to be wrong with this release, and whether the lab fits.

use super::{Check, Remedy, Seen, count};
use crate::formats::power::PowerSource;
use crate::lab::Lab;
use crate::lab::catalogue::{Advisory, advisories, mended};
use crate::lab::lint::COMFORTABLE_PERCENT;

const MIB_OF_GIB: u64 = 1024;
/// Virtual processors for each of the Mac's above which machines wait for one another (a judgement, not measured).
const MOST_VIRTUAL_CPUS: u64 = 3;
/// With less room than this, in MiB, what machines write is lost soon (a judgement, not measured).
const LEAST_DISK_MIB: u64 = 2 * MIB_OF_GIB;
/// The first macOS that denies programs the local network until its owner allows it (facts/vmrun-vmrest.md §1.5).
const ASKS_FOR_LOCAL_NETWORK: u32 = 15;
/// Releases of Fusion from 13.6 on want this macOS (facts/vmrun-vmrest.md §4, Homebrew's cask).
const LEAST_MACOS: u32 = 13;

/// What was seen of the Mac itself; none stands for what it does not tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MacSeen {
    /// Such as `26.1`.
    pub macos: Option<String>,
    pub memory_mib: Option<u64>,
    /// Memory that programs can have now without pushing others out.
    pub free_memory_mib: Option<u64>,
    pub cpus: Option<u32>,
    /// Room on the disk of Fusion's library.
    pub disk_free_mib: Option<u64>,
    /// What the lab's machines take of the disk already.
    pub disk_taken_mib: u64,
    /// Memory of those of the lab's machines that run.
    pub own_memory_mib: u64,
    /// Running machines that are not the lab's.
    pub others: Vec<OtherMachine>,
    /// When it goes to sleep by itself.
    pub power: Option<Vec<PowerSource>>,
    /// How one of the lab's machines that run was reached; none if none runs.
    pub reach: Option<Reach>,
}

/// What came of a connection to a machine of this name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    Answered(String),
    /// The Mac itself said that there is no way to it, which is what a program without the permission hears.
    Unreachable(String),
    Silent(String),
}

/// A running machine that is not the lab's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtherMachine {
    pub name: String,
    /// None if its VMX does not say.
    pub memory_mib: Option<u64>,
}

/// Checks a Fusion that is here: the programs of its bundle that are missing, and its release's flaws.
pub fn fusion_checks(version: &str, missing: &[&str]) -> Vec<Check> {
    vec![
        tools(missing).named("fusion.tools", "Fusion's programs"),
        flaws(version).named("fusion.advisories", "known flaws of this release"),
    ]
}

/// Checks the Mac for a lab.
pub fn mac(lab: &Lab, fusion: &str, seen: &MacSeen) -> Vec<Check> {
    vec![
        macos(fusion, seen).named("mac.version", "macOS"),
        memory(lab, seen).named("mac.memory", "memory for the machines"),
        cpus(lab, seen).named("mac.cpus", "processors for them"),
        disk(lab, seen).named("mac.disk", "room for their disks"),
        sleep(seen).named("mac.sleep", "sleep on mains power"),
        local_network(seen).named("mac.local-network", "the way to the machines"),
    ]
}

fn tools(missing: &[&str]) -> Seen {
    if missing.is_empty() {
        return Seen::ok("all that fusionlab calls");
    }
    Seen::fail(format!("{} is missing", missing.join(", ")), Remedy::ReinstallFusion)
}

fn flaws(version: &str) -> Seen {
    let Some(found) = advisories(version) else {
        return Seen::unknown(format!("{version} does not say which release it is"));
    };
    let Some(Advisory { id, what, .. }) = found.last() else {
        return Seen::ok(format!("none of {version}"));
    };
    let fixed = mended(version).unwrap_or_default().to_owned();
    let others: Vec<&str> = found.iter().rev().skip(1).map(|advisory| advisory.id.as_str()).collect();
    let more = if others.is_empty() { String::new() } else { format!("; also {}", others.join(", ")) };
    Seen::warn(format!("{id}: {what}{more}"), Remedy::UpdateFusion { fixed })
}

fn macos(fusion: &str, seen: &MacSeen) -> Seen {
    let Some(version) = &seen.macos else { return Seen::unknown("this is no Mac") };
    let Some(major) = major(version) else {
        return Seen::unknown(format!("{version:?} is no version that we read"));
    };
    let mut numbers = fusion.split('.').map(|number| number.parse::<u32>().ok());
    let counted = numbers.next().flatten().zip(numbers.next().flatten());
    let wants_newer = fusion.contains('H') || counted.is_some_and(|release| release >= (13, 6));
    if wants_newer && major < LEAST_MACOS {
        let detail = format!("macOS {version}; Fusion {fusion} wants {LEAST_MACOS}");
        return Seen::warn(detail, Remedy::UpdateMacos { least: LEAST_MACOS });
    }
    Seen::ok(format!("macOS {version}"))
}

/// Returns the first number of a version of macOS.
pub(super) fn major(version: &str) -> Option<u32> {
    version.split('.').next()?.parse().ok()
}

fn memory(lab: &Lab, seen: &MacSeen) -> Seen {
    let wanted: u64 = lab.nodes.iter().map(|node| u64::from(node.memory_mib)).sum();
    let machines = count(lab.nodes.len(), "machine");
    let Some(all) = seen.memory_mib else {
        return Seen::unknown(format!("{machines} want {}; the Mac does not say what it has", gib(wanted)));
    };
    let others: u64 = seen.others.iter().filter_map(|other| other.memory_mib).sum();
    let mut detail = format!("{machines} want {} of {}", gib(wanted), gib(all));
    if let [first, more @ ..] = seen.others.as_slice() {
        let who = match more.len() {
            0 => format!("{} has", first.name),
            _ => format!("{} have", count(seen.others.len(), "other VM")),
        };
        let unsaid = if seen.others.iter().any(|other| other.memory_mib.is_none()) { " or more" } else { "" };
        detail.push_str(&format!(", and {who} {}{unsaid}", gib(others)));
    }
    if wanted > all {
        return Seen::fail(detail, Remedy::SmallerLab);
    }
    if wanted + others > all * COMFORTABLE_PERCENT / 100 {
        let seen_now = Seen::warn(detail, Remedy::SmallerLab);
        return if seen.others.is_empty() { seen_now } else { seen_now.or(Remedy::StopOthers) };
    }
    let lacking = wanted.saturating_sub(seen.own_memory_mib);
    match seen.free_memory_mib {
        Some(free) if free < lacking => {
            Seen::warn(format!("{detail}; {} can be had now", gib(free)), Remedy::CloseProgrammes)
        }
        Some(free) => Seen::ok(format!("{detail}; {} can be had now", gib(free))),
        None => Seen::ok(detail),
    }
}

fn cpus(lab: &Lab, seen: &MacSeen) -> Seen {
    let wanted: u64 = lab.nodes.iter().map(|node| u64::from(node.cpus)).sum();
    let Some(cpus) = seen.cpus else {
        return Seen::unknown(format!("{wanted} virtual ones; the Mac does not say what it has"));
    };
    let detail = format!("{wanted} virtual ones on {cpus}");
    if let Some(node) = lab.nodes.iter().find(|node| u32::from(node.cpus) > cpus) {
        let detail = format!("{} has {}, the Mac {cpus}", node.name, node.cpus);
        return Seen::warn(detail, Remedy::SmallerLab);
    }
    if wanted > u64::from(cpus) * MOST_VIRTUAL_CPUS {
        return Seen::warn(detail, Remedy::SmallerLab);
    }
    Seen::ok(detail)
}

fn disk(lab: &Lab, seen: &MacSeen) -> Seen {
    let bound: u64 = lab.nodes.iter().map(|node| u64::from(node.disk_gib) * MIB_OF_GIB).sum();
    let Some(free) = seen.disk_free_mib else {
        return Seen::unknown(format!("they grow to {} at most; the disk does not say", gib(bound)));
    };
    let growth = bound.saturating_sub(seen.disk_taken_mib);
    let taken = match seen.disk_taken_mib {
        // New linked clones take next to nothing.
        taken if taken * 10 < MIB_OF_GIB => String::new(),
        taken => format!(", and take {} now", gib(taken)),
    };
    let detail = format!("they grow to {} at most{taken}; {} are free", gib(bound), gib(free));
    match free {
        _ if free < LEAST_DISK_MIB && growth > free => Seen::fail(detail, Remedy::FreeDisk),
        _ if growth > free => Seen::warn(detail, Remedy::FreeDisk),
        _ => Seen::ok(detail),
    }
}

fn sleep(seen: &MacSeen) -> Seen {
    let sources = seen.power.as_deref().unwrap_or_default();
    let minutes = sources.iter().find(|source| source.is_mains()).and_then(|source| source.sleep_minutes);
    match minutes {
        None => Seen::unknown("this system does not say when it sleeps"),
        Some(0) => Seen::ok("it never sleeps by itself there"),
        Some(minutes) => {
            let detail = format!(
                "it sleeps after {} without work, and the machines stand still with it",
                count(minutes as usize, "minute")
            );
            Seen::warn(detail, Remedy::StayAwake)
        }
    }
}

fn local_network(seen: &MacSeen) -> Seen {
    let macos = seen.macos.as_deref().and_then(major);
    match (&seen.reach, macos) {
        (Some(Reach::Answered(name)), _) => Seen::ok(format!("{name} answers")),
        (_, None) => Seen::unknown("this is no Mac"),
        (_, Some(macos)) if macos < ASKS_FOR_LOCAL_NETWORK => {
            Seen::ok(format!("macOS {macos} denies it to nobody"))
        }
        (Some(Reach::Unreachable(name)), _) => Seen::fail(
            format!("{name} runs, and macOS says that there is no way to it"),
            Remedy::AllowLocalNetwork,
        ),
        (Some(Reach::Silent(name)), _) => {
            Seen::unknown(format!("{name} runs and does not answer, for whatever reason"))
        }
        (None, _) => Seen::unknown("macOS tells nobody; it is seen once a machine of the lab runs"),
    }
}

/// Returns an amount in GiB, with a tenth where it is small.
fn gib(mib: u64) -> String {
    const TENTHS: u64 = 10;
    let tenths = mib * TENTHS / MIB_OF_GIB;
    if tenths.is_multiple_of(TENTHS) || tenths >= TENTHS * TENTHS {
        format!("{} GiB", tenths / TENTHS)
    } else {
        format!("{}.{} GiB", tenths / TENTHS, tenths % TENTHS)
    }
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;
    use crate::stack::fixture;

    fn mac_seen() -> MacSeen {
        MacSeen {
            macos: Some("15.1".to_owned()),
            memory_mib: Some(64 * MIB_OF_GIB),
            free_memory_mib: Some(48 * MIB_OF_GIB),
            cpus: Some(12),
            disk_free_mib: Some(900 * MIB_OF_GIB),
            reach: Some(Reach::Answered("gateway1".to_owned())),
            power: Some(vec![source("AC Power", 0), source("Battery Power", 1)]),
            ..MacSeen::default()
        }
    }

    fn source(name: &str, minutes: u32) -> PowerSource {
        PowerSource { name: name.to_owned(), sleep_minutes: Some(minutes) }
    }

    fn check(seen: &MacSeen, id: &str) -> Check {
        let mut checks = mac(&fixture::lab(), "26H1", seen);
        checks.retain(|check| check.id == id);
        checks.pop().unwrap_or_else(|| panic!("no {id}"))
    }

    #[track_caller]
    fn says(seen: &MacSeen, id: &str, state: State, part: &str) {
        let check = check(seen, id);
        assert_eq!(check.state, state, "{check:?}");
        assert!(check.detail.contains(part), "{check:?}");
        assert_eq!(check.fix.is_empty(), matches!(state, State::Ok | State::Unknown), "{check:?}");
    }

    #[test]
    fn a_mac_with_room_passes_and_one_that_says_nothing_is_not_judged() {
        for check in mac(&fixture::lab(), "26H1", &mac_seen()) {
            assert_eq!(check.state, State::Ok, "{check:?}");
        }
        for check in mac(&fixture::lab(), "26H1", &MacSeen::default()) {
            assert_eq!(check.state, State::Unknown, "{check:?}");
        }
    }

    #[test]
    fn memory_is_summed_over_the_lab_and_others() {
        let wanted: u64 = fixture::lab().nodes.iter().map(|node| u64::from(node.memory_mib)).sum();
        let of = |memory_mib| MacSeen { memory_mib: Some(memory_mib), ..mac_seen() };
        says(&of(wanted - 1), "mac.memory", State::Fail, " want ");
        says(&of(wanted + 1), "mac.memory", State::Warn, " want ");
        let other = |memory_mib| OtherMachine { name: "windows".to_owned(), memory_mib };
        let full = MacSeen { others: vec![other(Some(60 * MIB_OF_GIB))], ..mac_seen() };
        says(&full, "mac.memory", State::Warn, "windows has 60 GiB");
        assert_eq!(check(&full, "mac.memory").fix, [Remedy::SmallerLab, Remedy::StopOthers]);
        let silent = MacSeen { others: vec![other(Some(1024)), other(None)], ..mac_seen() };
        says(&silent, "mac.memory", State::Ok, "2 other VMs have 1 GiB or more");
        let busy = MacSeen { free_memory_mib: Some(1024), ..mac_seen() };
        says(&busy, "mac.memory", State::Warn, "1 GiB can be had now");
        let up = MacSeen { own_memory_mib: wanted, ..busy };
        says(&up, "mac.memory", State::Ok, "1 GiB can be had now");
    }

    #[test]
    fn disks_are_held_against_the_room_that_is_left_for_their_growth() {
        let bound: u64 = fixture::lab().nodes.iter().map(|node| u64::from(node.disk_gib) * MIB_OF_GIB).sum();
        let of = |free, taken| MacSeen { disk_free_mib: Some(free), disk_taken_mib: taken, ..mac_seen() };
        says(&of(bound, 0), "mac.disk", State::Ok, "are free");
        says(&of(bound - 1, 0), "mac.disk", State::Warn, "at most; ");
        says(&of(bound - 1, 2 * MIB_OF_GIB), "mac.disk", State::Ok, "take 2 GiB");
        says(&of(LEAST_DISK_MIB - 1, 0), "mac.disk", State::Fail, "1.9 GiB are free");
    }

    #[test]
    fn processors_sleep_and_macos_have_their_words() {
        says(&MacSeen { cpus: Some(1), ..mac_seen() }, "mac.cpus", State::Warn, "the Mac 1");
        let sleepy = MacSeen { power: Some(vec![source("AC Power", 1)]), ..mac_seen() };
        says(&sleepy, "mac.sleep", State::Warn, "after 1 minute without work");
        let battery = MacSeen { power: Some(vec![source("Battery Power", 1)]), ..mac_seen() };
        says(&battery, "mac.sleep", State::Unknown, "does not say");
        let of = |macos: &str| MacSeen { macos: Some(macos.to_owned()), ..mac_seen() };
        says(&of("12.7"), "mac.version", State::Warn, "Fusion 26H1 wants 13");
        says(&of("Rhapsody"), "mac.version", State::Unknown, "no version");
    }

    #[test]
    fn the_local_network_is_denied_only_where_macos_itself_sees_no_way() {
        let of = |macos: &str, reach| MacSeen { macos: Some(macos.to_owned()), reach, ..mac_seen() };
        let unreachable = || Some(Reach::Unreachable("gateway1".to_owned()));
        says(&of("15.1", unreachable()), "mac.local-network", State::Fail, "no way to it");
        says(&of("14.7", unreachable()), "mac.local-network", State::Ok, "macOS 14");
        says(
            &of("26.1", Some(Reach::Silent("gateway1".to_owned()))),
            "mac.local-network",
            State::Unknown,
            "whatever",
        );
        says(&of("26.1", None), "mac.local-network", State::Unknown, "once a machine");
    }

    #[test]
    fn each_flaw_is_named_and_the_release_that_mends_all() {
        let checks = fusion_checks("13.6.3", &["vmrest"]);
        assert_eq!((checks[0].state, checks[0].detail.as_str()), (State::Fail, "vmrest is missing"));
        assert_eq!(checks[1].fix, [Remedy::UpdateFusion { fixed: "26H1u1".to_owned() }]);
        assert!(
            checks[1].detail.starts_with("CVE-2026-22715: ") && checks[1].detail.contains("CVE-2025-41237")
        );
        assert_eq!(fusion_checks("99H1", &[])[1].state, State::Ok);
        assert_eq!(fusion_checks("26.0.1", &[])[1].state, State::Unknown);
    }

    #[test]
    fn amounts_are_in_gib() {
        assert_eq!([512, 1024, 1536, 20 * 1024 + 512].map(gib), ["0.5 GiB", "1 GiB", "1.5 GiB", "20 GiB"]);
    }
}
