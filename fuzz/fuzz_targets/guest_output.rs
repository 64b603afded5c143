//! Any text as what a guest prints: facts, kubectl's JSON, checks' answers, the LAN probe, kubeadm's and crictl's words.
//! Each reader ends and returns; what is shown of it holds nothing that a terminal would obey.
#![no_main]

#[path = "../../src/formats/mod.rs"]
#[expect(dead_code, unused_imports, reason = "a target uses a part of the layer")]
mod formats;
#[path = "../../src/lab/mod.rs"]
#[expect(dead_code, unused_imports, reason = "a target uses a part of the layer")]
mod lab;
#[path = "../../src/stack/mod.rs"]
#[expect(dead_code, unused_imports, reason = "a target uses a part of the layer")]
mod stack;
#[path = "../../src/stack/hostile.rs"]
mod hostile;

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;

use formats::printable;
use lab::Lab;
use lab::catalogue::Arch;
use lab::resolve::resolve;

static LAB: LazyLock<Lab> = LazyLock::new(|| {
    let solo = resolve(Some("version: 1\npreset: solo\n"), None, Arch::Arm64);
    solo.expect("a preset is sound").lab
});

fuzz_target!(|text: &str| {
    hostile::read_all(&LAB, text);
    let shown = printable::printable(text);
    assert!(shown.chars().all(|char| char == '\n' || !char.is_control()), "{shown:?}");
    assert_eq!(printable::printable(&shown), shown, "once is enough");
});
