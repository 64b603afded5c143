//! kubectl: over a real connection to the API server, then on the cluster that answered.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::{coreutils, kubectl_exec};
use crate::sim::guest::kube::client;
use crate::sim::guest::kube::cluster::Cluster;
use crate::sim::guest::kube::config::split_endpoint;
use crate::sim::guest::kube::data::{Data, condition, timestamp};
use crate::sim::guest::kube::objects::{self, Applied};
use crate::sim::guest::kube::resources::{self, Resource};
use crate::sim::guest::kube::{api, controllers};
use crate::sim::guest::shell::Call;
use crate::sim::guest::tls::Trust;
use crate::sim::guest::{pace, yaml};

/// A command's words, sorted.
#[derive(Default)]
struct Words {
    kubeconfig: Option<String>,
    /// Asked in place of the kubeconfig's.
    server: Option<String>,
    namespace: Option<String>,
    all_namespaces: bool,
    output: Option<String>,
    raw: Option<String>,
    ignore_not_found: bool,
    file: Option<String>,
    condition: Option<String>,
    timeout: Option<Duration>,
    patch: Option<String>,
    patch_type: Option<String>,
    server_side: bool,
    /// Labels that a pod must bear: `app=echo`.
    selector: Vec<(String, String)>,
    container: Option<String>,
    tail: Option<usize>,
    rest: Vec<String>,
    /// What follows `--`.
    command: Vec<String>,
}

impl Words {
    fn read(args: &[String]) -> Result<Self, String> {
        let mut words = Self::default();
        let mut left = args.iter();
        while let Some(word) = left.next() {
            if word == "--" {
                words.command = left.by_ref().cloned().collect();
                break;
            }
            let (flag, inline) = match word.split_once('=') {
                Some((flag, value)) if flag.starts_with("--") => (flag, Some(value.to_owned())),
                _ => (word.as_str(), None),
            };
            let mut value = || {
                inline
                    .clone()
                    .or_else(|| left.next().cloned())
                    .ok_or_else(|| format!("error: flag needs an argument: {flag}"))
            };
            match flag {
                "--kubeconfig" => words.kubeconfig = Some(value()?),
                "-s" | "--server" => words.server = Some(value()?),
                "-n" | "--namespace" => words.namespace = Some(value()?),
                "-A" | "--all-namespaces" => words.all_namespaces = true,
                "-o" | "--output" => words.output = Some(value()?),
                "--raw" => words.raw = Some(value()?),
                "--ignore-not-found" => words.ignore_not_found = true,
                "-f" | "--filename" => words.file = Some(value()?),
                "--for" => words.condition = Some(value()?),
                "--timeout" => words.timeout = Some(seconds(&value()?)?),
                "-p" | "--patch" => words.patch = Some(value()?),
                "--type" => words.patch_type = Some(value()?),
                "--server-side" => words.server_side = true,
                "--field-manager" => drop(value()?),
                "-c" | "--container" => words.container = Some(value()?),
                "-l" | "--selector" => words.selector = labels(&value()?)?,
                "--tail" => {
                    let lines = value()?;
                    words.tail = Some(lines.parse().map_err(|_| format!("error: invalid --tail {lines}"))?);
                }
                "--force-conflicts" | "--overwrite" | "--wait" | "--ignore-errors" => {}
                other if other.starts_with('-') => return Err(format!("error: unknown flag: {other}")),
                plain => words.rest.push(plain.to_owned()),
            }
        }
        Ok(words)
    }

    fn namespace(&self) -> &str {
        self.namespace.as_deref().unwrap_or("default")
    }

    fn limit(&self) -> u64 {
        const DEFAULT: u64 = 30;
        self.timeout.map_or(DEFAULT, |timeout| timeout.as_secs())
    }
}

fn labels(text: &str) -> Result<Vec<(String, String)>, String> {
    let pair = |one: &str| one.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()));
    text.split(',')
        .map(pair)
        .collect::<Option<_>>()
        .ok_or_else(|| format!("error: unable to parse selector {text:?}"))
}

fn seconds(text: &str) -> Result<Duration, String> {
    let bad = || format!("error: invalid argument \"{text}\" for \"--timeout\" flag");
    let (digits, factor) = match text.strip_suffix('m') {
        Some(minutes) => (minutes, 60),
        None => (text.strip_suffix('s').ok_or_else(bad)?, 1),
    };
    digits.parse::<u64>().map(|number| Duration::from_secs(number * factor)).map_err(|_| bad())
}

/// What a verb works with.
struct Session<'a, 'b> {
    call: &'a Call<'b>,
    cluster: Arc<Cluster>,
    words: &'a Words,
}

