//! A real server on a free port with a data folder of its own, and a small client for it.
#![allow(dead_code)] // each test binary uses its own part

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use control_plane::access::signature::Secrets;
use control_plane::account::rules::{Email, Password, Role, Username};
use control_plane::app::App;
use control_plane::channel::rules::Slug;
use control_plane::onboarding::{self, NewAccount};
use control_plane::{Server, clock, config};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub(crate) struct TestServer {
    folder: tempfile::TempDir,
    settings: String,
    address: SocketAddr,
    app: Arc<App>,
    tasks: JoinSet<()>,
    client: Client<HttpConnector, Full<Bytes>>,
}

pub(crate) struct Account {
    pub(crate) key: String,
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: http::HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|e| panic!("{e}: {}", self.text))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

async fn bind(settings: &str, data: &Path) -> Server {
    let text = format!("listen = \"127.0.0.1:0\"\n{settings}");
    let config = config::load::parse(Path::new("test.toml"), &text).unwrap();
    Server::bind(config.with_data_dir(data)).await.unwrap()
}

impl TestServer {
    pub(crate) async fn start() -> Self {
        Self::start_with("").await
    }

    pub(crate) async fn start_with(settings: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = bind(settings, folder.path()).await;
        let (address, app) = (server.address(), server.app());
        let mut tasks = JoinSet::new();
        tasks.spawn(server.run(CancellationToken::new()));
        let client = Client::builder(TokioExecutor::new()).build_http();
        Self { folder, settings: settings.to_owned(), address, app, tasks, client }
    }

    pub(crate) async fn kill_and_restart(&mut self) {
        self.tasks.shutdown().await;
        let server = bind(&self.settings, self.folder.path()).await;
        (self.address, self.app) = (server.address(), server.app());
        self.tasks.spawn(server.run(CancellationToken::new()));
    }

    pub(crate) fn app(&self) -> Arc<App> {
        Arc::clone(&self.app)
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    pub(crate) fn secret(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("webhook.secret")).unwrap()
    }

    pub(crate) async fn open_account(&self, name: &str) -> Account {
        let new = NewAccount {
            username: Username::parse(name).unwrap(),
            email: Email::parse(&format!("{name}@example.org")).unwrap(),
            password: Password::parse(&format!("password of {name}")).unwrap(),
            role: Role::Creator,
            slug: Slug::parse(name).unwrap(),
        };
        let opened =
            onboarding::open(&self.app.db, &self.app.key_ring, &self.app.hasher, &new).await.unwrap();
        Account { key: opened.key.expose().to_owned() }
    }

    /// Logs in and returns the `Authorization` header's value.
    pub(crate) async fn log_in(&self, name: &str) -> String {
        let body = json!({"login": name, "password": format!("password of {name}")}).to_string();
        let reply =
            self.post("/api/v1/auth/login", &[("content-type", "application/json")], body.as_bytes()).await;
        assert_eq!(reply.status, 200, "{}", reply.text);
        format!("Bearer {}", reply.json()["token"].as_str().unwrap())
    }

    pub(crate) async fn key_id(&self, channel: &str, token: &str) -> String {
        let path = format!("/api/v1/channels/{channel}/stream-keys");
        let listing = self.get_with(&path, &[("authorization", token)]).await.json();
        listing["data"][0]["id"].as_str().unwrap().to_owned()
    }

    pub(crate) fn publish_request(key: &str) -> Value {
        json!({
            "type": "publish", "time": "2026-11-20T20:00:00.000Z", "node": "origin-1", "session": "s-1",
            "protocol": "rtmp", "key": key, "app": "live", "query": {},
            "client": {"ip": "203.0.113.7", "port": 50012, "agent": "FMLE/3.0"}
        })
    }

    /// Posts a message as the media server does, under a new webhook id.
    pub(crate) async fn hook(&self, message: &Value) -> Answer {
        let id = format!("msg_{}", uuid::Uuid::now_v7());
        self.hook_with(&id, 0, &self.secret(), message.to_string().as_bytes()).await
    }

    pub(crate) async fn hook_with(&self, id: &str, skew_s: i64, secret: &str, body: &[u8]) -> Answer {
        let timestamp = (clock::now() / 1000 + skew_s).to_string();
        let signature = Secrets::parse(secret).unwrap().sign(id, &timestamp, body);
        let headers = [
            ("webhook-id", id),
            ("webhook-timestamp", timestamp.as_str()),
            ("webhook-signature", signature.as_str()),
            ("content-type", "application/json"),
        ];
        self.post("/internal/hooks/publish", &headers, body).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.get_with(path, &[]).await
    }

    pub(crate) async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.request("GET", path, headers, b"").await
    }

    pub(crate) async fn post(&self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        self.request("POST", path, headers, body).await
    }

    async fn request(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut request =
            http::Request::builder().method(method).uri(format!("http://{}{path}", self.address));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(Bytes::copy_from_slice(body))).unwrap();
        let reply = self.client.request(request).await.unwrap();
        let (parts, body) = reply.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        Answer {
            status: parts.status.as_u16(),
            headers: parts.headers,
            text: String::from_utf8_lossy(&bytes).into_owned(),
        }
    }
}

/// Answers 200 to the first request, and tells what it was.
pub(crate) struct FakeMediaServer {
    address: SocketAddr,
    request: tokio::sync::Mutex<JoinSet<String>>,
}

impl FakeMediaServer {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut request = JoinSet::new();
        request.spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut bytes = vec![0; 4096];
            let length = stream.read(&mut bytes).await.unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
            String::from_utf8_lossy(&bytes[..length]).into_owned()
        });
        Self { address, request: request.into() }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The first line of the request that came.
    pub(crate) async fn asked(&self) -> String {
        let mut request = self.request.lock().await;
        let text = tokio::time::timeout(Duration::from_secs(5), request.join_next())
            .await
            .unwrap()
            .unwrap()
            .unwrap();
        text.lines().next().unwrap_or_default().to_owned()
    }
}
