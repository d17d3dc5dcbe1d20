//! How each kind of encoder is told what a rung is to be. Without B-frames and lookahead no frame waits for another; keyframes
//! stand where the GOP clock asks for them and nowhere else. Pure: names and texts.

use media::ladder::Tuning;

/// How properties are named: elements of one kind share them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// `nvcudah264enc`, `nvautogpuh264enc` and those of the other codings.
    Nvenc,
    /// `nvh264enc`, as it was first.
    NvencOld,
    Va,
    Qsv,
    V4l2,
    X264,
    OpenH264,
    X265,
    SvtAv1,
    Aom,
}

/// What is asked of an encoder.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ask<'a> {
    /// Bits a second.
    pub(super) bitrate: u32,
    /// One of x264's names for speed; others are told what comes near it.
    pub(super) preset: &'a str,
    /// Threads, where it is the processor's.
    pub(super) threads: u32,
    /// What the rung wishes besides.
    pub(super) tuning: &'a Tuning,
}

/// A property of an element: name and value as text.
pub(super) type Setting = (&'static str, String);

/// Rates as most elements take them.
struct Rates {
    /// Thousands of bits a second.
    target: u32,
    /// The same, at most.
    most: u32,
    /// Thousands of bits in the decoder's buffer.
    buffer: u32,
    /// They differ: the rate may vary.
    varies: bool,
}

impl Ask<'_> {
    fn rates(&self) -> Rates {
        let target = (self.bitrate / 1000).max(1);
        let most = self.tuning.max_bitrate.map_or(target, |most| (most / 1000).max(target));
        let buffer = u64::from(most) * u64::from(self.buffer_ms()) / 1000;
        Rates {
            target,
            most,
            buffer: u32::try_from(buffer).unwrap_or(u32::MAX).max(1),
            varies: most > target,
        }
    }

    /// A second, unless it is said.
    fn buffer_ms(&self) -> u32 {
        self.tuning.buffer_ms.unwrap_or(1000)
    }

    fn tune(&self) -> Option<&str> {
        self.tuning.tune.as_deref()
    }
}

/// What has to be set.
pub(super) fn settings(dialect: Dialect, ask: &Ask<'_>) -> Vec<Setting> {
    match dialect {
        Dialect::Nvenc => nvenc(ask),
        Dialect::NvencOld => nvenc_old(ask),
        Dialect::Va => va(ask),
        Dialect::Qsv => qsv(ask),
        Dialect::V4l2 => v4l2(ask),
        Dialect::X264 => x264(ask),
        Dialect::OpenH264 => openh264(ask),
        Dialect::X265 => x265(ask),
        Dialect::SvtAv1 => svt_av1(ask),
        Dialect::Aom => aom(ask),
    }
}

