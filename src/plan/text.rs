//! A plan as lines of text, which the screen colours and wraps: grouped as a reader thinks, the network's change verbatim.

use std::fmt;

use super::kind::Kind;
use super::networks::FILE;
use super::step::{Action, Phase, Plan, Step};
use crate::lab::{Lab, Node};

/// How much of a plan is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// A line for each machine, and for each step of the host and the cluster.
    Brief,
    /// Each step with its id and its reason, and what stands already.
    Full,
}

/// A line of a plan's text; `Display` writes it plainly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    Blank,
    Heading(&'static str),
    Sentence(String),
    /// A step, a machine, or what stands already; a machine's name and address are columns before its words.
    Item {
        sign: char,
        columns: String,
        words: String,
    },
    /// What is said below a step: its id with its reason, or which file it changes.
    Below(String),
    /// A line of that file's change, verbatim.
    Changed(String),
}

impl Line {
    fn item(sign: char, words: &str) -> Self {
        Self::Item { sign, columns: String::new(), words: words.to_owned() }
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blank => Ok(()),
            Self::Heading(text) => f.write_str(text),
            Self::Sentence(text) => f.write_str(text),
            Self::Item { sign, columns, words } => write!(f, "  {sign} {columns}{words}"),
            Self::Below(text) | Self::Changed(text) => write!(f, "      {text}"),
        }
    }
}

/// What the question marks say.
const UNSEEN: &str =
    "Nobody could be asked what is there already: what is marked ? looks first, and may find nothing to do.";

/// Says whether a step belongs to a group.
type Belongs = fn(&Step) -> bool;

/// The groups of the text, in order: heading, which steps.
const GROUPS: &[(&str, Belongs)] = &[
    ("This Mac", |step| is_of_host(step) && !is_of_network(step)),
    ("Network", is_of_network),
    (MACHINES, |step| step.node.is_some()),
    ("Cluster", |step| step.node.is_none() && !is_of_host(step) && !is_of_network(step)),
];

/// The group whose steps stand beside their machine.
const MACHINES: &str = "Machines";

/// What a kind of step is called.
enum Called {
    /// Beside the name of its machine: in a plan, and while it runs.
    OfMachine(&'static str, &'static str),
    /// By what it is about, in a word or two.
    About(&'static str),
}

fn called(kind: Kind) -> Called {
    use Called::{About, OfMachine};
    match kind {
        Kind::VmClone => OfMachine("clone", "cloning the template"),
        Kind::VmStop => OfMachine("stop", "shutting down"),
        Kind::VmDelete => OfMachine("delete", "deleting"),
        Kind::VmConfigure => OfMachine("set up", "writing VMX and seed"),
        Kind::VmStart => OfMachine("start", "powering on"),
        Kind::GuestReady => OfMachine("await", "awaiting its login"),
        Kind::GuestClock => OfMachine("set clock", "setting the clock"),
        Kind::NodeBack => OfMachine("await its part", "coming back"),
        Kind::LanProbe => OfMachine("listen on the LAN", "listening on the LAN"),
        Kind::GatewayConfigure => OfMachine("nginx, Keepalived", "nginx and Keepalived"),
        Kind::NodePrepare => OfMachine("prepare", "files and services"),
        Kind::KubeCertificates => OfMachine("certificates", "its certificates"),
        Kind::KubeInit => OfMachine("kubeadm init", "kubeadm init"),
        Kind::KubeJoin => OfMachine("kubeadm join", "kubeadm join"),
        Kind::DrillRestore => OfMachine("put back after a drill", "undoing a drill"),
        Kind::IdentityCreate => About("the keys"),
        Kind::NetworkApply | Kind::NetworkRestore => About("the network"),
        Kind::ImageFetch | Kind::ImageConvert => About("the image"),
        Kind::TemplateBake | Kind::TemplateFreeze | Kind::TemplateDiscard | Kind::TemplateRemove => {
            About("the template")
        }
        Kind::GatewayVips | Kind::KubeEndpoint => About("the VIPs"),
        Kind::KubeNodes => About("the nodes"),
        Kind::GatewayApiInstall => About("the Gateway API"),
        Kind::CiliumInstall => About("Cilium"),
        Kind::IngressConfigure => About("the way in"),
        Kind::KubeconfigWrite | Kind::KubeconfigUnmerge => About("the kubeconfig"),
        Kind::NamesUnresolve | Kind::LabForget | Kind::Drill => About(BEFORE),
    }
}

/// What is said of a step that nothing more is to be said of.
const BEFORE: &str = "the step before";

/// Returns what a machine's step is called in a plan, where the machine is named beside it.
pub fn word(kind: Kind) -> Option<&'static str> {
    if let Called::OfMachine(word, _) = called(kind) { Some(word) } else { None }
}

