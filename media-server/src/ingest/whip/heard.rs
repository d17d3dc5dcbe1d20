//! One access unit or frame of sound as str0m gives it: decrypted, in order, put together from its packets. The flight
//! recorder keeps it in two pieces, a head of fixed length and the coded bytes, so that what is recorded shares their
//! memory.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::{Buf as _, BufMut as _, Bytes};
use media::intake::VideoCodec;
use media::{Span, h264};
use str0m::format::Codec as Negotiated;
use str0m::media::{MediaData, Mid, Rid};

use super::layers::Track;

/// Bytes of a head.
const HEAD: usize = 58;
/// The first bytes of a head.
const MAGIC: u32 = 0x5768_6970;
const CONTIGUOUS: u8 = 1;
const KEYFRAME: u8 = 2;
const REPORTED: u8 = 4;
const LAYERED: u8 = 8;
/// Longest names of tracks and layers.
const MID: usize = 16;
const RID: usize = 8;

/// How it is coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Codec {
    Picture(VideoCodec),
    Opus,
}

/// What the newest sender report of its source says (RFC 3550 6.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Report {
    /// SSRC.
    pub(super) source: u32,
    pub(super) timestamp: u32,
    /// The sender's clock, since 1970.
    pub(super) wall: Span,
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::ingest) struct Heard {
    pub(super) codec: Codec,
    pub(super) track: Track,
    /// On its RTP clock, with its wraps unrolled.
    pub(super) time: u64,
    /// When its first packet came.
    pub(super) arrived: Instant,
    /// Nothing before it is missing.
    pub(super) contiguous: bool,
    pub(super) keyframe: bool,
    pub(super) report: Option<Report>,
    pub(super) payload: Bytes,
}

/// Memory of str0m's.
struct Shared(Arc<[u8]>);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

const CODECS: [(u8, Codec); 6] = [
    (0, Codec::Opus),
    (1, Codec::Picture(VideoCodec::H264)),
    (2, Codec::Picture(VideoCodec::H265)),
    (3, Codec::Picture(VideoCodec::Av1)),
    (4, Codec::Picture(VideoCodec::Vp8)),
    (5, Codec::Picture(VideoCodec::Vp9)),
];

fn padded(name: &str, length: usize) -> impl Iterator<Item = u8> {
    name.bytes().chain(std::iter::repeat(b' ')).take(length)
}

impl Heard {
    /// None: what was not negotiated is not sent, and what is empty is nothing.
    pub(super) fn of(data: MediaData) -> Option<Self> {
        if data.data.is_empty() {
            return None;
        }
        let codec = match data.params.spec().codec {
            Negotiated::Opus => Codec::Opus,
            Negotiated::H264 => Codec::Picture(VideoCodec::H264),
            Negotiated::H265 => Codec::Picture(VideoCodec::H265),
            Negotiated::Av1 => Codec::Picture(VideoCodec::Av1),
            Negotiated::Vp8 => Codec::Picture(VideoCodec::Vp8),
            Negotiated::Vp9 => Codec::Picture(VideoCodec::Vp9),
            _ => return None,
        };
        let report = data.last_sender_info.as_ref().and_then(|info| {
            let wall = info.ntp_time.duration_since(SystemTime::UNIX_EPOCH).ok()?;
            let wall = Span::from_ticks(i64::try_from(wall.as_nanos()).ok()?, 1_000_000_000);
            Some(Report { source: *info.ssrc, timestamp: info.rtp_time.numer() as u32, wall })
        });
        Some(Self {
            codec,
            track: Track { mid: data.mid, rid: data.rid },
            time: data.time.numer(),
            arrived: data.network_time,
            contiguous: data.contiguous,
            keyframe: data.is_keyframe(),
            report,
            payload: Bytes::from_owner(Shared(data.data)),
        })
    }

