//! Advice on failed side effects on the Mac.

use std::io::ErrorKind;
use std::path::Path;

use super::{Kind, Report, from_file, from_image, from_lock, from_vm};
use crate::formats::command::{Command, quote};
use crate::formats::kubeconfig::Refusal;
use crate::host::fusion::networks::PUTTING_BACK;
use crate::host::trust::Distrust;
use crate::host::{Aftermath, HostError};

/// Lines of a program's output that are worth showing.
const TAIL_LINES: usize = 10;

impl From<&HostError> for Report {
    fn from(error: &HostError) -> Self {
        let what = error.to_string();
        match error {
            HostError::File { action, path, source } => from_file::failed(action, path, source),
            HostError::Content { path, reason } => {
                Self::new("file-content", Kind::HostCheck, reason.clone())
                    .at(path.display().to_string())
                    .because("the file was written by something else, or was cut short")
                    .advise("look at the file, and mend it or move it away")
            }
            HostError::Image { path, bad } => from_image::unreadable(path, bad),
            HostError::Capacity { path, size, wished } => from_image::capacity(path, *size, *wished),
            HostError::Exists { path } => from_image::exists(path),
            HostError::BeingWritten { path } => from_image::being_written(path),
            HostError::Spawn { program, source } => {
                Self::new("program-not-started", Kind::HostCheck, what)
                    .because(match source.kind() {
                        ErrorKind::NotFound => "it is not there: Fusion is missing or incomplete",
                        ErrorKind::PermissionDenied => "this user may not run it",
                        _ => "the system refused to run it",
                    })
                    .run(Command::new(["ls", "-l", &program.display().to_string()]).shell_line())
            }
            HostError::Program { program, args, status, output } => program_failed(program, args, status, output),
            HostError::Deadline { limit, .. } => Self::new("deadline", Kind::HostCheck, what)
                .because(format!(
                    "it takes far less than {} s on an idle machine: this one is overloaded, or what we wait for hangs",
                    limit.as_secs()
                ))
                .advise("try again: what was finished stands")
                .advise("if the machine is slow, raise the limit under `limits:` in the lab file; all of them stand in what this prints:")
                .run("fusionlab init --preset ha --out -"),
            HostError::Fusion { operation, vmx, message, cause } => {
                from_vm::refused(operation, vmx, message, cause.as_deref())
            }
            HostError::VmRuns { vmx } => from_vm::runs(vmx),
            HostError::VmLocked { vmx, lock } => from_vm::locked(vmx, lock),
            HostError::VmOfOthers { vmx, path, .. } => from_vm::of_others(what, vmx, path),
            HostError::BadVmx { path, problems } => from_vm::bad_vmx(path, problems),
            HostError::VmsUnseen { .. } => Self::new("vms-unseen", Kind::Fusion, what)
                .because("the disk of one of them may hang on a template's, which would be gone for good")
                .advise("plug in the disk that is away, or let this user read what is named, and run it again"),
            HostError::NoFusion { searched } => no_fusion(searched),
            HostError::OldFusion { .. } => Self::new("fusion-too-old", Kind::HostCheck, what)
                .because("this release of Fusion lacks what the lab needs")
                .advise("install a newer Fusion, or try the lab on the simulated one:")
                .run("fusionlab up --sim"),
            HostError::Connect { address, source } => {
                Self::new("connection-failed", Kind::Network, what)
                    .because(match source.kind() {
                        ErrorKind::ConnectionRefused => "the machine is up, and nothing listens on that port",
                        ErrorKind::TimedOut => "nobody answers: the machine is down, or a VPN or firewall swallows the packets",
                        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => {
                            "this Mac knows no way to that address: Fusion's network is not up, \
                             or macOS denies Local Network access to the terminal"
                        }
                        _ => "see the message",
                    })
                    .run("fusionlab status")
                    .run(format!("nc -vz {} {}", address.ip(), address.port()))
            }
            HostError::Ssh { node, .. } => Self::new("ssh-failed", Kind::Guest, what)
                .at(node.clone())
                .because("the guest is still booting, its disk is full, or its sshd was changed")
                .run("fusionlab status"),
            HostError::Login { node, .. } => Self::new("login-refused", Kind::Guest, what)
                .at(node.clone())
                .because("cloud-init has not made the user, the lab's keys were replaced, or somebody edited the guest")
                .advise("if the machine holds nothing you need, delete it in Fusion and let up make it anew:")
                .run("fusionlab up"),
            HostError::Lost { node, .. } => Self::new("connection-lost", Kind::Guest, what)
                .at(node.clone())
                .because("the guest restarted, lost its address, or ran out of memory")
                .advise("try again: each run looks at what stands before it does anything")
                .run("fusionlab status"),
            HostError::HostKey { node, expected, found } => Self::new("host-key-mismatch", Kind::Guest, what)
                .at(node.clone())
                .because(format!(
                    "another machine answers at its address: the key should be {expected}, it is {found}"
                ))
                .advise("look for another machine with this address, on this network or from an older lab")
                .run("fusionlab network show"),
            HostError::Rest { status, .. } => Self::new("vmrest-refused", Kind::Fusion, what)
                .because(match status {
                    401 => "vmrest runs with other credentials than ours",
                    404 | 409 => "vmrest's list of VMs is older than the library",
                    _ => "vmrest gives no other reason",
                })
                .advise("set `driver: vmrun` in the lab file to do without vmrest"),
            HostError::Download { url, .. } => Self::new("download-failed", Kind::Network, what)
                .because(match proxy_variable() {
                    Some(variable) => format!("no way to the internet, the server is down, or the proxy in {variable} does not let it through"),
                    None => "no way to the internet, a proxy that is not known here, or the server is down".to_owned(),
                })
                .run(Command::new(["curl", "-fIL", url]).shell_line())
                .advise("then try again: the part that came is kept, and the download goes on from there"),
            HostError::Digest { expected, found, kept, .. } => {
                Self::new("digest-mismatch", Kind::Network, what)
                    .because(format!(
                        "the file was changed on the way or at its source: expected {expected}, found {found}"
                    ))
                    .at(kept.display().to_string())
                    .advise("do not use the file; once it is removed, it is downloaded anew")
                    .run(Command::new(["rm", &kept.display().to_string()]).shell_line())
            }
            HostError::Unsigned { .. } => Self::new("list-not-believed", Kind::Network, what)
                .because("the server, or somebody on the way to it, offers a list that the distribution did not sign")
                .advise("another network or another mirror may have the true one; or name an image with its digest in the lab file:")
                .run("fusionlab explain list-not-believed"),
            HostError::NoRoom { .. } => Self::new("disk-full", Kind::HostCheck, what)
                .because("there is no room left on this disk")
                .run("df -h ~")
                .run("fusionlab template prune"),
            HostError::Locked { what, by } => from_lock::held(what, by),
            HostError::KubeconfigLocked { lock, .. } => Self::new("kubeconfig-locked", Kind::Locked, what)
                .because("kubectl and fusionlab make that file while they change a kubeconfig, and remove it afterwards")
                .advise("if no other program works on the kubeconfig, remove it:")
                .run(format!("rm {}", quote(&lock.display().to_string()))),
            HostError::Kubeconfig { path, refusal } => kubeconfig(what, path, refusal),
            HostError::ResolverTaken { path } => Self::new("resolver-taken", Kind::HostCheck, what)
                .because("it was written by somebody else, by another lab, or changed since")
                .advise("its first line says whose it is; another lab of yours gives it up, in that lab's folder, by:")
                .run("fusionlab names --no-resolver")
                .advise("or give this lab another `domain:` in the lab file; or look at it, and if nobody needs it remove it:")
                .run(format!("cat {}", quote(&path.display().to_string()))),
            HostError::ResolverDenied { .. } => Self::new("root-denied", Kind::HostCheck, what)
                .because("sudo or its step has said why; where nobody can type a password, it asks for none")
                .advise("nothing was changed; run the same command again in a terminal, as a user who may use sudo:")
                .run("sudo -v"),
            HostError::Network { output, after, .. } => network(what, output, *after),
            HostError::Untrusted { path, reason, .. } => distrusted(what, path, *reason),
            HostError::ProgramOfOthers { program, .. } => Self::new("program-of-others", Kind::HostCheck, what)
                .because("with such a line, whoever can change that file or folder would be root")
                .advise("install a copy that is root's own, then run that one:")
                .run("sudo install -d -o root -g wheel -m 0755 /usr/local/libexec")
                .run(install(program))
                .run("/usr/local/libexec/fusionlab network sudoers"),
            HostError::NotForSudoers { .. } => Self::new("not-for-sudoers", Kind::HostCheck, what)
                .because("sudoers gives that character a meaning of its own")
                .advise("choose another place, with FUSIONLAB_HOME for the folder or a copy of the program"),
            HostError::Interrupted => Self::interrupted(),
        }
    }
}

