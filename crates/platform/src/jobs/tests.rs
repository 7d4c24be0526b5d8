//! What the queue promises: nothing is lost, nothing takes effect twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::join_all;
use kernel::{PageRequest, Timestamp};
use parking_lot::Mutex;
use serde::Deserialize;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::db::{Db, Migration, Migrations, Read};
use crate::{on_both_engines, params};

const EFFECTS: Migrations = Migrations {
    context: "effects",
    files: &[Migration {
        name: "0001_effects",
        sql: "CREATE TABLE effects (id UUID PRIMARY KEY, of_job BIGINT NOT NULL);",
    }],
};
const TABLES: &[Migrations] = &[crate::MIGRATIONS, EFFECTS];

#[derive(Debug, Serialize, Deserialize)]
struct Paint(i64);

impl Job for Paint {
    const KIND: &'static str = "fence.paint";
}

async fn enqueue(db: &Db, job: NewJob) {
    let job = &job;
    db.run("enqueue", |tx| async move {
        tx.enqueue(job.clone());
        Ok(())
    })
    .await
    .unwrap();
}

fn paint(number: i64) -> NewJob {
    NewJob::new(&Paint(number)).unwrap()
}

/// The effect of a job, in the transaction that ends it.
async fn effect(db: &Db, number: i64, run: &Run) -> Result<()> {
    db.run("fence.paint", |tx| async move {
        let id = tx.world().id::<JobKind>();
        tx.execute("INSERT INTO effects (id, of_job) VALUES ($1, $2)", params![id, number]).await?;
        run.done_in(&tx).await
    })
    .await
}

async fn effects(db: &Db) -> Vec<i64> {
    let sql = "SELECT of_job FROM effects ORDER BY of_job";
    db.all(sql, &[], |row| row.take()).await.unwrap()
}

/// A worker whose jobs have their effect at once.
fn painter(db: &Db) -> Worker {
    let mut registry = Registry::default();
    let own = db.clone();
    registry.on(move |Paint(number), run: Run| {
        let db = own.clone();
        async move { effect(&db, number, &run).await }
    });
    Worker::new(db.clone(), registry)
}

/// A worker whose jobs fail `failures` times, and how often they ran.
fn clumsy(db: &Db, failures: usize) -> (Worker, Arc<AtomicUsize>) {
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = runs.clone();
    let mut registry = Registry::default();
    registry.on(move |_: Paint, _| {
        let run = counted.fetch_add(1, Ordering::SeqCst);
        async move {
            if run < failures { Err(Error::unavailable("no", "The brush is dry.")) } else { Ok(()) }
        }
    });
    (Worker::new(db.clone(), registry), runs)
}

/// A worker whose job waits, in the middle of its work, until it is let go on.
struct Stuck {
    worker: Arc<Worker>,
    entered: Arc<Notify>,
    go_on: Arc<Notify>,
    outcome: Arc<Mutex<Option<Result<()>>>>,
}

