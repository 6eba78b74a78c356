//! What holds for any manifest.

use memchr::memmem;
use proptest::prelude::*;

use super::*;

/// Lines of a manifest, some with a marker.
fn manifest() -> impl Strategy<Value = String> {
    let value = prop_oneof![
        "[a-z0-9.]{1,6}",
        "'[a-z ]{0,5}'",
        "\"[a-z ]{0,5}\"",
        Just("[a]".to_owned()),
        Just("{a: b}".to_owned()),
        Just("|\n    x\n    y".to_owned()),
        Just("*a".to_owned()),
        Just(String::new()),
        Just("&a x".to_owned()),
    ];
    let comment = prop_oneof![
        3 => Just(String::new()),
        2 => Just(expand(" # M")),
        1 => Just(expand("\n# M")),
        1 => Just(expand("\n  # M")),
        1 => Just(" # words".to_owned()),
    ];
    let line = ("[ ]{0,1}[ ]{0,1}", "- |", "[a-e]{1,2}", value, comment).prop_map(
        |(indent, dash, key, value, comment)| format!("{indent}{dash}{key}: {value}{comment}"),
    );
    let break_ = prop_oneof![4 => Just("\n"), 1 => Just("\r\n")];
    (prop::collection::vec(line, 1..8), break_, any::<bool>(), any::<bool>()).prop_map(
        |(lines, end, bom, last)| {
            let mut text = lines.join(end);
            if last {
                text.push_str(end);
            }
            if bom { format!("\u{feff}{text}") } else { text }
        },
    )
}

/// The bytes that two texts do not share, cut from both ends.
fn differing<'a>(a: &'a str, b: &'a str) -> (&'a [u8], &'a [u8]) {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let front = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    let (a, b) = (a.get(front..).unwrap(), b.get(front..).unwrap());
    let back = a.iter().rev().zip(b.iter().rev()).take_while(|(a, b)| a == b).count();
    (a.get(..a.len() - back).unwrap(), b.get(..b.len() - back).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn bytes_outside_the_scalar_never_change(text in manifest(), version in "[A-Za-z0-9._+:/@-]{1,12}") {
        let scan = scan_for(text.as_bytes(), &[promotion()]);
        for found in &scan.found {
            let edited = edit(text.as_bytes(), &[(found, version.as_str())]);
            prop_assert!(edited.is_ok(), "{text:?}");
            let edited = String::from_utf8(edited.unwrap()).unwrap();
            let (gone, come) = differing(&text, &edited);
            prop_assert!(come.len() <= version.len() + 8, "{text:?} -> {edited:?}");
            prop_assert!(memmem::find(gone, b"$promotion").is_none() || found.old.contains("$promotion"), "{text:?} -> {edited:?}");
            let comments = text.matches('#').count() - found.old.matches('#').count();
            prop_assert_eq!(edited.matches('#').count(), comments);
            prop_assert_eq!(text.ends_with('\n'), edited.ends_with('\n'));
            let again = scan_for(edited.as_bytes(), &[promotion()]);
            prop_assert_eq!(again.found.len(), scan.found.len());
            prop_assert!(again.found.iter().any(|f| f.event == found.event && f.old == version));
        }
    }

    #[test]
    fn no_text_makes_scan_or_edit_fail(text in "[\\PC\r\n\t ]{0,40}( # \\{\"\\$promotion\": \"ns:app:prod\"\\}[\r\n]{1,2}[\\PC\r\n]{0,30}){0,3}") {
        let scan = scan_for(text.as_bytes(), &[promotion()]);
        for found in &scan.found {
            drop(edit(text.as_bytes(), &[(found, "2.0.0")]));
        }
    }

    #[test]
    fn any_value_reads_back_as_written(version in "\\PC{0,20}", old in prop_oneof!["[a-z]{1,5}", "'[a-z]{0,5}'", "\"[a-z]{0,5}\""]) {
        let text = expand(&format!("v: {old} # M\n"));
        let (edited, _) = promoted(&text, &version);
        let again = scan_for(edited.as_bytes(), &[promotion()]);
        prop_assert_eq!(&again.found.first().unwrap().old, &version);
    }
}
