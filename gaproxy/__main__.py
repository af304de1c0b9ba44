"""`python -m gaproxy` is `gaproxy`."""

import sys

from gaproxy.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
