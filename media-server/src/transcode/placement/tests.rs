use proptest::prelude::*;

use super::*;
use crate::transcode::survey::Row;

const H264: &str = "avc1.640028";

fn run(fps: f64) -> Vec<Run> {
    vec![Run { width: 1920, height: 1080, frames_per_second: fps, first_ms: 5 }]
}

fn row(element: &str, fps: f64, sessions: u32) -> Row {
    Row { sessions: Some(sessions), ..Row::of(element, fps) }
}

fn part(element: &str, fps: f64) -> Part {
    let decoder = plan::Decoder::of(element);
    let family = decoder.map_or_else(|| plan::Scaler::of(element).unwrap().family, |it| it.family);
    Part {
        element: element.to_owned(),
        family,
        decodes: decoder.map(|it| it.codec.name().to_owned()),
        device: None,
        version: None,
        works: true,
        why: None,
        runs: run(fps),
    }
}

fn survey(encoders: Vec<Row>, parts: Vec<Part>) -> Survey {
    Survey { fingerprint: String::new(), encoders, parts }
}

/// Two cards that encode, the second of half the pace; the first decodes, too.
fn two() -> Survey {
    survey(
        vec![row("nvcudah264enc", 400.0, 8), row("nvcudah264device1enc", 200.0, 16), row("x264enc", 80.0, 0)],
        vec![part("nvh264dec", 600.0), part("nvh265device1dec", 300.0), part("cudaconvertscale", 900.0)],
    )
}

/// 1080p30 and 720p30.
fn ladder() -> Wish<'static> {
    Wish { codec: H264, rungs: vec![1920 * 1080 * 30, 1280 * 720 * 30] }
}

#[test]
fn streams_go_where_the_most_room_is_relative_to_what_a_device_can_do() {
    let mut placement = Placement::new(Some(&two()), None);
    let places: Vec<_> = (0..4).map(|_| placement.place(&ladder()).unwrap()).collect();
    let on: Vec<_> = places.iter().map(Place::device).collect();
    // The first has room for 300 frames of 1080p a second and 8 sessions, the second for 150; a stream takes 43 and two.
    assert_eq!(on, ["cuda 0", "cuda 1", "cuda 0", "cuda 1"]);
}

#[test]
fn a_stream_stays_on_one_device_with_what_that_has() {
    let mut placement = Placement::new(Some(&two()), None);
    let elements = |place: Place| place.elements;
    let (first, second) = (placement.place(&ladder()).unwrap(), placement.place(&ladder()).unwrap());
    assert_eq!(
        elements(first),
        Elements {
            encoder: "nvcudah264enc".into(),
            decoder: Some("nvh264dec".into()),
            scaler: Some("cudaconvertscale".into()),
        }
    );
    let second = elements(second);
    assert_eq!((&*second.encoder, second.decoder), ("nvcudah264device1enc", None), "it decodes HEVC alone");
}

#[test]
fn what_devices_do_not_decode_is_decoded_by_the_processor() {
    let mut placement = Placement::new(Some(&two()), Some("nvcudah264enc"));
    let odd = Wish { codec: "avc1.7a0028", ..ladder() };
    let place = placement.place(&odd).unwrap();
    assert_eq!((place.elements.decoder, place.elements.scaler), (None, Some("cudaconvertscale".to_owned())));
}

#[test]
fn where_none_has_room_nothing_is_placed_and_the_largest_rungs_are_left_out_if_asked() {
    let small = survey(vec![row("vah264enc", 90.0, 3)], Vec::new());
    let mut placement = Placement::new(Some(&small), None);
    // 67 frames of 1080p a second: 43 are taken, 24 are left.
    let first = placement.place(&ladder()).unwrap();
    assert_eq!(placement.place(&ladder()), None);
    let (second, left) = placement.place_some(&ladder()).unwrap();
    assert_eq!(left, [0], "720p fits, and is the third session");
    assert_eq!(placement.place_some(&ladder()), None);
    placement.leave(&first);
    placement.leave(&second);
    assert_eq!(placement.devices()[0].load, Load::default());
}

