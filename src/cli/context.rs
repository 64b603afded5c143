//! What a verb works with: options, streams, home folder, and the wish to stop.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::calls;
use super::error::from_file::{lab_missing, lab_unreadable};
use super::error::{Failure, Kind, LabFileProblems, Report};
use super::init::PresetName;
use super::options::Options;
use super::screen::{confirm, problems};
use super::terminal::Terminal;
use super::words;
use crate::host::terminal::Modes;
use crate::lab::Lab;
use crate::lab::catalogue::Image;
use crate::lab::paths::Home;
use crate::lab::problem::Problem;

/// The lab file that is used if it is there and none is named.
pub const LAB_FILE: &str = "fusionlab.yaml";

/// What the lab is called where there is no file.
const BUILT_IN: &str = "the built-in lab";

/// How much a verb says about the lab file's warnings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Warnings {
    /// Nothing: they were said when the lab came up.
    Untold,
    /// Nothing yet: the verb tells them once it knows whether there is anything to do.
    Later,
    /// With place and help.
    Full,
}

/// What a question is about. Nobody is asked anything without it.
pub struct About<'a> {
    /// What was said before, where words are wanted.
    pub said: &'a [String],
    /// What nobody would have said without the question.
    pub unsaid: Vec<String>,
}

/// Given to every verb.
pub struct Context {
    pub options: Options,
    pub terminal: Terminal,
    pub home: Home,
    /// Cancelled at the first Ctrl-C.
    pub cancel: CancellationToken,
    /// The file that the lab was last made from, which is taken where none was named and none is here.
    taken: Option<PathBuf>,
    /// Whether it was said which file is meant: once is enough.
    which_is_said: AtomicBool,
}

impl Context {
    pub fn new(options: Options) -> Result<Self, Failure> {
        let terminal = Terminal::detect(options.color, options.plain);
        let home = match &options.home {
            Some(home) => home.clone(),
            None => user_home()?.join(".fusionlab"),
        };
        let home = std::path::absolute(&home).map_err(|error| {
            Report::no_path(&home, &error, "name a folder with --home, or with FUSIONLAB_HOME")
        })?;
        let home = Home(home);
        let taken = if options.lab.is_some() { None } else { calls::usual_file_elsewhere(&home) };
        let options = Options { lab: options.lab.or_else(|| taken.clone()), ..options };
        let (cancel, which_is_said) = (CancellationToken::new(), AtomicBool::new(false));
        Ok(Self { options, terminal, home, cancel, taken, which_is_said })
    }

    pub fn json(&self) -> bool {
        self.options.json()
    }

    /// Writes words to standard error, unless only results are wanted.
    pub fn say<L: AsRef<str>>(&self, lines: impl IntoIterator<Item = L>) {
        if self.options.quiet || self.json() {
            return;
        }
        let mut err = io::stderr().lock();
        for line in lines {
            // Words are best effort: whoever closed standard error does not want them.
            let _ = writeln!(err, "{}", line.as_ref());
        }
    }

    /// Writes what failed to standard error, also where only results are wanted.
    pub fn complain<L: AsRef<str>>(&self, lines: impl IntoIterator<Item = L>) {
        let mut err = io::stderr().lock();
        for line in lines {
            let _ = writeln!(err, "{}", line.as_ref());
        }
    }

