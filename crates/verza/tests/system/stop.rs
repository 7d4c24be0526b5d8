//! Stopping again and again while people work: nothing that was answered is lost, and nothing is
//! done twice.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;

use crate::house::House;
use crate::town::{Person, Town};

/// Terminations in one run of this test.
const ROUNDS: usize = 20;
const CLIENTS: usize = 4;

/// Somebody who makes credentials one after another, and tries again whatever was not answered.
struct Client {
    town: Town,
    person: Person,
    number: usize,
    next: AtomicUsize,
    is_over: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
}

impl Client {
    fn title(&self, at: usize) -> String {
        format!("{} {at}", self.number)
    }

    async fn work(&self) {
        while !self.is_over.load(Ordering::SeqCst) {
            let at = self.next.load(Ordering::SeqCst);
            if self.make(at).await {
                self.next.fetch_add(1, Ordering::SeqCst);
                self.answered.fetch_add(1, Ordering::SeqCst);
            }
        }
    }

    /// Whether it was answered. The same key each time: it is made once, however often it is asked.
    async fn make(&self, at: usize) -> bool {
        let body = json!({ "title": self.title(at), "type": "Education", "issuer": "U" });
        let call = self.town.post("/v1/user/credentials", &self.person);
        let answer = call.key(&self.title(at).replace(' ', "-")).json(&body).attempt().await;
        match answer {
            Some(answer) => {
                assert!(answer.is_done(), "{} {}", answer.status, answer.text());
                true
            }
            None => {
                tokio::time::sleep(Duration::from_millis(5)).await;
                false
            }
        }
    }
}

async fn play(mut house: House) {
    house.start().await;
    let town = house.town();
    let (is_over, answered) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
    let mut clients = Vec::new();
    for number in 0..CLIENTS {
        clients.push(Arc::new(Client {
            person: town.join(&format!("Client{number}"), "user").await,
            town: house.town(),
            number,
            next: AtomicUsize::new(0),
            is_over: is_over.clone(),
            answered: answered.clone(),
        }));
    }
    let mut working = JoinSet::new();
    for client in &clients {
        let client = client.clone();
        working.spawn(async move { client.work().await });
    }
    for round in 0..ROUNDS {
        let before = answered.load(Ordering::SeqCst);
        while answered.load(Ordering::SeqCst) < before + CLIENTS * 3 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        house.tell_to_stop().await;
        let status = house.ended().await;
        assert_eq!(status.code(), Some(0), "round {round}: {}", house.log());
        house.start().await;
    }
    is_over.store(true, Ordering::SeqCst);
    while let Some(ended) = working.join_next().await {
        ended.unwrap();
    }
    for client in clients {
        let mut made = BTreeSet::new();
        for credential in town.all("/v1/user/credentials", &client.person).await {
            let title = credential["title"].as_str().unwrap().to_owned();
            assert!(made.insert(title.clone()), "{title} was made twice");
        }
        for at in 0..client.next.load(Ordering::SeqCst) {
            assert!(made.contains(&client.title(at)), "{} was answered and is lost", at);
        }
    }
    house.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_terminations_under_load_lose_nothing_on_sqlite() {
    play(House::on_sqlite()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_terminations_under_load_lose_nothing_on_postgres() {
    play(House::on_postgres().await).await;
}
