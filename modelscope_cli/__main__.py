"""`python -m modelscope_cli`."""

import os
import sys

if sys.path and sys.path[0] in ("", os.getcwd()):
    del sys.path[0]  # -m puts the working folder first, and a folder of downloads may hold a json.py of its own

from modelscope_cli.cli.app import main

main()
