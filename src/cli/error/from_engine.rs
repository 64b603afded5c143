//! Advice on failed runs and steps.

use super::from_run::of_run;
use super::{Failure, Kind, Report};
use crate::cli::report::summary::Summary;
use crate::cli::words::count;
use crate::engine::error::{EngineError, Requirement, StepFailure};
use crate::formats::mac::Mac;
use crate::lab::limits::LimitName;
use crate::plan::obstacle::{Obstacle, Taken};

/// What the C library says of a full disk.
const NO_SPACE: &str = "No space left on device";

/// Returns the failure of a run; what the reporter saw adds each step's last lines.
pub fn of_engine(error: &EngineError, summary: &Summary) -> Failure {
    match error {
        EngineError::Steps { failures, .. } => {
            let reports = failures.iter().map(|one| (one.step.clone(), of_step(one, summary))).collect();
            of_run(reports).unwrap_or_else(|| Report::from(error)).into()
        }
        other => Report::from(other).into(),
    }
}

fn of_step(failure: &StepFailure, summary: &Summary) -> Report {
    Report::from(&failure.error).in_step(&failure.step, failure.node.as_deref(), &summary.tail(&failure.step))
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        of_engine(&error, &Summary::default())
    }
}

impl From<&EngineError> for Report {
    fn from(error: &EngineError) -> Self {
        let what = error.to_string();
        let go_on =
            |report: Self| report.advise("mend the cause; what was finished stands").run("fusionlab status");
        match error {
            EngineError::Host(host) => Self::from(host),
            EngineError::IsFolder { .. } => Self::usage(what).advise("folders are copied with -r"),
            EngineError::Taken { .. } => Self::taken(what),
            EngineError::NotCopied { node, reason, tail, .. } => Self::not_copied(what, node, reason).with_tail(tail),
            EngineError::Off { node } => Self::off(node),
            EngineError::NewerJournal { path, .. } => Self::new("journal-newer", Kind::HostCheck, what)
                .at(path.display().to_string())
                .because("a newer fusionlab has worked on this lab, and may have made what this one does not know")
                .advise("use that fusionlab; what is installed here is:")
                .run("fusionlab --version"),
            EngineError::Obstacles(obstacles) => in_the_way(obstacles),
            EngineError::Identity(_) | EngineError::Certificates(_) => {
                Self::new("identity-unusable", Kind::HostCheck, what)
                    .because("files in the lab's `identity` folder were removed or changed")
                    .advise("put the folder back if you have it, or make the lab anew:")
                    .run("fusionlab destroy")
                    .run("fusionlab up")
            }
            EngineError::Defect { .. } => Self::unexpected(what),
            EngineError::Requirement { node, requirement, last, tail } => {
                unmet(node.as_deref(), requirement, last, tail)
            }
            EngineError::Command { node, program, command, reason, tail } => {
                let what = format!("{program} on {node} failed: {reason}");
                let report = Self::new("guest-command-failed", kind_of_program(program), what);
                let is_full = tail.iter().any(|line| line.contains(NO_SPACE));
                let why = if is_full {
                    format!("{node}'s disk is full; the command was: {command}")
                } else {
                    format!("its last lines may say; the command was: {command}")
                };
                go_on(report.at(node.clone()).because(why).with_tail(tail))
            }
            EngineError::Guest { node, reason, tail } => {
                let report = Self::new("guest-not-right", Kind::Guest, format!("{node}: {reason}"));
                go_on(report.at(node.clone()).with_tail(tail))
            }
            EngineError::PowerLost { node, tail } => {
                go_on(Self::new("guest-not-right", Kind::Guest, what).at(node.clone()).with_tail(tail))
            }
            EngineError::VipTaken { node, vip, mac } => Self::new("vip-taken", Kind::Network, what)
                .at(node.clone())
                .because(format!("{node} asked for {vip} before taking it, and nothing was configured"))
                .advise(give_it_another(mac))
                .advise("or choose a free address outside the router's DHCP range, as `lan: {vip: …}` in the lab file"),
            EngineError::LanAddressTaken { node, owner, address, mac } => {
                Self::new("lan-address-taken", Kind::Network, what)
                    .at(node.clone())
                    .because(format!("two machines with {address} cut each other off, now one and now the other"))
                    .advise(give_it_another(mac))
                    .advise(format!(
                        "or choose a free one outside the router's DHCP range, as `nodes: {{{owner}: {{lan_address: …}}}}` in the lab file"
                    ))
            }
            EngineError::RouterIdTaken { node, id, .. } => {
                Self::new("router-id-taken", Kind::Network, what)
                    .at(node.clone())
                    .because(format!("{node} listened before taking the VIP, and nothing was configured"))
                    .advise(format!(
                        "choose another id, such as `gateways: {{router_id: {}}}` in the lab file",
                        another(*id)
                    ))
            }
            EngineError::Cluster { reason, tail } => {
                let report = Self::new("cluster-not-right", Kind::Kubernetes, reason.clone()).with_tail(tail);
                go_on(report.because("the cluster's own words are the best hint there is"))
            }
            EngineError::DataKept { node, tail, .. } => Self::new("cluster-data-kept", Kind::Kubernetes, what)
                .at(node.clone())
                .with_tail(tail)
                .because("the logs above, of its API server and etcd, say what ails them")
                .advise("mend it on the node and go on; or, if nothing in it matters, begin anew:")
                .run("fusionlab destroy"),
            EngineError::SameIdentity { node, other, .. } => Self::new("machines-share-identity", Kind::Guest, what)
                .at(node.clone())
                .because("the template was not reset before it was cloned, or a machine was copied by hand")
                .advise(format!("take the lab down and make the template anew; or give {node} or {other} an identity of its own"))
                .run("fusionlab destroy")
                .run("fusionlab template build --rebuild"),
            EngineError::LocalNetworkDenied { node, .. } => {
                Self::new("local-network-denied", Kind::HostCheck, what)
                    .at(node.clone())
                    .because(
                        "macOS, from 15 on, keeps each terminal from the local network until you allow it, Fusion's networks \
                         among them; it asks once, and a no stays",
                    )
                    .advise("allow the terminal's app: System Settings, Privacy & Security, Local Network; then start it anew, and go on:")
                    .run("fusionlab up")
                    .advise("macOS's own Terminal needs no permission; should Fusion's network be down instead, this shows it:")
                    .run("fusionlab doctor")
            }
            EngineError::Template { reason, tail } => {
                Self::new("template-failed", Kind::Guest, reason.clone())
                    .with_tail(tail)
                    .because("most often the template's machine has no way to the internet")
                    .advise("mend the cause; the template is made anew then")
            }
            EngineError::TemplateUnfit { .. } => Self::new("template-unfit", Kind::Fusion, what)
                .because("a clone reads from the template's disk what it has not changed itself, so that disk may never change")
                .advise("make the template anew, once no machine hangs on it:")
                .run("fusionlab template build --rebuild"),
            EngineError::TemplateGone { .. } => Self::new("template-unfit", Kind::Fusion, what)
                .because("somebody removed it since this run looked at it: `fusionlab template prune`, which no lab stood in the way of yet, or a hand")
                .advise("it is made anew by the next run:")
                .run("fusionlab up"),
            EngineError::TemplateDiffers { .. } => Self::new("template-differs", Kind::Guest, what)
                .because("the versions were read off the programs that the bake installed")
                .advise("ask for other versions in the lab file, or make the template anew:")
                .run("fusionlab template build --rebuild"),
            EngineError::Steps { failures, .. } => {
                let nothing_seen = Summary::default();
                let reports =
                    failures.iter().map(|one| (one.step.clone(), of_step(one, &nothing_seen))).collect();
                of_run(reports).unwrap_or_else(|| Self::new("unexpected", Kind::Unexpected, what))
            }
            EngineError::Verification { failed, not_asked, .. } => {
                let report = Self::unproven(what);
                match (failed.first(), not_asked.first()) {
                    (Some(first), _) => report.because(format!("the first that failed: {first}")),
                    (None, Some(first)) => report.because(format!("the first of them: {first}")),
                    (None, None) => report,
                }
            }
            EngineError::NotWhole { ailments } => {
                Self::new("drill-refused", Kind::Verification, "the lab is not whole, so nothing is broken in it")
                    .because(ailments.clone())
                    .advise("see what stands, then let up put it right:")
                    .run("fusionlab verify")
                    .run("fusionlab up")
            }
            EngineError::NotPutBack { by_hand, .. } => {
                Self::new("drill-not-put-back", Kind::Verification, what)
                    .advise("the drill left word of it, so this tries again:")
                    .run("fusionlab up")
                    .advise(format!("or by hand, {by_hand}"))
            }
            EngineError::Interrupted { done, planned } => {
                let what = format!("interrupted with {done} of {planned} steps done");
                Self { what, ..Self::interrupted() }
            }
        }
    }
}

