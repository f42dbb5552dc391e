"""Our engine behind LitServe, which takes files as forms only: `litserve_app.py --port 9000 --workers 2`."""

import breeds
import litserve
from fastapi import Request


class Service(litserve.LitAPI):  # type: ignore[misc]
    """What LitServe runs in each worker."""

    def setup(self, _device: str) -> None:
        """Load the model."""
        self.model = breeds.load()

    def decode_request(self, request: Request) -> bytes:
        """The form's file."""
        return bytes(request["picture"].file.read())

    def predict(self, body: bytes) -> dict[str, float]:
        """One picture's answer."""
        return breeds.answer(self.model, body)

    def encode_response(self, output: dict[str, float]) -> dict[str, float]:
        """The answer as it is."""
        return output


if __name__ == "__main__":
    arguments = breeds.parse(__doc__)
    server = litserve.LitServer(
        Service(api_path="/invocations"), accelerator="cpu", workers_per_device=arguments.workers
    )
    server.run(host="127.0.0.1", port=arguments.port, log_level="error", generate_client_file=False)
