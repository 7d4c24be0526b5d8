"""What Stripe's own library says of our adapter and of the simulator, and what localstripe, a double
of Stripe that others wrote, is told. Each line: verdict, judge, question."""

import json
import re
import sys
import time
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import requests
import stripe

LIBRARY = f"Stripe's library {stripe.VERSION}"
file = Path(sys.argv[2])
facts = json.loads(file.read_text())
failed = False


def say(question, found, expected):
    global failed
    right = found == expected
    failed |= not right
    but = "" if right else f", expected {expected}"
    print(f"{'as expected' if right else 'UNEXPECTED '}  {LIBRARY:24} {question}: {found}{but}")


def refusal(call):
    try:
        call()
        return "none"
    except stripe.StripeError as error:
        return type(error).__name__


class Listener(stripe.RequestsClient):
    """Passes on what the library asks, and remembers the last of it."""

    def request(self, method, url, headers, post_data=None):
        self.asked = (method, url, headers, post_data)
        return super().request(method, url, headers, post_data)


def client(key):
    return stripe.StripeClient(
        key, http_client=http, base_addresses={"api": facts["base"]}, max_network_retries=0
    )


def parameters(url, body):
    """Names and values in order; a list counts its members, or does not."""
    both = parse_qsl(urlsplit(url).query) + parse_qsl(body or "")
    return sorted((re.sub(r"^expand\[\d*\]$", "expand[]", name), value) for name, value in both)


def asked_alike(question, ours):
    method, url, headers, body = http.asked
    theirs = (method.upper(), urlsplit(url).path.split("/v1/")[1], parameters(url, body))
    path = urlsplit(ours["url"]).path.split("/v1/")[1]
    mine = (ours["method"], path, parameters(ours["url"], ours["body"]))
    say(f"{question}: what we ask, it asks", mine == theirs or (mine, theirs), True)
    say(f"{question}: the version", headers["Stripe-Version"], ours["version"])


def library():
    asked = facts["asked"]
    own = client(facts["key"])
    form = asked["create"]
    order = {
        "mode": "payment",
        "line_items": [
            {
                "quantity": 1,
                "price_data": {
                    "currency": "ngn",
                    "unit_amount": 5000,
                    "product_data": {"name": "Deposit"},
                },
            }
        ],
        "success_url": facts["back"],
        "cancel_url": facts["back"],
        "client_reference_id": facts["reference"],
        "metadata": {"reference": facts["reference"]},
        "payment_intent_data": {"metadata": {"reference": facts["reference"]}},
        "customer_email": "payer@example.com",
    }
    again = {"idempotency_key": form["key"]}
    made = own.v1.checkout.sessions.create(order, again)
    asked_alike("a checkout", form)
    say("a checkout asked for twice by two programs", made.id, facts["session"])
    other = {**order, "customer_email": "other@example.com"}
    say(
        "the key of another checkout",
        refusal(lambda: own.v1.checkout.sessions.create(other, again)),
        "IdempotencyError",
    )

    expand = {"expand": ["payment_intent.latest_charge.balance_transaction"]}
    paid = own.v1.checkout.sessions.retrieve(facts["session"], expand)
    asked_alike("a payment", asked["fetch"])
    intent = paid.payment_intent
    read = (paid.payment_status, paid.status, intent.status, intent.amount_received, paid.livemode)
    say("a paid checkout", read, ("paid", "complete", "succeeded", 5000, False))
    say("what is ours of it", intent.metadata["reference"], facts["reference"])
    charge = intent.latest_charge
    say("a charge", (charge.disputed, charge.balance_transaction.currency), (True, "ngn"))

    found = own.v1.disputes.list({"limit": 100, "payment_intent": intent.id})
    asked_alike("a dispute", asked["dispute"])
    say("a dispute", (found.data[0].status, found.data[0].amount), ("needs_response", 5000))

    back = {"payment_intent": intent.id, "amount": 1500, "metadata": {"reference": "rfd-1"}}
    refund = own.v1.refunds.create(back, {"idempotency_key": asked["refund"]["key"]})
    asked_alike("a refund", asked["refund"])
    say("a refund asked for twice", (refund.id, refund.status), (facts["refund"], "succeeded"))
    refunds = own.v1.refunds.list({"limit": 100, "payment_intent": intent.id})
    asked_alike("refunds", asked["refunds"])
    say("refunds", [one.metadata["reference"] for one in refunds.data], ["rfd-1"])

    balance = own.v1.balance.retrieve()
    asked_alike("a balance", asked["balance"])
    say("a balance", [part.currency for part in balance.available], ["ngn"])

    unknown = lambda: own.v1.payment_intents.retrieve("pi_0")
    say("an unknown payment", refusal(unknown), "InvalidRequestError")
    wrong = lambda: client("sk_test_another").v1.balance.retrieve()
    say("another key", refusal(wrong), "AuthenticationError")
    for kind, name in [("decline", "CardError"), ("rate_limit", "RateLimitError")]:
        call = "POST /v1/checkout/sessions"
        fault = {"provider": "stripe", "call": call, "kind": kind, "times": 1}
        requests.post(f"{facts['control']}/_sim/faults", json=fault).raise_for_status()
        say(kind, refusal(lambda: own.v1.checkout.sessions.create(order)), name)

    webhooks()


def webhooks():
    body, header, secret = facts["webhook"]["body"], facts["webhook"]["signature"], facts["secret"]

    def read(body, header, secret):
        return stripe.Webhook.construct_event(body, header, secret)

    event = read(body, header, secret)
    say("a webhook", (event.type, event.data.object.id), (facts["kind"], facts["session"]))
    for question, arguments in [
        ("the same, changed", (body.replace("5000", "5001"), header, secret)),
        ("the same, another secret", (body, header, "whsec_another")),
        ("the same, of another time", (body, re.sub(r"t=\d+", "t=1", header), secret)),
    ]:
        say(question, refusal(lambda: read(*arguments)), "SignatureVerificationError")
    now = int(time.time())
    signature = stripe.WebhookSignature._compute_signature(f"{now}.{body}", secret)
    told = {"body": body, "signature": f"t={now},v1={signature}"}
    file.with_name("signed.json").write_text(json.dumps(told))


def double():
    """Lets somebody pay at localstripe; our side looks at it afterwards."""
    for _ in range(100):
        try:
            requests.get(f"{facts['base']}/v1/balance", auth=("sk_test_1", ""))
            break
        except requests.ConnectionError:
            time.sleep(0.1)
    hook = {"url": facts["hook"], "secret": facts["secret"], "events": ["payment_intent.succeeded"]}
    requests.post(f"{facts['base']}/_config/webhooks/verza", json=hook).raise_for_status()
    own = client("sk_test_1")
    card = {"number": "4242424242424242", "exp_month": 12, "exp_year": 2040, "cvc": "123"}
    method = own.v1.payment_methods.create({"type": "card", "card": card})
    customer = own.v1.customers.create({"name": "A payer"})
    own.v1.payment_methods.attach(method.id, {"customer": customer.id})
    intent = own.v1.payment_intents.create(
        {
            "amount": 5000,
            "currency": "eur",
            "customer": customer.id,
            "payment_method": method.id,
            "metadata": {"reference": facts["reference"]},
        }
    )
    own.v1.payment_intents.confirm(intent.id)
    file.with_name("paid.json").write_text(json.dumps({"intent": intent.id}))


http = Listener()
{"library": library, "double": double}[sys.argv[1]]()
sys.exit(failed)
