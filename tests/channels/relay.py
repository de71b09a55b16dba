"""A ProxyCommand: joins standard input and output to a TCP connection."""

from __future__ import annotations

import os
import socket
import sys
import threading


def main() -> None:
    connection = socket.create_connection((sys.argv[1], int(sys.argv[2])))

    def bring_answers() -> None:
        while data := connection.recv(65536):
            os.write(1, data)

    threading.Thread(target=bring_answers, daemon=True).start()
    while data := os.read(0, 65536):
        connection.sendall(data)


if __name__ == "__main__":
    main()
