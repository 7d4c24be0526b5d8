//! What a database says no with, in the same words for both engines.

use std::fmt;

/// A failed statement or transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DbError {
    /// A unique index refused a row; its name.
    Unique(String),
    /// A CHECK refused a row; its name.
    Check(String),
    /// A trigger or a foreign key refused a change; what it said.
    Refused(String),
    /// Two transactions were in each other's way; running it again may help.
    Serialization(String),
    /// It took longer than it may.
    Timeout,
    /// A text holds U+0000. PostgreSQL cannot store it, so neither engine does.
    NulInText,
    /// The disk of the store is full.
    Full(String),
    /// The store cannot be reached or cannot be written.
    Unavailable(String),
    /// A commit was sent and its answer was lost: the change may stand.
    Unsure(String),
    /// Anything else is a defect of ours.
    Other(String),
}

impl DbError {
    /// Whether running the transaction again may succeed without anything else changing.
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Serialization(_))
    }

    pub(super) fn from_sqlite(error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode;
        let rusqlite::Error::SqliteFailure(failure, message) = &error else {
            return Self::Other(error.to_string());
        };
        let text = message.clone().unwrap_or_else(|| failure.to_string());
        match (failure.code, failure.extended_code) {
            (_, rusqlite::ffi::SQLITE_CONSTRAINT_CHECK) => {
                Self::Check(after(&text, "CHECK constraint failed: "))
            }
            (
                _,
                rusqlite::ffi::SQLITE_CONSTRAINT_UNIQUE
                | rusqlite::ffi::SQLITE_CONSTRAINT_PRIMARYKEY
                | rusqlite::ffi::SQLITE_CONSTRAINT_ROWID,
            ) => Self::Unique(after(&text, "UNIQUE constraint failed: ")),
            (_, rusqlite::ffi::SQLITE_CONSTRAINT_TRIGGER) => Self::Refused(text),
            (ErrorCode::ConstraintViolation, _) => Self::Refused(text),
            (ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked, _) => Self::Serialization(text),
            (ErrorCode::OperationInterrupted, _) => Self::Timeout,
            (ErrorCode::DiskFull, _) => Self::Full(text),
            (
                ErrorCode::CannotOpen
                | ErrorCode::ReadOnly
                | ErrorCode::SystemIoFailure
                | ErrorCode::PermissionDenied,
                _,
            ) => Self::Unavailable(text),
            _ => Self::Other(text),
        }
    }

    pub(super) fn from_postgres(error: tokio_postgres::Error) -> Self {
        use tokio_postgres::error::SqlState;
        let Some(db) = error.as_db_error() else {
            let mut text = error.to_string();
            if let Some(cause) = std::error::Error::source(&error) {
                text = format!("{text}: {cause}");
            }
            // Everything that is no answer of the server is the connection's doing, except for a
            // value that does not fit its column.
            return if error.is_closed() || text.contains("connect") || text.contains("commun") {
                Self::Unavailable(text)
            } else {
                Self::Other(text)
            };
        };
        let name = || db.constraint().unwrap_or_else(|| db.message()).to_owned();
        match *db.code() {
            SqlState::UNIQUE_VIOLATION => Self::Unique(name()),
            SqlState::CHECK_VIOLATION => Self::Check(name()),
            SqlState::RAISE_EXCEPTION
            | SqlState::FOREIGN_KEY_VIOLATION
            | SqlState::NOT_NULL_VIOLATION => Self::Refused(db.message().to_owned()),
            SqlState::T_R_SERIALIZATION_FAILURE | SqlState::T_R_DEADLOCK_DETECTED => {
                Self::Serialization(db.message().to_owned())
            }
            SqlState::QUERY_CANCELED | SqlState::LOCK_NOT_AVAILABLE => Self::Timeout,
            SqlState::DISK_FULL => Self::Full(db.message().to_owned()),
            SqlState::ADMIN_SHUTDOWN
            | SqlState::CRASH_SHUTDOWN
            | SqlState::CANNOT_CONNECT_NOW
            | SqlState::TOO_MANY_CONNECTIONS
            | SqlState::READ_ONLY_SQL_TRANSACTION => Self::Unavailable(db.message().to_owned()),
            ref code => Self::Other(format!("{} ({})", db.message(), code.code())),
        }
    }
}

fn after(text: &str, prefix: &str) -> String {
    text.strip_prefix(prefix).unwrap_or(text).to_owned()
}

impl fmt::Display for DbError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unique(name) => write!(f, "the unique index {name} refused a row"),
            Self::Check(name) => write!(f, "the check {name} refused a row"),
            Self::Refused(what) => write!(f, "the database refused a change: {what}"),
            Self::Serialization(what) => write!(f, "two transactions collided: {what}"),
            Self::Timeout => f.write_str("a statement ran longer than it may"),
            Self::NulInText => f.write_str("a text holds the character U+0000"),
            Self::Full(what) => write!(f, "the disk of the database is full: {what}"),
            Self::Unavailable(what) => write!(f, "the database is not available: {what}"),
            Self::Unsure(what) => write!(f, "nobody knows whether the commit stands: {what}"),
            Self::Other(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for DbError {}

impl From<DbError> for kernel::Error {
    fn from(error: DbError) -> Self {
        let shown = match &error {
            DbError::Unique(_) => Self::conflict("already_exists", "There is one already."),
            DbError::Serialization(_) => {
                Self::unavailable("busy", "Too many changes to the same thing at once. Try again.")
                    .retry_after(1)
            }
            DbError::Timeout => {
                Self::unavailable("timeout", "That took too long. Try again.").retry_after(1)
            }
            DbError::NulInText => {
                Self::invalid("invalid_text", "A text must not hold the character U+0000.")
            }
            DbError::Full(_) => Self::unavailable(
                "storage_full",
                "The disk for the database is full: nothing was changed. The operator has to make \
                 room.",
            )
            .retry_after(60),
            DbError::Unavailable(_) => Self::unavailable(
                "storage_unavailable",
                "The database cannot be reached or written right now. Nothing was changed.",
            )
            .retry_after(5),
            // No time to come again: whatever tries again by itself might do it twice.
            DbError::Unsure(_) => Self::unavailable(
                "outcome_unknown",
                "The database was lost while this was saved, and it may have been done: look before \
                 you try again.",
            ),
            DbError::Check(_) | DbError::Refused(_) | DbError::Other(_) => {
                Self::internal("a statement failed")
            }
        };
        shown.because(error)
    }
}
