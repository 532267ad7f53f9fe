"""The straightforward path, all of it in this file: what one writes first, with the usual libraries used well.

One process. For each request: one pipelined read of Redis, one request to a TorchServe that computes one user at a
time, one search in Milvus. Pooled connections, orjson, uvloop, eventual consistency and the same search effort as
Pagoda: everything that costs nobody a thought is here; what is missing is batching of any kind.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import orjson
import uvicorn
from fastapi import FastAPI, Request, Response
from pydantic import BaseModel
from pymilvus import AsyncMilvusClient
from redis.asyncio import Redis

redis_url, tower_url, milvus_uri, collection, generation = sys.argv[1:6]
effort, history, port = (int(argument) for argument in sys.argv[6:9])


class RecallUser(BaseModel):
    """One user who wants items."""

    user_id: int
    k: int = 100
    timestamp: int


class RecallRequest(BaseModel):
    """A request."""

    instances: list[RecallUser]


@asynccontextmanager
async def clients(app: FastAPI) -> AsyncIterator[None]:
    """Connections to the three servers."""
    app.state.redis = Redis.from_url(redis_url)
    app.state.milvus = AsyncMilvusClient(milvus_uri)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=256)) as app.state.http:
        yield


app = FastAPI(lifespan=clients)


@app.get("/v2/health/ready")
async def ready() -> dict[str, bool]:
    """It is."""
    return {"ready": True}


@app.post("/v1/models/recall:predict")
async def predict(request: Request) -> Response:
    """Items for users."""
    body = RecallRequest.model_validate_json(await request.body())
    return Response(
        orjson.dumps({"predictions": [await answer(one) for one in body.instances]}), media_type="application/json"
    )


async def answer(asked: RecallUser) -> dict[str, Any]:
    """Redis, then the tower, then Milvus."""
    pipeline = app.state.redis.pipeline(transaction=False)
    pipeline.get(f"profile:{asked.user_id}")
    pipeline.lrange(f"recent:{asked.user_id}", -history, -1)
    profile, recent = await pipeline.execute()
    events = [entry.split(b":") for entry in recent]
    told = {
        "user_id": asked.user_id,
        "timestamp": asked.timestamp,
        "profile": orjson.loads(profile) if profile else {},
        "history": [{"item_id": int(item), "timestamp": int(moment)} for moment, item in events],
    }
    question = orjson.dumps({"generation": generation, "instances": [told]})
    async with app.state.http.post(tower_url, data=question, headers={"Content-Type": "application/json"}) as reply:
        reply.raise_for_status()
        vector = orjson.loads(await reply.read())["predictions"][0]["vector"]
    found = await app.state.milvus.search(
        collection,
        [vector],
        limit=asked.k,
        anns_field="vector",
        search_params={"metric_type": "IP", "params": {"ef": effort}},
        consistency_level="Eventually",
    )
    return {"items": [{"item_id": hit["id"], "score": hit["distance"]} for hit in found[0]]}


if __name__ == "__main__":
    gc.freeze()
    uvicorn.run(app, port=port, loop="uvloop", http="httptools", access_log=False, log_level="warning")