fn stuck(db: &Db) -> Stuck {
    let (entered, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let outcome = Arc::new(Mutex::new(None));
    let mut registry = Registry::default();
    let (own, reached, released, ended) =
        (db.clone(), entered.clone(), go_on.clone(), outcome.clone());
    registry.on(move |Paint(number), run: Run| {
        let (db, reached, released, ended) =
            (own.clone(), reached.clone(), released.clone(), ended.clone());
        async move {
            reached.notify_one();
            released.notified().await;
            let outcome = effect(&db, number, &run).await;
            *ended.lock() = Some(outcome.clone());
            outcome
        }
    });
    Stuck { worker: Arc::new(Worker::new(db.clone(), registry)), entered, go_on, outcome }
}

/// A worker whose periodic job waits, in the middle of its work, until it is let go on.
struct Inspector {
    worker: Arc<Worker>,
    entered: Arc<Notify>,
    go_on: Arc<Notify>,
}

impl Inspector {
    const PERIOD: Duration = Duration::from_secs(24 * 3600);

    fn new(db: &Db) -> Self {
        let (entered, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (reached, released) = (entered.clone(), go_on.clone());
        let mut registry = Registry::default();
        registry.every("fence.inspect", Self::PERIOD, move || {
            let (reached, released) = (reached.clone(), released.clone());
            async move {
                reached.notify_one();
                released.notified().await;
                Ok(())
            }
        });
        Self { worker: Arc::new(Worker::new(db.clone(), registry)), entered, go_on }
    }
}

async fn dead(db: &Db) -> Vec<Queued> {
    dead_letters(db, &PageRequest::default()).await.unwrap().items
}

on_both_engines! { TABLES;
    async fn a_job_belongs_to_the_trace_of_what_has_left_it_to_be_done(t: &TestDb) {
        let trace: crate::trace::TraceContext =
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".parse().unwrap();
        let request = async { enqueue(&t.db, paint(1)).await };
        let (span, none) = (tracing::Span::none(), kernel::caller::RequestId::None);
        crate::trace::within(span, none, Some(trace), request).await;
        enqueue(&t.db, paint(2)).await;
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (mut registry, noted) = (Registry::default(), seen.clone());
        registry.on(move |Paint(number), _| {
            let noted = noted.clone();
            async move {
                noted.lock().push((number, crate::trace::current()));
                Ok(())
            }
        });
        Worker::new(t.db.clone(), registry).drain().await.unwrap();
        let mut seen = seen.lock().clone();
        seen.sort_by_key(|(number, _)| *number);
        assert_eq!(seen, [(1, Some(trace)), (2, None)]);
    }

    async fn a_job_exists_when_its_transaction_commits_and_only_then(t: &TestDb) {
        let refused: Result<()> = t.db.run("refused", |tx| async move {
            tx.enqueue(paint(1));
            Err(Error::conflict("no", "No."))
        })
        .await;
        assert!(refused.is_err());
        assert_eq!(depth(&t.db).await.unwrap(), (0, 0));
        enqueue(&t.db, paint(2)).await;
        assert_eq!(depth(&t.db).await.unwrap(), (1, 0));
        assert_eq!(painter(&t.db).drain().await.unwrap(), 1);
        assert_eq!(effects(&t.db).await, [2]);
        assert_eq!(depth(&t.db).await.unwrap(), (0, 0));
    }

    async fn racing_workers_run_every_job_once(t: &TestDb) {
        for number in 0..60 {
            enqueue(&t.db, paint(number)).await;
        }
        let workers = (0..4).map(|_| {
            let worker = painter(&t.replica());
            tokio::spawn(async move { worker.drain().await.unwrap() })
        });
        let ran: Vec<usize> = join_all(workers).await.into_iter().map(Result::unwrap).collect();
        assert_eq!(ran.iter().sum::<usize>(), 60, "{ran:?}");
        assert_eq!(effects(&t.db).await, (0..60).collect::<Vec<i64>>());
        assert_eq!(depth(&t.db).await.unwrap(), (0, 0));
    }

    async fn a_job_waits_for_its_time(t: &TestDb) {
        enqueue(&t.db, paint(1).after(Duration::from_secs(60))).await;
        let worker = painter(&t.db);
        t.clock.advance(Duration::from_secs(59));
        assert_eq!(worker.drain().await.unwrap(), 0);
        t.clock.advance(Duration::from_secs(1));
        assert_eq!(worker.drain().await.unwrap(), 1);
    }

    async fn a_failed_job_is_tried_again_after_a_growing_pause(t: &TestDb) {
        let (worker, runs) = clumsy(&t.db, 4);
        enqueue(&t.db, paint(1)).await;
        let mut pauses = Vec::new();
        for attempt in 1..=4 {
            assert_eq!(worker.drain().await.unwrap(), 1);
            assert_eq!(runs.load(Ordering::SeqCst), attempt);
            let due = store::next_due(&t.db, &[Paint::KIND]).await.unwrap().unwrap();
            pauses.push(due.since(t.db.world().now()));
            t.clock.advance(pauses[attempt - 1] - Duration::from_micros(1));
            assert_eq!(worker.drain().await.unwrap(), 0, "not before its time");
            t.clock.advance(Duration::from_micros(1));
        }
        for (pause, base) in pauses.iter().zip([2_000, 4_000, 8_000, 16_000]) {
            let base = Duration::from_millis(base);
            assert!(base * 3 / 4 <= *pause && *pause <= base * 5 / 4, "{pauses:?}");
        }
        assert_eq!(worker.drain().await.unwrap(), 1, "the fifth attempt succeeds");
        assert_eq!(depth(&t.db).await.unwrap(), (0, 0));
    }

    async fn a_job_that_fails_too_often_is_kept_and_can_be_tried_again(t: &TestDb) {
        let (worker, runs) = clumsy(&t.db, 3);
        enqueue(&t.db, paint(1).attempts(3)).await;
        for _ in 0..3 {
            assert_eq!(worker.drain().await.unwrap(), 1);
            t.clock.advance(Duration::from_secs(3600));
        }
        assert_eq!(worker.drain().await.unwrap(), 0, "the dead are left in peace");
        assert_eq!(depth(&t.db).await.unwrap(), (0, 1));
        let letters = dead(&t.db).await;
        let [letter] = &letters[..] else { panic!("{letters:?}") };
        assert_eq!((letter.kind.as_str(), letter.attempts), ("fence.paint", 3));
        assert_eq!(letter.last_error.as_deref(), Some("The brush is dry."));

        let id = letter.id;
        t.db.run("jobs.retry", |tx| async move { retry(&tx, id).await }).await.unwrap();
        assert_eq!(depth(&t.db).await.unwrap(), (1, 0));
        assert_eq!(worker.drain().await.unwrap(), 1);
        assert_eq!(runs.load(Ordering::SeqCst), 4);
        assert_eq!(depth(&t.db).await.unwrap(), (0, 0));
        let again = t.db.run("jobs.retry", |tx| async move { retry(&tx, id).await }).await;
        assert_eq!(again.unwrap_err().kind(), kernel::Kind::NotFound);
    }

    async fn a_dead_letter_that_another_job_replaces_is_not_tried_again(t: &TestDb) {
        let (worker, runs) = clumsy(&t.db, 1);
        enqueue(&t.db, paint(1).attempts(1).unique("fence 1")).await;
        assert_eq!(worker.drain().await.unwrap(), 1);
        let id = dead(&t.db).await[0].id;
        enqueue(&t.db, paint(1).unique("fence 1")).await;
        let again = async || t.db.run("jobs.retry", |tx| async move { retry(&tx, id).await }).await;
        assert_eq!(again().await.unwrap_err().code(), "job_exists");
        assert_eq!(depth(&t.db).await.unwrap(), (1, 1));
        assert_eq!(worker.drain().await.unwrap(), 1);
        again().await.unwrap();
        assert_eq!(worker.drain().await.unwrap(), 1);
        assert_eq!((runs.load(Ordering::SeqCst), depth(&t.db).await.unwrap()), (3, (0, 0)));
    }

    async fn dead_letters_come_in_pages_newest_first(t: &TestDb) {
        let (worker, _) = clumsy(&t.db, usize::MAX);
        for number in 0..5 {
            enqueue(&t.db, paint(number).attempts(1)).await;
            t.clock.advance(Duration::from_secs(1));
        }
        worker.drain().await.unwrap();
        let first = dead_letters(&t.db, &PageRequest::first(3)).await.unwrap();
        let rest = PageRequest { after: first.next, ..PageRequest::first(3) };
        let rest = dead_letters(&t.db, &rest).await.unwrap();
        let times: Vec<Timestamp> =
            first.items.iter().chain(&rest.items).map(|letter| letter.created_at).collect();
        assert_eq!((first.items.len(), rest.items.len(), rest.next), (3, 2, None));
        assert!(times.is_sorted_by(|left, right| left > right), "{times:?}");
    }

    async fn a_panic_is_a_failure_like_any_other(t: &TestDb) {
        let mut registry = Registry::default();
        registry.on(|_: Paint, _| async { std::panic::resume_unwind(Box::new("meant")) });
        registry.every("fence.inspect", Duration::from_secs(60), || async {
            std::panic::resume_unwind(Box::new("meant"))
        });
        let worker = Worker::new(t.db.clone(), registry);
        enqueue(&t.db, paint(1).attempts(1)).await;
        assert_eq!(worker.run_due().await.unwrap(), 2, "the periodic one and the job");
        let letters = dead(&t.db).await;
        assert_eq!(letters[0].last_error.as_deref(), Some("the job panicked"));
        assert_eq!(worker.run_due().await.unwrap(), 0, "the worker lives on");
    }

    async fn a_handler_may_panic_before_its_first_await(t: &TestDb) {
        let mut registry = Registry::default();
        registry.on(|_: Paint, _| -> std::future::Ready<Result<()>> {
            std::panic::resume_unwind(Box::new("meant"))
        });
        let worker = Worker::new(t.db.clone(), registry);
        enqueue(&t.db, paint(1).attempts(1)).await;
        assert_eq!(worker.drain().await.unwrap(), 1);
        assert_eq!(dead(&t.db).await.len(), 1);
    }

    async fn another_worker_takes_over_when_a_lease_ends_and_the_first_one_is_fenced_off(t: &TestDb) {
        let old = stuck(&t.db);
        enqueue(&t.db, paint(1)).await;
        let worker = old.worker.clone();
        let running = tokio::spawn(async move { worker.run_due().await });
        old.entered.notified().await;
        let other = painter(&t.replica());
        t.clock.advance(LEASE - Duration::from_secs(1));
        assert_eq!(other.drain().await.unwrap(), 0, "the lease still holds");
        t.clock.advance(Duration::from_secs(1));
        assert_eq!(other.drain().await.unwrap(), 1);
        assert_eq!(effects(&t.db).await, [1]);
        old.go_on.notify_one();
        running.await.unwrap().unwrap();
        let outcome = old.outcome.lock().take().unwrap();
        assert_eq!(outcome.unwrap_err().code(), "lease_lost");
        assert_eq!(effects(&t.db).await, [1], "the late effect is undone");
        assert_eq!(depth(&t.db).await.unwrap(), (0, 0));
    }

    async fn a_worker_whose_job_was_taken_over_does_not_end_it_for_the_other(t: &TestDb) {
        let (old, new) = (stuck(&t.db), stuck(&t.db));
        enqueue(&t.db, paint(1)).await;
        let start = |stuck: &Stuck| {
            let worker = stuck.worker.clone();
            tokio::spawn(async move { worker.run_due().await })
        };
        let running_old = start(&old);
        old.entered.notified().await;
        t.clock.advance(LEASE);
        let running_new = start(&new);
        new.entered.notified().await;
        old.go_on.notify_one();
        running_old.await.unwrap().unwrap();
        assert_eq!(depth(&t.db).await.unwrap(), (1, 0), "still in the new worker's hands");
        new.go_on.notify_one();
        running_new.await.unwrap().unwrap();
        assert_eq!(effects(&t.db).await, [1]);
        assert_eq!(depth(&t.db).await.unwrap(), (0, 0));
    }

    async fn a_job_that_no_worker_survives_ends_as_a_dead_letter(t: &TestDb) {
        enqueue(&t.db, paint(1).attempts(2)).await;
        for _ in 0..2 {
            let doomed = stuck(&t.db);
            let worker = doomed.worker.clone();
            let running = tokio::spawn(async move { worker.run_due().await });
            doomed.entered.notified().await;
            running.abort();
            assert!(running.await.unwrap_err().is_cancelled());
            t.clock.advance(LEASE);
        }
        painter(&t.db).drain().await.unwrap();
        assert_eq!(effects(&t.db).await, [0_i64; 0], "it is not run a third time");
        assert_eq!(depth(&t.db).await.unwrap(), (0, 1));
    }

    async fn a_unique_job_is_not_added_twice_while_it_waits_or_runs(t: &TestDb) {
        for _ in 0..2 {
            enqueue(&t.db, paint(1).unique("fence 1")).await;
        }
        assert_eq!(depth(&t.db).await.unwrap(), (1, 0));
        let busy = stuck(&t.db);
        let worker = busy.worker.clone();
        let running = tokio::spawn(async move { worker.run_due().await });
        busy.entered.notified().await;
        enqueue(&t.db, paint(1).unique("fence 1")).await;
        assert_eq!(depth(&t.db).await.unwrap(), (1, 0));
        enqueue(&t.db, paint(2).unique("fence 2")).await;
        assert_eq!(depth(&t.db).await.unwrap(), (2, 0), "another key is another job");
        busy.go_on.notify_one();
        running.await.unwrap().unwrap();
        assert_eq!(effects(&t.db).await, [1]);
    }

    async fn a_unique_job_may_come_again_when_the_first_one_is_done(t: &TestDb) {
        for _ in 0..2 {
            enqueue(&t.db, paint(1).unique("fence 1")).await;
            assert_eq!(painter(&t.db).drain().await.unwrap(), 1);
        }
        assert_eq!(effects(&t.db).await, [1, 1]);
    }

    async fn a_periodic_job_runs_once_a_period_in_the_whole_fleet(t: &TestDb) {
        let turns = Arc::new(AtomicUsize::new(0));
        let worker = |db: Db| {
            let turns = turns.clone();
            let mut registry = Registry::default();
            registry.every("fence.inspect", Duration::from_secs(60), move || {
                turns.fetch_add(1, Ordering::SeqCst);
                async { Ok(()) }
            });
            Worker::new(db, registry)
        };
        let workers = [worker(t.replica()), worker(t.replica())];
        for period in 1..=3 {
            for _ in 0..3 {
                join_all(workers.iter().map(Worker::run_due)).await.into_iter().for_each(|ran| {
                    ran.unwrap();
                });
            }
            assert_eq!(turns.load(Ordering::SeqCst), period);
            t.clock.advance(Duration::from_secs(59));
            join_all(workers.iter().map(Worker::run_due)).await;
            assert_eq!(turns.load(Ordering::SeqCst), period, "not before the period is over");
            t.clock.advance(Duration::from_secs(1));
        }
    }

    async fn a_periodic_job_that_fails_comes_again_before_its_period_is_over(t: &TestDb) {
        let (turns, day) = (Arc::new(AtomicUsize::new(0)), Duration::from_secs(24 * 3600));
        let counted = turns.clone();
        let mut registry = Registry::default();
        registry.every("fence.inspect", day, move || {
            let turn = counted.fetch_add(1, Ordering::SeqCst);
            async move {
                if turn < 3 { Err(Error::unavailable("no", "It is dark.")) } else { Ok(()) }
            }
        });
        let worker = Worker::new(t.db.clone(), registry);
        for (turn, pause) in [3, 5, 10].into_iter().enumerate() {
            assert_eq!(worker.drain().await.unwrap(), 1);
            assert_eq!(turns.load(Ordering::SeqCst), turn + 1);
            t.clock.advance(Duration::from_secs(pause));
        }
        assert_eq!(worker.drain().await.unwrap(), 1, "the fourth turn succeeds");
        t.clock.advance(day - Duration::from_secs(1));
        assert_eq!(worker.drain().await.unwrap(), 0, "not before the period is over");
        t.clock.advance(Duration::from_secs(1));
        assert_eq!(worker.drain().await.unwrap(), 1);
    }

    async fn a_periodic_job_whose_worker_dies_comes_again_when_the_lease_ends(t: &TestDb) {
        let doomed = Inspector::new(&t.db);
        let worker = doomed.worker.clone();
        let running = tokio::spawn(async move { worker.run_due().await });
        doomed.entered.notified().await;
        running.abort();
        assert!(running.await.unwrap_err().is_cancelled());
        let other = Inspector::new(&t.replica());
        other.go_on.notify_one();
        t.clock.advance(LEASE - Duration::from_secs(1));
        assert_eq!(other.worker.drain().await.unwrap(), 0, "the lease still holds");
        t.clock.advance(Duration::from_secs(1));
        assert_eq!(other.worker.drain().await.unwrap(), 1);
        assert_eq!(other.worker.drain().await.unwrap(), 0);
    }

    async fn a_worker_whose_turn_was_taken_over_does_not_end_it_for_the_other(t: &TestDb) {
        let (old, new) = (Inspector::new(&t.db), Inspector::new(&t.replica()));
        let worker = old.worker.clone();
        let running = tokio::spawn(async move { worker.run_due().await });
        old.entered.notified().await;
        t.clock.advance(LEASE);
        new.go_on.notify_one();
        assert_eq!(new.worker.drain().await.unwrap(), 1);
        old.go_on.notify_one();
        assert_eq!(running.await.unwrap().unwrap(), 1);
        t.clock.advance(Inspector::PERIOD - Duration::from_secs(1));
        assert_eq!(new.worker.drain().await.unwrap(), 0, "the period counts from the later turn");
        t.clock.advance(Duration::from_secs(1));
        new.go_on.notify_one();
        assert_eq!(new.worker.drain().await.unwrap(), 1);
    }

    async fn a_worker_that_cannot_finish_hands_its_turns_back_at_once(t: &TestDb) {
        let busy = Inspector::new(&t.db);
        let stop = CancellationToken::new();
        let (worker, stopping) = (busy.worker.clone(), stop.clone());
        let running = tokio::spawn(async move { worker.run(stopping, Duration::ZERO).await });
        busy.entered.notified().await;
        stop.cancel();
        tokio::time::timeout(Duration::from_secs(60), running).await.unwrap().unwrap();
        let other = Inspector::new(&t.replica());
        other.go_on.notify_one();
        assert_eq!(other.worker.drain().await.unwrap(), 1, "without waiting for the lease");
    }

    async fn a_turn_that_was_taken_is_used_though_jobs_cannot_be_claimed(t: &TestDb) {
        let inspector = Inspector::new(&t.db);
        let drop_jobs =
            |tx: crate::db::Tx| async move { Ok(tx.execute("DROP TABLE jobs", &[]).await?) };
        t.db.run("drop", drop_jobs).await.unwrap();
        inspector.go_on.notify_one();
        assert!(inspector.worker.run_due().await.is_err());
        tokio::time::timeout(Duration::from_secs(60), inspector.entered.notified()).await.unwrap();
    }

    async fn a_worker_told_to_stop_finishes_what_it_holds(t: &TestDb) {
        let busy = stuck(&t.db);
        enqueue(&t.db, paint(1)).await;
        let stop = CancellationToken::new();
        let (worker, stopping) = (busy.worker.clone(), stop.clone());
        let running =
            tokio::spawn(async move { worker.run(stopping, Duration::from_secs(60)).await });
        busy.entered.notified().await;
        stop.cancel();
        busy.go_on.notify_one();
        tokio::time::timeout(Duration::from_secs(60), running).await.unwrap().unwrap();
        assert_eq!(effects(&t.db).await, [1]);
        assert_eq!(depth(&t.db).await.unwrap(), (0, 0));
    }

    async fn a_worker_that_cannot_finish_hands_its_jobs_back_at_once(t: &TestDb) {
        let busy = stuck(&t.db);
        enqueue(&t.db, paint(1).attempts(1)).await;
        let stop = CancellationToken::new();
        let (worker, stopping) = (busy.worker.clone(), stop.clone());
        let running = tokio::spawn(async move { worker.run(stopping, Duration::ZERO).await });
        busy.entered.notified().await;
        stop.cancel();
        tokio::time::timeout(Duration::from_secs(60), running).await.unwrap().unwrap();
        assert_eq!(painter(&t.db).drain().await.unwrap(), 1, "without waiting for the lease");
        assert_eq!(effects(&t.db).await, [1], "and without having lost an attempt");
    }

    async fn a_job_that_hangs_holds_up_no_other(t: &TestDb) {
        let (entered, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let mut registry = Registry::default();
        let (own, inside, wait) = (t.db.clone(), entered.clone(), go_on.clone());
        registry.on(move |Paint(number), run: Run| {
            let (db, inside, wait) = (own.clone(), inside.clone(), wait.clone());
            async move {
                if number == 0 {
                    inside.notify_one();
                    wait.notified().await;
                }
                effect(&db, number, &run).await
            }
        });
        let worker = Worker::new(t.db.clone(), registry);
        let stop = CancellationToken::new();
        let stopping = stop.clone();
        enqueue(&t.db, paint(0)).await;
        let running =
            tokio::spawn(async move { worker.run(stopping, Duration::from_secs(60)).await });
        entered.notified().await;
        for number in 1..=20 {
            enqueue(&t.db, paint(number)).await;
        }
        let others = async {
            while effects(&t.db).await.len() < 20 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), others).await.unwrap();
        go_on.notify_one();
        stop.cancel();
        tokio::time::timeout(Duration::from_secs(60), running).await.unwrap().unwrap();
        assert_eq!(effects(&t.db).await, (0..=20).collect::<Vec<_>>());
    }

    async fn a_job_of_a_kind_unknown_here_waits_for_a_worker_that_knows_it(t: &TestDb) {
        enqueue(&t.db, paint(1).attempts(1)).await;
        let stranger = Worker::new(t.db.clone(), Registry::default());
        assert_eq!(stranger.drain().await.unwrap(), 0);
        assert_eq!(depth(&t.db).await.unwrap(), (1, 0), "no attempt is lost");
        assert_eq!(painter(&t.db).drain().await.unwrap(), 1);
    }

    async fn a_waiting_worker_wakes_up_for_a_new_job(t: &TestDb) {
        let worker = painter(&t.db);
        let stop = CancellationToken::new();
        let stopping = stop.clone();
        let running =
            tokio::spawn(async move { worker.run(stopping, Duration::from_secs(60)).await });
        for number in 0..3 {
            enqueue(&t.db, paint(number)).await;
            let done = async {
                while effects(&t.db).await.len() <= usize::try_from(number).unwrap() {
                    tokio::task::yield_now().await;
                }
            };
            tokio::time::timeout(Duration::from_secs(60), done).await.unwrap();
        }
        stop.cancel();
        tokio::time::timeout(Duration::from_secs(60), running).await.unwrap().unwrap();
    }
}

#[test]
fn pauses_grow_to_an_hour_and_stay_there() {
    for dice in [0, 127, 255] {
        let pauses: Vec<_> = (1..20).map(|attempt| backoff(attempt, dice)).collect();
        assert!(pauses.is_sorted(), "{pauses:?}");
        assert!(*pauses.last().unwrap() <= Duration::from_secs(3600 * 5 / 4));
        assert!(pauses[0] >= Duration::from_millis(1500));
    }
}
