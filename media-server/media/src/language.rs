//! Languages of sound: from the codes of transport streams (ISO 639-2) to the tags of playlists (RFC 5646).

use isolang::Language as Known;

/// Bibliographic codes that differ from the terminological ones (ISO 639-2, table of both).
const BIBLIOGRAPHIC: [(&str, &str); 20] = [
    ("alb", "sqi"),
    ("arm", "hye"),
    ("baq", "eus"),
    ("bur", "mya"),
    ("chi", "zho"),
    ("cze", "ces"),
    ("dut", "nld"),
    ("fre", "fra"),
    ("geo", "kat"),
    ("ger", "deu"),
    ("gre", "ell"),
    ("ice", "isl"),
    ("mac", "mkd"),
    ("mao", "mri"),
    ("may", "msa"),
    ("per", "fas"),
    ("rum", "ron"),
    ("slo", "slk"),
    ("tib", "bod"),
    ("wel", "cym"),
];

/// A language that has a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Language(Known);

impl Language {
    /// Of an `ISO_639_language_code` (ISO/IEC 13818-1 2.6.18). None where it names none: `und`, or what is no code.
    pub fn from_iso639_2(code: [u8; 3]) -> Option<Self> {
        let code = code.map(|byte| byte.to_ascii_lowercase());
        let code = core::str::from_utf8(&code).ok()?;
        let code = BIBLIOGRAPHIC.iter().find(|(from, _)| *from == code).map_or(code, |(_, to)| *to);
        let known = Known::from_639_3(code)?;
        (!["und", "mul", "zxx", "mis"].contains(&code)).then_some(Self(known))
    }

    /// Its shortest code, as RFC 5646 wants it.
    pub fn tag(self) -> &'static str {
        self.0.to_639_1().unwrap_or_else(|| self.0.to_639_3())
    }

    /// Its terminological code of three letters, for transport streams.
    pub fn iso639_2(self) -> [u8; 3] {
        self.0.to_639_3().as_bytes().first_chunk().copied().unwrap_or(*b"und")
    }

    /// Its English name.
    pub fn name(self) -> &'static str {
        self.0.to_name()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_become_the_shortest_tags() {
        let tag = |code| Language::from_iso639_2(code).map(Language::tag);
        assert_eq!(tag(*b"eng"), Some("en"));
        assert_eq!(tag(*b"ger"), Some("de"));
        assert_eq!(tag(*b"DEU"), Some("de"));
        assert_eq!(tag(*b"haw"), Some("haw"));
        assert_eq!(tag(*b"und"), None);
        assert_eq!(tag([0xff, 0, 7]), None);
        assert_eq!(Language::from_iso639_2(*b"fre").map(Language::iso639_2), Some(*b"fra"));
    }

    #[test]
    fn every_bibliographic_code_names_a_language() {
        for (from, _) in BIBLIOGRAPHIC {
            let code = *from.as_bytes().first_chunk().unwrap();
            assert!(
                Language::from_iso639_2(code).is_some_and(|language| !language.name().is_empty()),
                "{from}"
            );
        }
    }
}
