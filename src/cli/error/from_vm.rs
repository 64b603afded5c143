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

/// What helps against a cause: words of Fusion's, in small letters, then advice and commands. The first row that fits is taken. The
/// causes are those that users of other tools met (facts/vmrun-vmrest.md §1.4, §2); how Fusion words them is known of the disks'
/// alone, so that a row has several forms.
const CURES: &[(&[&str], &str, &[&str])] = &[
    (
        &["not enough space", "no space left", "disk is full", "disk full"],
        "make room on this disk:",
        &["df -h ~", "fusionlab template prune"],
    ),
    (
        &["has been modified since the child was created"],
        "the template under its disk was changed, which no machine made from it outlives; make the lab anew:",
        &["fusionlab destroy", "fusionlab up"],
    ),
    (
        &["memory"],
        "close other virtual machines, or ask for less memory in the lab file; this shows what is there:",
        &["fusionlab doctor"],
    ),
    (
        &["failed to lock", "is locked", "been locked", "in use"],
        "quit Fusion and whatever else has the VM open, then go on:",
        &["fusionlab up"],
    ),
    (
        &["hardware version", "newer version"],
        "update VMware Fusion: the VM is of a newer form than it knows; this shows both:",
        &["fusionlab doctor"],
    ),
    (
        &["virtualization", "hypervisor"],
        "end other programs that run virtual machines; where the Mac is one itself, let its host pass virtualization on",
        &[],
    ),
    (
        &["cannot open the disk", "cannot find", "not found"],
        "bring back the file that is named, or let the machine be made anew: delete it in Fusion, then",
        &["fusionlab up"],
    ),
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
    let said = format!("{} {message}", cause.unwrap_or_default()).to_lowercase();
    let cure = CURES.iter().find(|(words, ..)| words.iter().any(|words| said.contains(words)));
    match cure {
        Some((_, advice, commands)) => {
            commands.iter().fold(report.advise(*advice), |report, command| report.run(*command))
        }
        None => report.advise("close the VM's window in Fusion if it is open there"),
    }
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

#[cfg(test)]
mod tests {
    use super::super::Fix;
    use super::*;

    #[test]
    fn the_advice_follows_the_cause_that_the_log_names() {
        let advice = |message: &str, cause: Option<&str>| {
            let report = refused("start", Path::new("/a.vmx"), message, cause);
            report
                .fix
                .into_iter()
                .map(|fix| match fix {
                    Fix::Say(words) | Fix::Run(words) => words,
                })
                .collect::<Vec<_>>()
                .join(" | ")
        };
        let canceled = "The operation was canceled";
        for (cause, cure) in [
            (
                "Cannot open the disk 'a.vmdk' or one of the snapshot disks it depends on.",
                "bring back the file",
            ),
            (
                "The parent virtual disk has been modified since the child was created.",
                "fusionlab destroy | fusionlab up",
            ),
            ("Not enough physical memory is available to power on this virtual machine.", "less memory"),
            ("There is no space left on the device.", "df -h ~"),
            ("Failed to lock the file.", "quit Fusion"),
        ] {
            assert!(
                advice(canceled, Some(cause)).contains(cure),
                "{cause}: {}",
                advice(canceled, Some(cause))
            );
        }
        assert!(advice("There is not enough space in the file system", None).starts_with("make room"));
        assert!(advice(canceled, None).starts_with("close the VM's window"), "nothing is known");
        assert!(advice(canceled, Some("Sesame.")).starts_with("close the VM's window"));
    }
}
