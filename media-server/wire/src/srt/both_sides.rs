//! Our own caller and our own listener, with a path between them that loses datagrams.

use bytes::Bytes;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::time::Duration;

use super::*;

const STEP: Duration = Duration::from_millis(1);
const PASSPHRASE: &str = "correct horse battery";

/// Two ends and what is between them. Caller and listener have clocks of different zeros.
struct Path {
    now: Duration,
    skew: Duration,
    one_way: Duration,
    /// Of a thousand.
    lost: u64,
    dice: u64,
    /// When, for whom (true: for the listener's side), what.
    on_the_way: Vec<(Duration, bool, Bytes)>,
}

impl Path {
    fn new(round_trip_ms: u64, lost: u64) -> Self {
        let one_way = Duration::from_millis(round_trip_ms / 2);
        Self {
            now: Duration::ZERO,
            skew: Duration::from_secs(77),
            one_way,
            lost,
            dice: 0x1234_5678_9abc_def1,
            on_the_way: Vec::new(),
        }
    }

    fn send(&mut self, to_listener: bool, datagram: Bytes) {
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        if self.dice % 1000 >= self.lost {
            self.on_the_way.push((self.now + self.one_way, to_listener, datagram));
        }
    }

    fn arrived(&mut self) -> Vec<(bool, Bytes)> {
        let now = self.now;
        let come = self.on_the_way.extract_if(.., |(at, ..)| *at <= now);
        come.map(|(_, to_listener, datagram)| (to_listener, datagram)).collect()
    }
}

fn from() -> SocketAddr {
    "192.0.2.7:5000".parse().unwrap()
}

fn call(bits: Option<usize>) -> Call {
    Call {
        stream_id: "publish/sk_1".into(),
        latency: Duration::from_millis(200),
        secret: bits.map(|bits| (Passphrase::new(PASSPHRASE).unwrap(), bits)),
        to: IpAddr::V4(Ipv4Addr::LOCALHOST),
        entropy: [5; 32],
    }
}

fn terms(passphrase: Option<&str>) -> Accept {
    Accept {
        socket: 4711,
        latency: Duration::from_millis(120),
        peer_latency: Duration::from_millis(120),
        passphrase: passphrase.map(|text| Passphrase::new(text).unwrap()),
        entropy: [6; 32],
    }
}

/// Caller and listener, connected over `path`.
fn connect(path: &mut Path, call: Call, accept: &Accept) -> Result<(Connection, Connection), CallError> {
    let listener = Listener::new([7; 32]);
    let mut dialer = Dialer::new(path.now, call)?;
    let mut accepted: Option<Connection> = None;
    for _ in 0..10_000 {
        path.now += STEP;
        while let Some(datagram) = dialer.transmit(path.now) {
            path.send(true, datagram);
        }
        let there = path.now + path.skew;
        for (to_listener, datagram) in path.arrived() {
            if to_listener {
                match listener.greet(there, from(), &datagram) {
                    Greeting::Answer(answer) => path.send(false, answer),
                    Greeting::Request(request) => {
                        assert_eq!(request.stream_id().unwrap().resource, "sk_1");
                        if let Some(connection) = &mut accepted {
                            connection.receive(there, &datagram);
                            continue;
                        }
                        match request.accept(there, accept) {
                            Ok(connection) => accepted = Some(connection),
                            Err(reject) => path.send(false, request.reject(reject)),
                        }
                    }
                    Greeting::Ignored => {}
                }
            } else if let Some(over) = dialer.receive(path.now, &datagram) {
                return over.map(|connection| (connection, accepted.unwrap()));
            }
        }
        while let Some(datagram) = accepted.as_mut().and_then(|it| it.transmit(there)) {
            path.send(false, datagram);
        }
    }
    panic!("no connection");
}

/// Sends `packets`, one each 2 ms, from the caller or from the listener; what came out at the other end and how late.
fn run(
    path: &mut Path,
    caller: &mut Connection,
    listener: &mut Connection,
    packets: u32,
    from_caller: bool,
) -> Vec<(u32, Duration)> {
    let mut got = Vec::new();
    let begin = path.now;
    let mut sent_at = Vec::new();
    while got.last().is_none_or(|(n, _)| *n + 1 < packets) {
        path.now += STEP;
        let passed = path.now.abs_diff(begin);
        assert!(passed < STEP * 3 * packets + Duration::from_mins(1), "stuck at {}", got.len());
        let there = path.now + path.skew;
        let n = sent_at.len() as u32;
        if passed >= STEP * 2 * n && n < packets + 50 {
            sent_at.push(path.now);
            let payload = Bytes::from([&n.to_be_bytes()[..], &[0x47; 184]].concat());
            if from_caller { caller.send(path.now, payload) } else { listener.send(there, payload) }
        }
        for (to_listener, datagram) in path.arrived() {
            if to_listener {
                listener.receive(there, &datagram);
            } else {
                caller.receive(path.now, &datagram);
            }
        }
        caller.tick(path.now);
        listener.tick(there);
        while let Some(datagram) = caller.transmit(path.now) {
            path.send(true, datagram);
        }
        while let Some(datagram) = listener.transmit(there) {
            path.send(false, datagram);
        }
        loop {
            let delivery = if from_caller { listener.deliver(there) } else { caller.deliver(path.now) };
            match delivery {
                Some(Delivery::Payload(payload)) => {
                    let n = u32::from_be_bytes(*payload.first_chunk().unwrap());
                    got.push((n, path.now.abs_diff(sent_at[n as usize])));
                }
                Some(Delivery::Lost(_)) => {}
                None => break,
            }
        }
        assert_eq!((caller.closed(), listener.closed()), (None, None));
    }
    got
}

