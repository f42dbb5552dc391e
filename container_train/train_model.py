"""Train a classifier of pictures and export it: the training job's program.

    python train_model.py --data ../dogs --model-dir model --backbone efficientnet_lite0

Keeps the epoch that is best on valid/, answers test/ once with it, and leaves the model artifact in
--model-dir; predictions, the quarantine report, the tensors that rules have looked at, and report/report.html
in --output-data-dir. Exit codes: 0 done, 1 the work failed, 2 a setting is wrong.
"""

import os
import sys

from trainer.command_line import read_command_line
from trainer.failures import run_program
from trainer.locations import Locations
from trainer.termination import Stop


def main() -> int:
    """Parse, train, test, export."""
    found = Locations.from_environment(os.environ)

    def program(stop: Stop) -> None:
        settings, locations = read_command_line("Train and export a picture classifier.", sys.argv[1:], found)
        from trainer import job  # noqa: PLC0415 - torch takes seconds, a wrong setting should not
        from trainer.observation import observed  # noqa: PLC0415

        with (
            job.open_machine(settings, stop) as machine,
            observed(settings, locations, machine) as observation,
        ):
            running = job.prepare(
                settings, locations, machine, splits=("train", "valid", "test"), observation=observation
            )
            trained = job.train(running)
            tested = job.test(running, trained)
            job.export(running, trained, tested)

    return run_program(program, failure_file=found.failure_file)


if __name__ == "__main__":
    sys.exit(main())
