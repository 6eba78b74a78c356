//! Strategy `notification`: tells people and programs, changes nothing.
//!
//! The text of the message is an interface: guides for Jenkins, Tekton and GitHub parse it.
//! Notification-controller drops metadata keys without a group's prefix, so each is sent twice,
//! once as the original did and once prefixed.

use std::time::Duration;

use jiff::Timestamp;
use lockgate_core::pipeline::{API_VERSION, KIND};
use lockgate_core::promotion::{DoneDetail, FailureReason};
use serde_json::{Value, json};

use super::order::Order;
use super::outcome::Outcome;

/// Posts to notification-controller's event endpoint.
#[derive(Clone, Debug)]
pub(super) struct Notifier {
    client: reqwest::Client,
    address: String,
    instance: String,
}

impl Notifier {
    /// # Errors
    /// What reqwest says when TLS cannot be set up.
    pub(super) fn new(address: &str) -> Result<Self, reqwest::Error> {
        // A redirect would carry the event somewhere nobody configured.
        let client = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        Ok(Self { client, address: address.to_owned(), instance: instance() })
    }

    async fn post(&self, order: &Order, now: Timestamp) -> Result<(), Outcome> {
        let body = event_body(order, &self.instance, now);
        let response = self
            .client
            .post(&self.address)
            .json(&body)
            .send()
            .await
            .map_err(|error| unreachable(&error))?;
        let status = response.status();
        // 429 is notification-controller's own duplicate check: it has the event.
        if status.is_success() || status == reqwest::StatusCode::TOO_MANY_REQUESTS {
            return Ok(());
        }
        let reason = if status.is_server_error() {
            FailureReason::ServerError
        } else {
            FailureReason::ReceiverRefused
        };
        Err(Outcome::failed(
            reason,
            format!("notification-controller answered {}", status.as_u16()),
        ))
    }
}

/// Says that a version may go to an environment. Done once notification-controller has it, or at
/// once where none is configured.
pub(super) async fn carry_out(notifier: Option<&Notifier>, order: &Order) -> Outcome {
    if let Some(notifier) = notifier
        && let Err(outcome) = notifier.post(order, Timestamp::now()).await
    {
        return outcome;
    }
    let text = message(order);
    tracing::info!(
        promotion = %order.id, pipeline = %order.pipeline, environment = %order.environment,
        version = %order.version, revision = %order.revision, "{text}"
    );
    Outcome::Done {
        detail: DoneDetail { commit: None, branch: None, message: text.clone() },
        announce: Some(text),
    }
}

fn message(order: &Order) -> String {
    format!(
        "Promote pipeline {} to {} with version {}",
        order.pipeline, order.environment, order.version
    )
}

fn event_body(order: &Order, instance: &str, now: Timestamp) -> Value {
    let (environment, version) = (&order.environment, order.version.as_str());
    json!({
        "involvedObject": {
            "kind": KIND,
            "namespace": order.pipeline.namespace(),
            "name": order.pipeline.name(),
            "apiVersion": API_VERSION,
        },
        "severity": "info",
        // Kubernetes' times have whole seconds.
        "timestamp": now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        "message": message(order),
        "reason": "Promote",
        "metadata": {
            "environment": environment,
            "version": version,
            "pipelines.weave.works/environment": environment,
            "pipelines.weave.works/version": version,
        },
        "reportingController": "pipeline-controller",
        "reportingInstance": instance,
    })
}

/// The address is the installation's own, yet a reader of the state need not see it: reqwest's text
/// without it.
fn unreachable(error: &reqwest::Error) -> Outcome {
    let reason =
        if error.is_timeout() { FailureReason::TimedOut } else { FailureReason::Unreachable };
    let message = if error.is_timeout() {
        "notification-controller did not answer in time"
    } else {
        "notification-controller cannot be reached"
    };
    tracing::debug!(%error, "a notification was not delivered");
    Outcome::failed(reason, message)
}

/// Names this process to notification-controller: the host's name, as the original.
fn instance() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    if name.trim().is_empty() { "lockgate".to_owned() } else { name.trim().to_owned() }
}

/// As the original's.
const TIMEOUT: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        reason = "test code"
    )]

    use lockgate_core::promotion::Promotion;

    use super::super::order::{Fence, Work};
    use super::*;

    #[test]
    fn the_event_has_the_originals_fields_and_each_metadata_key_twice() {
        let promotion: Promotion = serde_json::from_value(json!({
            "id": "0193f6a1-5b3c-7c21-8e0c-1f1d6f5f7c21", "pipeline": "team/podinfo", "from": "dev", "to": "prod", "target": null,
            "revision": "6.5.4+0cc9a8446c95", "version": "6.5.4", "state": {"state": "Running", "attempt": 1}, "strategy": "notification",
            "event": {"id": "x", "reason": "UpgradeSucceeded", "time": "2026-11-20T09:14:07Z", "involvedObject":
                {"apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease", "namespace": "dev", "name": "podinfo", "uid": "u", "resourceVersion": "1"}},
            "createdAt": "2026-11-20T09:14:08Z", "takenUpAt": "2026-11-20T09:14:08Z", "updatedAt": "2026-11-20T09:14:08Z"
        }))
        .unwrap();
        let order = Order::new(&promotion, true, Work::Notification, Fence::open());
        let body = event_body(&order, "host-1", "2026-11-20T09:14:09.5Z".parse().unwrap());
        assert_eq!(body["message"], "Promote pipeline team/podinfo to prod with version 6.5.4");
        assert_eq!(body["timestamp"], "2026-11-20T09:14:09Z");
        assert_eq!(body["reason"], "Promote");
        assert_eq!(body["involvedObject"]["kind"], "Pipeline");
        assert_eq!(body["metadata"]["environment"], "prod");
        assert_eq!(body["metadata"]["pipelines.weave.works/environment"], "prod");
        assert_eq!(body["metadata"]["version"], "6.5.4");
        assert_eq!(body["metadata"]["pipelines.weave.works/version"], "6.5.4");
        assert_eq!(body["reportingController"], "pipeline-controller");
    }
}
