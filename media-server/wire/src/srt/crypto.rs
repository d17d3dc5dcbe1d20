//! Keys and payloads (6): AES in counter mode, its keys wrapped by one that is derived from the passphrase.

use aes::cipher::{InnerIvInit as _, KeyInit as _, StreamCipher as _, StreamCipherCoreWrapper};
use aes::{Aes128, Aes192, Aes256};
use bytes::{Bytes, BytesMut};
use ctr::CtrCore;
use ctr::flavors::Ctr128BE;
use sha1::Sha1;
use zeroize::Zeroizing;

use super::packet::Key;
use super::sequence::Sequence;
use crate::cursor::Cursor;

/// Rounds of PBKDF2 (6.1.4).
const ROUNDS: u32 = 2048;
/// The first bytes of key material: version 1, packet type 2, the signature (3.2.2).
const SIGNED: [u8; 3] = [0x12, 0x20, 0x29];
/// AES in counter mode.
const CTR: u8 = 2;
/// What wrapping adds (RFC 3394).
const CHECK: usize = 8;

/// A passphrase that both sides know: 10 to 79 bytes.
#[derive(Clone)]
pub struct Passphrase(Zeroizing<String>);

impl Passphrase {
    /// None: too short or too long for SRT.
    pub fn new(text: &str) -> Option<Self> {
        (10..=79).contains(&text.len()).then(|| Self(Zeroizing::new(text.to_owned())))
    }
}

impl core::fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Passphrase")
    }
}

/// Why key material cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyError {
    /// It is none, or of a kind that nobody sends.
    Malformed,
    /// It is wrapped with another passphrase.
    BadSecret,
}

#[derive(Clone)]
enum Cipher {
    Aes128(Aes128),
    Aes192(Aes192),
    Aes256(Aes256),
}

impl Cipher {
    fn new(key: &[u8]) -> Option<Self> {
        match key.len() {
            16 => Some(Self::Aes128(Aes128::new_from_slice(key).ok()?)),
            24 => Some(Self::Aes192(Aes192::new_from_slice(key).ok()?)),
            32 => Some(Self::Aes256(Aes256::new_from_slice(key).ok()?)),
            _ => None,
        }
    }

    fn apply(&self, iv: &[u8; 16], data: &mut [u8]) {
        macro_rules! run {
            ($aes:expr) => {
                StreamCipherCoreWrapper::from_core(CtrCore::<_, Ctr128BE>::inner_iv_init($aes, iv.into()))
                    .apply_keystream(data)
            };
        }
        match self {
            Self::Aes128(aes) => run!(aes),
            Self::Aes192(aes) => run!(aes),
            Self::Aes256(aes) => run!(aes),
        }
    }
}

/// The keys of one direction. Both may be in use while one follows the other.
pub(super) struct Keys {
    passphrase: Passphrase,
    even: Option<Cipher>,
    odd: Option<Cipher>,
    salt: [u8; 16],
    /// Bytes of a key.
    length: usize,
}

impl core::fmt::Debug for Keys {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Keys").field("bits", &self.length.saturating_mul(8)).finish_non_exhaustive()
    }
}

impl Keys {
    /// Reads the key material of a handshake.
    pub(super) fn unwrap(passphrase: &Passphrase, material: &[u8]) -> Result<Self, KeyError> {
        let mut keys =
            Self { passphrase: passphrase.clone(), even: None, odd: None, salt: [0; 16], length: 0 };
        keys.refresh(material)?;
        Ok(keys)
    }

    /// Takes in key material that follows; keys that it does not name stay.
    pub(super) fn refresh(&mut self, material: &[u8]) -> Result<(), KeyError> {
        let read = Material::parse(material).ok_or(KeyError::Malformed)?;
        let plain = read.unwrap(&self.passphrase)?;
        let mut each = plain.chunks_exact(read.length);
        let mut next = || each.next().and_then(Cipher::new).ok_or(KeyError::Malformed);
        let even = if read.even { Some(next()?) } else { None };
        let odd = if read.odd { Some(next()?) } else { None };
        if read.salt != self.salt {
            // The other key's salt is gone with it.
            (self.even, self.odd) = (None, None);
        }
        self.even = even.or(self.even.take());
        self.odd = odd.or(self.odd.take());
        (self.salt, self.length) = (read.salt, read.length);
        Ok(())
    }

