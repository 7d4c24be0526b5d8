//! Sending the link.

use std::sync::Arc;

use platform::jobs::{Job, Registry};
use serde::{Deserialize, Serialize};

use super::Service;
use crate::asked::Asked;

/// Somebody forgot a password, they say.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct ForgotPassword(pub(super) Asked);

impl Job for ForgotPassword {
    const KIND: &'static str = "user.forgot_password";
}

pub(crate) fn register(service: &Arc<Service>, registry: &mut Registry) {
    let service = Arc::clone(service);
    registry.on(move |ForgotPassword(asked), run| {
        let service = Arc::clone(&service);
        async move { service.send_link(&asked, &run).await }
    });
}
