//! The body of a pull request: first the original's metadata block, byte for byte, then what a
//! reviewer wants to know.

use lockgate_core::naming::Destination;
use lockgate_core::promotion::{Promotion, PromotionId};
use lockgate_git::FileChange;

/// What people read of an order: the pull request's title, the commit's message, and what a body
/// says before the table of changed files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Texts {
    pub title: String,
    pub commit_message: String,
    /// Markdown; begins with the metadata block and ends with an empty line.
    pub introduction: String,
}

impl Texts {
    #[must_use]
    pub fn of(promotion: &Promotion) -> Self {
        let destination = Destination::of(promotion);
        Self {
            title: destination.title(&promotion.version),
            commit_message: destination.commit_message(&promotion.version, promotion.id),
            introduction: introduction(promotion),
        }
    }
}

/// Texts that come from manifests or events are shown as code, so that nothing in them is a link, a
/// mention or a command.
fn introduction(promotion: &Promotion) -> String {
    let destination = Destination::of(promotion);
    let event = &promotion.event;
    let object = &event.involved_object;
    let mut text = format!("{}\n\n", destination.metadata_block());
    text.push_str(&format!("- Version: {}\n", code(promotion.version.as_str())));
    if promotion.revision.as_str() != promotion.version.as_str() {
        text.push_str(&format!("- Revision: {}\n", code(promotion.revision.as_str())));
    }
    let reporter = format!("{} {}/{}", object.kind, object.namespace, object.name);
    text.push_str(&format!(
        "- Reported by: {} of environment {}, {} at {}\n",
        code(&reporter),
        code(&promotion.from),
        code(&event.reason),
        event.time
    ));
    if let Some(approver) = &promotion.approved_by {
        text.push_str(&format!("- Approved by: {}\n", code(approver)));
    }
    text.push_str(&format!("- Promotion: {}\n\n", mark(promotion.id)));
    text
}

/// The whole body, at most [`LONGEST`] characters.
pub(super) fn body(introduction: &str, files: &[FileChange]) -> String {
    let mut text =
        format!("{introduction}| file | line | old | new |\n| --- | --- | --- | --- |\n");
    let mut left = files.len();
    for file in files {
        let row = format!(
            "| {} | {} | {} | {} |\n",
            code(&file.path),
            file.line,
            code(&file.old),
            code(&file.new)
        );
        if text.chars().count() + row.chars().count() + 40 > LONGEST {
            text.push_str(&format!("\nand {left} more\n"));
            break;
        }
        text.push_str(&row);
        left -= 1;
    }
    text
}

/// Whether a body was written for this promotion.
pub(super) fn is_of(body: &str, promotion: PromotionId) -> bool {
    body.contains(&mark(promotion))
}

/// Whether two texts are the same to a forge: some change the ends of lines and drop white space at
/// the end.
pub(super) fn same(one: &str, other: &str) -> bool {
    let lines = |text: &str| text.trim().replace("\r\n", "\n");
    lines(one) == lines(other)
}

fn mark(promotion: PromotionId) -> String {
    format!("`{promotion}`")
}

/// One line of code in Markdown, also inside a table.
fn code(text: &str) -> String {
    let shown: String =
        text.chars().take(LONGEST_TEXT).map(|c| if c.is_control() { ' ' } else { c }).collect();
    let shown = shown.replace('`', "'").replace('|', "\\|");
    let cut = if text.chars().nth(LONGEST_TEXT).is_some() { "…" } else { "" };
    if shown.trim().is_empty() { "(empty)".to_owned() } else { format!("`{shown}{cut}`") }
}

/// Characters. The smallest limit of the five forges is that of Azure DevOps (4,000).
const LONGEST: usize = 3900;
/// Characters of one value that are shown.
const LONGEST_TEXT: usize = 200;

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        reason = "test code"
    )]

    use lockgate_core::naming::parse_metadata_block;
    use serde_json::json;

    use super::*;

    fn promotion() -> Promotion {
        serde_json::from_value(json!({
            "id": "0193f6a1-5b3c-7c21-8e0c-1f1d6f5f7c21", "pipeline": "team/podinfo", "from": "dev", "to": "prod", "target": null,
            "revision": "6.5.4+0cc9a8446c95", "version": "6.5.4", "state": {"state": "Running", "attempt": 1}, "strategy": "pull-request",
            "event": {"id": "x", "reason": "UpgradeSucceeded", "time": "2026-11-20T09:14:07Z", "involvedObject":
                {"apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease", "namespace": "dev", "name": "podinfo", "uid": "u", "resourceVersion": "1"}},
            "approvedBy": "ada@example.com",
            "createdAt": "2026-11-20T09:14:08Z", "takenUpAt": "2026-11-20T09:14:08Z", "updatedAt": "2026-11-20T09:14:08Z"
        }))
        .unwrap()
    }

    fn change(path: &str, old: &str) -> FileChange {
        FileChange { path: path.to_owned(), line: 12, old: old.to_owned(), new: "6.5.4".to_owned() }
    }

    #[test]
    fn the_body_begins_with_the_originals_block_and_says_what_changes_and_why() {
        let text = body(&introduction(&promotion()), &[change("apps/prod.yaml", "6.5.3")]);
        let expected = "<details>\n<summary>metadata</summary>\n!!! DO NOT EDIT !!!\n\nteam/podinfo/prod\n</details>\n\n\
            - Version: `6.5.4`\n- Revision: `6.5.4+0cc9a8446c95`\n\
            - Reported by: `HelmRelease dev/podinfo` of environment `dev`, `UpgradeSucceeded` at 2026-11-20T09:14:07Z\n\
            - Approved by: `ada@example.com`\n- Promotion: `0193f6a1-5b3c-7c21-8e0c-1f1d6f5f7c21`\n\n\
            | file | line | old | new |\n| --- | --- | --- | --- |\n| `apps/prod.yaml` | 12 | `6.5.3` | `6.5.4` |\n";
        assert_eq!(text, expected);
        assert_eq!(parse_metadata_block(&text).as_deref(), Some("team/podinfo/prod"));
        assert!(is_of(&text, promotion().id) && same(&text, &text.replace('\n', "\r\n")));
        assert!(!is_of(&text, "0193f6a1-5b3c-7c21-8e0c-1f1d6f5f7c22".parse().unwrap()));
    }

    #[test]
    fn values_cannot_break_out_of_their_cell() {
        let text = body(&introduction(&promotion()), &[change("a|b`c\n@all.yaml", "")]);
        assert!(text.ends_with("| `a\\|b'c @all.yaml` | 12 | (empty) | `6.5.4` |\n"), "{text}");
        let long = "x".repeat(5000);
        assert!(body(&introduction(&promotion()), &[change(&long, &long)]).chars().count() < 1500);
    }

    #[test]
    fn many_files_fit_into_the_smallest_forge() {
        let files: Vec<FileChange> =
            (0..1000).map(|n| change(&format!("apps/prod-{n}.yaml"), "6.5.3")).collect();
        let text = body(&introduction(&promotion()), &files);
        assert!(text.chars().count() <= 4000, "{}", text.chars().count());
        let rows = text.matches("| `apps/prod-").count();
        assert!(rows > 50 && text.ends_with(&format!("\nand {} more\n", 1000 - rows)), "{text}");
    }
}
