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
