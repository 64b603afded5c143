//! helm: releases as Secrets in the cluster, and the Cilium chart's objects from its values.

use std::io::Read as _;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::coreutils;
use super::helm_chart::{self, Chart};
use crate::sim::guest::kube::cluster::Cluster;
use crate::sim::guest::kube::data::{Data, timestamp};
use crate::sim::guest::kube::{client, controllers, images, objects, resources};
use crate::sim::guest::shell::Call;
use crate::sim::guest::{pace, yaml};

#[derive(Default)]
struct Words {
    kubeconfig: Option<String>,
    namespace: Option<String>,
    values: Option<String>,
    description: Option<String>,
    json: bool,
    install: bool,
    /// What `helm template` is to believe of the cluster: `GROUP/VERSION/KIND`.
    api_versions: Vec<String>,
    rest: Vec<String>,
}

impl Words {
    fn read(args: &[String]) -> Result<Self, String> {
        let mut words = Self::default();
        let mut left = args.iter();
        while let Some(word) = left.next() {
            let (flag, inline) = match word.split_once('=') {
                Some((flag, value)) if flag.starts_with("--") => (flag, Some(value.to_owned())),
                _ => (word.as_str(), None),
            };
            let mut value = || {
                inline
                    .clone()
                    .or_else(|| left.next().cloned())
                    .ok_or_else(|| format!("Error: flag needs an argument: {flag}"))
            };
            match flag {
                "--kubeconfig" => words.kubeconfig = Some(value()?),
                "-n" | "--namespace" => words.namespace = Some(value()?),
                "-f" | "--values" => words.values = Some(value()?),
                "--description" => words.description = Some(value()?),
                "--timeout" | "--kube-version" => drop(value()?),
                "--api-versions" => words.api_versions.extend(value()?.split(',').map(str::to_owned)),
                "-o" | "--output" => match value()?.as_str() {
                    "json" => words.json = true,
                    other => return Err(format!("Error: invalid format type: {other}")),
                },
                "-i" | "--install" => words.install = true,
                "-a" | "--all" => {}
                other if other.starts_with('-') => return Err(format!("Error: unknown flag: {other}")),
                plain => words.rest.push(plain.to_owned()),
            }
        }
        Ok(words)
    }
}

pub async fn run(call: &Call<'_>) -> i32 {
    if call.words() == ["version", "--template", "{{.Version}}"] {
        let version = call.model.disk(|disk| disk.packages.get("helm").cloned()).unwrap_or_default();
        call.say(version).await;
        return 0;
    }
    let outcome = match Words::read(&call.args) {
        Ok(words) => work(call, &words).await,
        Err(why) => Err(why),
    };
    match outcome {
        Ok(()) => 0,
        Err(why) => call.fail(1, why).await,
    }
}

async fn work(call: &Call<'_>, words: &Words) -> Result<(), String> {
    match &words.rest.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["show", "chart", path] => return show_chart(call, path).await,
        ["template", _, path] => return template(call, words, path).await,
        _ => {}
    }
    let path = words.kubeconfig.as_deref().unwrap_or("/root/.kube/config");
    let readable = coreutils::read(call.model, path).is_some_and(|(mode, _)| call.root || mode & 0o004 != 0);
    if !readable {
        return Err(format!(
            "Error: Kubernetes cluster unreachable: stat {path}: no such file or directory, or permission denied"
        ));
    }
    let unreachable = |why: String| format!("Error: Kubernetes cluster unreachable: {why}");
    let config = client::kubeconfig(call.model, path).map_err(unreachable)?;
    let cluster = client::cluster(call.model, &config).await.map_err(unreachable)?;
    let namespace = words.namespace.as_deref().unwrap_or("default");
    let rest: Vec<&str> = words.rest.iter().map(String::as_str).collect();
    let outcome = match rest[..] {
        ["upgrade", name, chart] => upgrade(call, words, &cluster, namespace, name, chart).await,
        ["list"] => list(call, &cluster, namespace).await,
        ["status", name] => status(call, words, &cluster, namespace, name).await,
        ["rollback", name] => rollback(call, &cluster, namespace, name).await,
        ["uninstall", name] => uninstall(call, &cluster, namespace, name).await,
        _ => Err(format!("Error: unknown command \"{}\" for \"helm\"", rest.join(" "))),
    };
    controllers::settle(&cluster);
    cluster.sync();
    outcome
}

