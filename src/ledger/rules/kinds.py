"""Decides what a rulebook may declare: event kinds with their refs, fields and state, and object kinds with their fields.

Rules: `kinds/*.toml` hold one table per kind, `objects.toml` one per object kind; every declaration is closed (an unknown
key is an error that names file and place). Keys of state objects come from member, refs, body fields and the event's date
alone, so that what an event touches follows from its bytes.
Never here: code generation (see `compiler`), rules.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn

from ledger.errors import MalformedError
from ledger.limits import INT_MAX, REFS_LIST_MAX, REFS_LIST_WIDE_MAX

REQUEST: Final = "request"
ACT: Final = "act"

FIELD_TYPES: Final = ("text", "code", "int", "bool", "time", "date", "digest", "list", "group")
TEXT_CHARS_DEFAULT: Final = 500  # of a text field that states no limit
TEXT_CHARS_MAX: Final = 4000
LIST_ITEMS_DEFAULT: Final = 32
LIST_ITEMS_MAX: Final = 256

_KIND_NAME: Final = re.compile(r"[a-z][a-z0-9]*(\.[a-z][a-z0-9]*)+").fullmatch
_KIND_CODE: Final = re.compile(r"[A-Z][A-Z0-9_]{0,31}").fullmatch
_NAME: Final = re.compile(r"[a-z][a-z0-9_]*").fullmatch
_OBJECT_NAME: Final = re.compile(r"[a-z][a-z0-9]*").fullmatch
_VARIABLE: Final = re.compile(r"\{([a-z_.0-9]+)\}")
_RESERVED_OBJECTS: Final = frozenset({"timer", "duty", "finding", "ticket", "stream"})
_RESERVED_FIELDS: Final = frozenset({"target", "of"})
# What the ledger itself writes when it raises a finding; a rulebook may add fields, and a table may move its status.
_FINDING_FIELDS: Final = frozenset({"about", "args", "at", "code", "due", "held", "id", "on", "provisional", "rule"})

Title = dict[str, str]
"""`zh` and `en`, both required."""


@dataclass(frozen=True, slots=True)
class Field:
    """A body field. `limit`: characters of a text, items of a list; `low`/`high` bound an int; `values` an enumeration."""

    name: str
    type: str
    title: Title
    required: bool = True
    limit: int = 0
    low: int = 0
    high: int = INT_MAX
    values: tuple[str, ...] = ()
    item: Field | None = None
    fields: tuple[Field, ...] = ()


@dataclass(frozen=True, slots=True)
class Ref:
    """A ref; its name is the stream kind, and the kind of the objects it names: one (`many` 0) or at most `many`.

    `exists`: must name an object. `opaque`: the stream has no state object, so nothing can be looked up or be unresolved.
    `kind`: the kind of the objects where it is another than the stream's (parents of a copy are copies); rules read and
    write such objects, but no table moves them and no duty is discharged by their being named.
    """

    name: str
    many: int = 0
    optional: bool = False
    exists: bool = True
    opaque: bool = False
    kind: str = ""

    @property
    def object(self) -> str:
        """The kind of the objects that this ref names."""
        return self.kind or self.name


@dataclass(frozen=True, slots=True)
class Template:
    """How the key of state object `name` is made: literal parts and variables (`{"ref": …}` and so on) in turn."""

    name: str
    object: str
    parts: tuple[
        tuple[str, str], ...
    ]  # ("text", x) | ("ref", name) | ("body", name) | ("member", "") | ("new", "") | …


@dataclass(frozen=True, slots=True)
class Kind:
    """One event kind as declared. `code`: what the people who know it from elsewhere call it, for readers only."""

    name: str
    act: bool
    title: Title
    file: str
    code: str = ""
    refs: tuple[Ref, ...] = ()
    fields: tuple[Field, ...] = ()
    creates: str | None = None
    state: tuple[Template, ...] = ()
    by: tuple[str, ...] = ()
    agree: tuple[tuple[str, str], ...] = ()
    owns: tuple[str, ...] = ()
    retention: str = "default"
    imported: bool = False

    @property
    def function(self) -> str:
        """The part of a rule function's name that stands for this kind: `share.apply` gives `share_apply`."""
        return self.name.replace(".", "_")

    def objects(self) -> dict[str, str]:
        """Object kind by the name under which rules see it in `state`."""
        found = {ref.name: ref.object for ref in self.refs if not ref.opaque}
        found.update({template.name: template.object for template in self.state})
        if self.creates is not None:
            found[self.created] = self.creates
        return found

    @property
    def created(self) -> str:
        """The name in `state` of what an event of this kind creates: its object kind, or `new` where a ref has that name."""
        taken = any(ref.name == self.creates for ref in self.refs)
        return "new" if taken or self.creates is None else self.creates


