//! A part's `moof` and the head of its `mdat`.

use bytes::Bytes;
use mp4_atom::{Encode, Mfhd, Moof, Tfdt, Tfhd, Traf, Trun, TrunEntry};

use super::CmafError;
use super::init::{NON_SYNC, SYNC, TRACK};

/// One sample of a fragment, in ticks of the track's timescale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Time to the next sample in decode order; never 0.
    pub duration: u32,
    /// Bytes.
    pub size: u32,
    /// Presentation time less decode time; may be negative (`trun` version 1).
    pub offset: i32,
    /// Decoding can start here.
    pub sync: bool,
}

/// Writes everything of a part that precedes its payload: `moof` (one `traf`, 64-bit `tfdt`, default-base-is-moof)
/// and the `mdat` header. `base` is the decode time of the first sample.
pub fn fragment_header(sequence: u32, base: u64, samples: &[Sample]) -> Result<Bytes, CmafError> {
    let payload: u64 = samples.iter().map(|sample| u64::from(sample.size)).sum();
    let mdat = u32::try_from(payload.saturating_add(8)).map_err(|_| CmafError::TooLarge(payload))?;
    let first = samples.first().copied();
    // What all samples share goes into the defaults.
    let duration = first.map(|s| s.duration).filter(|d| samples.iter().all(|s| s.duration == *d));
    let later_sync = samples.iter().skip(1).any(|s| s.sync);
    let all_sync = samples.iter().all(|s| s.sync);
    let offsets = samples.iter().any(|s| s.offset != 0);
    let entries: Vec<TrunEntry> = samples
        .iter()
        .enumerate()
        .map(|(index, sample)| {
            let flags = if sample.sync { SYNC } else { NON_SYNC };
            // Only the first differs from the default: `first_sample_flags`.
            let told = !all_sync && (later_sync || (index == 0 && sample.sync));
            TrunEntry {
                duration: duration.is_none().then_some(sample.duration),
                size: Some(sample.size),
                flags: told.then_some(flags),
                cts: offsets.then_some(i64::from(sample.offset)),
            }
        })
        .collect();
    let mut moof = Moof {
        mfhd: Mfhd { sequence_number: sequence },
        traf: vec![Traf {
            tfhd: Tfhd {
                track_id: TRACK,
                default_sample_duration: duration,
                default_sample_flags: Some(if all_sync { SYNC } else { NON_SYNC }),
                default_base_is_moof: true,
                ..Tfhd::default()
            },
            tfdt: Some(Tfdt { base_media_decode_time: base }),
            trun: vec![Trun { data_offset: Some(0), samples: entries.into() }],
            ..Traf::default()
        }],
    };
    let mut out = Vec::with_capacity(128_usize.saturating_add(samples.len().saturating_mul(16)));
    moof.encode(&mut out)?;
    let offset = i32::try_from(out.len().saturating_add(8)).map_err(|_| CmafError::TooLarge(payload))?;
    if let Some(trun) = moof.traf.first_mut().and_then(|traf| traf.trun.first_mut()) {
        trun.data_offset = Some(offset);
    }
    out.clear();
    moof.encode(&mut out)?;
    out.extend_from_slice(&mdat.to_be_bytes());
    out.extend_from_slice(b"mdat");
    Ok(out.into())
}
