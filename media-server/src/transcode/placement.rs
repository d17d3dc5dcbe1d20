//! Which of the machine's devices makes a stream's rungs: what each was measured to do, what it is given, and who goes where.
//! Pure.
//!
//! A stream stays on one device, from its decoder to its encoders. Of those with room it goes to the one with the most of it,
//! relative to what it can do.

use std::cmp::Reverse;

use media::intake::VideoCodec;

use super::backend::{BACKENDS, Backend, Coding, Family};
use super::plan;
use super::spec::X264;
use super::survey::{MOST_SESSIONS, Part, Run, Survey};

/// How much of what a device did alone and unhindered it is given.
const SHARE: f64 = 0.75;
/// An encoder that does not keep the pace of a usual source twice over at the largest size is no gain.
const LEAST_FPS: f64 = 60.0;

/// The elements that make a stream's rungs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Elements {
    /// Encodes.
    pub encoder: String,
    /// Decodes on the device; None where the processor does.
    pub decoder: Option<String>,
    /// Scales on the device; None where the processor does.
    pub scaler: Option<String>,
}

impl Elements {
    /// The processor's alone.
    pub fn processor(encoder: &str) -> Self {
        Self { encoder: encoder.to_owned(), decoder: None, scaler: None }
    }

    /// Something of it is on a device.
    pub fn on_device(&self) -> bool {
        let encodes = Backend::of(&self.encoder).is_some_and(|it| it.family != Family::Cpu);
        encodes || self.decoder.is_some() || self.scaler.is_some()
    }
}

/// What a device is given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Pixels a second of the rungs that are encoded.
    pub pixels: u64,
    /// Encoders that are open.
    pub sessions: u32,
}

/// One device, as it was measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// E.g. `cuda 0` or `/dev/dri/renderD128`.
    pub name: String,
    /// What it encodes with, or the processor's where it only decodes and scales.
    pub encoder: String,
    /// Sources that it decodes, and with what.
    pub decoders: Vec<(VideoCodec, String)>,
    /// What it scales with.
    pub scaler: Option<String>,
    /// Pixels a second that it encodes (or, without an encoder, decodes and scales); None where it was not measured.
    pub pace: Option<u64>,
    /// Encoders that it takes at a time, where that was seen to be bounded.
    pub sessions: Option<u32>,
    /// What it is given.
    pub load: Load,
}

/// What a stream asks for.
#[derive(Clone, Debug)]
pub struct Wish<'a> {
    /// RFC 6381 string of the source.
    pub codec: &'a str,
    /// Pixels a second of each rung.
    pub rungs: Vec<u64>,
}

/// Where a stream is, until it is [given back](Placement::leave).
#[derive(Debug, PartialEq)]
#[must_use = "what it takes is given back"]
pub struct Place {
    device: String,
    load: Load,
    /// What makes it there.
    pub elements: Elements,
}

impl Place {
    /// Which device it is on.
    pub fn device(&self) -> &str {
        &self.device
    }
}

/// See the module.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Placement {
    devices: Vec<Device>,
}

fn pace(runs: &[Run]) -> Option<u64> {
    let run = runs.first()?;
    Some((f64::from(run.width) * f64::from(run.height) * run.frames_per_second) as u64)
}

