"""What the platform grants an image, and how long the doctor waits for what has no limit there.

Called by `examined_image`; tests are in more of a hurry than the platform.
"""

from dataclasses import dataclass

from launcher import endpoint_requests, workloads


@dataclass(frozen=True)
class Limits:
    """Seconds and bytes.

    The platform's: https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-inference-code.html
    and https://docs.aws.amazon.com/sagemaker/latest/dg/serverless-endpoints.html
    """

    connect_seconds: float = 0.25
    ping_seconds: float = 2.0
    startup_seconds: float = endpoint_requests.STARTUP_SECONDS
    serve_stop_seconds: float = workloads.SERVING_GRACE_SECONDS
    train_stop_seconds: float = workloads.TRAINING_GRACE_SECONDS
    image_bytes: int = 10 * 2**30  # of a serverless endpoint
    # The doctor's own.
    failing_seconds: float = 300.0  # until a job without data has failed
    running_seconds: float = 4.0  # until a job that goes on is believed to
    handler_seconds: float = 60.0  # until what does not catch SIGTERM is believed not to
    settling_seconds: float = 5.0  # until a server whose first answer was an error is believed to stay so
    death_seconds: float = 20.0  # until a server without its processes has noticed
