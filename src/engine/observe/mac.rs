//! Looks at the Mac itself, for `doctor`: what it has, and what is taken of it.

use std::io::ErrorKind;
use std::net::SocketAddrV4;
use std::path::Path;
use std::time::Duration;

use ipnet::Ipv4Net;

use crate::formats::vmx::Vmx;
use crate::host::dial::Dial;
use crate::host::fusion::{Fusion, vmx_file};
use crate::host::surroundings::{self, Condition};
use crate::host::{HostError, Hypervisor, files, system};
use crate::lab::{Driver, Lab, names};
use crate::plan::health::{MacSeen, OtherMachine, Reach};

use crate::engine::error::Result;
use crate::engine::images::templates;

/// Programs of Fusion's bundle that fusionlab calls, whatever the lab.
const PROGRAMS: [&str; 4] = ["vmrun", "vmnet-cli", "vmnet-cfgcli", "vmware-vdiskmanager"];
/// The one that only a lab with `driver: rest` needs.
const REST: &str = "vmrest";
const MIB: u64 = 1024 * 1024;
const SSH: u16 = 22;
/// Of several machines that run, the second is asked if the first does not answer: one may be starting.
const ASKED: usize = 2;

/// Returns the programs of Fusion's bundle that are not there, though the lab needs them.
pub fn missing_programs(fusion: &Fusion, lab: &Lab) -> Vec<&'static str> {
    let rest = (lab.driver == Driver::Rest).then_some(REST);
    PROGRAMS.into_iter().chain(rest).filter(|name| !files::exists(&fusion.program(name))).collect()
}

/// Looks at everything once, and changes nothing.
pub async fn look(fusion: &Fusion, vms: &dyn Hypervisor, lab: &Lab, limit: Duration) -> Result<MacSeen> {
    let Condition { macos, memory, cpus, power } = surroundings::condition(&fusion.root, limit).await;
    let mut seen = MacSeen {
        macos,
        memory_mib: memory.mib,
        free_memory_mib: memory.free_mib,
        cpus,
        power,
        disk_free_mib: system::free_mib(&fusion.library).ok(),
        // A file that goes while we look takes nothing any more.
        disk_taken_mib: templates::allocated(&fusion.library.join(&lab.name)).unwrap_or_default() / MIB,
        ..MacSeen::default()
    };
    let mut running = Vec::new();
    for vmx in vms.running().await? {
        let Ok(Some(config)) = vmx_file::read(&vmx) else { continue };
        let memory_mib = config.get("memsize").and_then(|memory| memory.parse::<u64>().ok());
        if is_of(&config, &lab.name) {
            seen.own_memory_mib += memory_mib.unwrap_or_default();
            running.extend(config.get(names::VMX_NODE).filter(|name| lab.node(name).is_some()));
        } else {
            let name = vmx.parent().and_then(Path::file_stem).unwrap_or_default();
            seen.others.push(OtherMachine { name: name.to_string_lossy().into_owned(), memory_mib });
        }
    }
    for name in running.into_iter().take(ASKED) {
        if !matches!(seen.reach, Some(Reach::Answered(_))) {
            seen.reach = Some(reach(fusion, lab, name).await?);
        }
    }
    Ok(seen)
}

/// Connects to a machine's SSH port, and says nothing there.
async fn reach(fusion: &Fusion, lab: &Lab, name: String) -> Result<Reach> {
    let Some(node) = lab.node(&name) else { return Ok(Reach::Silent(name)) };
    let at = SocketAddrV4::new(node.internal().address, SSH);
    Ok(match Dial::of(fusion)?.connect(at, lab.limits.guest_connect).await {
        Ok(_) => Reach::Answered(name),
        Err(HostError::Connect { source, .. }) if source.kind() == ErrorKind::HostUnreachable => {
            Reach::Unreachable(name)
        }
        Err(_) => Reach::Silent(name),
    })
}

/// Returns the home networks that this Mac is in, by interface; none if it does not say.
pub async fn home_networks(fusion: &Fusion, limit: Duration) -> Vec<(String, Ipv4Net)> {
    let here = surroundings::lan(&fusion.root, limit).await;
    here.into_iter().map(|lan| (lan.interface, lan.subnet)).collect()
}

fn is_of(config: &Vmx, lab: &str) -> bool {
    config.get(names::VMX_LAB).as_deref() == Some(lab)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::fixture::{Bench, Machines};

    #[tokio::test]
    async fn memory_that_others_have_is_told_apart_from_the_labs_own() {
        let bench = Bench::new(Machines::default());
        let engine = &bench.engine;
        let theirs = engine.fusion.library.join("windows.vmwarevm/windows.vmx");
        bench.file(&theirs, "memsize = \"8192\"\n");
        let ours = engine.vmx("gateway1");
        bench.file(&ours, &format!("memsize = \"1024\"\n{} = \"{}\"\n", names::VMX_LAB, engine.lab.name));
        bench.machines.run(&theirs);
        bench.machines.run(&ours);
        let seen = look(&engine.fusion, engine.vms.as_ref(), &engine.lab, engine.lab.limits.fusion_query)
            .await
            .unwrap();
        assert_eq!(seen.own_memory_mib, 1024);
        assert_eq!(seen.others, [OtherMachine { name: "windows".to_owned(), memory_mib: Some(8192) }]);
        assert!(seen.disk_free_mib.is_some() && seen.memory_mib.is_some());
        assert_eq!(missing_programs(&engine.fusion, &engine.lab), PROGRAMS);
    }
}
