//! The nouns.

use std::str::FromStr;

use kernel::error::Fields;
use kernel::id::kinds::{Delivery as DeliveryKind, Fact, User, Webhook};
use kernel::{Error, Id, Result, Secret, Timestamp};
use platform::outbound::guarded::{Address, Guarded};
use serde::Serialize;

use super::catalogue::Wanted;

/// What stands at the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = IntegrationProvider)]
pub enum Provider {
    /// The organization's own program, which gets signed events.
    Webhook,
    Slack,
    Teams,
    Discord,
    /// Whatever takes `{"text": ..}`: Mattermost, Rocket.Chat, Google Chat.
    Incoming,
}

impl Provider {
    pub const ALL: [Self; 5] =
        [Self::Webhook, Self::Slack, Self::Teams, Self::Discord, Self::Incoming];
    /// Those that are connected by name.
    pub const CHANNELS: [Self; 4] = [Self::Slack, Self::Teams, Self::Discord, Self::Incoming];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::Slack => "slack",
            Self::Teams => "teams",
            Self::Discord => "discord",
            Self::Incoming => "incoming",
        }
    }

    pub const fn is_channel(self) -> bool {
        !matches!(self, Self::Webhook)
    }

    /// Whether an address is one of this provider's.
    fn serves(self, host: &str) -> bool {
        let below = |domain: &str| {
            host == domain || host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'))
        };
        match self {
            Self::Slack => below("hooks.slack.com") || below("hooks.slack-gov.com"),
            Self::Teams => {
                below("webhook.office.com")
                    || below("logic.azure.com")
                    || below("api.powerplatform.com")
            }
            Self::Discord => below("discord.com") || below("discordapp.com"),
            Self::Webhook | Self::Incoming => true,
        }
    }
}

impl FromStr for Provider {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|one| one.as_str() == text);
        found.ok_or_else(|| Error::not_found("integration"))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = WebhookState)]
pub enum State {
    Enabled,
    /// By the organization.
    Paused,
    /// By the platform: `disabledReason` says why.
    Disabled,
}

impl State {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enabled => "enabled",
            Self::Paused => "paused",
            Self::Disabled => "disabled",
        }
    }
}

impl FromStr for State {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        [Self::Enabled, Self::Paused, Self::Disabled]
            .into_iter()
            .find(|one| one.as_str() == text)
            .ok_or_else(|| Error::internal(format!("{text} is no state of a webhook")))
    }
}

/// Why the platform has disabled an endpoint.
pub(super) const GONE: &str = "gone";
pub(super) const FAILING: &str = "failing";

/// Where an organization is told of what happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    pub id: Id<Webhook>,
    /// The organization's account.
    pub organization: Id<User>,
    pub provider: Provider,
    /// As it may be shown: of a channel the host only.
    pub url: String,
    pub description: String,
    pub events: Wanted,
    pub state: State,
    /// Why it is disabled.
    pub reason: Option<String>,
    /// Failures in a row.
    pub failures: i64,
    pub failing_since: Option<Timestamp>,
    /// Whether the organization was told that it fails.
    pub warned: bool,
    /// Not called before this.
    pub resume_at: Timestamp,
    /// Until when the signing key of before signs too.
    pub old_until: Option<Timestamp>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// What is sealed of an endpoint.
pub(super) struct Sealed {
    pub(super) secret: Vec<u8>,
    pub(super) old: Option<Vec<u8>>,
}

/// Where, and what for: an endpoint about to be made or changed.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) provider: Provider,
    pub(super) address: Address,
    pub(super) events: Wanted,
    pub(super) description: String,
}

impl Target {
    /// # Errors
    /// `Invalid`, with what is wrong of `/url`, `/events` and `/description`.
    pub(super) fn parse(
        client: &Guarded,
        provider: Provider,
        url: &str,
        events: &[String],
        description: &str,
    ) -> Result<Self> {
        let description = self::description(description)?;
        let events = Wanted::parse(events)?;
        let address = self::address(client, provider, url)?;
        Ok(Self { provider, address, events, description })
    }

    /// What may be shown of the address.
    pub(super) fn shown(&self) -> String {
        if self.provider.is_channel() {
            self.address.host().to_owned()
        } else {
            self.address.as_str().to_owned()
        }
    }
}

/// An address that may be called, of the right provider.
pub(super) fn address(client: &Guarded, provider: Provider, url: &str) -> Result<Address> {
    let address = client
        .parse(url.trim())
        .map_err(|error| Error::field("/url", "invalid", error.message().to_owned()))?;
    if provider.serves(address.host()) {
        return Ok(address);
    }
    let message = format!("an address that {} has given out", provider.as_str());
    Err(Error::field("/url", "invalid", message))
}

/// One line, or none.
pub(super) fn description(text: &str) -> Result<String> {
    let mut fields = Fields::new();
    let text = text.trim();
    if text.chars().count() > 200 || text.chars().any(char::is_control) {
        fields.add("/description", "invalid", "one line of at most 200 characters");
    }
    fields.check()?;
    Ok(text.to_owned())
}

/// What changes of an endpoint; `None` leaves it as it is.
#[derive(Debug, Clone, Default)]
pub struct Change {
    pub url: Option<String>,
    pub events: Option<Vec<String>>,
    pub description: Option<String>,
    pub enabled: Option<bool>,
}

/// A signing key on its only way out.
pub struct Made {
    pub endpoint: Endpoint,
    pub secret: Secret<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, serde::Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = DeliveryState)]
pub enum DeliveryState {
    Waiting,
    Delivered,
    Failed,
}

impl DeliveryState {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Delivered => "delivered",
            Self::Failed => "failed",
        }
    }
}

impl FromStr for DeliveryState {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        [Self::Waiting, Self::Delivered, Self::Failed]
            .into_iter()
            .find(|one| one.as_str() == text)
            .ok_or_else(|| Error::internal(format!("{text} is no state of a delivery")))
    }
}

/// A fact on its way to an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    pub id: Id<DeliveryKind>,
    pub endpoint: Id<Webhook>,
    pub fact: Id<Fact>,
    pub seq: i64,
    pub verb: String,
    pub state: DeliveryState,
    pub attempts: i64,
    /// Attempts of this round.
    pub tries: i64,
    /// When it is due; of one that waits.
    pub next_at: Timestamp,
    pub created_at: Timestamp,
}

/// One call of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    pub delivery: Id<DeliveryKind>,
    /// From one on.
    pub number: i64,
    pub at: Timestamp,
    /// None where there was no answer.
    pub status: Option<u16>,
    pub latency_ms: i64,
    /// How the answer began.
    pub answer: String,
    /// Why there was no answer.
    pub error: Option<String>,
}
