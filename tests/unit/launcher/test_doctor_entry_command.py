"""What the doctor reads in an entrypoint: whether the word gets through to a program, and SIGTERM may."""

import pytest

from launcher.doctor.entry_command import EntryCommand, read

FINE = EntryCommand()


@pytest.mark.parametrize(
    "entrypoint",
    [
        [],
        ["python", "/program.py"],
        ["/entrypoint.sh"],
        ["bash", "/entrypoint.sh"],
        ["bash", "-e", "-o", "pipefail", "/entrypoint.sh"],
        ["tini", "--", "python", "/program.py"],
        ["/usr/bin/tini", "-g", "-e", "143", "--", "/entrypoint.sh"],
        ["dumb-init", "--rewrite", "15:2", "--", "python", "-c", "pass"],
        ["env", "-i", "PATH=/bin", "python", "/program.py"],
        ["/usr/bin/env", "-S", "python -u", "/program.py"],
        ["gosu", "nobody", "python", "/program.py"],
        ["sh", "-c", 'exec python /program.py "$@"', "--"],
        ["sh", "-c", "exec python /program.py $0"],
        ["bash", "-c", "cd /app && MODE=x exec ./program ${1}", "program"],
        ["bash", "-lc", 'set -e\nexec ./program "$@"', "program"],
        ["bash", "-c", "exec ./program $2", "program", "first"],
        ["bash", "--rcfile", "/rc", "-ec", "exec ./program ${@:1}", "program"],
        ["bash", "--no-such-option", "-c", "python /program.py"],  # not ours to say what that does
        ["bash", "-c", "echo 'unbalanced; exec ./program $0"],
    ],
)
def test_a_form_that_lets_the_word_and_signals_through_is_not_spoken_of(entrypoint: list[str]) -> None:
    assert read(entrypoint) == FINE


@pytest.mark.parametrize(
    ("entrypoint", "says"),
    [
        (["tini"], "tini alone"),
        (["/sbin/tini", "-g", "--"], "tini alone"),
        (["dumb-init", "--"], "dumb-init alone"),
        (["env", "PYTHONUNBUFFERED=1"], "env alone"),
        (["gosu", "nobody"], "gosu alone"),
        (["bash"], "bash alone"),
        (["/bin/sh", "-c"], "sh alone"),
        (["bash", "-l"], "bash alone"),
        (["/bin/sh", "-c", "exec python /program.py"], "sh -c takes the word for its $0"),
        (["bash", "-o", "pipefail", "-c", "exec python /program.py"], "bash -c takes the word for its $0"),
        (["bash", "-euo", "pipefail", "-c", "exec ./program"], "bash -c takes the word for its $0"),
        (["bash", "-lc", "exec ./program"], "bash -c takes the word for its $0"),
        (["sh", "-ec", "exec ./program"], "sh -c takes the word for its $0"),
        (["busybox", "sh", "-c", "exec ./program"], "sh -c takes the word for its $0"),
        (["sh", "-c", 'exec ./program "$@"'], "sh -c takes the word for its $0"),
        (["sh", "-c", "exec ./program $0", "program"], "sh -c takes the word for its $1"),
        (["env", "bash", "-c", "exec ./program"], "bash -c takes the word for its $0"),
        (["/usr/bin/env", "-S", "bash -c", "exec ./program"], "bash -c takes the word for its $0"),
        (["/usr/bin/env", "-S", "bash -c 'exec ./program'"], "bash -c takes the word for its $0"),
        (["tini", "-g", "--", "bash", "-c", "exec ./program"], "bash -c takes the word for its $0"),
        (["dumb-init", "--", "env", "A=b", "sh", "-c", "exec ./program"], "sh -c takes the word for its $0"),
    ],
)  # fmt: skip
def test_a_word_that_is_lost_on_its_way_is_told_with_where(entrypoint: list[str], says: str) -> None:
    assert read(entrypoint).lost.startswith(says)
    assert read(entrypoint).shell == ""


@pytest.mark.parametrize(
    ("line", "stays"),
    [
        ('python /program.py "$@"', True),
        ('cd /app; python /program.py "$@"', True),
        ('exec ./program "$@" | tee /log', True),
        ('exec > /log; ./program "$@"', True),
        ('./program "$@" "; exec"', True),
        ('cd /app; exec ./program "$@"', False),
        (". /entrypoint.sh", True),
    ],
)
@pytest.mark.parametrize("before", [[], ["tini", "--"]])
def test_a_shell_that_keeps_its_place_is_told(before: list[str], line: str, stays: bool) -> None:
    assert read([*before, "bash", "-c", line, "program"]) == EntryCommand(shell="bash -c" if stays else "")


@pytest.mark.parametrize("text", ["/program.py", "python /program.py --mode=serve"])
def test_docker_s_shell_form_is_such_a_line(text: str) -> None:
    seen = read(["/bin/sh", "-c", text])

    assert seen.lost
    assert seen.shell == "sh -c"
