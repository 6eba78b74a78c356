//! Names that leave the process: branch, title, commit message, pull request body, markers.
//!
//! All of them derive from the promotion's *destination* (pipeline, environment and, with `per:
//! target`, target), so that an outside effect can be found again after a crash. Branch, title and
//! metadata block are the original's, whose user interface looks for them.

use core::fmt;

use sha2::{Digest as _, Sha256};

use crate::pipeline::TargetId;
use crate::promotion::{Promotion, PromotionId};
use crate::revision::Version;
use lockgate_edge::endpoint::PipelineKey;

/// Where a promotion goes to. Written `namespace/pipeline/environment`, with `/target` for one
/// target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Destination<'a> {
    /// The pipeline.
    pub pipeline: &'a PipelineKey,
    /// The environment that is promoted to.
    pub environment: &'a str,
    /// One target of it, with `per: target`.
    pub target: Option<&'a TargetId>,
}

impl<'a> Destination<'a> {
    /// The destination of a promotion.
    #[must_use]
    pub fn of(promotion: &'a Promotion) -> Self {
        Self {
            pipeline: &promotion.pipeline,
            environment: &promotion.to,
            target: promotion.target.as_ref(),
        }
    }

    /// `promotion-<namespace>-<pipeline>-<environment>`, with `-<cluster>-<namespace>` for a
    /// target.
    ///
    /// Several destinations can share it; see [`Destination::branch_after_collision`]. An
    /// environment's name may hold what git does not allow in a branch (`a..b`, `x.lock`); such a
    /// one always has the suffix.
    #[must_use]
    pub fn branch(&self) -> String {
        let plain = self.plain_branch();
        if is_allowed_by_git(&plain) { plain } else { self.branch_after_collision() }
    }

    /// The branch's name where the usual one belongs to another destination: with the first 8 hex
    /// digits of the destination's SHA-256.
    #[must_use]
    pub fn branch_after_collision(&self) -> String {
        let hash = Sha256::digest(self.to_string().as_bytes());
        let suffix: String = hash.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
        let mut plain = self.plain_branch();
        while plain.contains("..") {
            plain = plain.replace("..", ".");
        }
        format!("{plain}-{suffix}")
    }

    fn plain_branch(&self) -> String {
        let (namespace, pipeline) = (self.pipeline.namespace(), self.pipeline.name());
        let mut name = format!("promotion-{namespace}-{pipeline}-{}", self.environment);
        if let Some(target) = self.target {
            for part in target.cluster().into_iter().chain([target.namespace()]) {
                name.push('-');
                name.push_str(part);
            }
        }
        name
    }

    /// The pull request's title and the commit's subject.
    #[must_use]
    pub fn title(&self, version: &Version) -> String {
        let target = self.target.map(|target| format!(" ({target})")).unwrap_or_default();
        format!("Promote {} in {}{target} to {version}", self.pipeline, self.environment)
    }

    /// Subject and trailers. A version that the subject does not tell in full, because it has a
    /// name and a hash, has a trailer too: [`version_of_message`] reads it back.
    #[must_use]
    pub fn commit_message(&self, version: &Version, id: PromotionId) -> String {
        let title = self.title(version);
        let mut message =
            format!("{title}\n\n{PROMOTION_TRAILER}: {id}\n{TARGET_TRAILER}: {self}\n");
        let full = version.full();
        if full != version.as_str() {
            message.push_str(&format!("{VERSION_TRAILER}: {full}\n"));
        }
        message
    }

    /// The block that a pull request's body begins with.
    #[must_use]
    pub fn metadata_block(&self) -> String {
        format!("{BLOCK_BEGIN}{self}{BLOCK_END}")
    }

    /// The values of the `$promotion` markers that belong to it: the environment's, and the
    /// target's own.
    #[must_use]
    pub fn markers(&self) -> Vec<String> {
        let environment =
            format!("{}:{}:{}", self.pipeline.namespace(), self.pipeline.name(), self.environment);
        match self.target {
            None => vec![environment],
            Some(target) => vec![format!("{environment}:{target}"), environment],
        }
    }
}

impl fmt::Display for Destination<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.pipeline, self.environment)?;
        self.target.map_or(Ok(()), |target| write!(f, "/{target}"))
    }
}

/// [`Destination::branch`] from its parts.
#[must_use]
pub fn branch_name(pipeline: &PipelineKey, environment: &str, target: Option<&TargetId>) -> String {
    Destination { pipeline, environment, target }.branch()
}