@dataclass(frozen=True, slots=True)
class ObjectKind:
    """A kind of state object. `fields`: name → default (None: absent until written); `implicit`: reads as its defaults.

    `titles` has the title of each field.
    """

    name: str
    title: Title
    fields: dict[str, Any] = field(default_factory=dict)
    implicit: bool = False
    titles: dict[str, Title] = field(default_factory=dict)


def refuse(file: str, where: str, message: str, advice: str = "") -> NoReturn:
    """Raise `MalformedError` (code `rulebook`) that names the file, the place in it, and what to do instead."""
    raise MalformedError("rulebook", message, file=file, where=where, advice=advice)


class Reader:
    """Takes the entries of one TOML table and refuses what is left over."""

    def __init__(self, file: str, where: str, table: object) -> None:
        if not isinstance(table, dict):
            refuse(file, where, "expected a table")
        self.file, self.where, self._left = file, where, dict(table)

    def take(self, name: str, kind: type, default: Any = None) -> Any:
        """The entry `name` of type `kind`, or `default` (required when that is `...`)."""
        value = self._left.pop(name, default)
        if value is ...:
            self.fail(f"{name} is missing")
        if value is not default and type(value) is not kind:
            self.fail(f"{name} must be {kind.__name__}")
        return value

    def title(self) -> Title:
        """The entry `title`: both languages."""
        value = self.take("title", dict, ...)
        if set(value) != {"zh", "en"} or not all(isinstance(text, str) and text for text in value.values()):
            self.fail("title needs zh and en")
        return dict(value)

    def names(self, name: str) -> tuple[str, ...]:
        """The entry `name`: a list of strings, empty when absent."""
        value = self.take(name, list, [])
        if not all(isinstance(item, str) for item in value):
            self.fail(f"{name} must be a list of strings")
        return tuple(value)

    def rest(self) -> dict[str, Any]:
        """Everything not taken yet."""
        left, self._left = self._left, {}
        return left

    def done(self) -> None:
        """Refuse what nobody took."""
        if self._left:
            self.fail(f"unknown entry {min(self._left)!r}")

    def fail(self, message: str, advice: str = "") -> NoReturn:
        """Raise `MalformedError` for this table."""
        refuse(self.file, self.where, message, advice)


def parse_kind(file: str, name: str, table: object, common: tuple[Field, ...]) -> Kind:
    """The kind `name` declared by `table`; `common` fields are added to its body. Raises `MalformedError`."""
    reader = Reader(file, name, table)
    if not _KIND_NAME(name) or len(name) > 64:
        reader.fail("a kind is named by dotted lower-case words", "for example share.apply")
    kind_type = reader.take("type", str, ...)
    if kind_type not in (REQUEST, ACT):
        reader.fail("type must be request or act")
    code = reader.take("code", str, "")
    if code and not _KIND_CODE(code):
        reader.fail("a code is upper-case words with underscores", "for example CATALOG_SUBMIT")
    refs = tuple(_parse_ref(reader, ref, entry) for ref, entry in reader.take("refs", dict, {}).items())
    body = tuple(parse_field(reader, entry, spec) for entry, spec in reader.take("body", dict, {}).items())
    own = {entry.name for entry in body}
    kind = Kind(
        name=name,
        act=kind_type == ACT,
        title=reader.title(),
        file=file,
        code=code,
        refs=refs,
        fields=body + tuple(entry for entry in common if entry.name not in own),
        creates=reader.take("creates", str),
        state=tuple(
            _parse_template(reader, state, text, refs, own) for state, text in reader.take("state", dict, {}).items()
        ),
        by=reader.names("by"),
        agree=_parse_agree(reader),
        owns=reader.names("owns"),
        retention=reader.take("retention", str, "default"),
        imported=reader.take("imported", bool, False),
    )
    reader.done()
    _check_kind(reader, kind)
    return kind