impl Device {
    fn of(survey: &Survey, family: Family, name: &str, encoder: &str) -> Self {
        let here = |part: &&Part| {
            part.works
                && match (part.family, family) {
                    // One element for all of CUDA's devices.
                    (Family::Nvidia, Family::Nvidia) if part.decodes.is_none() => true,
                    // Quick Sync and VA-API are two doors to one device.
                    (Family::Va | Family::Qsv, Family::Va | Family::Qsv) => on(part) == name,
                    (one, other) => one == other && on(part) == name,
                }
        };
        let mut decoders: Vec<(VideoCodec, String)> = Vec::new();
        // Its own family's first, and of those the fastest.
        let mut parts: Vec<_> = survey.parts.iter().filter(here).collect();
        parts.sort_by_key(|part| (part.family != family, Reverse(pace(&part.runs))));
        for part in &parts {
            let codec = plan::Decoder::of(&part.element).map(|it| it.codec);
            if let Some(codec) = codec.filter(|codec| decoders.iter().all(|(known, _)| known != codec)) {
                decoders.push((codec, part.element.clone()));
            }
        }
        let scaler = parts.iter().find(|part| part.decodes.is_none()).map(|part| part.element.clone());
        let (encoder, load) = (encoder.to_owned(), Load::default());
        Self { name: name.to_owned(), encoder, decoders, scaler, pace: None, sessions: None, load }
    }

    /// The files in which its elements come, those of the processor's left out.
    fn plugins(&self) -> Vec<&'static str> {
        let encodes = Backend::of(&self.encoder).map(|it| it.family);
        let decode =
            self.decoders.iter().filter_map(|(_, element)| plan::Decoder::of(element)).map(|it| it.family);
        let scales = self.scaler.as_deref().and_then(plan::Scaler::of).map(|it| it.family);
        let families =
            encodes.into_iter().chain(decode).chain(scales).filter(|family| *family != Family::Cpu);
        families
            .filter_map(|family| BACKENDS.iter().find(|it| it.family == family))
            .map(|it| it.file)
            .collect()
    }

    fn needs(&self, rungs: &[u64]) -> Load {
        // The processor's encoders are no sessions of the device.
        let encodes = Backend::of(&self.encoder).is_some_and(|it| it.family != Family::Cpu);
        let sessions = if encodes { u32::try_from(rungs.len()).unwrap_or(u32::MAX) } else { 0 };
        Load { pixels: rungs.iter().fold(0, |sum, pixels| sum.saturating_add(*pixels)), sessions }
    }

    /// What would be left of it, from 1 (all) to 0; None where it is too little.
    fn room(&self, needs: Load) -> Option<f64> {
        let pixels = self.pace.map_or(1.0, |pace| {
            let given = self.load.pixels.saturating_add(needs.pixels);
            1.0 - given as f64 / (pace as f64 * SHARE).max(1.0)
        });
        let sessions = self.sessions.map_or(1.0, |most| {
            let open = self.load.sessions.saturating_add(needs.sessions);
            1.0 - f64::from(open) / f64::from(most.max(1))
        });
        let room = pixels.min(sessions);
        (room >= 0.0).then_some(room)
    }

    fn elements(&self, codec: &str) -> Elements {
        let usual = VideoCodec::of(codec).filter(|_| plan::is_usual(codec));
        let decoder = self.decoders.iter().find(|(known, _)| Some(*known) == usual);
        Elements {
            encoder: self.encoder.clone(),
            decoder: decoder.map(|(_, element)| element.clone()),
            scaler: self.scaler.clone(),
        }
    }
}

fn on(part: &Part) -> String {
    plan::device(part.family, &part.element, part.device.as_deref())
}

impl Placement {
    /// The devices that were measured to be a gain. `wish`: that encoder and no other, measured or not. Those that only
    /// decode and scale are taken where none encodes.
    pub fn new(survey: Option<&Survey>, wish: Option<&str>) -> Self {
        let empty = Survey { fingerprint: String::new(), encoders: Vec::new(), parts: Vec::new() };
        let survey = survey.unwrap_or(&empty);
        let mut devices: Vec<Device> = Vec::new();
        let able = survey.encoders.iter().filter(|row| {
            row.works
                && row.coding == Coding::H264
                && row.family != Family::Cpu
                && wish.map_or_else(
                    || row.runs.first().is_some_and(|run| run.frames_per_second >= LEAST_FPS),
                    |wish| row.element == wish,
                )
        });
        for row in able {
            let name = plan::device(row.family, &row.element, row.device.as_deref());
            if devices.iter().any(|known| known.name == name) {
                continue;
            }
            let device = Device::of(survey, row.family, &name, &row.element);
            let sessions = row.sessions.filter(|count| *count < MOST_SESSIONS);
            devices.push(Device { pace: pace(&row.runs), sessions, ..device });
        }
        match wish {
            Some(wish) if devices.is_empty() => {
                let backend = Backend::of(wish).filter(|it| it.family != Family::Cpu);
                devices.extend(backend.map(|backend| {
                    let name = plan::device(backend.family, wish, None);
                    Device::of(survey, backend.family, &name, wish)
                }));
            }
            None if devices.is_empty() => devices = Self::in_front(survey),
            Some(_) | None => {}
        }
        Self { devices }
    }

