//! The process that called a program of Fusion's, and the faults that end it, or keep it waiting, at a chosen point of its work.

use crate::sim::faults;
use crate::sim::places::Places;

/// The id of the process that adopts orphans; it calls nobody.
const INIT: libc::pid_t = 1;

/// When the caller may die: while nothing is done yet, or as soon as all is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    Before,
    After,
}

impl Moment {
    fn word(self) -> &'static str {
        match self {
            Self::Before => "before",
            Self::After => "after",
        }
    }
}

/// The process that started this one.
pub struct Caller<'a> {
    places: &'a Places,
    parent: libc::pid_t,
    /// As [`call`] names it.
    call: String,
}

impl<'a> Caller<'a> {
    /// Remembers who called this process, and what for.
    pub fn of_this_process(places: &'a Places, program: &str, args: &[String]) -> Self {
        Self { places, parent: parent(), call: call(program, args) }
    }

    /// Never returns if that fault strikes at this moment.
    pub async fn hangs(&self, moment: Moment) {
        hangs(self.places, &self.call, moment).await;
    }

    /// Kills the caller if that fault strikes at this moment, as a crash would end it; says whether it did. A caller
    /// that is gone already stays so.
    pub fn dies(&self, moment: Moment) -> bool {
        if !dies(self.places, &self.call, moment) {
            return false;
        }
        if self.parent > INIT && self.parent == parent() {
            // SAFETY: kill takes two numbers. The process is our parent, so its id is not another's by now.
            unsafe { libc::kill(self.parent, libc::SIGKILL) };
        }
        true
    }
}

/// Names a call by the program and its first argument, such as `vmnet-cli --stop`; one of `vmrun` by its verb.
pub fn call(program: &str, args: &[String]) -> String {
    let first = match args {
        [flag, _, verb, ..] if flag == "-T" => Some(verb),
        _ => args.first(),
    };
    [Some(program), first.map(String::as_str)].into_iter().flatten().collect::<Vec<_>>().join(" ")
}

/// Never returns if a call is to hang at this moment.
pub async fn hangs(places: &Places, call: &str, moment: Moment) {
    if faults::strikes(places, faults::PROGRAM_HANGS, &format!("{call} {}", moment.word())) {
        std::future::pending().await
    }
}

/// Says whether whoever makes a call is to die at this moment.
pub fn dies(places: &Places, call: &str, moment: Moment) -> bool {
    faults::strikes(places, faults::CALLER_DIES, &format!("{call} {}", moment.word()))
}

fn parent() -> libc::pid_t {
    // SAFETY: getppid takes nothing and cannot fail.
    unsafe { libc::getppid() }
}