pub async fn run(call: &Call<'_>) -> i32 {
    let words = match Words::read(&call.args) {
        Ok(words) => words,
        Err(why) => return call.fail(1, why).await,
    };
    let path = words.kubeconfig.clone().unwrap_or_else(|| "/root/.kube/config".to_owned());
    if !call.root && coreutils::read(call.model, &path).is_some_and(|(mode, _)| mode & 0o004 == 0) {
        return call
            .fail(1, format!("error: error loading config file \"{path}\": open {path}: permission denied"))
            .await;
    }
    match work(call, &words, &path).await {
        Ok(status) => status,
        Err(why) => call.fail(1, why).await,
    }
}

/// Does what was asked; the status of a program in a container is that of the whole command.
async fn work(call: &Call<'_>, words: &Words, path: &str) -> Result<i32, String> {
    let mut config = client::kubeconfig(call.model, path).map_err(|why| format!("error: {why}"))?;
    if let Some(server) = &words.server {
        let place = server.strip_prefix("https://").and_then(split_endpoint);
        let (host, port) =
            place.ok_or_else(|| format!("error: the server \"{server}\" is not understood"))?;
        (config.host, config.port) = (host.to_owned(), port);
    }
    if let Some(raw) = &words.raw {
        return get_raw(call, &config, raw).await.map(|()| 0);
    }
    let unreachable = |why: String| {
        if why.starts_with("Error") { why } else { format!("Unable to connect to the server: {why}") }
    };
    let cluster = client::cluster(call.model, &config).await.map_err(unreachable)?;
    let session = Session { call, cluster, words };
    let rest: Vec<&str> = words.rest.iter().map(String::as_str).collect();
    let outcome = match rest[..] {
        ["get", kind] => session.get(kind, None).await,
        ["get", kind, name] => session.get(kind, Some(name)).await,
        ["apply"] => session.apply().await,
        ["wait", object] => session.wait(object).await,
        ["rollout", "status", object] => session.rollout_status(object).await,
        ["rollout", "restart", object] => session.rollout_restart(object).await,
        ["delete", kind, name] => session.delete(kind, name).await,
        ["annotate", kind, name, annotation] => session.annotate(kind, name, annotation).await,
        ["patch", kind, name] => session.patch(kind, name).await,
        ["exec", target] => {
            let ended =
                kubectl_exec::run(&session.cluster, words.namespace(), target, &words.command).await?;
            call.print(ended.stdout).await;
            if ended.status == 0 {
                return Ok(0);
            }
            call.complain(format!("{}command terminated with exit code {}", ended.stderr, ended.status))
                .await;
            return Ok(ended.status);
        }
        ["logs"] => session.logs().await,
        _ => Err(format!("error: unknown command \"{}\" for \"kubectl\"", rest.join(" "))),
    };
    controllers::settle(&session.cluster);
    session.cluster.sync();
    outcome.map(|()| 0)
}

async fn get_raw(
    call: &Call<'_>,
    config: &crate::sim::guest::kube::pki::Kubeconfig,
    path: &str,
) -> Result<(), String> {
    call.model.pass(pace::API_CALL).await;
    let trust = Trust::Authorities(config.ca.clone());
    let response =
        client::ask(call.model, (&config.host, config.port), &trust, Some(&config.pair), path).await;
    let response = response.map_err(|why| format!("Unable to connect to the server: {why}"))?;
    if response.status == 200 {
        call.print(response.body).await;
        return Ok(());
    }
    Err(format!("Error from server: {}", String::from_utf8_lossy(&response.body).trim()))
}

impl Session<'_, '_> {
    fn data(&self) -> Result<Arc<Data>, String> {
        self.cluster.read().map_err(server)
    }

    fn resource(&self, data: &Data, word: &str) -> Result<Resource, String> {
        resources::by_word(data, word)
            .ok_or_else(|| format!("error: the server doesn't have a resource type \"{word}\""))
    }

    fn home(&self, resource: &Resource) -> &str {
        if resource.namespaced { self.words.namespace() } else { "" }
    }

    /// Splits `kind/name` and finds the kind.
    fn object(&self, data: &Data, word: &str) -> Result<(Resource, String), String> {
        let (kind, name) = word
            .split_once('/')
            .ok_or("error: arguments in resource/name form must have a single resource and name")?;
        Ok((self.resource(data, kind)?, name.to_owned()))
    }

