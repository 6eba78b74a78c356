//! Titles and bodies as long as each forge takes them.
//!
//! A text that is too long would be refused after the push, so it is cut before. A cut title ends
//! with an ellipsis. A cut body keeps its beginning, where the metadata block is, ends at the end
//! of a line where one is near, closes an open code block, and says that it was cut.

use std::borrow::Cow;

use lockgate_core::pipeline::Forge as Kind;

use crate::model::{Edit, NewPullRequest};

/// How long texts may be, and how the forge counts.
struct Limits {
    title: usize,
    body: usize,
    count: Count,
    name: &'static str,
}

#[derive(Clone, Copy)]
enum Count {
    /// Gitea leaves alone what has no more bytes, and cuts a longer title by its own guess of how
    /// wide each letter is shown.
    Bytes,
    /// Ruby counts code points.
    Characters,
    /// Java and .NET count UTF-16 units.
    Units,
}

/// | forge | title | body | source |
/// |---|---|---|---|
/// | GitHub | 256 | 65,536 | GitHub's 422 "title is too long (maximum is 256 characters)" and "body is too long (maximum is 65536 characters)"; renovatebot/renovate `lib/modules/platform/github` (`maxBodyLength`) |
/// | GitLab | 255 | 1,048,576 | "Merge requests API": "Limited to 1,048,576 characters"; `app/models/concerns/issuable.rb` (`TITLE_LENGTH_MAX`) |
/// | Bitbucket | 255 | 32,768 | "Bitbucket Data Center REST API", pull requests: 400 "must be between 1 and 255", "32768" |
/// | Azure DevOps | 400 | 4,000 | "Pull Requests - Update"; the web page's own limit of a title |
/// | Gitea | 255 | 65,535 | `modules/util/truncate.go` (1.26), seen on the real one; `content` has no limit of its own there, so this is what the `TEXT` of an older MySQL holds |
fn limits(kind: Kind) -> Limits {
    let (title, body, count, name) = match kind {
        Kind::GitHub => (255, 65_536, Count::Characters, "GitHub keeps 65,536 characters"),
        Kind::GitLab => (255, 1_048_576, Count::Characters, "GitLab keeps 1,048,576 characters"),
        Kind::BitbucketServer => (255, 32_768, Count::Units, "Bitbucket keeps 32,768 characters"),
        Kind::AzureDevOps => (400, 4000, Count::Units, "Azure DevOps keeps 4,000 characters"),
        Kind::Gitea => (255, 65_535, Count::Bytes, "Gitea keeps 65,535 bytes"),
    };
    Limits { title, body, count, name }
}

/// What fits, and does not change when it is fitted again.
pub(crate) fn fit(kind: Kind, edit: Edit) -> Edit {
    let limits = limits(kind);
    Edit {
        title: fit_title(&edit.title, &limits).into_owned(),
        body: fit_body(&edit.body, &limits).into_owned(),
    }
}

/// Title and body of a new one.
pub(crate) fn fitting(kind: Kind, new: &NewPullRequest) -> Edit {
    fit(kind, Edit { title: new.title.clone(), body: new.body.clone() })
}

impl Count {
    fn of(self, text: &str) -> usize {
        match self {
            Self::Bytes => text.len(),
            Self::Characters => text.chars().count(),
            Self::Units => text.chars().map(char::len_utf16).sum(),
        }
    }

    /// The longest beginning that is no longer than `most`.
    fn beginning(self, text: &str, most: usize) -> &str {
        let (mut left, mut end) = (most, 0);
        for (at, char) in text.char_indices() {
            let size = match self {
                Self::Bytes => char.len_utf8(),
                Self::Characters => 1,
                Self::Units => char.len_utf16(),
            };
            let Some(rest) = left.checked_sub(size) else { break };
            (left, end) = (rest, at + char.len_utf8());
        }
        text.get(..end).unwrap_or_default()
    }
}

/// A title is one line: what follows the first is never shown.
fn fit_title<'a>(title: &'a str, limits: &Limits) -> Cow<'a, str> {
    if limits.count.of(title) <= limits.title {
        return Cow::Borrowed(title);
    }
    let most = limits.title - limits.count.of(ELLIPSIS);
    Cow::Owned(format!("{}{ELLIPSIS}", limits.count.beginning(title, most).trim_end()))
}

