//! `fusionlab image vmx`: what a VMX file says, and a change of it that leaves all else as it was.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Map, Value, json};

use crate::cli::calls;
use crate::cli::context::Context;
use crate::cli::error::{Failure, Report, Success};
use crate::cli::screen::table::{Cell, Table};
use crate::formats::lines::unified_diff;
use crate::formats::vmx::Vmx;
use crate::host::fusion::vmrun::Vmrun;
use crate::host::fusion::{Fusion, discover, locks, vmx_file};
use crate::host::{HostError, files};
use crate::lab::limits::Limits;

/// The JSON form's schema; the number rises when a field changes its meaning or goes away.
const SCHEMA: &str = "fusionlab.vmx/1";

/// Show the keys of a VMX file, or set some and show what that changes
///
/// Order, comments, unknown keys and the file's encoding stay as they are. A VM that runs or is open is not changed.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  fusionlab image vmx k8s-worker1.vmx
  fusionlab image vmx k8s-worker1.vmx --set memsize=8192 --set numvcpus=4")]
pub struct VmxArgs {
    /// The VMX file
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Set a key; may be given again
    #[arg(long, value_name = "KEY=VALUE", value_parser = assignment)]
    set: Vec<(String, String)>,
}

fn assignment(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE, such as memsize=8192")?;
    Ok((key.trim().to_owned(), value.to_owned()))
}

pub async fn run(args: VmxArgs, context: &Context) -> Result<Success, Failure> {
    let path = files::canonicalize(&args.file)?;
    let before = read(&path)?;
    if args.set.is_empty() {
        show(context, &path, &before)?;
        return Ok(Success::Done);
    }
    // What cannot be set is known before anybody is asked whether the VM runs.
    changed(&before, &args.set)?;
    must_be_free(context, &path).await?;
    let before = read(&path)?;
    let after = changed(&before, &args.set)?;
    if after != before {
        vmx_file::write(&path, &after)?;
    }
    tell(context, &path, &before, &after)?;
    Ok(Success::Done)
}

fn read(path: &Path) -> Result<Vmx, HostError> {
    let gone = || HostError::Content { path: path.to_owned(), reason: "it is gone".to_owned() };
    vmx_file::read(path)?.ok_or_else(gone)
}

fn changed(before: &Vmx, wishes: &[(String, String)]) -> Result<Vmx, Failure> {
    let mut after = before.clone();
    for (key, value) in wishes {
        after.try_set(key, value).map_err(|error| {
            Report::usage(format!("--set {key}: {error}"))
                .advise("give the key as it stands in the file, and a value that its encoding has")
        })?;
    }
    Ok(after)
}

/// Makes sure that nobody has the VM. Where there is no Fusion to ask, only its locks can tell.
async fn must_be_free(context: &Context, path: &Path) -> Result<(), Failure> {
    let Some(fusion) = fusion(context)? else {
        context.say(["no Fusion is here to ask whether the VM runs: its lock alone decides"]);
        return Ok(locks::must_not_be_open(path)?);
    };
    let vms = Vmrun::new(fusion, calls::deadlines(&Limits::default()));
    Ok(vmx_file::must_be_free(&vms, path).await?)
}

/// Finds the Fusion whose VM it may be; a simulated one only if it is laid out already.
fn fusion(context: &Context) -> Result<Option<Fusion>, Failure> {
    if let Some(root) = &context.options.fusion {
        return Ok(Some(discover::find(Some(root))?));
    }
    let simulated = context.home.sim();
    let root = match cfg!(target_os = "macos") && !context.options.sim {
        true => None,
        false if files::exists(&simulated) => Some(simulated.as_path()),
        false => return Ok(None),
    };
    Ok(discover::find(root).ok())
}

fn show(context: &Context, path: &Path, vmx: &Vmx) -> Result<(), Failure> {
    let values = vmx.keys().map(|key| (key, vmx.get(key).unwrap_or_default()));
    if context.json() {
        let values: Map<String, Value> = values.map(|(key, value)| (key.to_owned(), value.into())).collect();
        return context.print_json(&json!({
            "schema": SCHEMA, "file": path, "encoding": vmx.encoding(), "values": values, "changed": false, "diff": "",
        }));
    }
    let mut table = Table::new(["KEY", "VALUE"]);
    for (key, value) in values {
        table.row([
            Cell::plain(key),
            Cell::plain(value.escape_debug().collect::<String>().replace("\\\"", "\"")),
        ]);
    }
    context.print(table.lines(&context.terminal.out))
}

fn tell(context: &Context, path: &Path, before: &Vmx, after: &Vmx) -> Result<(), Failure> {
    let name = path.display().to_string();
    let diff = unified_diff(&before.to_text(), &after.to_text(), &name);
    if context.json() {
        let values = after.keys().map(|key| (key.to_owned(), after.get(key).unwrap_or_default().into()));
        let values: Map<String, Value> = values.collect();
        return context.print_json(&json!({
            "schema": SCHEMA, "file": path, "encoding": after.encoding(), "values": values,
            "changed": after != before, "diff": diff,
        }));
    }
    context.print(diff.lines())?;
    if diff.is_empty() {
        context.say(["nothing to change"]);
    }
    Ok(())
}
