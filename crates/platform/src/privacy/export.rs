//! Reading what a table holds of a person. The SQL is made of what the holders declare.

use kernel::id::kinds::User;
use kernel::{Id, Result, Timestamp};
use serde_json::{Map, Value as Json};
use uuid::Uuid;

use super::holder::{Column, Rows, Shown, Table};
use crate::db::{Db, DbError, Read, Row};
use crate::journal::RecordedOrigin;
use crate::params;

/// Rows of a table that concern a person, as an export shows them: at most `limit`, from the
/// `offset`-th on.
pub async fn rows(
    db: &Db,
    table: &Table,
    person: Id<User>,
    limit: i64,
    offset: i64,
) -> Result<Vec<Map<String, Json>>> {
    let Rows::Personal { of, order, columns } = table.rows else { return Ok(Vec::new()) };
    let shown: Vec<Column> = columns
        .iter()
        .filter(|Column(_, shown)| !matches!(shown, Shown::Withheld(_)))
        .copied()
        .collect();
    let names: Vec<String> = shown.iter().map(selected).collect();
    let sql = format!(
        "SELECT {} FROM {} WHERE {of} ORDER BY {order} LIMIT $2 OFFSET $3",
        names.join(", "),
        table.name
    );
    let read = |row: &Row<'_>| {
        let mut object = Map::new();
        for Column(name, shown) in &shown {
            object.insert(camel_case(name), value(row, *shown)?);
        }
        Ok(object)
    };
    let mut rows = db.all(&sql, params![person, limit, offset], read).await?;
    for row in &mut rows {
        for Column(name, shown) in &shown {
            if matches!(shown, Shown::Sealed | Shown::Origin)
                && let Some(value) = row.get_mut(&camel_case(name))
            {
                *value = opened(db, table, name, *shown, value).await?;
            }
        }
    }
    Ok(rows)
}

/// Where somebody else asked, where from is theirs.
fn selected(Column(name, shown): &Column) -> String {
    match shown {
        Shown::Origin => format!("CASE WHEN actor = $1 THEN {name} ELSE '{{}}' END"),
        _ => (*name).to_owned(),
    }
}

fn value(row: &Row<'_>, shown: Shown) -> Result<Json, DbError> {
    Ok(match shown {
        Shown::Id(show) => row.take::<Option<Uuid>>()?.map(show).into(),
        Shown::Text | Shown::Sealed | Shown::Origin => row.take::<Option<String>>()?.into(),
        Shown::Json => {
            let text = row.take::<Option<String>>()?;
            text.map_or(Json::Null, |text| serde_json::from_str(&text).unwrap_or(text.into()))
        }
        Shown::Number => row.take::<Option<i64>>()?.into(),
        Shown::Flag => row.take::<Option<bool>>()?.into(),
        Shown::Time => row.take::<Option<Timestamp>>()?.map(|at| at.to_string()).into(),
        Shown::Bytes => row.take::<Option<Vec<u8>>>()?.map(hex::encode).into(),
        Shown::Withheld(_) => Json::Null,
    })
}

async fn opened(db: &Db, table: &Table, column: &str, shown: Shown, stored: &Json) -> Result<Json> {
    let Some(stored) = stored.as_str() else { return Ok(Json::Null) };
    if matches!(shown, Shown::Origin) {
        let origin: RecordedOrigin = serde_json::from_str(stored).unwrap_or_default();
        return Ok(serde_json::to_value(origin.open(db).await?).unwrap_or_default());
    }
    Ok(db.unseal(&format!("{}.{column}", table.name), stored).await?.into())
}

/// `created_at` reads `createdAt`.
fn camel_case(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    let mut upper = false;
    for letter in name.chars() {
        match letter {
            '_' => upper = true,
            letter if upper => {
                out.push(letter.to_ascii_uppercase());
                upper = false;
            }
            letter => out.push(letter),
        }
    }
    out
}
