//! Identity of a promotion.

use core::fmt;
use core::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Identity of a promotion: a UUID of version 7, so ids sort by the time of their making.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PromotionId(Uuid);

impl PromotionId {
    /// An id made at `now` from ten random bytes.
    #[must_use]
    pub fn new(now: Timestamp, random: [u8; 10]) -> Self {
        let millis = u64::try_from(now.as_millisecond()).unwrap_or(0);
        Self(uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid())
    }

    /// The id as a UUID.
    #[must_use]
    pub fn as_uuid(&self) -> Uuid {
        self.0
    }
}

impl From<Uuid> for PromotionId {
    fn from(id: Uuid) -> Self {
        Self(id)
    }
}

impl fmt::Display for PromotionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for PromotionId {
    type Err = PromotionIdError;
    fn from_str(text: &str) -> Result<Self, PromotionIdError> {
        // Exactly the form that is written: 36 characters with hyphens.
        if text.len() != 36 {
            return Err(PromotionIdError);
        }
        Uuid::parse_str(text).map(Self).map_err(|_| PromotionIdError)
    }
}

/// A text is not the id of a promotion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("promotion id is not a UUID, expected a form like 0193f6a1-5b3c-7c21-8e0c-1f1d6f5f7c21")]
pub struct PromotionIdError;
