"""Triggers: functions that the database, a schedule or a login calls."""
