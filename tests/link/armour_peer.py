"""The other end of the armour's tests: takes armour off and puts its own on, on any Python, with that one source only.

Run as `python armour_peer.py FOLDER ARMOUR`; what comes in goes out again, whatever the reads cut.
"""

import os
import sys

sys.path.append(sys.argv[1])

import armour  # type: ignore[import-not-found]


def main():
    # type: () -> None
    """Answer until the end of the input."""
    coat = armour.make(sys.argv[2], toward_target=False)
    data = os.read(0, 997)
    while data:
        sound = coat.decode(data)
        while sound:
            answer = coat.encode(sound[:5000])
            sound = sound[5000:]
            while answer:
                answer = answer[os.write(1, answer) :]
        data = os.read(0, 997)


main()
