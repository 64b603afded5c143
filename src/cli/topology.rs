//! `fusionlab topology`: the lab as a picture.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::calls::{self, Session};
use super::context::{Context, Warnings};
use super::error::{Failure, Success};
use super::screen::opening;
use super::screen::status::Status;
use super::screen::topology::{self, Diagram};
use super::terminal::Ink;

/// The JSON form's schema; the number rises when a field changes its meaning or goes away.
const SCHEMA: &str = "fusionlab.topology/1";

/// Draw the lab: its networks, machines and the way in
///
/// As the lab file has it, or with --live as it is found now. The drawing is as wide as the terminal, up to a point; with
/// --plain it is words.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  fusionlab topology                         the lab as its file has it
  fusionlab topology --live                  as it is found now
  fusionlab topology --live --svg lab.svg    for a document or a slide")]
pub struct TopologyArgs {
    /// Look at the lab first, and draw what was found
    #[arg(long)]
    live: bool,

    /// Write an SVG file, for documents; `-` prints it
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

pub async fn run(args: TopologyArgs, context: &Context) -> Result<Success, Failure> {
    let lab = context.lab(None, Warnings::Untold)?;
    let (mut head, mut seen) = (Vec::new(), None);
    if args.live {
        let session = Session::open(context, lab.clone(), "topology").await?;
        let facts = session.facts().await?;
        head = opening::lines(&lab, &session.fusion, &context.terminal.out);
        seen = Some(Status::new(&lab, &facts, &session.fusion));
    }
    let diagram = Diagram::of(&lab, seen.as_ref());
    if let Some(file) = &args.svg {
        return svg(&diagram, file, context);
    }
    if context.json() {
        let simulated = seen.as_ref().map(|seen| seen.simulated);
        context.print_json(
            &json!({ "schema": SCHEMA, "lab": lab.name, "simulated": simulated, "drawing": diagram }),
        )?;
        return Ok(Success::Done);
    }
    if !head.is_empty() {
        head.push(String::new());
    }
    let pen = &context.terminal.out;
    // Nobody hears a frame.
    let told = if context.options.plain { topology::list } else { topology::lines };
    context.print(head.into_iter().chain(told(&diagram, pen)))?;
    Ok(Success::Done)
}

fn svg(diagram: &Diagram, file: &std::path::Path, context: &Context) -> Result<Success, Failure> {
    let picture = topology::svg(diagram);
    if file.as_os_str() == "-" {
        context.print([picture.trim_end()])?;
        return Ok(Success::Done);
    }
    calls::write_picture(file, &picture)?;
    if context.json() {
        context.print_json(&json!({ "schema": SCHEMA, "lab": diagram.name, "file": file }))?;
    } else {
        context.say([context.terminal.err.paint(Ink::Dim, &format!("wrote {}", file.display()))]);
    }
    Ok(Success::Done)
}
