//! Any text as what sysctl and vm_stat print.
#![no_main]

#[path = "../../src/formats/mod.rs"]
#[expect(dead_code, unused_imports, reason = "a target uses a part of the layer")]
mod formats;

use formats::memory::{available_mib, size};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    // No sum is larger than all that 64 bits can count, in MiB.
    assert!(available_mib(text).is_none_or(|mib| mib <= u64::MAX >> 20));
    assert!(size(text).is_none_or(|(mib, cpus)| mib > 0 && cpus > 0));
});
