#![allow(clippy::unwrap_used, reason = "test code")]
use super::*;

const SHA1: &str = "7d1b2c3f4e5a60718293a4b5c6d7e8f901234567";
const OLD_SHA1: &str = "0000000000000000000000000000000000000001";
const SHA256: &str = "0cc9a8446c95009ef382f5eade883a67c257f77d50f84e78ecef2aac9428d1e5";
const OLD_SHA256: &str = "1111111111111111111111111111111111111111111111111111111111111111";

fn version(revision: &str, digest: Option<&str>) -> Version {
    version_of(&Revision::new(revision).unwrap(), digest)
}

/// `GIT` and `OCI` stand for a commit's and an artifact's hash, `OLD-GIT` and `OLD-OCI` for others.
fn expand(text: &str) -> String {
    text.replace("OLD-GIT", OLD_SHA1)
        .replace("OLD-OCI", OLD_SHA256)
        .replace("GIT", SHA1)
        .replace("OCI", SHA256)
}

#[cfg_attr(target_arch = "wasm32", wasm_bindgen_test::wasm_bindgen_test)]
#[cfg_attr(not(target_arch = "wasm32"), test)]
fn a_version_is_shown_by_its_name_else_by_its_hash() {
    let digest = expand("sha256:OCI");
    let digest = Some(digest.as_str());
    for (revision, digest, expected) in [
        ("6.5.4+0cc9a8446c95", digest, "6.5.4"),
        ("6.5.4+0cc9a8446c96", digest, "6.5.4+0cc9a8446c96"),
        ("6.5.4+0cc9a8446c95", None, "6.5.4+0cc9a8446c95"),
        ("6.5.4+build.7", digest, "6.5.4+build.7"),
        ("6.5.4+", digest, "6.5.4+"),
        ("6.7.0", digest, "6.7.0"),
        ("6.7.0", Some("nonsense"), "6.7.0"),
        ("v1.4.2@sha256:3b6f2cf0a5f6", None, "v1.4.2"),
        ("latest@sha256:3b6f2cf0a5f6", None, "latest"),
        ("6.5.4+0cc9a8446c95@sha256:OCI", None, "6.5.4"),
        ("@sha256:3b6f", None, "@sha256:3b6f"),
        ("sha256:3b6f", None, "sha256:3b6f"),
        ("sha1:GIT", None, SHA1),
        ("main@sha1:7d1b2c3f4e5a", None, "7d1b2c3f4e5a"),
        ("feature/#12-x@sha1:7d1b", None, "7d1b"),
        ("a@b@sha1:7d1b", None, "7d1b"),
        ("refs/heads/v1.0.0@sha1:7d1b", None, "7d1b"),
        ("refs/pull/7/head@sha1:7d1b", None, "7d1b"),
        ("v1.3.0@sha1:GIT", None, "v1.3.0"),
        ("1.3.0-rc.1+b@sha1:GIT", None, "1.3.0-rc.1+b"),
        ("1.3@sha1:7d1b", None, "7d1b"),
        ("refs/tags/v1.3.0@sha1:GIT", None, "v1.3.0"),
        ("refs/tags/nightly@sha1:GIT", None, "nightly"),
        ("refs/tags/@sha1:7d1b", None, "7d1b"),
        ("main@sha1:xyz", None, "main@sha1:xyz"),
        ("main/7d1b2c3f", None, "main/7d1b2c3f"),
    ] {
        assert_eq!(version(&expand(revision), digest).to_string(), expected, "{revision}");
    }
}

