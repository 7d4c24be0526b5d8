//! A table of 100,000 rows in one request: the memory that the server has taken at most until it is
//! accepted, without the files that it has mapped, and how long that took.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::bench::Bench;
use crate::client::Template;
use crate::failure::{Failure, Result};
use crate::load::Generator;
use crate::process::Watch;
use crate::stats::median;
use crate::verza::people::{self, Person};
use crate::verza::{Verza, market, store};
use crate::workload::{Better, Declared, Gauge, Side, Slice, Spec, Workload};

const ROWS: usize = 100_000;
/// What the server may take at most, in MB.
const LIMIT: f64 = 100.0;

pub const CSV: Declared = Declared {
    spec: Spec {
        name: "POST of 100 000 rows as CSV, the most memory of the server's own",
        reference: "the limit of 100 MB",
        unit: "MB",
        reference_unit: "MB",
        better: Better::Lower,
        floor: 1.0,
        goal: 0.75,
        durable: false,
    },
    prepare: |bench| Ok(Box::new(Batch::prepare(bench)?)),
};

struct Batch {
    /// None while it is started anew.
    verza: Option<Verza>,
    /// Its folder before any batch.
    template: PathBuf,
    enterprise: Person,
    table: String,
    seconds: Vec<f64>,
    keys: u128,
}

/// Good rows of a table, each about somebody else.
fn table() -> String {
    let mut table = String::from("reference,subject,title,type,issuer\n");
    for row in 0..ROWS {
        table += &format!("HR-{row:06},Somebody {row:06},Bachelor,{},University X\n", store::KIND);
    }
    table
}

impl Batch {
    fn prepare(bench: &Bench) -> Result<Batch> {
        let verza = Verza::start(bench, &bench.folder("batch")?)?;
        let people = people::join(&verza, 1)?;
        let stopped = verza.stop()?;
        let user = store::user(&store::open_to_look(&stopped.database())?, &people[0].email)?;
        store::fill(&stopped.database(), |connection| market::put_enterprise(connection, &user))?;
        let template = bench.folder("batch-template")?.join("data");
        crate::verza::copy_folder(&stopped.folder, &template)?;
        let verza = Verza::start(bench, &stopped.folder)?;
        // The token says what role its bearer has: one from before does not do.
        let mut signed_in = people::sign_in(&verza, &[people[0].email.clone()])?;
        let enterprise = signed_in.pop().ok_or_else(|| Failure::new("nobody has signed in"))?;
        let (table, seconds) = (table(), Vec::new());
        Ok(Batch { verza: Some(verza), template, enterprise, table, seconds, keys: 1 })
    }

    /// The most memory that a fresh server has taken when it has accepted the table, in MB.
    fn accepted(&mut self) -> Result<f64> {
        let verza = self.verza.take().ok_or_else(|| Failure::new("no server is there"))?;
        let verza = verza.reset(&self.template)?;
        let emails = [self.enterprise.email.clone()];
        let person = people::sign_in(&verza, &emails)?.pop();
        self.enterprise = person.ok_or_else(|| Failure::new("nobody has signed in"))?;
        let mut api = Generator::connect(verza.address(), 1)?;
        self.keys += 1;
        let ask = Template::new("GET", verza.address()).bearer(&self.enterprise.bearer);
        let verifiers =
            api.call(&ask.request("/v1/marketplace/verifiers", None, b""))?.json(200)?;
        let verifier = verifiers[0]["id"].as_str();
        let verifier = verifier.ok_or_else(|| Failure::new("there is no verifier"))?;
        let path = format!("/v1/enterprise/verifications/batch?verifierId={verifier}");
        let request = Template::new("POST", verza.address())
            .bearer(&self.enterprise.bearer)
            .header("content-type", "text/csv")
            .request(&path, Some(self.keys), self.table.as_bytes());
        let watch = Watch::begin(verza.server().pid());
        let begun = Instant::now();
        let answer = api.call(&request)?.json(202);
        self.seconds.push(begun.elapsed().as_secs_f64());
        let (peak_kib, answer) = (watch.end()?, answer?);
        if answer["estimate"]["good"] != ROWS {
            return Err(Failure::new(format!("not all rows are good: {}", answer["estimate"])));
        }
        self.verza = Some(verza);
        Ok(peak_kib as f64 * 1024.0 / 1e6)
    }
}

impl Workload for Batch {
    fn slice(&mut self, side: Side, _: Duration) -> Result<Slice> {
        match side {
            Side::Ours => self.accepted().map(Slice::of),
            Side::Reference => Ok(Slice::of(LIMIT)),
        }
    }

    fn check(&mut self) -> Result<Vec<Gauge>> {
        let value = median(&self.seconds).ok_or_else(|| Failure::new("no batch was sent"))?;
        let (name, better) = ("until it is accepted", Better::Lower);
        Ok(vec![Gauge { name, unit: "s", value, better, floor: 60.0, goal: 20.0 }])
    }
}
