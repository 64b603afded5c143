//! Any text as what pmset prints.
#![no_main]

#[path = "../../src/formats/mod.rs"]
#[expect(dead_code, unused_imports, reason = "a target uses a part of the layer")]
mod formats;

use formats::power::parse;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    for source in parse(text) {
        assert!(text.contains(&source.name), "no source is invented");
        let minutes = source.sleep_minutes.map(|minutes| minutes.to_string());
        assert!(minutes.is_none_or(|minutes| text.contains(&minutes)), "nor is a number");
    }
});
