//! What people read of an order.

use lockgate_core::naming::Destination;
use lockgate_core::promotion::{Promotion, PromotionId};

/// The pull request's title, the commit's message, and what a body
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
    let version = promotion.version.full();
    text.push_str(&format!("- Version: {}\n", code(&version)));
    if promotion.revision.as_str() != version {
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
    text.push_str(&format!("{MARK} `{}`\n\n", promotion.id));
    text
}

/// The promotion that a body was written for.
pub(super) fn promotion_of(body: &str) -> Option<PromotionId> {
    let line = body.lines().find_map(|line| line.trim().strip_prefix(MARK))?;
    line.trim().trim_matches('`').parse().ok()
}

/// One line of code in Markdown, also inside a table.
pub(super) fn code(text: &str) -> String {
    let shown: String =
        text.chars().take(LONGEST_TEXT).map(|c| if c.is_control() { ' ' } else { c }).collect();
    let shown = shown.replace('`', "'").replace('|', "\\|");
    let cut = if text.chars().nth(LONGEST_TEXT).is_some() { "…" } else { "" };
    if shown.trim().is_empty() { "(empty)".to_owned() } else { format!("`{shown}{cut}`") }
}

/// Begins the line with the promotion's id.
const MARK: &str = "- Promotion:";
/// Characters of one value that are shown.
const LONGEST_TEXT: usize = 200;
