//! The door to whoever encodes sound that players do not decode (MPEG audio, AC-3): frames go out by it, and what is made
//! of them comes to the stream by its [`Inlet`].

use std::sync::Arc;
use std::time::{Duration, Instant};

use media::{AccessUnit, AudioFormat};
use tokio::sync::mpsc::{Sender, error::TrySendError};

use crate::live::{Counters, Inlet, Publisher};

/// Between two encoders of one sound.
const PACE: Duration = Duration::from_secs(2);

/// A sound to be encoded as AAC.
#[derive(Clone, Debug)]
pub struct SoundRequest {
    /// The stream's public name, for logs.
    pub stream: String,
    /// How it is coded now: `mp1`, `mp2`, `mp3`, `ac-3`, `ec-3` or `opus`.
    pub format: AudioFormat,
    /// Bits a second.
    pub bitrate: u32,
}

/// Starts an encoder, which ends when the sender is dropped; given by the wiring.
pub type SoundFactory = Arc<dyn Fn(SoundRequest, Inlet) -> Sender<AccessUnit> + Send + Sync>;

/// What a session needs to have its sound encoded.
#[derive(Clone)]
pub(super) struct SoundWorkers {
    pub(super) factory: SoundFactory,
    pub(super) bitrate: u32,
}

impl SoundWorkers {
    /// For the publisher's sound of that number, which is coded so.
    pub(super) fn start(
        &self,
        stream: &str,
        number: u8,
        format: &AudioFormat,
        publisher: &Publisher,
    ) -> SoundEncoder {
        let request =
            SoundRequest { stream: stream.to_owned(), format: format.clone(), bitrate: self.bitrate };
        let frames = (self.factory)(request, publisher.inlet(number));
        SoundEncoder { frames, codec: format.codec.clone(), since: Instant::now() }
    }
}

/// A running encoder. It ends with this, once it has given what it was sent.
pub(super) struct SoundEncoder {
    frames: Sender<AccessUnit>,
    codec: String,
    since: Instant,
}

impl SoundEncoder {
    /// It goes on with what is coded so: any rate of its codec. Who changes the codec with every frame is given another
    /// encoder, which is a process, now and then.
    pub(super) fn takes(&self, format: &AudioFormat) -> bool {
        self.codec == format.codec || self.since.elapsed() < PACE
    }

    /// Hands over one frame. Never waits: what an encoder that is too slow does not take is dropped and counted.
    pub(super) fn push(&self, frame: AccessUnit, publisher: &Publisher) {
        Counters::add(&publisher.counters().bytes, frame.payload.len() as u64);
        if let Err(TrySendError::Full(_)) = self.frames.try_send(frame) {
            Counters::add(&publisher.counters().dropped, 1);
        }
    }
}
