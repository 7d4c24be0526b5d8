//! Tickets, from being given out to being used.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http::Request;
use kernel::Caller;
use platform::db::{Migrations, Read};
use platform::on_both_engines;

use super::service::LIFETIME;
use crate::Context;
use crate::testing::{People, ask, caller, context};

const TABLES: &[Migrations] = &[platform::MIGRATIONS, crate::MIGRATIONS];

async fn ticket(context: &Context, who: &Caller) -> String {
    let request = Request::post("/v1/ws/ticket").body(Body::empty()).unwrap();
    let body = ask(context, who, request).await.json().await;
    assert_eq!(body["expiresIn"], 30);
    body["ticket"].as_str().unwrap().to_owned()
}

on_both_engines! { TABLES;
    async fn of_fifty_who_use_a_ticket_at_once_one_gets_in(t: &TestDb) {
        let people = Arc::<People>::default();
        let context = context(&t.db, &people);
        let elsewhere = crate::testing::context(&t.replica(), &people);
        let ticket = ticket(&context, &caller(1)).await;
        let tries = (0..50).map(|number| {
            let tickets = if number % 2 == 0 { &context.tickets } else { &elsewhere.tickets };
            let (tickets, ticket) = (tickets.clone(), ticket.clone());
            tokio::spawn(async move { tickets.redeem(&ticket).await })
        });
        let tries = futures_util::future::join_all(tries).await;
        let (let_in, refused): (Vec<_>, Vec<_>) =
            tries.into_iter().map(Result::unwrap).partition(Result::is_ok);
        assert_eq!((let_in.len(), refused.len()), (1, 49));
        assert_eq!(*let_in[0].as_ref().unwrap().as_ref(), *caller(1).principal().unwrap());
        for refusal in refused {
            assert_eq!(refusal.unwrap_err().code(), "invalid_ticket");
        }
    }

    async fn a_ticket_is_good_for_thirty_seconds(t: &TestDb) {
        let context = context(&t.db, &Arc::default());
        let (one, two) = (ticket(&context, &caller(1)).await, ticket(&context, &caller(1)).await);
        t.clock.advance(LIFETIME - Duration::from_micros(1));
        context.tickets.redeem(&one).await.unwrap();
        t.clock.advance(Duration::from_micros(1));
        assert_eq!(context.tickets.redeem(&two).await.unwrap_err().code(), "invalid_ticket");
        assert_eq!(context.tickets.sweep().await.unwrap(), 1);
        assert_eq!(context.tickets.sweep().await.unwrap(), 0);
    }

    async fn a_ticket_dies_with_its_session(t: &TestDb) {
        let people = Arc::<People>::default();
        let context = context(&t.db, &people);
        let ticket = ticket(&context, &caller(1)).await;
        people.end(&t.db, &caller(1)).await;
        assert_eq!(context.tickets.redeem(&ticket).await.unwrap_err().code(), "session_ended");
    }

    async fn what_is_no_ticket_is_refused_and_none_can_be_read_in_the_store(t: &TestDb) {
        let context = context(&t.db, &Arc::default());
        let ticket = ticket(&context, &caller(1)).await;
        for text in ["", "x", &ticket[1..], &"x".repeat(5000), "a.b.c"] {
            assert_eq!(context.tickets.redeem(text).await.unwrap_err().code(), "invalid_ticket");
        }
        let sql = "SELECT hash FROM stream_tickets";
        let stored = t.db.one(sql, &[], |row| row.take::<Vec<u8>>()).await.unwrap();
        assert_eq!(stored, platform::crypto::sha256(&ticket));
    }
}
