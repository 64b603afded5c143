//! Other programs that tests ask whether our files are good.
#![expect(clippy::disallowed_methods, reason = "looks for programs, in tests only")]

use std::process::{Command, Stdio};

/// With this variable set to 1, a missing program fails the test instead of skipping it.
const REQUIRED: &str = "FUSIONLAB_TEST_TOOLS";

/// Says whether a program is there; prints that the test is skipped if it is not.
pub fn present(program: &str) -> bool {
    let quiet = || Stdio::null();
    let found =
        Command::new(program).arg("--version").stdin(quiet()).stdout(quiet()).stderr(quiet()).status();
    if found.is_ok() {
        return true;
    }
    assert!(std::env::var(REQUIRED).as_deref() != Ok("1"), "{program} is missing, and {REQUIRED}=1 is set");
    eprintln!("skipped: {program} is not installed");
    false
}
