"""The ``doorleaf`` command, a file for each group of its commands."""

from doorleaf.cli.later import postpone

postpone()
