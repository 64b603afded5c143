//! A status as lines: the machines, what they use, and the lab's own state.

use std::collections::BTreeSet;

use super::{ClusterStatus, Kubernetes, NodeStatus, Status, VipStatus, Vm};
use crate::cli::screen::table::{Cell, Table, Text, labelled};
use crate::cli::screen::{opening, runs};
use crate::cli::terminal::{Ink, Pen};
use crate::cli::words::{self, bytes, bytes_of, count};
use crate::engine::journal::Ended;
use crate::engine::observe::resources::HostUse;
use crate::host::fusion::Fusion;
use crate::lab::{Lab, Role};
use crate::stack::node::CLOCK_WITHIN_MS;
use crate::stack::resources::Share;

const MACHINES: [&str; 7] = ["NAME", "ROLE", "ADDRESS", "VM", "GUEST", "KUBERNETES", "VERSION"];
const USES: [&str; 4] = ["MEMORY", "DISK", "LOAD", "CLOCK"];
/// Of so many hundredths of memory or disk on, more is too much: kubelets begin to evict pods.
const MUCH: u64 = 90;

impl Status {
    /// Returns the lines for a terminal.
    pub fn lines(&self, lab: &Lab, fusion: &Fusion, pen: &Pen) -> Vec<String> {
        self.lines_with(&self.nodes, None, lab, fusion, pen)
    }

    /// The same with these machines alone, and a line below them.
    pub(super) fn lines_with(
        &self,
        nodes: &[NodeStatus],
        note: Option<String>,
        lab: &Lab,
        fusion: &Fusion,
        pen: &Pen,
    ) -> Vec<String> {
        let mut lines = opening::lines(lab, fusion, pen);
        lines.push(String::new());
        if !nodes.is_empty() {
            lines.extend(self.machines(nodes, pen));
        }
        lines.extend(note);
        lines.push(String::new());
        lines.extend(labelled(self.summary(), pen));
        lines.extend(runs::lines(self.cut_off.as_ref(), self.at_work.as_ref(), pen));
        lines.extend(self.last_run(pen));
        lines.extend(self.way_on(pen));
        lines
    }

    /// Says that the last run came to no good end, unless that is told already.
    fn last_run(&self, pen: &Pen) -> Vec<String> {
        let last = self.last.as_ref().filter(|_| self.cut_off.is_none());
        let Some((last, how)) = last.and_then(|last| Some((last, last.short_of_done()?))) else {
            return Vec::new();
        };
        let is = if last.ended == Some(Ended::Failed) { "" } else { "was " };
        let text = format!("the last `{}` {is}{how} at {}", last.verb, last.when());
        vec![String::new(), pen.paint(Ink::Warn, &text)]
    }

    /// Says whether what machines use has a table of its own, for want of room beside them.
    pub(super) fn uses_stand_apart(&self, pen: &Pen) -> bool {
        self.nodes.iter().any(|node| node.resources.is_some()) && !self.tables(&self.nodes, pen).2.fits(pen)
    }

    /// Returns the machines with what they use: in one table where it fits, else in two.
    fn machines(&self, nodes: &[NodeStatus], pen: &Pen) -> Vec<String> {
        let (states, uses, both) = self.tables(nodes, pen);
        let states = states.leaving_out(["VERSION", "ROLE"]);
        if nodes.iter().all(|node| node.resources.is_none()) {
            return states.lines(pen);
        }
        if both.fits(pen) {
            return both.lines(pen);
        }
        let mut lines = states.lines(pen);
        lines.push(String::new());
        lines.extend(uses.leaving_out(["LOAD", "CLOCK"]).lines(pen));
        lines
    }

    /// Returns the machines, what they use, and both in one.
    fn tables(&self, nodes: &[NodeStatus], pen: &Pen) -> (Table, Table, Table) {
        let answers = self.cluster.is_some();
        let (mut states, mut uses) = (Table::new(MACHINES), Table::new(["NAME"].into_iter().chain(USES)));
        let mut both = Table::new(MACHINES.into_iter().chain(USES));
        for node in nodes {
            let name = Cell::inked(Ink::Strong, node.name.clone());
            states.row(node.cells(answers, pen));
            uses.row([name].into_iter().chain(node.uses(pen)));
            both.row(node.cells(answers, pen).into_iter().chain(node.uses(pen)));
        }
        (states, uses, both)
    }

