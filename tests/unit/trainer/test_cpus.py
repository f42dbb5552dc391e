"""The CPUs of a process are its part of the container's, whose other jobs and processes have theirs."""

from trainer.cpus import cpu_limit, cpu_share, process_share


def test_jobs_that_run_side_by_side_share_the_cpus_and_so_do_the_processes_of_each() -> None:
    here = cpu_limit()

    assert cpu_share({}) == process_share({}) == here
    assert cpu_share({"TRAINER_PARALLEL_JOBS": "2"}) == max(1, here // 2)
    assert process_share({"LOCAL_WORLD_SIZE": "2"}) == max(1, here // 2)
    assert process_share({"TRAINER_PARALLEL_JOBS": str(here), "LOCAL_WORLD_SIZE": "4"}) == 1
