//! Fields without a value, templates, what is switched off, what SOPS protects, and bounds.

use super::*;

#[test]
fn a_field_without_a_value_takes_the_first_one() {
    becomes("v: # M\n", "v: 2.0.0 # M\n");
    becomes("v:   # M\nw: 1\n", "v: 2.0.0   # M\nw: 1\n");
    becomes("v: # M", "v: 2.0.0 # M");
    becomes("a:\n  v: # M\nb: 1\n", "a:\n  v: 2.0.0 # M\nb: 1\n");
    becomes("\"v\" : # M\n", "\"v\" : 2.0.0 # M\n");
    becomes("v: &a # M\nw: *a\n", "v: &a 2.0.0 # M\nw: *a\n");
    becomes("# M\nv:\nw: 1\n", "# M\nv: 2.0.0\nw: 1\n");
    becomes("- # M\n- x\n", "- 2.0.0 # M\n- x\n");
    becomes("v: # M\r\nw: 1\r\n", "v: 2.0.0 # M\r\nw: 1\r\n");
    becomes("v: # M\n# words\n\n", "v: 2.0.0 # M\n# words\n\n");
    let scan = scan_for(expand("v: # M\n").as_bytes(), &[promotion()]);
    assert_eq!(scan.found.first().unwrap().old, "");
}

#[test]
fn a_template_is_called_one() {
    is_passed_over("v: {{ .Values.x }} # M\n", 1, "the value is a template");
    is_passed_over("# M\nv: {{ version }}\n", 1, "the value is a template");
    is_passed_over("{{ if .x }}\nv: 1 # M\n{{ end }}\n", 2, "template and not YAML");
    is_passed_over("v: 1 # M\n{% if x %}\n", 2, "template and not YAML");
}

#[test]
fn a_marker_in_a_commented_line_is_switched_off() {
    for text in [
        "v: 1\n# v: 0.9.0 # M\n",
        "#v: 0.9.0 #M\n",
        "a:\n  #   - image: x:1 # M\n",
        "## v: 0.9.0 ## M\n",
        "# # M\n# v: 0.9.0\n",
        "# M\n# v: 0.9.0\n",
        "# M\n#   - name: x\nv: 1\n",
        "# v: 1 # {'$promotion': 'ns:app:prod'}\n",
        "#v: 1 # M and words\n",
    ] {
        let scan = scan_for(expand(text).as_bytes(), &[promotion()]);
        assert_eq!((scan.found.len(), scan.passed_over.len()), (0, 0), "{text:?}: {scan:?}");
        let [off] = scan.switched_off.as_slice() else { panic!("{text:?}: {scan:?}") };
        assert!(off.reason.contains("ns:app:prod") && off.reason.contains("switched off"));
    }
}

#[test]
fn a_wrong_comment_says_what_the_right_one_is() {
    for text in ["v: 1 # {'$promotion': 'ns:app:prod'}\n", "v: 1 # {$promotion: ns:app:prod}\n"] {
        is_passed_over(text, 1, r#"{"$promotion": "ns:app:prod"}"#);
    }
}

#[test]
fn any_number_of_comments_may_follow_a_key() {
    let comments = "# c\n".repeat(2000);
    becomes(
        &format!("a:\n{comments}b: 1\nv: 1 # M\n"),
        &format!("a:\n{comments}b: 1\nv: 2.0.0 # M\n"),
    );
    becomes(&format!("- # M\n{comments}- x\n"), &format!("- 2.0.0 # M\n{comments}- x\n"));
}

#[test]
fn what_sops_protects_is_refused() {
    let sops = |more: &str| {
        format!("v: 1 # M\ns: ENC[AES256,data:x,type:str]\nsops:\n  mac: ENC[x]\n{more}")
    };
    is_passed_over(&sops(""), 1, "--mac-only-encrypted");
    is_passed_over(&sops("  mac_only_encrypted: false\n"), 1, "--mac-only-encrypted");
    is_passed_over(&format!("{}---\nw: 1\n", sops("")), 1, "--mac-only-encrypted");
    is_passed_over("v: ENC[AES256,data:x,type:str] # M\n", 1, "encrypted by SOPS");
    let clear = sops("  mac_only_encrypted: true\n");
    becomes(&clear, &clear.replacen("v: 1", "v: 2.0.0", 1));
    becomes("v: 1 # M\nsops: {image: x}\n", "v: 2.0.0 # M\nsops: {image: x}\n");
    becomes("v: 1 # M\na: {sops: {mac: x}}\n", "v: 2.0.0 # M\na: {sops: {mac: x}}\n");
}

#[test]
fn the_field_of_a_value_is_known() {
    for (text, key) in [
        ("commit: 1 # M\n", Some("commit")),
        ("# M\ndigest: 1\n", Some("digest")),
        ("a: {tag: 1} # x\nb: {commit: 1, # M\n}\n", Some("commit")),
        ("commit:\n  - 1 # M\n", Some("commit")),
        ("commit: [1] # M\n", Some("commit")),
        ("commit: # M\n", Some("commit")),
        ("a:\n  - commit: 1 # M\n", Some("commit")),
        ("- 1 # M\n", None),
        ("1 # M\n", None),
    ] {
        let scan = scan_for(expand(text).as_bytes(), &[promotion()]);
        assert_eq!(scan.found.first().unwrap().key.as_deref(), key, "{text:?}");
    }
}

#[test]
fn the_names_of_manifests() {
    for name in ["a.yaml", "a.yml", "A.YAML", "Kustomization", "values.yaml.gotmpl", "a.yml.tmpl"] {
        assert!(is_manifest(name.as_bytes()), "{name}");
    }
    for name in ["README.md", "kustomization", "a.yaml.bak", "a.json", "yaml", "helpers.tpl", ""] {
        assert!(!is_manifest(name.as_bytes()), "{name}");
    }
}

/// How long it takes to find and edit so many markers, at best.
fn time_of(count: usize) -> std::time::Duration {
    let text = expand(&"- v: 1.0.0 # M\n".repeat(count));
    let strings = expand(&"- 'M'\n".repeat(count));
    let once = |_| {
        let started = std::time::Instant::now();
        let scan = scan_for(text.as_bytes(), &[promotion()]);
        assert_eq!(scan.found.len(), count);
        let values = scan.found.iter().map(|found| (found, "2.0.0")).collect::<Vec<_>>();
        let edited = String::from_utf8(edit(text.as_bytes(), &values).unwrap()).unwrap();
        assert_eq!(edited, text.replace("1.0.0", "2.0.0"));
        assert_eq!(scan_for(strings.as_bytes(), &[promotion()]).passed_over.len(), count);
        started.elapsed()
    };
    (0..3).map(once).min().unwrap()
}

#[test]
fn the_time_of_a_file_grows_with_its_markers_and_not_with_their_square() {
    let (few, many) = (time_of(500), time_of(8_000));
    // 16 times as many: 16 times as long, or 256 times.
    assert!(many < few * 64, "{few:?} {many:?}");
}

#[test]
fn a_file_of_too_many_values_is_refused_before_it_takes_memory() {
    let text = expand(&format!("v: 1 # M\na: [{}]\n", "a,".repeat(600_000)));
    let scan = scan_for(text.as_bytes(), &[promotion()]);
    let [passed] = scan.passed_over.as_slice() else { panic!("{:?}", scan.passed_over) };
    assert!(passed.reason.contains("more than 500000 values"), "{passed:?}");
}
