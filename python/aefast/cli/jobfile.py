"""Reads a job file: TOML with options of commands, and with the keys of `aefast run` itself."""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date as Date
from pathlib import Path
from typing import Any

from aefast.cli.errors import UsageError
from aefast.cli.policies import OLD_KEYS, Policies, read_policies, sentences_of_keys
from aefast.tables.text import joined_names

#: The commands whose options a job file may set, each in a table of its name.
COMMANDS = ("fit", "recalibrate", "score", "report")
#: Options that the job sets by itself.
_OWN = {"output", "as_json", "log_file", "resume", "fail_on", "help"}
#: The keys of the other tables, with the types of their values.
_KEYS: dict[str, dict[str, tuple[type, ...]]] = {
    "job": {
        "name": (str,),
        "input": (str, list),
        "model": (str,),
        "output": (str,),
        "report": (str,),
        "state": (str,),
        "policy": (str, list),
        "days-back": (int,),
        "catch-up-days": (int,),
        "fail-on": (str, list),
        "log-file": (str,),
    },
    "fit": {"input": (str, list)},
    "notify": {"command": (str, list), "summary": (str,), "when": (str,)},
}
_WHEN = ("problems", "always")
_DATE = re.compile(r"\{date(?::([^{}]*))?\}")


@dataclass(frozen=True)
class Job:
    """A nightly job. Paths may hold ``{date}``, or ``{date:%Y%m%d}`` with a form of `strftime`.

    Attributes
    ----------
    folder : Path
        Of the job file; relative paths begin there.
    options : mapping of str to list of str
        For each of `COMMANDS` its further arguments.
    """

    folder: Path
    name: str
    input: tuple[str, ...]
    model: str
    output: str
    report: str | None = None
    state: str | None = None
    days_back: int = 0
    catch_up_days: int = 0
    fail_on: tuple[str, ...] = ()
    log_file: str | None = None
    fit_input: tuple[str, ...] = ()
    policies: Policies = field(default_factory=Policies)
    notify: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, list[str]] = field(default_factory=dict)

    def path(self, pattern: str, day: Date) -> Path:
        """Return the path for a day."""
        return self.folder / _DATE.sub(lambda found: format(day, found[1] or "%Y-%m-%d"), pattern)

    def inputs(self, day: Date) -> list[str]:
        """Return the DATA of a day."""
        return [str(self.path(pattern, day)) for pattern in self.input]

    @property
    def state_path(self) -> Path:
        """The file of the job's record: beside the outputs, above folders that are named by date."""
        if self.state is not None:
            return self.folder / self.state
        return self.folder / _DATE.split(self.output)[0].rpartition("/")[0] / f"{self.name}.state.json"


def read_job(path: Path, command_of: Callable[[str], Any]) -> Job:
    """Return the job in a file; ``command_of`` returns a command by its name.

    Raises
    ------
    UsageError
        If the file cannot be read, or if a key or a value is wrong; the message names it and similar keys.
    """
    tables = _parsed(path)
    _refuse_old_keys(path, tables)
    options = {name: _Options(command_of(name)) for name in COMMANDS}
    _check_names(f"{path}: there is no table", tables, [*_KEYS, *COMMANDS, "all"])
    for table, values in tables.items():
        if not isinstance(values, dict):
            raise UsageError(f"{path}: {table} must be a table: write [{table}]")
        known = [*_KEYS.get(table, ()), *(options[table].names if table in options else ())]
        if table == "all":
            known = list(dict.fromkeys(name for each in options.values() for name in each.names))
        values = {key.replace("_", "-"): value for key, value in values.items()}
        tables[table] = values
        _check_names(f"{path}: [{table}] has no key", values, known)
        for key, kinds in _KEYS.get(table, {}).items():
            if key in values and type(values[key]) not in kinds:
                raise UsageError(f"{path}: [{table}] {key} must be {_spoken(kinds)}, got {values[key]!r}")
    job, own = tables.get("job", {}), {name: dict(tables.get(name, {})) for name in COMMANDS}
    for key in ("input", "model", "output"):
        if not job.get(key):
            raise UsageError(f"{path}: [job] lacks {key}; aefast run {path} --init DATA writes a job file")
    try:
        policies = read_policies(_several(job.get("policy", [])))
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from error
    fit_input = own["fit"].pop("input", [])
    arguments = {
        name: options[name].arguments(
            {k: v for k, v in tables.get("all", {}).items() if k in options[name].names} | own[name], path, name
        )
        for name in COMMANDS
    }
    notify = tables.get("notify", {})
    if notify.get("when", _WHEN[0]) not in _WHEN:
        raise UsageError(f"{path}: [notify] when must be one of {', '.join(_WHEN)}, got {notify['when']!r}")
    given = {key.replace("-", "_"): value for key, value in job.items() if key != "policy"}
    lists = {name: _several(given.get(name, ())) for name in ("input", "fail_on")} | {"fit_input": _several(fit_input)}
    own_name = {"name": path.stem}
    return Job(path.parent, policies=policies, notify=notify, options=arguments, **own_name | given | lists)


