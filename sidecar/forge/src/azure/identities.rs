//! Who we are, and who is asked for a review.

use reqwest::Method;

use super::wire::{self, AzureList, Connected, Identity};
use super::{Azure, VERSION};
use crate::error::{ForgeError, ForgeFault};

impl Azure {
    /// The id of who we are. Source: the official clients' "Connection Data"; it has never left
    /// preview.
    pub(super) async fn own_id(&self, operation: &'static str) -> Result<String, ForgeError> {
        let mut url = self.rest.url(["_apis", "connectionData"]);
        url.query_pairs_mut().append_pair("api-version", PREVIEW_VERSION);
        let connected: Connected =
            self.send(operation, self.rest.request(Method::GET, url)).await?;
        Ok(connected.authenticated_user.id)
    }

    /// The id of a person or group. Source: "Identities - Read Identities", which needs the scope
    /// Identity (Read).
    pub(super) async fn identity(&self, name: &str) -> Result<String, ForgeError> {
        let mut url = self.identities.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(["_apis", "identities"]);
        }
        let query = [
            ("searchFilter", "General"),
            ("filterValue", name),
            ("queryMembership", "None"),
            ("api-version", VERSION),
        ];
        url.query_pairs_mut().extend_pairs(query);
        let page: AzureList<Identity> = self
            .send("reviewers", self.rest.request(Method::GET, url))
            .await
            .map_err(|mut error| {
                if error.fault == ForgeFault::AuthenticationFailed {
                    let detail = format!(
                        "it is needed to look up the reviewer {name:?}; an id needs no look-up"
                    );
                    error.fault = ForgeFault::PermissionDenied { right: "Identity (Read)", detail };
                }
                error
            })?;
        wire::only(page.items(), name)
            .map_err(|words| self.rest.error("reviewers", ForgeFault::Invalid(words)))
    }
}

const PREVIEW_VERSION: &str = "7.0-preview.1";
