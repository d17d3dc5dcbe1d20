//! What a publisher sends as one temporal unit, made into what the house carries.

use bytes::{Bytes, BytesMut};

use super::obu::{kind, obus};
use super::{Av1Error, record};
use crate::intake::Picture;
use crate::unit::VideoFormat;

/// Takes the temporal units of one publisher, in order.
#[derive(Clone, Debug, Default)]
pub struct Intake {
    in_band: Option<VideoFormat>,
    header: Bytes,
}

impl Intake {
    /// The unit to go on with, or `None` where it is damaged or has no frame.
    pub fn accept(&mut self, payload: &Bytes) -> Option<Picture> {
        let mut kept: Vec<(usize, usize)> = Vec::with_capacity(4);
        let (mut frame, mut keyframe) = (false, false);
        for obu in obus(payload) {
            let obu = obu?;
            match obu.kind {
                kind::TEMPORAL_DELIMITER => continue,
                kind::SEQUENCE_HEADER => self.note(&obu.payload, &payload.slice(obu.start..obu.end)),
                kind::FRAME | kind::FRAME_HEADER if !frame => {
                    frame = true;
                    keyframe = is_shown_key_frame(&obu.payload);
                }
                _ => {}
            }
            match kept.last_mut() {
                Some(last) if last.1 == obu.start => last.1 = obu.end,
                _ => kept.push((obu.start, obu.end)),
            }
        }
        if !frame {
            return None;
        }
        // A delimiter stands in front, as a rule: what is kept is one piece.
        let payload = match &kept[..] {
            [(start, end)] => payload.slice(*start..*end),
            pieces => {
                let mut out = BytesMut::with_capacity(payload.len());
                for (start, end) in pieces {
                    out.extend_from_slice(&payload.slice(*start..*end));
                }
                out.freeze()
            }
        };
        Some(Picture { payload, keyframe })
    }

    fn note(&mut self, header: &Bytes, unit: &Bytes) {
        if self.header != header {
            // A header that cannot be read says nothing; the decoder will tell.
            self.in_band = record::in_band(unit).and_then(Result::ok);
            self.header = Bytes::copy_from_slice(header);
        }
    }

    /// The format of the sequence header seen last within temporal units.
    pub fn in_band(&self) -> Option<&VideoFormat> {
        self.in_band.as_ref()
    }

    /// The format of a record, see [`super::format`].
    pub fn header(&mut self, record: &Bytes) -> Result<Option<VideoFormat>, Av1Error> {
        super::format(record)
    }
}

/// uncompressed_header (5.9.2): a key frame that is shown.
fn is_shown_key_frame(header: &[u8]) -> bool {
    const KEY_FRAME: u8 = 0;
    header.first().is_some_and(|byte| {
        let (show_existing, frame_type, show) = (byte >> 7, byte >> 5 & 0x03, byte >> 4 & 0x01);
        show_existing == 0 && frame_type == KEY_FRAME && show == 1
    })
}
