//! What is written to the wire is read back the same, and what is wrong is named.
#![allow(clippy::unwrap_used, clippy::panic, reason = "test code")]

use core::time::Duration;

use lockgate_api::{WireError, v1};
use lockgate_edge::endpoint::{PathPrefix, PipelineKey};
use lockgate_edge::key::{Key, Keys};
use lockgate_edge::limit::RateLimit;
use lockgate_edge::reply::Reply;
use lockgate_edge::signature::{Algorithm, Signature, sign};
use lockgate_edge::{
    Answer, Certainty, Change, Charge, EdgeSettings, Forward, Freshness, Record, SyncAnswer,
    SyncQuestion,
};
use prost::Message;

const KEY: &[u8] = b"0123456789abcdef0123456789abcdef";

/// Through the bytes of the wire.
fn over_the_wire<M: Message + Default>(message: M) -> M {
    M::decode(message.encode_to_vec().as_slice()).unwrap()
}

fn settings() -> EdgeSettings {
    EdgeSettings {
        path_prefix: PathPrefix::new("/hooks/").unwrap(),
        body_limit: 1 << 20,
        rate_limit: RateLimit::new(7, Duration::from_millis(1500)).unwrap(),
        pre_auth: RateLimit::new(9, Duration::from_secs(60)).unwrap(),
        algorithms: vec![Algorithm::Sha256, Algorithm::Sha512],
        allow_unsigned: vec![PipelineKey::new("a", "b").unwrap()],
        wait: Duration::from_secs(5),
        freshness: Freshness { past: Duration::from_secs(90), future: Duration::from_secs(7) },
    }
}

fn record() -> Record {
    Record {
        endpoint: "team-a/podinfo/dev".parse().unwrap(),
        keys: Keys::new(vec![
            Key::new("", KEY).unwrap(),
            Key::new("", b"another key of 32 bytes, as it is").unwrap(),
        ])
        .unwrap(),
        rate_limit: Some(RateLimit::new(3, Duration::from_secs(1)).unwrap()),
    }
}

fn answer(change: Change, next: Option<&str>) -> SyncAnswer {
    SyncAnswer {
        version: 4,
        certainty: Certainty {
            complete: false,
            unreadable: vec![PipelineKey::new("team-b", "broken").unwrap()],
        },
        change,
        next: next.map(Into::into),
        settings: settings(),
    }
}

fn response() -> v1::SyncResponse {
    answer(Change::Full(vec![record()]), None).into()
}

fn forward() -> Forward {
    Forward {
        endpoint: "team-a/podinfo/dev".parse().unwrap(),
        signature: Some(
            Signature::parse(sign(Algorithm::Sha384, KEY, b"\xff\0").as_bytes()).unwrap(),
        ),
        fingerprint: Some(Key::new("", KEY).unwrap().fingerprint()),
        source: "192.0.2.1:4711".into(),
        request_id: "id".into(),
        traceparent: "00-aa-bb-01".into(),
        body: b"\xff\0".to_vec(),
    }
}

#[test]
fn questions_and_answers_survive_the_wire() {
    let question = SyncQuestion {
        version: 3,
        cursor: "x".into(),
        refused: vec![("team-a/podinfo/dev".parse().unwrap(), 17)],
    };
    assert_eq!(
        SyncQuestion::try_from(over_the_wire(v1::SyncRequest::from(question.clone()))),
        Ok(question)
    );
    for answer in [
        answer(Change::Full(vec![record()]), Some("team-a/podinfo/dev")),
        answer(Change::Full(Vec::new()), None),
        answer(
            Change::Delta {
                base: 3,
                upserts: vec![record()],
                removals: vec!["a/b/C".parse().unwrap()],
            },
            None,
        ),
        answer(Change::Delta { base: 4, upserts: Vec::new(), removals: Vec::new() }, None),
    ] {
        assert_eq!(
            SyncAnswer::try_from(over_the_wire(v1::SyncResponse::from(answer.clone()))),
            Ok(answer)
        );
    }
}

#[test]
fn deliveries_survive_the_wire_byte_for_byte() {
    for forward in [
        forward(),
        Forward {
            signature: None,
            fingerprint: None,
            source: String::new(),
            body: Vec::new(),
            ..forward()
        },
    ] {
        assert_eq!(
            Forward::try_from(over_the_wire(v1::DeliverRequest::from(forward.clone()))),
            Ok(forward)
        );
    }
}

#[test]
fn answers_survive_the_wire() {
    for (number, reply) in [
        Reply::created(&"x", "https://git.example.org/pr/1".into()),
        Reply::accepted(&"x", None),
        Reply::nothing("NotASuccess", "the event reports no success"),
        Reply::bad_request("NotJson", "the body is not JSON", None),
        Reply::unauthorized(),
        Reply::unprocessable("NoRevision", "event has no revision", None),
        Reply::failed("BranchModified", "see the promotion"),
        Reply::unavailable(),
    ]
    .into_iter()
    .enumerate()
    {
        let charge = if number % 2 == 0 { Charge::Endpoint } else { Charge::Source };
        let answer = Answer { reply, charge };
        assert_eq!(
            Answer::try_from(over_the_wire(v1::DeliverResponse::from(answer.clone()))),
            Ok(answer)
        );
    }
}

