//! Steps on Fusion's networks: our lines in, our lines out; what is decided is decided on the file as it is now.

use std::path::PathBuf;

use crate::engine::error::{EngineError, Requirement, Result};
use crate::engine::home::networks as records;
use crate::engine::images::template::TemplateDir;
use crate::engine::observe;
use crate::engine::run::StepContext;
use crate::engine::wait::{Probe, until};
use crate::host::fusion::networks::{Change, ChangeKind, Outcome};
use crate::host::lock::{self, Holder, Lock};
use crate::host::{Aftermath, HostError, files};
use crate::plan::facts::Facts;
use crate::plan::networks::{self, NetworkEdit};
use crate::plan::obstacle::Obstacle;
use crate::plan::step::Action;

/// Puts the lab's lines in, or only sees to it that the services run.
pub async fn apply(context: &StepContext) -> Result<bool> {
    let engine = &context.engine;
    let _turn = turn(context).await?;
    let facts = observe::network_facts(engine).await?;
    let after = settled(networks::edit(&engine.lab, &facts), &facts)?;
    let changed = match records::remember(engine, &facts) {
        Ok(()) => change(context, &facts, after, engine.lab.internal.vmnet, ChangeKind::OfOneNetwork).await,
        Err(error) => Err(error),
    };
    if let Err(error) = changed {
        // What keeps the records from being put right again is not what went wrong.
        if let Err(again) = records::reconsider(engine, &facts) {
            context.note(format!("what was written down of the network is not put right: {again}"));
        }
        return Err(error);
    }
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
    if let NetworkEdit::Change(last) = networks::without(&again, &originals) {
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
    let edit = networks::put_back(&facts, &bytes, vmnet);
    if was_shown(context).is_some_and(|shown| shown != edit.diff()) {
        // A whole file takes away what it lacks: nothing that the user was not shown.
        return Err(changed_since());
    }
    let after = settled(edit, &facts)?;
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
fn settled(edit: NetworkEdit, facts: &Facts) -> Result<Option<Vec<u8>>> {
    match edit {
        NetworkEdit::Satisfied => Ok(facts.networking.clone()),
        NetworkEdit::Change(change) => Ok(Some(change.after)),
        NetworkEdit::Conflict(_) | NetworkEdit::Unreadable { .. } | NetworkEdit::Moved { .. } => {
            Err(changed_since())
        }
    }
}

fn changed_since() -> EngineError {
    EngineError::Host(HostError::Network {
        reason: "Fusion's networking file was changed by someone else since the plan was made".to_owned(),
        output: String::new(),
        after: Aftermath::Untouched,
    })
}

/// Returns what the plan showed of a file that is put back whole.
fn was_shown(context: &StepContext) -> Option<&str> {
    match &context.step.action {
        Action::PutBackNetwork { diff, .. } => Some(diff),
        _ => None,
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
    let mut change = Change {
        new: after,
        expect_before: facts.networking.clone(),
        vmnet,
        kind,
        may_stop: false,
        verb: engine.journal.verb().to_owned(),
        limit: engine.lab.limits.network_apply,
    };
    // `sudo` may ask for a password again: it forgets, on some Macs at once.
    let held = if engine.networks.needs_root() { Some(context.terminal().await) } else { None };
    let mut outcome = engine.networks.apply(&change).await?;
    if let Outcome::MustStop { reason, output, after } = outcome {
        tell(context, &output);
        // The plan's list of machines is minutes old, and may have been made for a change that stops nothing.
        let strangers = records::strangers(engine).await?;
        if !strangers.is_empty() {
            return Err(cut_off(strangers, reason, output, after));
        }
        let_bake(context).await?;
        if !output.is_empty() {
            context.line(&format!("restarting all networks instead of one DHCP server: {reason}"));
        }
        change.may_stop = true;
        outcome = engine.networks.apply(&change).await?;
    }
    drop(held);
    match outcome {
        Outcome::Applied(applied) => tell(context, &applied.output),
        Outcome::MustStop { reason, output, after } => {
            return Err(HostError::Network { reason, output, after }.into());
        }
    }
    Ok(())
}

/// Waits until no other run bakes a template. Its machine is ours, and a restart of the networks would take the way to the
/// internet from it all the same.
async fn let_bake(context: &StepContext) -> Result<()> {
    let requirement = Requirement {
        what: "no other run bakes a template, whose network would be restarted".to_owned(),
        limit: context.engine.lab.limits.turn(),
        hint: "`fusionlab template list` shows it; the lab comes up once it is done",
    };
    until(context, requirement, async || {
        Ok(bake_of_another(context).await?.map_or(Probe::Met(()), |holder| Probe::NotYet(holder.to_string())))
    })
    .await
}

/// Returns who bakes a template now, other than this run.
async fn bake_of_another(context: &StepContext) -> Result<Option<Holder>> {
    let engine = &context.engine;
    let templates = files::resolved(&engine.home.templates());
    // Ours bakes after this step; what an earlier run has left at it is begun anew where that harms it.
    let own =
        engine.template_turn.try_lock().is_ok_and(|turn| turn.is_some()).then(|| TemplateDir::of(engine).key);
    for vmx in engine.vms.running().await? {
        let key = vmx.strip_prefix(&templates).ok().and_then(|below| below.iter().next()?.to_str());
        let Some(key) = key.filter(|key| own.as_deref() != Some(*key)) else { continue };
        if let Some(holder) = lock::holder(&engine.home.template_lock(key))? {
            return Ok(Some(holder));
        }
    }
    Ok(None)
}

fn tell(context: &StepContext, output: &str) {
    output.lines().for_each(|line| context.line(line));
}

/// Returns the error about machines of others that a restart of the networks would cut off.
fn cut_off(vmx: Vec<PathBuf>, reason: String, output: String, after: Aftermath) -> EngineError {
    let obstacle = Obstacle::OthersRunning { vmx };
    if after != Aftermath::Unsettled {
        return EngineError::Obstacles(vec![obstacle]);
    }
    EngineError::Host(HostError::Network { reason: format!("{reason}; {obstacle}"), output, after })
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::Arc;

    use sha2::{Digest, Sha256};

    use super::*;
    use crate::engine::fixture::{self, Bench, Machines};
    use crate::engine::steps::lab;
    use crate::formats::networking::Scope;
    use crate::plan::step::Step;

    const NETWORKING: &str = "VERSION=1,0\nanswer VNET_8_DHCP yes\n";
    /// A network that somebody made by hand where the lab's would be.
    const BY_HAND: &str = "answer VNET_2_DHCP yes\nanswer VNET_2_HOSTONLY_NETMASK 255.255.255.0\n\
                           answer VNET_2_HOSTONLY_SUBNET 10.10.0.0\nanswer VNET_2_NAT yes\n\
                           answer VNET_2_VIRTUAL_ADAPTER yes\nanswer VNET_2_HOSTONLY_UUID AB-2\n";

    fn context(bench: &Bench, action: Action) -> StepContext {
        let step = Arc::new(Step { action, ..fixture::start("gateway1", &[]) });
        StepContext { engine: bench.engine.clone(), step }
    }

    fn applying(bench: &Bench) -> StepContext {
        context(bench, Action::ApplyNetwork { diff: String::new(), scope: Scope::Networks })
    }

    /// The records of a network, which claim it.
    fn claims(bench: &Bench) -> Vec<PathBuf> {
        let engine = &bench.engine;
        let vmnet = engine.lab.internal.vmnet;
        let mut claims = vec![engine.home.made_network(vmnet), engine.home.before_made_network(vmnet)];
        claims.extend([engine.dir.network_record(), engine.dir.networking_before()]);
        claims.retain(|path| files::exists(path));
        claims
    }

    /// What is written down, and the file as it is.
    fn remembered(bench: &Bench) -> Facts {
        let engine = &bench.engine;
        Facts {
            networking: engine.networks.read().unwrap(),
            network_record: records::record(engine).unwrap(),
            network_made: records::made(engine, engine.lab.internal.vmnet).unwrap(),
            ..Facts::default()
        }
    }

    #[tokio::test]
    async fn the_bake_of_another_run_is_waited_for_and_what_nobody_waits_for_is_not() {
        let bench = Bench::new(Machines::default());
        let engine = &bench.engine;
        let vmx = TemplateDir { key: "0123".to_owned(), root: engine.home.template("0123") }.vmx();
        bench.file(&vmx, "config.version = \"8\"\n");
        let path = engine.home.template_lock("0123");
        files::create_dir(&engine.home.locks()).unwrap();
        let context = applying(&bench);
        let turn = lock::acquire(&path, "the template", "up").unwrap();
        assert_eq!(bake_of_another(&context).await.unwrap(), None, "its machine is off");
        engine.vms.start(&files::canonicalize(&vmx).unwrap()).await.unwrap();
        let holder = bake_of_another(&context).await.unwrap().expect("it bakes");
        assert_eq!((holder.pid, holder.verb.as_str()), (std::process::id(), "up"));
        drop(turn);
        assert_eq!(bake_of_another(&context).await.unwrap(), None, "a killed run has left it at work");
    }

    #[tokio::test]
    async fn a_change_that_does_not_come_about_claims_nothing() {
        let bench = Bench::new(Machines::default());
        bench.file(&bench.engine.fusion.networking(), NETWORKING);
        // There are no programs of Fusion's.
        apply(&applying(&bench)).await.unwrap_err();
        assert_eq!(claims(&bench), Vec::<PathBuf>::new());

        // What an earlier change wrote is still ours.
        let facts = Facts { networking: Some(NETWORKING.into()), ..Facts::default() };
        records::remember(&bench.engine, &facts).unwrap();
        let made = format!("{NETWORKING}{BY_HAND}");
        bench.file(&bench.engine.fusion.networking(), &made);
        let facts = Facts { network_record: records::record(&bench.engine).unwrap(), ..facts };
        records::reconsider(&bench.engine, &facts).unwrap();
        assert_eq!(records::record(&bench.engine).unwrap(), facts.network_record);
    }

    #[tokio::test]
    async fn machines_of_others_that_run_by_now_are_not_cut_off() {
        let bench = Bench::new(Machines::default());
        let engine = &bench.engine;
        bench.file(&engine.fusion.networking(), NETWORKING);
        let theirs = engine.fusion.library.join("web.vmwarevm/web.vmx");
        bench.file(&theirs, "config.version = \"8\"\n");
        bench.machines.run(&theirs);
        bench.machines.run(&engine.home.templates().join("k/template.vmwarevm/template.vmx"));
        let marks = |node: &str| {
            let (lab, name) = (crate::lab::names::VMX_LAB, crate::lab::names::VMX_NODE);
            format!("config.version = \"8\"\n{lab} = \"{}\"\n{name} = \"{node}\"\n", engine.lab.name)
        };
        for (vmx, node) in [("gateway1", "gateway1"), ("k8s-worker1", "gateway1")] {
            bench.file(&engine.vmx(vmx), &marks(node));
            bench.machines.run(&engine.vmx(vmx));
        }
        let error = apply(&applying(&bench)).await.unwrap_err();
        let EngineError::Obstacles(obstacles) = &error else { panic!("{error}") };
        let strangers = vec![files::resolved(&engine.vmx("k8s-worker1")), files::resolved(&theirs)];
        assert_eq!(*obstacles, [Obstacle::OthersRunning { vmx: strangers }]);
        assert_eq!(claims(&bench), Vec::<PathBuf>::new());
        assert_eq!(engine.networks.read().unwrap().unwrap(), NETWORKING.as_bytes());
    }

    #[tokio::test]
    async fn a_record_that_outlived_its_change_adopts_no_network_made_by_hand() {
        let bench = Bench::new(Machines::default());
        let engine = &bench.engine;
        bench.file(&engine.fusion.networking(), NETWORKING);
        let facts = Facts { networking: Some(NETWORKING.into()), ..Facts::default() };
        records::remember(engine, &facts).unwrap();
        // The run was killed before the change; later somebody makes a network under that number.
        bench.file(&engine.fusion.networking(), &format!("{NETWORKING}{BY_HAND}"));
        let facts = remembered(&bench);
        assert!(facts.network_made.is_some());
        let NetworkEdit::Change(change) = networks::edit(&engine.lab, &facts) else { panic!("it lacks us") };
        records::remember(engine, &facts).unwrap();
        bench.file(&engine.fusion.networking(), &String::from_utf8(change.after).unwrap());
        records::settle(engine).unwrap();

        let facts = remembered(&bench);
        assert_eq!(facts.network_made, None);
        let NetworkEdit::Change(change) = networks::without(&facts, &[]) else { panic!("our lines go") };
        assert_eq!(String::from_utf8(change.after).unwrap(), format!("{NETWORKING}{BY_HAND}"));
    }

    #[tokio::test]
    async fn a_whole_file_takes_away_nothing_that_was_not_shown() {
        let bench = Bench::new(Machines::default());
        let engine = &bench.engine;
        bench.file(&engine.fusion.networking(), &format!("{NETWORKING}answer VNET_9_NAT yes\n"));
        let digest = hex::encode(Sha256::digest(NETWORKING));
        let backup = format!("20261126T101500Z-{}", &digest[..12]);
        bench.file(&engine.home.network().join("backups").join(&backup), NETWORKING);
        let facts = observe::network_facts(engine).await.unwrap();
        let shown = networks::put_back(&facts, NETWORKING.as_bytes(), 2).diff().to_owned();
        let action = |diff: String| {
            let (scope, backup) = (Scope::Networks, backup.clone());
            context(&bench, Action::PutBackNetwork { diff, scope, backup })
        };
        let since = "changed by someone else since the plan was made";
        let error = put_back(&action("-another line\n".to_owned()), &backup).await.unwrap_err();
        let EngineError::Host(HostError::Network { reason, after, .. }) = error else { panic!("{error}") };
        assert!(reason.contains(since) && after == Aftermath::Untouched, "{reason}: {after:?}");
        let error = put_back(&action(shown), &backup).await.unwrap_err().to_string();
        assert!(!error.contains(since), "only the programs are missing: {error}");
    }

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
