//! How a text is written as a YAML scalar.

use granit_parser::ScalarStyle;

/// `value` in the quotes of `style`; a plain scalar stays plain where every reader, YAML 1.1
/// included, takes it for this very string.
pub(super) fn write_scalar(value: &str, style: ScalarStyle, flow: bool) -> String {
    let printable = value
        .chars()
        .all(|c| !c.is_control() && c != '\u{feff}' && c != '\u{2028}' && c != '\u{2029}');
    match style {
        ScalarStyle::SingleQuoted if printable => format!("'{}'", value.replace('\'', "''")),
        ScalarStyle::Plain if is_plain_string(value, flow) => value.to_owned(),
        _ => double_quoted(value),
    }
}

/// Whether `value` may stand in the body of a block scalar on a line of its own.
pub(super) fn fits_in_block(value: &str) -> bool {
    !value.is_empty()
        && !value.starts_with([' ', '\t'])
        && value.chars().all(|c| !c.is_control() && c != '\u{feff}')
}

fn double_quoted(value: &str) -> String {
    let mut out = String::with_capacity(value.len() + 2);
    out.push('"');
    for c in value.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() || matches!(c, '\u{feff}' | '\u{2028}' | '\u{2029}') => {
                out.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Plain in every context and a string in YAML 1.1 and 1.2. Narrow on purpose: quotes never hurt.
fn is_plain_string(value: &str, flow: bool) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || b"._+/@:-".contains(&b);
    let starts_well =
        value.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric() || b"._/+".contains(&b));
    let colon_misleads = value.ends_with(':') || (flow && value.contains(':'));
    starts_well
        && value.bytes().all(inner)
        && !colon_misleads
        && !value.starts_with("...")
        && !is_other_type(value)
}

/// Whether some YAML reader takes the plain text for something else than a string.
fn is_other_type(value: &str) -> bool {
    const WORDS: [&str; 15] = [
        "null", "true", "false", "yes", "no", "on", "off", "y", "n", ".inf", "+.inf", ".nan",
        "inf", "nan", "=",
    ];
    let lower = value.to_ascii_lowercase();
    WORDS.contains(&lower.as_str()) || is_number(&lower) || is_date(value)
}

fn is_number(lower: &str) -> bool {
    let digits = lower.strip_prefix(['+', '-']).unwrap_or(lower).replace('_', "");
    let radix = |prefix: &str, radix: u32| {
        digits
            .strip_prefix(prefix)
            .is_some_and(|rest| !rest.is_empty() && rest.chars().all(|c| c.is_digit(radix)))
    };
    let sexagesimal = || {
        let mut parts = digits.split(':');
        let number =
            |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        digits.contains(':') && parts.all(number)
    };
    // Also what is too large for a float (`12e4567`): readers differ about it.
    let float = || digits.bytes().any(|b| b.is_ascii_digit()) && digits.parse::<f64>().is_ok();
    float() || radix("0x", 16) || radix("0o", 8) || radix("0b", 2) || sexagesimal()
}

/// `2021-01-01`, with or without a time.
fn is_date(value: &str) -> bool {
    let mut parts = value.splitn(3, '-');
    let mut digits = |min: usize, max: usize, open: bool| {
        parts.next().is_some_and(|part| {
            let count = part.bytes().take_while(u8::is_ascii_digit).count();
            (min..=max).contains(&count) && (open || count == part.len())
        })
    };
    digits(4, 4, false) && digits(1, 2, false) && digits(1, 2, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_every_reader_takes_for_a_string_stays_plain() {
        for plain in [
            "1.2.3",
            "v2",
            "v1.10",
            "main-0a1b2c3",
            "sha-12e4567",
            "1.2.3+build.5",
            "ghcr.io/o/web:v2",
            "1-2",
        ] {
            assert_eq!(write_scalar(plain, ScalarStyle::Plain, false), plain);
        }
        for quoted in [
            "1.10",
            "1234",
            "0123",
            "0x1f",
            "0o17",
            "0b1",
            "1e3",
            "12e4567",
            "1_000",
            "true",
            "On",
            "y",
            "NULL",
            "~",
            "",
            "1:30",
            "2021-01-01",
            "2021-1-1T00:00:00Z",
            ".inf",
            ".5",
            "+1",
            "=",
            "a: b",
            "a #b",
            "a:",
            "-",
            "- a",
            "@a",
            "*a",
            "&a",
            "!a",
            "a\"b",
            "a\\",
            "é",
            "a,b",
            "...",
            "---",
        ] {
            let written = write_scalar(quoted, ScalarStyle::Plain, false);
            assert!(written.starts_with('"'), "{quoted} was written as {written}");
        }
        assert_eq!(write_scalar("a:b", ScalarStyle::Plain, true), "\"a:b\"");
    }

    #[test]
    fn quotes_stay_what_they_were() {
        assert_eq!(write_scalar("1.10", ScalarStyle::SingleQuoted, false), "'1.10'");
        assert_eq!(write_scalar("it's", ScalarStyle::SingleQuoted, false), "'it''s'");
        assert_eq!(write_scalar("a\nb", ScalarStyle::SingleQuoted, false), "\"a\\nb\"");
        assert_eq!(
            write_scalar("a\"\\\u{1}", ScalarStyle::DoubleQuoted, false),
            "\"a\\\"\\\\\\u0001\""
        );
    }
}
