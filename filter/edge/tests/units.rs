//! Durations, sizes and rate limits as they are written.
#![allow(clippy::unwrap_used, reason = "test code")]

use core::time::Duration;

use lockgate_edge::limit::RateLimit;
use lockgate_edge::units::{
    Size, Span, UnitProblem, format_duration, format_size, parse_duration, parse_size,
};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

#[test]
fn durations_are_read_and_written() {
    for (text, millis) in [
        ("20ms", 20),
        ("30s", 30_000),
        ("10m", 600_000),
        ("24h", 86_400_000),
        ("1m30s", 90_000),
        ("1h0m1s", 3_601_000),
        ("0", 0),
        ("0s", 0),
        ("1.5h", 5_400_000),
        (".5s", 500),
        ("1.s", 1_000),
        ("2000us", 2),
        ("2000µs", 2),
        ("1000000ns", 1),
    ] {
        assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
        let written = format_duration(Duration::from_millis(millis));
        assert_eq!(parse_duration(&written), Ok(Duration::from_millis(millis)), "{written}");
    }
    assert_eq!(format_duration(Duration::from_secs(90)), "1m30s");
    assert_eq!(format_duration(Duration::from_secs(86_400)), "24h");
    assert_eq!(format_duration(Duration::ZERO), "0s");
    assert_eq!(format_duration(Duration::from_nanos(1_500_000_001)), "1s500ms1ns");
}

#[test]
fn what_is_no_duration_is_named() {
    for (text, problem) in [
        ("", UnitProblem::Empty),
        ("30", UnitProblem::DurationUnit),
        ("s", UnitProblem::Number),
        ("-1s", UnitProblem::DurationUnit),
        ("1d", UnitProblem::DurationUnit),
        ("1 s", UnitProblem::DurationUnit),
        ("1s ", UnitProblem::DurationUnit),
        ("1.2.3s", UnitProblem::Number),
        (".s", UnitProblem::Number),
        ("999999999999h", UnitProblem::Range),
        ("99999999999999999999999999999999999999999h", UnitProblem::Number),
    ] {
        assert_eq!(parse_duration(text).unwrap_err().problem(), problem, "{text:?}");
    }
    assert!(
        parse_duration("1d")
            .unwrap_err()
            .to_string()
            .starts_with("\"1d\" is not a duration: expected")
    );
}

#[test]
fn sizes_are_read_and_written() {
    for (text, bytes) in [
        ("64KiB", 65_536),
        ("1MiB", 1 << 20),
        ("2GiB", 2 << 30),
        ("65536", 65_536),
        ("10B", 10),
        ("0", 0),
    ] {
        assert_eq!(parse_size(text), Ok(bytes), "{text}");
        assert_eq!(parse_size(&format_size(bytes)), Ok(bytes));
    }
    assert_eq!(format_size(65_536), "64KiB");
    assert_eq!(format_size(65_537), "65537");
    for text in ["", "KiB", "1kb", "64KB", "-1", "1.5KiB", "99999999999GiB", " 1"] {
        assert!(parse_size(text).is_err(), "{text:?}");
    }
}

#[test]
fn yaml_values_are_strings_or_plain_byte_counts() {
    assert_eq!(serde_json::from_str::<Span>("\"1m30s\"").unwrap(), Span(Duration::from_secs(90)));
    assert!(serde_json::from_str::<Span>("90").is_err());
    assert_eq!(serde_json::to_string(&Span(Duration::from_secs(90))).unwrap(), "\"1m30s\"");
    assert_eq!(serde_json::from_str::<Size>("\"64KiB\"").unwrap(), Size(65_536));
    assert_eq!(serde_json::from_str::<Size>("65536").unwrap(), Size(65_536));
    assert!(serde_json::from_str::<Size>("-1").is_err());
}

#[test]
fn rate_limits_are_checked() {
    let limit: RateLimit = serde_json::from_str(r#"{"requests": 20, "interval": "30s"}"#).unwrap();
    assert_eq!(limit, RateLimit::endpoint_default());
    assert_eq!(serde_json::to_string(&limit).unwrap(), r#"{"requests":20,"interval":"30s"}"#);
    for (text, problem) in [
        (r#"{"requests": 0, "interval": "30s"}"#, "requests must be at least 1"),
        (r#"{"requests": 1, "interval": "0s"}"#, "interval is 0s, expected 1ms to 24h"),
        (r#"{"requests": 1, "interval": "25h"}"#, "interval is 25h, expected 1ms to 24h"),
        (r#"{"requests": 1, "interval": "30s", "burst": 1}"#, "unknown field `burst`"),
    ] {
        let error = serde_json::from_str::<RateLimit>(text).unwrap_err().to_string();
        assert!(error.contains(problem), "{error}");
    }
}
