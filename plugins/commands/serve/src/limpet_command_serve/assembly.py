"""Puts a server's parts together as its settings say: the store, and the row of policies.

What is not asked for is not imported: the memory of a server is measured against rest-server's.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from limpet.contracts.backend import FileKind
from limpet.errors import MissingFileError, UsageError

from limpet_command_serve.policy import Policy

if TYPE_CHECKING:
    from pathlib import Path

    from limpet_command_serve.gateway_files import KnownRepositories
    from limpet_command_serve.metrics import Metrics
    from limpet_command_serve.names import Folders
    from limpet_command_serve.quota import Usage
    from limpet_command_serve.retention import RetentionDays
    from limpet_command_serve.rights_file import UserRights
    from limpet_command_serve.settings import Settings
    from limpet_command_serve.store import Store

Tell = Callable[[str], None]
"""One line for the server's own log."""

HTPASSWD_NAME = ".htpasswd"


@dataclass(frozen=True, slots=True)
class Parts:
    """A server, but for its sockets. The policies are asked in their order."""

    store: Store
    policies: tuple[Policy, ...]


def assemble(settings: Settings, tell: Tell) -> Parts:
    """The parts; UsageError where options contradict each other or a file they need is not there."""
    settings.verify_sense()
    rights = _rights(settings, tell)
    days = _days(settings, rights)
    store = _store(settings, days, tell)
    return Parts(store, tuple(_policies(settings, store, rights, days, tell)))


def htpasswd_path(settings: Settings) -> Path:
    """Where the users are."""
    return _path(settings.htpasswd_file or os.path.join(settings.path, HTPASSWD_NAME))


def _store(settings: Settings, days: RetentionDays | None, tell: Tell) -> Store:
    if settings.backend is not None:
        from limpet_command_serve.gateway_store import GatewayStore  # noqa: PLC0415

        return GatewayStore.of(settings, tell)
    if days is not None:
        from limpet_command_serve.removed import KeepingStore  # noqa: PLC0415

        return KeepingStore(settings.path, days, time.time, for_group=settings.group_accessible_repos)
    from limpet_command_serve.folder_store import FolderStore  # noqa: PLC0415

    return FolderStore(settings.path, for_group=settings.group_accessible_repos)


def _policies(
    settings: Settings,
    store: Store,
    rights: UserRights | None,
    days: RetentionDays | None,
    tell: Tell,
) -> Iterator[Policy]:
    metrics, usage, known = _metrics(settings), _usage(settings, rights), _known(settings, tell)
    yield from _door(settings, tell)
    if rights is not None or settings.append_only:
        from limpet_command_serve.lock_bounds import LockBounds  # noqa: PLC0415
        from limpet_command_serve.rights_policy import RightsPolicy  # noqa: PLC0415

        locks = LockBounds(lambda folders: _count_locks(store, folders), lambda folders: _is_repository(store, folders))
        yield RightsPolicy(rights, locks, append_only=settings.append_only, private=settings.private_repos)
    if settings.limit_upload or settings.limit_download or settings.limit_requests:
        from limpet_command_serve.rate import ClientRate  # noqa: PLC0415
        from limpet_command_serve.rate_policy import RatePolicy  # noqa: PLC0415

        rate = ClientRate(
            upload_bps=settings.limit_upload,
            download_bps=settings.limit_download,
            requests_per_s=settings.limit_requests,
        )
        yield RatePolicy(rate, by_user=settings.proxy_auth_username is not None)
    if usage is not None:
        from limpet_command_serve.quota import FolderInventory, Inventory  # noqa: PLC0415
        from limpet_command_serve.quota_policy import QuotaPolicy  # noqa: PLC0415

        inventory: Inventory = FolderInventory(_path(settings.path))
        if known is not None:
            from limpet_command_serve.gateway_files import GatewayInventory  # noqa: PLC0415

            inventory = GatewayInventory(store, known)

        quota = QuotaPolicy(
            inventory,
            usage,
            instance_bytes=settings.max_size,
            repository_bytes=settings.repository_quota,
            user_bytes=settings.user_quota,
            rights=rights,
        )
        if metrics is not None:
            metrics.watch(quota.families)
        yield quota
    if days is not None:
        from limpet_command_serve.retention_policy import RetentionPolicy  # noqa: PLC0415

        yield RetentionPolicy(days, None if settings.backend else _path(settings.path), usage, tell)
    yield from _watchers(settings, store, known, metrics, tell)


