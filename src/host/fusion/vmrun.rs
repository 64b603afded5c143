//! `vmrun`: Fusion's program for VMs, believed only as far as `vmrun list` confirms it.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;

use super::observe::{Locks, Pauses, appears, await_unlocked, is_running, is_whole};
use super::{Fusion, refusal};
use crate::formats::mac::Mac;
use crate::host::process::{self, Finished, Options};
use crate::host::{Clone, HostError, Hypervisor, Result, Stop, clock, dial, files};

/// `vmrun start` right after a shutdown may do nothing and say nothing: it is repeated so often.
const START_TRIES: u32 = 5;
/// A list that contradicts itself is asked for once more.
const LIST_TRIES: u32 = 2;

/// The `vmrun` driver.
#[derive(Clone, Debug)]
pub struct Vmrun {
    fusion: Fusion,
    program: PathBuf,
    /// Limit of one question (`Limits::fusion_query`).
    query: Duration,
    /// Limit for Fusion to let go of a stopped VM's files (`Limits::vm_unlock`).
    unlock: Duration,
}

impl Vmrun {
    /// `query` limits each question, `unlock` the wait for a stopped VM's lock folders.
    pub fn new(fusion: Fusion, query: Duration, unlock: Duration) -> Self {
        let program = fusion.program("vmrun");
        Self { fusion, program, query, unlock }
    }

    pub fn fusion(&self) -> &Fusion {
        &self.fusion
    }

    /// Runs `vmrun -T fusion …`: without `-T` linked clones broke on other products (facts §1.1).
    async fn run(&self, args: &[&str], limit: Duration) -> Result<Finished> {
        let mut options = Options::limit(limit);
        // What `start` starts must outlive a vmrun that hangs or that we leave.
        options.spare_children = true;
        process::run(&self.program, argv(args), options).await
    }

    /// Runs a question and returns its answer's lines, without noise; an `Error:` is an error.
    async fn ask(&self, args: &[&str]) -> Result<Vec<String>> {
        let finished = self.run(args, self.query).await?;
        match complaint(&finished) {
            None => Ok(lines(&finished)),
            Some(_) => Err(finished.error(&self.program, argv(args))),
        }
    }

    /// Runs an order. Its own opinion comes back as text: the caller looks at the world before it believes that.
    async fn order(&self, args: &[&str], limit: Duration) -> Result<Option<String>> {
        match self.run(args, limit).await {
            Ok(finished) => Ok(complaint(&finished)),
            Err(HostError::Deadline { limit, .. }) => {
                Ok(Some(format!("vmrun {} did not end within {} s", args[0], limit.as_secs())))
            }
            Err(error) => Err(error),
        }
    }

    async fn has_snapshot(&self, vmx: &Path, name: &str) -> Result<bool> {
        Ok(self.snapshots(vmx).await?.iter().any(|snapshot| snapshot == name))
    }
}

#[async_trait]
impl Hypervisor for Vmrun {
    async fn running(&self) -> Result<BTreeSet<PathBuf>> {
        let mut contradiction = None;
        for _ in 0..LIST_TRIES {
            match read_list(&self.ask(&["list"]).await?) {
                Ok(paths) => return Ok(paths.iter().map(|path| files::resolved(path)).collect()),
                Err(reason) => contradiction = Some(reason),
            }
        }
        Err(HostError::Program {
            program: self.program.clone(),
            args: argv(&["list"]).map(str::to_owned).collect(),
            status: "an answer that contradicts itself".to_owned(),
            output: contradiction.unwrap_or_default(),
        })
    }

    async fn start(&self, vmx: &Path, limit: Duration) -> Result<()> {
        if is_running(self, vmx).await? {
            return Ok(());
        }
        let until = clock::monotonic() + limit;
        let path = text(vmx)?;
        for _ in 0..START_TRIES {
            let left = until.saturating_duration_since(clock::monotonic());
            if left.is_zero() {
                break;
            }
            let complaint = self.order(&["start", path, "nogui"], left).await?;
            if appears(self, vmx, until).await? {
                return Ok(());
            }
            if complaint.is_some() {
                return Err(refusal("start", vmx, complaint, ""));
            }
        }
        let silent = "vmrun reported success, but the VM does not run";
        Err(refusal("start", vmx, None, silent))
    }