/// Returns a release's records, oldest first.
fn history(data: &Data, namespace: &str, name: Option<&str>) -> Vec<Value> {
    let secrets = data
        .list("secrets", Some(namespace))
        .into_iter()
        .filter(|secret| secret["type"] == "helm.sh/release.v1");
    let read = |secret: &Value| {
        serde_json::from_slice::<Value>(&STANDARD.decode(secret["data"]["release"].as_str()?).ok()?).ok()
    };
    let mut all: Vec<Value> =
        secrets.filter_map(read).filter(|release| name.is_none_or(|name| release["name"] == name)).collect();
    all.sort_by_key(|release| release["version"].as_u64());
    all
}

fn record(cluster: &Cluster, call: &Call<'_>, namespace: &str, release: &Value) -> Result<(), String> {
    let (name, version) = (release["name"].as_str().unwrap_or_default(), &release["version"]);
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "helm.sh/release.v1",
        "metadata": {
            "name": format!("sh.helm.release.v1.{name}.v{version}"), "namespace": namespace,
            "labels": { "owner": "helm", "name": name, "status": release["info"]["status"], "version": version.to_string() },
        },
        "data": { "release": STANDARD.encode(release.to_string()) },
    });
    cluster.put(call.model, secret).map_err(|why| format!("Error: {why}"))
}

async fn upgrade(
    call: &Call<'_>,
    words: &Words,
    cluster: &Arc<Cluster>,
    namespace: &str,
    name: &str,
    chart: &str,
) -> Result<(), String> {
    let chart = read_chart(call, chart)?;
    let values = read_values(call, words, &chart)?;
    let data = cluster.read()?;
    let objects = helm_chart::render(&chart, &values, namespace, &data);
    known_kinds(&data, &objects)?;
    let past = history(&data, namespace, Some(name));
    let last = past.last();
    if last.is_none() && !words.install {
        return Err(format!("Error: UPGRADE FAILED: \"{name}\" has no deployed releases"));
    }
    if last.is_some_and(|last| {
        last["info"]["status"].as_str().is_some_and(|status| status.starts_with("pending-"))
    }) {
        return Err(
            "Error: UPGRADE FAILED: another operation (install/upgrade/rollback) is in progress".into()
        );
    }
    let fresh = !past.iter().any(|one| one["info"]["status"] == "deployed");
    if last.is_none() {
        call.say(format!("Release \"{name}\" does not exist. Installing it now.")).await;
    }
    let version = last.and_then(|last| last["version"].as_u64()).unwrap_or(0) + 1;
    let now = timestamp(call.model.around.clock_ms());
    let mut release = json!({
        "name": name, "namespace": namespace, "version": version,
        "chart": { "metadata": { "name": chart.name, "version": chart.version } },
        "config": values,
        "info": {
            "status": if fresh { "pending-install" } else { "pending-upgrade" }, "first_deployed": now, "last_deployed": now,
            "description": words.description.clone().unwrap_or_else(|| "Preparing".into()),
        },
    });
    record(cluster, call, namespace, &release)?;
    cluster.sync();
    call.model.pass(pace::HELM_APPLY).await;
    if call.model.around.fault("helm-killed") {
        return Err("Error: signal: killed".into());
    }
    for object in objects {
        if let Err(why) = cluster.put(call.model, object) {
            release["info"]["status"] = "failed".into();
            record(cluster, call, namespace, &release)?;
            return Err(format!("Error: {why}"));
        }
    }
    for mut old in past.into_iter().filter(|one| one["info"]["status"] == "deployed") {
        old["info"]["status"] = "superseded".into();
        record(cluster, call, namespace, &old)?;
    }
    release["info"]["status"] = "deployed".into();
    if words.description.is_none() {
        release["info"]["description"] =
            if fresh { "Install complete".into() } else { "Upgrade complete".into() };
    }
    record(cluster, call, namespace, &release)?;
    call.say(format!(
        "NAME: {name}\nLAST DEPLOYED: {now}\nNAMESPACE: {namespace}\nSTATUS: deployed\nREVISION: {version}"
    ))
    .await;
    Ok(())
}

