"""`python3 -m atlasctl`."""

import sys

from atlasctl.cli import main

sys.exit(main())
