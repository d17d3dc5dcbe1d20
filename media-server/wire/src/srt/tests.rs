use bytes::{BufMut, Bytes, BytesMut};
use core::net::SocketAddr;
use core::time::Duration;
use proptest::prelude::*;

use super::handshake::{CONCLUSION, Handshake, Hello, INDUCTION, MAGIC, V5, flag};
use super::packet::{Control, Kind, Packet};
use super::*;

const CALLER: u32 = 77;
const OURS: u32 = 1234;
const FIRST: u32 = 0x7fff_fff0;
const PASSPHRASE: &str = "correct horse battery";

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn from() -> SocketAddr {
    "192.0.2.7:5000".parse().unwrap()
}

fn listener() -> Listener {
    Listener::new([7; 32])
}

fn handshake(kind: u32, version: u32, cookie: u32) -> Handshake {
    Handshake {
        version,
        extension: if version < V5 { 2 } else { 0 },
        sequence: FIRST,
        mtu: 1500,
        window: 8192,
        kind,
        socket: CALLER,
        cookie,
        ..Handshake::default()
    }
}

fn wrap(handshake: &Handshake, id: Option<&str>) -> Bytes {
    let mut body = BytesMut::from(handshake.write(false));
    if let Some(id) = id {
        let mut text = id.as_bytes().to_vec();
        text.resize(text.len().next_multiple_of(4), 0);
        body.put_u16(5);
        body.put_u16((text.len() / 4) as u16);
        text.chunks(4).for_each(|word| word.iter().rev().for_each(|byte| body.put_u8(*byte)));
    }
    Control::write(Kind::Handshake, 0, 10, 0, &body)
}

fn answered(datagram: &Bytes) -> Handshake {
    let Some(Packet::Control(control)) = Packet::parse(datagram) else { panic!("{datagram:?}") };
    assert_eq!((control.kind, control.socket), (Kind::Handshake, CALLER));
    Handshake::parse(&control.body).unwrap()
}

fn cookie(listener: &Listener, now: Duration) -> u32 {
    let hello = wrap(&handshake(INDUCTION, 4, 0), None);
    let Greeting::Answer(answer) = listener.greet(now, from(), &hello) else { panic!("no answer") };
    assert!(answer.len() <= hello.len(), "of no use for reflection");
    let answer = answered(&answer);
    assert_eq!((answer.version, answer.extension, answer.kind), (V5, MAGIC, INDUCTION));
    answer.cookie
}

fn asking(cookie: u32) -> Handshake {
    let flags = flag::TSBPD_SENDER | flag::TOO_LATE_DROP | flag::PERIODIC_NAK | flag::RETRANSMIT;
    let hello = Hello { version: 0x01_05_01, flags, receiver_delay: 0, sender_delay: 200 };
    Handshake { hello: Some(hello), ..handshake(CONCLUSION, V5, cookie) }
}

fn request(handshake: &Handshake, id: &str) -> Box<Request> {
    match listener().greet(ms(100), from(), &wrap(handshake, Some(id))) {
        Greeting::Request(request) => request,
        other => panic!("{other:?}"),
    }
}

fn terms(latency: u64) -> Accept {
    Accept { socket: OURS, latency: ms(latency), peer_latency: ms(120), passphrase: None, entropy: [3; 32] }
}

/// A connection of a latency of 200 ms, which the caller asked for.
fn connected() -> Connection {
    let request = request(&asking(cookie(&listener(), ms(50))), "publish/sk_1");
    assert_eq!(request.stream_id().unwrap().resource, "sk_1");
    let mut connection = request.accept(ms(100), &terms(120)).unwrap();
    let answer = answered(&connection.transmit(ms(100)).unwrap());
    let hello = answer.hello.unwrap();
    assert_eq!((answer.kind, answer.socket, hello.receiver_delay), (CONCLUSION, OURS, 200));
    connection
}

