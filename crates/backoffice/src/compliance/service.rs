//! The verbs.

use std::collections::BTreeMap;

use kernel::{Result, Timestamp};
use platform::crypto::sha256;
use platform::db::Db;
use platform::journal;
use serde::Serialize;
use utoipa::ToSchema;

use super::model::{Framework, Period};
use super::rules;

/// Reports. Cheap to clone.
#[derive(Clone)]
pub struct Service {
    pub(crate) db: Db,
}

/// The controls of a framework in a period.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ComplianceReport)]
pub struct Report {
    #[schema(inline)]
    pub framework: Framework,
    pub from: Timestamp,
    /// The instant after the period.
    pub to: Timestamp,
    /// Whether the period is over: a report about it is then always the same.
    pub complete: bool,
    pub generated_at: Timestamp,
    #[schema(inline)]
    pub controls: Vec<ControlReport>,
    /// SHA-256 over framework, period and controls, in hexadecimal digits: two reports with the
    /// same digest say the same.
    pub digest: String,
}

/// One control in a period.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = ComplianceControl)]
pub struct ControlReport {
    /// As the framework numbers it.
    pub id: &'static str,
    pub title: &'static str,
    /// How often the trail shows it at work.
    pub total: i64,
    #[schema(inline)]
    pub evidence: Vec<Evidence>,
}

/// So many facts of a kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = ComplianceEvidence)]
pub struct Evidence {
    /// `GET /v1/admin/audit-logs?action=` lists them.
    pub action: String,
    pub count: i64,
}

impl Service {
    /// Counts what the journal holds of a period, this month's where none is named.
    pub async fn report(&self, framework: Framework, period: Option<Period>) -> Result<Report> {
        let now = self.db.world().now();
        let Period { from, to } = match period {
            Some(period) => period,
            None => Period::month_of(now)?,
        };
        let counted = journal::tally(&self.db, from, to).await?;
        let counted: BTreeMap<String, i64> = counted.into_iter().collect();
        let controls = rules::controls(framework).iter().map(|control| {
            let evidence: Vec<Evidence> = control
                .evidence(&counted)
                .into_iter()
                .map(|(action, count)| Evidence { action: action.to_owned(), count })
                .collect();
            ControlReport {
                id: control.id,
                title: control.title,
                total: evidence.iter().map(|one| one.count).sum(),
                evidence,
            }
        });
        let controls: Vec<ControlReport> = controls.collect();
        let said = serde_json::json!([framework, from, to, controls]).to_string();
        Ok(Report {
            framework,
            from,
            to,
            complete: now >= to,
            generated_at: now,
            controls,
            digest: hex::encode(sha256(&said)),
        })
    }
}
