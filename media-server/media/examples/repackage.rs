//! Puts one track of a fragmented MP4 through the GOP clock and the packager, and writes the init and all segments to
//! a file: `repackage IN.mp4 video|audio OUT.mp4`. Prints what a part costs.
//!
//! Such an input comes from `ffmpeg … -movflags frag_keyframe+empty_moov+default_base_moof OUT.mp4`.

use std::fs;
use std::io::Write;
use std::time::{Duration, Instant};

use bytes::Bytes;
use media::packager::{Packager, PackagerConfig};
use media::segmenter::{GopClock, Targets};
use media::{AccessUnit, AudioFormat, Format, Span, Timestamp, VideoFormat};
use mp4_atom::{Atom, Codec, DecodeMaybe, Encode, Header, Mdat, Moof, Moov};

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [input, track, output] = arguments.as_slice() else {
        return Err("usage: repackage IN.mp4 video|audio OUT.mp4".into());
    };
    let file = Bytes::from(fs::read(input)?);
    let (format, units) = read(&file, track == "video")?;
    let targets = Targets { window: usize::MAX, ..Targets::default() };
    let mut clock = GopClock::new(targets, 0);
    let mut packager = Packager::new(PackagerConfig {
        targets,
        epoch: "x".into(),
        wall_zero_ms: 0,
        discontinuity_sequence: 0,
    });
    if !packager.set_format(format) {
        return Err("the format cannot be packaged".into());
    }
    let (count, mut parts, mut spent) = (units.len(), 0_u32, Duration::ZERO);
    for unit in units {
        let from = Instant::now();
        if let Some(edge) = clock.observe(&unit) {
            packager.edge(edge);
        }
        let changed = packager.push(unit);
        spent += from.elapsed();
        parts += u32::from(changed);
    }
    packager.end();
    let list = packager.playlist();
    let from = Instant::now();
    let text = list.render(&[], false);
    let rendered = from.elapsed();
    let mut out = fs::File::create(output)?;
    let names = std::iter::once("x-i0.mp4").chain(list.segments().iter().map(|segment| segment.name()));
    for name in names {
        for chunk in list.object(name).ok_or("an object is missing")?.chunks() {
            out.write_all(&chunk)?;
        }
    }
    println!(
        "{count} units, {} dropped, {parts} updates, {:?} each; playlist of {} bytes in {rendered:?}; {:?}",
        packager.dropped(),
        spent / parts.max(1),
        text.len(),
        list.bandwidth()
    );
    Ok(())
}

/// Reads the format and the units of the first video or audio track.
fn read(file: &Bytes, video: bool) -> Result<(Format, Vec<AccessUnit>), Failure> {
    let mut rest: &[u8] = file;
    let (mut format, mut scale, mut id, mut units) = (None, 1, 0, Vec::new());
    let mut fragment: Option<(usize, Moof)> = None;
    while !rest.is_empty() {
        let at = file.len() - rest.len();
        let header = Header::decode_maybe(&mut rest)?.ok_or("truncated")?;
        let size = header.size.ok_or("unbounded box")?;
        let mut body = rest.get(..size).ok_or("truncated")?;
        rest = rest.get(size..).unwrap_or(&[]);
        if header.kind == Moov::KIND {
            let moov = Moov::decode_body(&mut body)?;
            for trak in &moov.trak {
                let found = trak.mdia.minf.stbl.stsd.codecs.iter().find_map(|codec| known(codec, video));
                if let Some(found) = found {
                    (format, scale, id) = (Some(found), trak.mdia.mdhd.timescale, trak.tkhd.track_id);
                }
            }
        } else if header.kind == Moof::KIND {
            fragment = Some((at, Moof::decode_body(&mut body)?));
        } else if header.kind == Mdat::KIND
            && let Some((at, moof)) = fragment.take()
        {
            for traf in moof.traf.iter().filter(|traf| traf.tfhd.track_id == id) {
                append(file, at, traf, scale, &mut units);
            }
        }
    }
    Ok((format.ok_or("no such track")?, units))
}

fn known(codec: &Codec, video: bool) -> Option<Format> {
    match codec {
        Codec::Avc1(avc1) if video => {
            let mut config = Vec::new();
            avc1.avcc.encode(&mut config).ok()?;
            Some(Format::Video(VideoFormat {
                codec: "avc1".into(),
                width: avc1.visual.width.into(),
                height: avc1.visual.height.into(),
                frame_rate: None,
                config: Bytes::from(config.split_off(8)),
            }))
        }
        Codec::Mp4a(mp4a) if !video => Some(Format::Audio(AudioFormat {
            codec: "mp4a.40.2".into(),
            sample_rate: mp4a.audio.sample_rate.integer().into(),
            channels: mp4a.audio.channel_count,
            frame_samples: 1024,
            config: Bytes::from(mp4a.esds.es_desc.dec_config.dec_specific.clone()?.raw),
        })),
        _ => None,
    }
}

fn append(file: &Bytes, moof: usize, traf: &mp4_atom::Traf, scale: u32, units: &mut Vec<AccessUnit>) {
    let mut decode = traf.tfdt.as_ref().map_or(0, |tfdt| tfdt.base_media_decode_time);
    for trun in &traf.trun {
        let mut at = moof + usize::try_from(trun.data_offset.unwrap_or(0)).unwrap_or(0);
        for entry in &trun.samples {
            let size = entry.size.or(traf.tfhd.default_sample_size).unwrap_or(0) as usize;
            let duration = entry.duration.or(traf.tfhd.default_sample_duration).unwrap_or(1);
            let flags = entry.flags.or(traf.tfhd.default_sample_flags).unwrap_or(0);
            let dts = i64::try_from(decode).unwrap_or(0);
            units.push(AccessUnit {
                dts: Timestamp::from_ticks(dts, scale),
                pts: Timestamp::from_ticks(dts + entry.cts.unwrap_or(0), scale),
                duration: Span::from_ticks(duration.into(), scale),
                keyframe: flags & 0x1_0000 == 0,
                payload: file.slice(at..at + size),
            });
            at += size;
            decode += u64::from(duration);
        }
    }
}
