//! A lab's lock: one run at a time, and none beside an order to Fusion that a killed run has left at work.
//!
//! A `vmrun clone` goes on when the fusionlab that began it is killed, and puts its machine down minutes later: into a lab
//! that the next run has taken down meanwhile, or over what that run makes. So such an order has a share in a second
//! file beside the lab's lock ([`process::outlived`](crate::host::process::outlived)), which the kernel takes from it only
//! at its own end. Whoever gets the lock waits for that.

use std::fs::TryLockError;
use std::sync::Arc;
use std::time::Duration;

use crate::host::lock::{self, Holder, Life, Lock, Occupant, Share};
use crate::host::{HostError, Result, files};
use crate::lab::paths::Home;

/// How long whoever wants a lab waits.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For another run.
    pub run: Duration,
    /// For an order that a killed run has left at work, whatever was wished: `limits.vm_clone`.
    pub order: Duration,
}

/// A lab that a verb has to itself, until this is dropped.
#[derive(Debug)]
pub struct HeldLab {
    pub lock: Lock,
    /// Whoever was killed while Fusion's networks were its own.
    pub networks: Option<Holder>,
}

/// Takes a lab's lock, held until it is dropped. `tell` hears of whoever is waited for.
///
/// # Errors
/// [`HostError::Locked`] if a run or an order is at work for longer than the patience.
pub async fn acquire(
    home: &Home,
    lab: &str,
    verb: &str,
    patience: Patience,
    tell: &mut dyn FnMut(&Occupant),
) -> Result<Lock> {
    let what = format!("lab {lab}");
    let lock = lock::acquire_within(&home.lab_lock(lab), &what, verb, patience.run, tell).await?;
    let path = home.orders_lock(lab);
    match files::open_or_create(&path, files::PRIVATE_FILE)?.try_lock() {
        Ok(()) => return Ok(lock),
        Err(TryLockError::WouldBlock) => {}
        Err(TryLockError::Error(error)) => return Err(HostError::file("lock", &path)(error)),
    }
    let by =
        Occupant { holder: lock.taken_over.as_ref().map(|trace| trace.holder.clone()), life: Life::Outlived };
    tell(&by);
    match lock::wait(&path, &what, patience.order).await {
        Ok(_) => Ok(lock),
        Err(HostError::Deadline { .. }) => Err(HostError::Locked { what, by: Box::new(by) }),
        Err(error) => Err(error),
    }
}

/// Returns the share that the orders to Fusion have which a run gives. That run has the lab's lock, so nobody waits here.
pub fn share(home: &Home, lab: &str) -> Result<Arc<Share>> {
    let path = home.orders_lock(lab);
    if !files::exists(&path) {
        files::create_dir(&home.locks())?;
    }
    Ok(Arc::new(lock::share(&path)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::clock;

    const LIMIT: Duration = Duration::from_secs(60);

    async fn taken(home: &Home, order: Duration) -> (Result<Lock>, Vec<String>) {
        let mut told = Vec::new();
        let patience = Patience { run: Duration::ZERO, order };
        let lock = acquire(home, "one", "up", patience, &mut |by| told.push(by.to_string())).await;
        (lock, told)
    }

    #[tokio::test(start_paused = true)]
    async fn an_order_that_outlived_its_run_is_waited_for_and_said() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home(folder.path().to_owned());
        let (lock, told) = taken(&home, LIMIT).await;
        assert!(told.is_empty(), "nobody was waited for: {told:?}");
        let order = share(&home, "one").unwrap();
        drop(lock.unwrap());
        let (refused, told) = taken(&home, LIMIT).await;
        assert!(
            matches!(&refused, Err(HostError::Locked { by, .. }) if by.life == Life::Outlived),
            "{refused:?}"
        );
        assert_eq!(told.len(), 1);
        let ends = async {
            clock::pause(LIMIT / 2).await;
            drop(order);
        };
        let ((lock, told), ()) = tokio::join!(taken(&home, LIMIT), ends);
        lock.unwrap();
        assert!(told[0].contains("goes on"), "{told:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn another_lab_is_not_kept_from_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home(folder.path().to_owned());
        let _order = share(&home, "other").unwrap();
        taken(&home, LIMIT).await.0.unwrap();
    }
}
