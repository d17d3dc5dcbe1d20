//! Strangers at the WHIP endpoint and the WebRTC port: whoever they are, they are told what is wrong, or get nothing, and
//! who publishes notices nothing of it.

use std::slice;
use std::time::Duration;

use anyhow::{Context as _, Result};
use http::{Method, header};
use tokio::net::UdpSocket;
use weir_tests::{
    http_client::HttpClient,
    llhls,
    publisher::{
        Whip,
        webrtc::{self, Client},
        whip::Wish,
    },
    wait,
    world::{Plan, World},
};

const SOON: Duration = Duration::from_secs(25);
const TRICKLE: &str = "application/trickle-ice-sdpfrag";

async fn counted(world: &World, series: &str) -> Result<u64> {
    let text = world.client.get(&format!("{}/metrics", world.media.admin)).await?.text();
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    Ok(line.map(str::parse::<f64>).transpose()?.unwrap_or(0.0) as u64)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_wrong_request_is_told_what_is_wrong() -> Result<()> {
    let settings = "[admission]\nmode = \"static\"\nkeys = [{ key = \"secret\", stream = \"cam\", profile = \"source\" }]\n\
        [webrtc]\nice_servers = [{ url = \"stun:stun.example.org:3478\" }, \
        { url = \"turn:turn.example.org?transport=udp\", username = \"u\", credential = \"c\" }]\n";
    let world = Plan::open()?.pass_through().media(settings).start().await?;
    let (http, client) = (world.media.http.as_str(), &world.client);
    let endpoint = format!("{http}/whip");
    let (_, offer, _) = webrtc::offer("127.0.0.1:9".parse()?)?;
    let offer = offer.to_sdp_string();
    let sdp = (header::CONTENT_TYPE, "application/sdp");
    let key = (header::AUTHORIZATION, "Bearer secret");

    let preflight =
        webrtc::call(client, Method::OPTIONS, &endpoint, &[(header::ORIGIN, "http://a")], "").await?;
    assert_eq!(preflight.status, 204);
    let allowed = preflight.header(header::ACCESS_CONTROL_ALLOW_METHODS).context("no methods")?;
    assert!(["POST", "PATCH", "DELETE"].iter().all(|method| allowed.contains(method)), "{allowed}");
    assert_eq!(preflight.header("accept-post"), Some("application/sdp"));

    // Neither has a place for ICE in its answer.
    let unknown = offer.replace("m=video", "m=vkdeo").replace("m=audio", "m=vkdeo");
    let nothing = offer.split("m=").next().unwrap_or_default();
    let wrong = [
        (Method::GET, &[][..], "", 405, "method-not-allowed"),
        (Method::POST, slice::from_ref(&key), offer.as_str(), 415, "unsupported-type"),
        (Method::POST, slice::from_ref(&sdp), &offer, 401, "no-key"),
        (Method::POST, &[sdp.clone(), (header::AUTHORIZATION, "Bearer guess")], &offer, 401, "unknown-key"),
        (Method::POST, &[sdp.clone(), key.clone()], "v=0", 400, "malformed-offer"),
        (Method::POST, &[sdp.clone(), key.clone()], &offer.replace("a=fingerprint:", "a=x:"), 422, "offer"),
        (Method::POST, &[sdp.clone(), key.clone()], &unknown, 422, "offer"),
        (Method::POST, &[sdp.clone(), key.clone()], nothing, 422, "offer"),
        (Method::POST, &[sdp.clone(), key.clone()], &"a=x\r\n".repeat(20_000), 413, "too-large"),
    ];
    for (method, headers, body, status, slug) in wrong {
        let answer = webrtc::call(client, method, &endpoint, headers, body).await?;
        assert_eq!((answer.status.as_u16(), slug), (status, slug), "{}", answer.text());
        assert_eq!(answer.header(header::CONTENT_TYPE), Some("application/problem+json"), "{slug}");
        assert_eq!(answer.json()?["type"], format!("urn:weir:problem:{slug}"));
    }

    let made = webrtc::post(client, http, Some("secret"), &offer).await?;
    assert_eq!(made.status, 201, "{}", made.text());
    let links: Vec<_> = made.headers.get_all(header::LINK).iter().filter_map(|it| it.to_str().ok()).collect();
    assert_eq!(
        links,
        [
            "<stun:stun.example.org:3478>; rel=\"ice-server\"",
            "<turn:turn.example.org?transport=udp>; rel=\"ice-server\"; username=\"u\"; credential=\"c\"; credential-type=\"password\""
        ]
    );
    let session = format!("{http}{}", made.header(header::LOCATION).context("no place")?);
    let tag = made.header(header::ETAG).context("no tag")?.to_owned();
    let trickle = (header::CONTENT_TYPE, TRICKLE);
    let other = (header::AUTHORIZATION, "Bearer guess");
    let none = format!("{endpoint}/0123456789abcdef");
    let steps = [
        (Method::GET, &session, &[][..], "", 405),
        (Method::PATCH, &none, slice::from_ref(&trickle), "", 404),
        (Method::PATCH, &session, &[], "", 415),
        (Method::PATCH, &session, slice::from_ref(&trickle), "", 428),
        (Method::PATCH, &session, &[trickle.clone(), (header::IF_MATCH, "\"old\"")], "", 412),
        (Method::PATCH, &session, &[trickle.clone(), (header::IF_MATCH, "*")], "a=x", 400),
        (Method::PATCH, &session, &[trickle.clone(), (header::IF_MATCH, &tag)], "a=candidate:1", 204),
        (Method::DELETE, &session, &[other], "", 401),
        (Method::DELETE, &session, &[], "", 200),
    ];
    for (method, url, headers, body, status) in steps {
        let answer = webrtc::call(client, method.clone(), url, headers, body).await?;
        assert_eq!(answer.status.as_u16(), status, "{method} {headers:?}: {}", answer.text());
    }
    wait::until("no session", SOON, || async {
        Ok((counted(&world, "weir_webrtc_sessions").await? == 0).then_some(()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_answer_is_not_flooded_and_who_does_not_go_on_is_let_go() -> Result<()> {
    let settings = "[rtmp]\nidle_timeout_ms = 2000\n";
    let world = Plan::open()?.pass_through().media(settings).start().await?;
    let http = &world.media.http;
    // As if it had written another's address on its datagrams.
    let mut deaf = Client::open(&world.client, http, "deaf").await?;
    let traffic = deaf.live(Duration::from_secs(5), |_| false).await?;
    println!("to an address that does not answer: {traffic:?}");
    assert!(traffic.sent > 0 && traffic.received <= 3 * traffic.sent, "{traffic:?}");
    // Paths are checked, and no more.
    let mut half = Client::open(&world.client, http, "half").await?;
    let stun = |datagram: &[u8]| datagram.first().is_some_and(|first| *first < 4);
    let traffic = half.live(Duration::from_secs(3), stun).await?;
    println!("DTLS without an end: {traffic:?}");
    assert!(!traffic.connected && traffic.received <= 6 * traffic.sent, "{traffic:?}");
    // A connection, and nothing on it.
    let mut mute = Client::open(&world.client, http, "mute").await?;
    assert!(mute.live(Duration::from_secs(6), |_| true).await?.connected);
    assert_eq!(counted(&world, "weir_webrtc_closed_total{outcome=\"idle\"}").await?, 1);
    wait::until("the others are let go", SOON, || async {
        let gone = counted(&world, "weir_webrtc_closed_total{outcome=\"unconnected\"}").await?;
        Ok((gone == 2 && counted(&world, "weir_webrtc_sessions").await? == 0).then_some(()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn one_port_is_reached_by_both_families_of_addresses() -> Result<()> {
    let settings = "[webrtc]\nlisten = \"[::]:0\"\nadvertise = [\"::1\", \"127.0.0.1\"]\n";
    let world = Plan::open()?.pass_through().media(settings).start().await?;
    for (at, key) in [("[::1]:0", "six"), ("127.0.0.1:0", "four")] {
        let mut client = Client::open_at(at, &world.client, &world.media.http, key).await?;
        let traffic = client.live(Duration::from_secs(3), |_| true).await?;
        println!("from {at}: {traffic:?}");
        assert!(traffic.connected, "{at}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn hundreds_of_sessions_and_floods_do_nothing_to_who_publishes() -> Result<()> {
    let settings = "[rtmp]\nmax_pending_per_ip = 1000\n[webrtc]\nmax_sessions = 501\n";
    let world = Plan::open()?.pass_through().media(settings).start().await?;
    let _publisher = Whip::publish(&world.media.http, "cam", &Wish::default()).await?;
    world.media.playlist("cam", SOON).await?;
    let url = world.media.hls("cam");
    let mut checking = tokio::task::JoinSet::new();
    checking.spawn(async move { llhls::check(&url, Duration::from_secs(12)).await });
    let (_, offer, _) = webrtc::offer("127.0.0.1:9".parse()?)?;
    let offer = offer.to_sdp_string();
    let client = HttpClient::new();
    let mut ufrag = String::new();
    for number in 0..500 {
        let made = webrtc::post(&client, &world.media.http, Some(&format!("left-{number}")), &offer).await?;
        assert_eq!(made.status, 201, "{}", made.text());
        ufrag = made.header(header::ETAG).context("no tag")?.trim_matches('"').to_owned();
    }
    let most = webrtc::post(&client, &world.media.http, Some("more"), &offer).await?;
    assert_eq!(most.status, 503);
    assert!(most.header(header::RETRY_AFTER).is_some());
    // Checks of paths for nobody, for one of those without its password, and bytes that are nothing.
    let stranger = UdpSocket::bind("127.0.0.1:0").await?;
    let mut noise = vec![0; 100];
    for turn in 0..30_000_u32 {
        let mut dice = turn;
        noise.fill_with(|| {
            dice = dice.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (dice >> 24) as u8
        });
        if turn % 3 > 0 {
            let name = if turn % 3 == 1 { format!("{ufrag}:abcd") } else { "nobody:abcd".to_owned() };
            let length = u16::try_from(name.len())?;
            let whole = length.next_multiple_of(4);
            let mut check =
                [&[0, 1], &(whole + 4).to_be_bytes()[..], &[0x21, 0x12, 0xa4, 0x42], &noise[..12]].concat();
            check.extend([&[0, 6], &length.to_be_bytes()[..], name.as_bytes()].concat());
            check.resize(20 + 4 + usize::from(whole), 0);
            noise = check;
        }
        stranger.send_to(&noise, &world.media.webrtc).await?;
        noise.resize(100, 0);
        if turn % 100 == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    let report = checking.join_next().await.context("no report")???;
    report.no_must_broken(&[])?;
    let strays = counted(&world, "weir_webrtc_strays_total").await?;
    println!("{strays} strays counted of 30000");
    assert!(strays > 20_000);
    let now = &world.media.streams().await?["items"][0];
    assert_eq!((&now["state"], &now["counters"]["dropped"]), (&"live".into(), &0.into()), "{now}");
    wait::until("only the publisher is left", SOON, || async {
        Ok((counted(&world, "weir_webrtc_sessions").await? == 1).then_some(()))
    })
    .await
}
