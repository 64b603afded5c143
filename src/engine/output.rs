//! What the commands of a step print, in a file of its own in the run's folder; of a flood, its head and its tail.
//!
//! ```text
//! Engine::run ─────▶ Entry (one command) ──▶ StepOutput ──▶ logs/<when>-<pid>/vm.clone-k8s-master1.log
//! process::run ──▲                               └──▶ Event::Line, a bounded number of them
//! ```
//!
//! Memory is bounded whatever a guest prints: an entry holds `HELD` bytes, a step [`TAIL`].

use std::collections::VecDeque;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use crate::formats::command::Command;
use crate::formats::printable;
use crate::host::process::{Finished, Witness};
use crate::host::{LineSink, Output, Result, clock, files};
use crate::plan::step::StepId;
use crate::stack::secrets::Secrets;

/// Runs whose folders are kept, this one included.
pub const KEPT_RUNS: usize = 10;
/// How many bytes of a step's output are kept from its beginning.
pub const HEAD: usize = 4 * 1024 * 1024;
/// How many bytes of a step's output are kept from its end, if it is longer.
pub const TAIL: usize = 256 * 1024;
/// A command that prints no more than this stands in one piece, and is written once however often it is repeated.
const HELD: usize = 8 * 1024;
/// So many of a step's lines are told as they come; of more, the last [`LINES_TOLD_LAST`].
const LINES_TOLD: usize = 1_000;
const LINES_TOLD_LAST: usize = 12;

/// What this machine is called beside the guests.
const HERE: &str = "host";

/// How much of a machine's serial console is read at a time.
pub const CONSOLE_READ: u64 = 1024 * 1024;

/// The folder of one run's files: its events, and the output of each step.
#[derive(Clone, Debug)]
pub struct RunFolder(PathBuf);

impl RunFolder {
    /// Makes the folder of a run that begins now, and removes the oldest ones.
    pub fn open(logs: &Path) -> Result<Self> {
        files::create_private_dir(logs)?;
        let runs = files::list(logs)?;
        let surplus = (runs.len() + 1).saturating_sub(KEPT_RUNS);
        for run in runs.iter().take(surplus) {
            files::remove_tree(run, logs)?;
        }
        // Two runs may begin in one second; a name without a colon can be typed anywhere.
        let name = format!("{}-{}", clock::rfc3339(clock::now()).replace(':', "-"), std::process::id());
        let folder = logs.join(name);
        files::create_private_dir(&folder)?;
        Ok(Self(folder))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Returns the file of a step's output, which is there once the step has run a command.
    pub fn file_of(&self, step: &StepId) -> PathBuf {
        self.0.join(format!("{}.log", step.as_str().replace('/', "-")))
    }

    /// Returns the closest place to look at for a step: its file, or the folder if it has none.
    pub fn place_of(&self, step: &StepId) -> PathBuf {
        let file = self.file_of(step);
        if files::exists(&file) { file } else { self.0.clone() }
    }
}

/// The output of one step. What cannot be written is left out: a log must not stop a run.
pub struct StepOutput {
    secrets: Arc<RwLock<Secrets>>,
    pages: Mutex<Pages>,
}

#[derive(Default)]
struct Pages {
    /// None for verbs that keep no logs.
    path: Option<PathBuf>,
    file: Option<File>,
    head: usize,
    /// Lines beyond the head as they came; they are cleaned if they are still here in the end.
    tail: VecDeque<String>,
    tail_bytes: usize,
    left_out: u64,
    /// The last whole entry, and how often it came again since.
    last: String,
    repeats: u32,
    told: usize,
    untold: VecDeque<String>,
}

impl StepOutput {
    /// The output of a step that begins, or that is tried again. Without a path, nothing is kept.
    pub fn new(path: Option<PathBuf>, secrets: Arc<RwLock<Secrets>>) -> Self {
        let head = path.as_deref().and_then(|path| files::size(path).ok()).unwrap_or(0);
        let head = usize::try_from(head).unwrap_or(usize::MAX);
        Self { secrets, pages: Mutex::new(Pages { path, head, ..Pages::default() }) }
    }

    /// Begins the entry of a command on a node.
    pub fn command(self: &Arc<Self>, node: &str, command: &Command) -> Arc<Entry> {
        let line = self.clean(&printable::line(&command.shell_line()));
        let time = clock::time_of_day(clock::now());
        let text = Mutex::new(Text::Held { lines: Vec::new(), bytes: 0 });
        Arc::new(Entry { output: self.clone(), title: format!("{node} $ {line}"), time, text })
    }