def _parse_agree(reader: Reader) -> tuple[tuple[str, str], ...]:
    pairs = reader.take("agree", dict, {})
    if not all(isinstance(path, str) for path in pairs.values()):
        reader.fail("agree maps a ref to a field of another object", 'for example dataset = "grant.dataset"')
    return tuple(pairs.items())


def _parse_ref(reader: Reader, name: str, table: object) -> Ref:
    entry = Reader(reader.file, f"{reader.where}.refs.{name}", table)
    if not _OBJECT_NAME(name) or (name in _RESERVED_OBJECTS and name != "finding"):
        entry.fail("a ref is named by its stream kind", "one lower-case word that the ledger does not use itself")
    ref = Ref(
        name=name,
        many=entry.take("many", int, 0),
        optional=entry.take("optional", bool, False),
        exists=entry.take("exists", bool, True),
        opaque=entry.take("opaque", bool, False),
        kind=entry.take("object", str, ""),
    )
    entry.done()
    if ref.kind and (not _OBJECT_NAME(ref.kind) or ref.kind in _RESERVED_OBJECTS or ref.opaque):
        entry.fail("object names the kind of the objects", "one that is declared in objects.toml, of a ref not opaque")
    if ref.many not in (0, REFS_LIST_MAX, REFS_LIST_WIDE_MAX) and not 1 <= ref.many <= REFS_LIST_MAX:
        entry.fail("many is 1 to 32, or 64")
    return ref


def parse_field(reader: Reader, name: str, table: object, depth: int = 0) -> Field:
    """The body field `name` declared by `table`. Raises `MalformedError`."""
    entry = Reader(reader.file, f"{reader.where}.{name}", table)
    if not _NAME(name) or name == "salt" or depth > 3:
        entry.fail("bad name of a field, or nested too deep", "lower-case letters, digits and _; salt is always there")
    kind = entry.take("type", str, ...)
    if kind not in FIELD_TYPES:
        entry.fail(f"unknown type {kind!r}", "one of " + ", ".join(FIELD_TYPES))
    title = entry.title() if depth == 0 else {"zh": name, "en": name}
    required = not entry.take("optional", bool, False)
    limit, low, high, values = 0, 0, INT_MAX, entry.names("in") if kind == "code" else ()
    item: Field | None = None
    fields: tuple[Field, ...] = ()
    if kind == "text":
        limit = _bound(entry, TEXT_CHARS_DEFAULT, TEXT_CHARS_MAX)
    elif kind == "int":
        low, high = entry.take("min", int, 0), entry.take("max", int, INT_MAX)
    elif kind == "list":
        limit = _bound(entry, LIST_ITEMS_DEFAULT, LIST_ITEMS_MAX)
        item = parse_field(entry, name, entry.take("of", dict, ...), depth + 1)
    elif kind == "group":
        fields = tuple(parse_field(entry, n, t, depth + 1) for n, t in entry.take("fields", dict, ...).items())
    entry.done()
    return Field(name, kind, title, required, limit, low, high, values, item, fields)


def _bound(entry: Reader, default: int, highest: int) -> int:
    limit: int = entry.take("max", int, default)
    if not 1 <= limit <= highest:
        entry.fail(f"max is 1 to {highest}")
    return limit


