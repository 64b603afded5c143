//! The step before the gateways take the VIP: whether anybody else on the LAN has it, one of the gateways' own addresses, or our VRRP
//! router id.

use std::time::Duration;

use crate::engine::context::tail;
use crate::engine::error::{EngineError, Result};
use crate::engine::run::StepContext;
use crate::lab::{Lab, Node};
use crate::stack::lan::{self, Heard, Router};

/// Listens on a gateway. Nothing is configured there yet, and nothing is written.
pub async fn probe(context: &StepContext, name: &str) -> Result<bool> {
    let engine = &context.engine;
    let node = engine.node(name)?;
    let Some(command) = lan::probe(&engine.lab, node) else { return Ok(false) };
    let limits = &engine.lab.limits;
    let limit: Duration = limits.guest_command + limits.lan_probe;
    let output = engine.must_within(node, &command, limit).await?;
    let heard = lan::parse(&String::from_utf8_lossy(&output.stdout)).map_err(|bad| EngineError::Guest {
        node: name.to_owned(),
        reason: bad.to_string(),
        tail: tail(&output),
    })?;
    judge(name, &engine.lab, heard)?;
    Ok(true)
}

fn judge(name: &str, lab: &Lab, heard: Heard) -> Result<()> {
    let (node, vip) = (name.to_owned(), lab.lan.vip);
    if let Some(mac) = heard.addresses.get(&vip).copied() {
        return Err(EngineError::VipTaken { node, vip, mac });
    }
    if let Some((address, mac)) = heard.addresses.into_iter().next() {
        let is_its_own = |gateway: &&Node| gateway.lan().is_some_and(|nic| nic.address == address);
        let owner = lab.gateways().find(is_its_own).map_or(name, |gateway| &gateway.name).to_owned();
        return Err(EngineError::LanAddressTaken { node, owner, address, mac });
    }
    match heard.router {
        Some(Router { interface, id, address, mac }) => {
            Err(EngineError::RouterIdTaken { node, id, address, mac, interface })
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::stack::fixture;

    #[test]
    fn whoever_has_the_vip_counts_before_whoever_has_the_router_id() {
        let lab = fixture::lab();
        let mac = "3c:2a:f4:0b:1d:2e".parse().unwrap();
        let router =
            Router { interface: "ens160".into(), id: 51, address: Ipv4Addr::new(192, 168, 68, 9), mac };
        let heard = |addresses: &[Ipv4Addr]| Heard {
            addresses: addresses.iter().map(|address| (*address, mac)).collect(),
            router: Some(router.clone()),
        };
        assert!(judge("gateway1", &lab, Heard::default()).is_ok());
        let one = judge("gateway1", &lab, heard(&[]));
        assert!(matches!(one, Err(EngineError::RouterIdTaken { id: 51, .. })), "{one:?}");
        let second = Ipv4Addr::new(192, 168, 68, 57);
        let all = judge("gateway1", &lab, heard(&[second, lab.lan.vip]));
        assert!(matches!(all, Err(EngineError::VipTaken { .. })), "{all:?}");
        let two = judge("gateway1", &lab, heard(&[second])).unwrap_err().to_string();
        assert_eq!(
            two,
            "192.168.68.57, which is to be gateway2's, is taken: 3c:2a:f4:0b:1d:2e answers for it on the LAN"
        );
    }
}
