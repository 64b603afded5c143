//! Fusion's networks as the plan sees them: what becomes of the networking file, and the step that makes it so.
//!
//! The file and its services are shared: by labs, and with everything else that Fusion runs. So three things are
//! told apart: the network (`vmnet2`), which whoever came first made; a lab's reservations in it; and the rest of the
//! file, which is nobody's of ours.

use std::path::Path;

use crate::formats::lines::unified_diff;
use crate::formats::networking::{Conflict, Document, Ours, Scope, overlap, restore, scope};
use crate::lab::Lab;
use crate::stack::network;

use super::facts::{Facts, MadeNetwork, NetworkRecord, UnfinishedChange, VmState};
use super::obstacle::Obstacle;
use super::step::{Action, Plan, Step};

/// Where Fusion keeps its networking file: what it is called in a plan.
pub const FILE: &str = "/Library/Preferences/VMware Fusion/networking";
/// What the step does where no line changes.
const RESTART: &str = "restart Fusion's networks and see that they run";

/// What is to become of Fusion's networking file.
#[derive(Clone, Debug)]
pub enum NetworkEdit {
    /// It says what it should.
    Satisfied,
    Change(NetworkChange),
    /// Somebody else's things stand in the way.
    Conflict(Vec<Conflict>),
    /// It is not a file that we edit; why, and on which line.
    Unreadable {
        line: usize,
        reason: String,
    },
    /// The lab's lines stand on another network than the lab file names now.
    Moved {
        from: u8,
    },
}

/// A change of the networking file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkChange {
    pub after: Vec<u8>,
    /// What the user is shown.
    pub diff: String,
    /// What must restart for it.
    pub scope: Scope,
}

impl NetworkEdit {
    fn of(before: &[u8], after: Vec<u8>, vmnet: u8) -> Self {
        match scope(before, &after, vmnet) {
            Scope::Nothing => Self::Satisfied,
            scope => {
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                let diff = unified_diff(&text(before), &text(&after), FILE);
                Self::Change(NetworkChange { after, diff, scope })
            }
        }
    }

    /// Returns what the user is shown; nothing if nothing changes.
    pub fn diff(&self) -> &str {
        if let Self::Change(change) = self { &change.diff } else { "" }
    }
}

/// Returns what the lab makes of the networking file in the facts.
pub fn edit(lab: &Lab, facts: &Facts) -> NetworkEdit {
    let wish = network::wish(lab);
    let record = facts.network_record.as_ref();
    if let Some(record) = record.filter(|record| record.vmnet != wish.vmnet) {
        return NetworkEdit::Moved { from: record.vmnet };
    }
    let document = match facts.networking.as_deref().map_or_else(|| Ok(Document::new()), Document::parse) {
        Ok(document) => document,
        Err(refusal) => return NetworkEdit::Unreadable { line: refusal.line, reason: refusal.reason },
    };
    let reservations = record.map(|record| record.reservations.clone()).unwrap_or_default();
    // A network that another lab uses, too, is not this lab's to change.
    let ours = is_ours(&document, facts, wish.vmnet) && !others_use(&document, wish.vmnet, record);
    match document.ensure(&wish, Ours { vmnet: ours, reservations }) {
        Err(conflicts) => NetworkEdit::Conflict(conflicts),
        Ok(after) => {
            let before = facts.networking.clone().unwrap_or_default();
            NetworkEdit::of(&before, after.render(), wish.vmnet)
        }
    }
}

/// Returns what the file becomes when this lab's lines go: exactly what it was, if nobody has changed it since.
/// `originals` are the file before our first changes, the likeliest first.
pub fn without(facts: &Facts, originals: &[&[u8]]) -> NetworkEdit {
    let (Some(bytes), Some(record)) = (&facts.networking, &facts.network_record) else {
        return NetworkEdit::Satisfied;
    };
    let document = match Document::parse(bytes) {
        Ok(document) => document,
        Err(refusal) => return NetworkEdit::Unreadable { line: refusal.line, reason: refusal.reason },
    };
    let gone = is_gone_with(&document, facts, record);
    let undo = |original| restore(bytes, original, record.vmnet, gone, &record.reservations);
    // A network that goes does not come back from a file that had it: another lab had made it before this one came.
    let mut before =
        originals.iter().copied().filter(|original| !gone || !has(original, record.vmnet)).peekable();
    // Where none comes back exactly, the first still tells what an older network had left under our number.
    let first = before.peek().copied();
    let exact = before.find(|original| undo(Some(original)) == **original);
    NetworkEdit::of(bytes, undo(exact.or(first)), record.vmnet)
}

fn has(networking: &[u8], vmnet: u8) -> bool {
    Document::parse(networking).is_ok_and(|document| document.vmnet(vmnet).exists)
}

