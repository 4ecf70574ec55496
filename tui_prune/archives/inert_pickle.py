"""A pickle as plain data: containers and values as they are, and whatever would be called or built as a stub.

An own machine of pickle's instructions, because every class of Python's that loads pickles can be made to import or to
call. This one has no way to do either: a name is kept as a name, a call as what would be called with what. Nothing is
hashed but plain keys, and nothing is allocated that the file doesn't hold, so a hostile file costs no more than its
own size.
"""

import pickletools
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

MOST_STEPS = 20_000_000
"""Instructions; a checkpoint of thousands of tensors has some hundred thousand."""
_LONGEST_KEY = 8
"""Entries of a tuple that is a key."""
_MARK = object()


class PickleError(ValueError):
    """Not a whole pickle, or one with an instruction that no checkpoint has."""


@dataclass(frozen=True)
class Name:
    """A class or function that the file names; it is never looked up."""

    module: str
    name: str

    def __str__(self) -> str:
        """In the form "torch.nn.modules.linear.Linear"."""
        return f"{self.module}.{self.name}"


@dataclass(eq=False)
class Stub:
    """What a call would have given: an object that isn't built."""

    made_by: Any
    """The name of the class or function, or another stub."""
    args: Any = ()
    state: dict[str, Any] = field(default_factory=dict)
    """Its attributes."""
    other_state: Any = None
    """A state that is no dict."""
    items: list[Any] = field(default_factory=list)
    """What was appended or added to it."""
    entries: list[tuple[Any, Any]] = field(default_factory=list)
    """What was set in it, by key."""

    @property
    def kind(self) -> str:
        """The class or function as the file writes it; empty where it names none."""
        made_by = self.made_by
        if isinstance(made_by, Name) and str(made_by) in _MAKERS and self.args and isinstance(self.args[0], Name):
            made_by = self.args[0]  # copyreg's way to make an object of a class
        return str(made_by) if isinstance(made_by, Name) else ""


_MAKERS = ("copyreg._reconstructor", "copy_reg._reconstructor", "copyreg.__newobj__")


@dataclass(frozen=True, eq=False)
class Persistent:
    """A reference to something outside the pickle."""

    id: Any


Rebuild = Callable[[Stub], Any]
"""What stands for a call in the result; a stub that stays is given back as it is."""


def read_pickle(data: bytes, start: int = 0, rebuild: Rebuild = lambda stub: stub) -> tuple[Any, int]:
    """The object of the pickle that starts at a place of `data`, and the place behind it. Raises `PickleError`."""
    machine = _Machine(rebuild)
    steps = 0
    try:
        for opcode, argument, place in pickletools.genops(_Reader(data, start)):  # type: ignore[arg-type]
            steps += 1
            if steps > MOST_STEPS:
                raise PickleError("it has too many instructions")
            if opcode.name == "STOP":
                return machine.pop(), start + (place or 0) + 1
            machine.step(opcode.name, argument)
    except PickleError:
        raise
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError, struct.error) as error:
        raise PickleError(str(error) or type(error).__name__) from error
    raise PickleError("it doesn't end")


class _Reader:
    """A file over bytes that counts from where the pickle starts; a read of more than there is gives what there is."""

    def __init__(self, data: bytes, start: int) -> None:
        self._data, self._start, self._place = data, start, start

    def read(self, size: int) -> bytes:
        found = self._data[self._place : self._place + min(size, len(self._data))]
        self._place += len(found)
        return found

    def readline(self) -> bytes:
        end = self._data.find(b"\n", self._place)
        stop = len(self._data) if end < 0 else end + 1
        found = self._data[self._place : stop]
        self._place = stop
        return found

    def tell(self) -> int:
        return self._place - self._start


