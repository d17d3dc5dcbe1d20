use proptest::prelude::*;

use super::*;

/// A plane scaled line by line, with room behind each line of either that is not the picture's.
fn scaled(pixels: &[u8], from: Size, to: Size, more: (usize, usize)) -> Vec<u8> {
    let (from_stride, to_stride) = (from.0 + more.0, to.0 + more.1);
    let mut rows = vec![0xAA; from_stride * from.1];
    for (row, line) in rows.chunks_mut(from_stride).zip(pixels.chunks(from.0)) {
        row[..from.0].copy_from_slice(line);
    }
    let mut out = vec![0x55; to_stride * to.1];
    let mut sizes = Sizes::new(from, to, false).unwrap();
    sizes.scale(0, false, (&rows, from_stride), (&mut out, to_stride)).unwrap();
    for row in out.chunks(to_stride) {
        assert!(row[to.0..].iter().all(|it| *it == 0x55), "written behind a line's end");
    }
    out.chunks(to_stride).flat_map(|row| &row[..to.0]).copied().collect()
}

/// Catmull and Rom's kernel.
fn kernel(x: f64) -> f64 {
    match x.abs() {
        x if x < 1.0 => (1.5 * x - 2.5) * x * x + 1.0,
        x if x < 2.0 => ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0,
        _ => 0.0,
    }
}

/// The sum of what lies around a place on one line, by weight: with the kernel widened where the line becomes shorter.
fn at(line: &dyn Fn(usize) -> f64, from: usize, to: usize, place: usize) -> f64 {
    let ratio = from as f64 / to as f64;
    let wide = ratio.max(1.0);
    let middle = (place as f64 + 0.5) * ratio - 0.5;
    let taps = (0..from).map(|tap| (kernel((tap as f64 - middle) / wide), line(tap)));
    let (weights, sum) =
        taps.fold((0.0, 0.0), |(all, sum), (weight, value)| (all + weight, sum + weight * value));
    sum / weights
}

/// What the arithmetic of real numbers makes of it.
fn expected(pixels: &[u8], from: Size, to: Size) -> Vec<f64> {
    let across: Vec<f64> = (0..from.1)
        .flat_map(|y| {
            (0..to.0).map(move |x| {
                at(&|tap| f64::from(pixels[y * from.0 + tap]), from.0, to.0, x).clamp(0.0, 255.0)
            })
        })
        .collect();
    let across = &across;
    (0..to.1)
        .flat_map(|y| {
            (0..to.0).map(move |x| at(&|tap| across[tap * to.0 + x], from.1, to.1, y).clamp(0.0, 255.0))
        })
        .collect()
}

#[test]
fn a_picture_is_what_bicubic_arithmetic_makes_of_it() {
    let from = (192, 108);
    // Smooth, with an edge: what pictures are.
    let pixels: Vec<u8> = (0..from.0 * from.1)
        .map(|i| {
            ((i % from.0) as f64 / 9.0).sin().mul_add(60.0, if i / from.0 > 50 { 150.0 } else { 80.0 }) as u8
        })
        .collect();
    for to in [(128, 72), (85, 48), (64, 36), (192, 108), (96, 108), (192, 54)] {
        let (is, wanted) = (scaled(&pixels, from, to, (0, 0)), expected(&pixels, from, to));
        let off = is.iter().zip(&wanted).map(|(is, wanted)| (f64::from(*is) - wanted).abs());
        let worst = off.fold(0.0, f64::max);
        assert!(worst <= 2.0, "{to:?}: {worst}");
    }
}

#[test]
fn fields_of_an_interlaced_picture_are_not_mixed() {
    let (from, to) = ((64, 32), (32, 16));
    // One field is black, the other white.
    let pixels: Vec<u8> = (0..from.0 * from.1).map(|i| if i / from.0 % 2 == 0 { 0 } else { 255 }).collect();
    let mut out = vec![0; to.0 * to.1];
    let mut sizes = Sizes::new(from, to, true).unwrap();
    sizes.scale(0, true, (&pixels, from.0), (&mut out, to.0)).unwrap();
    assert!(out.iter().enumerate().all(|(i, it)| *it == if i / to.0 % 2 == 0 { 0 } else { 255 }), "{out:?}");
    // Whole, where the picture itself says that it is: grey.
    sizes.scale(0, false, (&pixels, from.0), (&mut out, to.0)).unwrap();
    assert!(out.iter().all(|it| (100..156).contains(it)), "{out:?}");
}

#[test]
fn it_takes_whatever_the_pipeline_gives_it() {
    super::super::plugins::load().unwrap();
    let run = |from: &str, to: &str| {
        let text = format!(
            "videotestsrc num-buffers=2 pattern=red ! video/x-raw,format=I420,{from} ! {PROCESSORS} \
             ! video/x-raw,{to},pixel-aspect-ratio=1/1 ! appsink name=out sync=false"
        );
        let pipeline = gst::parse::launch(&text).unwrap().downcast::<gst::Pipeline>().unwrap();
        let sink = pipeline.by_name("out").unwrap().downcast::<gstreamer_app::AppSink>().unwrap();
        pipeline.set_state(gst::State::Playing).unwrap();
        let sample = sink.pull_sample().unwrap();
        pipeline.set_state(gst::State::Null).unwrap();
        let info = gst_video::VideoInfo::from_caps(sample.caps().unwrap()).unwrap();
        let frame =
            gst_video::VideoFrameRef::from_buffer_ref_readable(sample.buffer().unwrap(), &info).unwrap();
        // Red, in every plane and to its last pixel.
        let last = |plane: u32| {
            let stride = frame.plane_stride()[plane as usize] as usize;
            let (wide, high) = (frame.comp_width(plane) as usize, frame.comp_height(plane) as usize);
            frame.plane_data(plane).unwrap()[(high - 1) * stride + wide - 1]
        };
        let near = |is: u8, wanted: u8| is.abs_diff(wanted) < 4;
        assert!(
            near(last(0), 81) && near(last(1), 90) && near(last(2), 240),
            "{from} to {to}: {:?}",
            [last(0), last(1), last(2)]
        );
        (info.width(), info.height(), info.par())
    };
    let square = gst::Fraction::new(1, 1);
    assert_eq!(run("width=640,height=360", "width=426,height=240"), (426, 240, square));
    assert_eq!(run("width=641,height=361", "width=171,height=97"), (171, 97, square));
    assert_eq!(
        run("width=720,height=576,pixel-aspect-ratio=16/15", "width=640,height=480"),
        (640, 480, square)
    );
    assert_eq!(run("width=16,height=16", "width=16,height=16"), (16, 16, square));
    assert_eq!(run("width=64,height=64,interlace-mode=interleaved", "width=32,height=32"), (32, 32, square));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Of any size, with lines of any length: nothing is written or read that is not the picture's, and what is even stays so.
    #[test]
    fn sizes_of_every_kind(
        from in (1..200_usize, 1..120_usize),
        to in (1..200_usize, 1..120_usize),
        more in (0..40_usize, 0..40_usize),
        value: u8,
    ) {
        let out = scaled(&vec![value; from.0 * from.1], from, to, more);
        prop_assert!(out.iter().all(|it| it.abs_diff(value) <= 1), "{from:?} to {to:?}: {value}");
    }
}
