//! A second lab of the same person's on the same Mac, and that neither lab's verbs touch what is the other's.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use fusionlab::lab::Lab;
use fusionlab::sim::inside::without_chance;
use sha2::{Digest, Sha256};

use super::chance::Chance;
use super::hands;
use super::invariants::{Before, Found, Violation, everything};
use super::mac::{Mac, Verb};
use super::{networking, story};

/// A lab with names and addresses of its own, on the first lab's network.
const BESIDE: &str = "\
version: 1
preset: solo
name: other
lan: {vip: 192.168.68.210}
internal: {vip: 10.10.0.20}
gateways: {router_id: 52}
nodes:
  gateway1: {lan_address: 192.168.68.66, address: 10.10.0.21}
  k8s-master1: {address: 10.10.0.151}
";

/// A lab with a network of its own.
const APART: &str = "\
version: 1
preset: solo
name: other
lan: {vip: 192.168.68.210}
internal: {vmnet: 3, subnet: 10.20.0.0/24}
gateways: {router_id: 52}
nodes:
  gateway1: {lan_address: 192.168.68.66}
";

const LABS: &[&str] = &[BESIDE, BESIDE, APART];

const RULE: &str = "two labs";

/// Draws the second lab's file.
pub fn lab(chance: &mut Chance) -> &'static str {
    chance.pick::<&str>(LABS)
}

/// Switches every machine off, as whoever wants Fusion's networks changed must.
pub async fn shut_down(mac: &Mac) {
    for machine in mac.inside.machines() {
        hands::power_off(mac, &machine.vmx).await;
    }
}

/// Nothing goes wrong any more: both labs come up, neither's end is felt by the other, and nothing is left.
pub async fn end_well(mac: &Mac, second: &Lab, chance: &mut Chance, before: &Before) -> Found {
    let first = mac.lab();
    let shared = first.internal.vmnet == second.internal.vmnet;
    // Fusion's networks restart for a new one, and must not under machines that run: both come first.
    shut_down(mac).await;
    for lab in [first, second] {
        story::calm(mac, lab, Verb::NetworkApply).await?;
    }
    for lab in [first, second] {
        story::calm(mac, lab, Verb::Up).await?;
    }
    for lab in [first, second] {
        story::is_whole(mac, lab).await?;
    }
    before.still_holds(mac, first, Verb::Up)?;
    if !shared {
        shut_down(mac).await;
    }
    let (goes, stays) = if chance.percent(50) { (first, second) } else { (second, first) };
    let bystander = Bystander::of(mac, stays);
    story::calm(mac, goes, Verb::Destroy).await?;
    bystander.is_untouched(mac)?;
    if shared {
        story::is_whole(mac, stays).await?;
    }
    story::calm(mac, stays, Verb::Destroy).await?;
    before.is_back(mac)
}

/// What a lab has that is not being worked on.
pub struct Bystander<'a> {
    lab: &'a Lab,
    lines: Vec<String>,
    /// Its files, by their digests.
    files: BTreeMap<PathBuf, String>,
    running: BTreeSet<PathBuf>,
    /// An order to Fusion that a killed run gave for it goes on, and still changes its files.
    is_worked_on: bool,
    /// How much of the trace there was.
    since: usize,
}

impl<'a> Bystander<'a> {
    pub fn of(mac: &Mac, lab: &'a Lab) -> Self {
        Self {
            lab,
            lines: lines(mac, lab),
            files: files(mac, lab),
            running: running(mac, lab),
            is_worked_on: order_goes_on(mac, lab),
            since: mac.inside.trace().len(),
        }
    }

