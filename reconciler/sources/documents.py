"""JSON and YAML as kubectl writes and reads them. The one file that knows `yaml`."""

import json
import re
from collections.abc import Sequence

import yaml

from reconciler.core.nesting import deeply
from reconciler.core.reading import NotTheList


def as_json(content: bytes) -> bytes:
    """JSON as it is, and the YAML of kubectl as JSON. Raises NotTheList."""
    if not content or content.startswith((b"{", b"[")):
        return content
    try:
        return deeply(_from_yaml, content)
    except yaml.YAMLError as error:
        raise NotTheList(_told(error)) from None
    except (ValueError, TypeError, RecursionError) as error:
        raise NotTheList(f"YAML that cannot be expressed as JSON ({error})") from None


def _from_yaml(content: bytes) -> bytes:
    if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(content, _Loader)):
        raise NotTheList("its YAML has aliases, which kubectl never writes")
    return json.dumps(yaml.load(content, _Loader)).encode()  # noqa: S506 - a SafeLoader


def document(content: bytes) -> object:
    """What a file of a person's says in YAML or JSON. Raises ValueError, which quotes none of it."""
    try:
        return yaml.load(content, _Loader)  # noqa: S506 - a SafeLoader
    except yaml.YAMLError as error:
        raise ValueError(_told(error)) from None
    except (TypeError, RecursionError, UnicodeDecodeError):
        raise ValueError("bad text") from None


def _told(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    where = f" in line {mark.line + 1}" if mark else ""
    return f"neither JSON nor YAML ({getattr(error, 'problem', None) or 'bad text'}{where})"


class _Loader(yaml.CSafeLoader):
    """YAML as kubectl writes it: a plain word is a string, unless JSON has that word too.

    PyYAML's own rules make times of some strings and fail on others (`=`, `<<`, 30 February).
    """

    yaml_implicit_resolvers = {}  # noqa: RUF012 - a class of its own, a table of its own


def _resolve(tag: str, pattern: str, first: Sequence[str]) -> None:
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(pattern), first)


_resolve("null", r"^(?:null|~|)$", ["n", "~", ""])
_resolve("bool", r"^(?:true|false)$", ["t", "f"])
_resolve("int", r"^-?(?:0|[1-9]\d*)$", [*"-0123456789"])
_resolve("float", r"^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][-+]?\d+)?$", [*"-0123456789"])

_Loader.add_constructor("tag:yaml.org,2002:float", lambda _, node: float(node.value))
