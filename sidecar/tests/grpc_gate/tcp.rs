//! The gate on TCP: mutual TLS, and who may call.

use lockgate::{app::install_crypto, grpc::MutualTls, pipelines::Catalog};
use lockgate_api::v1::{DeliverRequest, gate_client::GateClient};
use tokio::sync::watch;
use tonic::{
    Code,
    transport::{Certificate, ClientTlsConfig, Endpoint, Identity},
};

use crate::service;

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

#[tokio::test]
async fn on_tcp_only_listed_names_of_the_authority_pass() {
    install_crypto();
    let (ours, other) = (Authority::new(), Authority::new());
    let (cert, key) = ours.leaf(&["gate.local"]);
    let tls = MutualTls {
        cert,
        key,
        client_ca: ours.certificate.pem(),
        client_names: vec!["envoy.local".to_owned(), "spiffe://cluster/ns/edge".to_owned()],
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let catalog = Catalog::fixed(Vec::new(), Vec::new());
    let (_stop, stopped) = watch::channel(false);
    tokio::spawn(service(&catalog, stopped).serve_tcp(listener, tls));

    let call = |identity: Option<(String, String)>| {
        let mut config = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(ours.certificate.pem()))
            .domain_name("gate.local");
        if let Some((cert, key)) = identity {
            config = config.identity(Identity::from_pem(cert, key));
        }
        let endpoint = Endpoint::from_shared(format!("https://{address}"))
            .unwrap()
            .tls_config(config)
            .unwrap();
        async move {
            let channel = endpoint.connect().await.map_err(|_| None)?;
            let request =
                DeliverRequest { endpoint: "team/p/dev".to_owned(), ..DeliverRequest::default() };
            GateClient::new(channel)
                .deliver(request)
                .await
                .map(|answer| answer.into_inner().status)
                .map_err(|status| Some(status.code()))
        }
    };
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