    /// Bits of a key.
    pub(super) fn bits(&self) -> usize {
        self.length.saturating_mul(8)
    }

    /// Decrypts a payload. None: with a key that was never told.
    pub(super) fn decrypt(&self, key: Key, sequence: Sequence, payload: Bytes) -> Option<Bytes> {
        let cipher = match key {
            Key::Even => self.even.as_ref()?,
            Key::Odd => self.odd.as_ref()?,
        };
        // In place where nobody else holds the datagram.
        let mut data = BytesMut::from(payload);
        cipher.apply(&self.iv(sequence), &mut data);
        Some(data.freeze())
    }

    /// The upper 112 bits of the salt, the packet's number over their end, and a counter of 16 bits (6.2.2).
    fn iv(&self, sequence: Sequence) -> [u8; 16] {
        let mut iv = [0; 16];
        for (at, byte) in iv.iter_mut().zip(self.salt).take(14) {
            *at = byte;
        }
        let number = sequence.number().to_be_bytes();
        iv.iter_mut().skip(10).zip(number).for_each(|(at, byte)| *at ^= byte);
        iv
    }
}

/// A key material message (3.2.2).
struct Material<'a> {
    even: bool,
    odd: bool,
    length: usize,
    salt: [u8; 16],
    wrapped: &'a [u8],
}

impl<'a> Material<'a> {
    fn parse(bytes: &'a [u8]) -> Option<Self> {
        let mut cursor = Cursor::new(bytes);
        if cursor.take(3)? != SIGNED {
            return None;
        }
        let which = cursor.u8()? & 3;
        let _key_encryption_key = cursor.u32()?;
        let (cipher, _authentication) = (cursor.u8()?, cursor.u8()?);
        let (_encapsulation, _reserved) = (cursor.u8()?, cursor.u8()?);
        let _reserved = cursor.u16()?;
        let (salt_length, length) = (cursor.u8()?, cursor.u8()?);
        let length = usize::from(length).checked_mul(4)?;
        let salt = *cursor.take(16)?.first_chunk()?;
        let count = which.count_ones() as usize;
        let wrapped = cursor.take(length.checked_mul(count)?.checked_add(CHECK)?)?;
        let sane = cipher == CTR && salt_length == 4 && matches!(length, 16 | 24 | 32) && count > 0;
        sane.then_some(Self { even: which & 1 != 0, odd: which & 2 != 0, length, salt, wrapped })
    }

