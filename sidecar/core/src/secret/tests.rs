#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test code")]
use serde_json::json;

use super::*;

fn secret(data: &Value, string_data: &Value) -> Result<Loaded<Secret>, Vec<FieldError>> {
    let metadata = json!({"name": "promotion-credentials", "namespace": "pipeline-01"});
    Secret::from_value(
        &json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data, "stringData": string_data}),
    )
}

#[cfg_attr(target_arch = "wasm32", wasm_bindgen_test::wasm_bindgen_test)]
#[cfg_attr(not(target_arch = "wasm32"), test)]
fn data_is_base64_and_string_data_goes_before_it() {
    let loaded =
        secret(&json!({"a": "aGVs\nbG8=\n", "b": "Yg==", "c": null}), &json!({"b": "text\n"}))
            .unwrap();
    assert_eq!(loaded.value.get("a"), Some(&b"hello"[..]));
    assert_eq!(loaded.value.get("b"), Some(&b"text\n"[..]));
    assert_eq!(loaded.value.get("c"), Some(&b""[..]));
    assert_eq!(loaded.value.get("d"), None);
    assert_eq!(loaded.value.keys().collect::<Vec<_>>(), ["a", "b", "c"]);
}

#[cfg_attr(target_arch = "wasm32", wasm_bindgen_test::wasm_bindgen_test)]
#[cfg_attr(not(target_arch = "wasm32"), test)]
fn every_error_is_named_and_no_value_is_shown() {
    let errors =
        secret(&json!({"a": "not*base64*hunter2", "b": 7}), &json!({"x y": "hunter2", "z": true}))
            .unwrap_err();
    let paths: Vec<&str> = errors.iter().map(|error| error.path.as_str()).collect();
    assert_eq!(paths, ["data.a", "data.b", "stringData[\"x y\"]", "stringData.z"]);
    assert!(!format!("{errors:?}").contains("hunter2"));
    let loaded = secret(&json!({}), &json!({"token": "hunter2"})).unwrap();
    assert!(!format!("{loaded:?}").contains("hunter2"));
}

#[cfg_attr(target_arch = "wasm32", wasm_bindgen_test::wasm_bindgen_test)]
#[cfg_attr(not(target_arch = "wasm32"), test)]
fn every_data_key_that_begins_with_hmac_key_is_a_key_unless_it_is_too_short() {
    let string_data = json!({
        "hmac-key": "0123456789abcdef0123456789abcdef",
        "hmac-key-2026-12": "0123456789abcdef\n",
        "hmac-key-short": "0123456789abcde",
        "hmac-keys": "0123456789abcdef0123456789abcdef",
        "token": "0123456789abcdef0123456789abcdef",
    });
    let (keys, remarks) = secret(&json!({}), &string_data).unwrap().value.hmac_keys();
    assert_eq!(keys.iter().map(Key::name).collect::<Vec<_>>(), ["hmac-key", "hmac-key-2026-12"]);
    assert_eq!(keys[1].bytes(), b"0123456789abcdef\n");
    let refused: Vec<&str> = remarks
        .iter()
        .filter(|(_, remark)| matches!(remark, KeyRemark::Refused(_)))
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(refused, ["hmac-key-short"]);
    assert_eq!(remarks.iter().filter(|(name, _)| name == "hmac-key-2026-12").count(), 2);
}

#[cfg_attr(target_arch = "wasm32", wasm_bindgen_test::wasm_bindgen_test)]
#[cfg_attr(not(target_arch = "wasm32"), test)]
fn ciphertext_templates_and_published_examples_are_no_hmac_keys() {
    let string_data = json!({
        "hmac-key": "ENC[AES256_GCM,data:tcPB/Q==,iv:4=,tag:2==,type:str]",
        "hmac-key-2": "example-only-dev-change-me-0f1e2d3c4b5a6978",
        "hmac-key-3": "8B313A644DE48EF88112BCEE5476A",
        "hmac-key-4": "0123456789abcdef0123456789abcdef",
        "token": "${TOKEN}",
        "other": "${OTHER}",
    });
    let secret = secret(&json!({}), &string_data).unwrap().value;
    let (keys, remarks) = secret.hmac_keys();
    assert_eq!(keys.iter().map(Key::name).collect::<Vec<_>>(), ["hmac-key-4"]);
    assert!(remarks.iter().all(|(_, remark)| remark.is_refusal()) && remarks.len() == 3);
    assert_eq!(remarks[2].1.to_string(), format!("key \"hmac-key-3\" {}", Placeholder::Published));
    assert!(!format!("{remarks:?}").contains("tcPB"));
    let named: Vec<&str> = secret.placeholders().map(|(name, _)| name).collect();
    assert_eq!(named, ["hmac-key", "hmac-key-2", "hmac-key-3", "token"]);
}

#[cfg_attr(target_arch = "wasm32", wasm_bindgen_test::wasm_bindgen_test)]
#[cfg_attr(not(target_arch = "wasm32"), test)]
fn ciphertext_in_data_is_named_instead_of_asking_for_base64() {
    let sops = "ENC[AES256_GCM,data:hunter2,iv:4=,tag:2==,type:str]";
    let errors = secret(&json!({"hmac-key": sops}), &json!({})).unwrap_err();
    assert_eq!(errors, [FieldError::new("data.hmac-key", Placeholder::Encrypted.to_string())]);
}

#[cfg_attr(target_arch = "wasm32", wasm_bindgen_test::wasm_bindgen_test)]
#[cfg_attr(not(target_arch = "wasm32"), test)]
fn the_ninth_key_and_a_key_of_more_than_4_kib_are_refused() {
    let good = |index: usize| format!("{index:02}-0123456789abcdef0123456789abcdef");
    let mut data = Map::new();
    for index in 0..9 {
        data.insert(format!("hmac-key-{index}"), json!(good(index)));
    }
    data.insert("hmac-key-long".to_owned(), json!("0123456789".repeat(410)));
    let (keys, remarks) = secret(&json!({}), &Value::Object(data)).unwrap().value.hmac_keys();
    assert_eq!(keys.len(), 8);
    assert_eq!(
        remarks
            .iter()
            .map(|(name, remark)| (name.as_str(), remark.to_string()))
            .collect::<Vec<_>>(),
        [
            (
                "hmac-key-8",
                "key \"hmac-key-8\" is one more than the 8 that an endpoint may have: remove old \
                 ones"
                    .to_owned()
            ),
            (
                "hmac-key-long",
                "key \"hmac-key-long\" has 4100 bytes, expected at most 4096 (32 random ones are \
                 good)"
                    .to_owned()
            ),
        ]
    );
}
