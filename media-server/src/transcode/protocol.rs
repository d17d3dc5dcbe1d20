//! The framed messages between the daemon and a worker, over one socket pair.
//!
//! A message is a head of five bytes (body length as `u32` big-endian, then the kind) and a body. Pure: bytes to
//! values and back, no socket. Media payloads are never copied here: encoding gives a small head and leaves the
//! payload to a vectored write, decoding gives slices of what was read.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use media::{AccessUnit, Span, Timestamp};
use serde::{Deserialize, Serialize};

use super::spec::{PosterSpec, SlateSpec, SoundSpec, TranscodeSpec};

/// Bytes in front of each body.
pub(super) const HEAD: usize = 5;
/// Longest body. An RTMP message ends at 16 MiB; this leaves room for any other source.
pub(super) const MAX_BODY: usize = 32 << 20;
/// Size of a read buffer.
const READ: usize = 128 << 10;
/// Room below which a read buffer counts as full.
const LEAST_READ: usize = 8 << 10;
/// Longest text of an error message; the rest is cut.
const MAX_TEXT: usize = 4096;
/// Flags, rung and three times in front of a unit's payload.
const UNIT_HEAD: usize = 2 + 3 * 8;
/// Largest decoder configuration: a handful of parameter sets.
const MAX_CONFIG: usize = 64 << 10;

const START: u8 = 1;
const SOURCE: u8 = 2;
const SLATE: u8 = 3;
const FILE: u8 = 4;
const ENCODE_SOUND: u8 = 5;
const POSTER: u8 = 6;
const CHOOSE: u8 = 7;
const READY: u8 = 16;
const FORMAT: u8 = 17;
const UNIT: u8 = 18;
const PROGRESS: u8 = 19;
const ERROR: u8 = 20;
const SOUND: u8 = 21;

const KEYFRAME: u8 = 1;
const EDGE: u8 = 2;

/// What is wrong with bytes from the other side.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ProtocolError {
    /// Longer than either side ever sends.
    #[error("a message of {0} bytes; at most {MAX_BODY}")]
    TooLong(usize),
    /// A kind this side does not take.
    #[error("unknown message kind {0}")]
    Kind(u8),
    /// Shorter than its kind's fixed fields.
    #[error("a message of kind {kind} ends after {length} bytes")]
    Short {
        /// The kind.
        kind: u8,
        /// Body bytes there.
        length: usize,
    },
    /// The job is not what this version understands.
    #[error("unreadable job: {0}")]
    Job(String),
}

/// The job, and where to go on after a predecessor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Start {
    pub(super) spec: TranscodeSpec,
    /// For each rung the last PTS already delivered, in flicks: later frames only are encoded.
    pub(super) resume_after: Vec<Option<i64>>,
    /// Which rungs are made at first; those that are not there are.
    #[serde(default)]
    pub(super) wanted: Vec<bool>,
}

/// Daemon to worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ToWorker {
    /// First message.
    Start(Box<Start>),
    /// One source unit in decode order; `edge` asks for an IDR on every rung at its PTS.
    Source { unit: AccessUnit, edge: bool },
    /// A rung is made from the next edge on, or no longer.
    Choose { rung: u8, made: bool },
    /// First message of the other job: a file to be encoded once.
    Slate(Box<SlateSpec>),
    /// The file, or its next part.
    File(Bytes),
    /// First message of a third job: sound to be encoded as AAC. Its frames follow as source units.
    Sound(Box<SoundSpec>),
    /// First message of a fourth job: a JPEG of a keyframe, which follows as a source unit. With a storyboard the known tiles follow
    /// as files.
    Poster(Box<PosterSpec>),
}

/// Worker to daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum FromWorker {
    /// The pipeline stands and takes input.
    Ready,
    /// A rung's AVCDecoderConfigurationRecord and size; before its first unit and on each change.
    Format { rung: u8, width: u32, height: u32, frame_rate: Option<(u32, u32)>, config: Bytes },
    /// A sound's AudioSpecificConfig. A slate's units of it come as those of rung 1.
    Sound { config: Bytes },
    /// One encoded unit. Of a picture: the JPEG, then, with a storyboard, the raw tile and the sheet.
    Unit { rung: u8, unit: AccessUnit },
    /// Source units that have reached the decoder so far.
    Progress { consumed: u64 },
    /// What went wrong, in words. `fatal`: a replacement would fail the same way.
    Error { fatal: bool, text: String },
}

