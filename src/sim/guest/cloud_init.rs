//! cloud-init's stages: which seed there is, whether the instance is new, and what it changes on the machine.

use std::sync::Arc;

use serde_json::Value;

use super::network::NetworkConfig;
use super::state::Disk;
use super::user_data::{ManageHosts, Run, User, UserData, WriteFile, meta_data};
use super::{Model, pace, shell, yaml};
use crate::formats::mail_time;

/// The instance-id of DataSourceNone (facts/vm-images-cloudinit.md §4.3).
const NONE_INSTANCE: &str = "iid-datasource-none";

/// Where modules, and what they run, print to.
pub const OUTPUT: &str = "/var/log/cloud-init-output.log";

/// What the local stage decided for this boot.
pub struct Plan {
    /// Whether per-instance modules run: the instance-id is new to this disk.
    pub new_instance: bool,
    pub user_data: UserData,
    pub local_hostname: Option<String>,
    pub network: Option<NetworkConfig>,
}

/// Finds the datasource; none if cloud-init does not run at all on this boot.
pub async fn local_stage(model: &Model) -> Option<Plan> {
    let (disabled, seedless_runs) =
        model.disk(|disk| (disk.file("/etc/cloud/cloud-init.disabled").is_some(), falls_to_none(disk)));
    let seed = model
        .hardware
        .seed
        .as_ref()
        .filter(|seed| seed.contains_key("user-data") && seed.contains_key("meta-data"));
    if disabled || seed.is_none() && !seedless_runs {
        model.live(|live| live.cloud_init.status = "disabled");
        return None;
    }
    begin(model, "init-local");
    model.live(|live| {
        live.cloud_init.status = "running";
        live.cloud_init.datasource = if seed.is_some() { "nocloud" } else { "none" };
    });
    model.pass(pace::CLOUD_INIT_LOCAL).await;
    let empty = Default::default();
    Some(plan(model, seed.unwrap_or(&empty)))
}

/// Says whether the datasource list ends in None, so that cloud-init runs without a seed.
fn falls_to_none(disk: &Disk) -> bool {
    let texts = disk.glob("/etc/cloud/cloud.cfg.d", ".cfg").into_iter().filter_map(|path| disk.text(&path));
    let lists = texts.filter_map(|text| yaml::document(&text).ok()?.get("datasource_list").cloned());
    lists.collect::<Vec<_>>().last().is_some_and(|list| *list == serde_json::json!(["NoCloud", "None"]))
}

fn plan(model: &Model, seed: &std::collections::BTreeMap<String, Vec<u8>>) -> Plan {
    let meta = seed.get("meta-data").map(|bytes| meta_data(bytes)).transpose();
    let meta = meta.unwrap_or_else(|why| {
        fail(model, format!("meta-data: {why}"));
        None
    });
    let meta = meta.unwrap_or_default();
    let instance = meta
        .get("instance-id")
        .cloned()
        .unwrap_or_else(|| if seed.is_empty() { NONE_INSTANCE.to_owned() } else { "nocloud".to_owned() });
    let user_data =
        seed.get("user-data").map_or_else(|| Ok(UserData::default()), |bytes| UserData::read(bytes));
    let user_data = user_data.unwrap_or_else(|why| {
        warn(model, why);
        UserData::default()
    });
    for warning in &user_data.warnings {
        warn(model, format!("cloud-config failed schema validation! {warning}"));
    }
    let new_instance = model.change_disk(|disk| disk.instance.replace(instance.clone()) != Some(instance));
    let network = if new_instance { new_network(model, seed) } else { known_network(model) };
    Plan { new_instance, user_data, local_hostname: meta.get("local-hostname").cloned(), network }
}

