//! Many rows as one parameter list, so that a statement's text does not depend on the batch and is
//! prepared once: arrays on PostgreSQL, one JSON text on SQLite.

use chrono::{DateTime, SecondsFormat, Utc};
use sea_orm::{ConnectionTrait, DbBackend, DbErr, ExecResult, QueryResult, Statement, Value};
use serde_json::Value as Json;

/// Columns of equal length under the names by which a statement reads them.
pub(crate) struct Rows {
    backend: DbBackend,
    columns: Vec<(&'static str, Cells)>,
}

enum Cells {
    /// Empty means NULL: the parser leaves no empty text.
    Text(Vec<String>),
    /// Empty means empty.
    Key(Vec<String>),
    Integer(Vec<i64>),
    Bytes(Vec<Vec<u8>>),
    Time(Vec<DateTime<Utc>>),
}

impl Rows {
    pub(crate) fn new(backend: DbBackend) -> Self {
        Self { backend, columns: Vec::new() }
    }

    /// A text that may be NULL, given as empty.
    pub(crate) fn text<'a>(self, name: &'static str, cells: impl Iterator<Item = Option<&'a str>>) -> Self {
        self.with(name, Cells::Text(cells.map(|cell| cell.unwrap_or_default().to_owned()).collect()))
    }

    /// A text that is never NULL.
    pub(crate) fn key<'a>(self, name: &'static str, cells: impl Iterator<Item = &'a str>) -> Self {
        self.with(name, Cells::Key(cells.map(str::to_owned).collect()))
    }

    pub(crate) fn integer(self, name: &'static str, cells: impl Iterator<Item = i64>) -> Self {
        self.with(name, Cells::Integer(cells.collect()))
    }

    pub(crate) fn bytes<'a>(self, name: &'static str, cells: impl Iterator<Item = &'a [u8]>) -> Self {
        self.with(name, Cells::Bytes(cells.map(<[u8]>::to_vec).collect()))
    }

    pub(crate) fn time(self, name: &'static str, cells: impl Iterator<Item = DateTime<Utc>>) -> Self {
        self.with(name, Cells::Time(cells.collect()))
    }

    fn with(mut self, name: &'static str, cells: Cells) -> Self {
        self.columns.push((name, cells));
        self
    }

    /// The rows as a table expression named `input`, to stand behind FROM, its parameters numbered from
    /// `first`.
    fn table(&self, first: usize) -> String {
        match self.backend {
            DbBackend::Postgres => {
                let names: Vec<&str> = self.columns.iter().map(|(name, _)| *name).collect();
                let selected: Vec<String> =
                    self.columns.iter().map(|(name, cells)| cells.postgres(name)).collect();
                let arrays: Vec<String> =
                    self.columns.iter().enumerate().map(|(at, (_, cells))| cells.array(first + at)).collect();
                let (selected, arrays, names) = (selected.join(", "), arrays.join(", "), names.join(", "));
                format!("(SELECT {selected} FROM unnest({arrays}) AS cells({names})) AS input")
            }
            _ => {
                let selected: Vec<String> = self
                    .columns
                    .iter()
                    .enumerate()
                    .map(|(at, (name, cells))| cells.sqlite(at, name))
                    .collect();
                format!("(SELECT {} FROM json_each(${first})) AS input", selected.join(", "))
            }
        }
    }

    fn into_values(self) -> Vec<Value> {
        if self.backend == DbBackend::Postgres {
            return self.columns.into_iter().map(|(_, cells)| cells.into_array()).collect();
        }
        let mut columns: Vec<_> = self.columns.into_iter().map(|(_, cells)| cells.into_json()).collect();
        let rows = columns.first().map_or(0, ExactSizeIterator::len);
        let rows: Vec<Json> =
            (0..rows).map(|_| Json::Array(columns.iter_mut().filter_map(Iterator::next).collect())).collect();
        vec![Json::Array(rows).to_string().into()]
    }

    fn parameters(&self) -> usize {
        if self.backend == DbBackend::Postgres { self.columns.len() } else { 1 }
    }
}

impl Cells {
    fn array(&self, number: usize) -> String {
        match self {
            Self::Text(_) | Self::Key(_) | Self::Time(_) => format!("${number}::text[]"),
            Self::Integer(_) => format!("${number}::bigint[]"),
            Self::Bytes(_) => format!("${number}::bytea[]"),
        }
    }

    fn postgres(&self, name: &str) -> String {
        match self {
            Self::Text(_) => format!("NULLIF({name}, '') AS {name}"),
            Self::Time(_) => format!("{name}::timestamptz AS {name}"),
            Self::Key(_) => format!(r#"{name} COLLATE "C" AS {name}"#),
            Self::Integer(_) | Self::Bytes(_) => name.to_owned(),
        }
    }

    fn sqlite(&self, at: usize, name: &str) -> String {
        match self {
            Self::Text(_) => format!("NULLIF(value ->> {at}, '') AS {name}"),
            Self::Bytes(_) => format!("unhex(value ->> {at}) AS {name}"),
            Self::Key(_) | Self::Integer(_) | Self::Time(_) => format!("value ->> {at} AS {name}"),
        }
    }

    fn into_array(self) -> Value {
        match self {
            Self::Text(cells) | Self::Key(cells) => cells.into(),
            Self::Integer(cells) => cells.into(),
            Self::Bytes(cells) => cells.into(),
            Self::Time(cells) => cells.into_iter().map(time_text).collect::<Vec<_>>().into(),
        }
    }

    fn into_json(self) -> Box<dyn ExactSizeIterator<Item = Json>> {
        match self {
            Self::Text(cells) | Self::Key(cells) => Box::new(cells.into_iter().map(Json::from)),
            Self::Integer(cells) => Box::new(cells.into_iter().map(Json::from)),
            Self::Bytes(cells) => Box::new(cells.into_iter().map(|bytes| Json::from(hex(&bytes)))),
            Self::Time(cells) => Box::new(cells.into_iter().map(|time| Json::from(time_text(time)))),
        }
    }
}

/// As SQLite stores a time, in text whose order is time's.
pub(crate) fn time_text(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// A time as a parameter of either database.
pub(crate) fn time_value(backend: DbBackend, time: DateTime<Utc>) -> Value {
    match backend {
        DbBackend::Postgres => time.into(),
        _ => time_text(time).into(),
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A statement with rows and plain parameters, of which `{input}` and `{other}` in the text stand for the
/// row sets in order; `$1…` are the plain parameters.
pub(crate) fn statement(
    backend: DbBackend,
    text: &str,
    plain: Vec<Value>,
    sets: Vec<(&'static str, Rows)>,
) -> Statement {
    let mut sql = text.to_owned();
    let mut values = plain;
    for (name, rows) in sets {
        sql = sql.replace(name, &rows.table(values.len() + 1));
        debug_assert!(rows.parameters() > 0);
        values.extend(rows.into_values());
    }
    Statement::from_sql_and_values(backend, sql, values)
}

/// Runs a statement that reads `{input}`.
pub(crate) async fn execute(db: &impl ConnectionTrait, text: &str, input: Rows) -> Result<ExecResult, DbErr> {
    db.execute_raw(statement(db.get_database_backend(), text, Vec::new(), vec![("{input}", input)])).await
}

/// Runs a statement that reads `{input}` and gives rows back.
pub(crate) async fn query(
    db: &impl ConnectionTrait,
    text: &str,
    input: Rows,
) -> Result<Vec<QueryResult>, DbErr> {
    db.query_all_raw(statement(db.get_database_backend(), text, Vec::new(), vec![("{input}", input)])).await
}
