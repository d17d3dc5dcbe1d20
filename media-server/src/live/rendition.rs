//! One rendition as its readers see it: an immutable view, replaced at each part, with its playlist text rendered
//! at most once a view and shared by every viewer.

use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use media::{
    AccessUnit, Format, Language, Timestamp, packager::Packager, playlist::MediaPlaylist, playlist::Report,
    segmenter::Edge,
};
use tokio::sync::{Notify, broadcast, watch};

use super::demand::{Demand, Waiting};
use super::run::Outcome;
use super::tap::Tapped;

/// Units that may wait for a listener: some seconds.
const WAITING: usize = 512;
/// Pictures that are kept for who begins in the middle; a longer group is joined at its next keyframe.
const MOST_KEPT: usize = 900;
const MOST_KEPT_BYTES: usize = 16 << 20;

/// A playlist's or another file's text, plain and compressed.
#[derive(Debug)]
pub struct Text {
    /// UTF-8.
    pub plain: Bytes,
    gzip: OnceLock<Bytes>,
}

impl Text {
    /// Wraps rendered text.
    pub fn new(plain: String) -> Self {
        Self { plain: plain.into(), gzip: OnceLock::new() }
    }

    /// The gzip form, made on first use.
    pub fn gzip(&self) -> Bytes {
        self.gzip.get_or_init(|| gzip(&self.plain)).clone()
    }
}

/// Compresses a playlist. Level 3: within 5 % of the size of level 6 at half its time.
pub fn gzip(plain: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::with_capacity(plain.len() / 3), Compression::new(3));
    // Writing to a Vec cannot fail; an empty answer would be a valid, if useless, gzip stream.
    encoder.write_all(plain).and_then(|()| encoder.finish()).unwrap_or_default().into()
}

/// Whether a rendition is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Offer {
    /// It is.
    #[default]
    Made,
    /// Not now: nobody watches it. It begins when somebody asks.
    Parked,
    /// Not now, and nobody is offered it: the machine cannot keep up.
    Shed,
}

/// One state of a rendition.
#[derive(Debug)]
pub struct View {
    /// What can be fetched now.
    pub playlist: Arc<MediaPlaylist>,
    /// Whether more is made.
    pub offer: Offer,
    full: OnceLock<Text>,
    delta: OnceLock<Text>,
}

impl View {
    fn new(playlist: Arc<MediaPlaylist>, offer: Offer) -> Arc<Self> {
        Arc::new(Self { playlist, offer, full: OnceLock::new(), delta: OnceLock::new() })
    }

    /// The playlist's text: rendered by the first viewer that asks, then shared. `reports` is called at most once.
    pub fn text<'a>(&self, delta: bool, reports: impl FnOnce() -> Vec<Report<'a>>) -> &Text {
        let cell = if delta { &self.delta } else { &self.full };
        cell.get_or_init(|| Text::new(self.playlist.render(&reports(), delta)))
    }
}

/// A rendition as readers hold it. Clones share the view.
#[derive(Clone, Debug)]
pub struct Rendition {
    /// The folder in its address: `source`, `720p`, `audio`.
    pub name: Arc<str>,
    /// Path from another rendition's playlist to this one's, for rendition reports.
    pub report_uri: Arc<str>,
    /// How it decodes now.
    pub format: Format,
    /// Bits a second that it was asked or announced to have; 0 where unknown.
    pub declared_bitrate: u32,
    /// The language of its sound, where it is known.
    pub language: Option<Language>,
    /// True for the rung that carries the publisher's own bits.
    pub passthrough: bool,
    view: watch::Receiver<Arc<View>>,
    units: Arc<OnceLock<broadcast::Sender<Tapped>>>,
    group: Arc<Mutex<Group>>,
    reorders: Arc<AtomicBool>,
    demand: Arc<Demand>,
}

/// Pictures from the newest keyframe on, for who begins in the middle. They share the memory of what is listed.
#[derive(Debug, Default)]
struct Group {
    pictures: Vec<AccessUnit>,
    bytes: usize,
}

