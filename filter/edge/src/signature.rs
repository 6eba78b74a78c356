//! The signature header: `X-Signature: <algorithm>=<hex HMAC of the body>`.
//!
//! The MAC is computed incrementally, over every active key at once, and compared in constant time.
//! Dummy keys fill up to the number that the caller names, so that neither an endpoint's existence
//! nor a rotation shows in the time an answer takes.

use core::fmt;
use core::str::FromStr;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Sha224, Sha256, Sha384, Sha512};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};
use thiserror::Error;

use crate::key::Key;

/// The header's name in lower case, as proxies show it.
pub const SIGNATURE_HEADER: &str = "x-signature";

/// The hash inside of the HMAC. SHA-1 is never accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// `sha224`
    Sha224,
    /// `sha256`, the only one that Flux sends.
    Sha256,
    /// `sha384`
    Sha384,
    /// `sha512`
    Sha512,
}

impl Algorithm {
    /// Every algorithm.
    pub const ALL: [Self; 4] = [Self::Sha224, Self::Sha256, Self::Sha384, Self::Sha512];

    /// The name in the header.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha224 => "sha224",
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
        }
    }

    /// The length in bytes of what the hash takes in at a time.
    pub fn block_bytes(self) -> usize {
        match self {
            Self::Sha224 | Self::Sha256 => 64,
            Self::Sha384 | Self::Sha512 => 128,
        }
    }

    /// The length of the MAC in bytes.
    pub fn mac_bytes(self) -> usize {
        match self {
            Self::Sha224 => 28,
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Algorithm {
    type Err = SignatureError;

    fn from_str(text: &str) -> Result<Self, SignatureError> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.name() == text)
            .ok_or(SignatureError::Algorithm)
    }
}

impl serde::Serialize for Algorithm {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> serde::Deserialize<'de> for Algorithm {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|_| {
            serde::de::Error::custom(format_args!(
                "{text:?} is not an algorithm: expected sha224, sha256, sha384 or sha512"
            ))
        })
    }
}

/// A well-formed signature, not yet compared with anything.
#[derive(Clone, PartialEq, Eq)]
pub struct Signature {
    algorithm: Algorithm,
    mac: [u8; MAX_MAC],
}

impl Signature {
    /// Reads the header's value: `<algorithm>=<hex>`, no white space, hex in either case.
    ///
    /// **Errors:** an unknown algorithm, or hex of the wrong length or alphabet.
    pub fn parse(value: &[u8]) -> Result<Self, SignatureError> {
        let split = value.iter().position(|b| *b == b'=').ok_or(SignatureError::Shape)?;
        let (name, hex) = value.split_at_checked(split).ok_or(SignatureError::Shape)?;
        let hex = hex.strip_prefix(b"=").ok_or(SignatureError::Shape)?;
        let algorithm = core::str::from_utf8(name)
            .map_err(|_| SignatureError::Algorithm)?
            .parse::<Algorithm>()?;
        if hex.len() != algorithm.mac_bytes() * 2 {
            return Err(SignatureError::Length {
                expected: algorithm.mac_bytes() * 2,
                got: hex.len(),
            });
        }
        let mut mac = [0; MAX_MAC];
        for (to, pair) in mac.iter_mut().zip(hex.chunks_exact(2)) {
            *to = pair
                .iter()
                .try_fold(0u8, |byte, digit| Some(byte << 4 | nibble(*digit)?))
                .ok_or(SignatureError::Hex)?;
        }
        Ok(Self { algorithm, mac })
    }

    /// The first bytes of the MAC. They tell messages apart: nobody without the key can make two
    /// bodies with the same ones.
    pub(crate) fn mark(&self) -> [u8; 16] {
        let mut mark = [0; 16];
        mark.iter_mut().zip(self.mac).for_each(|(to, from)| *to = from);
        mark
    }

    /// The algorithm that the sender chose.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    fn mac(&self) -> &[u8] {
        self.mac.get(..self.algorithm.mac_bytes()).unwrap_or_default()
    }
}

/// The header's value, hex in lower case.
impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}=", self.algorithm)?;
        self.mac().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signature").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

/// Why a header value is no signature. The sender never sees which.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SignatureError {
    /// No `=`.
    #[error("signature is not of the form algorithm=hex")]
    Shape,
    /// Not one of [`Algorithm::ALL`].
    #[error("signature algorithm is unknown: expected sha224, sha256, sha384 or sha512")]
    Algorithm,
    /// The hex does not fit the algorithm.
    #[error("signature has {got} hex digits, expected {expected}")]
    Length {
        /// Twice the MAC's bytes.
        expected: usize,
        /// What was given.
        got: usize,
    },
    /// A character that is not a hex digit.
    #[error("signature has a character that is not a hex digit")]
    Hex,
}

impl SignatureError {
    /// The reason in CamelCase.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Shape => "SignatureMalformed",
            Self::Algorithm => "SignatureAlgorithmUnknown",
            Self::Length { .. } => "SignatureLengthWrong",
            Self::Hex => "SignatureNotHex",
        }
    }
}

/// Compares one signature with the MACs of a body under several keys. Feed the body in any pieces,
/// each byte once.
pub struct Verifier {
    signature: Signature,
    /// One for each key, and then one for each dummy.
    macs: Vec<State>,
    /// How many of them belong to keys.
    real: u64,
}

