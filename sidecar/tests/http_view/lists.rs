//! `/api/v1`: lists in pages, single objects, and questions that are wrong.

use axum::{
    body::Body,
    http::{Request, StatusCode, header},
};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::{KEY, get, names, world};

#[tokio::test]
async fn pipelines_are_listed_by_namespace_and_in_pages() {
    let world = world().await;
    let (status, kind, all) = get(&world.api, "/api/v1/pipelines").await;
    assert_eq!((status, kind.as_str()), (StatusCode::OK, "application/json"));
    assert_eq!(
        (names(&all), &all["continue"]),
        (vec!["team/a".into(), "team/b".into(), "zoo/c".into()], &Value::Null)
    );
    assert_eq!(names(&get(&world.api, "/api/v1/pipelines?namespace=zoo").await.2), ["zoo/c"]);
    let first = get(&world.api, "/api/v1/pipelines?limit=2").await.2;
    assert_eq!(names(&first).len(), 2);
    let rest = get(
        &world.api,
        &format!("/api/v1/pipelines?limit=2&continue={}", first["continue"].as_str().unwrap()),
    )
    .await
    .2;
    assert_eq!((names(&rest), &rest["continue"]), (vec!["zoo/c".to_owned()], &Value::Null));
}

#[tokio::test]
async fn a_pipeline_shows_what_is_configured_and_what_is_wrong_but_no_key() {
    let world = world().await;
    let (_, _, a) = get(&world.api, "/api/v1/pipelines/team/a").await;
    assert_eq!(
        a["appRef"],
        json!({"apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease", "name": "a"})
    );
    assert_eq!(
        a["environments"],
        json!([
            {"name": "dev", "targets": [{"id": "dev", "namespace": "dev", "cluster": null}], "endpoint": "team/a/dev", "keys": ["hmac-key"], "promotion": null},
            {"name": "prod", "targets": [{"id": "eu/prod", "namespace": "prod", "cluster": "eu"}], "endpoint": "team/a/prod", "keys": ["hmac-key"], "promotion": {"strategy": "notification", "manual": true}},
        ])
    );
    assert!(
        a["problems"]
            .as_array()
            .unwrap()
            .iter()
            .any(|problem| problem["message"].as_str().unwrap().contains("shares a key")),
        "{a}"
    );
    let (_, _, c) = get(&world.api, "/api/v1/pipelines/zoo/c").await;
    assert!(
        c["problems"][0]["message"].as_str().unwrap().contains("there is no Secret zoo/hmac"),
        "{c}"
    );
    assert!(!format!("{a}{c}").contains(KEY));
}