/// Returns the variable by which a download was sent through a proxy. What it holds can be a password, too.
fn proxy_variable() -> Option<&'static str> {
    const VARIABLES: [&str; 6] =
        ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"];
    VARIABLES.into_iter().find(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()))
}

fn program_failed(program: &std::path::Path, args: &[String], status: &str, output: &str) -> Report {
    let name = program
        .file_name()
        .map_or_else(|| program.display().to_string(), |name| name.to_string_lossy().into());
    let mut line = vec![program.display().to_string()];
    line.extend(args.iter().cloned());
    Report::new("program-failed", Kind::Fusion, format!("{name} failed ({status})"))
        .with_tail(last_lines(output))
        .because("the program's own words are below")
        .advise("the command was:")
        .run(Command::new(line).shell_line())
}

/// Returns what to do about a kubeconfig that was left as it is.
fn kubeconfig(what: String, path: &Path, refusal: &Refusal) -> Report {
    match refusal {
        Refusal::Foreign { kind, name } => Report::new("kubeconfig-taken", Kind::HostCheck, what)
            .at(path.display().to_string())
            .because("nothing was changed: what does not bear the lab's mark is never touched")
            .advise("give the lab another `name:` in the lab file, or remove that entry if nobody needs it:")
            .run(format!("kubectl config delete-{kind} {}", quote(name))),
        _ => Report::new("kubeconfig-unusable", Kind::HostCheck, what)
            .at(path.display().to_string())
            .because("nothing was changed: a file that is not understood is not edited")
            .advise("see what kubectl makes of it, and have it write the file anew:")
            .run(format!("kubectl --kubeconfig {} config view", quote(&path.display().to_string())))
            .advise("or leave it and use the lab's own file:")
            .run("export KUBECONFIG=$(fusionlab kubeconfig)"),
    }
}

