//! Sending the verification mail again, and forgetting mail tokens whose time is over.

use std::sync::Arc;
use std::time::Duration;

use platform::jobs::{Job, Registry};
use serde::{Deserialize, Serialize};

use super::Service;
use crate::asked::Asked;

/// Somebody waits for a verification mail, they say.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct ResendVerification(pub(super) Asked);

impl Job for ResendVerification {
    const KIND: &'static str = "user.resend_verification";
}

pub(crate) fn register(service: &Arc<Service>, registry: &mut Registry) {
    let sender = Arc::clone(service);
    registry.on(move |ResendVerification(asked), run| {
        let sender = Arc::clone(&sender);
        async move { sender.resend_now(&asked, &run).await }
    });
    let service = Arc::clone(service);
    registry.every("account.sweep_tokens", Duration::from_secs(3600), move || {
        let service = Arc::clone(&service);
        async move { service.sweep_tokens().await }
    });
}
