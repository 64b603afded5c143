//! `flock`: one program at a time under a file's lock.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::sim::guest::shell::{self, Call, USAGE};

/// Runs a program while it holds the lock, or says that somebody else does.
pub async fn run(call: &mut Call<'_>) -> i32 {
    let (mut wait, mut words) = (Wait::ForEver, std::mem::take(&mut call.args).into_iter().peekable());
    while let Some(flag) = words.next_if(|word| word.starts_with('-')) {
        wait = match flag.as_str() {
            "-n" | "--nonblock" => Wait::NotAtAll,
            "-w" | "--timeout" => match words.next().and_then(|seconds| seconds.parse().ok()) {
                Some(seconds) => Wait::Seconds(seconds),
                None => return call.fail(USAGE, "flock: invalid timeout value").await,
            },
            other => return call.fail(USAGE, format!("flock: unrecognized option '{other}'")).await,
        };
    }
    let (Some(file), Some(program)) = (words.next(), words.next()) else {
        return call.fail(USAGE, "flock: requires a file and a command").await;
    };
    let lock = call.model.live(|live| live.locks.entry(file).or_default().clone());
    // As the real one, it says nothing: the exit status tells that another process holds the lock.
    let Some(_held) = take(call, lock, wait).await else { return 1 };
    call.args = words.collect();
    Box::pin(shell::find_and_run(call, program, false)).await
}

#[derive(Clone, Copy)]
enum Wait {
    NotAtAll,
    Seconds(u64),
    ForEver,
}

async fn take(call: &Call<'_>, lock: Arc<Mutex<()>>, wait: Wait) -> Option<OwnedMutexGuard<()>> {
    match wait {
        Wait::NotAtAll => lock.try_lock_owned().ok(),
        Wait::ForEver => Some(lock.lock_owned().await),
        Wait::Seconds(seconds) => tokio::select! {
            held = lock.lock_owned() => Some(held),
            () = call.model.pass(Duration::from_secs(seconds)) => None,
        },
    }
}