/// What to do with a machine in the home network that has one of the lab's addresses.
fn give_it_another(mac: &Mac) -> String {
    format!("find the machine with {mac} (the home router knows it) and give it another address")
}

/// Returns a VRRP router id that is not this one.
fn another(id: u8) -> u8 {
    id.checked_add(1).unwrap_or(1)
}

fn unmet(node: Option<&str>, requirement: &Requirement, last: &str, tail: &[String]) -> Report {
    let what =
        format!("still not so after {} s: {}", requirement.limit.duration().as_secs(), requirement.what);
    let report =
        Report::new("requirement-unmet", kind_of_limit(requirement.limit.name()), what).with_tail(tail);
    let report = match node {
        Some(node) => report.at(node),
        None => report,
    };
    report
        .because(format!("last seen: {last}"))
        .advise(requirement.hint)
        .advise(format!(
            "if the machine is only slow, set `limits: {{{}: …}}` in the lab file",
            requirement.limit.name()
        ))
        .run("fusionlab status")
}

/// Returns what a limit's requirement concerns.
fn kind_of_limit(name: LimitName) -> Kind {
    match name {
        LimitName::Turn | LimitName::KubeconfigLock => Kind::Locked,
        LimitName::Stop | LimitName::StepSlack | LimitName::HostMemory => Kind::HostCheck,
        LimitName::FusionQuery
        | LimitName::FusionAddress
        | LimitName::VmStart
        | LimitName::VmStopSoft
        | LimitName::VmStopHard
        | LimitName::VmClone
        | LimitName::VmUnlock => Kind::Fusion,
        LimitName::NetworkApply
        | LimitName::DownloadStall
        | LimitName::LanProbe
        | LimitName::VipHeld
        | LimitName::DnsAnswer => Kind::Network,
        LimitName::GuestSsh
        | LimitName::GuestCloudInit
        | LimitName::GuestConnect
        | LimitName::GuestCommand
        | LimitName::StatusAnswer
        | LimitName::StatusWatch
        | LimitName::TemplateBake
        | LimitName::ClockSync
        | LimitName::ClockStep => Kind::Guest,
        LimitName::KubeadmInit
        | LimitName::KubeadmJoin
        | LimitName::NodesRegister
        | LimitName::ApiEndpoint
        | LimitName::CrdsEstablished
        | LimitName::HelmInstall
        | LimitName::CiliumReady
        | LimitName::NodesReady
        | LimitName::GatewayProgrammed
        | LimitName::VerifyCheck
        | LimitName::VerifyRefusal => Kind::Kubernetes,
        LimitName::DrillRequest
        | LimitName::DrillGateway
        | LimitName::DrillWorker
        | LimitName::DrillControlPlane
        | LimitName::DrillWhole => Kind::Verification,
    }
}