/// A message as it is written: the head, then the payload, which is shared and not copied.
#[derive(Clone, Debug)]
pub(super) struct Encoded {
    pub(super) head: BytesMut,
    pub(super) payload: Bytes,
}

fn message(kind: u8, fixed: usize, payload: Bytes) -> Encoded {
    let mut head = BytesMut::with_capacity(HEAD + fixed);
    // Longer bodies than a `u32` says do not exist: sources are bounded by MAX_BODY before they come here, and a
    // saturated length would be refused by the reader, not misread.
    head.put_u32(u32::try_from(fixed.saturating_add(payload.len())).unwrap_or(u32::MAX));
    head.put_u8(kind);
    Encoded { head, payload }
}

/// The head of a unit message whose payload lies elsewhere.
fn unit_head(kind: u8, rung: u8, edge: bool, unit: &AccessUnit) -> Encoded {
    let mut encoded = message(kind, UNIT_HEAD, unit.payload.clone());
    let flags = if unit.keyframe { KEYFRAME } else { 0 } | if edge { EDGE } else { 0 };
    encoded.head.put_u8(flags);
    encoded.head.put_u8(rung);
    encoded.head.put_i64(unit.dts.flicks());
    encoded.head.put_i64(unit.pts.flicks());
    encoded.head.put_i64(unit.duration.flicks());
    encoded
}

fn take_unit(kind: u8, mut body: Bytes) -> Result<(u8, bool, AccessUnit), ProtocolError> {
    require(kind, &body, UNIT_HEAD)?;
    let flags = body.get_u8();
    let rung = body.get_u8();
    let unit = AccessUnit {
        dts: Timestamp::from_flicks(body.get_i64()),
        pts: Timestamp::from_flicks(body.get_i64()),
        duration: Span::from_flicks(body.get_i64()),
        keyframe: flags & KEYFRAME != 0,
        payload: body,
    };
    Ok((rung, flags & EDGE != 0, unit))
}

fn require(kind: u8, body: &Bytes, length: usize) -> Result<(), ProtocolError> {
    if body.len() < length { Err(ProtocolError::Short { kind, length: body.len() }) } else { Ok(()) }
}

impl ToWorker {
    /// To bytes. The job always serialises: it holds no maps with foreign keys and no failing types.
    pub(super) fn encode(&self) -> Encoded {
        match self {
            Self::Start(start) => message(START, 0, serde_json::to_vec(start).unwrap_or_default().into()),
            Self::Source { unit, edge } => unit_head(SOURCE, 0, *edge, unit),
            Self::Choose { rung, made } => {
                let mut encoded = message(CHOOSE, 2, Bytes::new());
                encoded.head.put_u8(*rung);
                encoded.head.put_u8(u8::from(*made));
                encoded
            }
            Self::Slate(spec) => message(SLATE, 0, serde_json::to_vec(spec).unwrap_or_default().into()),
            Self::File(part) => message(FILE, 0, part.clone()),
            Self::Sound(spec) => {
                message(ENCODE_SOUND, 0, serde_json::to_vec(spec).unwrap_or_default().into())
            }
            Self::Poster(spec) => message(POSTER, 0, serde_json::to_vec(spec).unwrap_or_default().into()),
        }
    }

    /// From a whole message's kind and body.
    pub(super) fn decode(kind: u8, mut body: Bytes) -> Result<Self, ProtocolError> {
        match kind {
            START => serde_json::from_slice(&body)
                .map(|start| Self::Start(Box::new(start)))
                .map_err(|error| ProtocolError::Job(error.to_string())),
            SOURCE => take_unit(kind, body).map(|(_, edge, unit)| Self::Source { unit, edge }),
            CHOOSE => {
                require(kind, &body, 2)?;
                Ok(Self::Choose { rung: body.get_u8(), made: body.get_u8() != 0 })
            }
            SLATE => serde_json::from_slice(&body)
                .map(|spec| Self::Slate(Box::new(spec)))
                .map_err(|error| ProtocolError::Job(error.to_string())),
            FILE => Ok(Self::File(body)),
            ENCODE_SOUND => serde_json::from_slice(&body)
                .map(|spec| Self::Sound(Box::new(spec)))
                .map_err(|error| ProtocolError::Job(error.to_string())),
            POSTER => serde_json::from_slice(&body)
                .map(|spec| Self::Poster(Box::new(spec)))
                .map_err(|error| ProtocolError::Job(error.to_string())),
            _ => Err(ProtocolError::Kind(kind)),
        }
    }
}