/// Helm builds every object before it records a release: an unknown kind leaves nothing behind.
fn known_kinds(data: &Data, objects: &[Value]) -> Result<(), String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    for object in objects {
        let (version, kind) = (text(&object["apiVersion"]), text(&object["kind"]));
        if resources::by_manifest(data, &version, &kind).is_none() {
            return Err(format!(
                "Error: unable to build kubernetes objects from release manifest: no matches for kind \"{kind}\" in version \"{version}\"\nensure CRDs are installed first"
            ));
        }
    }
    Ok(())
}

fn read_chart(call: &Call<'_>, path: &str) -> Result<Chart, String> {
    let (_, bytes) =
        coreutils::read(call.model, path).ok_or_else(|| format!("Error: path \"{path}\" not found"))?;
    let mut text = String::new();
    let unpacked = flate2::read::GzDecoder::new(bytes.as_slice()).read_to_string(&mut text);
    unpacked.map_err(|_| format!("Error: file '{path}' does not appear to be a gzipped archive"))?;
    let value = yaml::document(&text).map_err(|why| format!("Error: {why}"))?;
    let field = |name: &str| {
        value[name]
            .as_str()
            .map(str::to_owned)
            .ok_or_else(|| format!("Error: chart metadata.{name} is required"))
    };
    Ok(Chart { name: field("name")?, version: field("version")? })
}

/// Reads and checks the values of a chart.
fn read_values(call: &Call<'_>, words: &Words, chart: &Chart) -> Result<Value, String> {
    let values = match &words.values {
        Some(path) => {
            let text = coreutils::read(call.model, path).and_then(|(_, bytes)| String::from_utf8(bytes).ok());
            yaml::document(&text.ok_or_else(|| format!("Error: open {path}: no such file or directory"))?)
                .map_err(|why| format!("Error: failed to parse {path}: {why}"))?
        }
        None => json!({}),
    };
    helm_chart::check(chart, &values).map_err(|why| format!("Error: {why}"))?;
    Ok(values)
}

/// `helm show chart`: the chart's `Chart.yaml`.
async fn show_chart(call: &Call<'_>, path: &str) -> Result<(), String> {
    let chart = read_chart(call, path)?;
    call.print(images::chart_yaml(&chart.version)).await;
    Ok(())
}

/// `helm template`: the objects as text, without a cluster.
async fn template(call: &Call<'_>, words: &Words, path: &str) -> Result<(), String> {
    let chart = read_chart(call, path)?;
    let values = read_values(call, words, &chart)?;
    let mut data = Data::default();
    for version in &words.api_versions {
        if let Some((group, kind)) =
            version.strip_suffix("/GatewayClass").map(|group| (group, "GatewayClass"))
        {
            let (group, version) = group.split_once('/').unwrap_or((group, "v1"));
            let definition = images::definition(group, "gatewayclasses", kind, false, version);
            objects::apply(&mut data, definition, call.model.around.clock_ms())
                .map_err(|why| format!("Error: {why}"))?;
        }
    }
    let namespace = words.namespace.as_deref().unwrap_or("default");
    for object in helm_chart::render(&chart, &values, namespace, &data) {
        let text = serde_saphyr::to_string(&object).map_err(|error| format!("Error: {error}"))?;
        call.print(format!("---\n# Source: {}\n{}\n", chart.name, text.trim_end())).await;
    }
    Ok(())
}

