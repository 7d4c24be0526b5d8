//! The rows of one prepared statement as a JSON array: the limit of a list endpoint.

use std::path::Path;

use parking_lot::Mutex;
use rusqlite::types::{Value, ValueRef};
use rusqlite::{Connection, OpenFlags, Row, params_from_iter};

use super::sqlite::SERVER_MEMORY;
use crate::{Context, Failure, Result};

/// A statement on a read-only connection.
///
/// The query string carries its parameters in order: `p=i:5` (integer), `p=x:00ff` (bytes in
/// hexadecimal), `p=t:text`. Columns come out under their names: integers and reals as numbers,
/// text as strings, bytes in hexadecimal.
pub struct Rows {
    connection: Mutex<Connection>,
    sql: String,
    /// Each column's name with what JSON puts around it.
    keys: Vec<Vec<u8>>,
}

impl Rows {
    pub fn open(database: &Path, sql: &str) -> Result<Rows> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(database, flags)?;
        connection.execute_batch(SERVER_MEMORY)?;
        let keys = {
            let statement = connection.prepare(sql)?;
            let names = statement.column_names();
            let key = |(index, name): (usize, &str)| {
                let opening = if index == 0 { "{" } else { "," };
                format!("{opening}\"{name}\":").into_bytes()
            };
            names.enumerate().map(key).collect()
        };
        Ok(Rows { connection: Mutex::new(connection), sql: sql.to_owned(), keys })
    }

    /// The rows for these parameters.
    pub fn json(&self, query: &str) -> Result<Vec<u8>> {
        const USUAL: usize = 8 * 1024;
        let parameters = query.split('&').filter_map(|part| part.strip_prefix("p="));
        let parameters = parameters.map(parameter).collect::<Result<Vec<Value>>>()?;
        let connection = self.connection.lock();
        let mut statement = connection.prepare_cached(&self.sql)?;
        let mut rows = statement.query(params_from_iter(parameters))?;
        let mut out = Vec::with_capacity(USUAL);
        out.push(b'[');
        while let Some(row) = rows.next()? {
            if out.len() > 1 {
                out.push(b',');
            }
            self.write_row(row, &mut out)?;
        }
        out.push(b']');
        Ok(out)
    }

    fn write_row(&self, row: &Row<'_>, out: &mut Vec<u8>) -> Result<()> {
        for (column, key) in self.keys.iter().enumerate() {
            out.extend_from_slice(key);
            let written = match row.get_ref(column)? {
                ValueRef::Null => serde_json::to_writer(&mut *out, &()),
                ValueRef::Integer(number) => serde_json::to_writer(&mut *out, &number),
                ValueRef::Real(number) => serde_json::to_writer(&mut *out, &number),
                ValueRef::Text(bytes) => {
                    let text = std::str::from_utf8(bytes).context("a text that is not UTF-8")?;
                    serde_json::to_writer(&mut *out, text)
                }
                ValueRef::Blob(bytes) => {
                    out.push(b'"');
                    write_hexadecimal(bytes, out);
                    out.push(b'"');
                    Ok(())
                }
            };
            written.context("JSON")?;
        }
        out.push(b'}');
        Ok(())
    }
}

fn write_hexadecimal(bytes: &[u8], out: &mut Vec<u8>) {
    const DIGITS: [u8; 16] = *b"0123456789abcdef";
    for byte in bytes {
        let (high, low) = (usize::from(byte >> 4), usize::from(byte & 15));
        out.extend([DIGITS[high], DIGITS[low]]);
    }
}

/// A parameter in the form the query string has it.
pub fn bytes_parameter(bytes: &[u8]) -> String {
    let mut out = b"p=x:".to_vec();
    write_hexadecimal(bytes, &mut out);
    out.into_iter().map(char::from).collect()
}

fn parameter(text: &str) -> Result<Value> {
    let strange = || Failure::new(format!("the parameter `{text}` is strange"));
    match text.split_once(':').ok_or_else(strange)? {
        ("i", number) => number.parse().map(Value::Integer).map_err(|_| strange()),
        ("t", text) => Ok(Value::Text(text.to_owned())),
        ("x", digits) => hexadecimal(digits).map(Value::Blob).ok_or_else(strange),
        _ => Err(strange()),
    }
}

fn hexadecimal(digits: &str) -> Option<Vec<u8>> {
    let nibble = |digit: &u8| char::from(*digit).to_digit(16);
    let pairs = digits.as_bytes().chunks(2);
    let byte = |pair: &[u8]| match pair {
        [high, low] => u8::try_from(nibble(high)? * 16 + nibble(low)?).ok(),
        _ => None,
    };
    pairs.map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_become_json_under_their_column_names() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("x.db");
        let connection = Connection::open(&database).unwrap();
        connection
            .execute_batch(
                "CREATE TABLE t (owner BLOB, n INTEGER, name TEXT);
                 INSERT INTO t VALUES (x'00ff', 1, 'a \"b\"'), (x'00ff', 2, NULL), (x'01', 3, '');",
            )
            .unwrap();
        let sql = "SELECT owner, n AS \"no\", name FROM t WHERE owner = ?1 AND n < ?2 ORDER BY n";
        let rows = Rows::open(&database, sql).unwrap();
        let query = format!("{}&p=i:3", bytes_parameter(&[0, 255]));
        let json = String::from_utf8(rows.json(&query).unwrap()).unwrap();
        let expected = r#"[{"owner":"00ff","no":1,"name":"a \"b\""},"#.to_owned()
            + r#"{"owner":"00ff","no":2,"name":null}]"#;
        assert_eq!(json, expected);
        assert_eq!(rows.json("p=x:77&p=i:3").unwrap(), b"[]");
        for strange in ["p=5", "p=i:x", "p=x:0", "p=x:zz"] {
            assert!(rows.json(strange).is_err(), "{strange}");
        }
    }
}