    fn unwrap(&self, passphrase: &Passphrase) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let (_, half) = self.salt.split_at(8);
        let mut derived = Zeroizing::new([0_u8; 32]);
        let key = derived.get_mut(..self.length).ok_or(KeyError::Malformed)?;
        pbkdf2::pbkdf2_hmac::<Sha1>(passphrase.0.as_bytes(), half, ROUNDS, key);
        let mut plain = Zeroizing::new(vec![0; self.wrapped.len().saturating_sub(CHECK)]);
        let unwrapped = match self.length {
            16 => aes_kw::KekAes128::try_from(&*key).map(|kek| kek.unwrap(self.wrapped, &mut plain)),
            24 => aes_kw::KekAes192::try_from(&*key).map(|kek| kek.unwrap(self.wrapped, &mut plain)),
            _ => aes_kw::KekAes256::try_from(&*key).map(|kek| kek.unwrap(self.wrapped, &mut plain)),
        };
        match unwrapped {
            Ok(Ok(())) => Ok(plain),
            Ok(Err(_)) => Err(KeyError::BadSecret),
            Err(_) => Err(KeyError::Malformed),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SALT: [u8; 16] = *b"0123456789abcdef";

    /// Key material as a sender makes it: `which` is 1 for even, 2 for odd, 3 for both.
    pub(crate) fn material(passphrase: &str, which: u8, keys: &[&[u8]]) -> Vec<u8> {
        let length = keys[0].len();
        let mut derived = [0; 32];
        pbkdf2::pbkdf2_hmac::<Sha1>(passphrase.as_bytes(), &SALT[8..], ROUNDS, &mut derived[..length]);
        let plain = keys.concat();
        let mut wrapped = vec![0; plain.len() + CHECK];
        match length {
            16 => aes_kw::KekAes128::try_from(&derived[..16]).unwrap().wrap(&plain, &mut wrapped).unwrap(),
            24 => aes_kw::KekAes192::try_from(&derived[..24]).unwrap().wrap(&plain, &mut wrapped).unwrap(),
            _ => aes_kw::KekAes256::try_from(&derived[..32]).unwrap().wrap(&plain, &mut wrapped).unwrap(),
        }
        let mut out = SIGNED.to_vec();
        out.extend([which, 0, 0, 0, 0, CTR, 0, 2, 0, 0, 0, 4, (length / 4) as u8]);
        out.extend(SALT);
        out.extend(wrapped);
        out
    }

    fn passphrase() -> Passphrase {
        Passphrase::new("correct horse").unwrap()
    }

    /// Counter mode is its own inverse.
    fn encrypt(keys: &Keys, key: Key, number: u32, plain: &[u8]) -> Bytes {
        keys.decrypt(key, Sequence::new(number), Bytes::copy_from_slice(plain)).unwrap()
    }

    #[test]
    fn keys_of_every_length_come_out_as_they_went_in() {
        for length in [16, 24, 32] {
            let key = vec![7; length];
            let keys = Keys::unwrap(&passphrase(), &material("correct horse", 1, &[&key])).unwrap();
            assert_eq!(keys.bits(), length * 8);
            let secret = encrypt(&keys, Key::Even, 5, b"a transport packet");
            assert_ne!(&secret[..], b"a transport packet");
            assert_eq!(&encrypt(&keys, Key::Even, 5, &secret)[..], b"a transport packet");
            assert_ne!(
                encrypt(&keys, Key::Even, 6, b"a transport packet"),
                secret,
                "another packet, another pad"
            );
            assert!(keys.decrypt(Key::Odd, Sequence::new(5), secret).is_none(), "never told");
        }
    }

    #[test]
    fn a_key_that_follows_is_used_beside_the_one_before() {
        let mut keys = Keys::unwrap(&passphrase(), &material("correct horse", 1, &[&[1; 16]])).unwrap();
        let before = encrypt(&keys, Key::Even, 9, b"payload");
        keys.refresh(&material("correct horse", 2, &[&[2; 16]])).unwrap();
        assert_eq!(encrypt(&keys, Key::Even, 9, b"payload"), before);
        let odd = encrypt(&keys, Key::Odd, 9, b"payload");
        assert_ne!(odd, before);
        keys.refresh(&material("correct horse", 3, &[&[3; 16], &[2; 16]])).unwrap();
        assert_ne!(encrypt(&keys, Key::Even, 9, b"payload"), before);
        assert_eq!(encrypt(&keys, Key::Odd, 9, b"payload"), odd);
    }

    #[test]
    fn another_passphrase_opens_nothing_and_changes_nothing() {
        let mut keys = Keys::unwrap(&passphrase(), &material("correct horse", 1, &[&[1; 16]])).unwrap();
        let before = encrypt(&keys, Key::Even, 9, b"payload");
        let foreign = material("battery staple", 1, &[&[1; 16]]);
        assert_eq!(Keys::unwrap(&passphrase(), &foreign).unwrap_err(), KeyError::BadSecret);
        assert_eq!(keys.refresh(&foreign), Err(KeyError::BadSecret));
        assert_eq!(encrypt(&keys, Key::Even, 9, b"payload"), before);
        assert!(Passphrase::new("too short").is_none() && Passphrase::new(&"x".repeat(80)).is_none());
    }

    proptest! {
        #[test]
        fn any_material_is_refused_or_taken(bytes in proptest::collection::vec(any::<u8>(), 0..120), good in any::<bool>()) {
            let mut all = if good { material("correct horse", 1, &[&[1; 16]]) } else { Vec::new() };
            all.truncate(bytes.len());
            all.extend(bytes);
            let _taken = Keys::unwrap(&passphrase(), &all).is_ok();
        }
    }
}
