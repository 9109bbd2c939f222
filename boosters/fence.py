"""Fencing whole tasks: whatever they write is written by right of acting, or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection, transaction

from boosters.lease import Right, check_right
from boosters.parameters import Role

WRITES = ("INSERT", "UPDATE", "DELETE")


@contextmanager
def fenced(right: Right) -> Iterator[None]:
    """Let each transaction of the block that writes hold the lease until it commits.

    Of a node of a pair only: each inserting, updating or deleting statement of this thread's
    connection first makes sure of `right`, and raises NoLongerActing where that has passed on. A
    statement outside any transaction gets one for this. A node alone cannot lose its right.
    """
    if right.holder is Role.SINGLE:
        yield
        return

    def check(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
        if not str(sql).lstrip().upper().startswith(WRITES):
            return execute(sql, params, many, context)
        if connection.in_atomic_block:
            check_right(right)
            return execute(sql, params, many, context)
        with transaction.atomic():
            check_right(right)
            return execute(sql, params, many, context)

    with connection.execute_wrapper(check):
        yield