/// Says whether the network itself goes with a lab's lines: fusionlab made it, and nobody else is on it.
fn is_gone_with(document: &Document, facts: &Facts, record: &NetworkRecord) -> bool {
    is_ours(document, facts, record.vmnet) && !others_use(document, record.vmnet, Some(record))
}

/// Says whether a network is the one that fusionlab made, and not one that somebody made in its place.
fn is_ours(document: &Document, facts: &Facts, vmnet: u8) -> bool {
    facts.network_made.as_ref().is_some_and(|made| made.vmnet == vmnet && is_made(document, made))
}

/// Says whether the network that a record is about is the one in the file. A record alone proves nothing: it is written
/// before the change, which a kill may have kept from coming about.
pub fn is_made(document: &Document, made: &MadeNetwork) -> bool {
    let now = document.vmnet(made.vmnet);
    match (&made.uuid, &now.uuid) {
        (Some(made), Some(now)) => made == now,
        _ if !now.exists => true,
        // We write a network and its reservations at once; whoever makes one in its place does not know these.
        _ => {
            let reserved = document.reservations(made.vmnet);
            now.subnet == Some(made.subnet) && made.reservations.iter().any(|ours| reserved.contains(ours))
        }
    }
}

/// Says whether somebody else, such as another lab, has reservations on a network: then it stays as it is.
fn others_use(document: &Document, vmnet: u8, record: Option<&NetworkRecord>) -> bool {
    let ours = record.map(|record| record.reservations.as_slice()).unwrap_or_default();
    document.reservations(vmnet).iter().any(|reservation| !ours.contains(reservation))
}

/// Returns the change that puts a backup in the file's place.
pub fn put_back(facts: &Facts, backup: &[u8], vmnet: u8) -> NetworkEdit {
    match Document::parse(backup) {
        Err(refusal) => NetworkEdit::Unreadable { line: refusal.line, reason: refusal.reason },
        Ok(_) => NetworkEdit::of(facts.networking.as_deref().unwrap_or_default(), backup.to_vec(), vmnet),
    }
}

/// Says whether Fusion's networks stop and start for an edit. A service that merely does not run is started, which
/// cuts nobody off.
pub fn restarts(edit: &NetworkEdit, facts: &Facts) -> bool {
    let changed = matches!(edit, NetworkEdit::Change(change) if change.scope == Scope::Networks);
    changed || facts.unfinished.is_some()
}

/// Finds what must not be while the file is changed and the networks restart.
pub fn obstacles(edit: &NetworkEdit, facts: &Facts) -> Vec<Obstacle> {
    let mut obstacles = Vec::new();
    let changes = matches!(edit, NetworkEdit::Change(_)) || facts.unfinished.is_some();
    if changes && facts.host.fusion_ui_open {
        obstacles.push(Obstacle::FusionOpen);
    }
    let ours = |vmx: &Path| facts.vms.values().any(|vm| vm.vmx == *vmx && vm.state == VmState::Ours);
    let others: Vec<_> = facts.host.running.iter().filter(|vmx| !ours(vmx)).cloned().collect();
    if restarts(edit, facts) && !others.is_empty() {
        obstacles.push(Obstacle::OthersRunning { vmx: others });
    }
    obstacles
}

/// Finds a route of the host's that leads the lab's subnet elsewhere: a VPN's, Docker's, the home network's.
///
/// It counts only as long as the network is to be made: once it is there, the more precise route is Fusion's.
pub fn route_in_the_way(lab: &Lab, facts: &Facts) -> Option<Obstacle> {
    let subnet = lab.internal.subnet;
    let document = facts.networking.as_deref().and_then(|bytes| Document::parse(bytes).ok());
    if document.is_some_and(|document| document.vmnet(lab.internal.vmnet).subnet == Some(subnet.trunc())) {
        return None;
    }
    let route = facts.host.routes.iter().find(|route| {
        // The default route leads everywhere, and yields to any other.
        route.destination.prefix_len() > 0 && overlap(&route.destination, &subnet)
    })?;
    Some(Obstacle::SubnetRouted {
        subnet: subnet.to_string(),
        destination: route.destination.to_string(),
        interface: route.interface.clone(),
    })
}

