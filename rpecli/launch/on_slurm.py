"""Jobs on a Slurm cluster: an array of `rpe work` commands, written by submitit and kept, followed until its tasks have ended.

A task that Slurm stops, at its time limit or for a job of higher priority, saves its run and goes back to the queue. Progress is
read from the run directories, which every node must see under the same path; from Slurm comes only what is in the queue.
"""

import getpass
import json
import shlex
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rpecli.launch import command
from rpecli.launch.command import PlaceError, install_extra
from rpecli.launch.job import Job
from rpecli.launch.pool import Event
from rpecli.run.files import write_files
from rpecli.table import plural

FOLDER = ".slurm"  # in the folder of runs: a folder per array, with its script, its commands and its logs
COMMANDS, SCRIPT, TASKS = "commands.txt", "array.sh", "tasks.json"
MAX_TASKS = 1000  # of an array, by Slurm's default
TICK, POLL = 0.5, 5.0  # seconds between looks at the run directories, and at the queue
OWN = {"cap": 64, "runs": 1, "warn": 60, "requeues": 100}  # options that are not sbatch's, with their defaults
DEFAULTS = {"time": "60", "job_name": "rpe"}  # options of sbatch
# Exit code 75: rpe saved after SIGTERM. 138 and 143: `wait` was left by one of the signals as the command ended.
BODY = """\
task=${{SLURM_ARRAY_JOB_ID}}_$SLURM_ARRAY_TASK_ID
echo "rpe: task $task, start ${{SLURM_RESTART_COUNT:-0}}, $(date)"
trap 'kill -TERM "$child" 2> /dev/null' USR1 TERM  # time limit, preemption, scancel: rpe saves and ends
bash -c "$(sed -n "$((SLURM_ARRAY_TASK_ID + 1))p" {commands})" &
child=$!
wait "$child"; code=$?
while kill -0 "$child" 2> /dev/null; do wait "$child"; code=$?; done
case $code in 75 | 138 | 143)
  state=$(squeue --noheader --jobs "$task" --format %T)  # not RUNNING after scancel
  if [ "$state" = RUNNING ] && [ "${{SLURM_RESTART_COUNT:-0}}" -lt {requeues} ]; then
    echo "rpe: saved; task $task goes back to the queue, $(date)"
    scontrol requeue "$task"
  fi
esac
exit $code"""


@dataclass(frozen=True)
class Task:
    """A task of an array, by Slurm's id `123_4`, and the jobs that it does."""

    id: str
    folder: Path
    jobs: list[Job] = field(default_factory=list)

    @property
    def log(self) -> Path:
        return self.folder / f"{self.id}_0_log.out"


def check(options: dict[str, str]) -> None:
    """Raises PlaceError where submitit or Slurm is missing, and where Slurm refuses the options."""
    try:
        import submitit  # noqa: F401
    except ImportError:
        raise PlaceError(f"--on slurm needs submitit: {install_extra('slurm')}") from None
    own = _own(options)
    try:
        _slurm("sbatch", "--test-only", stdin=_script("true", Path.cwd(), 1, own, options))
    except FileNotFoundError as error:
        raise PlaceError(f"--on slurm: this machine has no {error.filename}: start the command on a login node") from None
    except subprocess.CalledProcessError as error:
        raise PlaceError(f"--on slurm: {_why_refused(error)} (sbatch --help has the options, sinfo the partitions)") from None


def _why_refused(error: subprocess.CalledProcessError) -> str:
    """What sbatch says, in one line."""
    lines = [line.removeprefix("sbatch: ").removeprefix("error: ").strip() for line in error.stderr.splitlines()]
    return "; ".join(line for line in lines if line and not line.startswith("Try ")) or "sbatch refuses"


def _own(options: dict[str, str]) -> dict[str, int]:
    """The values of the options that are not sbatch's."""
    for name in OWN:
        if name in options and not (options[name].isdecimal() and int(options[name])):
            raise PlaceError(f"--on slurm:{name}={options[name]}: write a whole number: {name}={OWN[name]}")
    return {name: int(options.get(name, default)) for name, default in OWN.items()}


def _slurm(*words: str, stdin: str | None = None) -> str:
    """The output of a command of Slurm. Raises FileNotFoundError and CalledProcessError."""
    return subprocess.run(words, input=stdin, capture_output=True, text=True, check=True, timeout=60).stdout


def execute(jobs: list[Job], options: dict[str, str]) -> Iterator[Event]:
    """Does jobs in a Slurm array, but for those that an earlier command has put in the queue; leaving ends no task."""
    tasks = _earlier(jobs)
    queued = {run for task in tasks for job in task.jobs for run in job.runs}
    if queued:
        yield Event("notice", text=f"{plural(len(queued), 'run')} of an earlier command still in Slurm's queue: followed")
    left = [(job, [run for run in job.runs if run not in queued]) for job in jobs]
    if rest := [job.of(*runs) for job, runs in left if runs]:
        new = submit(rest, options)
        yield Event("notice", text=f"Slurm job {new[0].id.partition('_')[0]}: {plural(len(new), 'task')}; {new[0].folder}")
        tasks += new
    yield from _follow(tasks)


