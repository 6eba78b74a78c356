//! Signatures and keys, through the public API: on the host and under Node.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test code")]

use lockgate_edge::key::{Key, KeyError, KeyWarning, Keys};
use lockgate_edge::signature::{Algorithm, Signature, SignatureError, Verifier, self_test, sign};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

/// What notification-controller sends, byte for byte, with the key `0123…cdef` twice.
const FLUX: [(&[u8], &str); 5] = [
    (
        include_bytes!("fixtures/events/upgraded.json"),
        "sha256=861d1ff76b2c4668997e86e1dd99c1b00bd2bd0aa8434bf230964d084b90907a",
    ),
    (
        include_bytes!("fixtures/events/installed-prefixed-keys.json"),
        "sha256=1dd524e60630a568b470c4c96b4e53dc95ad25f0b20d41cad89de198f49af9ee",
    ),
    (
        include_bytes!("fixtures/events/kustomization-reconciled.json"),
        "sha256=13992bb7002a9dad1b006a75f9d8fb889a267cfd1509f5f5d8cdb9bad3e7f75d",
    ),
    (
        include_bytes!("fixtures/events/rolled-back.json"),
        "sha256=8ae7605e0eb83de906cc835948e36db532f893b13fbb096fa61ad2ec11d94478",
    ),
    (
        include_bytes!("fixtures/events/kustomization-progressing.json"),
        "sha256=16147f2fe255b79076ffac1e2644914b9b78fd166e4a7f8199bbe34df18a35cb",
    ),
];
const FLUX_KEY: &[u8] = b"0123456789abcdef0123456789abcdef";

fn verify(signature: &str, keys: &[Key], pieces: &[&[u8]]) -> Option<usize> {
    let mut verifier =
        Verifier::new(&Signature::parse(signature.as_bytes()).unwrap(), keys, keys.len());
    pieces.iter().for_each(|piece| verifier.update(piece));
    verifier.finish()
}

fn key(bytes: &[u8]) -> Key {
    Key::new("hmac-key", bytes).unwrap()
}

#[test]
fn what_flux_signs_is_verified_and_signed_alike() {
    for (body, signature) in FLUX {
        assert_eq!(verify(signature, &[key(FLUX_KEY)], &[body]), Some(0));
        assert_eq!(sign(Algorithm::Sha256, FLUX_KEY, body), signature);
    }
}

#[test]
fn a_trailing_newline_makes_another_key() {
    let with_newline = [FLUX_KEY, b"\n"].concat();
    let signature = "sha256=3769a47a9683ae3595ea926f5a8534f9c84ee4e6ba6b9d7eb580d74f621a8016";
    assert_eq!(verify(signature, &[key(&with_newline)], &[FLUX[0].0]), Some(0));
    assert_eq!(verify(signature, &[key(FLUX_KEY)], &[FLUX[0].0]), None);
    assert_eq!(
        key(&with_newline).warnings(),
        [KeyWarning::TrailingWhiteSpace { name: "hmac-key".into() }]
    );
}

