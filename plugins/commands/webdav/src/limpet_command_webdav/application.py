"""The whole application: guard, WsgiDAV, provider."""

from __future__ import annotations

import logging
from collections.abc import Callable

from limpet.operations.browse import Browser
from wsgidav.error_printer import ErrorPrinter
from wsgidav.request_resolver import RequestResolver
from wsgidav.wsgidav_app import WsgiDAVApp

from limpet_command_webdav.guard import Application, Guard
from limpet_command_webdav.provider import SnapshotProvider
from limpet_command_webdav.sign_in import Credentials

SENT_AT_ONCE_BYTES = 256 * 1024
"""In memory for each client that reads slowly. It has `SILENCE_LIMIT_S` to take so much."""


def make_application(
    browser: Browser, *, credentials: Credentials | None, only_loopback_names: bool, warn: Callable[[str], None]
) -> Application:
    """The view of the browser's tree, as a WSGI application."""
    logger = logging.getLogger("wsgidav")
    logger.addHandler(logging.NullHandler())
    logger.propagate = False
    dav = WsgiDAVApp(
        {
            "provider_mapping": {"/": SnapshotProvider(browser, warn)},
            # Neither its sign-in (the guard's) nor its pages of folders (of scripts, in memory), nor CORS.
            "middleware_stack": [ErrorPrinter, RequestResolver],
            "lock_storage": None,
            "property_manager": None,
            "hotfixes": {"re_encode_path_info": False},
            "block_size": SENT_AT_ONCE_BYTES,
            "suppress_version_info": True,
            "logging": {"enable": False},
        }
    )
    return Guard(dav, credentials=credentials, only_loopback_names=only_loopback_names, warn=warn)
