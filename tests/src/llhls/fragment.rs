//! The samples of a media segment or part (ISO/IEC 14496-12 8.8).

use std::{
    collections::BTreeSet,
    hash::{DefaultHasher, Hash, Hasher},
};

use super::{
    boxes::{Mp4Box, number, walk},
    init::{Init, SampleDefaults, Track},
};

/// One sample.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Decode time, ticks.
    pub decode_time: u64,
    /// Ticks.
    pub duration: u32,
    /// Composition offset, ticks.
    pub composition_offset: i32,
    /// The fragment calls it a sync sample.
    pub sync: bool,
    /// Its bytes begin with an IDR picture, where that can be told; sound always does.
    pub independent: bool,
    /// Fingerprint of its bytes.
    pub digest: u64,
}

/// What was read, and what was wrong with it.
#[derive(Clone, Debug, Default)]
pub struct Fragments {
    /// In decode order.
    pub samples: Vec<Sample>,
    /// Broken structure: R49.
    pub faults: Vec<String>,
    /// Against CMAF's advice: R50.
    pub oddities: Vec<String>,
}

impl Fragments {
    /// Reads one part, or one segment of several fragments.
    pub fn parse(bytes: &[u8], init: &Init) -> Self {
        let mut read = Self::default();
        let Ok(boxes) = walk(bytes) else {
            read.faults.push("cut inside a box".into());
            return read;
        };
        let mut moof: Option<Mp4Box<'_>> = None;
        let mut tracks = BTreeSet::new();
        for b in boxes {
            match &b.kind {
                b"moof" => moof = Some(b),
                b"mdat" => match moof.take() {
                    Some(moof) => read.take_fragment(bytes, moof, b, init, &mut tracks),
                    None => read.faults.push("mdat without its moof".into()),
                },
                _ => {}
            }
        }
        if moof.is_some() {
            read.faults.push("moof without its mdat".into());
        }
        if tracks.len() > 1 {
            read.oddities.push("several tracks".into());
        }
        if read.samples.is_empty() {
            read.faults.push("no samples".into());
        }
        read
    }

    /// Ticks that all samples last.
    pub fn ticks(&self) -> u64 {
        self.samples.iter().map(|sample| u64::from(sample.duration)).sum()
    }

    fn take_fragment(
        &mut self,
        file: &[u8],
        moof: Mp4Box<'_>,
        mdat: Mp4Box<'_>,
        init: &Init,
        tracks: &mut BTreeSet<u64>,
    ) {
        let mut used = 0;
        for traf in walk(moof.body).unwrap_or_default().into_iter().filter(|b| &b.kind == b"traf") {
            let mut run = Run {
                defaults: init.defaults.unwrap_or_default(),
                base: moof.start,
                time: None,
                file,
                mdat,
                used: 0,
            };
            for b in walk(traf.body).unwrap_or_default() {
                let whole = match &b.kind {
                    b"tfhd" => self.take_header(b.body, &mut run, tracks),
                    b"tfdt" => {
                        run.time = number(b.body, 4, if b.body.first() == Some(&1) { 8 } else { 4 });
                        run.time
                    }
                    b"trun" => self.take_run(b.body, &mut run, init),
                    _ => Some(0),
                };
                if whole.is_none() {
                    self.faults.push(format!("{} is cut short", String::from_utf8_lossy(&b.kind)));
                }
            }
            used += run.used;
        }
        if used != mdat.body.len() {
            self.faults.push(format!("mdat holds {} bytes, the samples {used}", mdat.body.len()));
        }
    }

    fn take_header(&mut self, body: &[u8], run: &mut Run<'_>, tracks: &mut BTreeSet<u64>) -> Option<u64> {
        let flags = number(body, 1, 3)?;
        tracks.insert(number(body, 4, 4)?);
        let mut at = 8;
        if flags & 0x01 != 0 {
            run.base = usize::try_from(number(body, at, 8)?).ok()?;
            at += 8;
            self.oddities.push("base-data-offset".into());
        } else if flags & 0x02_0000 == 0 {
            self.oddities.push("no default-base-is-moof".into());
        }
        if flags & 0x02 != 0 {
            at += 4;
        }
        for (bit, field) in [
            (0x08, &mut run.defaults.duration),
            (0x10, &mut run.defaults.size),
            (0x20, &mut run.defaults.flags),
        ] {
            if flags & bit != 0 {
                *field = number(body, at, 4)? as u32;
                at += 4;
            }
        }
        Some(0)
    }

    fn take_run(&mut self, body: &[u8], run: &mut Run<'_>, init: &Init) -> Option<u64> {
        let flags = number(body, 1, 3)?;
        let count = number(body, 4, 4)?;
        let mut at = 8;
        let mut next = |present: bool| -> Option<Option<u32>> {
            if !present {
                return Some(None);
            }
            let value = number(body, at, 4)? as u32;
            at += 4;
            Some(Some(value))
        };
        let offset = next(flags & 0x01 != 0)?;
        let mut from = match offset {
            Some(offset) => run.base.checked_add_signed(offset as i32 as isize)?,
            None => run.mdat.body_start,
        };
        let first_flags = next(flags & 0x04 != 0)?;
        if run.time.is_none() {
            self.faults.push("no tfdt".into());
        }
        let mut time = run.time.unwrap_or(0);
        for index in 0..count {
            let duration = next(flags & 0x100 != 0)?.unwrap_or(run.defaults.duration);
            let size = next(flags & 0x200 != 0)?.unwrap_or(run.defaults.size) as usize;
            let said = next(flags & 0x400 != 0)?;
            let composition_offset = next(flags & 0x800 != 0)?.unwrap_or(0) as i32;
            let sample_flags = said.or(first_flags.filter(|_| index == 0)).unwrap_or(run.defaults.flags);
            let end = from.checked_add(size)?;
            let inside = from >= run.mdat.body_start && end <= run.mdat.body_start + run.mdat.body.len();
            let bytes = run.file.get(from..end).filter(|_| inside).unwrap_or_default();
            if !inside {
                self.faults.push("a sample lies outside its mdat".into());
            }
            let sync = sample_flags & 0x1_0000 == 0;
            let mut hasher = DefaultHasher::new();
            bytes.hash(&mut hasher);
            self.samples.push(Sample {
                decode_time: time,
                duration,
                composition_offset,
                sync,
                independent: sync && begins_independent(bytes, init),
                digest: hasher.finish(),
            });
            time += u64::from(duration);
            from = end;
            run.used += size;
        }
        run.time = Some(time);
        Some(0)
    }
}

/// A track fragment while it is read.
struct Run<'a> {
    defaults: SampleDefaults,
    base: usize,
    time: Option<u64>,
    file: &'a [u8],
    mdat: Mp4Box<'a>,
    used: usize,
}

/// Whether the first slice of an H.264 sample is an IDR (ITU-T H.264 7.4.1.2.4); other codecs are believed.
fn begins_independent(sample: &[u8], init: &Init) -> bool {
    if init.track != Some(Track::Video) || !init.codec.starts_with("avc") {
        return true;
    }
    let length_size = init.nal_length.unwrap_or(4);
    let mut at = 0;
    while let Some(length) = number(sample, at, length_size) {
        at += length_size;
        match sample.get(at).map(|byte| byte & 31) {
            Some(5) => return true,
            Some(1) | None => return false,
            Some(_) => {}
        }
        let Some(next) = usize::try_from(length).ok().and_then(|length| at.checked_add(length)) else {
            return false;
        };
        at = next;
    }
    false
}