fn text(settings: &[(&'static str, &str)]) -> Vec<Setting> {
    settings.iter().map(|(name, value)| (*name, (*value).to_owned())).collect()
}

fn nvenc(ask: &Ask<'_>) -> Vec<Setting> {
    let (rates, tuning) = (ask.rates(), ask.tuning);
    let (mode, b_frames) = (mode(&rates), tuning.b_frames.to_string());
    let mut settings = text(&[
        ("bitrate", &rates.target.to_string()),
        ("rate-control", mode),
        ("rc-mode", mode),
        ("vbv-buffer-size", &rates.buffer.to_string()),
        ("preset", nvenc_preset(ask.preset)),
        ("tune", if tuning.is_immediate() { "low-latency" } else { "high-quality" }),
        ("multi-pass", "disabled"),
        ("gop-size", "-1"),
        ("b-frames", &b_frames),
        ("bframes", &b_frames),
        ("zero-reorder-delay", if tuning.b_frames == 0 { "true" } else { "false" }),
        ("rc-lookahead", &tuning.lookahead.to_string()),
        ("aud", "false"),
    ]);
    settings.extend(most("max-bitrate", &rates));
    settings
}

fn nvenc_old(ask: &Ask<'_>) -> Vec<Setting> {
    let (rates, tuning) = (ask.rates(), ask.tuning);
    let mut settings = text(&[
        ("bitrate", &rates.target.to_string()),
        ("rc-mode", mode(&rates)),
        ("vbv-buffer-size", &rates.buffer.to_string()),
        ("preset", if tuning.is_immediate() { "low-latency-hq" } else { "hq" }),
        ("gop-size", "-1"),
        ("bframes", &tuning.b_frames.to_string()),
        ("zerolatency", if tuning.is_immediate() { "true" } else { "false" }),
        ("aud", "false"),
    ]);
    if tuning.lookahead > 0 {
        settings.push(("rc-lookahead", tuning.lookahead.to_string()));
    }
    settings.extend(most("max-bitrate", &rates));
    settings
}

fn va(ask: &Ask<'_>) -> Vec<Setting> {
    let (rates, tuning) = (ask.rates(), ask.tuning);
    let mut settings = text(&[
        ("bitrate", &rates.target.to_string()),
        ("rate-control", mode(&rates)),
        ("cpb-size", &rates.buffer.to_string()),
        ("target-usage", usage(ask.preset)),
        // As long as the element takes; the GOP clock asks sooner.
        ("key-int-max", "1024"),
        ("b-frames", &tuning.b_frames.to_string()),
        ("aud", "false"),
    ]);
    if rates.varies {
        let percent = u64::from(rates.target) * 100 / u64::from(rates.most);
        settings.push(("target-percentage", percent.clamp(50, 100).to_string()));
    }
    settings
}

fn qsv(ask: &Ask<'_>) -> Vec<Setting> {
    let (rates, tuning) = (ask.rates(), ask.tuning);
    let mut settings = text(&[
        ("bitrate", &rates.target.to_string()),
        ("rate-control", mode(&rates)),
        ("target-usage", usage(ask.preset)),
        ("gop-size", "0"),
        ("b-frames", &tuning.b_frames.to_string()),
        ("low-latency", if tuning.is_immediate() { "true" } else { "false" }),
    ]);
    settings.extend(most("max-bitrate", &rates));
    settings
}

fn v4l2(ask: &Ask<'_>) -> Vec<Setting> {
    let rates = ask.rates();
    let mut controls = vec![
        "controls".to_owned(),
        format!("video_bitrate_mode={}", u8::from(!rates.varies)),
        format!("video_bitrate={}", ask.bitrate),
    ];
    if rates.varies {
        controls.push(format!("video_bitrate_peak={}", u64::from(rates.most) * 1000));
    }
    if ask.tuning.b_frames > 0 {
        controls.push(format!("video_b_frames={}", ask.tuning.b_frames));
    }
    vec![("extra-controls", controls.join(","))]
}

/// Of its element the greatest rate is the rate: it varies below that with a quality alone.
fn x264(ask: &Ask<'_>) -> Vec<Setting> {
    let (rates, tuning) = (ask.rates(), ask.tuning);
    let rate = if tuning.crf.is_some() { rates.most } else { rates.target };
    let flags: Vec<_> =
        ["stillimage", "fastdecode"].into_iter().filter(|it| ask.tune() == Some(it)).collect();
    let flags = flags.into_iter().chain(tuning.is_immediate().then_some("zerolatency")).collect::<Vec<_>>();
    let mut settings = text(&[
        ("bitrate", &rate.to_string()),
        ("speed-preset", ask.preset),
        ("tune", &flags.join("+")),
        ("pass", if tuning.crf.is_some() { "qual" } else { "cbr" }),
        // Milliseconds of that rate.
        ("vbv-buf-capacity", &ask.buffer_ms().to_string()),
        ("bframes", &tuning.b_frames.to_string()),
        ("aud", "false"),
        ("key-int-max", "1073741823"),
        ("option-string", "scenecut=0"),
        ("threads", &ask.threads.max(1).to_string()),
    ]);
    settings.extend(tuning.crf.map(|crf| ("quantizer", crf.to_string())));
    if let Some(psy @ ("film" | "animation" | "grain")) = ask.tune() {
        settings.push(("psy-tune", psy.to_owned()));
    }
    if !tuning.is_immediate() {
        settings.extend(text(&[
            ("rc-lookahead", &tuning.lookahead.to_string()),
            ("sync-lookahead", "0"),
            // Threads that share a frame keep none back.
            ("sliced-threads", "true"),
        ]));
    }
    settings
}

fn openh264(ask: &Ask<'_>) -> Vec<Setting> {
    let mut settings = text(&[
        ("bitrate", &ask.bitrate.to_string()),
        ("rate-control", "bitrate"),
        ("complexity", openh264_complexity(ask.preset)),
        ("gop-size", "1073741823"),
        ("scene-change-detection", "false"),
        ("multi-thread", &ask.threads.max(1).to_string()),
    ]);
    settings.extend(ask.tuning.max_bitrate.map(|most| ("max-bitrate", most.max(ask.bitrate).to_string())));
    settings
}

fn x265(ask: &Ask<'_>) -> Vec<Setting> {
    let (rates, tuning) = (ask.rates(), ask.tuning);
    let tune = match ask.tune() {
        Some(tune @ ("animation" | "grain" | "fastdecode")) => tune,
        _ if tuning.is_immediate() => "zerolatency",
        _ => "ssim",
    };
    let mut options = vec![
        format!("scenecut=0:bframes={}:open-gop=0", tuning.b_frames),
        format!("vbv-maxrate={}:vbv-bufsize={}:pools={}", rates.most, rates.buffer, ask.threads.max(1)),
    ];
    if tune != "zerolatency" {
        // What else that would set, as far as nothing is to be waited for.
        let lookahead = tuning.lookahead.max(tuning.b_frames.into());
        options.push(format!("rc-lookahead={lookahead}:frame-threads=1"));
        options.extend(tuning.is_immediate().then(|| "b-adapt=0:cutree=0".to_owned()));
    }
    options.extend(tuning.crf.map(|crf| format!("crf={crf}")));
    text(&[
        ("bitrate", &rates.target.to_string()),
        ("speed-preset", ask.preset),
        ("tune", tune),
        ("key-int-max", "1073741823"),
        ("log-level", "error"),
        ("option-string", &options.join(":")),
    ])
}

fn svt_av1(ask: &Ask<'_>) -> Vec<Setting> {
    let rates = ask.rates();
    let (mode, order) = (if rates.varies { 1 } else { 2 }, if ask.tuning.lookahead == 0 { 1 } else { 2 });
    let mut parameters = vec![format!("rc={mode}:pred-struct={order}:scd=0:lp={}", ask.threads.max(1))];
    if ask.tuning.lookahead > 0 {
        parameters.push(format!("lookahead={}", ask.tuning.lookahead));
    }
    if rates.varies {
        parameters.push(format!("mbr={}", rates.most));
    }
    text(&[
        ("target-bitrate", &rates.target.to_string()),
        ("preset", "10"),
        ("intra-period-length", "-1"),
        ("parameters-string", &parameters.join(":")),
    ])
}

fn aom(ask: &Ask<'_>) -> Vec<Setting> {
    text(&[
        ("target-bitrate", &ask.rates().target.to_string()),
        ("usage-profile", "realtime"),
        ("end-usage", "cbr"),
        ("cpu-used", "8"),
        ("lag-in-frames", "0"),
        // Without a range its rate control aborts.
        ("min-quantizer", "4"),
        ("max-quantizer", "60"),
        ("keyframe-max-dist", "1073741823"),
        ("row-mt", "true"),
        ("threads", &ask.threads.max(1).to_string()),
    ])
}

fn mode(rates: &Rates) -> &'static str {
    if rates.varies { "vbr" } else { "cbr" }
}

fn most(name: &'static str, rates: &Rates) -> Option<Setting> {
    rates.varies.then(|| (name, rates.most.to_string()))
}

/// x264's presets as NVENC's, p1 (fast) to p7.
fn nvenc_preset(preset: &str) -> &'static str {
    match preset {
        "ultrafast" | "superfast" => "p2",
        "veryfast" | "faster" | "fast" => "p4",
        "medium" => "p5",
        "slow" => "p6",
        _ => "p7",
    }
}

