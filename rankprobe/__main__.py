"""`python -m rankprobe`."""

from rankprobe.cli import main

main()
