"""A runtime that never hangs up, as `docker exec` does: its shell goes on when whoever started it is gone.

Run as `python relay.py`; it joins its standard input and output to a shell on a terminal of its own, and ignores the
end of its input.
"""

from __future__ import annotations

import os
import pty
import select
import signal
import tty


def main() -> None:
    """Relay until the shell ends."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    pid, master = pty.fork()
    if pid == 0:
        os.execv("/bin/sh", ["sh"])
    tty.setraw(master)
    poller = select.poll()
    for descriptor in (0, master):
        poller.register(descriptor, select.POLLIN)
    writable = True
    while True:
        for descriptor, _ in poller.poll():
            try:
                data = os.read(descriptor, 65536)
            except OSError:
                data = b""
            if descriptor == master:
                if not data:
                    return
                try:
                    while writable and data:
                        data = data[os.write(1, data) :]
                except OSError:
                    writable = False
            elif data:
                os.write(master, data)
            else:
                poller.unregister(0)


if __name__ == "__main__":
    main()
