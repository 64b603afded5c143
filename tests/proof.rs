//! The proof of the proof: every check of `verify` fails when its cause is brought about, and no other check does that
//! does not depend on it.
//!
//! ```text
//! proof/bench.rs    one simulated lab: what `verify` finds there, and hands in its guests, its cluster and its Fusion
//! proof/causes.rs   what is brought about, which checks must fail, which may, and how it is mended
//! proof/cluster.rs  the same inside the cluster
//! proof/ends.rs     the same of certificates that end soon
//! ```

#[path = "proof/bench.rs"]
pub mod bench;
#[path = "proof/causes.rs"]
mod causes;
#[path = "proof/cluster.rs"]
mod cluster;
#[path = "proof/ends.rs"]
mod ends;

use std::collections::BTreeSet;
use std::time::Instant;

use bench::Bench;
use causes::{ANY, Cause};

/// How often the lab is asked anew until it shows what was done to it: its clusters need moments for that.
const LOOKS: usize = 12;

#[test]
fn every_check_fails_when_its_cause_is_there_and_only_those_that_depend_on_it() {
    let bench = Bench::up();
    let named: BTreeSet<&str> = causes().flat_map(|cause| cause.must).copied().collect();
    let lacking: Vec<String> = bench.ids().into_iter().filter(|id| !named.contains(id.as_str())).collect();
    assert!(lacking.is_empty(), "no cause makes these checks fail: {lacking:?}");
    let strange: Vec<&&str> = named.iter().filter(|id| !bench.ids().contains(**id)).collect();
    assert!(strange.is_empty(), "these are no checks: {strange:?}");
    for cause in causes() {
        prove(&bench, cause);
    }
    let failed = bench.failed(&[]);
    assert!(failed.is_empty(), "all is mended: {failed:#?}");
    bench.down();
}

/// Returns every cause; the last ones take a machine away.
fn causes() -> impl Iterator<Item = &'static Cause> {
    cluster::CAUSES.iter().chain(ends::CAUSES).chain(causes::CAUSES)
}

fn prove(bench: &Bench, cause: &Cause) {
    let began = Instant::now();
    (cause.bring)(bench);
    let must: BTreeSet<&str> = cause.must.iter().copied().collect();
    let allowed = |id: &str| must.contains(id) || cause.may.iter().any(|may| *may == ANY || *may == id);
    let mut failed = bench.failed(&[]);
    for _ in 1..LOOKS {
        if must.iter().all(|id| failed.contains_key(*id)) && failed.keys().all(|id| allowed(id)) {
            break;
        }
        failed = bench.failed(&[]);
    }
    let missed: Vec<&&str> = must.iter().filter(|id| !failed.contains_key(**id)).collect();
    assert!(missed.is_empty(), "{}: these checks did not notice: {missed:?}\n{failed:#?}", cause.what);
    let strange: Vec<_> = failed.iter().filter(|(id, _)| !allowed(id)).collect();
    assert!(strange.is_empty(), "{}: these checks do not depend on it: {strange:#?}", cause.what);
    (cause.mend)(bench);
    let again: Vec<&str> = failed.keys().map(String::as_str).collect();
    let mut left = bench.failed(&again);
    for _ in 1..LOOKS {
        if left.is_empty() {
            break;
        }
        left = bench.failed(&again);
    }
    assert!(left.is_empty(), "{}: mended, and still: {left:#?}", cause.what);
    println!("{}: {} failed, {:.1} s", cause.what, failed.len(), began.elapsed().as_secs_f64());
}
