"""What `engine: {beam: …}` says: the runner, its own options by Beam's names, and our sizes."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlplatform.errors import UsageError, did_you_mean, listed, repr_name
from mlplatform.spec.durations import parse_size

if TYPE_CHECKING:
    from apache_beam.options.pipeline_options import PipelineOptions
    from apache_beam.runners.runner import PipelineRunner

# A part of a source that one worker reads, at rest. On one machine larger parts leave less to exchange.
_SPLIT_BYTES = {"DirectRunner": 1 << 30}
_REMOTE_SPLIT_BYTES = 64 << 20
_LOUD = ("apache_beam", "PrismRunner", "SdkWorker")
_LOCAL = ("DirectRunner", "PrismRunner")
RUNNERS = ("DirectRunner", "PrismRunner", "FlinkRunner", "DataflowRunner", "PortableRunner")
_SHIPPING = (
    "sdk_container_image",
    "setup_file",
    "extra_packages",
    "requirements_file",
    "worker_harness_container_image",
)
_SIZES = ("split_bytes", "bucket_bytes", "broadcast_bytes")


@dataclass(frozen=True, slots=True)
class BeamOptions:
    """The options of a run; `beam` are those that Beam itself reads, `sizes` those of the planner that were given."""

    runner: str
    split_bytes: int
    sizes: Mapping[str, int]
    beam: Mapping[str, Any]  # Any: YAML

    @property
    def is_local(self) -> bool:
        """Whether workers are threads of this process."""
        return self.runner in _LOCAL


def read_options(options: Mapping[str, Any]) -> BeamOptions:  # Any: YAML
    """The options of a run.

    Raises: UsageError E_VALUE for a runner that is not known, E_USAGE where its workers would lack this package;
        SpecError E_SIZE.
    """
    runner = str(options.get("runner", "DirectRunner"))
    if runner not in RUNNERS:
        raise UsageError("E_VALUE", f"Beam has no runner {repr_name(runner)}", hint=did_you_mean(runner, RUNNERS),
                         notes=[f"runners: {listed(RUNNERS)}"])  # fmt: skip
    if runner == "DataflowRunner" and not any(options.get(name) for name in _SHIPPING):
        raise UsageError("E_USAGE", "workers of DataflowRunner need mlplatform, and no option brings it to them",
                         hint="set sdk_container_image, as docs/beam.md shows",
                         notes=[f"or one of: {listed(_SHIPPING[1:])}"])  # fmt: skip
    sizes = {name: parse_size(str(options[name])) for name in _SIZES if name in options}
    split_bytes = sizes.pop("split_bytes", _SPLIT_BYTES.get(runner, _REMOTE_SPLIT_BYTES))
    rest = {name: value for name, value in options.items() if name not in (*_SIZES, "runner")}
    return BeamOptions(runner, split_bytes, sizes, rest)


def pipeline_options(options: BeamOptions) -> PipelineOptions:
    """Beam's own options.

    Raises: UsageError E_KEY_UNKNOWN for a name that Beam does not know, E_VALUE for a value that it does not take.
    """
    from apache_beam.options.pipeline_options import PipelineOptions

    known = _known_names()
    for name in options.beam:
        if name not in known:
            hint = did_you_mean(name, [*known, *_SIZES]) or "options are Beam's own, with underscores"
            raise UsageError("E_KEY_UNKNOWN", f'engine "beam" has no option {repr_name(name)}', hint=hint)
    defaults: dict[str, Any] = {"no_pipeline_type_check": True}  # Any: as Beam takes it
    if options.runner == "PrismRunner":
        defaults["environment_type"] = "LOOPBACK"
    given = {**defaults, **options.beam}
    if options.runner != "DirectRunner":
        given["runner"] = options.runner
    made: PipelineOptions = PipelineOptions.from_dictionary(given)
    said = io.StringIO()
    try:
        with redirect_stderr(said):  # Beam reads them as a command line, and leaves when one is wrong
            made.get_all_options()
    except SystemExit as error:
        lines = said.getvalue().splitlines() or ["an option is wrong"]
        raise UsageError("E_VALUE", f'engine "beam": {lines[-1].partition("error: ")[2] or lines[-1]}') from error
    return made


def open_runner(options: BeamOptions) -> PipelineRunner | str:
    """The runner, by name or made."""
    if options.runner == "DirectRunner":
        # The switch of that name would download Prism first. This is what it falls back to, in memory.
        from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner

        return FnApiRunner()
    return options.runner


def _known_names() -> set[str]:
    from apache_beam.options.pipeline_options import PipelineOptions, _BeamArgumentParser

    names: set[str] = set()
    for kind in PipelineOptions.__subclasses__():
        if "_add_argparse_args" in vars(kind):
            parser = _BeamArgumentParser(add_help=False)
            kind._add_argparse_args(parser)  # Beam lists its options nowhere else
            names |= {action.dest for action in parser._actions}
            names |= {text.lstrip("-") for action in parser._actions for text in action.option_strings}
    return names


@contextmanager
def quiet() -> Iterator[None]:
    """Beam's own log lines about failures left out: the error says what is wrong, once."""
    root = logging.getLogger()
    nothing = logging.NullHandler()
    root.addHandler(nothing)  # else a first warning of Beam's would set up logging for the whole process
    loud = {logger: logger.level for logger in map(logging.getLogger, _LOUD)}
    for logger in loud:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in loud.items():
            logger.setLevel(level)
        root.removeHandler(nothing)
