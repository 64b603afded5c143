//! `fusionlab kubeconfig`: the way into the cluster, as a file of its own or in the user's own.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::calls;
use super::context::{Context, Warnings};
use super::error::{Failure, Kind, Report, Success};
use super::screen::kubeconfig as screen;
use super::wait::WaitArgs;
use crate::engine::access::kubeconfig::{Merger, Touched};
use crate::lab::Lab;

/// The JSON form's schema; the number rises when a field changes its meaning or goes away.
const SCHEMA: &str = "fusionlab.kubeconfig/1";

/// Print the path of the lab's kubeconfig, or merge it into yours
///
/// The file holds an administrator's key and stays in the lab's folder. With --merge its entries are put into your own
/// kubeconfig as well: the first file of $KUBECONFIG that exists, or ~/.kube/config. Everything else in there stays as it
/// is, and `destroy` takes the entries out again.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  export KUBECONFIG=$(fusionlab kubeconfig)
  fusionlab kubeconfig --content         to be sent elsewhere: it is a secret
  fusionlab kubeconfig --merge --use     then: kubectl get nodes
  fusionlab kubeconfig --remove")]
pub struct KubeconfigArgs {
    /// Print the content instead
    #[arg(long, conflicts_with_all = ["merge", "remove"])]
    content: bool,

    /// Put the lab's cluster, user and context into your kubeconfig
    #[arg(long, conflicts_with = "remove")]
    merge: bool,

    /// With --merge: make the lab's context the current one, even if there is another
    #[arg(long = "use", requires = "merge")]
    select: bool,

    /// Take them out of every kubeconfig that they were put into
    #[arg(long)]
    remove: bool,

    #[command(flatten)]
    wait: WaitArgs,
}

pub async fn run(args: KubeconfigArgs, context: &Context) -> Result<Success, Failure> {
    let lab = context.lab(None, Warnings::Untold)?;
    // `destroy` goes by the record of the files that were merged into.
    let changes = args.merge || args.remove;
    let _lock =
        if changes { Some(calls::hold_lab(context, &lab, "kubeconfig", args.wait).await?) } else { None };
    if args.remove {
        return remove(&lab, context).await;
    }
    let path = context.home.lab(&lab.name).kubeconfig();
    let Some(content) = calls::read_text(&path)? else {
        return Err(Report::new(
            "kubeconfig-missing",
            Kind::Kubernetes,
            format!("{} has no kubeconfig yet", lab.name),
        )
        .at(path.display().to_string())
        .because("`up` writes it once the API server answers")
        .run("fusionlab up")
        .into());
    };
    if args.merge {
        return merge(&lab, &path, args.select, context).await;
    }
    if context.json() {
        let content = args.content.then_some(content);
        context.print_json(&json!({ "schema": SCHEMA, "path": path, "content": content }))?;
    } else if args.content {
        context.print([content.trim_end()])?;
    } else {
        context.print([path.display().to_string()])?;
    }
    Ok(Success::Done)
}

async fn merge(lab: &Lab, own: &Path, select: bool, context: &Context) -> Result<Success, Failure> {
    let file = users(context)?;
    if calls::is_same(&file, own) {
        return Err(Report::usage("KUBECONFIG names the lab's own kubeconfig, which has all of it already")
            .advise("unset KUBECONFIG to merge into ~/.kube/config, or name another file in it:")
            .run("KUBECONFIG=~/.kube/config fusionlab kubeconfig --merge")
            .into());
    }
    let touched = merger(lab, context).merge(&file, select).await?;
    let pen = &context.terminal.err;
    let shown = shown(&touched, context);
    let mut lines = screen::merged(&lab.name, &touched, &shown, pen);
    lines.extend(
        calls::open_to_others(&file)?.iter().flat_map(|mode| screen::open_to_others(&shown, *mode, pen)),
    );
    told(own, &[touched], lines, context)
}

async fn remove(lab: &Lab, context: &Context) -> Result<Success, Failure> {
    let own = context.home.lab(&lab.name).kubeconfig();
    // Also where the records are gone: what bears the lab's mark is found by it.
    let besides = users(context).ok().filter(|file| !calls::is_same(file, &own));
    let touched = merger(lab, context).remove(besides.as_deref()).await?;
    let pen = &context.terminal.err;
    let mut lines: Vec<String> = touched
        .iter()
        .filter(|one| !one.edited.deeds.is_empty())
        .flat_map(|one| screen::removed(one, &shown(one, context), pen))
        .collect();
    if lines.is_empty() {
        lines = screen::nothing_removed(&lab.name, pen);
    }
    told(&own, &touched, lines, context)
}

fn told(own: &Path, touched: &[Touched], lines: Vec<String>, context: &Context) -> Result<Success, Failure> {
    if context.json() {
        let files: Vec<_> = touched.iter().map(screen::json).collect();
        context.print_json(&json!({ "schema": SCHEMA, "path": own, "files": files }))?;
    } else {
        context.say(lines);
    }
    Ok(Success::Done)
}

fn merger(lab: &Lab, context: &Context) -> Merger {
    Merger::new(&context.home, &lab.name, lab.limits.kubeconfig_lock)
}

fn shown(touched: &Touched, context: &Context) -> String {
    context.shown(&touched.file)
}

/// Returns the kubeconfig of the user's that kubectl would write to.
fn users(context: &Context) -> Result<PathBuf, Failure> {
    let file = calls::users_kubeconfig(&context.user_home()?);
    let absolute = std::path::absolute(&file);
    let advice = "name your kubeconfig by its whole path, in KUBECONFIG";
    Ok(absolute.map_err(|error| Report::no_path(&file, &error, advice))?)
}
