//! Solvency over HTTP.

use axum::extract::State;
use kernel::id::kinds::Solvency;
use kernel::{Error, Id, Timestamp};
use platform::http::{
    At, Audience, By, Created, Json, Limit, Once, Reply, Route, get, post, table,
};
use serde::Serialize;
use utoipa::ToSchema;
use verify::log::note::Note;
use verify::solvency::{Line, Proof, Statement};

use super::model::Stated;
use super::service::Service;

// A name without parameters: the schema's derive looks no further than that.
type SolvencyId = Id<Solvency>;

/// The routes of the statements.
pub fn routes(service: &Service) -> Vec<Route> {
    table(
        service,
        [
            get(Audience::Public, "/v1/solvency")
                .summary("The newest statement of what the platform owes and has")
                .describe(
                    "`note` is what was signed, a C2SP signed note; the rest says the same. It is \
                     believed by the keys of `verifierKeys`, which its readers should have from \
                     elsewhere.",
                )
                .returns::<StatementBody>(200)
                .to(last),
            get(Audience::Public, "/v1/solvency/{id}")
                .summary("A statement of solvency")
                .returns::<StatementBody>(200)
                .to(by_id),
            get(Audience::Any, "/v1/user/wallet/solvency")
                .summary("The proof that your balances are counted in the newest statement")
                .describe("Keep it, and check it with `verza ledger proof FILE --key KEY`.")
                .limit(Limit::Heavy)
                .returns::<ProofBody>(200)
                .to(prove),
            post(Audience::Admin, "/v1/admin/solvency")
                .summary("State now what the platform owes and has")
                .limit(Limit::Heavy)
                .once(Once::Accepted)
                .returns::<StatementBody>(201)
                .to(publish),
        ],
    )
}

/// A statement.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = SolvencyStatement)]
struct StatementBody {
    #[schema(value_type = String)]
    id: SolvencyId,
    at: Timestamp,
    currencies: Vec<CurrencyBody>,
    /// The signed text.
    note: String,
    /// `name+id+key`.
    verifier_keys: Vec<String>,
}

/// What is owed in one currency, and what there is. Whole minor units.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = SolvencyCurrency)]
struct CurrencyBody {
    currency: String,
    holders: u64,
    /// To all holders: the sum of the tree.
    owed: u64,
    /// At all providers, by the books.
    booked: i64,
    /// What the providers say themselves; null where one did not answer.
    at_providers: Option<i64>,
    /// Whether what is booked is at least what is owed.
    covered: bool,
    leaves: u64,
    /// The hash of the tree's root, in hexadecimal digits.
    root: String,
}

/// What `verza ledger proof` checks.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SolvencyProof)]
struct ProofBody {
    #[serde(flatten)]
    #[schema(value_type = Object)]
    proof: Proof,
}

impl StatementBody {
    fn of(service: &Service, stated: Stated) -> kernel::Result<Self> {
        let broken = |what: String| Error::internal(format!("a statement of solvency: {what}"));
        let note = Note::parse(&stated.note).map_err(|error| broken(error.to_string()))?;
        let statement = Statement::parse(note.text()).map_err(|error| broken(error.to_string()))?;
        let currency = |currency: &String| {
            let (sums, lines) = statement.currencies.get(currency)?;
            let booked = statement.booked(currency, "as.clearing.");
            let told = lines.iter().filter_map(|line| match line {
                Line::Provider { balance, .. } => Some(*balance),
                _ => None,
            });
            let told: Option<Vec<i64>> = told.collect();
            Some(CurrencyBody {
                currency: currency.clone(),
                holders: sums.holders,
                owed: sums.root.sum,
                booked: i64::try_from(booked).ok()?,
                at_providers: told
                    .and_then(|all| all.iter().try_fold(0_i64, |a, b| a.checked_add(*b))),
                covered: booked >= i128::from(sums.root.sum),
                leaves: sums.leaves,
                root: hex::encode(sums.root.hash),
            })
        };
        let currencies = statement.currencies.keys().filter_map(currency).collect();
        let Stated { id, note, at } = stated;
        Ok(Self { id, at, currencies, note, verifier_keys: service.keys()? })
    }
}

async fn last(State(service): State<Service>) -> Reply<Json<StatementBody>> {
    let stated = service.last().await?;
    Ok(Json(StatementBody::of(&service, stated)?))
}

async fn by_id(
    State(service): State<Service>,
    At(id): At<SolvencyId>,
) -> Reply<Json<StatementBody>> {
    let stated = service.get(id).await?;
    Ok(Json(StatementBody::of(&service, stated)?))
}

async fn prove(State(service): State<Service>, By(caller): By) -> Reply<Json<ProofBody>> {
    Ok(Json(ProofBody { proof: service.prove(&caller).await? }))
}

async fn publish(State(service): State<Service>, By(caller): By) -> Reply<Created<StatementBody>> {
    let stated = service.publish(&caller).await?;
    Ok(Created(StatementBody::of(&service, stated)?))
}
