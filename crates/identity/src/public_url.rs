//! Where the platform is reached, as it is configured.

use kernel::{Error, Result};
use platform::crypto::Token;

/// The configured public address: `https://verza.example`, without a slash at the end. Every link
/// in a mail starts with it; what a request says of its host never does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicUrl(String);

impl PublicUrl {
    /// # Errors
    /// `Invalid` `invalid_public_url`.
    pub fn parse(text: &str) -> Result<Self> {
        let base = text.trim_end_matches('/');
        let rest = base.strip_prefix("https://").or_else(|| base.strip_prefix("http://"));
        let plain = |byte: u8| byte.is_ascii_graphic() && !b"?#@\\\"'<>`".contains(&byte);
        match rest {
            Some(rest) if !rest.is_empty() && !rest.starts_with('/') && rest.bytes().all(plain) => {
                Ok(Self(base.to_owned()))
            }
            _ => Err(Error::invalid(
                "invalid_public_url",
                format!("The public URL {text:?} is not one such as https://verza.example."),
            )),
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether browsers reach us by TLS only.
    pub fn is_secure(&self) -> bool {
        self.0.starts_with("https://")
    }

    /// `path` starts with a slash.
    pub(crate) fn link(&self, path: &str) -> String {
        format!("{}{path}", self.0)
    }

    /// A link that carries a token behind `#`, where no server's log and no `Referer` shows it.
    pub(crate) fn link_with_token(&self, path: &str, token: &Token) -> String {
        format!("{}{path}#token={}", self.0, token.text.expose())
    }
}
