"""`python -m modelscope_cli`."""

from modelscope_cli.cli.app import main

main()
