"""Settings of a training run, as a YAML file, the environment and flags give them.

Precedence: flag, environment (MSLTX_<NAME>), file, default.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import msgspec
import yaml
from msgspec import Meta, inspect

from msltx import _core
from msltx._arguments import check_folder
from msltx._core import FileError, InvalidValueError

__all__ = [
    "DataSettings",
    "RunSettings",
    "Settings",
    "TrainingSettings",
    "load_settings",
    "write_settings",
]

_MOST = 2**62  # more would not reach the engine
CONFIG_FILE = "config.yaml"
"""In the folder of a run: the settings that its last checkpoint was made with."""

Count = Annotated[int, Meta(ge=1, le=_MOST)]
CountOrNone = Annotated[int, Meta(ge=0, le=_MOST)]
Positive = Annotated[float, Meta(gt=0)]
Share = Annotated[float, Meta(ge=0, lt=1)]
NotNegative = Annotated[float, Meta(ge=0)]


class TrainingSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How a model is trained. Counts are of optimizer steps; 0 for an interval means never."""

    batch_size: Count = 16
    """Sequences of a micro-batch."""
    gradient_accumulation_steps: Count = 1
    """Micro-batches of a step."""
    learning_rate: Positive = 1e-3
    """After the warmup."""
    min_learning_rate: NotNegative | None = None
    """Where the schedule ends; default: a tenth of learning_rate."""
    weight_decay: NotNegative = 0.1
    """On matrices only."""
    betas: tuple[Share, Share] = (0.9, 0.95)
    """Decay of AdamW's two moments."""
    grad_clip: NotNegative = 1.0
    """Largest global norm of the gradients; 0: no limit."""
    max_steps: Count = 1000
    """Steps in all, those of a resumed run's past included."""
    warmup_steps: CountOrNone | None = None
    """Steps in which the rate rises; default: a fiftieth of max_steps, at most 200."""
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    """Of the rate after the warmup."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Compute type."""
    eval_every: CountOrNone = 250
    """Steps between evaluations on the validation split."""
    eval_tokens: CountOrNone = 65536
    """Tokens of an evaluation during training; 0: the whole split."""
    sample_every: CountOrNone = 0
    """Steps between samples written to samples.txt."""
    sample_prompt: str = ""
    """What samples begin with."""
    save_every: CountOrNone = 500
    """Steps between checkpoints; the last step is always saved."""
    keep_checkpoints: CountOrNone = 3
    """Newest checkpoints kept, the best one besides; 0: all."""
    log_every: Count = 10
    """Steps between lines of log.csv and of the output where there is no progress bar."""
    max_skipped_steps: Count = 10
    """Steps in a row with a non-finite loss or norm after which the run stops."""
    seed: CountOrNone = 1
    """Of the initial values, the batches, dropout and the samples."""


class DataSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What a model is trained on."""

    path: str | None = None
    """A prepared dataset: the folder that `msltx data prepare` wrote."""
    paths: list[str] | None = None
    """Several of one tokenizer instead, trained on in fixed shares."""
    weights: list[Positive] | None = None
    """Shares of the sequences from each of paths; default: by training tokens."""
    tokenizer: str | None = None
    """What the token files of llm.c or nanoGPT at path were encoded with."""
    rows: Literal["windows", "packed", "padded"] = "windows"
    """What a sequence is."""
    inside_documents: bool = False
    """Attention and targets stay inside the documents of a sequence."""


class RunSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where a run lives and what it may use."""

    out: str
    """Folder of the run."""
    threads: Annotated[int, Meta(ge=0, le=1024)] = 0
    """0: what the machine gives."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """One YAML file."""

    model: dict[str, Any]
    data: DataSettings
    run: RunSettings
    training: TrainingSettings = TrainingSettings()


_GROUPS: dict[str, type[msgspec.Struct]] = {
    "data": DataSettings,
    "training": TrainingSettings,
    "run": RunSettings,
}


class _Loader(yaml.SafeLoader):
    """Reads 3e-4 as a number and refuses a key given twice, as YAML 1.2 does; PyYAML does not."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value != "<<":
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(
                        problem=f"has {key.value} twice", problem_mark=key.start_mark
                    )
                seen.add(key.value)
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {
    key: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:float"]
    for key, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"^[-+]?(?:\d[\d_]*\.[\d_]*(?:[eE][-+]?\d+)?|\d[\d_]*[eE][-+]?\d+|\.\d[\d_]*(?:[eE][-+]?\d+)?"
        r"|\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
    ),
    list("-+0123456789."),
)


