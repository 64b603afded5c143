//! The keeper: a process that outlives the world and does nothing, unless the world dies without taking anything down.
//!
//! It holds the end of a pipe from the world. If the pipe ends without a word, the world was killed: then no guest goes on
//! without it, as no VM goes on without Fusion. It holds a lock all the while, so that the next world waits for it.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::{Child, ChildStdin, Command};

use super::prefix::Prefix;
use crate::sim::places::Places;
use crate::sim::{files, pace};

/// `$1` the world's control group, `$2` what its namespaces' names begin with.
const KEEPER: &str = r#"
read -r word && exit 0
[ ! -e "$1/cgroup.kill" ] || echo 1 >"$1/cgroup.kill"
tries=0
while grep -q "populated 1" "$1/cgroup.events" 2>/dev/null && [ "$tries" -lt 100 ]; do
    tries=$((tries + 1))
    sleep 0.05
done
[ ! -e "$1" ] || find "$1" -depth -type d -exec rmdir {} + 2>/dev/null
for namespace in /run/netns/"$2"-*; do
    [ ! -e "$namespace" ] || ip netns delete "${namespace##*/}"
done
"#;
/// How long a keeper may need after its world died.
const KEEPING: Duration = Duration::from_secs(15);
const KEEPING_POLL: Duration = Duration::from_millis(20);

/// The world's end of a keeper.
pub struct Keeper {
    child: Child,
    pipe: ChildStdin,
}

impl Keeper {
    /// Waits for the keeper of a world before this one, and starts a new one.
    pub async fn begin(places: &Places, prefix: &Prefix) -> io::Result<Self> {
        let path = places.run().join("keeper.lock");
        files::make_folder(&places.run())?;
        let lock = wait_for(&path).await?;
        let cgroup: PathBuf = prefix.cgroup()?;
        let mut command = command();
        command.args(["-c", KEEPER, "fusionlab-keeper"]).arg(cgroup).arg(prefix.to_string());
        // Its output is the lock: held until it ends.
        command.stdin(Stdio::piped()).stdout(lock).stderr(Stdio::null()).current_dir("/");
        command.process_group(0);
        let mut child = command.spawn()?;
        let pipe = child.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?;
        Ok(Self { child, pipe })
    }

    /// Lets it end without doing anything.
    pub async fn dismiss(mut self) -> io::Result<()> {
        self.pipe.write_all(b"done\n").await?;
        self.child.wait().await.map(drop)
    }
}

async fn wait_for(path: &Path) -> io::Result<std::fs::File> {
    let mut waited = Duration::ZERO;
    loop {
        if let Some(lock) = files::try_lock(path) {
            return Ok(lock);
        }
        if waited >= KEEPING {
            let said =
                format!("{}: held by the keeper of a world that is not there any more", path.display());
            return Err(io::Error::new(io::ErrorKind::TimedOut, said));
        }
        pace::wait(KEEPING_POLL).await;
        waited += KEEPING_POLL;
    }
}

#[expect(clippy::disallowed_methods, reason = "it outlives this process, with no deadline")]
fn command() -> Command {
    Command::new("sh")
}
