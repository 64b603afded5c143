//! `vmrun`: Fusion's program for VMs, believed only as far as `vmrun list` and the VM's files confirm it.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use async_trait::async_trait;

use super::Fusion;
use super::observe::{is_running, is_whole};
use super::power::{self, Power, Switch};
use super::refusal::Order;
use super::verbs::{self, Again, Deadlines, Said, Tries, Verb, Verdict};
use crate::formats::mac::Mac;
use crate::host::process::{self, Finished, Options};
use crate::host::{Clone, HostError, Hypervisor, Result, Stop, dial, files};

/// A start without a window fails under a stricter mask (facts/vmrun-vmrest.md §1.5).
const UMASK: libc::mode_t = 0o022;

/// The `vmrun` driver.
#[derive(Clone, Debug)]
pub struct Vmrun {
    fusion: Fusion,
    program: PathBuf,
    deadlines: Deadlines,
}

impl Vmrun {
    pub fn new(fusion: Fusion, deadlines: Deadlines) -> Self {
        let program = fusion.program("vmrun");
        Self { fusion, program, deadlines }
    }

    pub fn fusion(&self) -> &Fusion {
        &self.fusion
    }

    /// Runs `vmrun -T fusion …` once: without `-T` linked clones broke on other products (facts §1.1).
    async fn run(&self, verb: &Verb, args: &[&str]) -> Result<Finished> {
        let mut options = Options::limit((verb.limit)(&self.deadlines));
        // What `start` starts must outlive a vmrun that hangs or that we leave.
        options.spare_children = true;
        options.outlives = verb.outlives;
        options.umask = Some(UMASK);
        process::run(&self.program, argv(args), options).await
    }

    /// Gives an order once. Its own opinion comes back: the caller looks at the world before it believes that.
    async fn order(&self, verb: &Verb, args: &[&str]) -> Result<Said> {
        match self.run(verb, args).await {
            Ok(finished) => Ok(complaint(&finished).map_or(Said::Nothing, Said::Complaint)),
            Err(HostError::Deadline { limit, .. }) => {
                let text = format!("vmrun {} did not end within {} s", verb.name, limit.as_secs());
                Ok(Said::Hung(text))
            }
            Err(error) => Err(error),
        }
    }

    /// Asks a question, and reads the answer's lines, which are without noise. An answer that cannot be read is asked for
    /// again, as the table says.
    async fn ask<T>(
        &self,
        verb: &'static Verb,
        args: &[&str],
        read: impl Fn(&[String]) -> Result<T, String> + Send + Sync,
    ) -> Result<T> {
        let mut tries = Tries::of(verb);
        loop {
            let (error, again) = match self.run(verb, args).await {
                Ok(finished) => match complaint(&finished) {
                    Some(said) => {
                        let passes = verbs::meaning(&said).passes;
                        (finished.error(&self.program, argv(args)), passes.then_some(Again::Busy))
                    }
                    None => match read(&lines(&finished)) {
                        Ok(answer) => return Ok(answer),
                        Err(reason) => (self.nonsense(args, reason), Some(Again::Nonsense)),
                    },
                },
                Err(error @ HostError::Deadline { .. }) => (error, Some(Again::Hang)),
                Err(error) => return Err(error),
            };
            match again {
                Some(again) if tries.another(again).await => {}
                _ => return Err(error),
            }
        }
    }

    fn nonsense(&self, args: &[&str], output: String) -> HostError {
        HostError::Program {
            program: self.program.clone(),
            args: argv(args).map(str::to_owned).collect(),
            status: "an answer that contradicts itself".to_owned(),
            output,
        }
    }

    async fn has_snapshot(&self, vmx: &Path, name: &str) -> Result<bool> {
        Ok(self.snapshots(vmx).await?.iter().any(|snapshot| snapshot == name))
    }
}

#[async_trait]
impl Switch for Vmrun {
    fn deadlines(&self) -> &Deadlines {
        &self.deadlines
    }