#[test]
fn a_device_without_an_encoder_decodes_and_scales_for_x264() {
    let front = survey(
        vec![row("x264enc", 80.0, 0)],
        vec![
            part("nvh264dec", 500.0),
            part("nvh264sldec", 700.0),
            part("cudaconvertscale", 900.0),
            part("vah264dec", 600.0),
        ],
    );
    let mut placement = Placement::new(Some(&front), None);
    assert_eq!(placement.devices().len(), 1, "VA-API's without a scaler is no gain");
    let place = placement.place(&ladder()).unwrap();
    assert_eq!(place.elements.encoder, X264);
    assert_eq!(place.elements.decoder.as_deref(), Some("nvh264sldec"), "the faster one");
    assert_eq!(placement.devices()[0].load.sessions, 0);
    assert_eq!(placement.plugins(), ["libgstnvcodec.so"]);
}

#[test]
fn quick_sync_and_va_api_on_one_device_go_together() {
    let both =
        survey(vec![row("qsvh264enc", 300.0, 16)], vec![part("vah264dec", 400.0), part("vapostproc", 400.0)]);
    let mut placement = Placement::new(Some(&both), None);
    assert_eq!(placement.plugins(), ["libgstqsv.so", "libgstva.so"]);
    let place = placement.place(&ladder()).unwrap();
    assert_eq!(place.elements.decoder.as_deref(), Some("vah264dec"));
    assert_eq!(place.elements.scaler.as_deref(), Some("vapostproc"));
}

#[test]
fn an_encoder_that_was_asked_for_is_taken_unmeasured_and_a_slow_one_only_so() {
    assert_eq!(Placement::new(None, None).devices(), []);
    assert_eq!(Placement::new(None, Some(X264)).devices(), []);
    let place = Placement::new(None, Some("nvh264device2enc")).place(&ladder()).unwrap();
    assert_eq!(place.device(), "cuda 2");
    let slow = survey(vec![row("v4l2h264enc", 35.0, 16)], Vec::new());
    assert_eq!(Placement::new(Some(&slow), None).devices(), []);
    assert_eq!(Placement::new(Some(&slow), Some("v4l2h264enc")).devices().len(), 1);
}

proptest! {
    #[test]
    fn no_device_is_given_more_than_it_takes_and_the_load_comes_back_to_zero(
        cards in proptest::collection::vec((60.0_f64..900.0, 1_u32..20), 1..4),
        steps in proptest::collection::vec(
            (any::<bool>(), proptest::collection::vec(1_000_000_u64..100_000_000, 1..6), any::<prop::sample::Index>()),
            1..60,
        ),
    ) {
        let encoders = cards.iter().enumerate().map(|(number, (fps, sessions))| {
            row(&format!("nvcudah264device{number}enc"), *fps, *sessions)
        });
        let mut placement = Placement::new(Some(&survey(encoders.collect(), Vec::new())), None);
        let mut places = Vec::new();
        for (comes, rungs, which) in steps {
            let wish = Wish { codec: H264, rungs };
            if comes {
                if let Some((place, left)) = placement.place_some(&wish) {
                    prop_assert!(left.len() < wish.rungs.len());
                    let kept = (0..wish.rungs.len()).filter(|index| !left.contains(index));
                    let largest = kept.map(|index| wish.rungs[index]).max().unwrap();
                    prop_assert!(left.iter().all(|index| wish.rungs[*index] >= largest));
                    places.push(place);
                }
            } else if !places.is_empty() {
                let place = places.swap_remove(which.index(places.len()));
                placement.leave(&place);
            }
            for device in placement.devices() {
                prop_assert!(device.sessions.is_none_or(|most| device.load.sessions <= most));
                prop_assert!(device.load.pixels <= device.pace.unwrap());
            }
        }
        for place in &places {
            placement.leave(place);
        }
        for device in placement.devices() {
            prop_assert_eq!(device.load, Load::default());
        }
    }
}
