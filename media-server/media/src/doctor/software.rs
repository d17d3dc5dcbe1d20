//! Which software publishes.

/// Software whose settings the doctor knows by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Software {
    /// OBS Studio, and what is built on it (Streamlabs).
    Obs,
    /// ffmpeg, and programs that write with its libraries.
    Ffmpeg,
    /// GStreamer.
    GStreamer,
    /// vMix.
    Vmix,
    /// Telestream Wirecast.
    Wirecast,
    /// Larix Broadcaster.
    Larix,
    /// XSplit Broadcaster.
    Xsplit,
    /// A hardware encoder.
    Hardware,
    /// A web page.
    Browser,
    /// Anything else.
    Unknown,
}

/// What the names contain, in lower case; the first that fits wins.
const NAMES: [(&str, Software); 30] = [
    ("obs-output", Software::Obs),
    ("libobs", Software::Obs),
    ("obs studio", Software::Obs),
    ("obs-studio", Software::Obs),
    ("streamlabs", Software::Obs),
    ("vmix", Software::Vmix),
    ("wirecast", Software::Wirecast),
    ("larix", Software::Larix),
    ("xsplit", Software::Xsplit),
    ("gstreamer", Software::GStreamer),
    ("teradek", Software::Hardware),
    ("elemental", Software::Hardware),
    ("haivision", Software::Hardware),
    ("makito", Software::Hardware),
    ("kulabyte", Software::Hardware),
    ("epiphan", Software::Hardware),
    ("pearl", Software::Hardware),
    ("liveu", Software::Hardware),
    ("magewell", Software::Hardware),
    ("ultrastream", Software::Hardware),
    ("kiloview", Software::Hardware),
    ("boxcast", Software::Hardware),
    ("atem", Software::Hardware),
    ("blackmagic", Software::Hardware),
    ("aja helo", Software::Hardware),
    ("matrox", Software::Hardware),
    ("lavf", Software::Ffmpeg),
    ("ffmpeg", Software::Ffmpeg),
    // GStreamer's rtmp2sink.
    ("lnx 10,0,32,18", Software::GStreamer),
    ("mozilla/5.0", Software::Browser),
];
/// What OBS says on the wire before it has sent its metadata; others that use librtmp say the same.
const LIBRTMP: &str = "fmle/3.0 (compatible; fmsc/1.0)";
/// Names are not looked through beyond this.
const LONGEST: usize = 256;

impl Software {
    /// From the `encoder` of the stream's metadata and the agent of the connection; the first says more.
    pub fn recognize(encoder: &str, agent: &str) -> Self {
        let known = |name: &str| {
            let name: String = name.chars().take(LONGEST).collect::<String>().to_ascii_lowercase();
            NAMES
                .iter()
                .find(|(part, _)| name.contains(part))
                .map(|(_, software)| *software)
                .or_else(|| name.starts_with(LIBRTMP).then_some(Self::Obs))
        };
        known(encoder).or_else(|| known(agent)).unwrap_or(Self::Unknown)
    }

    /// Its name, for people; none for what is not known.
    pub fn name(self) -> Option<&'static str> {
        Some(match self {
            Self::Obs => "OBS",
            Self::Ffmpeg => "ffmpeg",
            Self::GStreamer => "GStreamer",
            Self::Vmix => "vMix",
            Self::Wirecast => "Wirecast",
            Self::Larix => "Larix",
            Self::Xsplit => "XSplit",
            Self::Browser => "browser",
            Self::Hardware => "hardware encoder",
            Self::Unknown => return None,
        })
    }
}
