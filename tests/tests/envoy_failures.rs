//! Real Envoy while something is wrong behind it: the sidecar is away, frozen, slow or restarted,
//! keys change, the filter panics.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code"
)]

use std::fs;
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use lockgate_e2e::certificates::Certificates;
use lockgate_e2e::client::Edge;
use lockgate_e2e::event::sign;
use lockgate_e2e::{
    Answer, App, AppSpec, Lease, Logs, Options, Request, Shared, Stack, Strategy, artifacts,
};

static STACK: Shared = Shared::new();
/// These tests stop and start the one sidecar: one at a time.
static TURN: Mutex<()> = Mutex::new(());

const WAIT: Duration = Duration::from_secs(3);

fn stack() -> (MutexGuard<'static, ()>, Lease) {
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let options = Options { wait: WAIT, ..Options::shared(10, Strategy::GitBranch) };
    let stack = STACK.lease(|| Stack::start(&options)).unwrap();
    (turn, stack)
}

fn timed(stack: &Stack, request: &Request) -> (Answer, Duration) {
    let start = Instant::now();
    let answer = stack.edge.send(request).unwrap();
    (answer, start.elapsed())
}

/// Sends new harmless events until one is accepted; how long that took.
fn recovered(stack: &Stack, app: &App, limit: Duration) -> Duration {
    let start = Instant::now();
    for number in 10_000.. {
        let answer = stack.edge.send(&app.harmless("dev", number).unwrap()).unwrap();
        if answer.status == 202 {
            return start.elapsed();
        }
        assert_eq!(answer.status, 503, "{}", answer.text());
        assert!(start.elapsed() < limit, "still 503 after {limit:?}\n{}", stack.logs());
        thread::sleep(Duration::from_millis(50));
    }
    unreachable!("the loop has no end")
}

#[test]
fn while_the_sidecar_is_away_senders_are_told_to_come_back() {
    let (_turn, stack) = stack();
    let app = stack.app().unwrap();
    let request = app.request("dev", &app.upgraded("dev", "1.1.0")).unwrap();
    stack.sidecar.stop().unwrap();
    let (answer, passed) = timed(&stack, &request);
    assert_eq!((answer.status, answer.retry_after()), (503, Some(2)), "{}", answer.text());
    assert!(passed < Duration::from_secs(1), "{passed:?}");
    // The edge keeps its endpoints: what is wrong stays wrong, and nobody learns more.
    assert_eq!(stack.edge.send(&request.clone().without("x-signature")).unwrap().status, 401);
    assert_eq!(
        stack.edge.send(&request.clone().at("/promotion/team-a/unknown/dev")).unwrap().status,
        401
    );
    assert_eq!(stack.edge.send(&request.clone().at("/promotion/x")).unwrap().status, 404);
    assert_eq!(stack.edge.send(&Request::new("GET", "/healthz")).unwrap().status, 200);
    // The access log names what was asked for.
    let line = format!("POST {} HTTP/1.1 promotion 503", app.path("dev"));
    wait_for("the access log", Duration::from_secs(20), || stack.envoy.log().contains(&line));

    stack.sidecar.start().unwrap();
    let passed = recovered(&stack, app, Duration::from_secs(5));
    assert!(passed < Duration::from_secs(3), "{passed:?}");
    // Flux sends the same bytes again, and now they count.
    let answer = stack.edge.send(&request).unwrap();
    assert_eq!(answer.status, 202, "{}", answer.text());
    assert!(answer.json().unwrap()["promotion"]["id"].is_string());
}

#[test]
fn what_was_accepted_survives_a_killed_sidecar() {
    let (_turn, stack) = stack();
    let app = stack.app().unwrap();
    let request = app.request("dev", &app.upgraded("dev", "1.1.0")).unwrap();
    let answer = stack.edge.send(&request).unwrap();
    assert_eq!(answer.status, 202, "{}", answer.text());
    let id = answer.json().unwrap()["promotion"]["id"].as_str().unwrap().to_owned();
    stack.sidecar.kill().unwrap();
    stack.sidecar.start().unwrap();
    stack.sidecar.wait_for_state(&id, "Done", Duration::from_secs(20)).unwrap();
    recovered(&stack, app, Duration::from_secs(5));
    let again = stack.edge.send(&request).unwrap();
    assert_eq!(
        (again.status, again.json().unwrap()["promotion"]["id"].as_str()),
        (202, Some(id.as_str()))
    );
    assert_eq!(
        stack.repository.commits_ahead(&format!("promotion-team-a-{}-staging", app.name)).unwrap(),
        1
    );
}