    async fn stop(&self, vmx: &Path, how: Stop, limit: Duration) -> Result<()> {
        if !is_running(self, vmx).await? {
            return await_unlocked(vmx, self.unlock, Locks::MayBeStale).await;
        }
        let until = clock::monotonic() + limit;
        let word = match how {
            Stop::Soft => "soft",
            Stop::Hard => "hard",
        };
        let complaint = self.order(&["stop", text(vmx)?, word], limit).await?;
        let mut pauses = Pauses::default();
        while is_running(self, vmx).await? {
            // Refused outright: waiting would not help, the caller may pull the plug.
            if complaint.is_some() || clock::monotonic() >= until {
                let silent = format!("still running {} s after a {word} stop", limit.as_secs());
                return Err(refusal("stop", vmx, complaint, &silent));
            }
            pauses.next().await;
        }
        await_unlocked(vmx, self.unlock, Locks::AreLive).await
    }

    async fn snapshot(&self, vmx: &Path, name: &str, limit: Duration) -> Result<()> {
        if self.has_snapshot(vmx, name).await? {
            return Ok(());
        }
        let complaint = self.order(&["snapshot", text(vmx)?, name], limit).await?;
        if self.has_snapshot(vmx, name).await? {
            return Ok(());
        }
        Err(refusal("snapshot", vmx, complaint, "vmrun reported success, but there is no snapshot"))
    }

    async fn snapshots(&self, vmx: &Path) -> Result<Vec<String>> {
        let args = ["listSnapshots", text(vmx)?];
        let lines = self.ask(&args).await?;
        let start = lines.iter().position(|line| line.starts_with("Total snapshots:"));
        match start {
            Some(start) => Ok(lines[start + 1..].iter().map(|name| name.trim().to_owned()).collect()),
            None => Err(HostError::Program {
                program: self.program.clone(),
                args: argv(&args).map(str::to_owned).collect(),
                status: "an answer without a total".to_owned(),
                output: lines.join("\n"),
            }),
        }
    }

    async fn clone_vm(
        &self,
        from: &Path,
        to: &Path,
        how: Clone,
        snapshot: &str,
        name: &str,
        limit: Duration,
    ) -> Result<()> {
        if files::exists(to) {
            return Err(refusal("clone to", to, None, "there is a VM already"));
        }
        let how = match how {
            Clone::Linked => "linked",
            Clone::Full => "full",
        };
        let (snapshot, name) = (format!("-snapshot={snapshot}"), format!("-cloneName={name}"));
        let args = ["clone", text(from)?, text(to)?, how, &snapshot, &name];
        let complaint = self.order(&args, limit).await?;
        // A clone that Fusion complains about may lack a disk; only a silent one counts.
        if complaint.is_none() && is_whole(to)? {
            return Ok(());
        }
        let silent = "vmrun reported success, but the clone has no VMX or no disk";
        Err(refusal("clone", from, complaint, silent))
    }

    async fn delete(&self, vmx: &Path, limit: Duration) -> Result<()> {
        if !files::exists(vmx) {
            return Ok(());
        }
        let complaint = self.order(&["deleteVM", text(vmx)?], limit).await?;
        if !files::exists(vmx) {
            return Ok(());
        }
        Err(refusal("delete", vmx, complaint, "vmrun reported success, but the VM is still there"))
    }

