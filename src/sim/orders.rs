//! What vmrun and vmrest both do with VMs: ask the world, order it, and work on the files of stopped ones.

use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::control::{self, Power, Reply, Request, VmView};
use super::pace::{Operation, Pace};
use super::places::{Places, vm_name};
use super::refusal::Refusal;
use super::settings::Settings;
use super::snapshots::{self, CloneKind};
use super::{faults, files, locks, power, vmlog};

/// One caller's hand on the simulated Mac.
#[derive(Clone)]
pub struct Orders {
    pub places: Places,
    pub pace: Pace,
}

impl Orders {
    pub fn new(places: &Places) -> io::Result<Self> {
        Ok(Self { places: places.clone(), pace: Pace::new(Settings::load(places)?.speed) })
    }

    async fn ask(&self, request: &Request) -> Result<Option<Reply>, Refusal> {
        control::ask(&self.places, request).await.map_err(unknown)
    }

    /// Returns the VMs that run.
    pub async fn running(&self) -> Result<Vec<PathBuf>, Refusal> {
        match self.ask(&Request::List).await? {
            Some(Reply::Running(running)) => Ok(running),
            _ => Ok(Vec::new()),
        }
    }

    /// Looks at one VM; without a world it is off.
    pub async fn view(&self, vmx: &Path) -> Result<VmView, Refusal> {
        power::open_vmx(vmx)?;
        match self.ask(&Request::Inspect { vmx: vmx.to_owned() }).await? {
            Some(Reply::Vm(view)) => Ok(view),
            _ => Ok(VmView::off()),
        }
    }

    /// Starts a VM, and before it the world if need be.
    pub async fn start(&self, vmx: &Path) -> Result<(), Refusal> {
        power::open_vmx(vmx)?;
        if self.strikes(faults::START_HANGS, vmx) {
            std::future::pending::<()>().await;
        }
        if self.strikes(faults::HOST_UNREACHABLE, vmx) {
            return Err(Refusal::NoHost);
        }
        if self.strikes(faults::START_SILENT, vmx) {
            return Ok(());
        }
        let request = Request::Start { vmx: vmx.to_owned() };
        done(control::ask_awake(&self.places, &request).await.map_err(unknown)?)?;
        if self.strikes(faults::START_LIES, vmx) { Err(Refusal::CannotConnect) } else { Ok(()) }
    }

    fn strikes(&self, fault: &str, vmx: &Path) -> bool {
        faults::strikes(&self.places, fault, &vm_name(vmx))
    }

    /// Gives an order about a VM that has power; without a world none has.
    pub async fn order(&self, vmx: &Path, request: Request) -> Result<(), Refusal> {
        power::open_vmx(vmx)?;
        let absent = || Reply::Refused(Refusal::NotPoweredOn(vmx.to_owned()));
        done(self.ask(&request).await?.unwrap_or_else(absent))
    }

    pub async fn stop(&self, vmx: &Path, soft: bool) -> Result<(), Refusal> {
        let hangs = if soft { faults::STOP_SOFT_HANGS } else { faults::STOP_HARD_HANGS };
        if self.strikes(hangs, vmx) {
            std::future::pending::<()>().await;
        }
        if self.strikes(faults::STOP_SILENT, vmx) {
            return Ok(());
        }
        self.order(vmx, Request::Stop { vmx: vmx.to_owned(), soft }).await
    }

    /// Makes sure that a VM is off and nobody holds its files, and lets an operation's time pass.
    pub async fn stopped(&self, vmx: &Path, operation: Operation) -> Result<(), Refusal> {
        if self.view(vmx).await?.power != Power::Off {
            return Err(Refusal::AlreadyRunning);
        }
        let world = match self.ask(&Request::Describe).await? {
            Some(Reply::World(world)) => Some(world.pid),
            _ => None,
        };
        if locks::are_held(vmx, world) {
            return Err(Refusal::InUse);
        }
        self.pace.take(operation).await;
        Ok(())
    }

    /// Clones a stopped VM. One clone of a parent at a time: each is written into the parent's `.vmsd`.
    pub async fn clone_vm(
        &self,
        from: &Path,
        to: &Path,
        kind: CloneKind,
        snapshot: Option<&str>,
        name: Option<&str>,
    ) -> Result<(), Refusal> {
        let operation = if kind == CloneKind::Linked { Operation::CloneLinked } else { Operation::CloneFull };
        let parent = hex::encode(&Sha256::digest(from.as_os_str().as_encoded_bytes())[..8]);
        let path = self.places.run().join(format!("{parent}.clone.lock"));
        let lock = files::lock_aside(&path).await?;
        self.stopped(from, operation).await?;
        let target = vm_name(to);
        if faults::strikes(&self.places, faults::PARENT_BUSY, &target) {
            return Err(Refusal::InUse);
        }
        if faults::strikes(&self.places, faults::CLONE_CANCELED, &target) {
            vmlog::error(from, "Insufficient system resources exist to complete the requested service.");
            return Err(Refusal::Canceled);
        }
        if faults::strikes(&self.places, faults::DISK_FULL, &target) {
            return Err(Refusal::DiskFull);
        }
        let cloned = snapshots::clone(from, to, kind, snapshot, name);
        drop(lock);
        cloned
    }

    pub async fn delete(&self, vmx: &Path) -> Result<(), Refusal> {
        self.stopped(vmx, Operation::Delete).await?;
        if self.strikes(faults::DELETE_SILENT, vmx) {
            return Ok(());
        }
        snapshots::delete_vm(vmx)
    }
}

/// Resolves a path as Fusion does, so that one VM has one name; a file that is not there yet by its folder.
pub fn resolve(path: &str) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.into());
    if let Ok(real) = path.canonicalize() {
        return real;
    }
    match (path.parent().map(Path::canonicalize), path.file_name()) {
        (Some(Ok(folder)), Some(name)) => folder.join(name),
        _ => path,
    }
}

fn done(reply: Reply) -> Result<(), Refusal> {
    match reply {
        Reply::Refused(refusal) => Err(refusal),
        _ => Ok(()),
    }
}

fn unknown(error: io::Error) -> Refusal {
    Refusal::Unknown(error.to_string())
}
