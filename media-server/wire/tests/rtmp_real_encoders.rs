//! Encoders as people have them publish through the session over a loopback socket.

mod peer;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use peer::session;
use wire::flv::{AudioCodec, AudioPacket, AudioTag, VideoCodec, VideoPacket, VideoTag};
use wire::rtmp::{Event, Stats};

/// How long an encoder may say nothing.
const PATIENCE: Duration = Duration::from_secs(20);

/// What an encoder sent until it ended.
#[derive(Default, Debug)]
struct Seen {
    key: String,
    query: Vec<(String, String)>,
    agent: String,
    metadata: usize,
    video_headers: usize,
    audio_headers: usize,
    pictures: usize,
    sounds: usize,
    last_time: u32,
    unpublished: bool,
}

fn serve(mut socket: TcpStream) -> (Seen, Stats) {
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut session = session();
    let mut seen = Seen::default();
    let mut buffer = vec![0; 64 << 10];
    loop {
        let count = match socket.read(&mut buffer) {
            Ok(0) => return (seen, session.stats()),
            Ok(count) => count,
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {
                return (seen, session.stats());
            }
            Err(error) => panic!("{error}: {seen:?}"),
        };
        session.feed_slice(&buffer[..count]).unwrap();
        while let Some(event) = session.next() {
            match event {
                Event::Connect { agent, .. } => seen.agent = agent,
                Event::Publish { key, query, .. } => {
                    (seen.key, seen.query) = (key, query);
                    assert!(session.accept_publish());
                }
                Event::Metadata { .. } => seen.metadata += 1,
                Event::Data { .. } => {}
                Event::Video { timestamp, payload } => {
                    let tag = VideoTag::parse(&payload).unwrap();
                    assert_eq!(tag.codec, VideoCodec::H264);
                    seen.video_headers += usize::from(tag.packet == VideoPacket::SequenceHeader);
                    seen.pictures += usize::from(matches!(tag.packet, VideoPacket::CodedFrames { .. }));
                    seen.last_time = timestamp;
                }
                Event::Audio { payload, .. } => {
                    let tag = AudioTag::parse(&payload).unwrap();
                    assert_eq!(tag.codec, AudioCodec::Aac);
                    seen.audio_headers += usize::from(tag.packet == AudioPacket::SequenceHeader);
                    seen.sounds += usize::from(tag.packet == AudioPacket::Raw);
                }
                Event::Unpublish => seen.unpublished = true,
                Event::PlayRefused => panic!("nobody plays here"),
            }
        }
        let answer = session.output();
        // The encoder may be gone already when the last answer is ready.
        if socket.write_all(&answer).is_err() {
            return (seen, session.stats());
        }
    }
}

/// Ends the encoder with the test, also when it fails.
struct Encoder(Child);

impl Drop for Encoder {
    fn drop(&mut self) {
        // Both fail only where it has ended already.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn publish(program: &str, package: &str, arguments: impl FnOnce(u16) -> String) -> (Seen, Stats) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let arguments = arguments(listener.local_addr().unwrap().port());
    let child = Command::new(program).args(arguments.split_whitespace()).stdin(Stdio::null()).spawn();
    let mut encoder = Encoder(child.unwrap_or_else(|error| panic!("{program} (package {package}): {error}")));
    let (sender, accepted) = mpsc::sync_channel(1);
    std::thread::spawn(move || sender.send(listener.accept().unwrap().0));
    let socket = accepted.recv_timeout(PATIENCE).expect("the encoder connects");
    let result = serve(socket);
    assert!(encoder.0.wait().unwrap().success(), "{result:?}");
    result
}

#[test]
fn ffmpeg_publishes() {
    let (seen, stats) = publish("ffmpeg", "ffmpeg", |port| {
        format!(
            "-nostdin -v error -f lavfi -i testsrc2=s=320x180:r=30 -f lavfi -i sine=r=48000 -t 2 \
             -c:v libx264 -preset ultrafast -g 30 -bf 2 -c:a aac -f flv \
             rtmp://127.0.0.1:{port}/live/some-key?token=a%20b"
        )
    });
    assert_eq!(seen.key, "some-key");
    assert_eq!(seen.query, [("token".to_owned(), "a b".to_owned())]);
    assert!(seen.agent.contains("Lavf"), "{seen:?}");
    assert_eq!((seen.metadata, seen.audio_headers, seen.pictures), (1, 1, 60), "{seen:?}");
    assert!(seen.video_headers >= 1 && seen.sounds >= 93, "{seen:?}");
    assert!((1900..2100).contains(&seen.last_time), "{seen:?}");
    assert!(seen.unpublished);
    assert_eq!(stats.repairs.total(), 0, "{stats:?}");
}

#[test]
fn ffmpeg_publishes_past_the_last_24_bit_timestamp() {
    let (seen, stats) = publish("ffmpeg", "ffmpeg", |port| {
        format!(
            "-nostdin -v error -f lavfi -i testsrc2=s=320x180:r=30 -f lavfi -i sine=r=48000 -t 2 \
             -output_ts_offset 16776.2 -c:v libx264 -preset ultrafast -c:a aac -f flv \
             rtmp://127.0.0.1:{port}/live/some-key"
        )
    });
    assert_eq!(seen.pictures, 60, "{seen:?}");
    assert!((16_778_000..16_778_400).contains(&seen.last_time), "{seen:?}");
    assert_eq!(stats.repairs.total(), 0, "{stats:?}");
}

#[test]
fn gstreamer_publishes() {
    let (seen, stats) = publish("gst-launch-1.0", "gstreamer1.0-tools", |port| {
        format!(
            "-q videotestsrc num-buffers=60 ! video/x-raw,width=320,height=180,framerate=30/1 ! \
             x264enc speed-preset=ultrafast key-int-max=30 ! h264parse ! flvmux name=m streamable=true ! \
             rtmp2sink location=rtmp://127.0.0.1:{port}/live/some-key \
             audiotestsrc num-buffers=90 ! audio/x-raw,rate=48000 ! avenc_aac ! aacparse ! m."
        )
    });
    assert_eq!(seen.key, "some-key");
    assert!(seen.pictures >= 59 && seen.sounds >= 80, "{seen:?}");
    assert!(seen.video_headers >= 1 && seen.audio_headers >= 1, "{seen:?}");
    assert_eq!(stats.repairs.total(), 0, "{stats:?}");
}
