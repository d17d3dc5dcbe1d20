//! What the machine's devices are given: a stream takes room for its rungs, and gives it back when it ends.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use serde::Serialize;

use crate::metrics::{DeviceLabel, Metrics};
use crate::transcode::{Coding, Device, Elements, Part, Place, Placement, Row, Survey, Wish, X264};

/// `[transcode] encoder` of who leaves it to the server.
pub(super) const AUTO: &str = "auto";

/// `GET /api/v1/encoders`.
#[derive(Serialize)]
struct Known<'a> {
    /// What encodes the pictures of streams that begin now, while there is room.
    chosen: &'a str,
    /// Elements were tried on this machine as it is now; otherwise `media-server encoders` does it.
    measured: bool,
    /// What streams are placed on.
    devices: Vec<Shown<'a>>,
    encoders: &'a [Row],
    parts: &'a [Part],
}

#[derive(Serialize)]
struct Shown<'a> {
    device: &'a str,
    encoder: &'a str,
    decoders: Vec<&'a str>,
    scaler: Option<&'a str>,
    /// Measured; None where it was not.
    pixels_per_second: Option<u64>,
    /// None where no bound was met.
    sessions: Option<u32>,
    given_pixels_per_second: u64,
    given_sessions: u32,
}

fn shown(device: &Device) -> Shown<'_> {
    Shown {
        device: &device.name,
        encoder: &device.encoder,
        decoders: device.decoders.iter().map(|(_, element)| element.as_str()).collect(),
        scaler: device.scaler.as_deref(),
        pixels_per_second: device.pace,
        sessions: device.sessions,
        given_pixels_per_second: device.load.pixels,
        given_sessions: device.load.sessions,
    }
}

/// See the module.
pub(super) struct Capacity {
    /// `[transcode] encoder`.
    wish: String,
    state: Mutex<State>,
    /// What the API says.
    told: Arc<ArcSwap<String>>,
    /// Files of the plugins of what streams are placed on.
    plugins: Arc<ArcSwap<Vec<&'static str>>>,
    metrics: Metrics,
}

struct State {
    placement: Placement,
    survey: Option<Survey>,
}

/// Room that a stream has. Dropped, it is free again.
pub(super) struct Ticket {
    place: Place,
    capacity: Arc<Capacity>,
}

impl Ticket {
    pub(super) fn elements(&self) -> &Elements {
        &self.place.elements
    }

    pub(super) fn device(&self) -> &str {
        self.place.device()
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut state = self.capacity.state();
        state.placement.leave(&self.place);
        self.capacity.tell(&state);
    }
}

impl Capacity {
    pub(super) fn new(wish: &str, survey: Option<Survey>, metrics: Metrics) -> Self {
        let placement = Self::placement(wish, survey.as_ref());
        let state = Mutex::new(State { placement, survey });
        let it =
            Self { wish: wish.to_owned(), state, told: Arc::default(), plugins: Arc::default(), metrics };
        it.plugins.store(Arc::new(it.state().placement.plugins()));
        it.tell(&it.state());
        it
    }

    fn placement(wish: &str, survey: Option<&Survey>) -> Placement {
        Placement::new(survey, Some(wish).filter(|wish| *wish != AUTO))
    }

    /// The machine was looked at.
    pub(super) fn learn(&self, survey: Survey) {
        let mut state = self.state();
        state.placement = Self::placement(&self.wish, Some(&survey));
        self.plugins.store(Arc::new(state.placement.plugins()));
        state.survey = Some(survey);
        self.tell(&state);
    }

    /// What the API says of it.
    pub(super) fn told(&self) -> Arc<ArcSwap<String>> {
        Arc::clone(&self.told)
    }

