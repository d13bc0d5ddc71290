"""Email and password: register, confirm, reset, log in; what mails say, what is stored, and what strangers learn."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from argon2 import PasswordHasher
from people import PASSWORD, House, MailServer, house, link_of, mail_server

from doorleaf.access.identity import accounts as accounts_module
from doorleaf.access.identity import recent as recent_module
from doorleaf.access.identity.lockout import OF_PLACE, Attempt
from doorleaf.access.identity.mail import Mail
from doorleaf.errors import DoorleafError

EMAIL = "ann@example.com"
ON = ("api-key", "local-userpass")
WRONG = (401, {"error": "invalid username/password", "error_code": "InvalidPassword"})


@pytest.fixture
def home(tmp_path: Path) -> Iterator[House]:
    with house(tmp_path / "data", providers=ON) as running:
        yield running


@pytest.fixture
def post() -> Iterator[MailServer]:
    with mail_server() as server:
        yield server


@pytest.fixture
def mailing(tmp_path: Path, post: MailServer) -> Iterator[House]:
    with house(
        tmp_path / "data",
        providers=ON,
        smtp_url=post.url,
        mail_from="Doorleaf <door@example.com>",
        email_confirmation_url="https://app.example/confirm",
        reset_password_url="https://app.example/reset?lang=en",
    ) as running:
        yield running


def headers(email: str = EMAIL, password: str = PASSWORD) -> dict[str, str]:
    return {"email": email, "password": password}


def login(home: House, email: str = EMAIL, password: str = PASSWORD) -> tuple[int, Any]:
    answer = home.login("local-userpass", username=email, password=password)
    return answer.status, answer.json


def refusal(home: House, coroutine: Any) -> tuple[int, str, str]:
    with pytest.raises(DoorleafError) as caught:
        home.run(coroutine)
    return caught.value.status, caught.value.code, caught.value.message


def spread(mails: MailServer, home: House) -> Any:
    """Let the application's loop run until a mail has come."""

    async def wait() -> Any:
        return await asyncio.to_thread(mails.next)

    return home.run(wait())


# --- registering -----------------------------------------------------------------------------------------------------


def test_an_account_is_confirmed_by_mail(mailing: House, post: MailServer) -> None:
    accounts = mailing.directory.accounts
    mailing.run(accounts.register(EMAIL, PASSWORD))
    mail = spread(post, mailing)
    assert (mail["To"], mail["From"], mail["Subject"]) == (EMAIL, "Doorleaf <door@example.com>", "Confirm your address")
    page, tokens = link_of(mail)
    assert page == "https://app.example/confirm"
    assert login(mailing) == (401, {"error": "confirmation required", "error_code": "AuthError"})
    assert login(mailing, password="wrong horse") == WRONG
    assert not mailing.lets_in(headers())
    assert PASSWORD not in mail.as_string()
    mailing.run(accounts.confirm(**tokens))
    assert login(mailing)[0] == 200
    assert mailing.lets_in(headers())
    assert refusal(mailing, accounts.confirm(**tokens)) == (400, "UserpassTokenInvalid", "invalid token data")
    assert refusal(mailing, accounts.send_confirmation(EMAIL)) == (400, "UserAlreadyConfirmed", "already confirmed")


def test_a_mail_can_be_sent_again_and_the_one_before_is_void(mailing: House, post: MailServer) -> None:
    accounts = mailing.directory.accounts
    mailing.run(accounts.register(EMAIL, PASSWORD))
    _, first = link_of(spread(post, mailing))
    mailing.run(accounts.send_confirmation(EMAIL))
    _, second = link_of(spread(post, mailing))
    assert refusal(mailing, accounts.confirm(**first))[1] == "UserpassTokenInvalid"
    mixed = {"token": first["token"], "token_id": second["token_id"]}
    assert refusal(mailing, accounts.confirm(**mixed))[1] == "UserpassTokenInvalid"
    mailing.run(accounts.confirm(**second))
    assert login(mailing)[0] == 200


