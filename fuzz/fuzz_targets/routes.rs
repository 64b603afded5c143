//! Any text as what netstat prints.
#![no_main]

#[path = "../../src/formats/mod.rs"]
#[expect(dead_code, unused_imports, reason = "a target uses a part of the layer")]
mod formats;

use formats::routes::parse;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    for route in parse(text) {
        assert_eq!(route.destination, route.destination.trunc(), "a destination is a network");
        assert!(text.contains(&route.gateway) && text.contains(&route.interface));
    }
});
