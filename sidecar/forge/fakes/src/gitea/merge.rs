//! What happens to pull requests and their branches.

use jiff::Timestamp;

use crate::gitea::World;
use crate::gitea::state::Pull;

impl World {
    #[expect(clippy::too_many_arguments, reason = "what a pull request is made of")]
    pub(super) fn open(
        &self,
        path: &str,
        poster: &str,
        title: &str,
        body: &str,
        head: &str,
        base: &str,
        fork: bool,
    ) -> u64 {
        let mut state = self.state();
        let repository = state.repository(path);
        let number = repository.pulls.last().map_or(1, |pull| pull.number + 1);
        repository.pulls.push(Pull::new(number, poster, title, body, head, base, fork));
        drop(state);
        self.refresh(path);
        number
    }

    /// Brings the commits of all open pull requests up to date.
    pub(super) fn refresh(&self, path: &str) {
        let git = format!("{path}.git");
        let tips = self.git.tips(&git);
        let mut state = self.state();
        let forgejo = state.forgejo;
        for pull in &mut state.repository(path).pulls {
            let tip = tips.get(&pull.head).filter(|_| !pull.fork);
            if !pull.closed {
                if pull.fork {
                    pull.head_sha = "f".repeat(40);
                } else if let Some(tip) = tip {
                    pull.head_sha.clone_from(tip);
                }
                pull.base_sha = tips.get(&pull.base).cloned().unwrap_or_default();
                pull.look_for_conflicts(&self.git, &git);
            }
            pull.shown_sha = tip.filter(|_| forgejo).unwrap_or(&pull.head_sha).clone();
        }
    }

    /// Merges it, whatever the rules say. The commit, or why not.
    pub(super) fn merge(&self, path: &str, number: u64) -> Result<String, &'static str> {
        let pull = self
            .state()
            .repository(path)
            .pull(number)
            .cloned()
            .ok_or("there is no such pull request")?;
        if pull.closed || pull.fork {
            return Err("it is closed, or of a fork");
        }
        let commit = self
            .git
            .try_merge(&format!("{path}.git"), &pull.head, &pull.base)
            .ok_or("it conflicts")?;
        let mut state = self.state();
        let pull = state.repository(path).pull(number).ok_or("there is no such pull request")?;
        pull.close();
        pull.merged = Some((commit.clone(), Timestamp::now()));
        drop(state);
        self.refresh(path);
        Ok(commit)
    }

    /// Does the scheduled merges that have become possible.
    pub(super) fn settle(&self, path: &str) {
        self.refresh(path);
        let due: Vec<u64> = {
            let mut state = self.state();
            let repository = state.repository(path);
            let allowed = |style: &str| style != "squash" || repository.squash;
            let due = |pull: &&Pull| {
                pull.scheduled.as_deref().is_some_and(allowed) && repository.is_free(pull)
            };
            repository.pulls.iter().filter(due).map(|pull| pull.number).collect()
        };
        for number in due {
            // A conflict leaves it open, with a word in the real one's log.
            drop(self.merge(path, number));
        }
    }

    pub(super) fn delete_branch(&self, path: &str, branch: &str) {
        self.refresh(path);
        self.git
            .git(&format!("{path}.git"), &["update-ref", "-d", &format!("refs/heads/{branch}")]);
        for pull in &mut self.state().repository(path).pulls {
            if !pull.fork && pull.head == branch {
                pull.headless = true;
                pull.close();
            }
        }
    }
}
