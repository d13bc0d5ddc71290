"""``python -m doorleaf`` is the ``doorleaf`` command."""

from doorleaf.cli.main import main

main()