impl Group {
    fn add(&mut self, unit: &AccessUnit) {
        let full = self.pictures.len() >= MOST_KEPT || self.bytes > MOST_KEPT_BYTES;
        if unit.keyframe || full {
            self.pictures.clear();
            self.bytes = 0;
        }
        if unit.keyframe || !self.pictures.is_empty() {
            self.bytes = self.bytes.saturating_add(unit.payload.len());
            self.pictures.push(unit.clone());
        }
    }
}

impl Rendition {
    /// It has pictures that are shown in another order than they are decoded in (B-frames).
    pub fn reorders(&self) -> bool {
        self.reorders.load(Ordering::Relaxed)
    }

    /// Somebody wants to see it: where it is not made for want of viewers, it is from now on.
    pub fn want(&self) {
        self.demand.ask();
    }

    /// The same, as long as what is answered is there.
    pub fn wait(&self) -> Waiting {
        Waiting::begin(&self.demand)
    }

    /// Its units from now on. Nobody is waited for: who is slow loses units, and learns how many. It closes when the
    /// rendition is gone, or replaced by another one of its name.
    pub fn listen(&self) -> broadcast::Receiver<Tapped> {
        self.want();
        self.units.get_or_init(|| broadcast::Sender::new(WAITING)).subscribe()
    }

    /// The same, and the pictures from the newest keyframe on that came before.
    pub fn join(&self) -> (Vec<AccessUnit>, broadcast::Receiver<Tapped>) {
        let group = self.group.lock().unwrap_or_else(PoisonError::into_inner);
        (group.pictures.clone(), self.listen())
    }

    /// The newest keyframe, where pictures are kept.
    pub fn keyframe(&self) -> Option<AccessUnit> {
        let group = self.group.lock().unwrap_or_else(PoisonError::into_inner);
        group.pictures.first().filter(|first| first.keyframe).cloned()
    }

    /// Bits a second, on average; as declared where nothing is known yet.
    pub fn bitrate(&self) -> u64 {
        let known = self.view.borrow().playlist.bandwidth().map(|(_, average)| average);
        known.filter(|average| *average > 0).unwrap_or(self.declared_bitrate.into())
    }

    /// The view of this moment.
    pub fn view(&self) -> Arc<View> {
        Arc::clone(&self.view.borrow())
    }

    /// To wait for later views.
    pub fn watch(&self) -> watch::Receiver<Arc<View>> {
        self.view.clone()
    }
}

/// A rendition as its stream holds it.
pub(super) struct Track {
    pub(super) packager: Packager,
    pub(super) rendition: Rendition,
    /// It has media that can be fetched.
    pub(super) published: bool,
    /// When what is shown was there to be fetched. Whoever waits for it is woken after that.
    pub(super) shown_at: Instant,
    views: watch::Sender<Arc<View>>,
    /// Presentation time of the last unit.
    shown_last: Timestamp,
    /// The format that listeners share.
    shared: Option<Arc<Format>>,
    offer: Offer,
}

impl Track {
    pub(super) fn new(
        name: &str,
        mut packager: Packager,
        format: Format,
        declared_bitrate: u32,
        passthrough: bool,
    ) -> Self {
        packager.set_format(format.clone());
        Self::with(name, packager, format, declared_bitrate, passthrough, Demand::new(&Arc::default()))
    }

    /// Whoever wants it while it is parked wakes the stream by this.
    #[must_use]
    pub(super) fn waking(mut self, stream: &Arc<Notify>) -> Self {
        self.rendition.demand = Demand::new(stream);
        self
    }

    /// A rung that is made when somebody wants it. `format`: what it will be like. `wanted` is told of whoever wants it.
    pub(super) fn parked(
        name: &str,
        packager: Packager,
        format: Format,
        declared_bitrate: u32,
        wanted: &Arc<Notify>,
    ) -> Self {
        let mut track = Self::with(name, packager, format, declared_bitrate, false, Demand::new(wanted));
        track.offer(Offer::Parked);
        track
    }

