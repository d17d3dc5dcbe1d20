use super::{AudioRendition, Variant, multivariant};

#[test]
fn the_multivariant_playlist_reads_as_written() {
    let variant = |height: u32, bandwidth: u64| Variant {
        uri: format!("{height}p/index.m3u8"),
        bandwidth,
        average: bandwidth / 2,
        codecs: vec!["avc1.64001f".into(), "mp4a.40.2".into()],
        resolution: Some((height * 16 / 9, height)),
        frame_rate: Some(30_000.0 / 1001.0),
        audio_group: Some("audio".into()),
    };
    let audio = AudioRendition {
        group: "audio".into(),
        name: "the \"main\"\n sound".into(),
        language: Some("en".into()),
        channels: Some(2),
        default: true,
        uri: "audio/index.m3u8".into(),
    };
    let want = "\
#EXTM3U
#EXT-X-VERSION:9
#EXT-X-INDEPENDENT-SEGMENTS
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"audio\",NAME=\"the main sound\",LANGUAGE=\"en\",DEFAULT=YES,AUTOSELECT=YES,CHANNELS=\"2\",URI=\"audio/index.m3u8\"
#EXT-X-STREAM-INF:BANDWIDTH=5000000,AVERAGE-BANDWIDTH=2500000,CODECS=\"avc1.64001f,mp4a.40.2\",RESOLUTION=1280x720,FRAME-RATE=29.970,AUDIO=\"audio\",CLOSED-CAPTIONS=NONE
720p/index.m3u8
#EXT-X-STREAM-INF:BANDWIDTH=1000000,AVERAGE-BANDWIDTH=500000,CODECS=\"avc1.64001f,mp4a.40.2\",RESOLUTION=640x360,FRAME-RATE=29.970,AUDIO=\"audio\",CLOSED-CAPTIONS=NONE
360p/index.m3u8
";
    assert_eq!(multivariant(&[variant(720, 5_000_000), variant(360, 1_000_000)], &[audio], true), want);
}

#[test]
fn a_stream_of_sound_alone_has_no_pictures_to_describe() {
    let only = Variant {
        uri: "audio/index.m3u8".into(),
        bandwidth: 0,
        average: 0,
        codecs: vec!["mp4a.40.2".into()],
        resolution: None,
        frame_rate: None,
        audio_group: None,
    };
    let want = "\
#EXTM3U
#EXT-X-VERSION:9
#EXT-X-STREAM-INF:BANDWIDTH=1,AVERAGE-BANDWIDTH=1,CODECS=\"mp4a.40.2\",CLOSED-CAPTIONS=NONE
audio/index.m3u8
";
    assert_eq!(multivariant(&[only], &[], false), want);
}