def test_a_password_is_reset_by_mail(mailing: House, post: MailServer) -> None:
    accounts = mailing.directory.accounts
    mailing.account()
    bearer = mailing.bearer("local-userpass", username=EMAIL, password=PASSWORD)
    assert mailing.lets_in(bearer)
    assert mailing.lets_in(headers())
    mailing.run(accounts.send_reset(EMAIL))
    page, tokens = link_of(spread(post, mailing))
    assert page == "https://app.example/reset"
    assert refusal(mailing, accounts.confirm(**tokens))[1] == "UserpassTokenInvalid", "a token is for one end"
    assert refusal(mailing, accounts.reset(**tokens, password="short"))[1] == "BadRequest"
    mailing.run(accounts.reset(**tokens, password="another horse"))
    assert not mailing.lets_in(bearer), "sessions end with the password that began them"
    assert not mailing.lets_in(headers())
    assert login(mailing) == WRONG
    assert login(mailing, password="another horse")[0] == 200
    assert refusal(mailing, accounts.reset(**tokens, password="third horse"))[1] == "UserpassTokenInvalid"


def test_mail_tokens_end_after_30_minutes_and_are_stored_hashed(
    mailing: House, post: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts = mailing.directory.accounts
    mailing.account()
    mailing.run(accounts.send_reset(EMAIL))
    _, tokens = link_of(spread(post, mailing))
    stored = mailing.run(accounts._system.find("mail_tokens", {}))
    assert len(stored) == 1
    assert stored[0]["_id"] == tokens["token_id"]
    assert tokens["token"] not in str(stored)
    now = accounts._clock()
    monkeypatch.setattr(accounts, "_clock", lambda: now + 1801)
    assert refusal(mailing, accounts.reset(**tokens, password="another horse"))[1] == "UserpassTokenInvalid"
    mailing.run(accounts.sweep())
    assert mailing.run(accounts._system.find("mail_tokens", {})) == []


def test_a_mail_server_that_refuses_at_first_is_tried_again(
    mailing: House, post: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("doorleaf.access.identity.mail.PAUSES", (0.0, 0.0))
    post.refusals = 2
    mailing.run(mailing.directory.accounts.register(EMAIL, PASSWORD))
    assert spread(post, mailing)["To"] == EMAIL


def test_a_mail_server_that_is_away_is_logged_without_the_link(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("doorleaf.access.identity.mail.PAUSES", (0.0, 0.0))

    async def scenario() -> None:
        mail = Mail("smtp://user:geheim@127.0.0.1:1", "door@example.com")
        mail.send(EMAIL, "Subject", "https://app.example/?token=secret-token")
        await mail.stop()

    asyncio.run(scenario())
    assert "a mail could not be sent: ConnectionRefusedError" in caplog.text
    for secret in ("geheim", "secret-token", EMAIL):
        assert secret not in caplog.text


def test_a_password_goes_to_no_mail_server_elsewhere_without_encryption(monkeypatch: pytest.MonkeyPatch) -> None:
    with mail_server() as post:
        monkeypatch.setattr("doorleaf.access.identity.mail.is_loopback", lambda host: False)
        message = EmailMessage()
        message["To"], message["From"] = EMAIL, "door@example.com"
        with pytest.raises(ValueError, match="no encrypted connection"):
            Mail(post.url, "door@example.com")._converse(message)
        assert not any(line.startswith("AUTH") for line in post.heard)


@pytest.mark.parametrize("auto_confirm", [False, True])
def test_without_a_mail_server(tmp_path: Path, auto_confirm: bool) -> None:
    with house(tmp_path / "data", providers=ON, auto_confirm=auto_confirm) as home:
        accounts = home.directory.accounts
        home.run(accounts.register(EMAIL, PASSWORD))
        assert login(home)[0] == (200 if auto_confirm else 401)
        assert len(home.run(home.directory.listed())) == auto_confirm
        assert [account["_id"] for account in home.run(accounts.pending())] == ([] if auto_confirm else [EMAIL])
        if not auto_confirm:
            user_id = home.run(accounts.confirm_by_administrator(EMAIL))
            assert login(home)[1]["user_id"] == user_id
        by_hand = (accounts.send_reset,) if auto_confirm else (accounts.send_reset, accounts.send_confirmation)
        for call in by_hand:
            status, code, message = refusal(home, call("nobody@example.com"))
            assert (status, code) == (400, "BadRequest")
            assert "by an administrator" in message
        if auto_confirm:
            told = refusal(home, accounts.send_confirmation("nobody@example.com"))
            assert told == (400, "UserAlreadyConfirmed", "already confirmed")


def test_an_address_has_one_account(home: House) -> None:
    accounts = home.directory.accounts
    home.run(accounts.register(EMAIL, PASSWORD))
    assert refusal(home, accounts.register(EMAIL, PASSWORD)) == (409, "AccountNameInUse", "name already in use")
    assert refusal(home, accounts.create(EMAIL, PASSWORD))[1] == "AccountNameInUse"
    home.account("Ann@example.com", "a password of her own")
    assert login(home, "Ann@example.com", "a password of her own")[0] == 200
    assert login(home, "ANN@example.com", "a password of her own") == WRONG


def test_of_many_registrations_at_once_one_succeeds(home: House) -> None:
    accounts = home.directory.accounts

    async def together() -> list[Any]:
        calls = (accounts.register(EMAIL, f"password {number}") for number in range(4))
        return await asyncio.gather(*calls, return_exceptions=True)

    results = home.run(together())
    assert sorted(str(result) for result in results) == ["None", *["name already in use"] * 3]


@pytest.mark.parametrize(
    "email",
    ["", "@example.com", "ann@", "ann@@example.com", "a@b@c.de", "ann @example.com", "ann@example.com\r\nBcc: x",
     "ann@example.com\0", "ａnn@example.com", "ann@.example", "ann@example.", "<ann@example.com>", "a" * 250 + "@b.de",
     {"$ne": ""}, None, 5, "ann\u200b@example.com", "\ud800@example.com"],
)  # fmt: skip
def test_addresses_that_are_none(home: House, email: Any) -> None:
    status, code, _ = refusal(home, home.directory.accounts.register(email, PASSWORD))
    assert (status, code) in ((400, "BadRequest"), (400, "InvalidParameter"))
    assert home.run(home.directory.accounts.pending()) == []


@pytest.mark.parametrize(
    "name",
    ["аnn@example.com", "ann@exаmple.com", "аnn", "ann@example.соm", "οnn@example.com", "соре@example.com", "ара",
     "ann@соре.com", "νικ@example.com", "ivanиван@example.com", "annα@example.com", "ann\u0338@example.com",
     "𝒶nn@example.com", "ann@ехамрӏе.com", "64b7f0000000000000000001", "64B7F000000000000000000A",
     "漢字иван@example.com", "ΒΟΒ@example.com", "ВОВ", "օօօ@example.com", "ᎪᎳᎬ@example.com", "ꓮꓠꓠ@example.com",
     "ⲢⲞⲢ@example.com", "Һоре", "ann@ΝΙΚ.com"],
)  # fmt: skip
def test_names_that_look_like_others_are_refused(home: House, name: str) -> None:
    status, code, _ = refusal(home, home.directory.accounts.register(name, PASSWORD))
    assert (status, code) == (400, "BadRequest")
    assert home.run(home.directory.accounts.pending()) == []


@pytest.mark.parametrize(
    "name",
    ["ann@example.com", "o'hara+shop@sub.example.co", "иван@пример.рф", "ivan.иван@example.com", "jürgen@münchen.de",
     "νίκος@παράδειγμα.ελ", "漢字かなカナ@例え.jp", "tokyo東京@example.jp", "홍길동@example.kr", "נועם@example.il",
     "ԱՆԻ@example.am", "ᏣᎳᎩ@example.com", "გიორგი@example.ge", "СЕРГЕЙ@example.com", "ΓΙΩΡΓΟΣ@example.gr",
     "gilfoyle", "user-6f2c", "ann2@example.com", "64b7f000"],
)  # fmt: skip
def test_names_that_are_taken_as_they_are(home: House, name: str) -> None:
    home.run(home.directory.accounts.create(name, PASSWORD))
    assert login(home, name)[0] == 200
    account = home.run(home.directory.accounts.find(name))
    assert account is not None
    assert account["_id"] == name


def test_who_is_confirmed_by_mail_needs_an_address(mailing: House) -> None:
    status, code, _ = refusal(mailing, mailing.directory.accounts.register("gilfoyle", PASSWORD))
    assert (status, code) == (400, "BadRequest")


@pytest.mark.parametrize(("password", "fits"), [("12345", 0), ("123456", 1), ("x" * 128, 1), ("x" * 129, 0)])
def test_lengths_of_passwords(home: House, password: str, fits: bool) -> None:
    if fits:
        home.account(EMAIL, password)
        assert login(home, EMAIL, password)[0] == 200
        assert login(home, EMAIL, password + "x") == WRONG
    else:
        said = refusal(home, home.directory.accounts.register(EMAIL, password))
        assert said == (400, "BadRequest", "password must be between 6 and 128 characters")


def test_the_shortest_password_is_a_setting(tmp_path: Path) -> None:
    with house(tmp_path / "data", providers=ON, password_min_length=12) as home:
        said = refusal(home, home.directory.accounts.register(EMAIL, "12345678901"))
        assert said[2] == "password must be between 12 and 128 characters"


def test_of_a_password_an_argon2id_hash_is_stored(home: House) -> None:
    home.account()
    (stored,) = home.run(home.directory.accounts._system.find("accounts", {}))
    assert stored["hash"].startswith("$argon2id$")
    assert PASSWORD not in str(stored)
    shown = home.run(home.directory.accounts.find(EMAIL))
    assert "hash" not in shown
    assert stored["hash"] not in str(home.run(home.directory.listed()))


def test_a_hash_of_less_work_is_renewed_at_the_next_login(home: House) -> None:
    home.account()
    system = home.directory.accounts._system
    weak = PasswordHasher(time_cost=1, memory_cost=1024, parallelism=1).hash(PASSWORD)
    home.run(system.update("accounts", {"_id": EMAIL}, {"$set": {"hash": weak}}))
    assert login(home)[0] == 200
    (stored,) = home.run(system.find("accounts", {}))
    assert stored["hash"] != weak
    assert login(home)[0] == 200


# --- who strangers are -----------------------------------------------------------------------------------------------


def test_unknown_wrong_and_locked_are_answered_alike(home: House) -> None:
    home.stop_clock_of_lockout()
    home.account()
    answers = {
        "wrong": home.login("local-userpass", username=EMAIL, password="wrong horse"),
        "unknown": home.login("local-userpass", username="bob@example.com", password=PASSWORD),
        "by email": home.login("local-userpass", email="bob@example.com", password=PASSWORD),
        "empty user": home.login("local-userpass", username="x", password="y"),
        "too long": home.login("local-userpass", username=EMAIL, password="x" * 5000),
    }
    for _ in range(OF_PLACE.free):
        home.login("local-userpass", username=EMAIL, password="wrong horse")
        home.login("local-userpass", username="bob@example.com", password="wrong horse")
    answers["locked"] = home.login("local-userpass", username=EMAIL, password=PASSWORD)
    answers["locked unknown"] = home.login("local-userpass", username="bob@example.com", password=PASSWORD)
    for name, answer in answers.items():
        assert (answer.status, answer.json) == WRONG, name
        assert set(answer.headers) == {"content-type", "content-length", "x-request-id"}, name
    for email in (EMAIL, "bob@example.com"):
        answer = home.ask(headers(email))
        assert answer.status == 401
        assert answer.json["error_code"] == "InvalidSession"


def test_every_refused_password_costs_the_same_work(home: House, monkeypatch: pytest.MonkeyPatch) -> None:
    home.stop_clock_of_lockout()
    home.account()
    accounts = home.directory.accounts
    worked: list[str] = []
    real = accounts._passwords._matches

    def matches(hashed: str, password: str) -> bool:
        worked.append(hashed[:30])
        return real(hashed, password)

    monkeypatch.setattr(accounts._passwords, "_matches", matches)
    for email in (EMAIL, "bob@example.com"):
        for _ in range(OF_PLACE.free + 2):
            assert login(home, email, "wrong horse") == WRONG
    assert len(worked) == 2 * (OF_PLACE.free + 2)
    assert len(set(worked)) == 1, "the same parameters, whether there is an account or not"


@pytest.mark.parametrize("body", [{}, {"username": EMAIL}, {"password": PASSWORD}, {"username": "", "password": ""}])
def test_half_a_login(home: House, body: dict[str, str]) -> None:
    answer = home.login("local-userpass", **body)
    assert (answer.status, answer.json["error_code"]) == (400, "InvalidParameter")


@pytest.mark.parametrize("value", [{"$ne": ""}, {"$gt": ""}, ["x"], 5, True, "\ud800"])
@pytest.mark.parametrize("name", ["username", "password"])
def test_operators_are_no_names(home: House, name: str, value: Any) -> None:
    home.account()
    body = {"username": EMAIL, "password": PASSWORD, name: value}
    answer = home.app.call("POST", "/auth/providers/local-userpass/login", json.dumps(body).encode())
    assert (answer.status, answer.json["error_code"]) == (400, "InvalidParameter")


# --- lock-out --------------------------------------------------------------------------------------------------------


def test_many_guesses_at_once_count_as_many(home: House) -> None:
    home.stop_clock_of_lockout()
    home.account()
    accounts = home.directory.accounts

    async def guess(number: int) -> DoorleafError:
        with pytest.raises(DoorleafError) as caught:
            await accounts.log_in(EMAIL, f"guess {number}", "192.0.2.1")
        return caught.value

    async def together() -> list[DoorleafError]:
        return await asyncio.gather(*(guess(number) for number in range(14)))

    assert {error.code for error in home.run(together())} == {"InvalidPassword"}
    failures = home.run(accounts._system.find("login_failures", {}))
    assert [place["failures"] for place in failures] == [OF_PLACE.free] * 2, "the place's and the account's"
    locked_out = home.run(accounts.lockout.standing(Attempt(EMAIL, "192.0.2.1")))
    assert locked_out.locked


def test_too_many_logins_at_once_are_told_to_wait(home: House) -> None:
    accounts = home.directory.accounts

    async def together() -> list[str]:
        async def guess() -> str:
            with pytest.raises(DoorleafError) as caught:
                await accounts.log_in(EMAIL, "guess", "")
            return caught.value.code

        return await asyncio.gather(*(guess() for _ in range(accounts_module.AT_ONCE + 4)))

    codes = home.run(together())
    assert codes.count("TooManyRequests") == 4
    assert accounts._turns == {}


# --- credentials with every request ----------------------------------------------------------------------------------


def test_a_password_in_headers_costs_argon2_once(home: House, monkeypatch: pytest.MonkeyPatch) -> None:
    user_id = home.account()
    accounts = home.directory.accounts
    assert home.lets_in(headers())
    assert home.who(headers()).id == user_id
    monkeypatch.setattr(accounts._passwords, "_matches", lambda *args: pytest.fail("argon2 again"))
    assert home.lets_in(headers())
    monkeypatch.setattr(recent_module, "FRESH_SECONDS", 0.0)
    assert home.lets_in(headers()), "the account is looked at again, the password is not"


def test_a_password_that_was_right_is_worth_nothing_once_it_changed(
    home: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recent_module, "FRESH_SECONDS", 0.0)
    user_id = home.account()
    accounts = home.directory.accounts
    assert home.lets_in(headers())
    system = accounts._system
    other = PasswordHasher().hash("another horse")
    home.run(system.update("accounts", {"_id": EMAIL}, {"$set": {"hash": other, "version": "elsewhere"}}))
    assert not home.lets_in(headers())
    assert home.lets_in(headers(password="another horse"))
    home.run(home.directory.set_disabled(user_id, True))
    assert not home.lets_in(headers(password="another horse"))
    answer = home.login("local-userpass", username=EMAIL, password="another horse")
    assert (answer.status, answer.json["error_code"]) == (401, "UserDisabled")
    home.run(home.directory.set_disabled(user_id, False))
    assert home.lets_in(headers(password="another horse"))
    home.run(home.directory.delete(user_id))
    assert not home.lets_in(headers(password="another horse"))
    assert login(home, password="another horse") == WRONG
    assert home.run(system.find("accounts", {})) == []
    assert home.run(system.find("identities", {})) == []


def test_no_secret_reaches_the_log(home: House, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    home.account()
    login(home)
    login(home, password="wrong horse")
    home.ask(headers())
    home.ask(headers(password="wrong horse"))
    for secret in (PASSWORD, "wrong horse", "$argon2id"):
        assert secret not in caplog.text


def test_an_unconfirmed_account_can_be_deleted(home: House) -> None:
    accounts = home.directory.accounts
    home.run(accounts.register(EMAIL, PASSWORD))
    user_id = home.run(home.directory.user_id(EMAIL))
    home.run(home.directory.delete(user_id))
    assert refusal(home, home.directory.user_id(EMAIL)) == (404, "UserNotFound", "user not found")
    home.run(accounts.register(EMAIL, PASSWORD))
