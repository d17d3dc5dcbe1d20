//! EXT-X-DATERANGE (rfc8216bis 4.4.5.1): what was said at a time of the stream.

use std::fmt::Write;

use bytes::Bytes;

use super::date::append_date;
use crate::time::Timestamp;

/// Longest text of an attribute; the rest is cut.
const LONGEST: usize = 256;
/// Every viewer gets the line with every playlist: beyond this it takes no further attribute, in bytes.
const LONGEST_LINE: usize = 2048;
/// Longest octets of an attribute.
const MOST_OCTETS: usize = 768;
/// Attributes of splices (SCTE 35).
const SPLICES: [&str; 3] = ["SCTE35-CMD", "SCTE35-OUT", "SCTE35-IN"];
/// Most attributes of one range.
const MOST: usize = 32;

/// What an attribute says.
#[derive(Clone, Debug, PartialEq)]
pub enum Field {
    /// Words.
    Text(String),
    /// A number.
    Number(f64),
    /// Octets, written as a hexadecimal sequence; none where there are too many.
    Octets(Bytes),
}

/// One range, its line written once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DateRange {
    start: Timestamp,
    class: String,
    lasting: bool,
    line: String,
}

impl DateRange {
    /// `id` is never used again in the stream. `lasting`: it holds until the next of its class; otherwise it is a moment.
    /// `fields` become client attributes, `X-NAME`, with what a playlist cannot carry left out.
    pub fn new(
        id: &str,
        class: &str,
        start: Timestamp,
        wall_zero_ms: i64,
        lasting: bool,
        fields: &[(String, Field)],
    ) -> Self {
        let mut line = String::with_capacity(256);
        line.push_str("#EXT-X-DATERANGE:ID=");
        append_quoted(&mut line, id);
        line.push_str(",CLASS=");
        append_quoted(&mut line, class);
        line.push_str(",START-DATE=\"");
        append_date(&mut line, wall_zero_ms.saturating_add(start.since_zero().millis()));
        line.push_str(if lasting { "\",END-ON-NEXT=YES" } else { "\",DURATION=0" });
        let mut known: Vec<String> = Vec::new();
        for (name, field) in fields {
            let name = attribute(name);
            if known.len() >= MOST || line.len() >= LONGEST_LINE {
                break;
            }
            if name.is_empty() || known.contains(&name) {
                continue;
            }
            if matches!(field, Field::Octets(octets) if octets.is_empty() || octets.len() > MOST_OCTETS) {
                continue;
            }
            // Those of splices are the playlist's own (4.4.5.1).
            line.push_str(if SPLICES.contains(&name.as_str()) { "," } else { ",X-" });
            line.push_str(&name);
            line.push('=');
            match field {
                Field::Text(text) => append_quoted(&mut line, text),
                // A decimal has no sign; writing to a String cannot fail.
                Field::Number(number) if number.is_finite() && (0.0..1e15).contains(number) => {
                    let _infallible = write!(line, "{number}");
                }
                Field::Octets(octets) => {
                    line.push_str("0x");
                    for octet in octets {
                        let _infallible = write!(line, "{octet:02X}");
                    }
                }
                Field::Number(number) => append_quoted(&mut line, &number.to_string()),
            }
            known.push(name);
        }
        line.push('\n');
        Self { start, class: class.to_owned(), lasting, line }
    }

    /// When it begins.
    pub fn start(&self) -> Timestamp {
        self.start
    }

    /// It holds until `next`.
    pub fn ends_with(&self, next: &Self) -> bool {
        self.lasting && next.lasting && self.class == next.class
    }

    /// Until the next of its class.
    pub fn is_lasting(&self) -> bool {
        self.lasting
    }

    pub(super) fn line(&self) -> &str {
        &self.line
    }
}

/// A name of capitals, digits and hyphens.
fn attribute(name: &str) -> String {
    let name = name.chars().take(64).map(|c| if c == '_' || c == '.' { '-' } else { c.to_ascii_uppercase() });
    name.filter(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || *c == '-').collect()
}

/// A quoted string has no quotes and no line breaks in it.
fn append_quoted(out: &mut String, text: &str) {
    out.push('"');
    out.extend(text.chars().take(LONGEST).filter(|c| *c != '"' && !c.is_control()));
    out.push('"');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_an_encoder_says_becomes_attributes() {
        let fields = [
            ("encoder".to_owned(), Field::Text("obs \"29\"\n#EXTINF:1".into())),
            ("video_data.rate".to_owned(), Field::Number(2500.5)),
            ("offset".to_owned(), Field::Number(-1.0)),
            ("ENCODER".to_owned(), Field::Text("twice".into())),
            ("ä".to_owned(), Field::Text("no name is left".into())),
        ];
        let at = Timestamp::from_ticks(1500, 1000);
        let range = DateRange::new("e-m1", "urn:weir:rtmp:onMetaData", at, 1_795_204_800_000, true, &fields);
        assert_eq!(
            range.line(),
            "#EXT-X-DATERANGE:ID=\"e-m1\",CLASS=\"urn:weir:rtmp:onMetaData\",\
             START-DATE=\"2026-11-20T20:00:01.500Z\",END-ON-NEXT=YES,X-ENCODER=\"obs 29#EXTINF:1\",\
             X-VIDEO-DATA-RATE=2500.5,X-OFFSET=\"-1\"\n"
        );
        let octets = |length| Field::Octets(Bytes::from(vec![0xfc; length]));
        let splice = [
            ("SCTE35-OUT".to_owned(), octets(2)),
            ("ID3".to_owned(), octets(1)),
            ("KLV".to_owned(), octets(9999)),
        ];
        let line = DateRange::new("e-m3", "urn:x", at, 0, false, &splice).line;
        assert!(line.ends_with(",DURATION=0,SCTE35-OUT=0xFCFC,X-ID3=0xFC\n"), "{line}");
        let moment = DateRange::new("e-m2", "urn:x", at, 0, false, &[]);
        assert!(moment.line().contains(",DURATION=0"));
        assert!(!moment.ends_with(&range) && range.ends_with(&range));
    }

    proptest! {
        #[test]
        fn no_text_breaks_out_of_its_line(name in any::<String>(), text in any::<String>(), number in any::<f64>()) {
            let fields = [(name.clone(), Field::Text(text.clone())), ("n".into(), Field::Number(number))];
            let range = DateRange::new(&text, &name, Timestamp::ZERO, 0, false, &fields);
            prop_assert_eq!(range.line().matches(['\n', '\r']).count(), 1);
            prop_assert_eq!(range.line().matches('"').count() % 2, 0);
        }
    }
}