    /// Writes results to standard output.
    pub fn print<L: AsRef<str>>(&self, lines: impl IntoIterator<Item = L>) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        let write = || {
            for line in lines {
                writeln!(out, "{}", line.as_ref())?;
            }
            out.flush()
        };
        write().map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::OutputClosed,
            _ => Report::new("file-failed", Kind::Unexpected, format!("write standard output: {error}"))
                .advise("see whether the disk behind it is full")
                .into(),
        })
    }

    /// Writes one JSON value to standard output, as one line: results end the stream of events.
    pub fn print_json(&self, value: &Value) -> Result<(), Failure> {
        self.print([value.to_string()])
    }

    /// Reads and resolves the lab file, or the built-in lab where there is none.
    pub fn lab(&self, preset: Option<PresetName>, warnings: Warnings) -> Result<Lab, Failure> {
        self.lab_and_warnings(preset, warnings).map(|(lab, _)| lab)
    }

    /// As [`Context::lab`], with the warnings for those who tell them otherwise, too.
    pub fn lab_and_warnings(
        &self,
        preset: Option<PresetName>,
        warnings: Warnings,
    ) -> Result<(Lab, Vec<Problem>), Failure> {
        let (file, text) = self.lab_text()?;
        let of_file = |problems| LabFileProblems {
            file: file.clone().unwrap_or_else(|| BUILT_IN.to_owned()),
            text: text.clone().unwrap_or_default(),
            problems,
        };
        let (resolved, unread) = calls::resolve_at_home(&self.home, text.as_deref(), preset);
        // Verbs that only look, or take down, go on without: the lab's machines bear its mark.
        if let Some(error) = unread.filter(|_| warnings != Warnings::Untold) {
            return Err(error.into());
        }
        let (lab, found) = resolved.map_err(|problems| Failure::LabFile(of_file(problems)))?;
        let lab = Lab { image: self.image(lab.image)?, ..lab };
        let pen = &self.terminal.err;
        self.say_which_file(&lab)?;
        if warnings == Warnings::Full && !found.is_empty() {
            self.say(problems::lines(&of_file(found.clone()), pen));
            self.say([""]);
        }
        Ok((lab, found))
    }

    /// Says which file is meant where that is not plain: a wrong folder must neither grow a lab nor take one down.
    fn say_which_file(&self, lab: &Lab) -> Result<(), Failure> {
        if self.which_is_said.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        let name = &lab.name;
        let text = match &self.taken {
            Some(file) => format!(
                "no {LAB_FILE} is here: the lab {name} was made from {}, which is taken",
                self.shown(file)
            ),
            None => {
                let here = self.lab_file()?;
                let Some(file) = calls::file_elsewhere(&self.home, name, here.as_deref()) else {
                    return Ok(());
                };
                format!(
                    "the lab {name} was last made from {}; `name:` in one of the two files tells them apart",
                    self.shown(&file)
                )
            }
        };
        let pen = &self.terminal.err;
        self.say(words::wrap(&format!("note: {text}"), pen.prose_width()));
        self.say([""]);
        Ok(())
    }

    /// Says each of these in a sentence, apart from what follows; where they were said when the lab came up, only that there are
    /// such.
    pub fn warn(&self, found: &[Problem], were_said: bool) {
        let told = if were_said { problems::reminder } else { problems::brief };
        for problem in found {
            self.say(told(problem, &self.terminal.err));
            self.say([""]);
        }
    }

    /// Says what only this Mac gives reason for: what can be done about it with its place and help, the rest in a line each.
    pub fn warn_of_host(&self, found: &[Problem]) -> Result<(), Failure> {
        let (file, text) = self.lab_text()?;
        let (file, text) = (file.unwrap_or_else(|| BUILT_IN.to_owned()), text.unwrap_or_default());
        let place = LabFileProblems { file, text, problems: Vec::new() };
        let pen = &self.terminal.err;
        for problem in found {
            self.say(match problem.help {
                Some(_) => problems::one(problem, &place, pen),
                None => problems::brief(problem, pen),
            });
            self.say([""]);
        }
        Ok(())
    }

    /// Returns an image as this run takes it: from the mirror that is named here, its path seen from the lab file.
    pub fn image(&self, image: Image) -> Result<Image, Failure> {
        let image = match &self.options.image_mirror {
            Some(mirror) => image.mirrored(&mirror.0),
            None => image,
        };
        let folder = self.options.lab.as_deref().and_then(Path::parent).unwrap_or(Path::new(""));
        let folder = std::path::absolute(folder.join(".")).map_err(|error| {
            Report::no_path(folder, &error, "name the lab file with --lab, by its whole path")
        })?;
        let url = image.url.clone();
        image.located(&folder, user_home().ok().as_deref()).ok_or_else(|| {
            Report::usage(format!("the home folder that {url} begins with is not known: HOME is not set"))
                .advise("set HOME, or write the whole path into the lab file")
                .into()
        })
    }

    /// Returns problems of the lab as a whole, which have no place in its file.
    pub fn problems_of_lab(&self, problems: Vec<Problem>) -> LabFileProblems {
        let file = match self.lab_text() {
            Ok((Some(file), _)) => file,
            _ => BUILT_IN.to_owned(),
        };
        LabFileProblems { file, text: String::new(), problems }
    }

    /// Returns the lab file's name and text; none if none was named and the default one is not there.
    pub fn lab_text(&self) -> Result<(Option<String>, Option<String>), Failure> {
        let path = self.options.lab.clone().unwrap_or_else(|| PathBuf::from(LAB_FILE));
        let text = calls::read_text(&path).map_err(|error| lab_unreadable(&path, &error))?;
        match (text, &self.options.lab) {
            (Some(text), _) => Ok((Some(path.display().to_string()), Some(text))),
            (None, None) => Ok((None, None)),
            (None, Some(_)) => {
                let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
                let others = calls::yaml_files(folder.unwrap_or(Path::new(".")));
                Err(lab_missing(&path, self.options.lab_is_of_environment(), &others).into())
            }
        }
    }

    /// Returns the lab file's whole path; none for the built-in lab.
    pub fn lab_file(&self) -> Result<Option<PathBuf>, Failure> {
        let (Some(file), _) = self.lab_text()? else { return Ok(None) };
        let whole = std::path::absolute(&file).map_err(|error| {
            Report::no_path(Path::new(&file), &error, "name the lab file with --lab, by its whole path")
        })?;
        Ok(Some(whole))
    }

    /// Writes what somebody at a terminal must see to answer what comes next, here or of sudo's: also where only results are
    /// wanted. Where nobody can answer it is told like all else.
    pub fn show<L: AsRef<str>>(&self, lines: impl IntoIterator<Item = L>) {
        if self.can_ask() {
            self.complain(lines);
        } else {
            self.say(lines);
        }
    }

    /// Asks whether to go on with this. Where nobody can answer, `--yes` must have been said.
    pub async fn go_on(&self, about: About<'_>, question: &str) -> Result<(), Failure> {
        self.tell_what(about);
        self.may_ask()?;
        let question = question.to_owned();
        self.asked(move || confirm::go_on(&question)).await
    }

    /// Asks for a name to be typed, for this to be done.
    pub async fn typed(&self, about: About<'_>, prompt: &str, name: &str) -> Result<(), Failure> {
        self.tell_what(about);
        self.may_ask()?;
        let (prompt, name) = (prompt.to_owned(), name.to_owned());
        self.asked(move || confirm::typed(&prompt, &name)).await
    }

    /// Says whether somebody is there to answer a question.
    pub fn can_ask(&self) -> bool {
        self.terminal.can_ask && !self.json()
    }

    /// Says what a question is about: what was said before it, too, where it was left out.
    fn tell_what(&self, about: About<'_>) {
        if self.options.quiet {
            self.show(about.said);
        }
        self.show(about.unsaid);
    }

    fn may_ask(&self) -> Result<(), Failure> {
        if self.can_ask() {
            return Ok(());
        }
        Err(Report::usage("this asks before it changes anything, and nobody can answer here")
            .advise("say --yes if you mean it")
            .into())
    }

    async fn asked(
        &self,
        question: impl FnOnce() -> io::Result<bool> + Send + 'static,
    ) -> Result<(), Failure> {
        match self.answered(question).await? {
            Some(true) => Ok(()),
            Some(false) | None => Err(not_done()),
        }
    }

    /// Waits for an answer or for Ctrl-C, whichever comes first; none for the latter.
    pub async fn answered<T: Send + 'static>(
        &self,
        question: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> Result<Option<T>, Failure> {
        let modes = Modes::kept();
        if self.terminal.live {
            // For the whole of it: whoever reads a key changes them for that key alone, and what is typed between two keys, as
            // by pasting, would be shown and edited by the terminal.
            modes.take_single_keys();
        }
        let answer = tokio::select! {
            answer = tokio::task::spawn_blocking(question) => answer,
            () = self.cancel.cancelled() => {
                modes.put_back();
                leave_question();
                return Ok(None);
            }
        };
        modes.put_back();
        match answer {
            Ok(Ok(answer)) => Ok(Some(answer)),
            Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {
                leave_question();
                Ok(None)
            }
            Ok(Err(error)) => Err(Report::usage(format!("the question could not be asked: {error}"))
                .advise("say --yes if you mean it")
                .into()),
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }

    /// Returns the user's home folder.
    pub fn user_home(&self) -> Result<PathBuf, Failure> {
        user_home()
    }

    /// Returns a path as the user would type it: below the home folder with `~`.
    pub fn shown(&self, path: &Path) -> String {
        match self.user_home().ok().and_then(|home| path.strip_prefix(home).ok().map(Path::to_owned)) {
            Some(rest) => format!("~/{}", rest.display()),
            None => path.display().to_string(),
        }
    }
}

/// Puts the terminal in order after a question that was interrupted: its line has no end, and dialoguer hides the cursor.
fn leave_question() {
    let term = console::Term::stderr();
    // A terminal that is gone needs neither.
    let _ = term.show_cursor().and_then(|()| term.write_line(""));
}

fn not_done() -> Failure {
    Report::new("interrupted", Kind::Interrupted, "not confirmed").advise("nothing was changed").into()
}

fn user_home() -> Result<PathBuf, Failure> {
    std::env::home_dir().filter(|home| home.is_absolute()).ok_or_else(|| {
        Report::usage("the home folder is not known: HOME is not set")
            .advise("set HOME, or say where to keep files with --home")
            .into()
    })
}
