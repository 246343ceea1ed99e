"""The program ``msltx``, and ``python -m msltx``: the command line."""

import sys


def main() -> None:
    """Run the command line; a Ctrl-C while it is still being loaded ends it like any later one."""
    try:
        from msltx.cli import main as run

        run()
    except KeyboardInterrupt:
        print("msltx: interrupted", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