/// Reads the seed's network configuration and keeps it, as netplan's file would.
fn new_network(model: &Model, seed: &std::collections::BTreeMap<String, Vec<u8>>) -> Option<NetworkConfig> {
    let Some(bytes) = seed.get("network-config") else {
        model.change_disk(|disk| disk.netplan = None);
        return Some(NetworkConfig::fallback(model.hardware.cards.first()));
    };
    let read = || -> Result<(Value, NetworkConfig), String> {
        let text = std::str::from_utf8(bytes).map_err(|_| "network-config is not UTF-8".to_owned())?;
        let value = yaml::document(text)?;
        Ok((value.clone(), NetworkConfig::read(&value)?))
    };
    match read() {
        Ok((value, config)) => {
            model.change_disk(|disk| disk.netplan = Some(value));
            Some(config)
        }
        Err(why) => {
            fail(model, why);
            None
        }
    }
}

/// Returns what an earlier boot configured; the first card asks for a lease if nothing did.
pub fn known_network(model: &Model) -> Option<NetworkConfig> {
    match model.disk(|disk| disk.netplan.clone()) {
        Some(value) => NetworkConfig::read(&value).ok(),
        None => model
            .disk(|disk| disk.instance.is_some())
            .then(|| NetworkConfig::fallback(model.hardware.cards.first())),
    }
}

/// The network stage: host name, files, users, keys. sshd may start after it.
pub async fn network_stage(model: &Arc<Model>, plan: &Plan) {
    stage(model, "init");
    model.pass(pace::CLOUD_INIT_NETWORK).await;
    let data = &plan.user_data;
    run_all(model, "bootcmd", &data.bootcmd).await;
    if plan.new_instance {
        model.change_disk(|disk| {
            data.files.iter().filter(|file| !file.defer).for_each(|file| write_file(disk, file));
            set_hostname(disk, plan);
            host_keys(disk, data, model);
            data.users.iter().for_each(|user| add_user(disk, user));
        });
    }
    if data.manage_etc_hosts.is_some() {
        model.change_disk(|disk| manage_hosts(disk, data));
    }
    let hostname = model.disk(|disk| disk.text("/etc/hostname")).unwrap_or_default();
    model.live(|live| live.hostname = hostname.trim().to_owned());
    model.sync();
}

/// The config and final stages: what the user's commands do.
pub async fn final_stage(model: &Arc<Model>, plan: &Plan) {
    stage(model, "modules-config");
    model.pass(pace::CLOUD_INIT_FINAL).await;
    stage(model, "modules-final");
    if plan.new_instance {
        model.change_disk(|disk| {
            plan.user_data.files.iter().filter(|file| file.defer).for_each(|file| write_file(disk, file));
        });
        let missing = |package: &&String| model.disk(|disk| !disk.packages.contains_key(*package));
        let absent: Vec<_> = plan.user_data.packages.iter().filter(missing).cloned().collect();
        if !absent.is_empty() {
            fail(
                model,
                format!(
                    "package_update_upgrade_install: cannot install {}: the model bakes packages only in its template",
                    absent.join(" ")
                ),
            );
        }
        run_all(model, "scripts_user", &plan.user_data.runcmd).await;
    }
    let status = model.live(|live| {
        let status = if live.cloud_init.errors.is_empty() { "done" } else { "error" };
        live.cloud_init.status = status;
        live.cloud_init.stage = "";
        status
    });
    say(model, "cloud-init[final]", &format!("Cloud-init finished: {status}. Datasource DataSourceNoCloud"));
    model.sync();
}

/// Says that a stage begins, as cloud-init does.
fn begin(model: &Model, stage: &str) {
    let time = mail_time::write(model.around.clock_ms() / 1000);
    model.around.console(&format!("cloud-init: Cloud-init running '{stage}'"));
    append(model, &format!("Cloud-init v. 26.2 running '{stage}' at {time}. Up 1.00 seconds."));
}

/// Says something on the console and in the file of cloud-init's output.
fn say(model: &Model, who: &str, text: &str) {
    model.around.console(&format!("{who}: {text}"));
    append(model, text);
}

