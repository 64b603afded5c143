//! `vmrest`: Fusion's REST server over the same world (facts/vmrun-vmrest.md §3).

use std::collections::BTreeSet;
use std::io;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::Screen;
use super::rest_calls::{self, Answer};
use crate::sim::install::BUILD;
use crate::sim::orders::Orders;
use crate::sim::places::Places;
use crate::sim::world::lock;
use crate::sim::{faults, files};

/// Nothing else is taken or given (facts/vmrun-vmrest.md §3.1).
const MEDIA_TYPE: &str = "application/vnd.vmware.vmw.rest-v1+json";
const VERSION: &str = "1.3.1";
const DEFAULT_PORT: u16 = 8697;
/// The longest request body.
const LONGEST_BODY: usize = 64 * 1024;

/// `~/.vmrestCfg`.
#[derive(Clone)]
struct Credentials {
    port: u16,
    user: String,
    /// bcrypt of salt and password.
    hash: String,
    salt: String,
}

struct Server {
    orders: Orders,
    credentials: Credentials,
    /// Authorization headers that were found right: bcrypt is slow by design.
    known: Mutex<BTreeSet<String>>,
}

/// Serves until it is killed.
pub async fn run(places: &Places, args: &[String], screen: &mut Screen) -> u8 {
    if args.iter().any(|arg| arg == "-v") {
        screen.line(&format!("vmrest {VERSION} build-{BUILD}"));
        return 0;
    }
    let port = args.iter().position(|arg| arg == "-p").and_then(|at| args.get(at + 1)?.parse().ok());
    let Some(credentials) = credentials() else {
        banner(screen);
        screen.line("To listen on TCP port, Please use -C to update credential");
        screen.line("Not listening to either Unix Socket or TCP port, exiting");
        return 1;
    };
    let port = port.unwrap_or(credentials.port);
    match serve(places, port, credentials, screen).await {
        Ok(()) => 0,
        Err(error) => {
            screen.line(&format!("listen tcp 127.0.0.1:{port}: {error}"));
            1
        }
    }
}

fn banner(screen: &mut Screen) {
    screen.line("VMware Fusion REST API (simulated)");
    screen.line("");
    screen.line(&format!("vmrest {VERSION} build-{BUILD}"));
}

fn credentials() -> Option<Credentials> {
    let path = PathBuf::from(std::env::var_os("HOME")?).join(".vmrestCfg");
    parse(&files::read(&path).ok()??)
}

fn parse(text: &str) -> Option<Credentials> {
    let get = |key: &str| {
        text.lines().find_map(|line| line.trim().strip_prefix(key)?.strip_prefix('=')).map(str::to_owned)
    };
    let port = get("port").and_then(|port| port.parse().ok()).unwrap_or(DEFAULT_PORT);
    Some(Credentials { port, user: get("username")?, hash: get("password")?, salt: get("salt")? })
}

async fn serve(places: &Places, port: u16, credentials: Credentials, screen: &mut Screen) -> io::Result<()> {
    banner(screen);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    let app = app(Orders::new(places)?, credentials);
    screen.line(&format!("Serving HTTP on {}", listener.local_addr()?));
    screen.line("Press Ctrl+C to stop.");
    axum::serve(listener, app).await
}

fn app(orders: Orders, credentials: Credentials) -> Router {
    let server = Server { orders, credentials, known: Mutex::default() };
    Router::new().fallback(handle).with_state(Arc::new(server))
}

/// Returns the server of a settings file's text, for tests.
#[cfg(test)]
pub fn app_of(orders: Orders, settings: &str) -> Option<Router> {
    Some(app(orders, parse(settings)?))
}

async fn handle(State(server): State<Arc<Server>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let Some(path) = parts.uri.path().strip_prefix("/api/") else {
        return (StatusCode::NOT_FOUND, "404 page not found\n").into_response();
    };
    let header = |name| parts.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    if !server.is_allowed(header(header::AUTHORIZATION)).await {
        return (StatusCode::UNAUTHORIZED, "Authentication failed").into_response();
    }
    let strikes = |fault| faults::strikes(&server.orders.places, fault, "");
    if strikes(faults::REST_DENIED) {
        return (StatusCode::UNAUTHORIZED, "Authentication failed").into_response();
    }
    if strikes(faults::REST_HANGS) {
        std::future::pending::<()>().await;
    }
    if strikes(faults::REST_BREAKS) {
        return (StatusCode::INTERNAL_SERVER_ERROR, "Internal server error").into_response();
    }
    let has_body = matches!(parts.method, Method::PUT | Method::POST);
    let accepts = header(header::ACCEPT).is_none_or(|accept| accept.contains(MEDIA_TYPE) || accept == "*/*");
    if !accepts || (has_body && header(header::CONTENT_TYPE).as_deref() != Some(MEDIA_TYPE)) {
        return error(StatusCode::NOT_ACCEPTABLE, 100, "Content type was not supported");
    }
    let Ok(body) = to_bytes(body, LONGEST_BODY).await else {
        return error(StatusCode::BAD_REQUEST, 100, "One of the parameters was invalid");
    };
    let body = String::from_utf8_lossy(&body).into_owned();
    let segments: Vec<&str> = path.split('/').collect();
    match rest_calls::answer(&server.orders, &parts.method, &segments, &body).await {
        Answer::Value(status, value) => give(status, &value),
        Answer::Nothing => StatusCode::NO_CONTENT.into_response(),
        Answer::Error(status, code, message) => error(status, code, &message),
        Answer::NoSuchUrl => (StatusCode::NOT_FOUND, "404 page not found\n").into_response(),
    }
}

impl Server {
    async fn is_allowed(&self, header: Option<String>) -> bool {
        let Some(header) = header else { return false };
        if lock(&self.known).contains(&header) {
            return true;
        }
        let credentials = self.credentials.clone();
        let checked = header.clone();
        let right = tokio::task::spawn_blocking(move || credentials.fit(&checked).unwrap_or(false));
        let right = right.await.unwrap_or(false);
        if right {
            lock(&self.known).insert(header);
        }
        right
    }
}

impl Credentials {
    fn fit(&self, header: &str) -> Option<bool> {
        let decoded = STANDARD.decode(header.strip_prefix("Basic ")?).ok()?;
        let (user, password) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
        let right = bcrypt::verify(format!("{}{password}", self.salt), &self.hash).ok()?;
        Some(right && user == self.user)
    }
}

fn give(status: StatusCode, value: &Value) -> Response {
    let mut response = Response::new(Body::from(value.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(MEDIA_TYPE));
    response
}

/// Errors really have capital keys (facts/vmrun-vmrest.md §3.3).
fn error(status: StatusCode, code: u16, message: &str) -> Response {
    give(status, &json!({ "Code": code, "Message": message }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_settings_file_is_read_and_its_password_checked() {
        let hash = bcrypt::hash("saltPassw0rd!", 4).unwrap();
        let text = format!("port=9000\r\nusername=me\r\npassword={hash}\r\nsalt=salt\r\n");
        let credentials = parse(&text).unwrap();
        let header = |text: &str| format!("Basic {}", STANDARD.encode(text));
        assert_eq!(credentials.port, 9000);
        assert_eq!(credentials.fit(&header("me:Passw0rd!")), Some(true));
        assert_eq!(credentials.fit(&header("me:Passw0rd")), Some(false));
        assert_eq!(credentials.fit(&header("you:Passw0rd!")), Some(false));
        assert_eq!(credentials.fit("Bearer x"), None);
    }
}
