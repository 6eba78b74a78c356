//! The answer to an event, as it is printed, and what an answer means that is none of Lockgate's.

use reqwest::{Response, StatusCode, header::HeaderMap};
use serde::Serialize;
use serde_json::Value;

use crate::cli::{Fault, Format, causes, table::pretty};

/// An answer, from Lockgate or from something in between.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Answer {
    #[serde(skip)]
    version: String,
    #[serde(serialize_with = "as_number")]
    status: StatusCode,
    location: Option<String>,
    retry_after: Option<String>,
    /// The document; text where it is none.
    body: Value,
    /// What it means, where Lockgate did not say it.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<&'static str>,
}

impl Answer {
    pub(super) async fn read(response: Response) -> Result<Self, Fault> {
        let (status, version) = (response.status(), format!("{:?}", response.version()));
        let (location, retry_after) =
            (text(response.headers(), "location"), text(response.headers(), "retry-after"));
        let bytes = response.bytes().await.map_err(|error| {
            Fault::Failure(format!("the answer broke off: {}", causes(&error.without_url())))
        })?;
        let body = serde_json::from_slice(&bytes)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into_owned()));
        let note = note(status, &body);
        Ok(Self { version, status, location, retry_after, body, note })
    }

    /// Whether Lockgate took the event.
    pub(super) fn is_success(&self) -> bool {
        self.status.is_success() && self.note.is_none()
    }

    pub(super) fn shown(&self, format: Format) -> String {
        match format {
            Format::Json => pretty(self),
            Format::Text => self.lines().join("\n"),
        }
    }

    fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!("{} {}", self.version, self.status)];
        for (name, value) in [("Location", &self.location), ("Retry-After", &self.retry_after)] {
            lines.extend(value.as_ref().map(|value| format!("{name}: {value}")));
        }
        match &self.body {
            Value::String(text) if text.is_empty() => {}
            Value::String(text) => lines.push(text.clone()),
            document => lines.push(pretty(document)),
        }
        lines.extend(self.note.map(str::to_owned));
        lines
    }
}

/// Every answer of Lockgate is a JSON object that says what to do, but for the constant 401. Any
/// other answer comes from something in between.
fn note(status: StatusCode, body: &Value) -> Option<&'static str> {
    if body.is_object() {
        return (status == StatusCode::UNAUTHORIZED).then_some(REFUSED);
    }
    Some(match status.as_u16() {
        404 => NO_ROUTE,
        300..=399 => REDIRECT,
        401 | 403 | 407 => GUARDED,
        502..=504 => AWAY,
        500.. => BROKEN,
        400.. => NO_REQUEST,
        _ => SOMETHING_ELSE,
    })
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

fn as_number<S: serde::Serializer>(status: &StatusCode, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_u16(status.as_u16())
}

const REFUSED: &str = "\
A 401 tells nobody why. Compare the key with the Secret's byte for byte (a newline at the end
counts), the endpoint with the Pipeline, and this machine's clock with the sidecar's;
`lockgate deliveries` shows what reached the sidecar.";
const NO_ROUTE: &str = "\
This answer does not come from Lockgate: no route of the proxy has this path. Compare it with
edge.pathPrefix of the sidecar and with the prefix of the route in Envoy; they have to be equal.";
const REDIRECT: &str = "\
This answer does not come from Lockgate, which never redirects. Use the address of the edge itself,
with https, and no address of a sign-in page or of another proxy.";
const GUARDED: &str = "\
This answer does not come from Lockgate: something in front of it asks for a sign-in. Let the path
of the events pass there; Lockgate checks their signatures itself.";
const AWAY: &str = "\
This answer does not come from Lockgate's filter: the proxy found nothing to ask behind this path.
Look whether the filter is loaded (Envoy's log), and whether the sidecar runs (its /readyz).";
const BROKEN: &str = "\
This answer does not come from Lockgate, whose errors are JSON documents. Look into the log of the
proxy that answered.";
const NO_REQUEST: &str = "\
This answer does not come from Lockgate: the proxy refused the request before the filter saw it.
Look into the proxy's log; protocol, header size and time limits are the usual reasons.";
const SOMETHING_ELSE: &str = "\
This answer does not come from Lockgate, whose answers are JSON documents: something else listens
at this address. Nothing was promoted.";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]

    use serde_json::json;

    use super::*;

    fn answer(status: u16, body: Value) -> Answer {
        let status = StatusCode::from_u16(status).unwrap();
        Answer {
            version: "HTTP/1.1".to_owned(),
            status,
            location: None,
            retry_after: (status == 503).then(|| "2".to_owned()),
            note: note(status, &body),
            body,
        }
    }

    #[test]
    fn an_answer_of_something_else_says_so_and_what_to_look_at() {
        let texts: Vec<String> = [200, 204, 302, 400, 403, 404, 500, 503]
            .map(|status| answer(status, json!("")).shown(Format::Text))
            .into_iter()
            .chain([answer(404, json!("<html>not here</html>")).shown(Format::Text)])
            .collect();
        insta::assert_snapshot!(texts.join("\n\n"));
    }

    #[test]
    fn an_answer_of_lockgate_speaks_for_itself() {
        let problem =
            json!({"title": "Not Found", "status": 404, "detail": "the path names no endpoint"});
        insta::assert_snapshot!("text", answer(404, problem).shown(Format::Text));
        let refused = json!({"title": "Unauthorized", "status": 401, "detail": "not authentic"});
        insta::assert_snapshot!("refused", answer(401, refused).shown(Format::Text));
        let accepted = json!({"promotion": null, "reason": "Stale", "message": "m"});
        insta::assert_snapshot!("json", answer(202, accepted).shown(Format::Json));
    }
}
