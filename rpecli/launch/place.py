"""Where jobs run, as `--on` says: on a Slurm cluster or on the workers of a Dask scheduler."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from rpecli.launch.command import PlaceError
from rpecli.launch.job import Job
from rpecli.launch.pool import Event

SLURM = "slurm"
REMEDY = "write slurm, slurm:time=2:00:00,partition=gpu, or the address of a Dask scheduler: tcp://HOST:8786"


@dataclass(frozen=True)
class Place:
    """A Slurm cluster with options of its jobs, or, with an address, a Dask scheduler."""

    address: str = ""
    options: dict[str, str] = field(default_factory=dict)

    def check(self) -> None:
        """Raises PlaceError where nothing can be started: before a run is created."""
        if self.address:
            from rpecli.launch import on_dask

            on_dask.connect(self.address).close()
        else:
            from rpecli.launch import on_slurm

            on_slurm.check(self.options)

    def execute(self, jobs: list[Job]) -> Iterator[Event]:
        """Does the jobs there and yields what happens. Closing the generator ends Dask's tasks, and leaves those of Slurm."""
        if self.address:
            from rpecli.launch import on_dask

            return on_dask.execute(jobs, self.address)
        from rpecli.launch import on_slurm

        return on_slurm.execute(jobs, self.options)

    @property
    def after_interrupt(self) -> str:
        """What to do after Ctrl-C."""
        again = "start the same command again to go on"
        return again if self.address else "the Slurm jobs go on: start the same command again to follow them; scancel ends them"


def parse(text: str) -> Place:
    """`slurm`, `slurm:time=60,partition=gpu`, `tcp://host:8786`, `scheduler.json`. Raises PlaceError."""
    if "://" in text or text.endswith(".json"):
        return Place(text)
    name, _, options = text.partition(":")
    if name != SLURM:
        raise PlaceError(f"--on {text}: {REMEDY}")
    return Place(options=_options(options))


def _options(text: str) -> dict[str, str]:
    """`partition=a,b,time=60` -> {"partition": "a,b", "time": "60"}."""
    options: dict[str, str] = {}
    last = ""
    for part in text.split(",") if text else []:
        key, equals, value = part.partition("=")
        if equals and key.strip():
            last = key.strip().replace("_", "-")
            if last in options:
                raise PlaceError(f"--on {SLURM}: {last} is given twice: keep one")
            options[last] = value.strip()
        elif last:
            options[last] += f",{part}"
        else:
            raise PlaceError(f"--on {SLURM}:{text}: {part!r} is not option=value: write {SLURM}:time=60,partition=gpu")
    return options
