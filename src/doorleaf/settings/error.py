"""What becomes of settings that are wrong."""

from __future__ import annotations


class SettingsError(ValueError):
    """What is wrong with the settings, one line per mistake, without the value of any secret."""
