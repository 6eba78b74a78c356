//! Tables, redirects and pages.

#![allow(clippy::unwrap_used, clippy::panic, reason = "test code")]

use std::time::Duration;

use reqwest::Url;
use serde_json::json;

use super::*;
use crate::{azure, bitbucket, gitea, github, gitlab};

fn tables() -> [(&'static str, &'static [Line]); 5] {
    [
        ("github", github::TABLE),
        ("gitlab", gitlab::TABLE),
        ("bitbucket", bitbucket::TABLE),
        ("azure", azure::TABLE),
        ("gitea", gitea::TABLE),
    ]
}

#[test]
fn every_line_has_a_source_and_is_not_hidden_by_one_before_it() {
    for (forge, table) in tables() {
        for line in table {
            assert!(line.source.len() > 8, "{forge}: {:?} has no source", line.says);
            assert_eq!(line.says, line.says.to_lowercase(), "{forge}");
            let status = line.status.first().copied().unwrap_or(400);
            let found = look_up(table, StatusCode::from_u16(status).unwrap(), line.says).unwrap();
            assert_eq!(found.means, line.means, "{forge}: {:?}", line.says);
        }
    }
}

/// What forges really said, as users reported it, and what it means.
#[test]
fn outages_and_refusals_are_told_apart_whatever_their_status() {
    use Meaning::{Conflict, Exists, Expired, Lacks, Limited, Moved, NotFound, NotYet, Nothing};
    use Meaning::{Refused, SwitchedOff, Unavailable, Unseen, Unsupported};
    let kind = |meaning: Meaning| match meaning {
        Lacks(_) => Lacks(""),
        SwitchedOff(_) => SwitchedOff(""),
        Unsupported(_) => Unsupported(""),
        other => other,
    };
    for (forge, status, says, means) in [
        (
            "github",
            403,
            r#"{"message":"You have exceeded a secondary rate limit. Please wait"}"#,
            Some(Limited),
        ),
        (
            "github",
            403,
            r#"{"message":"API rate limit exceeded for installation ID 1."}"#,
            Some(Limited),
        ),
        ("github", 422, r#"{"errors":["was submitted too quickly"]}"#, Some(Limited)),
        (
            "github",
            403,
            r#"{"message":"Resource protected by organization SAML enforcement."}"#,
            Some(Lacks("")),
        ),
        (
            "github",
            403,
            r#"{"message":"Although you appear to have the correct authorization credentials, the `o` organization has an IP allow list enabled"}"#,
            Some(Lacks("")),
        ),
        (
            "github",
            403,
            r#"{"message":"Repository was archived so is read-only."}"#,
            Some(SwitchedOff("")),
        ),
        ("github", 422, r#"{"errors":[{"code":"invalid","field":"head"}]}"#, Some(Unseen)),
        ("github", 422, r#"{"errors":[{"code":"invalid","field":"base"}]}"#, None),
        (
            "github",
            422,
            r#"{"errors":[{"field":"head_sha","code":"missing_field"},{"message":"No commits between a and b"}]}"#,
            Some(Unseen),
        ),
        (
            "github",
            422,
            r#"{"message":"Head sha can't be blank, No commits between main and x, Head ref must be a branch"}"#,
            Some(Unseen),
        ),
        (
            "github",
            422,
            r#"{"errors":[{"message":"No commits between main and x"}]}"#,
            Some(Nothing),
        ),
        (
            "github",
            422,
            r#"{"errors":[{"message":"A pull request already exists for o:x."}]}"#,
            Some(Exists),
        ),
        ("github", 403, r#"{"message":"Resource not accessible by integration"}"#, None),
        ("gitlab", 400, r#"{"message":{"source_branch":["does not exist"]}}"#, Some(Unseen)),
        ("gitlab", 422, r#"{"error":["Source branch \"x\" does not exist"]}"#, Some(Unseen)),
        ("gitlab", 422, r#"{"error":["Target branch \"x\" does not exist"]}"#, None),
        (
            "gitlab",
            409,
            r#"{"message":["Another open merge request already exists for this source branch: !5"]}"#,
            Some(Exists),
        ),
        (
            "gitlab",
            403,
            r#"{"message":"You cannot perform write operations on a read-only instance"}"#,
            Some(Unavailable),
        ),
        (
            "gitlab",
            401,
            r#"{"error":"invalid_token","error_description":"Token is expired. You can either do re-authorization or token refresh."}"#,
            Some(Expired),
        ),
        (
            "gitlab",
            401,
            r#"{"error":"invalid_token","error_description":"Token was revoked. You have to re-authorize from the user."}"#,
            Some(Expired),
        ),
        ("gitlab", 401, r#"{"message":"401 Unauthorized"}"#, None),
        ("gitlab", 404, r#"{"message":"404 Project Not Found"}"#, Some(NotFound)),
        ("gitlab", 404, r#"{"message":"404 Not found"}"#, None),
        (
            "gitlab",
            405,
            r#"{"message":"Non GET methods are not allowed for moved projects"}"#,
            Some(Moved),
        ),
        (
            "gitlab",
            400,
            r#"{"message":"14:failed to connect to all addresses"}"#,
            Some(Unavailable),
        ),
        ("gitlab", 429, "Retry later", Some(Limited)),
        (
            "bitbucket",
            401,
            r#"{"errors":[{"exceptionName":"com.atlassian.bitbucket.AuthorisationException"}]}"#,
            Some(Lacks("")),
        ),
        (
            "bitbucket",
            401,
            r#"{"errors":[{"exceptionName":"com.atlassian.bitbucket.auth.IncorrectPasswordAuthenticationException"}]}"#,
            None,
        ),
        (
            "bitbucket",
            403,
            r#"{"errors":[{"exceptionName":"com.atlassian.bitbucket.auth.CaptchaRequiredAuthenticationException"}]}"#,
            Some(Lacks("")),
        ),
        (
            "bitbucket",
            404,
            r#"{"errors":[{"exceptionName":"com.atlassian.bitbucket.repository.NoSuchBranchException"}]}"#,
            Some(Unseen),
        ),
        (
            "bitbucket",
            409,
            r#"{"errors":[{"exceptionName":"com.atlassian.bitbucket.pull.PullRequestMergeVetoedException"}]}"#,
            Some(NotYet),
        ),
        (
            "bitbucket",
            409,
            r#"{"errors":[{"exceptionName":"com.atlassian.bitbucket.pull.PullRequestOutOfDateException"}]}"#,
            Some(Conflict),
        ),
        (
            "bitbucket",
            409,
            r#"{"errors":[{"message":"Bitbucket is currently under heavy load"}]}"#,
            Some(Unavailable),
        ),
        (
            "azure",
            400,
            r#"{"message":"TF401398: The pull request cannot be activated"}"#,
            Some(Unseen),
        ),
        (
            "azure",
            401,
            r#"{"message":"Access Denied: The Personal Access Token used has expired."}"#,
            Some(Expired),
        ),
        (
            "azure",
            401,
            r#"{"message":"TF400813: The user '' is not authorized to access this resource."}"#,
            Some(Refused),
        ),
        (
            "azure",
            403,
            r#"{"message":"VS403463: The conditional access policy has failed."}"#,
            Some(Lacks("")),
        ),
        (
            "azure",
            403,
            r#"{"message":"TF401027: You need the Git 'PullRequestContribute' permission"}"#,
            Some(Lacks("")),
        ),
        (
            "azure",
            400,
            r#"{"message":"TF400898: An Internal Error Occurred. Activity Id: 1."}"#,
            Some(Unavailable),
        ),
        (
            "azure",
            403,
            r#"{"message":"TF246017: could not connect to the database."}"#,
            Some(Unavailable),
        ),
        (
            "azure",
            403,
            r#"{"message":"TF400733: The request has been canceled: Request was blocked"}"#,
            Some(Limited),
        ),
        (
            "azure",
            404,
            r#"{"message":"TF200016: The following project does not exist: p."}"#,
            Some(NotFound),
        ),
        (
            "azure",
            404,
            r#"{"message":"TF401180: The requested pull request was not found."}"#,
            None,
        ),
        (
            "azure",
            400,
            r#"{"message":"The requested REST API version of 7.0 is out of range"}"#,
            Some(Unsupported("")),
        ),
        ("gitea", 423, r#"{"message":"o/r is archived"}"#, Some(SwitchedOff(""))),
        (
            "gitea",
            409,
            r#"{"message":"pull request already exists for these targets [id: 1]"}"#,
            Some(Exists),
        ),
        (
            "gitea",
            403,
            r#"{"message":"token does not have at least one of required scope(s)"}"#,
            Some(Lacks("")),
        ),
        ("gitea", 404, r#"{"message":"database is locked"}"#, Some(Unavailable)),
        ("gitea", 404, r#"{"message":"not found"}"#, None),
    ] {
        let (_, table) = tables().into_iter().find(|(name, _)| *name == forge).unwrap();
        let found = look_up(table, StatusCode::from_u16(status).unwrap(), says);
        assert_eq!(found.map(|line| kind(line.means)), means, "{forge} {status} {says}");
    }
}

#[test]
fn a_missing_branch_passes_for_five_minutes() {
    let new = |seconds| NewPullRequest {
        title: String::new(),
        body: String::new(),
        head: "x".to_owned(),
        base: "main".to_owned(),
        pushed: Duration::from_secs(seconds),
    };
    for (seconds, passes) in [(0, true), (38, true), (299, true), (300, false), (86_400, false)] {
        let fault = unseen(&new(seconds), "no such branch");
        assert_eq!(fault.is_passing(), passes, "{seconds}: {fault}");
        assert!(fault.to_string().contains("\"x\""), "{fault}");
    }
}

#[test]
fn a_redirect_says_whether_to_sign_in_or_where_the_repository_is() {
    let root = Url::parse("http://git.example:3000/below/api/v4/").unwrap();
    let means = |location: &str| {
        let headers = HeaderMap::from_iter([(LOCATION, location.parse().unwrap())]);
        redirect(&headers, &root, "git.example/group/app")
    };
    for (location, at) in [
        ("https://login.example.com/realms/x", "login.example.com"),
        ("https://sso.example.com/?next=x", "sso.example.com"),
        ("/users/sign_in", "git.example"),
        ("/user/login", "git.example"),
        ("/login?redirect_to=%2Fapi", "git.example"),
        ("/oauth2/start?rd=x", "git.example"),
        ("https://login.microsoftonline.com/common/oauth2/authorize", "login.microsoftonline.com"),
        ("https://idp.example.com/saml/redirect", "idp.example.com"),
        ("https://adfs.example.com/adfs/ls", "adfs.example.com"),
    ] {
        assert_eq!(means(location), ForgeFault::SignIn { at: at.to_owned() }, "{location}");
    }
    for (location, to) in [
        // The installation: the rest of the address stays.
        ("https://git.example/below/api/v4/projects/1", "https://git.example/group/app"),
        ("https://new.example/below/api/v4/projects/1", "https://new.example/group/app"),
        // The repository.
        ("/below/api/v4/projects/17?x=y", "http://git.example:3000/below/api/v4/projects/17"),
        ("https://new.example/other", "https://new.example/other"),
    ] {
        assert_eq!(means(location), ForgeFault::Moved { to: to.to_owned() }, "{location}");
    }
    assert!(matches!(
        redirect(&HeaderMap::new(), &root, "git.example/group/app"),
        ForgeFault::Protocol(_)
    ));
}

#[test]
fn a_page_in_place_of_an_answer_says_what_it_is() {
    let status = StatusCode::FORBIDDEN;
    for (text, at) in [
        ("<html><head><title>Sign in · GitLab</title>", "\"Sign in · GitLab\""),
        (
            "<!DOCTYPE html><TITLE lang=en>\n Log in to\n Bitbucket</TITLE>",
            "\"Log in to Bitbucket\"",
        ),
        ("<html><body><input type=\"password\">", "no title"),
        ("<html><title>Company Single Sign-On</title>", "\"Company Single Sign-On\""),
    ] {
        assert_eq!(page(status, text), Some(ForgeFault::SignIn { at: at.to_owned() }), "{text}");
    }
    for (text, words) in [
        ("<html><title>502 Bad Gateway</title>", "\"502 Bad Gateway\""),
        ("  <html><title>Microsoft</title><h2>The request is blocked.</h2>", "\"Microsoft\""),
        ("<html>", "apiUrl"),
        ("<title>İ</title>", "apiUrl"),
    ] {
        let fault = page(status, text).unwrap();
        assert!(matches!(fault, ForgeFault::Protocol(_)) && fault.is_passing(), "{text}: {fault}");
        assert!(fault.to_string().contains(words), "{text}: {fault}");
    }
    for text in ["", "Retry later", "{", "not <html>"] {
        assert_eq!(page(status, text), None, "{text:?}");
    }
}

#[test]
fn a_repository_that_takes_no_pull_requests_says_why() {
    for (shown, words) in [
        (json!({"archived": true}), "archived"),
        (json!({"archived": true, "has_pull_requests": false}), "archived"),
        (json!({"has_pull_requests": false}), "switched off"),
        (json!({"merge_requests_enabled": false}), "switched off"),
        (json!({"merge_requests_access_level": "disabled"}), "switched off"),
        (json!({"disabled": true}), "disabled"),
        (json!({"isDisabled": true}), "disabled"),
    ] {
        let fault = switched_off(&shown).unwrap();
        assert!(!fault.is_passing() && fault.to_string().contains(words), "{shown}: {fault}");
    }
    for shown in [
        json!({"archived": false, "has_pull_requests": true, "isDisabled": false}),
        json!({"merge_requests_access_level": "private", "archived": null}),
        json!(null),
    ] {
        assert_eq!(switched_off(&shown), None, "{shown}");
    }
}
