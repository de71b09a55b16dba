"""The format of X2Go's configuration files.

Invariants: a value that is written is read as it was, from any place of any file; a change touches the line it changes
and no other; whatever stands in a file, reading it raises nothing.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crl.x2go._inidocument import IniDocument
from crl.x2go._inivalues import decode_list, decode_text, encode_bool, encode_list, encode_text

# Written by x2goclient 4.1.2.2; `sessions-of-both` by it over a file that this package had written.
FILES = Path(__file__).parent / "files"
TEXTS = st.text(max_size=40) | st.text(alphabet='a1\\x"@;,=[]%# \n\tü€😀', max_size=12)
NAMES = st.text(alphabet="abcXYZ019_- %", min_size=1, max_size=8).map(str.strip).filter(bool)


@given(TEXTS, st.booleans())
def test_a_text_comes_back(value: str, plain: bool) -> None:
    written = encode_text(value)
    assert written.isascii()
    assert written.isprintable()
    document = IniDocument("[s]\nk = old\n" if plain else "[s]\n")
    document.put("s", "k", written)
    entry = IniDocument(document.text).entry("s", "k")
    assert entry is not None
    assert decode_text(entry.raw, plain=entry.plain) == value


@given(st.lists(TEXTS, max_size=5))
def test_a_list_comes_back(values: list[str]) -> None:
    written = encode_list(values)
    assert written.isascii()
    assert written.isprintable() or not written
    assert decode_list(written) == values


@given(st.text(max_size=60), st.booleans())
def test_reading_takes_anything(raw: str, plain: bool) -> None:
    assert isinstance(decode_text(raw, plain=plain), str)
    assert all(isinstance(one, str) for one in decode_list(raw, plain=plain))


@pytest.mark.parametrize(
    ("written", "value"),
    [
        (r'"B\xfcro; 50% \"x\", a\\b = c # d"', 'Büro; 50% "x", a\\b = c # d'),
        (r'"lpr -P \"hp 2\" -o media=A4"', 'lpr -P "hp 2" -o media=A4'),
        (r'"dc=beispiel,dc=b\xfcro"', "dc=beispiel,dc=büro"),
        ("/home/pat/.ssh/id ed25519", "/home/pat/.ssh/id ed25519"),
        (r"\xd83d\xde00", "😀"),
        (r"a\n\x31", "a\n1"),
        ("@@home", "@home"),
        ("@Invalid()", ""),
        (r"@ByteArray(a\0b)", "a\0b"),
        (r"C:\Qt", r"C:\Qt"),  # no escape of Qt's
    ],
)
def test_what_qt_writes(written: str, value: str) -> None:
    assert decode_text(written) == value


@pytest.mark.parametrize(
    ("values", "written"),
    [
        (["a,b", "c"], '"a,b", c'),
        (["a,b1"], r"a\x2c\x62\x31"),
        ([], ""),
        ([""], '""'),
        (["", "x"], ", x"),
        (["[1", "2]"], '"[1", 2]'),
        (["€a"], r"\x20ac\x61"),
    ],
)
def test_lists_as_qt_writes_or_reads_them(values: list[str], written: str) -> None:
    assert encode_list(values) == written


@pytest.mark.parametrize(
    ("written", "value"),
    [
        (r"DOM\nick", r"DOM\nick"),
        (r"DOM\xaver \x41", r"DOM\xaver \x41"),
        ("50%", "50%"),
        ('"a b"', "a b"),
        ("Büro; oben", "Büro; oben"),
        (r"B\xfcro \x20ac \xd83d\xde00", "Büro € 😀"),  # copied from a file of x2goclient
    ],
)
def test_what_python_x2go_writes(written: str, value: str) -> None:
    assert decode_text(written, plain=True) == value


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ('"alpha,beta"', ["alpha", "beta"]),
        ("alpha,beta", ["alpha", "beta"]),
        ('"a, b", c', ["a, b", "c"]),
        ("['a', 'b']", ["a", "b"]),
        ("[__import__('os').system('false')]", ["[__import__('os').system('false')]"]),
        ("", []),
        ("@Invalid()", []),
    ],
)
def test_lists_of_both(written: str, value: list[str]) -> None:
    assert decode_list(written) == value


def test_a_truth_value_keeps_its_spelling() -> None:
    written = [encode_bool(value, before) for value, before in ((True, None), (False, "true"), (True, "0"))]
    assert written == ["1", "false", "1"]


@given(st.text(max_size=200) | st.text(alphabet="[]=ab\n\r ;#:", max_size=60))
def test_a_document_is_its_text(text: str) -> None:
    document = IniDocument(text)
    assert document.text == text
    for section in document.sections():
        assert all(document.entry(section, key) for key in document.keys(section))


@pytest.mark.parametrize("name", ["sessions", "settings", "printing", "sessions-of-both"])
def test_files_of_x2goclient_are_what_we_would_write(name: str) -> None:
    text = (FILES / name).read_text()
    document = IniDocument(text)
    for section in document.sections():
        for key in document.keys(section):
            entry = document.entry(section, key)
            assert entry is not None
            if key == "applications":
                assert encode_list(decode_list(entry.raw)) == entry.raw
            else:
                assert encode_text(decode_text(entry.raw)) == entry.raw
                document.put(section, key, entry.raw)
    assert document.text == text


@given(st.lists(st.tuples(NAMES, NAMES, TEXTS), max_size=8), st.sampled_from(["", "\n", "# top\n\n[a]\nb=1\n; end"]))
def test_changes_are_there_and_touch_nothing_else(changes: list[tuple[str, str, str]], before: str) -> None:
    document = IniDocument(before)
    wanted: dict[tuple[str, str], str] = {}
    for section, key, value in changes:
        document.put(section, key, encode_text(value))
        wanted[section, key] = value
    read = IniDocument(document.text)
    for (section, key), value in wanted.items():
        entry = read.entry(section, key)
        assert entry is not None
        assert decode_text(entry.raw, plain=entry.plain) == value
    old = [line for line in before.split("\n") if line and not line.startswith("b=")]
    assert [line for line in document.text.split("\n") if line in old][: len(old)] == old


KEPT = """; my profiles
[one]
name=First   ; not a comment
command = KDE
whatever this is

