//! How this machine comes to the lab's names: the file of `/etc/resolver`, its record, and what the name server says.
//!
//! `labs/<lab>/resolver.json` says that the lab wrote that file. It is written before the file is, so that a run that is
//! cut short has left nothing behind that nobody knows of.

use std::net::SocketAddrV4;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::formats::dns::{self, Answer};
use crate::formats::resolver::Resolver;
use crate::host::dial::Dial;
use crate::host::fusion::Fusion;
use crate::host::resolver::{Change, ResolverFile};
use crate::host::{HostError, files};
use crate::lab::Lab;
use crate::lab::paths::LabDir;
use crate::plan::facts::ResolverRecord;
use crate::stack;

use crate::engine::context::Engine;
use crate::engine::error::Result;
use crate::engine::home::records::{self, Versioned};
use crate::engine::home::store::USER_KEY;

/// Any number: one question is asked in one connection.
const QUESTION: u16 = 0x0f1a;

impl Versioned for ResolverRecord {
    const VERSION: u32 = 1;
    const WHAT: &'static str = "a record of a file of /etc/resolver";
}

/// Returns what a lab wrote into `/etc/resolver`; none if it has not.
pub fn record(dir: &LabDir) -> Result<Option<ResolverRecord>> {
    records::read(&dir.resolver_record())
}

/// One lab's names, as this machine comes to them.
pub struct Names {
    lab: Lab,
    dir: LabDir,
    fusion: Fusion,
}

impl Names {
    pub fn new(lab: Lab, dir: LabDir, fusion: Fusion) -> Self {
        Self { lab, dir, fusion }
    }

    pub fn of(engine: &Engine) -> Self {
        Self::new(Lab::clone(&engine.lab), engine.dir.clone(), engine.fusion.clone())
    }

    /// Returns the file of the lab's domain.
    ///
    /// # Errors
    /// If the domain may not name such a file.
    pub fn file(&self) -> Result<ResolverFile> {
        Ok(ResolverFile::new(self.fusion.clone(), &self.lab.cluster.domain)?)
    }

    /// Returns what the file is to be.
    pub fn wanted(&self) -> Change {
        Change::Write(Resolver { lab: self.lab.name.clone(), nameserver: self.lab.internal.vip })
    }

    pub fn unwanted(&self) -> Change {
        Change::Remove { lab: self.lab.name.clone() }
    }

    /// Returns the file of the domain that the lab had before, if the lab wrote one and it is there still.
    pub fn former(&self) -> Result<Option<ResolverFile>> {
        let Some(record) = record(&self.dir)?.filter(|record| record.domain != self.lab.cluster.domain)
        else {
            return Ok(None);
        };
        let file = ResolverFile::new(self.fusion.clone(), &record.domain)?;
        Ok(if file.is_due(&self.unwanted())? { Some(file) } else { None })
    }

    /// Writes the file, and removes that of a domain that the lab had before. Says whether anything was changed.
    pub async fn write(&self) -> Result<bool> {
        let file = self.file()?;
        let wanted = self.wanted();
        let former = self.former()?;
        let limit = self.lab.limits.network_apply;
        // First of all: the record, by which it is known, is about to name the other one.
        if let Some(former) = &former {
            former.apply(&self.unwanted(), limit).await?;
        }
        if !file.is_due(&wanted)? {
            return Ok(former.is_some());
        }
        let (version, domain) = (ResolverRecord::VERSION, self.lab.cluster.domain.clone());
        let record = ResolverRecord { version, file: file.path(), domain };
        files::create_dir(self.dir.root())?;
        records::write(&self.dir.resolver_record(), &record, files::PUBLIC_FILE)?;
        Ok(file.apply(&wanted, limit).await?)
    }

    /// Returns the files that are to go: that of the domain, and that of the domain that was written once.
    pub fn removals(&self) -> Result<Vec<ResolverFile>> {
        let mut due: Vec<ResolverFile> = self.former()?.into_iter().collect();
        // A domain that may not have such a file has none.
        if let Ok(file) = self.file()
            && file.is_due(&self.unwanted())?
        {
            due.push(file);
        }
        Ok(due)
    }

    pub fn removal_needs_root(&self) -> Result<bool> {
        Ok(self.removals()?.iter().any(ResolverFile::needs_root))
    }

    /// Removes what the lab wrote. Says whether anything was changed.
    pub async fn remove(&self) -> Result<bool> {
        let mut changed = false;
        if let Ok(file) = self.file() {
            file.sweep()?;
        }
        for file in self.removals()? {
            changed |= file.apply(&self.unwanted(), self.lab.limits.network_apply).await?;
        }
        files::remove_file(&self.dir.resolver_record())?;
        Ok(changed)
    }

    /// Asks the lab's name server for a name.
    ///
    /// # Errors
    /// If it does not answer within `dns_answer`, or not in words of DNS.
    pub async fn ask(&self, name: &str) -> Result<Answer> {
        let server = SocketAddrV4::new(self.lab.internal.vip, stack::dns::PORT);
        Ok(ask(&Dial::of(&self.fusion)?, server, name, self.lab.limits.dns_answer).await?)
    }

    /// Says whether the lab was made so far that somebody could answer.
    pub fn is_made(&self) -> bool {
        files::exists(&self.dir.kubeconfig())
    }

    /// Says whether the lab has keys on this Mac: running or not, it was made, and not destroyed.
    pub fn has_keys(&self) -> bool {
        files::exists(&self.dir.identity().join(USER_KEY))
    }

    /// Returns the name that is asked for as a proof: an application's like any other.
    pub fn example(&self) -> String {
        format!("echo.{}", self.lab.cluster.domain)
    }
}

/// Asks a name server over TCP, which is the way that leads into every kind of lab.
pub async fn ask(
    dial: &Dial,
    server: SocketAddrV4,
    name: &str,
    limit: Duration,
) -> Result<Answer, HostError> {
    let question = dns::question(QUESTION, name).ok_or_else(|| HostError::Connect {
        address: server.into(),
        source: std::io::Error::other(format!("{name:?} is no name")),
    })?;
    let mut stream = dial.connect(server, limit).await?;
    let broken = |source| HostError::Connect { address: server.into(), source };
    let exchange = async {
        stream.write_all(&question).await?;
        let length = stream.read_u16().await?;
        let mut message = vec![0; usize::from(length)];
        stream.read_exact(&mut message).await?;
        dns::read_answer(QUESTION, &message).ok_or_else(|| std::io::Error::other("no answer to the question"))
    };
    let what = format!("an answer of the name server {server}");
    let answer = tokio::time::timeout(limit, exchange).await;
    answer.map_err(|_| HostError::Deadline { what, limit })?.map_err(broken)
}
