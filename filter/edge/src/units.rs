//! The one reader of durations (`"20ms"`, `"1m30s"`, `"24h"`) and sizes (`"64KiB"`) that
//! configuration, resources and the wire share. Both are exact integers: nothing here goes through
//! floating point.

use core::fmt;
use core::str::FromStr;
use core::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use thiserror::Error;

/// A duration that is a string in YAML and on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(pub Duration);

/// A number of bytes that is a string (`"64KiB"`), or a plain number, in YAML.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Size(pub u64);

/// Reads a duration: one or more of number + unit, as Go writes them (`h`, `m`, `s`, `ms`, `us` or
/// `µs`, `ns`), each number with an optional fraction; `0` alone needs no unit.
///
/// **Units and range:** 0 to 100 years, to the nanosecond. **Errors:** the input and what is wrong
/// with it.
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    let refuse = |problem| UnitError { text: text.to_string(), problem };
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    if text.is_empty() {
        return Err(refuse(UnitProblem::Empty));
    }
    let mut total: u128 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let number_end =
            rest.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(rest.len());
        let (number, tail) = rest.split_at_checked(number_end).unwrap_or((rest, ""));
        let unit_end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at_checked(unit_end).unwrap_or((tail, ""));
        let nanos = match unit {
            "h" => 3_600_000_000_000,
            "m" => 60_000_000_000,
            "s" => 1_000_000_000,
            "ms" => 1_000_000,
            "us" | "µs" | "μs" => 1_000,
            "ns" => 1,
            _ => return Err(refuse(UnitProblem::DurationUnit)),
        };
        let part = scaled(number, nanos).ok_or_else(|| refuse(UnitProblem::Number))?;
        total = total
            .checked_add(part)
            .filter(|total| *total <= MAX_NANOS)
            .ok_or_else(|| refuse(UnitProblem::Range))?;
        rest = tail;
    }
    u64::try_from(total).map(Duration::from_nanos).map_err(|_| refuse(UnitProblem::Range))
}

/// Writes a duration so that [`parse_duration`] reads it back: `1m30s`, `500ms`, `0s`.
pub fn format_duration(duration: Duration) -> String {
    let mut rest = duration.as_nanos();
    if rest == 0 {
        return "0s".to_string();
    }
    let mut text = String::new();
    for (unit, nanos) in UNITS {
        let count = rest / nanos;
        if count > 0 {
            text.push_str(&count.to_string());
            text.push_str(unit);
            rest %= nanos;
        }
    }
    text
}

/// Reads a size: a whole number of bytes, or of `KiB`, `MiB`, `GiB` (`B` is allowed too).
///
/// **Errors:** the input and what is wrong with it.
pub fn parse_size(text: &str) -> Result<u64, UnitError> {
    let refuse = |problem| UnitError { text: text.to_string(), problem };
    if text.is_empty() {
        return Err(refuse(UnitProblem::Empty));
    }
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(end).unwrap_or((text, ""));
    let factor: u64 = match unit {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(refuse(UnitProblem::SizeUnit)),
    };
    if number.is_empty() {
        return Err(refuse(UnitProblem::Number));
    }
    number
        .parse::<u64>()
        .ok()
        .and_then(|count| count.checked_mul(factor))
        .ok_or_else(|| refuse(UnitProblem::Range))
}

/// Writes a size in the largest unit that divides it.
pub fn format_size(bytes: u64) -> String {
    for (unit, shift) in [("GiB", 30), ("MiB", 20), ("KiB", 10)] {
        if bytes > 0 && bytes.trailing_zeros() >= shift {
            return format!("{}{unit}", bytes >> shift);
        }
    }
    bytes.to_string()
}

/// Why a duration or a size is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{text:?} {problem}")]
pub struct UnitError {
    text: String,
    problem: UnitProblem,
}

impl UnitError {
    /// What is wrong.
    pub fn problem(&self) -> UnitProblem {
        self.problem
    }
}

/// What is wrong with a duration or a size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum UnitProblem {
    /// Nothing there.
    #[error("is empty")]
    Empty,
    /// Not digits with at most one point.
    #[error("has a part that is not a number")]
    Number,
    /// A unit that a duration does not have, or none.
    #[error("is not a duration: expected numbers with h, m, s, ms, us or ns, like \"1m30s\"")]
    DurationUnit,
    /// A unit that a size does not have.
    #[error("is not a size: expected bytes or a number with KiB, MiB or GiB, like \"64KiB\"")]
    SizeUnit,
    /// Larger than what is supported.
    #[error("is out of range")]
    Range,
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&format_duration(self.0))
    }
}

impl FromStr for Span {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        parse_duration(text).map(Self)
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Span;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration like \"30s\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Span, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&format_size(self.0))
    }
}

impl FromStr for Size {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        parse_size(text).map(Self)
    }
}

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Size;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a size like \"64KiB\" or a number of bytes")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Size, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_u64<E: de::Error>(self, bytes: u64) -> Result<Size, E> {
                Ok(Size(bytes))
            }

            fn visit_i64<E: de::Error>(self, bytes: i64) -> Result<Size, E> {
                u64::try_from(bytes).map(Size).map_err(|_| E::custom("a size cannot be negative"))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// `number` (digits, at most one point) times `nanos`, truncated to whole nanoseconds.
fn scaled(number: &str, nanos: u128) -> Option<u128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty())
        || whole.len() > 20
        || fraction.len() > 18
        || fraction.contains('.')
    {
        return None;
    }
    let whole: u128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let mut total = whole.checked_mul(nanos)?;
    if !fraction.is_empty() {
        let digits: u128 = fraction.parse().ok()?;
        let scale = 10u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
        total = total.checked_add(digits.checked_mul(nanos)? / scale)?;
    }
    Some(total)
}

const UNITS: [(&str, u128); 6] = [
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

/// 100 years: sums of two stay far inside of 64 bits of nanoseconds.
const MAX_NANOS: u128 = 100 * 365 * 24 * 3_600_000_000_000;