    /// vmrun names one address of the VM without saying of which card; what cannot be a guest's is left out.
    /// Never with `-wait`, which has no end of its own.
    async fn address(&self, vmx: &Path, _mac: Mac) -> Result<Option<Ipv4Addr>> {
        let finished = self.run(&["getGuestIPAddress", text(vmx)?], self.query).await?;
        if complaint(&finished).is_some() {
            return Ok(None);
        }
        let addresses = lines(&finished).into_iter().filter_map(|line| line.trim().parse().ok());
        Ok(addresses.into_iter().find_map(dial::guest_address))
    }
}

fn argv<'a>(args: &'a [&'a str]) -> impl Iterator<Item = &'a str> {
    ["-T", "fusion"].into_iter().chain(args.iter().copied())
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().ok_or_else(|| HostError::Content {
        path: path.to_owned(),
        reason: "its name is not UTF-8, which Fusion's programs need".to_owned(),
    })
}

/// Returns the lines of standard output without the noise that Fusion's libraries print
/// (facts/vmrun-vmrest.md §1.3). Standard error is never judged: macOS chatters there.
fn lines(finished: &Finished) -> Vec<String> {
    let text = finished.text();
    let lines = text.lines().map(str::trim_end);
    lines.filter(|line| !line.is_empty() && !is_noise(line)).map(str::to_owned).collect()
}

fn is_noise(line: &str) -> bool {
    line.contains("| ServiceImpl_Opener:") || line.starts_with("objc[")
}

/// Returns what vmrun complains of: its `Error:` line, or its exit status if it has no words.
fn complaint(finished: &Finished) -> Option<String> {
    let lines = lines(finished);
    let said = lines.iter().find_map(|line| line.strip_prefix("Error: "));
    match said {
        Some(said) => Some(said.to_owned()),
        None if finished.success() => None,
        None if lines.is_empty() => Some(format!("vmrun ended with {}", finished.status)),
        None => Some(lines.join(" ")),
    }
}

/// Reads `vmrun list`'s answer; an error says how it contradicts itself.
fn read_list(lines: &[String]) -> Result<Vec<PathBuf>, String> {
    const TOTAL: &str = "Total running VMs:";
    let all = || lines.join("\n");
    let Some(start) = lines.iter().position(|line| line.starts_with(TOTAL)) else {
        return Err(format!("no total in: {}", all()));
    };
    let paths: Vec<PathBuf> = lines[start + 1..].iter().map(PathBuf::from).collect();
    let total: usize = lines[start][TOTAL.len()..].trim().parse().map_err(|_| all())?;
    if total == paths.len() && paths.iter().all(|path| path.is_absolute()) {
        Ok(paths)
    } else {
        Err(format!("{total} running VMs, but these lines: {}", all()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fusion::fake::Fake;
    use crate::host::fusion::observe::is_among;

    const LIMIT: Duration = Duration::from_secs(10);

    /// A vmrun that keeps the running VMs in a file and obeys, unless `$FOLDER/fault` names how not to.
    const VMRUN: &str = r#"
shift 2
fault=$(cat "$FOLDER/fault" 2>/dev/null)
touch "$FOLDER/running" "$FOLDER/snapshots"
case "$1" in
list)
    echo "2026-11-23T10:00:00.000| ServiceImpl_Opener: PID 4711"
    [ "$fault" = miscount ] && echo "Total running VMs: 7" && exit 0
    echo "Total running VMs: $(wc -l < "$FOLDER/running" | tr -d ' ')"; cat "$FOLDER/running" ;;
start)
    [ "$fault" = cancel ] && echo "Error: The operation was canceled" && exit 255
    if [ "$fault" = sleepy ]; then rm "$FOLDER/fault"; exit 0; fi
    echo "$2" >> "$FOLDER/running"
    [ "$fault" = liar ] && echo "Error: Cannot connect to the virtual machine" && exit 255
    exit 0 ;;
stop)
    [ "$fault" = notools ] && [ "$3" = soft ] && echo "Error: The VMware Tools are not running: $2" && exit 255
    : > "$FOLDER/running"; rm -rf "$2.lck" ;;
listSnapshots) echo "Total snapshots: $(wc -l < "$FOLDER/snapshots" | tr -d ' ')"; cat "$FOLDER/snapshots" ;;
snapshot) echo "$3" >> "$FOLDER/snapshots" ;;
clone)
    [ "$fault" = invalid ] && echo "Error: One of the parameters was invalid" && exit 255
    mkdir -p "$(dirname "$3")"; touch "$3"; [ "$fault" = diskless ] || touch "$(dirname "$3")/disk-cl1.vmdk" ;;
