//! WHIP and WHEP, and the port that they share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use http::{Request, Response};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{settings, sounds};
use crate::config::Config;
use crate::ingest::Desk;
use crate::ingest::whip::Whip;
use crate::live::RungFactory;
use crate::serve::{Encoders, Public, Whep};
use crate::signalling::{Links, Readable};
use crate::transport::rtc::{OpenError, Port};
use crate::web::body::Body;
use crate::web::pending::Pending;
use crate::web::respond::Cors;

/// See the module. Clones share it.
#[derive(Clone)]
pub(super) struct Webrtc {
    pub(super) port: Port,
    links: Links,
    whip: Whip,
    whep: Whep,
    encode: Arc<AtomicBool>,
}

impl Webrtc {
    pub(super) fn new(
        (desk, rungs): (&Desk, RungFactory),
        config: &Config,
        cors: &Arc<ArcSwap<Cors>>,
        lives: (TaskTracker, CancellationToken),
    ) -> Result<Self, OpenError> {
        let metrics = &desk.metrics;
        let port = Port::new(settings::webrtc(config), settings::tally(metrics))?;
        let links = Links::default();
        let most = config.webrtc.max_sessions.min(Semaphore::MAX_PERMITS);
        let permits = Arc::new(Semaphore::new(most));
        let web = (Arc::clone(cors), Arc::clone(&links));
        let whip = Whip::new(desk.clone(), port.clone(), web.clone(), Arc::clone(&permits), lives.clone());
        let (tasks, stop) = lives.clone();
        let encode = Arc::new(AtomicBool::new(config.webrtc.encode));
        let opus = sounds::opus(desk.program.clone(), tasks, stop);
        let streams = (desk.directory.clone(), Encoders { opus, rungs, encode: Arc::clone(&encode) });
        let whep =
            Whep::new(streams, port.clone(), web, (permits, Pending::default()), metrics.clone(), lives);
        Ok(Self { port, links, whip, whep, encode })
    }

    /// From the next session on.
    pub(super) fn set(&self, config: &Config) {
        self.port.set_terms(settings::webrtc(config));
        self.links.store(Arc::new(settings::links(config)));
        self.encode.store(config.webrtc.encode, Ordering::Relaxed);
    }

    /// Answers a request: what is neither's is `public`'s.
    pub(super) async fn answer<B: Readable>(&self, public: &Public, request: Request<B>) -> Response<Body> {
        let path = request.uri().path();
        if self.whip.takes(path) {
            self.whip.answer(request).await
        } else if self.whep.takes(path) {
            self.whep.answer(request).await
        } else {
            public.answer(request).await
        }
    }
}
