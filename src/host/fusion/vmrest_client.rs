//! The HTTP client of one `vmrest`: its media type, its answers, and what its refusals say.

use std::path::PathBuf;
use std::time::Duration;

use reqwest::{Client, Method, StatusCode, header};
use serde_json::Value;

use super::vmrest_server::Access;
use crate::host::download::reason;
use crate::host::{HostError, Result};

/// Anything else is answered with 406.
pub const MEDIA_TYPE: &str = "application/vnd.vmware.vmw.rest-v1+json";
/// vmrest answers from memory or does one thing; an answer is a list of VMs at most.
const LONGEST_ANSWER: usize = 4 << 20;

/// What a request carries.
#[derive(Clone, Debug)]
pub enum Body {
    None,
    Json(Value),
    /// A bare word, which is no JSON: what a power state is set with.
    Word(&'static str),
}

/// The client of one server.
#[derive(Clone)]
pub struct Rest {
    client: Client,
    pub access: Access,
}

impl Rest {
    pub fn new(access: Access) -> Result<Self> {
        crate::host::download::install_crypto();
        // A proxy in the user's environment must not see loopback requests.
        let client = Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build();
        let client = client.map_err(|error| rest_error(&Method::GET, "/", 0, None, reason(&error)))?;
        Ok(Self { client, access })
    }

    /// Makes one request, and returns the answer: JSON, or its text if it is none.
    pub async fn call(&self, method: &Method, path: &str, body: &Body, limit: Duration) -> Result<Value> {
        let url = format!("{}{path}", self.access.base);
        let mut request = self.client.request(method.clone(), url).timeout(limit);
        request = request.basic_auth(&self.access.user, Some(&self.access.password));
        request = request.header(header::ACCEPT, MEDIA_TYPE).header(header::CONTENT_TYPE, MEDIA_TYPE);
        request = match body {
            Body::None => request,
            Body::Json(value) => request.body(value.to_string()),
            Body::Word(word) => request.body(*word),
        };
        let failed = |error: reqwest::Error| match error.is_timeout() {
            true => HostError::Deadline { what: format!("an answer of vmrest to {method} {path}"), limit },
            false => rest_error(method, path, 0, None, reason(&error)),
        };
        let mut response = request.send().await.map_err(failed)?;
        let status = response.status();
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if bytes.len() + chunk.len() > LONGEST_ANSWER {
                return Err(rest_error(
                    method,
                    path,
                    status.as_u16(),
                    None,
                    "an answer without an end".to_owned(),
                ));
            }
            bytes.extend_from_slice(&chunk);
        }
        if status == StatusCode::NO_CONTENT {
            return Ok(Value::Null);
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let value = serde_json::from_str(&text).unwrap_or(Value::String(text));
        if status.is_success() {
            return Ok(value);
        }
        let code = member(&value, "code").and_then(Value::as_u64);
        let message = text_member(&value, "message").unwrap_or_else(|| match value {
            Value::String(text) => text.trim().to_owned(),
            other => other.to_string(),
        });
        Err(rest_error(method, path, status.as_u16(), code, message))
    }
}

/// Returns the VMs in an answer to `GET /vms`: the server's name for each, and the VMX; none if it is no such answer.
pub fn listed(answer: &Value) -> Option<Vec<(String, PathBuf)>> {
    let vms = answer.as_array()?.iter();
    Some(
        vms.filter_map(|vm| Some((text_member(vm, "id")?, PathBuf::from(text_member(vm, "path")?))))
            .collect(),
    )
}

/// Returns the error of an answer that is not what was asked for.
pub fn nonsense(path: &str, answer: &Value) -> HostError {
    let message = format!("an answer that is not understood: {answer}");
    rest_error(&Method::GET, path, StatusCode::OK.as_u16(), None, message)
}

/// Returns a member of an object; its key in either case, since the server mixes them.
fn member<'a>(object: &'a Value, key: &str) -> Option<&'a Value> {
    let members = object.as_object()?;
    members.iter().find(|(name, _)| name.eq_ignore_ascii_case(key)).map(|(_, value)| value)
}

pub fn text_member(object: &Value, key: &str) -> Option<String> {
    member(object, key)?.as_str().map(str::to_owned)
}

fn rest_error(method: &Method, path: &str, status: u16, code: Option<u64>, message: String) -> HostError {
    let method = match *method {
        Method::PUT => "PUT",
        Method::POST => "POST",
        _ => "GET",
    };
    HostError::Rest { method, path: path.to_owned(), status, code, message }
}
