"""What the options of a session profile mean: shared folders, kinds of sessions, parameters of sessions.

Pure functions over option values; the two vocabularies (X2Go's profile options, python-x2go's session parameters) meet
only here. Options that are missing count as their defaults.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from crl.x2go.defaults import (
    LINK_LEVELS,
    X2GO_DESKTOPSESSIONS,
    X2GO_MIMEBOX_ACTIONS,
    pack_methods_nx3,
    session_profile_defaults,
)
from crl.x2go.x2go_exceptions import X2GoProfileException

__all__ = ["exports_from_text", "exports_to_text", "metatype", "session_params", "words"]

_EXPORT = re.compile(r"(?P<path>.+?)(?:[:#](?P<flag>[01]))?", re.DOTALL)
_TUNNEL = re.compile(r"(?:(?P<local>[^:]*):\d*:)?(?P<host>[^:]+):(?P<port>\d+)")
_SAME_NAMES = {
    "auto_connect": "autoconnect",
    "auto_start_or_resume": "autostart",
    "set_session_title": "setsessiontitle",
    "session_title": "sessiontitle",
    "server_encoding": "iconvto",
    "client_encoding": "iconvfrom",
    "convert_encoding": "useiconv",
    "unique_hostkey_aliases": "uniquehostkeyaliases",
    "allow_share_local_folders": "useexports",
    "restore_shared_local_folders": "restoreexports",
    "allow_mimebox": "usemimebox",
    "clipboard": "clipboard",
    "xinerama": "xinerama",
    "snd_port": "sndport",
    "profile_name": "name",
    "username": "user",
    "key_filename": "key",
    "port": "sshport",
    "forward_sshagent": "forwardsshagent",
    "published_applications": "published",
    "rdp_options": "rdpoptions",
    "rdp_server": "rdpserver",
    "printing": "print",
    "xdmcp_server": "xdmcpserver",
    "kdrive": "kdrive",
    "use_sshproxy": "usesshproxy",
}


def exports_from_text(text: str) -> dict[str, bool]:
    """The shared folders of an ``export`` option and whether each is shared at the start."""
    text = text.strip().strip('"')
    found: dict[str, bool] = {}
    for part in text.split(";" if ";" in text else ","):
        entry = _EXPORT.fullmatch(part.strip())
        if entry:
            found[entry["path"]] = entry["flag"] != "0"
    return found


def exports_to_text(exports: Mapping[str, bool]) -> str:
    """The ``export`` option for some shared folders.

    Raises:
        X2GoProfileException: A path has a character that parts the folders there.
    """
    for path in exports:
        if ";" in path or not path.strip():
            raise X2GoProfileException(
                f"the folder {path!r} cannot be shared", doing="setting a profile's export", advice="rename the folder"
            )
    return "".join(f"{path}:{int(shared)};" for path, shared in exports.items())


def words(value: object) -> list[str]:
    """A list option, which may have been given as one text."""
    if isinstance(value, str):
        return [word for word in re.split(r"[,\s]+", value) if word]
    return [str(one) for one in value] if isinstance(value, (list, tuple, set, frozenset)) else []


def metatype(options: Mapping[str, Any]) -> str:
    """What kind of session a profile makes, for people."""
    command = str(options.get("command", ""))
    desktop = _desktop_of(command)
    if command == "RDP":
        return "RDP/direct" if options.get("directrdp") else "RDP/proxy"
    if command in ("SHADOW", "XDMCP"):
        return "not supported" if command == "SHADOW" else "CUSTOM Desktop"
    if options.get("published"):
        return f"{desktop} + Published Applications" if desktop else "Published Applications"
    if desktop:
        return f"{desktop} Desktop"
    return "Single Applications" if options.get("rootless") else "CUSTOM Desktop"


def _desktop_of(command: str) -> str | None:
    for name, program in X2GO_DESKTOPSESSIONS.items():
        if command in (name, program):
            return name
    return "XFCE" if command == "XFCE4" else None


def session_params(options: Mapping[str, Any]) -> dict[str, Any]:
    """The keyword arguments of a session for the options of a profile."""
    given = {**session_profile_defaults(), **options}
    params = {parameter: given[option] for parameter, option in _SAME_NAMES.items()}
    hosts = words(given["host"])
    params.update(
        server=hosts[0] if hosts else "",
        look_for_keys=given["autologin"],
        allow_agent=given["autologin"],
        link=LINK_LEVELS[min(max(int(given["speed"]), 0), len(LINK_LEVELS) - 1)],
        pack=_pack(str(given["pack"]), int(given["quality"])),
        cmd="XFCE" if given["command"] == "XFCE4" else given["command"],
        session_type="application" if given["rootless"] else "desktop",
        applications=words(given["applications"]),
        geometry=_geometry(given),
        snd_system=given["soundsystem"] if given["sound"] else "none",
        share_local_folders=_shared(given["export"]),
        mimebox_extensions=words(given["mimeboxextensions"]),
        mimebox_action=given["mimeboxaction"] if given["mimeboxaction"] in X2GO_MIMEBOX_ACTIONS else "OPEN",
        **_keyboard(given),
    )
    params.update(_ssh_proxy(given))
    if given["setdpi"]:
        params["dpi"] = given["dpi"]
    return params


def _pack(pack: str, quality: int) -> str:
    """The pack method with its quality, where it has one."""
    with_quality = f"{pack}-{quality}"
    return with_quality if quality and with_quality in pack_methods_nx3 else pack


def _geometry(given: Mapping[str, Any]) -> str:
    if given["fullscreen"]:
        return "fullscreen"
    return "maximize" if given["maxdim"] else f"{given['width']}x{given['height']}"


def _shared(export: object) -> list[str]:
    """The folders that are to be shared at the start; one that is only listed is not."""
    exports = exports_from_text(export) if isinstance(export, str) else export
    return [path for path, shared in exports.items() if shared] if isinstance(exports, Mapping) else words(exports)


def _keyboard(given: Mapping[str, Any]) -> dict[str, Any]:
    if not given["usekbd"]:
        return {"kbtype": "null/null", "kblayout": "null", "kbvariant": "null"}
    return {"kbtype": given["type"], "kblayout": given["layout"], "kbvariant": given["variant"]}


def _ssh_proxy(given: Mapping[str, Any]) -> dict[str, Any]:
    """The hop before the server; the old option ``sshproxytunnel`` says behind which host and port it ends."""
    same_user, same_password = given["sshproxysameuser"], given["sshproxysamepass"]
    params = {
        "sshproxy_host": given["sshproxyhost"],
        "sshproxy_port": given["sshproxyport"],
        "sshproxy_user": given["user"] if same_user else given["sshproxyuser"],
        "sshproxy_key_filename": given["key"] if same_password else given["sshproxykeyfile"],
        "sshproxy_reuse_authinfo": given["sshproxysamepass"],
        "sshproxy_look_for_keys": given["sshproxyautologin"],
        "sshproxy_allow_agent": given["sshproxyautologin"],
    }
    tunnel = _TUNNEL.fullmatch(str(given.get("sshproxytunnel", "")))
    if tunnel:
        params.update(server=tunnel["host"], port=int(tunnel["port"]))
    return params
