//! Whom the server knows.

use serde_json::{Value, json};

use super::answers::Asked;
use super::{Azure, Shared};

impl Shared {
    pub(super) fn identities(&self, asked: &Asked) -> Vec<Value> {
        let wanted = asked.text("filterValue").unwrap_or_default().to_lowercase();
        let mut list = people();
        list.retain(|person| {
            let texts = [
                &person["providerDisplayName"],
                &person["properties"]["Account"]["$value"],
                &person["properties"]["Mail"]["$value"],
            ];
            texts.iter().any(|text| text.as_str().unwrap().to_lowercase().starts_with(&wanted))
        });
        list
    }
}

pub(super) fn people() -> Vec<Value> {
    let person = |id: &str, name: &str, account: &str| {
        let text = |value: &str| json!({"$type": "System.String", "$value": value});
        let properties = json!({"Account": text(account), "Mail": text(account)});
        json!({"id": id, "isActive": true, "providerDisplayName": name, "properties": properties})
    };
    vec![
        person(Azure::USER, "Lockgate", "lockgate@example.com"),
        person(Azure::JANE, "Jane Doe", "jane@example.com"),
        person(Azure::SAMS[0], "Sam", "sam1@example.com"),
        person(Azure::SAMS[1], "Sam", "sam2@example.com"),
    ]
}
