//! What stands where a secret value should be and is recognisably none: ciphertext, a template, a
//! reference, a published example.
//!
//! Such a text is in Git for everybody to read. Taken as an HMAC key it would let every reader sign
//! events; taken as a token it would fail far away, as "refused the credentials". A rule here is so
//! narrow that random bytes, in hex, base64 or any other spelling, never meet it by chance.

use core::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// What a value is instead of a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placeholder {
    /// A value that SOPS, eyaml or jasypt encrypted: `ENC[AES256_GCM,…]`.
    Encrypted,
    /// An item of a SealedSecret's `encryptedData`.
    Sealed,
    /// A whole file that age, PGP, Ansible Vault, git-crypt or OpenSSL encrypted.
    Armoured,
    /// Text with `{{ … }}`, `${…}`, `$(…)` or the like that a tool should have filled in.
    Template,
    /// The address of a value in a vault: `vault:…`, `ref+…`, `op://…`.
    Reference,
    /// Words that ask for a value: `<hmac-key value>`, `change-me`, `your-token-here`.
    Example,
    /// A value that the documents of Weave GitOps print.
    Published,
}

impl Placeholder {
    /// Recognises a value that is none. `None` for everything that may be one.
    #[must_use]
    pub fn of(value: &[u8]) -> Option<Self> {
        if value.starts_with(b"\0GITCRYPT\0") {
            return Some(Self::Armoured);
        }
        // A secret that is not text is no placeholder.
        let text = core::str::from_utf8(value).ok()?.trim();
        if text.is_empty() {
            return None;
        }
        let lower = text.to_ascii_lowercase();
        let rules: [(Self, bool); 7] = [
            (Self::Encrypted, is_encrypted(text)),
            (Self::Armoured, is_armoured(text)),
            (Self::Published, PUBLISHED.contains(&text)),
            (Self::Template, is_template(text)),
            (Self::Example, is_example(text, &lower)),
            (Self::Reference, is_reference(&lower)),
            (Self::Sealed, is_sealed(text)),
        ];
        rules.into_iter().find_map(|(placeholder, met)| met.then_some(placeholder))
    }
}

impl fmt::Display for Placeholder {
    /// What it is, and what to do. Never the value.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Encrypted => {
                "is still encrypted (ENC[…], as SOPS writes it): put the decrypted value here, \
                 such as by `sops --decrypt`"
            }
            Self::Sealed => {
                "is ciphertext of a SealedSecret, which only its controller can open: put the \
                 value that was sealed here"
            }
            Self::Armoured => {
                "is the ciphertext of an encrypted file (age, PGP, Ansible Vault, git-crypt or \
                 OpenSSL): decrypt it first"
            }
            Self::Template => {
                "is a template that no tool has filled in: render the document, and put the \
                 result here"
            }
            Self::Reference => {
                "is a reference to a value in another store: put the value itself here"
            }
            Self::Example => {
                "is a placeholder of an example: put a value of your own here (a key: \
                 `openssl rand -hex 32`)"
            }
            Self::Published => {
                "is the value that the documents of Weave GitOps print, which everybody knows: \
                 make one of your own (a key: `openssl rand -hex 32`)"
            }
        })
    }
}

fn is_encrypted(text: &str) -> bool {
    text.contains("ENC[AES256_GCM,")
        || (text.starts_with("ENC[") && text.ends_with(']'))
        || (text.starts_with("ENC(") && text.ends_with(')'))
}

fn is_armoured(text: &str) -> bool {
    const BEGINNINGS: [&str; 6] = [
        "-----BEGIN AGE ENCRYPTED",
        "-----BEGIN PGP",
        "age-encryption.org/",
        "$ANSIBLE_VAULT;",
        "# STRONGBOX ENCRYPTED",
        // "Salted__", as `openssl enc` begins, in base64.
        "U2FsdGVkX1",
    ];
    BEGINNINGS.iter().any(|beginning| text.starts_with(beginning))
}

fn is_template(text: &str) -> bool {
    // Two characters at both ends: whatever is in between.
    const WIDE: [(&str, &str); 4] = [
        // Helm, Go, Jinja, Handlebars.
        ("{{", "}}"),
        ("{%", "%}"),
        // ERB.
        ("<%", "%>"),
        // Replace-tokens, old autoconf.
        ("@@", "@@"),
    ];
    // A generated password may hold these by chance, so a name has to be in between.
    const NARROW: [(&str, &str); 4] = [
        // Shells, Flux's substitutions, Terraform.
        ("${", "}"),
        ("%{", "}"),
        // Kustomize, make.
        ("$(", ")"),
        // Azure DevOps' replace-tokens.
        ("#{", "}"),
    ];
    let inside = |open: &str, close: &str| {
        let (_, rest) = text.split_once(open)?;
        rest.split_once(close).map(|(inside, _)| inside.to_owned())
    };
    WIDE.iter().any(|(open, close)| inside(open, close).is_some())
        || NARROW.iter().any(|(open, close)| inside(open, close).is_some_and(|it| is_name(&it)))
        // Concourse.
        || surrounded(text, "((", "))").is_some_and(is_name)
        || text.strip_prefix('$').is_some_and(is_constant)
        || surrounded(text, "%", "%").is_some_and(is_constant)
        || surrounded(text, "__", "__").is_some_and(is_constant)
}

