//! An independent client (rml_rtmp's) publishes through the session, in memory.

mod peer;

use bytes::Bytes;
use peer::{body, session};
use rml_rtmp::chunk_io::Packet;
use rml_rtmp::handshake::{Handshake, HandshakeProcessResult, PeerType};
use rml_rtmp::sessions::{
    ClientSession, ClientSessionConfig, ClientSessionEvent, ClientSessionResult, PublishRequestType,
    StreamMetadata,
};
use rml_rtmp::time::RtmpTimestamp;
use wire::amf0::Value;
use wire::rtmp::{Event, Session};

/// Client and server with a wire in between.
struct Pair {
    client: ClientSession,
    server: Session,
    seen: Vec<ClientSessionEvent>,
}

impl Pair {
    fn shake_hands() -> Self {
        let mut server = session();
        let mut hands = Handshake::new(PeerType::Client);
        server.feed(hands.generate_outbound_p0_and_p1().unwrap().into()).unwrap();
        let left_over = loop {
            let answer = server.output();
            match hands.process_bytes(&answer).unwrap() {
                HandshakeProcessResult::InProgress { response_bytes } => {
                    assert!(!response_bytes.is_empty(), "nothing moves");
                    server.feed(response_bytes.into()).unwrap();
                }
                HandshakeProcessResult::Completed { response_bytes, remaining_bytes } => {
                    server.feed(response_bytes.into()).unwrap();
                    break remaining_bytes;
                }
            }
        };
        let (mut client, first) = ClientSession::new(ClientSessionConfig::new()).unwrap();
        assert!(first.is_empty());
        assert!(client.handle_input(&left_over).unwrap().is_empty());
        Self { client, server, seen: Vec::new() }
    }

    fn send(&mut self, packet: &Packet) {
        for part in packet.bytes.chunks(1460) {
            self.server.feed(Bytes::copy_from_slice(part)).unwrap();
        }
        self.answer();
    }

    /// Carries answers back and forth until there are none.
    fn answer(&mut self) {
        loop {
            let answer = self.server.output();
            if answer.is_empty() {
                return;
            }
            for result in self.client.handle_input(&answer).unwrap() {
                match result {
                    ClientSessionResult::OutboundResponse(packet) => {
                        self.server.feed(packet.bytes.into()).unwrap();
                    }
                    ClientSessionResult::RaisedEvent(event) => self.seen.push(event),
                    ClientSessionResult::UnhandleableMessageReceived(_) => {}
                }
            }
        }
    }
}

fn packet(result: ClientSessionResult) -> Packet {
    match result {
        ClientSessionResult::OutboundResponse(packet) => packet,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_client_of_another_make_publishes_and_every_byte_arrives() {
    let mut pair = Pair::shake_hands();
    let connect = packet(pair.client.request_connection("live".to_owned()).unwrap());
    pair.send(&connect);
    assert!(pair.seen.contains(&ClientSessionEvent::ConnectionRequestAccepted));
    assert!(matches!(pair.server.next(), Some(Event::Connect { app, .. }) if app == "live"));

    let publish = packet(pair.client.request_publishing("key".to_owned(), PublishRequestType::Live).unwrap());
    pair.send(&publish);
    assert!(matches!(pair.server.next(), Some(Event::Publish { key, .. }) if key == "key"));
    assert!(pair.server.accept_publish());
    pair.answer();
    assert!(pair.seen.contains(&ClientSessionEvent::PublishRequestAccepted));

    let mut metadata = StreamMetadata::new();
    metadata.video_width = Some(1280);
    let metadata = packet(pair.client.publish_metadata(&metadata).unwrap());
    pair.send(&metadata);
    let Some(Event::Metadata { value: metadata, .. }) = pair.server.next() else { panic!("no metadata") };
    assert_eq!(metadata.get("width").and_then(Value::as_f64), Some(1280.0));

    for number in 0..200_u32 {
        let picture = Bytes::from(body(1 + number as usize * 997 % 40_000, number as u8));
        let sound = Bytes::from(body(1 + number as usize * 31 % 900, !number as u8));
        let time = number * 33;
        let message =
            packet(pair.client.publish_video_data(picture.clone(), RtmpTimestamp::new(time), false).unwrap());
        pair.send(&message);
        let message = packet(
            pair.client.publish_audio_data(sound.clone(), RtmpTimestamp::new(time + 5), false).unwrap(),
        );
        pair.send(&message);
        assert_eq!(pair.server.next(), Some(Event::Video { timestamp: time, payload: picture }));
        assert_eq!(pair.server.next(), Some(Event::Audio { timestamp: time + 5, payload: sound }));
    }
    assert!(
        pair.seen.iter().any(|event| matches!(event, ClientSessionEvent::AcknowledgementReceived { .. }))
    );

    for result in pair.client.stop_publishing().unwrap() {
        pair.send(&packet(result));
    }
    assert_eq!(pair.server.next(), Some(Event::Unpublish));
    assert_eq!(pair.server.stats().repairs.total(), 0);
}

#[test]
fn a_client_of_another_make_hears_that_it_is_refused() {
    let mut pair = Pair::shake_hands();
    let connect = packet(pair.client.request_connection("live".to_owned()).unwrap());
    pair.send(&connect);
    let publish = packet(pair.client.request_publishing("key".to_owned(), PublishRequestType::Live).unwrap());
    pair.send(&publish);
    while pair.server.next().is_some() {}
    assert!(pair.server.reject_publish("NetStream.Publish.Denied", "unknown key"));
    pair.answer();
    let code = "NetStream.Publish.Denied".to_owned();
    assert!(pair.seen.contains(&ClientSessionEvent::UnhandleableOnStatusCode { code }));
}
