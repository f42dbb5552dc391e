"""Where the data and the tensors of a finished job lie, and the command that analyses them."""

import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest

from launcher import analysis, job_output, training_programs
from launcher.errors import WorkFailed
from launcher.job_output import JobOutput

SCRIPT = Path(__file__).parents[3] / "scripts/analyze_debug.py"


def data(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "run.json").write_text("{}")
    return folder


def trial(folder: Path) -> Path:
    (folder / "events/000000000000").mkdir(parents=True)
    return folder


def find(place: Path) -> JobOutput:
    return job_output.find(str(place), place.parent / "scratch")


def test_a_jobs_folder_and_its_output_alone_lead_to_both(tmp_path: Path) -> None:
    found = JobOutput(data(tmp_path / "job/output/data"), trial(tmp_path / "job/output/tensors"))
    (tmp_path / "latest").symlink_to("job")

    assert find(tmp_path / "job") == found
    assert find(tmp_path / "latest") == found
    assert find(tmp_path / "job/output/data").data == found.data


def test_a_job_without_a_hook_kept_its_tensors_among_its_data(tmp_path: Path) -> None:
    results = data(tmp_path / "job/output/data")
    tensors = trial(tmp_path / "job/output/data/tensors")

    assert find(tmp_path / "job") == JobOutput(results, tensors)
    assert find(results) == JobOutput(results, tensors)


def test_an_output_folder_finds_the_tensors_beside_it(tmp_path: Path) -> None:
    results, tensors = data(tmp_path / "output/data"), trial(tmp_path / "output/tensors")

    assert find(results) == JobOutput(results, tensors)


def test_a_job_that_saved_no_tensors_has_data(tmp_path: Path) -> None:
    assert find(data(tmp_path / "job/output/data").parents[1]).tensors is None


def test_anybodys_trial_is_one_and_so_is_one_for_each_network(tmp_path: Path) -> None:
    alone = trial(tmp_path / "alone")
    trial(tmp_path / "several/first")
    trial(tmp_path / "several/second")

    assert find(alone) == JobOutput(None, alone)
    assert find(tmp_path / "several") == JobOutput(None, tmp_path / "several")


@pytest.mark.parametrize("inner", ["", "data"])
def test_a_copy_of_a_jobs_prefix_is_unpacked(tmp_path: Path, inner: str) -> None:
    data(tmp_path / "made" / inner if inner else tmp_path / "made")
    tensors = trial(tmp_path / "job/debug-output")
    (tmp_path / "job/output").mkdir()
    with tarfile.open(tmp_path / "job/output/output.tar.gz", "w:gz") as tar:
        tar.add(tmp_path / "made", arcname=".")

    found = find(tmp_path / "job")

    assert found.tensors == tensors
    assert found.data == (tmp_path / "scratch/unpacked" / inner)
    assert (found.data / "run.json").is_file()
    assert find(tmp_path / "job") == found  # a second time, over what the first unpacked


def test_an_archive_that_leads_elsewhere_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "job/output").mkdir(parents=True)
    (tmp_path / "run.json").write_text("{}")
    with tarfile.open(tmp_path / "job/output/output.tar.gz", "w:gz") as tar:
        tar.add(tmp_path / "run.json", arcname="../../elsewhere/run.json")

    with pytest.raises(WorkFailed, match="leads outside its folder"):
        find(tmp_path / "job")

    assert not (tmp_path / "elsewhere").exists()
    assert list((tmp_path / "scratch").iterdir()) == []


@pytest.mark.parametrize(
    ("place", "name"),
    [
        ("s3://bucket/out/dogs-1/", "dogs-1"),
        ("s3://bucket/out/dogs-1/debug-output", "dogs-1"),
        ("runs/dogs-1/output/data", "dogs-1"),
        ("s3://bucket", "bucket"),
    ],
)
def test_an_analysis_is_named_after_its_job(place: str, name: str) -> None:
    assert job_output.name_of(place) == name


