"""The table of all ways to authenticate."""

from __future__ import annotations

from collections.abc import Mapping

from doorleaf.access.identity.providers.anon_user import AnonUser
from doorleaf.access.identity.providers.api_key import ApiKey
from doorleaf.access.identity.providers.base import LoginForm, Provider, Surroundings
from doorleaf.access.identity.providers.custom_function import CustomFunction
from doorleaf.access.identity.providers.custom_token import CustomToken
from doorleaf.access.identity.providers.local_userpass import LocalUserpass

PROVIDERS: tuple[type[Provider], ...] = (ApiKey, CustomToken, LocalUserpass, AnonUser, CustomFunction)
"""Every way to authenticate, in the order in which a request's credentials are looked at."""

FORMS: Mapping[str, LoginForm] = {kind.name: kind.form for kind in PROVIDERS}
"""How the login of each looks."""


def providers_of(surroundings: Surroundings) -> dict[str, Provider]:
    """The providers that the settings have on, by name, in that order."""
    on = surroundings.settings.providers
    return {kind.name: kind(surroundings) for kind in PROVIDERS if kind.name in on}