class _Machine:
    """The stack, the marks and the memo of one pickle."""

    def __init__(self, rebuild: Rebuild) -> None:
        self._rebuild = rebuild
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def step(self, name: str, argument: Any) -> None:
        if name in _VALUES:
            self._stack.append(argument)
        elif name in _CONSTANTS:
            self._stack.append(_CONSTANTS[name]())
        elif name in _IGNORED:
            pass
        elif (method := _METHODS.get(name)) is not None:
            method(self, argument)
        else:
            raise PickleError(f"it has the instruction {name}")

    def pop(self) -> Any:
        if not self._stack or self._stack[-1] is _MARK:
            raise PickleError("its stack is empty")
        return self._stack.pop()

    def _top(self) -> Any:
        if not self._stack or self._stack[-1] is _MARK:
            raise PickleError("its stack is empty")
        return self._stack[-1]

    def _marked(self) -> list[Any]:
        """What is above the last mark, which goes, too."""
        place = len(self._stack) - 1
        while place >= 0 and self._stack[place] is not _MARK:
            place -= 1
        if place < 0:
            raise PickleError("a mark is missing")
        found = self._stack[place + 1 :]
        del self._stack[place:]
        return found

    # Stack and memo

    def mark(self, argument: Any) -> None:
        self._stack.append(_MARK)

    def drop(self, argument: Any) -> None:
        if not self._stack:
            raise PickleError("its stack is empty")
        self._stack.pop()

    def drop_marked(self, argument: Any) -> None:
        self._marked()

    def again(self, argument: Any) -> None:
        self._stack.append(self._top())

    def put(self, argument: Any) -> None:
        self._memo[int(argument)] = self._top()

    def memoize(self, argument: Any) -> None:
        self._memo[len(self._memo)] = self._top()

    def get(self, argument: Any) -> None:
        self._stack.append(self._memo[int(argument)])

    # Containers

    def list_of_marked(self, argument: Any) -> None:
        self._stack.append(self._marked())

    def tuple_of_marked(self, argument: Any) -> None:
        self._stack.append(tuple(self._marked()))

    def dict_of_marked(self, argument: Any) -> None:
        made: dict[Any, Any] = {}
        _set_all(made, self._marked())
        self._stack.append(made)

    def tuple1(self, argument: Any) -> None:
        self._tuple_of(1)

    def tuple2(self, argument: Any) -> None:
        self._tuple_of(2)

    def tuple3(self, argument: Any) -> None:
        self._tuple_of(3)

    def _tuple_of(self, count: int) -> None:
        self._stack.append(tuple(reversed([self.pop() for _ in range(count)])))

    def append(self, argument: Any) -> None:
        value = self.pop()
        _append_all(self._top(), [value])

    def append_marked(self, argument: Any) -> None:
        values = self._marked()
        _append_all(self._top(), values)

    def set_item(self, argument: Any) -> None:
        value, key = self.pop(), self.pop()
        _set_all(self._top(), [key, value])

    def set_marked(self, argument: Any) -> None:
        pairs = self._marked()
        _set_all(self._top(), pairs)

    # What would import, call or build

    def name(self, argument: Any) -> None:
        module, _, name = str(argument).partition(" ")
        self._stack.append(Name(module, name))

    def name_of_stack(self, argument: Any) -> None:
        name, module = self.pop(), self.pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise PickleError("a name is no text")
        self._stack.append(Name(module, name))

    def call(self, argument: Any) -> None:
        args, made_by = self.pop(), self.pop()
        self._made(Stub(made_by, args if isinstance(args, tuple) else (args,)))

    def call_with_keywords(self, argument: Any) -> None:
        self.pop()
        self.call(argument)

    def call_marked(self, argument: Any) -> None:
        made_by, *args = self._marked()
        self._made(Stub(made_by, tuple(args)))

    def call_named(self, argument: Any) -> None:
        args = self._marked()
        self.name(argument)
        self._made(Stub(self.pop(), tuple(args)))

    def _made(self, stub: Stub) -> None:
        self._stack.append(self._rebuild(stub))

    def build(self, argument: Any) -> None:
        state = self.pop()
        made = self._top()
        if not isinstance(made, Stub):
            return  # such as the metadata of an OrderedDict
        parts = state if isinstance(state, tuple) and len(state) == 2 else (state,)
        if all(isinstance(part, dict) or part is None for part in parts):
            for part in parts:  # the second holds what is in slots
                made.state.update({key: value for key, value in (part or {}).items() if isinstance(key, str)})
        else:
            made.other_state = state

    def persistent(self, argument: Any) -> None:
        self._stack.append(Persistent(argument))

    def persistent_of_stack(self, argument: Any) -> None:
        found = self.pop()
        if isinstance(found, tuple) and len(found) > 1 and found[0] == "module":  # a class beside its source code
            self._stack.append(found[1])
        else:
            self._stack.append(Persistent(found))