    /// Returns who writes down what programs of this machine print while the step is at work.
    pub fn witness(self: &Arc<Self>) -> Witness {
        let output = self.clone();
        Arc::new(move |command| {
            let entry = output.command(HERE, command);
            Box::new(move |outcome| {
                let printed = outcome.as_ref().map(Finished::output).unwrap_or_default();
                printed.lines().for_each(|line| entry.line(line));
                let ended =
                    |finished: &Finished| Output { status: finished.status.code(), ..Output::default() };
                entry.end(&outcome.as_ref().map(ended));
            })
        })
    }

    /// Writes a line that is no command's.
    pub fn line(&self, line: &str) {
        let mut pages = self.pages();
        self.end_repeats(&mut pages);
        self.write(&mut pages, line);
    }

    /// Says whether a line is to be told now; if not, it may be among the last ones.
    pub fn may_tell(&self, line: &str) -> bool {
        let mut pages = self.pages();
        if pages.told < LINES_TOLD {
            pages.told += 1;
            return true;
        }
        if pages.untold.len() == LINES_TOLD_LAST {
            pages.untold.pop_front();
        }
        pages.untold.push_back(printable::line(line));
        false
    }

    /// Takes the last lines of those that were not told as they came.
    pub fn untold(&self) -> Vec<String> {
        std::mem::take(&mut self.pages().untold).into()
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn clean(&self, line: &str) -> String {
        let secrets = self.secrets.read().unwrap_or_else(PoisonError::into_inner);
        secrets.conceal(&printable::printable(line))
    }

    fn write(&self, pages: &mut Pages, line: &str) {
        if pages.head >= HEAD {
            pages.push_tail(line);
            return;
        }
        let text = self.clean(line);
        pages.head += text.len() + 1;
        pages.append(&text);
    }

    fn end_repeats(&self, pages: &mut Pages) {
        let repeats = std::mem::take(&mut pages.repeats);
        if repeats > 0 {
            let times = if repeats == 1 { "once" } else { &format!("{repeats} times") };
            self.write(pages, &format!("[the same {times} more]"));
        }
    }
}

impl Drop for StepOutput {
    fn drop(&mut self) {
        let mut pages = std::mem::take(self.pages.get_mut().unwrap_or_else(PoisonError::into_inner));
        self.end_repeats(&mut pages);
        if pages.left_out > 0 {
            let left_out = pages.left_out;
            pages.append(&format!(
                "[{left_out} bytes are left out here: of a step's output the first {HEAD} and the last {TAIL} are kept]"
            ));
        }
        for line in std::mem::take(&mut pages.tail) {
            pages.append(&self.clean(&line));
        }
    }
}

impl Pages {
    fn push_tail(&mut self, line: &str) {
        self.tail_bytes += line.len() + 1;
        self.tail.push_back(line.to_owned());
        while self.tail_bytes > TAIL {
            let Some(first) = self.tail.pop_front() else { break };
            self.tail_bytes -= first.len() + 1;
            self.left_out += first.len() as u64 + 1;
        }
    }

    fn append(&mut self, line: &str) {
        let Some(path) = &self.path else { return };
        if self.file.is_none() {
            self.file = files::open_to_append(path, files::PRIVATE_FILE).ok();
        }
        if let Some(file) = &mut self.file {
            let _ = file.write_all(format!("{line}\n").as_bytes());
        }
    }
}

/// What one command prints, until its end.
pub struct Entry {
    output: Arc<StepOutput>,
    /// `k8s-master1 $ kubeadm init …`.
    title: String,
    time: String,
    text: Mutex<Text>,
}

enum Text {
    /// Little so far: it stands in one piece, whatever runs beside it.
    Held {
        lines: Vec<String>,
        bytes: usize,
    },
    /// Its beginning is written.
    Streaming,
    Ended,
}

impl Entry {
    /// Takes the command's lines.
    pub fn sink(self: &Arc<Self>) -> LineSink {
        let entry = self.clone();
        Box::new(move |line| entry.line(line))
    }

    /// Writes what there is, and from now on each line as it comes.
    pub fn stream(&self) {
        let mut text = self.text();
        if let Text::Held { lines, .. } = std::mem::replace(&mut *text, Text::Streaming) {
            let mut pages = self.output.pages();
            self.output.end_repeats(&mut pages);
            pages.last.clear();
            self.output.write(&mut pages, &format!("{} {}", self.time, self.title));
            lines.iter().for_each(|line| self.output.write(&mut pages, line));
        }
    }

