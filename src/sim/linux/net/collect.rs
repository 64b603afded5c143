//! What a world leaves in the kernel if it is killed, taken down by whoever comes next.

use std::collections::BTreeSet;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::{limits, tools};
use crate::sim::files;
use crate::sim::linux::cgroup;
use crate::sim::linux::prefix::Prefix;

/// Removes all that a world of this prefix made in the kernel and did not take down: processes, control groups,
/// namespaces, links. Nothing of that prefix may be wanted any more.
///
/// # Errors
/// With what is left, and why.
pub async fn collect(prefix: &Prefix) -> io::Result<()> {
    if let Ok(group) = prefix.cgroup()
        && group.is_dir()
    {
        remove_cgroup(&group).await?;
    }
    let namespaces = prefix.namespaces();
    end_processes(&namespaces).await?;
    let names = |paths: &[PathBuf]| -> Vec<String> {
        paths.iter().filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())).collect()
    };
    let links = links_of(prefix).into_iter().map(|link| format!("link del {link}"));
    let removals = names(&namespaces).into_iter().map(|name| format!("netns del {name}"));
    tools::ip_remove(None, &links.chain(removals).collect::<Vec<_>>()).await;
    let mut left = names(&prefix.namespaces());
    left.extend(links_of(prefix));
    if left.is_empty() {
        return Ok(());
    }
    Err(io::Error::other(format!("namespaces and links that cannot be removed: {}", left.join(", "))))
}

/// Kills everything in a control group, and removes it with those within.
async fn remove_cgroup(group: &Path) -> io::Result<()> {
    cgroup::kill(group)?;
    let what = format!("no process is left in {}", group.display());
    limits::until(what, limits::PROCESSES_GONE, || cgroup::remove(group)).await
}

/// Kills whatever runs in network namespaces, and waits until it is gone.
async fn end_processes(namespaces: &[PathBuf]) -> io::Result<()> {
    let identities: BTreeSet<Identity> = namespaces.iter().filter_map(|path| identity(path)).collect();
    if identities.is_empty() {
        return Ok(());
    }
    limits::until("no process is left in the networks", limits::PROCESSES_GONE, || {
        let inside = processes_in(&identities);
        for pid in &inside {
            // SAFETY: kill takes numbers. The process was in a namespace of ours a moment ago.
            unsafe { libc::kill(*pid, libc::SIGKILL) };
        }
        Ok(inside.is_empty())
    })
    .await
}

/// Returns the processes in any of these namespaces. One that is a zombie is in none.
fn processes_in(namespaces: &BTreeSet<Identity>) -> Vec<libc::pid_t> {
    let ours = std::process::id().to_string();
    let processes = files::entries(Path::new("/proc")).into_iter().filter_map(|folder| {
        let name = folder.file_name()?.to_str()?.to_owned();
        let pid = name.parse().ok()?;
        let is_inside = namespaces.contains(&identity(&folder.join("ns/net"))?) && name != ours;
        is_inside.then_some(pid)
    });
    processes.collect()
}

/// A namespace, by the file that stands for it: its device and inode.
type Identity = (u64, u64);

fn identity(path: &Path) -> Option<Identity> {
    let metadata = path.metadata().ok()?;
    Some((metadata.dev(), metadata.ino()))
}

/// Returns this prefix's links in the computer's own namespace.
fn links_of(prefix: &Prefix) -> Vec<String> {
    let beginning = prefix.to_string();
    let links = files::entries(Path::new("/sys/class/net")).into_iter();
    let names = links.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()));
    names.filter(|name| name.starts_with(&beginning)).collect()
}