#[test]
fn rfc_4231_vectors_hold_for_all_algorithms() {
    // Cases 1, 2, 3 and 6 of RFC 4231, sections 4.2, 4.3, 4.4 and 4.7.
    let cases: [(Vec<u8>, Vec<u8>, [&str; 4]); 4] = [
        (
            vec![0x0b; 20],
            b"Hi There".to_vec(),
            [
                "896fb1128abbdf196832107cd49df33f47b4b1169912ba4f53684b22",
                "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
                "afd03944d84895626b0825f4ab46907f15f9dadbe4101ec682aa034c7cebc59cfaea9ea9076ede7f4af152e8b2fa9cb6",
                "87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cdedaa833b7d6b8a702038b274eaea3f4e4be9d914eeb61f1702e696c203a126854",
            ],
        ),
        (
            b"Jefe".to_vec(),
            b"what do ya want for nothing?".to_vec(),
            [
                "a30e01098bc6dbbf45690f3a7e9e6d0f8bbea2a39e6148008fd05e44",
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
                "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e8e2240ca5e69e2c78b3239ecfab21649",
                "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737",
            ],
        ),
        (
            vec![0xaa; 20],
            vec![0xdd; 50],
            [
                "7fb3cb3588c6c1f6ffa9694d7d6ad2649365b0c1f65d69d1ec8333ea",
                "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe",
                "88062608d3e6ad8a0aa2ace014c8a86f0aa635d947ac9febe83ef4e55966144b2a5ab39dc13814b94e3ab6e101a34f27",
                "fa73b0089d56a284efb0f0756c890be9b1b5dbdd8ee81a3655f83e33b2279d39bf3e848279a722c806b485a47e67c807b946a337bee8942674278859e13292fb",
            ],
        ),
        (
            vec![0xaa; 131],
            b"Test Using Larger Than Block-Size Key - Hash Key First".to_vec(),
            [
                "95e9a0db962095adaebe9b2d6f0dbce2d499f112f2d2b7273fa6870e",
                "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
                "4ece084485813e9088d2c63a041bc5b44f9ef1012a2b588f3cd11f05033ac4c60c2ef6ab4030fe8296248df163f44952",
                "80b24263c7c1a3ebb71493c1dd7be8b49b46d1f41b4aeec1121b013783f8f3526b56d037e05f2598bd0fd2215d6a1e5295e64f73f63f0aec8b915a985d786598",
            ],
        ),
    ];
    for (key, data, macs) in cases {
        for (algorithm, mac) in Algorithm::ALL.into_iter().zip(macs) {
            assert_eq!(sign(algorithm, &key, &data), format!("{algorithm}={mac}"));
        }
    }
    assert!(self_test());
}

#[test]
fn every_algorithm_is_accepted_in_either_case_of_hex() {
    for algorithm in Algorithm::ALL {
        let signature = sign(algorithm, FLUX_KEY, b"body");
        let (name, hex) = signature.split_once('=').unwrap();
        assert_eq!(verify(&signature, &[key(FLUX_KEY)], &[b"body"]), Some(0));
        assert_eq!(
            verify(
                &format!("{name}={}", hex.to_uppercase()),
                &[key(FLUX_KEY)],
                &[b"bo", b"", b"dy"]
            ),
            Some(0)
        );
    }
}

#[test]
fn a_changed_body_or_key_or_algorithm_does_not_verify() {
    let signature = sign(Algorithm::Sha256, FLUX_KEY, b"body");
    assert_eq!(verify(&signature, &[key(FLUX_KEY)], &[b"bodz"]), None);
    assert_eq!(verify(&signature, &[key(b"another key of 32 bytes, as it is")], &[b"body"]), None);
    // The same digits under the name of an algorithm of the same length do not exist; a truncated
    // one is malformed.
    assert_eq!(
        Signature::parse(signature.replace("sha256", "sha224").as_bytes()),
        Err(SignatureError::Length { expected: 56, got: 64 })
    );
}

#[test]
fn each_of_several_keys_verifies_and_says_which_it_was() {
    let keys = [key(b"the first key....."), key(b"the second key...."), key(b"the third key.....")];
    for (index, each) in keys.iter().enumerate() {
        let signature = sign(Algorithm::Sha512, each.bytes(), b"x");
        assert_eq!(verify(&signature, &keys, &[b"x"]), Some(index));
    }
    // The same bytes twice: the first one is named.
    let twice = [keys[0].clone(), keys[0].clone()];
    assert_eq!(verify(&sign(Algorithm::Sha256, keys[0].bytes(), b"x"), &twice, &[b"x"]), Some(0));
}

#[test]
fn nothing_verifies_without_a_key() {
    let dummy = b"no endpoint, no key: never match";
    assert_eq!(verify(&sign(Algorithm::Sha256, dummy, b"x"), &[], &[b"x"]), None);
    assert_eq!(verify(&sign(Algorithm::Sha256, b"", b""), &[], &[]), None);
    // Nor do the dummies beside a key, and they do not hide it.
    let (keys, by_dummy) = ([key(FLUX_KEY)], sign(Algorithm::Sha256, dummy, b"x"));
    for (signature, expected) in
        [(by_dummy, None), (sign(Algorithm::Sha256, FLUX_KEY, b"x"), Some(0))]
    {
        let signature = Signature::parse(signature.as_bytes()).unwrap();
        let mut verifier = Verifier::new(&signature, &keys, 8);
        verifier.update(b"x");
        assert_eq!(verifier.finish(), expected);
    }
}

