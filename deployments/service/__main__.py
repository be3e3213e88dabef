"""`python -m deployments.service`: the same as `redo serve`, for images that have no scripts."""

from __future__ import annotations

import sys

from deployments.cli.main import main

if __name__ == "__main__":
    sys.argv[1:1] = ["serve"]
    main()
