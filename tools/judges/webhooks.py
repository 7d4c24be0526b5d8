"""What PyPI's standardwebhooks says of our webhooks. Each line: verdict, judge, question."""

import json
import sys
from datetime import datetime, timezone
from pathlib import Path
from unittest import mock

import standardwebhooks.webhooks as library

facts = json.loads((Path(sys.argv[1]) / "webhooks.json").read_text())
before, during = facts["messages"]
failed = False


def then(message, seconds=0):
    """The moment at which a message was sent, or so much later."""
    at = int(message["headers"]["webhook-timestamp"]) + seconds

    class Then(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.fromtimestamp(at, tz or timezone.utc)

    return mock.patch.object(library, "datetime", Then)


def ask(question, secret, message, expected, seconds=0, body=None):
    global failed
    try:
        with then(message, seconds):
            event = library.Webhook(secret).verify(body or message["body"], message["headers"])
        said = f"accepted, {event['type']}"
    except library.WebhookVerificationError as error:
        said = f"refused ({error})"
    right = said.startswith(expected)
    failed |= not right
    print(f"{'as expected' if right else 'UNEXPECTED '}  {'PyPI standardwebhooks':24} {question}: {said}")


accepted = "accepted, verification.verified"
ask("a webhook", facts["old"], before, accepted)
ask("the same, another key", facts["new"], before, "refused (No matching")
ask("the same, changed", facts["old"], before, "refused (No matching", body=before["body"] + " ")
ask("the same, six minutes later", facts["old"], before, "refused (Message timestamp", seconds=360)
ask("another, by the old key", facts["old"], during, accepted)
ask("another, by the new key", facts["new"], during, accepted)
sys.exit(failed)
