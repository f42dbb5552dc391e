"""The predictor wing: what runs inside the serving image.

`serve.py`, `predict.py` and the handler of multi-model-server are thin doors to this package.
"""
