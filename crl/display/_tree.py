"""Reads the window tree of an X server, one round trip a level.

All questions about one level are sent before the first answer is read. Windows that vanish meanwhile are left out.
The module knows python-xlib's requests and gives `Window` values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from crl.display.windows import Geometry, Window

__all__ = ["MAX_WINDOWS", "TreeNode", "read_tree"]

MAX_WINDOWS = 20_000
MAX_LEVELS = 64
_TEXT_WORDS = 256  # 1 KiB of a title is enough
_ANY_TYPE = 0
_VIEWABLE = 2


@dataclass(frozen=True)
class TreeNode:
    """A window, and whether it is one of an application (or its frame) or a part inside one."""

    window: Window
    inside_application: bool


@dataclass(frozen=True)
class _Asked:
    """The questions about one window that are under way."""

    id: int
    parent: int
    inside: bool
    attributes: Any
    geometry: Any
    position: Any
    net_name: Any
    name: Any
    wm_class: Any
    pid: Any
    tree: Any


def read_tree(x: Any, root: int) -> list[TreeNode]:
    """All windows below the root, parents before their children, lowest in the stacking order first.

    Args:
        x: python-xlib's connection, held by an operation.
        root: The root window's number.
    """
    from Xlib.protocol import request

    first = request.QueryTree(display=x, window=root)
    level = [(child.id, root, False) for child in first.children]
    found: list[TreeNode] = []
    for _ in range(MAX_LEVELS):
        room = MAX_WINDOWS - len(found)
        if not level or room <= 0:
            break
        asked = [_ask(x, root, *entry) for entry in level[:room]]
        level = []
        for questions in asked:
            node, children = _read(questions)
            if node is not None:
                found.append(node)
                inside = node.inside_application or node.window.wm_class != ("", "")
                level.extend((child, questions.id, inside) for child in children)
    return found


def _ask(x: Any, root: int, window: int, parent: int, inside: bool) -> _Asked:
    from Xlib import Xatom
    from Xlib.protocol import request

    def property_of(atom: int, words: int) -> Any:
        return request.GetProperty(
            display=x, defer=True, delete=False, window=window, property=atom, type=_ANY_TYPE, long_offset=0,
            long_length=words,
        )  # fmt: skip

    return _Asked(
        id=window,
        parent=parent,
        inside=inside,
        attributes=request.GetWindowAttributes(display=x, defer=True, window=window),
        geometry=request.GetGeometry(display=x, defer=True, drawable=window),
        position=request.TranslateCoords(display=x, defer=True, src_wid=window, dst_wid=root, src_x=0, src_y=0),
        net_name=property_of(x.get_atom("_NET_WM_NAME"), _TEXT_WORDS),
        name=property_of(Xatom.WM_NAME, _TEXT_WORDS),
        wm_class=property_of(Xatom.WM_CLASS, _TEXT_WORDS),
        pid=property_of(x.get_atom("_NET_WM_PID"), 1),
        tree=request.QueryTree(display=x, defer=True, window=window),
    )


def _read(asked: _Asked) -> tuple[TreeNode | None, list[int]]:
    """The answers about one window; all are read even if it has vanished, so that none stays in the queue."""
    attributes, geometry, position, tree = map(
        _answer, (asked.attributes, asked.geometry, asked.position, asked.tree)
    )
    net_name, name, wm_class, pid = map(_property, (asked.net_name, asked.name, asked.wm_class, asked.pid))
    if attributes is None or geometry is None or position is None or tree is None:
        return None, []
    instance, _, class_name = _text(wm_class).partition("\0")
    window = Window(
        id=asked.id,
        name=_text(net_name) or _text(name),
        wm_class=(instance, class_name.rstrip("\0")),
        geometry=Geometry(position.x, position.y, geometry.width, geometry.height),
        viewable=attributes.map_state == _VIEWABLE,
        parent=asked.parent,
        override_redirect=bool(attributes.override_redirect),
        pid=_number(pid),
    )
    return TreeNode(window, asked.inside), [child.id for child in tree.children]


def _answer(question: Any) -> Any:
    from Xlib import error

    try:
        question.reply()
    except (error.BadWindow, error.BadDrawable):
        return None
    return question


def _property(question: Any) -> Any:
    answer = _answer(question)
    return None if answer is None or not answer.property_type else answer.value[1]


def _text(value: Any) -> str:
    """A property's text: UTF-8, else Latin-1 (which never fails)."""
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return value.decode("latin-1")
    return value if isinstance(value, str) else ""


def _number(value: Any) -> int | None:
    is_one = isinstance(value, Sequence) and not isinstance(value, bytes | str) and len(value) == 1
    return int(value[0]) if is_one else None
