//! The text of an address, taken apart.

/// The parts of an address.
pub(super) struct Address {
    /// `https`, `http` or `ssh`.
    pub(super) scheme: &'static str,
    /// In small letters; an IPv6 address in its brackets.
    pub(super) host: String,
    /// With its colon, such as `:8443`; empty if there is none. Always empty for ssh, whose port
    /// says nothing about the interface.
    pub(super) port: String,
    /// Decoded, none empty, the last without `.git`.
    pub(super) segments: Vec<String>,
}

impl Address {
    pub(super) fn read(text: &str) -> Option<Self> {
        let text = text.trim();
        let text = text.split(['?', '#']).next().unwrap_or_default();
        let (scheme, rest, is_short) = match text.split_once("://") {
            Some((scheme, rest)) => match scheme.to_ascii_lowercase().as_str() {
                "https" => ("https", rest, false),
                "http" => ("http", rest, false),
                "ssh" | "git+ssh" | "ssh+git" => ("ssh", rest, false),
                _ => return None,
            },
            // git@host:path
            None => ("ssh", text, true),
        };
        let (authority, path) = match (is_short, rest.find('/')) {
            (false, Some(at)) => rest.split_at(at),
            (false, None) => return None,
            (true, _) => rest.split_once(':')?,
        };
        let host_and_port = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        let (host, port) = host_and_port_of(host_and_port)?;
        let mut segments = Vec::new();
        for segment in path.split('/').filter(|segment| !segment.is_empty()) {
            let decoded = decode(segment)?;
            if decoded == "."
                || decoded == ".."
                || decoded.contains(['/', '\\'])
                || decoded.chars().any(char::is_control)
            {
                return None;
            }
            segments.push(decoded);
        }
        if let Some(last) = segments.last_mut()
            && let Some(name) = last.strip_suffix(".git")
        {
            *last = name.to_owned();
        }
        if segments.last().is_none_or(String::is_empty) {
            return None;
        }
        let port =
            if scheme == "ssh" || port.is_empty() { String::new() } else { format!(":{port}") };
        let host = host.to_ascii_lowercase();
        Some(Self { scheme, host, port, segments })
    }

    /// The segments, to be matched.
    pub(super) fn words(&self) -> Vec<&str> {
        self.segments.iter().map(String::as_str).collect()
    }

    /// Where the forge's pages are, with these first segments, and a slash at the end.
    pub(super) fn root(&self, host: &str, first: &[String]) -> String {
        let scheme = if self.scheme == "http" { "http" } else { "https" };
        let mut text = format!("{scheme}://{host}{}/", self.port);
        for segment in first {
            text.push_str(&encode(segment));
            text.push('/');
        }
        text
    }
}

/// `[::1]:3000` is an address in brackets and a port.
fn host_and_port_of(text: &str) -> Option<(&str, &str)> {
    let end = match text.strip_prefix('[') {
        Some(rest) => rest.find(']')? + 2,
        None => text.find(':').unwrap_or(text.len()),
    };
    let (host, port) = text.split_at_checked(end)?;
    let port = match port.strip_prefix(':') {
        Some(port) => port,
        None if port.is_empty() => "",
        None => return None,
    };
    let is_good =
        !host.is_empty() && !host.contains('/') && port.bytes().all(|b| b.is_ascii_digit());
    is_good.then_some((host, port))
}

/// An address without user and password, for messages.
pub(super) fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let end = rest.find('/').unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    authority
        .rsplit_once('@')
        .map_or_else(|| url.to_owned(), |(_, host)| format!("{scheme}://{host}{path}"))
}

/// Percent-decodes; `None` where that gives no text.
pub(super) fn decode(segment: &str) -> Option<String> {
    let mut out = Vec::with_capacity(segment.len());
    let mut bytes = segment.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let mut digit = || bytes.next().and_then(|b| char::from(b).to_digit(16));
            out.push(u8::try_from(digit()? * 16 + digit()?).ok()?);
        } else {
            out.push(byte);
        }
    }
    String::from_utf8(out).ok()
}

pub(super) fn encode(segment: &str) -> String {
    segment
        .bytes()
        .map(|b| {
            if b.is_ascii_alphanumeric() || b"-._~".contains(&b) {
                char::from(b).to_string()
            } else {
                format!("%{b:02X}")
            }
        })
        .collect()
}
