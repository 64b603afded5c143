//! `vmrun`: power, snapshots, clones and questions (facts/vmrun-vmrest.md §1).

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{FAILED, Screen};
use crate::formats::vmx::Vmx;
use crate::sim::control::{Power, Request};
use crate::sim::faults;
use crate::sim::files;
use crate::sim::install::BUILD;
use crate::sim::network::Networks;
use crate::sim::orders::{Orders, resolve};
use crate::sim::pace::Operation;
use crate::sim::places::{Places, vm_name};
use crate::sim::power;
use crate::sim::refusal::Refusal;
use crate::sim::snapshots::{self, CloneKind, Snapshots};

/// vmrun's own version, which it prints with its usage.
const VERSION: &str = "1.17.0";
/// The address of Docker's bridge: what tools report that look at the wrong interface.
const WRONG_ADDRESS: Ipv4Addr = Ipv4Addr::new(172, 17, 0, 1);
/// How often `getGuestIPAddress -wait` looks, in a real Mac's time.
const ADDRESS_POLL: Duration = Duration::from_secs(1);

type Result<T = ()> = std::result::Result<T, Refusal>;

/// One call of vmrun.
struct Call<'a> {
    orders: Orders,
    screen: &'a mut Screen,
}

/// Runs one vmrun command. What it says of failures stands on standard output.
pub async fn run(places: &Places, args: &[String], screen: &mut Screen) -> u8 {
    let orders = match Orders::new(places) {
        Ok(orders) => orders,
        Err(error) => {
            screen.line(&format!("Error: {error}"));
            return FAILED;
        }
    };
    let words = match host_type(args, screen) {
        Ok(words) => words,
        Err(status) => return status,
    };
    let Some((command, rest)) = words.split_first() else {
        usage(screen);
        return FAILED;
    };
    if faults::strikes(places, faults::NOISE_LINES, "") {
        noise(screen);
    }
    let mut call = Call { orders, screen };
    match call.dispatch(command, rest).await {
        Ok(true) => 0,
        Ok(false) => {
            usage(screen);
            FAILED
        }
        Err(Refusal::Asks) => std::future::pending().await,
        Err(Refusal::Unsure) => {
            screen.line(&Refusal::Unsure.to_string());
            FAILED
        }
        Err(Refusal::NoHost) => {
            screen.line("Unable to connect to host.");
            screen.line(&format!("Error: {}", Refusal::NoHost));
            FAILED
        }
        Err(Refusal::Unknown(cause)) => {
            screen.line("Error: Unknown error");
            screen.error_line(&cause);
            FAILED
        }
        Err(refusal) => {
            screen.line(&format!("Error: {refusal}"));
            FAILED
        }
    }
}

/// Strips the flags that stand before the command.
fn host_type<'a>(mut args: &'a [String], screen: &mut Screen) -> std::result::Result<&'a [String], u8> {
    while let Some((flag, rest)) = args.split_first().filter(|(flag, _)| flag.starts_with('-')) {
        if !["-T", "-h", "-vp", "-gu", "-gp", "-u", "-p"].contains(&flag.as_str()) || rest.is_empty() {
            screen.line(&format!("Invalid argument: {flag}"));
            usage(screen);
            return Err(FAILED);
        }
        if flag == "-T" && rest[0] != "fusion" {
            screen.line(&format!("Invalid host type '{}' specified", rest[0]));
            screen.line("Error: The operation is not supported");
            return Err(FAILED);
        }
        args = &rest[1..];
    }
    Ok(args)
}

/// Prints what macOS's libraries do at their worst (facts/vmrun-vmrest.md §1.3).
fn noise(screen: &mut Screen) {
    let stamp = crate::sim::timestamp::iso(crate::sim::now_ms());
    screen.line(&format!("{stamp}| ServiceImpl_Opener: PID {}", std::process::id()));
    let class = "Class VMPolicy is implemented in both /A and /B. One of the two will be used.";
    screen.line(&format!("objc[{}]: {class}", std::process::id()));
    screen.line("2026-11-27 03:00:00.000 vmrun[4711:42] CFPasteboardCreate: failed to create global data");
    screen.error_line("Unexpected signal: 11.");
}

fn usage(screen: &mut Screen) {
    screen.line("");
    screen.line(&format!("vmrun version {VERSION} build-{BUILD}"));
    screen.line("");
    screen.line("Usage: vmrun [AUTHENTICATION-FLAGS] COMMAND [PARAMETERS]");
}