/// A data packet, `n`-th of the stream, sent `at` after the handshake (whose timestamp is 10 µs).
fn data(n: u32, at: Duration, again: bool) -> Bytes {
    let mut out = BytesMut::new();
    out.put_u32(FIRST.wrapping_add(n) & 0x7fff_ffff);
    out.put_u32(0xc000_0000 | if again { 0x0400_0000 } else { 0 } | (n + 1));
    out.put_u32(at.as_micros() as u32 + 10);
    out.put_u32(OURS);
    out.put_slice(&n.to_be_bytes());
    out.freeze()
}

/// What was said by now; data are not asked for.
fn sent(connection: &mut Connection) -> Vec<(Kind, u32, Vec<u32>)> {
    let mut all = Vec::new();
    while let Some(datagram) = connection.transmit(ms(100)) {
        let Some(Packet::Control(control)) = Packet::parse(&datagram) else { panic!("{datagram:?}") };
        let words = control.body.as_chunks::<4>().0.iter().map(|four| u32::from_be_bytes(*four)).collect();
        all.push((control.kind, control.info, words));
    }
    all
}

fn delivered(connection: &mut Connection, now: Duration) -> Vec<Delivery> {
    std::iter::from_fn(|| connection.deliver(now)).collect()
}

fn number(delivery: &Delivery) -> Option<u32> {
    match delivery {
        Delivery::Payload(payload) => Some(u32::from_be_bytes(*payload.first_chunk().unwrap())),
        Delivery::Lost(_) => None,
    }
}

#[test]
fn a_cookie_is_good_for_its_address_and_a_minute() {
    let listener = listener();
    let conclusion = |cookie| wrap(&asking(cookie), Some("publish/k"));
    let good = cookie(&listener, ms(50));
    assert!(matches!(listener.greet(ms(60_050), from(), &conclusion(good)), Greeting::Request(_)));
    assert!(matches!(listener.greet(ms(130_000), from(), &conclusion(good)), Greeting::Ignored));
    let elsewhere = "192.0.2.8:5000".parse().unwrap();
    assert!(matches!(listener.greet(ms(60), elsewhere, &conclusion(good)), Greeting::Ignored));
    assert!(matches!(listener.greet(ms(60), from(), &conclusion(good ^ 1)), Greeting::Ignored));
}

#[test]
fn a_caller_is_turned_away_with_the_reason() {
    let asked = asking(cookie(&listener(), ms(50)));
    let rejected = request(&asked, "publish/k").reject(Reject::Forbidden);
    assert_eq!(answered(&rejected).kind, 2403);
    let old = wrap(&handshake(CONCLUSION, 4, asked.cookie), None);
    let Greeting::Answer(answer) = listener().greet(ms(60), from(), &old) else { panic!() };
    assert_eq!(answered(&answer).kind, 1008);
    let needs = Accept { passphrase: Passphrase::new(PASSPHRASE), ..terms(120) };
    assert_eq!(request(&asked, "publish/k").accept(ms(100), &needs).unwrap_err(), Reject::Unsecure);
}

