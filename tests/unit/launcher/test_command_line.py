"""How a script ends when a person is impatient."""

import signal
import subprocess
import sys
import time

PROGRAM = """
import sys, threading, time
from launcher import command_line

def main():
    threading.Thread(target=time.sleep, args=(2,)).start()
    try:
        command_line.tell("ready")
        time.sleep(60)
    except KeyboardInterrupt as stop:
        stop.add_note("--attach goes on")
        command_line.tell("ready")
        time.sleep(60)
    return 0

sys.exit(command_line.run(main))
"""


def test_ctrl_c_again_and_again_ends_like_one() -> None:
    script = subprocess.Popen([sys.executable, "-c", PROGRAM], stderr=subprocess.PIPE, text=True)
    assert script.stderr
    for _ in ("the first is heeded", "the second cuts that short"):
        assert script.stderr.readline() == "ready\n"
        script.send_signal(signal.SIGINT)
    said = [script.stderr.readline(), script.stderr.readline()]
    for _ in range(3):  # while the interpreter waits for the thread
        script.send_signal(signal.SIGINT)
        time.sleep(0.1)

    _, more = script.communicate(timeout=30)

    assert script.returncode == 130
    assert said == ["stopped by Ctrl-C\n", "--attach goes on\n"]
    assert more == ""
