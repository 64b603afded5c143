//! Many seeds, each in a thread of its own, and what is said of one that breaks a rule.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::chance::Chance;
use super::invariants::Violation;
use super::mac::{Mac, in_virtual_time};
use super::story;

/// Futures of a build without optimisation are deep.
const STACK: usize = 64 << 20;
/// After so many seeds it is said how many there were.
const PROGRESS: u64 = 500;
/// Seeds that break a rule for a reason that is not mended yet: docs/simulation.md says what happens. They are told and said
/// like any other, and fail nothing; the list is to be empty.
pub const OPEN: &[u64] = &[];
/// Lines of a trace that a violation shows.
const SHOWN: usize = 60;

/// What a seed's story was.
pub struct Told {
    pub seed: u64,
    pub lab: &'static str,
    pub trace: Vec<(Duration, String)>,
    pub violation: Option<Violation>,
}

/// Returns a number from the environment.
///
/// # Panics
/// If there is something else.
pub fn number(name: &str, otherwise: u64) -> u64 {
    read(name, std::env::var_os(name), otherwise)
}

/// Reads a number from what the environment has under a name, if anything.
pub fn read(name: &str, text: Option<OsString>, otherwise: u64) -> u64 {
    let Some(text) = text else { return otherwise };
    let number = text.to_str().and_then(|text| text.parse().ok());
    number.unwrap_or_else(|| panic!("{name}={} is no number", text.display()))
}

/// Tells one seed's story.
pub fn tell(seed: u64) -> Told {
    caught(seed, move || {
        let mut chance = Chance::of(seed);
        let lab = story::lab(&mut chance);
        in_virtual_time(async {
            let mac = Mac::new(lab, seed);
            let violation = story::happen(&mac, &mut chance).await.err();
            Told { seed, lab, trace: mac.inside.trace(), violation }
        })
    })
}

/// Tells a story in a thread of its own; a panic breaks a rule.
pub fn caught(seed: u64, told: impl FnOnce() -> Told + Send + 'static) -> Told {
    let thread = thread::Builder::new().stack_size(STACK).name(format!("seed-{seed}"));
    let done = thread.spawn(told).expect("a thread can be started").join();
    done.unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<String>().cloned();
        let said = said.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        let violation = Violation::of("no panic", said.unwrap_or_default());
        Told { seed, lab: "", trace: Vec::new(), violation: Some(violation) }
    })
}

/// Tells so many seeds' stories and returns those in which something was wrong, each said at once. With
/// `FUSIONLAB_SEEDS_ENOUGH` no other is begun once so many were.
pub fn run(from: u64, count: u64) -> Vec<Told> {
    let most = number("FUSIONLAB_SEEDS_ENOUGH", u64::MAX);
    let (next, wrong) = (AtomicU64::new(from), AtomicU64::new(0));
    let found = Mutex::new(Vec::new());
    let began = Instant::now();
    let (virtual_seconds, done) = (AtomicU64::new(0), AtomicU64::new(0));
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while wrong.load(Ordering::SeqCst) < most {
                    let seed = next.fetch_add(1, Ordering::SeqCst);
                    if seed >= from + count {
                        break;
                    }
                    let told = tell(seed);
                    let done = done.fetch_add(1, Ordering::SeqCst) + 1;
                    if done.is_multiple_of(PROGRESS) {
                        println!("{done} of {count} seeds in {:.0} s", began.elapsed().as_secs_f64());
                    }
                    let took = told.trace.last().map_or(0, |(at, _)| at.as_secs());
                    virtual_seconds.fetch_add(took, Ordering::SeqCst);
                    if told.violation.is_some() {
                        say(&told);
                        wrong.fetch_add(1, Ordering::SeqCst);
                        found.lock().expect("nobody panics with it").push(told);
                    }
                }
            });
        }
    });
    println!(
        "{} seeds in {:.1} s, {:.1} hours of virtual time",
        done.into_inner(),
        began.elapsed().as_secs_f64(),
        virtual_seconds.into_inner() as f64 / 3600.0
    );
    let mut found = found.into_inner().expect("nobody panics with it");
    found.sort_by_key(|told| told.seed);
    found
}

/// Says what was wrong, how it came, and how to see it again.
fn say(told: &Told) {
    let Some(Violation { rule, what }) = &told.violation else { return };
    let all: Vec<String> =
        told.trace.iter().map(|(at, text)| format!("{:10.3} {text}", at.as_secs_f64())).collect();
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("seed-{}.txt", told.seed));
    let _ = fs::write(&file, format!("{}\n{}\n{rule}: {what}\n", told.lab, all.join("\n")));
    let end = &all[all.len().saturating_sub(SHOWN)..];
    println!(
        "seed {} breaks a rule: {rule}: {what}\n{}\nall of it: {}\nagain: just simulate 1 from={}\n",
        told.seed,
        end.join("\n"),
        file.display(),
        told.seed
    );
}