impl Verifier {
    /// Starts over `keys`, and over as many dummy keys as make it `work` keys in all, at least one.
    /// A dummy never matches.
    pub fn new(signature: &Signature, keys: &[Key], work: usize) -> Self {
        let algorithm = signature.algorithm;
        let dummies = work.max(1).saturating_sub(keys.len());
        let keys_in_use = keys.iter().map(|key| key.block(algorithm));
        let macs = keys_in_use
            .chain(core::iter::repeat_n(DUMMY_KEY.as_slice(), dummies))
            .filter_map(|key| State::new(algorithm, key))
            .collect();
        let real = u64::try_from(keys.len()).unwrap_or(u64::MAX);
        Self { signature: signature.clone(), macs, real }
    }

    /// Hashes the next piece of the body.
    pub fn update(&mut self, piece: &[u8]) {
        self.macs.iter_mut().for_each(|mac| mac.update(piece));
    }

    /// The index of the key that made the signature, if one did. The time depends on the body and
    /// the number of keys, dummies included, alone.
    pub fn finish(self) -> Option<usize> {
        let mut index = 0u64;
        let mut found = Choice::from(0);
        for (at, mac) in (0u64..).zip(self.macs) {
            let equal = mac.equals(self.signature.mac()) & Choice::from(u8::from(at < self.real));
            index.conditional_assign(&at, equal & !found);
            found |= equal;
        }
        if bool::from(found) { usize::try_from(index).ok() } else { None }
    }

    /// The signature that is being verified.
    pub fn signature(&self) -> &Signature {
        &self.signature
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("keys", &self.macs.len()).finish_non_exhaustive()
    }
}

/// Signs a body as a sender does: `sha256=<hex>`.
pub fn sign(algorithm: Algorithm, key: &[u8], body: &[u8]) -> String {
    let mut mac = [0; MAX_MAC];
    if let Some(mut state) = State::new(algorithm, key) {
        state.update(body);
        state.write(&mut mac);
    }
    Signature { algorithm, mac }.to_string()
}

/// True if HMAC gives what RFC 4231 says (test case 2, the shortest key): run once where a compiler
/// or a virtual machine could be wrong.
pub fn self_test() -> bool {
    Algorithm::ALL.into_iter().zip(SELF_TEST).all(|(algorithm, expected)| {
        let signed = sign(algorithm, b"Jefe", b"what do ya want for nothing?");
        signed.split_once('=').is_some_and(|(_, hex)| hex.starts_with(expected))
    })
}

enum State {
    Sha224(Hmac<Sha224>),
    Sha256(Hmac<Sha256>),
    Sha384(Hmac<Sha384>),
    Sha512(Hmac<Sha512>),
}

impl State {
    /// HMAC takes a key of any length, so this is never `None`.
    fn new(algorithm: Algorithm, key: &[u8]) -> Option<Self> {
        #[cfg(test)]
        work::count(work::of_key(algorithm, key));
        match algorithm {
            Algorithm::Sha224 => Hmac::new_from_slice(key).ok().map(Self::Sha224),
            Algorithm::Sha256 => Hmac::new_from_slice(key).ok().map(Self::Sha256),
            Algorithm::Sha384 => Hmac::new_from_slice(key).ok().map(Self::Sha384),
            Algorithm::Sha512 => Hmac::new_from_slice(key).ok().map(Self::Sha512),
        }
    }

    fn update(&mut self, piece: &[u8]) {
        #[cfg(test)]
        work::count(piece.len());
        match self {
            Self::Sha224(mac) => mac.update(piece),
            Self::Sha256(mac) => mac.update(piece),
            Self::Sha384(mac) => mac.update(piece),
            Self::Sha512(mac) => mac.update(piece),
        }
    }

    fn write(self, to: &mut [u8; MAX_MAC]) {
        #[cfg(test)]
        work::count(1);
        fn copy(to: &mut [u8; MAX_MAC], from: &[u8]) {
            to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
        }
        match self {
            Self::Sha224(mac) => copy(to, &mac.finalize().into_bytes()),
            Self::Sha256(mac) => copy(to, &mac.finalize().into_bytes()),
            Self::Sha384(mac) => copy(to, &mac.finalize().into_bytes()),
            Self::Sha512(mac) => copy(to, &mac.finalize().into_bytes()),
        }
    }

    fn equals(self, given: &[u8]) -> Choice {
        let mut mac = [0; MAX_MAC];
        self.write(&mut mac);
        mac.get(..given.len()).map_or(Choice::from(0), |mac| mac.ct_eq(given))
    }
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// SHA-512's length.
const MAX_MAC: usize = 64;
const DUMMY_KEY: [u8; 32] = *b"no endpoint, no key: never match";
/// The first bytes of RFC 4231 test case 2, in the order of [`Algorithm::ALL`].
const SELF_TEST: [&str; 4] =
    ["a30e01098bc6dbbf", "5bdcc146bf60754e", "af45d2e376484031", "164b7a7bfcf819e2"];

/// Counts what is hashed, in bytes, for the test that all endpoints cost the same.
#[cfg(test)]
pub(crate) mod work {
    use core::cell::Cell;

    use super::Algorithm;

    thread_local! {
        static BYTES: Cell<usize> = const { Cell::new(0) };
    }

    pub(crate) fn count(bytes: usize) {
        BYTES.set(BYTES.get() + bytes);
    }

    /// Two blocks, and the hash of a key that is longer than one.
    pub(crate) fn of_key(algorithm: Algorithm, key: &[u8]) -> usize {
        let block = algorithm.block_bytes();
        2 * block + if key.len() > block { key.len() } else { 0 }
    }

    pub(crate) fn take() -> usize {
        BYTES.replace(0)
    }
}
