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

#[test]
fn a_line_is_found_also_behind_keys_with_dots_and_quotes() {
    let text = "data:\n  ca.crt: x\n  'odd key': y\nlist:\n- - a\n  - b\n";
    let document = documents(text).unwrap().remove(0);
    assert_eq!(document.line_of("data[\"ca.crt\"]"), 2);
    assert_eq!(document.line_of("data[\"odd key\"]"), 3);
    assert_eq!(document.line_of("list[0][1]"), 6);
    assert_eq!(document.line_of("list[7]"), 4);
}

#[test]
fn what_a_document_costs_is_bounded_by_its_size() {
    let mebibyte = "k".repeat(1 << 20);
    let long_key = format!("? \"{mebibyte}\"\n: [{}]\n", vec!["1"; 2000].join(","));
    assert!(documents(&long_key).unwrap_err().message.contains("a key of more than 1024 bytes"));
    let aliased = format!("a: &a \"{mebibyte}\"\nb: [{}]\n", vec!["*a"; 2000].join(","));
    assert!(documents(&aliased).unwrap_err().message.contains("too large"));
    let anchors = (0..40).map(|level| format!("&a{level} [")).collect::<String>();
    let nested = format!("a: {anchors}\"{mebibyte}\"{}\n", "]".repeat(40));
    assert!(documents(&nested).unwrap_err().message.contains("too large"));
    let deep = format!("a: {}1{}\n", "[".repeat(100), "]".repeat(100));
    assert!(documents(&deep).is_err());
    let many = format!("[{}]\n", "1,".repeat(1_000_001));
    assert!(documents(&many).unwrap_err().message.contains("more than 1000000 values"));
}

#[test]
fn a_key_without_a_value_may_be_followed_by_any_number_of_comments() {
    let text = format!("a:\n{}b: 1\n", "  # switched off\n".repeat(500));
    assert_eq!(documents(&text).unwrap()[0].value, json!({"a": null, "b": 1}));
}

#[test]
fn a_broken_document_does_not_take_the_others_with_it() {
    let text =
        "%YAML 1.2\n---\nkind: A\n--- # second\nkind: [\n---\nkind: |\n  ---\n  C\n...\n---\n";
    let found: Vec<_> = parts(text).iter().map(Part::documents).collect();
    assert_eq!(found.len(), 4);
    assert_eq!(found[0].as_ref().unwrap()[0].value, json!({"kind": "A"}));
    assert_eq!(found[0].as_ref().unwrap()[0].line_of("kind"), 3);
    assert!(found[1].as_ref().unwrap_err().line >= 5);
    assert_eq!(found[2].as_ref().unwrap()[0].value, json!({"kind": "---\nC\n"}));
    assert!(found[3].as_ref().unwrap().is_empty());
}

#[test]
fn the_text_of_a_broken_document_shows_which_object_it_is() {
    let named = |text: &str| {
        let part = parts(text)[0];
        let Named { kind, namespace, name } = part.named();
        (
            kind.unwrap_or("-").to_owned(),
            format!("{}/{}", namespace.unwrap_or("-"), name.unwrap_or("-")),
        )
    };
    for (text, kind, name) in [
        (
            "kind: Pipeline\nmetadata:\n  name: app\n  namespace: team\nspec: [",
            "Pipeline",
            "team/app",
        ),
        (
            "kind: Secret # a key\nmetadata: {namespace: 'team', name: \"app\"}\nx: [",
            "Secret",
            "team/app",
        ),
        (
            "metadata:\n  labels:\n    name: other\n  name: app\n  namespace: team\nspec:\n  name: no\n\tx: [",
            "-",
            "team/app",
        ),
        ("spec:\n  name: app\n  namespace: team\nkind: [", "-", "-/-"),
        ("some text: [", "-", "-/-"),
    ] {
        assert_eq!(named(text), (kind.to_owned(), name.to_owned()), "{text}");
    }
}