/// The same as VA-API's and Quick Sync's, 7 (fast) to 1.
fn usage(preset: &str) -> &'static str {
    match preset {
        "ultrafast" | "superfast" => "7",
        "veryfast" | "faster" | "fast" => "5",
        "medium" => "4",
        "slow" => "2",
        _ => "1",
    }
}

fn openh264_complexity(preset: &str) -> &'static str {
    match preset {
        "medium" => "medium",
        "slow" | "slower" | "veryslow" | "placebo" => "high",
        _ => "low",
    }
}

#[cfg(test)]
mod tests {
    use super::super::backend::Backend;
    use super::*;

    fn line(element: &str) -> String {
        with(element, &Tuning::default())
    }

    fn with(element: &str, tuning: &Tuning) -> String {
        let ask = Ask { bitrate: 2_500_000, preset: "veryfast", threads: 2, tuning };
        let settings = Backend::of(element).unwrap().settings(&ask);
        let settings: Vec<_> = settings.iter().map(|(name, value)| format!("{name}={value}")).collect();
        settings.join(" ")
    }

    #[test]
    fn a_quality_has_the_bit_rate_as_its_bound() {
        let quality = Tuning { crf: Some(23), ..Tuning::default() };
        let settings = with("x264enc", &quality);
        assert!(settings.starts_with("bitrate=2500 ") && settings.contains(" pass=qual "), "{settings}");
        assert!(settings.ends_with(" quantizer=23"), "{settings}");
        assert_eq!(with("vah264enc", &quality), line("vah264enc"));
        assert!(with("x265enc", &quality).ends_with(":vbv-maxrate=2500:vbv-bufsize=2500:pools=2:crf=23"));
        let capped = Tuning { max_bitrate: Some(4_000_000), buffer_ms: Some(500), ..quality };
        let settings = with("x264enc", &capped);
        assert!(settings.starts_with("bitrate=4000 ") && settings.contains("capacity=500 "), "{settings}");
    }