#[test]
fn keys_longer_than_a_block_verify_under_every_algorithm() {
    for length in [64, 65, 127, 128, 129, 131, 4096] {
        let long = vec![0xaa; length];
        for algorithm in Algorithm::ALL {
            let signature = sign(algorithm, &long, b"body");
            assert_eq!(
                verify(&signature, &[key(&long)], &[b"bo", b"dy"]),
                Some(0),
                "{length} {algorithm}"
            );
        }
    }
}

#[test]
fn keys_have_a_bound_in_length_and_in_number() {
    assert!(Key::new("hmac-key", &[7; 4096]).is_ok());
    let long = Key::new("hmac-key", &vec![7; 5 << 20]).unwrap_err();
    assert_eq!(
        (long.to_string().as_str(), long.reason()),
        (
            "key \"hmac-key\" has 5242880 bytes, expected at most 4096 (32 random ones are good)",
            "KeyTooLong"
        )
    );
    let some = |count| (0..count).map(|_| key(FLUX_KEY)).collect();
    assert_eq!(Keys::new(some(8)).unwrap().len(), 8);
    let many = Keys::new(some(9)).unwrap_err();
    assert_eq!(many, KeyError::TooMany { name: "hmac-key".into() });
    assert_eq!(
        many.to_string(),
        "key \"hmac-key\" is one more than the 8 that an endpoint may have: remove old ones"
    );
}

#[test]
fn what_is_not_exactly_one_signature_is_malformed() {
    let good = sign(Algorithm::Sha256, FLUX_KEY, b"");
    for value in [
        "",
        "=",
        "sha256",
        "sha256=",
        "sha1=da39a3ee5e6b4b0d3255bfef95601890afd80709",
        "md5=d41d8cd98f00b204e9800998ecf8427e",
        "SHA256=00",
        &good[7..],
        &good[..70],
        &format!("{good}0"),
        &format!(" {good}"),
        &format!("{good} "),
        &format!("{good},{good}"),
        &good.replace("sha256=", "sha256:"),
        &good.replace("sha256=", "sha256=="),
        &format!("sha256={}", "g".repeat(64)),
        &format!("sha256=0x{}", "0".repeat(62)),
    ] {
        assert!(Signature::parse(value.as_bytes()).is_err(), "{value:?}");
    }
    assert_eq!(
        Signature::parse(b"sha256=\xff\xfe"),
        Err(SignatureError::Length { expected: 64, got: 2 })
    );
    assert!(Signature::parse(&[0xff; 71]).is_err());
    assert!(Signature::parse(&[b"sha256=".as_slice(), &[0xff; 64]].concat()).is_err());
}

#[test]
fn short_keys_are_refused_and_weak_ones_warned_about() {
    let error = Key::new("hmac-key", b"fifteen bytes..").unwrap_err();
    assert_eq!(
        error.to_string(),
        "key \"hmac-key\" has 15 bytes, expected at least 16 (32 random ones are good)"
    );
    assert!(Key::new("hmac-key", b"").is_err());
    assert_eq!(
        key(b"sixteen bytes...").warnings(),
        [KeyWarning::Short { name: "hmac-key".into(), length: 16 }]
    );
    assert_eq!(
        key(&[7; 31]).warnings(),
        [KeyWarning::Short { name: "hmac-key".into(), length: 31 }]
    );
    assert_eq!(key(&[7; 32]).warnings(), []);
}

#[test]
fn neither_keys_nor_macs_are_printed() {
    let secret = key(b"a secret that must never be printed");
    assert!(!format!("{secret:?}").contains("secret that"));
    let signature = Signature::parse(FLUX[0].1.as_bytes()).unwrap();
    let verifier = Verifier::new(&signature, &[secret], 2);
    assert!(!format!("{signature:?} {verifier:?}").contains("861d1ff7"));
    assert_eq!(signature.to_string(), FLUX[0].1);
}

#[test]
fn a_fingerprint_tells_keys_apart_and_is_no_plain_hash() {
    let one = key(FLUX_KEY).fingerprint();
    assert_eq!(one, Key::new("another name", FLUX_KEY).unwrap().fingerprint());
    assert_ne!(one, key(b"0123456789abcdef0123456789abcdee").fingerprint());
    assert_eq!(one.to_string().len(), 32);
    // SHA-256 of the bytes alone begins with 3eb1aa14 (what a rainbow table would have).
    assert!(!one.to_string().starts_with("3eb1"));
}
