//! Frames of sound out of a byte stream, as MPEG transport streams carry them: raw AAC out of ADTS (ISO/IEC 13818-7
//! 6.2), elements of LATM out of LOAS (ISO/IEC 14496-3 1.7.2), MPEG audio and AC-3 whole, with their headers.

use bytes::{Buf, Bytes, BytesMut};

use crate::{ac3, mpeg_audio};

/// Bytes of a header without its CRC.
const HEADER: usize = 7;
/// Bytes of a header of LOAS.
const LOAS: usize = 3;

/// What a frame's own header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Bytes of the frame, its header among them.
    pub length: usize,
    /// Samples a second.
    pub sample_rate: u32,
    /// Channels.
    pub channels: u16,
    /// Samples of one channel.
    pub samples: u32,
}

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// AudioSpecificConfig of a frame of ADTS; zeros of the others.
    pub config: [u8; 2],
    /// The frame: of ADTS and LOAS without its header.
    pub payload: Bytes,
    /// It began in the bytes that were pushed last: their timestamp is the first such frame's.
    pub begun_here: bool,
}

/// Gathers frames from pieces. Keeps less than one frame.
#[derive(Clone, Debug, Default)]
pub struct Frames {
    syntax: Syntax,
    /// A frame that began in an earlier piece.
    rest: BytesMut,
    /// The present piece.
    piece: Bytes,
    skipped: u64,
}

/// How frames are told apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Syntax {
    #[default]
    Adts,
    Loas,
    MpegAudio,
    Ac3,
}

impl Syntax {
    fn read(self, bytes: &[u8]) -> Read {
        match self {
            Self::Adts => read(bytes),
            Self::Loas => read_loas(bytes),
            Self::MpegAudio => whole(bytes, 0xff, mpeg_audio::HEADER, mpeg_audio::head),
            Self::Ac3 => whole(bytes, 0x0b, ac3::HEADER, ac3::head),
        }
    }

    /// Bytes of a header.
    fn header(self) -> usize {
        match self {
            Self::Adts => HEADER,
            Self::Loas => LOAS,
            Self::MpegAudio => mpeg_audio::HEADER,
            Self::Ac3 => ac3::HEADER,
        }
    }
}

/// A frame that is kept with its header, which begins with the byte `sync`.
fn whole(bytes: &[u8], sync: u8, header: usize, head: impl Fn(&[u8]) -> Option<Head>) -> Read {
    match head(bytes) {
        Some(head) => Read::Frame(Header { config: [0; 2], begin: 0, length: head.length }),
        None if bytes.len() < header && bytes.first().is_none_or(|first| *first == sync) => Read::Short,
        None => Read::Wrong,
    }
}

/// `AudioSyncStream` (table 1.36): eleven bits of sync word, thirteen of length.
fn read_loas(bytes: &[u8]) -> Read {
    let Some([sync, high, low]) = bytes.first_chunk::<LOAS>() else {
        return if bytes.first().is_none_or(|first| *first == 0x56) { Read::Short } else { Read::Wrong };
    };
    let length = (usize::from(high & 0x1f) << 8) | usize::from(*low);
    if *sync != 0x56 || high & 0xe0 != 0xe0 || length == 0 {
        return Read::Wrong;
    }
    Read::Frame(Header { config: [0; 2], begin: LOAS, length: length.saturating_add(LOAS) })
}

/// A header's fields that matter.
struct Header {
    config: [u8; 2],
    /// Bytes of header and CRC.
    begin: usize,
    /// Bytes of header and frame.
    length: usize,
}

enum Read {
    Frame(Header),
    /// More bytes are needed.
    Short,
    /// No header is here.
    Wrong,
}

