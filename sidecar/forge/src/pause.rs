//! How long a forge wants to be left alone.
//!
//! Every header that names a pause is read here and nowhere else, and is bounded to an hour where
//! it enters: a proxy that says `Retry-After: 31536000` must not stop a promotion for a year.
//!
//! | header | value | source |
//! |---|---|---|
//! | `Retry-After` | seconds, or a date in one of three forms | RFC 9110, 10.2.3 and 5.6.7; all five forges |
//! | `X-RateLimit-Reset` | second since 1970 | GitHub "Rate limits for the REST API"; Azure "Rate and usage limits" |
//! | `RateLimit-Reset` | second since 1970 (GitLab), or seconds from now (the IETF's draft) | "User and IP rate limits"; draft-ietf-httpapi-ratelimit-headers-06 |
//! | `RateLimit-ResetTime` | a date | GitLab, "User and IP rate limits" |
//! | `X-RateLimit-Delay` | seconds that the request was held back, with decimals | Azure, "Rate and usage limits" |

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::civil::DateTime;
use jiff::fmt::rfc2822::DateTimeParser;
use jiff::tz::TimeZone;
use reqwest::header::HeaderMap;

/// A forge that asks for more is asked again after this time anyway.
pub(crate) const LONGEST: Duration = Duration::from_secs(3600);

/// What the forge asked for; at most [`LONGEST`], zero if that time is over. A value that cannot be
/// read counts as none. `Retry-After` goes before the others. The time of a reset counts only if
/// the limit is used up: `is_limited`, or nothing remains of it.
pub(crate) fn retry_after(
    headers: &HeaderMap,
    is_limited: bool,
    now: SystemTime,
) -> Option<Duration> {
    let value = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let pause = |name: &str| value(name).and_then(|text| seconds(text).or_else(|| date(text, now)));
    if let Some(pause) = pause("retry-after") {
        return Some(pause.min(LONGEST));
    }
    let is_used_up = ["x-ratelimit-remaining", "ratelimit-remaining"]
        .iter()
        .any(|name| value(name) == Some("0"));
    if !is_limited && !is_used_up {
        return None;
    }
    let reset = ["x-ratelimit-reset", "ratelimit-reset"]
        .iter()
        .find_map(|name| seconds(value(name)?))
        .map(|reset| from_now(reset, now));
    reset
        .or_else(|| pause("ratelimit-resettime"))
        .or_else(|| pause("x-ratelimit-delay"))
        .map(|pause| pause.min(LONGEST))
}

/// A number of seconds, with or without decimals. However large it is, it is a number.
fn seconds(text: &str) -> Option<Duration> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    let is_number = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !is_number(whole) || !is_number(decimals) {
        return None;
    }
    let decimals: f64 = format!("0.{decimals}0").parse().ok()?;
    let whole = whole.parse().unwrap_or(u64::MAX);
    Some(Duration::from_secs(whole).saturating_add(Duration::from_secs_f64(decimals)))
}

/// A time as the forges name it: in seconds or milliseconds since 1970, or in seconds from now.
fn from_now(reset: Duration, now: SystemTime) -> Duration {
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    match reset.as_secs() {
        ..1_000_000_000 => reset,
        1_000_000_000..100_000_000_000 => reset.saturating_sub(now),
        millis => Duration::from_millis(millis).saturating_sub(now),
    }
}

