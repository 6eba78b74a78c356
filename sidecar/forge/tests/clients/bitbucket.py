"""What a promotion does on Bitbucket, with atlassian-python-api. Arguments: address, token, project, slug, head branch.

Where the client has no method of its own for a request, its `get`, `post` and `delete` build it.
"""

import sys

from atlassian import Bitbucket
from requests import HTTPError

address, token, project, slug, head = sys.argv[1:]
forge = Bitbucket(url=address, token=token, cloud=False, api_version="latest")
at = f"refs/heads/{head}"


def opened():
    return [
        pull
        for pull in forge.get_pull_requests(project, slug, state="OPEN", order="OLDEST", limit=100)
        if pull["fromRef"]["id"] == at and pull["toRef"]["id"] == "refs/heads/main"
    ]


def create():
    return forge.open_pull_request(
        project, slug, project, slug, at, "refs/heads/main", "Promote ns/web in prod to 2", "to **2**"
    )


assert opened() == []
made = create()
try:
    create()
    raise SystemExit("a second one was opened")
except HTTPError as error:
    assert error.response.status_code == 409, error
number = made["id"]
assert [pull["id"] for pull in opened()] == [number]

pull = forge.get_pull_request(project, slug, number)
data = {"version": pull["version"], "title": pull["title"], "description": pull["description"]}
pull = forge.update_pull_request(project, slug, number, data | {"reviewers": [{"user": {"name": "jane"}}]})
assert [reviewer["user"]["name"] for reviewer in pull["reviewers"]] == ["jane"], pull
try:
    forge.update_pull_request(project, slug, number, data)
    raise SystemExit("an old version was taken")
except HTTPError as error:
    assert error.response.status_code == 409, error
pull = forge.update_pull_request(
    project,
    slug,
    number,
    {
        "version": pull["version"],
        "title": "Promote to 3",
        "description": "**3**",
        "reviewers": [{"user": {"name": reviewer["user"]["name"]}} for reviewer in pull["reviewers"]],
    },
)

repository = f"rest/api/latest/projects/{project}/repos/{slug}"
assert forge.get(f"{repository}/settings/auto-merge")["enabled"] is True
armed = forge.post(
    f"{repository}/pull-requests/{number}/merge",
    data={"autoMerge": True, "strategyId": "squash"},
    params={"version": pull["version"]},
)
assert armed["state"] == "OPEN", armed
forge.delete(f"{repository}/pull-requests/{number}/auto-merge")

commit = pull["fromRef"]["latestCommit"]
build = {"key": "lockgate", "name": "lockgate", "state": "SUCCESSFUL", "description": "d", "url": "https://l.example"}
forge.post(f"{repository}/commits/{commit}/builds", data=build)
builds = forge.get_associated_build_statuses(commit)
assert [build["key"] for build in builds["values"]] == ["lockgate"], builds
forge.add_pull_request_comment(project, slug, number, "hello")
