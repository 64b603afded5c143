//! vmware.log: where Fusion writes the cause that vmrun keeps to itself (facts/vmrun-vmrest.md §1.4).

use std::path::Path;

use super::{files, timestamp};

/// Writes an error as Fusion posts it: peers read from `Msg_Post: Error` up to the dashes.
pub fn error(vmx: &Path, cause: &str) {
    let lines = ["Msg_Post: Error".to_owned(), format!("[msg.simulated] {cause}"), "-".repeat(40)];
    append(vmx, &lines);
}

pub fn note(vmx: &Path, text: &str) {
    append(vmx, &[text.to_owned()]);
}

/// Begins the log of a new session.
pub fn powered_on(vmx: &Path) {
    let name = vmx.display();
    let lines = ["Log for VMware Fusion (simulated)".to_owned(), format!("Powered on {name}")];
    append(vmx, &lines);
}

fn append(vmx: &Path, lines: &[String]) {
    let Some(folder) = vmx.parent() else { return };
    let stamp = timestamp::iso(super::now_ms());
    let text: String = lines.iter().map(|line| format!("{stamp} In(05) vmx {line}\n")).collect();
    // A VM whose log cannot be written fails elsewhere, with a better message.
    let _ = files::append(&folder.join("vmware.log"), text);
}
