//! Where the world finds the issuer's keys.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header;
use platform::http::{Audience, Route, get, table};

use serde_json::{Value, json};
use verify::key::did;

use super::service::Service;
use crate::authority::service::Service as Authority;

/// What the routes need.
#[derive(Clone)]
pub struct Pages {
    pub keys: Service,
    pub authority: Authority,
}

pub fn routes(pages: &Pages) -> Vec<Route> {
    table(
        pages,
        [get(Audience::Public, "/.well-known/did.json")
            .summary("The issuer's DID document (did:web)")
            .describe("The keys under which verdict credentials are signed, old ones included.")
            .returns::<serde_json::Value>(200)
            .to(did_document)],
    )
}

/// The keys of both kinds: Multikeys for Data Integrity proofs, JWKs for JWT credentials.
pub(crate) fn document(keys: &Service, authority: &Authority) -> Value {
    let mut document = keys.did_document();
    for key in authority.credential_keys() {
        let name = did::method_id(keys.did(), &key.id.to_string());
        let mut method = json!({
            "id": name,
            "type": "JsonWebKey",
            "controller": keys.did(),
            "publicKeyJwk": key.public_key.to_jwk(),
        });
        if let Some(since) = key.revoked_since() {
            method["revoked"] = since.to_second_text().into();
        }
        let asserts = key.signs_credentials().then(|| name.into());
        for (list, entry) in [("verificationMethod", Some(method)), ("assertionMethod", asserts)] {
            if let Some(list) = document[list].as_array_mut() {
                list.extend(entry);
            }
        }
    }
    let contexts = document["@context"].as_array_mut();
    if let Some(contexts) = contexts {
        contexts.push("https://w3id.org/security/jwk/v1".into());
    }
    document
}

async fn did_document(State(pages): State<Pages>) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "application/did+json"),
        (header::CACHE_CONTROL, "public, max-age=600"),
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
    ];
    (headers, document(&pages.keys, &pages.authority).to_string()).into_response()
}