#[test]
fn a_frozen_sidecar_is_given_up_in_time_and_taken_back() {
    let (_turn, stack) = stack();
    let app = stack.app().unwrap();
    stack.sidecar.freeze().unwrap();
    let (answer, passed) = timed(&stack, &app.harmless("dev", 1).unwrap());
    assert_eq!((answer.status, answer.retry_after()), (503, Some(2)), "{}", answer.text());
    assert!(
        passed < WAIT + Duration::from_secs(4),
        "the deadline is the wait and two seconds: {passed:?}"
    );
    // Requests that need no sidecar are answered at once.
    let (answer, passed) = timed(&stack, &app.harmless("dev", 2).unwrap().without("x-signature"));
    assert_eq!(answer.status, 401);
    assert!(passed < Duration::from_secs(1), "{passed:?}");
    stack.sidecar.thaw().unwrap();
    let passed = recovered(&stack, app, Duration::from_secs(10));
    assert!(passed < Duration::from_secs(5), "{passed:?}");
}

#[test]
fn an_answer_after_the_whole_wait_still_reaches_the_sender() {
    let (_turn, stack) = stack();
    let app = stack.app().unwrap();
    // A git server that takes connections and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/manifests.git", silent.local_addr().unwrap());
    let spec = AppSpec::new(&app.name, Strategy::GitBranch);
    stack.pipelines.add(&spec, &app.namespace, &url).unwrap();
    thread::sleep(Duration::from_secs(1));
    let (answer, passed) =
        timed(&stack, &app.request("dev", &app.upgraded("dev", "1.1.0")).unwrap());
    assert_eq!(answer.status, 202, "{}", answer.text());
    let promotion = answer.json().unwrap()["promotion"].clone();
    assert!(matches!(promotion["state"].as_str(), Some("Running" | "Pending")), "{promotion}");
    assert!(
        (WAIT - Duration::from_millis(200)..WAIT + Duration::from_secs(2)).contains(&passed),
        "{passed:?}"
    );
}

#[test]
fn a_sender_that_leaves_before_the_answer_loses_nothing() {
    let (_turn, stack) = stack();
    let app = stack.app().unwrap();
    let request = app.request("dev", &app.upgraded("dev", "1.1.0")).unwrap();
    let mut connection = stack.edge.connect(request.source).unwrap();
    connection.write(&request.head("edge")).unwrap();
    connection.write(&request.bytes()).unwrap();
    drop(connection);
    // The sender does not know, so it sends the same bytes again.
    let answer = stack.edge.send(&request).unwrap();
    assert_eq!(answer.status, 202, "{}", answer.text());
    let id = answer.json().unwrap()["promotion"]["id"].as_str().unwrap().to_owned();
    stack.sidecar.wait_for_state(&id, "Done", Duration::from_secs(10)).unwrap();
    assert_eq!(stack.sidecar.promotions(&app.namespace, &app.name).unwrap().len(), 1);
    assert_eq!(
        stack.repository.commits_ahead(&format!("promotion-team-a-{}-staging", app.name)).unwrap(),
        1
    );
}

fn signed_by(app: &App, key: &str, number: usize) -> Request {
    let request = app.harmless("dev", number).unwrap();
    let signature = sign(key.as_bytes(), &request.bytes());
    request.replace("x-signature", &signature)
}

/// How long it takes until every worker answers this key with `status`.
fn settled(stack: &Stack, app: &App, key: &str, status: u16) -> Duration {
    let start = Instant::now();
    let mut in_a_row = 0;
    for number in 100_000.. {
        let answer = stack.edge.send(&signed_by(app, key, number)).unwrap();
        in_a_row = if answer.status == status { in_a_row + 1 } else { 0 };
        if in_a_row == 16 {
            break;
        }
        assert!(
            start.elapsed() < Duration::from_secs(10),
            "not {status} everywhere\n{}",
            stack.logs()
        );
    }
    start.elapsed()
}

#[test]
fn a_key_is_rotated_under_load_without_one_refused_event() {
    let (_turn, stack) = stack();
    let app = stack.app().unwrap();
    let old = app.key("dev");
    let new = format!("new-{old}");
    // What the senders sign with: it changes after the receiver knows the new key, and before it
    // forgets the old one.
    let current = Mutex::new(old.clone());
    let (over, sent) = (AtomicBool::new(false), AtomicUsize::new(0));
    let keep_sending = || {
        while !over.load(Ordering::SeqCst) {
            let number = sent.fetch_add(1, Ordering::SeqCst);
            let key = current.lock().unwrap().clone();
            let answer = stack.edge.send(&signed_by(app, &key, number)).unwrap();
            assert_eq!(answer.status, 202, "event {number}: {}", answer.text());
        }
    };
    let took = thread::scope(|scope| {
        let senders: Vec<_> = (0..3).map(|_| scope.spawn(keep_sending)).collect();
        let rotate = || {
            thread::sleep(Duration::from_millis(500));
            app.add_key("dev", &new).unwrap();
            let took = settled(&stack, app, &new, 202);
            current.lock().unwrap().clone_from(&new);
            thread::sleep(Duration::from_millis(500));
            app.drop_old_keys("dev").unwrap();
            settled(&stack, app, &old, 401);
            thread::sleep(Duration::from_millis(300));
            took
        };
        let took = scope.spawn(rotate).join();
        over.store(true, Ordering::SeqCst);
        for sender in senders {
            sender.join().unwrap();
        }
        took.unwrap()
    });
    assert!(took < Duration::from_secs(4), "a new key took {took:?}");
    assert!(sent.load(Ordering::SeqCst) > 50);
}