def submit(jobs: list[Job], options: dict[str, str]) -> list[Task]:
    """Writes the script of an array and puts it in the queue. Raises PlaceError where Slurm refuses."""
    own = _own(options)
    size = max(own["runs"], -(-len(jobs) // MAX_TASKS))
    groups = list(command.batches(jobs, size))
    folder = command.new_folder(jobs[0].run.path.parent.absolute() / FOLDER)
    lines = [f"exec {shlex.join(command.words(group))}\n" for group in groups]
    threads = max(job.nproc * job.run.config.threads for job in jobs)
    body = BODY.format(commands=shlex.quote(str(folder / COMMANDS)), requeues=own["requeues"])
    script = _script(body, folder, len(groups), own, {"cpus-per-task": str(threads)} | options)
    write_files(folder, {COMMANDS: "".join(lines).encode(), SCRIPT: script.encode()})
    try:
        array = _slurm("sbatch", "--parsable", str(folder / SCRIPT)).strip().partition(";")[0]
    except subprocess.CalledProcessError as error:
        raise PlaceError(f"--on slurm: {_why_refused(error)}: {folder / SCRIPT}") from None
    names = [[run.name for job in group for run in job.runs] for group in groups]
    write_files(folder, {TASKS: json.dumps({"array": array, "tasks": names}, indent=1).encode()})
    return [Task(f"{array}_{number}", folder, group) for number, group in enumerate(groups)]


def _script(body: str, folder: Path, n_tasks: int, own: dict[str, int], options: dict[str, str]) -> str:
    """The text of an sbatch script, by submitit: its header, the environment, and what a task does."""
    from submitit import SlurmExecutor

    passed = DEFAULTS | {"requeue": True} | {name.replace("-", "_"): value for name, value in options.items() if name not in OWN}
    exports = [f"export {name}={shlex.quote(value)}" for name, value in command.environment().items()]
    executor = SlurmExecutor(folder)
    parameters: dict[str, Any] = {
        "array_parallelism": own["cap"],
        "use_srun": False,
        "stderr_to_stdout": True,
        "wckey": None,
        "setup": [f"cd {shlex.quote(str(Path.cwd()))}", *exports],
        "additional_parameters": passed | {"signal": f"B:USR1@{own['warn']}"},
    }
    executor.update_parameters(**parameters)
    executor.parameters["map_count"] = n_tasks
    return executor._make_submission_file_text(body, "")


def _earlier(jobs: list[Job]) -> list[Task]:
    """The tasks of earlier commands that are in the queue and do some of these jobs."""
    by_name, tasks = {run.name: job.of(run) for job in jobs for run in job.runs}, []
    queue = _queue() or {}
    for file in sorted((jobs[0].run.path.parent.absolute() / FOLDER).glob(f"*/{TASKS}")):
        with suppress(OSError, ValueError, KeyError, TypeError):
            record = json.loads(file.read_text())
            for number, names in enumerate(record["tasks"]):
                own = [by_name[name] for name in names if name in by_name]
                if own and f"{record['array']}_{number}" in queue:
                    tasks.append(Task(f"{record['array']}_{number}", file.parent, own))
    return tasks


def _queue() -> dict[str, str] | None:
    """The state of each of this user's tasks that has not ended, by id; None where Slurm does not answer now."""
    try:
        text = _slurm("squeue", "--noheader", "--array", "--user", getpass.getuser(), "--format", "%F_%K %T")
    except (subprocess.SubprocessError, OSError):
        return None
    return dict(line.split() for line in text.splitlines() if len(line.split()) == 2)


def _follow(tasks: list[Task]) -> Iterator[Event]:
    """Until no task is in the queue; a queue that does not answer is asked again."""
    left, active, looked = {task.id: task for task in tasks}, set[str](), 0.0
    while left:
        if time.monotonic() - looked > POLL:
            looked, queue = time.monotonic(), _queue()
            if queue is not None:
                working = {id for id in left if queue.get(id) in ("RUNNING", "COMPLETING")}
                for task in [left[id] for id in working - active]:
                    yield from (Event("started", run) for job in task.jobs for run in job.runs)
                active = working
                for id in [id for id in left if id not in queue]:
                    yield from _endings(left.pop(id))
        runs = tuple(run for id in active if id in left for job in left[id].jobs for run in job.runs)
        yield Event("tick", active=runs)
        if left:
            time.sleep(TICK)


def _endings(task: Task) -> Iterator[Event]:
    for job in task.jobs:
        for run in job.runs:
            yield Event("ended", run, command.ending_of(run, job, f"Slurm task {task.id}", task.log))