    async fn switch(&self, vmx: &Path, how: Power) -> Result<Said> {
        let path = text(vmx)?;
        match how {
            Power::On => self.order(how.verb(), &["start", path, "nogui"]).await,
            Power::Soft => self.order(how.verb(), &["stop", path, "soft"]).await,
            Power::Hard => self.order(how.verb(), &["stop", path, "hard"]).await,
        }
    }
}

#[async_trait]
impl Hypervisor for Vmrun {
    async fn running(&self) -> Result<BTreeSet<PathBuf>> {
        let paths = self.ask(&verbs::LIST, &["list"], read_list).await?;
        Ok(paths.iter().map(|path| files::resolved(path)).collect())
    }

    async fn start(&self, vmx: &Path) -> Result<()> {
        power::start(self, vmx).await
    }

    async fn stop(&self, vmx: &Path, how: Stop) -> Result<()> {
        power::stop(self, vmx, how).await
    }

    async fn snapshot(&self, vmx: &Path, name: &str) -> Result<()> {
        if self.has_snapshot(vmx, name).await? {
            return Ok(());
        }
        let order = Order::about("snapshot", vmx);
        let mut tries = Tries::of(&verbs::SNAPSHOT);
        loop {
            let said = self.order(&verbs::SNAPSHOT, &["snapshot", text(vmx)?, name]).await?;
            let seen = self.has_snapshot(vmx, name).await?;
            match tries.judge(&said, seen).await {
                Verdict::Done => return Ok(()),
                Verdict::Again => {}
                Verdict::Failed => {
                    return Err(order.refused(said, "success was reported, but there is no snapshot"));
                }
            }
        }
    }

    async fn snapshots(&self, vmx: &Path) -> Result<Vec<String>> {
        self.ask(&verbs::QUERY, &["listSnapshots", text(vmx)?], read_snapshots).await
    }

    async fn clone_vm(&self, from: &Path, to: &Path, how: Clone, snapshot: &str, name: &str) -> Result<()> {
        let order = Order::about("clone", from);
        let how = match how {
            Clone::Linked => "linked",
            Clone::Full => "full",
        };
        let (snapshot, name) = (format!("-snapshot={snapshot}"), format!("-cloneName={name}"));
        let args = ["clone", text(from)?, text(to)?, how, &snapshot, &name];
        let mut tries = Tries::of(&verbs::CLONE);
        loop {
            // Also after a try that failed half-way: a second one would not take its place.
            must_be_absent(to)?;
            let said = self.order(&verbs::CLONE, &args).await?;
            let seen = is_whole(to)?;
            match tries.judge(&said, seen).await {
                Verdict::Done => return Ok(()),
                Verdict::Again => {}
                Verdict::Failed => {
                    let silent = "success was reported, but the clone has no VMX or no disk";
                    return Err(order.refused(said, silent));
                }
            }
        }
    }

    async fn delete(&self, vmx: &Path) -> Result<()> {
        if !files::exists(vmx) {
            return Ok(());
        }
        let order = Order::about("delete", vmx);
        let mut tries = Tries::of(&verbs::DELETE);
        loop {
            let said = self.order(&verbs::DELETE, &["deleteVM", text(vmx)?]).await?;
            match tries.judge(&said, !files::exists(vmx)).await {
                Verdict::Done => return Ok(()),
                Verdict::Again => {}
                Verdict::Failed => {
                    return Err(order.refused(said, "success was reported, but the VM is still there"));
                }
            }
        }
    }

