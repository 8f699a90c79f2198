"""python -m odenets.analysis: the commands of ``odenets`` that are on schemes and networks."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
