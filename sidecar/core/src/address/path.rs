//! Paths of addresses: of pages, and with percent signs.

use super::UrlError;

/// The path to clone from, where a path is a page's.
pub(super) fn cloned_from(path: &str) -> Result<String, UrlError> {
    let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
    // Bitbucket Data Center, also below a context path: /projects/KEY/repos/SLUG/browse.
    let browse = segments.windows(4).position(
        |four| matches!(four, ["projects" | "users", _, "repos", slug] if !slug.is_empty()),
    );
    if let Some(at) = browse
        && let Some([kind, key, _, slug]) = segments.get(at..at + 4)
    {
        let context: String =
            segments.iter().take(at).map(|segment| format!("/{segment}")).collect();
        let personal = if *kind == "users" { "~" } else { "" };
        return Ok(format!("{context}/scm/{personal}{key}/{slug}.git"));
    }
    // GitLab and Gitea: /group/project/-/tree/main, /owner/name/src/branch/main. GitHub:
    // /owner/name/tree/main. Deeper groups may have such names by themselves.
    let is_page = path.contains("/-/")
        || path.contains("/src/branch/")
        || matches!(segments.as_slice(), [_, _, "tree" | "blob" | "pull", _, ..]);
    if is_page { Err(UrlError::Page(path.to_owned())) } else { Ok(path.to_owned()) }
}

/// Percent-decodes, as git does for `ssh://` and `file://`.
pub(super) fn decode(path: &str) -> Result<String, UrlError> {
    let refused = || UrlError::Part { part: "path", value: path.to_owned() };
    let mut out = Vec::with_capacity(path.len());
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let mut digit = || bytes.next().and_then(|b| char::from(b).to_digit(16));
        let (Some(high), Some(low)) = (digit(), digit()) else {
            return Err(refused());
        };
        out.push(u8::try_from(high * 16 + low).map_err(|_| refused())?);
    }
    String::from_utf8(out).map_err(|_| refused())
}