fn network(what: String, output: &str, after: Aftermath) -> Report {
    // The way back says nothing of why it was taken.
    let tried = output.split(PUTTING_BACK).next().unwrap_or_default();
    let report = Report::new("network-not-applied", Kind::Network, what).with_tail(last_lines(tried));
    let report = match after {
        Aftermath::Untouched => report.because("it was refused before anything was changed"),
        Aftermath::AsBefore => report
            .because("Fusion's window overwrites the file when it is open, and a VPN can hold the subnet")
            .advise("Fusion's networking file was put back as it was"),
        Aftermath::Unsettled => report
            .because("Fusion's window overwrites the file when it is open, and a VPN can hold the subnet")
            .advise("Fusion's networks do not run as before; the next change starts them anew, and the old file is among:")
            .run("fusionlab network backups"),
    };
    report.advise("quit Fusion's window; this shows what its networks are:").run("fusionlab network show")
}

fn distrusted(what: String, path: &Path, reason: Distrust) -> Report {
    let report = Report::new("root-distrusts", Kind::HostCheck, what)
        .because("who can change that file or folder could have their own program run as root");
    if reason.is_of_disk() {
        return report.advise("install VMware Fusion on the Mac's own disk, in /Applications");
    }
    report.advise("if it is really Fusion's, give it back to root:").run(roots_own(path))
}