#[tokio::test]
async fn promotions_come_newest_first_filtered_and_in_pages() {
    let world = world().await;
    let versions = |list: &Value| {
        list["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item["version"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        versions(&get(&world.api, "/api/v1/promotions").await.2),
        ["1.0.5", "1.0.4", "1.0.3", "1.0.2", "1.0.1"]
    );
    assert_eq!(versions(&get(&world.api, "/api/v1/promotions?pipeline=b").await.2), ["1.0.5"]);
    assert!(versions(&get(&world.api, "/api/v1/promotions?environment=dev").await.2).is_empty());
    assert_eq!(
        versions(
            &get(&world.api, "/api/v1/promotions?state=WaitingApproval&namespace=team&limit=500")
                .await
                .2
        )
        .len(),
        5
    );
    let (mut seen, mut path) = (Vec::new(), "/api/v1/promotions?limit=2".to_owned());
    loop {
        let page = get(&world.api, &path).await.2;
        seen.extend(versions(&page));
        let Some(next) = page["continue"].as_str() else { break };
        path = format!("/api/v1/promotions?limit=2&continue={next}");
    }
    assert_eq!(seen, ["1.0.5", "1.0.4", "1.0.3", "1.0.2", "1.0.1"]);
}

#[tokio::test]
async fn one_promotion_has_the_fields_of_the_contract() {
    let world = world().await;
    let (status, _, promotion) =
        get(&world.api, &format!("/api/v1/promotions/{}", world.ids[0])).await;
    assert_eq!(status, StatusCode::OK);
    for field in [
        "id",
        "namespace",
        "pipeline",
        "from",
        "to",
        "revision",
        "version",
        "state",
        "reason",
        "message",
        "attempts",
        "nextAttemptAt",
        "event",
        "commit",
        "branch",
        "pullRequest",
        "createdAt",
        "updatedAt",
    ] {
        assert!(promotion.get(field).is_some(), "{field}: {promotion}");
    }
    assert_eq!(promotion["state"], "WaitingApproval");
}

#[tokio::test]
async fn the_event_stream_continues_where_it_ended() {
    let world = world().await;
    let (_, _, all) = get(&world.api, "/api/v1/events").await;
    let first = all["items"][0]["seq"].as_u64().unwrap();
    assert_eq!(all["items"].as_array().unwrap().len(), 5);
    assert_eq!(all["items"][0]["namespace"], "team");
    let (_, _, rest) = get(&world.api, &format!("/api/v1/events?after={}", first + 2)).await;
    assert_eq!(rest["items"].as_array().unwrap().len(), 2);
    let last = rest["continue"].as_str().unwrap();
    let (_, _, none) = get(&world.api, &format!("/api/v1/events?after={last}")).await;
    assert_eq!(none, json!({"items": [], "continue": last}));
}

#[tokio::test]
async fn wrong_questions_get_problem_documents() {
    let world = world().await;
    for (path, status) in [
        ("/api/v1/promotions?state=Nope", 400),
        ("/api/v1/promotions?sate=Pending", 400),
        ("/api/v1/promotions?limit=0", 400),
        ("/api/v1/promotions?limit=501", 400),
        ("/api/v1/promotions?continue=x", 400),
        ("/api/v1/pipelines?continue=x", 400),
        ("/api/v1/events?after=-1", 410),
        ("/api/v1/promotions/0198f1d2-7c1e-7b6a-a3a5-0d9e6f1a2b3c", 404),
        ("/api/v1/promotions/nope", 404),
        ("/api/v1/pipelines/team/none", 404),
        ("/api/v1/pipelines/team/%ff", 404),
        ("/", 404),
    ] {
        let (got, kind, problem) = get(&world.api, path).await;
        assert_eq!(
            (got.as_u16(), kind.as_str()),
            (status, "application/problem+json"),
            "{path}: {problem}"
        );
        assert_eq!(problem["status"], status);
        assert!(!problem["detail"].as_str().unwrap().is_empty());
    }
    let response = world
        .api
        .clone()
        .oneshot(Request::delete("/api/v1/promotions").body(Body::empty()).unwrap())
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert!(response.headers().contains_key(header::ALLOW));
}

#[tokio::test]
async fn problems_have_a_list_of_their_own_in_pages() {
    let world = world().await;
    let messages = |list: &Value| -> Vec<String> {
        list["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item["message"].as_str().unwrap().to_owned())
            .collect()
    };
    let (status, _, all) = get(&world.api, "/api/v1/problems").await;
    assert_eq!(status, StatusCode::OK);
    let all = messages(&all);
    assert!(all.len() > 2, "{all:?}");
    let (mut seen, mut path) = (Vec::new(), "/api/v1/problems?limit=2".to_owned());
    loop {
        let (_, _, page) = get(&world.api, &path).await;
        seen.extend(messages(&page));
        let Some(next) = page["continue"].as_str() else { break };
        path = format!("/api/v1/problems?limit=2&continue={next}");
    }
    assert_eq!(seen, all);
    let (_, _, zoo) = get(&world.api, "/api/v1/problems?namespace=zoo").await;
    let items = zoo["items"].as_array().unwrap();
    assert!(!items.is_empty() && items.iter().all(|item| item["object"]["namespace"] == "zoo"));
    assert_eq!(get(&world.api, "/api/v1/problems?continue=1.0").await.0, StatusCode::GONE);
    assert_eq!(get(&world.api, "/api/v1/problems?continue=x").await.0, StatusCode::BAD_REQUEST);
    let (_, _, pipelines) = get(&world.api, "/api/v1/pipelines?limit=1").await;
    assert!(pipelines.get("problems").is_none(), "not again on each page of another list");
}

#[tokio::test]
async fn deliveries_come_newest_first_filtered_and_in_pages() {
    let world = world().await;
    let revisions = |list: &Value| -> Vec<String> {
        list["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item["revision"].as_str().unwrap().to_owned())
            .collect()
    };
    let (_, _, b) = get(&world.api, "/api/v1/deliveries?pipeline=b&environment=dev").await;
    assert_eq!((revisions(&b), &b["continue"]), (vec!["1.0.5".to_owned()], &Value::Null));
    let (_, _, none) = get(&world.api, "/api/v1/deliveries?environment=prod").await;
    assert!(revisions(&none).is_empty());
    let (mut seen, mut path) = (Vec::new(), "/api/v1/deliveries?limit=2".to_owned());
    loop {
        let (status, _, page) = get(&world.api, &path).await;
        assert_eq!(status, StatusCode::OK, "{page}");
        seen.extend(revisions(&page));
        let Some(next) = page["continue"].as_str() else { break };
        path = format!("/api/v1/deliveries?limit=2&continue={next}");
    }
    assert_eq!(seen, ["1.0.5", "1.0.4", "1.0.3", "1.0.2", "1.0.1"]);
    assert_eq!(get(&world.api, "/api/v1/deliveries?continue=x").await.0, StatusCode::BAD_REQUEST);
}
