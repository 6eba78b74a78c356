//! Files that SOPS encrypted in part.
//!
//! SOPS keeps a checksum over all values of a file, the clear ones included: to edit one of them
//! makes the file undecryptable. With `mac_only_encrypted` the checksum covers the encrypted ones
//! alone. Source: "MAC" in the README of getsops/sops 3.9.

use super::document::Document;

/// Why no value of this file can be edited.
pub(super) fn refuses(document: &Document<'_>) -> Option<&'static str> {
    let is_covered = |metadata: usize| {
        document.value_in(metadata, "mac").is_some()
            && !document
                .value_in(metadata, "mac_only_encrypted")
                .is_some_and(|value| value.is_text("true"))
    };
    document.root_values("sops").any(is_covered).then_some(COVERED)
}

/// Why this value cannot be edited.
pub(super) fn is_encrypted(value: &str) -> bool {
    value.starts_with("ENC[") && value.ends_with(']')
}

const COVERED: &str = "the checksum of SOPS covers this value too, so the file could not be decrypted any more: \
     encrypt it with --mac-only-encrypted (SOPS 3.9), or move the value to a file of its own";
