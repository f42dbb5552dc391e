"""`serve`: starts the model server and stays until it is stopped. The thin door to `predictor.supervisor`.

Exit codes: 0 stopped by SIGTERM, SIGINT or SIGHUP; 1 the model cannot be served or the server has died;
2 an environment variable holds something unusable.
"""

import argparse
import os
import sys
from collections.abc import Sequence

from predictor.served import ServeError
from predictor.settings import ServerSettings, SettingsError
from predictor.supervisor import serve

SETTINGS = """environment variables:
  SAGEMAKER_BASE_DIR                      the model lies in its folder model (default: /opt/ml)
  SAGEMAKER_BIND_TO_PORT                  port of /ping and /invocations (default: 8080)
  PREDICTOR_BIND_ADDRESS                  IPv4 address to listen on (default: 0.0.0.0, all of the machine's)
  PREDICTOR_PRECISION                     int8, bf16 or f32 (default: what the export chose)
  SAGEMAKER_MULTI_MODEL                   true: a multi-model endpoint, which is told what to load from the
                                          folder models (default: false)
  SAGEMAKER_MODEL_SERVER_WORKERS          worker processes (default: the container's CPUs; of each of many
                                          models: one for four CPUs)
  SAGEMAKER_MODEL_SERVER_TIMEOUT_SECONDS  longest time of one answer (default: 60)
  SAGEMAKER_MAX_PAYLOAD_IN_MB             largest request (default: 20)
  SAGEMAKER_STARTUP_TIMEOUT               longest time until the workers are ready, in s (default: 300)
  LOG_LEVEL                               DEBUG: also pings, INFO: every request, WARNING: 4xx and 5xx,
                                          ERROR: 5xx (default: INFO)
  SAGEMAKER_MODEL_SERVER_VMARGS           further options for Java (default: none)
"""


def main(arguments: Sequence[str]) -> int:
    """Parse, serve, and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="serve",
        description="Serve the model over HTTP.",
        epilog=SETTINGS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.parse_args(arguments)
    try:
        serve(ServerSettings.from_environment(os.environ), os.environ)
    except SettingsError as error:
        print(f"serve: {error}", file=sys.stderr)
        return 2
    except ServeError as error:
        print(f"serve: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
