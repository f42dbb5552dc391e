"""A page on this machine that asks an endpoint about photographs. Opened by `ui.py`."""
