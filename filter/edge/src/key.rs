//! An HMAC key: bytes used verbatim, never printed, wiped when dropped.

use core::fmt;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use thiserror::Error;
use zeroize::Zeroizing;

/// One HMAC key of an endpoint. Several are active while a sender changes from one to the next.
///
/// **Shape:** the name of the data key it comes from (empty at the edge, which does not need it)
/// and its bytes, verbatim: a trailing newline is part of the key, as it is for Flux.
#[derive(Clone)]
pub struct Key {
    name: Box<str>,
    bytes: Zeroizing<Box<[u8]>>,
}

impl Key {
    /// Takes the key's bytes as they are.
    ///
    /// **Errors:** fewer than 16 bytes, or more than 4 KiB.
    pub fn new(name: &str, bytes: &[u8]) -> Result<Self, KeyError> {
        let length = bytes.len();
        if length < MIN_BYTES {
            return Err(KeyError::Short { name: name.to_string(), length });
        }
        if length > MAX_BYTES {
            return Err(KeyError::Long { name: name.to_string(), length });
        }
        Ok(Self { name: name.into(), bytes: Zeroizing::new(bytes.into()) })
    }

    /// The name of the data key in its Secret.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The secret itself.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What is unwise about the key. Empty for a good one.
    pub fn warnings(&self) -> Vec<KeyWarning> {
        let mut warnings = Vec::new();
        if self.bytes.len() < GOOD_BYTES {
            warnings
                .push(KeyWarning::Short { name: self.name.to_string(), length: self.bytes.len() });
        }
        if self.bytes.last().is_some_and(u8::is_ascii_whitespace) {
            warnings.push(KeyWarning::TrailingWhiteSpace { name: self.name.to_string() });
        }
        warnings
    }

    /// Tells keys apart without showing them.
    pub fn fingerprint(&self) -> Fingerprint {
        let digest =
            Sha256::new().chain_update(FINGERPRINT_DOMAIN).chain_update(&*self.bytes).finalize();
        let mut short = [0; 16];
        short.iter_mut().zip(digest.iter()).for_each(|(to, from)| *to = *from);
        Fingerprint(short)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("name", &self.name).field("bytes", &"[redacted]").finish()
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && bool::from(self.bytes.ct_eq(&other.bytes))
    }
}

impl Eq for Key {}

/// The first half of the SHA-256 of a key, with a prefix of our own.
///
/// **Shape:** 16 bytes, written as 32 hex digits. Not a secret, yet good for guessing a weak key:
/// it stays between the filter and the sidecar and in the sidecar's store, and is never logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(pub [u8; 16]);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A key that is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum KeyError {
    /// Fewer bytes than a key may have.
    #[error(
        "key {name:?} has {length} bytes, expected at least {MIN_BYTES} (32 random ones are good)"
    )]
    Short {
        /// The data key.
        name: String,
        /// Its length in bytes.
        length: usize,
    },
    /// More bytes than a key may have.
    #[error(
        "key {name:?} has {length} bytes, expected at most {MAX_BYTES} (32 random ones are good)"
    )]
    Long {
        /// The data key.
        name: String,
        /// Its length in bytes.
        length: usize,
    },
}

impl KeyError {
    /// The reason in CamelCase.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Short { .. } => "KeyTooShort",
            Self::Long { .. } => "KeyTooLong",
        }
    }
}

/// A key that is accepted with a warning.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum KeyWarning {
    /// 16 to 31 bytes.
    #[error("key {name:?} has {length} bytes: 32 random ones are good")]
    Short {
        /// The data key.
        name: String,
        /// Its length in bytes.
        length: usize,
    },
    /// It ends in a space, a tab or a newline, which is part of the key.
    #[error(
        "key {name:?} ends in white space, which is part of the key: is that what the sender has?"
    )]
    TrailingWhiteSpace {
        /// The data key.
        name: String,
    },
}

/// Under this a key is refused: 128 bits, the least that HMAC is worth (RFC 2104 section 3 advises
/// the hash's length).
const MIN_BYTES: usize = 16;
/// Over this a key is refused: HMAC hashes a long key to the hash's length first, so more bytes add
/// nothing, and every worker holds all keys.
pub const MAX_BYTES: usize = 4096;
/// Keys that one endpoint may have at a time. A rotation needs two.
pub const MAX_KEYS: usize = 8;
/// Under this a key is warned about: the length of SHA-256.
const GOOD_BYTES: usize = 32;
const FINGERPRINT_DOMAIN: &[u8] = b"lockgate/key-fingerprint/v1\0";