/// The name of a variable, perhaps with a default: `HMAC_KEY:=x`.
fn is_name(text: &str) -> bool {
    text.len() >= 2
        && text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.:=-/ ".contains(&byte))
}

/// `LOCKGATE_HMAC_KEY`.
fn is_constant(text: &str) -> bool {
    text.len() >= 4
        && text.starts_with(|c: char| c.is_ascii_uppercase())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
}

fn surrounded<'a>(text: &'a str, open: &str, close: &str) -> Option<&'a str> {
    text.strip_prefix(open)?.strip_suffix(close)
}

fn is_reference(lower: &str) -> bool {
    const BEGINNINGS: [&str; 14] = [
        "vault:",
        "!vault",
        "ref+",
        "secretref+",
        "secretref:",
        "keyvault:",
        "@microsoft.keyvault(",
        "arn:aws:",
        "arn:aws-",
        "ssm:",
        "awssm:",
        "gcpsm:",
        "sops:",
        "doppler:",
    ];
    if BEGINNINGS.iter().any(|beginning| lower.starts_with(beginning)) {
        return true;
    }
    if lower.starts_with("projects/") && lower.contains("/secrets/") {
        return true;
    }
    // `op://vault/item/field`, `akv://…`, `env://…`; a proxy's address is a value.
    lower.split_once("://").is_some_and(|(scheme, _)| {
        let is_scheme = !scheme.is_empty()
            && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+.-".contains(&byte))
            && scheme.starts_with(|c: char| c.is_ascii_alphabetic());
        is_scheme && !ADDRESSES.contains(&scheme)
    })
}

fn is_example(text: &str, lower: &str) -> bool {
    let words = lower.replace([' ', '_', '.'], "-");
    const CONTAINED: [&str; 12] = [
        "change-me",
        "changeme",
        "change-this",
        "changethis",
        "example-only",
        "replace-me",
        "replaceme",
        "replace-with",
        "replace-this",
        "placeholder",
        "do-not-use",
        "not-a-real",
    ];
    const WHOLE: [&str; 8] =
        ["todo", "tbd", "fixme", "null", "nil", "undefined", "redacted", "dummy"];
    const ASKING: [&str; 6] =
        ["your-", "insert-your-", "enter-your-", "paste-your-", "put-your-", "add-your-"];
    let one_line = !text.contains('\n');
    let bare = words.trim_matches(|c: char| !c.is_ascii_alphanumeric());
    CONTAINED.iter().any(|word| words.contains(word))
        || (one_line && surrounded(text, "<", ">").is_some())
        || (one_line && surrounded(text, "[", "]").is_some_and(|inside| inside.contains(' ')))
        || WHOLE.contains(&bare)
        || (one_line && ASKING.iter().any(|word| bare.starts_with(word)))
        || (one_line && bare.ends_with("-here"))
        || is_one_character(text)
}

/// `xxxx`, `********`, `…`.
fn is_one_character(text: &str) -> bool {
    let mut characters = text.chars();
    let Some(first) = characters.next() else { return false };
    let shortest = if matches!(first, 'x' | 'X' | '*' | '.' | '•') { 3 } else { 8 };
    first == '…' || (characters.all(|c| c == first) && text.chars().count() >= shortest)
}

/// The ciphertext begins with the length of the wrapped session key, 512 bytes for the controller's
/// RSA key of 4096 bits, as two bytes. Source: `pkg/crypto` of bitnami-labs/sealed-secrets.
fn is_sealed(text: &str) -> bool {
    let one_line: String = text.split_ascii_whitespace().collect();
    one_line.len() >= SHORTEST_SEALED
        && STANDARD.decode(&one_line).is_ok_and(|bytes| bytes.starts_with(&[2, 0]))
}

