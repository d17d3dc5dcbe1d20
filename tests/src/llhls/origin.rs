//! A small LL-HLS origin of forged media, sound or with one fault, to see that the checker finds it.

use std::{
    convert::Infallible,
    io::Write as _,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, task::JoinSet};

use super::{Level, check, forge};

/// A segment is two parts of 15 pictures, half a second each.
const PART: Duration = Duration::from_millis(500);
/// Segments that are listed; the stream is older than that when it is first asked.
const WINDOW: u64 = 9;
const AGE: u64 = 24;

/// What the origin does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    AnswersEarly,
    HintsWrong,
    ReportsLate,
    ReportsNothing,
    DatesDrift,
    OneRungIsShifted,
    CodecsLie,
    ForgetsParts,
    NoCors,
    SkipsWrong,
    TakesAnyDirective,
    InitChanges,
    AnotherInitUnannounced,
    OneRungBreaks,
    MissesMedia,
    PromisesTooLittleBandwidth,
}

#[derive(Clone)]
struct Origin {
    start: Instant,
    fault: Fault,
}

type Query = Vec<(String, String)>;

impl Origin {
    /// Finished parts since the stream's beginning.
    fn parts(&self) -> u64 {
        AGE + (self.start.elapsed().as_secs_f64() / PART.as_secs_f64()) as u64
    }

    async fn until(&self, parts: u64) {
        let due = self.start + PART * u32::try_from(parts.saturating_sub(AGE)).unwrap_or(u32::MAX);
        tokio::time::sleep_until((due + Duration::from_millis(5)).into()).await;
    }

    fn playlist(&self, rendition: &str, parts: u64, skip: bool) -> String {
        let (open, first) = (parts / 2, (parts / 2).saturating_sub(WINDOW));
        let mut lines = vec![format!(
            "#EXTM3U\n#EXT-X-VERSION:9\n#EXT-X-TARGETDURATION:1\n#EXT-X-PART-INF:PART-TARGET=0.5\n\
             #EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=1.5,CAN-SKIP-UNTIL=6\n\
             #EXT-X-INDEPENDENT-SEGMENTS\n#EXT-X-MEDIA-SEQUENCE:{first}\n#EXT-X-MAP:URI=\"init.mp4\""
        )];
        let mut from = first;
        if skip && open - first > 6 {
            let skipped = open - first - 6;
            // One more is left out than is said.
            from += skipped + u64::from(self.fault == Fault::SkipsWrong);
            lines.push(format!("#EXT-X-SKIP:SKIPPED-SEGMENTS={skipped}"));
        }
        for msn in from..=open {
            let drift = if self.fault == Fault::DatesDrift { msn * 30 } else { 0 };
            let shift = if self.fault == Fault::OneRungIsShifted && rendition == "lo" { 200 } else { 0 };
            let millis = msn * 1000 + drift + shift;
            let (minute, second, milli) = (millis / 60_000, millis / 1000 % 60, millis % 1000);
            if self.fault == Fault::AnotherInitUnannounced && msn > AGE / 2 + 2 {
                lines.push("#EXT-X-MAP:URI=\"other.mp4\"".to_owned());
            }
            if self.fault == Fault::OneRungBreaks && rendition == "lo" && msn.is_multiple_of(4) {
                lines.push("#EXT-X-DISCONTINUITY".to_owned());
            }
            lines.push(format!("#EXT-X-PROGRAM-DATE-TIME:2026-01-02T03:{minute:02}:{second:02}.{milli:03}Z"));
            let listed = if msn == open { parts % 2 } else { 2 };
            if msn + 3 >= open {
                for part in 0..listed {
                    let independent = if part == 0 { ",INDEPENDENT=YES" } else { "" };
                    lines.push(format!(
                        "#EXT-X-PART:DURATION=0.5,URI=\"p{}.m4s\"{independent}",
                        msn * 2 + part
                    ));
                }
            }
            if msn < open {
                lines.push(format!("#EXTINF:1.0,\ns{msn}.m4s"));
            }
        }
        let hint = parts + u64::from(self.fault == Fault::HintsWrong);
        lines.push(format!("#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"p{hint}.m4s\""));
        if self.fault != Fault::ReportsNothing {
            let other = if rendition == "hi" { "lo" } else { "hi" };
            let lag = if self.fault == Fault::ReportsLate { 8 } else { 0 };
            let last = parts - 1 - lag;
            lines.push(format!(
                "#EXT-X-RENDITION-REPORT:URI=\"../{other}/index.m3u8\",LAST-MSN={},LAST-PART={}",
                last / 2,
                last % 2
            ));
        }
        lines.join("\n") + "\n"
    }

