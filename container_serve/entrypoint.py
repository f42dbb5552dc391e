"""The image's entrypoint: `serve`, `predict …`. Named by `docker/serve.Dockerfile`."""

import sys
from collections.abc import Sequence

USAGE = """usage: docker run IMAGE COMMAND

  serve                   serve the model over HTTP, as SageMaker starts it
  predict FILE|FOLDER...  name the breeds on pictures, offline

`serve --help` and `predict --help` tell the options.
"""


def main(arguments: Sequence[str]) -> int:
    """Run the command that the first argument names, and return its exit code."""
    command, rest = (arguments[0], arguments[1:]) if arguments else ("", [])
    if command == "serve":
        import serve  # noqa: PLC0415 - each command imports only what it needs

        return serve.main(rest)
    if command == "predict":
        import predict  # noqa: PLC0415

        return predict.main(rest)
    if command in {"--help", "-h", "help"}:
        print(USAGE, end="")
        return 0
    if command == "train":
        print("this is the serving image; `train` needs the training image", file=sys.stderr)
    elif command:
        print(f"unknown command {command!r}", file=sys.stderr)
    print(USAGE, end="", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
