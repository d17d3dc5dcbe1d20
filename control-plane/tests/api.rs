//! What the program promises over HTTP, asked of a real server on a free port with its own data.

mod server;

use serde_json::{Value, json};
use server::TestServer;

#[tokio::test]
async fn a_good_key_is_admitted_and_a_wrong_one_is_told_why() {
    let server = TestServer::start().await;
    let ada = server.open_account("ada").await;
    let answer = server.hook(&TestServer::publish_request(&ada.key)).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(
        answer.json(),
        json!({
            "allow": true, "stream": "ada", "profile": "default", "record": false,
            "limits": {"bitrate_kbps": 12000, "width": 1920, "height": 1080, "fps": 60, "duration_s": 0},
            "push": [], "playback": "public"
        })
    );
    for wrong in ["", "sk_wrong", &"x".repeat(5000), &ada.key[1..], &ada.key.to_uppercase()] {
        let answer = server.hook(&TestServer::publish_request(wrong)).await;
        assert_eq!(answer.status, 200);
        assert_eq!(
            (&answer.json()["allow"], &answer.json()["reason"]),
            (&json!(false), &json!("unknown-key"))
        );
        assert!(answer.json()["message"].as_str().is_some_and(|m| !m.is_empty()));
    }
    let metrics = server.get("/metrics").await.text;
    assert!(
        metrics.contains(r#"weir_control_admissions_total{result="allow",reason="allow"} 1"#),
        "{metrics}"
    );
    assert!(metrics.contains(r#"weir_control_admissions_total{result="deny",reason="unknown-key"} 5"#));
}

#[tokio::test]
async fn an_unsigned_old_or_replayed_request_gets_nothing() {
    let server = TestServer::start().await;
    let ada = server.open_account("ada").await;
    let body = TestServer::publish_request(&ada.key).to_string();
    assert_eq!(server.post("/internal/hooks/publish", &[], body.as_bytes()).await.status, 401);
    let forged = server.hook_with(
        "msg_forged",
        0,
        "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
        body.as_bytes(),
    );
    let forged = forged.await;
    assert_eq!(forged.status, 401, "{}", forged.text);
    assert_eq!(forged.json()["code"], "unsigned");
    for skew in [-301, 301] {
        assert_eq!(server.hook_with("msg_skew", skew, &server.secret(), body.as_bytes()).await.status, 401);
    }
    assert_eq!(server.hook_with("msg_once", 0, &server.secret(), body.as_bytes()).await.status, 200);
    let again = server.hook_with("msg_once", 0, &server.secret(), body.as_bytes()).await;
    assert_eq!((again.status, again.json()["code"].as_str()), (409, Some("replayed")));
}

#[tokio::test]
async fn a_rotated_key_is_dead_and_its_live_session_is_dropped() {
    let media_server = server::FakeMediaServer::start().await;
    let url = media_server.url();
    let server = TestServer::start_with(&format!("[media_server]\nadmin_url = \"{url}\"\n")).await;
    let ada = server.open_account("ada").await;
    let token = server.log_in("ada").await;
    let rotated = server
        .post(
            &format!("/api/v1/channels/ada/stream-keys/{}/rotate", server.key_id("ada", &token).await),
            &[("authorization", &token)],
            b"",
        )
        .await;
    assert_eq!(rotated.status, 200, "{}", rotated.text);
    assert_eq!(rotated.json()["sessionDropped"], true);
    assert_eq!(media_server.asked().await, "DELETE /api/v1/streams/ada HTTP/1.1");
    let old = server.hook(&TestServer::publish_request(&ada.key)).await.json();
    assert_eq!((&old["allow"], &old["reason"]), (&json!(false), &json!("unknown-key")));
    let new = rotated.json()["key"].as_str().unwrap().to_owned();
    assert_ne!(new, ada.key);
    assert_eq!(server.hook(&TestServer::publish_request(&new)).await.json()["allow"], true);
}

#[tokio::test]
async fn a_channel_is_live_from_start_to_stop_whatever_comes_twice_or_late() {
    let server = TestServer::start().await;
    server.open_account("ada").await;
    let live = async || server.get("/api/v1/channels/ada").await.json()["live"].clone();
    let event = |kind: &str, session: &str, seq: i64, second: u32| {
        json!({"type": kind, "time": format!("2026-11-20T20:00:{second:02}.000Z"), "node": "origin-1",
               "session": session, "stream": "ada", "seq": seq})
    };
    assert_eq!(server.get("/api/v1/channels/ada").await.json()["reason"], "never-live");
    let started = event("publish.started", "one", 1, 10);
    for _ in 0..2 {
        assert_eq!(
            server.hook_with("evt_1", 0, &server.secret(), started.to_string().as_bytes()).await.status,
            204
        );
    }
    assert_eq!(live().await, true);
    let channel = server.get("/api/v1/channels/ada").await.json();
    assert_eq!(channel["since"], "2026-11-20T20:00:10.000Z");
    assert_eq!(channel["playback"]["hls"], "http://127.0.0.1:8080/live/ada/index.m3u8");
    // The publisher comes back under a new session before the old one's end is told.
    server.hook(&event("publish.started", "two", 1, 30)).await;
    server.hook(&event("publish.stopped", "one", 2, 31)).await;
    assert_eq!(live().await, true, "the old session's end is not the new one's");
    server.hook(&event("stream.health", "two", 2, 40)).await;
    let mut stopped = event("publish.stopped", "two", 3, 50);
    stopped["reason"] = json!("socket");
    server.hook(&stopped).await;
    assert_eq!(live().await, false);
    server.hook(&event("publish.started", "two", 1, 30)).await;
    assert_eq!(live().await, false, "a start that comes late is old news");
    assert_eq!(server.get("/api/v1/channels/ada").await.json()["reason"], "connection-lost");
}

#[tokio::test]
async fn what_was_acknowledged_outlives_the_program() {
    let mut server = TestServer::start().await;
    let ada = server.open_account("ada").await;
    server.hook(&json!({"type": "publish.started", "session": "one", "stream": "ada", "seq": 1})).await;
    // No drain, no close: the server's tasks are dropped where they stand.
    server.kill_and_restart().await;
    assert_eq!(server.get("/api/v1/channels/ada").await.json()["live"], true);
    assert_eq!(server.hook(&TestServer::publish_request(&ada.key)).await.json()["allow"], true);
}

#[tokio::test]
async fn an_event_of_a_future_version_is_taken_and_a_secret_in_it_is_not_kept() {
    let server = TestServer::start().await;
    let ada = server.open_account("ada").await;
    let event = json!({"type": "something.new", "key": ada.key, "query": {"k": ada.key}, "seq": "not a number", "stream": 7});
    assert_eq!(server.hook(&event).await.status, 204);
    server.hook(&TestServer::publish_request(&ada.key)).await;
    let app = server.app();
    let bodies: Vec<String> =
        sqlx::query_scalar("SELECT body FROM publish_events").fetch_all(app.db.read()).await.unwrap();
    assert_eq!(bodies.len(), 2);
    assert!(bodies.iter().all(|body| !body.contains(&ada.key)), "{bodies:?}");
    // Neither the database file nor its log has the key in clear.
    for file in std::fs::read_dir(server.data_dir()).unwrap() {
        let path = file.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        assert!(!bytes.windows(ada.key.len()).any(|w| w == ada.key.as_bytes()), "{}", path.display());
    }
}

#[tokio::test]
async fn the_owner_sees_the_key_again_after_giving_the_password_and_nobody_else_does() {
    let server = TestServer::start().await;
    let ada = server.open_account("ada").await;
    server.open_account("bob").await;
    let token = server.log_in("ada").await;
    let key_id = server.key_id("ada", &token).await;
    let reveal = format!("/api/v1/channels/ada/stream-keys/{key_id}/reveal");
    let listing = server.get_with("/api/v1/channels/ada/stream-keys", &[("authorization", &token)]).await;
    assert!(!listing.text.contains(&ada.key), "the list has no secrets");
    let right = json!({"password": "password of ada"}).to_string();
    let json_type = ("content-type", "application/json");
    let shown = server.post(&reveal, &[("authorization", &token), json_type], right.as_bytes()).await;
    assert_eq!((shown.status, shown.json()["key"].as_str()), (200, Some(ada.key.as_str())), "{}", shown.text);
    assert_eq!(shown.header("cache-control"), Some("no-store"));
    let wrong = json!({"password": "password of bob"}).to_string();
    assert_eq!(
        server.post(&reveal, &[("authorization", &token), json_type], wrong.as_bytes()).await.status,
        401
    );
    let bob = server.log_in("bob").await;
    assert_eq!(
        server.post(&reveal, &[("authorization", &bob), json_type], wrong.as_bytes()).await.status,
        403
    );
    assert_eq!(server.post(&reveal, &[json_type], right.as_bytes()).await.status, 401);
    let app = server.app();
    let lines: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM audit_log WHERE action = 'stream-key.reveal'")
        .fetch_one(app.db.read())
        .await
        .unwrap();
    assert_eq!(lines, 1);
    assert_eq!(server.post("/api/v1/auth/logout", &[("authorization", &token)], b"").await.status, 204);
    let after = server.get_with("/api/v1/channels/ada/stream-keys", &[("authorization", &token)]).await;
    assert_eq!(after.status, 401, "logged out");
}

#[tokio::test]
async fn every_error_is_a_problem_and_every_answer_carries_the_careful_headers() {
    let server = TestServer::start().await;
    let json_type = ("content-type", "application/json");
    for (answer, status, code) in [
        (server.get("/api/v1/channels/nobody").await, 404, "unknown-channel"),
        (server.get("/api/v1/nothing").await, 404, "not-found"),
        (server.post("/healthz", &[], b"").await, 405, "method-not-allowed"),
        (server.post("/api/v1/auth/login", &[json_type], b"{").await, 400, "malformed"),
        (server.post("/api/v1/auth/login", &[], b"{}").await, 415, "not-json"),
        (server.post("/api/v1/auth/login", &[json_type], b"{\"login\":1}").await, 422, "malformed"),
        (server.post("/api/v1/auth/login", &[json_type], &vec![b' '; 300_000]).await, 413, "unreadable-body"),
        (server.get("/assets/nothing.js").await, 404, "not-found"),
    ] {
        assert_eq!(answer.status, status, "{}", answer.text);
        assert_eq!(answer.json()["code"], code, "{}", answer.text);
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    }
    let page = server.get("/watch/nobody").await;
    assert_eq!((page.status, page.header("content-type")), (404, Some("text/html; charset=utf-8")));
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.contains("connect-src 'self' http://127.0.0.1:8080;"), "{policy}");
    assert_eq!(server.get("/").await.status, 200);
}

#[tokio::test]
async fn operators_see_life_readiness_and_the_apis_description() {
    let server = TestServer::start().await;
    assert_eq!(server.get("/healthz").await.text, "ok\n");
    assert_eq!(server.get("/readyz").await.json()["ready"], true);
    let described = server.get("/api/v1/openapi.json").await.json();
    assert_eq!(described["info"]["version"], env!("CARGO_PKG_VERSION"));
    // Whatever is described is there: nothing answers "no such address".
    for (path, methods) in described["paths"].as_object().unwrap() {
        let concrete = path.replace("{channel}", "nobody").replace("{key}", "key_x");
        for method in methods.as_object().unwrap().keys() {
            let answer = match method.as_str() {
                "get" => server.get(&concrete).await,
                _ => server.post(&concrete, &[], b"").await,
            };
            let code = serde_json::from_str::<Value>(&answer.text)
                .ok()
                .and_then(|v| Some(v.get("code")?.as_str()?.to_owned()));
            assert!(!matches!(code.as_deref(), Some("not-found" | "method-not-allowed")), "{method} {path}");
        }
    }
    // A database that is gone is said.
    server.app().db.close().await;
    let unready = server.get("/readyz").await;
    assert_eq!((unready.status, &unready.json()["ready"]), (503, &json!(false)));
    assert!(unready.json()["checks"]["database"].as_str().unwrap().contains("cannot be written"));
}

#[tokio::test]
async fn guessing_a_password_is_slowed_down() {
    let server = TestServer::start().await;
    server.open_account("ada").await;
    let guess = json!({"login": "ada", "password": "short"}).to_string();
    let json_type = [("content-type", "application/json")];
    for _ in 0..10 {
        assert_eq!(server.post("/api/v1/auth/login", &json_type, guess.as_bytes()).await.status, 401);
    }
    let braked = server.post("/api/v1/auth/login", &json_type, guess.as_bytes()).await;
    assert_eq!(braked.status, 429);
    assert!(braked.header("retry-after").unwrap().parse::<u64>().unwrap() > 200);
}

#[tokio::test]
async fn a_source_gets_the_profile_that_the_operators_rules_say_to_who_signs() {
    let rules = r#"ladders = [{ channel = "ada", min_height = 1440, profile = "uhd" }, { min_height = 4000, refuse = "Too large." }]"#;
    let server = TestServer::start_with(&format!("[publish]\n{rules}\n")).await;
    let question = |stream: &str, height: u32| {
        json!({"type": "profile", "session": "s-1", "stream": stream, "profile": "default", "protocol": "rtmp",
            "tracks": [{"track": 0, "kind": "video", "width": height * 16 / 9, "height": height}]})
    };
    let answers = [
        (question("ada", 2160), json!({"profile": "uhd"})),
        (question("ada", 1080), json!({"profile": "default"})),
        (question("bob", 2160), json!({"profile": "default"})),
        (
            question("bob", 4320),
            json!({"allow": false, "reason": "unsupported-source", "message": "Too large."}),
        ),
    ];
    for (asked, expected) in answers {
        let answer = server.hook(&asked).await;
        assert_eq!((answer.status, answer.json()), (200, expected), "{asked}");
    }
    let body = question("ada", 2160).to_string();
    assert_eq!(server.post("/internal/hooks/publish", &[], body.as_bytes()).await.status, 401);
    assert_eq!(server.hook(&json!({"type": "profile", "stream": "ada"})).await.status, 400);
    let metrics = server.get("/metrics").await.text;
    assert!(metrics.contains(r#"weir_control_profiles_total{result="changed"} 1"#), "{metrics}");
}