/// Returns what a guest's program concerns: the cluster's tools fail for the cluster's reasons.
fn kind_of_program(program: &str) -> Kind {
    const CLUSTER_TOOLS: [&str; 4] = ["kubeadm", "kubectl", "helm", "cilium"];
    if CLUSTER_TOOLS.contains(&program) { Kind::Kubernetes } else { Kind::Guest }
}

fn in_the_way(obstacles: &[Obstacle]) -> Report {
    let kind = kind_of_obstacles(obstacles);
    if let [one] = obstacles {
        let report = Report::new("in-the-way", kind, text(one));
        return report.because(format!("nothing was changed: {}", why(one))).advise(remedy(one));
    }
    let what = format!("{} stand in the way; nothing was changed", count(obstacles.len(), "thing"));
    let report = Report::new("in-the-way", kind, what);
    by_remedy(obstacles).into_iter().enumerate().fold(report, |report, (index, (texts, remedy))| {
        report.advise(format!("{}. {}:\n   {remedy}", index + 1, texts.join("; ")))
    })
}

/// Returns what is in the way by what helps, in the order in which it was found.
fn by_remedy(obstacles: &[Obstacle]) -> Vec<(Vec<String>, String)> {
    let mut groups: Vec<(Vec<String>, String)> = Vec::new();
    for obstacle in obstacles {
        let remedy = remedy(obstacle);
        match groups.iter_mut().find(|(_, known)| *known == remedy) {
            Some((texts, _)) => texts.push(text(obstacle)),
            None => groups.push((vec![text(obstacle)], remedy)),
        }
    }
    groups
}

