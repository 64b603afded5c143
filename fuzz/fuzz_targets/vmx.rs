//! Any bytes as a VMX file, and any edits of it: it renders to itself, foreign lines stay, and what is set is what is got.
#![no_main]

#[path = "../../src/formats/mod.rs"]
#[expect(dead_code, unused_imports, reason = "a target uses a part of the layer")]
mod formats;

use formats::file_lock;
use formats::vmx::Vmx;
use libfuzzer_sys::fuzz_target;

// The first line is a key, the second a value to set; the rest is the file, once as it is and once in another encoding,
// which chance would hardly name.
fuzz_target!(|data: &[u8]| {
    if let Some(holder) = file_lock::holder(data) {
        let member = file_lock::render(&holder, "M00001.lck");
        assert_eq!(file_lock::holder(member.as_bytes()).map(|holder| holder.pid), Some(holder.pid));
    }
    let mut parts = data.splitn(3, |byte| *byte == b'\n');
    let (Some(key), Some(value), Some(file)) = (parts.next(), parts.next(), parts.next()) else { return };
    let (key, value) = (String::from_utf8_lossy(key), String::from_utf8_lossy(value));
    check(file, &key, &value);
    for encoding in ["windows-1252", "Shift_JIS", "GBK"] {
        check(&[format!(".encoding = \"{encoding}\"\n").as_bytes(), file].concat(), &key, &value);
    }
});

fn check(file: &[u8], key: &str, value: &str) {
    let vmx = match Vmx::parse(file) {
        Ok(vmx) => vmx,
        Err(bad) => {
            assert!(!bad.problems.is_empty() && bad.problems.len() <= 20);
            let lines = file.split(|byte| matches!(byte, b'\n' | b'\r')).count();
            assert!(bad.problems.iter().all(|problem| (1..=lines).contains(&problem.line) && problem.column > 0));
            return;
        }
    };
    assert_eq!(vmx.render(), file, "rendering gives back what was read");
    let all = pairs(&vmx);
    let mut edited = vmx.clone();
    for (key, value) in &all {
        edited.set(key, value);
    }
    assert_eq!(edited, vmx, "setting what is there changes nothing");

    if edited.try_set(key, value).is_err() {
        assert_eq!(edited, vmx, "what cannot be set changes nothing");
        return;
    }
    assert_eq!(edited.get(&key.to_ascii_uppercase()).as_deref(), Some(value));
    assert_eq!(Vmx::parse(edited.render()).as_ref(), Ok(&edited), "what is written can be read");
    let others = |vmx: &Vmx| -> Vec<_> {
        pairs(vmx).into_iter().filter(|(other, _)| !other.eq_ignore_ascii_case(key)).collect()
    };
    assert_eq!(others(&edited), others(&vmx), "foreign keys stay, with their values and in order");
    if vmx.get(key).is_none() {
        assert!(edited.render().starts_with(file), "a new key stands after all that was there");
    }
    if !key.eq_ignore_ascii_case(".encoding") {
        assert!(edited.remove(key) && edited.get(key).is_none() && !edited.remove(key));
        assert_eq!(others(&edited), others(&vmx));
        assert_eq!(Vmx::parse(edited.render()).as_ref(), Ok(&edited));
    }
}

fn pairs(vmx: &Vmx) -> Vec<(String, String)> {
    let value = |key: &str| vmx.get(key).expect("a key that is there has a value");
    vmx.keys().map(|key| (key.to_owned(), value(key))).collect()
}
