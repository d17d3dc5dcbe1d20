//! What makes rungs of other codecs than H.264, if anything does: known at the start, and anew at each reload.

use media::ladder::{Encoder, RungCodec};

use super::encoders::KEPT;
use crate::config::Config;
use crate::transcode::{Coding, Survey, installed};

/// Frames a second of a usual source.
const LIVE_FPS: f64 = 30.0;

/// See the module.
pub(super) struct Codecs {
    survey: Option<Survey>,
}

impl Codecs {
    /// What is kept of the machine's encoders, where it is of the machine as it is now.
    pub(super) fn known(config: &Config) -> Self {
        Self { survey: Survey::read(&config.data_dir.join(KEPT)) }
    }

    /// Where encoders were tried, the best of those that work. Before, the processor's first, if it is installed.
    pub(super) fn encoder(&self, codec: RungCodec) -> Encoder {
        let coding = Coding::from(codec);
        let element = match (&self.survey, coding) {
            (_, Coding::H264) => return Encoder::Usual,
            (Some(survey), _) => survey.best(coding, LIVE_FPS).map(|row| row.element.clone()),
            (None, _) => installed(coding).map(str::to_owned),
        };
        element.map_or(Encoder::Nothing, Encoder::Named)
    }
}
