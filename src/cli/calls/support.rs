//! What a helper needs of a lab, gathered from everywhere: each part for itself, so that a lab that is half up, broken or
//! absent is told of all the same.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use serde_json::{Value, json};

use super::{Outlook, Session, networks};
use crate::cli::context::{Context, Warnings};
use crate::cli::error::{Failure, Report};
use crate::cli::screen::doctor::{self, Place};
use crate::cli::screen::logs::Columns;
use crate::cli::screen::status::Status;
use crate::cli::screen::{plan, problems};
use crate::cli::terminal::{PIPE_WIDTH, Pen};
use crate::engine::guests::logs::Extent;
use crate::engine::home::store;
use crate::engine::home::support::{Collected, Missing};
use crate::host::fusion::Fusion;
use crate::host::{HostError, clock, files, system};
use crate::lab::Lab;
use crate::plan::text::Detail;
use crate::stack::logs::Source;
use crate::stack::support::{Piece, Sealer, pack};

/// Entries of each machine's logs.
const LINES: usize = 2000;
/// A guest's answer may take as long as so many connections to it.
const CONNECTIONS: u32 = 2;
/// How texts are drawn that will be read in an editor.
const PEN: Pen = Pen::plain(120);
/// Logs are searched, and so not broken.
const LOG_PEN: Pen = Pen::plain(PIPE_WIDTH);
/// The list of what is in a bundle, among the rest.
const CONTENTS: &str = "contents.txt";

/// What was gathered, without secrets.
pub struct Bundle {
    pub lab: String,
    /// None if there is no Fusion.
    pub simulated: Option<bool>,
    /// What its folder is called, and its file by default.
    pub name: String,
    pub pieces: Vec<Piece>,
    pub missing: Vec<Missing>,
}

