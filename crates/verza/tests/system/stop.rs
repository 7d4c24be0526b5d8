//! Stopping again and again while people work: nothing that was answered is lost, and nothing is
//! done twice.

use crate::house::House;
use crate::makers::Makers;

/// Terminations in one run of this test.
const ROUNDS: usize = 100;

async fn play(mut house: House) {
    house.start().await;
    let mut makers = Makers::begin(|| house.town(), 4).await;
    for round in 0..ROUNDS {
        makers.some_more().await;
        house.tell_to_stop().await;
        let status = house.ended().await;
        assert_eq!(status.code(), Some(0), "round {round}: {}", house.log());
        house.start().await;
    }
    makers.finish(&house.town()).await;
    house.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_terminations_under_load_lose_nothing_on_sqlite() {
    play(House::on_sqlite()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_terminations_under_load_lose_nothing_on_postgres() {
    play(House::on_postgres().await).await;
}