def test_a_container_sees_every_folder_under_its_own_name_and_may_write_to_one(tmp_path: Path) -> None:
    found = JobOutput(tmp_path / "a, job/data", tmp_path / "tensors")

    command = analysis.analysis_command("docker", image="train", found=found, report=tmp_path / "report")

    mounts = [command[place + 1] for place, part in enumerate(command) if part == "--mount"]
    assert mounts == [
        f'"type=bind","source={found.data}","target={found.data}","readonly"',
        f'"type=bind","source={found.tensors}","target={found.tensors}","readonly"',
        f'"type=bind","source={tmp_path}/report","target={tmp_path}/report"',
    ]
    assert command[command.index("--network") + 1] == "none"
    assert command[command.index("train") + 1 :] == [
        *("python", "/opt/ml/code/analyze.py", "--data", str(found.data), "--tensors", str(found.tensors)),
        *("--output", str(tmp_path / "report")),
    ]


def analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, SCRIPT, "--backend", "process", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )


def test_what_is_no_job_is_wrong_usage_and_nothing_is_made(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()

    nothing = analyze(tmp_path / "folder", "--output", tmp_path / "report")
    nowhere = analyze(tmp_path / "nowhere", "--output", tmp_path / "report")
    strange = analyze("gs://bucket/job", "--output", tmp_path / "report")

    assert (nothing.returncode, nowhere.returncode, strange.returncode) == (2, 2, 2)
    assert "neither a job's folder nor a trial's" in nothing.stderr
    assert f"there is no folder {tmp_path / 'nowhere'}" in nowhere.stderr
    assert "not of the form s3://bucket/prefix" in strange.stderr
    assert not (tmp_path / "report").exists()


TRAIN = """
import sys, torch
from trainer.smdebug_support import Hook, ModeKeys
from smdebug import SaveConfig
from torch import nn
torch.manual_seed(0)
net = nn.Sequential(nn.Linear(4, 3))
hook = Hook(out_dir=sys.argv[1], include_collections=["losses", "gradients", "weights"],
            save_config=SaveConfig(save_interval=1))
loss = nn.CrossEntropyLoss()
hook.register_module(net)
hook.register_loss(loss)
hook.set_mode(ModeKeys.TRAIN)
optimiser = torch.optim.SGD(net.parameters(), lr=0.01)
for _ in range(4):
    optimiser.zero_grad()
    loss(net(torch.randn(8, 4) * float(sys.argv[2])), torch.randint(3, (8,))).backward()
    optimiser.step()
hook.close()
"""


@pytest.mark.parametrize(("scale", "code", "said"), [("1", 0, "findings: none"), ("nan", 3, "finding: ")])
def test_a_trial_that_anybodys_hook_wrote_is_judged_and_reported(
    tmp_path: Path, scale: str, code: int, said: str
) -> None:
    arguments = [sys.executable, "-c", TRAIN, str(tmp_path / "trial"), scale]
    subprocess.run(arguments, check=True, capture_output=True)

    done = analyze(tmp_path / "trial", "--output", tmp_path / "report")

    assert done.returncode == code, done.stderr[-2000:] + done.stdout
    lines = done.stdout.splitlines()
    assert lines[0].startswith(said)
    assert lines[-1] == f"report: {tmp_path}/report/report/report.html"
    assert Path(lines[-1].removeprefix("report: ")).is_file()
    assert (tmp_path / "report/findings.json").is_file()


def test_the_entry_script_says_what_it_lacks(tmp_path: Path) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        program = [
            sys.executable,
            str(training_programs.FOLDER / "analyze.py"),
            "--output",
            str(tmp_path),
            *arguments,
        ]
        return subprocess.run(program, capture_output=True, text=True, check=False)

    nothing, nowhere = run(), run("--data", str(tmp_path / "nowhere"))

    assert (nothing.returncode, nowhere.returncode) == (2, 2)
    assert nothing.stderr == "error: nothing to analyse: give --data, --tensors or both\n"
    assert nowhere.stderr == f"error: there is no folder {tmp_path / 'nowhere'}\n"


def test_an_analysis_that_is_stopped_does_not_say_that_nothing_was_found(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-c", TRAIN, str(tmp_path / "trial"), "1"], check=True, capture_output=True
    )
    program = [
        sys.executable,
        str(training_programs.FOLDER / "analyze.py"),
        "--tensors",
        str(tmp_path / "trial"),
    ]
    running = subprocess.Popen(
        [*program, "--output", str(tmp_path / "out")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while "/torch/" not in Path(f"/proc/{running.pid}/maps").read_text():  # it has begun in earnest
        time.sleep(0.02)

    running.terminate()

    assert running.communicate(timeout=60)[0] == ""
    assert running.returncode == 1
