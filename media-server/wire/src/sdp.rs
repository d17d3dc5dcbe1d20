//! What WHIP and WHEP do with a session description (RFC 8866) or a fragment of one (RFC 8840), beyond its negotiation: the
//! lines of ICE in it.

use core::fmt::Write as _;

/// A description or fragment beyond this is refused before it is read.
pub const LONGEST: usize = 64 << 10;

/// Parameter sets that are taken from an offer.
const MOST_SETS: usize = 16;

/// ICE credentials (RFC 8839 5.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// User name fragment.
    pub ufrag: String,
    /// Password.
    pub password: String,
}

fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.split('\n').map(|line| line.trim_end_matches('\r')).filter(|line| !line.is_empty())
}

/// RFC 8839 5.4: letters, digits, `+` and `/`.
fn is_ice(text: &str, least: usize) -> bool {
    let sane = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/');
    (least..=256).contains(&text.len()) && text.chars().all(sane)
}

impl Credentials {
    /// The first ones that are named.
    pub fn of(text: &str) -> Option<Self> {
        let find = |name: &str, least| {
            let found = lines(text).find_map(|line| line.strip_prefix("a=")?.strip_prefix(name));
            found.filter(|value| is_ice(value, least)).map(str::to_owned)
        };
        Some(Self { ufrag: find("ice-ufrag:", 4)?, password: find("ice-pwd:", 22)? })
    }
}

fn without(text: &str, names: &[&str]) -> String {
    let mut out = String::with_capacity(text.len());
    for line in lines(text) {
        let named =
            line.strip_prefix("a=").is_some_and(|line| names.iter().any(|name| line.starts_with(name)));
        if !named {
            out.push_str(line);
            out.push_str("\r\n");
        }
    }
    out
}

/// An offer without its candidates: the server has an address that everybody reaches, and sends nothing to where nothing
/// came from.
pub fn without_candidates(offer: &str) -> String {
    without(offer, &["candidate:", "end-of-candidates", "remote-candidates:"])
}

/// An offer as it would be with other credentials: that is how a session is told of an ICE restart.
pub fn with_credentials(offer: &str, credentials: &Credentials) -> String {
    let mut out = String::with_capacity(offer.len());
    for line in lines(offer) {
        if line.starts_with("a=ice-ufrag:") {
            out.push_str("a=ice-ufrag:");
            out.push_str(&credentials.ufrag);
        } else if line.starts_with("a=ice-pwd:") {
            out.push_str("a=ice-pwd:");
            out.push_str(&credentials.password);
        } else {
            out.push_str(line);
        }
        out.push_str("\r\n");
    }
    out
}

/// An answer with these candidates in place of its own, in its first media section, which all others are bundled with.
pub fn with_candidates(answer: &str, candidates: &[String]) -> String {
    let mut out = String::with_capacity(answer.len());
    let (mut sections, mut done) = (0_usize, false);
    let give = |out: &mut String| {
        for candidate in candidates {
            out.push_str("a=");
            out.push_str(candidate);
            out.push_str("\r\n");
        }
        out.push_str("a=end-of-candidates\r\n");
    };
    for line in lines(&without_candidates(answer)) {
        if line.starts_with("m=") {
            if sections == 1 {
                give(&mut out);
                done = true;
            }
            sections = sections.saturating_add(1);
        }
        out.push_str(line);
        out.push_str("\r\n");
    }
    if sections > 0 && !done {
        give(&mut out);
    }
    out
}

/// An answer whose sections prefer everything to these codecs: senders take the first that they can.
pub fn with_last(answer: &str, codecs: &[&str]) -> String {
    let is_last = |encoding: &str| codecs.iter().any(|codec| encoding.eq_ignore_ascii_case(codec));
    let mappings = lines(answer).filter_map(|line| line.strip_prefix("a=rtpmap:")?.split_once(' '));
    let named = mappings.filter_map(|(number, mapping)| Some((number, mapping.split_once('/')?.0)));
    let last: Vec<&str> = named.filter(|(_, encoding)| is_last(encoding)).map(|(number, _)| number).collect();
    let mut out = String::with_capacity(answer.len());
    for line in lines(answer) {
        let mut words = line.split(' ');
        if line.starts_with("m=") {
            // Kind, port and protocol stand before the payload types.
            let head: Vec<&str> = words.by_ref().take(3).collect();
            let (after, before): (Vec<&str>, Vec<&str>) = words.partition(|number| last.contains(number));
            out.push_str(&[head, before, after].concat().join(" "));
        } else {
            out.push_str(line);
        }
        out.push_str("\r\n");
    }
    out
}

/// The kind of a media section that an answer refuses (RFC 3264 6: its port is zero), the first.
pub fn refused(answer: &str) -> Option<&str> {
    let sections = lines(answer).filter_map(|line| line.strip_prefix("m="));
    sections
        .filter_map(|section| section.split_once(' '))
        .find(|(_, rest)| rest.starts_with("0 "))
        .map(|it| it.0)
}

/// Parameter sets of H.264 that an offer names (RFC 6184 8.1, `sprop-parameter-sets`), in base64 each: some encoders send them
/// nowhere else.
pub fn parameter_sets(offer: &str) -> impl Iterator<Item = &str> {
    let formats = lines(offer).filter_map(|line| line.strip_prefix("a=fmtp:")?.split_once(' '));
    let parameters = formats.flat_map(|(_, parameters)| parameters.split(';'));
    let named = parameters.filter_map(|it| it.trim().strip_prefix("sprop-parameter-sets="));
    named.flat_map(|sets| sets.split(',')).filter(|set| !set.is_empty()).take(MOST_SETS)
}

