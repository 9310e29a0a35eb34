"""`python -m modelscope_cli`, and the console script."""

import _signal as signal  # type: ignore[import-not-found]  # built into Python: the module with the friendlier name takes a while
import os
import sys


def main() -> None:
    """Run the command. Ctrl-C ends it without a word from the first moment on."""
    heard = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if heard:  # nothing has to be put away while modules are loaded, and an exception in the middle of that can get lost
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from modelscope_cli.cli.app import main as run

    if heard:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    run()


if __name__ == "__main__":
    if sys.path and sys.path[0] in ("", os.getcwd()):
        del sys.path[0]  # -m puts the working folder first, and a folder of downloads may hold a json.py of its own
    main()
