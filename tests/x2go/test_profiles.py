"""Session profiles of files that x2goclient wrote.

Invariant: they are read as x2goclient meant them, and a change of ours is one line in its form.
"""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

from crl.x2go import X2GoSessionProfiles
from crl.x2go.backends.profiles import base
from crl.x2go.backends.profiles._options import exports_from_text, exports_to_text, metatype, session_params
from crl.x2go.defaults import session_profile_defaults
from crl.x2go.x2go_exceptions import X2GoProfileException

FILES = Path(__file__).parent / "files"
OFFICE = 'Büro; 50% "x", a\\b = c # d'  # typed into x2goclient


@pytest.fixture
def path(tmp_path: Path) -> Path:
    shutil.copy(FILES / "sessions", tmp_path / "sessions")
    return tmp_path / "sessions"


@pytest.fixture
def profiles(path: Path) -> X2GoSessionProfiles:
    return X2GoSessionProfiles([path])


def test_a_profile_of_x2goclient(profiles: X2GoSessionProfiles) -> None:
    assert profiles.profile_names == [OFFICE]
    config = profiles.get_profile_config(OFFICE)
    assert config["host"] == ["alpha.example", "beta.example"]
    assert config["export"] == {"/tmp/pool a": True, "/tmp/büro": False}
    assert (config["key"], config["autologin"], config["sshport"]) == ("/home/pat/.ssh/id ed25519", True, 22)
    assert config["applications"] == ["WWWBROWSER", "MAILCLIENT", "OFFICE", "TERMINAL"]
    assert (config["krbdelegation"], config["xdmcpclient"]) == (False, "Xnest")
    assert config["variant"] == ""
    assert profiles(OFFICE) == config
    assert profiles.get_profile_config(OFFICE, "dpi") == 100
    assert profiles.get_profile_metatype(OFFICE) == "KDE Desktop"


def test_its_session(profiles: X2GoSessionProfiles) -> None:
    params = profiles.to_session_params(OFFICE)
    assert params["server"] in ("alpha.example", "beta.example")
    wanted = {
        "port": 22, "username": "pat", "cmd": "KDE", "session_type": "desktop", "geometry": "800x600", "link": "adsl",
        "pack": "16m-jpeg-9", "dpi": 100, "kbtype": "auto", "snd_system": "pulse", "printing": True,
        "share_local_folders": ["/tmp/pool a"], "look_for_keys": True, "allow_agent": True, "use_sshproxy": True,
        "sshproxy_look_for_keys": False, "key_filename": "/home/pat/.ssh/id ed25519", "profile_name": OFFICE,
    }  # fmt: skip
    assert {key: params[key] for key in wanted} == wanted
    assert profiles.get_session_param(OFFICE, "cmd") == "KDE"


def test_the_host_is_one_of_several(profiles: X2GoSessionProfiles) -> None:
    random.seed(1)
    (profile_id,) = profiles.profile_ids
    assert {profiles.get_server_hostname(profile_id) for _ in range(50)} == {"alpha.example", "beta.example"}


def test_writing_without_a_change_changes_nothing(profiles: X2GoSessionProfiles, path: Path) -> None:
    before = path.stat()
    for option, value in profiles.get_profile_config(OFFICE).items():
        if profiles._entry(profiles.profile_ids[0], option) is not None:
            profiles.update_value(OFFICE, option, value)
    assert profiles.write()
    assert path.read_bytes() == (FILES / "sessions").read_bytes()
    assert path.stat().st_ino == before.st_ino


def test_a_change_is_one_line_in_its_spelling(profiles: X2GoSessionProfiles, path: Path) -> None:
    profiles.update_value(OFFICE, "fullscreen", value=True)
    profiles.update_value(OFFICE, "export", {"/tmp/büro": True})
    profiles.update_value(OFFICE, "name", "Labor")
    assert profiles.write()
    text = (FILES / "sessions").read_text()
    text = text.replace("fullscreen=false", "fullscreen=true").replace(
        r'export="/tmp/pool a:1;/tmp/b\xfcro:0;"', r'export="/tmp/b\xfcro:1;"'
    )
    assert path.read_text() == text.replace(r'name="B\xfcro; 50% \"x\", a\\b = c # d"', "name=Labor")
    assert X2GoSessionProfiles(path).get_profile_config("Labor", "export") == {"/tmp/büro": True}


def test_what_x2goclient_made_of_a_file_of_ours() -> None:
    """It read the profile that this package had added, and wrote all of it again with another login."""
    profiles = X2GoSessionProfiles([FILES / "sessions-of-both"])
    config = profiles.get_profile_config("Zweites, ü")
    ours = session_profile_defaults() | {"name": "Zweites, ü", "host": ["only.example"], "user": "pat"}
    assert {key for key in ours if config[key] != ours[key]} <= {"icon", "applications"}
    assert sorted(config["applications"]) == sorted(ours["applications"])