#[test]
fn both_ways_arrive_in_time_over_a_path_that_loses() {
    for from_caller in [true, false] {
        let mut path = Path::new(50, 20);
        let (mut caller, mut listener) = connect(&mut path, call(None), &terms(None)).unwrap();
        let got = run(&mut path, &mut caller, &mut listener, 5000, from_caller);
        assert!(got.len() >= 4995, "{} of 5000", got.len());
        assert!(got.is_sorted(), "in order");
        let latency = Duration::from_millis(200);
        let worst = got.iter().map(|(_, late)| *late).max().unwrap();
        // Half a round trip lies before the clock that both know.
        assert!(worst < latency + Duration::from_millis(70), "{worst:?}");
        let stats = if from_caller { caller.stats() } else { listener.stats() };
        assert!(stats.sent_again > 50 && stats.sent >= 5000, "{stats:?}");
        assert!(stats.unacknowledged < 200, "{stats:?}");
    }
}

#[test]
fn keys_follow_on_each_other_and_nothing_is_lost_of_it() {
    for bits in [128, 192, 256] {
        let mut path = Path::new(20, 50);
        let (mut caller, mut listener) =
            connect(&mut path, call(Some(bits)), &terms(Some(PASSPHRASE))).unwrap();
        assert_eq!((caller.key_bits(), listener.key_bits()), (bits, bits));
        // After the first packets a second's worth is announced, as at the end of a key's life.
        (caller.refresh, listener.refresh) = (6000, 6000);
        for from_caller in [true, false] {
            let got = run(&mut path, &mut caller, &mut listener, 7000, from_caller);
            assert!(got.len() >= 6995, "{bits}, {from_caller}: {}", got.len());
        }
        assert_eq!((caller.stats().undecryptable, listener.stats().undecryptable), (0, 0));
        assert!(caller.encrypted < 6000 && listener.encrypted < 6000, "both have switched");
    }
}

/// Over every wrap of the timestamps (71 minutes) and one of the numbers, with a key for about a quarter of an hour.
#[test]
fn two_hours_over_a_bad_line_need_no_more_than_the_first_minute() {
    let mut path = Path::new(50, 20);
    let (mut caller, mut listener) = connect(&mut path, call(Some(256)), &terms(Some(PASSPHRASE))).unwrap();
    // A build for debugging takes forty times as long: a quarter of an hour has to do.
    let (packets, refresh) =
        if cfg!(debug_assertions) { (450_000, 60_000) } else { (2 * 3600 * 500, 500_000) };
    (caller.refresh, listener.refresh) = (refresh, refresh);
    let got = run(&mut path, &mut caller, &mut listener, packets, true);
    let lost = packets as usize - got.len();
    let worst = got.iter().map(|(_, late)| *late).max().unwrap();
    let stats = (caller.stats(), listener.stats());
    println!("{packets} packets, {lost} lost, {worst:?} at most from end to end, {stats:?}");
    assert!(lost < 10, "{lost} of {packets}");
    assert!(worst < Duration::from_millis(290), "{worst:?}");
    assert_eq!(stats.1.undecryptable, 0);
    assert!(stats.0.unacknowledged < 200 && stats.1.waiting < 200, "{stats:?}");
}

#[test]
fn a_refusal_is_told_in_words() {
    let mut path = Path::new(20, 0);
    let refused = connect(&mut path, call(None), &terms(Some(PASSPHRASE))).unwrap_err();
    assert_eq!(refused, CallError::Rejected { code: 11 });
    assert!(refused.to_string().contains("passphrase on both"), "{refused}");
    let other = terms(Some("battery staple"));
    let refused = connect(&mut path, call(Some(128)), &other).unwrap_err();
    assert_eq!(refused, CallError::Rejected { code: 10 });
    assert_eq!(Dialer::new(Duration::ZERO, call(Some(100))).unwrap_err(), CallError::KeyLength);
}

#[test]
fn what_the_receiver_never_got_is_given_up_and_said() {
    let mut path = Path::new(20, 0);
    let (mut caller, mut listener) = connect(&mut path, call(None), &terms(None)).unwrap();
    for _ in 0..10 {
        caller.send(path.now, Bytes::from_static(&[0x47; 188]));
    }
    path.now += Duration::from_millis(1500);
    caller.tick(path.now);
    let drops: Vec<_> = std::iter::from_fn(|| caller.transmit(path.now)).collect();
    assert_eq!(caller.stats().given_up, 10);
    for datagram in drops {
        listener.receive(path.now + path.skew, &datagram);
    }
    assert!(listener.stats().missing == 0, "what is given up is not asked for");
}
