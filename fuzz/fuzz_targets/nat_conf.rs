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
    let lines = text.split(['\n', '\r']).count();
    assert!(forwards.len() + file.problems().len() <= lines, "a line is a forward, a problem or neither");
});
