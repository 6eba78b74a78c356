#![allow(clippy::unwrap_used, clippy::panic, reason = "test code")]

use super::*;

fn open() -> AddressPolicy {
    AddressPolicy {
        allow_insecure: vec!["http://127.0.0.1".to_owned(), "file:///".to_owned()],
        allowed_hosts: Vec::new(),
    }
}

#[cfg_attr(target_arch = "wasm32", wasm_bindgen_test::wasm_bindgen_test)]
#[cfg_attr(not(target_arch = "wasm32"), test)]
fn every_usual_form_has_one_canonical_text() {
    for (text, canonical) in [
        ("https://GitHub.com/o/r.git", "https://github.com/o/r.git"),
        ("https://github.com:443/o/r", "https://github.com/o/r"),
        ("https://org@dev.azure.com/org/p/_git/r", "https://dev.azure.com/org/p/_git/r"),
        ("https://git.example.com:8443/scm/k/r.git", "https://git.example.com:8443/scm/k/r.git"),
        ("ssh://git@host/o/r.git", "ssh://git@host/o/r.git"),
        ("ssh://git@host:2222/o/a%20b", "ssh://git@host:2222/o/a b"),
        ("git@github.com:o/r.git", "ssh://git@github.com/./o/r.git"),
        ("git@github.com:/o/r.git", "ssh://git@github.com/o/r.git"),
        ("https://[::1]:8443/r", "https://[::1]:8443/r"),
        ("http://127.0.0.1:8080/r.git", "http://127.0.0.1:8080/r.git"),
        ("file:///srv/r.git", "file:///srv/r.git"),
        ("file://localhost/srv/r.git", "file:///srv/r.git"),
        ("/srv/r.git", "file:///srv/r.git"),
        ("https://bb.example/projects/KEY/repos/app/browse", "https://bb.example/scm/KEY/app.git"),
        ("https://h:7990/bb/projects/K/repos/a", "https://h:7990/bb/scm/K/a.git"),
        ("https://h/users/jo/repos/a/browse", "https://h/scm/~jo/a.git"),
    ] {
        let url = RemoteUrl::parse(text, &open()).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(url.as_str(), canonical, "{text}");
    }
}

#[cfg_attr(target_arch = "wasm32", wasm_bindgen_test::wasm_bindgen_test)]
#[cfg_attr(not(target_arch = "wasm32"), test)]
fn what_could_become_an_option_or_another_file_is_refused() {
    for text in [
        "",
        " ",
        "host",
        "ftp://h/p",
        "git://h/p",
        "ext::sh -c id",
        "ext::sh",
        "https://",
        "https:///p",
        "https://h",
        "https://h/",
        "https://u:p@h/r",
        "ssh://u:p@h/r",
        "ssh://-oProxyCommand=x/r",
        "-oProxyCommand=x:r",
        "ssh://-u@h/r",
        "git@-h:r",
        "git@h:-r",
        "git@h:",
        "https://h/../r",
        "https://h/a/./r",
        "file:///a/../../etc",
        "file:///%2e%2e/etc",
        "file://host/p",
        "https://h/r?x=1",
        "https://h/r#f",
        "ssh://h/a'b",
        "ssh://h/a%0ab",
        "ssh://h/a%zz",
        "https://h:0/r",
        "https://h:99999/r",
        "https://h:+80/r",
        "https://h_%/r",
        "https://h\n/r",
    ] {
        assert!(RemoteUrl::parse(text, &open()).is_err(), "{text:?} was accepted");
    }
}

#[cfg_attr(target_arch = "wasm32", wasm_bindgen_test::wasm_bindgen_test)]
#[cfg_attr(not(target_arch = "wasm32"), test)]
fn what_a_browser_shows_is_refused_with_what_to_do() {
    for url in ["https://dev.azure.com/o/p/_git/r?version=GBmain", "https://h/o/r#readme"] {
        let error = RemoteUrl::parse(url, &open()).unwrap_err();
        assert!(matches!(error, UrlError::Query(_)), "{url}: {error:?}");
        assert!(error.to_string().contains("baseBranch"), "{error}");
    }
    for url in [
        "https://gitlab.com/g/sub/p/-/tree/main",
        "https://codeberg.org/o/r/src/branch/main",
        "https://github.com/o/r/tree/main",
        "https://github.com/o/r/pull/7",
    ] {
        let error = RemoteUrl::parse(url, &open()).unwrap_err();
        assert!(matches!(error, UrlError::Page(_)), "{url}: {error:?}");
    }
}

#[cfg_attr(target_arch = "wasm32", wasm_bindgen_test::wasm_bindgen_test)]
#[cfg_attr(not(target_arch = "wasm32"), test)]
fn a_password_is_never_repeated_in_the_error() {
    let error = RemoteUrl::parse("https://u:hunter2@h/r", &open()).unwrap_err();
    assert_eq!(error, UrlError::Password);
    assert!(!error.to_string().contains("hunter2"));
}

#[cfg_attr(target_arch = "wasm32", wasm_bindgen_test::wasm_bindgen_test)]
#[cfg_attr(not(target_arch = "wasm32"), test)]
fn insecure_prefixes_end_at_a_segment() {
    let policy = AddressPolicy {
        allow_insecure: vec![
            "file:///srv/git".to_owned(),
            "http://127.0.0.1".to_owned(),
            "http://h/a".to_owned(),
        ],
        allowed_hosts: Vec::new(),
    };
    for ok in [
        "file:///srv/git",
        "file:///srv/git/a",
        "http://127.0.0.1/a",
        "http://127.0.0.1:81/a",
        "http://h/a/b",
    ] {
        assert!(RemoteUrl::parse(ok, &policy).is_ok(), "{ok}");
    }
    for bad in [
        "file:///srv/gitx",
        "file:///srv",
        "http://127.0.0.1.evil/a",
        "http://127.0.0.10/a",
        "http://h/ab",
    ] {
        assert!(matches!(RemoteUrl::parse(bad, &policy), Err(UrlError::Insecure(_))), "{bad}");
    }
    assert!(RemoteUrl::parse("file:///srv/git", &AddressPolicy::default()).is_err());
}

#[cfg_attr(target_arch = "wasm32", wasm_bindgen_test::wasm_bindgen_test)]
#[cfg_attr(not(target_arch = "wasm32"), test)]
fn only_listed_hosts_are_talked_to() {
    let policy = AddressPolicy {
        allow_insecure: Vec::new(),
        allowed_hosts: vec!["github.com".to_owned(), "*.example.com".to_owned()],
    };
    for ok in ["https://GITHUB.com/o/r", "git@git.example.com:r", "https://a.b.example.com/r"] {
        assert!(RemoteUrl::parse(ok, &policy).is_ok(), "{ok}");
    }
    for bad in ["https://example.com/r", "https://evilexample.com/r", "https://github.com.evil/r"] {
        assert!(matches!(RemoteUrl::parse(bad, &policy), Err(UrlError::Host(_))), "{bad}");
    }
}
