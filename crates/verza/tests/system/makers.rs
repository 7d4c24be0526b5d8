//! People who work while processes come and go: each makes credentials one after another, under
//! idempotency keys, and tries again whatever was not answered.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;

use crate::town::{Person, Town};

/// How long one thing may take, however often it is tried.
const PATIENCE: Duration = Duration::from_secs(30);

struct Maker {
    town: Town,
    person: Person,
    number: usize,
    next: AtomicUsize,
}

/// All of them, at work until they are told that it is over.
pub struct Makers {
    makers: Vec<Arc<Maker>>,
    working: JoinSet<()>,
    is_over: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
}

impl Maker {
    fn title(&self, at: usize) -> String {
        format!("{} {at}", self.number)
    }

    /// Whether it was answered by the platform. The same key each time: it is made once, however
    /// often it is asked for.
    async fn make(&self, at: usize) -> bool {
        let body = json!({ "title": self.title(at), "type": "Education", "issuer": "U" });
        let call = self.town.post("/v1/user/credentials", &self.person);
        let answer = call.key(&self.title(at).replace(' ', "-")).json(&body).attempt().await;
        match answer {
            // Whoever stands before the platform has nobody to ask, or nobody answered him.
            Some(answer) if matches!(answer.status, 502 | 504) => false,
            Some(answer) => {
                assert!(answer.is_done(), "{} {}", answer.status, answer.text());
                true
            }
            None => false,
        }
    }

    async fn work(&self, is_over: &AtomicBool, answered: &AtomicUsize) {
        while !is_over.load(Ordering::SeqCst) {
            let at = self.next.load(Ordering::SeqCst);
            let made = async {
                while !self.make(at).await {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            let made = tokio::time::timeout(PATIENCE, made).await;
            made.unwrap_or_else(|_| panic!("{} was not made in {PATIENCE:?}", self.title(at)));
            self.next.fetch_add(1, Ordering::SeqCst);
            answered.fetch_add(1, Ordering::SeqCst);
        }
    }
}

impl Makers {
    /// So many people join at a town, and begin.
    pub async fn begin(town: impl Fn() -> Town, count: usize) -> Self {
        let mut makers = Self {
            makers: Vec::new(),
            working: JoinSet::new(),
            is_over: Arc::default(),
            answered: Arc::default(),
        };
        for number in 0..count {
            let town = town();
            let person = town.join(&format!("Maker{number}"), "user").await;
            makers.makers.push(Arc::new(Maker { town, person, number, next: AtomicUsize::new(0) }));
        }
        for maker in makers.makers.clone() {
            let (is_over, answered) = (makers.is_over.clone(), makers.answered.clone());
            makers.working.spawn(async move { maker.work(&is_over, &answered).await });
        }
        makers
    }

    /// Waits until each has made some more.
    pub async fn some_more(&mut self) {
        let enough = self.answered.load(Ordering::SeqCst) + self.makers.len() * 3;
        while self.answered.load(Ordering::SeqCst) < enough {
            if let Some(ended) = self.working.try_join_next() {
                ended.unwrap();
                panic!("nobody was told to stop");
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Everything that was answered is there, and nothing twice.
    pub async fn finish(mut self, town: &Town) {
        self.is_over.store(true, Ordering::SeqCst);
        while let Some(ended) = self.working.join_next().await {
            ended.unwrap();
        }
        for maker in self.makers {
            let mut made = BTreeSet::new();
            for credential in town.all("/v1/user/credentials", &maker.person).await {
                let title = credential["title"].as_str().unwrap().to_owned();
                assert!(made.insert(title.clone()), "{title} was made twice");
            }
            for at in 0..maker.next.load(Ordering::SeqCst) {
                assert!(made.contains(&maker.title(at)), "{at} was answered and is lost");
            }
        }
    }
}
