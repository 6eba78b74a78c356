//! Merging at once, or by GitLab itself.

use serde_json::json;

use super::state::GitLabState;
use crate::interface::{Call, Reply};

impl GitLabState {
    pub(super) fn accept(&mut self, call: &Call, iid: u64) -> Reply {
        if !self.may_merge {
            return Reply::new(401, json!({"message": "401 Unauthorized"}));
        }
        let head = self.head(iid);
        if call.text("sha").is_some_and(|sha| Some(sha) != head.as_deref()) {
            let text =
                format!("SHA does not match HEAD of source branch: {}", head.unwrap_or_default());
            return Reply::new(409, json!({"message": text}));
        }
        if call.body["squash"] == true {
            self.pull(iid).squash = true;
        }
        let auto = call.body["merge_when_pipeline_succeeds"] == true
            || (self.knows_auto_merge && call.body["auto_merge"] == true);
        let open = self.pull(iid).state == "opened";
        let refused =
            self.detailed_merge_status.is_some() || self.pull(iid).title.starts_with("Draft:");
        if !open || refused || (self.pipeline && !auto) {
            return Reply::new(405, json!({"message": "405 Method Not Allowed"}));
        }
        if self.pipeline {
            self.pull(iid).auto_merge = true;
        } else {
            self.merge(iid);
        }
        self.reply(200, iid)
    }

    pub(super) fn cancel(&mut self, iid: u64) -> Reply {
        if !self.may_merge {
            return Reply::new(401, json!({"message": "401 Unauthorized"}));
        }
        if !std::mem::take(&mut self.pull(iid).auto_merge) {
            return Reply::new(
                201,
                json!({"message": "Can't cancel the automatic merge", "status": "error", "http_status": 406}),
            );
        }
        Reply::new(201, json!({"status": "success"}))
    }
}