/// Returns the command that makes a file or folder root's own again: of an app all of it, since what root runs there runs and
/// loads the rest.
fn roots_own(path: &Path) -> String {
    let app = path.ancestors().find(|above| above.extension().is_some_and(|extension| extension == "app"));
    let (path, deep) = app.map_or((path, None), |app| (app, Some("-R")));
    let path = path.display().to_string();
    let command = |program: &str, how: &str| {
        let words = ["sudo", program].into_iter().chain(deep).chain([how, path.as_str()]);
        Command::new(words).shell_line()
    };
    format!("{} && {}", command("chown", "root:wheel"), command("chmod", "go-w"))
}

fn install(program: &std::path::Path) -> String {
    let words = ["sudo", "install", "-o", "root", "-g", "wheel", "-m", "0755"].map(str::to_owned);
    let places = [program.display().to_string(), "/usr/local/libexec/fusionlab".to_owned()];
    Command::new(words.into_iter().chain(places)).shell_line()
}

fn no_fusion(searched: &[std::path::PathBuf]) -> Report {
    let report = Report::new("fusion-not-found", Kind::HostCheck, "VMware Fusion was not found");
    let report = if searched.is_empty() {
        report
    } else {
        let places: Vec<String> = searched.iter().map(|path| path.display().to_string()).collect();
        report.at(places.join(", "))
    };
    report
        .because("it is not installed, or it is somewhere else")
        .advise("install VMware Fusion, or say where it is with --fusion; or try the lab on the simulated Fusion:")
        .run("fusionlab up --sim")
}

