//! Private keys that ssh cannot use.

use base64::Engine as _;

/// Why ssh cannot use a key, where that shows: ssh itself says no more than "Permission denied"
/// when it may not ask for a passphrase. Sources: PROTOCOL.key of OpenSSH; RFC 1421 and 5208.
pub(super) fn unusable_key(identity: &[u8]) -> Option<&'static str> {
    let text = String::from_utf8_lossy(identity);
    let text = text.trim_start();
    let encrypted = if text.starts_with("-----BEGIN OPENSSH PRIVATE KEY-----") {
        let body: String = text.lines().skip(1).take_while(|line| !line.starts_with('-')).collect();
        let start = body.get(..40).unwrap_or_default();
        let decoded = base64::engine::general_purpose::STANDARD.decode(start).unwrap_or_default();
        // A magic, then the cipher's name behind its length.
        let cipher = decoded.strip_prefix(b"openssh-key-v1\0");
        cipher.is_some_and(|cipher| !cipher.starts_with(b"\0\0\0\x04none"))
    } else {
        text.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----")
            || text.lines().take(3).any(|line| line.starts_with("Proc-Type: 4,ENCRYPTED"))
    };
    let is_public =
        ["ssh-", "ecdsa-", "sk-", "-----BEGIN PUBLIC KEY", "---- BEGIN SSH2 PUBLIC KEY"];
    if encrypted {
        Some(
            "identity is protected by a passphrase, and there is nobody to type it: take it off \
             with ssh-keygen -p, or make a key of its own for Lockgate",
        )
    } else if is_public.iter().any(|start| text.starts_with(start)) {
        Some("identity holds a public key: it must be the private one")
    } else if text.starts_with("PuTTY-User-Key-File") {
        Some("identity is a key of PuTTY: export it as an OpenSSH key")
    } else {
        None
    }
}
