"""sagemaker-inference's request cycle with this project's content types and errors.

Called by `handler_service.py`. The toolkit resolves `model_fn`, `input_fn`, `predict_fn` and `output_fn` of
`inference.py`; what is replaced is what it does wrong: content types compared as whole strings, and every
error answered as 500 with a traceback in the body.
"""

import functools
import inspect
import logging
from collections.abc import Callable, Mapping
from typing import Any

from predictor.codecs import JSON, RequestError, error_body
from predictor.stages import collect, server_timing
from predictor.toolkit import Transformer

logger = logging.getLogger(__name__)


class BreedTransformer(Transformer):  # type: ignore[misc] # the toolkit brings no types
    """Runs one request through the functions of `inference.py` and answers as `docs/http.md` says."""

    def transform(self, data: list[dict[str, Any]], context: Any) -> list[bytes]:
        """Answer the one request of `data`; dynamic batching is off."""
        self._context = context
        context.metrics = None  # else the worker prints a line of them a request, which Java reads and drops
        try:
            headers = request_headers(context)
            accept = headers.get("accept")
            if accept is None or accept.strip() == "*/*":
                accept = self._environment.default_accept
            with collect() as durations:
                body, content_type = self._run_handler_function(
                    self._transform_fn,
                    *(self._model, data[0].get("body") or b"", headers.get("content-type"), accept),
                )
        except RequestError as error:
            return self._answer_error(context, error.status, error.code, str(error))
        except Exception:  # the last resort: the client gets JSON, the log gets the traceback
            request_id = request_headers(context).get("x-request-id") or context.get_request_id(0)
            logger.exception("Request %s failed", request_id)
            return self._answer_error(
                context,
                500,
                "internal",
                f"the server failed; its log has the details of request {request_id}",
            )
        context.set_response_content_type(0, content_type)
        context.set_response_header(0, "Server-Timing", server_timing(durations))
        return [body]

    def _run_handler_function(self, func: Callable[..., Any], *argv: Any) -> Any:
        """Call a function of `inference.py`, with the context where it takes one.

        The toolkit looks at the signature at every call, which takes as long as writing the answer.
        """
        return func(*argv, self._context) if _parameters(func) > len(argv) else func(*argv)

    @staticmethod
    def _answer_error(context: Any, status: int, code: str, message: str) -> list[bytes]:
        context.set_response_status(code=status, phrase="", idx=0)
        context.set_response_content_type(0, JSON)
        return [error_body(code, message)]


@functools.cache
def _parameters(function: Callable[..., Any]) -> int:
    return len(inspect.signature(function).parameters)


def request_headers(context: Any) -> Mapping[str, str]:
    """The request's headers by lower-case name; the server mixes the body parts' types in."""
    found = context.get_all_request_header(0)
    return {name.lower(): value for name, value in found.items() if isinstance(value, str)}
