"""What botocore signs where we have signed. Each line: verdict, judge, question."""

import datetime
import json
import sys
from pathlib import Path
from unittest import mock
from urllib.parse import parse_qs, urlsplit

import boto3
import botocore.auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

facts = json.loads((Path(sys.argv[1]) / "presigned.json").read_text())
credentials = Credentials(facts["accessKey"], facts["secretKey"])
when = datetime.datetime.strptime(facts["date"], "%Y%m%dT%H%M%SZ")
failed = False


def say(question, ours, theirs):
    global failed
    failed |= ours != theirs
    verdict = "as expected" if ours == theirs else "UNEXPECTED "
    print(f"{verdict}  {'boto3 ' + boto3.__version__:24} {question}: {theirs[:16]}…")


class Then(datetime.datetime):
    """The moment of our signature."""

    @classmethod
    def utcnow(cls):
        return when

    @classmethod
    def now(cls, tz=None):
        return when.replace(tzinfo=tz)


def at_that_time():
    if hasattr(botocore.auth, "get_current_datetime"):
        return mock.patch.object(botocore.auth, "get_current_datetime", lambda *_, **__: when)
    return mock.patch.object(botocore.auth.datetime, "datetime", Then)


def presigned(one):
    bare = one["url"].split("?")[0]
    given = parse_qs(urlsplit(one["url"]).query)
    request = AWSRequest(method=one["method"], url=bare, headers=dict(one["headers"]))
    # A browser and curl send it by themselves; that it is signed binds the size.
    request.headers["host"] = urlsplit(one["url"]).netloc
    expires = int(given["X-Amz-Expires"][0])
    signer = botocore.auth.S3SigV4QueryAuth(credentials, "s3", facts["region"], expires=expires)
    with at_that_time():
        signer.add_auth(request)
    theirs = parse_qs(urlsplit(request.url).query)
    return given["X-Amz-Signature"][0], theirs["X-Amz-Signature"][0]


for name in ["put", "putEncrypted"]:
    say(f"a presigned address ({name})", *presigned(facts[name]))
altered = dict(facts["put"], headers={**facts["put"]["headers"], "content-length": "1"})
ours, theirs = presigned(altered)
say("the same with another length", "another signature", "another signature" if ours != theirs else theirs)

fields = facts["post"]
request = AWSRequest(method="POST", url="http://unused.example")
request.context["timestamp"] = facts["date"]
signer = botocore.auth.S3SigV4PostAuth(credentials, "s3", facts["region"])
say("a presigned form", fields["x-amz-signature"], signer.signature(fields["policy"], request))
sys.exit(failed)
