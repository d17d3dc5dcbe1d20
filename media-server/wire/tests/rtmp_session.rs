//! What a publisher and the server say to each other.

mod peer;

use bytes::Bytes;
use peer::*;
use wire::Traced;
use wire::amf0::Value;
use wire::rtmp::{CheckpointError, Event, Limits, Session, SessionError};

#[test]
fn a_publisher_is_heard_asked_about_and_accepted() {
    let mut session = session();
    let mut wire = Wire::default();
    wire.handshake();
    feed(&mut session, &wire).unwrap();
    let answer = session.output();
    assert_eq!(answer.len(), 1 + 1536 + 1536);
    assert_eq!(answer[..9], [3, 0, 0, 0, 0, 0, 0, 0, 0], "no digest to check");
    assert_eq!(answer[9..1537], [7; 1528]);
    assert_eq!(answer[1537..], [0x55; 1536], "S2 echoes C1");

    let mut wire = Wire::default();
    wire.connect("live/?a=1", "rtmp://host/live?b=2&a=3");
    feed(&mut session, &wire).unwrap();
    let query = vec![("a".to_owned(), "1".to_owned()), ("b".to_owned(), "2".to_owned())];
    let connect = Event::Connect {
        app: "live".into(),
        tc_url: "rtmp://host/live?b=2&a=3".into(),
        agent: "FMLE/3.0".into(),
        query,
    };
    assert_eq!(events(&mut session), [connect]);
    assert!(says(&session.output(), "NetConnection.Connect.Success"));

    let mut wire = Wire::default();
    wire.command(&[text("createStream"), Value::Number(4.0), Value::Null]).publish("se-cret?token=x%2Fy&a=0");
    feed(&mut session, &wire).unwrap();
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let publish = Event::Publish {
        app: "live".into(),
        key: "se-cret".into(),
        query: vec![pair("token", "x/y"), pair("a", "0"), pair("b", "2")],
        mode: "live".into(),
    };
    assert!(!format!("{publish:?}").contains("se-cret"), "keys stay out of logs");
    assert!(!format!("{publish:?}").contains("x/y"));
    assert_eq!(events(&mut session), [publish]);
    assert!(says(&session.output(), "_result"));

    assert!(session.accept_publish());
    assert!(!session.accept_publish());
    let answer = session.output();
    assert!(says(&answer, "onFCPublish"));
    assert!(says(&answer, "NetStream.Publish.Start"));
}

#[test]
fn an_encoder_that_speaks_enhanced_rtmp_is_told_what_is_taken() {
    let connect = |extra: Option<(String, Value)>| {
        let mut session = shaken();
        let mut properties = vec![("app".to_owned(), text("live"))];
        properties.extend(extra);
        let mut wire = Wire::default();
        wire.command(&[text("connect"), Value::Number(1.0), Value::Object(properties)]);
        feed(&mut session, &wire).unwrap();
        session.output()
    };
    let list = Value::StrictArray(vec![text("hvc1")]);
    let answer = connect(Some(("fourCcList".to_owned(), list)));
    for said in ["fourCcList", "videoFourCcInfoMap", "audioFourCcInfoMap", "capsEx", "hvc1", "av01", "Opus"] {
        assert!(says(&answer, said), "{said}");
    }
    assert!(!says(&connect(None), "FourCc"), "others are answered as ever");
}

#[test]
fn data_messages_keep_their_name_and_time() {
    let mut session = live();
    let cue = amf(&[text("onTextData"), Value::Object(vec![("text".to_owned(), text("hello"))])]);
    let mut wire = Wire::default();
    wire.message(4, 4711, 18, &cue, 128);
    feed(&mut session, &wire).unwrap();
    let got = events(&mut session);
    let [Event::Data { timestamp: 4711, name, values }] = &got[..] else { panic!("{got:?}") };
    assert_eq!((name.as_str(), values[0].get("text").and_then(Value::as_str)), ("onTextData", Some("hello")));
}

#[test]
fn a_refused_publisher_is_told_why_and_may_try_again() {
    let mut session = session();
    let mut wire = Wire::default();
    wire.opening();
    feed(&mut session, &wire).unwrap();
    events(&mut session);
    assert!(session.reject_publish("NetStream.Publish.Denied", "unknown key"));
    assert!(!session.reject_publish("NetStream.Publish.Denied", "unknown key"));
    let answer = session.output();
    assert!(says(&answer, "NetStream.Publish.Denied"));
    assert!(says(&answer, "unknown key"));
    let mut wire = Wire::default();
    wire.message(6, 0, VIDEO, &[1, 2], 128).publish("other");
    feed(&mut session, &wire).unwrap();
    assert!(matches!(&events(&mut session)[..], [Event::Publish { key, .. }] if key == "other"));
    assert_eq!(session.stats().repairs.unwanted_media, 1);
}