def nearest(name: str, names: list[str]) -> str:
    """Give ", did you mean ...?" for a name that is not among names, or nothing."""
    close = difflib.get_close_matches(name, names, n=1)
    return f"; did you mean {close[0]}?" if close else f"; there are: {', '.join(names)}"


def read_yaml(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a YAML file whose top level is a mapping.

    Raises
    ------
    FileError
        Where the file cannot be read or is not such a file.
    """
    try:
        document = yaml.load(Path(path).read_text("utf-8"), _Loader)
    except OSError as error:
        raise FileError(f"cannot read {path}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        where = getattr(error, "problem_mark", None)
        line = f", line {where.line + 1}" if where else ""
        problem = getattr(error, "problem", None) or ""
        wrong = problem if problem.endswith(" twice") else "is not valid YAML"
        raise FileError(f"{path}{line} {wrong}") from None
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise FileError(
            f"{path} holds a {type(document).__name__}; groups of settings are expected"
        )
    return document


StructType = TypeVar("StructType", bound=msgspec.Struct)


def parse_yaml(text: str, what: str) -> Any:
    """Read one YAML value, with 3e-4 as a number.

    Raises
    ------
    InvalidValueError
        Naming `what` the text was given for.
    """
    try:
        return yaml.load(text, _Loader)
    except (yaml.YAMLError, ValueError):
        raise InvalidValueError(f"{what} is {text}, which is not valid YAML") from None


def parse_setting(group: str, name: str, text: str, what: str) -> Any:
    """Read the text of a setting; one that takes text takes it as it stands."""
    if group in _GROUPS:
        for field in msgspec.structs.fields(_GROUPS[group]):
            if field.name == name and field.type in (str, str | None):
                return text
    return parse_yaml(text, what)


def write_settings(path: str | os.PathLike[str], settings: Settings) -> None:
    """Write settings as the YAML file that load_settings reads."""
    _core.write_file(
        os.fspath(path), yaml.safe_dump(msgspec.to_builtins(settings), sort_keys=False)
    )


def _limits(low: str, most: float | None, less: float | None) -> str:
    if most is not None:
        return f" from {low} to {most}"
    return f" from {low} to less than {less}" if less is not None else f" from {low} on"


def _takes(kind: Any, value: Any) -> str:
    """Say in words what a setting of an inspected type takes."""
    match kind:
        case inspect.UnionType(types=types):
            kinds = [t for t in types if not isinstance(t, inspect.NoneType)]
            return f"{_takes(kinds[0], value)}, or null"
        case inspect.IntType(ge=least, le=most):
            huge = isinstance(value, int) and value > _MOST
            return "a whole number" + _limits(
                str(least), None if most == _MOST and not huge else most, None
            )
        case inspect.FloatType(gt=None, ge=least, lt=less, le=most):
            return "a number" + _limits(str(least), most, less)
        case inspect.FloatType(gt=above):
            return f"a number above {above}"
        case inspect.TupleType(item_types=items):
            return f"{len(items)} numbers" + _takes(items[0], value).removeprefix("a number")
        case inspect.ListType(item_type=item):
            return "a list of " + ("text" if isinstance(item, inspect.StrType) else "numbers")
        case inspect.LiteralType(values=choices):
            return " or ".join(", ".join(map(str, choices)).rsplit(", ", 1))
    return "text"


def _refusal(kind: type[msgspec.Struct], name: str, value: Any) -> str:
    (field,) = (f for f in msgspec.structs.fields(kind) if f.name == name)
    return f"it takes {_takes(inspect.type_info(field.type), value)}"


def _check_together(s: TrainingSettings) -> None:
    """Refuse settings that are right each on its own only."""
    wrong, limit = "", ""
    if s.warmup_steps is not None and s.warmup_steps > s.max_steps:
        wrong, limit = "warmup_steps", f"max_steps, {s.max_steps}"
    elif s.min_learning_rate is not None and s.min_learning_rate > s.learning_rate:
        wrong, limit = "min_learning_rate", f"learning_rate, {s.learning_rate:g}"
    if wrong:
        raise InvalidValueError(f"training.{wrong} is {getattr(s, wrong)}; it takes 0 to {limit}")


def _check_paths(s: DataSettings) -> None:
    """Refuse settings of data that name none, or too much."""
    if s.path is None and not s.paths:
        raise InvalidValueError("data.path is missing; --data or a configuration file gives it")
    if s.path is not None and s.paths:
        raise InvalidValueError("data.path and data.paths are both given; a run takes one of them")
    if s.weights is not None and len(s.weights) != len(s.paths or []):
        raise InvalidValueError(
            f"data.weights has {len(s.weights)} numbers; it takes one for each of data.paths, "
            f"{len(s.paths or [])}"
        )


def convert(
    values: Mapping[str, Any],
    kind: type[StructType],
    group: str,
    given_as: Mapping[str, str] | None = None,
) -> StructType:
    """Build one group of settings, with errors that name group, field, value and limit.

    Parameters
    ----------
    values : mapping of name to value
    kind : type
        The group's class.
    group : str
        Its name.
    given_as : mapping of name to text, optional
        How errors shall name a value that was given by another name: "MSLTX_THREADS is x".

    Raises
    ------
    InvalidValueError
    """
    names = [field.name for field in msgspec.structs.fields(kind)]
    for name in values:
        if name not in names:
            raise InvalidValueError(f"{group} has no setting {name}{nearest(str(name), names)}")
    try:
        made = msgspec.convert(dict(values), kind)
    except msgspec.ValidationError as error:
        message = str(error)
        match = re.search(r" - at `\$\.(\w+)", message)
        if match:
            name = match.group(1)
            subject = (given_as or {}).get(name, f"{group}.{name} is {values[name]!r}")
            raise InvalidValueError(f"{subject}; {_refusal(kind, name, values[name])}") from None
        missing = re.search(r"required field `(\w+)`", message)
        if missing:  # there is one such field, run.out
            name = missing.group(1)
            raise InvalidValueError(
                f"{group}.{name} is missing; --{name} or a configuration file gives it"
            ) from None
        raise InvalidValueError(f"{group}: {message}") from None
    if isinstance(made, TrainingSettings):
        _check_together(made)
    if isinstance(made, DataSettings):
        _check_paths(made)
    if isinstance(made, RunSettings):
        check_folder(made.out, "run.out")
    return made


def from_environment(group: str) -> tuple[dict[str, Any], dict[str, str]]:
    """Give the settings of a group that MSLTX_<NAME> variables set, and how errors name them."""
    found, given_as = {}, {}
    for field in msgspec.structs.fields(_GROUPS[group]):
        variable = f"MSLTX_{field.name.upper()}"
        text = os.environ.get(variable)
        if text:
            found[field.name] = parse_setting(group, field.name, text, variable)
            given_as[field.name] = f"{variable} is {text}"
    return found, given_as


def _one_dtype(values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Read `mixed_precision: true` as `dtype: bfloat16`, which an explicit dtype overrules.

    Gives the settings, and how errors name them.
    """
    rest, given_as = dict(values), {}
    if "mixed_precision" in rest:
        mixed = rest.pop("mixed_precision")
        if not isinstance(mixed, bool):
            raise InvalidValueError(
                f"training.mixed_precision is {mixed!r}; it takes true or false"
            )
        if "dtype" not in rest:
            rest["dtype"] = "bfloat16" if mixed else "float32"
            given_as["dtype"] = f"training.mixed_precision is {str(mixed).lower()}"
    return rest, given_as


def load_settings(
    path: str | os.PathLike[str] | None, flags: Mapping[str, Mapping[str, Any]]
) -> Settings:
    """Merge flags, environment, file and defaults into one set of settings.

    Parameters
    ----------
    path : path-like or None
        YAML file with the groups model, data, training, run.
    flags : mapping of group to mapping of name to value
        What the command line gave; None values count as not given.

    Raises
    ------
    InvalidValueError
        For an unknown group or name (naming the nearest known one), or a value out of its limits.
    FileError
    """
    document = {} if path is None else read_yaml(path)
    groups = ["model", *_GROUPS]
    document = {group: {} if values is None else values for group, values in document.items()}
    for group, values in document.items():
        if group not in groups:
            raise InvalidValueError(f"{path} has a group {group}{nearest(str(group), groups)}")
        if not isinstance(values, dict):
            raise InvalidValueError(
                f"{path}: {group} is {values!r}; a group of settings is expected"
            )
        for name in values:
            if not isinstance(name, str):
                raise InvalidValueError(f"{path}: {group} has a setting {name!r}, which is no name")

    merged: dict[str, Any] = {}
    for group, kind in _GROUPS.items():
        given = {k: v for k, v in flags.get(group, {}).items() if v is not None}
        merged_values: dict[str, Any] = {}
        given_as: dict[str, str] = {}
        for layer, names in (
            _one_dtype(document.get(group, {})),
            from_environment(group),
            _one_dtype(given),
        ):
            merged_values.update(layer)
            given_as = {k: v for k, v in given_as.items() if k not in layer} | names
        merged[group] = convert(merged_values, kind, group, given_as)
    model = {k: v for k, v in flags.get("model", {}).items() if v is not None}
    return Settings(model={**document.get("model", {}), **model}, **merged)