    /// Devices that decode and scale faster than live, for x264.
    fn in_front(survey: &Survey) -> Vec<Device> {
        let mut devices: Vec<Device> = Vec::new();
        let mut parts: Vec<_> =
            survey.parts.iter().filter(|part| part.works && part.decodes.is_some()).collect();
        parts.sort_by_key(|part| Reverse(pace(&part.runs)));
        for part in parts {
            let name = on(part);
            let slow = part.runs.first().is_none_or(|run| run.frames_per_second < LEAST_FPS);
            if slow || devices.iter().any(|known| known.name == name) {
                continue;
            }
            let device = Device::of(survey, part.family, &name, X264);
            // Without a scaler whole pictures would come down: the processor decodes for less.
            if device.scaler.is_some() {
                devices.push(Device { pace: pace(&part.runs), ..device });
            }
        }
        devices
    }

    /// What there is, and what it is given.
    pub fn devices(&self) -> &[Device] {
        &self.devices
    }

    /// Files of their plugins, each once.
    pub fn plugins(&self) -> Vec<&'static str> {
        let mut files: Vec<_> = self.devices.iter().flat_map(Device::plugins).collect();
        files.sort_unstable();
        files.dedup();
        files
    }

    /// Takes room for a stream; None where no device has it.
    pub fn place(&mut self, wish: &Wish<'_>) -> Option<Place> {
        let mut best: Option<(f64, &mut Device)> = None;
        for device in &mut self.devices {
            let room = device.room(device.needs(&wish.rungs));
            if let Some(room) = room.filter(|room| best.as_ref().is_none_or(|(most, _)| room > most)) {
                best = Some((room, device));
            }
        }
        let (_, device) = best?;
        let load = device.needs(&wish.rungs);
        device.load.pixels = device.load.pixels.saturating_add(load.pixels);
        device.load.sessions = device.load.sessions.saturating_add(load.sessions);
        Some(Place { device: device.name.clone(), load, elements: device.elements(wish.codec) })
    }

    /// As [`Self::place`], without the largest rungs if there is no room for them: which, by their number in the wish.
    pub fn place_some(&mut self, wish: &Wish<'_>) -> Option<(Place, Vec<usize>)> {
        let mut left = Vec::new();
        loop {
            let rungs = wish.rungs.iter().enumerate().filter(|(index, _)| !left.contains(index));
            let rungs: Vec<_> = rungs.map(|(index, pixels)| (index, *pixels)).collect();
            let largest = rungs.iter().max_by_key(|(_, pixels)| *pixels)?.0;
            let some = Wish { codec: wish.codec, rungs: rungs.iter().map(|(_, pixels)| *pixels).collect() };
            match self.place(&some) {
                Some(place) => return Some((place, left)),
                None => left.push(largest),
            }
        }
    }

    /// A stream has ended: what it took is free.
    pub fn leave(&mut self, place: &Place) {
        let Some(device) = self.devices.iter_mut().find(|it| it.name == place.device) else { return };
        device.load.sessions = device.load.sessions.saturating_sub(place.load.sessions);
        device.load.pixels = device.load.pixels.saturating_sub(place.load.pixels);
    }
}

#[cfg(test)]
mod tests;