async fn list(call: &Call<'_>, cluster: &Cluster, namespace: &str) -> Result<(), String> {
    let mut latest: std::collections::BTreeMap<String, Value> = std::collections::BTreeMap::new();
    for release in history(&*cluster.read()?, namespace, None) {
        latest.insert(release["name"].as_str().unwrap_or_default().to_owned(), release);
    }
    let line = |release: &Value| {
        let metadata = &release["chart"]["metadata"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        json!({
            "name": release["name"], "namespace": release["namespace"], "revision": release["version"].to_string(),
            "updated": release["info"]["last_deployed"], "status": release["info"]["status"],
            "chart": format!("{}-{}", text(&metadata["name"]), text(&metadata["version"])), "app_version": metadata["version"],
        })
    };
    call.say(Value::Array(latest.values().map(line).collect()).to_string()).await;
    Ok(())
}

async fn status(
    call: &Call<'_>,
    words: &Words,
    cluster: &Cluster,
    namespace: &str,
    name: &str,
) -> Result<(), String> {
    let last = history(&*cluster.read()?, namespace, Some(name)).pop().ok_or("Error: release: not found")?;
    if words.json {
        call.say(last.to_string()).await;
    } else {
        call.say(format!("NAME: {name}\nSTATUS: {}", last["info"]["status"].as_str().unwrap_or_default()))
            .await;
    }
    Ok(())
}

async fn rollback(
    call: &Call<'_>,
    cluster: &Arc<Cluster>,
    namespace: &str,
    name: &str,
) -> Result<(), String> {
    let past = history(&*cluster.read()?, namespace, Some(name));
    let last = past.last().ok_or("Error: release: not found")?;
    let good = past
        .iter()
        .rev()
        .find(|one| matches!(one["info"]["status"].as_str(), Some("deployed" | "superseded")));
    let good = good.ok_or("Error: release has no 0 version")?.clone();
    let mut failed = last.clone();
    if failed["info"]["status"].as_str().is_some_and(|status| status.starts_with("pending-")) {
        failed["info"]["status"] = "failed".into();
        record(cluster, call, namespace, &failed)?;
    }
    let mut release = good.clone();
    release["version"] = (last["version"].as_u64().unwrap_or(0) + 1).into();
    release["info"]["status"] = "deployed".into();
    call.model.pass(pace::HELM_APPLY).await;
    let chart = Chart {
        name: good["chart"]["metadata"]["name"].as_str().unwrap_or_default().to_owned(),
        version: good["chart"]["metadata"]["version"].as_str().unwrap_or_default().to_owned(),
    };
    let data = cluster.read()?;
    for object in helm_chart::render(&chart, &good["config"], namespace, &data) {
        cluster.put(call.model, object).map_err(|why| format!("Error: {why}"))?;
    }
    let mut superseded = good;
    superseded["info"]["status"] = "superseded".into();
    record(cluster, call, namespace, &superseded)?;
    record(cluster, call, namespace, &release)?;
    call.say("Rollback was a success! Happy Helming!").await;
    Ok(())
}

async fn uninstall(
    call: &Call<'_>,
    cluster: &Arc<Cluster>,
    namespace: &str,
    name: &str,
) -> Result<(), String> {
    let data = cluster.read()?;
    let past = history(&data, namespace, Some(name));
    let last = past
        .last()
        .ok_or_else(|| format!("Error: uninstall: Release not loaded: {name}: release: not found"))?;
    let chart = Chart {
        name: name.to_owned(),
        version: last["chart"]["metadata"]["version"].as_str().unwrap_or_default().to_owned(),
    };
    let rendered = helm_chart::render(&chart, &last["config"], namespace, &data);
    call.model.pass(pace::HELM_APPLY).await;
    cluster.change(|data| {
        for object in &rendered {
            helm_chart::remove(data, object);
        }
        for release in &past {
            data.remove("secrets", namespace, &format!("sh.helm.release.v1.{name}.v{}", release["version"]));
        }
        Ok(())
    })?;
    call.say(format!("release \"{name}\" uninstalled")).await;
    Ok(())
}
