//! Path 2: who am I? The most frequent request of any platform, by cookie and by bearer token.

use std::collections::HashSet;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::bare::http::Content;
use crate::bench::Bench;
use crate::client::{Answer, OwnedAnswer, Template};
use crate::failure::{Failure, Result};
use crate::load::{Driven, Generator, Script};
use crate::process::Server;
use crate::random::{Random, Zipf};
use crate::verza::people::{self, Person};
use crate::verza::{Verza, store};
use crate::workload::{Better, Declared, Gauge, Side, Slice, Spec, Workload};

const CONNECTIONS: usize = 32;
const USERS: usize = 500;
/// Sessions in the store besides those that are presented.
const STORED: u64 = 1_000_000;
/// A user may have twenty sessions.
const SESSIONS_EACH: usize = 20;

const SPEC: Spec = Spec {
    name: "",
    reference: "bare-axum, same request and answer bytes",
    unit: "req/s",
    reference_unit: "req/s",
    better: Better::Higher,
    floor: 0.80,
    goal: 0.95,
    durable: false,
};

pub const COOKIE: Declared = Declared {
    spec: Spec { name: "GET /v1/me by cookie, sessions by Zipf, 32 connections", ..SPEC },
    prepare: |bench| Ok(Box::new(Whoami::prepare(bench, By::Cookie)?)),
};

pub const BEARER: Declared = Declared {
    spec: Spec { name: "GET /v1/me by bearer token, sessions by Zipf, 32 connections", ..SPEC },
    prepare: |bench| Ok(Box::new(Whoami::prepare(bench, By::Bearer)?)),
};

#[derive(Clone, Copy)]
pub(super) enum By {
    Cookie,
    Bearer,
}

impl By {
    fn show(self, template: Template, person: &Person) -> Template {
        match self {
            By::Cookie => template.header("cookie", &person.cookie),
            By::Bearer => template.bearer(&person.bearer),
        }
    }
}

/// Requests of which popular ones come up more often, each with the body that answers it.
struct Popular {
    questions: Rc<[(Bytes, Bytes)]>,
    zipf: Rc<Zipf>,
    random: Random,
    asked: usize,
}

impl Script for Popular {
    fn request<'a>(&'a mut self, _: &'a mut Vec<u8>) -> &'a [u8] {
        self.asked = self.zipf.rank(&mut self.random);
        &self.questions[self.asked].0
    }

    fn judge(&mut self, answer: &Answer<'_>) -> Result<()> {
        if answer.status == 200 && answer.body == self.questions[self.asked].1 {
            return Ok(());
        }
        Err(Failure::new(format!("not this session's answer: {}", answer.describe())))
    }
}

fn drive(server: &Server, questions: Vec<(Bytes, Bytes)>) -> Result<Driven> {
    let zipf = Rc::new(Zipf::new(questions.len(), 1.0));
    let questions: Rc<[_]> = questions.into();
    let script = |seed| Popular {
        questions: questions.clone(),
        zipf: zipf.clone(),
        random: Random::new(seed),
        asked: 0,
    };
    let scripts = (0..CONNECTIONS as u64).map(|seed| Box::new(script(seed)) as Box<dyn Script>);
    Driven::new(server.address(), scripts.collect())
}

/// Sessions of these people, each asked once: what follows is answered from memory.
pub(super) struct Asked {
    pub(super) driven: Driven,
    first: OwnedAnswer,
    questions: Vec<(Bytes, Bytes)>,
}

pub(super) fn ask_all(verza: &Verza, people: &[Person], by: By) -> Result<Asked> {
    let mut api = Generator::connect(verza.address(), CONNECTIONS)?;
    let ask = |person| by.show(Template::new("GET", verza.address()), person);
    let requests: Vec<Bytes> =
        people.iter().map(|person| ask(person).request("/v1/me", None, b"")).collect();
    let answers = api.call_all(&requests)?;
    for (answer, person) in answers.iter().zip(people) {
        if answer.json(200)?["id"] != person.id.as_str() {
            return Err(Failure::new(format!("{} was answered as somebody else", person.email)));
        }
    }
    let bodies = answers.iter().map(|answer| Bytes::from(answer.body.clone()));
    let questions: Vec<(Bytes, Bytes)> = requests.into_iter().zip(bodies).collect();
    let first = answers.into_iter().next().ok_or_else(|| Failure::new("nobody has a session"))?;
    Ok(Asked { driven: drive(verza.server(), questions.clone())?, first, questions })
}

/// As many sessions as can be made in about twenty seconds, ten thousand at most.
pub(super) fn sessions(verza: &Verza) -> Result<Vec<Person>> {
    const LONGEST: Duration = Duration::from_secs(20);
    let mut all = people::join(verza, USERS)?;
    let emails: Vec<String> = all.iter().map(|person| person.email.clone()).collect();
    let begun = Instant::now();
    while all.len() < USERS * SESSIONS_EACH && begun.elapsed() < LONGEST {
        all.extend(people::sign_in(verza, &emails)?);
    }
    Ok(all)
}

struct Whoami {
    verza: Verza,
    _bare: Server,
    ours: Driven,
    reference: Driven,
    people: Vec<Person>,
    by: By,
}

impl Whoami {
    fn prepare(bench: &Bench, by: By) -> Result<Whoami> {
        let verza = Verza::start(bench, &bench.folder("whoami")?)?;
        let people = sessions(&verza)?;
        let stopped = verza.stop()?;
        store::fill(&stopped.database(), |database| store::put_sessions(database, STORED))?;
        let verza = Verza::start(bench, &stopped.folder)?;
        let Asked { driven: ours, first, questions } = ask_all(&verza, &people, by)?;
        let headers = first.given_headers();
        let body = Bytes::from(first.body.clone());
        let content = Content::Fixed { headers, body: body.clone() };
        let bare = bench.spawn_bare(&content)?;
        let same = questions.into_iter().map(|(request, _)| (request, body.clone()));
        let reference = drive(&bare, same.collect())?;
        Ok(Whoami { verza, _bare: bare, ours, reference, people, by })
    }

    /// After the logout is answered, not one more request may succeed.
    fn log_out(&self, person: &Person) -> Result<()> {
        const AFTERWARDS: usize = 100;
        let mut api = Generator::connect(self.verza.address(), 1)?;
        let show = |method| self.by.show(Template::new(method, self.verza.address()), person);
        let me = show("GET").request("/v1/me", None, b"");
        api.call(&me)?.json(200)?;
        api.call(&show("POST").request("/v1/auth/logout", None, b""))?.json(200)?;
        let later = api.call_all(&vec![me; AFTERWARDS])?;
        let statuses: HashSet<u16> = later.iter().map(|answer| answer.status).collect();
        if statuses == HashSet::from([401]) {
            return Ok(());
        }
        Err(Failure::new(format!("after the logout the session was answered {statuses:?}")))
    }
}

impl Workload for Whoami {
    fn slice(&mut self, side: Side, length: Duration) -> Result<Slice> {
        let driven = side.pick(&mut self.ours, &mut self.reference);
        Ok(Slice::rate(driven.run(length)?))
    }

    fn check(&mut self) -> Result<Vec<Gauge>> {
        // The most popular one, which is surely remembered, and the rarest.
        let ends = [self.people.first(), self.people.last()];
        for person in ends.into_iter().flatten() {
            self.log_out(person)?;
        }
        Ok(vec![Gauge {
            name: "sessions",
            unit: "",
            value: self.people.len() as f64,
            better: Better::Higher,
            floor: 1000.0,
            goal: 10_000.0,
        }])
    }
}
