//! The demo's story is a test: what `verza demo` tells is so, on both engines, and in parts.

use verza::demo::client::Client;
use verza::demo::story::{self, Stage as Scene};

use crate::world::Stage;

async fn the_story_is_so(stage: &Stage) {
    let running = &stage.running;
    let folder = &running.platform.config.storage.data_dir;
    let scene = Scene {
        client: Client::new(running.local_url()).unwrap(),
        ops_url: format!("http://{}", running.ops_address),
        setup_link: running.platform.first_setup_link().await.unwrap().unwrap(),
        export_to: folder.join("diploma.verza.json"),
        password: "seven quiet herons at dusk".into(),
    };
    let mut lines = Vec::new();
    let mut tell = |line: String| lines.push(line);
    story::play(&scene, &mut tell).await.unwrap_or_else(|error| panic!("{error}\n{lines:#?}"));

    let ledger = money::ledger::check(&running.platform.db).await.unwrap();
    assert!(ledger.is_sound(), "{ledger:#?}");
    let log = running.platform.trust.log.check().await.unwrap();
    assert!(log.size > 20 && log.failures.is_empty(), "{log:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_story_is_so_on_sqlite() {
    let stage = Stage::on_sqlite().await;
    the_story_is_so(&stage).await;
    stage.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_story_is_so_on_postgres() {
    let stage = Stage::on_postgres().await;
    the_story_is_so(&stage).await;
    stage.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_story_is_so_in_parts() {
    let stage = Stage::in_parts().await;
    the_story_is_so(&stage).await;
    stage.finish().await;
}
