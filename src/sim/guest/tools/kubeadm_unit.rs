//! fusionlab-kubeadm: the model's own reading of the script that runs kubeadm as a unit, whoever listens.

use std::sync::Arc;

use tokio::sync::{mpsc, watch};

use super::kubeadm;
use crate::sim::guest::Model;
use crate::sim::guest::live::UnitState;
use crate::sim::guest::shell::Call;
use crate::sim::seam::Chunk;

/// Where a member's files have the script; without it there is no such command.
pub const PATH: &str = "/usr/local/sbin/fusionlab-kubeadm";

const UNIT: &str = "fusionlab-kubeadm";
const LOCK: &str = "/run/fusionlab-kubeadm.lock";
const LOG: &str = "/var/log/fusionlab-kubeadm.log";
/// The script's exit statuses, of sysexits.h.
const USAGE: i32 = 64;
const BUSY: i32 = 75;
/// Pieces of output in flight.
const CHUNKS: usize = 16;
/// What the script removes after a reset.
const LEFTOVERS: [&str; 6] = [
    "/etc/cni/net.d",
    "/etc/cilium",
    "/etc/kubernetes/pki",
    "/run/cilium",
    "/var/lib/etcd",
    "/var/lib/kubelet/pki",
];

/// A kubeadm under way, or the last one.
pub struct Run {
    call: Vec<String>,
    told: watch::Receiver<Told>,
}

/// What it has said so far, and how it ended.
#[derive(Default)]
struct Told {
    text: Vec<u8>,
    status: Option<i32>,
}

pub async fn run(call: &Call<'_>) -> i32 {
    if !call.root {
        return call.fail(1, "Failed to connect to bus: Interactive authentication required.").await;
    }
    if !matches!(call.words()[..], ["init" | "join" | "reset", ..]) {
        return call.fail(USAGE, "usage: fusionlab-kubeadm init|join|reset [ARGUMENT...]").await;
    }
    let under_way =
        call.model.live(|live| live.kubeadm.clone()).filter(|run| run.told.borrow().status.is_none());
    let run = match under_way {
        Some(run) if run.call == call.args => run,
        Some(run) => {
            return call.fail(BUSY, format!("another kubeadm works here: {}", run.call.join(" "))).await;
        }
        None => begin(call.model, call.args.clone()),
    };
    follow(call, run.told.clone()).await
}

/// Starts the unit.
fn begin(model: &Arc<Model>, args: Vec<String>) -> Arc<Run> {
    let (tell, told) = watch::channel(Told::default());
    let run = Arc::new(Run { call: args.clone(), told });
    let lock = model.live(|live| {
        live.kubeadm = Some(Arc::clone(&run));
        live.set_unit(UNIT, UnitState::Active);
        live.locks.entry(LOCK.to_owned()).or_default().clone()
    });
    let held = Arc::clone(model);
    model.spawn(async move {
        let _turn = lock.lock_owned().await;
        let status = work(&held, args, &tell).await;
        let state = if status == 0 { UnitState::Inactive } else { UnitState::Failed };
        held.live(|live| live.set_unit(UNIT, state));
        tell.send_modify(|told| told.status = Some(status));
    });
    run
}

async fn work(model: &Arc<Model>, args: Vec<String>, tell: &watch::Sender<Told>) -> i32 {
    let (sender, mut receiver) = mpsc::channel(CHUNKS);
    let gather = async {
        while let Some(Chunk::Stdout(bytes) | Chunk::Stderr(bytes)) = receiver.recv().await {
            tell.send_modify(|told| told.text.extend(bytes));
        }
    };
    let kubeadm = async move {
        let reset = args.first().is_some_and(|verb| verb == "reset");
        let call = Call::new(model, true, args, Vec::new(), &sender);
        let status = kubeadm::run(&call).await;
        if reset {
            model.change_disk(|disk| {
                for path in LEFTOVERS {
                    disk.remove(path);
                }
            });
        }
        status
    };
    let (status, ()) = tokio::join!(kubeadm, gather);
    let text = tell.borrow().text.clone();
    model.change_disk(|disk| disk.put(LOG, 0o600, text));
    model.sync();
    status
}

/// Prints what a run says up to its end, and returns its exit status.
async fn follow(call: &Call<'_>, mut told: watch::Receiver<Told>) -> i32 {
    let mut shown = 0;
    loop {
        let (news, status) = {
            let told = told.borrow_and_update();
            (told.text[shown..].to_vec(), told.status)
        };
        shown += news.len();
        if !news.is_empty() {
            call.print(news).await;
        }
        if let Some(status) = status {
            return status;
        }
        if told.changed().await.is_err() {
            return call.fail(1, "kubeadm was stopped before its end").await;
        }
    }
}