    #[test]
    fn a_rate_varies_below_the_greatest() {
        let varies = Tuning { max_bitrate: Some(4_000_000), buffer_ms: Some(1500), ..Tuning::default() };
        for (element, has) in [
            ("nvcudah264enc", "rate-control=vbr rc-mode=vbr vbv-buffer-size=6000"),
            ("nvcudah264enc", "max-bitrate=4000"),
            ("nvh264enc", "rc-mode=vbr vbv-buffer-size=6000"),
            ("vah265enc", "rate-control=vbr cpb-size=6000"),
            ("vah265enc", "target-percentage=62"),
            ("qsvav1enc", "rate-control=vbr"),
            ("qsvav1enc", "max-bitrate=4000"),
            ("v4l2h264enc", "video_bitrate_mode=0,video_bitrate=2500000,video_bitrate_peak=4000000"),
            ("openh264enc", "max-bitrate=4000000"),
            ("x265enc", ":vbv-maxrate=4000:vbv-bufsize=6000:"),
            ("svtav1enc", "rc=1:pred-struct=1:scd=0:lp=2:mbr=4000"),
            ("x264enc", "bitrate=2500 "),
        ] {
            let settings = with(element, &varies);
            assert!(settings.contains(has), "{element}: {settings}");
        }
    }