impl Call<'_> {
    /// Runs a command; false if it is unknown or lacks an argument.
    async fn dispatch(&mut self, command: &str, args: &[String]) -> Result<bool> {
        let word = |at: usize| args.get(at).map(String::as_str);
        match (command, word(0), word(1)) {
            ("list", ..) => self.list().await?,
            ("listHostNetworks", ..) => self.list_host_networks()?,
            ("start", Some(vmx), _) => self.orders.start(&resolve(vmx)).await?,
            ("stop", Some(vmx), how) => self.stop(&resolve(vmx), how).await?,
            ("reset", Some(vmx), how) => {
                let soft = how != Some("hard");
                let vmx = resolve(vmx);
                self.orders.order(&vmx, Request::Reset { vmx: vmx.clone(), soft }).await?;
            }
            ("suspend", Some(vmx), _) => self.power(vmx, |vmx| Request::Suspend { vmx }).await?,
            ("pause", Some(vmx), _) => self.power(vmx, |vmx| Request::Pause { vmx }).await?,
            ("unpause", Some(vmx), _) => self.power(vmx, |vmx| Request::Unpause { vmx }).await?,
            ("listSnapshots", Some(vmx), tree) => self.list_snapshots(&resolve(vmx), tree.is_some()).await?,
            ("snapshot", Some(vmx), Some(name)) => {
                self.orders.stopped(&resolve(vmx), Operation::Snapshot).await?;
                snapshots::take(&resolve(vmx), name)?;
                if faults::strikes(&self.orders.places, faults::SNAPSHOT_EXISTS, &vm_name(&resolve(vmx))) {
                    return Err(Refusal::SnapshotExists);
                }
            }
            ("deleteSnapshot", Some(vmx), Some(name)) => {
                self.orders.stopped(&resolve(vmx), Operation::Snapshot).await?;
                snapshots::delete(&resolve(vmx), name, word(2) == Some("andDeleteChildren"))?;
            }
            ("revertToSnapshot", Some(vmx), Some(name)) => {
                self.orders.stopped(&resolve(vmx), Operation::Snapshot).await?;
                snapshots::revert(&resolve(vmx), name)?;
            }
            ("clone", Some(from), Some(to)) => self.clone(&resolve(from), &resolve(to), &args[2..]).await?,
            ("deleteVM", Some(vmx), _) => self.orders.delete(&resolve(vmx)).await?,
            ("upgradevm", Some(vmx), _) => self.orders.stopped(&resolve(vmx), Operation::Question).await?,
            ("getGuestIPAddress", Some(vmx), wait) => {
                self.address(&resolve(vmx), wait == Some("-wait")).await?;
            }
            ("checkToolsState", Some(vmx), _) => self.tools(&resolve(vmx)).await?,
            ("listNetworkAdapters", Some(vmx), _) => self.list_adapters(&resolve(vmx))?,
            ("readVariable", Some(vmx), Some(kind)) if args.len() > 2 => {
                let config = power::open_vmx(&resolve(vmx))?;
                let value = config.get(&variable(kind, &args[2])?).unwrap_or_default();
                self.screen.line(&value);
            }
            ("writeVariable", Some(vmx), Some(kind)) if args.len() > 3 => {
                let mut config = power::open_vmx(&resolve(vmx))?;
                config.set(&variable(kind, &args[2])?, &args[3]);
                files::write(&resolve(vmx), config.render())?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    async fn power(&self, vmx: &str, request: impl FnOnce(PathBuf) -> Request) -> Result {
        let vmx = resolve(vmx);
        self.orders.order(&vmx, request(vmx.clone())).await
    }

    async fn list(&mut self) -> Result {
        self.orders.pace.take(Operation::Question).await;
        let running = self.orders.running().await?;
        let invented = usize::from(faults::strikes(&self.orders.places, faults::LIST_MISCOUNTS, ""));
        self.screen.line(&format!("Total running VMs: {}", running.len() + invented));
        for vmx in running {
            self.screen.line(&vmx.display().to_string());
        }
        Ok(())
    }

    async fn stop(&self, vmx: &Path, how: Option<&str>) -> Result {
        let soft = match how {
            Some("hard") => false,
            Some("soft") => true,
            // Without a word the VMX decides.
            _ => {
                let config = power::open_vmx(vmx)?;
                config.get("powerType.powerOff").is_none_or(|kind| !kind.eq_ignore_ascii_case("hard"))
            }
        };
        self.orders.stop(vmx, soft).await
    }

    async fn list_snapshots(&mut self, vmx: &Path, tree: bool) -> Result {
        power::open_vmx(vmx)?;
        self.orders.pace.take(Operation::Question).await;
        let all = Snapshots::load(vmx)?.tree();
        self.screen.line(&format!("Total snapshots: {}", all.len()));
        for (depth, snapshot) in all {
            let indent = if tree { "\t".repeat(depth) } else { String::new() };
            self.screen.line(&format!("{indent}{}", snapshot.name));
        }
        Ok(())
    }

    async fn clone(&self, from: &Path, to: &Path, args: &[String]) -> Result {
        let (kind, options) = match args.split_first() {
            Some((kind, rest)) if kind == "linked" => (CloneKind::Linked, rest),
            Some((kind, rest)) if kind == "full" => (CloneKind::Full, rest),
            _ => return Err(Refusal::Invalid),
        };
        let (snapshot, name) = (option(options, "-snapshot"), option(options, "-cloneName"));
        self.orders.clone_vm(from, to, kind, snapshot.as_deref(), name.as_deref()).await
    }

    async fn address(&mut self, vmx: &Path, wait: bool) -> Result {
        power::open_vmx(vmx)?;
        self.orders.pace.take(Operation::Question).await;
        if faults::strikes(&self.orders.places, faults::UNKNOWN_ADDRESS, &vm_name(vmx)) {
            self.screen.line("unknown");
            return Ok(());
        }
        let strikes = |fault| faults::strikes(&self.orders.places, fault, &vm_name(vmx));
        if wait && strikes(faults::ADDRESS_HANGS) {
            std::future::pending::<()>().await;
        }
        if !wait && strikes(faults::ADDRESS_DENIED) {
            return Err(Refusal::NoTools(vmx.to_owned()));
        }
        let address = loop {
            let view = self.orders.view(vmx).await?;
            if view.power == Power::Off {
                return Err(Refusal::NotPoweredOn(vmx.to_owned()));
            }
            let known = view.cards.iter().flat_map(|(_, addresses)| addresses).next().copied();
            match known {
                Some(address) if view.tools => break address,
                _ if wait => self.orders.pace.pass(ADDRESS_POLL).await,
                _ if view.tools => return Err(Refusal::NoAddress),
                _ => return Err(Refusal::NoTools(vmx.to_owned())),
            }
        };
        let wrong = faults::strikes(&self.orders.places, faults::WRONG_ADDRESS, &vm_name(vmx));
        self.screen.line(&if wrong { WRONG_ADDRESS } else { address }.to_string());
        Ok(())
    }

    async fn tools(&mut self, vmx: &Path) -> Result {
        power::open_vmx(vmx)?;
        if faults::strikes(&self.orders.places, faults::TOOLS_UNSURE, &vm_name(vmx)) {
            return Err(Refusal::Unsure);
        }
        let view = self.orders.view(vmx).await?;
        let word = match (view.power, view.tools) {
            (Power::On, true) => "running",
            (Power::On, false) => "installed",
            _ => "unknown",
        };
        self.screen.line(word);
        Ok(())
    }

    fn list_adapters(&mut self, vmx: &Path) -> Result {
        let config = power::open_vmx(vmx)?;
        let rows: Vec<String> = (0..10).filter_map(|number| adapter_row(&config, number)).collect();
        self.screen.line(&format!("Total network adapters: {}", rows.len()));
        if !rows.is_empty() {
            self.screen.line("INDEX  TYPE         VMNET");
        }
        for row in rows {
            self.screen.line(&row);
        }
        Ok(())
    }

    fn list_host_networks(&mut self) -> Result {
        let networks = Networks::load(&self.orders.places)?;
        let mut rows = vec![(0, "bridged", "false", "empty".to_owned(), "empty".to_owned())];
        for (number, network) in networks.configured() {
            let kind = if network.nat { "nat" } else { "hostOnly" };
            let dhcp = if network.dhcp { "true" } else { "false" };
            let (subnet, mask) = (network.subnet.network(), network.subnet.netmask());
            rows.push((*number, kind, dhcp, subnet.to_string(), mask.to_string()));
        }
        self.screen.line(&format!("Total host networks: {}", rows.len()));
        self.screen.line("INDEX  NAME         TYPE         DHCP         SUBNET           MASK");
        for (number, kind, dhcp, subnet, mask) in rows {
            let name = format!("vmnet{number}");
            self.screen.line(&format!("{number:<6} {name:<12} {kind:<12} {dhcp:<12} {subnet:<16} {mask}"));
        }
        Ok(())
    }
}

fn adapter_row(config: &Vmx, number: u32) -> Option<String> {
    let get = |key: &str| config.get(&format!("ethernet{number}.{key}")).unwrap_or_default();
    if !get("present").eq_ignore_ascii_case("true") {
        return None;
    }
    let kind = Some(get("connectionType")).filter(|kind| !kind.is_empty()).unwrap_or("bridged".to_owned());
    let vmnet = match kind.as_str() {
        "nat" => "vmnet8".to_owned(),
        "hostonly" => "vmnet1".to_owned(),
        "custom" => get("vnet"),
        _ => "vmnet0".to_owned(),
    };
    let shown = if kind == "hostonly" { "hostOnly" } else { &kind };
    Some(format!("{number:<6} {shown:<12} {vmnet}"))
}

/// Returns the VMX key behind a variable.
fn variable(kind: &str, name: &str) -> Result<String> {
    match kind {
        "runtimeConfig" => Ok(name.to_owned()),
        "guestVar" => Ok(format!("guestinfo.{name}")),
        "guestEnv" => Err(Refusal::Unsupported),
        _ => Err(Refusal::Invalid),
    }
}

/// Finds `-name=value` or `-name value`: both are in use (facts/vmrun-vmrest.md §1.2).
fn option(args: &[String], name: &str) -> Option<String> {
    let at = args.iter().position(|arg| arg == name || arg.starts_with(&format!("{name}=")))?;
    match args[at].split_once('=') {
        Some((_, value)) => Some(value.to_owned()),
        None => args.get(at + 1).cloned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_an_option_are_read() {
        let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(option(&words("-snapshot=a -cloneName=b"), "-snapshot").as_deref(), Some("a"));
        assert_eq!(option(&words("-snapshot a -cloneName b"), "-cloneName").as_deref(), Some("b"));
        assert_eq!(option(&words("-snapshot a"), "-cloneName"), None);
    }
}
