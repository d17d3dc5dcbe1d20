//! What one publisher may send: bits and messages a second, picture size, frame rate, length. Pure.

use std::time::{Duration, Instant};

use media::VideoFormat;

use crate::admission::Limits;

/// Bits are averaged over this: a line that stalls for some seconds and makes up for it is no flood.
const WINDOW: Duration = Duration::from_secs(10);
/// Encoders overshoot: up to this share of the limit is let pass.
const TOLERANCE: (u64, u64) = (6, 5);
/// Messages of any kind a second, averaged over [`BURST`]: 60 pictures, 50 audio frames and eight tracks of them are
/// far below.
const MESSAGES_A_SECOND: u64 = 5_000;
const BURST: Duration = Duration::from_secs(4);

/// How a publisher exceeds what it may send; told to the broadcaster.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub(super) enum Excess {
    /// Too many bits.
    #[error(
        "more than {limit_kbps} kbit/s came over {over:?}: this stream may send {limit_kbps} kbit/s, lower the bitrate"
    )]
    Bitrate {
        /// What is allowed.
        limit_kbps: u64,
        /// Time over which it came.
        over: Duration,
    },
    /// Too many messages.
    #[error("more than {MESSAGES_A_SECOND} messages a second came: no encoder sends that")]
    Messages,
    /// Too large a picture.
    #[error("the video is {}x{} pixels: this stream may send {}x{}, lower the output resolution", .is.0, .is.1, .may.0, .may.1)]
    Size {
        /// Width and height.
        is: (u32, u32),
        /// The same, 0 where it does not matter.
        may: (u32, u32),
    },
    /// Too many pictures a second.
    #[error("the video has {is} frames a second: this stream may send {may}, lower the frame rate")]
    FrameRate {
        /// As announced by the stream.
        is: u32,
        /// What is allowed.
        may: u32,
    },
    /// Too long.
    #[error("the stream has lasted {0} s, which is as long as it may")]
    Duration(u32),
}

/// The accounts of one publish session.
#[derive(Debug)]
pub(super) struct Budget {
    limits: Limits,
    began: Instant,
    bits_since: Instant,
    bytes: u64,
    messages_since: Instant,
    messages: u64,
}

impl Budget {
    /// A session that begins at `now`.
    pub(super) fn new(limits: Limits, now: Instant) -> Self {
        Self { limits, began: now, bits_since: now, bytes: 0, messages_since: now, messages: 0 }
    }

    /// `bytes` came, and `messages` in them. An excess is found as soon as the whole window's allowance is used.
    pub(super) fn spend(&mut self, now: Instant, bytes: u64, messages: u64) -> Result<(), Excess> {
        let limit_kbps = u64::from(self.limits.bitrate_kbps);
        self.bytes = self.bytes.saturating_add(bytes);
        let allowed = limit_kbps * 1000 / 8 * WINDOW.as_secs() * TOLERANCE.0 / TOLERANCE.1;
        if limit_kbps > 0 && self.bytes > allowed {
            let over = Duration::from_millis(now.duration_since(self.bits_since).as_millis() as u64);
            return Err(Excess::Bitrate { limit_kbps, over });
        }
        if now.duration_since(self.bits_since) >= WINDOW {
            (self.bits_since, self.bytes) = (now, 0);
        }
        self.messages = self.messages.saturating_add(messages);
        if self.messages > MESSAGES_A_SECOND * BURST.as_secs() {
            return Err(Excess::Messages);
        }
        if now.duration_since(self.messages_since) >= BURST {
            (self.messages_since, self.messages) = (now, 0);
        }
        let longest = self.limits.duration_s;
        if longest > 0 && now.duration_since(self.began) > Duration::from_secs(u64::from(longest)) {
            return Err(Excess::Duration(longest));
        }
        Ok(())
    }
}

/// Whether pictures of this format may come. A picture may stand upright where a lying one of its size may pass.
pub(super) fn fits(limits: &Limits, format: &VideoFormat) -> Result<(), Excess> {
    let Limits { width, height, fps, .. } = *limits;
    let is = (format.width, format.height);
    let sides = |(a, b): (u32, u32)| (a.max(b), a.min(b));
    let open = |limit: u32| if limit == 0 { u32::MAX } else { limit };
    let (long, short) = sides(is);
    let (may_long, may_short) = sides((open(width), open(height)));
    if long > may_long || short > may_short {
        return Err(Excess::Size { is, may: (width, height) });
    }
    if let Some((frames, seconds)) = format.frame_rate {
        let rate = (f64::from(frames) / f64::from(seconds.max(1))).round() as u32;
        if fps > 0 && rate > fps {
            return Err(Excess::FrameRate { is: rate, may: fps });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(limits: Limits) -> (Budget, Instant) {
        let now = Instant::now();
        (Budget::new(limits, now), now)
    }

    #[test]
    fn a_flood_is_ended_early_and_a_burst_is_not_one() {
        let limits = Limits { bitrate_kbps: 8000, ..Limits::default() };
        let (mut flood, start) = budget(limits);
        // 80 Mbit/s: 10 MB a second.
        let ended = (1_u32..5000)
            .find(|ms| flood.spend(start + Duration::from_millis(u64::from(*ms)), 10_000, 1).is_err());
        assert_eq!(ended, Some(1201));
        let (mut burst, start) = budget(limits);
        for second in 0..60 {
            // Nothing for 5 s, then all of it at once; at the limit on the whole.
            let bytes = if second % 5 == 4 { 5_000_000 } else { 0 };
            burst.spend(start + Duration::from_secs(second), bytes, 100).unwrap();
        }
    }

    #[test]
    fn tiny_messages_are_a_flood_too() {
        let (mut budget, start) = budget(Limits::default());
        for second in 0..100 {
            budget.spend(start + Duration::from_secs(second), 1_000_000_000, 1000).unwrap();
        }
        assert_eq!(budget.spend(start + Duration::from_secs(100), 10, 20_001), Err(Excess::Messages));
    }

    #[test]
    fn size_rate_and_length_are_held() {
        let limits = Limits { width: 1920, height: 1080, fps: 30, duration_s: 60, bitrate_kbps: 0 };
        let (mut budget, start) = budget(limits);
        let format = |width, height, rate| VideoFormat {
            codec: "avc1.64001f".into(),
            width,
            height,
            frame_rate: Some(rate),
            config: bytes::Bytes::new(),
        };
        assert_eq!(fits(&limits, &format(1920, 1080, (30_000, 1001))), Ok(()));
        assert_eq!(fits(&limits, &format(1080, 1920, (30, 1))), Ok(()));
        assert!(fits(&limits, &format(2560, 1440, (30, 1))).is_err());
        assert_eq!(fits(&limits, &format(1280, 720, (60, 1))), Err(Excess::FrameRate { is: 60, may: 30 }));
        assert_eq!(budget.spend(start + Duration::from_mins(1), 1, 1), Ok(()));
        assert_eq!(budget.spend(start + Duration::from_secs(61), 1, 1), Err(Excess::Duration(60)));
    }
}
