"""What becomes of settings that are wrong."""

from __future__ import annotations


class SettingsError(ValueError):
    """Tells the mistakes of the settings, one a line, without the value of any secret."""
