//! `vmrest` over the same world.

use super::machine::{ADDRESS, MAC, Mac};

/// What vmrest answers: the status and the body.
async fn rest(base: &str, method: &str, url: &str, body: &str) -> (u16, serde_json::Value) {
    const MEDIA_TYPE: &str = "application/vnd.vmware.vmw.rest-v1+json";
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let request = client.request(method.parse().unwrap(), format!("{base}{url}"));
    let request = request.basic_auth("me", Some("Passw0rd!")).header("content-type", MEDIA_TYPE);
    let response = request.body(body.to_owned()).send().await.unwrap();
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or(serde_json::Value::String(text)))
}

#[tokio::test]
async fn vmrest_shows_the_same_world() {
    crate::host::download::install_crypto();
    let mac = Mac::new().await;
    mac.make_vmnet2().await;
    let vmx = mac.make_vm("master", MAC);
    let hash = bcrypt::hash("saltPassw0rd!", 4).unwrap();
    let settings = format!("port=1\r\nusername=me\r\npassword={hash}\r\nsalt=salt\r\n");
    let orders = crate::sim::orders::Orders::new(&mac.places).unwrap();
    let app = crate::sim::programs::vmrest::app_of(orders, &settings).unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let server = tokio::spawn(async move { axum::serve(listener, app).await });
    let bare = reqwest::Client::builder().no_proxy().build().unwrap();
    assert_eq!(bare.get(format!("{base}/api/vms")).send().await.unwrap().status().as_u16(), 401);
    let json = bare.put(format!("{base}/api/vms")).basic_auth("me", Some("Passw0rd!")).body("on");
    assert_eq!(json.header("content-type", "application/json").send().await.unwrap().status().as_u16(), 406);
    assert_eq!(rest(&base, "GET", "/nothing", "").await, (404, "404 page not found\n".into()));
    assert_eq!(rest(&base, "GET", "/api/vms", "").await, (200, serde_json::json!([])), "not registered");
    let body = serde_json::json!({ "name": "master", "path": vmx }).to_string();
    let (status, made) = rest(&base, "POST", "/api/vms/registration", &body).await;
    assert_eq!(status, 201);
    let id = made["id"].as_str().unwrap().to_owned();
    assert!(id.len() == 32 && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'A'..=b'V')));
    let power = format!("/api/vms/{id}/power");
    assert_eq!(rest(&base, "PUT", &power, "on").await.1["power_state"], "poweredOn");
    mac.until_reachable().await;
    let (_, addresses) = rest(&base, "GET", &format!("/api/vms/{id}/nicips"), "").await;
    assert_eq!(
        (&addresses["nics"][0]["mac"], &addresses["nics"][0]["ip"][0]),
        (&MAC.into(), &format!("{ADDRESS}/24").into())
    );
    let parent = serde_json::json!({ "name": "copy", "parentId": id }).to_string();
    let (status, error) = rest(&base, "POST", "/api/vms", &parent).await;
    assert_eq!((status, &error["Code"]), (409, &107.into()), "the parent runs");
    assert_eq!(rest(&base, "PUT", &power, "off").await.1["power_state"], "poweredOff");
    let (status, error) = rest(&base, "PUT", &power, "off").await;
    assert_eq!((status, &error["Code"]), (409, &106.into()));
    mac.until(|| !vmx.with_extension("vmx.lck").exists()).await;
    let (status, copy) = rest(&base, "POST", "/api/vms", &parent).await;
    assert_eq!((status, &copy["cpu"]["processors"]), (201, &2.into()));
    assert_eq!(rest(&base, "GET", "/api/vms", "").await.1.as_array().unwrap().len(), 2);
    let card = rest(&base, "POST", &format!("/api/vms/{id}/nic"), r#"{"type":"nat","vmnet":"vmnet8"}"#).await;
    assert_eq!((card.0, &card.1["Code"]), (400, &121.into()));
    let (_, reserved) = rest(&base, "GET", "/api/vmnet/vmnet2/mactoip", "").await;
    assert_eq!(reserved["mactoips"][0]["ip"], ADDRESS.to_string());
    server.abort();
}
