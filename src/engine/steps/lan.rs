//! The step before the gateways take the VIP: whether anybody else on the LAN has it, or our VRRP router id.

use std::net::Ipv4Addr;
use std::time::Duration;

use crate::engine::context::tail;
use crate::engine::error::{EngineError, Result};
use crate::engine::run::StepContext;
use crate::stack::lan::{self, Heard, Router};

/// Listens on a gateway. Nothing is configured there yet, and nothing is written.
pub async fn probe(context: &StepContext, name: &str) -> Result<bool> {
    let engine = &context.engine;
    let node = engine.node(name)?;
    let Some(command) = lan::probe(&engine.lab, node) else { return Ok(false) };
    let limits = &engine.lab.limits;
    let limit: Duration = limits.guest_command + limits.lan_probe;
    let output = engine.must_within(node, &command, limit, None).await?;
    let heard = lan::parse(&String::from_utf8_lossy(&output.stdout)).map_err(|bad| EngineError::Guest {
        node: name.to_owned(),
        reason: bad.to_string(),
        tail: tail(&output),
    })?;
    judge(name, engine.lab.lan.vip, heard)?;
    Ok(true)
}

fn judge(name: &str, vip: Ipv4Addr, heard: Heard) -> Result<()> {
    let node = name.to_owned();
    if let Some(mac) = heard.address {
        return Err(EngineError::VipTaken { node, vip, mac });
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
    use super::*;

    #[test]
    fn whoever_has_the_vip_counts_before_whoever_has_the_router_id() {
        let vip = Ipv4Addr::new(192, 168, 68, 200);
        let mac = "3c:2a:f4:0b:1d:2e".parse().unwrap();
        let router =
            Router { interface: "ens160".into(), id: 51, address: Ipv4Addr::new(192, 168, 68, 9), mac };
        assert!(judge("gateway1", vip, Heard::default()).is_ok());
        let one = judge("gateway1", vip, Heard { address: None, router: Some(router.clone()) });
        assert!(matches!(one, Err(EngineError::RouterIdTaken { id: 51, .. })), "{one:?}");
        let both = judge("gateway1", vip, Heard { address: Some(mac), router: Some(router) });
        assert!(matches!(both, Err(EngineError::VipTaken { .. })), "{both:?}");
    }
}
