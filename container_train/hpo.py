"""Train once with given hyperparameters and report how well it went: one trial of a tuning job.

    python hpo.py --data ../dogs --learning-rate 0.03 --batch-size 64

Reports metrics after each epoch for the tuner to extract, never opens test/, exports no model;
leaves result.json in --output-data-dir. Exit codes: 0 done, 1 the work failed, 2 a setting is wrong.
"""

import json
import os
import sys

from trainer.command_line import read_command_line
from trainer.failures import run_program
from trainer.locations import Locations
from trainer.termination import Stop


def main() -> int:
    """Parse, train, write the result."""
    found = Locations.from_environment(os.environ)

    def program(stop: Stop) -> None:
        settings, locations = read_command_line("Run one tuning trial.", sys.argv[1:], found)
        from trainer import job  # noqa: PLC0415 - torch takes seconds, a wrong setting should not

        with job.open_machine(settings, stop) as machine:
            trial = job.prepare(settings, locations, machine, splits=("train", "valid"))
            trained = job.train(trial)
            if machine.group.is_main:
                result = {"hyperparameters": settings.as_dict(), "metrics": trained.metrics}
                target = locations.output_data_dir / "result.json"
                target.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")

    return run_program(program, failure_file=found.failure_file)


if __name__ == "__main__":
    sys.exit(main())