    async fn get(&self, kind: &str, name: Option<&str>) -> Result<(), String> {
        let data = self.data()?;
        let resource = self.resource(&data, kind)?;
        let found = match name {
            Some(name) => match data.get(&resource.id(), self.home(&resource), name) {
                Some(object) => object.clone(),
                None if self.words.ignore_not_found => return Ok(()),
                None => return Err(not_found(&resource, name)),
            },
            None => {
                let namespace =
                    (resource.namespaced && !self.words.all_namespaces).then(|| self.words.namespace());
                let mut items = data.list(&resource.id(), namespace);
                items.retain(|item| self.is_selected(item));
                match self.words.output.as_deref() {
                    Some("json") => api_list(items),
                    _ => return self.table(items).await,
                }
            }
        };
        match self.words.output.as_deref() {
            Some("json") => self.call.say(format!("{found:#}")).await,
            Some("name") | None => self.call.say(resource.display(name.unwrap_or_default())).await,
            Some(other) => {
                return Err(format!(
                    "error: unable to match a printer suitable for the output format \"{other}\""
                ));
            }
        }
        Ok(())
    }

    fn is_selected(&self, item: &Value) -> bool {
        self.words.selector.iter().all(|(key, value)| item["metadata"]["labels"][key] == value.as_str())
    }

    async fn logs(&self) -> Result<(), String> {
        const DEFAULT_TAIL: usize = 10;
        if self.words.selector.is_empty() || self.words.container.is_none() {
            return Err("error: the model's kubectl logs needs -l and -c".into());
        }
        let data = self.data()?;
        let pods = data.list("pods", Some(self.words.namespace()));
        let mut lines = Vec::new();
        for pod in pods.into_iter().filter(|pod| self.is_selected(pod)) {
            let all = kubectl_exec::log(&data, pod);
            let tail = self.words.tail.unwrap_or(DEFAULT_TAIL);
            lines.extend(all.into_iter().rev().take(tail).rev());
        }
        if lines.is_empty() {
            self.call.complain(format!("No resources found in {} namespace.", self.words.namespace())).await;
        }
        for line in lines {
            self.call.say(line).await;
        }
        Ok(())
    }

    async fn table(&self, items: Vec<&Value>) -> Result<(), String> {
        if items.is_empty() {
            self.call.complain("No resources found").await;
        }
        for item in items {
            self.call.say(item["metadata"]["name"].as_str().unwrap_or_default()).await;
        }
        Ok(())
    }