/// Layers of simulcast that an offer sends (RFC 8853 5.1); 1 where it is one picture.
pub fn layers(offer: &str) -> usize {
    let sent =
        lines(offer).find_map(|line| line.strip_prefix("a=simulcast:")?.split_once("send ")).map(|it| it.1);
    let list = sent.and_then(|sent| sent.split(' ').next()).unwrap_or_default();
    list.split(';').count()
}

/// The fragment that answers an ICE restart (RFC 9725 4.3.3): credentials and candidates of an answer, by its first media
/// section.
pub fn fragment(answer: &str) -> Option<String> {
    let credentials = Credentials::of(answer)?;
    let mut out = String::new();
    let Credentials { ufrag, password } = credentials;
    // Writing to a string cannot fail.
    write!(out, "a=ice-ufrag:{ufrag}\r\na=ice-pwd:{password}\r\n").ok()?;
    let media = lines(answer).find(|line| line.starts_with("m="))?;
    write!(out, "{media}\r\n").ok()?;
    let of_section = lines(answer).skip_while(|line| !line.starts_with("m=")).skip(1);
    for line in of_section.take_while(|line| !line.starts_with("m=")) {
        let kept = ["a=mid:", "a=candidate:", "a=end-of-candidates"];
        if kept.iter().any(|name| line.starts_with(name)) {
            write!(out, "{line}\r\n").ok()?;
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn codecs_that_are_dear_come_last() {
        let answer = "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=rtpmap:111 opus/48000/2\r\n\
            m=video 9 UDP/TLS/RTP/SAVPF 96 97 98 102\r\na=rtpmap:96 VP8/90000\r\na=rtpmap:97 rtx/90000\r\n\
            a=rtpmap:98 vp9/90000\r\na=rtpmap:102 H264/90000\r\n";
        let ordered = with_last(answer, &["VP8", "VP9"]);
        assert_eq!(ordered, answer.replace("96 97 98 102", "97 102 96 98"));
        assert_eq!(with_last(&ordered, &["VP8", "VP9"]), ordered);
    }

    const OFFER: &str = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\n\
        m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\n\
        a=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\na=end-of-candidates\r\n\
        m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:1\r\na=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\n";

    #[test]
    fn credentials_are_found_and_replaced() {
        let found = Credentials::of(OFFER).unwrap();
        assert_eq!((found.ufrag.as_str(), found.password.len()), ("abcd", 22));
        let other = Credentials { ufrag: "wxyz".into(), password: "a".repeat(22) };
        let restarted = with_credentials(OFFER, &other);
        assert_eq!(Credentials::of(&restarted), Some(other));
        assert_eq!(restarted.matches("a=ice-ufrag:wxyz\r\n").count(), 2);
        assert_eq!(Credentials::of("a=ice-ufrag:abcd\r\na=ice-pwd:short\r\n"), None);
        assert_eq!(Credentials::of("a=ice-ufrag:ab\"d\r\na=ice-pwd:0123456789012345678901\r\n"), None);
    }

    #[test]
    fn candidates_are_ours_alone() {
        assert!(!without_candidates(OFFER).contains("candidate"));
        let answer = with_candidates(OFFER, &["candidate:x".into(), "candidate:y".into()]);
        let place = answer.find("a=candidate:x\r\na=candidate:y\r\na=end-of-candidates\r\n").unwrap();
        assert!(place > answer.find("a=mid:0").unwrap() && place < answer.find("m=video").unwrap());
        assert_eq!(answer.matches("candidate:").count(), 2);
    }

    #[test]
    fn parameter_sets_are_found() {
        let line = "a=fmtp:96 packetization-mode=1;sprop-parameter-sets=Z0LAHw==,aM48gA==;profile-level-id=42c01f\r\n";
        assert_eq!(parameter_sets(&format!("{OFFER}{line}")).collect::<Vec<_>>(), ["Z0LAHw==", "aM48gA=="]);
        assert_eq!(parameter_sets(OFFER).count(), 0);
    }

    #[test]
    fn layers_of_an_offer_are_counted() {
        assert_eq!(layers(OFFER), 1);
        assert_eq!(layers(&format!("{OFFER}a=simulcast:send q;h;f\r\n")), 3);
        assert_eq!(layers(&format!("{OFFER}a=simulcast:recv x send 1,2;~3 \r\n")), 2);
    }

    #[test]
    fn what_an_answer_refuses_is_told() {
        assert_eq!(refused(OFFER), None);
        assert_eq!(refused(&OFFER.replace("m=video 9", "m=video 0")), Some("video"));
    }

    #[test]
    fn a_restart_is_answered_by_a_fragment() {
        let fragment = fragment(OFFER).unwrap();
        assert!(fragment.starts_with("a=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\nm=audio 9 "));
        assert!(fragment.contains("a=mid:0\r\na=candidate:1 "));
        assert!(!fragment.contains("a=mid:1"));
    }

    proptest! {
        #[test]
        fn any_text_is_taken(text in "(?s).{0,300}", lines in prop::collection::vec("(m=|a=candidate:|a=ice-ufrag:|a=mid:)?[a-z0-9 ]{0,30}", 0..12)) {
            let text = format!("{text}\n{}", lines.join("\r\n"));
            let stripped = without_candidates(&text);
            prop_assert!(!stripped.contains("\na=candidate:") && !stripped.starts_with("a=candidate:"));
            let ours = with_candidates(&text, &["candidate:ours".to_owned()]);
            prop_assert!(ours.matches("\na=candidate:").count() <= 1);
            fragment(&text);
            with_last(&text, &["VP8"]);
            prop_assert!(layers(&text) >= 1);
            Credentials::of(&text);
            refused(&text);
            parameter_sets(&text).count();
        }
    }
}
