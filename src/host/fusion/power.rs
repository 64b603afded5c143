//! Power on and off as both drivers do it: give the order, then look whether it came about.

use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;

use super::observe::{Locks, await_unlocked, is_running};
use super::refusal::Order;
use super::verbs::{self, Deadlines, Pauses, Said, Tries, Verb, Verdict};
use crate::host::{Hypervisor, Result, Stop, clock};

/// A driver's own way to give an order.
#[async_trait]
pub trait Switch: Hypervisor {
    fn deadlines(&self) -> &Deadlines;

    /// Gives one order once: [`verbs::START`], [`verbs::STOP_SOFT`] or [`verbs::STOP_HARD`].
    async fn switch(&self, vmx: &Path, how: Power) -> Result<Said>;
}

/// What power can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Power {
    On,
    Soft,
    Hard,
}

impl Power {
    pub fn verb(self) -> &'static Verb {
        match self {
            Self::On => &verbs::START,
            Self::Soft => &verbs::STOP_SOFT,
            Self::Hard => &verbs::STOP_HARD,
        }
    }
}

pub async fn start(driver: &dyn Switch, vmx: &Path) -> Result<()> {
    if is_running(driver, vmx).await? {
        return Ok(());
    }
    let order = Order::about("start", vmx);
    let mut tries = Tries::of(&verbs::START);
    loop {
        let said = driver.switch(vmx, Power::On).await?;
        let seen = appears(driver, vmx).await?;
        match tries.judge(&said, seen).await {
            Verdict::Done => return Ok(()),
            Verdict::Again => {}
            Verdict::Failed => {
                return Err(order.refused(said, "success was reported, but the VM does not run"));
            }
        }
    }
}

pub async fn stop(driver: &dyn Switch, vmx: &Path, how: Stop) -> Result<()> {
    let unlock = driver.deadlines().vm_unlock;
    if !is_running(driver, vmx).await? {
        return await_unlocked(vmx, unlock, Locks::MayBeStale).await;
    }
    let how = match how {
        Stop::Soft => Power::Soft,
        Stop::Hard => Power::Hard,
    };
    let order = Order::about("stop", vmx);
    let limit = (how.verb().limit)(driver.deadlines());
    let mut tries = Tries::of(how.verb());
    loop {
        let until = clock::monotonic() + limit;
        let said = driver.switch(vmx, how).await?;
        let gone = vanishes(driver, vmx, &said, until).await?;
        match tries.judge(&said, gone).await {
            Verdict::Done => return await_unlocked(vmx, unlock, Locks::AreLive).await,
            Verdict::Again => {}
            Verdict::Failed => return Err(order.refused(said, &still_running(limit))),
        }
    }
}

fn still_running(limit: Duration) -> String {
    format!("success was reported, but the VM still runs {} s later", limit.as_secs())
}

/// Looks until the VM runs; a few times only, for what was said to have failed may yet appear.
async fn appears(driver: &dyn Switch, vmx: &Path) -> Result<bool> {
    let mut pauses = Pauses::default();
    for _ in 1..verbs::START_LOOKS {
        if is_running(driver, vmx).await? {
            return Ok(true);
        }
        pauses.next().await;
    }
    is_running(driver, vmx).await
}

/// Looks until the VM is gone. One that a stop was refused for does not go later: it is looked at once.
async fn vanishes(driver: &dyn Switch, vmx: &Path, said: &Said, until: clock::Instant) -> Result<bool> {
    let mut pauses = Pauses::default();
    while is_running(driver, vmx).await? {
        if *said != Said::Nothing || clock::monotonic() >= until {
            return Ok(false);
        }
        pauses.next().await;
    }
    Ok(true)
}
