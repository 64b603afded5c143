//! The whole of `up`, `destroy` and `up` again, in virtual time, in one thread, with faults drawn from a seed.
//!
//! ```text
//! FUSIONLAB_SEEDS=1000 FUSIONLAB_SEEDS_FROM=1 cargo test --test simulate
//! ```
//!
//! `just simulate` is that; docs/simulation.md says what is simulated and what is not.

#![expect(clippy::disallowed_methods, reason = "tests look at files and let time pass past the product")]

mod beside;
mod chance;
mod hands;
mod invariants;
mod lab_file;
mod mac;
mod mishaps;
mod neighbours;
mod networking;
mod second;
mod secrets;
mod seeds;
mod story;
mod users;

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use mac::{Mac, Verb, in_virtual_time};
use tokio_util::sync::CancellationToken;

/// Seeds of a plain `cargo test`; CI runs many more.
const FEW_SEEDS: u64 = 8;

#[test]
fn a_lab_comes_up_and_goes_in_virtual_time() {
    in_virtual_time(async {
        let mac = Mac::new("version: 1\n", 1);
        for verb in [Verb::Up, Verb::Verify, Verb::Destroy] {
            mac.run(verb, &CancellationToken::new()).await.expect("nothing goes wrong");
        }
        let (took, _) = mac.inside.trace().pop().expect("much happened");
        assert!(took.as_secs() > 300, "a lab takes minutes, and they passed: {took:?}");
    });
}

#[test]
fn no_seed_breaks_a_rule() {
    let (count, from) =
        (seeds::number("FUSIONLAB_SEEDS", FEW_SEEDS), seeds::number("FUSIONLAB_SEEDS_FROM", 1));
    let mut found = seeds::run(from, count);
    found.retain(|told| !seeds::OPEN.contains(&told.seed));
    assert!(found.is_empty(), "{} of {count} seeds broke a rule", found.len());
}

/// `broken.sh` looks whether a seed notices what these patches do; here only that they still fit the code.
#[test]
fn every_rule_can_be_broken() {
    let patches = fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/simulate/broken"));
    let patches: Vec<PathBuf> =
        patches.expect("they are there").flatten().map(|entry| entry.path()).collect();
    assert!(patches.len() >= 15, "{patches:?}");
    for patch in patches {
        let says = fs::read_to_string(&patch).expect("a patch is text");
        assert!(says.starts_with("# "), "{} does not say what is done wrong", patch.display());
        let mut git = Command::new("git");
        git.current_dir(env!("CARGO_MANIFEST_DIR")).args(["apply", "--check"]).arg(&patch);
        let done = git.output().expect("git is there");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }
}

#[test]
fn the_same_seed_tells_the_same_story() {
    for seed in 1..=3 {
        let [first, second] = [seeds::tell(seed), seeds::tell(seed)].map(|told| {
            // Two that end alike before anything happened tell nothing.
            assert!(told.violation.is_none(), "seed {seed}: {:?}", told.violation);
            told.trace
        });
        let same = first.iter().zip(&second).take_while(|(one, other)| one == other).count();
        assert!(
            first.len() == same && second.len() == same,
            "seed {seed} differs from line {same} on: {:?}, {:?}",
            first.get(same),
            second.get(same)
        );
    }
}

#[test]
fn a_panic_breaks_a_rule_and_says_why() {
    let told = seeds::caught(4711, || panic!("nobody is at {}", "home"));
    let violation = told.violation.expect("it panicked");
    assert_eq!((told.seed, violation.rule, violation.what.as_str()), (4711, "no panic", "nobody is at home"));
}

#[test]
fn what_is_no_number_is_not_taken_for_none() {
    assert_eq!(seeds::read("SEEDS", None, 8), 8);
    assert_eq!(seeds::read("SEEDS", Some("12".into()), 8), 12);
    for text in ["", "1000x", "-1", "1,000"] {
        let read = std::panic::catch_unwind(|| seeds::read("SEEDS", Some(text.into()), 8));
        let said = read.expect_err("it is no number");
        assert_eq!(said.downcast_ref::<String>(), Some(&format!("SEEDS={text} is no number")));
    }
}
