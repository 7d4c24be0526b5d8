//! Random programs of transactions against a model of what they leave behind.
//!
//! Each transaction leaves a mark for every step, adds to shared counters, records a fact and
//! sets a hook. Whatever happens to it (it fails, its caller goes away at some await point, it
//! panics), all of that is there or none of it is, and the counters are the sum of what is there.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::*;
use crate::journal::Fact;

const MARKS: Migrations = Migrations {
    context: "marks",
    files: &[Migration {
        name: "0001_marks",
        sql: "CREATE TABLE marks (case_ BIGINT NOT NULL, tx BIGINT NOT NULL, step BIGINT NOT NULL,
                  PRIMARY KEY (case_, tx, step));
              CREATE TABLE counters (case_ BIGINT NOT NULL, name BIGINT NOT NULL, n BIGINT NOT NULL,
                  PRIMARY KEY (case_, name));",
    }],
};

/// How a transaction ends.
#[derive(Debug, Clone, Copy, PartialEq)]
enum End {
    Commits,
    Refuses,
    /// A statement fails and the work goes on as if nothing had happened.
    Swallows,
    Panics,
    /// The caller goes away at this await point.
    Leaves(usize),
}

#[derive(Debug, Clone)]
struct Program {
    /// To which counter each step adds how much. In ascending order, since crossing locks are
    /// another test's matter.
    steps: Vec<(i64, i64)>,
    /// Whether others get a turn between the steps.
    pauses: bool,
    end: End,
}

fn program() -> impl Strategy<Value = Program> {
    let end = prop_oneof![
        4 => Just(End::Commits),
        1 => Just(End::Refuses),
        1 => Just(End::Swallows),
        1 => Just(End::Panics),
        3 => (1..24_usize).prop_map(End::Leaves),
    ];
    let steps = proptest::collection::vec((0..4_i64, 1..100_i64), 1..5);
    (steps, any::<bool>(), end).prop_map(|(mut steps, pauses, end)| {
        steps.sort_unstable();
        Program { steps, pauses, end }
    })
}

async fn step(tx: &Tx, case: i64, id: i64, place: i64, add: (i64, i64)) -> Result<()> {
    let (name, by) = add;
    let mark = "INSERT INTO marks (case_, tx, step) VALUES ($1, $2, $3)";
    tx.execute(mark, params![case, id, place]).await?;
    let count = "INSERT INTO counters (case_, name, n) VALUES ($1, $2, $3)
                 ON CONFLICT (case_, name) DO UPDATE SET n = counters.n + excluded.n";
    tx.execute(count, params![case, name, by]).await?;
    Ok(())
}

async fn body(
    tx: Tx,
    case: i64,
    id: i64,
    program: &Program,
    hooks: Arc<AtomicUsize>,
) -> Result<()> {
    tx.after_commit(move || {
        hooks.fetch_add(1, Ordering::SeqCst);
    });
    let caller = kernel::Caller::nobody();
    tx.record(Fact::by(&caller, "program.ran").on(format!("{case}/{id}")));
    for (place, add) in (0..).zip(&program.steps) {
        step(&tx, case, id, place, *add).await?;
        if program.pauses {
            tokio::task::yield_now().await;
        }
    }
    match program.end {
        End::Commits | End::Leaves(_) => Ok(()),
        End::Refuses => Err(Error::conflict("no", "No.")),
        End::Panics => panic_quietly(),
        End::Swallows => {
            let _ = step(&tx, case, id, 0, (0, 1)).await;
            Ok(())
        }
    }
}

/// Runs one transaction; `None` when its caller went away.
async fn run(
    db: Db,
    case: i64,
    id: i64,
    program: Program,
    hooks: Arc<AtomicUsize>,
) -> Option<Result<()>> {
    let work = db.run("program", |tx| body(tx, case, id, &program, hooks.clone()));
    match program.end {
        End::Leaves(polls) => cancelled_after(polls, work).await,
        _ => Some(work.await),
    }
}

async fn marks(db: &Db, case: i64) -> Vec<(i64, i64)> {
    let sql = "SELECT tx, step FROM marks WHERE case_ = $1 ORDER BY tx, step";
    db.all(sql, params![case], |row| Ok((row.take()?, row.take()?))).await.unwrap()
}

