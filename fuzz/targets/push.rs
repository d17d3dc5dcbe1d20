//! What a server that we push to may answer; and addresses to push to, which never show their key.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::rtmp::{Client, PushUrl};

fuzz_target!(|data: &[u8]| {
    if let Some(url) = std::str::from_utf8(data).ok().and_then(|text| PushUrl::parse(text).ok()) {
        assert!(!url.app.is_empty() && !url.key.is_empty() && url.port > 0);
        let shown = PushUrl::parse(&format!("{url}/k")).expect("what is shown is an address but for its key");
        assert_eq!((shown.tls, shown.port, &shown.host), (url.tls, url.port, &url.host));
    }
    let url = PushUrl::parse("rtmp://host/app/key").expect("an address");
    let mut client = Client::new(url, "fuzz", &[0; 1528]);
    let mut greeting = vec![3];
    greeting.resize(1 + 2 * 1536, 0);
    client.feed(&greeting).expect("a greeting");
    let mut asked = client.output().len();
    for piece in data.chunks(97) {
        if client.feed(piece).is_err() {
            return;
        }
        asked += client.output().len();
    }
    // A server cannot make us talk without end: at most an answer to each of its messages.
    assert!(asked <= 4096 + data.len() * 32, "{asked} bytes for {}", data.len());
});
