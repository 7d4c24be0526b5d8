"""The mail server of the tests: takes everything, keeps it as files, and fails where it is told to.

Argument: a folder with cert.pem and key.pem. When all listeners are open it writes the file `url`
there. A mail is kept as mails/<recipient>/<number>.eml, with how it came in its first lines.

The first word of a recipient's address says what goes wrong:

    temporary-2.x@   451 to the first two tries
    permanent.x@     550 to the recipient
    content.x@       554 to the text
    dropped-1.x@     the connection breaks after the first text, which is kept, without an answer
    silent-1.x@      no answer to the first text, as long as the client waits
"""

import asyncio
import os
import ssl
import sys
from collections import Counter
from urllib.parse import quote

from aiosmtpd.smtp import SMTP, AuthResult

USER, PASSWORD = "verza", "quiet-herons"
FOLDER = sys.argv[1]
tries = Counter()
kept = Counter()


class Faults:
    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("permanent."):
            return "550 5.1.1 No such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        [recipient] = envelope.rcpt_tos
        word = recipient.split(".")[0]
        fault, _, times = word.partition("-")
        tries[recipient] += 1
        due = tries[recipient] <= int(times) if times.isdigit() else True
        if fault == "temporary" and due:
            return "451 4.3.0 Try again later"
        if fault == "content":
            return "554 5.6.0 Not this text"
        keep(recipient, server, session, envelope)
        if fault == "dropped" and due:
            server.transport.abort()
            await asyncio.sleep(3600)
        if fault == "silent" and due:
            await asyncio.sleep(3600)
        return "250 2.0.0 Taken"


def keep(recipient, server, session, envelope):
    folder = os.path.join(FOLDER, "mails", quote(recipient))
    os.makedirs(folder, exist_ok=True)
    kept[recipient] += 1
    path = os.path.join(folder, f"{kept[recipient]:03}.eml")
    login = session.auth_data.login.decode() if session.authenticated else "-"
    tls = server.transport.get_extra_info("ssl_object") is not None
    first = f"X-Seen: tls={tls} login={login} from={envelope.mail_from}\r\n"
    with open(path + ".part", "wb") as file:
        file.write(first.encode() + envelope.content)
    os.rename(path + ".part", path)


def check(server, session, envelope, mechanism, data):
    good = (data.login, data.password) == (USER.encode(), PASSWORD.encode())
    return AuthResult(success=good, handled=False, auth_data=data)


async def main():
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(os.path.join(FOLDER, "cert.pem"), os.path.join(FOLDER, "key.pem"))
    loop = asyncio.get_running_loop()
    locked = {"auth_required": True, "authenticator": check, "hostname": "localhost"}

    async def listen(security=None, **options):
        server = await loop.create_server(
            lambda: SMTP(Faults(), **options), "127.0.0.1", 0, ssl=security
        )
        return server.sockets[0].getsockname()[1]

    starttls = await listen(tls_context=context, require_starttls=True, **locked)
    tls = await listen(security=context, auth_require_tls=False, **locked)
    plain = await listen(hostname="localhost")
    os.makedirs(os.path.join(FOLDER, "mails"), exist_ok=True)
    url = f"smtp://{USER}:{PASSWORD}@localhost:{starttls}?tls={tls}&plain={plain}&folder={FOLDER}"
    with open(os.path.join(FOLDER, "url.part"), "w") as file:
        file.write(url)
    os.rename(os.path.join(FOLDER, "url.part"), os.path.join(FOLDER, "url"))
    await asyncio.Event().wait()


asyncio.run(main())