#[test]
fn packets_are_given_in_order_when_they_are_due() {
    let mut connection = connected();
    for n in [0, 2, 1, 3] {
        connection.receive(ms(130), &data(n, ms(u64::from(n)), false));
    }
    connection.tick(ms(130));
    assert_eq!((connection.timeout(), delivered(&mut connection, ms(299))), (ms(300), vec![]));
    let due = delivered(&mut connection, ms(302));
    assert_eq!(due.iter().filter_map(number).collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!(delivered(&mut connection, ms(303)).len(), 1);
}

#[test]
fn what_is_missing_is_asked_for_at_once_and_again() {
    let mut connection = connected();
    connection.receive(ms(101), &data(0, ms(1), false));
    connection.receive(ms(102), &data(4, ms(2), false));
    let first = (FIRST + 1) | 0x8000_0000;
    let nak = |sent: Vec<(Kind, u32, Vec<u32>)>| sent.into_iter().find(|(kind, ..)| *kind == Kind::Nak);
    assert_eq!(nak(sent(&mut connection)), Some((Kind::Nak, 0, vec![first, FIRST + 3])));
    connection.receive(ms(103), &data(2, ms(2), true));
    connection.tick(ms(110));
    assert_eq!(nak(sent(&mut connection)), None, "not sooner than half a round trip");
    connection.tick(ms(260));
    assert_eq!(nak(sent(&mut connection)), Some((Kind::Nak, 0, vec![FIRST + 1, FIRST + 3])));
    let stats = connection.stats();
    assert_eq!((stats.missing, stats.recovered, stats.retransmitted), (3, 1, 1));
}

#[test]
fn a_hole_holds_nothing_up_once_what_is_behind_it_is_due() {
    let mut connection = connected();
    connection.receive(ms(100), &data(0, ms(0), false));
    connection.receive(ms(103), &data(3, ms(3), false));
    assert_eq!(delivered(&mut connection, ms(302)).len(), 1);
    let due = delivered(&mut connection, ms(303));
    assert_eq!(due[0], Delivery::Lost(2));
    assert_eq!(number(&due[1]), Some(3));
    connection.receive(ms(304), &data(1, ms(1), true));
    assert_eq!(delivered(&mut connection, ms(400)), []);
    assert_eq!((connection.stats().too_late, connection.stats().redundant), (2, 1));
}

#[test]
fn acknowledgements_say_how_far_it_is_whole_and_measure_the_round_trip() {
    let mut connection = connected();
    connection.receive(ms(101), &data(0, ms(1), false));
    connection.tick(ms(111));
    let acked = sent(&mut connection);
    let (Kind::Ack, info, words) = &acked[0] else { panic!("{acked:?}") };
    assert_eq!((words[0], *info), (FIRST + 1, 1));
    let answer = Control::write(Kind::AckAck, 1, 30_000, OURS, &[]);
    connection.receive(ms(151), &answer);
    assert_eq!(connection.stats().round_trip, ms(40));
    // Two missing, given up: the sender may forget them.
    connection.receive(ms(152), &data(3, ms(50), false));
    delivered(&mut connection, ms(400));
    connection.tick(ms(400));
    let acked = sent(&mut connection);
    assert!(acked.iter().any(|(kind, _, words)| *kind == Kind::Ack && words[0] == FIRST + 4), "{acked:?}");
}

#[test]
fn what_the_sender_has_dropped_is_not_asked_for() {
    let mut connection = connected();
    connection.receive(ms(101), &data(0, ms(1), false));
    connection.receive(ms(102), &data(3, ms(2), false));
    sent(&mut connection);
    let range = [(FIRST + 1).to_be_bytes(), (FIRST + 2).to_be_bytes()].concat();
    connection.receive(ms(103), &Control::write(Kind::DropRequest, 5, 0, OURS, &range));
    connection.tick(ms(290));
    assert!(sent(&mut connection).iter().all(|(kind, ..)| *kind != Kind::Nak));
    assert_eq!(delivered(&mut connection, ms(310))[1], Delivery::Lost(2));
}

#[test]
fn what_is_missing_before_what_the_sender_has_dropped_is_asked_for() {
    let mut connection = connected();
    connection.receive(ms(101), &data(0, ms(1), false));
    sent(&mut connection);
    let range = [(FIRST + 3).to_be_bytes(), (FIRST + 4).to_be_bytes()].concat();
    connection.receive(ms(103), &Control::write(Kind::DropRequest, 5, 0, OURS, &range));
    let asked: Vec<_> = sent(&mut connection).into_iter().filter(|(kind, ..)| *kind == Kind::Nak).collect();
    assert_eq!(asked, [(Kind::Nak, 0, vec![(FIRST + 1) | 0x8000_0000, FIRST + 2])]);
    connection.receive(ms(120), &data(1, ms(1), true));
    connection.receive(ms(120), &data(2, ms(1), true));
    connection.receive(ms(121), &data(5, ms(2), false));
    let due = delivered(&mut connection, ms(302));
    assert_eq!(due.iter().filter_map(number).collect::<Vec<_>>(), [0, 1, 2, 5]);
    assert_eq!(due[3], Delivery::Lost(2));
    // A range that ends before it begins is none.
    let range = [(FIRST + 9).to_be_bytes(), (FIRST + 7).to_be_bytes()].concat();
    connection.receive(ms(303), &Control::write(Kind::DropRequest, 5, 0, OURS, &range));
    assert_eq!(connection.stats().missing, 2);
}

#[test]
fn a_peer_that_left_or_went_silent_is_told_apart() {
    let mut connection = connected();
    connection.tick(ms(5_099));
    assert_eq!(connection.closed(), None);
    connection.tick(ms(5_100));
    assert_eq!(connection.closed(), Some(Closed::Silent));
    let mut connection = connected();
    connection.receive(ms(200), &Control::write(Kind::Shutdown, 0, 0, OURS, &[0; 4]));
    assert_eq!(connection.closed(), Some(Closed::Left));
}

proptest! {
    #[test]
    fn any_datagram_is_taken(datagrams in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 0..30)) {
        let (listener, mut connection) = (listener(), connected());
        let mut now = ms(100);
        for datagram in datagrams {
            let datagram = Bytes::from(datagram);
            let _greeting = listener.greet(now, from(), &datagram);
            connection.receive(now, &datagram);
            connection.tick(now);
            delivered(&mut connection, now);
            now += ms(7);
        }
        prop_assert!(connection.stats().waiting <= 8192);
    }

    /// A path that loses, doubles and reorders; a sender that answers every report after a round trip of 30 ms.
    #[test]
    fn nothing_is_lost_that_comes_in_time(losses in proptest::collection::vec(any::<u8>(), 400)) {
        let mut connection = connected();
        let mut on_the_way: Vec<(Duration, Bytes)> = Vec::new();
        let mut got = Vec::new();
        for step in 0..800_u64 {
            let now = ms(100 + step);
            let n = step as u32;
            if step < 400 {
                match losses[step as usize] {
                    // One in eight is lost, some come later than others.
                    0..32 => {}
                    late @ 32..64 => on_the_way.push((now + ms(15 + u64::from(late % 8)), data(n, ms(step), false))),
                    _ => on_the_way.push((now + ms(15), data(n, ms(step), false))),
                }
            }
            on_the_way.sort_by_key(|(at, _)| *at);
            while on_the_way.first().is_some_and(|(at, _)| *at <= now) {
                let (_, datagram) = on_the_way.remove(0);
                connection.receive(now, &datagram);
            }
            connection.tick(now);
            for (kind, info, words) in sent(&mut connection) {
                match kind {
                    Kind::Ack if info != 0 => {
                        let answer = Control::write(Kind::AckAck, info, (step * 1000) as u32 + 10, OURS, &[]);
                        on_the_way.push((now + ms(30), answer));
                    }
                    Kind::Nak => {
                        let mut words = words.into_iter();
                        while let Some(word) = words.next() {
                            let first = word & 0x7fff_ffff;
                            let last = if word & 0x8000_0000 == 0 { first } else { words.next().unwrap() };
                            let n = first.wrapping_sub(FIRST) & 0x7fff_ffff;
                            for n in n..=(last.wrapping_sub(FIRST) & 0x7fff_ffff) {
                                on_the_way.push((now + ms(30), data(n, ms(u64::from(n)), true)));
                            }
                        }
                    }
                    _ => {}
                }
            }
            got.extend(delivered(&mut connection, now));
        }
        // What lies before the first that came was never known of; nothing tells of the last ones.
        let numbers: Vec<_> = got.iter().filter_map(number).collect();
        let last = *numbers.last().unwrap();
        prop_assert!(numbers.iter().copied().eq(numbers[0]..=last), "{:?}", got.iter().filter(|d| number(d).is_none()).count());
    }
}
