//! Sending by SMTP (RFC 5321) to the mail server of the house.
//!
//! A letter has the same `Message-ID` and `Date` however often it is tried, so that a server or a
//! reader that gets it twice can tell. That can happen: a connection that breaks after the text
//! was sent and before the server has answered leaves it open who has the letter.

use std::fmt;
use std::time::{Duration, SystemTime};

use kernel::id::kinds::Mail;
use kernel::{Error, Id, Result, Secret, Timestamp};
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart};
use lettre::transport::smtp::PoolConfig;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::{Address, AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use parking_lot::Mutex;

use super::letter::Rendered;
use crate::jobs;

type Transport = AsyncSmtpTransport<Tokio1Executor>;

/// How the connection to the mail server is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Security {
    /// TLS after a greeting in the clear (RFC 3207); without it nothing is sent. Port 587.
    #[default]
    StartTls,
    /// TLS from the first byte (RFC 8314). Port 465.
    Tls,
    /// None at all: for a relay on this machine. Port 25.
    None,
}

/// The mail server and how to speak to it.
#[derive(Debug, Clone)]
pub struct SmtpOptions {
    pub host: String,
    /// Without it, the usual one of the security.
    pub port: Option<u16>,
    pub security: Security,
    pub credentials: Option<(String, Secret<String>)>,
    /// Certificates in PEM that alone are believed; without them, those that the system believes.
    pub authorities: Option<Vec<u8>>,
    /// Who letters are from: `Verza <no-reply@verza.example>`.
    pub from: String,
    /// How long sending one letter may take; at most [`TIMEOUT_MAX`].
    pub timeout: Duration,
    /// Connections that are kept open at most.
    pub connections: u32,
}

/// A job that sends must end before its lease does.
pub const TIMEOUT_MAX: Duration = Duration::from_secs(45);

/// How long a connection is kept for the next letter.
const IDLE: Duration = Duration::from_secs(60);

/// A mail server.
pub struct Smtp {
    options: SmtpOptions,
    from: Mailbox,
    tls: Option<TlsParameters>,
    /// Made when the first letter goes out, and anew after one that took too long.
    transport: Mutex<Option<Transport>>,
}

impl fmt::Debug for Smtp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Smtp({} {:?})", self.options.host, self.options.security)
    }
}

/// One letter on its way.
pub(super) struct Outgoing<'a> {
    pub(super) id: Id<Mail>,
    pub(super) to: &'a str,
    pub(super) subject: &'a str,
    pub(super) written_at: Timestamp,
    pub(super) content: &'a Rendered,
}

impl Smtp {
    /// # Errors
    /// `Invalid` `invalid_mail_options`: an address, certificates or a timeout that cannot be used,
    /// or a password that would cross the network in the clear.
    pub fn new(options: SmtpOptions) -> Result<Self> {
        let wrong = |what: String| Error::invalid("invalid_mail_options", what);
        let from: Mailbox = options.from.parse().map_err(|_| {
            wrong(format!("{:?} is no sender such as Verza <a@b.org>", options.from))
        })?;
        if options.timeout.is_zero() || options.timeout > TIMEOUT_MAX {
            let most = TIMEOUT_MAX.as_secs();
            return Err(wrong(format!("the timeout is between 1 and {most} seconds")));
        }
        let local = matches!(options.host.as_str(), "localhost" | "127.0.0.1" | "::1");
        if options.credentials.is_some() && options.security == Security::None && !local {
            let message = "without TLS a password goes only to a server on this machine";
            return Err(wrong(message.to_owned()));
        }
        let tls = match options.security {
            Security::None => None,
            Security::StartTls | Security::Tls => Some(tls(&options)?),
        };
        Ok(Self { options, from, tls, transport: Mutex::new(None) })
    }

    /// What the sender calls itself, if anything.
    pub fn sender(&self) -> Option<&str> {
        self.from.name.as_deref()
    }

    fn transport(&self) -> Transport {
        let mut kept = self.transport.lock();
        kept.get_or_insert_with(|| self.build()).clone()
    }

