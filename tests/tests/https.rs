//! Playing by TLS: HTTP/1.1 and 2 on one port, HTTP/3 on the same by UDP, with certificates that are chosen by name and renewed while
//! players stay.

use std::{net::SocketAddr, path::Path, time::Duration};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http::{Request, StatusCode, Version, header};
use http_body_util::Full;
use tokio::{net::UdpSocket, process::Command, task::JoinSet};
use weir_tests::{
    browser::Browser,
    certificate::{self, Trust},
    http_client::HttpClient,
    llhls,
    program::binary,
    publisher::{Ffmpeg, Source},
    wait,
    world::{Plan, World},
};

const SOON: Duration = Duration::from_secs(15);

/// For the loopback address, too: the clients ask for that.
fn certificate_in(folder: &Path) -> Result<Trust> {
    certificate::make_for(&["localhost", "127.0.0.1"], folder, ("cert.pem", "key.pem"))
}

async fn world() -> Result<(World, Trust, String)> {
    let plan = Plan::open()?.small_ladder();
    let trust = certificate_in(plan.folder())?;
    let settings = certificate::settings(plan.folder(), "127.0.0.1:0");
    let world = plan.media(&settings).start().await?;
    let https = world.media.https.clone().context("no HTTPS port")?;
    Ok((world, trust, https))
}

