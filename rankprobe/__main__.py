"""`python -m rankprobe`."""

import sys

try:
    from rankprobe.cli import main

    main()
except KeyboardInterrupt:
    sys.exit(130)
