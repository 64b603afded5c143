//! Any text as a user's kubeconfig: what is put in stays put in, can be taken out again, and then adds nothing more.
#![no_main]

#[path = "../../src/formats/mod.rs"]
#[expect(dead_code, unused_imports, reason = "a target uses a part of the layer")]
mod formats;

use formats::kubeconfig::{Owner, merge, remove};
use libfuzzer_sys::fuzz_target;

const OWN: &str = r#"{"apiVersion": "v1", "kind": "Config", "current-context": "lab",
    "clusters": [{"name": "lab", "cluster": {"server": "https://192.168.68.200:6443"}}],
    "users": [{"name": "lab-admin", "user": {"client-key-data": "S0VZ"}}],
    "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "lab-admin"}}]}"#;

fuzz_target!(|text: &str| {
    let owner = Owner { lab: "lab".to_owned(), home: "/Users/me/.fusionlab".to_owned() };
    let Ok(merged) = merge(Some(text), OWN, &owner, false) else { return };
    let again = merge(Some(&merged.text), OWN, &owner, false).expect("what was written is understood");
    assert_eq!((again.text.as_str(), again.deeds.len()), (merged.text.as_str(), 0), "a second time changes nothing");
    // What was written by hand in an odd form may be refused, and then nothing is changed.
    let Ok(removed) = remove(&merged.text, &owner) else { return };
    let again = remove(&removed.text, &owner).expect("what was written is understood");
    assert_eq!(again.deeds, [], "nothing of ours is left");
});