fn read(bytes: &[u8]) -> Read {
    let Some([sync, id, config, channels, length, low, last]) = bytes.first_chunk::<HEADER>() else {
        return if bytes.first().is_none_or(|first| *first == 0xff) { Read::Short } else { Read::Wrong };
    };
    // Sync word of 12 bits; layer 0.
    if *sync != 0xff || id & 0xf6 != 0xf0 {
        return Read::Wrong;
    }
    let begin = if id & 1 == 1 { HEADER } else { HEADER + 2 };
    let length = (usize::from(channels & 3) << 11) | (usize::from(*length) << 3) | usize::from(low >> 5);
    // More than one raw block in a frame is allowed, and sent by nobody.
    if length <= begin || last & 3 != 0 {
        return Read::Wrong;
    }
    let (profile, rate) = (config >> 6, (config >> 2) & 0x0f);
    let layout = ((config & 1) << 2) | (channels >> 6);
    let object = profile.saturating_add(1);
    let config = [(object << 3) | (rate >> 1), ((rate & 1) << 7) | (layout << 3)];
    Read::Frame(Header { config, begin, length })
}

impl Frames {
    /// Of ADTS.
    pub fn adts() -> Self {
        Self::default()
    }

    /// Of LOAS: the frames are elements of LATM.
    pub fn loas() -> Self {
        Self { syntax: Syntax::Loas, ..Self::default() }
    }

    /// Of MPEG audio.
    pub fn mpeg_audio() -> Self {
        Self { syntax: Syntax::MpegAudio, ..Self::default() }
    }

    /// Of AC-3 and Enhanced AC-3.
    pub fn ac3() -> Self {
        Self { syntax: Syntax::Ac3, ..Self::default() }
    }

    /// Takes the next piece. Fetch all frames ([`Self::next`]) before the next one.
    pub fn push(&mut self, piece: Bytes) {
        self.piece = piece;
    }

    /// Something before the next piece is lost.
    pub fn lose(&mut self) {
        self.rest.clear();
        self.piece.clear();
    }

