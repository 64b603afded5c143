//! Advice on VMs that Fusion does not work on, and on their files.

use std::path::Path;

use super::{Kind, Report};
use crate::formats::command::Command;
use crate::formats::vmx::Problem;
use crate::host::fusion::locks::{Grip, Lock};

/// What Fusion's shortest complaints mean (facts/vmrun-vmrest.md §1.4).
const MEANINGS: &[(&str, &str)] = &[
    ("should not be powered on", "the VM runs, or its snapshot was taken while it ran and holds its memory"),
    ("A password is required", "the VM is encrypted, and nobody here knows its password"),
    (
        "Cannot read the virtual machine configuration",
        "its VMX file is damaged: fusionlab image vmx shows where",
    ),
    ("Tools are not running", "the guest is still booting, hangs, or lacks open-vm-tools"),
    ("did not end within", "Fusion hangs; opening its window once after a restart of the Mac often helps"),
    ("has been locked", "another program works on the VM through Fusion's REST server"),
];

/// Fusion refused an operation; `cause` is what vmware.log says.
pub fn refused(operation: &str, vmx: &Path, message: &str, cause: Option<&str>) -> Report {
    let message = message.trim_end_matches('.');
    let report =
        Report::new("fusion-refused", Kind::Fusion, format!("Fusion refused to {operation} a VM: {message}"))
            .at(vmx.display().to_string());
    let meaning = MEANINGS.iter().find(|(words, _)| message.contains(words)).map(|(_, meaning)| *meaning);
    let report = match (cause, meaning) {
        (Some(cause), _) => report.because(format!("vmware.log says: {}", cause.trim_end_matches('.'))),
        (None, Some(meaning)) => report.because(meaning),
        (None, None) => report.because("Fusion gives no reason; vmware.log beside the VM may"),
    };
    if message.contains("not enough space") {
        return report.advise("make room on this disk:").run("df -h ~").run("fusionlab template prune");
    }
    report.advise("close the VM's window in Fusion if it is open there")
}

/// The VM runs, so its files stay as they are.
pub fn runs(vmx: &Path) -> Report {
    Report::new("vm-runs", Kind::Fusion, "the VM runs, and its files cannot be changed meanwhile")
        .at(vmx.display().to_string())
        .because(
            "a VM that runs keeps its configuration in memory, and writes it back when its power goes off",
        )
        .advise("shut the VM down first:")
        .run(stop(vmx))
}

/// Somebody has the VM's files, or left a lock when it crashed.
pub fn locked(vmx: &Path, lock: &Lock) -> Report {
    let report = Report::new("vm-locked", Kind::Fusion, format!("the VM is locked: {lock}"))
        .at(vmx.display().to_string());
    let remove = Command::new(["rm", "-r", &lock.folder.display().to_string()]).shell_line();
    match (&lock.holder, lock.grip) {
        (Some(holder), Grip::Held) => report
            .because("the VM runs, or it is open in a window of Fusion")
            .advise("shut the VM down or close its window; this shows who has it:")
            .run(format!("ps -p {}", holder.pid)),
        (_, Grip::Left) => report
            .because("no process of that number runs on this Mac: a crash left the lock, or another Mac has the VM open")
            .advise("if no other Mac works on this folder, take the lock away:")
            .run(remove),
        _ => report
            .because("some program has the VM open, or had it and crashed")
            .advise("quit Fusion; if the lock is still there then, take it away:")
            .run(remove),
    }
}

/// A file of the VM belongs to somebody else.
pub fn of_others(what: String, vmx: &Path, path: &Path) -> Report {
    let bundle = vmx.parent().unwrap_or(vmx).display().to_string();
    Report::new("vm-of-others", Kind::HostCheck, what)
        .at(path.display().to_string())
        .because("a VM that was once started with sudo leaves files that only root may write; Fusion then cannot connect to it")
        .advise("give the VM's folder back to yourself, and never run vmrun with sudo:")
        .run(format!("sudo chown -R \"$(id -un)\" {}", Command::new([bundle]).shell_line()))
}

/// A file is no VMX file.
pub fn bad_vmx(path: &Path, problems: &[Problem]) -> Report {
    let count = problems.len();
    let what = match count {
        1 => "the VMX file has a mistake".to_owned(),
        _ => format!("the VMX file has {count} mistakes"),
    };
    Report::new("vmx-invalid", Kind::HostCheck, what)
        .at(path.display().to_string())
        .with_tail(problems.iter().map(Problem::to_string).collect::<Vec<_>>())
        .because("VMware does not load such a file; it was edited by hand, cut short, or is none")
        .advise("mend the lines that are named, or bring the file back from a backup")
}

fn stop(vmx: &Path) -> String {
    Command::new(["vmrun", "-T", "fusion", "stop", &vmx.display().to_string(), "soft"]).shell_line()
}