async fn facts(db: &Db, case: i64) -> Vec<String> {
    let sql = "SELECT subject FROM facts WHERE substr(subject, 1, length($1)) = $1";
    db.all(sql, params![format!("{case}/")], |row| row.take()).await.unwrap()
}

async fn counters(db: &Db, case: i64) -> [i64; 4] {
    let sql = "SELECT name, n FROM counters WHERE case_ = $1";
    let rows: Vec<(i64, i64)> =
        db.all(sql, params![case], |row| Ok((row.take()?, row.take()?))).await.unwrap();
    let mut counters = [0; 4];
    rows.into_iter().for_each(|(name, n)| counters[usize::try_from(name).unwrap()] = n);
    counters
}

async fn play(db: &Db, case: i64, programs: Vec<Program>) {
    let hooks: Vec<_> = programs.iter().map(|_| Arc::new(AtomicUsize::new(0))).collect();
    let tasks: Vec<_> = (0..)
        .zip(programs.iter().cloned().zip(hooks.iter().cloned()))
        .map(|(id, (program, hooks))| tokio::spawn(run(db.clone(), case, id, program, hooks)))
        .collect();
    let mut outcomes = Vec::new();
    for task in tasks {
        outcomes.push(within_a_minute(task).await);
    }
    settle(db).await;

    let (marks, facts) = (marks(db, case).await, facts(db, case).await);
    let mut model = [0; 4];
    for ((id, program), (outcome, hooks)) in
        (0..).zip(&programs).zip(outcomes.into_iter().zip(&hooks))
    {
        let left = marks.iter().filter(|(tx, _)| *tx == id).count();
        let committed = match (program.end, outcome) {
            (End::Commits | End::Leaves(_), Ok(Some(outcome))) => outcome.map(|()| true).unwrap(),
            (End::Leaves(_), Ok(None)) => left > 0,
            (End::Refuses | End::Swallows, Ok(Some(Err(_)))) => false,
            (End::Panics, Err(panic)) if panic.is_panic() => false,
            (end, outcome) => panic!("{end:?} ended as {outcome:?}"),
        };
        assert_eq!(left, if committed { program.steps.len() } else { 0 }, "{id}: {program:?}");
        assert_eq!(facts.contains(&format!("{case}/{id}")), committed, "{id}: {program:?}");
        assert_eq!(hooks.load(Ordering::SeqCst), usize::from(committed), "{id}: {program:?}");
        if committed {
            program
                .steps
                .iter()
                .for_each(|(name, by)| model[usize::try_from(*name).unwrap()] += by);
        }
    }
    assert_eq!(counters(db, case).await, model);
}

/// Waits until those who went away are done or undone: until every connection is at hand.
async fn settle(db: &Db) {
    let connections = if db.is_shared() { 8 } else { 1 };
    let all_at_hand = &tokio::sync::Barrier::new(connections);
    let behind = (0..connections).map(|_| {
        db.run("settle", move |tx| async move {
            tx.execute("DELETE FROM marks WHERE case_ = -1", &[]).await?;
            all_at_hand.wait().await;
            Ok(())
        })
    });
    within_a_minute(futures_util::future::try_join_all(behind)).await.unwrap();
}

fn any_programs(db: &Db, cases: u32) {
    let case = AtomicUsize::new(0);
    let runtime = tokio::runtime::Handle::current();
    let mut runner = TestRunner::new(Config { cases, ..Config::default() });
    let strategy = proptest::collection::vec(program(), 1..24);
    runner
        .run(&strategy, |programs| {
            let case = i64::try_from(case.fetch_add(1, Ordering::SeqCst)).unwrap();
            runtime.block_on(play(db, case, programs));
            Ok(())
        })
        .unwrap();
}

on_both_engines! { &[crate::MIGRATIONS, MARKS];
    async fn all_of_a_transaction_happens_or_nothing_whatever_becomes_of_it(t: &TestDb) {
        let cases = if t.is_postgres() { 24 } else { 64 };
        tokio::task::block_in_place(|| any_programs(&t.db, cases));
    }
}