/// 2 bytes of length and 512 of session key, in base64.
const SHORTEST_SEALED: usize = 686;
/// Schemes of what a Secret may hold as an address: `proxy`, `address`.
const ADDRESSES: [&str; 7] = ["http", "https", "socks5", "socks5h", "socks4", "ssh", "file"];
/// Key, token and password of the example in the documents of Weave GitOps 0.16 and 0.24, and the
/// key as it stands there, in base64.
const PUBLISHED: [&str; 5] = [
    "8B313A644DE48EF88112BCEE5476A",
    "OEIzMTNBNjQ0REU0OEVGODgxMTJCQ0VFNTQ3NkE=",
    "ghp_MH/tlLZWMvLcAqUdXcVF/IFo8tX7G67lfdqY",
    "Z2hwX01IL3RsTFpXTXZMY0FxVWRYY1ZGL0lGbzh0WDdHNjdsZmRxWQ==",
    "example-password",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg_attr(target_arch = "wasm32", wasm_bindgen_test::wasm_bindgen_test)]
    #[cfg_attr(not(target_arch = "wasm32"), test)]
    fn ciphertext_templates_references_and_examples_are_no_values() {
        use Placeholder::{Armoured, Encrypted, Example, Published, Reference, Template};
        for (value, expected) in [
            ("ENC[AES256_GCM,data:tcPB/Q==,iv:4=,tag:2==,type:str]", Encrypted),
            ("ENC[PKCS7,MIIBeQYJKoZIhvcNAQcDoIIBajCCAWYCAQAx]", Encrypted),
            ("ENC(3p5tMa2Xk8L1sQ9cYw==)", Encrypted),
            ("{{ .Values.hmacKey }}", Template),
            ("{{ hmac_key | default('0123456789abcdef') }}", Template),
            ("{% raw %}0123456789abcdef{% endraw %}", Template),
            ("${HMAC_KEY}", Template),
            ("${HMAC_KEY:=0123456789abcdef}", Template),
            ("$(HMAC_KEY_OF_THE_EDGE)", Template),
            ("$LOCKGATE_HMAC_KEY", Template),
            ("%LOCKGATE_HMAC_KEY%", Template),
            ("__LOCKGATE_HMAC_KEY__", Template),
            ("#{LockgateHmacKey}#", Template),
            ("((lockgate-hmac-key))", Template),
            ("<%= ENV['HMAC_KEY'] %>", Template),
            ("<hmac-key value>", Example),
            ("<path:secret/data/lockgate#hmac-key>", Example),
            ("[your key goes in here]", Example),
            ("example-only-dev-change-me-0f1e2d3c4b5a6978", Example),
            ("Please_Change_Me_0123456789abcdef", Example),
            ("CHANGEME-0123456789abcdef", Example),
            ("replace with the output of openssl", Example),
            ("your-hmac-key-of-32-bytes", Example),
            ("Put your token in", Example),
            ("insert_hmac_key_here", Example),
            ("xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", Example),
            ("********************************", Example),
            ("REDACTED", Example),
            ("<redacted>", Example),
            ("8B313A644DE48EF88112BCEE5476A\n", Published),
            ("OEIzMTNBNjQ0REU0OEVGODgxMTJCQ0VFNTQ3NkE=", Published),
            ("vault:secret/data/lockgate#hmac-key", Reference),
            ("ref+vault://secret/lockgate#/hmac-key", Reference),
            ("op://platform/lockgate/hmac-key", Reference),
            ("akvs://vault/lockgate-hmac-key", Reference),
            ("arn:aws:secretsmanager:eu-west-1:1:secret:lockgate", Reference),
            ("projects/platform/secrets/lockgate/versions/latest", Reference),
            ("-----BEGIN AGE ENCRYPTED FILE-----\nYWdl\n-----END", Armoured),
            ("-----BEGIN PGP MESSAGE-----\n\nhQEMA\n-----END", Armoured),
            ("$ANSIBLE_VAULT;1.1;AES256\n6131", Armoured),
            ("U2FsdGVkX1+3p5tMa2Xk8L1sQ9cYw==", Armoured),
            ("\0GITCRYPT\0\u{1}\u{2}", Armoured),
        ] {
            assert_eq!(Placeholder::of(value.as_bytes()), Some(expected), "{value}");
        }
        let sealed = STANDARD.encode([&[2_u8, 0][..], &[0xA5; 560]].concat());
        assert_eq!(Placeholder::of(sealed.as_bytes()), Some(Placeholder::Sealed));
    }

    #[cfg_attr(target_arch = "wasm32", wasm_bindgen_test::wasm_bindgen_test)]
    #[cfg_attr(not(target_arch = "wasm32"), test)]
    fn what_may_be_a_value_is_one() {
        let long = STANDARD.encode([0xA5_u8; 600]);
        for value in [
            "",
            "0123456789abcdef0123456789abcdef",
            "kK7hcr/3+ZtQx9mJm2u0oN8fYw1hT5bq6d3eG4iSsAo=",
            "correct horse battery staple",
            "ghp_0123456789abcdefghijABCDEFGHIJ012345",
            "glpat-xxYyZz0123456789-_ab",
            "p@ss${word",
            "q7${!}#{%}$(;)x",
            "$trongPassw0rd",
            "enter-sandman-2026",
            "50%off$now",
            "http://proxy.example.org:3128",
            "socks5://proxy.example.org:1080",
            "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXk\n-----END",
            "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
            "[git.example.org]:2222 ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI",
            "lockgate",
            "git",
            &long,
        ] {
            assert_eq!(Placeholder::of(value.as_bytes()), None, "{value}");
        }
        assert_eq!(Placeholder::of(&[0xFF, 0xFE, b'{', b'{', b'}', b'}']), None);
    }

    #[cfg(not(target_arch = "wasm32"))]
    proptest::proptest! {
        #[test]
        fn random_keys_are_never_taken_for_placeholders(bytes in proptest::collection::vec(proptest::num::u8::ANY, 24..64)) {
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            proptest::prop_assert_eq!(Placeholder::of(hex.as_bytes()), None);
            proptest::prop_assert_eq!(Placeholder::of(STANDARD.encode(&bytes).as_bytes()), None);
        }
    }
}