    fn summary(&self) -> Vec<(&'static str, Text)> {
        let network = if self.network.running { "running" } else { "not running" };
        let mut pairs = vec![("network", Text::from(format!("{} {network}", self.network.name)))];
        let label = |index, label| if index == 0 { label } else { "" };
        let (vips, is_known) = (self.vips.iter().enumerate(), !self.may_be_held_elsewhere());
        pairs.extend(vips.map(|(index, vip)| (label(index, "VIPs"), vip.text(is_known))));
        let warn = |text: &str| Text::from([Cell::inked(Ink::Warn, text)]);
        if !self.not_in_file.is_empty() {
            let names: Vec<&str> = self.not_in_file.iter().map(|machine| machine.name.as_str()).collect();
            pairs.push(("not in file", warn(&names.join(", "))));
        }
        let is_off = |node: &NodeStatus| Some(format!("{}: {}", node.name, node.services.as_ref()?));
        let services = self.nodes.iter().filter_map(is_off).enumerate();
        pairs.extend(services.map(|(index, words)| (label(index, "services"), warn(&words))));
        let clocks = self.clocks.iter().enumerate();
        pairs.extend(clocks.map(|(index, clock)| (label(index, "clocks"), warn(clock))));
        let ends = self.certificates().into_iter().enumerate();
        pairs.extend(ends.map(|(index, (words, is_due))| {
            (label(index, "certificates"), if is_due { warn(&words) } else { words.into() })
        }));
        if !self.versions.is_empty() {
            pairs.push(("versions", self.versions_text()));
        }
        if let Some(host) = &self.host {
            pairs.extend(self.host_text(host).into_iter().map(|(label, text)| (label, text.into())));
        }
        match &self.cluster {
            Some(cluster) => pairs.extend(of_cluster(cluster)),
            None => pairs.push((
                "cluster",
                warn(&match (&self.unreadable, self.vip_of_nobody()) {
                    (Some(reason), _) => reason.clone(),
                    (None, Some(vip)) => format!("no API server answers: nobody holds {}", vip.address),
                    (None, None) => "no API server answers".to_owned(),
                }),
            )),
        }
        pairs
    }
}

impl Status {
    /// Says when the first certificates end, in the guests and on this Mac, and whether they are due.
    fn certificates(&self) -> Vec<(String, bool)> {
        let of_nodes = self.certificates.as_ref().map(|first| {
            let words = first.words.replacen("end ", "ends ", 1);
            (format!("the first of the nodes' {words}, on {}", first.node), first.is_due)
        });
        let own =
            self.own_certificates.as_ref().map(|own| (format!("{} {}", own.whose, own.words), own.is_due));
        of_nodes.into_iter().chain(own).collect()
    }
}

/// Says how the cluster is, and what runs in it.
fn of_cluster(cluster: &ClusterStatus) -> Vec<(&'static str, Text)> {
    let ready = format!("{} of {} Ready", cluster.nodes_ready, count(cluster.nodes, "node"));
    let ink = if cluster.nodes_ready == cluster.nodes { Ink::Good } else { Ink::Warn };
    let others = match cluster.not_in_file.len() {
        0 => String::new(),
        others => format!(", and {others} that the lab file has not"),
    };
    let asked = Cell::plain(format!(", says {}", cluster.asked));
    let cells = [Cell::inked(ink, ready), Cell::inked(Ink::Warn, others), asked];
    let mut pairs = vec![("cluster", Text::from(cells))];
    let cilium = cluster.cilium.clone().unwrap_or_else(|| "not installed".to_owned());
    pairs.push(if cluster.waiting.is_empty() {
        ("Cilium", cilium.into())
    } else {
        let (cilium, waiting) = (Cell::plain(format!("{cilium}, ")), cluster.waiting.join(", "));
        ("Cilium", [cilium, Cell::inked(Ink::Warn, "not ready: "), Cell::plain(waiting)].into())
    });
    let gateway = match (&cluster.gateway_api, cluster.gateway_programmed) {
        (None, _) => Text::from("not installed".to_owned()),
        (Some(version), true) => format!("{version}, the Gateway is programmed").into(),
        (Some(version), false) => {
            let version = Cell::plain(format!("{version}, "));
            [version, Cell::inked(Ink::Warn, "the Gateway is not programmed")].into()
        }
    };
    pairs.push(("Gateway API", gateway));
    if cluster.kube_proxy_present {
        let text = Cell::inked(Ink::Bad, "present, though Cilium replaces it");
        pairs.push(("kube-proxy", [text].into()));
    }
    pairs
}

impl Status {
    fn versions_text(&self) -> Text {
        let program = |(index, (name, versions)): (usize, (&String, &BTreeSet<String>))| {
            let listed: Vec<&str> = versions.iter().map(String::as_str).collect();
            let text = format!("{name} {}", listed.join(" and "));
            let comma = Cell::plain(if index == 0 { "" } else { ", " });
            [comma, if listed.len() > 1 { Cell::inked(Ink::Warn, text) } else { Cell::plain(text) }]
        };
        self.versions.iter().enumerate().flat_map(program).collect()
    }

