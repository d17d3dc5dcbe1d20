//! The init segment: `ftyp` and `moov` of a single track, without samples and without an edit list.

use bytes::Bytes;
use mp4_atom::esds::{DecoderConfig, DecoderSpecific, EsDescriptor};
use mp4_atom::{
    Atom, Audio, Av01, Av1c, Avc1, Avcc, Codec, Dinf, Dops, Dref, Encode, Esds, FourCC, Ftyp, Hdlr, Hvc1,
    Hvcc, Mdhd, Mdia, Minf, Moov, Mp4a, Mvex, Mvhd, Opus, Smhd, Stbl, Stco, Stsd, Tkhd, Trak, Trex, Url,
    Visual, Vmhd, Vp09, VpcC,
};

use super::CmafError;
use crate::intake::VideoCodec;
use crate::unit::{AudioFormat, Format, VideoFormat};

/// Ticks a second of every video track.
const VIDEO_TIMESCALE: u32 = 90_000;
/// The only track of a file.
pub(super) const TRACK: u32 = 1;
/// sample_depends_on = 2: an I picture, or an audio frame (ISO/IEC 14496-12 8.8.3.1).
pub(super) const SYNC: u32 = 0x0200_0000;
/// sample_depends_on = 1, sample_is_non_sync_sample.
pub(super) const NON_SYNC: u32 = 0x0101_0000;

/// The track's ticks a second: 90 000 for video, the sample rate for audio.
pub fn timescale(format: &Format) -> u32 {
    match format {
        Format::Video(_) => VIDEO_TIMESCALE,
        Format::Audio(audio) => audio.sample_rate.max(1),
    }
}

/// Writes the init segment of a format.
pub fn init_segment(format: &Format) -> Result<Bytes, CmafError> {
    let scale = timescale(format);
    let mut out = Vec::with_capacity(1024);
    Ftyp {
        major_brand: FourCC::new(b"iso6"),
        minor_version: 0,
        compatible_brands: [*b"iso6", *b"cmfc", *b"mp41"].iter().map(FourCC::new).collect(),
    }
    .encode(&mut out)?;
    let (entry, handler, name) = match format {
        Format::Video(video) => (video_entry(video)?, b"vide", "video"),
        Format::Audio(audio) => (audio_entry(audio)?, b"soun", "sound"),
    };
    let video = match format {
        Format::Video(video) => Some(video),
        Format::Audio(_) => None,
    };
    let (width, height) = video.map_or(Ok((0, 0)), picture_size)?;
    let moov = Moov {
        mvhd: Mvhd { timescale: 1000, rate: 1.into(), volume: 1.into(), next_track_id: 2, ..Mvhd::default() },
        mvex: Some(Mvex {
            mehd: None,
            trex: vec![Trex {
                track_id: TRACK,
                default_sample_description_index: 1,
                default_sample_flags: if video.is_some() { NON_SYNC } else { SYNC },
                ..Trex::default()
            }],
        }),
        trak: vec![Trak {
            tkhd: Tkhd {
                track_id: TRACK,
                enabled: true,
                in_movie: true,
                volume: u8::from(video.is_none()).into(),
                width: width.into(),
                height: height.into(),
                ..Tkhd::default()
            },
            mdia: Mdia {
                mdhd: Mdhd { timescale: scale, language: "und".into(), ..Mdhd::default() },
                hdlr: Hdlr { handler: FourCC::new(handler), name: name.into() },
                minf: Minf {
                    vmhd: video.map(|_| Vmhd::default()),
                    smhd: video.is_none().then(Smhd::default),
                    dinf: Dinf { dref: Dref { entries: vec![Url::default().into()] } },
                    stbl: Stbl {
                        stsd: Stsd { codecs: vec![entry] },
                        stco: Some(Stco::default()),
                        ..Stbl::default()
                    },
                    ..Minf::default()
                },
            },
            ..Trak::default()
        }],
        ..Moov::default()
    };
    moov.encode(&mut out)?;
    Ok(out.into())
}

fn picture_size(video: &VideoFormat) -> Result<(u16, u16), CmafError> {
    match (u16::try_from(video.width), u16::try_from(video.height)) {
        (Ok(width), Ok(height)) => Ok((width, height)),
        _ => Err(CmafError::PictureSize { width: video.width, height: video.height }),
    }
}

/// `avc1`, `hvc1` (ISO/IEC 14496-15 5.4.2, 8.4.1), `av01` (AV1 in ISO-BMFF 2.2) or `vp09`: parameter sets out of band,
/// in the record that the source gave.
fn video_entry(video: &VideoFormat) -> Result<Codec, CmafError> {
    let (width, height) = picture_size(video)?;
    let mut record = video.config.as_ref();
    let visual = Visual {
        data_reference_index: 1,
        width,
        height,
        horizresolution: 72.into(),
        vertresolution: 72.into(),
        frame_count: 1,
        compressor: "".into(),
        depth: 24,
    };
    Ok(match VideoCodec::of(&video.codec) {
        Some(VideoCodec::H265) => {
            Hvc1 { visual, hvcc: Hvcc::decode_body(&mut record)?, ..Hvc1::default() }.into()
        }
        Some(VideoCodec::Av1) => {
            Av01 { visual, av1c: Av1c::decode_body(&mut record)?, ..Av01::default() }.into()
        }
        Some(VideoCodec::Vp9) => {
            Vp09 { visual, vpcc: VpcC::decode_body(&mut record)?, ..Vp09::default() }.into()
        }
        Some(VideoCodec::Vp8) => return Err(CmafError::Codec("VP8")),
        Some(VideoCodec::H264) | None => {
            Avc1 { visual, avcc: Avcc::decode_body(&mut record)?, ..Avc1::default() }.into()
        }
    })
}

/// `Opus` (Opus in ISO-BMFF 4.3), or `mp4a`.
fn audio_entry(audio: &AudioFormat) -> Result<Codec, CmafError> {
    let entry = Audio {
        data_reference_index: 1,
        channel_count: audio.channels,
        sample_size: 16,
        // 16.16: rates that do not fit are said by the config alone.
        sample_rate: u16::try_from(audio.sample_rate).unwrap_or(0).into(),
    };
    if audio.codec == "opus" {
        let dops = Dops::decode_body(&mut audio.config.as_ref())?;
        return Ok(Opus { audio: entry, dops, btrt: None }.into());
    }
    Ok(aac_entry(audio, entry))
}

/// `mp4a` with an `esds` around the AudioSpecificConfig, byte for byte (ISO/IEC 14496-1 7.2.6).
fn aac_entry(audio: &AudioFormat, entry: Audio) -> Codec {
    let specific = DecoderSpecific { profile: 0, freq_index: 0, chan_conf: 0, raw: audio.config.to_vec() };
    let decoder = DecoderConfig {
        // MPEG-4 audio, an audio stream; buffer and rates unknown.
        object_type_indication: 0x40,
        stream_type: 5,
        dec_specific: Some(specific),
        ..DecoderConfig::default()
    };
    let esds = Esds { es_desc: EsDescriptor { es_id: 1, dec_config: decoder, ..EsDescriptor::default() } };
    Mp4a { audio: entry, esds, btrt: None, taic: None }.into()
}
