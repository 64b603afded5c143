//! Any text as a nat.conf.
#![no_main]

#[path = "../../src/formats/mod.rs"]
#[expect(dead_code, unused_imports, reason = "a target uses a part of the layer")]
mod formats;

use formats::dhcp::{NatFile, nat_forwards};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let file = NatFile::parse(text);
    let forwards = file.forwards();
    assert_eq!(forwards, nat_forwards(text));
    assert!(forwards.len() + file.problems().len() <= text.lines().count() * 2 + 1);
});