/// Trailer with the promotion's id.
pub const PROMOTION_TRAILER: &str = "Lockgate-Promotion";
/// Trailer with the destination.
pub const TARGET_TRAILER: &str = "Lockgate-Target";
/// Trailer with a version of two parts.
pub const VERSION_TRAILER: &str = "Lockgate-Version";

const RETURN: &str = " (back from ";
const BLOCK_BEGIN: &str = "<details>\n<summary>metadata</summary>\n!!! DO NOT EDIT !!!\n\n";
const BLOCK_END: &str = "\n</details>";

/// The title of a promotion that goes back from a later version, which a reader must not overlook.
#[must_use]
pub fn title_of_a_return(title: &str, later: &str) -> String {
    format!("{title}{RETURN}{later})")
}

/// The version in a title of ours, or in the subject of a commit's message; the newest form and the
/// original's are the same.
#[must_use]
pub fn parse_title_version(message: &str) -> Option<&str> {
    let subject = message.lines().next()?.strip_prefix("Promote ")?;
    let subject = subject.split_once(RETURN).map_or(subject, |(title, _)| title);
    let (_, version) = subject.trim_end().rsplit_once(" to ")?;
    (!version.contains(' ')).then_some(version)
}

/// The version that a commit of ours writes, from its message.
#[must_use]
pub fn version_of_message(message: &str) -> Option<Version> {
    let title = parse_title_version(message)?;
    let full = last_paragraph(message)
        .into_iter()
        .filter_map(|(key, value)| key.eq_ignore_ascii_case(VERSION_TRAILER).then_some(value))
        .next_back();
    Version::new(full.as_deref().unwrap_or(title)).ok()
}

/// Our trailers in a commit's message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trailers {
    /// The promotion that made the commit.
    pub promotion: Option<PromotionId>,
    /// Its destination, as [`Destination`] writes it.
    pub target: Option<String>,
}

/// Reads our trailers from the last paragraph of a commit's message. Git's rules: keys are
/// case-insensitive, the subject is none. Of two equal ones the last counts.
#[must_use]
pub fn parse_trailers(message: &str) -> Trailers {
    let mut trailers = Trailers::default();
    for (key, value) in last_paragraph(message) {
        if key.eq_ignore_ascii_case(PROMOTION_TRAILER) {
            trailers.promotion = value.parse().ok();
        } else if key.eq_ignore_ascii_case(TARGET_TRAILER) {
            trailers.target = Some(value);
        }
    }
    trailers
}

/// The lines `key: value` of a message's last paragraph, unless that is the subject's.
fn last_paragraph(message: &str) -> Vec<(String, String)> {
    let text = message.trim_end().replace("\r\n", "\n");
    let Some((_, last)) = text.rsplit_once("\n\n") else { return Vec::new() };
    let pairs = last.lines().filter_map(|line| line.split_once(':'));
    pairs.map(|(key, value)| (key.to_owned(), value.trim().to_owned())).collect()
}

/// The destination that the metadata block in a pull request's body names, the original's open ones
/// included.
#[must_use]
pub fn parse_metadata_block(body: &str) -> Option<String> {
    let text = body.replace("\r\n", "\n");
    let (_, rest) = text.split_once(BLOCK_BEGIN)?;
    let (target, _) = rest.split_once(BLOCK_END)?;
    (!target.contains('\n')).then(|| target.trim().to_owned())
}

