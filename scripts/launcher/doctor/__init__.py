"""Whether an image, a machine, a model or photographs would work on SageMaker. Opened by `doctor.py`."""
