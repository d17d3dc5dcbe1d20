//! Keys and payloads (6): AES in counter mode, its keys wrapped by one that is derived from the passphrase.

use aes::cipher::{InnerIvInit as _, KeyInit as _, StreamCipher as _, StreamCipherCoreWrapper};
use aes::{Aes128, Aes192, Aes256};
use bytes::{BufMut, Bytes, BytesMut};
use ctr::CtrCore;
use ctr::flavors::Ctr128BE;
use hmac::{Hmac, Mac};
use sha1::Sha1;
use sha2::Sha256;
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
#[derive(Clone, PartialEq, Eq)]
pub struct Passphrase(Zeroizing<String>);

impl Passphrase {
    /// None: too short or too long for SRT.
    pub fn new(text: &str) -> Option<Self> {
        (10..=79).contains(&text.len()).then(|| Self(Zeroizing::new(text.to_owned())))
    }
}

impl core::hash::Hash for Passphrase {
    fn hash<H: core::hash::Hasher>(&self, state: &mut H) {
        self.0.as_str().hash(state);
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

/// Packets that are encrypted with one key before another follows, and how long before that the other is told (6.1.6,
/// as libsrt).
pub(super) const REFRESH: u32 = 1 << 25;
pub(super) const ANNOUNCE: u32 = 1 << 12;

/// The keys of a connection. Both may be in use while one follows the other.
pub(super) struct Keys {
    passphrase: Passphrase,
    /// What we send is encrypted with this one.
    sending: Key,
    /// Keys that we make come of it.
    seed: Zeroizing<[u8; 32]>,
    made: u32,
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
    /// Keys that we make ourselves come of `seed`.
    pub(super) fn unwrap(passphrase: &Passphrase, material: &[u8], seed: [u8; 32]) -> Result<Self, KeyError> {
        let mut keys = Self::none(passphrase, seed);
        keys.refresh(material)?;
        keys.sending = if keys.even.is_some() { Key::Even } else { Key::Odd };
        Ok(keys)
    }

    fn none(passphrase: &Passphrase, seed: [u8; 32]) -> Self {
        Self {
            passphrase: passphrase.clone(),
            sending: Key::Even,
            seed: Zeroizing::new(seed),
            made: 0,
            even: None,
            odd: None,
            salt: [0; 16],
            length: 0,
        }
    }

    /// Makes a caller's key of `bits`; with it the material that tells the other side. None: no such length.
    pub(super) fn make(passphrase: &Passphrase, bits: usize, seed: [u8; 32]) -> Option<(Self, Bytes)> {
        let mut keys = Self::none(passphrase, seed);
        keys.length = [16_usize, 24, 32].into_iter().find(|bytes| bytes.saturating_mul(8) == bits)?;
        keys.salt = *keys.derive(b"salt").first_chunk()?;
        // The first key that is made is for the other place.
        keys.sending = Key::Odd;
        let material = keys.follow()?;
        keys.switch();
        Some((keys, material))
    }

    fn derive(&self, purpose: &[u8]) -> Zeroizing<[u8; 32]> {
        let Ok(mut mac) = <Hmac<Sha256> as Mac>::new_from_slice(&*self.seed) else {
            return Zeroizing::new([0; 32]);
        };
        mac.update(purpose);
        mac.update(&self.made.to_be_bytes());
        Zeroizing::new(mac.finalize().into_bytes().into())
    }

    /// Makes the key that follows on the one that we send with; the material that tells the other side of it.
    pub(super) fn follow(&mut self) -> Option<Bytes> {
        self.made = self.made.saturating_add(1);
        let derived = self.derive(b"key");
        let plain = derived.get(..self.length)?;
        let cipher = Cipher::new(plain)?;
        let which = match self.sending {
            Key::Even => {
                self.odd = Some(cipher);
                2
            }
            Key::Odd => {
                self.even = Some(cipher);
                1
            }
        };
        wrap(&self.passphrase, self.salt, which, plain)
    }

    /// What follows is sent with the key that was made last.
    pub(super) fn switch(&mut self) {
        self.sending = match self.sending {
            Key::Even => Key::Odd,
            Key::Odd => Key::Even,
        };
    }

    /// Encrypts a payload. None: there is no key for it.
    pub(super) fn encrypt(&self, sequence: Sequence, payload: Bytes) -> Option<(Key, Bytes)> {
        // Counter mode is its own inverse.
        Some((self.sending, self.decrypt(self.sending, sequence, payload)?))
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

/// A key material message of one key: `which` is 1 for even, 2 for odd.
fn wrap(passphrase: &Passphrase, salt: [u8; 16], which: u8, plain: &[u8]) -> Option<Bytes> {
    let (_, half) = salt.split_at(8);
    let mut derived = Zeroizing::new([0_u8; 32]);
    let key = derived.get_mut(..plain.len())?;
    pbkdf2::pbkdf2_hmac::<Sha1>(passphrase.0.as_bytes(), half, ROUNDS, key);
    let mut wrapped = vec![0; plain.len().saturating_add(CHECK)];
    let key = &*key;
    let done = match plain.len() {
        16 => aes_kw::KekAes128::try_from(key).map(|kek| kek.wrap(plain, &mut wrapped)),
        24 => aes_kw::KekAes192::try_from(key).map(|kek| kek.wrap(plain, &mut wrapped)),
        _ => aes_kw::KekAes256::try_from(key).map(|kek| kek.wrap(plain, &mut wrapped)),
    };
    done.ok()?.ok()?;
    let mut out = BytesMut::with_capacity(wrapped.len().saturating_add(32));
    out.extend_from_slice(&SIGNED);
    // No hint at the key-encrypting key; no authentication; a transport stream over SRT.
    out.extend_from_slice(&[which, 0, 0, 0, 0, CTR, 0, 2, 0, 0, 0, 4]);
    out.put_u8((plain.len() / 4) as u8);
    out.extend_from_slice(&salt);
    out.extend_from_slice(&wrapped);
    Some(out.freeze())
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
            let keys = Keys::unwrap(&passphrase(), &material("correct horse", 1, &[&key]), [1; 32]).unwrap();
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
        let mut keys =
            Keys::unwrap(&passphrase(), &material("correct horse", 1, &[&[1; 16]]), [1; 32]).unwrap();
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
    fn keys_that_we_make_are_the_other_sides_too_and_follow_on_each_other() {
        for bits in [128, 192, 256] {
            let (mut ours, material) = Keys::make(&passphrase(), bits, [9; 32]).unwrap();
            let mut theirs = Keys::unwrap(&passphrase(), &material, [1; 32]).unwrap();
            assert_eq!((ours.bits(), theirs.bits()), (bits, bits));
            let sent = |ours: &Keys, theirs: &Keys, number: u32| {
                let plain = Bytes::from_static(b"a transport packet");
                let (key, secret) = ours.encrypt(Sequence::new(number), plain).unwrap();
                assert_ne!(&secret[..], b"a transport packet");
                assert_eq!(
                    &theirs.decrypt(key, Sequence::new(number), secret).unwrap()[..],
                    b"a transport packet"
                );
                key
            };
            let first = sent(&ours, &theirs, 1);
            theirs.refresh(&ours.follow().unwrap()).unwrap();
            assert_eq!(sent(&ours, &theirs, 2), first, "told, and not yet in use");
            ours.switch();
            assert_ne!(sent(&ours, &theirs, 3), first);
            theirs.refresh(&ours.follow().unwrap()).unwrap();
            ours.switch();
            assert_eq!(sent(&ours, &theirs, 4), first);
        }
        assert!(Keys::make(&passphrase(), 100, [9; 32]).is_none());
    }

    #[test]
    fn another_passphrase_opens_nothing_and_changes_nothing() {
        let mut keys =
            Keys::unwrap(&passphrase(), &material("correct horse", 1, &[&[1; 16]]), [1; 32]).unwrap();
        let before = encrypt(&keys, Key::Even, 9, b"payload");
        let foreign = material("battery staple", 1, &[&[1; 16]]);
        assert_eq!(Keys::unwrap(&passphrase(), &foreign, [1; 32]).unwrap_err(), KeyError::BadSecret);
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
            let _taken = Keys::unwrap(&passphrase(), &all, [1; 32]).is_ok();
        }
    }
}