    fn line(&self, line: &str) {
        let mut text = self.text();
        match &mut *text {
            Text::Held { lines, bytes } => {
                *bytes += line.len() + 1;
                lines.push(line.to_owned());
                if *bytes > HELD {
                    drop(text);
                    self.stream();
                }
            }
            Text::Streaming => self.output.line(line),
            Text::Ended => {}
        }
    }

    /// Says how the command ended.
    pub fn end<E: std::fmt::Display>(&self, outcome: &std::result::Result<Output, E>) {
        let end = match outcome {
            Ok(output) if output.success() => None,
            Ok(output) => Some(match (&output.signal, output.status) {
                (Some(signal), _) => format!("[signal {signal}]"),
                (None, Some(status)) => format!("[exit status {status}]"),
                (None, None) => "[no exit status]".to_owned(),
            }),
            Err(error) => Some(format!("[{}]", printable::line(&error.to_string()))),
        };
        self.close(end);
    }

    fn close(&self, end: Option<String>) {
        let text = std::mem::replace(&mut *self.text(), Text::Ended);
        let (output, mut pages) = (&self.output, self.output.pages());
        match text {
            Text::Held { lines, .. } => {
                let whole = [&self.title].into_iter().chain(&lines).chain(&end);
                let whole = whole.map(String::as_str).collect::<Vec<_>>().join("\n");
                if whole == pages.last {
                    pages.repeats += 1;
                    return;
                }
                output.end_repeats(&mut pages);
                output.write(&mut pages, &format!("{} {}", self.time, self.title));
                lines.iter().chain(&end).for_each(|line| output.write(&mut pages, line));
                pages.last = whole;
            }
            Text::Streaming => end.iter().for_each(|line| output.write(&mut pages, line)),
            Text::Ended => {}
        }
    }