/// Returns why it keeps us from going on.
fn why(obstacle: &Obstacle) -> &'static str {
    match obstacle {
        Obstacle::Network { .. } | Obstacle::ForeignVm { .. } | Obstacle::ForeignMac { .. } => {
            "what is not the lab's is left alone"
        }
        Obstacle::NetworkingFile { .. } => "a file that is not understood is not edited",
        Obstacle::NotInLab { .. } => "it may hold data, and the cluster still counts on it",
        Obstacle::DiskLost { .. } => "a machine is nothing without its disk, and what was on it may matter",
        Obstacle::IdentityLost => "without its keys nobody can log in to the lab's machines",
        Obstacle::ClusterUnreadable { .. } => "a cluster that is not understood is not changed",
        Obstacle::OldFusion { .. } => "it would refuse to start the lab's machines",
        Obstacle::FusionOpen => "Apply in its window would overwrite the lab's lines",
        Obstacle::OthersRunning { .. } | Obstacle::OwnRunning { .. } => {
            "the restart would cut them off from their networks"
        }
        Obstacle::TemplateInUse { .. } => "without the template's disk theirs are worth nothing",
        Obstacle::MachineInUse { .. } => "a linked clone of it is worth nothing without its disk",
        Obstacle::SubnetRouted { .. } => "packets for the lab would leave through that interface",
        Obstacle::NetworkMoved { .. } => "the old network must be taken down before another is made",
    }
}

/// Returns what is in the way, named once.
fn text(obstacle: &Obstacle) -> String {
    match obstacle {
        Obstacle::Network { vmnet, message, .. } if message.contains(vmnet.as_str()) => message.clone(),
        other => other.to_string(),
    }
}

