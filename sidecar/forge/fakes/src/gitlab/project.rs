//! The project itself: its settings, and where it has gone.

use serde_json::{Value, json};

use super::state::GitLabState;
use crate::interface::{Call, Reply};

impl GitLabState {
    /// Source: `lib/api/helpers.rb`, `find_project!`; VirtusLab/git-machete#1212.
    pub(super) fn moved(&self, call: &Call, project: &str) -> Option<Reply> {
        let path = self.moved_to.as_ref()?;
        if project == "1000" {
            let mut shown = self.show_project(path);
            shown["web_url"] = format!("{}/{path}", self.root).into();
            return Some(Reply::new(200, shown));
        }
        if call.method != "GET" {
            let text = "Non GET methods are not allowed for moved projects";
            return Some(Reply::new(405, json!({"message": text})));
        }
        let to = format!("{}/api/v4/projects/1000", self.root);
        Some(Reply::new(301, json!({"message": "301 Moved"})).with("location", to))
    }

    pub(super) fn show_project(&self, project: &str) -> Value {
        let id = self.projects.iter().position(|path| path == project).unwrap_or_default();
        let mut shown = json!({"id": id + 1000, "path_with_namespace": project, "merge_method": self.merge_method,
            "squash_option": self.squash_option, "only_allow_merge_if_pipeline_succeeds": false, "jobs_enabled": true});
        for (name, value) in self.settings.as_object().into_iter().flatten() {
            shown[name] = value.clone();
        }
        shown
    }
}