    fn text(&self) -> MutexGuard<'_, Text> {
        self.text.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        // Nobody waited for its end.
        self.close(Some("[left at this point]".to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::HostError;
    use crate::stack::fixture;

    struct Bench {
        home: tempfile::TempDir,
        output: Arc<StepOutput>,
    }

    impl Bench {
        fn new() -> Self {
            let home = tempfile::tempdir().unwrap();
            let secrets = Secrets::of(&fixture::document().1);
            let path = Some(home.path().join("step.log"));
            let output = Arc::new(StepOutput::new(path, Arc::new(RwLock::new(secrets))));
            Self { home, output }
        }

        /// Runs a command that prints something and ends with a status.
        fn command(&self, line: &str, prints: &[&str], status: i32) {
            let entry = self.output.command("gateway1", &Command::new(line.split(' ')));
            let sink = entry.sink();
            prints.iter().for_each(|line| sink(line));
            entry.end::<HostError>(&Ok(Output { status: Some(status), ..Output::default() }));
        }

        /// Ends the step; returns its file without the times.
        fn file(self) -> String {
            let path = self.home.path().join("step.log");
            drop(self.output);
            assert_eq!(files::ownership(&path).unwrap().mode & 0o777, files::PRIVATE_FILE);
            let text = files::read_text(&path).unwrap();
            let without_time = |line: &str| match line.find(" gateway1 $ ") {
                Some(at) => line[at + 1..].to_owned(),
                None => line.to_owned(),
            };
            text.lines().map(without_time).collect::<Vec<_>>().join("\n")
        }
    }

    #[test]
    fn each_command_stands_with_what_it_printed_and_how_it_ended_if_not_well() {
        let bench = Bench::new();
        bench.command("hostname", &["gateway1"], 0);
        bench.command("false", &[], 1);
        let lost = bench.output.command("gateway1", &Command::new(["reboot"]));
        lost.end(&Err(HostError::Interrupted));
        drop(bench.output.command("gateway1", &Command::new(["sleep", "9"])));
        let expected = "gateway1 $ hostname\ngateway1\ngateway1 $ false\n[exit status 1]\n\
                        gateway1 $ reboot\n[interrupted]\ngateway1 $ sleep 9\n[left at this point]";
        assert_eq!(bench.file(), expected);
    }

    #[test]
    fn what_a_probe_sees_again_and_again_is_written_once() {
        let bench = Bench::new();
        for _ in 0..500 {
            bench.command("probe", &["not yet"], 1);
        }
        bench.command("probe", &["ready"], 0);
        let entry = "gateway1 $ probe\nnot yet\n[exit status 1]\n[the same 499 times more]";
        assert_eq!(bench.file(), format!("{entry}\ngateway1 $ probe\nready"));
    }

    #[test]
    fn commands_beside_each_other_each_stand_in_one_piece() {
        let bench = Bench::new();
        let [one, two] = ["one", "two"].map(|line| bench.output.command("gateway1", &Command::new([line])));
        (one.sink())("1a");
        (two.sink())("2a");
        (one.sink())("1b");
        for entry in [two, one] {
            entry.end::<HostError>(&Ok(Output { status: Some(0), ..Output::default() }));
        }
        assert_eq!(bench.file(), "gateway1 $ two\n2a\ngateway1 $ one\n1a\n1b");
    }

    #[test]
    fn neither_secrets_nor_what_a_terminal_obeys_reach_the_file() {
        let bench = Bench::new();
        let identity = fixture::document().1;
        let key = identity.files().into_iter().find(|file| file.name == "ca.key").unwrap();
        let key = String::from_utf8(key.content).unwrap();
        bench.command("cat ca.key", &key.lines().collect::<Vec<_>>(), 0);
        bench.command("clear", &["\u{1b}[2Jcleared\u{7}\0"], 0);
        let file = bench.file();
        assert!(!key.lines().any(|line| !line.starts_with("-----") && file.contains(line)), "{file}");
        assert!(file.contains("[ca.key]") && file.ends_with("\ncleared"), "{file}");
    }

    #[test]
    fn of_a_flood_the_head_and_the_tail_are_kept_and_the_file_says_so() {
        let bench = Bench::new();
        let entry = bench.output.command("gateway1", &Command::new(["yes"]));
        let (sink, line) = (entry.sink(), "y".repeat(999));
        let lines = 100_000;
        for number in 0..lines {
            sink(&format!("{number} {line}"));
        }
        assert!(bench.output.pages().tail_bytes <= TAIL, "it is bounded while it comes, too");
        entry.end::<HostError>(&Ok(Output { status: Some(0), ..Output::default() }));
        drop(entry);
        drop(sink);
        let file = bench.file();
        assert!(file.len() < HEAD + TAIL + 2_000, "{} bytes", file.len());
        assert!(file.starts_with("gateway1 $ yes\n0 yyy"), "{}", &file[..100]);
        assert!(
            file.contains(
                " bytes are left out here: of a step's output the first 4194304 and the last 262144"
            )
        );
        assert!(file.lines().last().unwrap().starts_with(&format!("{} yyy", lines - 1)));
    }

    #[test]
    fn a_step_that_is_tried_again_goes_on_in_its_file_and_stays_below_the_limit() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("step.log");
        for _ in 0..3 {
            let output = StepOutput::new(Some(path.clone()), Arc::default());
            for _ in 0..HEAD / 1_000 {
                output.line(&"x".repeat(999));
            }
        }
        let size = usize::try_from(files::size(&path).unwrap()).unwrap();
        assert!((HEAD..HEAD + 3 * (TAIL + 2_000)).contains(&size), "{size}");
    }

    #[test]
    fn of_a_flood_the_first_lines_are_told_and_the_last() {
        let output = StepOutput::new(None, Arc::default());
        let told = (0..50_000).filter(|number| output.may_tell(&number.to_string())).count();
        assert_eq!(told, LINES_TOLD);
        let last = output.untold();
        assert_eq!((last.len(), last.last().map(String::as_str)), (LINES_TOLD_LAST, Some("49999")));
        assert!(output.untold().is_empty(), "once");
    }

    #[test]
    fn the_oldest_runs_are_removed() {
        let home = tempfile::tempdir().unwrap();
        for day in 1..=12 {
            files::create_dir(&home.path().join(format!("2026-01-{day:02}T00-00-00Z-1"))).unwrap();
        }
        let run = RunFolder::open(home.path()).unwrap();
        let runs = files::list(home.path()).unwrap();
        assert_eq!(runs.len(), KEPT_RUNS);
        assert!(runs[0].ends_with("2026-01-04T00-00-00Z-1"), "{runs:?}");
        assert_eq!(files::ownership(run.path()).unwrap().mode & 0o777, 0o700);
        let step = StepId::read("vm.clone/gateway1");
        assert_eq!(run.place_of(&step), run.path(), "it has printed nothing");
        StepOutput::new(Some(run.file_of(&step)), Arc::default()).line("one");
        assert_eq!(run.place_of(&step), run.path().join("vm.clone-gateway1.log"));
    }
}
