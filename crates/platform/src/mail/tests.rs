use std::collections::BTreeSet;

use axum::body::{Body, to_bytes};
use http::{Request, StatusCode, header};
use tower::ServiceExt;

use super::*;
use crate::db::Read;
use crate::jobs::{self, Worker};
use crate::testing::{TestDb, TestSmtp};

fn letter() -> Letter {
    Letter::new("Hello")
        .say("Somebody said <hello>.")
        .with_action("Answer", "https://verza.example/answer#token=s3cr3t")
}

fn mailer_with(t: &TestDb, options: MailOptions) -> (Mailer, Worker) {
    let mailer = Mailer::new(t.db.clone(), MasterKey::new([1; 32]), options);
    let mut registry = Registry::default();
    mailer.jobs(&mut registry);
    (mailer, Worker::new(t.db.clone(), registry))
}

fn mailer(t: &TestDb) -> (Mailer, Worker) {
    mailer_with(t, MailOptions::default())
}

fn smtp_options(server: &TestSmtp) -> SmtpOptions {
    SmtpOptions {
        host: "localhost".to_owned(),
        port: Some(server.starttls_port),
        security: Security::StartTls,
        credentials: Some((server.user.clone(), server.password.clone().into())),
        authorities: Some(std::fs::read(server.certificate()).unwrap()),
        from: "Verza <no-reply@verza.example>".to_owned(),
        timeout: Duration::from_secs(20),
        connections: 2,
    }
}

/// A mailer that sends to the tests' server.
fn sender(t: &TestDb, options: SmtpOptions) -> (Mailer, Worker) {
    let backend = Backend::Smtp(Arc::new(Smtp::new(options).unwrap()));
    mailer_with(t, MailOptions { backend, ..MailOptions::default() })
}

/// An address of this test's own: `word` says to the server what is to go wrong.
fn address(t: &TestDb, word: &str) -> String {
    let path = t.directory().file_name().unwrap().to_string_lossy().to_ascii_lowercase();
    format!("{word}.{}@example.org", path.trim_start_matches('.'))
}

async fn send(t: &TestDb, mailer: &Mailer, to: &str, letter: &Letter) -> Result<Id<Mail>> {
    t.db.run("test", |tx| {
        let sent = mailer.send(&tx, to, "test.hello", letter);
        async move { sent }
    })
    .await
}

fn header_of<'a>(mail: &'a str, name: &str) -> &'a str {
    let (head, _) = mail.split_once("\r\n\r\n").unwrap();
    let lines: Vec<_> = head.lines().filter_map(|line| line.strip_prefix(name)).collect();
    assert_eq!(lines.len(), 1, "{name} in {head}");
    lines[0].trim_start_matches(':').trim()
}

/// Undoes quoted-printable (RFC 2045, 6.7) as far as ASCII goes.
fn decoded(mail: &str) -> String {
    mail.replace("=\r\n", "").replace("=3D", "=")
}

async fn dead(t: &TestDb) -> Vec<jobs::Queued> {
    jobs::dead_letters(&t.db, &kernel::PageRequest::first(10)).await.unwrap().items
}

#[test]
fn what_cannot_be_a_mail_server_is_refused() {
    let right = SmtpOptions {
        host: "mail.example.org".to_owned(),
        port: None,
        security: Security::StartTls,
        credentials: Some(("verza".to_owned(), "secret".to_owned().into())),
        authorities: None,
        from: "no-reply@verza.example".to_owned(),
        timeout: Duration::from_secs(20),
        connections: 2,
    };
    assert!(Smtp::new(right.clone()).is_ok());
    for wrong in [
        SmtpOptions { from: "Verza".to_owned(), ..right.clone() },
        SmtpOptions { from: "Verza <a@b.org>\r\nBcc: <c@d.org>".to_owned(), ..right.clone() },
        SmtpOptions { timeout: Duration::ZERO, ..right.clone() },
        SmtpOptions { timeout: Duration::from_secs(46), ..right.clone() },
        SmtpOptions { security: Security::None, ..right.clone() },
        SmtpOptions {
            authorities: Some(
                b"-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----".to_vec(),
            ),
            ..right
        },
    ] {
        let shown = format!("{wrong:?}");
        assert!(!shown.contains("\"secret\""));
        assert!(Smtp::new(wrong).is_err(), "{shown}");
    }
}