#[test]
fn a_live_publisher_can_be_failed_with_a_reason() {
    let mut session = live();
    let reason = "codec VP9 is not supported: set the encoder to H.264";
    assert!(session.fail("NetStream.Publish.Rejected", reason));
    assert!(!session.fail("NetStream.Publish.Rejected", reason));
    assert!(says(&session.output(), reason));
    let mut wire = Wire::default();
    wire.message(6, 0, VIDEO, &body(5000, 1), 128);
    feed(&mut session, &wire).unwrap();
    assert_eq!(events(&mut session), []);
    assert_eq!(session.buffered(), 0);
}

#[test]
fn media_before_the_answer_is_dropped_but_headers_are_kept() {
    let mut session = session();
    let mut wire = Wire::default();
    wire.opening();
    let meta = Value::EcmaArray(vec![("width".into(), Value::Number(640.0))]);
    wire.message(4, 0, DATA, &amf(&[text("@setDataFrame"), text("onMetaData"), meta.clone()]), 128);
    wire.message(6, 0, VIDEO, &[0x17, 0, 0, 0, 0, 1], 128);
    wire.message(4, 0, AUDIO, &[0xAF, 0, 0x12, 0x10], 128);
    wire.message(6, 0, VIDEO, &[0x17, 1, 0, 0, 0, 1], 128);
    wire.message(6, 0, VIDEO, &body(60_000, 1), 128);
    feed(&mut session, &wire).unwrap();
    assert!(matches!(events(&mut session)[..], [Event::Connect { .. }, Event::Publish { .. }]));
    session.accept_publish();
    assert_eq!(
        events(&mut session),
        [
            Event::Metadata { timestamp: 0, value: meta },
            video(0, &[0x17, 0, 0, 0, 0, 1]),
            audio(0, &[0xAF, 0, 0x12, 0x10])
        ]
    );
    assert_eq!(session.stats().repairs.unwanted_media, 2);
}

#[test]
fn the_ways_to_stop_are_one_event() {
    for stop in ["FCUnpublish", "closeStream", "deleteStream"] {
        let mut session = live();
        let mut wire = Wire::default();
        for _ in 0..2 {
            let argument = if stop == "deleteStream" { Value::Number(1.0) } else { text("key") };
            wire.command(&[text(stop), Value::Number(6.0), Value::Null, argument]);
        }
        wire.message(6, 0, VIDEO, &[1, 2], 128);
        feed(&mut session, &wire).unwrap();
        assert_eq!(events(&mut session), [Event::Unpublish], "{stop}");
    }
    let mut session = live();
    let mut wire = Wire::default();
    wire.command(&[text("deleteStream"), Value::Number(6.0), Value::Null, Value::Number(9.0)]);
    feed(&mut session, &wire).unwrap();
    assert_eq!(events(&mut session), [], "another stream");
}

#[test]
fn an_answer_is_never_taken_for_another_publish() {
    let mut session = shaken();
    let mut wire = Wire::default();
    wire.connect("live", "").publish("own");
    wire.command(&[text("closeStream"), Value::Number(0.0), Value::Null]).publish("other");
    feed(&mut session, &wire).unwrap();
    session.next();
    assert!(matches!(session.next(), Some(Event::Publish { key, .. }) if key == "own"));
    assert!(!session.accept_publish(), "ended already, and the other has not been asked about");
    assert!(!session.reject_publish("NetStream.Publish.Denied", "no"));
    assert_eq!(session.next(), Some(Event::Unpublish));
    assert!(!session.accept_publish());
    assert!(matches!(session.next(), Some(Event::Publish { key, .. }) if key == "other"));
    assert!(session.accept_publish());
}

#[test]
fn a_second_publish_on_a_connection_is_refused() {
    let mut session = live();
    let mut wire = Wire::default();
    wire.publish("again");
    feed(&mut session, &wire).unwrap();
    assert_eq!(events(&mut session), []);
    assert!(says(&session.output(), "NetStream.Publish.BadName"));
    let mut session = shaken();
    let mut wire = Wire::default();
    wire.connect("live", "").publish("").publish(&"k".repeat(3000)).publish("?a=b");
    feed(&mut session, &wire).unwrap();
    assert!(matches!(events(&mut session)[..], [Event::Connect { .. }]));
}