def test_another_program_changes_the_file(profiles: X2GoSessionProfiles, path: Path) -> None:
    profiles.update_value(OFFICE, "command", "MATE")
    shutil.copy(FILES / "sessions-of-both", path)
    assert profiles.profile_names == [OFFICE, "Zweites, ü"]
    assert profiles.get_profile_config(OFFICE, "command") == "MATE"
    path.write_text(path.read_text().replace('name="Zweites, \\xfc"', "name=Anders"))
    assert profiles.has_profile_name("Anders")
    assert not profiles.has_profile("Zweites, ü")
    assert profiles.write()
    assert "name=Anders" in path.read_text()


def test_adding_and_deleting(profiles: X2GoSessionProfiles, path: Path) -> None:
    first = profiles.add_profile(name="a", host="h1,h2", command="XFCE4", unknown="kept", mimeboxextensions="pdf, txt")
    second = profiles.add_profile(profile_id="20200101", name="b", export="/x:0;/y#1;")
    assert profiles.profile_names == [OFFICE, "a", "b"]
    assert X2GoSessionProfiles(path).profile_names == [OFFICE]
    assert profiles.write()
    again = X2GoSessionProfiles(path)
    assert again.profile_ids == [profiles.to_profile_id(OFFICE), first, second]
    assert again.get_profile_config("a") == profiles.get_profile_config("a")
    assert again.get_profile_config("a", "unknown") == "kept"
    assert again.get_profile_config("b", "export") == {"/x": False, "/y": True}
    params = again.to_session_params("a")
    assert (params["cmd"], params["mimebox_extensions"]) == ("XFCE", ["pdf", "txt"])
    again.delete_profile("a")
    assert profiles.profile_names == [OFFICE, "b"]
    again.delete_profile("20200101")
    assert path.read_bytes().strip() == (FILES / "sessions").read_bytes().strip()


def test_texts_become_the_types_of_their_options(profiles: X2GoSessionProfiles, path: Path) -> None:
    profiles.update_value(OFFICE, "sshport", "2222")
    profiles.update_value(OFFICE, "sound", "no")
    config = profiles.get_profile_config(OFFICE)
    assert (config["sshport"], config["sound"]) == (2222, False)
    assert profiles.write()
    assert profiles.get_profile_config(OFFICE) == config
    text = (FILES / "sessions").read_text()
    assert path.read_text() == text.replace("sshport=22\n", "sshport=2222\n").replace("sound=true", "sound=false")


def test_another_host_is_another_id(profiles: X2GoSessionProfiles) -> None:
    old = profiles.to_profile_id(OFFICE)
    profiles.update_value(OFFICE, "host", "beta.example,alpha.example")
    assert profiles.write()
    new = profiles.to_profile_id(OFFICE)
    assert new not in (old, None)
    assert new is not None
    assert len(new) == 20
    assert profiles.profile_ids == [new]
    assert profiles.get_profile_config(OFFICE, "host") == ["beta.example", "alpha.example"]
    assert profiles.get_profile_config(OFFICE, "user") == "pat"


def test_two_of_one_name(path: Path) -> None:
    text = path.read_text().replace(r'name="B\xfcro; 50% \"x\", a\\b = c # d"', "name=n")
    path.write_text(text + text.replace("[2026", "[2027") + text.replace("[2026", "[2028") + "[none]\nname=no\n[bed]\n")
    profiles = X2GoSessionProfiles(path)
    assert profiles.profile_names == ["n", "n (1)", "n (2)", "NEW_PROFILE"]  # a section "bed" is no "embedded"
    assert profiles.to_profile_name("20271121082250528") == "n (1)"