class _Options:
    """The options of a command that a job file may set."""

    def __init__(self, command: Any) -> None:
        self._command = command
        found = [p for p in command.params if p.param_type_name == "option" and p.name not in _OWN]
        self.names = {max(p.opts, key=len).removeprefix("--"): p for p in found}

    def arguments(self, values: Mapping[str, Any], path: Path, table: str) -> list[str]:
        """Return the arguments that set these values, after the command has parsed them."""
        found = [argument for name, value in values.items() for argument in self._of(name, value, path, table)]
        needed = ["MODEL"] * (table != "fit") + ["DATA"] + ([] if table == "report" else ["-o", "OUT"])
        try:
            self._command.make_context(table, [*needed, *found])
        except Exception as error:
            if not hasattr(error, "format_message"):
                raise
            raise UsageError(f"{path}: [{table}]: {error.format_message()}") from error
        return found

    def _of(self, name: str, value: Any, path: Path, table: str) -> Iterable[str]:
        option = self.names[name]
        if option.is_flag:
            if not isinstance(value, bool):
                raise UsageError(f"{path}: [{table}] {name} must be true or false, got {value!r}")
            return [f"--{name}"] if value else list(option.secondary_opts[:1])
        if isinstance(value, dict):
            value = [f"{key}={each}" for key, each in value.items()]
        if isinstance(value, list):
            if not value:
                return [f"--{name}", ""] if name == "keep" else []  # no column, which is not the default
            value = joined_names([str(each) for each in value])
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise UsageError(f"{path}: [{table}] {name} must be text, a number or a list, got {value!r}")
        return [f"--{name}={value}"] if str(value).startswith("-") else [f"--{name}", str(value)]


def _parsed(path: Path) -> dict[str, Any]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        found: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
        return found
    except FileNotFoundError as error:
        raise UsageError(f"there is no job file {path}; aefast run {path} --init DATA writes one") from error
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise UsageError(f"{path} is not TOML: {error}") from error


def _refuse_old_keys(path: Path, tables: Mapping[str, Any]) -> None:
    """Refuse the keys that sentences have replaced, with the sentences to write."""
    given = {
        table: {key.replace("_", "-"): value for key, value in tables[table].items()}
        for table in OLD_KEYS
        if isinstance(tables.get(table), dict)
    }
    old = [f"[{table}] {key}" for table, keys in OLD_KEYS.items() for key in keys if key in given.get(table, {})]
    if not old:
        return
    try:
        sentences = sentences_of_keys(given)
        read_policies(sentences)
    except (TypeError, ValueError, UsageError):  # the values were wrong
        remedy = "write a policy in [job]"
    else:
        lines = ", ".join(f'"{each}"' for each in sentences)
        remedy = f"leave it out, and write in [job] policy = [{lines}]" if lines else "leave it out"
    raise UsageError(f"{path}: {old[0]} is no key any more; {remedy}")


def _check_names(what: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Refuse an unknown name, with the most similar one."""
    known = list(known)
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0)
            raise UsageError(f"{what} {name!r}; did you mean {near[0]}?")


def _several(value: str | list[str]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(map(str, value))


def _spoken(kinds: tuple[type, ...]) -> str:
    names = {str: "text", list: "a list", int: "a whole number", float: "a number", bool: "true or false"}
    return " or ".join(names[kind] for kind in kinds)