impl FromWorker {
    /// To bytes.
    pub(super) fn encode(&self) -> Encoded {
        match self {
            Self::Ready => message(READY, 0, Bytes::new()),
            Self::Format { rung, width, height, frame_rate, config } => {
                let mut encoded = message(FORMAT, 17, config.slice(..config.len().min(MAX_CONFIG)));
                let (numerator, denominator) = frame_rate.unwrap_or((0, 0));
                encoded.head.put_u8(*rung);
                for field in [*width, *height, numerator, denominator] {
                    encoded.head.put_u32(field);
                }
                encoded
            }
            Self::Sound { config } => message(SOUND, 0, config.slice(..config.len().min(MAX_CONFIG))),
            Self::Unit { rung, unit } => unit_head(UNIT, *rung, false, unit),
            Self::Progress { consumed } => {
                let mut encoded = message(PROGRESS, 8, Bytes::new());
                encoded.head.put_u64(*consumed);
                encoded
            }
            Self::Error { fatal, text } => {
                let text = text.as_bytes();
                let mut encoded =
                    message(ERROR, 1, Bytes::copy_from_slice(text.get(..MAX_TEXT).unwrap_or(text)));
                encoded.head.put_u8(u8::from(*fatal));
                encoded
            }
        }
    }

    /// From a whole message's kind and body.
    pub(super) fn decode(kind: u8, mut body: Bytes) -> Result<Self, ProtocolError> {
        match kind {
            READY => Ok(Self::Ready),
            FORMAT => {
                require(kind, &body, 17)?;
                let rung = body.get_u8();
                let (width, height) = (body.get_u32(), body.get_u32());
                let frame_rate = (body.get_u32(), body.get_u32());
                let frame_rate = Some(frame_rate).filter(|(n, d)| *n > 0 && *d > 0);
                Ok(Self::Format { rung, width, height, frame_rate, config: body })
            }
            SOUND => Ok(Self::Sound { config: body }),
            UNIT => take_unit(kind, body).map(|(rung, _, unit)| Self::Unit { rung, unit }),
            PROGRESS => {
                require(kind, &body, 8)?;
                Ok(Self::Progress { consumed: body.get_u64() })
            }
            ERROR => {
                require(kind, &body, 1)?;
                let fatal = body.get_u8() != 0;
                let text = body.get(..MAX_TEXT).unwrap_or(&body);
                Ok(Self::Error { fatal, text: String::from_utf8_lossy(text).into_owned() })
            }
            _ => Err(ProtocolError::Kind(kind)),
        }
    }
}

/// Reads a head: the kind and the length of the body that follows.
pub(super) fn head(bytes: [u8; HEAD]) -> Result<(u8, usize), ProtocolError> {
    let [a, b, c, d, kind] = bytes;
    let length = u32::from_be_bytes([a, b, c, d]) as usize;
    if length > MAX_BODY { Err(ProtocolError::TooLong(length)) } else { Ok((kind, length)) }
}

/// Makes room for the next read. Units are slices of the buffer, and a unit that is kept keeps all of it: a new one is
/// begun only when this one is full, or a second of small units would hold megabytes.
pub(super) fn make_room(read: &mut BytesMut) {
    if read.capacity() - read.len() < LEAST_READ {
        read.reserve(READ);
    }
}

