//! The paths that are measured: those of the goal table, and the bare ones that measure the
//! method.
//!
//! To add a workload: a file here with a type that implements [`Workload`](crate::Workload) and a
//! `pub const NAME: Declared`, then its name in the path's row.

pub mod audit;
pub mod bare;
pub mod batch;
pub mod download;
pub mod growth;
pub mod idle;
pub mod ledger;
pub mod limits;
pub mod list;
pub mod login;
pub mod market;
pub mod orders;
pub mod overload;
pub mod postgres;
pub mod proof;
pub mod read;
pub mod split;
pub mod start;
pub mod statement;
pub mod upload;
pub mod verdict;
pub mod whoami;
pub mod write;

use crate::workload::Declared;

/// One line of the goal table.
pub struct Path {
    /// What it is called on the command line.
    pub id: &'static str,
    pub title: &'static str,
    /// One for each number the line asks for.
    pub workloads: &'static [Declared],
}

/// Every path, in the order of the goal table. A path of it that has no workload yet is listed,
/// and asking for it is an error: nothing is skipped silently.
pub const PATHS: &[Path] = &[
    Path { id: "1a", title: "login", workloads: &[login::LOGIN] },
    Path { id: "1b", title: "session checks in a flood of logins", workloads: &[login::FLOODED] },
    Path {
        id: "2",
        title: "session check (whoami, cookie and bearer)",
        workloads: &[whoami::COOKIE, whoami::BEARER],
    },
    Path { id: "3", title: "JSON read by key with a token", workloads: &[read::BY_KEY] },
    Path { id: "4a", title: "durable JSON write, 64 connections", workloads: &[write::TOGETHER] },
    Path { id: "4b", title: "durable JSON write, one connection", workloads: &[write::ALONE] },
    Path { id: "5", title: "list by keyset, 20 of an owner's rows", workloads: &[list::PAGES] },
    Path {
        id: "6",
        title: "download of 64 KiB, 1 MiB and 10 MiB",
        workloads: &[download::SMALL, download::MIDDLE, download::LARGE],
    },
    Path { id: "7", title: "upload of 10 MiB", workloads: &[upload::FILES] },
    Path { id: "8", title: "audit append, 256 producers", workloads: &[audit::APPEND] },
    Path { id: "9a", title: "ledger transfers between many accounts", workloads: &[ledger::MANY] },
    Path { id: "9pg", title: "ledger transfers on PostgreSQL", workloads: &[postgres::TRANSFERS] },
    Path { id: "9b", title: "ledger transfers through one hot account", workloads: &[ledger::HOT] },
    Path { id: "proof", title: "a proof out of 1e6 entries", workloads: &[proof::INCLUSION] },
    Path { id: "verdicts", title: "verdicts by transfers", workloads: &[verdict::POSITIVE] },
    Path {
        id: "13a",
        title: "a service through the gateway in one process",
        workloads: &[orders::ONE_PROCESS],
    },
    Path {
        id: "13b",
        title: "a service through the gateway, a process each",
        workloads: &[split::BESIDE_DIRECT],
    },
    Path { id: "14", title: "rate limits", workloads: &[limits::ALLOWED, limits::REFUSED] },
    Path { id: "15", title: "start, idle memory, size", workloads: &[start::REDIS, start::BARE] },
    Path {
        id: "16",
        title: "growth from 1e3 to 1e6 rows",
        workloads: &[
            growth::WHOAMI,
            growth::WRITE,
            growth::LIST,
            growth::FILES,
            growth::LEDGER,
            growth::VERIFIERS,
            growth::SEARCH,
            growth::VERDICTS,
            growth::BOARD,
            growth::PAID,
            growth::DISPUTES,
            growth::REVIEWS,
        ],
    },
    Path { id: "18", title: "four times as much as can be done", workloads: &[overload::MIX] },
    Path { id: "batch", title: "a batch of 100 000 rows in one request", workloads: &[batch::CSV] },
    Path { id: "statement", title: "a statement of 1e6 entries", workloads: &[statement::CSV] },
    Path { id: "idle", title: "10 000 idle connections", workloads: &[idle::CONNECTED] },
    Path { id: "bare-http", title: "bare-axum by itself", workloads: &[bare::HTTP] },
    Path {
        id: "bare-rows",
        title: "bare-axum with a statement by itself",
        workloads: &[bare::ROWS],
    },
    Path {
        id: "bare-commit",
        title: "bare-sqlite by the commit model",
        workloads: &[bare::COMMIT],
    },
    Path { id: "bare-hash", title: "bare-hash by itself", workloads: &[bare::HASH] },
    Path { id: "bare-upload", title: "bare-sha-write by itself", workloads: &[bare::UPLOAD] },
];

/// The path of this name.
pub fn find(id: &str) -> Option<&'static Path> {
    PATHS.iter().find(|path| path.id == id)
}
