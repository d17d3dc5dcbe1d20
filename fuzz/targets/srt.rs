//! SRT datagrams, for the listener, for a call of ours, and for a connection that was accepted: what waits is bounded, and nothing comes out
//! that did not come in. Each datagram has a byte in front: its low bits are the milliseconds since the one before, the
//! highest says that it is for the listener; then its length.
#![no_main]

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use wire::srt::{Accept, Call, Connection, Delivery, Dialer, Greeting, Listener, Passphrase};

/// The first handshake's answer tells the cookie, which a fuzzer cannot guess: it is put in place.
fn request(listener: &Listener, now: Duration, from: SocketAddr, datagram: &[u8]) -> Greeting {
    let mut induction = vec![0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 2];
    induction.resize(64, 0);
    induction[39] = 1;
    let mut asked = datagram.to_vec();
    if let Greeting::Answer(answer) = listener.greet(now, from, &induction.into())
        && asked.len() >= 48
    {
        asked[44..48].copy_from_slice(&answer[44..48]);
    }
    listener.greet(now, from, &asked.into())
}

fuzz_target!(|data: &[u8]| {
    let (mut rest, mut now) = (data, Duration::from_secs(1));
    let listener = Listener::new([1; 32]);
    let from: SocketAddr = ([127, 0, 0, 1], 9000).into();
    let mut connection: Option<Connection> = None;
    let call = Call {
        stream_id: "publish/k".into(),
        latency: Duration::from_millis(20),
        secret: None,
        to: from.ip(),
        entropy: [3; 32],
    };
    let mut dialer = Dialer::new(Duration::ZERO, call).expect("no key, no length of it");
    let (mut came, mut given) = (0, 0);
    while let [head, length, tail @ ..] = rest {
        let (datagram, behind) = tail.split_at(usize::from(*length).min(tail.len()));
        // The other side of a call of ours says the same; our socket id, which it cannot guess, is put in place.
        let asked = dialer.transmit(now).and_then(|out| out.get(40..44).map(<[u8]>::to_vec));
        let mut answer = datagram.to_vec();
        if let (Some(id), Some(place)) = (asked, answer.get_mut(12..16)) {
            place.copy_from_slice(&id);
        }
        if let Some(Ok(mut called)) = dialer.receive(now, &answer.into()) {
            called.receive(now, &Bytes::copy_from_slice(datagram));
            called.tick(now);
        }
        rest = behind;
        now += Duration::from_millis(u64::from(head & 0x7f));
        if head & 0x80 != 0 || connection.is_none() {
            if let Greeting::Request(request) = request(&listener, now, from, datagram) {
                let _read = request.stream_id();
                let passphrase = request.is_encrypted().then(|| Passphrase::new("0123456789")).flatten();
                let latency = Duration::from_millis(20);
                let accept = Accept { socket: 7, latency, peer_latency: latency, passphrase, entropy: [2; 32] };
                if let Ok(accepted) = request.accept(now, &accept) {
                    connection = Some(accepted);
                }
            }
            continue;
        }
        let Some(connection) = &mut connection else { continue };
        came += datagram.len();
        // Something of ours is on its way, for what comes to acknowledge or to ask for again.
        connection.send(now, Bytes::copy_from_slice(datagram));
        connection.receive(now, &Bytes::copy_from_slice(datagram));
        connection.tick(now);
        while let Some(delivery) = connection.deliver(now) {
            if let Delivery::Payload(payload) = delivery {
                given += payload.len();
            }
        }
        while let Some(out) = connection.transmit(now) {
            assert!(out.len() <= 1500);
        }
        let stats = connection.stats();
        assert!(given <= came && stats.waiting <= 8192 && stats.unacknowledged <= 8192);
        let _next = connection.timeout();
    }
});