def test_one_broken_value_harms_nothing_else(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path.write_text(path.read_text().replace("dpi=100", "dpi=many"))
    profiles = X2GoSessionProfiles(path)
    assert profiles.get_profile_config(OFFICE, "dpi") == 96
    assert "dpi has to be a whole number, not 'many'" in caplog.text
    with pytest.raises(X2GoProfileException, match="dpi has to be"):
        profiles.get_value(profiles.profile_ids[0], "dpi", int)


def test_profiles_of_all_users_are_there_and_stay(path: Path, tmp_path: Path) -> None:
    of_all = tmp_path / "of_all"
    of_all.write_text("[shared]\nname=Shared\nhost=gamma\n")
    profiles = X2GoSessionProfiles([path, of_all])
    assert profiles.profile_names == [OFFICE, "Shared"]
    assert profiles.mutable_profile_ids() == [profiles.to_profile_id(OFFICE)]
    assert profiles.supports_mutable_profiles()
    assert profiles.is_mutable()
    assert not profiles.is_mutable("Shared")
    with pytest.raises(X2GoProfileException, match="cannot be changed"):
        profiles.update_value("Shared", "host", "delta")
    with pytest.raises(X2GoProfileException, match="cannot be changed"):
        profiles.delete_profile("shared")


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda p: p.get_profile_config("nobody"), "there is no session profile 'nobody'"),
        (lambda p: p.get_profile_config(), "neither the id nor the name"),
        (lambda p: p.get_profile_config(OFFICE, "nothing"), "no option 'nothing'"),
        (lambda p: p.add_profile(host="h"), "needs a name"),
        (lambda p: p.add_profile(name=OFFICE), "already"),
        (lambda p: p.add_profile(name="half", user="pat", sshport="many"), "sshport has to be"),
        (lambda p: p.add_profile(name="half", export={"/a;b": True}), "cannot be shared"),
        (lambda p: p.update_value(OFFICE, "name", ""), "cannot be called ''"),
        (lambda p: p.update_value(OFFICE, "sshport", "many"), "sshport has to be a whole number, not 'many'"),
        (lambda p: p.update_value(OFFICE, "sound", "loud"), "sound has to be a truth value"),
        (lambda p: p.update_value(OFFICE, "sshport", None), "sshport has to be"),
        (lambda p: p.update_value(OFFICE, "export", {"/a;b": True}), "cannot be shared"),
        (lambda p: p.init_profile_cache("nobody"), "there is no"),
        (lambda p: base.X2GoSessionProfiles().add_profile(name="n"), "no session profile can be added"),
    ],
)
def test_what_is_refused(profiles: X2GoSessionProfiles, path: Path, call: object, match: str) -> None:
    assert callable(call)
    with pytest.raises(X2GoProfileException, match=match):
        call(profiles)
    assert profiles.profile_names == [OFFICE]
    assert profiles.get_profile_config(OFFICE) == X2GoSessionProfiles(path).get_profile_config(OFFICE)
    assert profiles.write()
    assert path.read_bytes() == (FILES / "sessions").read_bytes()


def test_a_base_without_a_source_keeps_profiles_while_it_lives() -> None:
    profiles = base.X2GoSessionProfiles(session_profile_defaults={"name": "", "sshport": 22, "host": ["h"]})
    profile_id = profiles.add_profile(name="n", force_add=True)
    assert profiles.write()
    assert profiles.profile_ids == [profile_id]
    assert profiles.get_server_hostname(profile_id) == "localhost"
    assert profiles.get_pkey_object(profile_id) is None
    assert not profiles.supports_mutable_profiles()
    assert profiles.get_profile_option_type("sshport") is int
    assert profiles.get_profile_option_type("nothing") is str


@pytest.mark.parametrize(
    ("text", "exports"),
    [
        ("", {}),
        ("/a:1;/b:0;", {"/a": True, "/b": False}),
        ('"/a:1;"', {"/a": True}),
        ("/a,/b:0", {"/a": True, "/b": False}),
        ("/a,b:0;", {"/a,b": False}),
        ("C:/pool#1;", {"C:/pool": True}),
        ("/odd:name:1;", {"/odd:name": True}),
    ],
)
def test_exports(text: str, exports: dict[str, bool]) -> None:
    assert exports_from_text(text) == exports
    assert exports_from_text(exports_to_text(exports)) == exports


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"command": "RDP"}, "RDP/proxy"),
        ({"command": "RDP", "directrdp": True}, "RDP/direct"),
        ({"command": "SHADOW"}, "not supported"),
        ({"command": "XDMCP"}, "CUSTOM Desktop"),
        ({"published": True, "command": "PUBLISHED"}, "Published Applications"),
        ({"published": True, "command": "XFCE4"}, "XFCE + Published Applications"),
        ({"command": "startkde"}, "KDE Desktop"),
        ({"command": "TERMINAL", "rootless": True}, "Single Applications"),
        ({"command": "openbox", "rootless": False}, "CUSTOM Desktop"),
    ],
)
def test_metatypes(options: dict[str, object], kind: str) -> None:
    assert metatype(options) == kind


@pytest.mark.parametrize(
    ("options", "params"),
    [
        ({"fullscreen": True, "maxdim": True}, {"geometry": "fullscreen"}),
        ({"maxdim": True}, {"geometry": "maximize"}),
        ({"speed": 9}, {"link": "lan"}),
        ({"pack": "nopack", "quality": 9}, {"pack": "nopack"}),
        ({"pack": "256-jpeg", "quality": 9}, {"pack": "256-jpeg"}),
        ({"quality": 0}, {"pack": "16m-jpeg"}),
        ({"usekbd": False}, {"kbtype": "null/null", "kblayout": "null", "kbvariant": "null"}),
        ({"sound": False}, {"snd_system": "none"}),
        ({"mimeboxaction": "EXEC"}, {"mimebox_action": "OPEN"}),
        ({"sshproxysameuser": True, "user": "u"}, {"sshproxy_user": "u", "sshproxy_reuse_authinfo": False}),
        ({"sshproxysamepass": True, "key": "k"}, {"sshproxy_key_filename": "k", "sshproxy_reuse_authinfo": True}),
        ({"sshproxytunnel": "localhost:44444:inner:2222"}, {"server": "inner", "port": 2222}),
        ({"host": []}, {"server": ""}),
    ],
)
def test_parameters(options: dict[str, object], params: dict[str, object]) -> None:
    found = session_params(options)
    assert {key: found[key] for key in params} == params
    assert "dpi" not in found
