//! Hours of a transport stream over the wrap of its timestamps: what our muxer writes, a line that loses packets carries,
//! and our demuxer and timeline make of it.

use bytes::{Bytes, BytesMut};
use media::timeline::{Clock, Repair, Timeline, TimelineConfig};
use media::{Span, Timestamp};
use wire::ts::{Coding, Demuxer, Elementary, Event, Muxer, PACKET, Unit};

/// Timestamps wrap here, after 26.5 hours.
const WRAP: u64 = 1 << 33;
const HOUR: u64 = 3600 * 90_000;
const VIDEO: u16 = 0x100;
/// Ticks of a picture and of a frame of sound.
const PICTURE: u64 = 3600;
const FRAME: u64 = 1920;

/// One packet in so many is lost.
struct Line {
    dice: u64,
    one_in: u64,
}

impl Line {
    fn loses(&mut self) -> bool {
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        self.dice.is_multiple_of(self.one_in)
    }
}

/// What came of a track.
#[derive(Default)]
struct Came {
    units: u64,
    last: Option<Timestamp>,
    /// How far a unit was from where it belongs at most.
    worst: Span,
}

impl Came {
    fn unit(&mut self, number: u64, every: u64, placed: Timestamp) {
        self.units += 1;
        assert!(self.last.is_none_or(|last| placed > last), "unit {number} goes back");
        self.last = Some(placed);
        let belongs = Timestamp::from_ticks((number * every) as i64, 90_000);
        self.worst = self.worst.max((placed - belongs).abs());
    }
}

/// Sends `hours` of it from `begin` on, in ticks.
fn run(hours: u64, begin: u64, one_in: u64) -> (Came, Came, Timeline, u64) {
    let mut muxer = Muxer::default();
    let stream = |place, coding| Elementary { place, coding, channels: 0, language: None };
    muxer.set(&[stream(0, Coding::H264), stream(1, Coding::Adts)]);
    let mut demuxer = Demuxer::default();
    let mut timeline = Timeline::new(TimelineConfig { start: Timestamp::ZERO, clock: Clock::MPEG_TS });
    let mut line = Line { dice: 0x9e37_79b9_7f4a_7c15, one_in };
    let (mut video, mut audio) = (Came::default(), Came::default());
    let mut lost = 0;
    let mut out = BytesMut::new();
    let (mut pictures, mut frames) = (0_u64, 0_u64);
    while pictures * PICTURE < hours * HOUR {
        let is_picture = pictures * PICTURE <= frames * FRAME;
        let (number, every) = if is_picture { (&mut pictures, PICTURE) } else { (&mut frames, FRAME) };
        let at = begin + *number * every;
        let payload = number.to_be_bytes().repeat(5);
        let random_access = is_picture && number.is_multiple_of(50);
        *number += 1;
        let stream = usize::from(!is_picture);
        muxer.write(&Unit { stream, pts: at, dts: at, random_access, data: &[&payload] }, &mut out);
        let packets: Bytes = out.split().freeze();
        for from in (0..packets.len()).step_by(PACKET) {
            if line.loses() {
                lost += 1;
                continue;
            }
            demuxer.push(packets.slice(from..from + PACKET));
        }
        while let Some(event) = demuxer.next() {
            if let Event::Damaged { pid } = event
                && pid != VIDEO
            {
                timeline.lost_sound(0);
            }
            let Event::Unit { pid, times, data, .. } = event else { continue };
            let number = data.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
            let raw = times.dts.or(times.pts).unwrap_or_default();
            let arrival = Timestamp::from_ticks((at - begin) as i64, 90_000);
            if pid == VIDEO {
                let (stamp, _) = timeline.video(raw, 0, arrival);
                video.unit(number, PICTURE, stamp.dts);
            } else {
                let (stamp, _) = timeline.audio(raw, 1024, 48_000, arrival);
                audio.unit(number, FRAME, stamp.dts);
            }
        }
    }
    (video, audio, timeline, lost)
}

#[test]
fn eight_hours_over_the_wrap_stay_where_they_belong() {
    // A build for debugging takes thirty times as long.
    let hours = if cfg!(debug_assertions) { 1 } else { 8 };
    let (video, audio, timeline, lost) = run(hours, WRAP - hours * HOUR / 2, 1000);
    let repairs = timeline.repairs();
    println!(
        "{hours} h, {lost} packets lost: {} pictures at most {:?} and {} frames at most {:?} from where they belong; {} wraps, {} jumps",
        video.units,
        video.worst,
        audio.units,
        audio.worst,
        repairs.get(Repair::Wrap),
        repairs.get(Repair::Jump)
    );
    assert!(video.worst <= Span::from_millis(1) && audio.worst <= Span::from_millis(2));
    assert_eq!((repairs.get(Repair::Wrap), repairs.get(Repair::Jump)), (2, 0), "each track once");
    let sent = hours * HOUR / PICTURE;
    assert!(video.units * 1000 > sent * 997 && video.units < sent, "{} of {sent}", video.units);
}

#[test]
fn days_of_wraps_add_up() {
    if cfg!(debug_assertions) {
        return;
    }
    let (video, _, timeline, _) = run(60, WRAP - HOUR, 100_000);
    let wraps = timeline.repairs().get(Repair::Wrap);
    println!("{} pictures, {wraps} wraps, at most {:?} off", video.units, video.worst);
    assert_eq!(wraps, 6, "three, of each track");
    assert!(video.worst <= Span::from_millis(1));
}