/// A date of HTTP: the present form, or one of the two older ones that RFC 9110 still wants read.
fn date(text: &str, now: SystemTime) -> Option<Duration> {
    let older = |form: &str| {
        let date = DateTime::strptime(form, text).ok()?;
        Some(date.to_zoned(TimeZone::UTC).ok()?.timestamp())
    };
    let date = DateTimeParser::new()
        .relaxed_weekday(true)
        .parse_timestamp(text)
        .ok()
        .or_else(|| older("%A, %d-%b-%y %H:%M:%S GMT"))
        .or_else(|| older("%a %b %e %H:%M:%S %Y"))?;
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    // Before 1970: in the past, whatever it is.
    let date = Duration::from_secs(u64::try_from(date.as_second()).unwrap_or_default());
    Some(date.saturating_sub(now))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]
    use super::*;

    /// 2026-01-01 00:00:00.
    const NOW: u64 = 1_767_225_600;

    fn read(headers: &[(&'static str, &str)], is_limited: bool) -> Option<Duration> {
        let headers: HeaderMap = headers
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect();
        retry_after(&headers, is_limited, UNIX_EPOCH + Duration::from_secs(NOW))
    }

    #[test]
    fn retry_after_is_bounded_to_an_hour_whatever_it_says() {
        for (value, expected) in [
            ("0", Some(0.0)),
            ("7", Some(7.0)),
            (" 7 ", Some(7.0)),
            ("0.25", Some(0.25)),
            ("3600", Some(3600.0)),
            ("3601", Some(3600.0)),
            ("31536000", Some(3600.0)),
            ("99999999999999999999999999", Some(3600.0)),
            ("Thu, 01 Jan 2026 00:01:00 GMT", Some(60.0)),
            ("Mon, 01 Jan 2026 00:01:00 GMT", Some(60.0)),
            ("Fri, 01 Jan 2027 00:00:00 GMT", Some(3600.0)),
            ("Thursday, 01-Jan-26 00:01:00 GMT", Some(60.0)),
            ("Thu Jan  1 00:01:00 2026", Some(60.0)),
            ("Wed, 31 Dec 2025 23:59:00 GMT", Some(0.0)),
            ("Mon, 01 Jan 1900 00:00:00 GMT", Some(0.0)),
            ("-1", None),
            ("1e9", None),
            ("inf", None),
            (".5", None),
            ("soon", None),
            ("", None),
            ("2026-01-01", None),
        ] {
            let expected = expected.map(Duration::from_secs_f64);
            assert_eq!(read(&[("retry-after", value)], false), expected, "{value:?}");
            assert_eq!(read(&[("retry-after", value)], true), expected, "{value:?}");
        }
    }

    #[test]
    fn the_time_of_a_reset_counts_where_the_limit_is_used_up() {
        let later = (NOW + 90).to_string();
        let millis = ((NOW + 90) * 1000).to_string();
        let far = (NOW + 1_000_000).to_string();
        let past = (NOW - 10).to_string();
        for name in ["x-ratelimit-reset", "ratelimit-reset"] {
            for (value, expected) in [
                (later.as_str(), Some(90)),
                (&millis, Some(90)),
                (&far, Some(3600)),
                (&past, Some(0)),
                // Seconds from now, as the IETF's draft has it.
                ("45", Some(45)),
                ("100000", Some(3600)),
                ("-5", None),
                ("soon", None),
            ] {
                let expected = expected.map(Duration::from_secs);
                assert_eq!(read(&[(name, value)], true), expected, "{name}: {value}");
                assert_eq!(read(&[(name, value)], false), None, "{name}: {value}");
                for left in ["x-ratelimit-remaining", "ratelimit-remaining"] {
                    assert_eq!(read(&[(name, value), (left, "0")], false), expected);
                    assert_eq!(read(&[(name, value), (left, "1")], false), None);
                }
            }
        }
    }

    #[test]
    fn retry_after_goes_before_a_reset_and_a_bad_one_does_not_hide_it() {
        let later = (NOW + 90).to_string();
        let reset = ("x-ratelimit-reset", later.as_str());
        for (value, expected) in [("7", 7), ("-7", 90), ("soon", 90)] {
            let pause = read(&[("retry-after", value), reset], true);
            assert_eq!(pause, Some(Duration::from_secs(expected)), "{value}");
        }
    }

    #[test]
    fn gitlabs_date_and_azures_delay_are_read_too() {
        for (name, value, expected) in [
            ("ratelimit-resettime", "Thu, 01 Jan 2026 00:02:00 GMT", Some(120.0)),
            ("ratelimit-resettime", "Fri, 01 Jan 2027 00:02:00 GMT", Some(3600.0)),
            ("x-ratelimit-delay", "2.5", Some(2.5)),
            ("x-ratelimit-delay", "86400", Some(3600.0)),
            ("x-ratelimit-delay", "-1", None),
        ] {
            let expected = expected.map(Duration::from_secs_f64);
            assert_eq!(read(&[(name, value)], true), expected, "{name}: {value}");
            assert_eq!(read(&[(name, value)], false), None, "it was not at its limit");
        }
    }
}
