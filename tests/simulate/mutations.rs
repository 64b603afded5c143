//! Rules of ours that are broken on purpose, one at a time: the simulation must notice each.

use std::time::Instant;

use super::seeds;

/// Each rule's name as the code asks for it (`stand_in::broken`), and what is done wrong.
pub const TABLE: &[(&str, &str)] = &[
    ("no-fsync", "a new file takes its name before its bytes are on the disk"),
    ("no-rename", "a file is written in place instead of beside"),
    ("no-rollback", "a networking file that does not work stays"),
    ("interruption-forgotten", "a change of networks that was cut short is not gone on from"),
    ("record-late", "what is ours in the networking file is written down after the change"),
    ("lock-ignored", "a lab that somebody works on is worked on"),
    ("no-clone-mark", "a clone is made without the marks that say that it is ours and unfinished"),
    ("marks-go-first", "a VM's folder loses its marks before the rest of it"),
    ("mark-unchecked", "whatever stands in the lab's folder passes for ours"),
    ("macs-unchecked", "nobody looks whether another VM has a MAC of ours"),
    ("identity-in-place", "the lab's keys appear one by one"),
    ("second-learner", "control planes join beside each other"),
    ("stale-member", "etcd keeps the member of a join that was cut short"),
    ("torn-journal", "a record follows on the line that a crash has torn"),
    ("unredacted", "what guests print is told as it is"),
];

/// Runs seeds for each rule until one notices; prints the table.
///
/// # Panics
/// If a broken rule went unnoticed.
pub fn find_all() {
    let most = seeds::number("FUSIONLAB_SEEDS", 1000);
    let only = std::env::var("FUSIONLAB_BREAK").ok();
    let mut unnoticed = Vec::new();
    println!("{:<24} {:>5} {:>7}  FOUND BY", "BROKEN RULE", "SEED", "SECONDS");
    for (rule, _) in TABLE.iter().filter(|(rule, _)| only.as_deref().is_none_or(|only| only == *rule)) {
        let began = Instant::now();
        let found = seeds::run(1, most, Some(rule));
        let seconds = began.elapsed().as_secs_f64();
        match found.first().and_then(|told| Some((told.seed, told.violation.as_ref()?))) {
            Some((seed, violation)) => {
                let what: String = violation.what.chars().take(90).collect();
                println!("{rule:<24} {seed:>5} {seconds:>7.1}  {}: {what}", violation.rule);
            }
            None => {
                println!("{rule:<24} {:>5} {seconds:>7.1}  nobody", "-");
                unnoticed.push(*rule);
            }
        }
    }
    assert!(unnoticed.is_empty(), "broken and unnoticed: {unnoticed:?}");
}
