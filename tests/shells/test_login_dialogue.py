"""However the bytes of a login are cut, each secret is answered at most once, and none after the end of the login."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crl.interactivesessions.shells.login import Answer, LoginDialogue, RefusalKind, Source
from crl.secrets import Secret

NONCE = b"0123456789abcdef0123456789abcdef"
FIRST, SECOND, PHRASE = Secret("first-password"), Secret("second-password"), Secret("the-passphrase")


def dialogue(**kwargs: object) -> LoginDialogue:
    options: dict[str, object] = {"passwords": (FIRST,), "passphrase": PHRASE, **kwargs}
    return LoginDialogue(NONCE, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "question",
    [
        b"user@host's password: ",
        b"\r\n(user@host) Password: ",
        b"Password: ",
        b"Password:",
        b"(user@host) One-time code: ",
        b"\x1b[1mPassword:\x1b[0m ",
    ],
)
def test_password_question_is_answered_once(question: bytes) -> None:
    login = dialogue()
    assert login.feed(Source.DIALOGUE, question) == Answer(Source.DIALOGUE, FIRST)
    assert login.feed(Source.DIALOGUE, b"\r\n" + question) is None
    assert login.refusal is not None
    assert login.refusal.kind is RefusalKind.REJECTED


@pytest.mark.parametrize("question", ["パスワード: ", "Mot de passe : ", "Kennwort", "?"])
def test_question_in_any_language_is_known_by_the_echo_being_off(question: str) -> None:
    login = dialogue()
    assert login.feed(Source.DIALOGUE, question.encode(), echo_off=False) is None or question.isascii()
    assert dialogue().feed(Source.DIALOGUE, question.encode(), echo_off=True) == Answer(Source.DIALOGUE, FIRST)


def test_second_password_and_passphrase_have_their_own_questions() -> None:
    login = dialogue(passwords=(FIRST, SECOND))
    answers = [
        login.feed(Source.DIALOGUE, text)
        for text in (b"Enter passphrase for key '/x/id': ", b"\r\nu@h's password: ", b"\r\n(u@h) Second password: ")
    ]
    assert [answer and answer.secret for answer in answers] == [PHRASE, FIRST, SECOND]
    login.feed(Source.DIALOGUE, b"\r\nu@h's password: ")
    assert login.refusal is not None


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (b"Are you sure you want to continue connecting (yes/no/[fingerprint])? ", RefusalKind.HOST_KEY),
        (b"Please type 'yes', 'no' or the fingerprint: ", RefusalKind.HOST_KEY),
        (b"WARNING: Your password has expired.\r\nCurrent password: ", RefusalKind.EXPIRED),
        (b"(current) UNIX password: ", RefusalKind.EXPIRED),
        (b"New password: ", RefusalKind.EXPIRED),
        (b"Enter PIN for ED25519-SK key /x: ", RefusalKind.TOKEN),
        (b"user@gateway's password: ", RefusalKind.OTHER_HOST),
        (b"(user@gateway) Password: ", RefusalKind.OTHER_HOST),
    ],
)
def test_questions_that_are_never_answered(text: bytes, kind: RefusalKind) -> None:
    login = dialogue(hosts=frozenset({"target"}))
    assert login.feed(Source.DIALOGUE, text, echo_off=True) is None
    assert login.refusal is not None
    assert login.refusal.kind is kind


def test_without_a_password_the_question_is_a_refusal() -> None:
    login = dialogue(passwords=(), passphrase=None)
    login.feed(Source.DIALOGUE, b"u@h's password: ")
    assert login.refusal is not None
    assert login.refusal.kind is RefusalKind.NO_PASSWORD
    login = dialogue(passphrase=None)
    login.feed(Source.DIALOGUE, b"Enter passphrase for key '/x/id': ")
    assert login.refusal is not None
    assert login.refusal.kind is RefusalKind.NO_PASSPHRASE


def test_banner_and_messages_of_the_day_are_not_questions() -> None:
    login = dialogue()
    assert login.feed(Source.ERRORS, b"Banner\nEnter your password: ") is None
    assert login.feed(Source.DATA, b"password: ") is None, "with three sources, data is no dialogue"
    assert login.feed(Source.DATA, NONCE + b"Welcome\r\npassword: ") is None
    assert login.authenticated
    assert login.after == b"Welcome\r\npassword: "
    assert login.feed(Source.DIALOGUE, b"u@h's password: ", echo_off=True) is None
    assert login.refusal is None


cuts = st.lists(st.integers(1, 7), max_size=60)


def pieces(data: bytes, lengths: list[int]) -> list[bytes]:
    result = []
    for length in lengths:
        result.append(data[:length])
        data = data[length:]
    return [piece for piece in (*result, data) if piece]


@given(before=st.binary(max_size=40), after=st.binary(max_size=80), lengths=cuts, one_terminal=st.booleans())
@settings(max_examples=300, deadline=None)
def test_the_end_is_found_however_it_is_cut(
    before: bytes, after: bytes, lengths: list[int], one_terminal: bool
) -> None:
    login = dialogue(passwords=(FIRST, SECOND), one_terminal=one_terminal)
    answers = []
    for piece in pieces(before + NONCE + after, lengths):
        was_through = login.authenticated
        answer = login.feed(Source.DATA, piece)
        assert not (was_through and answer)
        answers.append(answer)
    if login.refusal is None:
        assert login.authenticated
        assert login.after == (before + NONCE + after).partition(NONCE)[2]
    secrets = [answer.secret.value for answer in answers if answer]
    assert len(secrets) == len(set(secrets))


texts = st.lists(
    st.one_of(
        st.binary(max_size=30),
        st.sampled_from(
            [b"u@h's password: ", b"(u@h) Password: ", b"Enter passphrase for key 'k': ", b"\r\n", b"Denied\n"]
        ),
    ),
    max_size=12,
)


@given(chunks=texts, sources=st.lists(st.sampled_from(list(Source)), min_size=12, max_size=12), echo_off=st.booleans())
@settings(max_examples=300, deadline=None)
def test_no_secret_is_answered_twice(chunks: list[bytes], sources: list[Source], echo_off: bool) -> None:
    login = dialogue(passwords=(FIRST, SECOND), one_terminal=True)
    answers = [login.feed(source, chunk, echo_off=echo_off) for source, chunk in zip(sources, chunks, strict=False)]
    secrets = [answer.secret.value for answer in answers if answer]
    assert len(secrets) == len(set(secrets))
    assert "password" not in repr(login) or "first-password" not in repr(login)


def test_memory_is_bounded() -> None:
    login = dialogue()
    for _ in range(200):
        login.feed(Source.DIALOGUE, b"x" * 10_000 + b"\n")
        login.feed(Source.ERRORS, b"y" * 10_000)
    assert len(login.transcript()) < 40_000
