//! One sound of a transport stream: frames out of the payloads of its packets, each with its time where that is said.

use bytes::Bytes;
use media::frames::{Frame, Frames, Head};
use media::latm::{Latm, LatmError};
use media::timeline::MOST_FURTHER;
use media::{AudioFormat, Language, aac, ac3, mpeg_audio, opus};
use wire::ts::{Coding, Program, Stream};

use super::tracks::Refusal;

/// Ticks a second of timestamps, and the bits that they have.
const RATE: u64 = 90_000;
const MASK: u64 = (1 << 33) - 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Syntax {
    Adts,
    Latm,
    Opus,
    MpegAudio,
    Ac3,
}

/// What was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// The frames that follow decode so.
    Format(AudioFormat),
    /// A frame of so many samples, sent at `raw`.
    Frame { raw: u64, samples: u32, payload: Bytes },
    /// Something that cannot be used.
    Damaged,
}

/// See the module.
pub(super) struct TsSound {
    pub(super) pid: u16,
    /// The publisher's sounds are numbered; 0 is the first.
    pub(super) number: u8,
    pub(super) language: Option<Language>,
    syntax: Syntax,
    /// Of Opus, as its descriptor says.
    channels: u8,
    frames: Frames,
    latm: Latm,
    format: Option<AudioFormat>,
    /// When the next frame is, where nothing says it.
    next: Option<u64>,
}

impl TsSound {
    /// Of this elementary stream. None: it is no sound, or none that can be read.
    pub(super) fn new(stream: &Stream, number: u8) -> Option<Self> {
        let (syntax, frames) = match stream.coding {
            Coding::Adts => (Syntax::Adts, Frames::adts()),
            Coding::Latm => (Syntax::Latm, Frames::loas()),
            Coding::Opus => (Syntax::Opus, Frames::adts()),
            Coding::MpegAudio => (Syntax::MpegAudio, Frames::mpeg_audio()),
            Coding::Ac3 | Coding::Eac3 => (Syntax::Ac3, Frames::ac3()),
            _ => return None,
        };
        Some(Self {
            pid: stream.pid,
            number,
            language: stream.language.and_then(Language::from_iso639_2),
            syntax,
            channels: stream.channels,
            frames,
            latm: Latm::default(),
            format: None,
            next: None,
        })
    }

    /// It is read as it was before.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        (self.pid, self.syntax, self.channels) == (other.pid, other.syntax, other.channels)
    }

    /// Something before the next payload is lost.
    pub(super) fn lose(&mut self) {
        self.frames.lose();
        self.next = None;
    }

    /// Reads a payload. The time is the first frame's that begins in it (ISO/IEC 13818-1 2.4.3.7).
    pub(super) fn read(&mut self, pts: Option<u64>, mut data: Bytes) -> Result<Vec<Heard>, Refusal> {
        let mut heard = Vec::new();
        let mut said = pts;
        if self.syntax == Syntax::Opus {
            if self.format.is_none() {
                let format = opus::format(&opus::header(self.channels.clamp(1, 2)))?;
                self.tell(format, &mut heard);
            }
            while let Some(packet) = opus::split_ts(&mut data) {
                let Some(samples) = opus::samples(&packet) else {
                    heard.push(Heard::Damaged);
                    continue;
                };
                let at = said.take().or(self.next);
                self.frame(at, samples, packet, &mut heard);
            }
            return Ok(heard);
        }
        self.frames.push(data);
        while let Some(frame) = self.frames.next() {
            let begun_here = frame.begun_here;
            let Some((format, payloads)) = self.decode(frame, &mut heard)? else { continue };
            let samples = format.frame_samples;
            self.tell(format, &mut heard);
            for payload in payloads {
                let at = if begun_here { said.take().or(self.next) } else { self.next };
                self.frame(at, samples, payload, &mut heard);
            }
        }
        Ok(heard)
    }

    /// A frame's format, and what is to be decoded: of LATM several. None: nothing of it can be used.
    fn decode(
        &mut self,
        frame: Frame,
        heard: &mut Vec<Heard>,
    ) -> Result<Option<(AudioFormat, Vec<Bytes>)>, Refusal> {
        let one = |head: Option<Head>, codec: &str, payload: Bytes| {
            let head = head.filter(|head| head.samples > 0)?;
            Some((described(codec, &head), vec![payload]))
        };
        Ok(match self.syntax {
            Syntax::Latm => match self.latm.element(&frame.payload) {
                Ok((config, payloads)) => Some((aac::format(&config)?, payloads)),
                Err(LatmError::NoConfig) => None,
                Err(error @ LatmError::Unsupported(_)) => {
                    return Err(Refusal::AudioCodec(format!("LATM ({error})")));
                }
                Err(LatmError::Damaged) => {
                    heard.push(Heard::Damaged);
                    None
                }
            },
            Syntax::MpegAudio => {
                let codec = match mpeg_audio::layer(&frame.payload) {
                    Some(mpeg_audio::Layer::III) => "mp3",
                    Some(mpeg_audio::Layer::I) => "mp1",
                    _ => "mp2",
                };
                one(mpeg_audio::head(&frame.payload), codec, frame.payload)
            }
            Syntax::Ac3 => {
                let codec = if ac3::is_enhanced(&frame.payload) { "ec-3" } else { "ac-3" };
                one(ac3::head(&frame.payload), codec, frame.payload)
            }
            Syntax::Adts | Syntax::Opus => {
                let known = self.format.as_ref().filter(|format| format.config[..] == frame.config);
                let format = match known {
                    Some(format) => format.clone(),
                    None => aac::format(&Bytes::copy_from_slice(&frame.config))?,
                };
                Some((format, vec![frame.payload]))
            }
        })
    }

    fn tell(&mut self, format: AudioFormat, heard: &mut Vec<Heard>) {
        if self.format.as_ref() != Some(&format) {
            heard.push(Heard::Format(format.clone()));
            self.format = Some(format);
        }
    }

    fn frame(&mut self, at: Option<u64>, samples: u32, payload: Bytes, heard: &mut Vec<Heard>) {
        let rate = self.format.as_ref().map_or(0, |format| u64::from(format.sample_rate));
        let Some((raw, lasts)) = at.zip((u64::from(samples) * RATE).checked_div(rate)) else {
            // Nothing ever said when.
            return heard.push(Heard::Damaged);
        };
        self.next = Some(raw.wrapping_add(lasts) & MASK);
        heard.push(Heard::Frame { raw, samples, payload });
    }
}

