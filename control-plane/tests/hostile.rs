//! Nothing that is sent to the hook makes it fail: not as a stranger, not as a media server gone mad.

mod server;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};
use server::TestServer;

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,300}".prop_map(Value::from),
        Just(json!("2026-11-20T20:00:00.000Z")),
        Just(json!("9999-12-31T23:59:59.999999999+23:59")),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map("[a-z]{1,8}", inner, 0..4)
                .prop_map(|m| Value::Object(m.into_iter().collect())),
        ]
    })
}

fn any_message() -> impl Strategy<Value = Vec<u8>> {
    let kinds =
        ["publish", "play", "profile", "publish.started", "publish.stopped", "stream.health", "", "x"];
    let fields = [
        "time", "session", "stream", "seq", "reason", "key", "client", "query", "app", "protocol", "profile",
        "tracks",
    ];
    let built = (
        prop::sample::select(kinds.to_vec()),
        prop::collection::vec((prop::sample::select(fields.to_vec()), any_json()), 0..10),
    )
        .prop_map(|(kind, fields)| {
            let mut message = json!({ "type": kind });
            for (name, value) in fields {
                message[name] = value;
            }
            message.to_string().into_bytes()
        });
    prop_oneof![
        built,
        any_json().prop_map(|v| v.to_string().into_bytes()),
        prop::collection::vec(any::<u8>(), 0..400),
        Just(vec![b'['; 60_000]),
        Just(vec![b' '; 70_000]),
    ]
}

#[tokio::test]
async fn no_message_fails_the_hook() {
    let server = TestServer::start().await;
    server.open_account("ada").await;
    let mut runner = TestRunner::new(Config::default());
    let messages = any_message();
    for n in 0..300 {
        let body = messages.new_tree(&mut runner).unwrap().current();
        let shown = String::from_utf8_lossy(&body[..body.len().min(300)]).into_owned();
        // Half of them signed: past the signature is where the parsing is.
        let answer = if n % 2 == 0 {
            server.hook_with(&format!("msg_{n}"), 0, &server.secret(), &body).await
        } else {
            server
                .post("/internal/hooks/publish", &[("webhook-id", "x"), ("webhook-signature", "v1,")], &body)
                .await
        };
        assert!(answer.status < 500, "{} for {shown}", answer.status);
        assert!(answer.status != 200 || answer.json()["allow"] == false, "{shown}");
    }
    assert_eq!(server.get("/readyz").await.status, 200);
}
