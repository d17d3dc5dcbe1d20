//! What WHIP and WHEP clients send: an offer and fragments by HTTP, and datagrams to the session that it makes.
#![no_main]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use libfuzzer_sys::fuzz_target;
use str0m::change::SdpOffer;
use str0m::net::{Protocol, Receive};
use str0m::{Candidate, Input, Output, Rtc};
use wire::reach::Reach;
use wire::sdp::{self, Credentials};
use wire::stun;

/// Between the offer, and the datagrams, of which each has its length before it.
const END: &[u8] = b"\0\0";

fn drain(rtc: &mut Rtc, reach: &mut Reach, from: SocketAddr) -> Option<()> {
    for _ in 0..1000 {
        match rtc.poll_output().ok()? {
            Output::Timeout(_) => return Some(()),
            Output::Transmit(transmit) => {
                assert_eq!(transmit.destination, from, "sent to where nothing came from");
                reach.may_send(from, &transmit.contents);
            }
            Output::Event(_) => {}
        }
    }
    panic!("output without end");
}

fn session(offer: &str, mut datagrams: &[u8]) -> Option<()> {
    assert!(sdp::layers(offer) >= 1);
    let offer = sdp::without_candidates(offer);
    let parsed = SdpOffer::from_sdp_string(&offer).ok()?;
    let (here, there) = (SocketAddr::from(([192, 0, 2, 1], 8189)), SocketAddr::from(([192, 0, 2, 2], 9)));
    let mut now = Instant::now();
    let mut rtc = Rtc::builder()
        .clear_codecs()
        .enable_opus(true, false)
        .enable_h264(true)
        .enable_h265(true)
        .enable_av1(true)
        .enable_vp9(true)
        .enable_vp8(true)
        .build(now);
    rtc.add_local_candidate(Candidate::host(here, "udp").ok()?);
    let answer = rtc.sdp_api().accept_offer(parsed).ok()?.to_sdp_string();
    sdp::refused(&answer);
    // What has no track is refused.
    sdp::fragment(&answer)?;
    let answer = sdp::with_last(&answer, &["VP8", "VP9"]);
    let answer = sdp::with_candidates(&answer, &["candidate:x".to_owned()]);
    assert!(sdp::fragment(&answer).is_some(), "ICE stays");
    let mut reach = Reach::default();
    drain(&mut rtc, &mut reach, there)?;
    if let Some(credentials) = Credentials::of(&String::from_utf8_lossy(datagrams)) {
        let restarted = sdp::with_credentials(&offer, &credentials);
        rtc.sdp_api().accept_offer(SdpOffer::from_sdp_string(&restarted).ok()?).ok()?;
        drain(&mut rtc, &mut reach, there)?;
    }
    while let Some((length, rest)) = datagrams.split_first() {
        let (datagram, rest) = rest.split_at_checked(usize::from(*length)).unwrap_or((rest, &[]));
        datagrams = rest;
        now += Duration::from_millis(5);
        reach.heard(there, datagram);
        let Ok(receive) = Receive::new(Protocol::Udp, there, here, datagram) else { continue };
        let input = Input::Receive(now, receive);
        if rtc.accepts(&input) {
            rtc.handle_input(input).ok()?;
            drain(&mut rtc, &mut reach, there)?;
        }
        rtc.handle_input(Input::Timeout(now)).ok()?;
        drain(&mut rtc, &mut reach, there)?;
    }
    Some(())
}

fuzz_target!(|data: &[u8]| {
    stun::read(data);
    let end = data.windows(END.len()).position(|bytes| bytes == END).unwrap_or(data.len());
    let (text, datagrams) = data.split_at(end);
    if let Ok(text) = std::str::from_utf8(text) {
        Credentials::of(text);
        sdp::fragment(text);
        session(text, datagrams.get(END.len()..).unwrap_or_default());
    }
});
