"""The core's own commands: one module each, imported when the command is asked for."""

from __future__ import annotations

COMMANDS = {
    "backend": "Measure storages",
    "backup": "Create a new backup of files and/or directories",
    "cache": "Operate on local cache directories",
    "cat": "Print internal objects to stdout",
    "check": "Check the repository for errors",
    "copy": "Copy snapshots from one repository to another",
    "describe": "Say what a snapshot is",
    "diff": "Show differences between two snapshots",
    "dump": "Print a backed-up file to stdout, or a folder as an archive",
    "features": "Print list of feature flags",
    "find": "Find a file, a directory or restic IDs",
    "forget": "Remove snapshots from the repository",
    "generate": "Generate manual pages and auto-completion files (bash, fish, zsh, powershell)",
    "init": "Initialize a new repository",
    "key": "Manage keys (passwords)",
    "list": "List objects in the repository",
    "ls": "List files in a snapshot",
    "migrate": "Apply migrations",
    "options": "Print list of extended options",
    "plugin": "List, describe and check the installed plugins",
    "profile": "List, show and check the profiles of the configuration",
    "protect": "Keep snapshots from being removed",
    "prune": "Remove unneeded data from the repository",
    "recover": "Recover data from the repository not referenced by snapshots",
    "repair": "Repair the repository",
    "restore": "Extract the data from a snapshot",
    "rewrite": "Rewrite snapshots to exclude files or change metadata",
    "run": "Run a profile of the configuration: backup, retention, checks",
    "schedule": "Have profiles run by systemd or cron",
    "self-update": "Say how to update Limpet",
    "snapshots": "List all snapshots",
    "stats": "Scan the repository and show basic statistics",
    "tag": "Modify tags on snapshots",
    "unlock": "Remove locks other processes created",
    "unprotect": "Let snapshots be removed again",
    "version": "Print version information",
}
"""Name and one line of help: the list of commands is shown without importing any."""

DEPRECATED = {"rebuild-index": ("repair", "index")}
"""Commands under the names they had long ago: they work and warn, and no help shows them."""
