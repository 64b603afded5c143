//! The REST driver against an HTTP server with vmrest's manners: strict media type, capital keys, bare words.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex as Shared};

use axum::body::Bytes;
use axum::extract::{Path as Segment, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router, middleware};

use super::super::vmrest_client::MEDIA_TYPE;
use super::super::vmrest_server::Access;
use super::*;
use crate::host::fusion::fake::Fake;

/// Its VMs: id → VMX, whether it runs.
type World = Arc<Shared<BTreeMap<String, (PathBuf, bool)>>>;

async fn manners(headers: HeaderMap, request: axum::extract::Request, next: middleware::Next) -> Response {
    let is = |name: &str, value: &str| headers.get(name).is_some_and(|found| found == value);
    // user:password in base64.
    if !is("authorization", "Basic dXNlcjpwYXNzd29yZA==") {
        return (StatusCode::UNAUTHORIZED, "Authentication failed").into_response();
    }
    if !is("accept", MEDIA_TYPE) || !is("content-type", MEDIA_TYPE) {
        return StatusCode::NOT_ACCEPTABLE.into_response();
    }
    next.run(request).await
}

async fn power(State(world): State<World>, Segment(id): Segment<String>, body: Bytes) -> Response {
    let mut world = world.lock().unwrap();
    let Some((_, running)) = world.get_mut(&id) else {
        return (StatusCode::NOT_FOUND, "404 page not found\n").into_response();
    };
    match &body[..] {
        b"" => {}
        b"on" => *running = true,
        b"off" => *running = false,
        _ => {
            let error = json!({"Code": 3016, "Message": "The VMware Tools are not running"});
            return (StatusCode::CONFLICT, Json(error)).into_response();
        }
    }
    Json(json!({"power_state": if *running { "poweredOn" } else { "poweredOff" }})).into_response()
}

async fn list(State(world): State<World>) -> Json<Value> {
    let world = world.lock().unwrap();
    Json(world.iter().map(|(id, (path, _))| json!({"id": id, "path": path})).collect())
}

async fn register(State(world): State<World>, body: Bytes) -> Response {
    let body: Value = serde_json::from_slice(&body).unwrap();
    let path = PathBuf::from(body["path"].as_str().unwrap());
    world.lock().unwrap().insert("REGISTERED".to_owned(), (path.clone(), false));
    (StatusCode::CREATED, Json(json!({"id": "REGISTERED", "path": path}))).into_response()
}

async fn clone(State(world): State<World>, body: Bytes) -> Response {
    let body: Value = serde_json::from_slice(&body).unwrap();
    let mut world = world.lock().unwrap();
    let parent = world[body["parentId"].as_str().unwrap()].0.clone();
    let name = body["name"].as_str().unwrap();
    let bundle = parent.parent().unwrap().with_file_name(format!("{name}.vmwarevm"));
    files::create_dir(&bundle).unwrap();
    let vmx = bundle.join(format!("{name}.vmx"));
    for path in [&vmx, &bundle.join("disk.vmdk")] {
        files::write_atomic(path, b"", 0o644).unwrap();
    }
    world.insert("CLONE".to_owned(), (vmx, false));
    (StatusCode::CREATED, Json(json!({"id": "CLONE", "cpu": {"processors": 2}, "memory": 2048})))
        .into_response()
}

async fn nicips() -> Json<Value> {
    Json(json!({"nics": [
        {"mac": "00:50:56:00:00:02", "ip": ["192.168.68.56/24"]},
        {"mac": "00:50:56:00:00:01", "ip": ["fe80::1/64", "169.254.1.2/16", "10.10.0.131/24"]},
    ]}))
}

async fn setup() -> (Fake, Vmrest, PathBuf, World) {
    let fake = Fake::new();
    fake.program("vmrun", "echo 'Total running VMs: 0'");
    let world = World::default();
    let router = Router::new()
        .route("/api/vms", get(list).post(clone))
        .route("/api/vms/registration", axum::routing::post(register))
        .route("/api/vms/{id}/power", get(power).put(power))
        .route("/api/vms/{id}/nicips", get(nicips))
        .layer(middleware::from_fn(manners))
        .with_state(Arc::clone(&world));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}/api", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    let access = Access { base, user: "user".to_owned(), password: "password".to_owned() };
    let inner = Vmrun::new(fake.fusion(), fake.deadlines());
    let rest = Rest::new(access).unwrap();
    let connection = Mutex::new(Connection { rest, _server: None, renewed: true });
    let driver = Vmrest { inner, connection, home: fake.root().join("rest") };
    let vmx = fake.root().join("made/one.vmwarevm/one.vmx");
    fake.write(&vmx, "");
    (fake, driver, vmx, world)
}

#[tokio::test]
async fn an_unknown_vm_is_registered_and_powered_by_a_bare_word() {
    let (_fake, driver, vmx, world) = setup().await;
    driver.start(&vmx).await.unwrap();
    assert_eq!(world.lock().unwrap()["REGISTERED"], (vmx.clone(), true));
    assert!(super::super::observe::is_among(&driver.running().await.unwrap(), &vmx));
    let Err(HostError::Fusion { message, .. }) = driver.stop(&vmx, Stop::Soft).await else {
        panic!("a guest without tools cannot be asked");
    };
    assert_eq!(message, "The VMware Tools are not running");
    driver.stop(&vmx, Stop::Hard).await.unwrap();
    assert!(driver.running().await.unwrap().is_empty());
    assert_eq!(world.lock().unwrap().len(), 1, "it is registered once");
}

#[tokio::test]
async fn a_full_clone_is_moved_to_where_it_is_wanted() {
    let (fake, driver, vmx, _) = setup().await;
    let to = fake.root().join("library/lab/two.vmwarevm/two.vmx");
    driver.clone_vm(&vmx, &to, Clone::Full, "fusionlab", "two").await.unwrap();
    assert!(is_whole(&to).unwrap());
    assert!(!files::exists(&fake.root().join("made/two.vmwarevm")));
}

#[tokio::test]
async fn a_linked_clone_is_vmruns() {
    let (fake, driver, vmx, _) = setup().await;
    let to = fake.root().join("two.vmwarevm/two.vmx");
    driver.clone_vm(&vmx, &to, Clone::Linked, "fusionlab", "two").await.unwrap_err();
    assert!(fake.orders(&["list"])[0].contains("|linked|-snapshot=fusionlab|"));
}

#[tokio::test]
async fn an_address_is_that_of_the_card() {
    let (_fake, driver, vmx, _) = setup().await;
    let address = driver.address(&vmx, Mac::new([0, 0x50, 0x56, 0, 0, 1])).await.unwrap();
    assert_eq!(address, Some(Ipv4Addr::new(10, 10, 0, 131)));
    assert_eq!(driver.address(&vmx, Mac::new([0, 0x50, 0x56, 0, 0, 9])).await.unwrap(), None);
}

#[tokio::test]
async fn errors_carry_the_servers_words() {
    let (_fake, mut driver, vmx, _) = setup().await;
    driver.connection.get_mut().rest.access.password = "wrong".to_owned();
    let error = driver.id(&vmx).await.unwrap_err().to_string();
    assert_eq!(error, "vmrest GET /vms: 401 Authentication failed");
}