    fn build(&self) -> Transport {
        let SmtpOptions { host, port, security, credentials, timeout, connections, .. } =
            &self.options;
        let tls = match (security, self.tls.clone()) {
            (Security::StartTls, Some(tls)) => Tls::Required(tls),
            (Security::Tls, Some(tls)) => Tls::Wrapper(tls),
            _ => Tls::None,
        };
        let usual = match security {
            Security::StartTls => 587,
            Security::Tls => 465,
            Security::None => 25,
        };
        let pool = PoolConfig::new().max_size((*connections).max(1)).idle_timeout(IDLE);
        let mut builder = Transport::builder_dangerous(host)
            .port(port.unwrap_or(usual))
            .tls(tls)
            .timeout(Some(*timeout))
            .pool_config(pool);
        if let Some((user, password)) = credentials {
            builder =
                builder.credentials(Credentials::new(user.clone(), password.expose().clone()));
        }
        builder.build()
    }

    /// Hands a letter to the server.
    ///
    /// # Errors
    /// What another try may cure; [`jobs::hopeless`] where the server has refused the letter for
    /// good.
    pub(super) async fn send(&self, outgoing: &Outgoing<'_>) -> Result<()> {
        let message = self.compose(outgoing)?;
        let transport = self.transport();
        match tokio::time::timeout(self.options.timeout, transport.send(message)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(refused(&error)),
            Err(_) => {
                // The connection is in the middle of a conversation, and the pool would hand it
                // to the next letter, which would read the answers to this one. All of its
                // connections go.
                *self.transport.lock() = None;
                let message = "The mail server took too long to answer.";
                Err(Error::unavailable("mail_timeout", message))
            }
        }
    }

    fn compose(&self, outgoing: &Outgoing<'_>) -> Result<Message> {
        let Outgoing { id, to, subject, written_at, content } = outgoing;
        let unsendable = || jobs::hopeless("the letter cannot be put into a message");
        let to: Address = to.parse().map_err(|_| unsendable())?;
        let written = Duration::from_micros(written_at.micros().max(0).unsigned_abs());
        let domain = self.from.email.domain();
        Message::builder()
            .from(self.from.clone())
            .to(Mailbox::new(None, to))
            .subject(*subject)
            .date(SystemTime::UNIX_EPOCH + written)
            .message_id(Some(format!("<{id}@{domain}>")))
            // RFC 3834: no machine answers this, so that two of them do not write for ever.
            .raw_header(header("Auto-Submitted", "auto-generated"))
            .raw_header(header("X-Auto-Response-Suppress", "All"))
            .multipart(MultiPart::alternative_plain_html(
                content.text.clone(),
                content.html.clone(),
            ))
            .map_err(|_| unsendable())
    }
}

fn header(name: &'static str, value: &str) -> HeaderValue {
    HeaderValue::new(HeaderName::new_from_ascii_str(name), value.to_owned())
}

fn tls(options: &SmtpOptions) -> Result<TlsParameters> {
    let wrong = |error| {
        let message = "the mail server's certificates cannot be checked with what is given";
        Error::invalid("invalid_mail_options", message).because(error)
    };
    let mut builder = TlsParameters::builder(options.host.clone());
    if let Some(pem) = &options.authorities {
        let certificate = Certificate::from_pem(pem).map_err(wrong)?;
        builder =
            builder.certificate_store(CertificateStore::None).add_root_certificate(certificate);
    }
    builder.build_rustls().map_err(wrong)
}

/// What the server's answer means. A refusal of the letter is final. A refusal of ourselves, 530
/// to 538, is not the letter's fault: it waits until the operator has put the password right.
fn refused(error: &lettre::transport::smtp::Error) -> Error {
    let code = error.status().map(u16::from);
    let final_word = matches!(code, Some(500..=529 | 539..=599));
    let kind = if final_word { "permanent" } else { "temporary" };
    metrics::counter!("mail_refusals_total", "kind" => kind).increment(1);
    let said = error.to_string();
    if final_word {
        return jobs::hopeless(format!("the mail server refuses the letter for good: {said}"));
    }
    Error::unavailable("mail_refused", format!("The mail server does not take the letter: {said}"))
}