fn clients(trust: &Trust) -> Result<[(Version, HttpClient); 3]> {
    Ok([
        (Version::HTTP_11, HttpClient::tls(trust, false)),
        (Version::HTTP_2, HttpClient::tls(trust, true)),
        (Version::HTTP_3, HttpClient::http3(trust)?),
    ])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_played_by_every_version_of_http() -> Result<()> {
    let (world, trust, https) = world().await?;
    let _publisher = Ffmpeg::publish(&Source::default(), &world.media.publish_url("cam"))?;
    world.media.playlist("cam", SOON).await?;
    let url = format!("{https}/live/cam/index.m3u8");
    let port = https.rsplit(':').next().context("no port")?;
    let mut checks = JoinSet::new();
    for (version, client) in clients(&trust)? {
        let answer = client.get(&url).await.with_context(|| format!("{version:?}"))?;
        assert_eq!((answer.status, answer.version), (StatusCode::OK, version), "{version:?}");
        let told = answer.header(header::ALT_SVC).map(str::to_owned);
        let expected = (version != Version::HTTP_3).then(|| format!("h3=\":{port}\"; ma=86400"));
        assert_eq!(told, expected, "{version:?}");
        assert!(answer.header(header::DATE).is_some_and(|date| date.ends_with(" GMT")), "{version:?}");
        let head = client.send(Request::head(&url).body(Full::default())?).await?;
        assert!(
            head.body.is_empty() && head.header(header::CONTENT_LENGTH).is_some(),
            "{version:?}: {head:?}"
        );
        let url = url.clone();
        checks.spawn(async move { (version, llhls::check_by(client, &url, Duration::from_secs(10)).await) });
    }
    while let Some(checked) = checks.join_next().await {
        let (version, report) = checked?;
        let report = report.with_context(|| format!("{version:?}"))?;
        report.no_must_broken(&[]).with_context(|| format!("{version:?}"))?;
        assert_eq!(report.renditions.len(), 4, "{version:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_with_a_request_is_read_by_every_version_of_http() -> Result<()> {
    let (_world, trust, https) = world().await?;
    let mut answers = Vec::new();
    for (version, client) in clients(&trust)? {
        let offer = || {
            let request = Request::post(format!("{https}/whip"));
            let request = request.header(header::CONTENT_TYPE, "application/sdp");
            request.header(header::AUTHORIZATION, "Bearer cam").header(header::ORIGIN, "https://a.example")
        };
        let small = client.send(offer().body(Full::new(Bytes::from("v=0\r\n")))?).await?;
        assert_eq!(small.status, StatusCode::BAD_REQUEST, "{version:?}");
        assert!(!small.text().contains("0x"), "an address of the server's memory: {}", small.text());
        answers.push(small.json()?);
        match client.send(offer().body(Full::new(Bytes::from(vec![b'a'; 200_000])))?).await {
            Ok(large) => assert_eq!(large.status, StatusCode::PAYLOAD_TOO_LARGE, "{version:?}"),
            // By HTTP/1.1 the connection is closed on who still sends, which may be all that it sees.
            Err(error) => assert!(version == Version::HTTP_11, "{version:?}: {error:#}"),
        }
    }
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{answers:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn each_name_has_its_certificate() -> Result<()> {
    let plan = Plan::open()?.pass_through();
    let folder = plan.folder();
    let files = |name: &str| (format!("{name}.pem"), format!("{name}.key"));
    let mut trusts = Vec::new();
    for name in ["first.example", "*.second.example", "third.example"] {
        let (cert, key) = files(&name.replace('*', "any"));
        trusts.push(certificate::make_for(&[name], folder, (&cert, &key))?);
    }
    let at = folder.display();
    let further =
        |name: &str| format!("{{ cert_file = \"{at}/{name}.pem\", key_file = \"{at}/{name}.key\" }}");
    let settings = format!(
        "[tls]\ncertificates = [{}, {}, {}]\n[rtmp]\ntls_listen = \"\"\n[http]\ntls_listen = \"127.0.0.1:0\"\n",
        further("first.example"),
        further("any.second.example"),
        further("third.example"),
    );
    let world = plan.media(&settings).start().await?;
    let https = world.media.https.clone().context("no HTTPS port")?;
    let address = https.trim_start_matches("https://");
    for (name, trust) in ["first.example", "live.second.example", "third.example"].into_iter().zip(&trusts) {
        trust.connect_as(name, address).await.with_context(|| name.to_owned())?;
    }
    // For a name that is nobody's the first is presented, which the client refuses.
    let strange = trusts[0].connect_as("strange.example", address).await;
    let refused = format!("{:?}", strange.err());
    assert!(refused.contains("not valid for name"), "{refused}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewed_certificate_is_used_and_players_stay() -> Result<()> {
    let (world, old, https) = world().await?;
    let url = format!("{https}/");
    let [_, (_, http2), (_, http3)] = clients(&old)?;
    for client in [&http2, &http3] {
        assert_eq!(client.get(&url).await?.status, StatusCode::OK);
    }
    let new = certificate_in(world.folder())?;
    for (version, client) in clients(&new)? {
        wait::until(&format!("the new certificate by {version:?}"), SOON, || async {
            Ok(client.get(&url).await.ok().map(drop))
        })
        .await?;
    }
    for (version, late) in clients(&old)? {
        assert!(late.get(&url).await.is_err(), "{version:?}: the old certificate is still presented");
    }
    for client in [&http2, &http3] {
        assert_eq!(client.get(&url).await.context("a connection was dropped")?.status, StatusCode::OK);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn http3_is_opened_and_closed_by_a_reload() -> Result<()> {
    let (mut world, trust, https) = world().await?;
    let url = format!("{https}/");
    let by_tls = HttpClient::tls(&trust, true);
    assert_eq!(HttpClient::http3(&trust)?.get(&url).await?.status, StatusCode::OK);
    world.media.edit("[http]\nhttp3 = false\n").await?;
    let answer = by_tls.get(&url).await?;
    assert!(answer.status.is_success() && answer.header(header::ALT_SVC).is_none(), "{answer:?}");
    let gone = tokio::time::timeout(Duration::from_secs(3), HttpClient::http3(&trust)?.get(&url)).await;
    assert!(!matches!(gone, Ok(Ok(_))), "HTTP/3 still answers");
    world.media.edit("[http]\nhttp3 = true\n").await?;
    assert!(by_tls.get(&url).await?.header(header::ALT_SVC).is_some());
    assert_eq!(HttpClient::http3(&trust)?.get(&url).await?.status, StatusCode::OK);
    Ok(())
}

/// hls.js in a browser that speaks HTTP/3 with us, and a certificate of `dev-certificate`.
#[tokio::test(flavor = "multi_thread")]
async fn a_browser_plays_by_http_3() -> Result<()> {
    let plan = Plan::open()?.small_ladder();
    let folder = plan.folder().join("tls");
    let output = Command::new(binary("media-server")?)
        .args(["dev-certificate", "--name", "live.example.org", "--folder"])
        .arg(&folder)
        .output()
        .await?;
    let told = String::from_utf8(output.stdout)?;
    anyhow::ensure!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stderr));
    let settings = told.lines().skip_while(|line| *line != "[tls]").take(3);
    let settings = format!("{}\n", settings.collect::<Vec<_>>().join("\n"));
    let hash = told.split("spki-list=").nth(1).and_then(|rest| rest.split_whitespace().next());
    let trusted = format!("--ignore-certificate-errors-spki-list={}", hash.context("no hash")?);
    let ports = "[rtmp]\ntls_listen = \"\"\n[http]\ntls_listen = \"127.0.0.1:0\"\n";
    let world = plan.media(&settings).media(ports).start().await?;
    let https = world.media.https.clone().context("no HTTPS port")?;
    let _publisher = Ffmpeg::publish(&Source::default(), &world.media.publish_url("cam"))?;
    world.media.playlist("cam", SOON).await?;
    let quic = format!("--origin-to-force-quic-on={}", https.trim_start_matches("https://"));
    let browser = Browser::with(&[&trusted, &quic]).await?;
    browser.open(&format!("{https}/live/cam/")).await?;
    browser.until("document.querySelector('video').currentTime > 3", 2 * SOON).await?;
    let by = "performance.getEntriesByType('resource').filter((it) => it.name.includes('/live/')).map((it) => it.nextHopProtocol)";
    let by = browser.value(by).await?;
    let protocols: Vec<_> = by.as_array().into_iter().flatten().filter_map(|it| it.as_str()).collect();
    println!("{} requests", protocols.len());
    assert!(protocols.len() > 10 && protocols.iter().all(|it| *it == "h3"), "{protocols:?}");
    Ok(())
}

/// RFC 9000 8.1: who may have put another's address into a packet gets three times its bytes; by quinn up to one datagram more.
#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_does_not_answer_is_not_flooded() -> Result<()> {
    let (_world, trust, https) = world().await?;
    let server: SocketAddr = https.trim_start_matches("https://").parse()?;
    let between = UdpSocket::bind("127.0.0.1:0").await?;
    let to_client = format!("https://{}/", between.local_addr()?);
    let client = HttpClient::http3(&trust)?;
    let mut asking = JoinSet::new();
    asking.spawn(async move { client.get(&to_client).await.map(drop) });
    let mut datagram = vec![0; 2048];
    let (first, _) = between.recv_from(&mut datagram).await?;
    let behind = UdpSocket::bind("127.0.0.1:0").await?;
    behind.send_to(&datagram[..first], server).await?;
    let (mut back, begin) = (Vec::new(), tokio::time::Instant::now());
    let end = begin + Duration::from_secs(6);
    while let Ok(received) = tokio::time::timeout_at(end, behind.recv_from(&mut datagram)).await {
        back.push((received?.0, begin.elapsed()));
    }
    let bytes: usize = back.iter().map(|(bytes, _)| bytes).sum();
    println!("{first} bytes sent, {bytes} came back: {back:?}");
    assert!(first >= 1200 && bytes > 0 && bytes < 4 * first, "{first} {back:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowded_port_asks_who_is_there_and_a_full_one_refuses() -> Result<()> {
    let plan = Plan::open()?.pass_through();
    let trust = certificate_in(plan.folder())?;
    let settings = certificate::settings(plan.folder(), "127.0.0.1:0");
    let world = plan.media(&settings).media("[http]\nmax_connections = 4\n").start().await?;
    let url = format!("{}/", world.media.https.clone().context("no HTTPS port")?);
    let mut there = Vec::new();
    // From the second on each is sent a Retry first.
    for number in 0..4 {
        let client = HttpClient::http3(&trust)?;
        client.get(&url).await.with_context(|| format!("connection {number}"))?;
        there.push(client);
    }
    assert!(HttpClient::http3(&trust)?.get(&url).await.is_err(), "a fifth connection");
    for client in &there {
        assert_eq!(client.get(&url).await?.status, StatusCode::OK, "one that was there");
    }
    there.truncate(1);
    wait::until("room for another one", SOON, || async {
        Ok(HttpClient::http3(&trust)?.get(&url).await.ok().map(drop))
    })
    .await
}
