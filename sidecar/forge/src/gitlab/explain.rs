//! What is asked to explain a refusal.

use async_trait::async_trait;
use reqwest::Method;
use serde_json::Value;

use super::GitLab;
use super::wire::name;
use crate::error::{ForgeError, ForgeFault};
use crate::explain::Explain;

#[async_trait]
impl Explain for GitLab {
    async fn repository(&self, operation: &'static str) -> Result<Value, ForgeError> {
        Ok(self.send(operation, self.rest.request(Method::GET, self.url([]))).await?.body)
    }

    async fn any_pull(&self, operation: &'static str) -> Result<(), ForgeError> {
        let mut url = self.url(["merge_requests"]);
        url.query_pairs_mut().append_pair("per_page", "1");
        self.send(operation, self.rest.request(Method::GET, url)).await.map(drop)
    }

    fn name_of(&self, number: u64) -> String {
        name(number)
    }

    /// A project that was renamed is a redirect to its number, and for what writes a refusal.
    async fn moved(&self, operation: &'static str, to: &str) -> Option<String> {
        let url = match to.split_once("/projects/") {
            Some((_, rest)) => self.places.beside(["projects", rest.split('/').next()?]),
            // Nothing was named: the project's own address redirects.
            None => {
                let request = self.rest.request(Method::GET, self.url([]));
                let answer = self.rest.send_any(operation, request).await.ok()?;
                let ForgeFault::Moved { to } = self.rest.fault(&answer) else { return None };
                let (_, rest) = to.split_once("/projects/")?;
                self.places.beside(["projects", rest.split('/').next()?])
            }
        };
        let answer = self.send(operation, self.rest.request(Method::GET, url)).await.ok()?;
        Some(answer.body.get("web_url")?.as_str()?.to_owned())
    }
}
