"""Who is let in, and who is not: keys in a file, and JSON web tokens."""

import hmac
import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from streamrec.services.http.access import Access, Caller
from streamrec.services.http.keys_file import (
    KeysFile,
    KeysFileError,
    create_key,
    read_keys,
    revoke_key,
)
from streamrec.services.http.problems import Problem
from streamrec.services.http.rates import Rates
from streamrec.services.http.tokens import TokenKeyError, Tokens, tokens_of

SECRET = "0123456789abcdef" * 4  # long enough for the other algorithms too
NOW = int(time.time())


def bearer(key: str) -> dict[bytes, bytes]:
    return {b"authorization": b"Bearer " + key.encode()}


def refused(access: Access, headers: dict[bytes, bytes], scope: str = "clicks") -> int:
    with pytest.raises(Problem) as caught:
        access.caller(headers, scope)
    assert SECRET not in caught.value.detail
    return caught.value.status


def test_a_key_opens_what_its_scopes_say(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    key = create_key(path, "shop", ["clicks", "topics/*"])
    access = Access(KeysFile(path))
    for headers in (bearer(key), {b"x-api-key": key.encode()}):
        assert access.caller(headers, "clicks").name == "shop"
        assert access.caller(headers, "topics/orders").name == "shop"
        assert refused(access, headers, "impressions") == 403
    assert refused(access, {}) == 401
    assert refused(access, bearer(key[:-1])) == 401
    assert refused(access, {b"authorization": b"Basic " + key.encode()}) == 401


def test_the_file_holds_no_key_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    key = create_key(path, "shop", ["clicks"])
    assert key not in path.read_text() and len(key) > 40
    assert path.stat().st_mode & 0o077 == 0


def test_keys_that_are_made_and_revoked_at_once_are_all_as_was_said(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    for number in range(8):
        create_key(path, f"old{number}", ["clicks"])
    with ThreadPoolExecutor(16) as pool:
        made = pool.map(lambda n: create_key(path, f"new{n}", ["clicks"]), range(8))
        gone = pool.map(lambda n: revoke_key(path, f"old{n}"), range(8))
        assert len([*made, *gone]) == 16
    assert {key.name for key in read_keys(path)} == {f"new{number}" for number in range(8)}


def test_a_running_server_learns_of_new_and_of_revoked_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = [100.0]
    monkeypatch.setattr("streamrec.services.http.keys_file.time.monotonic", lambda: now_s[0])
    path = tmp_path / "keys"
    first = create_key(path, "first", ["clicks"])
    access = Access(KeysFile(path))
    second = create_key(path, "second", ["clicks"])
    revoke_key(path, "first")
    now_s[0] += 1.1
    assert access.caller(bearer(second), "clicks").name == "second"
    assert refused(access, bearer(first)) == 401


def test_a_file_that_breaks_leaves_the_keys_as_they_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = [100.0]
    monkeypatch.setattr("streamrec.services.http.keys_file.time.monotonic", lambda: now_s[0])
    path = tmp_path / "keys"
    key = create_key(path, "shop", ["clicks"])
    told: list[str] = []
    access = Access(KeysFile(path, told.append))
    path.write_text("{}\n")
    now_s[0] += 1.1
    assert access.caller(bearer(key), "clicks").name == "shop"
    assert "line 1" in told[0]
    path.unlink()  # on purpose: nobody is let in
    now_s[0] += 1.1
    assert refused(access, bearer(key)) == 401


def test_a_key_ends_when_it_was_said_to(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    key = create_key(path, "shop", ["clicks"], expires_s=NOW - 1)
    assert refused(Access(KeysFile(path)), bearer(key)) == 401


@pytest.mark.parametrize(
    ("name", "scopes", "expected"),
    [
        ("a b", ["clicks"], "name expected letters"),
        ("shop", [], "at least one"),
        ("shop", ["../clicks"], "scope expected a name"),
        ("there", ["clicks"], "no key has"),
    ],
)
def test_a_key_that_cannot_be_made_is_refused(
    tmp_path: Path, name: str, scopes: list[str], expected: str
) -> None:
    path = tmp_path / "keys"
    create_key(path, "there", ["clicks"])
    with pytest.raises(KeysFileError, match=expected):
        create_key(path, name, scopes)
    assert [key.name for key in read_keys(path)] == ["there"]


def test_keys_in_a_query_are_taken_if_they_only_write(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    writes = create_key(path, "pixel", ["clicks", "topics/orders"])
    reads = create_key(path, "page", ["clicks", "recommendations"])
    access = Access(KeysFile(path))
    assert access.caller({}, "clicks", writes).name == "pixel"
    with pytest.raises(Problem, match="in a header") as caught:
        access.caller({}, "clicks", reads)
    assert caught.value.status == 403
    assert not Caller("all", frozenset({"*"})).only_writes


def token(key: Any = SECRET, algorithm: str = "HS256", **claims: Any) -> str:
    found = {"sub": "shop", "exp": NOW + 3_600, "scope": "clicks topics/*"} | claims
    return jwt.encode({k: v for k, v in found.items() if v is not None}, key, algorithm)


def unsigned() -> str:
    return jwt.encode({"exp": NOW + 3_600, "scope": "clicks"}, "", "none")


def altered() -> str:
    head, body, signature = token().split(".")
    other = token(scope="*").split(".")[1]
    assert other != body
    return f"{head}.{other}.{signature}"


def test_a_token_opens_what_its_scopes_say() -> None:
    access = Access(tokens=Tokens(SECRET, "HS256"))
    for _ in range(2):  # the second time it is known
        assert access.caller(bearer(token()), "topics/orders").name == "shop"
        assert refused(access, bearer(token()), "recommendations") == 403


@pytest.mark.parametrize(
    "bad",
    [
        token(exp=NOW - 60),
        token(exp=None),
        token(exp="never"),
        token(nbf=NOW + 3_600),
        token(key="another secret of thirty-two bytes"),
        token(algorithm="HS512"),
        token(scope=["clicks"]),
        unsigned(),
        altered(),
        "a.b.c",
        "..",
    ],
    # Tokens hold the time, and several workers must have the same names.
    ids=[
        *("expired", "without an end", "an end that is none", "not yet", "another secret"),
        *("another algorithm", "scopes that are no text", "unsigned", "altered", "none", "empty"),
    ],
)
def test_a_token_that_is_not_ours_or_not_valid_is_refused(bad: str) -> None:
    assert refused(Access(tokens=Tokens(SECRET, "HS256")), bearer(bad)) == 401


def test_a_token_is_for_one_audience_of_one_issuer() -> None:
    access = Access(tokens=Tokens(SECRET, "HS256", "ingress", "idp"))
    assert access.caller(bearer(token(aud=["ingress"], iss="idp")), "clicks").name == "shop"
    for claims in ({}, {"aud": "api", "iss": "idp"}, {"aud": "ingress", "iss": "me"}):
        assert refused(access, bearer(token(**claims))) == 401


def test_a_known_token_ends_too(monkeypatch: pytest.MonkeyPatch) -> None:
    access = Access(tokens=Tokens(SECRET, "HS256"))
    good = token()
    access.caller(bearer(good), "clicks")
    monkeypatch.setattr("streamrec.services.http.access.time.time", lambda: NOW + 7_200.0)
    assert refused(access, bearer(good)) == 401


def pem_of(key: Any) -> bytes:
    found: bytes = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return found


def test_public_keys_read_what_their_private_keys_signed(tmp_path: Path) -> None:
    for algorithm, key in (
        ("RS256", rsa.generate_private_key(65_537, 2_048)),
        ("ES256", ec.generate_private_key(ec.SECP256R1())),
    ):
        path = tmp_path / "key.pem"
        path.write_bytes(pem_of(key))
        access = Access(tokens=tokens_of(algorithm, None, path, None, None))  # type: ignore[arg-type]  # one of its literals
        assert access.caller(bearer(token(key, algorithm)), "clicks").name == "shop"
        # The public key as if it were a secret: the algorithm is not the token's to choose.
        head = jwt.utils.base64url_encode(b'{"alg":"HS256","typ":"JWT"}')
        body = jwt.utils.base64url_encode(json.dumps({"exp": NOW + 3_600}).encode())
        forged = hmac.digest(pem_of(key), head + b"." + body, "sha256")
        text = b".".join([head, body, jwt.utils.base64url_encode(forged)]).decode()
        assert refused(access, bearer(text)) == 401


def test_a_secret_that_is_short_and_a_key_that_is_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TokenKeyError, match="at least 32 bytes"):
        Tokens("short", "HS256")
    path = tmp_path / "key.pem"
    path.write_bytes(b"no key")
    with pytest.raises(TokenKeyError, match="key expected one for RS256"):
        tokens_of("RS256", None, path, None, None)
    with pytest.raises(TokenKeyError, match="public key file"):
        tokens_of("ES256", SECRET, None, None, None)
    assert tokens_of("HS256", None, None, None, None) is None


def test_a_bucket_fills_again_and_old_ones_are_forgotten() -> None:
    rates = Rates(per_s=10.0, burst=5.0, buckets=2)
    assert [rates.wait_s("a", 1.0) for _ in range(6)] == [0, 0, 0, 0, 0, 1]
    assert [rates.wait_s("a", 1.2) for _ in range(3)] == [0, 0, 1]
    assert rates.wait_s("a", 9.0, cost=500.0) == 0  # as much as there can be
    assert rates.wait_s("a", 9.0) == 1
    assert rates.wait_s("b", 9.0) == rates.wait_s("c", 9.0) == 0
    assert rates.wait_s("a", 9.0) == 0  # forgotten, as two others came later
