//! How to reach a forge: credentials, certificates, proxy, and the HTTP client made of them.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use lockgate_core::secret::Sensitive;
use lockgate_tls::Trust;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName};
use reqwest::{Client, redirect};

/// Is told of every request that was answered: operation and status (0: no answer).
pub type Observer = Arc<dyn Fn(&'static str, u16) + Send + Sync>;

/// How to reach a forge, as one promotion's Secret gives it.
#[derive(Clone)]
pub struct Connection {
    /// Who we are.
    pub credentials: Credentials,
    /// Certificates (PEM) to trust besides the system's.
    pub ca: Option<Vec<u8>>,
    /// An HTTP proxy, which may hold a password. `None`: what the process environment says.
    pub proxy: Option<Sensitive>,
    /// Is told of every request.
    pub observer: Observer,
    /// Bounds one request. [`Connection::TIMEOUT`] unless a test says otherwise.
    pub timeout: Duration,
}

impl Connection {
    /// Long enough for a forge under load, short enough that a worker is not blocked for long.
    pub const TIMEOUT: Duration = Duration::from_secs(30);
}

/// Who we are to a forge. Never shown, wiped when dropped.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// A token (personal, project, bot, service connection).
    Token(Sensitive),
    /// A user name and a password or token (HTTP basic).
    Basic {
        /// User name.
        username: String,
        /// Password or token.
        password: Sensitive,
    },
    /// A GitHub App.
    App {
        /// `githubAppID`.
        app: u64,
        /// `githubAppInstallationID`.
        installation: u64,
        /// `githubAppPrivateKey`, PEM.
        private_key: Sensitive,
    },
}

impl Connection {
    /// The HTTP client of this connection; the error says what cannot be used.
    pub(crate) fn client(&self, headers: HeaderMap) -> Result<Client, String> {
        let mut builder = Client::builder()
            .default_headers(headers)
            .user_agent(concat!("lockgate/", env!("CARGO_PKG_VERSION")))
            .timeout(self.timeout)
            .connect_timeout(CONNECT_TIMEOUT)
            // A redirect would carry the token elsewhere.
            .redirect(redirect::Policy::none());
        let trust = self.ca.as_deref().map_or(Trust::System, Trust::SystemAnd);
        let tls = lockgate_tls::client_config(trust).map_err(|error| format!("caFile {error}"))?;
        builder = builder.tls_backend_preconfigured(tls);
        if let Some(proxy) = &self.proxy {
            let text = std::str::from_utf8(proxy.bytes()).unwrap_or_default();
            builder = builder.proxy(
                reqwest::Proxy::all(text)
                    .map_err(|_| "proxy is not the address of a proxy".to_owned())?,
            );
        }
        builder.build().map_err(|_| "the HTTP client cannot be set up".to_owned())
    }
}

/// `Authorization: Bearer …`.
pub(crate) fn bearer(token: &Sensitive) -> (HeaderName, String) {
    (AUTHORIZATION, format!("Bearer {}", text(token)))
}

/// `Authorization: Basic …`.
pub(crate) fn basic(username: &str, password: &Sensitive) -> (HeaderName, String) {
    (AUTHORIZATION, format!("Basic {}", BASE64.encode(format!("{username}:{}", text(password)))))
}

/// A secret as it goes into a header. White space around it is never meant: `echo` leaves a newline
/// there.
pub(crate) fn text(secret: &Sensitive) -> String {
    String::from_utf8_lossy(secret.bytes()).trim().to_owned()
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Token(_) => "Credentials::Token(<redacted>)",
            Self::Basic { .. } => "Credentials::Basic(<redacted>)",
            Self::App { .. } => "Credentials::App(<redacted>)",
        })
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("credentials", &self.credentials).finish_non_exhaustive()
    }
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
