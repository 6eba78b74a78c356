//! What the sender gets: the sidecar's rows of the reply table.

use std::sync::Arc;

use lockgate_core::decide::Refusal;
use lockgate_core::promotion::{Promotion, State};
use lockgate_edge::reply::Reply;

use crate::ledger::Answered;
use crate::metrics::DeliveryOutcome;
use crate::view::{self, AnswerView};

/// A refusal's answer. The 401 is the constant one: it does not tell why.
pub(super) fn refusal(refusal: &Refusal) -> Reply {
    let (reason, message) = (refusal.reason(), refusal.message());
    match refusal.status() {
        400 => Reply::bad_request(reason, &message, view::next_step(reason)),
        401 => Reply::unauthorized(),
        _ => Reply::unprocessable(reason, &message, view::next_step(reason)),
    }
}

/// The answer to a delivery that started, or joined, these promotions: as they are now.
pub(super) fn of_promotions(
    promotions: &[Arc<Promotion>],
    public_url: Option<&str>,
) -> (DeliveryOutcome, Reply) {
    let failed = promotions.iter().find_map(|promotion| match &promotion.state {
        State::Failed { failure, .. } => Some((promotion, failure.reason)),
        _ => None,
    });
    if let Some((failed, reason)) = failed {
        // The failure's message and remedy may name files and settings: they are for those who may
        // read the promotion.
        let id = failed.id;
        let detail = format!(
            "promotion {id} failed with {reason}; `lockgate promotions {id}` says what happened and \
             what to do"
        );
        let reply = Reply {
            location: status_of(failed, public_url),
            ..Reply::failed(reason.as_str(), &detail)
        };
        return (DeliveryOutcome::Failed, reply);
    }
    let body = AnswerView::of(promotions.iter().map(Arc::as_ref));
    // A caller that joins a promotion gets the answer of the first caller, also where the pull
    // request was merged or closed since.
    let pull_request = promotions
        .iter()
        .find_map(|promotion| promotion.state.pull_request().map(|pull| pull.url.clone()));
    match pull_request {
        Some(url) => (DeliveryOutcome::Promoted, Reply::created(&body, url)),
        None => {
            let location =
                promotions.first().and_then(|promotion| status_of(promotion, public_url));
            (DeliveryOutcome::Accepted, Reply::accepted(&body, location))
        }
    }
}

fn status_of(promotion: &Promotion, public_url: Option<&str>) -> Option<String> {
    public_url
        .map(|url| format!("{}/api/v1/promotions/{}", url.trim_end_matches('/'), promotion.id))
}

/// As it is recorded.
pub(super) fn answered(reply: &Reply) -> Answered {
    Answered {
        status: reply.status,
        content_type: reply.content_type.clone().into_owned(),
        location: reply.location.clone(),
        body: reply.body.clone(),
    }
}

/// From the record.
pub(super) fn reply(answer: Answered) -> Reply {
    Reply {
        status: answer.status,
        content_type: answer.content_type.into(),
        location: answer.location,
        retry_after: None,
        allow: None,
        body: answer.body,
    }
}