/// Returns what the obstacles concern; if several things, then this Mac.
fn kind_of_obstacles(obstacles: &[Obstacle]) -> Kind {
    let kind = |obstacle: &Obstacle| match obstacle {
        Obstacle::Network { .. }
        | Obstacle::NetworkingFile { .. }
        | Obstacle::SubnetRouted { .. }
        | Obstacle::NetworkMoved { .. } => Kind::Network,
        Obstacle::ForeignVm { .. }
        | Obstacle::ForeignMac { .. }
        | Obstacle::NotInLab { .. }
        | Obstacle::DiskLost { .. }
        | Obstacle::TemplateInUse { .. }
        | Obstacle::MachineInUse { .. } => Kind::Fusion,
        Obstacle::ClusterUnreadable { .. } => Kind::Kubernetes,
        Obstacle::IdentityLost
        | Obstacle::OldFusion { .. }
        | Obstacle::FusionOpen
        | Obstacle::OthersRunning { .. }
        | Obstacle::OwnRunning { .. } => Kind::HostCheck,
    };
    let first = obstacles.first().map_or(Kind::HostCheck, kind);
    if obstacles.iter().all(|obstacle| kind(obstacle) == first) { first } else { Kind::HostCheck }
}

fn remedy(obstacle: &Obstacle) -> String {
    match obstacle {
        Obstacle::Network { free_vmnet: Some(free), .. } => {
            format!("choose another network in the lab file, such as `internal: {{vmnet: {free}}}`")
        }
        Obstacle::Network { free_vmnet: None, taken, .. } => remedy_of_taken(*taken).to_owned(),
        Obstacle::NetworkingFile { .. } => "mend the line, or let Fusion write the file anew".to_owned(),
        Obstacle::ForeignVm { .. } => {
            "move that VM away, or give the lab another `name:` in the lab file".to_owned()
        }
        Obstacle::ForeignMac { .. } => {
            "give the lab another `name:`, from which its MACs follow, or change that VM's".to_owned()
        }
        Obstacle::NotInLab { .. } => {
            "put it back into the lab file, or leave out the `--preset` that has fewer machines; taking machines out of a lab is \
             not there yet, but `fusionlab destroy` takes all of it down"
                .to_owned()
        }
        Obstacle::DiskLost { node, file } => format!(
            "put {} back, from the Trash or a backup; if nothing on {node} matters, delete its folder in the library, and \
             `fusionlab up` makes it anew",
            file.display()
        ),
        Obstacle::IdentityLost => {
            "put the lab's `identity` folder back, or `fusionlab destroy` and begin anew".to_owned()
        }
        Obstacle::ClusterUnreadable { .. } => {
            "somebody may have put in a version that this fusionlab does not know; `fusionlab support` gathers what a helper needs"
                .to_owned()
        }
        Obstacle::OldFusion { .. } => "install Fusion 13 or newer; it is free of charge".to_owned(),
        Obstacle::FusionOpen => "quit Fusion; running VMs may go on".to_owned(),
        Obstacle::OthersRunning { vmx } => {
            let paths: Vec<String> = vmx.iter().map(|path| path.display().to_string()).collect();
            format!(
                "shut down or suspend {}: in Fusion's window, or where it is another lab of yours (`fusionlab list` has \
                 them) in its folder by `fusionlab exec --all -- sudo poweroff`",
                paths.join(", ")
            )
        }
        Obstacle::OwnRunning { .. } => {
            "`fusionlab up` stops and starts them for the change; `fusionlab destroy` takes them down".to_owned()
        }
        Obstacle::TemplateInUse { .. } => {
            "`fusionlab destroy` the labs of these machines first; another image or version in the lab file makes \
             another template beside this one"
                .to_owned()
        }
        Obstacle::MachineInUse { .. } => {
            "make a full clone of what you need of it in Fusion, remove the linked one, then run the same again".to_owned()
        }
        Obstacle::SubnetRouted { interface, .. } => {
            format!("disconnect what holds {interface} (a VPN, Docker, the home network), or choose another `internal: {{subnet: …}}`")
        }
        Obstacle::NetworkMoved { from, .. } => {
            format!("`fusionlab destroy` with the lab file that says {from}, then `fusionlab up`; or name {from} again")
        }
    }
}

