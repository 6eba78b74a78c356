//! The time that an event was signed with. It tells an old message from a fresh one before anybody
//! pays for it; whether the event is believed is the sidecar's decision. So this reads no more of
//! the JSON than it must, and takes little room in the module.

use crate::Freshness;

/// Whether the event in `body` has a time within `freshness` of `now` (nanoseconds since the Unix
/// epoch). False for what is no event, or has no time.
pub(crate) fn is_fresh(body: &[u8], freshness: Freshness, now: u64) -> bool {
    let Some(time) = timestamp(body).and_then(rfc_3339) else { return false };
    let now = i64::try_from(now / NANOS).unwrap_or(i64::MAX);
    let within = |span: i64, limit: u64| u64::try_from(span).is_ok_and(|span| span <= limit);
    if time <= now {
        within(now.saturating_sub(time), freshness.past.as_secs())
    } else {
        within(time.saturating_sub(now), freshness.future.as_secs())
    }
}

/// The text of the member `timestamp` of the object that `json` is. What is no JSON may give
/// nonsense, which then is no time.
fn timestamp(json: &[u8]) -> Option<&str> {
    let mut depth = 0usize;
    // The last string at depth 1 that began where a key can be.
    let mut key: &[u8] = b"";
    let mut expects_key = false;
    let mut at = 0;
    while let Some(byte) = json.get(at) {
        at += 1;
        match byte {
            b'{' | b'[' => {
                depth += 1;
                expects_key = *byte == b'{';
            }
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                expects_key = false;
            }
            b',' => expects_key = true,
            b':' => expects_key = false,
            b'"' => {
                let text = json.get(at..at + string_length(json.get(at..)?)?)?;
                at += text.len() + 1;
                match (depth, expects_key) {
                    (1, true) => key = text,
                    (1, false) if key == b"timestamp" => return core::str::from_utf8(text).ok(),
                    _ => {}
                }
            }
            _ => {}
        }
    }
    None
}

/// The length of a JSON string that begins here, up to its closing quote.
fn string_length(text: &[u8]) -> Option<usize> {
    let mut escaped = false;
    text.iter().position(|byte| {
        let ends = *byte == b'"' && !escaped;
        escaped = *byte == b'\\' && !escaped;
        ends
    })
}

/// `2026-11-25T18:10:38Z`, with any fraction, and any offset instead of `Z`.
fn rfc_3339(text: &str) -> Option<i64> {
    let number = |range: core::ops::Range<usize>| {
        let digits = text.get(range).filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()));
        digits.and_then(|digits| digits.parse::<i64>().ok())
    };
    let sign = |at: usize, allowed: &[u8]| {
        text.as_bytes().get(at).is_some_and(|found| allowed.contains(found)).then_some(())
    };
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    [(4, b"-" as &[u8]), (7, b"-"), (10, b"Tt "), (13, b":"), (16, b":")]
        .into_iter()
        .try_for_each(|(at, allowed)| sign(at, allowed))?;
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 {
        return None;
    }
    let zone = text.get(19..)?.trim_start_matches(|c: char| c == '.' || c.is_ascii_digit());
    let offset = match zone {
        "Z" | "z" => 0,
        zone => {
            let (hours, minutes) = zone.get(1..)?.split_once(':')?;
            let offset = hours.parse::<u8>().ok()? as i64 * 60 + minutes.parse::<u8>().ok()? as i64;
            match zone.as_bytes().first()? {
                b'+' => offset * 60,
                b'-' => -offset * 60,
                _ => return None,
            }
        }
    };
    Some(days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second.min(59) - offset)
}

/// Days since the Unix epoch, in the Gregorian calendar. A year is counted from March, so that the
/// leap day is its last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

const NANOS: u64 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_flux_and_others_write_them() {
        for (text, expected) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2026-11-25T18:10:38Z", Some(1_795_630_238)),
            ("2026-11-25T18:10:38.123456789Z", Some(1_795_630_238)),
            ("2026-11-25T19:10:38+01:00", Some(1_795_630_238)),
            ("2026-11-25T13:40:38.5-04:30", Some(1_795_630_238)),
            ("2024-02-29T00:00:00z", Some(1_709_164_800)),
            ("2000-03-01 00:00:00Z", Some(951_868_800)),
            ("1969-12-31T23:59:59Z", Some(-1)),
            ("2016-12-31T23:59:60Z", Some(1_483_228_799)),
            ("9999-12-31T23:59:59Z", Some(253_402_300_799)),
            ("2026-11-25T18:10:38", None),
            ("2026-11-25", None),
            ("2026-13-25T18:10:38Z", None),
            ("2026-11-25T24:10:38Z", None),
            ("+026-11-25T18:10:38Z", None),
            ("2026-11-25T18:10:38+1", None),
            ("yesterday", None),
            ("", None),
            ("2026-11-25T18:10:38é", None),
        ] {
            assert_eq!(rfc_3339(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_event_is_never_fresh() {
        let freshness = Freshness::default();
        let now = 1_795_630_238 * 1_000_000_000;
        let fresh = |body: &str| is_fresh(body.as_bytes(), freshness, now);
        assert!(fresh(r#"{"a":[1,{"timestamp":"x"}],"timestamp":"2026-11-25T18:10:38Z"}"#));
        assert!(fresh(r#"{ "timestamp" : "2026-11-25T18:00:38Z" }"#), "just fresh");
        assert!(!fresh(r#"{"timestamp":"2026-11-25T18:00:37Z"}"#), "just too old");
        assert!(fresh(r#"{"timestamp":"2026-11-25T18:12:38Z"}"#), "just not too far ahead");
        assert!(!fresh(r#"{"timestamp":"2026-11-25T18:12:39Z"}"#), "too far ahead");
        for body in [
            "",
            "{}",
            "[]",
            "null",
            "\"",
            "{\"",
            r#"{"timestamp"#,
            r#"{"timestamp":"#,
            r#"{"timestamp":5}"#,
            r#"{"timestamp":"2026"}"#,
            r#"{"timestamp":"\"#,
            r#"{"message":"\"timestamp\":\"2026-11-25T18:10:38Z\""}"#,
            r#"{"a":"timestamp","b":"2026-11-25T18:10:38Z"}"#,
            r#"{"metadata":{"timestamp":"2026-11-25T18:10:38Z"}}"#,
            r#"["timestamp","2026-11-25T18:10:38Z"]"#,
            "]]]}}}",
        ] {
            assert!(!fresh(body), "{body}");
        }
        let escaped = r#"{"message":"ends in \\","timestamp":"2026-11-25T18:10:38Z","x":[1]}"#;
        assert!(fresh(escaped));
    }
}
