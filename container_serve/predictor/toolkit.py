"""The two classes of sagemaker-inference that are used, without what must stay out of the server.

Called by `handler_service.py` and `predictor.transformer`. The toolkit's decoder unpickles whatever a client
sends and imports scipy (143 MB) to do it. Nothing of it is ever called here; an empty module in its place
keeps both out.
"""

import sys
from types import ModuleType

sys.modules.setdefault("sagemaker_inference.decoder", ModuleType("sagemaker_inference.decoder"))

from sagemaker_inference.default_handler_service import DefaultHandlerService  # noqa: E402
from sagemaker_inference.transformer import Transformer  # noqa: E402

__all__ = ["DefaultHandlerService", "Transformer"]
