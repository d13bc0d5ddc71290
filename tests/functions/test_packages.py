# ruff: noqa: E501  # a function is a line
"""Packages from npm as apps use them, unchanged: above all ``jsonwebtoken``, whose tokens others read and make."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import installed
import jwt
import orjson
import pytest
from asgi import Application, application
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from shop_app import endpoint, write

PACKAGES = (
    "jsonwebtoken@9.0.2", "jsonwebtoken-8@npm:jsonwebtoken@8.5.1", "lodash@4.17.21", "moment@2.30.1", "uuid@8.3.2",
    "date-fns@2.30.0", "crypto-js@4.2.0", "xml2js@0.6.2", "debug@4.3.7", "bcryptjs@2.4.3", "ajv@8.17.1", "qs@6.13.0",
)  # fmt: skip
TOKENS = """
  const named = { 8: require('jsonwebtoken-8'), 9: require('jsonwebtoken') };
  exports = (request) => {
    const { version, does, token, payload, key, options } = JSON.parse(request.body.text());
    try {
      if (does === 'sign') return { token: named[version].sign(payload, key, options) };
      return { payload: named[version].verify(token, key, options) };
    } catch (error) {
      return { error: error.name, message: error.message };
    }
  };
"""
FUNCTIONS = {
    "tokens": TOKENS,
    "others": """exports = async () => ({
      lodash: require('lodash').chunk([1, 2, 3], 2),
      moment: require('moment').utc('2024-05-06T07:08:09Z').add(1, 'day').format(),
      uuid: require('uuid').validate(require('uuid').v4()),
      dates: require('date-fns').addDays(new Date(0), 1).toISOString(),
      hashed: require('crypto-js').SHA256('a').toString(),
      xml: await require('xml2js').parseStringPromise('<a b="1"><c>é</c></a>'),
      debug: typeof require('debug')('x'),
      bcrypt: require('bcryptjs').compareSync('a', require('bcryptjs').hashSync('a', 4)),
      query: require('qs').parse('a[b]=1&a[c]=2'),
      checked: [{ a: 1 }, {}].map(new (require('ajv'))().compile({ type: 'object', required: ['a'] })),
    })""",
    "streamed": """const jws = require('jws');
      exports = () => new Promise((done, failed) => {
        const signing = jws.createSign({ header: { alg: 'HS256' }, payload: 'a payload', secret: 'a secret' });
        signing.on('error', failed).on('done', (token) => {
          jws.createVerify({ signature: token, algorithm: 'HS256', secret: 'a secret' }).on('done', (valid, told) => done({ valid, payload: told.payload }));
        });
      })""",
}  # fmt: skip


@pytest.fixture(scope="module")
def app(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Application]:
    modules = installed.npm(pytestconfig, tmp_path_factory, "packages-of-functions", *PACKAGES)
    folder = tmp_path_factory.mktemp("packages")
    write(folder / "app", {
        "root_config.json": {"app_id": "packages-abcde", "name": "packages"},
        "functions/config.json": [{"name": name, "run_as_system": True} for name in FUNCTIONS],
        "https_endpoints/config.json": [endpoint(f"/{name}", "POST", name) for name in FUNCTIONS],
        **{f"functions/{name}.js": source for name, source in FUNCTIONS.items()},
    })  # fmt: skip
    (folder / "app" / "functions" / "node_modules").symlink_to(modules / "node_modules")
    with application(folder / "data", app=folder / "app") as running:
        yield running


def ask(app: Application, name: str, **given: Any) -> Any:
    answer = app.call("POST", f"/endpoint/{name}", orjson.dumps(given))
    assert answer.status == 200, answer.body
    return answer.json


def pems(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> tuple[str, str]:
    private = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode()
    return private, key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


RSA_KEY = pems(rsa.generate_private_key(65537, 2048))
SECRET = "a secret of enough characters, for the longest of the hashes that there are"
KEYS = {
    **{f"HS{bits}": (SECRET, SECRET) for bits in (256, 384, 512)},
    **{f"{kind}{bits}": RSA_KEY for kind in ("RS", "PS") for bits in (256, 384, 512)},
    "ES256": pems(ec.generate_private_key(ec.SECP256R1())),
    "ES384": pems(ec.generate_private_key(ec.SECP384R1())),
    "ES512": pems(ec.generate_private_key(ec.SECP521R1())),
}


@pytest.mark.parametrize("version", [8, 9])
@pytest.mark.parametrize("algorithm", KEYS)
def test_tokens_of_jsonwebtoken_are_those_of_others(app: Application, algorithm: str, version: int) -> None:
    private, public = KEYS[algorithm]
    claims = {"sub": "é", "n": 5, "exp": int(time.time()) + 3600}
    token = ask(
        app, "tokens", version=version, does="sign", payload=claims, key=private, options={"algorithm": algorithm}
    )["token"]
    assert jwt.decode(token, public, algorithms=[algorithm]).items() >= claims.items()
    theirs = jwt.encode(claims, private, algorithm=algorithm)
    given: dict[str, Any] = {
        "version": version,
        "does": "verify",
        "key": public,
        "options": {"algorithms": [algorithm]},
    }
    assert ask(app, "tokens", token=theirs, **given) == {"payload": claims}
    head, body, signature = theirs.split(".")
    other = jwt.encode({**claims, "sub": "else"}, private, algorithm=algorithm).split(".")
    for wrong in (".".join((head, other[1], signature)), ".".join((head, body, other[2]))):
        assert ask(app, "tokens", token=wrong, **given) == {
            "error": "JsonWebTokenError",
            "message": "invalid signature",
        }
    late = jwt.encode({**claims, "exp": int(time.time()) - 3600}, private, algorithm=algorithm)
    assert ask(app, "tokens", token=late, **given) == {"error": "TokenExpiredError", "message": "jwt expired"}


@pytest.mark.parametrize("version", [8, 9])
def test_no_token_is_taken_by_another_algorithm_than_its_key_has(app: Application, version: int) -> None:
    claims = {"sub": "x"}
    given = {"version": version, "does": "verify", "key": RSA_KEY[1], "options": {}}
    unsigned = jwt.encode(claims, None, algorithm="none")  # type: ignore[arg-type]
    forged = ask(app, "tokens", version=8, does="sign", payload=claims, key=RSA_KEY[1], options={"algorithm": "HS256"})[
        "token"
    ]
    for token in (unsigned, forged):
        assert ask(app, "tokens", token=token, **given)["error"] == "JsonWebTokenError"
    short = pems(rsa.generate_private_key(65537, 1024))[0]
    refused = ask(app, "tokens", version=9, does="sign", payload=claims, key=short, options={"algorithm": "RS256"})
    assert refused["message"].startswith("secretOrPrivateKey has a minimum key size of 2048 bits")
    refused = ask(
        app, "tokens", version=9, does="sign", payload=claims, key=KEYS["ES384"][0], options={"algorithm": "ES256"}
    )
    assert refused["message"] == '"alg" parameter "ES256" requires curve "prime256v1".'


def test_tokens_as_streams(app: Application) -> None:
    assert ask(app, "streamed") == {"valid": True, "payload": "a payload"}


def test_other_packages_run_as_they_are(app: Application) -> None:
    assert ask(app, "others") == {
        "lodash": [[1, 2], [3]], "moment": "2024-05-07T07:08:09Z", "uuid": True, "dates": "1970-01-02T00:00:00.000Z",
        "hashed": "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb",
        "xml": {"a": {"$": {"b": "1"}, "c": ["é"]}}, "debug": "function", "checked": [True, False], "bcrypt": True, "query": {"a": {"b": "1", "c": "2"}},
    }  # fmt: skip