#[test]
fn wrong_answers_of_sync_are_named() {
    let settings = || response().settings.unwrap();
    let endpoint = |change: fn(&mut v1::Endpoint)| {
        let mut endpoint = v1::Endpoint::from(record());
        change(&mut endpoint);
        let full = v1::Table { endpoints: vec![endpoint] };
        v1::SyncResponse { change: Some(v1::sync_response::Change::Full(full)), ..response() }
    };
    let with = |change: fn(&mut v1::EdgeSettings)| {
        let mut changed = settings();
        change(&mut changed);
        v1::SyncResponse { settings: Some(changed), ..response() }
    };
    let delta = v1::sync_response::Change::Delta(v1::Delta::default());
    let cases = [
        (v1::SyncResponse { version: 0, ..response() }, "version is missing"),
        (v1::SyncResponse { change: None, ..response() }, "change is missing"),
        (v1::SyncResponse { settings: None, ..response() }, "settings is missing"),
        (v1::SyncResponse { more: true, ..response() }, "more and cursor contradict each other"),
        (
            v1::SyncResponse { cursor: "x".into(), ..response() },
            "more and cursor contradict each other",
        ),
        (
            v1::SyncResponse { change: Some(delta), more: true, cursor: "x".into(), ..response() },
            "more and delta contradict each other",
        ),
        (endpoint(|endpoint| endpoint.name = "a/b".into()), "name: \"a/b\" is not of the form"),
        (
            endpoint(|endpoint| endpoint.keys.push(b"short".to_vec())),
            "team-a/podinfo/dev: key \"\" has 5 bytes, expected at least 16",
        ),
        (
            endpoint(|endpoint| endpoint.keys.push(vec![b'x'; 4097])),
            "team-a/podinfo/dev: key \"\" has 4097 bytes, expected at most 4096",
        ),
        (
            endpoint(|endpoint| endpoint.keys = vec![KEY.to_vec(); 9]),
            "team-a/podinfo/dev: key \"\" is one more than the 8",
        ),
        (
            v1::SyncResponse { unreadable: vec!["x".into()], ..response() },
            "unreadable: \"x\" is not of the form",
        ),
        (
            endpoint(|endpoint| endpoint.rate_limit.as_mut().unwrap().requests = 0),
            "rate_limit: requests must be at least 1",
        ),
        (
            endpoint(|endpoint| endpoint.rate_limit.as_mut().unwrap().interval = "x".into()),
            "rate_limit: \"x\" is not a duration",
        ),
        (
            with(|settings| settings.path_prefix = "x".into()),
            "path_prefix: path prefix \"x\" must begin with '/'",
        ),
        (with(|settings| settings.rate_limit = None), "rate_limit is missing"),
        (with(|settings| settings.pre_auth = None), "pre_auth is missing"),
        (with(|settings| settings.algorithms.clear()), "algorithms is missing"),
        (
            with(|settings| settings.algorithms.push("sha1".into())),
            "algorithms: signature algorithm is unknown",
        ),
        (
            with(|settings| settings.allow_unsigned.push("x".into())),
            "allow_unsigned: \"x\" is not of the form",
        ),
        (with(|settings| settings.wait = String::new()), "wait: \"\" is empty"),
        (
            with(|settings| settings.freshness_past = "x".into()),
            "freshness_past: \"x\" is not a duration",
        ),
    ];
    for (response, problem) in cases {
        let error = SyncAnswer::try_from(response).unwrap_err().to_string();
        assert!(error.starts_with(problem), "{error} instead of {problem}");
    }
}

#[test]
fn wrong_deliveries_are_named() {
    let request = || v1::DeliverRequest::from(forward());
    let error = |request| Forward::try_from(request).unwrap_err();
    assert!(matches!(
        error(v1::DeliverRequest { endpoint: "a".into(), ..request() }),
        WireError::Name { field: "endpoint", .. }
    ));
    assert!(matches!(
        error(v1::DeliverRequest { signature: "sha1=00".into(), ..request() }),
        WireError::Signature { field: "signature", .. }
    ));
    assert_eq!(
        error(v1::DeliverRequest { key_fingerprint: vec![0; 15], ..request() }).to_string(),
        "key_fingerprint is 15, expected 0 or 16 bytes"
    );
}

#[test]
fn only_what_is_safe_in_a_response_head_is_relayed() {
    let reply = Reply::created(&"x", "https://git.example.org/pr/1".into());
    let answer = Answer { reply, charge: Charge::Endpoint };
    let response = || v1::DeliverResponse::from(answer.clone());
    for charge in [0, 3, -1] {
        assert!(
            Answer::try_from(v1::DeliverResponse { charge, ..response() }).is_err(),
            "{charge}"
        );
    }
    for status in [0, 100, 199, 600, 65_736] {
        assert!(
            Answer::try_from(v1::DeliverResponse { status, ..response() }).is_err(),
            "{status}"
        );
    }
    for text in ["a\r\nset-cookie: x", "a\nb", "a\0", "\u{e9}", "a\u{7f}"] {
        assert!(
            Answer::try_from(v1::DeliverResponse { location: text.into(), ..response() }).is_err(),
            "{text:?}"
        );
        assert!(
            Answer::try_from(v1::DeliverResponse { content_type: text.into(), ..response() })
                .is_err(),
            "{text:?}"
        );
    }
}

#[test]
fn keys_and_bodies_are_not_printed() {
    let mut secret = forward();
    secret.body = b"the secret body".to_vec();
    let text = format!(
        "{secret:?} {:?} {:?} {:?}",
        v1::DeliverRequest::from(secret.clone()),
        response(),
        record()
    );
    assert!(!text.contains("secret body") && !text.contains("0123456789abcdef"), "{text}");
    assert!(
        !text.contains(&format!("{:?}", KEY.get(..4).unwrap()).replace(['[', ']'], "")),
        "{text}"
    );
}
