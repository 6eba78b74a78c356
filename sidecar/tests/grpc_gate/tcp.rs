//! What the listeners demand of their clients: mutual TLS with names, and not to stay silent.

use std::{
    fs,
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use lockgate::{
    accept::{Acceptor, Bounds},
    app::install_crypto,
    config::Tls,
    grpc::{GateService, Hooks, MutualTls},
    http,
    metrics::Metrics,
    pipelines::{Memory, Rules},
};
use lockgate_api::v1::{DeliverRequest, gate_client::GateClient};
use lockgate_edge::reply::Reply;
use lockgate_edge::{Answer, Charge, EdgeSettings};
use serde_json::json;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
};
use tonic::{
    Code,
    transport::{Certificate, ClientTlsConfig, Endpoint, Identity},
};

struct Authority {
    certificate: rcgen::Certificate,
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap();
        Self { certificate, issuer: rcgen::Issuer::new(params, key) }
    }

    /// Certificate and key of a leaf with these names.
    fn leaf(&self, names: &[&str]) -> (String, String) {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(Vec::<String>::new()).unwrap();
        params.subject_alt_names = names
            .iter()
            .map(|name| {
                if name.contains("://") {
                    rcgen::SanType::URI((*name).try_into().unwrap())
                } else {
                    rcgen::SanType::DnsName((*name).try_into().unwrap())
                }
            })
            .collect();
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }
}

/// A gate on TCP, and its files.
struct Gate {
    dir: TempDir,
    address: SocketAddr,
    _stop: watch::Sender<bool>,
}

impl Gate {
    async fn start(authority: &Authority) -> Self {
        install_crypto();
        let dir = TempDir::new().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = watch::channel(false);
        let gate = Self { dir, address, _stop: stop };
        gate.write("ca.pem", &authority.certificate.pem());
        gate.renew(&authority.leaf(&["gate.local"]));
        let tls = MutualTls::read(&gate.tls()).unwrap();
        let answer = || Answer {
            reply: Reply::created(&json!({}), "https://forge.example/1".to_owned()),
            charge: Charge::Endpoint,
        };
        let hooks = Hooks {
            deliver: Arc::new(move |_| Box::pin(async move { answer() })),
            refused: Arc::new(|_, _| {}),
            metrics: Metrics::new(),
        };
        let (_, catalog) = Memory::open(Rules::default(), Vec::new(), Vec::new());
        let (service, keeper) = GateService::new(EdgeSettings::default(), &catalog, hooks, stopped);
        tokio::spawn(async move {
            let _catalog = catalog;
            keeper.run().await;
        });
        tokio::spawn(service.serve_tcp(listener, tls));
        gate
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn renew(&self, (cert, key): &(String, String)) {
        self.write("tls.crt", cert);
        self.write("tls.key", key);
    }

    fn tls(&self) -> Tls {
        Tls {
            cert: self.path("tls.crt"),
            key: self.path("tls.key"),
            client_ca: self.path("ca.pem"),
            client_names: vec!["envoy.local".to_owned(), "spiffe://cluster/ns/edge".to_owned()],
        }
    }

    /// The status of a delivery on a connection of its own, to a gate whose certificate `trusted`
    /// signed. `Err(None)`: there is no connection.
    async fn call(
        &self,
        trusted: &Authority,
        identity: Option<(String, String)>,
    ) -> Result<u32, Option<Code>> {
        let mut config = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(trusted.certificate.pem()))
            .domain_name("gate.local");
        if let Some((cert, key)) = identity {
            config = config.identity(Identity::from_pem(cert, key));
        }
        let endpoint = Endpoint::from_shared(format!("https://{}", self.address))
            .unwrap()
            .tls_config(config)
            .unwrap();
        let channel = endpoint.connect().await.map_err(|_| None)?;
        let request =
            DeliverRequest { endpoint: "team/p/dev".to_owned(), ..DeliverRequest::default() };
        GateClient::new(channel)
            .deliver(request)
            .await
            .map(|answer| answer.into_inner().status)
            .map_err(|status| Some(status.code()))
    }
}