# about two
[two]
name=Second
future=yes
"""


def test_comments_order_and_the_unknown_stay() -> None:
    document = IniDocument(KEPT)
    document.put("one", "command", "MATE")
    document.put("one", "sound", "0")
    document.put("two", "name", '"Zweite, neu"')
    document.put("three", "name", "Third")
    document.rename_section("two", "2")
    assert document.text == (
        KEPT.replace("command = KDE", "command = MATE\nsound=0")
        .replace("[two]", "[2]")
        .replace("name=Second", 'name="Zweite, neu"')
        + "\n[three]\nname=Third\n"
    )


def test_a_section_goes_and_the_comment_of_the_next_stays() -> None:
    document = IniDocument(KEPT)
    document.remove_section("one")
    assert document.text == "; my profiles\n# about two\n[two]\nname=Second\nfuture=yes\n"
    document.remove_section("two")
    assert document.sections() == []


def test_line_endings_stay() -> None:
    document = IniDocument("[a]\r\nb=1\r\n")
    document.put("a", "b", "2")
    document.put("a", "c", "3")
    document.put("d", "e", "4")
    assert document.text == "[a]\r\nb=2\r\nc=3\r\n\r\n[d]\r\ne=4\r\n"


def test_keys_before_any_section_are_general() -> None:
    document = IniDocument("pdfview=true\n[print]\nps=false\n")
    entry = document.entry("General", "pdfview")
    assert entry is not None
    assert entry.raw == "true"
    document.remove_section("General")
    assert document.text == "[print]\nps=false\n"
