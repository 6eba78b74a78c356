// The life of one pull request, by Microsoft's client: node flow.cjs COLLECTION_URL PROJECT REPOSITORY HEAD COMMIT REVIEWER
// The client is what LOCKGATE_AZURE_CLIENT names, the token what TOKEN holds. Prints what the client read, as JSON.
const client = require(process.env.LOCKGATE_AZURE_CLIENT);
const types = require(require("path").join(require("path").dirname(process.env.LOCKGATE_AZURE_CLIENT), "interfaces/GitInterfaces"));

async function main([url, project, repository, head, commit, reviewer]) {
  const connection = new client.WebApi(url, client.getPersonalAccessTokenHandler(process.env.TOKEN));
  const me = (await connection.connect()).authenticatedUser.id;
  const git = await connection.getGitApi();
  const [sourceRefName, targetRefName] = [`refs/heads/${head}`, "refs/heads/main"];
  const update = (fields) => git.updatePullRequest(fields, repository, number, project);

  const stats = await git.getBranch(repository, head, project, { version: "main", versionType: types.GitVersionType.Branch });
  const made = await git.createPullRequest({ sourceRefName, targetRefName, title: "t", description: "d" }, repository, project);
  const number = made.pullRequestId;
  const again = await git
    .createPullRequest({ sourceRefName, targetRefName, title: "t", description: "d" }, repository, project)
    .then(() => "created", (error) => `${error.statusCode} ${error.message}`);
  const search = { sourceRefName, targetRefName, status: types.PullRequestStatus.Active };
  const found = await git.getPullRequests(repository, search, project, undefined, 0, 100);
  const updated = await update({ title: "t2", description: "d2" });
  await git.createPullRequestLabel({ name: "promotion" }, repository, number, project);
  await git.createPullRequestReviewers([{ id: reviewer }], repository, number, project);
  const completionOptions = { deleteSourceBranch: true, mergeStrategy: types.GitPullRequestMergeStrategy.Squash };
  await update({ autoCompleteSetBy: { id: me }, completionOptions });
  const on = await git.getPullRequest(repository, number, project);
  const off = await update({ autoCompleteSetBy: { id: "00000000-0000-0000-0000-000000000000" } });
  await git.createThread(
    { comments: [{ parentCommentId: 0, content: "hello", commentType: 1 }], status: 4 }, repository, number, project);
  const status = {
    state: types.GitStatusState.Succeeded, description: "d", context: { genre: "fluxcd", name: "a" }, targetUrl: "https://x.example",
  };
  await git.createCommitStatus(status, commit, repository, project);
  const statuses = await git.getStatuses(commit, repository, project, 100, 0, true);
  await git.getPullRequestStatuses(repository, number, project);
  const abandoned = await update({ status: types.PullRequestStatus.Abandoned });

  console.log(JSON.stringify({
    me, ahead: stats.aheadCount, number, again, found: found.map((pull) => pull.pullRequestId),
    isActive: found[0].status === types.PullRequestStatus.Active, title: updated.title, description: updated.description,
    labels: on.labels.map((label) => label.name), reviewers: on.reviewers.map((who) => who.id),
    autoComplete: on.autoCompleteSetBy.id === me && on.completionOptions.mergeStrategy === types.GitPullRequestMergeStrategy.Squash,
    off: off.autoCompleteSetBy === undefined, statuses: statuses.map((one) => types.GitStatusState[one.state]),
    isAbandoned: abandoned.status === types.PullRequestStatus.Abandoned,
  }));
}

main(process.argv.slice(2)).catch((error) => { console.error(error); process.exit(1); });