    /// Says what of this Mac the lab has, and what its machines make of it; nothing where nothing of it stands.
    fn host_text(&self, host: &HostUse) -> Vec<(&'static str, String)> {
        let free = |free: Option<u64>| free.map_or(String::new(), |free| format!(", {} free", bytes(free)));
        let mut pairs = Vec::new();
        if host.running > 0 {
            let used: u64 = self.nodes.iter().filter_map(|node| Some(node.resources?.memory.used)).sum();
            let machines = count(host.running, "machine");
            let use_ = if host.running == 1 { "uses" } else { "use" };
            let given = bytes_of(used, host.memory_given);
            let (mac, free) = (bytes(host.memory), free(host.memory_free));
            pairs.push(("memory", format!("{machines} {use_} {given}; this Mac has {mac}{free}")));
        }
        if host.disk_taken > 0 {
            let taken = bytes(host.disk_taken);
            pairs.push(("disk", format!("{taken} taken on this Mac{}", free(host.disk_free))));
        }
        pairs
    }
}

impl VipStatus {
    /// Says who holds it; `is_known` says whether all were asked that may.
    fn text(&self, is_known: bool) -> Text {
        let holder = match self.holders.as_slice() {
            [] if is_known => Cell::inked(Ink::Warn, "held by nobody"),
            [] => Cell::inked(Ink::Warn, "not known who holds it"),
            [one] => Cell::plain(format!("held by {one}")),
            many => Cell::inked(Ink::Bad, format!("held by several: {}", many.join(", "))),
        };
        [Cell::plain(format!("{} on {}, ", self.address, self.network)), holder].into()
    }
}

impl NodeStatus {
    fn cells(&self, cluster_answers: bool, pen: &Pen) -> [Cell; 7] {
        let none = || Cell::inked(Ink::Dim, pen.none());
        let role = self.role.noun();
        let role = if self.vip { format!("{role}, VIP") } else { role.to_owned() };
        let vm = match self.vm {
            Vm::Absent => Cell::inked(Ink::Dim, "absent"),
            Vm::Stopped => Cell::inked(Ink::Warn, "stopped"),
            Vm::Running => Cell::inked(Ink::Good, "running"),
            Vm::Foreign => Cell::inked(Ink::Bad, "not ours"),
        };
        let guest = match (&self.guest, self.vm) {
            (Some(state), _) if state == "done" && self.services.is_some() => {
                Cell::inked(Ink::Warn, "unwell")
            }
            (Some(state), _) if state == "done" => Cell::inked(Ink::Good, "ready"),
            (Some(state), _) => Cell::inked(Ink::Warn, format!("cloud-init {state}")),
            (None, Vm::Running) => Cell::inked(Ink::Warn, "no answer"),
            (None, _) => none(),
        };
        let kubernetes = match (self.kubernetes, self.role, cluster_answers) {
            (Some(Kubernetes::Ready), ..) => Cell::inked(Ink::Good, "Ready"),
            (Some(Kubernetes::NotReady), ..) => Cell::inked(Ink::Warn, "NotReady"),
            (Some(Kubernetes::NotJoined), ..) => Cell::inked(Ink::Warn, "not joined"),
            (None, Role::Gateway, _) | (None, _, true) => none(),
            (None, _, false) => Cell::inked(Ink::Dim, "unknown"),
        };
        [
            Cell::inked(Ink::Strong, self.name.clone()),
            Cell::plain(role),
            Cell::plain(self.address.clone()),
            vm,
            guest,
            kubernetes,
            self.version.clone().map_or_else(none, Cell::plain),
        ]
    }

    /// What it uses, and its clock.
    fn uses(&self, pen: &Pen) -> [Cell; 4] {
        let none = || Cell::inked(Ink::Dim, pen.none());
        let share = |Share { used, total }: Share| {
            let text = bytes_of(used, total);
            let is_much = u128::from(used) * 100 >= u128::from(total) * u128::from(MUCH);
            if is_much { Cell::inked(Ink::Warn, text) } else { Cell::plain(text) }
        };
        let clock = match self.clock_off_ms {
            None => none(),
            Some(0) => Cell::plain("right"),
            Some(off) => {
                let way = if off < 0 { "behind" } else { "ahead" };
                let amount = words::duration(std::time::Duration::from_millis(off.unsigned_abs()));
                let is_far = off.unsigned_abs() > CLOCK_WITHIN_MS;
                let text = format!("{amount} {way}");
                if is_far { Cell::inked(Ink::Warn, text) } else { Cell::plain(text) }
            }
        };
        let Some(found) = &self.resources else { return [none(), none(), none(), clock] };
        [share(found.memory), share(found.disk), Cell::plain(format!("{:.2}", found.load)), clock]
    }
}
