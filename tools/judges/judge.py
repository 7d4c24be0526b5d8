"""What PyPI's sd-jwt says of our presentation. Each line: verdict, judge, question."""

import json
import sys
from pathlib import Path

from jwcrypto.jwk import JWK
from sd_jwt.verifier import SDJWTVerifier

folder = Path(sys.argv[1])
facts = json.loads((folder / "facts.json").read_text())
shown = (folder / "presentation.txt").read_text().strip()
key = JWK.from_json(json.dumps(facts["issuerJwk"]))


def ask(text, audience, nonce):
    try:
        verifier = SDJWTVerifier(text, lambda issuer, header: key, audience, nonce)
        return f"accepted, kind {verifier.get_verified_payload().get('kind')}"
    except Exception as error:  # Whatever it raises is its refusal.
        return f"refused ({error})"


failed = False
for question, arguments, expected in [
    ("a presentation", (shown, facts["audience"], facts["nonce"]), "accepted, kind diploma"),
    ("the same, other audience", (shown, "other", facts["nonce"]), "refused"),
    ("the same, other nonce", (shown, facts["audience"], "other"), "refused"),
    ("the same, changed", (shown.replace("~W", "~X"), facts["audience"], facts["nonce"]), "refused"),
]:
    said = ask(*arguments)
    right = said.startswith(expected)
    failed = failed or not right
    print(f"{'as expected' if right else 'UNEXPECTED '}  {'PyPI sd-jwt':24} {question}: {said}")
sys.exit(failed)