fn remedy_of_taken(taken: Taken) -> &'static str {
    match taken {
        Taken::Vmnet => "every number is taken: remove a network in Fusion's settings",
        Taken::Subnet => {
            "choose another `internal: {subnet: …}` in the lab file, or remove that network in Fusion's settings"
        }
        Taken::Service => "switch it on for that network in Fusion's settings, or name a vmnet that is free",
        Taken::Reservation => {
            "choose another address for that machine in the lab file, or take the reservation out with the program that made it"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Fix, catalogue};
    use super::*;
    use crate::formats::command::Command;
    use crate::lab::limits::Limits;

    #[test]
    fn the_clusters_tools_fail_for_the_clusters_reasons() {
        let kind = |argv: &[&str]| kind_of_program(Command::new(argv.iter().copied()).as_root().program());
        assert_eq!(kind(&["kubeadm", "init", "--config", "x"]), Kind::Kubernetes);
        assert_eq!(kind(&["/usr/local/bin/helm", "upgrade"]), Kind::Kubernetes);
        assert_eq!(kind(&["nginx", "-t"]), Kind::Guest);
    }

    #[test]
    fn what_stands_in_the_way_has_the_exit_code_of_what_it_concerns() {
        let network = || Obstacle::Network {
            vmnet: "vmnet2".into(),
            message: "taken".into(),
            taken: Taken::Subnet,
            free_vmnet: None,
        };
        let vm = || Obstacle::ForeignVm { node: "gateway1".into(), vmx: "/gateway1.vmx".into() };
        let code = |obstacles: &[Obstacle]| in_the_way(obstacles).kind.exit_code();
        assert_eq!(code(&[network()]), 7);
        assert_eq!(code(&[vm(), vm()]), 6);
        assert_eq!(code(&[Obstacle::FusionOpen]), 4);
        assert_eq!(code(&[network(), vm()]), 4, "several things are this Mac's");
    }

    #[test]
    fn a_requirement_says_what_was_seen_last_and_which_limit_it_is() {
        let requirement = Requirement {
            what: "k8s-master1 takes our SSH key".into(),
            limit: Limits::default().guest_ssh(),
            hint: "look at the VM's console in Fusion",
        };
        let error = EngineError::Requirement {
            node: Some("k8s-master1".into()),
            requirement: Box::new(requirement),
            last: "connection refused".into(),
            tail: vec!["login:".into()],
        };
        let report = Report::from(&error);
        assert_eq!((report.id, report.kind), ("requirement-unmet", Kind::Guest));
        assert!(catalogue::find(report.id).is_some());
        assert!(format!("{:?}", report.fix).contains("guest_ssh") && report.why.unwrap().contains("refused"));
    }

    #[test]
    fn a_defect_of_ours_is_not_the_clusters() {
        let error = EngineError::Defect { reason: "the plan is not sound: vm.start/a needs itself".into() };
        let report = Report::from(&error);
        assert_eq!((report.id, report.kind.exit_code()), ("unexpected", 1));
        assert_eq!(report.fix.last(), Some(&Fix::Run("fusionlab support".to_owned())));
    }

    #[test]
    fn everything_in_the_way_is_listed_with_a_remedy() {
        let report = in_the_way(&[Obstacle::FusionOpen, Obstacle::IdentityLost]);
        assert_eq!(report.fix.len(), 2);
        assert_eq!(report.what, "2 things stand in the way; nothing was changed");
        assert!(catalogue::find(report.id).is_some());
    }

    #[test]
    fn what_helps_against_several_things_is_said_once() {
        let beyond = |node: &str| Obstacle::NotInLab { node: node.to_owned(), vmx: "/library/x.vmx".into() };
        let report = in_the_way(&[beyond("gateway2"), Obstacle::FusionOpen, beyond("k8s-worker2")]);
        assert_eq!(report.what, "3 things stand in the way; nothing was changed");
        assert_eq!(report.fix.len(), 2);
        let first = format!("{:?}", report.fix[0]);
        assert!(first.contains("gateway2") && first.contains("k8s-worker2"), "{first}");
    }
}
