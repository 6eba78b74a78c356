//! What is wrong with a Pipeline in this installation: one validation, for `lockgate check` and for
//! the running sidecar alike.

use std::sync::Arc;

use lockgate_core::pipeline::{
    DefaultLimit, Finding, GitStrategy, Pipeline, PullRequest, Strategy, lint,
};
use lockgate_core::secret::{Secret, Transport};
use lockgate_forge::Repository;
use lockgate_git::{AddressPolicy, RemoteUrl};

use crate::config::Config;

/// What an installation says of all Pipelines.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// Which repositories may be talked to.
    pub addresses: AddressPolicy,
    /// The limit of endpoints whose Pipeline names none.
    pub rate_limit: DefaultLimit,
}

impl From<&Config> for Rules {
    fn from(config: &Config) -> Self {
        let addresses = AddressPolicy {
            allow_insecure: config.git.allow_insecure.clone(),
            allowed_hosts: config.git.allowed_hosts.clone(),
        };
        Self { addresses, rate_limit: config.default_limit }
    }
}

/// All that is known of one Pipeline without its neighbours. `secret` finds one by its name in the
/// Pipeline's namespace.
pub(super) fn findings<'a>(
    pipeline: &Pipeline,
    secret: impl Fn(&str) -> Option<&'a Arc<Secret>>,
    rules: &Rules,
) -> Vec<Finding> {
    let mut findings = lint(pipeline, |name| secret(name).map(AsRef::as_ref), rules.rate_limit);
    let mut seen = Vec::new();
    for environment in pipeline.environments().iter().skip(1) {
        // Several environments may share one strategy.
        let path = pipeline.strategy_path(&environment.name);
        if seen.contains(&path) {
            continue;
        }
        let at = Checked { pipeline, path: &path, rules, secret: &secret };
        match pipeline.promotion_into(&environment.name).strategy {
            Some(Strategy::PullRequest(settings)) => at.pull_request(&settings, &mut findings),
            Some(Strategy::Git(settings)) => at.git(&settings, &mut findings),
            Some(Strategy::Notification | Strategy::Webhook(_)) | None => {}
        }
        seen.push(path);
    }
    findings
}

struct Checked<'c, F> {
    pipeline: &'c Pipeline,
    path: &'c str,
    rules: &'c Rules,
    secret: &'c F,
}

impl<'a, F: Fn(&str) -> Option<&'a Arc<Secret>>> Checked<'_, F> {
    fn pull_request(&self, settings: &PullRequest, findings: &mut Vec<Finding>) {
        self.address(&settings.url, findings);
        match Repository::parse(settings.forge, &settings.url, settings.api_url.as_deref()) {
            Err(error) => findings.push(Finding::error(self.path, error.to_string())),
            // The token goes to the interface, so its address is held to the same rules.
            Ok(repository) if settings.api_url.is_some() => {
                let below = format!("{}repositories", repository.api());
                if let Err(error) = RemoteUrl::parse(&below, &self.rules.addresses) {
                    findings.push(Finding::error(self.path, format!("apiUrl: {error}")));
                }
            }
            Ok(_) => {}
        }
        let Some(name) = &settings.secret_ref else {
            let message = "pull-request needs a secretRef: the Secret with a token for the forge";
            findings.push(Finding::error(self.path, message));
            return;
        };
        let Some(secret) = self.found(name, findings) else { return };
        if let Err(error) = secret.forge_credentials(settings.forge) {
            findings.push(Finding::error(self.path, error.to_string()));
        } else {
            self.git_secret(secret, &settings.url, findings);
        }
    }

    fn git(&self, settings: &GitStrategy, findings: &mut Vec<Finding>) {
        self.address(&settings.url, findings);
        match &settings.secret_ref {
            Some(name) => {
                if let Some(secret) = self.found(name, findings) {
                    self.git_secret(secret, &settings.url, findings);
                }
            }
            None if Transport::of(&settings.url) == Transport::Ssh => {
                let message = "git over ssh needs a secretRef: the Secret with identity and \
                               known_hosts";
                findings.push(Finding::error(self.path, message));
            }
            None if Transport::of(&settings.url) == Transport::Http => {
                let message = "git names no secretRef: a push without credentials is refused \
                               almost everywhere";
                findings.push(Finding::warning(self.path, message));
            }
            None => {}
        }
    }

    fn address(&self, url: &str, findings: &mut Vec<Finding>) {
        if let Err(error) = RemoteUrl::parse(url, &self.rules.addresses) {
            findings.push(Finding::error(self.path, error.to_string()));
        }
    }

    fn git_secret(&self, secret: &Secret, url: &str, findings: &mut Vec<Finding>) {
        let errors = [
            secret.git_credentials(Transport::of(url)).err(),
            secret.authorities().err(),
            secret.proxy().err(),
        ];
        let errors = errors.into_iter().flatten();
        findings.extend(errors.map(|error| Finding::error(self.path, error.to_string())));
    }

    fn found(&self, name: &str, findings: &mut Vec<Finding>) -> Option<&'a Arc<Secret>> {
        let secret = (self.secret)(name);
        if secret.is_none() {
            let namespace = self.pipeline.key().namespace();
            let message = format!("there is no Secret {namespace}/{name}");
            findings.push(Finding::error(self.path, message));
        }
        secret
    }
}