    fn multivariant(&self) -> String {
        let codec = if self.fault == Fault::CodecsLie { "avc1.42c01e" } else { "avc1.64001f" };
        let bandwidth = if self.fault == Fault::PromisesTooLittleBandwidth { 10 } else { 100_000 };
        let variant = |name: &str| {
            format!(
                "#EXT-X-STREAM-INF:BANDWIDTH={bandwidth},AVERAGE-BANDWIDTH={bandwidth},CODECS=\"{codec}\",\
                 RESOLUTION=640x360,FRAME-RATE=30.000,CLOSED-CAPTIONS=NONE\n{name}/index.m3u8\n"
            )
        };
        format!("#EXTM3U\n#EXT-X-INDEPENDENT-SEGMENTS\n{}{}", variant("hi"), variant("lo"))
    }

    /// 400 for what may not be asked; else the part count to wait for.
    fn directive(&self, query: &Query) -> Result<Option<u64>, StatusCode> {
        let get =
            |name: &str| query.iter().find(|(key, _)| key == name).map(|(_, value)| value.parse::<u64>());
        let part = get("_HLS_part").transpose().map_err(|_| StatusCode::BAD_REQUEST);
        let msn = get("_HLS_msn").transpose().map_err(|_| StatusCode::BAD_REQUEST);
        if self.fault == Fault::TakesAnyDirective {
            return Ok(None);
        }
        let open = self.parts() / 2;
        match (msn?, part?) {
            (None, None) => Ok(None),
            (None, Some(_)) => Err(StatusCode::BAD_REQUEST),
            (Some(msn), _) if msn > open + 1 => Err(StatusCode::BAD_REQUEST),
            (Some(msn), Some(part)) if msn >= open && part > self.parts() % 2 + 6 => {
                Err(StatusCode::BAD_REQUEST)
            }
            (Some(msn), Some(part)) => Ok(Some(msn * 2 + part.min(2) + 1)),
            (Some(msn), None) => Ok(Some(msn * 2 + 2)),
        }
    }

    async fn answer(self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        let query: Query = url::form_urlencoded::parse(request.uri().query().unwrap_or_default().as_bytes())
            .into_owned()
            .collect();
        let path = request.uri().path().to_owned();
        let (rendition, name) = path.rsplit_once('/').unwrap_or_default();
        let rendition = rendition.trim_start_matches("/x").trim_start_matches('/');
        let number = |prefix: char| name.strip_prefix(prefix)?.strip_suffix(".m4s")?.parse::<u64>().ok();
        let fragment = |part: u64| forge::fragment(part * 45_000, 15, part.is_multiple_of(2));
        let (status, age, body) = if name == "index.m3u8" && rendition.is_empty() {
            (StatusCode::OK, 1, self.multivariant().into_bytes())
        } else if name == "index.m3u8" {
            match self.directive(&query) {
                Err(status) => (status, 1, Vec::new()),
                Ok(wanted) => {
                    if let Some(wanted) = wanted.filter(|_| self.fault != Fault::AnswersEarly) {
                        self.until(wanted).await;
                    }
                    let skip = query.iter().any(|(key, _)| key == "_HLS_skip");
                    (StatusCode::OK, 1, self.playlist(rendition, self.parts(), skip).into_bytes())
                }
            }
        } else if matches!(name, "init.mp4" | "other.mp4") {
            let mut init = forge::video_init();
            if self.fault == Fault::InitChanges {
                init.extend([0, 0, 0, 9, b'f', b'r', b'e', b'e', self.parts() as u8]);
            }
            (StatusCode::OK, 86_400, init)
        } else if let Some(part) = number('p').filter(|part| *part <= self.parts() + 1) {
            let forgotten = self.fault == Fault::ForgetsParts && part + 5 < self.parts();
            self.until(part + 1).await;
            if forgotten {
                (StatusCode::NOT_FOUND, 1, Vec::new())
            } else {
                (StatusCode::OK, 86_400, fragment(part))
            }
        } else if let Some(msn) = number('s').filter(|_| self.fault != Fault::MissesMedia) {
            (StatusCode::OK, 86_400, [fragment(msn * 2), fragment(msn * 2 + 1)].concat())
        } else {
            (StatusCode::NOT_FOUND, 1, Vec::new())
        };
        let mut response = Response::builder()
            .status(status)
            .header(header::CACHE_CONTROL, format!("public, max-age={age}"))
            .header(
                header::CONTENT_TYPE,
                if name.ends_with("m3u8") { "application/vnd.apple.mpegurl" } else { "video/mp4" },
            );
        if self.fault != Fault::NoCors {
            response = response.header(header::ACCESS_CONTROL_ALLOW_ORIGIN, "*");
        }
        let body = if name.ends_with("m3u8") {
            response = response.header(header::CONTENT_ENCODING, "gzip");
            let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            gzip.write_all(&body).expect("into memory");
            gzip.finish().expect("into memory")
        } else {
            body
        };
        Ok(response.body(Full::from(body)).expect("sound headers"))
    }
}