def _door(settings: Settings, tell: Tell) -> Iterator[Policy]:
    """Who it is."""
    if settings.no_auth:
        return
    if settings.proxy_auth_username:
        from limpet_command_serve.auth_policy import ProxyPolicy  # noqa: PLC0415

        yield ProxyPolicy(settings.proxy_auth_username)
        return
    from limpet_command_serve.auth_policy import PasswordPolicy  # noqa: PLC0415
    from limpet_command_serve.users import Users  # noqa: PLC0415

    path = htpasswd_path(settings)
    try:
        users = Users(path, tell)
    except UsageError as error:
        raise UsageError(
            f"{error}: add a user with `limpet serve user add NAME --htpasswd-file {path}`, "
            f"or let everybody in with --no-auth"
        ) from error
    yield PasswordPolicy(users)


def _watchers(
    settings: Settings, store: Store, known: KnownRepositories | None, metrics: Metrics | None, tell: Tell
) -> Iterator[Policy]:
    """Those who only look."""
    if settings.verify:
        from limpet_command_serve.verify import REPORT_NAME, Verifier  # noqa: PLC0415
        from limpet_command_serve.verify_files import Files, FolderFiles  # noqa: PLC0415
        from limpet_command_serve.verify_policy import VerifyPolicy  # noqa: PLC0415

        root = _path(settings.path)
        files: Files = FolderFiles(root)
        if known is not None:
            from limpet_command_serve.gateway_files import GatewayFiles  # noqa: PLC0415

            files = GatewayFiles(store, known)
        verifier = Verifier(files, rate_bps=settings.verify_rate, tell=tell, report_path=root / REPORT_NAME)
        verify = VerifyPolicy(verifier, None if known is None else known.note)
        if metrics is not None:
            metrics.watch(verify.families)
        yield verify
    if metrics is not None:
        from limpet_command_serve.metrics_policy import MetricsPolicy  # noqa: PLC0415

        yield MetricsPolicy(metrics, is_open=settings.prometheus_no_auth)
    if settings.audit_log:
        from limpet_command_serve.audit import AuditLog  # noqa: PLC0415
        from limpet_command_serve.audit_policy import AuditPolicy  # noqa: PLC0415

        yield AuditPolicy(AuditLog(_path(settings.audit_log), tell))
    from limpet_command_serve.health_policy import HealthPolicy, folder_problem  # noqa: PLC0415

    yield HealthPolicy(lambda: "" if settings.backend else folder_problem(settings.path))


def _count_locks(store: Store, folders: Folders) -> int:
    try:
        return sum(1 for _ in store.list(folders, FileKind.LOCK))
    except MissingFileError:
        return 0


def _is_repository(store: Store, folders: Folders) -> bool:
    from limpet_command_serve.names import StoredFile  # noqa: PLC0415

    try:
        store.stat(StoredFile(folders, FileKind.CONFIG))
    except MissingFileError:
        return False
    return True


def _metrics(settings: Settings) -> Metrics | None:
    if not settings.prometheus:
        return None
    from limpet_command_serve.metrics import Metrics  # noqa: PLC0415

    return Metrics()


def _rights(settings: Settings, tell: Tell) -> UserRights | None:
    """The rights of users; None where there are none who could be told apart."""
    if settings.no_auth:
        return None
    from limpet_command_serve.rights_file import (  # noqa: PLC0415
        UserRights,
        missing_rights,
        promises_rights,
        rights_path,
    )

    htpasswd = htpasswd_path(settings)
    path = rights_path(htpasswd)
    if not path.exists():
        if promises_rights(htpasswd):
            raise UsageError(missing_rights(htpasswd))
        tell(f"all users have full rights: there is no {path}")
    return UserRights(path, tell)


def _days(settings: Settings, rights: UserRights | None) -> RetentionDays | None:
    """The retention lock; None where nobody has one and nobody can be given one."""
    if rights is None and not settings.retention_days:
        return None
    from limpet_command_serve.retention import RetentionDays  # noqa: PLC0415

    return RetentionDays(settings.retention_days, rights)


def _usage(settings: Settings, rights: UserRights | None) -> Usage | None:
    """What is counted; None where there is no limit and can be none."""
    limits = (settings.max_size, settings.repository_quota, settings.user_quota)
    if rights is None and limits == (None, None, None):
        return None
    from limpet_command_serve.quota import Usage  # noqa: PLC0415

    return Usage()


def _known(settings: Settings, tell: Tell) -> KnownRepositories | None:
    """What a gateway remembers; None where a folder can be asked."""
    if settings.backend is None:
        return None
    from limpet_command_serve.gateway_files import REPOSITORIES_NAME, KnownRepositories  # noqa: PLC0415

    return KnownRepositories(_path(settings.path) / REPOSITORIES_NAME, tell)


def _path(text: str) -> Path:
    from pathlib import Path  # noqa: PLC0415  # it brings urllib and ipaddress: 0.6 MB

    return Path(text)