/// Whether git takes the name, given that our parts hold no other special characters. Source:
/// git-check-ref-format.
fn is_allowed_by_git(name: &str) -> bool {
    !name.contains("..") && !name.ends_with(".lock")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]
    use super::*;

    fn key(text: &str) -> PipelineKey {
        text.parse().unwrap()
    }

    #[cfg_attr(target_arch = "wasm32", wasm_bindgen_test::wasm_bindgen_test)]
    #[cfg_attr(not(target_arch = "wasm32"), test)]
    fn names_are_the_originals() {
        let pipeline = key("pipeline-01/my-app");
        let destination = Destination { pipeline: &pipeline, environment: "prod", target: None };
        let version = Version::new("1.2.3").unwrap();
        assert_eq!(destination.branch(), "promotion-pipeline-01-my-app-prod");
        assert_eq!(destination.title(&version), "Promote pipeline-01/my-app in prod to 1.2.3");
        let block = "<details>\n<summary>metadata</summary>\n!!! DO NOT EDIT !!!\n\npipeline-01/my-app/prod\n</details>";
        assert_eq!(destination.metadata_block(), block);
        assert_eq!(destination.markers(), ["pipeline-01:my-app:prod"]);
    }

    #[cfg_attr(target_arch = "wasm32", wasm_bindgen_test::wasm_bindgen_test)]
    #[cfg_attr(not(target_arch = "wasm32"), test)]
    fn a_target_has_a_branch_a_title_and_markers_of_its_own() {
        let pipeline = key("search/app");
        let target: TargetId = "qa/search".parse().unwrap();
        let destination =
            Destination { pipeline: &pipeline, environment: "test", target: Some(&target) };
        assert_eq!(destination.branch(), "promotion-search-app-test-qa-search");
        assert_eq!(
            destination.title(&Version::new("2").unwrap()),
            "Promote search/app in test (qa/search) to 2"
        );
        assert_eq!(destination.markers(), ["search:app:test:qa/search", "search:app:test"]);
        assert_eq!(destination.to_string(), "search/app/test/qa/search");
    }

    #[cfg_attr(target_arch = "wasm32", wasm_bindgen_test::wasm_bindgen_test)]
    #[cfg_attr(not(target_arch = "wasm32"), test)]
    fn two_pipelines_that_share_a_branch_name_differ_after_the_collision() {
        let (first, second) = (key("team-a/web"), key("team/a-web"));
        let first = Destination { pipeline: &first, environment: "prod", target: None };
        let second = Destination { pipeline: &second, environment: "prod", target: None };
        assert_eq!(first.branch(), second.branch());
        assert_ne!(first.branch_after_collision(), second.branch_after_collision());
        // printf team-a/web/prod | sha256sum
        assert_eq!(first.branch_after_collision(), "promotion-team-a-web-prod-99787cd5");
    }

    #[cfg_attr(target_arch = "wasm32", wasm_bindgen_test::wasm_bindgen_test)]
    #[cfg_attr(not(target_arch = "wasm32"), test)]
    fn a_branch_is_always_one_that_git_allows() {
        let pipeline = key("ns/app");
        for environment in ["a..b", "a...b", "prod.lock", "x..lock"] {
            let branch = branch_name(&pipeline, environment, None);
            assert!(is_allowed_by_git(&branch), "{branch}");
        }
    }

    #[cfg_attr(target_arch = "wasm32", wasm_bindgen_test::wasm_bindgen_test)]
    #[cfg_attr(not(target_arch = "wasm32"), test)]
    fn trailers_and_metadata_are_read_back() {
        let pipeline = key("ns/app");
        let destination = Destination { pipeline: &pipeline, environment: "prod", target: None };
        let id = PromotionId::new("2026-11-20T09:00:00Z".parse().unwrap(), [7; 10]);
        let message = destination.commit_message(&Version::new("1.2.3").unwrap(), id);
        let expected = Trailers { promotion: Some(id), target: Some("ns/app/prod".to_owned()) };
        assert_eq!(parse_trailers(&message), expected);
        assert_eq!(parse_trailers(&message.replace('\n', "\r\n")), expected);
        assert_eq!(parse_title_version(&message), Some("1.2.3"));
        let back = title_of_a_return("Promote ns/app in prod to 1.2.3", "1.3.0");
        assert_eq!(back, "Promote ns/app in prod to 1.2.3 (back from 1.3.0)");
        assert_eq!(parse_title_version(&back), Some("1.2.3"));
        assert_eq!(version_of_message(&message), Some(Version::new("1.2.3").unwrap()));
        assert_eq!(message.lines().count(), 4);
        // A version of two parts survives, an amended message or a forge's line ends
        // notwithstanding.
        let both = Version::new("v1.2.3@sha1:7d1b2c3f").unwrap();
        let message = destination.commit_message(&both, id);
        assert!(message.ends_with("\nLockgate-Version: v1.2.3@sha1:7d1b2c3f\n"), "{message}");
        for message in [message.clone(), message.replace('\n', "\r\n")] {
            assert_eq!(parse_trailers(&message), expected);
            assert_eq!(version_of_message(&message), Some(both.clone()));
        }
        for none in ["", "fix", "Promote ns/app in prod", "Promote x to a b", "Move to 1.2.3"] {
            assert_eq!(parse_title_version(none), None, "{none}");
        }
        assert_eq!(parse_trailers("Lockgate-Target: ns/app/prod"), Trailers::default());
        assert_eq!(parse_trailers("x\n\nLockgate-Target: a/b/c\n\nmore text"), Trailers::default());
        assert_eq!(parse_trailers("x\n\nLockgate-Promotion: none"), Trailers::default());
        let body = format!("Hello\r\n{}\nmore", destination.metadata_block().replace('\n', "\r\n"));
        assert_eq!(parse_metadata_block(&body), Some("ns/app/prod".to_owned()));
        assert_eq!(parse_metadata_block("ns/app/prod"), None);
    }
}