    /// After a verb of the other lab's.
    pub fn is_untouched(&self, mac: &Mac) -> Found {
        let (was, is) = (&self.lines, lines(mac, self.lab));
        if *was != is && !self.happened(mac, networking::EDITED) {
            return Err(Violation::of(
                RULE,
                format!("{}'s lines were {was:?} and are {is:?}", self.lab.name),
            ));
        }
        let now = files(mac, self.lab);
        let differs = |path: &&PathBuf| self.files.get(*path) != now.get(*path);
        if let Some(path) = self.files.keys().chain(now.keys()).find(differs)
            && !self.is_worked_on
            && !self.was_taken_by_a_power_cut(mac, path)
        {
            return Err(Violation::of(RULE, format!("{} is not as it was", path.display())));
        }
        let off = |text: &str| self.happened(mac, text);
        if self.running != running(mac, self.lab)
            && !off("the Mac loses power")
            && !off("the Mac is started anew")
        {
            return Err(Violation::of(RULE, format!("{}'s machines do not run as before", self.lab.name)));
        }
        Ok(())
    }

    /// What a killed run of its own had not synced goes with the power, whoever is at work then.
    fn was_taken_by_a_power_cut(&self, mac: &Mac, path: &Path) -> bool {
        let Ok(below) = path.strip_prefix(&mac.home.0) else { return false };
        let is_told = |path: &Path| {
            let shown = without_chance(&format!("~/{}", path.display()));
            self.happened(mac, &format!("of {shown} there are "))
                || self.happened(mac, &format!("{shown} is "))
        };
        below.ancestors().filter(|path| path.parent().is_some()).any(is_told)
    }

    fn happened(&self, mac: &Mac, what: &str) -> bool {
        mac.inside.trace()[self.since..].iter().any(|(_, text)| text.starts_with(what))
    }
}

fn order_goes_on(mac: &Mac, lab: &Lab) -> bool {
    fs::File::open(mac.home.orders_lock(&lab.name)).is_ok_and(|file| file.try_lock().is_err())
}

/// Returns the lines of the networking file that a lab asked for, in whatever order Fusion has them.
fn lines(mac: &Mac, lab: &Lab) -> Vec<String> {
    let text = String::from_utf8_lossy(&networking::read(mac)).to_ascii_lowercase();
    let macs: Vec<String> = lab.nodes.iter().map(|node| node.internal().mac.to_string()).collect();
    let own = format!("answer vnet_{}_", lab.internal.vmnet);
    // A network that both labs are on changes with either.
    let shared = mac.labs().filter(|other| other.internal.vmnet == lab.internal.vmnet).count() > 1;
    let concerns = |line: &&str| {
        (!shared && line.starts_with(&own) && !line.contains("cfg_hash"))
            || (line.starts_with("add_dhcp") && macs.iter().any(|mac| line.contains(mac.as_str())))
    };
    let mut found: Vec<String> = text.lines().filter(concerns).map(|line| line.trim().to_owned()).collect();
    found.sort();
    found
}

/// Returns a lab's folder and its VMs, but for what a machine that runs writes by itself.
fn files(mac: &Mac, lab: &Lab) -> BTreeMap<PathBuf, String> {
    let is_lasting = |path: &PathBuf| {
        let ending = path.extension().unwrap_or_default().to_string_lossy().into_owned();
        !["log", "lck", "nvram", "vmem"].contains(&ending.as_str())
            && !path.components().any(|part| part.as_os_str().to_string_lossy().ends_with(".lck"))
    };
    let digest = |path: PathBuf| {
        let is_disk = path.extension().is_some_and(|ending| ending == "vmdk");
        let bytes = if is_disk { Vec::new() } else { fs::read(&path).unwrap_or_default() };
        (path, hex::encode(Sha256::digest(bytes)))
    };
    let vms = everything(&mac.fusion.library.join(&lab.name));
    let own = everything(mac.home.lab(&lab.name).root());
    vms.into_iter().chain(own).filter(is_lasting).map(digest).collect()
}

fn running(mac: &Mac, lab: &Lab) -> BTreeSet<PathBuf> {
    let folder = mac.fusion.library.join(&lab.name);
    mac.inside
        .machines()
        .into_iter()
        .map(|machine| machine.vmx)
        .filter(|vmx| vmx.starts_with(&folder))
        .collect()
}
