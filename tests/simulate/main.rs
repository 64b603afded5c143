//! The whole of `up`, `destroy` and `up` again, in virtual time, in one thread, with faults drawn from a seed.
//!
//! ```text
//! FUSIONLAB_SEEDS=1000 FUSIONLAB_SEEDS_FROM=1 CARGO_PROFILE_DEV_OPT_LEVEL=1 cargo test --test simulate
//! ```
//!
//! `just simulate` is that; docs/simulation.md says what is simulated and what is not.

#![expect(clippy::disallowed_methods, reason = "tests look at files and let time pass past the product")]

mod chance;
mod hands;
mod invariants;
mod mac;
mod mishaps;
mod mutations;
mod neighbours;
mod networking;
mod second;
mod seeds;
mod story;

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
    let found = seeds::run(from, count, None);
    assert!(found.is_empty(), "{} of {count} seeds broke a rule", found.len());
}

#[test]
fn the_same_seed_tells_the_same_story() {
    for seed in 1..=3 {
        let (first, second) = (seeds::tell(seed, None).trace, seeds::tell(seed, None).trace);
        let same = first.iter().zip(&second).take_while(|(one, other)| one == other).count();
        assert!(
            first.len() == same && second.len() == same,
            "seed {seed} differs from line {same} on: {:?}, {:?}",
            first.get(same),
            second.get(same)
        );
    }
}

/// Breaks each rule of [`mutations::TABLE`] in turn; minutes, so `just simulate-broken` asks for it.
#[test]
#[ignore = "it runs up to a thousand seeds for each rule"]
fn every_broken_rule_is_found() {
    mutations::find_all();
}
