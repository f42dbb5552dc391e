"""Our engine behind FastAPI and uvicorn: `python fastapi_app.py --port 9000 --workers 2`."""

import breeds
import uvicorn
from fastapi import FastAPI, Request


def application() -> FastAPI:
    """The application of one worker process."""
    app, model = FastAPI(), breeds.load()

    @app.post("/invocations")
    async def invocations(request: Request) -> dict[str, float]:
        return breeds.answer(model, await request.body())

    return app


if __name__ == "__main__":
    arguments = breeds.parse(__doc__)
    uvicorn.run(
        "fastapi_app:application",
        factory=True,
        port=arguments.port,
        workers=arguments.workers,
        log_level="error",
        access_log=False,
    )
