//! Steps on Fusion's networks: our lines in, our lines out; what is decided is decided on the file as it is now.

use crate::engine::error::{EngineError, Result};
use crate::engine::networks as records;
use crate::engine::observe;
use crate::engine::run::StepContext;
use crate::host::fusion::networks::{Change, ChangeKind};
use crate::host::lock::Lock;
use crate::host::{HostError, files};
use crate::plan::facts::Facts;
use crate::plan::networks::{self, NetworkWish};

/// Puts the lab's lines in, or only sees to it that the services run.
pub async fn apply(context: &StepContext) -> Result<bool> {
    let engine = &context.engine;
    let _turn = turn(context).await?;
    let facts = observe::network_facts(engine).await?;
    let after = settled(networks::wish(&engine.lab, &facts), &facts)?;
    records::remember(engine, &facts)?;
    change(context, &facts, after, engine.lab.internal.vmnet, ChangeKind::OfOneNetwork).await?;
    records::settle(engine)?;
    Ok(true)
}

/// Takes the lab's lines out.
pub async fn restore(context: &StepContext) -> Result<bool> {
    let engine = &context.engine;
    let _turn = turn(context).await?;
    let facts = observe::network_facts(engine).await?;
    let vmnet = records::vmnet(engine)?;
    let originals = records::originals(engine)?;
    let originals: Vec<&[u8]> = originals.iter().map(Vec::as_slice).collect();
    let after = settled(networks::without(&facts, &originals), &facts)?;
    change(context, &facts, after, vmnet, ChangeKind::OfOneNetwork).await?;
    // Fusion notes a digest of each network's configuration when it applies it. If such notes of ours are all that is
    // left, they are taken out, too; no service reads them, so nothing restarts.
    let again = observe::network_facts(engine).await?;
    if let NetworkWish::Change(last) = networks::without(&again, &originals) {
        change(context, &again, Some(last.after), vmnet, ChangeKind::OfOneNetwork).await?;
    }
    records::forget(engine, vmnet)?;
    Ok(true)
}

/// Forgets what was written down for a change that never came about: no line of it is in the file.
pub async fn forget(context: &StepContext) -> Result<()> {
    let _turn = turn(context).await?;
    records::forget(&context.engine, records::vmnet(&context.engine)?)
}

/// Puts a backup in the file's place.
pub async fn put_back(context: &StepContext, backup: &str) -> Result<bool> {
    let engine = &context.engine;
    let _turn = turn(context).await?;
    let facts = observe::network_facts(engine).await?;
    let bytes = engine.networks.read_backup(backup)?;
    let vmnet = engine.lab.internal.vmnet;
    let after = settled(networks::put_back(&facts, &bytes, vmnet), &facts)?;
    change(context, &facts, after, vmnet, ChangeKind::WholeFile).await?;
    Ok(true)
}

/// Waits for Fusion's networks to be ours alone: labs share the file.
async fn turn(context: &StepContext) -> Result<Lock> {
    let home = &context.engine.home;
    let turn = context.turn(&home.network_lock(), "Fusion's networking file").await?;
    // A run that was killed may have been writing its records.
    files::sweep(&home.network())?;
    Ok(turn)
}

/// Returns the file that is to be; what forbids it has come up since the plan was made.
fn settled(wish: NetworkWish, facts: &Facts) -> Result<Option<Vec<u8>>> {
    match wish {
        NetworkWish::Satisfied => Ok(facts.networking.clone()),
        NetworkWish::Change(change) => Ok(Some(change.after)),
        NetworkWish::Conflict(_) | NetworkWish::Unreadable { .. } | NetworkWish::Moved { .. } => {
            Err(EngineError::Host(HostError::Network {
                reason: "Fusion's networking file was changed by someone else since the plan was made"
                    .to_owned(),
                output: String::new(),
                restored: true,
            }))
        }
    }
}

async fn change(
    context: &StepContext,
    facts: &Facts,
    after: Option<Vec<u8>>,
    vmnet: u8,
    kind: ChangeKind,
) -> Result<()> {
    let engine = &context.engine;
    let change = Change {
        new: after,
        expect_before: facts.networking.clone(),
        vmnet,
        kind,
        verb: engine.journal.verb().to_owned(),
        limit: engine.lab.limits.network_apply,
    };
    // `sudo` may ask for a password again: it forgets, on some Macs at once.
    let held = if engine.networks.needs_root() { Some(context.terminal().await) } else { None };
    let applied = engine.networks.apply(&change).await?;
    drop(held);
    for line in applied.output.lines() {
        context.line(line);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::fixture::{self, Bench, Machines};
    use crate::engine::steps::lab;

    const NETWORKING: &str = "VERSION=1,0\nanswer VNET_8_DHCP yes\n";

    #[tokio::test]
    async fn a_network_that_a_cut_run_did_not_come_to_make_is_forgotten_with_the_lab() {
        let bench = Bench::new(Machines::default());
        let engine = &bench.engine;
        bench.file(&engine.fusion.networking(), NETWORKING);
        let facts = Facts { networking: Some(NETWORKING.into()), ..Facts::default() };
        records::remember(engine, &facts).unwrap();
        let vmnet = engine.lab.internal.vmnet;
        let kept = [engine.home.made_network(vmnet), engine.home.before_made_network(vmnet)];
        assert!(kept.iter().all(|path| files::exists(path)));

        let step = std::sync::Arc::new(fixture::start("gateway1", &[]));
        let context = StepContext { engine: engine.clone(), step };
        lab::forget(&context).await.unwrap();
        assert!(kept.iter().all(|path| !files::exists(path)), "somebody's later network is not ours");
        assert!(!files::exists(engine.dir.root()));
    }
}