#[test]
fn a_panic_of_the_filter_heals_and_other_routes_do_not_notice() {
    let filter = Some(artifacts::panicking_filter().unwrap());
    let limited = AppSpec::new("limited", Strategy::Notification).limited(5, "1h");
    let busy = AppSpec::new("busy", Strategy::Notification).limited(1_000_000, "1s");
    let stack =
        Stack::start(&Options { filter, apps: vec![busy, limited], ..Options::default() }).unwrap();
    let (busy, limited) = (&stack.apps[0], &stack.apps[1]);
    for number in 0..5 {
        assert_eq!(stack.edge.send(&limited.harmless("dev", number).unwrap()).unwrap().status, 202);
    }
    for round in 0..3 {
        // Each worker has a VM of its own: enough requests to reach both.
        for _ in 0..6 {
            let answer = stack
                .edge
                .send(&busy.harmless("dev", 1).unwrap().header("x-lockgate-panic", "1"))
                .unwrap();
            assert_eq!(answer.status, 503);
        }
        for _ in 0..10 {
            let request = Request::new("GET", "/healthz").header("x-lockgate-panic", "1");
            assert_eq!(stack.edge.send(&request).unwrap().status, 200, "another route");
        }
        let passed = recovered(&stack, busy, Duration::from_secs(10));
        assert!(passed < Duration::from_secs(5), "round {round}: {passed:?}");
        stack.wait_until_synced(Duration::from_secs(10)).unwrap();
    }
    assert!(stack.envoy.log().contains("asked to panic"));
    assert!(
        stack.envoy.metrics().unwrap().sum("envoy_wasm_lockgate_edge_vm_reload_success") >= 3.0
    );
    assert_eq!(
        stack.edge.send(&limited.harmless("dev", 99).unwrap()).unwrap().status,
        429,
        "limits outlive a VM"
    );
}

/// Looks again and again until something is so.
fn wait_for(what: &str, limit: Duration, is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < limit, "{what}: not within {limit:?}");
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_broken_document_puts_only_its_own_endpoints_in_doubt() {
    let (_turn, stack) = stack();
    let unsigned = stack.app().unwrap().harmless("dev", 1).unwrap().without("x-signature");
    let status = |path: &str| stack.edge.send(&unsigned.clone().at(path)).unwrap().status;
    let (broken, other) = ("/promotion/team-a/broken/dev", "/promotion/team-a/elsewhere/dev");
    assert_eq!((status(broken), status(other)), (401, 401));
    let document = "apiVersion: pipelines.weave.works/v1alpha1\nkind: Pipeline\n\
                    metadata: {namespace: team-a, name: broken}\nspec: {}\n";
    stack.pipelines.write("broken.yaml", document).unwrap();
    wait_for("doubt", Duration::from_secs(20), || status(broken) == 503);
    assert_eq!(status(other), 401);
    fs::remove_file(stack.pipelines.path().join("broken.yaml")).unwrap();
    wait_for("certainty", Duration::from_secs(20), || status(broken) == 401);
}

#[test]
fn a_renewed_certificate_is_used_without_a_restart_and_a_broken_one_is_not() {
    let stack = Stack::start(&Options::default()).unwrap();
    let (certificates, pid) = (stack.certificates.clone(), stack.envoy.pid());
    let trusts = |certificates: &Certificates| {
        Edge::new(stack.edge.address(), &certificates.ca_der).unwrap()
    };
    let alive = Request::new("GET", "/healthz");
    let works = |edge: &Edge| edge.send(&alive).is_ok_and(|answer| answer.status == 200);
    assert!(works(&trusts(&certificates)));
    let renewed = certificates.renew().unwrap();
    wait_for("the renewed certificate", Duration::from_secs(20), || works(&trusts(&renewed)));
    assert!(!works(&trusts(&certificates)), "the old one is gone");
    // A key that is not the certificate's.
    let aside = certificates.private_key.with_extension("new");
    fs::write(&aside, fs::read(&certificates.ca).unwrap()).unwrap();
    fs::rename(&aside, &certificates.private_key).unwrap();
    wait_for("the refusal of the broken pair", Duration::from_secs(20), || {
        stack.envoy.metrics().unwrap().sum("envoy_sds_key_rotation_failed") >= 1.0
    });
    assert!(works(&trusts(&renewed)), "the last good pair stays in use");
    assert_eq!(stack.envoy.pid(), pid);
}