/// Returns what a machine's step is called while it runs, where the machine is named beside it.
pub fn doing(kind: Kind) -> Option<&'static str> {
    if let Called::OfMachine(_, doing) = called(kind) { Some(doing) } else { None }
}

/// Returns what a step of the host or of the cluster is about, in a word or two.
pub fn subject(kind: Kind) -> &'static str {
    if let Called::About(subject) = called(kind) { subject } else { BEFORE }
}

/// Returns what stands before a step: whether something goes, comes, or is waited for.
fn sign(kind: Kind) -> char {
    match kind {
        Kind::VmStop
        | Kind::VmDelete
        | Kind::NetworkRestore
        | Kind::TemplateDiscard
        | Kind::TemplateRemove
        | Kind::KubeconfigUnmerge
        | Kind::NamesUnresolve
        | Kind::LabForget => '-',
        Kind::GuestReady | Kind::NodeBack | Kind::GatewayVips | Kind::KubeEndpoint | Kind::KubeNodes => '·',
        Kind::IdentityCreate
        | Kind::NetworkApply
        | Kind::ImageFetch
        | Kind::ImageConvert
        | Kind::TemplateBake
        | Kind::TemplateFreeze
        | Kind::GatewayApiInstall
        | Kind::CiliumInstall
        | Kind::IngressConfigure
        | Kind::KubeconfigWrite
        | Kind::Drill
        | Kind::VmClone
        | Kind::VmConfigure
        | Kind::VmStart
        | Kind::GuestClock
        | Kind::LanProbe
        | Kind::GatewayConfigure
        | Kind::NodePrepare
        | Kind::KubeCertificates
        | Kind::KubeInit
        | Kind::KubeJoin
        | Kind::DrillRestore => '+',
    }
}

fn is_of_host(step: &Step) -> bool {
    step.phase == Phase::Host
}

fn is_of_network(step: &Step) -> bool {
    step.action.of_networks().is_some()
}

/// Returns the lines of a plan's text.
pub fn lines(plan: &Plan, lab: &Lab, detail: Detail) -> Vec<Line> {
    let mut lines = Vec::new();
    if plan.is_empty() {
        lines.push(Line::Sentence("Nothing to do: the world is as it should be.".to_owned()));
    }
    for (heading, belongs) in GROUPS {
        let steps: Vec<&Step> = plan.steps.iter().filter(|step| belongs(step)).collect();
        if steps.is_empty() {
            continue;
        }
        lines.push(Line::Heading(heading));
        if *heading == MACHINES && detail == Detail::Brief {
            lines.extend(machines(&steps, plan, lab));
        } else {
            lines.extend(steps.iter().flat_map(|step| lines_of_step(step, plan, detail)));
        }
        lines.push(Line::Blank);
    }
    if detail == Detail::Full && !plan.kept.is_empty() {
        lines.push(Line::Heading("Kept"));
        lines.extend(plan.kept.iter().map(|kept| Line::item('=', kept)));
        lines.push(Line::Blank);
    }
    if !plan.unseen.is_empty() {
        lines.extend([Line::Sentence(UNSEEN.to_owned()), Line::Blank]);
    }
    if !plan.is_empty() {
        lines.push(Line::Sentence(total(plan, lab)));
    }
    lines
}

/// Returns a line for each machine: its name, its address, its steps in a few words.
fn machines(steps: &[&Step], plan: &Plan, lab: &Lab) -> Vec<Line> {
    let mut names: Vec<&str> = Vec::new();
    for name in steps.iter().filter_map(|step| step.node.as_deref()) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let address = |name: &str| lab.node(name).map(|node| node.address().to_string()).unwrap_or_default();
    let name_width = names.iter().map(|name| name.len()).max().unwrap_or_default();
    let address_width = names.iter().map(|name| address(name).len()).max().unwrap_or_default();
    let line = |name: &str| {
        let own: Vec<&&Step> = steps.iter().filter(|step| step.node.as_deref() == Some(name)).collect();
        let words = own.iter().map(|step| {
            let mark = if plan.unseen.contains(&step.id) { "?" } else { "" };
            format!("{}{mark}", word(step.action.kind()).unwrap_or(&step.text))
        });
        let words: Vec<String> = words.collect();
        let is_removed = own.iter().any(|step| matches!(step.action, Action::DeleteVm { .. }));
        let columns = format!("{name:<name_width$}  {:<address_width$}  ", address(name));
        Line::Item { sign: if is_removed { '-' } else { '+' }, columns, words: words.join(", ") }
    };
    names.into_iter().map(line).collect()
}