#[cfg_attr(target_arch = "wasm32", wasm_bindgen_test::wasm_bindgen_test)]
#[cfg_attr(not(target_arch = "wasm32"), test)]
fn the_field_decides_what_is_written() {
    let digest = expand("sha256:OCI");
    for (revision, key, old, expected) in [
        // A git tag.
        ("v1.2.3@sha1:GIT", "tag", "v1.2.2", "v1.2.3"),
        ("v1.2.3@sha1:GIT", "name", "refs/tags/v1.2.2", "refs/tags/v1.2.3"),
        ("v1.2.3@sha1:GIT", "name", "v1.2.2", "v1.2.3"),
        ("v1.2.3@sha1:GIT", "semver", "1.2.2", "v1.2.3"),
        ("v1.2.3@sha1:GIT", "commit", "OLD-GIT", "GIT"),
        ("v1.2.3@sha1:GIT", "commit", "", "GIT"),
        ("v1.2.3@sha1:GIT", "digest", "", "sha1:GIT"),
        ("v1.2.3@sha1:GIT", "targetRevision", "OLD-GIT", "GIT"),
        ("v1.2.3@sha1:GIT", "ref", "sha1:OLD-GIT", "sha1:GIT"),
        ("refs/tags/v1.2.3@sha1:GIT", "tag", "v1.2.2", "v1.2.3"),
        ("refs/tags/v1.2.3@sha1:GIT", "name", "refs/tags/v1.2.2", "refs/tags/v1.2.3"),
        ("refs/tags/nightly-2@sha1:GIT", "tag", "nightly-1", "nightly-2"),
        ("refs/tags/nightly-2@sha1:GIT", "name", "refs/tags/nightly-1", "refs/tags/nightly-2"),
        ("refs/tags/nightly-2@sha1:GIT", "commit", "OLD-GIT", "GIT"),
        // A branch is never written.
        ("main@sha1:GIT", "commit", "OLD-GIT", "GIT"),
        ("main@sha1:GIT", "tag", "v1.2.2", "GIT"),
        ("main@sha1:GIT", "name", "main", "GIT"),
        ("feature/#12-x@sha1:GIT", "version", "1", "GIT"),
        // A source that is pinned by its commit.
        ("sha1:GIT", "commit", "OLD-GIT", "GIT"),
        ("sha1:GIT", "tag", "x", "GIT"),
        ("sha1:GIT", "ref", "sha1:OLD-GIT", "sha1:GIT"),
        // An artifact's tag.
        ("v1.4.2@sha256:OCI", "tag", "v1.4.1", "v1.4.2"),
        ("v1.4.2@sha256:OCI", "newTag", "1.4.1", "v1.4.2"),
        ("v1.4.2@sha256:OCI", "digest", "sha256:OLD-OCI", "sha256:OCI"),
        ("v1.4.2@sha256:OCI", "digest", "", "sha256:OCI"),
        ("v1.4.2@sha256:OCI", "image", "sha256:OLD-OCI", "sha256:OCI"),
        ("v1.4.2@sha256:OCI", "hash", "OLD-OCI", "OCI"),
        ("v1.4.2@sha256:OCI", "tag", "v1.4.1@sha256:OLD-OCI", "v1.4.2@sha256:OCI"),
        // A tag that is a commit's hash is a name here.
        ("GIT@sha256:OCI", "tag", "OLD-GIT", "GIT"),
        ("1a2b3c4@sha256:OCI", "tag", "7d1b2c3", "1a2b3c4"),
        ("20260102@sha256:OCI", "tag", "20260101", "20260102"),
        ("sha256:OCI", "digest", "sha256:OLD-OCI", "sha256:OCI"),
        ("sha256:OCI", "tag", "latest", "sha256:OCI"),
        // A chart whose version helm-controller rewrote.
        ("1.14.5+0cc9a8446c95", "tag", "v1.14.4", "v1.14.5"),
        ("1.14.5+0cc9a8446c95", "version", "1.14.4", "1.14.5"),
        ("1.14.5+0cc9a8446c95", "tag", "vnext", "1.14.5"),
        ("1.14.5+0cc9a8446c95", "digest", "sha256:OLD-OCI", "sha256:OCI"),
        ("v1.14.5+0cc9a8446c95", "tag", "v1.14.4", "v1.14.5"),
        ("1.14.5+0cc9a8446c95", "tag", "v1.14.4@sha256:OLD-OCI", "v1.14.5@sha256:OCI"),
        // Nothing shows that these were rewritten.
        ("1.14.5+build.7", "tag", "v1.14.4", "1.14.5+build.7"),
        ("1.14.5", "tag", "v1.14.4", "1.14.5"),
        ("1.14.5@sha256:OCI", "tag", "v1.14.4", "1.14.5"),
        // What has no hash.
        ("2.0.0", "version", "OLD-GIT", "2.0.0"),
        ("GIT", "commit", "OLD-GIT", "GIT"),
        ("refs/tags/v2", "tag", "v1", "v2"),
        ("refs/tags/v2", "name", "refs/tags/v1", "refs/tags/v2"),
    ] {
        let digest = revision.contains("+0cc9").then_some(digest.as_str());
        let version = version(&expand(revision), digest);
        let written = version.written(Some(key), &expand(old));
        assert_eq!(written, Ok(expand(expected)), "{revision} for {key}: {old}");
        // What is stored means the same.
        let stored = serde_json::to_string(&version).unwrap();
        let again: Version = serde_json::from_str(&stored).unwrap();
        assert_eq!(again, version, "{stored}");
    }
    let error = version("1.2.3", None).written(Some("commit"), &expand("OLD-GIT")).unwrap_err();
    assert_eq!(error, NoHash { field: "commit", version: "1.2.3".to_owned() });
    assert!(version("1.2.3", None).written(Some("digest"), "").is_err());
    assert_eq!(version("v1@sha256:aa", None).written(None, "v0"), Ok("v1".to_owned()));
}