    #[test]
    fn frames_wait_for_others_where_that_is_wished() {
        let waits = Tuning { b_frames: 2, lookahead: 20, ..Tuning::default() };
        for (element, has, not) in [
            ("nvcudah264enc", "tune=high-quality", "low-latency"),
            ("nvcudah264enc", "b-frames=2 bframes=2 zero-reorder-delay=false rc-lookahead=20", "=true"),
            (
                "nvh264enc",
                "preset=hq gop-size=-1 bframes=2 zerolatency=false aud=false rc-lookahead=20",
                "low",
            ),
            ("vah264enc", "b-frames=2", "b-frames=0"),
            ("qsvh264enc", "b-frames=2 low-latency=false", "true"),
            ("v4l2h264enc", "video_b_frames=2", "peak"),
            (
                "x264enc",
                "bframes=2 aud=false key-int-max=1073741823 option-string=scenecut=0 threads=2 rc-lookahead=20 \
                 sync-lookahead=0 sliced-threads=true",
                "zerolatency",
            ),
            ("x265enc", "bframes=2:open-gop=0", "zerolatency"),
            ("x265enc", ":rc-lookahead=20:frame-threads=1", "b-adapt"),
            ("svtav1enc", ":pred-struct=2:scd=0:lp=2:lookahead=20", "pred-struct=1"),
        ] {
            let settings = with(element, &waits);
            assert!(settings.contains(has) && !settings.contains(not), "{element}: {settings}");
        }
    }

    #[test]
    fn what_the_pictures_are_like_is_told_to_those_that_know_it() {
        let of = |element: &str, tune: &str| {
            with(element, &Tuning { tune: Some(tune.to_owned()), ..Tuning::default() })
        };
        assert!(
            of("x264enc", "film").contains("tune=zerolatency ") && of("x264enc", "film").ends_with("=film")
        );
        assert!(of("x264enc", "stillimage").contains("tune=stillimage+zerolatency "));
        assert_eq!(of("x264enc", "zerolatency"), line("x264enc"));
        let grain = of("x265enc", "grain");
        assert!(
            grain.contains("tune=grain")
                && grain.ends_with(":rc-lookahead=0:frame-threads=1:b-adapt=0:cutree=0")
        );
        assert_eq!(of("vah264enc", "film"), line("vah264enc"));
    }

    #[test]
    fn each_kind_is_told_in_its_own_words() {
        for (element, expected) in [
            (
                "nvcudah264enc",
                "bitrate=2500 rate-control=cbr rc-mode=cbr vbv-buffer-size=2500 preset=p4 tune=low-latency \
                 multi-pass=disabled gop-size=-1 b-frames=0 bframes=0 zero-reorder-delay=true rc-lookahead=0 aud=false",
            ),
            (
                "nvh264enc",
                "bitrate=2500 rc-mode=cbr vbv-buffer-size=2500 preset=low-latency-hq gop-size=-1 bframes=0 \
                 zerolatency=true aud=false",
            ),
            (
                "vah264enc",
                "bitrate=2500 rate-control=cbr cpb-size=2500 target-usage=5 key-int-max=1024 b-frames=0 aud=false",
            ),
            (
                "qsvh265enc",
                "bitrate=2500 rate-control=cbr target-usage=5 gop-size=0 b-frames=0 low-latency=true",
            ),
            ("v4l2h264enc", "extra-controls=controls,video_bitrate_mode=1,video_bitrate=2500000"),
            (
                "x264enc",
                "bitrate=2500 speed-preset=veryfast tune=zerolatency pass=cbr vbv-buf-capacity=1000 bframes=0 \
                 aud=false key-int-max=1073741823 option-string=scenecut=0 threads=2",
            ),
            (
                "openh264enc",
                "bitrate=2500000 rate-control=bitrate complexity=low gop-size=1073741823 \
                 scene-change-detection=false multi-thread=2",
            ),
            (
                "x265enc",
                "bitrate=2500 speed-preset=veryfast tune=zerolatency key-int-max=1073741823 log-level=error \
                 option-string=scenecut=0:bframes=0:open-gop=0:vbv-maxrate=2500:vbv-bufsize=2500:pools=2",
            ),
            (
                "svtav1enc",
                "target-bitrate=2500 preset=10 intra-period-length=-1 parameters-string=rc=2:pred-struct=1:scd=0:lp=2",
            ),
            (
                "av1enc",
                "target-bitrate=2500 usage-profile=realtime end-usage=cbr cpu-used=8 lag-in-frames=0 min-quantizer=4 max-quantizer=60 \
                 keyframe-max-dist=1073741823 row-mt=true threads=2",
            ),
        ] {
            assert_eq!(line(element), expected, "{element}");
        }
    }
}