deleteVM) [ "$fault" = stuck ] || rm -f "$2" ;;
getGuestIPAddress)
    if [ "$fault" = unknown ]; then echo unknown; else echo 10.10.0.131; fi ;;
esac
"#;

    fn setup() -> (Fake, Vmrun, PathBuf) {
        let fake = Fake::new();
        fake.program("vmrun", VMRUN);
        let vmrun = Vmrun::new(fake.fusion(), LIMIT, Duration::from_millis(300));
        let vmx = fake.root().join("one.vmwarevm/one.vmx");
        files::create_dir(vmx.parent().unwrap()).unwrap();
        files::write_atomic(&vmx, b"", 0o644).unwrap();
        (fake, vmrun, vmx)
    }

    fn message(error: HostError) -> (String, Option<String>) {
        match error {
            HostError::Fusion { message, cause, .. } => (message, cause),
            other => panic!("expected Fusion's refusal, not {other}"),
        }
    }

    #[tokio::test]
    async fn a_vm_is_started_without_a_window_and_stopped_once() {
        let (fake, vmrun, vmx) = setup();
        vmrun.start(&vmx, LIMIT).await.unwrap();
        vmrun.start(&vmx, LIMIT).await.unwrap();
        assert!(is_among(&vmrun.running().await.unwrap(), &vmx));
        vmrun.stop(&vmx, Stop::Soft, LIMIT).await.unwrap();
        vmrun.stop(&vmx, Stop::Hard, LIMIT).await.unwrap();
        let path = vmx.display().to_string();
        assert_eq!(
            fake.orders(&["list"]),
            [format!("vmrun|-T|fusion|start|{path}|nogui"), format!("vmrun|-T|fusion|stop|{path}|soft")]
        );
    }

    #[tokio::test]
    async fn what_the_list_says_counts_more_than_what_start_says() {
        let (fake, vmrun, vmx) = setup();
        fake.fault("liar");
        vmrun.start(&vmx, LIMIT).await.unwrap();

        let (fake, vmrun, vmx) = setup();
        fake.fault("sleepy");
        vmrun.start(&vmx, LIMIT).await.unwrap();
        assert_eq!(fake.orders(&["list"]).len(), 2, "a start that did nothing is repeated");

        let (fake, vmrun, _) = setup();
        fake.fault("miscount");
        let error = vmrun.running().await.unwrap_err().to_string();
        assert!(error.contains("contradicts itself"), "{error}");
    }

    #[tokio::test]
    async fn a_refused_start_comes_with_its_cause() {
        let (fake, vmrun, vmx) = setup();
        fake.fault("cancel");
        let log = "2026-11-23T10:00:00.1Z In(05) vmx Msg_Post: Error\n2026-11-23T10:00:00.1Z In(05) vmx [msg.disk.noBackEnd] \
Cannot open the disk '/x/disk.vmdk'.\n2026-11-23T10:00:00.1Z In(05) vmx ----------------------------------------\n";
        files::write_atomic(&vmx.with_file_name("vmware.log"), log.as_bytes(), 0o644).unwrap();
        let (said, cause) = message(vmrun.start(&vmx, LIMIT).await.unwrap_err());
        assert_eq!(said, "The operation was canceled");
        assert_eq!(cause.as_deref(), Some("Cannot open the disk '/x/disk.vmdk'."));
    }

    #[tokio::test]
    async fn a_guest_without_tools_refuses_the_soft_stop_at_once() {
        let (fake, vmrun, vmx) = setup();
        vmrun.start(&vmx, LIMIT).await.unwrap();
        fake.fault("notools");
        let (said, _) = message(vmrun.stop(&vmx, Stop::Soft, LIMIT).await.unwrap_err());
        assert!(said.starts_with("The VMware Tools are not running"));
        vmrun.stop(&vmx, Stop::Hard, LIMIT).await.unwrap();
    }

    #[tokio::test]
    async fn a_stop_ends_when_fusion_lets_go_of_the_files() {
        let (_fake, vmrun, vmx) = setup();
        vmrun.start(&vmx, LIMIT).await.unwrap();
        let lock = vmx.with_file_name("disk.vmdk.lck");
        files::create_dir(&lock).unwrap();
        let error = vmrun.stop(&vmx, Stop::Hard, LIMIT).await.unwrap_err();
        assert!(matches!(error, HostError::Deadline { .. }), "{error}");
        // By now the lock is older than the limit: what a crash left does not hold us for ever.
        vmrun.stop(&vmx, Stop::Hard, LIMIT).await.unwrap();
    }

    #[tokio::test]
    async fn a_snapshot_is_taken_once_and_cloned_from_by_name() {
        let (fake, vmrun, vmx) = setup();
        vmrun.snapshot(&vmx, "fusionlab", LIMIT).await.unwrap();
        vmrun.snapshot(&vmx, "fusionlab", LIMIT).await.unwrap();
        assert_eq!(vmrun.snapshots(&vmx).await.unwrap(), ["fusionlab"]);
        let to = fake.root().join("two.vmwarevm/two.vmx");
        vmrun.clone_vm(&vmx, &to, Clone::Linked, "fusionlab", "lab two", LIMIT).await.unwrap();
        let (from, to_text) = (vmx.display(), to.display());
        assert_eq!(
            fake.orders(&["listSnapshots"]),
            [
                format!("vmrun|-T|fusion|snapshot|{from}|fusionlab"),
                format!(
                    "vmrun|-T|fusion|clone|{from}|{to_text}|linked|-snapshot=fusionlab|-cloneName=lab two"
                ),
            ]
        );
        let again = vmrun.clone_vm(&vmx, &to, Clone::Full, "fusionlab", "two", LIMIT).await;
        assert_eq!(message(again.unwrap_err()).0, "there is a VM already");
    }

    #[tokio::test]
    async fn a_clone_that_failed_or_has_no_disk_is_none() {
        for (fault, said) in [
            ("invalid", "One of the parameters was invalid"),
            ("diskless", "vmrun reported success, but the clone has no VMX or no disk"),
        ] {
            let (fake, vmrun, vmx) = setup();
            fake.fault(fault);
            let to = fake.root().join("two.vmwarevm/two.vmx");
            let error = vmrun.clone_vm(&vmx, &to, Clone::Linked, "s", "two", LIMIT).await.unwrap_err();
            assert_eq!(message(error).0, said);
        }
    }

    #[tokio::test]
    async fn deletion_is_what_is_gone() {
        let (fake, vmrun, vmx) = setup();
        fake.fault("stuck");
        assert!(vmrun.delete(&vmx, LIMIT).await.is_err());
        fake.fault("");
        vmrun.delete(&vmx, LIMIT).await.unwrap();
        vmrun.delete(&vmx, LIMIT).await.unwrap();
    }

    #[tokio::test]
    async fn an_address_is_asked_for_without_waiting() {
        let (fake, vmrun, vmx) = setup();
        let mac = Mac::new([0, 0x50, 0x56, 0, 0, 1]);
        assert_eq!(vmrun.address(&vmx, mac).await.unwrap(), Some(Ipv4Addr::new(10, 10, 0, 131)));
        fake.fault("unknown");
        assert_eq!(vmrun.address(&vmx, mac).await.unwrap(), None);
        let order = format!("vmrun|-T|fusion|getGuestIPAddress|{}", vmx.display());
        assert_eq!(fake.orders(&[]), [order.clone(), order]);
    }
}