#[test]
fn players_are_sent_elsewhere() {
    let mut session = shaken();
    let mut wire = Wire::default();
    wire.connect("live", "").command(&[text("play"), Value::Number(0.0), Value::Null, text("ada")]);
    feed(&mut session, &wire).unwrap();
    assert_eq!(events(&mut session).last(), Some(&Event::PlayRefused));
    assert!(says(&session.output(), "NetStream.Play.Failed"));
}

#[test]
fn unknown_commands_get_an_error_and_nothing_else() {
    let mut session = shaken();
    let mut wire = Wire::default();
    wire.command(&[text("createStream"), Value::Number(1.0), Value::Null]);
    wire.connect("live", "").command(&[text("makeCoffee"), Value::Number(3.0), Value::Null]);
    wire.command(&[text("silently"), Value::Number(0.0)]).command(&[Value::Null]);
    feed(&mut session, &wire).unwrap();
    let answer = session.output();
    assert!(says(&answer, "_error"));
    assert_eq!(session.stats().repairs.unknown_commands, 4);
}

#[test]
fn pings_are_answered() {
    let mut session = live();
    let mut wire = Wire::default();
    // As librtmp sends them: a type 1 header first.
    wire.header(1, 20, 0, 6, 4).raw(&[0, 6, 1, 2, 3, 4]);
    feed(&mut session, &wire).unwrap();
    assert_eq!(session.output()[12..], [0, 7, 1, 2, 3, 4]);
}

#[test]
fn acknowledgements_carry_the_total() {
    let mut session = live();
    let mut wire = Wire::default();
    wire.message(2, 0, 5, &10_000u32.to_be_bytes(), 128);
    feed(&mut session, &wire).unwrap();
    session.output();
    let mut acknowledged = Vec::new();
    let mut media = Wire::default();
    media.message(6, 0, VIDEO, &body(25_000, 1), 128);
    for part in media.bytes.chunks(1000) {
        session.feed(Bytes::copy_from_slice(part)).unwrap();
        let answer = session.output();
        if !answer.is_empty() {
            assert_eq!((answer[0], answer[7], answer.len()), (2, 3, 16));
            acknowledged
                .push((u32::from_be_bytes(answer[12..].try_into().unwrap()), session.stats().bytes_in));
        }
    }
    assert_eq!(acknowledged.len(), 2);
    let mut last = 0;
    for (sent, total) in acknowledged {
        assert_eq!(u64::from(sent), total);
        assert!(total >= last + 10_000);
        last = total;
    }
}

#[test]
fn amf3_envelopes_are_read() {
    let mut session = shaken();
    let mut wire = Wire::default();
    wire.connect("live", "");
    let mut publish = vec![0];
    publish.extend(amf(&[text("publish"), Value::Number(0.0), Value::Null, text("key")]));
    wire.message(3, 0, 17, &publish, 128);
    feed(&mut session, &wire).unwrap();
    assert!(matches!(&events(&mut session)[1], Event::Publish { mode, .. } if mode == "live"));
    session.accept_publish();
    let mut data = vec![0];
    data.extend(amf(&[text("onMetaData"), Value::Object(vec![])]));
    let mut wire = Wire::default();
    wire.message(3, 0, 15, &data, 128);
    feed(&mut session, &wire).unwrap();
    assert_eq!(events(&mut session), [Event::Metadata { timestamp: 0, value: Value::Object(vec![]) }]);
}

#[test]
fn twenty_kilobytes_of_nested_objects_before_login_end_that_connection_only() {
    let mut connect = amf(&[text("connect"), Value::Number(1.0)]);
    for _ in 0..5000 {
        connect.extend([3, 0, 1, b'a']);
    }
    let mut wire = Wire::default();
    wire.message(3, 0, COMMAND, &connect, 128);
    let error = feed(&mut shaken(), &wire).unwrap_err();
    assert!(matches!(error, SessionError::Command { .. }));
    assert!(error.is_limit());
    // From a publisher the same is a damaged message.
    let mut session = live();
    feed(&mut session, &wire).unwrap();
    assert_eq!(session.stats().repairs.unreadable_amf0, 1);
}

#[test]
fn other_protocols_are_recognized_at_once() {
    for hello in [&b"GET / HTTP/1.1\r\n"[..], b"\x16\x03\x01", b"\x06"] {
        let error = session().feed(Bytes::copy_from_slice(hello)).unwrap_err();
        assert!(error.is_not_rtmp());
        assert_eq!(error.position(), 0);
    }
}