#[tokio::test]
async fn on_tcp_only_listed_names_of_the_authority_pass() {
    let (ours, other) = (Authority::new(), Authority::new());
    let gate = Gate::start(&ours).await;
    let call = |identity| gate.call(&ours, identity);
    assert_eq!(call(Some(ours.leaf(&["envoy.local"]))).await, Ok(201));
    assert_eq!(
        call(Some(ours.leaf(&["elsewhere.local", "spiffe://cluster/ns/edge"]))).await,
        Ok(201)
    );
    assert_eq!(
        call(Some(ours.leaf(&["elsewhere.local"]))).await,
        Err(Some(Code::PermissionDenied))
    );
    assert_eq!(call(Some(ours.leaf(&[]))).await, Err(Some(Code::PermissionDenied)));
    for refused in [call(Some(other.leaf(&["envoy.local"]))).await, call(None).await] {
        assert!(
            matches!(refused, Err(None | Some(Code::Unavailable | Code::Unknown | Code::Internal))),
            "{refused:?}"
        );
    }
}

#[tokio::test]
async fn renewed_files_count_for_the_next_connection_and_broken_ones_never() {
    let (first, second) = (Authority::new(), Authority::new());
    let gate = Gate::start(&first).await;
    let client = first.leaf(&["envoy.local"]);
    assert_eq!(gate.call(&first, Some(client.clone())).await, Ok(201));
    // Half a renewal, nonsense and a missing file: the old pair stays in use.
    let renewed = second.leaf(&["gate.local"]);
    for (name, text) in [
        ("tls.crt", renewed.0.as_str()),
        ("tls.crt", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
        ("tls.crt", ""),
        ("tls.key", "no key"),
        ("ca.pem", "no authority"),
    ] {
        let before = fs::read_to_string(gate.path(name)).unwrap();
        gate.write(name, text);
        assert_eq!(gate.call(&first, Some(client.clone())).await, Ok(201), "{name}: {text}");
        gate.write(name, &before);
    }
    fs::remove_file(gate.path("tls.key")).unwrap();
    assert_eq!(gate.call(&first, Some(client.clone())).await, Ok(201));
    // The whole renewal.
    gate.renew(&renewed);
    assert_eq!(gate.call(&second, Some(client.clone())).await, Ok(201));
    assert!(gate.call(&first, Some(client.clone())).await.is_err(), "the old one is gone");
    // Another authority for the callers.
    gate.write("ca.pem", &second.certificate.pem());
    assert!(gate.call(&second, Some(client)).await.is_err());
    assert_eq!(gate.call(&second, Some(second.leaf(&["envoy.local"]))).await, Ok(201));
}

#[tokio::test]
async fn files_that_make_no_sense_together_are_named_at_the_start() {
    install_crypto();
    let (authority, dir) = (Authority::new(), TempDir::new().unwrap());
    let path = |name: &str| dir.path().join(name);
    let good = authority.leaf(&["gate.local"]);
    let tls = Tls {
        cert: path("tls.crt"),
        key: path("tls.key"),
        client_ca: path("ca.pem"),
        client_names: vec!["envoy.local".to_owned()],
    };
    let ca = authority.certificate.pem();
    let other_key = authority.leaf(&["gate.local"]).1;
    for (cert, key, ca, named) in [
        ("", good.1.as_str(), ca.as_str(), "tls.crt: expected a certificate in PEM"),
        (good.0.as_str(), "", ca.as_str(), "tls.key: "),
        (good.0.as_str(), good.1.as_str(), "", "ca.pem: expected a certificate in PEM"),
        (good.0.as_str(), other_key.as_str(), ca.as_str(), "tls.crt: with "),
    ] {
        fs::write(path("tls.crt"), cert).unwrap();
        fs::write(path("tls.key"), key).unwrap();
        fs::write(path("ca.pem"), ca).unwrap();
        let error = MutualTls::read(&tls).err().unwrap().to_string();
        assert!(error.contains(named), "{error} instead of {named}");
    }
    fs::remove_file(path("ca.pem")).unwrap();
    assert!(MutualTls::read(&tls).err().unwrap().to_string().contains("ca.pem"));
}

/// Until the other side ends the connection; how long that took.
async fn ended(mut stream: TcpStream) -> Duration {
    let start = Instant::now();
    let mut rest = Vec::new();
    let end = tokio::time::timeout(Duration::from_secs(30), stream.read_to_end(&mut rest)).await;
    // Reset or closed: both are an end.
    drop(end.expect("the connection is still open after 30 s"));
    start.elapsed()
}

#[tokio::test]
async fn a_client_of_the_gate_that_stays_silent_loses_its_connection() {
    let authority = Authority::new();
    let gate = Gate::start(&authority).await;
    let silent = TcpStream::connect(gate.address).await.unwrap();
    let mut slow = TcpStream::connect(gate.address).await.unwrap();
    // The head of a TLS record and no more.
    slow.write_all(&[22, 3, 1, 2, 0]).await.unwrap();
    let (silent, slow) = tokio::join!(ended(silent), ended(slow));
    assert!(
        silent < Duration::from_secs(15) && slow < Duration::from_secs(15),
        "{silent:?} {slow:?}"
    );
}

#[tokio::test]
async fn a_thousand_silent_clients_of_the_gate_do_not_take_its_file_descriptors() {
    let authority = Authority::new();
    let gate = Gate::start(&authority).await;
    let open = || fs::read_dir("/proc/self/fd").unwrap().count();
    let before = open();
    let mut silent = Vec::new();
    for _ in 0..300 {
        silent.push(TcpStream::connect(gate.address).await.unwrap());
    }
    // Our own ends are 300; the gate's are at most its slots.
    let most = open();
    assert!(most < before + 300 + 128 + 20, "{before} before, {most} with 300 clients");
    // Who speaks is served as soon as the silent ones are gone.
    drop(silent);
    assert_eq!(gate.call(&authority, Some(authority.leaf(&["envoy.local"]))).await, Ok(201));
}

/// A listener of the other kind, with an answer that fits into no socket buffer.
async fn page() -> (SocketAddr, watch::Sender<bool>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = watch::channel(false);
    let text = "x".repeat(32 << 20);
    let router = axum::Router::new().route("/", axum::routing::get(async move || text));
    tokio::spawn(http::serve(listener, router, stopped));
    (address, stop)
}

#[tokio::test]
async fn a_client_of_http_that_stays_silent_loses_its_connection() {
    let (address, _stop) = page().await;
    let silent = TcpStream::connect(address).await.unwrap();
    let mut slow = TcpStream::connect(address).await.unwrap();
    slow.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n").await.unwrap();
    let (silent, slow) = tokio::join!(ended(silent), ended(slow));
    assert!(
        silent < Duration::from_secs(15) && slow < Duration::from_secs(25),
        "{silent:?} {slow:?}"
    );
}

#[tokio::test]
async fn an_answer_that_nobody_reads_ends_its_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (_stop, stopped) = watch::channel(false);
    let bounds = Bounds { unread: Duration::from_millis(200), ..Bounds::HTTP };
    let mut acceptor = Acceptor::new(listener, bounds, stopped);
    let unread = TcpStream::connect(address).await.unwrap();
    let mut stream = acceptor.next().await.unwrap();
    let error = stream.write_all(&vec![0; 64 << 20]).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
    drop(unread);
    // One that is read is sent to its end, however slowly it goes.
    let mut reader = TcpStream::connect(address).await.unwrap();
    let mut stream = acceptor.next().await.unwrap();
    let sent = tokio::spawn(async move { stream.write_all(&vec![0; 8 << 20]).await });
    let mut seen = 0;
    let mut piece = vec![0; 256 << 10];
    while seen < 8 << 20 {
        seen += reader.read(&mut piece).await.unwrap();
    }
    sent.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_listener_has_so_many_connections_and_the_next_one_waits() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = watch::channel(false);
    let bounds = Bounds { connections: 2, ..Bounds::HTTP };
    let mut acceptor = Acceptor::new(listener, bounds, stopped);
    let mut clients = Vec::new();
    for _ in 0..3 {
        clients.push(TcpStream::connect(address).await.unwrap());
    }
    let first = acceptor.next().await.unwrap();
    let _second = acceptor.next().await.unwrap();
    let third = tokio::time::timeout(Duration::from_millis(200), acceptor.next()).await;
    assert!(third.is_err(), "a third connection beside two");
    drop(first);
    assert!(acceptor.next().await.is_some());
    stop.send_replace(true);
    assert!(acceptor.next().await.is_none());
}
