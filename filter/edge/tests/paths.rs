//! The path grammar and the names in it.
#![allow(clippy::unwrap_used, reason = "test code")]

use lockgate_edge::endpoint::{
    Endpoint, EndpointError, PathError, PathPrefix, PipelineKey, is_dns_label, is_dns_subdomain,
    is_environment_name, parse_path,
};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

fn parse(path: &[u8]) -> Result<Endpoint, PathError> {
    parse_path(&PathPrefix::default(), path)
}

#[test]
fn three_names_after_the_prefix_are_an_endpoint() {
    let endpoint = parse(b"/promotion/team-a/podinfo/dev").unwrap();
    assert_eq!(
        (endpoint.namespace(), endpoint.pipeline(), endpoint.environment()),
        ("team-a", "podinfo", "dev")
    );
    assert_eq!(endpoint.to_string(), "team-a/podinfo/dev");
    assert_eq!(endpoint.pipeline_key(), PipelineKey::new("team-a", "podinfo").unwrap());
    assert_eq!(endpoint.pipeline_key().endpoint("dev").unwrap(), endpoint);
    assert_eq!(parse(b"/promotion/a/b.c-d/Pre_prod-1.2").unwrap().environment(), "Pre_prod-1.2");
}

#[test]
fn environments_keep_their_case() {
    assert_ne!(parse(b"/promotion/a/b/Prod").unwrap(), parse(b"/promotion/a/b/prod").unwrap());
}

#[test]
fn everything_else_is_refused_and_never_normalised() {
    let paths: &[&[u8]] = &[
        b"",
        b"/",
        b"*",
        b"/promotion",
        b"/promotion/",
        b"/promotion/a",
        b"/promotion/a/b",
        b"/promotion/a/b/",
        b"/promotion/a/b/c/",
        b"/promotion/a/b/c/d",
        b"/promotion//b/c",
        b"/promotion/a//c",
        b"//promotion/a/b/c",
        b"/promotion//a/b/c",
        b"/PROMOTION/a/b/c",
        b"/Promotion/a/b/c",
        b"/promotions/a/b/c",
        b"promotion/a/b/c",
        b"/promotion/a/b/c?x=1",
        b"/promotion/a/b/c?",
        b"/promotion/a/b/c#x",
        b"/promotion/a/b/c;x",
        b"/promotion/a/b/c%00",
        b"/promotion/a/b/%63",
        b"/promotion/a%2Fb/c/d",
        b"/promotion/a/b%5cc/d",
        b"/promotion/a\\b/c/d",
        b"/promotion/./b/c",
        b"/promotion/../b/c",
        b"/promotion/a/../c",
        b"/promotion/a/b/..",
        b"/promotion/x/../a/b/c",
        b"/promotion/%2e%2e/a/b/c",
        b"/promotion/a/b/c\0",
        b"/promotion/a/b/c ",
        b" /promotion/a/b/c",
        b"/promotion/a/b/c\n",
        b"/promotion/A/b/c",
        b"/promotion/a/B/c",
        b"/promotion/-a/b/c",
        b"/promotion/a-/b/c",
        b"/promotion/a.b/c/d",
        b"/promotion/a/.b/c",
        b"/promotion/a/b_c/d",
        b"/promotion/a/b/-c",
        b"/promotion/a/b/c.",
        b"/promotion/a/b/_c",
        b"http://host/promotion/a/b/c",
        "/promotion/a/b/\u{e9}".as_bytes(),
        b"/promotion/a/b/\xff",
        b"/promotion/\xc3\x28/b/c",
    ];
    for path in paths {
        assert!(parse(path).is_err(), "{:?}", String::from_utf8_lossy(path));
    }
}

