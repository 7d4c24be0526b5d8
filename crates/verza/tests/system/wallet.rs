//! A wallet that nobody here wrote, at our door.

use std::path::Path;

use serde_json::json;
use tokio::process::Command;

use crate::house::House;
use crate::town::pdf;

/// `@openid4vc/openid4vci` collects a credential of a running server; `cargo xtask judges` installs
/// it and names the folder.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs node, and a library from npm"]
async fn a_wallet_of_others_collects_a_credential() {
    let folder = std::env::var_os("VERZA_JUDGES_NODE").expect("where node's packages are");
    let mut house = House::on_sqlite();
    house.start().await;
    let town = house.town();
    let admin = town.set_up(&house.setup_link().await).await;
    let (anne, vera) = (town.join("Anne", "user").await, town.join("Vera", "verifier").await);
    town.open_shop(&admin, &vera).await;
    town.deposit(&anne, 10_000).await;
    let file = town.upload(&anne, "diploma.pdf", &pdf("the document")).await;
    let body = json!({ "title": "D", "type": "Education", "issuer": "U", "fileId": file });
    let made = town.post("/v1/user/credentials", &anne).json(&body).done().await;
    let id = made["id"].as_str().unwrap();
    let job = town.request(&anne, id, &vera).await;
    town.accept(&vera, &job).await;
    town.complete(&vera, &job, "verified").await;
    let offer = town.post(&format!("/v1/user/credentials/{id}/offer"), &anne).done().await;
    let arguments = [&offer["link"], &offer["txCode"]].map(|text| text.as_str().unwrap());
    let script = Path::new(&folder).join("pickup.mjs");
    let mut node = Command::new("node");
    let ended = node.arg(script).args(arguments).current_dir(&folder).status().await.unwrap();
    assert!(ended.success(), "the wallet is not content");
    house.finish().await;
}
