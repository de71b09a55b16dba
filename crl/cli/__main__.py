"""``python -m crl.cli``: the command line without its script; it knows `main` only and ends with its exit status."""

import sys

from crl.cli import main

if __name__ == "__main__":
    sys.exit(main())