/// Takes the next whole message off the front of what was read, if it is all there.
pub(super) fn split(read: &mut BytesMut) -> Result<Option<(u8, Bytes)>, ProtocolError> {
    let Some(bytes) = read.first_chunk::<HEAD>() else { return Ok(None) };
    let (kind, length) = head(*bytes)?;
    if read.len() - HEAD < length {
        read.reserve(HEAD + length - read.len());
        return Ok(None);
    }
    read.advance(HEAD);
    Ok(Some((kind, read.split_to(length).freeze())))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn wire(encoded: &Encoded) -> BytesMut {
        let mut bytes = encoded.head.clone();
        bytes.extend_from_slice(&encoded.payload);
        bytes
    }

    fn unit() -> impl Strategy<Value = AccessUnit> {
        (any::<[i64; 3]>(), any::<bool>(), proptest::collection::vec(any::<u8>(), 0..400)).prop_map(
            |([dts, pts, duration], keyframe, payload)| AccessUnit {
                dts: Timestamp::from_flicks(dts),
                pts: Timestamp::from_flicks(pts),
                duration: Span::from_flicks(duration),
                keyframe,
                payload: payload.into(),
            },
        )
    }

    fn from_worker() -> impl Strategy<Value = FromWorker> {
        prop_oneof![
            Just(FromWorker::Ready),
            (
                any::<u8>(),
                any::<[u32; 2]>(),
                proptest::option::of((1..u32::MAX, 1..u32::MAX)),
                any::<Vec<u8>>()
            )
                .prop_map(|(rung, [width, height], frame_rate, config)| FromWorker::Format {
                    rung,
                    width,
                    height,
                    frame_rate,
                    config: config.into()
                }),
            (any::<u8>(), unit()).prop_map(|(rung, unit)| FromWorker::Unit { rung, unit }),
            any::<Vec<u8>>().prop_map(|config| FromWorker::Sound { config: config.into() }),
            any::<u64>().prop_map(|consumed| FromWorker::Progress { consumed }),
            (any::<bool>(), "[ -~]{0,99}").prop_map(|(fatal, text)| FromWorker::Error { fatal, text }),
        ]
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let mut read = BytesMut::from(&bytes[..]);
            while let Ok(Some((kind, body))) = split(&mut read) {
                ToWorker::decode(kind, body.clone()).ok();
                FromWorker::decode(kind, body).ok();
            }
        }

        #[test]
        fn arbitrary_bodies_never_panic(kind in any::<u8>(), body in any::<Vec<u8>>()) {
            let body = Bytes::from(body);
            ToWorker::decode(kind, body.clone()).ok();
            FromWorker::decode(kind, body).ok();
        }

        #[test]
        fn a_source_unit_survives_the_wire(unit in unit(), edge in any::<bool>()) {
            let sent = ToWorker::Source { unit, edge };
            let (kind, body) = split(&mut wire(&sent.encode())).unwrap().unwrap();
            prop_assert_eq!(ToWorker::decode(kind, body).unwrap(), sent);
        }

        #[test]
        fn a_choice_survives_the_wire(rung in any::<u8>(), made in any::<bool>()) {
            let sent = ToWorker::Choose { rung, made };
            let (kind, body) = split(&mut wire(&sent.encode())).unwrap().unwrap();
            prop_assert_eq!(ToWorker::decode(kind, body).unwrap(), sent);
        }

        #[test]
        fn answers_survive_the_wire_however_it_is_cut(
            sent in proptest::collection::vec(from_worker(), 0..8),
            cut in 1_usize..64,
        ) {
            let mut bytes = BytesMut::new();
            for message in &sent {
                bytes.unsplit(wire(&message.encode()));
            }
            let mut read = BytesMut::new();
            let mut got = Vec::new();
            for piece in bytes.chunks(cut) {
                read.extend_from_slice(piece);
                while let Some((kind, body)) = split(&mut read).unwrap() {
                    got.push(FromWorker::decode(kind, body).unwrap());
                }
            }
            prop_assert_eq!(got, sent);
        }
    }

    #[test]
    fn a_payload_is_not_copied() {
        let payload = Bytes::from(vec![7; 1000]);
        let unit = AccessUnit {
            dts: Timestamp::ZERO,
            pts: Timestamp::ZERO,
            duration: Span::ZERO,
            keyframe: true,
            payload: payload.clone(),
        };
        let encoded = ToWorker::Source { unit, edge: false }.encode();
        assert_eq!(encoded.payload.as_ptr(), payload.as_ptr());
        assert_eq!(encoded.head.len(), HEAD + UNIT_HEAD);
    }

    #[test]
    fn small_units_that_are_kept_share_their_buffers() {
        let mut read = BytesMut::new();
        let mut kept: Vec<Bytes> = Vec::new();
        let mut buffers = 0;
        for _ in 0..10_000 {
            make_room(&mut read);
            read.extend_from_slice(&[0, 0, 0, 100, UNIT]);
            read.extend_from_slice(&[7; 100]);
            let (_, body) = split(&mut read).unwrap().unwrap();
            let follows = kept
                .last()
                .is_some_and(|last| last.as_ptr().wrapping_add(last.len() + HEAD) == body.as_ptr());
            buffers += usize::from(!follows);
            kept.push(body);
        }
        let media = 10_000 * (HEAD + 100);
        assert!(buffers * READ < media * 5 / 4, "{buffers} buffers for {media} bytes");
    }

    #[test]
    fn a_length_beyond_the_bound_is_an_error_before_any_memory() {
        let mut read = BytesMut::from(&[255, 255, 255, 255, UNIT][..]);
        assert_eq!(split(&mut read), Err(ProtocolError::TooLong(u32::MAX as usize)));
    }
}
