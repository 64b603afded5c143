//! Memory and open files do not grow with time, nor does what is kept on disk, whatever guests print.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::support::session::{Ended, Running, Session};
use crate::up::Journal;

/// The smallest lab; a guest that floods is given up soon.
const LAB: &str = "version: 1\npreset: solo\nlimits: {guest_ssh: 20, guest_cloud_init: 25, guest_command: 15, verify_check: 20}\n";
/// What a run may hold while guests flood it: two streams of 8 MiB for each of the few commands at once, and the program.
const MOST_MIB: u64 = 400;
/// More than any run needs: eight guests with three sessions of two descriptors each, and the program's own.
const MOST_FILES: usize = 100;

/// The highest memory and the open files of a process so far.
#[derive(Clone, Copy, Debug, Default)]
struct Use {
    memory_kib: u64,
    files: usize,
    threads: u64,
}

impl Use {
    /// Reads a process's use; none once it has ended.
    fn of(id: u32) -> Option<Self> {
        let status = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
        let figure = |name: &str| -> Option<u64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().next()?.parse().ok()
        };
        let files = fs::read_dir(format!("/proc/{id}/fd")).ok()?.count();
        Some(Self { memory_kib: figure("VmRSS:")?, files, threads: figure("Threads:")? })
    }

    fn with(self, other: Self) -> Self {
        Self {
            memory_kib: self.memory_kib.max(other.memory_kib),
            files: self.files.max(other.files),
            threads: self.threads.max(other.threads),
        }
    }
}

/// Watches a run to its end; returns what it left and the most that it used.
fn watched(running: Running) -> (Ended, Use) {
    let id = running.id();
    let watch = std::thread::spawn(move || {
        let mut most = Use::default();
        while let Some(now) = Use::of(id) {
            most = most.with(now);
            std::thread::sleep(Duration::from_millis(5));
        }
        most
    });
    let ended = running.wait();
    (ended, watch.join().expect("the watch ends with the run"))
}

fn is_linux() -> bool {
    if !cfg!(target_os = "linux") {
        println!("skipped: there is no /proc here");
    }
    cfg!(target_os = "linux")
}

#[test]
fn runs_one_after_another_use_no_more_each_time_and_keep_no_more_on_disk() {
    if !is_linux() {
        return;
    }
    let session = Session::new().file("fusionlab.yaml", LAB);
    session.clone().args(["up", "--yes"]).run().exits(0);
    let logs = session.fusionlab_home().join("labs/lab/logs");
    let mut all = Vec::new();
    for _ in 0..12 {
        for verb in [&["verify"][..], &["up", "--yes"]] {
            let (ended, used) = watched(session.clone().args(verb).start());
            ended.exits(0);
            all.push(used);
        }
    }
    let most = all.iter().fold(Use::default(), |most, used| most.with(*used));
    println!("24 runs: {most:?}");
    let (early, late) = all.split_at(all.len() / 2);
    let peak = |runs: &[Use]| runs.iter().map(|used| used.memory_kib).max().unwrap_or_default();
    assert!(peak(late) < peak(early) * 3 / 2, "{} KiB, later {} KiB", peak(early), peak(late));
    assert!(most.files < MOST_FILES && most.memory_kib < MOST_MIB * 1024, "{most:?}");
    assert!(fs::read_dir(&logs).expect("there are logs").count() <= 10);
    session.args(["destroy", "--yes"]).run().exits(0);
}

#[test]
fn a_long_wait_takes_neither_memory_nor_files() {
    if !is_linux() {
        return;
    }
    let session = Session::new().file("fusionlab.yaml", LAB);
    session.clone().args(["sim", "fault", "guest-hangs-at-boot", "--on", "gateway1"]).run().exits(0);
    let journal = Journal::of(&session);
    let mut up = session.clone().args(["up", "--yes"]).start();
    up.wait_until(|| journal.starts_of("guest.ready/gateway1") > 0);
    let id = up.id();
    let began = Instant::now();
    let watch = std::thread::spawn(move || {
        // The first half fills what is filled once; the second must add nothing.
        let (mut first, mut second) = (Use::default(), Use::default());
        while let Some(now) = Use::of(id) {
            let half = if began.elapsed() < Duration::from_secs(10) { &mut first } else { &mut second };
            *half = half.with(now);
            std::thread::sleep(Duration::from_millis(20));
        }
        (first, second)
    });
    up.wait().exits(8);
    let (first, second) = watch.join().expect("the watch ends with the run");
    println!("first half {first:?}, second {second:?}");
    assert!(first.files > 0 && second.files > 0, "the wait was too short to tell: {first:?} {second:?}");
    assert!(second.files <= first.files + 3 && second.threads <= first.threads + 2, "{first:?} {second:?}");
    assert!(second.memory_kib <= first.memory_kib + 8 * 1024, "{first:?} {second:?}");
}

#[test]
fn a_guest_that_floods_takes_bounded_memory_and_harms_no_other() {
    if !is_linux() {
        return;
    }
    let session = Session::new().file("fusionlab.yaml", LAB);
    session.clone().args(["up", "--yes"]).run().exits(0);
    session.clone().args(["sim", "fault", "guest-floods", "--on", "gateway1"]).run().exits(0);
    let (verify, most) = watched(session.clone().args(["verify", "--output", "json"]).start());
    let proof = verify.exits(10).first_json();
    println!("flooded: {most:?}");
    assert!(most.memory_kib < MOST_MIB * 1024, "{most:?}");
    let checks = proof["checks"].as_array().expect("a list of checks");
    let failed: Vec<_> = checks.iter().filter(|check| check["passed"] == false).collect();
    assert!(!failed.is_empty() && checks.len() - failed.len() > 40, "{failed:#?}");
    // What does not ask the gateway goes on.
    let others =
        |check: &&serde_json::Value| ["control-plane", "pod-network"].iter().any(|hop| check["hop"] == *hop);
    assert!(!failed.iter().copied().any(|check| others(&check)), "{failed:#?}");

    // The same guest in an `up`: its file has the head and says what is left out.
    session.clone().args(["destroy", "--yes"]).run().exits(0);
    let (up, most) = watched(session.clone().args(["up", "--yes"]).start());
    println!("flooded up: {most:?}");
    assert!(!up.status.success() && most.memory_kib < MOST_MIB * 1024, "{most:?}\n{}", up.shown());
    let named = up.stderr.split_whitespace().find(|word| word.ends_with("-gateway1.log"));
    let named = Path::new(named.unwrap_or_else(|| panic!("the error names no file:\n{}", up.shown())));
    let told = fs::read_to_string(named).expect("the file is there");
    assert!(told.contains(" bytes are left out here"), "{} bytes", told.len());
    let run = named.parent().expect("it lies in the run's folder");
    let sizes: Vec<u64> = fs::read_dir(run)
        .expect("it is a folder")
        .flatten()
        .map(|file| file.metadata().expect("it is there").len())
        .collect();
    assert!(sizes.iter().all(|size| *size < 5 * 1024 * 1024), "{sizes:?}");
    session.clone().args(["sim", "fault", "--clear"]).run().exits(0);
    session.args(["destroy", "--yes"]).run().exits(0);
}
