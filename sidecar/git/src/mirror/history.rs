//! Questions about commits that were fetched.

use gix::ObjectId;
use lockgate_core::revision::Version;

use super::{Ahead, Mirror, commit, contained, fetch, index};
use crate::commit_id::CommitId;
use crate::error::GitError;
use crate::markers::Marker;

impl Mirror {
    /// The whole message of a commit.
    ///
    /// # Errors
    /// [`GitError::MirrorDamaged`] if the commit is not in the mirror.
    pub fn commit_message(&self, id: &CommitId) -> Result<String, GitError> {
        let mut state = self.state();
        let repository = state.repository.to_thread_local();
        let result = fetch::message(&repository, id.0);
        state.noting_damage(result)
    }

    /// The newest commit that `tip` reaches and `base_old` does not, whose last paragraph has the
    /// line `key: value`. `base_old` may be gone or be no ancestor (a force-pushed branch); at most
    /// the last 10,000 commits are looked at.
    ///
    /// # Errors
    /// [`GitError::MirrorDamaged`] if the history cannot be read.
    pub fn find_commit_with_trailer(
        &self,
        base_old: Option<&CommitId>,
        tip: &CommitId,
        key: &str,
        value: &str,
    ) -> Result<Option<CommitId>, GitError> {
        let mut state = self.state();
        let repository = state.repository.to_thread_local();
        let result = fetch::find_trailer(&repository, base_old.map(|id| id.0), tip.0, key, value);
        state.noting_damage(result)
    }

    /// Commits that `tip` reaches and `base` does not, newest first, at most `most`. None: `base`
    /// has all of them.
    ///
    /// # Errors
    /// [`GitError::MirrorDamaged`] if the history cannot be read.
    pub fn ahead(
        &self,
        base: &CommitId,
        tip: &CommitId,
        most: usize,
    ) -> Result<Vec<Ahead>, GitError> {
        let mut state = self.state();
        let repository = state.repository.to_thread_local();
        let result = fetch::ahead(&repository, base.0, tip.0, most);
        state.noting_damage(result)
    }

    /// Whether each file that `tip` changed since it left `base` is in `base` as it is in `tip`:
    /// what a squash or a rebase leaves. Both must have been fetched.
    ///
    /// # Errors
    /// [`GitError::MirrorDamaged`] if an object cannot be read.
    pub fn is_contained(&self, base: &CommitId, tip: &CommitId) -> Result<bool, GitError> {
        let mut state = self.state();
        let repository = state.repository.to_thread_local();
        let result = contained::contained(&repository, base.0, tip.0);
        state.noting_damage(result)
    }

    /// Whether a commit is its only parent with every scalar of `markers` set as [`Mirror::commit`]
    /// does for `version`, and nothing else. Who committed it, and when, does not matter: a rebase
    /// keeps it so, an amendment does not.
    ///
    /// # Errors
    /// [`GitError::MirrorDamaged`] if an object cannot be read.
    pub fn is_edit(
        &self,
        commit: &CommitId,
        markers: &[Marker],
        version: &Version,
    ) -> Result<bool, GitError> {
        self.is_edit_of(commit, markers, version, |parents| match parents {
            [parent] => Some(*parent),
            _ => None,
        })
    }

    /// Whether a commit merges a second parent into a branch and is that parent with every scalar
    /// of `markers` set, and nothing else: what a forge makes of an edit when it updates its branch
    /// from the base branch. The first parent does not matter.
    ///
    /// # Errors
    /// As [`Mirror::is_edit`].
    pub fn is_edit_with_update(
        &self,
        commit: &CommitId,
        markers: &[Marker],
        version: &Version,
    ) -> Result<bool, GitError> {
        self.is_edit_of(commit, markers, version, |parents| match parents {
            [_, merged] => Some(*merged),
            _ => None,
        })
    }

    fn is_edit_of(
        &self,
        commit: &CommitId,
        markers: &[Marker],
        version: &Version,
        choose: impl Fn(&[ObjectId]) -> Option<ObjectId>,
    ) -> Result<bool, GitError> {
        let mut state = self.state();
        let repository = state.repository.to_thread_local();
        let result = fetch::parents(&repository, commit.0).and_then(|parents| {
            let Some(parent) = choose(&parents) else { return Ok(false) };
            let search = index::find(&mut state.index, &repository, parent, markers)?;
            commit::is_edit(&repository, commit.0, parent, &search, version)
        });
        state.noting_damage(result)
    }
}