fn lines_of_step(step: &Step, plan: &Plan, detail: Detail) -> Vec<Line> {
    let sign = if plan.unseen.contains(&step.id) { '?' } else { sign(step.action.kind()) };
    let mut lines = vec![Line::item(sign, &step.text)];
    if detail == Detail::Full {
        lines.push(Line::Below(format!("{}: {}", step.id, step.why)));
    }
    if let Some((diff, _)) = step.action.of_networks().filter(|(diff, _)| !diff.is_empty()) {
        // One line names the file, in place of the diff's own two.
        lines.push(Line::Below(FILE.to_owned()));
        let changed = diff.lines().skip_while(|line| !line.starts_with('@'));
        lines.extend(changed.map(|line| Line::Changed(line.to_owned())));
    }
    lines
}

/// Returns the last line: how many steps, and what new machines take of the host.
fn total(plan: &Plan, lab: &Lab) -> String {
    let count = |number: usize, noun: &str| format!("{number} {noun}{}", if number == 1 { "" } else { "s" });
    let steps = count(plan.steps.len(), "step");
    let cloned = |node: &&Node| {
        let is_clone =
            |step: &Step| matches!(&step.action, Action::CloneVm { node: name } if *name == node.name);
        plan.steps.iter().any(is_clone)
    };
    let new: Vec<&Node> = lab.nodes.iter().filter(cloned).collect();
    if new.is_empty() {
        return format!("{steps}.");
    }
    let memory: u64 = new.iter().map(|node| u64::from(node.memory_mib)).sum();
    let memory =
        if memory.is_multiple_of(1024) { format!("{} GiB", memory / 1024) } else { format!("{memory} MiB") };
    let cpus: usize = new.iter().map(|node| usize::from(node.cpus)).sum();
    format!(
        "{steps}; {} with {} and {memory} of memory.",
        count(new.len(), "new machine"),
        count(cpus, "CPU"),
    )
}