crate::on_both_engines! { &[crate::MIGRATIONS];
    async fn a_sweep_of_the_sink_takes_all_that_is_old_and_nothing_else(t: &TestDb) {
        let keep = async |count: usize| {
            t.db.run("test.keep", |tx| async move {
                for _ in 0..count {
                    let id = tx.world().id();
                    let (to, template) = ("a@example.org", "test.hello");
                    let (subject, text, html) = ("Hello", "Hello.", "<p>Hello.</p>");
                    let entry = sink::Entry { id, to, template, subject, text, html };
                    sink::insert(&tx, &entry).await?;
                }
                Ok(())
            })
            .await
            .unwrap();
        };
        let (_, worker) = mailer(t);
        keep(2001).await;
        t.clock.advance(MailOptions::default().sink_retention);
        keep(1).await;
        t.clock.advance(Duration::from_secs(1));
        worker.drain().await.unwrap();
        assert_eq!(sink::list(&t.db, None, 10).await.unwrap().len(), 1);
    }

    async fn a_letter_is_sent_when_its_transaction_commits_and_only_then(t: &TestDb) {
        let (mailer, worker) = mailer(t);
        let undone: Result<()> = t.db.run("test", |tx| {
            let mailer = &mailer;
            async move {
                mailer.send(&tx, "a@example.org", "test.hello", &letter())?;
                Err(Error::conflict("no", "No."))
            }
        }).await;
        assert!(undone.is_err());
        worker.drain().await.unwrap();
        assert!(sink::list(&t.db, None, 10).await.unwrap().is_empty());

        for to in ["a@example.org", "b@example.org"] {
            t.db.run("test", |tx| {
                let sent = mailer.send(&tx, to, "test.hello", &letter());
                async move { sent }
            }).await.unwrap();
        }
        worker.drain().await.unwrap();
        assert_eq!(sink::list(&t.db, None, 10).await.unwrap().len(), 2);
        let found = sink::list(&t.db, Some("a@example.org"), 10).await.unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].subject, "Hello");
        assert!(found[0].text.contains("https://verza.example/answer#token=s3cr3t"));
    }

    async fn a_waiting_letter_is_not_readable_in_the_database(t: &TestDb) {
        let (mailer, _) = mailer(t);
        t.db.run("test", |tx| {
            let sent = mailer.send(&tx, "a@example.org", "test.hello", &letter());
            async move { sent }
        }).await.unwrap();
        let sql = "SELECT payload FROM jobs";
        let payload: String = t.db.one(sql, &[], |row| row.take()).await.unwrap();
        assert!(payload.contains("a@example.org") && !payload.contains("s3cr3t"));
    }

    async fn the_sink_forgets_what_is_old(t: &TestDb) {
        let (mailer, worker) = mailer(t);
        t.db.run("test", |tx| {
            let sent = mailer.send(&tx, "a@example.org", "test.hello", &letter());
            async move { sent }
        }).await.unwrap();
        worker.drain().await.unwrap();
        t.clock.advance(Duration::from_secs(31 * 24 * 3600));
        worker.drain().await.unwrap();
        assert!(sink::list(&t.db, None, 10).await.unwrap().is_empty());
    }

    async fn a_letter_goes_out_by_starttls_with_a_login(t: &TestDb) {
        let server = TestSmtp::find();
        let (mailer, worker) = sender(t, smtp_options(&server));
        let to = address(t, "plain");
        let id = send(t, &mailer, &to, &letter()).await.unwrap();
        t.clock.advance(Duration::from_secs(90));
        worker.drain().await.unwrap();
        let mails = server.mails(&to);
        assert_eq!(mails.len(), 1);
        let mail = &mails[0];
        assert_eq!(header_of(mail, "X-Seen"), "tls=True login=verza from=no-reply@verza.example");
        assert_eq!(header_of(mail, "From"), "Verza <no-reply@verza.example>");
        assert_eq!(header_of(mail, "To"), to);
        assert_eq!(header_of(mail, "Subject"), "Hello");
        assert_eq!(header_of(mail, "Message-ID"), format!("<{id}@verza.example>"));
        // When it was written, not when it was sent.
        assert_eq!(header_of(mail, "Date"), "Thu, 01 Jan 2026 00:00:00 +0000");
        assert_eq!(header_of(mail, "Auto-Submitted"), "auto-generated");
        assert!(header_of(mail, "Content-Type").starts_with("multipart/alternative;"));
        let mail = decoded(mail);
        assert!(mail.contains("https://verza.example/answer#token=s3cr3t\r\n"), "{mail}");
        assert!(mail.contains("Somebody said &lt;hello&gt;."), "{mail}");
        assert!(sink::list(&t.db, None, 1).await.unwrap().is_empty());
    }

    async fn a_letter_goes_out_by_tls_and_to_a_relay_in_the_clear(t: &TestDb) {
        let server = TestSmtp::find();
        let usual = smtp_options(&server);
        let tls = SmtpOptions {
            port: Some(server.tls_port), security: Security::Tls, ..usual.clone()
        };
        let plain = SmtpOptions {
            port: Some(server.plain_port),
            security: Security::None,
            credentials: None,
            authorities: None,
            ..usual
        };
        for (options, word, seen) in [(tls, "tls", "tls=True"), (plain, "clear", "tls=False")] {
            let (mailer, worker) = sender(t, options);
            let to = address(t, word);
            send(t, &mailer, &to, &letter()).await.unwrap();
            worker.drain().await.unwrap();
            assert!(header_of(&server.mails(&to)[0], "X-Seen").starts_with(seen));
        }
    }

    async fn nothing_goes_to_a_server_that_cannot_show_who_it_is(t: &TestDb) {
        let server = TestSmtp::find();
        let usual = smtp_options(&server);
        let (port, tls_port) = (Some(server.plain_port), Some(server.tls_port));
        for (word, options) in [
            ("unknown", SmtpOptions { authorities: None, ..usual.clone() }),
            ("other", SmtpOptions { host: "127.0.0.1".to_owned(), ..usual.clone() }),
            // A server, or somebody in between, that knows no STARTTLS.
            ("stripped", SmtpOptions { port, ..usual.clone() }),
            ("misled", SmtpOptions { port: tls_port, ..usual.clone() }),
        ] {
            let timeout = Duration::from_secs(5);
            let (mailer, worker) = sender(t, SmtpOptions { timeout, ..options });
            let to = address(t, word);
            send(t, &mailer, &to, &letter()).await.unwrap();
            assert!(worker.run_due().await.unwrap() > 0);
            assert!(server.mails(&to).is_empty(), "{word}");
        }
        assert!(dead(t).await.is_empty(), "the operator may still put it right");
    }

    async fn a_wrong_password_for_the_server_is_not_the_letter_s_fault(t: &TestDb) {
        let server = TestSmtp::find();
        let credentials = Some((server.user.clone(), "wrong".to_owned().into()));
        let (mailer, worker) = sender(t, SmtpOptions { credentials, ..smtp_options(&server) });
        let to = address(t, "login");
        send(t, &mailer, &to, &letter()).await.unwrap();
        worker.drain().await.unwrap();
        assert!(server.mails(&to).is_empty() && dead(t).await.is_empty());
        let (_, worker) = sender(t, smtp_options(&server));
        t.clock.advance(Duration::from_secs(10));
        worker.drain().await.unwrap();
        assert_eq!(server.mails(&to).len(), 1);
    }

    async fn a_temporary_refusal_is_tried_again_with_growing_pauses(t: &TestDb) {
        let server = TestSmtp::find();
        let (mailer, worker) = sender(t, smtp_options(&server));
        let to = address(t, "temporary-2");
        send(t, &mailer, &to, &letter()).await.unwrap();
        worker.drain().await.unwrap();
        for (pause, mails) in [(1, 0), (2, 0), (1, 0), (5, 1), (3600, 1), (3600, 1)] {
            t.clock.advance(Duration::from_secs(pause));
            worker.drain().await.unwrap();
            assert_eq!(server.mails(&to).len(), mails, "after {pause} s");
        }
        assert!(dead(t).await.is_empty());
    }

    async fn a_final_refusal_is_a_dead_letter_at_once(t: &TestDb) {
        let server = TestSmtp::find();
        let (mailer, worker) = sender(t, smtp_options(&server));
        for (word, code) in [("permanent", "550"), ("content", "554")] {
            let to = address(t, word);
            send(t, &mailer, &to, &letter()).await.unwrap();
            worker.drain().await.unwrap();
            let dead = dead(t).await;
            let last = dead.first().unwrap();
            assert_eq!((last.kind.as_str(), last.attempts), ("mail.send", 1));
            let error = last.last_error.as_ref().unwrap();
            assert!(error.contains(code) && !error.contains("s3cr3t"), "{error}");
            assert!(server.mails(&to).is_empty());
        }
        // The one behind it goes out on the same connection.
        let to = address(t, "next");
        send(t, &mailer, &to, &letter()).await.unwrap();
        worker.drain().await.unwrap();
        assert_eq!(server.mails(&to).len(), 1);
    }

    async fn a_letter_that_may_have_arrived_comes_again_as_the_same(t: &TestDb) {
        let server = TestSmtp::find();
        let timeout = Duration::from_secs(2);
        let (mailer, worker) = sender(t, SmtpOptions { timeout, ..smtp_options(&server) });
        for word in ["dropped-1", "silent-1"] {
            let to = address(t, word);
            send(t, &mailer, &to, &letter()).await.unwrap();
            worker.drain().await.unwrap();
            assert_eq!(server.mails(&to).len(), 1);
            t.clock.advance(Duration::from_secs(10));
            worker.drain().await.unwrap();
            t.clock.advance(Duration::from_secs(7200));
            worker.drain().await.unwrap();
            let mails = server.mails(&to);
            assert_eq!(mails.len(), 2, "{word}");
            for name in ["Message-ID", "Date"] {
                assert_eq!(header_of(&mails[0], name), header_of(&mails[1], name), "{word}");
            }
        }
        assert!(dead(t).await.is_empty());
    }

    async fn a_silent_server_does_not_answer_for_the_next_letter(t: &TestDb) {
        let server = TestSmtp::find();
        let options = smtp_options(&server);
        let timeout = Duration::from_secs(2);
        let (mailer, worker) = sender(t, SmtpOptions { timeout, connections: 1, ..options });
        let silent = address(t, "silent-9");
        send(t, &mailer, &silent, &letter()).await.unwrap();
        worker.drain().await.unwrap();
        let refused = address(t, "permanent");
        send(t, &mailer, &refused, &letter()).await.unwrap();
        worker.drain().await.unwrap();
        // An answer meant for the first would have made this one look sent.
        assert_eq!(dead(t).await.len(), 1);
    }

    async fn many_letters_share_few_connections_and_each_arrives_once(t: &TestDb) {
        let server = TestSmtp::find();
        let (mailer, worker) = sender(t, smtp_options(&server));
        let to = address(t, "many");
        let mut ids = BTreeSet::new();
        for _ in 0..40 {
            let id = send(t, &mailer, &to, &letter()).await.unwrap();
            ids.insert(format!("<{id}@verza.example>"));
        }
        worker.drain().await.unwrap();
        let mails = server.mails(&to);
        let came: BTreeSet<_> =
            mails.iter().map(|mail| header_of(mail, "Message-ID").to_owned()).collect();
        assert_eq!((mails.len(), came), (40, ids));
    }

    async fn nobody_writes_a_header_through_an_address_or_a_subject(t: &TestDb) {
        let server = TestSmtp::find();
        let (mailer, worker) = sender(t, smtp_options(&server));
        for to in [
            "a@example.org\r\nBcc: eve@example.org",
            "a@example.org\nX: y",
            "a@example.org\r",
            "a\0@example.org",
            "a@example.org, eve@example.org",
            "<a@example.org> SIZE=1",
            "",
        ] {
            let refused = send(t, &mailer, to, &letter()).await.unwrap_err();
            assert_eq!(refused.code(), "invalid_address", "{to:?}");
        }
        let to = address(t, "headers");
        let hostile = Letter::new("Hello\r\nBcc: eve@example.org\r\n\r\nBody")
            .say("Text\r\n.\r\nMAIL FROM:<eve@example.org>\r\n");
        send(t, &mailer, &to, &hostile).await.unwrap();
        worker.drain().await.unwrap();
        let mails = server.mails(&to);
        let (head, body) = mails[0].split_once("\r\n\r\n").unwrap();
        assert!(head.lines().all(|line| !line.starts_with("Bcc")), "{head}");
        assert!(body.contains("MAIL FROM"), "the text stays text: {body}");
        assert_eq!(mails.len(), 1);
    }

    async fn the_viewer_shows_a_letter_in_a_sandbox_and_to_this_machine_only(t: &TestDb) {
        let (mailer, worker) = mailer(t);
        let hostile = Letter::new("<i>Hello</i>").say("<script>alert(1)</script>");
        let id = send(t, &mailer, "a@example.org", &hostile).await.unwrap();
        worker.drain().await.unwrap();
        let pages = viewer(t.db.clone());
        let get = async |path: &str, host: &str| {
            let request = Request::get(path).header(header::HOST, host).body(Body::empty());
            let response = pages.clone().oneshot(request.unwrap()).await.unwrap();
            let policy = response.headers().get(header::CONTENT_SECURITY_POLICY).cloned();
            let policy = policy.map(|policy| policy.to_str().unwrap().to_owned());
            let status = response.status();
            let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
            (status, policy.unwrap_or_default(), String::from_utf8(body.to_vec()).unwrap())
        };
        let (status, policy, inbox) = get("/dev/mail", "localhost:8080").await;
        assert_eq!(status, StatusCode::OK);
        assert!(policy.starts_with("default-src 'none'"));
        assert!(inbox.contains(&format!("/dev/mail/{id}\"")) && !inbox.contains("<i>Hello"));
        assert!(get("/dev/mail?to=b@example.org", "localhost").await.2.contains("There is none"));
        let (_, _, page) = get(&format!("/dev/mail/{id}"), "127.0.0.1:8080").await;
        assert!(page.contains("sandbox=\"allow-popups allow-popups-to-escape-sandbox\""));
        assert!(!page.contains("<script"), "{page}");
        let (_, policy, letter) = get(&format!("/dev/mail/{id}/html"), "[::1]:8080").await;
        assert!(policy.contains("sandbox") && !policy.contains("allow-scripts"), "{policy}");
        assert!(!letter.contains("<script") && letter.contains("&lt;script&gt;"));
        let path = format!("/dev/mail/{id}");
        for host in ["LOCALHOST:8080", "192.0.2.7", "[2001:db8::1]:8080"] {
            assert_eq!(get(&path, host).await.0, StatusCode::OK, "{host}");
        }
        for host in [
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "evil.example:8080",
            "[evil.example]",
            "",
            "[::1",
        ] {
            let (status, _, body) = get(&path, host).await;
            assert_eq!(status, StatusCode::FORBIDDEN, "{host}");
            assert!(!body.contains("Hello"), "{host}");
        }
        let unknown = t.db.world().id::<Mail>().to_string();
        for id in ["x", &unknown] {
            assert_eq!(get(&format!("/dev/mail/{id}"), "localhost").await.0, StatusCode::NOT_FOUND);
        }
    }
}