fn append(model: &Model, line: &str) {
    model.change_disk(|disk| {
        let text = disk.text(OUTPUT).unwrap_or_default();
        disk.put(OUTPUT, 0o640, format!("{text}{line}\n"));
    });
}

fn stage(model: &Model, name: &'static str) {
    begin(model, name);
    model.live(|live| live.cloud_init.stage = name);
}

fn fail(model: &Model, why: String) {
    say(model, "cloud-init", &format!("ERROR: {why}"));
    model.live(|live| live.cloud_init.errors.push(why));
}

fn warn(model: &Model, why: String) {
    say(model, "cloud-init", &format!("WARNING: {why}"));
    model.live(|live| live.cloud_init.recoverable.entry("WARNING").or_default().push(why));
}

/// Runs commands as root, one after the other; the first that fails is an error, the rest still run.
async fn run_all(model: &Arc<Model>, module: &str, commands: &[Run]) {
    for command in commands {
        let (status, last) = match command {
            Run::Argv(argv) => shell::run_quietly(model, argv.clone()).await,
            Run::Line(line) => shell::run_script_line(model, line).await,
        };
        if !last.is_empty() {
            say(model, "cloud-init[final]", &last);
        }
        if status != 0 {
            fail(model, format!("{module}: command {command:?} failed with exit status {status}: {last}"));
        }
    }
}

fn write_file(disk: &mut Disk, file: &WriteFile) {
    let mut content = Vec::new();
    if file.append {
        content.extend_from_slice(disk.file(&file.path).map_or(&[][..], |old| &old.content));
    }
    content.extend_from_slice(&file.content);
    let owner = file.owner.split(':').next().unwrap_or("root").to_owned();
    disk.put_file(&file.path, super::state::File { mode: file.mode, owner, content: Arc::new(content) });
}

fn set_hostname(disk: &mut Disk, plan: &Plan) {
    if let Some(name) = plan.user_data.hostname.as_ref().or(plan.local_hostname.as_ref()) {
        disk.put("/etc/hostname", 0o644, format!("{name}\n"));
    }
}

/// Installs the given host key, or makes one that nobody knows: old ones are deleted first (§4.7).
fn host_keys(disk: &mut Disk, data: &UserData, model: &Model) {
    let key = data.host_key.clone().unwrap_or_else(|| super::boot::random_host_key(model));
    disk.put(super::boot::HOST_KEY, 0o600, key);
}

fn add_user(disk: &mut Disk, user: &User) {
    let mut passwd = disk.text("/etc/passwd").unwrap_or_default();
    if !passwd.lines().any(|line| line.split(':').next() == Some(&user.name)) {
        passwd.push_str(&format!("{0}:x:1000:1000::/home/{0}:/bin/bash\n", user.name));
        disk.put("/etc/passwd", 0o644, passwd);
    }
    let keys = user.keys.iter().map(|key| format!("{key}\n")).collect::<String>();
    disk.put_file(
        &format!("/home/{}/.ssh/authorized_keys", user.name),
        super::state::File { mode: 0o600, owner: user.name.clone(), content: Arc::new(keys.into_bytes()) },
    );
    if let Some(rule) = &user.sudo {
        let mut rules = disk.text(super::shell::SUDOERS).unwrap_or_default();
        rules.push_str(&format!("{} {rule}\n", user.name));
        disk.put(super::shell::SUDOERS, 0o440, rules);
    }
}

fn manage_hosts(disk: &mut Disk, data: &UserData) {
    let name = disk.text("/etc/hostname").unwrap_or_default().trim().to_owned();
    let own = format!("127.0.1.1 {name}\n");
    let hosts = match data.manage_etc_hosts {
        Some(ManageHosts::Template) => format!("{own}127.0.0.1 localhost\n::1 localhost\n"),
        _ => {
            let old = disk.text("/etc/hosts").unwrap_or_default();
            if old.contains(&own) { old } else { own + &old }
        }
    };
    disk.put("/etc/hosts", 0o644, hosts);
}