/// Returns a plan's text, for tests.
#[cfg(test)]
pub fn text(plan: &Plan, lab: &Lab, detail: Detail) -> String {
    lines(plan, lab, detail).iter().map(|line| format!("{line}\n")).collect::<Vec<_>>().concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::catalogue::Arch;
    use crate::lab::resolve::resolve;
    use crate::plan::desired::Desired;
    use crate::plan::facts::{Facts, VmFacts, VmState};
    use crate::plan::fixture::World;
    use crate::plan::networks::NetworkEdit;
    use crate::plan::{destroy, up};

    fn lab() -> Lab {
        resolve(None, None, Arch::Arm64).expect("the built-in lab is sound").lab
    }

    fn plan_of_up() -> (Lab, Plan) {
        let lab = lab();
        let facts = Facts::default();
        let desired = Desired::of(&lab, None, &facts, None);
        let plan = up::plan(&lab, &desired, &facts).expect("nothing is in the way");
        (lab, plan)
    }

    fn plan_of_destroy() -> (Lab, Plan) {
        let lab = lab();
        let mut facts = Facts { lab_folder: true, ..Facts::default() };
        for node in &lab.nodes {
            let vmx = format!("/{}.vmx", node.name).into();
            facts
                .vms
                .insert(node.name.clone(), VmFacts { running: true, ..VmFacts::new(vmx, VmState::Ours) });
        }
        let plan = destroy::plan(&lab.name, &facts, &NetworkEdit::Satisfied).expect("nothing is in the way");
        (lab, plan)
    }

    #[test]
    fn every_step_of_a_machine_has_its_words() {
        for kind in Kind::ALL.iter().copied() {
            assert_eq!(word(kind).is_some(), kind.is_of_machine(), "{}", kind.name());
        }
    }

    #[test]
    fn what_is_waited_for_is_not_told_as_if_it_came() {
        let mut world = World::complete();
        world.vm("k8s-worker1").parts.insert("memsize".into(), "1024".into());
        let text = text(&world.up().unwrap(), &world.lab, Detail::Full);
        assert!(text.contains("  · wait until k8s-worker1 is a Ready node again\n"), "{text}");
    }

    #[test]
    fn a_machine_is_a_line_and_the_networks_change_stands_verbatim() {
        let (lab, plan) = plan_of_up();
        let text = text(&plan, &lab, Detail::Brief);
        for line in [
            "  + gateway1     10.10.0.11   clone, set up, start, await, listen on the LAN, nginx, Keepalived\n",
            "  + k8s-master1  10.10.0.131  clone, set up, start, await, prepare, kubeadm init\n",
            "  + k8s-worker2  10.10.0.142  clone, set up, start, await, prepare, kubeadm join\n",
            "      /Library/Preferences/VMware Fusion/networking\n      @@ ",
            "      +answer VNET_2_HOSTONLY_SUBNET 10.10.0.0\n",
            "      +add_dhcp_mac_to_ip 2 00:50:56:25:21:00 10.10.0.131\n",
            "54 steps; 7 new machines with 12 CPUs and 22 GiB of memory.\n",
        ] {
            assert!(text.contains(line), "{line:?} is not in\n{text}");
        }
        assert!(!text.contains("vm.clone/"), "ids are for the full text:\n{text}");
    }

    #[test]
    fn the_full_text_has_each_step_with_its_reason() {
        let (lab, plan) = plan_of_up();
        let text = text(&plan, &lab, Detail::Full);
        for step in &plan.steps {
            assert!(text.contains(&format!("  {}: {}\n", step.id, step.why)), "{} is missing", step.id);
        }
    }

    #[test]
    fn what_is_taken_down_is_told_in_the_same_way() {
        let (lab, plan) = plan_of_destroy();
        let text = text(&plan, &lab, Detail::Brief);
        assert!(text.contains("  - k8s-master1  10.10.0.131  stop, delete\n"), "{text}");
        assert!(text.ends_with("15 steps.\n"), "{text}");
    }

    #[test]
    fn an_empty_plan_says_so() {
        assert_eq!(
            text(&Plan::default(), &lab(), Detail::Brief),
            "Nothing to do: the world is as it should be.\n"
        );
    }

    #[test]
    fn what_nobody_could_be_asked_about_is_not_told_as_if_it_were_missing() {
        let mut world = World::complete();
        for node in world.lab.nodes.clone() {
            world.switch_off(&node.name);
        }
        world.facts.cluster = None;
        let text = text(&world.up().unwrap(), &world.lab, Detail::Brief);
        for line in [
            "  + k8s-master1  10.10.0.131  start, await, prepare?, certificates?, kubeadm init?\n",
            "  ? install the Gateway API ",
            "  ? install Cilium ",
            "  ? configure the Gateway on ",
            "  · wait until one gateway holds ",
            UNSEEN,
        ] {
            assert!(text.contains(line), "{line:?} is not in\n{text}");
        }
        // Of a lab that was never made nobody has to be asked.
        let (lab, plan) = plan_of_up();
        assert!(plan.unseen.is_empty() && !super::text(&plan, &lab, Detail::Brief).contains('?'));
    }

    #[test]
    fn a_machine_that_does_not_answer_says_nothing_of_what_the_others_tell() {
        let mut world = World::complete();
        world.switch_off("k8s-worker2");
        let text = text(&world.up().unwrap(), &world.lab, Detail::Brief);
        assert!(
            text.contains(
                "  + k8s-worker2  10.10.0.142  start, await, prepare?, certificates?, kubeadm join?"
            ),
            "{text}"
        );
        assert!(!text.contains("  ? "), "the API server answers:\n{text}");
    }

    #[test]
    fn what_stands_is_told_in_full_and_each_reason_with_its_step() {
        let mut world = World::complete();
        world.facts.kubeconfig = None;
        let plan = world.up().unwrap();
        let expected = "Cluster\n  + write the kubeconfig for https://192.168.68.200:6443\n";
        assert_eq!(text(&plan, &world.lab, Detail::Brief), format!("{expected}\n1 step.\n"));
        let full = text(&plan, &world.lab, Detail::Full);
        assert!(full.starts_with(&format!("{expected}      kubeconfig.write: there is none\n")), "{full}");
        assert!(full.contains("Kept\n") && full.contains("  = k8s-worker2: worker, joined\n"), "{full}");
    }
}