fn last_lines(output: &str) -> Vec<String> {
    let lines: Vec<&str> = output.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].iter().map(|line| (*line).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::path::PathBuf;
    use std::time::Duration;

    use super::super::catalogue;
    use super::*;
    use crate::formats::file_lock;
    use crate::formats::vmx::Vmx;
    use crate::host::fusion::locks::{Grip, Lock};
    use crate::host::lock::Life;

    fn lock(grip: Grip) -> Lock {
        let holder = file_lock::holder(b"uuid=1 7-0(vmware-vmx) 0");
        Lock { folder: "/tmp/a file.lck".into(), holder, since: std::time::UNIX_EPOCH, grip }
    }

    fn one_of_each() -> Vec<HostError> {
        let path = || PathBuf::from("/tmp/a file");
        let text = || "text".to_owned();
        vec![
            HostError::File { action: "read", path: path(), source: io::ErrorKind::PermissionDenied.into() },
            HostError::File { action: "write", path: path(), source: io::ErrorKind::StorageFull.into() },
            HostError::File { action: "read", path: path(), source: io::ErrorKind::NotFound.into() },
            HostError::Content { path: path(), reason: text() },
            HostError::Spawn { program: path(), source: io::ErrorKind::NotFound.into() },
            HostError::Program {
                program: path(),
                args: vec!["a b".into()],
                status: "exit 1".into(),
                output: text(),
            },
            HostError::Deadline { what: text(), limit: Duration::from_secs(30) },
            HostError::Fusion { operation: "start", vmx: path(), message: text(), cause: None },
            HostError::VmRuns { vmx: path() },
            HostError::VmLocked { vmx: path(), lock: Box::new(lock(Grip::Held)) },
            HostError::VmLocked { vmx: path(), lock: Box::new(lock(Grip::Left)) },
            HostError::VmLocked { vmx: path(), lock: Box::new(lock(Grip::Unknown)) },
            HostError::VmOfOthers { vmx: path(), path: path(), user: 0, ours: 501 },
            HostError::BadVmx { path: path(), problems: Vmx::parse("nonsense").unwrap_err().problems },
            HostError::VmsUnseen { paths: vec![path(), path()] },
            HostError::NoFusion { searched: vec![path()] },
            HostError::OldFusion { version: "12.0".into(), reason: text() },
            HostError::Login { node: text(), user: text() },
            HostError::Lost { node: text(), command: text(), reason: text() },
            HostError::Connect {
                address: ([10, 10, 0, 131], 22).into(),
                source: io::ErrorKind::TimedOut.into(),
            },
            HostError::Ssh { node: text(), reason: text() },
            HostError::HostKey { node: text(), expected: text(), found: text() },
            HostError::Rest {
                method: "GET",
                path: "/api/vms".into(),
                status: 401,
                code: None,
                message: text(),
            },
            HostError::Download { url: "https://example.org/a".into(), reason: text() },
            HostError::Digest { url: text(), expected: text(), found: text(), kept: path() },
            HostError::Unsigned { list: text(), reason: text() },
            HostError::NoRoom { folder: path(), needed_mib: 2, free_mib: 1 },
            HostError::Locked { what: text(), by: Box::new(from_lock::tests::occupant(Life::Works)) },
            HostError::KubeconfigLocked { lock: path(), age: std::time::Duration::from_secs(90) },
            HostError::Kubeconfig { path: path(), refusal: Refusal::ByHand },
            HostError::Kubeconfig {
                path: path(),
                refusal: Refusal::Foreign { kind: "cluster", name: "lab".into() },
            },
            HostError::ResolverTaken { path: path() },
            HostError::ResolverDenied { path: path() },
            HostError::Network { reason: text(), output: text(), after: Aftermath::Untouched },
            HostError::Network { reason: text(), output: text(), after: Aftermath::AsBefore },
            HostError::Network { reason: text(), output: text(), after: Aftermath::Unsettled },
            HostError::Untrusted {
                path: path(),
                user: 501,
                group: 20,
                mode: 0o775,
                reason: Distrust::OfOthers,
            },
            HostError::Untrusted {
                path: path(),
                user: 0,
                group: 80,
                mode: 0o775,
                reason: Distrust::DiskOf(501),
            },
            HostError::ProgramOfOthers {
                program: path(),
                path: path(),
                user: 501,
                mode: 0o755,
                reason: Distrust::OfOthers,
            },
            HostError::NotForSudoers { path: path(), character: '*' },
            HostError::Interrupted,
        ]
    }

    #[test]
    fn every_error_has_an_explained_id_and_says_what_to_do() {
        for error in one_of_each() {
            let report = Report::from(&error);
            assert!(catalogue::find(report.id).is_some(), "{} is not explained", report.id);
            assert!(!report.fix.is_empty(), "{} gives no advice", report.id);
            assert!(!report.what.is_empty());
        }
    }

    #[test]
    fn commands_can_be_pasted() {
        let report = Report::from(&one_of_each()[5]);
        assert!(
            report.fix.contains(&super::super::Fix::Run("'/tmp/a file' 'a b'".into())),
            "{:?}",
            report.fix
        );
    }

    #[test]
    fn what_root_distrusts_for_its_disk_is_not_given_to_root() {
        let path = Path::new("/Volumes/Big/Applications/VMware Fusion.app/Contents/Library");
        let advised = |reason| format!("{:?}", distrusted(String::new(), path, reason));
        let given = "sudo chown -R root:wheel '/Volumes/Big/Applications/VMware Fusion.app'";
        for reason in [Distrust::OfOthers, Distrust::AllWrite, Distrust::GroupWrites] {
            assert!(advised(reason).contains(given), "{reason}");
        }
        for reason in [Distrust::DiskWithoutOwners, Distrust::DiskElsewhere, Distrust::DiskOf(501)] {
            let advised = advised(reason);
            assert!(advised.contains("on the Mac's own disk") && !advised.contains("chown"), "{reason}");
        }
    }

    #[test]
    fn only_the_last_lines_are_shown() {
        let output: String = (1..=30).map(|number| format!("line {number}\n\n")).collect();
        let tail = last_lines(&output);
        assert_eq!((tail.len(), tail[0].as_str(), tail[9].as_str()), (10, "line 21", "line 30"));
    }
}
