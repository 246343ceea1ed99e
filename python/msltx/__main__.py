"""``python -m msltx`` is the command line."""

from msltx.cli import main

main()
