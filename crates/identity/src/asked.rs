//! What anybody may ask about an address, handed on to a job.
//!
//! "Send me the mail again" must not tell whether there is an account: not by its answer, and not
//! by its time. So the request looks at no account at all. It commits one job, the same for every
//! address, and is answered; the job finds out whether there is anything to send.

use std::sync::Arc;

use kernel::Caller;
use kernel::caller::{Origin, RequestId};
use platform::journal::RecordedOrigin;
use serde::{Deserialize, Serialize};

use crate::account::Email;

/// Who asked, as far as facts tell of it, and about which address.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Asked {
    /// As it is compared; mail goes to the address as its owner wrote it.
    pub(crate) email: String,
    origin: RecordedOrigin,
}

impl Asked {
    pub(crate) fn new(caller: &Caller, email: &Email) -> Self {
        Self { email: email.as_str().to_owned(), origin: RecordedOrigin::from(&caller.origin) }
    }

    /// The asker, for the facts: nobody who is signed in.
    pub(crate) fn caller(&self) -> Caller {
        let RecordedOrigin { request_id, ip, user_agent, .. } = &self.origin;
        let origin = Origin {
            request_id: match request_id {
                Some(text) => RequestId::Theirs(text.as_str().into()),
                None => RequestId::None,
            },
            ip: ip.as_ref().and_then(|ip| ip.parse().ok()),
            user_agent: user_agent.as_deref().map(Arc::from),
            device: None,
        };
        Caller { origin, ..Caller::nobody() }
    }
}