/// Gathers everything but what is named: pieces and folders of them.
///
/// # Errors
/// If a secret of the lab is left in a piece, or the user said stop.
pub async fn bundle(context: &Context, without: &[String]) -> Result<Bundle, Failure> {
    let gathered = tokio::select! {
        biased;
        () = context.cancel.cancelled() => return Err(HostError::Interrupted.into()),
        gathered = gather(context) => gathered?,
    };
    let Gathered { lab, fusion, mut collected } = gathered;
    let is_wanted = |path: &str| {
        let path = path.trim_end_matches('/');
        !without.iter().any(|name| {
            let rest = path.strip_prefix(name.trim_end_matches('/'));
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    };
    collected.pieces.retain(|piece| is_wanted(&piece.path));
    for name in without {
        collected.lacks(name.as_str(), "left out, as you said");
    }
    let secrets = store::whatever_is_there(&context.home.lab(&lab.name))?;
    let home = context.user_home().ok().map(|home| home.display().to_string());
    let list = contents(&collected).into_bytes();
    collected.pieces.insert(0, Piece { path: CONTENTS.to_owned(), content: list });
    let sealer = Sealer::new(&secrets, home.as_deref());
    let pieces = sealer.seal(collected.pieces).map_err(Report::secret_left)?;
    Ok(Bundle {
        name: format!("fusionlab-support-{}-{}", lab.name, clock::rfc3339(clock::now()).replace(':', "-")),
        lab: lab.name,
        simulated: fusion.map(|fusion| fusion.simulated),
        pieces,
        missing: collected.missing,
    })
}

/// Fails if a file is there already, before anything is gathered for it.
pub fn must_be_new(out: &Path) -> Result<(), Failure> {
    if files::exists(out) { Err(HostError::Exists { path: out.to_owned() }.into()) } else { Ok(()) }
}

/// Writes a bundle to a file that must not be there yet, or under its own name into the working folder; returns where it is
/// and its size.
pub fn write_bundle(bundle: &Bundle, out: Option<&Path>) -> Result<(PathBuf, u64), Failure> {
    let path = out.map_or_else(|| PathBuf::from(format!("{}.tar.gz", bundle.name)), Path::to_owned);
    let bytes = pack(&bundle.name, &bundle.pieces).map_err(HostError::file("pack", &path))?;
    files::write_new_atomic(&path, &bytes, files::PRIVATE_FILE)?;
    Ok((path, bytes.len() as u64))
}

struct Gathered {
    lab: Lab,
    fusion: Option<Fusion>,
    collected: Collected,
}

async fn gather(context: &Context) -> Result<Gathered, Failure> {
    let mut collected = Collected::default();
    let (_, text) = context.lab_text()?;
    match text {
        Some(text) => collected.add("lab-file.yaml", text),
        None => collected.lacks("lab-file.yaml", "there is none: the lab is the built-in one"),
    }
    let lab = match context.lab(None, Warnings::Untold) {
        Ok(lab) => lab,
        Err(Failure::LabFile(found)) => {
            collected.add("lab-file-problems.txt", text_of(problems::lines(&found, &PEN)));
            let lab = super::resolve(None, None).map_err(|_| Failure::LabFile(found))?.0;
            let why = format!("the lab file is not valid; what follows is of the lab \"{}\"", lab.name);
            collected.lacks("the lab of the lab file", why);
            lab
        }
        Err(other) => return Err(other),
    };
    let fusion = match super::fusion(context).await {
        Ok(fusion) => Some(fusion),
        Err(failure) => {
            collected.lacks("Fusion", why(&failure));
            None
        }
    };
    collected.add("about.json", format!("{:#}\n", about(context, &lab, fusion.as_ref())));
    collected.lab_folder(&context.home, &lab.name);
    doctors_word(context, &lab, &mut collected).await;
    if let Some(fusion) = &fusion {
        match networks(context).await {
            Ok(networks) => collected.networks(&context.home, &networks, fusion, lab.internal.vmnet),
            Err(failure) => collected.lacks("fusion/", why(&failure)),
        }
        collected.machines(fusion, &lab);
        match Session::open(context, hasty(&lab), "support").await {
            Ok(session) => of_session(&session, &mut collected).await,
            Err(failure) => {
                for what in ["status", "plan", "guests/"] {
                    collected.lacks(what, why(&failure));
                }
            }
        }
    }
    Ok(Gathered { lab, fusion, collected })
}

/// Returns the lab with little patience for what guests are asked: who gathers many things can do without one.
fn hasty(lab: &Lab) -> Lab {
    let mut lab = lab.clone();
    lab.limits.guest_command = lab.limits.guest_command.min(lab.limits.guest_connect * CONNECTIONS);
    lab
}

async fn doctors_word(context: &Context, lab: &Lab, collected: &mut Collected) {
    match super::checkup(context, lab).await {
        Ok((fusion, groups)) => {
            let options = context.options.again();
            let place = Place { fusion: fusion.as_ref(), options: &options };
            collected.add("doctor.txt", text_of(doctor::lines(&groups, &place, &PEN)));
        }
        Err(failure) => collected.lacks("doctor.txt", why(&failure)),
    }
}

/// Adds what is seen of the lab now: its state, what `up` would do, and what its guests wrote down.
async fn of_session(session: &Session, collected: &mut Collected) {
    let (lab, fusion) = (&session.lab, &session.fusion);
    let seen = match session.outlook(false).await {
        Ok(Outlook { plan, facts }) => {
            collected.add("plan.txt", text_of(plan::lines(&plan, lab, Detail::Full, &PEN)));
            Ok(facts)
        }
        Err(failure) => {
            collected.lacks("plan.txt", why(&failure));
            session.facts().await
        }
    };
    match (seen, session.before()) {
        (Ok(facts), Ok(before)) => {
            let status = Status::new(lab, &facts, fusion).with(before);
            collected.add("status.txt", text_of(status.lines(lab, fusion, &PEN)));
            collected.add("status.json", format!("{:#}\n", json!(status)));
        }
        (Err(failure), _) | (_, Err(failure)) => collected.lacks("status.txt", why(&failure)),
    }
    guests_logs(session, collected).await;
}

async fn guests_logs(session: &Session, collected: &mut Collected) {
    let nodes = &session.lab.nodes;
    let sources = [Source::CloudInit, Source::Journal];
    let columns = Columns::of(&nodes[..1], &sources);
    let told = Mutex::new(Vec::new());
    let extent = Extent { lines: LINES, since: None };
    let read = match session.logs(nodes, &sources, extent) {
        Ok(reading) => {
            let sink: super::LogSink<'_> = &|read| {
                told.lock().expect("no holder of this lock panics").extend_from_slice(read);
                Ok(())
            };
            reading.begin(sink).await
        }
        Err(failure) => Err(failure),
    };
    let failures = match read {
        Ok((_, failures)) => failures,
        Err(failure) => return collected.lacks("guests/", why(&failure)),
    };
    let told = told.into_inner().expect("no holder of this lock panics");
    for node in nodes {
        let path = format!("guests/{}.log", node.name);
        let own = told.iter().filter(|(name, _)| *name == node.name);
        let lines: Vec<String> = own.flat_map(|(name, entry)| columns.lines(name, entry, &LOG_PEN)).collect();
        if let Some((_, failure)) = failures.iter().find(|(name, _)| *name == node.name) {
            collected.lacks(path.as_str(), why(failure));
        }
        if !lines.is_empty() {
            collected.add(path, text_of(lines));
        }
    }
}

fn about(context: &Context, lab: &Lab, fusion: Option<&Fusion>) -> Value {
    let root = fusion.map_or(Path::new("/"), |fusion| &fusion.root);
    json!({
        "fusionlab": env!("CARGO_PKG_VERSION"),
        "at": clock::rfc3339(clock::now()),
        "lab": lab.name,
        "versions": lab.versions,
        "options": context.options.again(),
        "home": context.home.0,
        "fusion": fusion.map(|fusion| json!({
            "version": fusion.version,
            "build": fusion.build,
            "simulated": fusion.simulated,
            "guests": fusion.guests,
        })),
        "machine": {
            "system": std::env::consts::OS,
            "macos": system::macos_version(root),
            "arch": system::arch(),
            "cpus": system::cpus(),
            "memory_mib": system::memory_mib(),
            "free_memory_mib": system::free_memory_mib(),
            "free_disk_mib": system::free_mib(files::parent(&context.home.0)).ok(),
        },
    })
}

/// Returns the list of all files with their sizes, and what is missing.
fn contents(collected: &Collected) -> String {
    let mut lines: Vec<String> =
        collected.pieces.iter().map(|piece| format!("{:>8}  {}", piece.content.len(), piece.path)).collect();
    lines.sort_by(|one, other| one[8..].cmp(&other[8..]));
    lines.insert(0, "bytes, before secrets were taken out:".to_owned());
    if !collected.missing.is_empty() {
        lines.extend([String::new(), "not to be had:".to_owned()]);
        lines.extend(collected.missing.iter().map(|missing| format!("{}: {}", missing.what, missing.why)));
    }
    text_of(lines)
}

fn text_of(lines: Vec<String>) -> String {
    lines.join("\n") + "\n"
}

/// Returns why something failed, as one sentence's end.
fn why(failure: &Failure) -> String {
    match failure {
        Failure::Report(report) => report.what.clone(),
        Failure::LabFile(_) => "the lab file is not valid".to_owned(),
        Failure::Told(_) | Failure::OutputClosed => "it was cut off".to_owned(),
    }
}
