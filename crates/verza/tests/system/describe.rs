//! The committed descriptions of the API are those of the code.

use verza::commands::{openapi_document, routes_page};

const STALE: &str = "is stale: run `cargo xtask generate`, and read what has changed";

#[test]
fn routes_txt_is_the_code_s_own() {
    assert!(routes_page().unwrap() == include_str!("../../../../routes.txt"), "routes.txt {STALE}");
}

#[test]
fn openapi_json_is_the_code_s_own() {
    let committed = include_str!("../../../../openapi.json");
    assert!(openapi_document().unwrap() == committed, "openapi.json {STALE}");
}