/// Returns the step that makes the networks what the lab needs; none if they are.
pub fn apply_step(lab: &Lab, edit: &NetworkEdit, facts: &Facts) -> Option<Step> {
    let vmnet = lab.vmnet_name();
    let count = lab.nodes.len();
    let whole = format!("set up {vmnet} {} with NAT, DHCP and {count} reservations", lab.internal.subnet);
    let (text, why, scope) = match (edit, &facts.unfinished) {
        (NetworkEdit::Change(change), _) if change.scope == Scope::Reservations => (
            format!("reserve addresses on {vmnet}; of Fusion's services only its DHCP restarts"),
            format!("the reservations on {vmnet} are not the lab's"),
            change.scope,
        ),
        (NetworkEdit::Change(change), _) => {
            let document = facts.networking.as_deref().and_then(|bytes| Document::parse(bytes).ok());
            let number = lab.internal.vmnet;
            let has_some = document.is_some_and(|document| {
                !document.answers(number).is_empty() || !document.reservations(number).is_empty()
            });
            let why = if has_some { "lacks parts of" } else { "has nothing of" };
            (whole, format!("Fusion's networking file {why} {vmnet}"), change.scope)
        }
        (_, Some(unfinished)) => (RESTART.to_owned(), cut_short(unfinished), Scope::Networks),
        (NetworkEdit::Satisfied, None) if !facts.network_running => (
            format!("see that the services of {vmnet} run as Fusion's networking file says"),
            format!("services of {vmnet} are not running, or not with its reservations"),
            Scope::Nothing,
        ),
        _ => return None,
    };
    let diff = edit.diff().to_owned();
    Some(Step::new(Action::ApplyNetwork { diff, scope }, text, why))
}

/// Returns the step that takes the lab's lines out; none if there are none.
pub fn restore_step(edit: &NetworkEdit, facts: &Facts) -> Option<Step> {
    let vmnet = facts.network_record.as_ref().map(|record| record.vmnet).unwrap_or_default();
    let (text, why, scope) = match (edit, &facts.unfinished) {
        (NetworkEdit::Change(change), _) => (
            format!("take our lines for vmnet{vmnet} out of Fusion's networking file"),
            "this lab made it".to_owned(),
            change.scope,
        ),
        (_, Some(unfinished)) => (RESTART.to_owned(), cut_short(unfinished), Scope::Networks),
        _ => return None,
    };
    let diff = edit.diff().to_owned();
    Some(Step::new(Action::RestoreNetwork { diff, scope }, text, why))
}

fn cut_short(unfinished: &UnfinishedChange) -> String {
    format!("a change begun {} was cut short", unfinished.since)
}

/// Plans `network apply`: the network alone, without machines.
///
/// # Errors
/// Everything that stands in the way.
pub fn plan_apply(lab: &Lab, facts: &Facts) -> Result<Plan, Vec<Obstacle>> {
    let edit = edit(lab, facts);
    let mut found = super::obstacle::of_network(lab, &edit, facts);
    found.extend(own_machines(restarts(&edit, facts), facts));
    plan_of(found, apply_step(lab, &edit, facts))
}

/// Plans `network restore`: this lab's lines out of the file.
///
/// # Errors
/// Everything that stands in the way.
pub fn plan_undo(facts: &Facts, edit: &NetworkEdit) -> Result<Plan, Vec<Obstacle>> {
    plan_of(in_the_way_of_undo(edit, facts), restore_step(edit, facts))
}

/// Plans `network restore BACKUP`: the whole file as it was.
///
/// # Errors
/// Everything that stands in the way.
pub fn plan_put_back(backup: &str, facts: &Facts, edit: &NetworkEdit) -> Result<Plan, Vec<Obstacle>> {
    let (diff, scope, text, why) = match (edit, &facts.unfinished) {
        (NetworkEdit::Change(change), _) => (
            change.diff.clone(),
            change.scope,
            format!("put {backup} in the place of Fusion's networking file"),
            "it was asked for".to_owned(),
        ),
        (_, Some(unfinished)) => (String::new(), Scope::Networks, RESTART.to_owned(), cut_short(unfinished)),
        _ => return plan_of(in_the_way_of_undo(edit, facts), None),
    };
    let action = Action::PutBackNetwork { diff, scope, backup: backup.to_owned() };
    plan_of(in_the_way_of_undo(edit, facts), Some(Step::new(action, text, why)))
}

/// Finds what stands in the way of an earlier file, or of the one that is there where its networks must restart.
fn in_the_way_of_undo(edit: &NetworkEdit, facts: &Facts) -> Vec<Obstacle> {
    let mut found = super::obstacle::of_undo(edit, facts);
    let matters = matches!(edit, NetworkEdit::Change(_)) || restarts(edit, facts);
    found.extend(own_machines(matters, facts));
    found
}

fn plan_of(obstacles: Vec<Obstacle>, step: Option<Step>) -> Result<Plan, Vec<Obstacle>> {
    if obstacles.is_empty() {
        Ok(Plan { steps: step.into_iter().collect(), ..Plan::default() })
    } else {
        Err(obstacles)
    }
}

/// The lab's own machines must not run where only the network is changed: `up` and `destroy` stop them, these do not.
fn own_machines(matters: bool, facts: &Facts) -> Option<Obstacle> {
    let running = facts.vms.iter().filter(|(_, vm)| vm.state == VmState::Ours && vm.running);
    let nodes: Vec<String> = running.map(|(name, _)| name.clone()).collect();
    (matters && !nodes.is_empty()).then_some(Obstacle::OwnRunning { nodes })
}

#[cfg(test)]
mod tests;
