//! Scalars and tags: YAML 1.2's core schema.

use granit_parser::{ScalarStyle, Tag};
use serde_json::{Number, Value};

/// Whether a list or a mapping may have this tag.
pub(super) fn collection_tag(tag: Option<&Tag>, expected: &str) -> Result<(), &'static str> {
    match tag {
        Some(tag) if !tag.is_yaml_core_schema_tag(expected) => Err(UNKNOWN_TAG),
        _ => Ok(()),
    }
}

/// The value of a scalar. An error never quotes it.
pub(super) fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Result<Value, String> {
    let resolved = match tag {
        None if style != ScalarStyle::Plain => return Ok(Value::String(text.to_owned())),
        None => {
            return plain(text).ok_or_else(|| "the number cannot be represented".to_owned());
        }
        Some(tag) if tag.is_yaml_core_schema_tag("str") => {
            return Ok(Value::String(text.to_owned()));
        }
        Some(tag) => (tag.core_suffix(), plain(text)),
    };
    match resolved {
        (Some("null"), Some(value @ Value::Null))
        | (Some("bool"), Some(value @ Value::Bool(_)))
        | (Some("int" | "float"), Some(value @ Value::Number(_))) => Ok(value),
        (Some(name), _) => Err(format!("the value is not what its tag says (!!{name})")),
        (None, _) => Err(UNKNOWN_TAG.to_owned()),
    }
}

const UNKNOWN_TAG: &str = "the tag is not supported";

/// The core schema; `None` for what JSON cannot hold (`.inf`, `.nan`, out of range).
fn plain(text: &str) -> Option<Value> {
    Some(match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        ".nan" | ".NaN" | ".NAN" => return None,
        _ => {
            let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
            if matches!(digits, ".inf" | ".Inf" | ".INF") {
                return None;
            }
            if digits.bytes().all(|b| b.is_ascii_digit()) && !digits.is_empty() {
                let text = text.strip_prefix('+').unwrap_or(text);
                return text
                    .parse::<i64>()
                    .map(Number::from)
                    .or_else(|_| text.parse::<u64>().map(Number::from))
                    .ok()
                    .map(Value::Number);
            }
            if let Some(octal) = text.strip_prefix("0o") {
                if let Ok(number) = u64::from_str_radix(octal, 8) {
                    return Some(Value::from(number));
                }
            } else if let Some(hexadecimal) = text.strip_prefix("0x") {
                if let Ok(number) = u64::from_str_radix(hexadecimal, 16) {
                    return Some(Value::from(number));
                }
            } else if looks_like_float(digits) {
                return text.parse::<f64>().ok().and_then(Number::from_f64).map(Value::Number);
            }
            Value::String(text.to_owned())
        }
    })
}

/// `[0-9]+ . [0-9]* ([eE][+-]?[0-9]+)?` and the forms without leading or trailing digits.
fn looks_like_float(text: &str) -> bool {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => {
            (mantissa, Some(exponent.strip_prefix(['+', '-']).unwrap_or(exponent)))
        }
        None => (text, None),
    };
    let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    (mantissa.contains('.') || exponent.is_some())
        && digits(whole)
        && digits(fraction)
        && !(whole.is_empty() && fraction.is_empty())
        && exponent.is_none_or(|exponent| !exponent.is_empty() && digits(exponent))
}
