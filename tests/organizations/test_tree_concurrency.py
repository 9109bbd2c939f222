"""Eight writers at once must leave a perfect tree, on PostgreSQL and on SQLite."""

import random
import threading
from collections import defaultdict

import pytest
from django.db import connection

from backoffice.refusals import Refusal
from organizations.models import Organization
from organizations.tree import create_organization, delete_organization, move_organization
from tests.factories import make_tree

WRITERS = 8
STEPS = 15


def flaws():
    """Compare `lft`, `rght`, `level`, `tree_id` and `path` with what the parent links say."""
    nodes = {node.pk: node for node in Organization.objects.all()}
    children = defaultdict(list)
    for node in nodes.values():
        children[node.parent_id].append(node)
    found = []

    def walk(node, number, level, tree_id, path):
        path = f"{path} / {node.name}" if path else node.name
        left = number
        number += 1
        for child in sorted(children[node.pk], key=lambda child: child.lft):
            number = walk(child, number, level + 1, tree_id, path)
        expected = (left, number, level, tree_id, path)
        if (node.lft, node.rght, node.level, node.tree_id, node.path) != expected:
            found.append((node.code, expected))
        return number + 1

    roots = children[None]
    for root in roots:
        walk(root, 1, 0, root.tree_id, "")
    assert len({root.tree_id for root in roots}) == len(roots)
    return found


@pytest.mark.django_db(transaction=True)
def test_eight_writers_inserting_moving_and_deleting_leave_a_perfect_tree():
    make_tree(ACME=None, NORTH="ACME", OSLO="NORTH", SOUTH="ACME", ROME="SOUTH", OTHER=None)
    ready = threading.Barrier(WRITERS)
    failures = []
    done = defaultdict(int)

    def write(writer):
        dice = random.Random(writer)
        ready.wait()
        try:
            for step in range(STEPS):
                present = list(Organization.objects.values_list("pk", "kind"))
                inner = [pk for pk, kind in present if kind != "store"]
                action = dice.choice(["insert", "insert", "move", "delete"])
                try:
                    if action == "insert":
                        code = f"W{writer}-{step}"
                        kind = dice.choice(["region", "store", "client"])
                        parent = None if kind == "client" else dice.choice(inner)
                        create_organization(code=code, name=code, kind=kind, parent_id=parent)
                    elif action == "move":
                        move_organization(dice.choice(present)[0], dice.choice(inner))
                    else:
                        delete_organization(dice.choice(present)[0])
                    done[action] += 1
                except Refusal:
                    done["refused"] += 1
        except Exception as error:
            failures.append(error)
        finally:
            connection.close()

    writers = [threading.Thread(target=write, args=(writer,)) for writer in range(WRITERS)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()

    assert failures == []
    assert flaws() == []
    assert min(done["insert"], done["move"], done["delete"]) > 0