    /// Files of the plugins of what streams are placed on.
    pub(super) fn plugins(&self) -> Arc<ArcSwap<Vec<&'static str>>> {
        Arc::clone(&self.plugins)
    }

    /// Streams are placed on devices.
    pub(super) fn has_devices(&self) -> bool {
        !self.state().placement.devices().is_empty()
    }

    /// What encodes first.
    pub(super) fn chosen(&self) -> String {
        Self::first(&self.wish, &self.state())
    }

    fn first(wish: &str, state: &State) -> String {
        let device = state.placement.devices().first().map(|device| device.encoder.clone());
        device.unwrap_or_else(|| Self::processors(wish, state.survey.as_ref()))
    }

    /// The processor's encoder.
    fn processors(wish: &str, survey: Option<&Survey>) -> String {
        if wish != AUTO {
            return wish.to_owned();
        }
        let best = survey.and_then(|survey| survey.of_processor(Coding::H264));
        best.map_or_else(|| X264.to_owned(), |row| row.element.clone())
    }

    /// What makes a stream's rungs where there is no device to place it on.
    pub(super) fn processor(&self) -> Elements {
        Elements::processor(&Self::processors(&self.wish, self.state().survey.as_ref()))
    }

    /// Takes room for a stream's rungs; with `some` without the largest of them where there is none for all: those left
    /// out, by number.
    pub(super) fn take(self: &Arc<Self>, wish: &Wish<'_>, some: bool) -> Option<(Ticket, Vec<usize>)> {
        let mut state = self.state();
        let (place, left) =
            if some { state.placement.place_some(wish)? } else { (state.placement.place(wish)?, Vec::new()) };
        self.tell(&state);
        Some((Ticket { place, capacity: Arc::clone(self) }, left))
    }

    fn tell(&self, state: &State) {
        for device in state.placement.devices() {
            let label = DeviceLabel { device: device.name.clone() };
            let pixels = i64::try_from(device.load.pixels).unwrap_or(i64::MAX);
            self.metrics.device_pixels.get_or_create(&label).set(pixels);
            self.metrics.device_sessions.get_or_create(&label).set(i64::from(device.load.sessions));
        }
        let known = Known {
            chosen: &Self::first(&self.wish, state),
            measured: state.survey.is_some(),
            devices: state.placement.devices().iter().map(shown).collect(),
            encoders: state.survey.as_ref().map_or(&[][..], |it| &it.encoders),
            parts: state.survey.as_ref().map_or(&[][..], |it| &it.parts),
        };
        self.told.store(Arc::new(serde_json::to_string(&known).unwrap_or_default()));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish() -> Wish<'static> {
        Wish { codec: "avc1.640028", rungs: vec![1_000_000, 2_000_000] }
    }

    fn told(capacity: &Capacity) -> serde_json::Value {
        serde_json::from_str(&capacity.told().load()).unwrap()
    }

    #[test]
    fn what_a_device_is_given_is_shown_and_free_again_when_the_stream_ends() {
        let metrics = Metrics::new();
        let capacity = Arc::new(Capacity::new("vah264enc", None, metrics.clone()));
        let (ticket, left) = capacity.take(&wish(), false).unwrap();
        assert_eq!((ticket.elements().encoder.as_str(), left), ("vah264enc", Vec::new()));
        assert_eq!(told(&capacity)["devices"][0]["given_pixels_per_second"], 3_000_000);
        assert_eq!(told(&capacity)["devices"][0]["given_sessions"], 2);
        assert!(metrics.render().unwrap().contains("device_sessions{device=\"/dev/dri/renderD128\"} 2"));
        drop(ticket);
        assert_eq!(told(&capacity)["devices"][0]["given_sessions"], 0);
        assert!(metrics.render().unwrap().contains("device_sessions{device=\"/dev/dri/renderD128\"} 0"));
    }

    #[test]
    fn without_a_device_the_processor_encodes() {
        let capacity = Arc::new(Capacity::new(AUTO, None, Metrics::new()));
        assert!(!capacity.has_devices() && capacity.take(&wish(), true).is_none());
        assert_eq!((capacity.processor(), capacity.chosen()), (Elements::processor(X264), X264.to_owned()));
        let other = Capacity::new("openh264enc", None, Metrics::new());
        assert_eq!(other.processor(), Elements::processor("openh264enc"));
        assert_eq!(told(&other)["chosen"], "openh264enc");
    }
}
