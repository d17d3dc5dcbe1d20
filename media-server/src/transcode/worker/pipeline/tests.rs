//! Rungs that come and go while pictures flow.

use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, sync_channel};

use super::*;
use crate::transcode::protocol::FromWorker;
use crate::transcode::spec::{Limits, RungSpec, TranscodeSpec, X264};
use crate::transcode::worker::{plugins, socket};

const FPS: usize = 30;
/// Source pictures from one keyframe to the next, each an edge.
const GROUP: usize = 10;

/// A source of 320x180, as a publisher's.
fn units(count: usize) -> (VideoFormat, Vec<AccessUnit>) {
    let text = format!(
        "videotestsrc num-buffers={count} ! video/x-raw,format=I420,width=320,height=180,framerate={FPS}/1 \
         ! x264enc speed-preset=ultrafast tune=zerolatency key-int-max={GROUP} threads=1 \
         ! video/x-h264,stream-format=avc,alignment=au ! appsink name=out sync=false"
    );
    let pipeline = gst::parse::launch(&text).unwrap().downcast::<gst::Pipeline>().unwrap();
    let sink = pipeline.by_name("out").unwrap().downcast::<gst_app::AppSink>().unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    let (mut config, mut units) = (bytes::Bytes::new(), Vec::new());
    while let Ok(sample) = sink.pull_sample() {
        config = crate::transcode::worker::slate::config(&sample).unwrap();
        let buffer = sample.buffer().unwrap();
        let at = Timestamp::from_ticks(units.len() as i64, FPS as u32);
        units.push(AccessUnit {
            dts: at,
            pts: at,
            duration: media::Span::from_ticks(1, FPS as u32),
            keyframe: !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT),
            payload: bytes::Bytes::copy_from_slice(&buffer.map_readable().unwrap()),
        });
    }
    pipeline.set_state(gst::State::Null).unwrap();
    let format = VideoFormat {
        codec: "avc1.42c00d".into(),
        width: 320,
        height: 180,
        frame_rate: Some((FPS as u32, 1)),
        config,
    };
    (format, units)
}

/// What came out: the rung, the source picture's number, and whether as a keyframe.
type Out = (u8, usize, bool);

struct Run {
    pipeline: Pipeline,
    units: Vec<AccessUnit>,
    next: usize,
    out: Receiver<Out>,
    seen: Vec<Out>,
}

impl Run {
    fn new(rungs: usize, count: usize) -> Self {
        plugins::load().unwrap();
        let (video, units) = units(count);
        let rung = |index| RungSpec::new(&format!("rung {index}"), (160, 90), 100_000);
        let spec = TranscodeSpec {
            stream: "ada".into(),
            video,
            rungs: (0..rungs).map(rung).collect(),
            preset: "ultrafast".into(),
            encoder: X264.into(),
            decoder: None,
            scaler: None,
            limits: Limits::default(),
        };
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (mut inlet, outlet) = (socket::TestInlet::new(ours), Arc::new(Outlet::new(theirs)));
        let (sender, out) = sync_channel(10_000);
        std::thread::spawn(move || {
            while let Some(message) = inlet.next() {
                if let FromWorker::Unit { rung, unit } = message {
                    let number = usize::try_from(unit.pts.ticks(FPS as u32)).unwrap();
                    sender.send((rung, number, unit.keyframe)).ok();
                }
            }
        });
        let start = Start { spec, resume_after: Vec::new(), wanted: Vec::new() };
        let pipeline = Pipeline::build(&start, &outlet).unwrap();
        Self { pipeline, units, next: 0, out, seen: Vec::new() }
    }

    fn push(&mut self, count: usize) {
        for unit in self.units.drain(..count) {
            assert!(self.pipeline.push(unit, self.next.is_multiple_of(GROUP)));
            self.next += 1;
        }
    }

    /// Until a rung has given this picture.
    fn reach(&mut self, rung: u8, picture: usize) {
        while !self.seen.iter().any(|it| (it.0, it.1) == (rung, picture)) {
            self.seen.push(self.out.recv_timeout(Duration::from_secs(20)).expect("it goes on"));
        }
    }

    fn finish(&mut self) {
        self.pipeline.end();
        while !matches!(self.pipeline.wait(Duration::from_secs(20)).unwrap(), Watched::Finished) {}
    }

    fn of(&self, rung: u8) -> Vec<usize> {
        self.seen.iter().filter(|it| it.0 == rung).map(|it| it.1).collect()
    }

    fn elements(&self) -> usize {
        self.pipeline.elements.children().len()
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.pipeline.stop();
    }
}

#[test]
fn a_rung_that_is_taken_out_and_put_back_goes_on_at_an_edge_and_the_other_sees_nothing() {
    let mut run = Run::new(2, 200);
    run.push(25);
    run.reach(1, 24);
    let before = run.elements();
    run.pipeline.remove(1).unwrap();
    assert!(run.elements() < before, "its encoder is gone");
    run.push(30);
    run.reach(0, 54);
    assert_eq!(run.of(1).last(), Some(&24), "nothing of it comes out any more");

    run.pipeline.add(1).unwrap();
    run.pipeline.add(1).unwrap();
    assert_eq!(run.elements(), before);
    run.push(145);
    run.finish();
    run.reach(0, 199);
    run.reach(1, 199);
    assert_eq!(run.of(0), (0..200).collect::<Vec<_>>());
    assert_eq!(run.of(1), (0..25).chain(60..200).collect::<Vec<_>>(), "from the next edge on");
    for (rung, picture, keyframe) in &run.seen {
        assert_eq!(*keyframe, picture.is_multiple_of(GROUP), "rung {rung}, picture {picture}");
    }
}

#[test]
fn pictures_flow_and_end_where_no_rung_is_left() {
    let mut run = Run::new(1, 60);
    run.push(10);
    run.pipeline.remove(0).unwrap();
    run.pipeline.remove(0).unwrap();
    run.push(30);
    run.pipeline.add(0).unwrap();
    run.push(20);
    run.finish();
    run.reach(0, 59);
    assert_eq!(run.pipeline.consumed(), 60);
}

#[test]
fn rungs_come_and_go_however_fast_pictures_flow() {
    let mut run = Run::new(3, 615);
    for round in 0..40 {
        run.push(15);
        let index = round % 3;
        if round % 2 == 0 {
            run.pipeline.remove(index).unwrap();
        } else {
            run.pipeline.add((round + 2) % 3).unwrap();
        }
    }
    run.pipeline.remove(0).unwrap();
    run.pipeline.add(0).unwrap();
    run.push(15);
    run.finish();
    run.reach(0, 614);
    assert_eq!(run.pipeline.consumed(), 615);
    for rung in 0..3 {
        assert!(run.of(rung).is_sorted_by(|a, b| a < b), "rung {rung}");
    }
}