#[cfg_attr(target_arch = "wasm32", wasm_bindgen_test::wasm_bindgen_test)]
#[cfg_attr(not(target_arch = "wasm32"), test)]
fn a_revision_has_the_characters_of_a_ref_and_is_bounded() {
    assert_eq!(Revision::new(""), Err(RevisionError::Missing));
    for (text, character, position) in
        [("1.0\n", '\n', 3), ("a b", ' ', 1), ("a\\b", '\\', 1), ("x[1]", '[', 1), ("é~1", '~', 2)]
    {
        assert_eq!(Revision::new(text), Err(RevisionError::Character { character, position }));
    }
    for branch in
        ["feature/#12-x", "fix/a'b\"c", "a&b=c;d", "é/日本", "50%", "(x){y}|$z!", "a,b<c>`"]
    {
        let revision = format!("{branch}@sha1:{SHA1}");
        assert_eq!(Revision::new(&revision).unwrap().as_str(), revision);
    }
    assert!(Revision::new(&"ä".repeat(253)).is_ok());
    assert_eq!(Revision::new(&"a".repeat(254)), Err(RevisionError::TooLong { length: 254 }));
    assert!(serde_json::from_str::<Revision>("\"a b\"").is_err());
}

#[cfg_attr(target_arch = "wasm32", wasm_bindgen_test::wasm_bindgen_test)]
#[cfg_attr(not(target_arch = "wasm32"), test)]
fn semantic_versions_are_ordered_and_others_are_not() {
    let cmp = |a: &str, b: &str| Revision::new(a).unwrap().semver_cmp(&Revision::new(b).unwrap());
    assert_eq!(cmp("1.9.0", "1.10.0"), Some(Ordering::Less));
    assert_eq!(cmp("1.10.0-rc.1", "1.10.0"), Some(Ordering::Less));
    assert_eq!(cmp("v1.4.2@sha256:aa", "v1.4.1@sha256:bb"), Some(Ordering::Greater));
    assert_eq!(cmp("v1.3.0@sha1:aa", "v1.2.0@sha1:bb"), Some(Ordering::Greater));
    assert_eq!(cmp("refs/tags/v1.3.0@sha1:aa", "v1.4.0@sha1:bb"), Some(Ordering::Less));
    assert_eq!(cmp("v1.4.2@sha512:aa", "1.4.2+0cc9"), Some(Ordering::Equal));
    assert_eq!(cmp("1.0.0+aaaa", "1.0.0+bbbb"), Some(Ordering::Equal));
    assert_eq!(cmp("main@sha1:aa", "1.0.0"), None);
    assert_eq!(cmp("sha1:aa", "1.0.0"), None);
    assert_eq!(cmp("1.0", "1.0.0"), None);
    let field = |revision: &str, old: &str| version(revision, None).semver_cmp(old);
    assert_eq!(field("v1.2.0@sha1:aa", "refs/tags/v1.3.0"), Some(Ordering::Less));
    assert_eq!(field("1.2.0", "v1.1.0@sha256:aa"), Some(Ordering::Greater));
    assert_eq!(field("main@sha1:aa", "1.0.0"), None);
}
