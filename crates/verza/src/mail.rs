//! The mail server, as it is configured.

use std::sync::Arc;
use std::time::Duration;

use kernel::{Error, Result};
use platform::mail::{Backend, MailOptions, Security, Smtp, SmtpOptions};

use crate::config::{Config, Mail, SmtpTls};

/// Where letters go and who they are from.
///
/// # Errors
/// `invalid_configuration`, naming the key.
pub(crate) fn options(config: &Config) -> Result<MailOptions> {
    let mail = &config.mail;
    let Some(host) = &mail.smtp_host else {
        refuse_half(mail)?;
        return Ok(MailOptions::default());
    };
    let from = mail.from.clone().ok_or_else(|| {
        wrong("mail.from is not set: who are letters from? Such as Verza <no-reply@verza.example>.")
    })?;
    let smtp = Smtp::new(SmtpOptions {
        host: host.clone(),
        port: mail.smtp_port,
        security: match mail.smtp_tls {
            SmtpTls::StartTls => Security::StartTls,
            SmtpTls::Tls => Security::Tls,
            SmtpTls::None => Security::None,
        },
        credentials: credentials(mail)?,
        authorities: authorities(mail)?,
        from,
        timeout: Duration::from_secs(mail.timeout_seconds),
        connections: mail.connections,
    })
    .map_err(|error| wrong(&format!("mail: {error}.")))?;
    let defaults = MailOptions::default();
    Ok(MailOptions {
        sender: smtp.sender().map_or(defaults.sender, str::to_owned),
        backend: Backend::Smtp(Arc::new(smtp)),
        sink_retention: defaults.sink_retention,
    })
}

/// Mails would go into the sink in silence, although somebody meant them to be sent.
fn refuse_half(mail: &Mail) -> Result<()> {
    if mail.smtp_user.is_some() || mail.smtp_password.is_some() || mail.smtp_ca_file.is_some() {
        return Err(wrong("mail.smtp_host is not set, but other keys of the mail server are."));
    }
    Ok(())
}

fn credentials(mail: &Mail) -> Result<Option<(String, kernel::Secret<String>)>> {
    match (&mail.smtp_user, &mail.smtp_password) {
        (Some(user), Some(password)) => Ok(Some((user.clone(), password.clone()))),
        (None, None) => Ok(None),
        (Some(_), None) => Err(wrong("mail.smtp_user is set and mail.smtp_password is not.")),
        (None, Some(_)) => Err(wrong("mail.smtp_password is set and mail.smtp_user is not.")),
    }
}

fn authorities(mail: &Mail) -> Result<Option<Vec<u8>>> {
    let Some(path) = &mail.smtp_ca_file else { return Ok(None) };
    std::fs::read(path).map(Some).map_err(|error| {
        wrong(&format!("mail.smtp_ca_file {} cannot be read: {error}.", path.display()))
    })
}

fn wrong(what: &str) -> Error {
    Error::invalid("invalid_configuration", what.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configured(change: impl FnOnce(&mut Mail)) -> Result<MailOptions> {
        let mut config = Config::default();
        config.mail.smtp_host = Some("mail.example.org".to_owned());
        config.mail.from = Some("The Office <office@verza.example>".to_owned());
        change(&mut config.mail);
        options(&config)
    }

    #[test]
    fn without_a_server_letters_go_into_the_sink() {
        let options = options(&Config::default()).unwrap();
        assert!(matches!(options.backend, Backend::Sink));
    }

    #[test]
    fn with_a_server_letters_are_signed_with_the_sender_s_name() {
        let options = configured(|_| {}).unwrap();
        assert!(matches!(options.backend, Backend::Smtp(_)));
        assert_eq!(options.sender, "The Office");
        assert_eq!(configured(|mail| mail.from = Some("a@b.org".into())).unwrap().sender, "Verza");
    }

    #[test]
    fn half_a_server_is_refused_and_the_key_is_named() {
        let secret = || Some("secret".to_owned().into());
        type Change = Box<dyn FnOnce(&mut Mail)>;
        let cases: [(&str, Change); 6] = [
            ("mail.from", Box::new(|mail| mail.from = None)),
            ("mail.smtp_password", Box::new(|mail| mail.smtp_user = Some("a".into()))),
            ("mail.smtp_user", Box::new(move |mail| mail.smtp_password = secret())),
            ("mail.smtp_ca_file", Box::new(|mail| mail.smtp_ca_file = Some("/nowhere".into()))),
            ("timeout", Box::new(|mail| mail.timeout_seconds = 60)),
            (
                "mail.smtp_host",
                Box::new(|mail| {
                    mail.smtp_host = None;
                    mail.smtp_user = Some("a".into());
                }),
            ),
        ];
        for (name, change) in cases {
            let error = configured(change).err().unwrap_or_else(|| panic!("{name} was taken"));
            assert_eq!(error.code(), "invalid_configuration");
            assert!(error.message().contains(name), "{error}");
        }
    }
}
