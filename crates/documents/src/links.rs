//! The addresses that this context gives out, all below the configured public one.

use std::sync::Arc;

use kernel::Id;
use kernel::id::kinds::File;

/// Builds links from the configuration, never from a request's headers.
#[derive(Clone)]
pub struct Links(Arc<str>);

impl Links {
    /// `public_url` such as `https://verza.example`, with or without a slash at its end.
    pub fn new(public_url: &str) -> Self {
        Self(public_url.trim_end_matches('/').into())
    }

    /// Where the content of a file is.
    pub fn file(&self, id: Id<File>) -> String {
        format!("{}/v1/files/{id}/content", self.0)
    }

    /// The file that one of our own addresses names, absolute or without the host.
    pub fn parse_file(&self, url: &str) -> Option<Id<File>> {
        let path = url.strip_prefix(&*self.0).unwrap_or(url);
        let id = path.strip_prefix("/v1/files/")?;
        id.strip_suffix("/content").unwrap_or(id).parse().ok()
    }

    /// Where a part of an upload is sent, at the embedded store.
    pub fn part(&self, upload: Id<File>, number: u32) -> String {
        format!("{}/v1/uploads/{upload}/{number}", self.0)
    }

    /// Where a share is shown.
    pub fn share(&self, token: &str) -> String {
        format!("{}/v1/share/{token}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_found_by_our_own_addresses_only() {
        let links = Links::new("https://verza.example/");
        let id = Id::from_uuid(uuid::Uuid::from_u128(7));
        let url = links.file(id);
        assert!(url.starts_with("https://verza.example/v1/files/file_"), "{url}");
        assert_eq!(links.parse_file(&url), Some(id));
        assert_eq!(links.parse_file(&format!("https://verza.example/v1/files/{id}")), Some(id));
        assert_eq!(links.parse_file(&format!("/v1/files/{id}/content")), Some(id));
        for url in [
            format!("https://evil.example/v1/files/{id}/content"),
            format!("https://verza.example.evil/v1/files/{id}"),
            format!("https://verza.example/v1/files/{id}/../{id}"),
            "https://verza.example/v1/files/".to_owned(),
            id.to_string(),
        ] {
            assert_eq!(links.parse_file(&url), None, "{url}");
        }
    }
}
