//! Programs that make an image: each in namespaces of its own, so that nothing of it is left when it or we are killed.

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::Command;
use tokio::sync::mpsc;

/// How many last lines of a program's output are told when it fails.
const TAIL: usize = 12;
/// Lines that may wait to be told.
const LINES: usize = 64;

/// Runs a program to its end and hands on each line that it prints; the error holds the last ones.
///
/// All that it starts ends with it, and it ends with the thread that it is started by.
pub async fn run(
    argv: &[&str],
    env: &[(&str, &Path)],
    said: &(dyn Fn(&str) + Send + Sync),
) -> io::Result<()> {
    // `--mount-proc` makes mounts private, too.
    let wrapped = ["--pdeathsig", "KILL", "unshare", "--pid", "--fork", "--kill-child", "--mount-proc"];
    #[expect(clippy::disallowed_methods, reason = "its lines are told while it runs, which can take minutes")]
    let mut command = Command::new("setpriv");
    command.args(wrapped).args(argv).envs(env.iter().copied()).env("LC_ALL", "C.UTF-8");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let name = argv.first().copied().unwrap_or_default();
    let mut child =
        command.spawn().map_err(|error| io::Error::new(error.kind(), format!("start setpriv: {error}")))?;
    let (lines, mut printed) = mpsc::channel(LINES);
    let readers = [read(child.stdout.take(), lines.clone()), read(child.stderr.take(), lines)];
    let mut tail = VecDeque::new();
    while let Some(line) = printed.recv().await {
        said(&line);
        if tail.len() == TAIL {
            tail.pop_front();
        }
        tail.push_back(line);
    }
    let status = child.wait().await?;
    drop(readers);
    if status.success() {
        return Ok(());
    }
    let tail: Vec<_> = tail.into();
    Err(io::Error::other(format!("{name} failed ({status}): {}", tail.join("\n"))))
}

/// Runs a program inside the system that is being made.
pub async fn inside(rootfs: &Path, argv: &[&str], said: &(dyn Fn(&str) + Send + Sync)) -> io::Result<()> {
    let rootfs = utf8(rootfs)?;
    let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let chroot = ["chroot", rootfs, "env", "-i", path, "DEBIAN_FRONTEND=noninteractive"];
    run(&[&chroot, argv].concat(), &[], said).await
}

/// Returns a path as a word of a command line.
pub fn utf8(path: &Path) -> io::Result<&str> {
    path.to_str().ok_or_else(|| io::Error::other(format!("{} is not UTF-8", path.display())))
}

fn read<R>(stream: Option<R>, lines: mpsc::Sender<String>) -> tokio::task::JoinHandle<()>
where
    R: AsyncRead + Send + Unpin + 'static,
{
    tokio::spawn(async move {
        let Some(stream) = stream else { return };
        let mut stream = BufReader::new(stream);
        let mut line = Vec::new();
        while let Ok(1..) = stream.read_until(b'\n', &mut line).await {
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            line.clear();
            if !text.is_empty() && lines.send(text).await.is_err() {
                return;
            }
        }
    })
}