fn fit_body<'a>(body: &'a str, limits: &Limits) -> Cow<'a, str> {
    if limits.count.of(body) <= limits.body {
        return Cow::Borrowed(body);
    }
    let cut = format!("\n\n*(cut here: {})*", limits.name);
    let most = limits.body - limits.count.of(FENCE_END) - limits.count.of(&cut);
    let kept = limits.count.beginning(body, most);
    let kept = match kept.rfind('\n') {
        Some(line) if kept.len() - line <= LONGEST_LOSS => kept.get(..line).unwrap_or_default(),
        _ => kept,
    };
    let is_open = kept.lines().filter(|line| line.trim_start().starts_with("```")).count() % 2 == 1;
    Cow::Owned(format!("{kept}{}{cut}", if is_open { FENCE_END } else { "" }))
}

/// Bytes of a last, cut line that are given up for a cut at its beginning.
const LONGEST_LOSS: usize = 400;
const FENCE_END: &str = "\n```";
const ELLIPSIS: &str = "…";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]
    use super::*;

    const ALL: [Kind; 5] =
        [Kind::GitHub, Kind::GitLab, Kind::BitbucketServer, Kind::AzureDevOps, Kind::Gitea];

    fn edit(title: &str, body: &str) -> Edit {
        Edit { title: title.to_owned(), body: body.to_owned() }
    }

    #[test]
    fn what_fits_is_left_alone_and_fitting_twice_is_as_once() {
        for kind in ALL {
            let limits = limits(kind);
            let whole = edit(&"x".repeat(limits.title), &"x".repeat(limits.body));
            assert_eq!(fit(kind, whole.clone()), whole, "{kind:?}");
            assert_eq!(fit(kind, edit("", "")), edit("", ""));
            for char in ["x", "ü", "€", "𝄞", "a line\n"] {
                let long =
                    edit(&char.trim_end().repeat(limits.title + 1), &char.repeat(limits.body + 1));
                let once = fit(kind, long);
                assert!(limits.count.of(&once.title) <= limits.title, "{kind:?} {char}");
                assert!(limits.count.of(&once.body) <= limits.body, "{kind:?} {char}");
                assert!(once.title.ends_with('…'), "{}", once.title);
                assert!(once.body.contains("(cut here: "), "{kind:?} {char}");
                assert_eq!(fit(kind, once.clone()), once, "{kind:?} {char}");
            }
        }
    }

    #[test]
    fn azure_counts_utf_16_units() {
        for body in ["", "short", &"x".repeat(4000), &"𝄞".repeat(2000)] {
            assert_eq!(fit(Kind::AzureDevOps, edit("", body)).body, body);
        }
        assert_ne!(fit(Kind::AzureDevOps, edit("", &"𝄞".repeat(2001))).body, "𝄞".repeat(2001));
    }

    #[test]
    fn a_longer_body_keeps_its_beginning_and_says_that_it_was_cut() {
        let block = "<details>\n<summary>metadata</summary>\n!!! DO NOT EDIT !!!\n\nns/app/prod\n</details>\n";
        for kind in ALL {
            let most = limits(kind).body;
            for tail in ["a line of the list\n", "x", "𝄞", "ü\n"] {
                let body = format!("{block}{}", tail.repeat(most));
                let cut = fit(kind, edit("", &body)).body;
                let at = cut.rfind("\n\n*(cut here: ").unwrap();
                let kept = cut.get(..at).unwrap();
                assert!(
                    cut.starts_with(block) && body.starts_with(kept),
                    "nothing else is changed"
                );
                assert!(limits(kind).count.of(&cut) + 500 >= most, "{kind:?} {tail}");
            }
        }
    }

    #[test]
    fn a_cut_is_at_the_end_of_a_line_and_closes_a_code_block() {
        let body = format!("```\n{}", "a line of a log\n".repeat(400));
        let cut = fit(Kind::AzureDevOps, edit("", &body)).body;
        let at = cut.rfind("\n\n*(cut here: Azure DevOps keeps 4,000 characters)*").unwrap();
        assert!(cut.get(..at).unwrap().ends_with("a line of a log\n```"), "{cut}");
        assert!(cut.encode_utf16().count() <= 4000);
    }
}
