//! Reading the strategy of a `promotion`, in its present shape and in RFC-0003's.

use serde_json::Value;

use super::document::{Fields, Reader};
use super::strategy::{Address, parse_address};
use super::{
    DEFAULT_BASE_BRANCH, Forge, GitStrategy, MergeMethod, PullRequest, Push, Strategy, Webhook,
};

const GIT_SCHEMES: [&str; 4] = ["https", "ssh", "http", "file"];
const HTTP_SCHEMES: [&str; 2] = ["https", "http"];

/// The strategies that are written, by their keys; `None` for one with errors.
pub(super) type Chosen = Vec<(&'static str, Option<Strategy>)>;

impl Reader {
    /// Adds each strategy that is written, `None` for one with errors.
    pub(super) fn strategies(&mut self, fields: &mut Fields<'_>, chosen: &mut Chosen) {
        if let Some(fields) = self.optional_mapping(fields, "pull-request") {
            chosen.push(("pull-request", self.pull_request(fields)));
        }
        self.notification(fields, chosen);
        if let Some(fields) = self.optional_mapping(fields, "git") {
            chosen.push(("git", self.git(fields)));
        }
        if let Some(fields) = self.optional_mapping(fields, "webhook") {
            chosen.push(("webhook", self.webhook(fields, Shape::Current)));
        }
        for key in ["pull-request", "git", "webhook"] {
            if fields.is_null(key) {
                chosen.push((key, self.error(fields.at(key), "expected a mapping, got nothing")));
            }
        }
    }

    /// RFC-0003 puts the strategies directly under `promotion`, and names Secrets by a string.
    pub(super) fn older_shapes(&mut self, fields: &mut Fields<'_>, chosen: &mut Chosen) {
        if let Some(fields) = self.optional_mapping(fields, "pullRequest") {
            chosen.push(("pullRequest", self.older_pull_request(fields)));
        }
        self.notification(fields, chosen);
        if let Some(fields) = self.optional_mapping(fields, "webhook") {
            chosen.push(("webhook", self.webhook(fields, Shape::Older)));
        }
    }

    fn notification(&mut self, fields: &mut Fields<'_>, chosen: &mut Chosen) {
        if let Some(inner) = self.optional_mapping(fields, "notification") {
            self.no_more_keys(&inner);
            chosen.push(("notification", Some(Strategy::Notification)));
        } else if fields.is_null("notification") {
            chosen.push((
                "notification",
                self.error(fields.at("notification"), "expected {}, got nothing"),
            ));
        }
    }

    fn pull_request(&mut self, mut fields: Fields<'_>) -> Option<Strategy> {
        let forge = self.choice(&mut fields, "type", &Forge::CHOICES);
        let address = self.address(&mut fields, "url", &GIT_SCHEMES);
        let base_branch = self.branch(&mut fields, "baseBranch");
        let api_url = if fields.get("apiUrl").is_some() {
            self.address(&mut fields, "apiUrl", &HTTP_SCHEMES)
        } else {
            None
        };
        let secret_ref = self.secret_ref(&mut fields);
        let auto_merge = self.flag(&mut fields, "autoMerge").unwrap_or(false);
        let methods = [
            ("merge", MergeMethod::Merge),
            ("squash", MergeMethod::Squash),
            ("rebase", MergeMethod::Rebase),
        ];
        let merge_method = self.choice(&mut fields, "mergeMethod", &methods);
        let labels = self.texts(&mut fields, "labels");
        let reviewers = self.texts(&mut fields, "reviewers");
        self.no_more_keys(&fields);
        let url = address?;
        let forge = self.forge(&mut fields, forge, &url)?;
        let base_branch = base_branch?;
        Some(Strategy::PullRequest(Box::new(PullRequest {
            forge,
            url,
            base_branch,
            api_url,
            secret_ref,
            auto_merge,
            merge_method,
            labels,
            reviewers,
        })))
    }

    fn older_pull_request(&mut self, mut fields: Fields<'_>) -> Option<Strategy> {
        let forge = self.choice(&mut fields, "type", &Forge::CHOICES);
        let url = self.address(&mut fields, "url", &GIT_SCHEMES);
        let base_branch = self.branch(&mut fields, "branch");
        let secret_ref = self.older_secret_ref(&mut fields);
        self.no_more_keys(&fields);
        let url = url?;
        Some(Strategy::PullRequest(Box::new(PullRequest {
            forge: self.forge(&mut fields, forge, &url)?,
            url,
            base_branch: base_branch?,
            api_url: None,
            secret_ref,
            auto_merge: false,
            merge_method: None,
            labels: Vec::new(),
            reviewers: Vec::new(),
        })))
    }

    fn forge(
        &mut self,
        fields: &mut Fields<'_>,
        written: Option<Forge>,
        url: &str,
    ) -> Option<Forge> {
        if fields.get("type").is_some() {
            return written;
        }
        let host = parse_address(url, &GIT_SCHEMES).map(|address| address.host).unwrap_or_default();
        let choices = Forge::CHOICES.map(|(word, _)| word).join(" | ");
        Forge::of_host(host).or_else(|| {
            self.error(
                fields.at("type"),
                format!("is missing and cannot be told from host {host:?}, expected {choices}"),
            )
        })
    }

    fn git(&mut self, mut fields: Fields<'_>) -> Option<Strategy> {
        let url = self.address(&mut fields, "url", &GIT_SCHEMES);
        let base_branch = self.branch(&mut fields, "baseBranch");
        let push =
            self.choice(&mut fields, "push", &[("branch", Push::Branch), ("direct", Push::Direct)]);
        let secret_ref = self.secret_ref(&mut fields);
        self.no_more_keys(&fields);
        Some(Strategy::Git(GitStrategy {
            url: url?,
            base_branch: base_branch?,
            push: push.unwrap_or(Push::Branch),
            secret_ref,
        }))
    }

    fn webhook(&mut self, mut fields: Fields<'_>, shape: Shape) -> Option<Strategy> {
        let url = if fields.get("url").is_some() {
            Some(self.address(&mut fields, "url", &HTTP_SCHEMES))
        } else {
            None
        };
        let written = fields.get("secretRef").is_some();
        let secret_ref = match shape {
            Shape::Current => self.secret_ref(&mut fields),
            Shape::Older => self.older_secret_ref(&mut fields),
        };
        self.no_more_keys(&fields);
        if url.is_none() && !written {
            return self.error(
                fields.at("url"),
                "is missing, and there is no secretRef whose address could stand for it",
            );
        }
        let url = match url {
            Some(url) => Some(url?),
            None => None,
        };
        Some(Strategy::Webhook(Webhook { url, secret_ref }))
    }

    fn address(
        &mut self,
        fields: &mut Fields<'_>,
        key: &'static str,
        schemes: &[&str],
    ) -> Option<String> {
        let text = self.required_text(fields, key)?;
        match parse_address(&text, schemes) {
            Ok(Address { has_user: true, .. }) if !text.starts_with("ssh:") => {
                self.warn(fields.at(key), "names a user, who belongs in the Secret; a token here would be shown to everybody");
            }
            Ok(_) => {}
            Err(problem) => return self.error(fields.at(key), problem),
        }
        Some(text)
    }

    /// A branch's name, by git's rules for references.
    fn branch(&mut self, fields: &mut Fields<'_>, key: &'static str) -> Option<String> {
        if fields.get(key).is_none() {
            return Some(DEFAULT_BASE_BRANCH.to_owned());
        }
        let text = self.text(fields, key)?;
        if is_branch_name(&text) {
            Some(text)
        } else {
            self.error(fields.at(key), format!("expected the name of a branch, got {text:?}"))
        }
    }

    pub(super) fn secret_ref(&mut self, fields: &mut Fields<'_>) -> Option<String> {
        let mut inner = self.optional_mapping(fields, "secretRef")?;
        let name = self.subdomain(&mut inner, "name");
        self.no_more_keys(&inner);
        name
    }

    fn older_secret_ref(&mut self, fields: &mut Fields<'_>) -> Option<String> {
        match fields.get("secretRef")? {
            Value::String(_) => self.subdomain(fields, "secretRef"),
            _ => self.secret_ref(fields),
        }
    }
}

#[derive(Clone, Copy)]
enum Shape {
    Current,
    Older,
}

/// Source: git-check-ref-format.
fn is_branch_name(name: &str) -> bool {
    let forbidden = |c: char| {
        c.is_ascii_control() || matches!(c, ' ' | '~' | '^' | ':' | '?' | '*' | '[' | '\\')
    };
    !name.chars().any(forbidden)
        && !name.contains("..")
        && !name.contains("@{")
        && name != "@"
        && !name.starts_with('-')
        && !name.ends_with('.')
        && name
            .split('/')
            .all(|part| !part.is_empty() && !part.starts_with('.') && !part.ends_with(".lock"))
}
