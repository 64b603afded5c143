//! Any text as Apple's leases file.
#![no_main]

#[path = "../../src/formats/mod.rs"]
#[expect(dead_code, unused_imports, reason = "a target uses a part of the layer")]
mod formats;

use formats::dhcp::{apple_leases, newest_valid};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let found = apple_leases(text);
    for lease in &found {
        assert!(newest_valid(&found, lease.mac, 0).is_none_or(|newest| newest.mac == lease.mac));
    }
});
