//! STUN (RFC 8489), as far as a port that many sessions share has to read it: whose a message is, and what it answers.
//! Whether it is true, its integrity says, which only the session can check.

use core::str;

/// RFC 8489 5: the header before the attributes.
const HEADER: usize = 20;
const MAGIC: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
/// RFC 8489 18.3.1.
const USERNAME: u16 = 0x0006;
const BINDING_REQUEST: u16 = 0x0001;
const BINDING_SUCCESS: u16 = 0x0101;

/// RFC 8489 5: chosen by who asks, and given back by who answers.
pub type Transaction = [u8; 12];

/// What a STUN message is to a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stun<'a> {
    /// A check of a path, for the session with this ICE user name fragment (RFC 8445 7.2.2: the part before the colon).
    Request {
        /// Ours, as the peer read it in our answer.
        ufrag: &'a str,
        /// The check's.
        transaction: Transaction,
    },
    /// An answer to a check of ours.
    Success(Transaction),
    /// Anything else: indications, errors, requests without a user.
    Other,
}

/// RFC 7983: the first byte of a datagram says whether it is STUN.
pub fn is_stun(datagram: &[u8]) -> bool {
    datagram.first().is_some_and(|first| *first < 4)
}

fn pair(bytes: &[u8], at: usize) -> Option<u16> {
    let pair = bytes.get(at..at.checked_add(2)?)?;
    pair.try_into().ok().map(u16::from_be_bytes)
}

/// Reads a message. None: it is none.
pub fn read(datagram: &[u8]) -> Option<Stun<'_>> {
    let kind = pair(datagram, 0)?;
    let length = usize::from(pair(datagram, 2)?);
    if kind & 0xc000 != 0 || datagram.get(4..8)? != MAGIC || length & 3 != 0 {
        return None;
    }
    let transaction = datagram.get(8..HEADER)?.try_into().ok()?;
    let mut attributes = datagram.get(HEADER..HEADER.checked_add(length)?)?;
    match kind {
        BINDING_SUCCESS => return Some(Stun::Success(transaction)),
        BINDING_REQUEST => {}
        _ => return Some(Stun::Other),
    }
    while let (Some(kind), Some(length)) = (pair(attributes, 0), pair(attributes, 2)) {
        let length = usize::from(length);
        let Some(value) = attributes.get(4..length.saturating_add(4)) else { break };
        if kind == USERNAME {
            let name = str::from_utf8(value).ok();
            let ufrag = name.and_then(|name| name.split_once(':')).map(|(ours, _)| ours);
            return Some(ufrag.map_or(Stun::Other, |ufrag| Stun::Request { ufrag, transaction }));
        }
        let whole = length.next_multiple_of(4).saturating_add(4);
        attributes = attributes.get(whole..).unwrap_or_default();
    }
    Some(Stun::Other)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(kind: u16, attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut body = Vec::new();
        for (kind, value) in attributes {
            body.extend(kind.to_be_bytes());
            body.extend((value.len() as u16).to_be_bytes());
            body.extend(*value);
            body.resize(body.len().next_multiple_of(4), 0);
        }
        let mut message = kind.to_be_bytes().to_vec();
        message.extend((body.len() as u16).to_be_bytes());
        message.extend(MAGIC);
        message.extend([7; 12]);
        message.extend(body);
        message
    }

    #[test]
    fn a_request_names_its_session() {
        let request = message(BINDING_REQUEST, &[(0x8022, b"agent"), (USERNAME, b"ours:theirs")]);
        assert!(is_stun(&request));
        assert_eq!(read(&request), Some(Stun::Request { ufrag: "ours", transaction: [7; 12] }));
        assert_eq!(read(&message(BINDING_REQUEST, &[(USERNAME, b"nobody")])), Some(Stun::Other));
        assert_eq!(read(&message(BINDING_REQUEST, &[])), Some(Stun::Other));
    }

    #[test]
    fn an_answer_says_to_which_check() {
        assert_eq!(read(&message(BINDING_SUCCESS, &[])), Some(Stun::Success([7; 12])));
        assert_eq!(read(&message(0x0111, &[])), Some(Stun::Other));
    }

    #[test]
    fn what_is_no_stun_is_none() {
        assert!(!is_stun(&[0x80, 0x60]) && !is_stun(&[22, 254, 253]));
        assert_eq!(read(&[]), None);
        assert_eq!(read(&message(0x8001, &[])), None);
        let mut cut = message(BINDING_REQUEST, &[(USERNAME, b"ours:theirs")]);
        cut.pop();
        assert_eq!(read(&cut), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_to_an_end(bytes in prop::collection::vec(any::<u8>(), 0..120), kind in any::<u16>()) {
            read(&bytes);
            let mut headed = message(kind & 0x3fff, &[]);
            let length = bytes.len() & !3;
            headed.extend(&bytes[..length]);
            headed[2..4].copy_from_slice(&(length as u16).to_be_bytes());
            prop_assert!(read(&headed).is_some());
        }
    }
}
