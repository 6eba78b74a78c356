#![allow(clippy::unwrap_used, clippy::panic, reason = "test code")]

mod properties;
mod rules;

use lockgate_core::revision::Version;

use super::*;

fn promotion() -> Marker {
    Marker::Promotion("ns:app:prod".to_owned())
}

/// `M` stands for the comment's JSON.
fn expand(text: &str) -> String {
    text.replace('M', r#"{"$promotion": "ns:app:prod"}"#)
}

fn scan_for(text: &[u8], markers: &[Marker]) -> Scan {
    scan(text, &Wanted::new(markers))
}

fn promoted(text: &str, version: &str) -> (String, Scan) {
    let scan = scan_for(text.as_bytes(), &[promotion()]);
    let values = scan.found.iter().map(|found| (found, version)).collect::<Vec<_>>();
    let edited = edit(text.as_bytes(), &values).unwrap_or_else(|error| panic!("{text:?}: {error}"));
    (String::from_utf8(edited).unwrap(), scan)
}

#[track_caller]
fn becomes(before: &str, after: &str) {
    let (edited, scan) = promoted(&expand(before), "2.0.0");
    assert_eq!(edited, expand(after), "{scan:?}");
    assert_eq!(scan.passed_over, [], "{before:?}");
}

#[track_caller]
fn is_passed_over(text: &str, line: usize, reason: &str) {
    let scan = scan_for(expand(text).as_bytes(), &[promotion()]);
    assert_eq!(scan.found, [], "{text:?}");
    let [passed] = scan.passed_over.as_slice() else { panic!("{text:?}: {scan:?}") };
    assert!(passed.line == line && passed.reason.contains(reason), "{text:?}: {passed:?}");
}

#[test]
fn a_marker_edits_the_scalar_on_its_line() {
    becomes("v: 1.0.0 # M\n", "v: 2.0.0 # M\n");
    becomes("v: '1.0.0' # M\n", "v: '2.0.0' # M\n");
    becomes("v: \"1.0.0\" # M\n", "v: \"2.0.0\" # M\n");
    becomes("v:    1.0.0    #   M   \n", "v:    2.0.0    #   M   \n");
    becomes("v: 1.0.0\t# M\n", "v: 2.0.0\t# M\n");
    becomes("v: 1.0.0 #M\n", "v: 2.0.0 #M\n");
    becomes("v: 1.0.0 ## M\n", "v: 2.0.0 ## M\n");
    becomes("\"v\": 1.0.0 # M\n", "\"v\": 2.0.0 # M\n");
    becomes("? v\n: 1.0.0 # M\n", "? v\n: 2.0.0 # M\n");
    becomes("? v # M\n: 1.0.0\n", "? v # M\n: 2.0.0\n");
    becomes("v: &a 1.0.0 # M\nw: *a\n", "v: &a 2.0.0 # M\nw: *a\n");
    becomes("v: !!str 1.0.0 # M\n", "v: !!str 2.0.0 # M\n");
    becomes("v: &a !!str \"1\" # M\n", "v: &a !!str \"2.0.0\" # M\n");
    becomes("v: !Custom 1 # M\n", "v: !Custom 2.0.0 # M\n");
    becomes("v: \"\" # M\n", "v: \"2.0.0\" # M\n");
    becomes("v: '' # M\n", "v: '2.0.0' # M\n");
    becomes("- 1.0.0 # M\n- x\n", "- 2.0.0 # M\n- x\n");
    becomes("- - 1.0.0 # M\n", "- - 2.0.0 # M\n");
    becomes("- v: 1.0.0 # M\n  w: 1\n", "- v: 2.0.0 # M\n  w: 1\n");
    becomes("v: 1 # M\nw: 1 # M\nx: 1\n", "v: 2.0.0 # M\nw: 2.0.0 # M\nx: 1\n");
    becomes("1.0.0 # M\n", "2.0.0 # M\n");
    becomes("v: \"1\n  2\" # M\n", "v: \"2.0.0\" # M\n");
    becomes("v: 1\n  2 # M\n", "v: 2.0.0 # M\n");
    becomes(
        "<<: *a\nv: 1 # M\n".replace("<<: *a", "a: &a {b: c}\n<<: *a").as_str(),
        "a: &a {b: c}\n<<: *a\nv: 2.0.0 # M\n",
    );
}

#[test]
fn a_marker_alone_on_its_line_edits_the_field_below() {
    becomes("# M\nv: 1.0.0\n", "# M\nv: 2.0.0\n");
    becomes("a:\n  # M\n  v: 1.0.0\n  w: 1\n", "a:\n  # M\n  v: 2.0.0\n  w: 1\n");
    becomes("a:\n# M\n  v: 1.0.0\n", "a:\n# M\n  v: 2.0.0\n");
    becomes("a: 1\n# M\nv: 1.0.0\n", "a: 1\n# M\nv: 2.0.0\n");
    becomes("# words\n# M\nv: 1.0.0\n", "# words\n# M\nv: 2.0.0\n");
    becomes("\u{feff}# M\nv: 1.0.0\n", "\u{feff}# M\nv: 2.0.0\n");
    becomes("---\n# M\nv: 1.0.0\n", "---\n# M\nv: 2.0.0\n");
    becomes("# M\nv: |\n  1.0.0\n", "# M\nv: |-\n  2.0.0\n");
    becomes("# M\nv:\n  1.0.0\n", "# M\nv:\n  2.0.0\n");
    becomes("# M\n\"v\": 1.0.0\n", "# M\n\"v\": 2.0.0\n");
    becomes("# M\n? v\n: 1.0.0\n", "# M\n? v\n: 2.0.0\n");
    becomes("v:\n  # M\n  1.0.0\n", "v:\n  # M\n  2.0.0\n");
    becomes("a:\n  # M\n  - 1.0.0\n  - 2\n", "a:\n  # M\n  - 2.0.0\n  - 2\n");
    becomes("a:\n- 1\n# M\n- 1.0.0\n", "a:\n- 1\n# M\n- 2.0.0\n");
    becomes("{\n  # M\n  v: 1.0.0\n}\n", "{\n  # M\n  v: 2.0.0\n}\n");
    becomes("[\n  # M\n  1.0.0,\n  x\n]\n", "[\n  # M\n  2.0.0,\n  x\n]\n");
    becomes("&r\n# M\nv: 1\n", "&r\n# M\nv: 2.0.0\n");
    becomes("# M\n&k v: &x 1\n", "# M\n&k v: &x 2.0.0\n");
}

#[test]
fn a_marker_beside_a_key_edits_the_scalar_that_follows() {
    becomes("v: | # M\n  1.0.0\nw: 1\n", "v: |- # M\n  2.0.0\nw: 1\n");
    becomes("v: >- # M\n  1.0.0\n  and more\n\n\nw: 1\n", "v: >- # M\n  2.0.0\n\n\nw: 1\n");
    becomes("v: |+ # M\n  1.0.0\n\nw: 1\n", "v: |- # M\n  2.0.0\n\nw: 1\n");
    becomes("v: |2- # M\n    1.0.0\n", "v: |- # M\n    2.0.0\n");
    becomes("v: |-2 # M\n  1.0.0\n", "v: |- # M\n  2.0.0\n");
    becomes("v: | # M\n\n  1.0.0", "v: |- # M\n  2.0.0");
    becomes("v: &a | # M\n  1.0.0\n", "v: &a |- # M\n  2.0.0\n");
    becomes("- | # M\n  1.0.0\n- x\n", "- |- # M\n  2.0.0\n- x\n");
    becomes(
        "a:\n  v: | # M\n    1.0.0\n  # c\n  w: 1\n",
        "a:\n  v: |- # M\n    2.0.0\n  # c\n  w: 1\n",
    );
    becomes("v: |  # M\r\n  1.0.0\r\nw: 1\r\n", "v: |-  # M\r\n  2.0.0\r\nw: 1\r\n");
    becomes("v: # M\n  1.0.0\n", "v: # M\n  2.0.0\n");
    becomes("- # M\n  1.0.0\n", "- # M\n  2.0.0\n");
}

#[test]
fn flow_collections_take_a_marker_where_one_value_is_meant() {
    becomes("v: [1.0.0] # M\n", "v: [2.0.0] # M\n");
    becomes("v: [ '1.0.0' ]  # M\n", "v: [ '2.0.0' ]  # M\n");
    becomes("v: {\n  a: 1, # M\n  b: 2 # M\n}\n", "v: {\n  a: 2.0.0, # M\n  b: 2.0.0 # M\n}\n");
    becomes("v: [\n  1, # M\n  2\n]\n", "v: [\n  2.0.0, # M\n  2\n]\n");
    becomes("v: {a: 1,\n  b: 2 # M\n}\n", "v: {a: 1,\n  b: 2.0.0 # M\n}\n");
    is_passed_over("v: [1, 2] # M\n", 1, "list of one value");
    is_passed_over("v: [] # M\n", 1, "list of one value");
    is_passed_over("v: [[1]] # M\n", 1, "list of one value");
    is_passed_over("v: [\n  1] # M\n", 2, "list of one value");
    is_passed_over("v: {a: 1} # M\n", 1, "flow mapping");
}

#[test]
fn a_marker_that_fits_nowhere_is_reported_with_its_line() {
    is_passed_over("v: # M\n  a: 1\n", 1, "single value");
    is_passed_over("v: # M\n  - 1\n", 1, "single value");
    is_passed_over("# M\nv:\n  a: 1\n", 1, "single value");
    is_passed_over("# M\n- a: 1\n", 1, "single value");
    is_passed_over("- # M\n  a: 1\n", 1, "single value");
    is_passed_over("--- # M\nv: 1\n", 1, "single value");
    is_passed_over("v: | # M\nw: 1\n", 1, "no value");
    is_passed_over("a: &a 1\nv: *a # M\n", 2, "alias");
    is_passed_over("a: &a 1\n# M\nv: *a\n", 2, "alias");
    is_passed_over("v: 1\n# M\n", 2, "below");
    is_passed_over("a:\n  v: 1\n  # M\nb: 2\n", 3, "deeper");
    is_passed_over("# M\n\nv: 1\n", 1, "below");
    is_passed_over("# M\n# words\nv: 1\n", 1, "below");
    is_passed_over("# M\n---\nv: 1\n", 1, "below");
    is_passed_over("v: 1 # M and words\n", 1, "nothing else");
    is_passed_over("v: 1 # set by M\n", 1, "nothing else");
    is_passed_over("v: 1 # M M\n", 1, "nothing else");
    is_passed_over("v: 1 # {'$promotion': 'ns:app:prod'}\n", 1, "double quotes");
    is_passed_over("v: '# M'\n", 1, "inside a value");
    is_passed_over("v: |\n  w: 1 # M\n", 2, "inside a value");
    is_passed_over("v: !!int 1 # M\n", 1, "explicit tag");
    is_passed_over("v: 1 # M\na: {{- if }}\n", 2, "template and not YAML");
    is_passed_over("v: 1 # M\n\tw: 1\n", 1, "not YAML");
    is_passed_over("v: 1 # M\nw: \"open\n", 3, "not YAML");
}

#[test]
fn other_markers_are_nobody_s_business() {
    for text in [
        r#"v: 1 # {"$promotion": "ns:app:prod2"}"#,
        r#"v: 1 # {"$promotion": "ns:app:staging"}"#,
        r#"v: 1 # {"$imagepolicy": "ns:app:prod"}"#,
        r#"v: 1 # {"$promotion": ["ns:app:prod"]}"#,
        "v: 1 # words",
        "{{- if }} # {\"$promotion\": \"other:app:prod\"}",
    ] {
        assert_eq!(scan_for(text.as_bytes(), &[promotion()]), Scan::default(), "{text}");
    }
}

#[test]
fn json_may_have_escapes_and_more_keys() {
    for json in [
        r#"{"$promotion":"ns:app:prod"}"#,
        r#"{ "$promotion" : "ns:app:prod" , "note": 1 }"#,
        r#"{"$promotion": "ns\u003aapp:prod"}"#,
    ] {
        let (edited, _) = promoted(&format!("v: 1 # {json}\n"), "2.0.0");
        assert_eq!(edited, format!("v: 2.0.0 # {json}\n"));
    }
}

#[test]
fn everything_outside_the_scalar_stays() {
    becomes("v: 1 # M\r\nw:   x\r\n", "v: 2.0.0 # M\r\nw:   x\r\n");
    becomes("\u{feff}v: 1 # M\r\n", "\u{feff}v: 2.0.0 # M\r\n");
    becomes("v: 1 # M", "v: 2.0.0 # M");
    becomes("v: 1 # M\n\n\n  \n", "v: 2.0.0 # M\n\n\n  \n");
    becomes(
        "%TAG !e! tag:e,2000:\n---\nv: 1 # M\n...\n",
        "%TAG !e! tag:e,2000:\n---\nv: 2.0.0 # M\n...\n",
    );
    becomes(
        "# only\n---\n---\nv: 1 # M\n---\n# M\nw: 1\n---\n",
        "# only\n---\n---\nv: 2.0.0 # M\n---\n# M\nw: 2.0.0\n---\n",
    );
    becomes("é: ü\nv: 1 # M\nwide:      [ a,b ]\n", "é: ü\nv: 2.0.0 # M\nwide:      [ a,b ]\n");
    becomes("v: 1 # M\nv: 1 # M\n", "v: 2.0.0 # M\nv: 2.0.0 # M\n");
    becomes("a: {{ .Values.x }}\nv: 1 # M\n", "a: {{ .Values.x }}\nv: 2.0.0 # M\n");
    becomes("a:\n    - 1\n    -   b: c\nv: 1 # M\n", "a:\n    - 1\n    -   b: c\nv: 2.0.0 # M\n");
    becomes("v: 1 # M\r\rw: 1\r", "v: 2.0.0 # M\r\rw: 1\r");
}

#[test]
fn a_value_of_another_type_becomes_a_string() {
    for old in ["1", "1.5", "true", "null", "~", "2021-01-01", "\">=1.0.0\""] {
        let (edited, _) = promoted(&expand(&format!("v: {old} # M\n")), "1.10");
        assert_eq!(edited, expand("v: \"1.10\" # M\n"), "{old}");
    }
    let (edited, _) = promoted(&expand("v: '1' # M\n"), "1.10");
    assert_eq!(edited, expand("v: '1.10' # M\n"));
}

#[test]
fn a_version_with_odd_characters_is_written_so_that_it_reads_back() {
    for version in ["a\"b", "a\\", "a: b", "a #b", "{a}", "*a", "\u{e9}", "a\nb", "it's", " a ", ""]
    {
        for old in ["1", "'1'", "\"1\""] {
            let text = expand(&format!("v: {old} # M\nw: 1\n"));
            let (edited, _) = promoted(&text, version);
            let again = scan_for(edited.as_bytes(), &[promotion()]);
            assert_eq!(again.found.first().unwrap().old, version);
        }
    }
    let text = expand("v: | # M\n  1\n");
    let scan = scan_for(text.as_bytes(), &[promotion()]);
    let values = scan.found.iter().map(|found| (found, "a\nb")).collect::<Vec<_>>();
    assert_eq!(edit(text.as_bytes(), &values), Err(EditError::WouldBreak));
}

#[test]
fn two_different_markers_for_one_value_are_refused() {
    let other = Marker::Promotion("ns:other:prod".to_owned());
    let text = "# {\"$promotion\": \"ns:other:prod\"}\nv: 1 # {\"$promotion\": \"ns:app:prod\"}\n";
    let scan = scan_for(text.as_bytes(), &[promotion(), other]);
    assert_eq!(scan.found, []);
    assert_eq!(scan.passed_over.len(), 1);
    becomes("# M\nv: 1 # M\n", "# M\nv: 2.0.0 # M\n");
}

#[test]
fn a_file_that_is_not_utf8_is_reported() {
    let scan = scan_for(b"a: 1\nb: \xff # {\"$promotion\": \"ns:app:prod\"}\n", &[promotion()]);
    let [passed] = scan.passed_over.as_slice() else { panic!("{scan:?}") };
    assert_eq!((passed.line, passed.reason.as_str()), (2, "the file is not UTF-8"));
}

#[test]
fn an_edit_of_another_text_than_was_scanned_is_refused() {
    let scan = scan_for(expand("v: 1 # M\n").as_bytes(), &[promotion()]);
    let found = scan.found.first().unwrap();
    assert_eq!(edit(expand("v: 3 # M\n").as_bytes(), &[(found, "2")]), Err(EditError::Changed));
    assert_eq!(edit(b"", &[(found, "2")]), Err(EditError::Changed));
}

/// The golden results of `gitops-promotion`, except where it damages the file.
#[test]
fn image_policies_follow_the_original() {
    let policy = |part| Marker::ImagePolicy { group: "g".to_owned(), app: "app1".to_owned(), part };
    let all = [policy(ImagePart::Whole), policy(ImagePart::Tag), policy(ImagePart::Name)];
    let run = |text: &str, version: &str| {
        let version = Version::new(version).unwrap();
        let text = text
            .replace("TAG", r#"{"$imagepolicy": "g:app1:tag"}"#)
            .replace("NAME", r#"{"$imagepolicy": "g:app1:name"}"#)
            .replace("WHOLE", r#"{"$imagepolicy": "g:app1"}"#);
        let scan = scan_for(text.as_bytes(), &all);
        let values = scan
            .found
            .iter()
            .map(|found| {
                let key = found.key.as_deref();
                (found, found.marker.replacement(key, &found.old, &version).unwrap())
            })
            .collect::<Vec<_>>();
        let values =
            values.iter().map(|(found, value)| (*found, value.as_str())).collect::<Vec<_>>();
        let edited = String::from_utf8(edit(text.as_bytes(), &values).unwrap()).unwrap();
        edited.split(" #").next().unwrap_or_default().to_owned()
    };
    for (before, version, after) in [
        ("image: app1:v1 # WHOLE", "v2", "image: app1:v2"),
        ("image: ghcr.io/org/app1:v1 # WHOLE", "v2", "image: ghcr.io/org/app1:v2"),
        ("image: h:5000/org/app1:v1@sha256:0a # WHOLE", "v2", "image: h:5000/org/app1:v2"),
        ("image: h:5000/org/app1 # WHOLE", "v2", "image: h:5000/org/app1:v2"),
        ("image: ghcr.io/org/other:v1 # WHOLE", "v2", "image: app1:v2"),
        ("image: ghcr.io/org/app1:v1 # TAG", "v2", "image: ghcr.io/org/app1:v2"),
        ("newName: ghcr.io/org/app1 # NAME", "v2", "newName: ghcr.io/org/app1"),
        ("newName: other # NAME", "v2", "newName: app1"),
        ("tag: v1 # TAG", "v2", "tag: v2"),
        ("tag: \"1234\" # TAG", "v2", "tag: \"v2\""),
        ("tag: '1233' # TAG", "v2", "tag: 'v2'"),
        ("tag: 1234 # TAG", "v2", "tag: v2"),
        ("tag: v1 # TAG", "1234", "tag: \"1234\""),
        ("tag: v1 # TAG", "1e10", "tag: \"1e10\""),
        ("tag: v1 # TAG", "0123", "tag: \"0123\""),
        ("tag: v1 # TAG", "2021-01-01", "tag: \"2021-01-01\""),
        ("tag: \"\" # TAG", "v2", "tag: \"v2\""),
        ("- v1 # TAG", "v2", "- v2"),
        ("t: &t v1 # TAG", "v2", "t: &t v2"),
        ("tag: #TAG", "v2", "tag: v2"),
        ("tag: v1 # {\"$imagepolicy\": \"g:app1:digest\"}", "v2", "tag: v1"),
        ("tag: v1 # {\"$imagepolicy\": \"g:app2:tag\"}", "v2", "tag: v1"),
    ] {
        assert_eq!(run(before, version), after, "{before}");
    }
}

#[test]
fn markers_show_themselves_as_users_write_them() {
    assert_eq!(promotion().to_string(), r#"{"$promotion": "ns:app:prod"}"#);
}
