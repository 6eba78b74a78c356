//! The running sidecar's JSON API, as the verbs that ask it see it.

use clap::Args;
use lockgate_edge::reply::Problem;
use reqwest::{Client, Url};
use serde::de::DeserializeOwned;

use super::{Fault, causes, http_client};
use crate::view::Page;

/// Which sidecar is asked.
#[derive(Debug, Args)]
pub(super) struct Server {
    /// Where the sidecar's listen.api is
    #[arg(long, env = "LOCKGATE_API", default_value = "http://127.0.0.1:8083", value_name = "URL")]
    api: String,
}

/// A sidecar that can be asked.
pub(super) struct Api {
    base: Url,
    client: Client,
}

impl Server {
    pub(super) fn connect(&self) -> Result<Api, Fault> {
        let base = Url::parse(&self.api)
            .map_err(|error| Fault::Usage(format!("--api {}: {error}", self.api)))?;
        if !matches!(base.scheme(), "http" | "https") {
            return Err(Fault::Usage(format!("--api {}: expected an http or https URL", self.api)));
        }
        let client = http_client(&base, None)?;
        Ok(Api { base, client })
    }
}

impl Api {
    /// One object; `path` begins after `/api/v1`.
    pub(super) async fn one<T: DeserializeOwned>(&self, path: &[&str]) -> Result<T, Fault> {
        self.get(self.url(path)?).await
    }

    /// At most `limit` items of a list, page after page. A filter without a value is left out.
    pub(super) async fn list<T: DeserializeOwned>(
        &self,
        path: &str,
        filters: &[(&str, Option<&str>)],
        limit: usize,
    ) -> Result<Vec<T>, Fault> {
        let mut items: Vec<T> = Vec::new();
        let mut next: Option<String> = None;
        loop {
            let mut url = self.url(&[path])?;
            let size = (limit - items.len()).min(PAGE).to_string();
            let page = [("limit", Some(size.as_str())), ("continue", next.as_deref())];
            for (name, value) in filters.iter().chain(&page) {
                if let Some(value) = value {
                    url.query_pairs_mut().append_pair(name, value);
                }
            }
            let answer: Page<T> = self.get(url).await?;
            let none = answer.items.is_empty();
            items.extend(answer.items);
            next = answer.r#continue;
            if none || next.is_none() || items.len() >= limit {
                return Ok(items);
            }
        }
    }

    fn url(&self, segments: &[&str]) -> Result<Url, Fault> {
        let mut url = self.base.clone();
        let base = &self.base;
        url.path_segments_mut()
            .map_err(|()| Fault::Usage(format!("--api {base}: expected an http or https URL")))?
            .pop_if_empty()
            .extend(["api", "v1"])
            .extend(segments);
        Ok(url)
    }

    async fn get<T: DeserializeOwned>(&self, url: Url) -> Result<T, Fault> {
        let server = self.base.origin().ascii_serialization();
        let path = url.path().to_owned();
        let unreachable = |error: reqwest::Error| {
            Fault::Failure(format!(
                "{server}: {} (is the sidecar running, and is --api its listen.api?)",
                causes(&error.without_url())
            ))
        };
        let response = self.client.get(url).send().await.map_err(unreachable)?;
        let status = response.status();
        let body = response.bytes().await.map_err(unreachable)?;
        if status.is_success() {
            return serde_json::from_slice(&body).map_err(|error| {
                Fault::Failure(format!(
                    "{server}{path}: the answer is not what this version expects: {error} (is \
                     --api its listen.api, and is it the same version as this command?)"
                ))
            });
        }
        let problem: Problem = serde_json::from_slice(&body).map_err(|_| {
            Fault::Failure(format!(
                "{server}{path}: answered {status} with something that is no problem document (is \
                 --api its listen.api?)"
            ))
        })?;
        let next = problem.next.map(|next| format!("; {next}")).unwrap_or_default();
        Err(Fault::Failure(format!("{server}{path}: {status}: {}{next}", problem.detail)))
    }
}

/// Items that are asked for at a time: the most that the API gives.
const PAGE: usize = 500;
