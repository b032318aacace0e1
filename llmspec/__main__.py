"""`python -m llmspec`."""

import sys

from llmspec.cli.main import main

sys.exit(main())
