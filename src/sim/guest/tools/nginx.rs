//! nginx: `-t` tests a configuration, `-v` says the version.

use crate::sim::guest::nginx::Nginx;
use crate::sim::guest::shell::Call;

pub async fn run(call: &Call<'_>) -> i32 {
    let (mut test, mut quiet, mut path) = (false, false, "/etc/nginx/nginx.conf".to_owned());
    let mut words = call.args.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "-t" => test = true,
            "-q" => quiet = true,
            "-c" => path = words.next().cloned().unwrap_or_default(),
            "-v" => {
                let version = call.model.disk(|disk| disk.packages.get("nginx").cloned()).unwrap_or_default();
                call.complain(format!("nginx version: nginx/{version} (Ubuntu)")).await;
                return 0;
            }
            other => {
                return call
                    .fail(1, format!("nginx: invalid option: \"{}\"", other.trim_start_matches('-')))
                    .await;
            }
        }
    }
    if !test {
        return call.fail(1, "nginx: the model guest starts nginx by systemd only").await;
    }
    if !call.root {
        return call
            .fail(1, format!("nginx: [emerg] open() \"{path}\" failed (13: Permission denied)"))
            .await;
    }
    match call.model.disk(|disk| Nginx::read(disk, &path)) {
        Ok(_) if quiet => 0,
        Ok(_) => {
            call.complain(format!("nginx: the configuration file {path} syntax is ok")).await;
            call.complain(format!("nginx: configuration file {path} test is successful")).await;
            0
        }
        Err(why) => {
            call.complain(format!("nginx: [emerg] {why}")).await;
            call.fail(1, format!("nginx: configuration file {path} test failed")).await
        }
    }
}
