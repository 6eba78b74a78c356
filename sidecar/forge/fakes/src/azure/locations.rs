//! Where the resources are, for Microsoft's own clients.

use serde_json::{Value, json};

use super::answers::found;

/// What clients ask for first: where the resources are, and in which versions. The ids are those of
/// Microsoft's clients.
pub(super) fn locations(area: &str) -> Value {
    let repository = "{project}/_apis/{area}/repositories/{repositoryId}";
    let pull = format!("{repository}/pullRequests/{{pullRequestId}}/{{resource}}");
    let one = |id: &str, resource: &str, route: &str, released: &str| {
        json!({
            "id": id, "area": area, "resourceName": resource, "routeTemplate": route,
            "resourceVersion": 1, "minVersion": "1.0", "maxVersion": "7.0", "releasedVersion": released,
        })
    };
    let list = match area {
        "location" => vec![
            one(
                "e81700f7-3be2-46de-8624-2eb35882fcaa",
                "ResourceAreas",
                "_apis/{resource}/{areaId}",
                "0.0",
            ),
            one(
                "00d9565f-ed9c-4a06-9a50-00e7896ccab4",
                "ConnectionData",
                "_apis/{resource}",
                "0.0",
            ),
        ],
        "git" => vec![
            one(
                "9946fd70-0d40-406e-b686-b4744cbbcc37",
                "pullRequests",
                &format!("{repository}/{{resource}}/{{pullRequestId}}"),
                "7.0",
            ),
            one(
                "f22387e3-984e-4c52-9c6d-fbb8f14c812d",
                "labels",
                &format!("{pull}/{{labelIdOrName}}"),
                "7.0",
            ),
            one(
                "4b6702c7-aa35-4b89-9c96-b9abf6d3e540",
                "reviewers",
                &format!("{pull}/{{reviewerId}}"),
                "7.0",
            ),
            one(
                "ab6e2e5d-a0b7-4153-b64a-a4efe0d49449",
                "threads",
                &format!("{pull}/{{threadId}}"),
                "7.0",
            ),
            one(
                "b5f6bb4f-8d1e-4d79-8d11-4c9172c99c35",
                "statuses",
                &format!("{pull}/{{statusId}}"),
                "7.0",
            ),
            one(
                "d43911ee-6958-46b0-a42b-8445b8a0d004",
                "iterations",
                &format!("{pull}/{{iterationId}}"),
                "7.0",
            ),
            one(
                "428dd4fb-fda5-4722-af02-9313b80305da",
                "statuses",
                &format!("{repository}/commits/{{commitId}}/{{resource}}"),
                "7.0",
            ),
            one(
                "d5b216de-d8d5-4d32-ae76-51df755b16d3",
                "branches",
                &format!("{repository}/stats/{{resource}}"),
                "7.0",
            ),
        ],
        _ => Vec::new(),
    };
    found(list)
}
