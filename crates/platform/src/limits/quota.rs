//! How much of what is allowed.

use std::time::Duration;

use crate::http::Limit;

/// How much of something is allowed: `burst` at once, and one more every `every`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    pub burst: u32,
    pub every: Duration,
}

impl Quota {
    pub const fn per_minute(count: u32) -> Self {
        Self::over(Duration::from_secs(60), count)
    }

    pub const fn per_hour(count: u32) -> Self {
        Self::over(Duration::from_secs(3600), count)
    }

    const fn over(period: Duration, count: u32) -> Self {
        let count = if count == 0 { 1 } else { count };
        Self { burst: count, every: Duration::from_nanos(period.as_nanos() as u64 / count as u64) }
    }

    /// Another number at once; the long-term rate stays.
    #[must_use]
    pub const fn burst(mut self, burst: u32) -> Self {
        self.burst = burst;
        self
    }

    /// The time for one, in microseconds; never zero.
    pub(super) fn step_us(self) -> i64 {
        i64::try_from(self.every.as_micros()).unwrap_or(i64::MAX).max(1)
    }

    /// The time in which an empty bucket fills, in microseconds.
    pub(super) fn depth_us(self) -> i64 {
        self.step_us().saturating_mul(i64::from(self.burst.max(1)))
    }
}

/// The quotas of the route classes; none where a class is not limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quotas {
    pub read: Option<Quota>,
    pub write: Option<Quota>,
    pub heavy: Option<Quota>,
    pub login: Option<Quota>,
    pub register: Option<Quota>,
    pub mail: Option<Quota>,
    pub refresh: Option<Quota>,
    pub webhook: Option<Quota>,
    /// Of one API key.
    pub key: Option<Quota>,
    /// Registrations from everywhere together: many addresses are cheap to rent.
    pub register_everyone: Option<Quota>,
    /// Requests for mail from everywhere together.
    pub mail_everyone: Option<Quota>,
}

impl Default for Quotas {
    /// Generous to people and to front ends, tight where a guesser or a spammer would knock.
    fn default() -> Self {
        Self {
            read: Some(Quota::per_minute(1200)),
            write: Some(Quota::per_minute(300)),
            heavy: Some(Quota::per_minute(60)),
            login: Some(Quota::per_minute(10)),
            register: Some(Quota::per_hour(20).burst(10)),
            mail: Some(Quota::per_hour(20).burst(5)),
            refresh: Some(Quota::per_minute(60)),
            webhook: Some(Quota::per_minute(1200)),
            key: Some(Quota::per_minute(1200)),
            register_everyone: Some(Quota::per_hour(2000).burst(500)),
            mail_everyone: Some(Quota::per_hour(4000).burst(1000)),
        }
    }
}

impl Quotas {
    /// No limits at all: for benchmarks.
    pub const NONE: Self = Self {
        read: None,
        write: None,
        heavy: None,
        login: None,
        register: None,
        mail: None,
        refresh: None,
        webhook: None,
        key: None,
        register_everyone: None,
        mail_everyone: None,
    };

    pub const fn of(&self, class: Limit) -> Option<Quota> {
        match class {
            Limit::Free => None,
            Limit::Read => self.read,
            Limit::Write => self.write,
            Limit::Heavy => self.heavy,
            Limit::Login => self.login,
            Limit::Register => self.register,
            Limit::Mail => self.mail,
            Limit::Refresh => self.refresh,
            Limit::Webhook => self.webhook,
            Limit::Key => self.key,
        }
    }

    /// What all callers of a class may do together.
    pub const fn of_everyone(&self, class: Limit) -> Option<Quota> {
        match class {
            Limit::Register => self.register_everyone,
            Limit::Mail => self.mail_everyone,
            _ => None,
        }
    }
}
