//! `lockgate check`: errors and warnings of Pipelines, markers in a repository, the configuration.

use std::fs;

use serde_json::Value;
use tempfile::TempDir;

use crate::{GIT, KEY, good, lockgate, pipeline, run, secret};

#[test]
fn check_passes_good_files_and_exits_with_0() {
    let dir = TempDir::new().unwrap();
    let (code, out, err) = run(&mut lockgate(&["check", &good(dir.path())]));
    assert_eq!((code, out.as_str()), (0, "1 pipeline, 0 errors, 0 warnings\n"), "{err}");
}

#[test]
fn check_names_file_line_and_path_of_each_error() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("bad.yaml");
    fs::write(
        &file,
        pipeline(["dev", "prod"]).replace("name: prod\n", "name: dev\n").replace(
            "  promotion:\n    strategy:\n",
            "  promotion:\n    stratgy: 1\n    strategy:\n",
        ),
    )
    .unwrap();
    let (code, out, _) = run(&mut lockgate(&["check", &file.display().to_string()]));
    assert_eq!(code, 1, "{out}");
    let place = |line: usize, path: &str| format!("error: {}:{line}: {path}", file.display());
    assert!(out.contains(&place(9, "spec.environments[1].name")), "{out}");
    assert!(out.contains(&place(16, "spec.promotion.stratgy")), "{out}");

    let (code, json, _) =
        run(&mut lockgate(&["check", "--output", "json", &file.display().to_string()]));
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((code, json["problems"][0]["severity"].as_str()), (1, Some("error")));
}

#[test]
fn check_names_the_address_that_is_none_of_its_forge() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("podinfo.yaml");
    let git = "git: {url: 'file:///srv/fleet.git', secretRef: {name: git}}";
    for (settings, message) in [
        ("type: github, url: 'https://github.com/org/fleet'", None),
        (
            "type: github, url: 'https://github.com/fleet'",
            Some(
                "\"https://github.com/fleet\" is not an address of a github repository: expected ",
            ),
        ),
        (
            "type: bitbucket-server, url: 'https://bb.example/KEY/fleet.git'",
            Some("expected https://HOST/scm/PROJECT/REPOSITORY.git"),
        ),
    ] {
        let pull_request = format!("pull-request: {{{settings}, secretRef: {{name: git}}}}");
        let text = pipeline(["dev", "prod"]).replace(git, &pull_request);
        fs::write(
            &file,
            text + &secret("dev", KEY) + &secret("prod", "another-key-0123456789abcdef01234") + GIT,
        )
        .unwrap();
        let (code, out, _) = run(&mut lockgate(&["check", &file.display().to_string()]));
        let place = format!("error: {}:9: spec.environments[1].promotion: ", file.display());
        match message {
            None => assert_eq!((code, out.contains("error: ")), (0, false), "{out}"),
            Some(message) => {
                assert!(code == 1 && out.contains(&place) && out.contains(message), "{out}")
            }
        }
    }
}

#[test]
fn check_warns_about_shared_keys_and_strict_makes_that_a_failure() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("shared.yaml").display().to_string();
    fs::write(&file, pipeline(["dev", "dev"]) + &secret("dev", KEY) + GIT).unwrap();
    let (code, out, _) = run(&mut lockgate(&["check", &file]));
    assert_eq!(code, 0, "{out}");
    assert!(
        out.contains(&format!(
            "warning: {file}:7: spec.environments[0]: endpoint team/podinfo/dev shares a key"
        )),
        "{out}"
    );
    assert!(!out.contains(KEY));
    assert_eq!(run(&mut lockgate(&["check", "--strict", &file])).0, 1);
}

#[test]
fn check_finds_markers_and_says_which_are_missing_misplaced_or_unknown() {
    let dir = TempDir::new().unwrap();
    let file = good(dir.path());
    let repository = dir.path().join("fleet");
    fs::create_dir_all(repository.join("apps")).unwrap();
    let manifest = repository.join("apps/prod.yaml");
    fs::write(&manifest, "spec:\n  version: 1.2.3 # {\"$promotion\": \"team:podinfo:prod\"}\n")
        .unwrap();
    let repository = repository.display().to_string();
    let (code, out, _) = run(&mut lockgate(&["check", &file, "--repository", &repository]));
    assert_eq!(code, 0, "{out}");
    assert!(
        out.contains("prod.yaml:2: {\"$promotion\": \"team:podinfo:prod\"} is \"1.2.3\""),
        "{out}"
    );

    fs::write(
        &manifest,
        "spec:\n  version: 1.2.3 # {\"$promotion\": \"team:podinfo:production\"}\n",
    )
    .unwrap();
    let (code, out, _) = run(&mut lockgate(&["check", &file, "--repository", &repository]));
    assert_eq!(code, 1, "{out}");
    assert!(
        out.contains("nothing in it is marked {\"$promotion\": \"team:podinfo:prod\"}"),
        "{out}"
    );
    assert!(
        out.contains(
            "prod.yaml:2: no pipeline promotes {\"$promotion\": \"team:podinfo:production\"}"
        ),
        "{out}"
    );

    fs::write(&manifest, "spec: # {\"$promotion\": \"team:podinfo:prod\"}\n  version: 1.2.3\n")
        .unwrap();
    let (code, out, _) = run(&mut lockgate(&["check", &file, "--repository", &repository]));
    assert!(code == 1 && out.contains("error: ") && out.contains("prod.yaml:1"), "{out}");
}