def _append_all(target: Any, values: list[Any]) -> None:
    if isinstance(target, list):
        target.extend(values)
    elif isinstance(target, Stub):
        target.items.extend(values)
    else:
        raise PickleError(f"something is appended to a {type(target).__name__}")


def _set_all(target: Any, pairs: list[Any]) -> None:
    if len(pairs) % 2:
        raise PickleError("a key has no value")
    entries = list(zip(pairs[::2], pairs[1::2], strict=True))
    if isinstance(target, Stub):
        target.entries.extend(entries)
    elif isinstance(target, dict):
        for key, value in entries:
            target[_key(key)] = value
    else:
        raise PickleError(f"an entry of a {type(target).__name__} is set")


def _key(key: Any) -> Any:
    """What can be hashed in one step; anything else is a key by its identity."""
    plain = (str, int, float, bool, bytes, type(None), Name)
    if isinstance(key, plain):
        return key
    if isinstance(key, tuple) and len(key) <= _LONGEST_KEY and all(isinstance(part, plain) for part in key):
        return key
    return Stub(Name("", "key"), (key,))


_VALUES = frozenset(
    "INT BININT BININT1 BININT2 LONG LONG1 LONG4 STRING BINSTRING SHORT_BINSTRING BINBYTES SHORT_BINBYTES BINBYTES8 "
    "BYTEARRAY8 UNICODE SHORT_BINUNICODE BINUNICODE BINUNICODE8 FLOAT BINFLOAT".split()
)
_IGNORED = frozenset(("PROTO", "FRAME", "READONLY_BUFFER"))
_CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
    "EMPTY_DICT": dict,
    "EMPTY_SET": list,
}
"""A set is read as a list: nothing that a file names is hashed."""
_METHODS: dict[str, Callable[[_Machine, Any], None]] = {
    "MARK": _Machine.mark,
    "POP": _Machine.drop,
    "POP_MARK": _Machine.drop_marked,
    "DUP": _Machine.again,
    "PUT": _Machine.put,
    "BINPUT": _Machine.put,
    "LONG_BINPUT": _Machine.put,
    "MEMOIZE": _Machine.memoize,
    "GET": _Machine.get,
    "BINGET": _Machine.get,
    "LONG_BINGET": _Machine.get,
    "LIST": _Machine.list_of_marked,
    "TUPLE": _Machine.tuple_of_marked,
    "DICT": _Machine.dict_of_marked,
    "FROZENSET": _Machine.list_of_marked,
    "TUPLE1": _Machine.tuple1,
    "TUPLE2": _Machine.tuple2,
    "TUPLE3": _Machine.tuple3,
    "APPEND": _Machine.append,
    "APPENDS": _Machine.append_marked,
    "ADDITEMS": _Machine.append_marked,
    "SETITEM": _Machine.set_item,
    "SETITEMS": _Machine.set_marked,
    "GLOBAL": _Machine.name,
    "STACK_GLOBAL": _Machine.name_of_stack,
    "REDUCE": _Machine.call,
    "NEWOBJ": _Machine.call,
    "NEWOBJ_EX": _Machine.call_with_keywords,
    "OBJ": _Machine.call_marked,
    "INST": _Machine.call_named,
    "BUILD": _Machine.build,
    "PERSID": _Machine.persistent,
    "BINPERSID": _Machine.persistent_of_stack,
}
