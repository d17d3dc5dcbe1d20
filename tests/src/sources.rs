//! The sources that people publish: what is tried with all of them is told here once.

use std::time::Duration;

use crate::publisher::Source;

/// One of them.
pub struct Kind {
    /// What it is called, and the stream.
    pub name: &'static str,
    /// What a reader of a table wants to know.
    pub about: &'static str,
    /// What ffmpeg makes.
    pub source: Source,
    /// Further options of ffmpeg.
    pub options: &'static [&'static str],
    /// Sizes of the rungs that [`crate::ladder::SMALL`] makes of it.
    pub sizes: &'static [&'static str],
    /// How far apart its pictures are at most.
    pub interval: Duration,
    /// Its own bits are offered beside the rungs: it can be cut where they are.
    pub offered: bool,
    /// Seconds until what there is to see of it has been seen.
    pub seconds: u64,
}

/// All of them.
pub fn all() -> Vec<Kind> {
    let x264 = |options: &[&'static str]| -> Vec<&'static str> {
        let usual = ["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-sc_threshold", "0"];
        let rate = ["-b:v", "800k", "-maxrate", "800k", "-bufsize", "400k"];
        [&usual[..], &rate, options].concat()
    };
    let size = |width, height| Source::default().size(width, height);
    let kind = |name, about, source| Kind {
        name,
        about,
        source,
        options: &[],
        sizes: &["426x240", "284x160"],
        interval: Duration::from_millis(34),
        offered: true,
        seconds: 8,
    };
    let drops = "select=lt(mod(t\\,4)\\,2)+not(mod(n\\,3))";
    let varies = x264(&["-force_key_frames", "expr:gte(t,n_forced*2)", "-vf", drops, "-vsync", "vfr"]);
    let anamorphic = x264(&["-g", "60", "-vf", "setsar=16/15"]);
    let open = x264(&["-x264-params", "open-gop=1:bframes=3:b-adapt=0:keyint=60:min-keyint=60"]);
    vec![
        kind("full", "1080p30", size(1920, 1080).video_kbps(3000)),
        Kind {
            options: &["-g", "120"],
            interval: Duration::from_millis(17),
            ..kind("fast", "720p60", size(1280, 720).rate(60))
        },
        Kind {
            interval: Duration::from_millis(101),
            seconds: 10,
            ..kind("varies", "variable frame rate", Source::default().video_codec(&varies))
        },
        Kind {
            sizes: &["240x426", "160x284"],
            ..kind("portrait", "portrait, 1080x1920", size(1080, 1920).video_kbps(3000))
        },
        Kind {
            sizes: &["320x240", "214x160"],
            ..kind("anamorphic", "4:3 of oblong pixels, 720x576", size(720, 576).video_codec(&anamorphic))
        },
        Kind {
            offered: false,
            seconds: 24,
            ..kind("rare", "a keyframe every 10 s", Source::default().keyframe_every(10))
        },
        Kind {
            offered: false,
            seconds: 10,
            ..kind("open", "open groups with B-frames", Source::default().video_codec(&open))
        },
        Kind {
            options: &["-ar", "44100", "-ac", "1"],
            ..kind("mono", "sound of 44.1 kHz, one channel", Source::default())
        },
        Kind { sizes: &[], ..kind("sound", "sound alone", Source::default().audio_only()) },
    ]
}