def _parse_template(reader: Reader, name: str, text: object, refs: tuple[Ref, ...], body: set[str]) -> Template:
    where = f"{reader.where}.state.{name}"
    if not isinstance(text, str) or "/" not in text or not _NAME(name):
        refuse(reader.file, where, "a key template is <object kind>/<parts>", 'for example "use/{grant}"')
    kind, _, rest = text.partition("/")
    if not _OBJECT_NAME(kind) or kind in _RESERVED_OBJECTS:
        refuse(reader.file, where, f"objects of kind {kind!r} cannot be named here")
    single = {ref.name for ref in refs if not ref.many}
    parts: list[tuple[str, str]] = []
    position = 0
    for match in _VARIABLE.finditer(rest):
        if match.start() > position:
            parts.append(("text", rest[position : match.start()]))
        position = match.end()
        variable = match[1]
        if variable in ("member", "new", "day", "month", "year"):
            parts.append((variable, ""))
        elif variable in single:
            parts.append(("ref", variable))
        elif variable.endswith(".owner") and variable.removesuffix(".owner") in single:
            parts.append(("owner", variable.removesuffix(".owner")))
        elif variable.startswith("body.") and variable[5:] in body:
            parts.append(("body", variable[5:]))
        else:
            refuse(
                reader.file,
                where,
                f"unknown variable {{{variable}}}",
                "member, new, day, month, year, a ref, <ref>.owner, body.<field>",
            )
    if position < len(rest):
        parts.append(("text", rest[position:]))
    return Template(name, kind, tuple(parts))


def _check_kind(reader: Reader, kind: Kind) -> None:
    names = [ref.name for ref in kind.refs] + [template.name for template in kind.state]
    if kind.creates is not None:
        names.append(kind.created)
        if not _OBJECT_NAME(kind.creates) or kind.creates in _RESERVED_OBJECTS:
            reader.fail(f"objects of kind {kind.creates!r} cannot be created")
    if len(set(names)) != len(names):
        reader.fail("two objects of the state have one name", "refs, state and creates share their names")
    objects = kind.objects()
    single = {ref.name for ref in kind.refs if not ref.many}
    lists = {ref.name for ref in kind.refs if ref.many}
    found = single | lists | {template.name for template in kind.state}
    for path in kind.by + tuple(path for _, path in kind.agree):
        name = path.partition(".")[0]
        if name not in objects or name not in found or "." not in path:
            reader.fail(f"{path!r} is no field of a single object of this kind")
    for ref, path in kind.agree:
        if ref not in {entry.name for entry in kind.refs}:
            reader.fail(f"agree names the ref {ref!r}, which is not declared")
        if path.partition(".")[0] in lists and ref not in lists:
            reader.fail(f"agree: several objects agree with a list only, and {ref!r} is none")
    for ref in kind.owns:
        if ref not in single:
            reader.fail(f"owns names {ref!r}, which is no single ref")


def parse_objects(file: str, document: dict[str, Any]) -> dict[str, ObjectKind]:
    """Object kinds by name. Raises `MalformedError`."""
    found: dict[str, ObjectKind] = {}
    for name, table in document.items():
        reader = Reader(file, name, table)
        if not _OBJECT_NAME(name) or (name in _RESERVED_OBJECTS and name != "finding"):
            reader.fail("bad name of an object kind")
        title, implicit = reader.title(), reader.take("implicit", bool, False)
        fields: dict[str, Any] = {}
        titles: dict[str, Title] = {}
        for entry, spec in reader.take("fields", dict, {}).items():
            if not _NAME(entry) or entry in _RESERVED_FIELDS or (name == "finding" and entry in _FINDING_FIELDS):
                reader.fail(f"bad name of a field: {entry!r}")
            if not isinstance(spec, dict) or not set(spec) <= {"default", "zh", "en"} or not {"zh", "en"} <= set(spec):
                reader.fail(f"field {entry!r} needs zh and en, and may have a default")
            fields[entry] = spec.get("default")
            titles[entry] = {"zh": spec["zh"], "en": spec["en"]}
        reader.done()
        found[name] = ObjectKind(name, title, fields, implicit, titles)
    return found
