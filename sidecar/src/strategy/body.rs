//! The body of a pull request: first the original's metadata block, byte for byte, then what a
//! reviewer wants to know.

use lockgate_git::FileChange;

use super::repository::Edited;
use super::texts::{Texts, code};

/// The whole body, at most [`LONGEST`] characters. `edited` tells what is out of the ordinary: it
/// goes back from a later version, or leaves marked places out.
pub(super) fn body(texts: &Texts, edited: &Edited, files: &[FileChange]) -> String {
    let mut text = texts.introduction.clone();
    if let Some(later) = &edited.back_from {
        let notice = format!("{BLOCK_END}**This goes back from {}.**\n\n", code(later));
        text = text.replacen(BLOCK_END, &notice, 1);
    }
    if let Some(failure) = &edited.incomplete {
        text.push_str(&format!("**Incomplete:** {}\n\n", code(&failure.message)));
    }
    text.push_str("| file | line | old | new |\n| --- | --- | --- | --- |\n");
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

/// Whether two texts are the same to a forge: some change the ends of lines and drop white space at
/// the end.
pub(super) fn same(one: &str, other: &str) -> bool {
    let lines = |text: &str| text.trim().replace("\r\n", "\n");
    lines(one) == lines(other)
}

/// Ends the metadata block.
const BLOCK_END: &str = "</details>\n\n";
/// Characters. The smallest limit of the five forges is that of Azure DevOps (4,000).
const LONGEST: usize = 3900;

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
    use lockgate_core::promotion::{Failure, FailureReason, Promotion};
    use serde_json::json;

    use super::super::texts::promotion_of;
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

    fn text_of(files: &[FileChange]) -> String {
        let edited =
            Edited { commit: None, title: String::new(), back_from: None, incomplete: None };
        body(&Texts::of(&promotion()), &edited, files)
    }

    #[test]
    fn the_body_begins_with_the_originals_block_and_says_what_changes_and_why() {
        let text = text_of(&[change("apps/prod.yaml", "6.5.3")]);
        let expected = "<details>\n<summary>metadata</summary>\n!!! DO NOT EDIT !!!\n\nteam/podinfo/prod\n</details>\n\n\
            - Version: `6.5.4`\n- Revision: `6.5.4+0cc9a8446c95`\n\
            - Reported by: `HelmRelease dev/podinfo` of environment `dev`, `UpgradeSucceeded` at 2026-11-20T09:14:07Z\n\
            - Approved by: `ada@example.com`\n- Promotion: `0193f6a1-5b3c-7c21-8e0c-1f1d6f5f7c21`\n\n\
            | file | line | old | new |\n| --- | --- | --- | --- |\n| `apps/prod.yaml` | 12 | `6.5.3` | `6.5.4` |\n";
        assert_eq!(text, expected);
        assert_eq!(parse_metadata_block(&text).as_deref(), Some("team/podinfo/prod"));
        assert!(same(&text, &text.replace('\n', "\r\n")));
        for text in [text.clone(), text.replace('\n', "\r\n")] {
            assert_eq!(promotion_of(&text), Some(promotion().id));
        }
        // An id that somebody mentions is none.
        for other in ["", "see `0193f6a1-5b3c-7c21-8e0c-1f1d6f5f7c21`", "- Promotion: `none`"] {
            assert_eq!(promotion_of(other), None, "{other}");
        }
    }

    #[test]
    fn what_is_out_of_the_ordinary_is_said_before_the_table() {
        let failure = Failure {
            reason: FailureReason::IncompleteMarkers,
            message: "1 of 2 marked places cannot be edited: b.yaml:3: a template".to_owned(),
        };
        let edited = Edited {
            commit: None,
            title: String::new(),
            back_from: Some("7.0.0".to_owned()),
            incomplete: Some(failure),
        };
        let text = body(&Texts::of(&promotion()), &edited, &[change("a.yaml", "7.0.0")]);
        assert!(
            text.contains("</details>\n\n**This goes back from `7.0.0`.**\n\n- Version: `6.5.4`"),
            "{text}"
        );
        let incomplete = "**Incomplete:** `1 of 2 marked places cannot be edited: b.yaml:3: a template`\n\n| file";
        assert!(text.contains(incomplete), "{text}");
        assert_eq!(parse_metadata_block(&text).as_deref(), Some("team/podinfo/prod"));
    }

    #[test]
    fn values_cannot_break_out_of_their_cell() {
        let text = text_of(&[change("a|b`c\n@all.yaml", "")]);
        assert!(text.ends_with("| `a\\|b'c @all.yaml` | 12 | (empty) | `6.5.4` |\n"), "{text}");
        let long = "x".repeat(5000);
        assert!(text_of(&[change(&long, &long)]).chars().count() < 1500);
    }

    #[test]
    fn many_files_fit_into_the_smallest_forge() {
        let files: Vec<FileChange> =
            (0..1000).map(|n| change(&format!("apps/prod-{n}.yaml"), "6.5.3")).collect();
        let text = text_of(&files);
        assert!(text.chars().count() <= 4000, "{}", text.chars().count());
        let rows = text.matches("| `apps/prod-").count();
        assert!(rows > 50 && text.ends_with(&format!("\nand {} more\n", 1000 - rows)), "{text}");
    }
}