#[test]
fn check_looks_at_the_files_that_promotions_look_at() {
    let dir = TempDir::new().unwrap();
    let file = good(dir.path());
    let repository = dir.path().join("fleet");
    fs::create_dir_all(repository.join("module")).unwrap();
    let marked = "version: 1.2.3 # {\"$promotion\": \"team:podinfo:prod\"}\n";
    let write = |name: &str, text: &str| fs::write(repository.join(name), text).unwrap();
    write("Kustomization", marked);
    write("values.yaml.gotmpl", marked);
    write("README.md", "Mark a value: `version: 1 # {\"$promotion\": \"team:podinfo:prod\"}`\n");
    write("off.yaml", &format!("#{marked}# v: 1 # {{\"$promotion\": \"team:gone:prod\"}}\n"));
    write("module/.git", "gitdir: elsewhere\n");
    write("module/other.yaml", "v: {a: 1} # {\"$promotion\": \"team:podinfo:prod\"}\n");
    std::os::unix::fs::symlink("Kustomization", repository.join("link.yaml")).unwrap();
    let folder = repository.display().to_string();
    let (code, out, _) = run(&mut lockgate(&["check", "--strict", &file, "--repository", &folder]));
    assert_eq!(code, 0, "{out}");
    for expected in [
        "marker: ",
        "fleet/Kustomization:1: ",
        "fleet/values.yaml.gotmpl:1: ",
        "off.yaml:1: {\"$promotion\": \"team:podinfo:prod\"} is switched off",
        "not looked into: 1 symbolic link\n",
        "1 pipeline, 0 errors, 0 warnings\n",
    ] {
        assert!(out.contains(expected), "{expected}: {out}");
    }
    write("single.yaml", "version: 1 # {'$promotion': 'team:podinfo:prod'}\n");
    write("secret.yaml", &format!("{marked}sops: {{mac: x}}\n"));
    let (code, out, _) = run(&mut lockgate(&["check", &file, "--repository", &folder]));
    assert_eq!(code, 1, "{out}");
    assert!(out.contains("single.yaml:1: JSON takes double quotes"), "{out}");
    assert!(out.contains("secret.yaml:1: the checksum of SOPS"), "{out}");
}

#[test]
fn check_reads_the_configuration_and_its_pipelines() {
    let dir = TempDir::new().unwrap();
    fs::create_dir(dir.path().join("pipelines")).unwrap();
    good(&dir.path().join("pipelines"));
    let config = dir.path().join("lockgate.yaml");
    fs::write(&config, "wait: 5s\ngit: {allowInsecure: ['file:///srv']}\n").unwrap();
    let config_path = config.display().to_string();
    let (code, out, _) = run(&mut lockgate(&["check", "--config", &config_path]));
    assert_eq!((code, out.as_str()), (0, "1 pipeline, 0 errors, 0 warnings\n"));
    fs::write(&config, "wiat: 5s\n").unwrap();
    let (code, out, _) = run(&mut lockgate(&["check", "--config", &config_path]));
    assert!(code == 1 && out.contains("lockgate.yaml:1: wiat: is not a key"), "{out}");
}

#[test]
fn check_refuses_what_serve_would_refuse() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("podinfo.yaml");
    let config = dir.path().join("lockgate.yaml");
    fs::write(&config, "git: {allowedHosts: [github.com]}\n").unwrap();
    let git = "git: {url: 'file:///srv/fleet.git', secretRef: {name: git}}";
    let token = GIT.replace("username: robot, password: ", "token: ");
    let key = "git: {url: 'ssh://git@github.com/org/fleet', secretRef: {name: git}}";
    for (strategy, secret_of_git, message) in [
        (
            "pull-request: {type: github, url: 'https://github.com/org/fleet'}",
            token.as_str(),
            "pull-request needs a secretRef",
        ),
        (
            "pull-request: {type: github, url: 'https://github.com/org/fleet', secretRef: {name: git}}",
            "",
            "there is no Secret team/git",
        ),
        (
            "pull-request: {type: github, url: 'https://github.com/org/fleet', secretRef: {name: git}}",
            &token.replace("token: 2f9c71d04be8", "user: x"),
            "Secret team/git has no token for the forge",
        ),
        (
            "pull-request: {type: github, url: 'https://github.com/org/fleet', secretRef: {name: git}}",
            &token.replace("2f9c71d04be8", "'${TOKEN}'"),
            "Secret team/git: token is a template",
        ),
        (
            "pull-request: {type: gitlab, url: 'https://gitlab.com/org/fleet', secretRef: {name: git}}",
            &token,
            "host \"gitlab.com\" is not in git.allowedHosts",
        ),
        (
            "pull-request: {type: github, url: 'https://github.com/org/fleet?version=GBmain', secretRef: {name: git}}",
            &token,
            "version=GBmain",
        ),
        (key, GIT, "Secret team/git has no identity"),
        ("git: {url: 'git@github.com:org/fleet.git'}", GIT, "needs a secretRef"),
    ] {
        let text = pipeline(["dev", "prod"]).replace(git, strategy);
        let keys = secret("dev", KEY) + &secret("prod", "another-key-0123456789abcdef01234");
        fs::write(&file, text + &keys + secret_of_git).unwrap();
        let (code, out, _) = run(&mut lockgate(&[
            "check",
            "--config",
            &config.display().to_string(),
            &file.display().to_string(),
        ]));
        assert!(code == 1 && out.contains(message), "{strategy}: {out}");
    }
}

#[test]
fn check_warns_of_a_folder_without_a_pipeline() {
    let dir = TempDir::new().unwrap();
    let folder = dir.path().display().to_string();
    let (code, out, _) = run(&mut lockgate(&["check", &folder]));
    assert!(code == 0 && out.contains("there is no Pipeline in it"), "{out}");
    assert_eq!(run(&mut lockgate(&["check", "--strict", &folder])).0, 1);
}
