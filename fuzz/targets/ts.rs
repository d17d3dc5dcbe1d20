//! A transport stream: units carry no more than came, tables name no stream twice, and how it is cut does not matter to
//! what is kept. The first byte says how it is cut, and whether the transport loses something in between.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use wire::ts::{Demuxer, Event, Splice};

fuzz_target!(|data: &[u8]| {
    let Some((mode, stream)) = data.split_first() else { return };
    let stream = Bytes::copy_from_slice(stream);
    let mut demuxer = Demuxer::default();
    let mut carried = 0;
    let piece = usize::from(mode & 0x3f) * 19 + 1;
    for from in (0..stream.len()).step_by(piece) {
        demuxer.push(stream.slice(from..(from + piece).min(stream.len())));
        while let Some(event) = demuxer.next() {
            match event {
                Event::Unit { data, times, .. } => {
                    carried += data.len();
                    assert!(times.pts.is_none_or(|pts| pts < 1 << 33) && times.dts.is_none_or(|dts| dts < 1 << 33));
                }
                Event::Section { data, .. } => {
                    carried += data.len();
                    let splice = Splice::parse(&data);
                    assert!(splice.is_none_or(|it| it.at.is_none_or(|at| at < 1 << 33)));
                }
                Event::Program(program) => {
                    let pids: std::collections::HashSet<_> = program.streams.iter().map(|s| s.pid).collect();
                    assert_eq!(pids.len(), program.streams.len());
                }
                Event::Damaged { .. } => {}
            }
        }
        assert!(carried <= stream.len());
        if mode & 0x40 != 0 && from % 7 == 0 {
            demuxer.lost();
        }
    }
});
