//! What a transport stream says beside its media, as timed metadata: splice information (SCTE 35), ID3 tags, KLV.

use bytes::Bytes;
use media::Timestamp;
use media::playlist::Field;
use wire::ts::{Splice, SpliceCommand};

use crate::live::Timed;

/// A splice information section that asks for something; `place` says where on the timeline a time of the stream lies,
/// and where one is that is not said. Players know the attributes (rfc8216bis 4.4.5.1).
pub(super) fn splice(section: &Bytes, place: impl Fn(Option<u64>) -> Timestamp) -> Option<Timed> {
    let splice = Splice::parse(section)?;
    let name = match splice.command {
        SpliceCommand::Out => "SCTE35-OUT",
        SpliceCommand::In => "SCTE35-IN",
        SpliceCommand::Other => "SCTE35-CMD",
    };
    let fields = vec![(name.to_owned(), Field::Octets(section.clone()))];
    Some(Timed { at: place(splice.at), class: "urn:scte:scte35:2013:bin".into(), lasting: false, fields })
}

/// An ID3 tag, as its octets.
pub(super) fn id3(data: Bytes, at: Timestamp) -> Option<Timed> {
    data.starts_with(b"ID3").then(|| moment("urn:weir:ts:id3", "ID3", data, at))
}

/// A packet of KLV, as its octets.
pub(super) fn klv(data: Bytes, at: Timestamp) -> Option<Timed> {
    // Synchronous KLV has a header of five octets before the universal key (MISB ST 1402).
    let key = [0x06, 0x0e, 0x2b, 0x34];
    let data = if data.starts_with(&key) { data } else { data.get(5..).map(|_| data.slice(5..))? };
    data.starts_with(&key).then(|| moment("urn:weir:ts:klv", "KLV", data, at))
}

fn moment(class: &str, name: &str, data: Bytes, at: Timestamp) -> Timed {
    let fields = vec![(name.to_owned(), Field::Octets(data))];
    Timed { at, class: class.to_owned(), lasting: false, fields }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_a_moment_with_its_octets() {
        let at = Timestamp::from_ticks(7, 1);
        let tag = Bytes::from_static(b"ID3\x04rest");
        assert_eq!(id3(tag.clone(), at).unwrap().fields, [("ID3".to_owned(), Field::Octets(tag))]);
        assert!(id3(Bytes::from_static(b"TAG"), at).is_none());
        let plain = Bytes::from_static(b"\x06\x0e\x2b\x34rest");
        let headed = Bytes::from_static(b"\x00\x01\xdf\x00\x08\x06\x0e\x2b\x34rest");
        assert_eq!(klv(headed, at), klv(plain, at));
        assert!(klv(Bytes::from_static(b"nothing of the kind"), at).is_none());
        let section: Vec<u8> =
            [0xfc, 0x30, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xf0, 5, 6, 0xfe, 0, 1, 0x5f, 0x90].into();
        let timed = splice(&section.into(), |when| {
            assert_eq!(when, Some(90_000));
            at
        });
        assert_eq!(timed.map(|timed| (timed.at, timed.fields[0].0.clone())), Some((at, "SCTE35-CMD".into())));
    }
}
