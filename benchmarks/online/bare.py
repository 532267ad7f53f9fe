"""The limit behind a bare FastAPI app, one process: no store, no other server, no checks."""

from __future__ import annotations

import gc
import sys
from pathlib import Path

import orjson
import uvicorn
from fastapi import FastAPI, Request, Response

from benchmarks.online.limit import Limit

app = FastAPI()
folder, port = Path(sys.argv[1]), int(sys.argv[2])
limit = Limit.load(folder)


@app.get("/v2/health/ready")
async def ready() -> dict[str, bool]:
    """It is."""
    return {"ready": True}


@app.post("/v1/models/recall:predict")
async def predict(request: Request) -> Response:
    """The user's 100 items."""
    user = orjson.loads(await request.body())["instances"][0]["user_id"]
    scores, ids = limit.answer(user)
    items = [{"item_id": item, "score": score} for item, score in zip(ids.tolist(), scores.tolist(), strict=True)]
    return Response(orjson.dumps({"predictions": [{"items": items}]}), media_type="application/json")


if __name__ == "__main__":
    gc.freeze()
    uvicorn.run(app, port=port, loop="uvloop", http="httptools", access_log=False, log_level="warning")
