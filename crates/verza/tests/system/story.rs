//! The demo's story is a test: what `verza demo` tells is so, on both engines, and in parts.

use verza::demo::client::Client;
use verza::demo::story::{self, Stage as Scene};

use crate::house::{bare_command, free_port};
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
    let played = story::play(&scene, &mut tell).await;
    let cast = played.unwrap_or_else(|error| panic!("{error}\n{lines:#?}"));

    // The command that the reader is told to try.
    let mut verify = bare_command();
    verify.arg("verify").arg(&cast.export).arg("--did").arg(&cast.pins.did);
    let checked = verify.args(["--log-key", &cast.pins.log_key]).output().await.unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));

    let ledger = money::ledger::check(&running.platform.db).await.unwrap();
    assert!(ledger.is_sound(), "{ledger:#?}");
    let log = running.platform.trust.log.check().await.unwrap();
    assert!(log.size > 20 && log.failures.is_empty(), "{log:#?}");
}

#[tokio::test]
async fn the_demo_is_played_to_its_end_also_by_https() {
    let folder = tempfile::tempdir().unwrap();
    let mut demo = bare_command();
    demo.args(["demo", "--once", "--tls", "dev", "--data-dir"]).arg(folder.path().join("data"));
    for listen in ["--listen", "--ops-listen"] {
        demo.args([listen, &format!("127.0.0.1:{}", free_port())]);
    }
    let played = demo.output().await.unwrap();
    let (told, errors) =
        (String::from_utf8_lossy(&played.stdout), String::from_utf8_lossy(&played.stderr));
    assert!(played.status.success(), "{told}{errors}");
    assert!(told.contains("The log was recomputed"), "{told}");
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