async fn serve(listener: TcpListener, origin: Origin) {
    let mut connections = JoinSet::new();
    while let Ok((socket, _)) = listener.accept().await {
        let origin = origin.clone();
        let service = service_fn(move |request| origin.clone().answer(request));
        connections.spawn(http1::Builder::new().serve_connection(TokioIo::new(socket), service));
    }
}

/// The MUST and SHOULD rules that the checker found broken at an origin with that fault.
async fn broken(fault: Fault) -> super::Findings {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/x/index.m3u8", listener.local_addr().expect("bound"));
    let mut serving = JoinSet::new();
    serving.spawn(serve(listener, Origin { start: Instant::now(), fault }));
    check(&url, Duration::from_secs(7)).await.expect("checkable").findings
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_fault_of_an_origin_is_found_and_a_sound_one_passes() {
    let expected: [(Fault, &[u16]); 17] = [
        (Fault::None, &[]),
        (Fault::AnswersEarly, &[24]),
        (Fault::HintsWrong, &[18]),
        (Fault::ReportsLate, &[20]),
        (Fault::ReportsNothing, &[21]),
        (Fault::DatesDrift, &[38]),
        (Fault::OneRungIsShifted, &[39]),
        (Fault::CodecsLie, &[45]),
        (Fault::ForgetsParts, &[41]),
        (Fault::NoCors, &[34]),
        (Fault::SkipsWrong, &[22]),
        (Fault::TakesAnyDirective, &[25, 26, 27, 84]),
        (Fault::InitChanges, &[53]),
        (Fault::AnotherInitUnannounced, &[57]),
        (Fault::OneRungBreaks, &[57]),
        (Fault::MissesMedia, &[55]),
        (Fault::PromisesTooLittleBandwidth, &[43, 44]),
    ];
    let mut checks = JoinSet::new();
    for (fault, rules) in expected {
        checks.spawn(async move { (fault, rules, broken(fault).await) });
    }
    while let Some(done) = checks.join_next().await {
        let (fault, rules, findings) = done.expect("no panic");
        for rule in rules {
            assert!(findings.is_broken(*rule), "{fault:?}: R{rule} was not found\n{findings}");
        }
        // Forged pictures decode to nothing (R51), this server speaks HTTP/1.1 (R36) and has no trick play (R67).
        assert!(findings.is_broken(51), "{findings}");
        if fault == Fault::None {
            let must = findings.broken(Level::Must);
            let should = findings.broken(Level::Should);
            assert!(must.iter().eq(&[51]) && should.iter().eq(&[36, 67]), "{findings}");
            for rule in [3, 12, 14, 15, 16, 17, 18, 19, 20, 22, 23, 24, 38, 39, 53, 76, 77, 78, 80, 81] {
                assert!(findings.is_exercised(rule), "R{rule} was not looked at\n{findings}");
            }
        }
    }
}