    async fn apply(&self) -> Result<(), String> {
        let path = self.words.file.as_deref().ok_or("error: must specify one of -f and -k")?;
        let content = match path {
            "-" | "/dev/stdin" => self.call.input.clone(),
            _ => {
                let read = coreutils::read(self.call.model, path).map(|(_, content)| content);
                read.ok_or_else(|| format!("error: the path \"{path}\" does not exist"))?
            }
        };
        if !self.words.server_side && content.len() > 256 * 1024 {
            return Err("error: metadata.annotations: Too long: may not be more than 262144 bytes".into());
        }
        let text = String::from_utf8(content).map_err(|_| format!("error: {path} is not UTF-8"))?;
        let documents =
            yaml::documents(&text).map_err(|why| format!("error: error parsing {path}: {why}"))?;
        let mut failures = Vec::new();
        for document in documents {
            let mut document = document;
            if let (Some(namespace), true) =
                (&self.words.namespace, document["metadata"]["namespace"].is_null())
            {
                document["metadata"]["namespace"] = namespace.clone().into();
            }
            let name = document["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            let now = self.call.model.around.clock_ms();
            match self.cluster.change(|data| objects::apply(data, document, now)) {
                Ok((resource, applied)) => {
                    let word = match (applied, self.words.server_side) {
                        (_, true) => "serverside-applied",
                        (Applied::Created, _) => "created",
                        (Applied::Changed, _) => "configured",
                        (Applied::Unchanged, _) => "unchanged",
                    };
                    self.call.say(format!("{} {word}", resource.display(&name))).await;
                }
                Err(why) if why.starts_with("no matches") => failures.push(format!("error: resource mapping not found for name: \"{name}\" namespace: \"\" from \"{path}\": {why}")),
                Err(why) => failures.push(server(why)),
            }
        }
        controllers::settle(&self.cluster);
        if failures.is_empty() { Ok(()) } else { Err(failures.join("\n")) }
    }

    async fn wait(&self, object: &str) -> Result<(), String> {
        let wanted = self.words.condition.as_deref().and_then(|text| text.strip_prefix("condition="));
        let wanted = wanted.ok_or("error: the model waits for condition=NAME only")?;
        for tick in 0..=self.words.limit() {
            let data = self.data()?;
            let (resource, name) = self.object(&data, object)?;
            match data.get(&resource.id(), self.home(&resource), &name) {
                None => return Err(not_found(&resource, &name)),
                Some(found) if condition(found, wanted) => {
                    self.call.say(format!("{} condition met", resource.display(&name))).await;
                    return Ok(());
                }
                Some(_) if tick < self.words.limit() => self.call.model.look_again(pace::POLL).await,
                Some(_) => {}
            }
        }
        Err(format!("error: timed out waiting for the condition on {object}"))
    }

    async fn rollout_status(&self, object: &str) -> Result<(), String> {
        for _ in 0..=self.words.limit() {
            let data = self.data()?;
            let (resource, name) = self.object(&data, object)?;
            let found = data
                .get(&resource.id(), self.home(&resource), &name)
                .ok_or_else(|| not_found(&resource, &name))?;
            let status = &found["status"];
            let fresh = status["observedGeneration"] == found["metadata"]["generation"];
            let (wanted, ready) = match resource.kind.as_str() {
                "DaemonSet" => (status["desiredNumberScheduled"].as_u64(), status["numberReady"].as_u64()),
                "Deployment" => {
                    (Some(found["spec"]["replicas"].as_u64().unwrap_or(1)), status["readyReplicas"].as_u64())
                }
                kind => return Err(format!("error: no status viewer has been implemented for {kind}")),
            };
            if fresh && wanted.is_some() && ready >= wanted {
                let word = if resource.kind == "DaemonSet" { "daemon set" } else { "deployment" };
                self.call.say(format!("{word} \"{name}\" successfully rolled out")).await;
                return Ok(());
            }
            self.call.model.look_again(pace::POLL).await;
        }
        Err("error: timed out waiting for the condition".into())
    }

    async fn rollout_restart(&self, object: &str) -> Result<(), String> {
        let data = self.data()?;
        let (resource, name) = self.object(&data, object)?;
        let now_ms = self.call.model.around.clock_ms();
        let patch = json!({ "spec": { "template": { "metadata": { "annotations": { "kubectl.kubernetes.io/restartedAt": format!("{}#{}", timestamp(now_ms), data.revision) } } } } });
        self.change(&resource, &name, &patch)?;
        self.call.say(format!("{} restarted", resource.display(&name))).await;
        Ok(())
    }

    /// Applies a merge patch to an object that exists.
    fn change(&self, resource: &Resource, name: &str, patch: &Value) -> Result<(), String> {
        let (home, now) = (self.home(resource).to_owned(), self.call.model.around.clock_ms());
        let missing = not_found(resource, name);
        let change = |data: &mut Data| {
            let mut object = data.get(&resource.id(), &home, name).cloned().ok_or(missing)?;
            objects::merge(&mut object, patch);
            objects::apply(data, object, now).map(drop)
        };
        self.cluster.change(change).map_err(server)
    }

    async fn delete(&self, kind: &str, name: &str) -> Result<(), String> {
        let data = self.data()?;
        let resource = self.resource(&data, kind)?;
        let home = self.home(&resource).to_owned();
        if !self.cluster.change(|data| Ok(data.remove(&resource.id(), &home, name))).map_err(server)? {
            return if self.words.ignore_not_found { Ok(()) } else { Err(not_found(&resource, name)) };
        }
        self.call
            .say(format!(
                "{} \"{name}\" deleted",
                resource.display(name).split('/').next().unwrap_or_default()
            ))
            .await;
        Ok(())
    }

    async fn annotate(&self, kind: &str, name: &str, annotation: &str) -> Result<(), String> {
        let data = self.data()?;
        let resource = self.resource(&data, kind)?;
        let (key, value) = match annotation.split_once('=') {
            Some((key, value)) => (key, Value::from(value)),
            None => (
                annotation.strip_suffix('-').ok_or("error: at least one annotation update is required")?,
                Value::Null,
            ),
        };
        self.change(&resource, name, &json!({ "metadata": { "annotations": { key: value } } }))?;
        self.call.say(format!("{} annotated", resource.display(name))).await;
        Ok(())
    }

    async fn patch(&self, kind: &str, name: &str) -> Result<(), String> {
        let data = self.data()?;
        let resource = self.resource(&data, kind)?;
        if self.words.patch_type.as_deref() != Some("merge") {
            return Err("error: the model takes --type merge only".into());
        }
        let patch = self
            .words
            .patch
            .as_deref()
            .ok_or("error: must specify --patch or --patch-file containing the contents of the patch")?;
        let patch: Value = serde_json::from_str(patch)
            .map_err(|error| format!("error: unable to parse \"{patch}\": {error}"))?;
        self.change(&resource, name, &patch)?;
        self.call.say(format!("{} patched", resource.display(name))).await;
        Ok(())
    }
}

fn server(why: String) -> String {
    if why.starts_with("Error") { why } else { format!("Error from server: {why}") }
}

fn not_found(resource: &Resource, name: &str) -> String {
    format!("Error from server (NotFound): {} \"{name}\" not found", resource.id())
}

/// kubectl's own list object.
fn api_list(items: Vec<&Value>) -> Value {
    let any = Resource {
        plural: String::new(),
        kind: String::new(),
        group: String::new(),
        version: "v1".into(),
        namespaced: false,
    };
    api::list(&any, items)
}
