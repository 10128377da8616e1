"""The tables of a history, which docs/monitoring.md describes to users who query them with other programs."""

from __future__ import annotations

VERSION = 1
"""Version of the tables, kept as the file's user_version"""
APPLICATION = 0x616C7462
"""`altb`, kept as the file's application_id"""
_KINDS = {
    "runs": {
        "id": "INTEGER PRIMARY KEY",
        "token": "TEXT NOT NULL UNIQUE",
        "stamp": "TEXT NOT NULL DEFAULT ''",
        "timezone": "TEXT NOT NULL DEFAULT 'UTC'",
        "playbook": "TEXT NOT NULL DEFAULT ''",
        "command": "TEXT NOT NULL DEFAULT ''",
        "inventory": "TEXT NOT NULL DEFAULT ''",
        "user": "TEXT NOT NULL DEFAULT ''",
        "controller": "TEXT NOT NULL DEFAULT ''",
        "started": "REAL NOT NULL",
        "ended": "REAL",
        "state": "TEXT NOT NULL",
        "exit_code": "INTEGER",
        "failures": "INTEGER NOT NULL DEFAULT 0",
        "message": "TEXT NOT NULL DEFAULT ''",
        "checking": "INTEGER NOT NULL DEFAULT 0",
        "rebuilt": "INTEGER NOT NULL DEFAULT 0",
        "folder": "TEXT NOT NULL DEFAULT ''",
        "versions": "TEXT NOT NULL DEFAULT '{}'",
    },
    "trees": {
        "run": "INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE",
        "node": "TEXT NOT NULL",
        "source": "TEXT NOT NULL",
        "role": "TEXT NOT NULL",
        "base": "TEXT NOT NULL DEFAULT ''",
        "whole": "INTEGER NOT NULL DEFAULT 0",
        "max_age": "REAL",
        "free": "INTEGER",
        "held": "INTEGER",
        "needed": "INTEGER",
        "sent": "INTEGER",
        "wire": "INTEGER",
        "matched": "INTEGER",
        "bytes_read": "INTEGER",
        "purged": "INTEGER",
        "bytes_freed": "INTEGER",
        "bytes_in_trash": "INTEGER",
        "problem": "TEXT NOT NULL DEFAULT ''",
    },
    "copies": {
        "run": "INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE",
        "node": "TEXT NOT NULL",
        "source": "TEXT NOT NULL",
        "role": "TEXT NOT NULL",
        "category": "TEXT NOT NULL",
        "name": "TEXT NOT NULL",
        "stamp": "TEXT",
        "size": "INTEGER",
        "dumped": "INTEGER",
        "bytes": "INTEGER",
        "seconds": "REAL",
        "sent": "INTEGER",
        "checked": "INTEGER",
        "proved": "TEXT",
        "proof_seconds": "REAL",
        "purged": "INTEGER",
        "holds": "TEXT",
        "suspect": "TEXT",
        "problem": "TEXT NOT NULL DEFAULT ''",
    },
    "failures": {
        "run": "INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE",
        "node": "TEXT NOT NULL DEFAULT ''",
        "delegate": "TEXT NOT NULL DEFAULT ''",
        "tree": "TEXT NOT NULL DEFAULT ''",
        "stage": "TEXT NOT NULL DEFAULT ''",
        "category": "TEXT NOT NULL DEFAULT ''",
        "name": "TEXT NOT NULL DEFAULT ''",
        "relpath": "TEXT NOT NULL DEFAULT ''",
        "reason": "TEXT NOT NULL",
        "good": "TEXT",
    },
}
COLUMNS = {table: tuple(columns) for table, columns in _KINDS.items()}
"""{table: names of its columns}"""
STATEMENTS = (
    "CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
    *(
        f"CREATE TABLE {table} ({', '.join(f'{name} {kind}' for name, kind in columns.items())})"
        for table, columns in _KINDS.items()
    ),
    "CREATE INDEX runs_by_start ON runs (started)",
    "CREATE INDEX runs_by_folder ON runs (folder)",
    "CREATE INDEX trees_by_run ON trees (run)",
    "CREATE INDEX trees_by_place ON trees (node, source, role, run)",
    "CREATE INDEX copies_by_run ON copies (run)",
    "CREATE INDEX copies_by_item ON copies (node, source, role, category, name, run)",
    "CREATE INDEX copies_proved ON copies (node, source, role, category, name, proved) WHERE proved IS NOT NULL",
    "CREATE INDEX failures_by_run ON failures (run)",
    f"PRAGMA application_id = {APPLICATION}",
    f"PRAGMA user_version = {VERSION}",
)
"""SQL that turns an empty file into a history"""
