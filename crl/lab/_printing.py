"""Printing on a lab host with an X2Go server: CUPS, with one printer that leads into the user's sessions.

It writes CUPS' settings into a host's root and knows nothing else of the host. ``x2go`` is the printer of cups-x2go,
whose jobs x2goprint carries into the session; ``pdf`` is cups-pdf's, which makes a file of each job in the user's home
and is there to compare with.
"""

from __future__ import annotations

import os
import pwd
import shutil
from pathlib import Path
from typing import Any, Final

__all__ = ["provide_printing", "services"]

CUPSD: Final = Path("/usr/sbin/cupsd")
SPOOL: Final = "var/spool/x2goprint"
PRINTERS: Final = (
    ("x2go", "DefaultPrinter", "cups-x2go:/", "usr/share/ppd/cups-x2go/CUPS-X2GO.ppd"),
    ("pdf", "Printer", "cups-pdf:/", "usr/share/ppd/cups-pdf/CUPS-PDF_noopt.ppd"),
)
CUPSD_CONF: Final = """\
LogLevel warn
MaxLogSize 0
Listen /run/cups/cups.sock
Browsing No
WebInterface No
DefaultAuthType Basic
<Location />
  Order allow,deny
</Location>
<Policy default>
  <Limit CUPS-Add-Modify-Printer CUPS-Delete-Printer CUPS-Set-Default Pause-Printer Resume-Printer>
    AuthType Default
    Require user @SYSTEM
    Order deny,allow
  </Limit>
  <Limit All>
    Order deny,allow
  </Limit>
</Policy>
"""
# cups-x2go's own command ends in "-c .setpdfwrite", which Ghostscript 10 does not know any more: every job would fail.
CUPS_X2GO_CONF: Final = (
    "ps2pdf=/usr/bin/gs -q -dCompatibilityLevel=1.4 -dNOPAUSE -dBATCH -dSAFER -sDEVICE=pdfwrite -sOutputFile=- "
    '-dAutoRotatePages=/PageByPage -f "%s"\n'
)


def provide_printing(root: Path) -> None:
    """Write the settings of CUPS and its printers, where this machine has them."""
    if not CUPSD.exists():
        return
    cups = root / "etc/cups"
    for name in ("printers.conf", "classes.conf", "subscriptions.conf"):
        (cups / name).unlink(missing_ok=True)
    shutil.rmtree(cups / "ppd", ignore_errors=True)
    (cups / "ppd").mkdir()
    (cups / "cupsd.conf").write_text(CUPSD_CONF)
    (cups / "cups-x2go.conf").write_text(CUPS_X2GO_CONF)
    (cups / "printers.conf").write_text("".join(_printer(root, *printer) for printer in PRINTERS))
    (cups / "printers.conf").chmod(0o600)
    (root / "var/spool/cups-pdf").mkdir(exist_ok=True)
    _spool(root)


def _printer(root: Path, name: str, section: str, address: str, ppd: str) -> str:
    """Install a printer's description; its entry in printers.conf, "" when this machine does not have it."""
    if not (root / ppd).exists():
        return ""
    shutil.copyfile(root / ppd, root / f"etc/cups/ppd/{name}.ppd")
    settings = ("State Idle", "Accepting Yes", "Shared No", "JobSheets none none", "ErrorPolicy abort-job")
    return "\n".join((f"<{section} {name}>", f"DeviceURI {address}", *settings, f"</{section}>")) + "\n"


def _spool(root: Path) -> None:
    """The folder in which cups-x2go leaves jobs for x2goprint."""
    try:
        account = pwd.getpwnam("x2goprint")
    except KeyError:
        return
    folder = root / SPOOL
    folder.mkdir(exist_ok=True)
    os.chown(folder, account.pw_uid, account.pw_gid)
    folder.chmod(0o700)


def services() -> list[dict[str, Any]]:
    """What a host starts for printing."""
    return [{"argv": [str(CUPSD), "-f"], "respawn": True}] if CUPSD.exists() else []
