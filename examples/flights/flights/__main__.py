"""`python -m flights`, for a checkout that is not installed."""

import sys

from flights.cli import main

sys.exit(main())