    fn with(
        name: &str,
        packager: Packager,
        format: Format,
        declared_bitrate: u32,
        passthrough: bool,
        demand: Arc<Demand>,
    ) -> Self {
        let (views, view) = watch::channel(View::new(packager.playlist(), Offer::Made));
        let rendition = Rendition {
            name: name.into(),
            report_uri: format!("../{name}/index.m3u8").into(),
            format,
            declared_bitrate,
            language: None,
            passthrough,
            view,
            units: Arc::default(),
            group: Arc::default(),
            reorders: Arc::default(),
            demand,
        };
        Self {
            packager,
            rendition,
            published: false,
            shown_last: Timestamp::ZERO,
            shown_at: Instant::now(),
            views,
            shared: None,
            offer: Offer::Made,
        }
    }

    /// It has viewers, or had some within this time.
    pub(super) fn is_wanted(&self, within: Duration) -> bool {
        let heard = self.rendition.units.get().is_some_and(|units| units.receiver_count() > 0);
        heard || self.rendition.demand.within(within)
    }

    /// It is parked, and somebody has asked for it since.
    pub(super) fn is_called(&self) -> bool {
        self.rendition.demand.is_called()
    }

    /// It is made from now on: its list begins anew with the next edge, of those that are given to it.
    pub(super) fn resume<'a>(&mut self, discontinuities: u64, edges: impl IntoIterator<Item = &'a Edge>) {
        self.packager.begin_anew(discontinuities);
        for edge in edges {
            self.packager.edge(*edge);
        }
        self.offer(Offer::Made);
    }

    /// It is not made any more: what is listed can be fetched for a while, and no list is shown.
    pub(super) fn rest(&mut self, offer: Offer, discontinuities: u64) {
        self.packager.begin_anew(discontinuities);
        self.published = false;
        *self.rendition.group.lock().unwrap_or_else(PoisonError::into_inner) = Group::default();
        self.offer(offer);
    }

    /// What it will be like when it is made.
    pub(super) fn foretell(&mut self, format: Format) {
        self.rendition.format = format;
        self.shared = None;
    }

    fn offer(&mut self, offer: Offer) {
        self.offer = offer;
        self.rendition.demand.set_parked(offer == Offer::Parked);
        self.views.send_replace(View::new(self.packager.playlist(), offer));
    }

    /// Whether it is made.
    pub(super) fn offered(&self) -> Offer {
        self.offer
    }

    /// A viewer who asks for it gets it: it has media, or is made then.
    pub(super) fn is_there(&self) -> bool {
        self.published || self.offer == Offer::Parked
    }

    /// Closes what is open and shows it.
    pub(super) fn flush(&mut self) -> Outcome {
        Outcome { changed: self.packager.flush() && self.publish() }
    }

    pub(super) fn set_format(&mut self, format: Format) {
        self.packager.set_format(format.clone());
        self.rendition.format = format;
        self.shared = None;
        // What came before decodes otherwise.
        *self.rendition.group.lock().unwrap_or_else(PoisonError::into_inner) = Group::default();
    }

    /// Takes a unit in. True: something became available.
    pub(super) fn take(&mut self, unit: AccessUnit) -> bool {
        if unit.pts < std::mem::replace(&mut self.shown_last, unit.pts) {
            self.rendition.reorders.store(true, Ordering::Relaxed);
        }
        let mut group = self.rendition.group.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(self.rendition.format, Format::Video(_)) {
            group.add(&unit);
        }
        if let Some(units) = self.rendition.units.get().filter(|units| units.receiver_count() > 0) {
            let format = self.shared.get_or_insert_with(|| Arc::new(self.rendition.format.clone()));
            // Nobody may be left meanwhile.
            let _heard = units
                .send(Tapped {
                    sound: 0,
                    language: self.rendition.language,
                    format: Arc::clone(format),
                    unit: unit.clone(),
                })
                .is_ok();
        }
        drop(group);
        self.packager.push(unit)
    }

    /// Shows the packager's state to readers. Returns true the first time.
    pub(super) fn publish(&mut self) -> bool {
        let view = View::new(self.packager.playlist(), self.offer);
        self.views.send_modify(|shown| {
            *shown = view;
            self.shown_at = Instant::now();
        });
        !std::mem::replace(&mut self.published, true)
    }
}