/// The sounds of a program, by their numbers. Those that were there keep theirs, unless the first has gone: then the next one
/// is the first.
pub(super) fn choose(mut before: Vec<TsSound>, program: &Program) -> Vec<TsSound> {
    const NEW: u8 = u8::MAX;
    let found = program.streams.iter().filter_map(|stream| TsSound::new(stream, NEW));
    let mut sounds: Vec<_> = found.take(MOST_FURTHER + 1).collect();
    for sound in &mut sounds {
        if let Some(at) = before.iter().position(|known| known.is_same(sound)) {
            let language = sound.language;
            *sound = TsSound { language, ..before.swap_remove(at) };
        }
    }
    if sounds.iter().all(|sound| sound.number != 0)
        && let Some(first) = sounds.first_mut()
    {
        first.number = 0;
    }
    while let Some(new) = sounds.iter().position(|sound| sound.number == NEW) {
        let free = (0..NEW).find(|number| sounds.iter().all(|sound| sound.number != *number));
        let (Some(sound), Some(free)) = (sounds.get_mut(new), free) else { break };
        sound.number = free;
    }
    sounds.sort_by_key(|sound| sound.number);
    sounds
}

/// The format of frames that say themselves how they decode.
fn described(codec: &str, head: &Head) -> AudioFormat {
    AudioFormat {
        codec: codec.to_owned(),
        sample_rate: head.sample_rate,
        channels: head.channels,
        frame_samples: head.samples,
        config: Bytes::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sound(coding: Coding) -> TsSound {
        let stream = Stream { pid: 0x101, coding, language: Some(*b"ger"), channels: 0 };
        TsSound::new(&stream, 1).unwrap()
    }

    fn mp2() -> Bytes {
        let mut frame = vec![0xff, 0xfd, 0xc4, 0x00];
        frame.resize(768, 1);
        frame.into()
    }

    #[test]
    fn frames_follow_one_another_where_no_time_is_said() {
        let mut sound = sound(Coding::MpegAudio);
        assert_eq!(sound.language.map(Language::tag), Some("de"));
        assert_eq!(sound.read(None, mp2()).unwrap().last(), Some(&Heard::Damaged), "nothing said when");
        let near_the_wrap = MASK - 1000;
        let heard = sound.read(Some(near_the_wrap), [mp2(), mp2()].concat().into()).unwrap();
        let times: Vec<_> = heard
            .iter()
            .filter_map(|heard| if let Heard::Frame { raw, .. } = heard { Some(*raw) } else { None })
            .collect();
        // 1152 samples of 48 kHz are 2160 ticks.
        assert_eq!(times, [near_the_wrap, 1159]);
        sound.lose();
        assert_eq!(sound.read(None, mp2()).unwrap(), [Heard::Damaged]);
    }

    #[test]
    fn more_channels_of_the_same_time_are_left_out() {
        let enhanced = |kind: u8| {
            let mut frame = vec![0x0b, 0x77, kind << 6 | 0x01, 0x7f, 0x34, 0x80, 0, 0];
            frame.resize(768, 1);
            frame
        };
        let mut sound = sound(Coding::Eac3);
        let heard = sound.read(Some(0), [enhanced(0), enhanced(1), enhanced(0)].concat().into()).unwrap();
        let Some(Heard::Format(format)) = heard.first() else { panic!("{heard:?}") };
        assert_eq!((format.codec.as_str(), format.channels), ("ec-3", 2));
        assert_eq!(heard.len(), 3, "a format and two frames");
    }

    #[test]
    fn sounds_keep_their_numbers_over_changes_of_the_program() {
        let program = |pids: &[u16]| {
            let stream = |pid: &u16| Stream { pid: *pid, coding: Coding::Adts, language: None, channels: 0 };
            Program { streams: pids.iter().map(stream).collect(), ..Program::default() }
        };
        let of =
            |sounds: &[TsSound]| sounds.iter().map(|sound| (sound.number, sound.pid)).collect::<Vec<_>>();
        let first = choose(Vec::new(), &program(&[10, 11, 12]));
        assert_eq!(of(&first), [(0, 10), (1, 11), (2, 12)]);
        let second = choose(first, &program(&[20, 12, 10]));
        assert_eq!(of(&second), [(0, 10), (1, 20), (2, 12)]);
        // The first has gone, and only one is left.
        let third = choose(second, &program(&[12]));
        assert_eq!(of(&third), [(0, 12)]);
        let many: Vec<u16> = (100..130).collect();
        assert_eq!(choose(third, &program(&many)).len(), 8);
        assert_eq!(of(&choose(Vec::new(), &program(&[]))), []);
    }

    #[test]
    fn what_is_no_sound_is_none() {
        let stream = Stream { pid: 1, coding: Coding::H264, language: None, channels: 0 };
        assert!(TsSound::new(&stream, 0).is_none());
    }
}
