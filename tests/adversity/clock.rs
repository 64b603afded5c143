//! The Mac's clock set back while the lab stands: a library in front of the system's says another time.

use std::fs;
use std::process::Command;

use super::rows::UP;
use super::solo;

/// Adds seconds to the time of day, and leaves the clock alone that waits are measured by.
const SHIFT: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>
int clock_gettime(clockid_t id, struct timespec *at) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int outcome = real(id, at);
    const char *by = getenv("CLOCK_SHIFT");
    if (id == CLOCK_REALTIME && by) at->tv_sec += atol(by);
    return outcome;
}
"#;
const A_DAY_BACK: &str = "-86400";

#[test]
fn a_clock_that_was_set_back_a_day_changes_nothing() {
    if std::env::var_os("FUSIONLAB_TEST_TOOLS").is_none() || !cfg!(target_os = "linux") {
        println!("skipped: FUSIONLAB_TEST_TOOLS is not set, or this is not Linux");
        return;
    }
    let session = solo();
    let (source, library) = (session.work().join("shift.c"), session.work().join("shift.so"));
    fs::write(&source, SHIFT).expect("it can be written");
    let made = Command::new("cc").args(["-shared", "-fPIC", "-o"]).args([&library, &source]).status();
    assert!(made.expect("cc runs").success());
    session.clone().args(UP).run().exits(0);
    let shifted = session.clone().env("LD_PRELOAD", &library).env("CLOCK_SHIFT", A_DAY_BACK);
    shifted.clone().args(["plan", "--detailed-exitcode"]).run().exits(0);
    let up = shifted.clone().args(UP).run().exits(0);
    assert!(up.stderr.contains("nothing had to be done"), "{}", up.shown());
    shifted.clone().args(["verify"]).run().exits(0);
    shifted.args(["destroy", "--yes"]).run().exits(0);
    assert!(!session.simulated_mac().join("Virtual Machines.localized/lab").exists());
    session.args(UP).run().exits(0);
}
