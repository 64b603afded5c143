//! Steps on Fusion's networks: our lines in, our lines out, always with a backup beside the lab's records.

use crate::engine::error::{EngineError, Result};
use crate::engine::observe;
use crate::engine::run::StepContext;
use crate::formats::networking::Document;
use crate::host::fusion::networks::Change;
use crate::host::lock::Lock;
use crate::host::{HostError, files};
use crate::plan::desired::{NetworkWish, network_wish, network_without, sha256};
use crate::plan::facts::{Facts, NetworkRecord};
use crate::stack::network;

/// Version of `network.json`.
const RECORD_VERSION: u32 = 1;

pub async fn apply(context: &StepContext) -> Result<bool> {
    let engine = &context.engine;
    let _turn = turn(context).await?;
    let facts = network_facts(context)?;
    let before = facts.networking.clone();
    let after = match network_wish(&engine.lab, &facts) {
        NetworkWish::Satisfied => before.clone().unwrap_or_default(),
        NetworkWish::Change { after, .. } => after,
        NetworkWish::Conflict(_) | NetworkWish::Unreadable { .. } => return Err(changed_meanwhile()),
    };
    remember(context, &facts)?;
    change(context, before.as_deref(), &after).await?;
    Ok(true)
}

pub async fn restore(context: &StepContext) -> Result<bool> {
    let engine = &context.engine;
    let _turn = turn(context).await?;
    let facts = network_facts(context)?;
    let original = original(context)?;
    match network_without(&facts, original.as_deref()) {
        NetworkWish::Satisfied => Ok(false),
        NetworkWish::Change { after, .. } => {
            change(context, facts.networking.as_deref(), &after).await?;
            // Fusion notes a digest of each network's configuration when it applies it. If only such notes
            // of ours are left, the second pass takes them out without a restart being needed.
            let again = Facts { networking: engine.networks.read()?, ..facts };
            if let NetworkWish::Change { after, .. } = network_without(&again, original.as_deref()) {
                change(context, again.networking.as_deref(), &after).await?;
            }
            Ok(true)
        }
        NetworkWish::Conflict(_) | NetworkWish::Unreadable { .. } => Err(changed_meanwhile()),
    }
}

/// Waits for Fusion's networks to be ours alone: labs share the file.
async fn turn(context: &StepContext) -> Result<Lock> {
    context.turn(&context.engine.home.network_lock(), "Fusion's networking file").await
}

fn changed_meanwhile() -> EngineError {
    HostError::Network {
        reason: "Fusion's networking file was changed by someone else since the plan was made".to_owned(),
        output: String::new(),
        restored: true,
    }
    .into()
}

/// Reads afresh what this step decides on: the plan's facts may be minutes old.
fn network_facts(context: &StepContext) -> Result<Facts> {
    let engine = &context.engine;
    Ok(Facts {
        networking: engine.networks.read()?,
        network_record: observe::network_record(engine)?,
        ..Facts::default()
    })
}

/// Returns the file as it was before our first change.
pub fn original(context: &StepContext) -> Result<Option<Vec<u8>>> {
    let path = context.engine.dir.networking_before();
    if files::exists(&path) { Ok(Some(files::read(&path)?)) } else { Ok(None) }
}

/// Writes down, before the change, what the file was and which lines will be ours.
fn remember(context: &StepContext, facts: &Facts) -> Result<()> {
    let engine = &context.engine;
    let wish = network::wish(&engine.lab);
    let earlier = facts.network_record.as_ref();
    let exists = facts.networking.as_deref().and_then(|bytes| Document::parse(bytes).ok());
    let existed = exists.as_ref().is_some_and(|document| document.vmnet(wish.vmnet).exists);
    // Until the change is made, what an earlier run reserved is still in the file, and ours.
    let there = exists.map(|document| document.reservations(wish.vmnet)).unwrap_or_default();
    let earlier_ones = earlier.filter(|record| record.vmnet == wish.vmnet).into_iter();
    let mut reservations = wish.reservations;
    for reservation in earlier_ones.flat_map(|record| &record.reservations) {
        if there.contains(reservation) && !reservations.contains(reservation) {
            reservations.push(*reservation);
        }
    }
    let record = NetworkRecord {
        version: RECORD_VERSION,
        vmnet: wish.vmnet,
        made_vmnet: earlier.map_or(!existed, |record| record.made_vmnet),
        before: earlier
            .map_or_else(|| facts.networking.as_deref().map(sha256), |record| record.before.clone()),
        reservations,
    };
    if earlier.is_none()
        && let Some(bytes) = &facts.networking
    {
        files::write_atomic(&engine.dir.networking_before(), bytes, 0o644)?;
    }
    let text = serde_json::to_vec_pretty(&record).expect("a record is plain data");
    files::write_atomic(&engine.dir.network_record(), &text, 0o644)?;
    Ok(())
}

async fn change(context: &StepContext, before: Option<&[u8]>, after: &[u8]) -> Result<()> {
    let engine = &context.engine;
    let backup = engine.dir.root().join("networking.backup");
    let change = Change {
        new: after,
        expect_before: before,
        vmnet: engine.lab.internal.vmnet,
        backup: &backup,
        limit: engine.lab.limits.network_apply,
    };
    let applied = engine.networks.apply(&change).await?;
    for line in applied.output.lines() {
        context.line(line);
    }
    Ok(())
}
