"""`python -m lineside` is `lineside`."""

import sys

from lineside.edge.command_line.main import main

sys.exit(main())
