"""`python -m modelscope_cli`, and the console script."""

import os
import sys


def main() -> None:
    """Run the command. Ctrl-C ends it without a word from the first moment on, while modules are still being loaded."""
    try:
        from modelscope_cli.cli.app import main as run

        run()
    except KeyboardInterrupt:
        os._exit(130)


if __name__ == "__main__":
    if sys.path and sys.path[0] in ("", os.getcwd()):
        del sys.path[0]  # -m puts the working folder first, and a folder of downloads may hold a json.py of its own
    main()