#[test]
fn names_have_their_lengths() {
    let label = "a".repeat(63);
    let name = format!("{}.{}", "a".repeat(126), "b".repeat(126));
    assert_eq!(name.len(), 253);
    let endpoint = Endpoint::new(&label, &name, &label).unwrap();
    assert_eq!(
        (endpoint.namespace(), endpoint.pipeline(), endpoint.environment()),
        (&*label, &*name, &*label)
    );
    assert_eq!(parse(format!("/promotion/{endpoint}").as_bytes()).unwrap(), endpoint);
    assert!(!is_dns_label(&"a".repeat(64)) && !is_dns_label("") && !is_dns_label("a.b"));
    assert!(
        !is_dns_subdomain(&"a".repeat(254)) && !is_dns_subdomain("") && !is_dns_subdomain("a..b")
    );
    assert!(
        !is_environment_name(&"a".repeat(64))
            && !is_environment_name("")
            && !is_environment_name("a/b")
    );
    assert_eq!(
        parse(&[b"/promotion/".as_slice(), &[b'a'; 100_000]].concat()),
        Err(PathError::TooLong)
    );
}

#[test]
fn errors_name_what_is_wrong() {
    assert_eq!(parse(b"/promotion/a/b/c?x"), Err(PathError::Byte { found: b'?' }));
    assert_eq!(parse(b"/promotion/a/b"), Err(PathError::Segments { found: 2 }));
    assert_eq!(
        parse(b"/promotion/a/b/-c"),
        Err(PathError::Name(EndpointError::Environment { name: "-c".into() }))
    );
    assert_eq!(
        "a/b".parse::<Endpoint>().unwrap_err().to_string(),
        "\"a/b\" is not of the form namespace/pipeline/environment"
    );
    assert_eq!(
        "a".parse::<PipelineKey>().unwrap_err().to_string(),
        "\"a\" is not of the form namespace/name"
    );
}

#[test]
fn the_prefix_is_configurable() {
    let root = PathPrefix::new("/").unwrap();
    assert_eq!(parse_path(&root, b"/a/b/c").unwrap().to_string(), "a/b/c");
    assert!(parse_path(&root, b"/promotion/a/b/c").is_err());
    let deep = PathPrefix::new("/hooks/v1.0/").unwrap();
    assert_eq!(parse_path(&deep, b"/hooks/v1.0/a/b/c").unwrap().to_string(), "a/b/c");
    for bad in [
        "",
        "promotion/",
        "/promotion",
        "//",
        "/a//b/",
        "/../",
        "/./",
        "/a b/",
        "/a%20/",
        "/a?/",
        "/\u{e9}/",
    ] {
        assert!(PathPrefix::new(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn written_forms_survive_serde() {
    let endpoint: Endpoint = serde_json::from_str("\"a/b/Dev\"").unwrap();
    assert_eq!(serde_json::to_string(&endpoint).unwrap(), "\"a/b/Dev\"");
    assert!(serde_json::from_str::<Endpoint>("\"a/b\"").is_err());
    let key: PipelineKey = serde_json::from_str("\"a/b\"").unwrap();
    assert_eq!((key.namespace(), key.name()), ("a", "b"));
}

#[cfg(not(target_arch = "wasm32"))]
mod properties {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_are_judged_without_a_panic(path in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = parse(&path);
            let _ = parse(&[b"/promotion/".as_slice(), &path].concat());
        }

        #[test]
        fn what_is_accepted_is_written_back_the_same(path in "/promotion/[a-zA-Z0-9._%?/-]{0,40}") {
            if let Ok(endpoint) = parse(path.as_bytes()) {
                prop_assert_eq!(format!("/promotion/{}", endpoint), path);
            }
        }

        #[test]
        fn good_names_make_an_endpoint(
            namespace in "[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?",
            pipeline in "[a-z0-9]([a-z0-9-]{0,5}[a-z0-9])?(\\.[a-z0-9]([a-z0-9-]{0,5}[a-z0-9])?){0,3}",
            environment in "[A-Za-z0-9]([A-Za-z0-9._-]{0,10}[A-Za-z0-9])?",
        ) {
            let endpoint = parse(format!("/promotion/{namespace}/{pipeline}/{environment}").as_bytes()).unwrap();
            prop_assert_eq!(endpoint.namespace(), namespace);
            prop_assert_eq!(endpoint.pipeline(), pipeline);
            prop_assert_eq!(endpoint.environment(), environment);
        }
    }
}