    /// Bytes that were no frame.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    /// The next whole frame.
    #[allow(clippy::should_implement_trait, reason = "more may come after None: it is no iterator")]
    pub fn next(&mut self) -> Option<Frame> {
        loop {
            if self.rest.is_empty() {
                match self.syntax.read(&self.piece) {
                    Read::Frame(header) if self.piece.len() >= header.length => {
                        let mut frame = self.piece.split_to(header.length);
                        frame.advance(header.begin);
                        return Some(Frame { config: header.config, payload: frame, begun_here: true });
                    }
                    Read::Frame(_) | Read::Short => {
                        self.rest.extend_from_slice(&self.piece);
                        self.piece.clear();
                        return None;
                    }
                    Read::Wrong => {
                        self.piece.advance(1);
                        self.skipped = self.skipped.saturating_add(1);
                    }
                }
                continue;
            }
            let missing = match self.syntax.read(&self.rest) {
                Read::Frame(header) if self.rest.len() >= header.length => {
                    let mut frame = self.rest.split_to(header.length).freeze();
                    frame.advance(header.begin);
                    return Some(Frame { config: header.config, payload: frame, begun_here: false });
                }
                Read::Frame(header) => header.length.saturating_sub(self.rest.len()),
                Read::Short => self.syntax.header().saturating_sub(self.rest.len()),
                Read::Wrong => {
                    self.skipped = self.skipped.saturating_add(self.rest.len() as u64);
                    self.rest.clear();
                    continue;
                }
            };
            let taken = missing.min(self.piece.len());
            if taken == 0 {
                return None;
            }
            self.rest.extend_from_slice(&self.piece.split_to(taken));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// AAC-LC, 48 kHz, stereo.
    fn frame(payload: &[u8], crc: bool) -> Vec<u8> {
        let begin = if crc { 9 } else { 7 };
        let length = payload.len() + begin;
        let mut out = vec![0xff, if crc { 0xf0 } else { 0xf1 }, 0x4c, 0x80 | (length >> 11) as u8];
        out.extend([(length >> 3) as u8, ((length & 7) << 5) as u8 | 0x1f, 0xfc]);
        out.resize(begin, 0);
        out.extend(payload);
        out
    }

    fn all(frames: &mut Frames, piece: &[u8]) -> Vec<(usize, bool)> {
        frames.push(Bytes::copy_from_slice(piece));
        std::iter::from_fn(|| frames.next()).map(|frame| (frame.payload.len(), frame.begun_here)).collect()
    }

    #[test]
    fn frames_come_out_with_their_configuration() {
        let mut frames = Frames::adts();
        frames.push(frame(&[1, 2, 3], true).into());
        let got = frames.next().unwrap();
        assert_eq!((got.config, &got.payload[..]), ([0x11, 0x90], &[1, 2, 3][..]));
        let format = crate::aac::format(&Bytes::copy_from_slice(&got.config)).unwrap();
        assert_eq!((format.sample_rate, format.channels), (48_000, 2));
    }

    #[test]
    fn a_frame_in_two_pieces_belongs_to_the_first() {
        let mut frames = Frames::adts();
        let bytes = [frame(&[1; 100], false), frame(&[2; 50], false)].concat();
        assert_eq!(all(&mut frames, &bytes[..60]), []);
        assert_eq!(all(&mut frames, &bytes[60..]), [(100, false), (50, true)]);
    }

    #[test]
    fn what_is_no_frame_is_passed_over_and_counted() {
        let mut frames = Frames::adts();
        let bytes = [vec![1, 2, 0xff, 3], frame(&[1; 20], false)].concat();
        assert_eq!(all(&mut frames, &bytes), [(20, true)]);
        assert_eq!(frames.skipped(), 4);
        all(&mut frames, &frame(&[1; 100], false)[..50]);
        frames.lose();
        assert_eq!(all(&mut frames, &frame(&[1; 30], false)), [(30, true)], "never spliced");
    }

    #[test]
    fn frames_of_mpeg_audio_and_of_ac3_are_kept_with_their_headers() {
        let mut mp2 = vec![0xff, 0xfd, 0xc4, 0x00];
        mp2.resize(768, 1);
        let mut frames = Frames::mpeg_audio();
        assert_eq!(all(&mut frames, &[&[3, 4][..], &mp2, &mp2[..500]].concat()), [(768, true)]);
        assert_eq!(all(&mut frames, &[&mp2[500..], &mp2[..]].concat()), [(768, false), (768, true)]);
        assert_eq!(frames.skipped(), 2);
        let mut ac3 = vec![0x0b, 0x77, 0, 0, 0x1e, 0x40, 0xe1, 0xf8];
        ac3.resize(1792, 1);
        let mut frames = Frames::ac3();
        assert_eq!(all(&mut frames, &ac3[..5]), []);
        assert_eq!(all(&mut frames, &[&ac3[5..], &ac3[..]].concat()), [(1792, false), (1792, true)]);
    }

    proptest! {
        #[test]
        fn how_it_is_cut_does_not_matter(sizes in proptest::collection::vec(1_usize..600, 1..20), cut in 1_usize..300) {
            let whole: Vec<u8> = sizes.iter().flat_map(|size| frame(&vec![7; *size], size % 2 == 0)).collect();
            let mut frames = Frames::adts();
            let got: Vec<_> = whole.chunks(cut).flat_map(|piece| all(&mut frames, piece)).map(|(size, _)| size).collect();
            prop_assert_eq!(got, sizes);
        }

        #[test]
        fn any_bytes_are_taken(bytes in proptest::collection::vec(any::<u8>(), 0..3000), cut in 1_usize..300) {
            for mut frames in [Frames::adts(), Frames::loas(), Frames::mpeg_audio(), Frames::ac3()] {
                let carried: usize = bytes.chunks(cut).flat_map(|piece| all(&mut frames, piece)).map(|(size, _)| size).sum();
                prop_assert!(carried <= bytes.len());
            }
        }
    }
}
