"""What every script in Python begins with: where the server is, and how to say what was seen."""

import sys

HOST, PORT = sys.argv[1].rsplit(":", 1)
PORT = int(PORT)


def see(what, seen, expected):
    """Prints what was seen, and ends the script if it is not what was expected."""
    print(f"{what}: {seen!r}", flush=True)
    if seen != expected:
        sys.exit(f"{what}: expected {expected!r}")


def refused(what, call, words):
    """Prints the error that the call ends with, which has these words."""
    try:
        answer = call()
    except Exception as error:  # Each library has its own kinds.
        text = f"{type(error).__name__}: {error}"
        print(f"{what}: {' '.join(text.split())}", flush=True)
        if words not in text:
            sys.exit(f"{what}: expected {words!r}")
    else:
        sys.exit(f"{what}: answered {answer!r}, expected {words!r}")
