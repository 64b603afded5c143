//! What `init` asks of the layers below: the machine, Fusion and its networks, who is on the LAN, files.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::answers::{KeyAnswer, Seen, Takes};
use super::check::{self, Refused};
use crate::cli::calls::{self, Outlook, Session};
use crate::cli::context::Context;
use crate::cli::error::Failure;
use crate::engine::home::made_from;
use crate::formats::networking::Document;
use crate::host::fusion::networks::Networks;
use crate::host::fusion::{Fusion, discover};
use crate::host::surroundings::LanInterface;
use crate::host::{files, surroundings};
use crate::lab::Lab;
use crate::lab::catalogue::Arch;
use crate::lab::limits::{ADDRESS_PROBE, Limits};
use crate::lab::presets::Preset;
use crate::lab::resolve;
use crate::plan::step::Plan;

/// The root of a Mac without Fusion.
const MAC: &str = "/";

/// Returns the ways into home networks of the Mac with this root, for what must not wait and not fail: none if it takes longer.
pub fn home_networks(root: &Path, limit: Duration) -> Vec<LanInterface> {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return Vec::new();
    };
    let found = runtime.block_on(async { tokio::time::timeout(limit, surroundings::lan(root, limit)).await });
    // Nothing is waited for that is still being asked.
    runtime.shutdown_background();
    found.unwrap_or_default()
}

/// Returns the root of the Mac of a Fusion that was named; none if there is none.
pub fn root_of_fusion(path: &Path) -> Option<PathBuf> {
    discover::find(Some(path)).ok().map(|fusion| fusion.root)
}

/// Looks at everything once, and changes nothing.
pub async fn look(context: &Context) -> Result<Seen, Failure> {
    let limit = Limits::default().fusion_query;
    let fusion = match calls::fusion(context).await {
        Ok(fusion) => Some(fusion),
        Err(Failure::Report(report)) if calls::FINDINGS.contains(&report.id) => None,
        Err(other) => return Err(other),
    };
    let root = fusion.as_ref().map_or_else(|| PathBuf::from(MAC), |fusion| fusion.root.clone());
    let home = context.user_home().ok();
    let mut seen = Seen {
        around: surroundings::look(&root, home.as_deref(), limit).await,
        root,
        labs: names(&context.home.labs()),
        files: names(Path::new(".")),
        sizes: Preset::ALL.into_iter().filter_map(|preset| Some((preset, takes(preset)?))).collect(),
        ..Seen::default()
    };
    if let Some(fusion) = &fusion {
        networks_of(context, fusion, &mut seen).await;
        seen.ours = seen.labs.iter().flat_map(|name| home_addresses(context, name, &fusion.root)).collect();
    }
    Ok(Seen { fusion, ..seen })
}

/// Fusion's networks and the ways out are a matter of what is proposed; what cannot be read is left out.
async fn networks_of(context: &Context, fusion: &Fusion, seen: &mut Seen) {
    let networks = Networks::new(fusion.clone(), context.home.network());
    let bytes = networks.read().ok().flatten();
    if let Some(Ok(document)) = bytes.as_deref().map(Document::parse) {
        let standing = document.model().vmnets().into_iter().filter(|vmnet| vmnet.exists);
        seen.networks = standing.map(|vmnet| (vmnet.number, vmnet.subnet)).collect();
    }
    let routes = networks.routes(Limits::default().fusion_query).await.ok().flatten().unwrap_or_default();
    let ways = routes.into_iter().filter(|route| route.destination.prefix_len() > 0);
    seen.routes = ways.map(|route| (route.destination, route.interface)).collect();
}

/// Returns what a lab has on its home network, with whose each address is, by what it was made from; nothing if that is gone, or
/// the lab is in another Fusion.
fn home_addresses(context: &Context, name: &str, root: &Path) -> Vec<(Ipv4Addr, String)> {
    let record = made_from::read(&context.home.lab(name)).ok().flatten();
    let Some(record) = record.filter(|record| record.fusion == root) else { return Vec::new() };
    let text = match record.file.map(|file| calls::read_text(&file)) {
        None => None,
        Some(Ok(Some(text))) => Some(text),
        Some(_) => return Vec::new(),
    };
    let (Ok((lab, _)), _) = calls::resolve_at_home(&context.home, text.as_deref(), None) else {
        return Vec::new();
    };
    let gateways = lab.gateways().filter_map(|node| Some((node.lan()?.address, node.name.clone())));
    let gateways: Vec<(Ipv4Addr, String)> = gateways.collect();
    let vip = (!gateways.is_empty()).then(|| (lab.lan.vip, "the VIP".to_owned()));
    let all = gateways.into_iter().chain(vip).filter(|_| lab.name == name);
    all.map(|(address, what)| (address, format!("{what} of lab \"{name}\""))).collect()
}

fn names(folder: &Path) -> std::collections::BTreeSet<String> {
    let found = files::list(folder).unwrap_or_default();
    found.iter().filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned())).collect()
}

fn takes(preset: Preset) -> Option<Takes> {
    // The processor decides on the image alone.
    let lab = resolve::resolve(None, Some(preset), Arch::Arm64).ok()?.lab;
    Some(Takes {
        memory_mib: lab.nodes.iter().map(|node| u64::from(node.memory_mib)).sum(),
        cpus: lab.nodes.iter().map(|node| u32::from(node.cpus)).sum(),
    })
}

/// Looks for somebody at each address that was not asked yet, and notes who is there.
pub async fn ask_around(seen: &mut Seen, addresses: &[Ipv4Addr]) {
    let new: Vec<Ipv4Addr> =
        addresses.iter().filter(|address| !seen.asked.contains_key(address)).copied().collect();
    if new.is_empty() || seen.deaf {
        return;
    }
    match surroundings::probe(&seen.root, &new, ADDRESS_PROBE).await {
        Some(found) => {
            seen.asked.extend(new.into_iter().map(|address| (address, found.get(&address).copied())));
        }
        None => seen.deaf = true,
    }
}

/// Looks at what stands, and returns the lab as it would be made with what `up` would do.
pub async fn plan(context: &Context, lab: Lab) -> Result<(Lab, Plan), Failure> {
    let lab = Lab { image: context.image(lab.image)?, ..lab };
    let session = Session::open(context, lab, "plan").await?;
    let Outlook { plan, .. } = session.outlook(false).await?;
    Ok((session.lab, plan))
}

/// Reads the keys that were named.
pub fn read_keys(text: &str, home: Option<&Path>) -> Result<Vec<KeyAnswer>, Refused> {
    let read = |(file, path): (String, PathBuf)| {
        let content = calls::read_text(&path).map_err(|_| format!("{file} cannot be read"))?;
        check::key(&file, content.as_deref())
    };
    check::key_files(text, home).into_iter().map(read).collect()
}

/// Says whether something lies under a name.
pub fn is_there(path: &Path) -> bool {
    files::exists(path) || files::is_link(path)
}
