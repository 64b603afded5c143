//! Steps of the gateway pair: nginx and Keepalived in place, and exactly one holder of both VIPs.

use std::collections::BTreeMap;

use crate::engine::error::{Requirement, Result};
use crate::engine::observe;
use crate::engine::run::StepContext;
use crate::engine::wait::{Probe, waited};
use crate::lab::Node;
use crate::stack::{units, vips};

use super::guest::settle_files;

pub async fn configure(context: &StepContext, name: &str) -> Result<bool> {
    let engine = &context.engine;
    let node = engine.node(name)?;
    let identity = engine.need_identity()?;
    let settled = settle_files(context, node, &identity).await?;
    units_run(context, node).await?;
    Ok(settled.changed())
}

/// Waits until all that a gateway does its part with runs; says whether it had to wait.
pub(super) async fn units_run(context: &StepContext, node: &Node) -> Result<bool> {
    let engine = &context.engine;
    let requirement = Requirement {
        what: format!("nginx, keepalived and the name server run on {}", node.name),
        limit: engine.lab.limits.vip_held(),
        hint: "`journalctl -u nginx -u keepalived -u fusionlab-dns` on the gateway says why not",
    };
    waited(context, requirement, async || {
        let facts = observe::guest(engine, node).await?;
        let down: Vec<&str> =
            units::of(node.role).iter().copied().filter(|unit| !facts.unit_active(unit)).collect();
        Ok(if down.is_empty() {
            Probe::Met(())
        } else {
            Probe::NotYet(format!("{} not active", down.join(" and ")))
        })
    })
    .await
}

pub async fn vips(context: &StepContext) -> Result<bool> {
    let engine = &context.engine;
    let lab = &engine.lab;
    let requirement = Requirement {
        what: format!("one gateway holds {} and {}", lab.lan.vip, lab.internal.vip),
        limit: lab.limits.vip_held(),
        hint: "`journalctl -u keepalived` on the gateways says why; another machine on the LAN may use the address",
    };
    waited(context, requirement, async || {
        let mut guests = BTreeMap::new();
        for node in lab.gateways() {
            guests.insert(node.name.clone(), observe::guest(engine, node).await?);
        }
        if let Some(holder) = vips::holder(lab, &guests) {
            context.note(format!("{holder} holds {} and {}", lab.lan.vip, lab.internal.vip));
            return Ok(Probe::Met(()));
        }
        let holders = |vip| vips::named_holders(lab, &guests, vip);
        let (lan, internal) = (lab.lan.vip, lab.internal.vip);
        Ok(Probe::NotYet(format!("{lan} held by {}, {internal} by {}", holders(lan), holders(internal))))
    })
    .await
}
