#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "test code"
)]

use serde_json::json;

use super::*;

#[test]
fn every_path_has_its_line() {
    let text = "# a comment\n---\nkind: A\nspec:\n  environments:\n    - name: dev\n    - name: prod\n      targets: [{namespace: a}]\n---\n---\nkind: B\n";
    let documents = documents(text).unwrap();
    assert_eq!(documents.len(), 2);
    let first = &documents[0];
    assert_eq!(
        first.value,
        json!({"kind": "A", "spec": {"environments": [{"name": "dev"}, {"name": "prod", "targets": [{"namespace": "a"}]}]}})
    );
    assert_eq!(
        (first.line, first.line_of("kind"), first.line_of("spec.environments[1].name")),
        (3, 3, 7)
    );
    assert_eq!(first.line_of("spec.environments[1].targets[0].namespace"), 8);
    assert_eq!(
        first.line_of("spec.environments[1].promotion.strategy"),
        7,
        "the nearest known ancestor"
    );
    assert_eq!(first.line_of("elsewhere"), 3);
    assert_eq!(documents[1].line_of("kind"), 11);
}

#[test]
fn scalars_follow_the_core_schema() {
    let value = |text: &str| documents(&format!("a: {text}")).unwrap().remove(0).value["a"].clone();
    for (text, expected) in [
        ("1.10", json!(1.1)),
        ("12", json!(12)),
        ("-3", json!(-3)),
        ("0o17", json!(15)),
        ("0x1f", json!(31)),
        ("1e3", json!(1000.0)),
        ("yes", json!("yes")),
        ("true", json!(true)),
        ("~", json!(null)),
        ("'12'", json!("12")),
        ("!!str 12", json!("12")),
        ("1.2.3", json!("1.2.3")),
        ("10m", json!("10m")),
        (".", json!(".")),
        ("e3", json!("e3")),
        ("18446744073709551615", json!(u64::MAX)),
    ] {
        assert_eq!(value(text), expected, "{text}");
    }
}

#[test]
fn duplicate_keys_are_refused_with_line_and_path() {
    let error = documents("a:\n  b: 1\n  c: 2\n  b: 3\n").unwrap_err();
    assert_eq!(error.to_string(), "line 4: a.b: the key is there twice");
}

#[test]
fn a_syntax_error_has_a_line() {
    assert_eq!(documents("a: 1\nb: }\n").unwrap_err().line, 2);
}

#[test]
fn aliases_and_merge_keys_work_within_a_budget() {
    let text = "base: &b {x: 1, y: 2}\nmore: {<<: *b, y: 3}\nlist: [*b]\n";
    assert_eq!(
        documents(text).unwrap()[0].value,
        json!({"base": {"x": 1, "y": 2}, "more": {"x": 1, "y": 3}, "list": [{"x": 1, "y": 2}]})
    );
    let mut bomb = "a0: &a0 [1,1,1,1,1,1,1,1,1,1]\n".to_owned();
    for level in 1..9 {
        let items = vec![format!("*a{}", level - 1); 10].join(",");
        bomb.push_str(&format!("a{level}: &a{level} [{items}]\n"));
    }
    assert!(documents(&bomb).unwrap_err().message.contains("too large"));
}

#[test]
fn what_json_cannot_hold_is_refused() {
    for text in [
        "a: .inf",
        "a: .nan",
        "a: 99999999999999999999",
        "[1]: 2",
        "a: !custom b",
        "a: !!int b",
        "a: *missing",
        "a: &a [*a]",
    ] {
        assert!(documents(text).is_err(), "{text}");
    }
}

/// Resident memory of this process, in bytes.
fn resident() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

#[test]
fn a_small_file_takes_no_large_memory() {
    const MIB: usize = 1 << 20;
    let key = "k".repeat(MIB);
    let scalar = "x".repeat(MIB);
    let nested = format!("{}{scalar}{}", "[&a ".repeat(200), "]".repeat(200));
    for (what, text) in [
        ("a long key above a list", format!("? \"{key}\"\n: [{}]\n", "1,".repeat(2_000))),
        ("keys below keys", format!("{}1", "? \"".to_owned() + &key + "\"\n: ")),
        ("many aliases of a long text", format!("- &a {scalar}\n{}", "- *a\n".repeat(2_000))),
        ("anchors within anchors", format!("a: {nested}\n")),
        (
            "a middling key above a long list",
            format!("? \"{}\"\n: [{}]\n", "k".repeat(1_000), "1,".repeat(500_000)),
        ),
    ] {
        let before = resident();
        let read = documents(&text);
        let grown = resident().saturating_sub(before);
        assert!(grown < 300 * MIB, "{what}: {} MiB", grown / MIB);
        if let Err(error) = read {
            assert!(error.to_string().len() < 1_000, "{what}: the error repeats the file");
            assert!(error.message.contains("too large"), "{what}: {error}");
        }
    }
}

#[test]
fn below_a_long_key_the_line_is_that_of_what_is_above() {
    let text = format!("spec:\n  ? \"{}\"\n  :\n    - 1\n    - 2\nnext: 1\n", "k".repeat(100_000));
    let document = documents(&text).unwrap().remove(0);
    assert_eq!(document.line_of(&format!("spec.{}[1]", "k".repeat(100_000))), 1);
    assert_eq!(document.line_of("next"), 6);
}

#[test]
fn any_number_of_comments_may_follow_a_key() {
    let text = format!("a:\n{}b: 1\n", "# c\n".repeat(500));
    assert_eq!(documents(&text).unwrap()[0].value, json!({"a": null, "b": 1}));
}