#[test]
fn media_before_connect_is_refused() {
    let mut wire = Wire::default();
    wire.message(6, 0, VIDEO, &[1, 2], 128);
    let error = feed(&mut shaken(), &wire).unwrap_err();
    assert!(matches!(error, SessionError::UnexpectedMessage { kind: VIDEO, .. }));
}

#[test]
fn ten_thousand_chunks_of_garbage_cost_little() {
    let mut noise = 0x2545_F491_4F6C_DD1D_u64;
    for start in [shaken, live] {
        let mut session = start();
        let mut wire = Wire::default();
        for _ in 0..10_000 {
            noise ^= noise << 13;
            noise ^= noise >> 7;
            noise ^= noise << 17;
            let [length, kind, seed, ..] = noise.to_le_bytes();
            wire.message(
                3 + u32::from(seed % 60),
                0,
                kind.max(7),
                &body(usize::from(length % 100), seed),
                128,
            );
        }
        // A stranger is shown out; a publisher's damage is counted.
        let result = feed(&mut session, &wire);
        if session.stats().messages < 10_000 {
            assert!(result.is_err());
        } else {
            assert!(session.stats().repairs.total() > 1000);
        }
        assert!(session.buffered() <= 1 << 20);
        assert!(session.output().len() <= Limits::default().max_output + 4096);
    }
}

#[test]
fn a_peer_that_asks_without_end_is_cut() {
    let mut session = live();
    let mut wire = Wire::default();
    for number in 0..100_000_u32 {
        wire.message(2, 0, 4, &[&[0, 6], &number.to_be_bytes()[..]].concat(), 128);
    }
    assert!(matches!(feed(&mut session, &wire), Err(SessionError::TooMuchOutput { .. })));
}

#[test]
fn a_session_can_be_sent_between_threads() {
    fn sendable<T: Send>() {}
    sendable::<Session>();
}

#[test]
fn a_trace_that_nobody_takes_neither_grows_nor_speaks_of_other_bytes() {
    let mut session = live();
    session.trace();
    for length in [900, 40, 5] {
        let mut wire = Wire::default();
        wire.message(6, 0, VIDEO, &vec![0x27; length], 128);
        session.feed_slice(&wire.bytes).unwrap();
    }
    let traced: Vec<_> = session.traced().collect();
    let last = matches!(traced[..], [Traced::Body { length: 5, .. }, Traced::Whole { .. }]);
    assert!(last, "{traced:?}");
    assert_eq!(session.traced().count(), 0);
}

#[test]
fn a_checkpoint_tells_what_was_said_once_and_never_the_key() {
    let mut session = live();
    let mut wire = Wire::default();
    let object = Value::Object(vec![("width".to_owned(), Value::Number(640.0))]);
    wire.message(4, 0, DATA, &amf(&[text("@setDataFrame"), text("onMetaData"), object]), 128);
    let first = [0x17, 0, 0, 0, 0, 1, 0x64, 0, 0x1F];
    let second = [0x17, 0, 0, 0, 0, 1, 0x64, 0, 0x28];
    let sound = [0xAF, 0, 0x12, 0x10];
    wire.message(6, 0, VIDEO, &first, 128)
        .message(4, 0, AUDIO, &sound, 128)
        .message(6, 9, VIDEO, &second, 128);
    session.feed_slice(&wire.bytes).unwrap();
    let checkpoint = session.checkpoint().unwrap();
    let mut resumed = Session::resume(Limits::default(), &checkpoint).unwrap();
    let again = events(&mut resumed);
    assert!(matches!(again[0], Event::Metadata { .. }), "{again:?}");
    assert_eq!(again[1..], [audio(0, &sound), video(9, &second)], "the newest header of each track");
    let text = String::from_utf8_lossy(&checkpoint);
    assert!(!text.contains("key") && !text.contains("live"), "{text}");

    assert_eq!(shaken().checkpoint(), None, "nothing is published");
    assert_eq!(Session::resume(Limits::default(), &[]).err(), Some(CheckpointError::Unreadable));
    assert_eq!(Session::resume(Limits::default(), &[9, 1, 2]).err(), Some(CheckpointError::Version(9)));
    let cut = &checkpoint[..checkpoint.len() - 1];
    assert_eq!(Session::resume(Limits::default(), cut).err(), Some(CheckpointError::Unreadable));
}
