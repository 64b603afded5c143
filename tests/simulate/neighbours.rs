//! Others' things that meet ours: VMs beside ours and in our lab's folder, what stands in a lab's way, and a lease of one of
//! our addresses.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fusionlab::engine::error::EngineError;
use fusionlab::formats::dhcp::{self, Lease};
use fusionlab::host::stand_in::Computer;
use fusionlab::sim::hazards;
use fusionlab::sim::settings::Settings;
use tokio_util::sync::CancellationToken;

use super::chance::Chance;
use super::invariants::{Before, Found, Violation};
use super::mac::{Mac, Verb};
use super::networking;
use super::story::words;

const VMX: &str = ".encoding = \"UTF-8\"\nconfig.version = \"8\"\nvirtualHW.version = \"20\"\n";
/// A card of a VM that Fusion gave its MAC.
const STRANGER: &str = "00:0c:29:4b:1d:2e";
const LEASE_SECONDS: u64 = 1800;

/// Puts a VM without our marks into the lab's folder.
pub fn in_our_folder(mac: &Mac) {
    mac.inside.note("there is a stranger's VM in the lab's folder");
    write(&mac.fusion.library.join(&mac.lab().name).join("stranger.vmwarevm/stranger.vmx"), VMX);
}

/// Something stands in the lab's way: `up` refuses to begin and touches nothing, and goes on once it is gone.
pub async fn in_the_way(mac: &Mac, chance: &mut Chance, before: &Before) -> Found {
    let what = *chance.pick(&["twin", "window-open", "subnet-routed"]);
    mac.inside.note(format!("in the way: {what}"));
    let twin = mac.fusion.library.join("twin.vmwarevm");
    match what {
        "twin" => has_our_mac(mac, &twin),
        hazard => hazards::seed(&mac.inside.places, hazard).await.expect("a Mac takes it"),
    }
    let ended = mac.run(Verb::Up, &CancellationToken::new()).await;
    let still = before.still_holds(mac, mac.lab(), Verb::Up);
    match what {
        "twin" => fs::remove_dir_all(twin).expect("it can be removed"),
        _ => Settings::update(&mac.inside.places, |settings| {
            settings.window_open = false;
            settings.routes.clear();
        })
        .expect("settings can be written"),
    }
    still?;
    refused(what, ended)
}

/// Somebody reserves an address of ours on our network for a card of theirs: `up` says so, and takes nothing away.
pub async fn reserves_an_address(mac: &Mac, before: &Before) -> Found {
    let vmnet = mac.lab().internal.vmnet;
    let file = String::from_utf8_lossy(&networking::read(mac)).into_owned();
    if !file.contains(&format!("answer VNET_{vmnet}_HOSTONLY_SUBNET")) {
        return Ok(());
    }
    let address = mac.lab().nodes.last().expect("a lab has nodes").address();
    let line = format!("add_dhcp_mac_to_ip {vmnet} {STRANGER} {address}").into_bytes();
    networking::edit(&mac.inside, |mut lines| {
        lines.insert(1.min(lines.len()), line.clone());
        lines
    });
    let ended = mac.run(Verb::Up, &CancellationToken::new()).await;
    let still = before.still_holds(mac, mac.lab(), Verb::Up);
    networking::edit(&mac.inside, |mut lines| {
        lines.retain(|there| *there != line);
        lines
    });
    still?;
    refused("a reservation", ended)
}

fn refused(what: &str, ended: Result<(), EngineError>) -> Found {
    match ended {
        Err(EngineError::Obstacles(_)) => Ok(()),
        Err(error) => Err(Violation::of("in the way", format!("{what}: {}", words(&error)))),
        Ok(()) => Err(Violation::of("in the way", format!("{what}: it came up"))),
    }
}

/// Makes a VM whose card has a MAC of the lab's.
fn has_our_mac(mac: &Mac, bundle: &Path) {
    let node = mac.lab().nodes.last().expect("a lab has nodes");
    let card = node.nics.first().expect("a node has a card");
    let text = format!(
        "{VMX}ethernet0.present = \"TRUE\"\nethernet0.addressType = \"static\"\nethernet0.address = \"{}\"\n",
        card.mac
    );
    write(&bundle.join("twin.vmx"), &text);
}

/// Fusion's DHCP server lends an address of the lab's to a VM of somebody else's: it spares no reserved ones.
pub fn leases_an_address(mac: &Mac, chance: &mut Chance) {
    let path = mac.fusion.leases(mac.lab().internal.vmnet);
    let Ok(mut text) = fs::read_to_string(&path) else { return };
    let address = chance.pick(&mac.lab().nodes).address();
    mac.inside.note(format!("somebody else has a lease of {address}"));
    let starts = mac.inside.now_ms() / 1000;
    let hostname = Some("stranger".to_owned());
    let mac_of_card = STRANGER.parse().expect("a MAC");
    text += &Lease { address, mac: mac_of_card, starts, ends: starts + LEASE_SECONDS, hostname }.render();
    fs::write(path, text).expect("it can be written");
}

/// Waits until no lease of somebody else's is valid any more.
pub async fn leases_end(mac: &Mac) {
    let text = fs::read_to_string(mac.fusion.leases(mac.lab().internal.vmnet)).unwrap_or_default();
    let theirs = dhcp::leases(&text).into_iter().filter(|lease| lease.mac.to_string() == STRANGER);
    let Some(last) = theirs.map(|lease| lease.ends).max() else { return };
    let left = (last + 1).saturating_sub(mac.inside.now_ms() / 1000);
    tokio::time::sleep(Duration::from_secs(left)).await;
}

fn write(path: &Path, text: &str) {
    let folder: PathBuf = path.parent().expect("a file is in a folder").to_owned();
    fs::create_dir_all(folder).expect("the library takes a folder");
    fs::write(path, text).expect("it can be written");
}