    /// The coded bytes as the house carries them.
    pub(super) fn carried(&self) -> Bytes {
        match self.codec {
            Codec::Picture(VideoCodec::H264 | VideoCodec::H265) => h264::from_annex_b(&self.payload),
            _ => self.payload.clone(),
        }
    }

    /// The head of a record that is written at `now`.
    pub(super) fn head(&self, now: Instant) -> Vec<u8> {
        let number = CODECS.iter().find(|(_, codec)| *codec == self.codec).map_or(0, |(number, _)| *number);
        let flags = [
            (self.contiguous, CONTIGUOUS),
            (self.keyframe, KEYFRAME),
            (self.report.is_some(), REPORTED),
            (self.track.rid.is_some(), LAYERED),
        ];
        let report = self.report.unwrap_or(Report { source: 0, timestamp: 0, wall: Span::ZERO });
        let mut head = Vec::with_capacity(HEAD);
        head.put_u32(MAGIC);
        head.put_u8(number);
        head.put_u8(flags.iter().filter(|(is, _)| *is).fold(0, |flags, (_, flag)| flags | flag));
        head.extend(padded(&self.track.mid, MID));
        head.extend(padded(self.track.rid.as_deref().unwrap_or_default(), RID));
        head.put_u64(self.time);
        head.put_u32(
            u32::try_from(now.saturating_duration_since(self.arrived).as_micros()).unwrap_or(u32::MAX),
        );
        head.put_u32(report.source);
        head.put_u32(report.timestamp);
        head.put_i64(report.wall.flicks());
        head
    }

    /// What a head of a record that was read at `now` says, with the bytes behind it; None: it is none.
    pub(in crate::ingest) fn read(mut head: &[u8], payload: Bytes, now: Instant) -> Option<Self> {
        if head.len() != HEAD || head.get_u32() != MAGIC {
            return None;
        }
        let number = head.get_u8();
        let codec = CODECS.iter().find(|(known, _)| *known == number).map(|(_, codec)| *codec)?;
        let flags = head.get_u8();
        let (names, mut rest) = head.split_at_checked(MID + RID)?;
        let (mid, rid) = names.split_at_checked(MID)?;
        let name = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        let (mid, rid) = (name(mid), name(rid));
        let time = rest.get_u64();
        let late = Duration::from_micros(rest.get_u32().into());
        let report = Report {
            source: rest.get_u32(),
            timestamp: rest.get_u32(),
            wall: Span::from_flicks(rest.get_i64()),
        };
        let is = |flag| flags & flag != 0;
        Some(Self {
            codec,
            track: Track { mid: Mid::from(&*mid), rid: is(LAYERED).then(|| Rid::from(&*rid)) },
            time,
            arrived: now.checked_sub(late).unwrap_or(now),
            contiguous: is(CONTIGUOUS),
            keyframe: is(KEYFRAME),
            report: Some(report).filter(|_| is(REPORTED)),
            payload,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_was_recorded_is_read_again() {
        let now = Instant::now();
        let report = Report { source: 7, timestamp: u32::MAX, wall: Span::from_millis(1_795_000_000_000) };
        for (rid, report) in [(None, None), (Some("f".into()), Some(report))] {
            let heard = Heard {
                codec: Codec::Picture(VideoCodec::Vp9),
                track: Track { mid: "video".into(), rid },
                time: 1 << 40,
                arrived: now,
                contiguous: true,
                keyframe: rid.is_some(),
                report,
                payload: Bytes::from_static(b"coded"),
            };
            let head = heard.head(now + Duration::from_millis(3));
            let read = Heard::read(&head, heard.payload.clone(), now + Duration::from_millis(3)).unwrap();
            assert_eq!((head.len(), read), (HEAD, heard));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_head_or_none(bytes in prop::collection::vec(any::<u8>(), HEAD), length in 0..=HEAD) {
            let mut head = MAGIC.to_be_bytes().to_vec();
            head.extend(bytes);
            head.truncate(length);
            Heard::read(&head, Bytes::new(), Instant::now());
        }
    }
}
