//! What the sender gets: the sidecar's rows of the reply table.

use lockgate_core::decide::Refusal;
use lockgate_core::promotion::{Promotion, State};
use lockgate_edge::reply::Reply;

use crate::metrics::DeliveryOutcome;
use crate::store::Answered;
use crate::view::{self, AnswerView};

/// A refusal's answer. The 401 is the constant one: it does not tell why.
pub(super) fn refusal(refusal: &Refusal) -> Reply {
    match refusal.status() {
        400 => Reply::bad_request(refusal.reason(), &refusal.message()),
        401 => Reply::unauthorized(),
        _ => Reply::unprocessable(refusal.reason(), &refusal.message()),
    }
}

/// The answer to a delivery that started, or joined, these promotions: as they are now.
pub(super) fn of_promotions(
    promotions: &[Promotion],
    public_url: Option<&str>,
) -> (DeliveryOutcome, Reply) {
    let failed = promotions.iter().find_map(|promotion| match &promotion.state {
        State::Failed(failure) => Some((promotion, failure.reason)),
        _ => None,
    });
    if let Some((failed, reason)) = failed {
        // The failure's own message may name internals, so the caller gets only its reason and
        // what that reason asks for.
        let detail = format!(
            "promotion {} failed with {reason}: {}; `lockgate promotions {}` says more",
            failed.id,
            view::remedy(reason),
            failed.id
        );
        let reply = Reply {
            location: status_of(failed, public_url),
            ..Reply::failed(reason.as_str(), &detail)
        };
        return (DeliveryOutcome::Failed, reply);
    }
    let body = AnswerView::of(promotions);
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
