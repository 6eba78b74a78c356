//! An HMAC key: bytes used verbatim, never printed, wiped when dropped.

use core::fmt;
use core::ops::Deref;
use std::sync::Arc;

use sha2::{Digest, Sha224, Sha256, Sha384, Sha512};
use subtle::ConstantTimeEq;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::signature::Algorithm;

/// One HMAC key of an endpoint. Several are active while a sender changes from one to the next.
///
/// **Shape:** the name of the data key it comes from (empty at the edge, which does not need it)
/// and its bytes, verbatim: a trailing newline is part of the key, as it is for Flux.
#[derive(Clone)]
pub struct Key {
    name: Box<str>,
    bytes: Zeroizing<Box<[u8]>>,
    /// Only for keys longer than a hash's block. HMAC hashes such a key before it uses it; that is
    /// done once, here, so that a request's work does not depend on the length of a key.
    folded: Option<Box<Folded>>,
}

impl Key {
    /// Takes the key's bytes as they are.
    ///
    /// **Errors:** fewer than 16 or more than 4096 bytes.
    pub fn new(name: &str, bytes: &[u8]) -> Result<Self, KeyError> {
        let length = bytes.len();
        if length < MIN_BYTES {
            return Err(KeyError::Short { name: name.to_string(), length });
        }
        if length > MAX_BYTES {
            return Err(KeyError::Long { name: name.to_string(), length });
        }
        let bytes = Zeroizing::new(Box::from(bytes));
        Ok(Self { name: name.into(), folded: Folded::of(&bytes), bytes })
    }

    /// The name of the data key in its Secret.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The secret itself.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What HMAC makes of the key: never longer than the block of the algorithm's hash.
    pub(crate) fn block(&self, algorithm: Algorithm) -> &[u8] {
        match &self.folded {
            Some(folded) if self.bytes.len() > algorithm.block_bytes() => folded.of_hash(algorithm),
            _ => &self.bytes,
        }
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

/// The hashes of a long key, one for each algorithm.
#[derive(Clone)]
struct Folded {
    sha224: Zeroizing<[u8; 28]>,
    sha256: Zeroizing<[u8; 32]>,
    sha384: Zeroizing<[u8; 48]>,
    sha512: Zeroizing<[u8; 64]>,
}

impl Folded {
    fn of(key: &[u8]) -> Option<Box<Self>> {
        (key.len() > Algorithm::Sha256.block_bytes()).then(|| {
            Box::new(Self {
                sha224: Zeroizing::new(Sha224::digest(key).into()),
                sha256: Zeroizing::new(Sha256::digest(key).into()),
                sha384: Zeroizing::new(Sha384::digest(key).into()),
                sha512: Zeroizing::new(Sha512::digest(key).into()),
            })
        })
    }

    fn of_hash(&self, algorithm: Algorithm) -> &[u8] {
        match algorithm {
            Algorithm::Sha224 => &*self.sha224,
            Algorithm::Sha256 => &*self.sha256,
            Algorithm::Sha384 => &*self.sha384,
            Algorithm::Sha512 => &*self.sha512,
        }
    }
}

/// The active keys of one endpoint: at most [`Keys::MOST`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys(Arc<[Key]>);

impl Keys {
    /// How many keys an endpoint may have. A rotation needs two.
    pub const MOST: usize = 8;

    /// Takes the keys in their order.
    ///
    /// **Errors:** more than [`Keys::MOST`]; the error names the first one that is too many.
    pub fn new(keys: Vec<Key>) -> Result<Self, KeyError> {
        match keys.get(Self::MOST) {
            Some(key) => Err(KeyError::TooMany { name: key.name.to_string() }),
            None => Ok(Self(keys.into())),
        }
    }
}

impl Default for Keys {
    fn default() -> Self {
        Self(Arc::new([]))
    }
}

impl Deref for Keys {
    type Target = [Key];

    fn deref(&self) -> &[Key] {
        &self.0
    }
}

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
    /// Fewer than 16 bytes.
    #[error(
        "key {name:?} has {length} bytes, expected at least {MIN_BYTES} (32 random ones are good)"
    )]
    Short {
        /// The data key.
        name: String,
        /// Its length in bytes.
        length: usize,
    },
    /// More than 4096 bytes.
    #[error(
        "key {name:?} has {length} bytes, expected at most {MAX_BYTES} (32 random ones are good)"
    )]
    Long {
        /// The data key.
        name: String,
        /// Its length in bytes.
        length: usize,
    },
    /// More than [`Keys::MOST`] in one endpoint.
    #[error(
        "key {name:?} is one more than the {} that an endpoint may have: remove old ones",
        Keys::MOST
    )]
    TooMany {
        /// The data key.
        name: String,
    },
}

impl KeyError {
    /// The reason in CamelCase.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Short { .. } => "KeyTooShort",
            Self::Long { .. } => "KeyTooLong",
            Self::TooMany { .. } => "TooManyKeys",
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
const MAX_BYTES: usize = 4096;
/// Under this a key is warned about: the length of SHA-256.
const GOOD_BYTES: usize = 32;
const FINGERPRINT_DOMAIN: &[u8] = b"lockgate/key-fingerprint/v1\0";
