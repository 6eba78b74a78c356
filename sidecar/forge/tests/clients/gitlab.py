"""What a promotion does on GitLab, with python-gitlab. Arguments: address, token, project, head branch."""

import sys

import gitlab

address, token, path, head = sys.argv[1:]
forge = gitlab.Gitlab(address, private_token=token, retry_transient_errors=False)
assert forge.projects.get(path).merge_method == "merge"
project = forge.projects.get(path, lazy=True)


def opened():
    return project.mergerequests.list(
        source_branch=head,
        target_branch="main",
        state="opened",
        order_by="created_at",
        sort="asc",
        per_page=100,
        get_all=False,
    )


assert opened() == []
assert project.repository_compare("main", head)["commits"]
made = project.mergerequests.create(
    {
        "source_branch": head,
        "target_branch": "main",
        "title": "Promote ns/web in prod to 2",
        "description": "to **2**",
        "remove_source_branch": True,
    }
)
try:
    project.mergerequests.create({"source_branch": head, "target_branch": "main", "title": "again"})
    raise SystemExit("a second one was opened")
except gitlab.GitlabCreateError as error:
    assert error.response_code == 409, error
[found] = opened()
assert found.iid == made.iid and found.source_project_id == found.target_project_id

pull = project.mergerequests.get(made.iid)
pull.title, pull.description = "Promote to 3", "**3**"
pull.save()
pull.add_labels = "prod"
pull.save()
assert pull.labels == ["prod"], pull.labels
[jane] = forge.users.list(username="jane", get_all=False)
pull.reviewer_ids = [jane.id]
pull.save()
assert [user["username"] for user in pull.reviewers] == ["jane"]

project.mergerequests.update(made.iid, {"title": "Promote to 3"})
armed = forge.http_put(
    f"/projects/{project.encoded_id}/merge_requests/{made.iid}/merge",
    post_data={
        "auto_merge": True,
        "merge_when_pipeline_succeeds": True,
        "should_remove_source_branch": True,
        "sha": pull.sha,
        "squash": True,
    },
)
assert armed["merge_when_pipeline_succeeds"] is True, armed
pull.cancel_merge_when_pipeline_succeeds()
assert project.mergerequests.get(made.iid).merge_when_pipeline_succeeds is False

commit = project.commits.get(pull.sha, lazy=True)
commit.statuses.create({"state": "success", "name": "lockgate", "description": "d", "target_url": "https://l.example"})
[status] = commit.statuses.list(per_page=100, get_all=False)
assert status.name == "lockgate" and status.status == "success"
project.mergerequests.get(made.iid, lazy=True).notes.create({"body": "hello"})
