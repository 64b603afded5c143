//! Asking a server: the HTTP client, and what of its failures can get better by itself.

use std::time::Duration;

use reqwest::header::{self, HeaderMap};
use reqwest::{Client, StatusCode};

use super::{Tell, Told};
use crate::host::{HostError, Result, clock};

/// The pause before the second try; each one after it is twice as long, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// A server may ask for a longer pause than ours, but not for more than this.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What can get better by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// No connection: no such name, nobody there, no route. Somebody without a network wants to know soon.
    Unreachable,
    /// The connection broke, or nothing came for too long.
    Broken,
    /// The server says that it cannot just now.
    Busy,
}

impl Cause {
    /// How often it is tried again in a row. Bytes that arrive in between start the count anew.
    fn tries_again(self) -> u32 {
        match self {
            Self::Unreachable => 2,
            Self::Broken => 4,
            Self::Busy => 5,
        }
    }
}

/// Why a request did not do.
#[derive(Debug)]
pub enum Failure {
    /// The server has no such file: 404 or 410.
    Gone(HostError),
    /// Trying again may help, perhaps after the time that the server asks for.
    Perhaps {
        cause: Cause,
        after: Option<Duration>,
        error: HostError,
    },
    Final(HostError),
}

impl From<HostError> for Failure {
    fn from(error: HostError) -> Self {
        Self::Final(error)
    }
}

impl Failure {
    pub fn into_error(self) -> HostError {
        match self {
            Self::Gone(error) | Self::Final(error) | Self::Perhaps { error, .. } => error,
        }
    }

    /// Returns what a request's failure is.
    pub fn of_request(url: &str, error: &reqwest::Error) -> Self {
        let failed = HostError::Download { url: url.to_owned(), reason: reason(error) };
        // A certificate that is not believed now is not believed in a second.
        if error.is_redirect() || error.is_builder() || is_tls(error) {
            return Self::Final(failed);
        }
        let cause = if error.is_connect() { Cause::Unreachable } else { Cause::Broken };
        Self::Perhaps { cause, after: None, error: failed }
    }

    /// Returns what an answer is that is no success.
    pub fn of_status(url: &str, status: StatusCode, headers: &HeaderMap) -> Self {
        let reason = match status {
            StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
                format!("the proxy wants a user and a password ({status})")
            }
            _ => format!("the server answers {status}"),
        };
        let error = HostError::Download { url: url.to_owned(), reason };
        match status {
            StatusCode::NOT_FOUND | StatusCode::GONE => Self::Gone(error),
            StatusCode::REQUEST_TIMEOUT
            | StatusCode::TOO_MANY_REQUESTS
            | StatusCode::INTERNAL_SERVER_ERROR
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => {
                let after =
                    headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
                Self::Perhaps { cause: Cause::Busy, after: after.map(Duration::from_secs), error }
            }
            _ => Self::Final(error),
        }
    }
}

/// How often something was tried in a row.
#[derive(Debug, Default)]
pub struct Patience {
    tried: u32,
}

impl Patience {
    /// Something arrived: the next trouble is a new one.
    pub fn renew(&mut self) {
        self.tried = 0;
    }

    /// Waits before the next try, or returns the failure if there is to be none.
    pub async fn bear(&mut self, failure: Failure, tell: Tell<'_>) -> Result<(), Failure> {
        let Failure::Perhaps { cause, after, error } = failure else { return Err(failure) };
        if self.tried >= cause.tries_again() {
            return Err(Failure::Final(error));
        }
        self.tried += 1;
        let doubled = FIRST_PAUSE * 2_u32.pow(self.tried - 1);
        let pause = doubled.max(after.unwrap_or_default()).min(LONGEST_PAUSE);
        let seen = match error {
            HostError::Download { reason, .. } => reason,
            other => other.to_string(),
        };
        tell(Told::Waiting { what: "the download goes on", seen });
        clock::pause(pause).await;
        Ok(())
    }
}

/// Returns a client. `https_only` refuses everything else, wherever a server sends us.
pub fn client(stall: Duration, https_only: bool) -> Result<Client> {
    install_crypto();
    let builder = Client::builder().user_agent(concat!("fusionlab/", env!("CARGO_PKG_VERSION")));
    let client = builder.connect_timeout(stall).read_timeout(stall).https_only(https_only).build();
    client.map_err(|error| HostError::Download { url: "(any)".to_owned(), reason: reason(&error) })
}

/// Makes ring the process's provider of cryptography, once: rustls panics without one.
pub fn install_crypto() {
    // An error says that there is one already.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// Returns why a request failed. reqwest's own words are the URL and little more; the last causes say the rest.
pub fn reason(error: &reqwest::Error) -> String {
    const TOLD: usize = 2;
    if error.is_timeout() {
        return "nothing came for too long".to_owned();
    }
    let mut causes: Vec<String> = causes(error).map(ToString::to_string).collect();
    // Some causes repeat what they are wrapped in.
    causes.dedup_by(|next, before| before.ends_with(next.as_str()));
    match causes.as_slice() {
        [] => error.to_string(),
        causes => causes[causes.len().saturating_sub(TOLD)..].join(": "),
    }
}

fn is_tls(error: &reqwest::Error) -> bool {
    causes(error).any(|cause| {
        let inner = cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        cause.is::<rustls::Error>() || inner.is_some_and(|inner| inner.is::<rustls::Error>())
    })
}

fn causes(error: &reqwest::Error) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
    std::iter::successors(std::error::Error::source(error), |cause| cause.source())
}
