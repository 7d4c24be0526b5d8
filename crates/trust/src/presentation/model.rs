//! What is asked for: the part of DCQL that one credential needs.

use kernel::{Error, Result};
use serde_json::{Map, Value, json};

/// The name of the one credential of a query.
pub const QUERY_ID: &str = "credential";
/// The most types and claims that are asked for at once.
const ASKED_MAX: usize = 16;

/// A query for one SD-JWT credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// Any of these types will do.
    pub types: Vec<String>,
    /// The top-level claims that must be shown.
    pub claims: Vec<String>,
}

impl Query {
    /// Reads what an enterprise asks for.
    pub fn parse(types: Vec<String>, claims: Vec<String>) -> Result<Self> {
        let fine = |text: &String| !text.is_empty() && text.len() <= 200;
        for (pointer, list) in [("/types", &types), ("/claims", &claims)] {
            if list.is_empty() || list.len() > ASKED_MAX || !list.iter().all(fine) {
                let message = format!("1 to {ASKED_MAX} texts of 1 to 200 bytes");
                return Err(Error::field(pointer, "out_of_range", message));
            }
        }
        Ok(Self { types, claims })
    }

    /// The query as wallets read it (OpenID4VP 1.0 section 6).
    pub fn dcql(&self) -> Value {
        let claims: Vec<Value> =
            self.claims.iter().map(|claim| json!({ "path": [claim] })).collect();
        json!({ "credentials": [{
            "id": QUERY_ID,
            "format": "dc+sd-jwt",
            "meta": { "vct_values": self.types },
            "claims": claims,
        }] })
    }

    /// Reads back what [`Self::dcql`] wrote.
    pub fn from_dcql(dcql: &Value) -> Option<Self> {
        let one = dcql["credentials"].get(0)?;
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let types = one["meta"]["vct_values"].as_array()?.iter().map(text);
        let claims = one["claims"].as_array()?.iter().map(|claim| text(&claim["path"][0]));
        Some(Self { types: types.collect::<Option<_>>()?, claims: claims.collect::<Option<_>>()? })
    }

    /// What was asked for out of what was shown; `None` where something is missing.
    pub fn answer(&self, shown: &Map<String, Value>) -> Option<Map<String, Value>> {
        let of_type = self.types.iter().any(|one| shown.get("vct").is_some_and(|vct| vct == one));
        if !of_type {
            return None;
        }
        let claim = |name: &String| Some((name.clone(), shown.get(name)?.clone()));
        self.claims.iter().map(claim).collect()
    }
}
