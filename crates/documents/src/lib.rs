//! Documents: the files that people bring, the credentials made of them, and the links by which
//! they show them to others.

pub mod credential;
pub mod file;
mod inventory;
mod links;
mod personal;
pub mod share;
#[cfg(test)]
mod testing;
pub mod upload;

use kernel::Secret;
use platform::blob::Blobs;
use platform::db::{Db, Migration, Migrations};
use platform::http::Route;
use platform::jobs::Registry;
use platform::mail::Mailer;

pub use inventory::Inventory;
use links::Links;
pub use personal::Held;

/// The tables of this context.
pub const MIGRATIONS: Migrations = Migrations {
    context: "documents",
    files: &[
        Migration { name: "0001_documents", sql: include_str!("../migrations/0001_documents.sql") },
        Migration { name: "0002_uploads", sql: include_str!("../migrations/0002_uploads.sql") },
        Migration { name: "0003_shares", sql: include_str!("../migrations/0003_shares.sql") },
        Migration { name: "0004_scans", sql: include_str!("../migrations/0004_scans.sql") },
        Migration {
            name: "0005_inspections",
            sql: include_str!("../migrations/0005_inspections.sql"),
        },
        Migration {
            name: "0006_judgements",
            sql: include_str!("../migrations/0006_judgements.sql"),
        },
        Migration { name: "0007_file_uses", sql: include_str!("../migrations/0007_file_uses.sql") },
        Migration { name: "0008_came_from", sql: include_str!("../migrations/0008_came_from.sql") },
    ],
};

const MIB: u64 = 1024 * 1024;

/// What may be configured.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where the platform is reached from outside, such as `https://verza.example`: every link
    /// begins with it.
    pub public_url: String,
    /// The largest file that may be uploaded, in bytes; 50 MiB.
    pub file_bytes_max: u64,
    /// What all files of one owner may take together, in bytes; 2 GiB.
    pub owner_bytes_max: u64,
    /// Who looks at each file before anybody reads it.
    pub scanner: Option<file::Scanner>,
    /// Who looks at the signatures in PDFs.
    pub inspector: Option<file::Inspector>,
    /// Signs the addresses of uploads: the same in every process over one database. Without it,
    /// one that this process makes up.
    pub upload_key: Option<Secret<[u8; 32]>>,
}

impl Options {
    pub fn at(public_url: impl Into<String>) -> Self {
        Self {
            public_url: public_url.into(),
            file_bytes_max: 50 * MIB,
            owner_bytes_max: 2048 * MIB,
            scanner: None,
            inspector: None,
            upload_key: None,
        }
    }
}

/// Everything that this context stands on.
pub struct Parts {
    pub db: Db,
    pub blobs: Blobs,
    pub issuance: trust::issuance::service::Service,
    /// Who judges signed credentials that are uploaded.
    pub judge: credential::Judge,
    pub mailer: Mailer,
    pub options: Options,
}

/// The context put together. Cheap to clone.
#[derive(Clone)]
pub struct Documents {
    pub files: file::Service,
    pub credentials: credential::Service,
    pub shares: share::Service,
    pub uploads: upload::Service,
    links: Links,
}

impl Documents {
    pub fn new(parts: Parts) -> Self {
        let Parts { db, blobs, issuance, judge, mailer, options } = parts;
        let links = Links::new(&options.public_url);
        let limits = file::Limits {
            file_bytes: options.file_bytes_max,
            owner_bytes: options.owner_bytes_max,
        };
        let upload_key = options.upload_key.unwrap_or_else(|| Secret::new(db.world().random()));
        let files =
            file::Service::new(db.clone(), blobs, limits, options.scanner, options.inspector);
        let credentials = credential::Service::new(db, issuance, files.clone(), judge);
        let shares = share::Service::new(credentials.clone(), mailer, links.clone());
        let uploads = upload::Service::new(files.clone(), links.clone(), upload_key);
        Self { files, credentials, shares, uploads, links }
    }

    pub fn routes(&self) -> Vec<Route> {
        let mut routes = file::routes(&self.files, &self.links);
        routes.extend(upload::routes(&self.uploads, &self.links));
        routes.extend(credential::routes(&self.credentials, &self.links));
        routes.extend(share::routes(&self.shares));
        routes
    }

    pub fn jobs(&self, registry: &mut Registry) {
        file::register(registry, &self.files);
        credential::register(registry, &self.credentials);
        upload::register(registry, &self.uploads);
    }
}