    /// vmrun names one address of the VM without saying of which card; what cannot be a guest's is left out.
    ///
    /// A VM without a window may be said not to run, or to have no tools, although all is well; with `-wait` it is not, but
    /// that waits for ever (facts/vmrun-vmrest.md §1.5). So it is asked with it only then, and not for long.
    async fn address(&self, vmx: &Path, _mac: Mac) -> Result<Option<Ipv4Addr>> {
        let path = text(vmx)?;
        let known = |finished: &Finished| {
            let addresses = lines(finished).into_iter().filter_map(|line| line.trim().parse().ok());
            addresses.into_iter().find_map(dial::guest_address)
        };
        let ended = self.run(&verbs::ADDRESS, &["getGuestIPAddress", path]).await;
        let finished = match ended {
            Err(HostError::Deadline { .. }) => return Ok(None),
            other => other?,
        };
        let Some(_) = complaint(&finished) else { return Ok(known(&finished)) };
        if !is_running(self, vmx).await? {
            return Ok(None);
        }
        match self.run(&verbs::ADDRESS_WAIT, &["getGuestIPAddress", path, "-wait"]).await {
            Ok(finished) if complaint(&finished).is_none() => Ok(known(&finished)),
            Ok(_) | Err(HostError::Deadline { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn variable(&self, vmx: &Path, name: &str) -> Result<Option<String>> {
        let args = ["readVariable", text(vmx)?, "guestVar", name];
        let value = self.ask(&verbs::QUERY, &args, |lines| Ok(lines.join("\n"))).await?;
        Ok(Some(value).filter(|value| !value.is_empty()))
    }
}

/// Makes sure that a clone takes nobody's place.
pub(super) fn must_be_absent(vmx: &Path) -> Result<()> {
    match files::exists(vmx) {
        true => Err(Order::about("clone to", vmx).refused(Said::Nothing, "a VM already exists there")),
        false => Ok(()),
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

/// Says whether a line is of a library's log, and no answer.
fn is_noise(line: &str) -> bool {
    const CHATTER: &[&str] = &["objc[", "CFPasteboard", "Unexpected signal:"];
    if line.starts_with('/') {
        return false;
    }
    // `2026-11-23T10:00:00.000| ServiceImpl_Opener: PID 4711`.
    let stamped = line.split_once("| ").is_some_and(|(stamp, _)| {
        stamp.contains('T') && stamp.starts_with(|char: char| char.is_ascii_digit()) && !stamp.contains(' ')
    });
    stamped || CHATTER.iter().any(|chatter| line.contains(chatter))
}

/// Returns what vmrun complains of: its `Error:` line, or its exit status if it has no words.
fn complaint(finished: &Finished) -> Option<String> {
    const PREFIX: &str = "Error:";
    let lines = lines(finished);
    let Some(at) = lines.iter().position(|line| line.starts_with(PREFIX)) else {
        return match (finished.success(), lines.is_empty()) {
            (true, _) => None,
            (false, true) => Some(format!("vmrun ended with {}", finished.status)),
            (false, false) => Some(lines.join(" ")),
        };
    };
    let said = lines[at][PREFIX.len()..].trim();
    // `Unable to connect to host.` stands before an error that tells less.
    let before = lines[..at].iter().filter(|line| verbs::meaning(line).passes);
    Some(before.map(String::as_str).chain([said]).collect::<Vec<_>>().join(" "))
}

/// Reads `vmrun list`'s answer; an error says how it contradicts itself.
fn read_list(lines: &[String]) -> Result<Vec<PathBuf>, String> {
    let paths: Vec<PathBuf> = counted(lines, "Total running VMs:")?.iter().map(PathBuf::from).collect();
    match paths.iter().all(|path| path.is_absolute()) {
        true => Ok(paths),
        false => Err(format!("no path in one of these lines: {}", lines.join("\n"))),
    }
}

fn read_snapshots(lines: &[String]) -> Result<Vec<String>, String> {
    let names = counted(lines, "Total snapshots:")?;
    Ok(names.iter().map(|name| name.trim().to_owned()).collect())
}

/// Returns the lines after a total, if there are as many as that says.
fn counted<'a>(lines: &'a [String], total: &str) -> Result<&'a [String], String> {
    let all = || lines.join("\n");
    let start = lines.iter().position(|line| line.starts_with(total));
    let start = start.ok_or_else(|| format!("no total in: {}", all()))?;
    let count: usize = lines[start][total.len()..].trim().parse().map_err(|_| all())?;
    let rest = &lines[start + 1..];
    if rest.len() == count { Ok(rest) } else { Err(format!("{count} are counted in: {}", all())) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fusion::fake::Fake;
    use crate::host::fusion::observe::is_among;

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
    if [ "$fault" = cancel ]; then
        printf '%s\n' 'T In(05) vmx Msg_Post: Error' 'T In(05) vmx [msg.a] Cannot open the disk.' 'T In(05) vmx ----' \
            >> "$(dirname "$2")/vmware.log"
        echo "Error: The operation was canceled"; exit 255
    fi
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
        let vmrun = Vmrun::new(fake.fusion(), fake.deadlines());
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
        vmrun.start(&vmx).await.unwrap();
        vmrun.start(&vmx).await.unwrap();
        assert!(is_among(&vmrun.running().await.unwrap(), &vmx));
        vmrun.stop(&vmx, Stop::Soft).await.unwrap();
        vmrun.stop(&vmx, Stop::Hard).await.unwrap();
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
        vmrun.start(&vmx).await.unwrap();

        let (fake, vmrun, vmx) = setup();
        fake.fault("sleepy");
        vmrun.start(&vmx).await.unwrap();
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
        let (said, cause) = message(vmrun.start(&vmx).await.unwrap_err());
        assert_eq!(said, "The operation was canceled");
        assert_eq!(cause.as_deref(), Some("Cannot open the disk."));
    }

    #[tokio::test]
    async fn a_guest_without_tools_refuses_the_soft_stop_at_once() {
        let (fake, vmrun, vmx) = setup();
        vmrun.start(&vmx).await.unwrap();
        fake.fault("notools");
        let (said, _) = message(vmrun.stop(&vmx, Stop::Soft).await.unwrap_err());
        assert!(said.starts_with("The VMware Tools are not running"));
        vmrun.stop(&vmx, Stop::Hard).await.unwrap();
    }

    #[tokio::test]
    async fn a_stop_ends_when_fusion_lets_go_of_the_files() {
        let (fake, vmrun, vmx) = setup();
        vmrun.start(&vmx).await.unwrap();
        fake.write(&vmx.with_file_name("disk.vmdk.lck/M1.lck"), "nonsense");
        let error = vmrun.stop(&vmx, Stop::Hard).await.unwrap_err();
        assert!(matches!(error, HostError::VmLocked { .. }), "{error}");
        // By now the lock is older than the limit: what a crash left does not hold us for ever.
        vmrun.stop(&vmx, Stop::Hard).await.unwrap();
    }

    #[tokio::test]
    async fn a_snapshot_is_taken_once_and_cloned_from_by_name() {
        let (fake, vmrun, vmx) = setup();
        vmrun.snapshot(&vmx, "fusionlab").await.unwrap();
        vmrun.snapshot(&vmx, "fusionlab").await.unwrap();
        assert_eq!(vmrun.snapshots(&vmx).await.unwrap(), ["fusionlab"]);
        let to = fake.root().join("two.vmwarevm/two.vmx");
        vmrun.clone_vm(&vmx, &to, Clone::Linked, "fusionlab", "lab two").await.unwrap();
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
        let again = vmrun.clone_vm(&vmx, &to, Clone::Full, "fusionlab", "two").await;
        assert_eq!(message(again.unwrap_err()).0, "a VM already exists there");
    }

    #[tokio::test]
    async fn a_clone_that_failed_or_has_no_disk_is_none() {
        for (fault, said) in [
            ("invalid", "One of the parameters was invalid"),
            ("diskless", "success was reported, but the clone has no VMX or no disk"),
        ] {
            let (fake, vmrun, vmx) = setup();
            fake.fault(fault);
            let to = fake.root().join("two.vmwarevm/two.vmx");
            let error = vmrun.clone_vm(&vmx, &to, Clone::Linked, "s", "two").await.unwrap_err();
            assert_eq!(message(error).0, said);
        }
    }

    #[tokio::test]
    async fn deletion_is_what_is_gone() {
        let (fake, vmrun, vmx) = setup();
        fake.fault("stuck");
        assert!(vmrun.delete(&vmx).await.is_err());
        fake.fault("");
        vmrun.delete(&vmx).await.unwrap();
        vmrun.delete(&vmx).await.unwrap();
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
