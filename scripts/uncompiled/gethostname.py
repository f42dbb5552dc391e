"""In place of the C extension of sagemaker-training, which is not compiled on a person's machine.

Imported by the toolkit, used by none of what the project runs: its MPI launcher would preload it, so that a
host calls itself by SageMaker's name. The training image has the real one.
"""
